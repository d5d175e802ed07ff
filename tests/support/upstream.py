"""
An upstream that does exactly what a test says, byte for byte, and a gate before it with two people signed in.

A test gives a script, which is told of each request and writes what it likes: nothing, half a reply, two of them.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.browser import Browser
from tests.support.raw import LIMIT, Reply, Wire, connect, request
from tests.support.stack import Stack

SLOW, QUICK = "slow", "quick"
WAYS = (SLOW, QUICK)
WARM = "/warm"  # a target answered without the script
PEOPLE = ("alice", "bob")

Pairs = Sequence[tuple[str, str]]


def answer(body: bytes = b"ok", *, status: str = "200 OK", headers: Pairs = ()) -> bytes:
    """A reply with a length."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{lines}\r\n".encode("latin-1") + body


@dataclass
class Arrived:
    """A request as it stood on the wire."""

    raw: bytes  # the head, blank line included
    link: "Link" = field(repr=False)
    body: bytes = b""

    @property
    def first_line(self) -> bytes:
        return self.raw.partition(b"\r\n")[0]

    @property
    def target(self) -> str:
        return self.first_line.split(b" ")[1].decode("latin-1")

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """Names as they came, and values."""
        lines = self.raw[:-4].split(b"\r\n")[1:]
        return [(name, value.strip()) for name, _, value in (line.partition(b":") for line in lines)]

    def values(self, name: str) -> list[str]:
        """All values of a header."""
        return [value.decode("latin-1") for key, value in self.headers if key.lower() == name.lower().encode()]

    def value(self, name: str) -> str:
        """The only value of a header; empty when it is absent."""
        values = self.values(name)
        assert len(values) < 2, f"{name} came {len(values)} times"
        return values[0] if values else ""


class Link:
    """One connection to the upstream."""

    def __init__(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.number = number
        self.reader = reader
        self.writer = writer
        self.ended = asyncio.Event()

    async def send(self, data: bytes) -> None:
        """Write bytes, as fast as the gate takes them."""
        self.writer.write(data)
        await self.writer.drain()

    def close(self) -> None:
        """End the connection in an orderly way."""
        self.writer.close()

    def abort(self) -> None:
        """Cut the connection."""
        self.writer.transport.abort()

    async def read(self, count: int) -> bytes:
        """Exactly so many bytes."""
        return await asyncio.wait_for(self.reader.readexactly(count), LIMIT)

    async def rest(self) -> bytes:
        """Everything up to the gate's end of the connection."""
        try:
            return await asyncio.wait_for(self.reader.read(-1), LIMIT)
        except ConnectionError:
            return b""

    async def head(self) -> bytes:
        """A request's head; empty at the end of the connection."""
        try:
            return await self.reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return b""

    async def body(self, arrived: Arrived) -> bytes:
        """The request's body as its framing says; of a chunked one the bytes as they stood on the wire."""
        if arrived.value("Transfer-Encoding"):
            raw = b""
            while not raw.endswith(b"0\r\n\r\n"):
                raw += await self.reader.readuntil(b"\r\n")
            return raw
        return await self.read(int(arrived.value("Content-Length") or "0"))


Script = Callable[[Link, Arrived], Awaitable[None]] | bytes


class ScriptedUpstream:
    """
    Listens, records each request, and runs the script for it.

    Attributes:
        script: what happens at a request; bytes are simply written. A script that closes its link ends the connection.
        reads_body: whether the body is read before the script runs.
        requests: what came, less what asked for ``WARM``.
        links: every connection so far.
    """

    def __init__(self, *, tls: ssl.SSLContext | None = None, path: Path | None = None) -> None:
        self._tls = tls
        self._path = path
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._failures: list[BaseException] = []
        self._port = 0
        self.reset()
        self.links: list[Link] = []

    def reset(self) -> None:
        """Forget the script and what came."""
        self.script: Script = answer()
        self.reads_body = True
        self.requests: list[Arrived] = []
        self._news: asyncio.Queue[Arrived] = asyncio.Queue()

    @property
    def url(self) -> str:
        """Where it listens."""
        if self._path is not None:
            return f"unix:{self._path}"
        return f"{'https' if self._tls else 'http'}://localhost:{self._port}"

    async def start(self) -> None:
        """Listen, again on the same port if it did before."""
        if self._path is not None:
            self._server = await asyncio.start_unix_server(self._accept, self._path)
        else:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port, ssl=self._tls, limit=2**22)
            self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close everything; what went wrong in a script fails the test."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.raise_failures()

    def raise_failures(self) -> None:
        """Raise what a script raised."""
        failures, self._failures = self._failures, []
        if failures:
            raise failures[0]

    async def arrived(self) -> Arrived:
        """Wait for the next request."""
        return await asyncio.wait_for(self._news.get(), LIMIT)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = Link(len(self.links), reader, writer)
        self.links.append(link)
        task = asyncio.get_running_loop().create_task(self._serve(link))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, link: Link) -> None:
        try:
            while not link.writer.is_closing() and (raw := await link.head()):
                await self._answer(link, Arrived(raw, link))
        except (ConnectionError, asyncio.IncompleteReadError):  # the gate has cut the connection
            pass
        except (TimeoutError, Exception) as error:
            self._failures.append(error)
        finally:
            link.ended.set()
            link.writer.close()
            with suppress(ConnectionError, OSError):
                await link.writer.wait_closed()

    async def _answer(self, link: Link, arrived: Arrived) -> None:
        if arrived.target == WARM:
            await link.send(answer())
            return
        if self.reads_body:
            arrived.body = await link.body(arrived)
        self.requests.append(arrived)
        self._news.put_nowait(arrived)
        if isinstance(self.script, bytes):
            await link.send(self.script)
        else:
            await self.script(link, arrived)


