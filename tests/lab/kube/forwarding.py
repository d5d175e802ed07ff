"""Port-forward: bytes between a client's channels and ports on loopback that stand for a pod's."""

import asyncio
from asyncio import Queue, StreamWriter, Task
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from aiohttp import web

from tests.lab.kube.channels import Link, SpdyStreams, WebSocketChannels, first_of
from tests.lab.kube.spdy import Opened

Say = Callable[[bytes], Awaitable[None]]


async def forward_channels(socket: web.WebSocketResponse, ports: list[int], where: Mapping[int, int]) -> None:
    """
    Two channels for each port, data and errors; both begin with the port's number, low byte first.

    Args:
        ports: what the client asked for.
        where: the real ports.
    """
    channels = WebSocketChannels(socket)
    typed: list[Queue[bytes]] = [Queue() for _ in ports]

    async def one(index: int) -> None:
        async def say(data: bytes) -> None:
            await channels.send(2 * index, data)

        for channel in (2 * index, 2 * index + 1):
            await channels.send(channel, ports[index].to_bytes(2, "little"))
        if problem := await carry(ports[index], where, typed[index], say):
            await channels.send(2 * index + 1, problem.encode())

    async def listen() -> None:
        while (arrived := await channels.receive()) is not None:
            typed[arrived[0] // 2].put_nowait(arrived[1])

    async def all_ports() -> None:
        await asyncio.gather(*map(one, range(len(ports))))

    await first_of(listen(), all_ports())
    await channels.close()


async def forward_streams(link: Link, where: Mapping[int, int]) -> None:
    """Two streams for each connection of the client, which opens them at any time, until it is gone."""
    streams = SpdyStreams(link)
    pairs: dict[str, dict[str, int]] = defaultdict(dict)
    typed: dict[int, Queue[bytes]] = defaultdict(Queue)
    running: set[Task[None]] = set()

    async def one(port: int, pair: dict[str, int]) -> None:
        async def say(data: bytes) -> None:
            await streams.write(pair["data"], data)

        problem = await carry(port, where, typed[pair["data"]], say)
        with suppress(ConnectionError):
            await streams.write(pair["error"], problem.encode(), end=True)
            await streams.write(pair["data"], b"", end=True)

    try:
        while (event := await streams.event()) is not None:
            if not isinstance(event, Opened):
                typed[event.stream].put_nowait(event.data)
                continue
            pair = pairs[event.headers["requestid"]]
            pair[event.headers["streamtype"]] = event.stream
            if len(pair) == 2:
                running.add(asyncio.create_task(one(int(event.headers["port"]), pair)))
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await link.close()


async def carry(port: int, where: Mapping[int, int], typed: Queue[bytes], say: Say) -> str:
    """Carry bytes both ways until the port closes; returns what is wrong, or nothing."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", where[port])
    except (KeyError, OSError) as problem:
        return f"error forwarding port {port}: {problem!r}"
    feeding = asyncio.create_task(_feed(typed, writer))
    try:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                await say(data)
    finally:
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)
        writer.close()
    return ""


async def _feed(typed: Queue[bytes], writer: StreamWriter) -> None:
    while data := await typed.get():
        writer.write(data)
        await writer.drain()
    writer.write_eof()
