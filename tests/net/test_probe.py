"""Asking a Dashboard 2.7 whether it heeds tokens."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from oidcgate.net.probe import ignores_bearer
from oidcgate.net.upstream import parse_address

Server = Callable[[bytes], Awaitable[str]]


@pytest.fixture
async def answering():
    """Starts a server that gives one fixed answer; its URL."""
    servers: list[asyncio.Server] = []

    async def start(answer: bytes, path: Path | None = None) -> str:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"GET /api/v1/login/status HTTP/1.0\r\n")
            assert b"Authorization: Bearer probe\r\n" in head
            writer.write(answer)
            writer.close()

        if path is not None:
            servers.append(await asyncio.start_unix_server(serve, path))
            return f"unix:{path}"
        servers.append(await asyncio.start_server(serve, "127.0.0.1", 0))
        return f"http://127.0.0.1:{servers[-1].sockets[0].getsockname()[1]}"

    yield start
    for server in servers:
        server.close()
        await server.wait_closed()


HEAD = b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "heeds"),
    [
        pytest.param(HEAD + b'{"httpsMode":true,"headerPresent":true}', True, id="TLS or insecure login"),
        pytest.param(HEAD + b'{"httpsMode":false,"headerPresent":true}', False, id="plain HTTP"),
        pytest.param(HEAD + b'{"httpsMode":"true"}', False, id="not a boolean"),
        pytest.param(HEAD + b"[true]", False, id="not an object"),
        pytest.param(HEAD + b"<html>", False, id="not JSON"),
        pytest.param(b'HTTP/1.0 404 Not Found\r\n\r\n{"httpsMode":true}', False, id="not 200"),
        pytest.param(b"", False, id="nothing"),
    ],
)
async def test_only_a_clear_yes_counts(answering, answer: bytes, heeds: bool) -> None:
    """Whatever is not the Dashboard's own yes keeps requests away."""
    wrong = await ignores_bearer(parse_address(await answering(answer)))
    assert (wrong is None) == heeds
    assert heeds or "service account" in wrong


async def test_a_unix_socket_is_asked_too(answering, tmp_path: Path) -> None:
    """A sidecar may listen on a socket file."""
    url = await answering(HEAD + b'{"httpsMode":true}', tmp_path / "ui.sock")
    assert await ignores_bearer(parse_address(url)) is None


async def test_nobody_there_is_no_yes(tmp_path: Path) -> None:
    """An upstream that does not answer is not trusted."""
    wrong = await ignores_bearer(parse_address(f"unix:{tmp_path}/none.sock"))
    assert "could not be asked" in str(wrong)
