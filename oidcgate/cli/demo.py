"""
`oidcgate demo`: issuer, cluster UI and gate in one process, to click through.

Edge. Nothing else needs to be installed; with ``--issuer`` a real Dex takes the demo issuer's place.
"""

import argparse
import asyncio
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import uvloop

from oidcgate.config import Config
from oidcgate.config.load import parse_config
from oidcgate.demo.issuer import DEMO_PEOPLE, Client, DemoIssuer
from oidcgate.demo.ui.server import DemoUI
from oidcgate.errors import ConfigError, Problem, ProviderError
from oidcgate.web.logs import set_up_logging
from oidcgate.web.machine import check_runtime
from oidcgate.web.server import GateServer

SECRET = "demo-only"  # noqa: S105 - the demo issuer accepts it on this machine only
TOKEN_LIFE = 300  # seconds: short, so that one can watch renewals go unnoticed
PATIENCE = 5.0  # seconds for somebody's own issuer to answer before the story is told


class Demo:
    """The three programs of the demo, on a port and the two after it."""

    def __init__(
        self, *, port: int, issuer: str | None, client_id: str, secret_file: Path | None, folder: Path
    ) -> None:
        self.port = port
        self._issuer_url = issuer
        self._client_id = client_id
        self._secret_file = secret_file
        self._folder = folder
        self.issuer: DemoIssuer | None = None
        self.ui: DemoUI | None = None
        self.gate: GateServer | None = None

    @property
    def url(self) -> str:
        """What to open."""
        return f"http://localhost:{self.port}"

    async def start(self) -> None:
        """
        Start all three.

        Raises:
            ConfigError: a port is taken, or the configuration does not fit.
        """
        if self._issuer_url is None:
            client = Client(self._client_id, SECRET, (f"{self.url}/oauth2/callback",), name="The gate")
            self.issuer = DemoIssuer(DEMO_PEOPLE, (client,), id_token_life=TOKEN_LIFE, hints=True)
            await at_port(self.issuer, self.port + 1)
        issuer_url = self._issuer_url or (self.issuer.url if self.issuer else "")
        self.ui = DemoUI(issuer_url, self._client_id)
        await at_port(self.ui, self.port + 2)
        self.gate = GateServer(self._config(issuer_url, self.ui.url), access_descriptor=1)
        try:
            await self.gate.start()
        except ConfigError as error:  # the demo has no file that could say `listen`
            problems = [taken(each.message) if each.path == "listen" else each for each in error.problems]
            raise ConfigError(problems) from None

    def _config(self, issuer_url: str, ui_url: str) -> Config:
        secret_file = self._secret_file
        if secret_file is None and self.issuer is not None:
            secret_file = self._folder / "client-secret"
            with os.fdopen(os.open(secret_file, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file:
                file.write(SECRET + "\n")
        provider: dict[str, Any] = {"issuer": issuer_url, "client_id": self._client_id}
        if secret_file is not None:
            provider["client_secret_file"] = str(secret_file.absolute())
        document = {
            "listen": [f"127.0.0.1:{self.port}", f"[::1]:{self.port}"] if has_ipv6() else [f"127.0.0.1:{self.port}"],
            "admin": None,
            "provider": provider,
            "session": {"state_dir": str(self._folder / "state")},
            "sites": [{"url": self.url, "upstream": {"url": ui_url, "ui": "plain"}}],
            "log": {"format": "console"},
        }
        return parse_config(document, folder=self._folder)

    async def issuer_trouble(self) -> str | None:
        """What is in the way of somebody's own issuer, which need not be there at the start."""
        if self.issuer is not None or self.gate is None:
            return None
        try:
            async with asyncio.timeout(PATIENCE):
                for provider in self.gate.providers:
                    await provider.warm_up()
        except (ProviderError, TimeoutError) as error:
            return str(error) or f"no answer within {PATIENCE:g} s"
        return None

    async def stop(self) -> None:
        """Stop all three."""
        if self.gate is not None:
            await self.gate.stop(drain=1.0)
        if self.ui is not None:
            await self.ui.stop()
        if self.issuer is not None:
            await self.issuer.stop()


async def at_port(program: DemoIssuer | DemoUI, port: int) -> None:
    """
    Start one of the demo's programs.

    Raises:
        ConfigError: the port is taken.
    """
    try:
        await program.start(port=port)
    except OSError as error:
        raise ConfigError([taken(f"port {port} cannot be used: {error.strerror or error}")]) from None


def taken(what: str) -> Problem:
    """A port that somebody else has, with the way out."""
    return Problem("--port", f"{what}; choose another by --port 9000, or make demo PORT=9000")


def has_ipv6() -> bool:
    """Whether ``localhost`` may mean ``::1`` on this machine."""
    return Path("/proc/net/if_inet6").exists() and Path("/proc/net/if_inet6").read_text().strip() != ""


def story(demo: Demo, trouble: str | None = None) -> str:
    """What to open, as whom, and what to try; first of all, what is in the way."""
    lines = ["", f"  Open  {demo.url}", ""]
    if trouble is not None:
        lines[1:1] = [f"  Nobody can sign in yet: {trouble}", "  Is --issuer right? The gate tries on.", ""]
    if demo.issuer is not None:
        lines.append("  Sign in as")
        for person in DEMO_PEOPLE:
            groups = ", ".join(person.groups) or "no groups"
            lines.append(f"    {person.login:6} password {person.password:6}  {person.name} ({groups})")
        lines.append("")
    if demo.issuer is not None:
        rights = "alice sees every namespace, bob one, carol none: the token's groups decide, not the gate"
    else:
        rights = "the token's groups decide: platform-admins sees every namespace, team-shop one, others none"
    lines += [
        "  Try",
        f"    - {rights}",
        f"    - a deep link: {demo.url}/#/pods/shop",
        "    - a pod's Logs and Terminal; type `whoami` there",
        f"    - {demo.url}/oauth2/sign_out in another tab, and watch the terminal close",
    ]
    if demo.issuer is not None:
        lines.append(f"    - tokens live {TOKEN_LIFE // 60} minutes here; the page's clock shows them being renewed")
    return "\n".join([*lines, "", "  Ctrl-C ends it.", ""])


def demo(options: argparse.Namespace) -> int:
    """
    Run the demo until Ctrl-C.

    Raises:
        ConfigError: it cannot start.
    """
    problems = check_runtime()
    if problems:
        raise ConfigError(problems)
    set_up_logging(form="console", level="info")
    with tempfile.TemporaryDirectory(prefix="oidcgate-demo-") as folder:
        program = Demo(
            port=options.port,
            issuer=options.issuer,
            client_id=options.client_id,
            secret_file=options.client_secret_file,
            folder=Path(folder),
        )
        uvloop.run(_until_signal(program))
    return 0


async def _until_signal(program: Demo) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    try:
        await program.start()
        print(story(program, await program.issuer_trouble()), flush=True)
        await stopping.wait()
    finally:
        await program.stop()
    print("bye", file=sys.stderr)
