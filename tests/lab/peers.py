"""
Proxies that ask the gate: the stack behind one, its process, and its row in docs/forward-auth.md.

A peer is whatever listens on ``stack.peer_port`` and carries the requests for ``stack.site`` to ``stack.ui``. Its
configuration is what `oidcgate snippet` prints, unedited. Everything listens on loopback and is stopped.
"""

import asyncio
import datetime
import os
import subprocess
import tempfile
from asyncio.subprocess import STDOUT
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from oidcgate.snippets.plan import Plan, make_plan
from tests.support.processes import LIMIT, free_ports
from tests.support.stack import Clock, Stack, merged, signing_key
from tests.web.steps import set_clock

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "forward-auth.md"
OPEN, CLOSE = "<!-- table -->", "<!-- /table -->"
DOMAIN = "k8s.localhost"  # with one cookie for all hosts below it
HEADERS = ["authorization", "x-auth-request", "x-forwarded"]


class AskedStack(Stack):
    """
    Issuer, UI, and a gate that is asked by a peer; all go by one clock.

    Args:
        shared: one cookie for all hosts below a domain; logins then end at a host of their own, straight at the gate.
            The gate's site is every host below the domain.
        secure: the peer ends TLS; its certificate is signed by nobody.
        site: further keys of the UI's site, such as ``{"upstream": {"ui": "dashboard-7"}}``.
        config: further keys of the configuration.

    Attributes:
        site: the UI's origin, as browsers use it: the peer's port.
        clock: turn it to let sessions expire.
    """

    def __init__(
        self,
        *,
        shared: bool = False,
        secure: bool = False,
        site: dict[str, Any] | None = None,
        config: dict[str, Any] | None = None,
    ) -> None:
        self.peer_port = free_ports()
        self.shared = shared
        self.secure = secure
        self.clock = Clock()
        self.site = f"{'https' if secure else 'http'}://ui.{DOMAIN if shared else 'localhost'}:{self.peer_port}"
        asked = {"forward_auth": {"peers": ["127.0.0.1"], "headers": HEADERS}, "session": {"store": "memory"}}
        super().__init__(
            site=merged({"url": self.configured, "upstream": {"url": []}}, site or {}),
            config=merged(asked, config or {}),
            issuer={"clock": self.clock},
            ui={"clock": self.clock, "tick": 0.05},
        )

    @property
    def configured(self) -> str:
        """The UI's site as the configuration names it."""
        return self.site.replace("ui.", "*.") if self.shared else self.site

    @property
    def url(self) -> str:
        """Where logins end."""
        return f"http://login.{DOMAIN}:{self.port}" if self.shared else self.site

    async def start_gate(self) -> Any:
        """Start the gate, with the clock."""
        gate = await super().start_gate()
        set_clock(self, self.clock)
        return gate

    def configuration(self) -> Any:
        """The gate's configuration; with a shared cookie it has the login's site besides."""
        if self.shared and "sites" not in self._config:
            sites = [{"url": self.url, "upstream": {"url": []}}, self._site]
            self._config = merged(
                self._config,
                {"session": {"cookie": {"domain": DOMAIN}}, "sites": sites},
            )
        return super().configuration()

    def plan(self) -> Plan:
        """What `oidcgate snippet` would print from, told where everything is."""
        assert self.ui is not None
        assert self.gate is not None
        cert_file, key_file = certificate(self.folder, "ui.localhost") if self.secure else (None, None)
        return make_plan(
            self.gate.config,
            site=self.configured,
            gate=f"http://127.0.0.1:{self.port}",
            upstream=self.ui.url,
            listen=f"127.0.0.1:{self.peer_port}",
            cert_file=cert_file,
            key_file=key_file,
        )


@dataclass
class Peer:
    """
    A proxy that runs.

    Attributes:
        name: as `oidcgate snippet` calls it.
        limits: what this peer cannot do, by the name of the check: the check may fail, and the table says this. The
            text does not begin with ``no:``.
    """

    name: str
    stack: AskedStack
    limits: Mapping[str, str] = field(default_factory=dict)

    @property
    def site(self) -> str:
        """The UI's origin."""
        return self.stack.site

    @property
    def port(self) -> int:
        """Where the peer listens."""
        return self.stack.peer_port


