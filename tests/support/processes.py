"""Programs that are not ours, run beside a test and ended with it."""

import asyncio
import shutil
import socket
import tempfile
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from oidcgate.demo.ui import DemoUI
from oidcgate.web.live import Live
from tests.support.browser import Browser
from tests.support.stack import Stack

LIMIT = 30.0  # seconds to begin or to end


def free_ports(count: int = 1) -> int:
    """The first of so many consecutive ports that nobody listens on."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as first:
            port = first.getsockname()[1]
        try:
            for number in range(port, port + count):
                socket.create_server(("127.0.0.1", number)).close()
        except (OSError, OverflowError):
            continue
        return port


def executable(name: str, package: str) -> str:
    """
    Where a program is.

    Raises:
        RuntimeError: it is not there; says which of Debian's packages brings it.
    """
    found = shutil.which(name)
    if found is None:
        raise RuntimeError(f"{name} is not installed (Debian: tools/system-packages {package})")
    return found


@asynccontextmanager
async def program(*command: str | Path, ready: str, **options: object) -> AsyncIterator[tuple[Process, str]]:
    """
    A program with its output in one pipe; yields it with the line that holds ``ready``.

    Raises:
        RuntimeError: it ended, or took too long, before it said so; quotes what it said.
    """
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        stdin=PIPE,
        stdout=PIPE,
        stderr=STDOUT,
        **options,  # type: ignore[arg-type]
    )
    assert process.stdout is not None
    assert process.stdin is not None
    said: list[str] = []
    draining: asyncio.Task[bytes] | None = None
    try:
        try:
            async with asyncio.timeout(LIMIT):
                while not said or ready not in said[-1]:
                    line = (await process.stdout.readline()).decode()
                    if not line:
                        raise RuntimeError(f"{command[0]} ended:\n{''.join(said)}")
                    said.append(line)
        except TimeoutError:
            raise RuntimeError(f"{command[0]} did not say {ready!r}:\n{''.join(said)}") from None
        draining = asyncio.create_task(process.stdout.read())  # or it would stop at a full pipe
        yield process, said[-1]
    finally:
        process.stdin.close()
        if process.returncode is None:
            process.terminate()
        if draining is None:
            draining = asyncio.create_task(process.stdout.read())
        await asyncio.wait_for(asyncio.gather(process.wait(), draining), LIMIT)


@asynccontextmanager
async def stack_at(issuer: str, client_id: str, secret: str, *, port: int) -> AsyncIterator[Stack]:
    """The demo UI and the gate, both with somebody else's issuer; the gate on a port that the issuer knows."""
    with tempfile.TemporaryDirectory(prefix="oidcgate-test-") as folder:
        file = Path(folder, "other-secret")
        file.touch(0o600)
        file.write_text(secret)
        ui = DemoUI(issuer, client_id, record=True, tick=0.1)
        await ui.start()
        provider = {"issuer": issuer, "client_id": client_id, "client_secret_file": str(file)}
        stack = Stack(upstream=ui.url, config={"provider": provider})
        stack.ui, stack.port = ui, port
        async with stack:
            yield stack


def live(stack: Stack, browser: Browser) -> Live:
    """The session of a browser, as the gate knows it."""
    assert stack.gate is not None
    found = stack.gate.sessions.find((browser.cookie("oidcgate") or "").encode())
    assert found is not None
    return found


async def renew(stack: Stack, browser: Browser) -> None:
    """Let the tokens of a browser's person be due now; returns when they are renewed."""
    assert stack.gate is not None
    session = live(stack, browser)
    before = session.shared.revision
    session.shared.due = session.fresh_until = 0.0
    assert (await browser.fetch(f"{stack.url}/api/v1/me")).status == 200
    async with asyncio.timeout(LIMIT):
        await stack.gate.grants.wait_for_renewal(session.shared)
    assert session.shared.revision > before, "the renewal failed"
