"""The other ends of many idle websockets, as a process: agrees to every handshake and then says nothing."""

import asyncio
import base64
import hashlib
import sys

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 §1.3


async def answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while head := await request_head(reader):
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in head)}
        key = fields.get(b"sec-websocket-key")
        if key is None:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok")
            continue
        accept = base64.b64encode(hashlib.sha1(key + GUID, usedforsecurity=False).digest())
        lines = (b"HTTP/1.1 101 Switching Protocols", b"Upgrade: websocket", b"Connection: Upgrade")
        writer.write(b"\r\n".join((*lines, b"Sec-WebSocket-Accept: " + accept, b"", b"")))
    writer.close()


async def request_head(reader: asyncio.StreamReader) -> list[bytes]:
    """The lines of a request's head; none when the other side has gone."""
    try:
        return (await reader.readuntil(b"\r\n\r\n"))[:-4].split(b"\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return []


async def main() -> None:
    listener = await asyncio.start_server(answered, "127.0.0.1", int(sys.argv[1]), backlog=1024)
    async with listener:
        await listener.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
