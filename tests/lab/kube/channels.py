"""
The numbered channels of an exec, an attach or a port-forward, over a websocket or over SPDY.

A websocket's message begins with its channel's number. Of SPDY's streams each says what it is for; port-forward may
open more of them at any time, also inside of a websocket ("tunnel").
"""

import asyncio
from asyncio import StreamReader, StreamReaderProtocol, StreamWriter
from collections import deque
from collections.abc import Coroutine, Set
from contextlib import suppress
from typing import Protocol

from aiohttp import WSMsgType, web

from tests.lab.kube.container import ERROR, RESIZE, STDERR, STDIN, STDOUT
from tests.lab.kube.spdy import Arrived, Opened, Spdy

CLOSE = 255  # v5 of exec only: the channel named next gets nothing more
TYPES = {"stdin": STDIN, "stdout": STDOUT, "stderr": STDERR, "error": ERROR, "resize": RESIZE}
TUNNEL = "SPDY/3.1+"  # before the protocol that is spoken inside of it
END_LIMIT = 5.0  # seconds in which a client hangs up when all was said


class Channels(Protocol):
    """What exec and attach need."""

    async def receive(self) -> tuple[int, bytes] | None:
        """Bytes of a channel, none of them at the channel's end; None when the client is gone."""

    async def send(self, channel: int, data: bytes) -> None:
        """Send bytes on a channel, if the client has it."""

    async def close(self) -> None:
        """End all channels."""


class WebSocketChannels:
    """A message for each."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self.socket = socket

    async def receive(self) -> tuple[int, bytes] | None:
        """See `Channels`."""
        async for message in self.socket:
            if message.type is WSMsgType.BINARY and message.data:
                channel, data = message.data[0], message.data[1:]
                if channel == CLOSE:
                    return data[0], b""
                if data:
                    return channel, data
        return None

    async def send(self, channel: int, data: bytes) -> None:
        """See `Channels`."""
        await self.socket.send_bytes(bytes((channel,)) + data)

    async def close(self) -> None:
        """See `Channels`."""
        await self.socket.close()


class Link(Protocol):
    """Bytes both ways, for SPDY."""

    async def read(self) -> bytes:
        """Some bytes; none at the end."""

    async def write(self, data: bytes) -> None:
        """Send bytes."""

    async def close(self) -> None:
        """Hang up."""


class Tunnel:
    """Bytes in a websocket's messages."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self.socket = socket

    async def read(self) -> bytes:
        """See `Link`."""
        async for message in self.socket:
            if message.type is WSMsgType.BINARY and message.data:  # the client sends empty ones, too
                return bytes(message.data)
        return b""

    async def write(self, data: bytes) -> None:
        """See `Link`."""
        await self.socket.send_bytes(data)

    async def close(self) -> None:
        """See `Link`."""
        await self.socket.close()


class Upgraded:
    """The connection of a request that was answered by 101, and that aiohttp has no part in any more."""

    def __init__(self, request: web.Request, protocol: str) -> None:
        transport, loop = request.transport, asyncio.get_running_loop()
        assert transport is not None
        lines = "Connection: Upgrade\r\nUpgrade: SPDY/3.1", f"X-Stream-Protocol-Version: {protocol}"
        transport.write("\r\n".join(("HTTP/1.1 101 Switching Protocols", *lines, "", "")).encode())
        self._reader = StreamReader()
        taking_over = StreamReaderProtocol(self._reader)
        transport.set_protocol(taking_over)
        taking_over.connection_made(transport)
        self._writer = StreamWriter(transport, taking_over, self._reader, loop)

    async def read(self) -> bytes:
        """See `Link`."""
        return await self._reader.read(65536)

    async def write(self, data: bytes) -> None:
        """See `Link`."""
        self._writer.write(data)
        await self._writer.drain()

    async def close(self) -> None:
        """See `Link`."""
        self._writer.close()


class SpdyStreams:
    """Streams that the client opens, by number."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._spdy = Spdy()
        self._events: deque[Opened | Arrived] = deque()

    async def event(self) -> Opened | Arrived | None:
        """The next event; None when the client is gone."""
        while not self._events:
            data = b""
            with suppress(ConnectionError):
                data = await self._link.read()
            if not data:
                return None
            self._events.extend(self._spdy.receive(data))
            if answers := self._spdy.to_send():
                await self._link.write(answers)
        return self._events.popleft()

    async def write(self, stream: int, data: bytes, *, end: bool = False) -> None:
        """Send bytes on a stream; ``end`` says that nothing follows."""
        await self._link.write(self._spdy.data(stream, data, end=end))

    async def close(self) -> None:
        """Let the client hang up first, so that it has read everything."""
        with suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(END_LIMIT):
                while await self.event():
                    pass
        await self._link.close()


class SpdyChannels:
    """A stream for each, named by its headers."""

    def __init__(self, link: Link) -> None:
        self._streams = SpdyStreams(link)
        self._numbers: dict[int, int] = {}

    async def open(self, wanted: Set[int]) -> None:
        """
        Wait until the client has opened these channels, before it sends on one.

        Raises:
            ConnectionError: it went away before.
        """
        while not wanted <= self._numbers.keys():
            event = await self._streams.event()
            if not isinstance(event, Opened):
                raise ConnectionResetError("the client went away before all streams were open")
            self._numbers[TYPES[event.headers["streamtype"]]] = event.stream

    async def receive(self) -> tuple[int, bytes] | None:
        """See `Channels`."""
        while (event := await self._streams.event()) is not None:
            if isinstance(event, Arrived):
                channels = [channel for channel, stream in self._numbers.items() if stream == event.stream]
                return channels[0], event.data
        return None

    async def send(self, channel: int, data: bytes) -> None:
        """See `Channels`."""
        if channel in self._numbers and data:
            await self._streams.write(self._numbers[channel], data)

    async def close(self) -> None:
        """See `Channels`."""
        with suppress(ConnectionError):
            for stream in self._numbers.values():
                await self._streams.write(stream, b"", end=True)
        await self._streams.close()


async def first_of(*parts: Coroutine[None, None, None]) -> None:
    """Run all until one of them is done; the others are given up. A client that is gone is no error."""
    tasks = [asyncio.create_task(part) for part in parts]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        with suppress(ConnectionError):
            task.result()
