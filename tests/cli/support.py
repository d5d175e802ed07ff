"""The command line as a program of its own."""

import asyncio
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

LONG = 60.0  # seconds after which a program that says nothing has failed; never waited for otherwise


class Program:
    """A running `python -m oidcgate …`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.output = ""

    async def line(self, pattern: str) -> re.Match[str]:
        """Wait for a line of its output."""
        assert self.process.stdout is not None
        async with asyncio.timeout(LONG):
            while text := (await self.process.stdout.readline()).decode():
                self.output += text
                if found := re.search(pattern, text):
                    return found
        raise AssertionError(f"no {pattern!r} in:\n{self.output}\n{await self.errors()}")

    async def errors(self) -> str:
        """All that it wrote to standard error, when it has ended."""
        assert self.process.stderr is not None
        return (await self.process.stderr.read()).decode()

    async def end(self, number: int | None = None) -> tuple[int, str]:
        """Send a signal, wait for the end: the exit code and standard error; the rest of the output is kept."""
        assert self.process.stdout is not None
        if number is not None:
            self.process.send_signal(number)
        async with asyncio.timeout(LONG):
            rest, errors = await asyncio.gather(self.process.stdout.read(), self.errors())
            self.output += rest.decode()
            return await self.process.wait(), errors


def heed_interrupts() -> None:
    """A shell's background jobs ignore the interrupt key, and so would what they start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@asynccontextmanager
async def started(*arguments: str | Path, **environment: str) -> AsyncIterator[Program]:
    """Start a command; it is killed when the test leaves before it ended."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-W",
        "error::ResourceWarning",
        "-m",
        "oidcgate",
        *map(str, arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
        preexec_fn=heed_interrupts,
    )
    try:
        yield Program(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def ran(*arguments: str | Path, **environment: str) -> tuple[int, str, str]:
    """Run a command to its end: exit code, output, standard error."""
    async with started(*arguments, **environment) as program:
        code, errors = await program.end()
        return code, program.output, errors


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to a port of this machine."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(writer.wait_closed)
        stack.callback(writer.close)
        yield reader, writer


async def fetch(port: int, path: str, host: str) -> str:
    """One request over a connection of its own; the whole reply."""
    async with connected(port) as (reader, writer):
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        async with asyncio.timeout(LONG):
            return (await reader.read()).decode()


def is_free(port: int) -> bool:
    """Whether nobody listens on a port, on either address of localhost."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_ports(count: int) -> int:
    """The first of some ports in a row that are free."""
    for first in range(20_000 + os.getpid() % 5000, 60_000, count):
        if all(is_free(port) for port in range(first, first + count)):
            return first
    raise AssertionError("no free ports")


CONFIG = """
listen: ["127.0.0.1:0"]
admin: null
provider: {issuer: "http://127.0.0.1:9", client_id: gate}
session: {store: memory}
sites:
  - url: http://localhost:8000
    upstream: {url: "http://127.0.0.1:9"}
"""


def config(folder: Path, *changes: tuple[str, str]) -> Path:
    """A good configuration's file, with parts of the text replaced."""
    text = CONFIG
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = folder / "gate.yaml"
    path.write_text(text)
    return path
