"""
Issuer, API server, UI and gate with TLS, each with an authority of its own, and the doctor's configuration for them.

The gate runs with a good configuration; what the doctor reads may differ, and so may any of the servers.
"""

import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from oidcgate.config.load import load_config
from oidcgate.demo.issuer import DEMO_PEOPLE, Client, DemoIssuer
from oidcgate.demo.issuer_model import DEVICE_CALLBACK
from oidcgate.demo.issuer_tokens import Grant
from oidcgate.demo.ui import DemoUI
from oidcgate.doctor.calls import Caller
from oidcgate.doctor.device import Terminal
from oidcgate.doctor.plan import make_plan
from oidcgate.doctor.report import Finding
from oidcgate.doctor.scene import make_scene
from oidcgate.doctor.walk import walk
from oidcgate.web.server import GateServer
from tests.doctor.certificates import Files, issued
from tests.doctor.cluster import Cluster
from tests.support.stack import CLIENT, SECRET, signing_key

AUDIENCE = "cluster-one"
HOST = "gate.localhost"


class Course:
    """All that the doctor walks along; everything listens on loopback and is stopped."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.monkeypatch = monkeypatch
        self.issuer = DemoIssuer(DEMO_PEOPLE, (), key=signing_key())
        self.cluster = Cluster(self.issuer, AUDIENCE, prefix="oidc:")
        self.ui: DemoUI | None = None
        self.gate: GateServer | None = None
        self.port = 0
        self.cleanups: list[Callable[[], Awaitable[object]]] = []
        self.certificates = {name: issued(folder, name) for name in ("issuer", "cluster", "ui")}
        self.certificates["gate"] = issued(folder, "gate", (HOST,))

    async def __aenter__(self) -> "Course":
        self.monkeypatch.setenv("SSL_CERT_FILE", str(self.certificates["gate"].ca))
        await self.issuer.start(ssl_context=self.certificates["issuer"].context())
        trust = ssl.create_default_context(cafile=str(self.certificates["issuer"].ca))
        self.ui = DemoUI(self.issuer.url, AUDIENCE, issuer_ssl_context=trust)
        await self.ui.start(ssl_context=self.certificates["ui"].context())
        await self.cluster.start(self.certificates["cluster"].context())
        await self.start_gate()
        self.issuer.add_client(Client(CLIENT, SECRET, (f"{self.url}/oauth2/callback", DEVICE_CALLBACK)))
        self.issuer.add_client(Client(AUDIENCE, "x", (), trusted_peers=(CLIENT,)))
        return self

    async def __aexit__(self, *_: object) -> None:
        for cleanup in self.cleanups:
            await cleanup()
        await self.stop_gate()
        await self.cluster.stop()
        if self.ui is not None:
            await self.ui.stop()
        await self.issuer.stop()

    @property
    def url(self) -> str:
        """The site's address."""
        return f"https://{HOST}:{self.port}"

    async def start_gate(self, change: Callable[[dict[str, Any]], object] = lambda _: None) -> None:
        """Start the gate, with its good configuration or with another one."""
        sock = socket.create_server(("127.0.0.1", self.port))
        self.port = sock.getsockname()[1]
        self.gate = GateServer(load_config(self.file(change, "running.yaml")), access_descriptor=None, sockets=[sock])
        await self.gate.start()

    async def stop_gate(self) -> None:
        """Stop it."""
        if self.gate is not None:
            await self.gate.stop(drain=0.2)
            self.gate = None

    async def serve(self, name: str, files: Files) -> None:
        """Let the UI, the cluster or the issuer show another certificate."""
        server: Any = {"ui": self.ui, "cluster": self.cluster, "issuer": self.issuer}[name]
        port = server._port if name == "issuer" else server.port
        await server.stop()
        if name == "cluster":
            await server.start(files.context())
        else:
            await server.start(port=port, ssl_context=files.context())

    def document(self) -> dict[str, Any]:
        """A good configuration."""
        assert self.ui is not None
        secret = self.folder / "client-secret"
        secret.touch(0o600)
        secret.write_text(SECRET)
        gate = self.certificates["gate"]
        return {
            "listen": ["127.0.0.1:0"],
            "tls": {"cert_file": str(gate.chain), "key_file": str(gate.key)},
            "admin": None,
            "provider": {
                "issuer": self.issuer.url,
                "client_id": CLIENT,
                "client_secret_file": str(secret),
                "ca_file": str(self.certificates["issuer"].ca),
            },
            "session": {"state_dir": str(self.folder / "state"), "cookie": {"name": "__Host-course"}},
            "sites": [
                {
                    "url": self.url,
                    "upstream": {
                        "url": f"https://127.0.0.1:{self.ui.port}",
                        "ui": "dashboard-7",
                        "ca_file": str(self.certificates["ui"].ca),
                    },
                    "provider": {"audience": AUDIENCE},
                    "kubernetes": {
                        "api": f"https://localhost:{self.cluster.port}",
                        "ca_file": str(self.certificates["cluster"].ca),
                        "username_prefix": "oidc:",
                        "groups_prefix": "oidc:",
                    },
                }
            ],
        }

    def file(self, change: Callable[[dict[str, Any]], object] = lambda _: None, name: str = "gate.yaml") -> Path:
        """The configuration's file, changed."""
        document = self.document()
        change(document)
        path = self.folder / name
        path.write_text(yaml.safe_dump(document, sort_keys=False))
        return path

    def grant(self, login: str = "alice", *, audiences: tuple[str, ...] = (AUDIENCE,), client: str = CLIENT) -> Grant:
        """What somebody agreed to."""
        scopes = ("openid", "email", "profile", "groups", *(f"audience:server:client_id:{each}" for each in audiences))
        return Grant(client, self.issuer.people[login], scopes, "nonce")

    async def sign_in(self, url: str, login: str = "alice") -> None:
        """Somebody opens the device flow's address in a browser, and signs in."""
        trust = ssl.create_default_context(cafile=str(self.certificates["issuer"].ca))
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as session:
            code = url.partition("user_code=")[2]
            verify = f"{self.issuer.url}/device/auth/verify_code"
            async with session.post(verify, data={"user_code": code}) as page:
                form = page.url
            async with session.post(form, data={"login": login, "password": login}) as page:
                assert page.status == 200, await page.text()

    def token(self, login: str = "alice", *, audiences: tuple[str, ...] = (AUDIENCE,), client: str = CLIENT) -> str:
        """An ID token, as a login gives it."""
        token: str = self.issuer.token_set(self.grant(login, audiences=audiences, client=client))["id_token"]
        return token

    async def walk(
        self,
        change: Callable[[dict[str, Any]], object] = lambda _: None,
        *,
        token: str | None = "",
        caller: Caller | None = None,
        terminal: Terminal | None = None,
        site: str | None = None,
        offline: bool = False,
    ) -> list[Finding]:
        """What the doctor finds; with a good token unless told otherwise (None = without any)."""
        raw = self.token() if token == "" else token
        config = load_config(self.file(change))
        scene = make_scene(config, caller or Caller(), site=site, raw=raw, wants_login=terminal is not None)
        try:
            return await walk(make_plan(scene, terminal or Terminal(print)), offline=offline)
        finally:
            await scene.close()


def failing(findings: list[Finding]) -> list[Finding]:
    """Those that fail."""
    return [finding for finding in findings if finding.status == "fail"]


def statuses(findings: list[Finding]) -> dict[str, list[str]]:
    """The statuses of each hop."""
    found: dict[str, list[str]] = {}
    for finding in findings:
        found.setdefault(finding.hop, []).append(finding.status)
    return found
