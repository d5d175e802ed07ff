"""`oidcgate demo` as somebody meets it who has just cloned the project."""

import asyncio
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest
from playwright.async_api import expect

from tests.support.chromium import People
from tests.support.processes import LIMIT, free_ports

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


@asynccontextmanager
async def demo(port: int, folder: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """The demo as a program of its own, and what it printed until it was ready."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "oidcgate", "demo", "--port", str(port)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": "/usr/bin:/bin", "TMPDIR": str(folder), "PYTHONPATH": str(Path(__file__).parents[2])},
        cwd=folder,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(LIMIT):
            printed = (await process.stdout.readuntil(b"Ctrl-C ends it.")).decode()
        yield process, printed
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def test_story_from_the_first_click_to_ctrl_c(people: People, tmp_path: Path) -> None:
    """The printed address works, each person's button signs in, and Ctrl-C ends everything."""
    port = free_ports(3)
    async with demo(port, tmp_path) as (process, printed):
        found = re.search(r"Open +(\S+)", printed)
        assert found is not None
        address = found[1]
        assert address == f"http://localhost:{port}"
        for login, name, count in (
            ("alice", "Alice Arden", 14),
            ("bob", "Bob Berger", 6),
            ("carol", "Carol Castell", 0),
        ):
            assert re.search(rf"{login} +password {login} +{name}", printed)
            person = await people()
            page = await person.tab(f"{address}/#/pods")
            await page.get_by_role("button", name=f"Sign in as {name}").click()
            await page.wait_for_url(f"{address}/#/pods")
            await expect(page.locator("#who-name")).to_have_text(f"{login}@example.com")
            await expect(page.locator("#pods [data-pod]")).to_have_count(count)
            await page.click("#sign-out")
            await page.get_by_role("button", name="Sign out").click()
            await page.wait_for_url(f"{address}/oauth2/signed_out")
            assert person.complaints == []

        page = await (await people()).tab(f"{address}/#/pod/shop/cart-7d9f5c8b6d-x2x7k/shell")
        await page.get_by_role("button", name="Sign in as Bob Berger").click()
        await expect(page.locator("#terminal-status")).to_have_text("connected")
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(LIMIT):
            _, errors = await process.communicate()
        assert process.returncode == 0
        assert "Traceback" not in errors.decode()
        await expect(page.locator("#terminal-status")).to_contain_text("connection closed")
        assert not [child for child in children if child.is_running()]
        assert not list(tmp_path.iterdir()), "no files are left"
        for number in range(port, port + 3):
            socket.create_server(("127.0.0.1", number)).close()


async def test_taken_port_is_named(tmp_path: Path) -> None:
    """A port that somebody else has ends the demo with a sentence and exit code 2."""
    port = free_ports(3)
    for number in range(port, port + 3):
        with socket.create_server(("127.0.0.1", number)):
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "oidcgate", "demo", "--port", str(port)),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            async with asyncio.timeout(LIMIT):
                said, _ = await process.communicate()
        assert process.returncode == 2, said.decode()
        assert f"port {number} cannot be used" in said.decode() or f":{number}: " in said.decode()
        assert "Traceback" not in said.decode()
