"""A container of the kubelet double: what it has said, what runs in it, and the streams of whoever looks in."""

import asyncio
import json
import shlex
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from multidict import MultiMapping

STDIN, STDOUT, STDERR, ERROR, RESIZE = range(5)  # channels: the first byte of each message
SHELLS = ("sh", "bash", "/bin/sh", "/bin/bash")


@dataclass
class Container:
    """What a container has said, and what runs in it."""

    lines: list[tuple[datetime, str]] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def say(self, *lines: str) -> None:
        """Write lines to its log; followers see them at once."""
        self.lines += [(datetime.now(UTC), line) for line in lines]
        self.changed.set()
        self.changed = asyncio.Event()

    async def more(self, seen: int) -> None:
        """Wait until there are more lines than that."""
        while len(self.lines) <= seen:
            await self.changed.wait()


class Terminal:
    """
    The streams of one exec or attach.

    Args:
        send: sends bytes on a channel to the client.
        query: what was asked for.

    Attributes:
        sizes: what the client said of its window, such as ``{"Width": 80, "Height": 24}``.
    """

    def __init__(
        self, send: Callable[[int, bytes], Awaitable[None]], query: MultiMapping[str], container: Container
    ) -> None:
        self.container = container
        self.command = query.getall("command", [])
        self.has_tty = query.get("tty") == "1"
        self.sizes: list[dict[str, int]] = []
        self._has_stdin = query.get("input") == "1"
        self._send = send
        self._typed: asyncio.Queue[bytes] = asyncio.Queue()
        self._at_end = False

    async def read(self) -> bytes:
        """What was typed; empty at the end."""
        if not self._has_stdin or self._at_end:
            return b""
        data = await self._typed.get()
        self._at_end = not data
        return data

    async def write(self, data: bytes | str, channel: int = STDOUT) -> None:
        """Send to the client; with a terminal there is no standard error."""
        raw = data.encode() if isinstance(data, str) else data
        if self.has_tty:
            channel, raw = (STDOUT if channel == STDERR else channel), raw.replace(b"\n", b"\r\n")
        await self._send(channel, raw)

    async def finish(self, status: int) -> None:
        """Tell how the command ended, in words of the API."""
        body: dict[str, Any] = {"metadata": {}, "status": "Success"}
        if status:
            body = {
                "metadata": {},
                "status": "Failure",
                "message": f"command terminated with non-zero exit code: {status}",
                "reason": "NonZeroExitCode",
                "details": {"causes": [{"reason": "ExitCode", "message": str(status)}]},
            }
        await self._send(ERROR, json.dumps(body).encode())

    def feed(self, channel: int, data: bytes) -> None:
        """Something came from the client; no bytes are the end of a channel."""
        if channel == STDIN:
            self._typed.put_nowait(data)
        elif channel == RESIZE and data:
            self.sizes.append(json.loads(data))


Program = Callable[[Terminal], Awaitable[int]]


async def busybox(terminal: Terminal) -> int:
    """Run a few commands; returns the exit status."""
    return await _run(terminal, terminal.command)


async def _run(terminal: Terminal, words: list[str]) -> int:
    match words:
        case ["echo", *rest]:
            await terminal.write(" ".join(rest) + "\n")
        case ["cat"]:
            while data := await terminal.read():
                await terminal.write(data)
        case [shell, "-c", line] if shell in SHELLS:
            return await _run(terminal, shlex.split(line))
        case [shell] if shell in SHELLS:
            return await _shell(terminal)
        case ["exit", status]:
            return int(status)
        case ["false"]:
            return 1
        case []:
            pass
        case [other, *_]:
            await terminal.write(f"{other}: not found\n", STDERR)
            return 127
    return 0


async def _shell(terminal: Terminal) -> int:
    """Read lines and run them; with a terminal they are echoed, and there is a prompt."""
    status, line = 0, ""
    await terminal.write("$ " if terminal.has_tty else b"")
    while data := await terminal.read():
        line += data.decode().replace("\r", "\n")
        if terminal.has_tty:
            await terminal.write(data.replace(b"\r", b"\n"))
        while "\n" in line:
            first, _, line = line.partition("\n")
            words = shlex.split(first)
            if words[:1] == ["exit"]:
                return int(words[1]) if words[1:] else status
            status = await _run(terminal, words)
            await terminal.write("$ " if terminal.has_tty else b"")
    return status
