"""`oidcgate serve` as a program: starts, answers, drains, and says why it does not start."""

import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.cli.support import LONG, Program, config, connected, fetch, ran, started

SQLITE = ("store: memory", "store: sqlite")


@asynccontextmanager
async def serving(path: Path) -> AsyncIterator[tuple[Program, int]]:
    """A gate that listens, and its port."""
    async with started("serve", "--config", path) as program:
        found = await program.line(r"listening on 127\.0\.0\.1:(\d+) for http://localhost:8000")
        yield program, int(found[1])


@pytest.mark.parametrize("changes", [(), (SQLITE,)], ids=["memory", "sqlite"])
async def test_serve(tmp_path: Path, changes: tuple[tuple[str, str], ...]) -> None:
    """It starts without its provider, answers, logs in JSON, and ends with 0 on SIGTERM."""
    async with serving(config(tmp_path, *changes)) as (program, port):
        reply = await fetch(port, "/api/v1/pods?token=geheim", "localhost:8000")
        assert reply.startswith("HTTP/1.1 401 ")
        code, errors = await program.end(signal.SIGTERM)
    assert (code, errors) == (0, "")
    rows = [json.loads(line) for line in program.output.splitlines()]
    assert [row["path"] for row in rows if row.get("kind") == "access"] == ["/api/v1/pods"]
    assert "draining" in [row.get("message") for row in rows]
    assert "geheim" not in program.output
    made = sorted(file.name for file in (tmp_path / ".oidcgate").iterdir()) if changes else []
    assert made == (["keys", "sessions.db"] if changes else [])


async def test_again(tmp_path: Path) -> None:
    """It starts again on the files that it left behind, also after it was killed."""
    for number, expected in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 0)):
        async with serving(config(tmp_path, SQLITE)) as (program, port):
            assert (await fetch(port, "/", "localhost:8000")).startswith("HTTP/1.1 ")
            assert (await program.end(number))[0] == expected


async def test_drains(tmp_path: Path) -> None:
    """On SIGTERM a reply under way arrives whole before the end."""
    go_on = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
        await go_on.wait()
        writer.write(b"-last")
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as upstream:
        address = f"http://127.0.0.1:{upstream.sockets[0].getsockname()[1]}"
        rule = "access: {rules: [{path: /slow, public: true}]}"
        path = config(
            tmp_path, ('upstream: {url: "http://127.0.0.1:9"}', f"upstream: {{url: '{address}'}}\n    {rule}")
        )
        async with serving(path) as (program, port), connected(port) as (reader, writer):
            writer.write(b"GET /slow HTTP/1.1\r\nHost: localhost:8000\r\n\r\n")
            async with asyncio.timeout(LONG):
                head = await reader.readuntil(b"first")
                assert head.startswith(b"HTTP/1.1 200 ")
                program.process.send_signal(signal.SIGTERM)
                await program.line("draining")
                assert program.process.returncode is None
                go_on.set()
                assert await reader.read() == b"-last"
            assert await program.end() == (0, "")


async def test_reload(tmp_path: Path) -> None:
    """SIGHUP takes the file as it is now: a good one at once, a bad one not at all; it serves on either way."""
    path = config(tmp_path)
    async with serving(path) as (program, port):
        config(tmp_path, ("http://localhost:8000", "http://other.localhost:8000"))
        program.process.send_signal(signal.SIGHUP)
        await program.line("reloaded")
        path.write_text(path.read_text().replace("client_id: gate", "client_id: ''"))
        program.process.send_signal(signal.SIGHUP)
        await program.line("reload refused: provider.client_id: ")
        reply = await fetch(port, "/api/x", "other.localhost:8000")
        assert reply.startswith("HTTP/1.1 401 ")
        assert (await program.end(signal.SIGTERM))[0] == 0


async def test_workers(tmp_path: Path) -> None:
    """Several processes share the port, and end together."""
    async with serving(config(tmp_path, SQLITE, ("admin: null", "admin: null\nworkers: 2"))) as (program, port):
        replies = await asyncio.gather(*(fetch(port, "/api/x", "localhost:8000") for _ in range(8)))
        assert all(reply.startswith("HTTP/1.1 401 ") for reply in replies)
        assert await program.end(signal.SIGTERM) == (0, "")


async def test_unix_socket(tmp_path: Path) -> None:
    """It listens on a Unix socket too, in place of one that a killed process left."""
    path = tmp_path / "gate.sock"
    for _ in range(2):
        async with started("serve", "--config", config(tmp_path, ("127.0.0.1:0", f"unix:{path}"))) as program:
            await program.line(f"listening on unix:{path}")
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(b"GET / HTTP/1.1\r\nHost: localhost:8000\r\nConnection: close\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 ")
            writer.close()
            await writer.wait_closed()
            await program.end(signal.SIGKILL)


@pytest.mark.parametrize("where", ["listen", "admin.listen"])
async def test_port_taken(tmp_path: Path, where: str) -> None:
    """A port that somebody else has is named with its key, and the exit code is 2."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        change = ("127.0.0.1:0", taken) if where == "listen" else ("admin: null", f"admin: {{listen: '{taken}'}}")
        code, _, errors = await ran("serve", "--config", config(tmp_path, change))
    assert code == 2
    assert errors.startswith("1 problem in the configuration:\n")
    assert f"  {where}: {taken}: " in errors
    assert "address already in use" in errors.lower()
    assert "Traceback" not in errors


async def test_bad_configuration(tmp_path: Path) -> None:
    """Everything wrong is told at once, and it does not start."""
    path = config(tmp_path, ("client_id: gate", "client_id: ''"), ("store: memory", "store: memory, idle: 5"))
    code, output, errors = await ran("serve", "--config", path)
    assert (code, output) == (2, "")
    assert [line.split(":")[0].strip() for line in errors.splitlines()[1:]] == ["provider.client_id", "session.idle"]


async def test_bad_store(tmp_path: Path) -> None:
    """A store that cannot be opened is a failure at run time: exit code 1, and why."""
    (tmp_path / "sessions.db").write_text("no database " * 100)
    change = ("store: memory", f"store: 'sqlite:{tmp_path}/sessions.db'")
    code, output, errors = await ran("serve", "--config", config(tmp_path, change))
    assert (code, output) == (1, "")
    assert errors.startswith("oidcgate: sqlite: ")
    assert errors.count("\n") == 1


async def test_no_place_for_the_store(tmp_path: Path) -> None:
    """A folder that cannot be used is named by its key, with whom it has to belong to."""
    change = ("store: memory", "store: sqlite:/dev/null/sessions.db")
    code, _, errors = await ran("serve", "--config", config(tmp_path, change))
    wanted = f"; session.store must be in a folder that user {os.getuid()} can write to\n"
    assert (code, errors.endswith(wanted)) == (1, True), errors


async def test_python_parser(tmp_path: Path) -> None:
    """aiohttp's slower, less strict parser is refused."""
    code, output, errors = await ran("serve", "--config", config(tmp_path), AIOHTTP_NO_EXTENSIONS="1")
    assert (code, output) == (2, "")
    assert "unset AIOHTTP_NO_EXTENSIONS and install a wheel with C extensions" in errors
