"""Bytes on a wire: send exactly these, read exactly what comes."""

import asyncio
import contextlib
from dataclasses import dataclass, field

LIMIT = 15.0  # seconds after which a test is stuck


@dataclass
class Reply:
    """A reply as it stood on the wire."""

    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes = b""
    complete: bool = True  # the body ended as its framing says

    def values(self, name: str) -> list[str]:
        """All values of a header."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def value(self, name: str, default: str = "") -> str:
        """The first value of a header."""
        return next(iter(self.values(name)), default)

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8", "replace")


@dataclass
class Wire:
    """One connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    sent: list[bytes] = field(default_factory=list)

    async def send(self, data: bytes) -> None:
        """Write bytes."""
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> Reply:
        """Read a reply's head."""
        raw = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), LIMIT)
        first, *lines = raw[:-4].decode("latin-1").split("\r\n")
        _, status, *reason = first.split(" ", 2)
        headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        return Reply(int(status), " ".join(reason), headers)

    async def reply(self, method: str = "GET") -> Reply:
        """Read a whole reply; ``complete`` says whether its body ended properly."""
        reply = await self.head()
        if method == "HEAD" or reply.status in (204, 304) or reply.status < 200:
            return reply
        try:
            if "chunked" in reply.value("Transfer-Encoding"):
                reply.body = await self._chunks(reply)
            elif reply.values("Content-Length"):
                reply.body = await self.exactly(int(reply.value("Content-Length")))
            else:
                reply.body = await self.rest()
        except asyncio.IncompleteReadError as error:
            reply.complete = False
            reply.body = reply.body or error.partial
        return reply

    async def _chunks(self, reply: Reply) -> bytes:
        while True:
            size = int(await asyncio.wait_for(self.reader.readuntil(b"\r\n"), LIMIT), 16)
            data = await self.exactly(size + 2)
            if not size:
                return reply.body
            reply.body += data[:-2]

    async def exactly(self, count: int) -> bytes:
        """Read so many bytes."""
        return await asyncio.wait_for(self.reader.readexactly(count), LIMIT)

    async def rest(self) -> bytes:
        """Read to the end of the connection."""
        try:
            return await asyncio.wait_for(self.reader.read(-1), LIMIT)
        except ConnectionResetError:
            return b""

    async def is_closed(self) -> bool:
        """Wait for the end of the connection; nothing may come before it."""
        return await self.rest() == b""

    async def close(self) -> None:
        """Hang up."""
        self.writer.close()
        with contextlib.suppress(ConnectionError, OSError):
            await self.writer.wait_closed()


async def connect(port: int, host: str = "127.0.0.1", **options: object) -> Wire:
    """Dial."""
    reader, writer = await asyncio.open_connection(host, port, limit=2**22, **options)  # type: ignore[arg-type]
    return Wire(reader, writer)


async def fetch(port: int, request: bytes, method: str = "GET", host: str = "127.0.0.1") -> Reply:
    """Send a request on a connection of its own, read the reply, hang up."""
    wire = await connect(port, host)
    try:
        await wire.send(request)
        return await wire.reply(method)
    finally:
        await wire.close()


def request(
    target: str = "/",
    *,
    method: str = "GET",
    host: str = "localhost",
    headers: dict[str, str] | list[tuple[str, str]] | None = None,
    body: bytes = b"",
    version: str = "HTTP/1.1",
) -> bytes:
    """A request's bytes; nothing is added but Host and, with a body, Content-Length."""
    pairs = list(headers.items()) if isinstance(headers, dict) else list(headers or [])
    names = {name.lower() for name, _ in pairs}
    if "host" not in names and host:
        pairs.insert(0, ("Host", host))
    if body and not names & {"content-length", "transfer-encoding"}:
        pairs.append(("Content-Length", str(len(body))))
    lines = "".join(f"{name}: {value}\r\n" for name, value in pairs)
    return f"{method} {target} {version}\r\n{lines}\r\n".encode("latin-1") + body