class Gated(Stack):
    """A gate before a scripted upstream; each of ``PEOPLE`` is signed in."""

    def __init__(self, *, upstream: ScriptedUpstream | None = None, **options: Any) -> None:
        super().__init__(upstream="", **options)
        self.upstream = upstream or ScriptedUpstream()
        self.browsers: dict[str, Browser] = {}
        self.handles: dict[str, str] = {}

    async def __aenter__(self) -> "Gated":
        await self.upstream.start()
        self._upstream = self.upstream.url
        await super().__aenter__()
        for who in PEOPLE:
            await self.sign_in(who)
        return self

    async def __aexit__(self, *error: object) -> None:
        await super().__aexit__(*error)
        await self.upstream.stop()

    async def sign_in(self, who: str) -> None:
        """Give somebody a new session."""
        browser = self.browsers[who] = Browser()
        page = await browser.sign_in(f"{self.url}/oauth2/start?rd=/oauth2/userinfo", who)
        assert page.status == 200, page.text
        self.handles[who] = browser.cookie("oidcgate") or ""

    async def reset(self) -> None:
        """A new script, no pooled connection, no remembered header block, and everybody signed in."""
        self.upstream.reset()
        self.forget_connections()
        self.running.gate.facts._known.clear()
        for who, handle in list(self.handles.items()):
            if self.running.sessions.find(handle.encode()) is None:
                await self.sign_in(who)

    def forget_connections(self) -> None:
        """Close what is pooled."""
        for site in self.running.sites:
            site.pools.close()

    @property
    def running(self) -> Any:
        """The gate's server."""
        assert self.gate is not None
        return self.gate

    @property
    def pool(self) -> Any:
        """The only pool."""
        return self.running.sites[0].pools.pools[0]

    @property
    def taken(self) -> int:
        """How many requests went the quick way."""
        return int(self.running.quick.taken)

    def bearer(self, who: str = "alice") -> str:
        """The Authorization that must arrive with somebody's requests."""
        live = self.running.sessions.find(self.handles[who].encode())
        return str(live.bearer.decode().partition(": ")[2].strip())

    def request(
        self,
        target: str = "/",
        *,
        method: str = "GET",
        headers: Pairs = (),
        body: bytes = b"",
        who: str | None = "alice",
        version: str = "HTTP/1.1",
        host: str | None = None,
    ) -> bytes:
        """A request's bytes, with Host, the session's cookie, and what a script of our own page sends."""
        pairs = [("Cookie", f"oidcgate={self.handles[who]}")] if who is not None else []
        if not any(name.lower().startswith("sec-fetch") for name, _ in headers):
            pairs.append(("Sec-Fetch-Site", "same-origin"))
        where = f"localhost:{self.port}" if host is None else host
        return request(target, method=method, host=where, headers=[*pairs, *headers], body=body, version=version)

    @asynccontextmanager
    async def wire(self) -> AsyncIterator[Wire]:
        """A connection to the gate."""
        wire = await connect(self.port)
        try:
            yield wire
        finally:
            await wire.close()

    async def prepare(self, wire: Wire, way: str, raw: bytes) -> None:
        """Make sure that a request takes one way or the other."""
        if way == SLOW:
            self.running.gate.facts._known.clear()
            return
        head, _, _ = raw.partition(b"\r\n\r\n")
        _, _, lines = head.partition(b"\r\n")
        await wire.send(f"GET {WARM} HTTP/1.1\r\n".encode() + lines + b"\r\n\r\n")
        assert (await wire.reply()).status == 200
        await until(self.connection(wire)._is_idle)

    def connection(self, wire: Wire) -> Any:
        """The gate's end of a connection."""
        port = wire.writer.get_extra_info("sockname")[1]
        ends = self.running.connections()
        return next(c for c in ends if c.transport and c.transport.get_extra_info("peername")[1] == port)

    async def send(self, wire: Wire, way: str, raw: bytes) -> None:
        """Send a request on one way; whether it took that one is asserted."""
        await self.prepare(wire, way, raw)
        before = self.taken
        await wire.send(raw)
        if way == QUICK:
            await until(lambda: self.taken > before)
        else:
            await until(lambda: self.connection(wire)._current_request)
        assert self.taken - before == (way == QUICK)

    async def ask(
        self, way: str, target: str = "/", *, method: str = "GET", lands: str | None = None, **options: Any
    ) -> Reply:
        """Send a request on one way and read the reply; ``lands`` says that the quick way must decline it."""
        raw = self.request(target, method=method, **options)
        async with self.wire() as wire:
            await self.prepare(wire, way, raw)
            before = self.taken
            await wire.send(raw)
            reply = await wire.reply(method)
            assert self.taken - before == ((lands or way) == QUICK)
            return reply

    async def fetch(self, raw: bytes, method: str = "GET") -> Reply:
        """Send bytes on a connection of their own and read one reply."""
        async with self.wire() as wire:
            await wire.send(raw)
            return await wire.reply(method)


async def until(condition: Callable[[], object]) -> None:
    """Let the event loop turn until something holds that no event tells of."""
    async with asyncio.timeout(LIMIT):
        while not condition():
            await asyncio.sleep(0)
