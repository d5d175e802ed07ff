"""
Several gates before one UI, as operating-system processes: replicas of `oidcgate serve`, each with its workers.

The issuer and the UI run in the test's own process, so that they can be counted, slowed and stopped. The site has one
address for browsers; which replica a request goes to is the test's choice, as it would be a load balancer's.
"""

import asyncio
import itertools
import re
import signal
import sys
import tempfile
from asyncio.subprocess import PIPE, STDOUT, Process
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import yaml

from oidcgate.cli.secret import new_key
from oidcgate.demo.issuer import DEMO_PEOPLE, Client, DemoIssuer
from oidcgate.demo.ui import DemoUI
from tests.support.browser import Browser
from tests.support.stack import CLIENT, SECRET, merged, signing_key

LIMIT = 30.0  # seconds after which a test is stuck
LISTENING = re.compile(rb"listening on 127\.0\.0\.1:(\d+)")
ADMIN = re.compile(rb"admin on 127\.0\.0\.1:(\d+)")
AUTHORITY = "localhost:18443"  # the site's address; nobody listens there


@dataclass
class Replica:
    """One `oidcgate serve`."""

    process: Process
    config: Path
    port: int = 0
    admin: int = 0
    said: list[bytes] = field(default_factory=list)
    reading: asyncio.Task[None] | None = None
    heard: asyncio.Condition = field(default_factory=asyncio.Condition)

    def workers(self) -> list[psutil.Process]:
        """Its worker processes."""
        return psutil.Process(self.process.pid).children()

    async def read(self) -> None:
        """Keep what it says; its pipe must never be full."""
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            async with self.heard:
                self.said.append(line)
                self.heard.notify_all()
        async with self.heard:
            self.heard.notify_all()

    async def hear(self, text: bytes | re.Pattern[bytes], *, after: int = 0) -> bytes:
        """Wait until it says something; the line."""

        def found() -> bytes | None:
            for line in self.said[after:]:
                if text.search(line) if isinstance(text, re.Pattern) else text in line:
                    return line
            return None

        async with asyncio.timeout(LIMIT), self.heard:
            await self.heard.wait_for(lambda: found() or self.process.returncode is not None)
        line = found()
        assert line is not None, b"".join(self.said).decode()
        return line


class Fleet:
    """
    Issuer, UI and replicas.

    Args:
        store: ``session.store`` of every replica.
        config: further keys, merged in.
        issuer, ui: options of the demo's programs.
    """

    def __init__(
        self,
        *,
        store: str | None = None,
        replicas: int = 1,
        workers: int = 2,
        config: dict[str, Any] | None = None,
        issuer: dict[str, Any] | None = None,
        ui: dict[str, Any] | None = None,
        upstream: str | None = None,
    ) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="oidcgate-fleet-")
        self.folder = Path(self._temporary.name)
        self._store = store
        self._count = replicas
        self._workers = workers
        self._config = config or {}
        self._upstream = upstream
        self.issuer = DemoIssuer(DEMO_PEOPLE, (), key=signing_key(), **(issuer or {}))
        self._ui_options = {"record": True, **(ui or {})}
        self.ui: DemoUI | None = None
        self.replicas: list[Replica] = []
        self._turn = itertools.count()

    @property
    def url(self) -> str:
        """The site's address."""
        return f"http://{AUTHORITY}"

    async def __aenter__(self) -> "Fleet":
        await self.issuer.start()
        callback = f"{self.url}/oauth2/callback"
        self.issuer.add_client(
            Client(CLIENT, SECRET, (callback,), post_logout_redirect_uris=(f"{self.url}/oauth2/signed_out",))
        )
        if self._upstream is None:
            self.ui = DemoUI(self.issuer.url, CLIENT, **self._ui_options)
            await self.ui.start()
            self._upstream = self.ui.url
        for name, text in (("client-secret", SECRET), ("keys", new_key())):
            file = self.folder / name
            file.touch(0o600)
            file.write_text(text + "\n")
        for index in range(self._count):
            self.replicas.append(await self.start(index))
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(self.stop(replica) for replica in self.replicas))
        if self.ui is not None:
            await self.ui.stop()
        await self.issuer.stop()
        self._temporary.cleanup()

    def write_config(self, index: int, **more: Any) -> Path:
        """A replica's configuration file."""
        base: dict[str, Any] = {
            "listen": ["127.0.0.1:0"],
            "admin": {"listen": "127.0.0.1:0"},
            "workers": self._workers,
            "provider": {
                "issuer": self.issuer.url,
                "client_id": CLIENT,
                "client_secret_file": str(self.folder / "client-secret"),
            },
            "session": {
                "store": self._store or f"sqlite:{self.folder}/sessions.db",
                "state_dir": str(self.folder / "state"),
                "keys_file": str(self.folder / "keys"),
            },
            "sites": [{"url": self.url, "upstream": {"url": self._upstream}}],
        }
        path = self.folder / f"gate-{index}.yaml"
        path.write_text(yaml.safe_dump(merged(merged(base, self._config), more)))
        return path

    async def start(self, index: int) -> Replica:
        """Start one replica and wait until it serves."""
        config = self.write_config(index)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "oidcgate", "serve", "--config", str(config), stdout=PIPE, stderr=STDOUT
        )
        replica = Replica(process, config)
        replica.reading = asyncio.create_task(replica.read(), name=f"replica {index}")
        for pattern, name in ((LISTENING, "port"), (ADMIN, "admin")):
            match = pattern.search(await replica.hear(pattern))
            assert match is not None
            setattr(replica, name, int(match[1]))
        return replica

    async def stop(self, replica: Replica) -> None:
        """End a replica, by force if need be."""
        if replica.process.returncode is None:
            replica.process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(replica.process.wait(), 40)
            except TimeoutError:
                for child in replica.workers():
                    child.kill()
                replica.process.kill()
                await replica.process.wait()
        if replica.reading is not None:
            await replica.reading

    def route(self, url: str) -> int | None:
        """Which port an address goes to: the site's go round the replicas."""
        if f"//{AUTHORITY}" not in url:
            return None
        return self.replicas[next(self._turn) % len(self.replicas)].port

    async def browser(self, login: str | None = "alice") -> Browser:
        """A browser, signed in unless told otherwise."""
        browser = Browser(route=self.route)
        if login is not None:
            page = await browser.sign_in(f"{self.url}/", login)
            assert page.status == 200, (page.status, page.text[:500])
        return browser
