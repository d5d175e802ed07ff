"""Calls to an API server: what is sent, what comes back, and where the way ends when nothing does."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from multidict import CIMultiDict

from oidcgate.config.model import Kubernetes
from oidcgate.kube import client as module
from oidcgate.kube.client import Answer, ApiServer, ClusterUnreachable
from tests.lab.kube.authority import Authority
from tests.support.raw import LIMIT

HEADERS = {"Authorization": "Bearer secret-token"}
Handler = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]
Serve = Callable[..., Awaitable[int]]


def reply(body: bytes, *, status: str = "200 OK", extra: str = "") -> bytes:
    """A reply of an API server's."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{extra}\r\n"
    return head.encode() + body


async def request_of(reader: asyncio.StreamReader) -> bytes:
    """The head and body of one request; empty when none came."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), 0)
    return head + await reader.readexactly(length)


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Starts a server that hands each request to a handler; its port."""
    servers = []

    async def start(handler: Handler, tls: ssl.SSLContext | None = None) -> int:
        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                while asked := await request_of(reader):
                    await handler(asked, writer)
            except OSError:
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
        servers.append(server)
        port: int = server.sockets[0].getsockname()[1]
        return port

    yield start
    for server in servers:
        server.close()


def answering(*replies: bytes, seen: list[bytes] | None = None) -> Handler:
    """Gives each reply in turn, the last one for ever."""
    waiting = list(replies)

    async def handle(asked: bytes, writer: asyncio.StreamWriter) -> None:
        if seen is not None:
            seen.append(asked)
        writer.write(waiting.pop(0) if len(waiting) > 1 else waiting[0])
        await writer.drain()

    return handle


async def ask(url: str, *, timeout: float = LIMIT, **options: Any) -> Answer:
    """One review, by a client that is closed again."""
    server = ApiServer(Kubernetes(api=url, **options), timeout=timeout)
    try:
        return await server.post("/apis/x", {"kind": "Review"}, headers=HEADERS)
    finally:
        await server.close()


async def hop_of(url: str, **options: Any) -> str:
    """Where a call fails; its message holds no credential."""
    with pytest.raises(ClusterUnreachable) as caught:
        await ask(url, **options)
    assert "secret-token" not in str(caught.value)
    assert caught.value.status == 503
    return caught.value.hop


async def test_a_call(serve: Serve) -> None:
    """The credential of the call, the body as JSON, and status, object and time of the answer."""
    seen: list[bytes] = []
    date = "Date: Tue, 24 Nov 2026 11:21:52 GMT\r\n"
    port = await serve(
        answering(reply(b'{"kind":"Status","message":"no"}', status="403 Forbidden", extra=date), seen=seen)
    )
    answer = await ask(f"http://127.0.0.1:{port}/")
    assert (answer.status, answer.message, answer.date) == (403, "no", 1795519312.0)
    head, _, body = seen[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /apis/x HTTP/1.1\r\n")
    assert b"Authorization: Bearer secret-token" in head
    assert b"Accept: application/json" in head
    assert json.loads(body) == {"kind": "Review"}


async def test_headers_of_one_name(serve: Serve) -> None:
    """A header may stand there several times, as impersonated groups do; a GET has no body."""
    seen: list[bytes] = []
    port = await serve(answering(reply(b"{}"), seen=seen))
    server = ApiServer(Kubernetes(api=f"http://127.0.0.1:{port}"))
    assert str(port) in repr(server)
    answer = await server.get("/version", headers=CIMultiDict([("Impersonate-Group", "a"), ("Impersonate-Group", "b")]))
    await server.close()
    assert answer == Answer(200, {}, None)
    assert answer.message == ""
    assert seen[0].count(b"Impersonate-Group: ") == 2
    assert seen[0].startswith(b"GET /version HTTP/1.1\r\n")


@pytest.mark.parametrize("header", ["Date: yesterday\r\n", ""])
async def test_no_date(serve: Serve, header: str) -> None:
    """What is no date tells no time."""
    port = await serve(answering(reply(b"{}", extra=header)))
    assert (await ask(f"http://127.0.0.1:{port}")).date is None


async def test_a_large_reply(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read to its end, in however many pieces it comes; one without a bound is not."""
    body = json.dumps({"items": ["x" * 1000] * 1000}).encode()
    port = await serve(answering(reply(body)))
    assert len((await ask(f"http://127.0.0.1:{port}")).body["items"]) == 1000
    monkeypatch.setattr(module, "MOST_BYTES", 100_000)
    assert await hop_of(f"http://127.0.0.1:{port}") == "reply"


@pytest.mark.parametrize("body", [b"<html>", b"[1]", b"null", b"\xff"])
async def test_no_object(serve: Serve, body: bytes) -> None:
    """Whatever answers something else is no API server."""
    port = await serve(answering(reply(body)))
    assert await hop_of(f"http://127.0.0.1:{port}") == "reply"


async def test_no_redirect(serve: Serve) -> None:
    """A credential goes nowhere else."""
    seen: list[bytes] = []
    port = await serve(answering(reply(b"{}", status="302 Found", extra="Location: /elsewhere\r\n"), seen=seen))
    assert (await ask(f"http://127.0.0.1:{port}")).status == 302
    assert len(seen) == 1


async def test_a_connection_that_was_closed_meanwhile(serve: Serve) -> None:
    """A review is asked for again, once."""
    calls = 0

    async def handle(_asked: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal calls
        calls += 1
        if calls % 2:
            writer.close()
        else:
            writer.write(reply(b"{}"))

    port = await serve(handle)
    assert (await ask(f"http://127.0.0.1:{port}")).status == 200
    assert calls == 2

    async def close(_asked: bytes, writer: asyncio.StreamWriter) -> None:
        writer.close()

    assert await hop_of(f"http://127.0.0.1:{await serve(close)}") == "reply"


async def test_no_http(serve: Serve) -> None:
    """What speaks something else is no API server, whatever it says; plain words to a TLS client neither."""
    port = await serve(answering(b"SSH-2.0-x\r\n"))
    assert await hop_of(f"http://127.0.0.1:{port}") == "reply"


async def test_no_tls(tmp_path: Path) -> None:
    """A server without TLS says so in plain words, which is no handshake."""

    async def plain(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(plain, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert await hop_of(f"https://127.0.0.1:{port}", ca_file=str(Authority(tmp_path).ca_file)) == "tls"


async def test_nobody_listens(serve: Serve) -> None:
    """The hop is the connection."""
    server = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    assert await hop_of(f"http://127.0.0.1:{port}") == "tcp"


async def test_no_answer_in_time(serve: Serve) -> None:
    """The hop is time."""
    held = asyncio.Event()

    async def wait(_asked: bytes, _writer: asyncio.StreamWriter) -> None:
        await held.wait()

    port = await serve(wait)
    assert await hop_of(f"http://127.0.0.1:{port}", timeout=0.05) == "timeout"
    held.set()


async def test_tls(serve: Serve, tmp_path: Path) -> None:
    """A certificate of the given authority and name; else the hop is TLS."""
    authority = Authority(tmp_path)
    port = await serve(answering(reply(b"{}")), authority.server_context("kube-apiserver"))
    url, ca_file = f"https://127.0.0.1:{port}", str(authority.ca_file)
    assert (await ask(url, ca_file=ca_file)).status == 200
    assert (await ask(url, ca_file=ca_file, server_name="localhost")).status == 200
    assert await hop_of(url, ca_file=ca_file, server_name="elsewhere.example") == "tls"
    assert await hop_of(url) == "tls"
    assert await hop_of(url, ca_file=str(tmp_path / "missing.pem")) == "tls"
