"""Big bodies through a gate of its own process: what it holds stays small, however slow the other side is."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest
import yaml

from oidcgate.demo.issuer import DEMO_PEOPLE, Client, DemoIssuer
from tests.support.browser import Browser
from tests.support.raw import Wire, connect, request
from tests.support.stack import CLIENT, SECRET, listening, signing_key
from tests.support.upstream import Arrived, Link, ScriptedUpstream, answer, until

SIZE = int(os.environ.get("OIDCGATE_TEST_STREAM", "200")) * 1024 * 1024
PIECE = bytes(range(256)) * 1024  # 256 KiB
MOST_EXTRA = 30 * 1024 * 1024
SLOW_PART = 16 * 1024 * 1024  # how far the slow side is slow


class Served:
    """A gate run by ``oidcgate serve``, and somebody signed in."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, upstream: ScriptedUpstream) -> None:
        self.process = process
        self.port = port
        self.upstream = upstream
        self.cookie = ""
        self.most = 0
        self.measured: psutil.Process | None = None

    def serving(self, wire: Wire) -> psutil.Process | None:
        """The process that holds the gate's end of a connection; the one that was started may be its master."""
        port = wire.writer.get_extra_info("sockname")[1]
        started = psutil.Process(self.process.pid)
        for process in (started, *started.children(recursive=True)):
            if any(c.raddr and c.raddr.port == port for c in process.net_connections("tcp")):
                return process
        return None

    def request(self, **options: object) -> bytes:
        """A request's bytes."""
        headers = {"Cookie": self.cookie, "Origin": f"http://localhost:{self.port}", "Sec-Fetch-Site": "same-origin"}
        headers.update(options.pop("headers", {}))  # type: ignore[call-overload]
        return request("/big", host=f"localhost:{self.port}", headers=headers, **options)  # type: ignore[arg-type]

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[Wire]:
        """A connection, after which the process must not have grown by much; ``look`` is called on the way."""
        wire = await connect(self.port)
        await until(lambda: self.serving(wire))
        self.measured = self.serving(wire)
        self.most = 0
        self.look()
        before, busy = self.most, sum(self.measured.cpu_times()[:2])
        yield wire
        assert sum(self.measured.cpu_times()[:2]) > busy, "the measured process did nothing"
        await wire.close()
        self.look()
        extra = self.most - before
        print(f"{SIZE >> 20} MiB passed; {before / 2**20:.1f} MiB in memory before, {self.most / 2**20:.1f} at most")
        assert extra < MOST_EXTRA

    def look(self) -> None:
        """Remember the most memory seen."""
        self.most = max(self.most, self.measured.memory_info().rss)


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    """The process, warmed up."""
    with listening() as free:
        port = free.getsockname()[1]
    issuer = DemoIssuer(DEMO_PEOPLE, (), key=signing_key())
    await issuer.start()
    issuer.add_client(Client(CLIENT, SECRET, (f"http://localhost:{port}/oauth2/callback",)))
    upstream = ScriptedUpstream()
    await upstream.start()
    secret = tmp_path / "secret"
    secret.touch(0o600)
    secret.write_text(SECRET)
    config = {
        "listen": [f"127.0.0.1:{port}"],
        "admin": None,
        "provider": {"issuer": issuer.url, "client_id": CLIENT, "client_secret_file": str(secret)},
        "session": {"state_dir": str(tmp_path / "state")},
        "sites": [{"url": f"http://localhost:{port}", "upstream": {"url": upstream.url}}],
    }
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(config))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "oidcgate", "serve", "--config", str(file),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        while b"listening on" not in await asyncio.wait_for(process.stdout.readline(), 15):
            pass
        gate = Served(process, port, upstream)
        browser = Browser()
        page = await browser.sign_in(f"http://localhost:{port}/oauth2/start?rd=/oauth2/userinfo")
        assert page.status == 200
        gate.cookie = f"oidcgate={browser.cookie('oidcgate')}"
        yield gate
    finally:
        process.terminate()
        await asyncio.wait_for(process.communicate(), 30)
        await upstream.stop()
        await issuer.stop()


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_a_big_download_to_a_slow_reader(served: Served, framing: str) -> None:
    """It arrives whole; while the reader is slow, the upstream waits."""
    sent = 0

    async def script(link: Link, _arrived: Arrived) -> None:
        nonlocal sent
        chunked = framing == "chunked"
        head = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {SIZE}"
        await link.send(f"HTTP/1.1 200 OK\r\n{head}\r\n\r\n".encode())
        while sent < SIZE:
            await link.send(b"%x\r\n%b\r\n" % (len(PIECE), PIECE) if chunked else PIECE)
            sent += len(PIECE)
        await link.send(b"0\r\n\r\n" if chunked else b"")

    served.upstream.script = script
    async with served.watched() as wire:
        await wire.send(served.request())
        reply = await wire.head()
        assert reply.status == 200
        got = 0
        while got < SIZE:
            if framing == "chunked":
                size = int(await wire.reader.readuntil(b"\r\n"), 16)
                data = (await wire.exactly(size + 2))[:-2]
            else:
                data = await wire.reader.read(2**18)
                assert data
            if got < SLOW_PART:
                await asyncio.sleep(0.001)  # the reader's slowness, not a wait for something
                assert sent - got < 2**26
            at = got % 256
            assert data[:16] == (PIECE[:512])[at : at + 16][: len(data)]
            got += len(data)
            served.look()
        assert got == SIZE


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_a_big_upload_to_a_slow_upstream(served: Served, framing: str) -> None:
    """It arrives whole; while the upstream is slow, the client waits."""
    served.upstream.reads_body = False
    received = 0

    async def script(link: Link, arrived: Arrived) -> None:
        nonlocal received
        chunked = arrived.value("Transfer-Encoding") == "chunked"
        while received < SIZE:
            if chunked:
                size = int(await link.reader.readuntil(b"\r\n"), 16)
                data = (await link.read(size + 2))[:-2]
            else:
                data = await link.reader.read(2**18)
                assert data
            if received < SLOW_PART:
                await asyncio.sleep(0.001)  # the reader's slowness, not a wait for something
            received += len(data)
            served.look()
        if chunked:
            assert await link.read(5) == b"0\r\n\r\n"
        await link.send(answer())

    served.upstream.script = script
    chunked = framing == "chunked"
    how = {"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": str(SIZE)}
    async with served.watched() as wire:
        await wire.send(served.request(method="POST", headers=how))
        for _ in range(SIZE // len(PIECE)):
            await wire.send(b"%x\r\n%b\r\n" % (len(PIECE), PIECE) if chunked else PIECE)
        await wire.send(b"0\r\n\r\n" if chunked else b"")
        assert (await wire.reply()).status == 200
        assert received == SIZE