@asynccontextmanager
async def listening(*command: str | Path, port: int, cwd: Path | None = None) -> AsyncIterator[None]:
    """
    A program that runs in the foreground and listens on a port of loopback; ended by SIGTERM.

    Raises:
        RuntimeError: it ended, or took too long, before it listened; quotes what it said.
    """
    with tempfile.TemporaryFile() as said:
        process = await asyncio.create_subprocess_exec(*map(str, command), stdout=said, stderr=STDOUT, cwd=cwd)
        try:
            if not await _accepts(port, process):
                said.seek(0)
                raise RuntimeError(f"{command[0]} does not listen:\n{said.read().decode(errors='replace')}")
            yield
        finally:
            if process.returncode is None:
                process.terminate()
            await asyncio.wait_for(process.wait(), LIMIT)


async def _accepts(port: int, process: asyncio.subprocess.Process) -> bool:
    """Wait until a port accepts; False when its program has ended or takes too long."""
    with suppress(TimeoutError):
        async with asyncio.timeout(LIMIT):
            while process.returncode is None:
                with suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    return True
                await asyncio.sleep(0.02)
    return False


def certificate(folder: Path, host: str = "ui.example.com") -> tuple[str, str]:
    """Files with a self-signed certificate for a host, and with its key."""
    key = signing_key()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + datetime.timedelta(days=1))
    names = x509.SubjectAlternativeName([x509.DNSName(host)])
    signed = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
    files = folder / "site.pem", folder / "site.pem.key"  # beside each other, as HAProxy looks for them
    files[0].write_bytes(signed.public_bytes(Encoding.PEM))
    files[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return str(files[0]), str(files[1])


def said_by(*command: str) -> str:
    """What a program says at once, on either stream."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=True)
    return done.stdout + done.stderr


# The table in docs/forward-auth.md.


def hold_to_document(name: str, version: str, results: Mapping[str, str]) -> None:
    """
    Compare a peer's results with its row in the document, but for the version; with OIDCGATE_WRITE_DOCS=1 write it.

    Raises:
        AssertionError: they differ, or a check failed that this peer should pass.
    """
    failed = {check: text for check, text in results.items() if text.startswith("no: ")}
    assert failed == {}, f"{name}: {failed}"
    if os.environ.get("OIDCGATE_WRITE_DOCS") == "1":
        DOCUMENT.write_text(with_row(DOCUMENT.read_text(), name, version, results))
    row = rows(DOCUMENT.read_text()).get(name)
    assert row == dict(results), f"{name} is {dict(results)}: run this with OIDCGATE_WRITE_DOCS=1"


def rows(document: str) -> dict[str, dict[str, str]]:
    """The table: results by check, by peer. A row from before there was a new column is short."""
    head, _, *lines = [_cells(line) for line in _table(document)]
    return {name: dict(zip(head[2:], cells, strict=False)) for name, _, *cells in lines}


def with_row(document: str, name: str, version: str, results: Mapping[str, str]) -> str:
    """The document with one peer's row written anew; the columns are the results' own."""
    before, _, rest = document.partition(OPEN)
    _, _, after = rest.partition(CLOSE)
    kept = [_cells(line) for line in _table(document)[2:]]
    new = [name, version, *results.values()]
    lines = [new if cells[0] == name else cells for cells in kept]
    if new not in lines:
        lines.append(new)
    table = [["peer", "version", *results], ["---"] * (len(results) + 2), *lines]
    text = "\n".join("| " + " | ".join(cells) + " |" for cells in table)
    return f"{before}{OPEN}\n{text}\n{CLOSE}{after}"


def _table(document: str) -> list[str]:
    between = document.partition(OPEN)[2].partition(CLOSE)[0]
    return [line for line in between.splitlines() if line.startswith("|")]


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|\n ").split("|")]
