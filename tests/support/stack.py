"""
A whole stack on free ports: the demo issuer, the demo cluster UI (or another upstream), and the gate before it.

Everything listens on loopback, and everything is stopped.
"""

import os
import socket
import tempfile
import time
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

from oidcgate.config.load import parse_config
from oidcgate.demo.issuer import DEMO_PEOPLE, Client, DemoIssuer
from oidcgate.demo.ui import DemoUI
from oidcgate.web.server import GateServer
from tests.support.browser import Browser

SECRET = "a-secret-for-tests"
CLIENT = "gate"
KEY: list[RSAPrivateKey] = []  # made once: it takes a while


def signing_key() -> RSAPrivateKey:
    """The issuer's key, shared by all tests of a run."""
    if not KEY:
        KEY.append(generate_private_key(65537, 2048))
    return KEY[0]


def listening() -> socket.socket:
    """A listening socket on a port of the system's choice."""
    return socket.create_server(("127.0.0.1", 0))


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """A configuration with parts replaced."""
    result = dict(base)
    for key, value in over.items():
        known = result.get(key)
        result[key] = merged(known, value) if isinstance(value, dict) and isinstance(known, dict) else value
    return result


class Stack:
    """
    Issuer, UI and gate.

    Args:
        upstream: another upstream's address, in place of the demo UI.
        site, config: keys to set in the site and in the whole configuration.
        issuer: options of the demo issuer; ui: of the demo UI.
    """

    def __init__(
        self,
        *,
        upstream: str | None = None,
        site: dict[str, Any] | None = None,
        config: dict[str, Any] | None = None,
        issuer: dict[str, Any] | None = None,
        ui: dict[str, Any] | None = None,
        folder: Path | None = None,
    ) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="oidcgate-test-")
        self.folder = folder or Path(self._temporary.name)
        self._upstream = upstream
        self._site = site or {}
        self._config = config or {}
        self._ui_options = {"record": True, **(ui or {})}
        self.issuer = DemoIssuer(DEMO_PEOPLE, (), key=signing_key(), **(issuer or {}))
        self.ui: DemoUI | None = None
        self.gate: GateServer | None = None
        self._socket: socket.socket | None = None
        self.port = 0
        self.log = self.folder / "access.log"

    @property
    def url(self) -> str:
        """The site's address."""
        return f"http://localhost:{self.port}"

    async def __aenter__(self) -> "Stack":
        await self.issuer.start()
        if self._upstream is None:
            self.ui = DemoUI(self.issuer.url, CLIENT, **self._ui_options)
            await self.ui.start()
            self._upstream = self.ui.url
        await self.start_gate()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop_gate()
        if self.ui is not None:
            await self.ui.stop()
        await self.issuer.stop()
        self._temporary.cleanup()

    async def start_gate(self) -> GateServer:
        """Start the gate, again on the same port and folder if it ran before."""
        self._socket = socket.create_server(("127.0.0.1", self.port))
        self.port = self._socket.getsockname()[1]
        callback = f"{self.url}/oauth2/callback"
        self.issuer.add_client(
            Client(CLIENT, SECRET, (callback,), post_logout_redirect_uris=(f"{self.url}/oauth2/signed_out",))
        )
        descriptor = os.open(self.log, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
        self.gate = GateServer(self.configuration(), access_descriptor=descriptor, sockets=[self._socket])
        await self.gate.start()
        return self.gate

    def configuration(self) -> Any:
        """The gate's configuration."""
        secret = self.folder / "client-secret"
        if not secret.exists():
            secret.touch(0o600)
            secret.write_text(SECRET)
        site = merged({"url": self.url, "upstream": {"url": self._upstream, "ui": "plain"}}, self._site)
        base: dict[str, Any] = {
            "listen": ["127.0.0.1:0"],
            "admin": None,
            "provider": {"issuer": self.issuer.url, "client_id": CLIENT, "client_secret_file": str(secret)},
            "session": {"state_dir": str(self.folder / "state")},
            "sites": [site],
        }
        return parse_config(merged(base, self._config), folder=self.folder)

    async def stop_gate(self) -> None:
        """Stop the gate; its store stays."""
        if self.gate is not None:
            await self.gate.stop(drain=0.5)
            if self.gate._access_descriptor is not None:
                os.close(self.gate._access_descriptor)
            self.gate = None

    async def browser(self, login: str | None = "alice") -> Browser:
        """A browser, signed in unless told otherwise."""
        browser = Browser()
        if login is not None:
            page = await browser.sign_in(self.url + "/", login)
            assert page.status == 200, (page.status, page.text[:500])
        return browser

    def access_log(self) -> str:
        """What the access log holds."""
        assert self.gate is not None
        self.gate.access_log.flush()
        return self.log.read_text()


class Clock:
    """A clock that tests turn; starts at the real time."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead
