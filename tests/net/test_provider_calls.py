"""Single calls: what is sent, what is bounded, and which error becomes of what."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from oidcgate.errors import ConfigError, ProviderError, ProviderUnreachable
from oidcgate.net.provider_calls import MAX_BODY, Calls, Reply, map_errors
from oidcgate.oidc.tokens import TokenRequest


@pytest.fixture
async def calls() -> AsyncIterator[Calls]:
    """The way to a provider, with a short limit."""
    calls = Calls(ca_file=None, proxy=None, timeout=5)
    yield calls
    await calls.close()


@pytest.fixture
async def server() -> AsyncIterator[Any]:
    """A server that echoes what it got, or sends as many bytes as the path says, or redirects."""

    async def echo(request: web.Request) -> web.Response:
        return web.json_response(
            {"method": request.method, "body": await request.text(), "headers": dict(request.headers)},
            headers={"Set-Cookie": "a=b"},
        )

    async def many(request: web.Request) -> web.Response:
        return web.Response(body=bytes(int(request.match_info["count"])))

    async def away(_: web.Request) -> web.Response:
        raise web.HTTPFound("/echo")

    app = web.Application()
    app.router.add_route("*", "/echo", echo)
    app.router.add_get("/bytes/{count}", many)
    app.router.add_get("/away", away)
    async with TestServer(app) as server:
        yield server


async def test_get(calls: Calls, server: TestServer) -> None:
    """A GET asks for JSON, not compressed; cookies are not kept."""
    for _ in range(2):
        reply = await calls.call(str(server.make_url("/echo")), what="test")
        assert (reply.status, reply.content_type) == (200, "application/json; charset=utf-8")
        assert b'"method": "GET"' in reply.body
        assert b'"Accept-Encoding": "identity"' in reply.body
        assert b"Cookie" not in reply.body


async def test_post(calls: Calls, server: TestServer) -> None:
    """A request's own headers and body go out as they are."""
    request = TokenRequest({"Authorization": "Basic eA=="}, b"a=b")
    reply = await calls.call(str(server.make_url("/echo")), what="test", request=request)
    assert b'"method": "POST", "body": "a=b"' in reply.body
    assert b'"Authorization": "Basic eA=="' in reply.body


async def test_no_redirect_is_followed(calls: Calls, server: TestServer) -> None:
    """The redirect is the answer."""
    assert (await calls.call(str(server.make_url("/away")), what="test")).status == 302


async def test_size_limit(calls: Calls, server: TestServer) -> None:
    """256 KiB pass, a byte more does not."""
    reply = await calls.call(str(server.make_url(f"/bytes/{MAX_BODY}")), what="test")
    assert reply == Reply(200, "application/octet-stream", bytes(MAX_BODY))
    with pytest.raises(ProviderError, match="test: an answer of more"):
        await calls.call(str(server.make_url(f"/bytes/{MAX_BODY + 1}")), what="test")


async def test_closed() -> None:
    """A closed client calls nobody, whether it was ever opened or not."""
    calls = Calls(ca_file=None, proxy=None, timeout=1)
    await calls.close()
    with pytest.raises(ProviderUnreachable, match="closed"):
        await calls.call("http://127.0.0.1:1/", what="test")


@pytest.mark.parametrize(
    ("error", "message", "chained"),
    [
        pytest.param(ConnectionResetError(104, "reset"), "x: [Errno 104] reset", True, id="system"),
        pytest.param(TimeoutError(), "x: TimeoutError", True, id="timeout"),
        pytest.param(aiohttp.ClientPayloadError("t0ken"), "x: no proper HTTP answer", False, id="cut-body"),
        pytest.param(aiohttp.ServerDisconnectedError("t0ken"), "x: no proper HTTP answer", False, id="hung-up"),
    ],
)
def test_map_errors(error: Exception, message: str, chained: bool) -> None:
    """What may quote the answer is quoted nowhere."""
    with pytest.raises(ProviderUnreachable) as caught, map_errors("x"):
        raise error
    assert str(caught.value).startswith(message)
    assert "t0ken" not in str(caught.value)
    assert (caught.value.__cause__ is error) is chained


def test_other_errors_pass() -> None:
    """A mistake of ours stays visible."""
    with pytest.raises(KeyError), map_errors("x"):
        raise KeyError("a")


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_bad_ca_file(tmp_path: Path, content: Any) -> None:
    """Named as the operator's problem."""
    path = tmp_path / "ca.pem"
    if content:
        path.write_text(content)
    with pytest.raises(ConfigError, match=r"provider\.ca_file"):
        Calls(ca_file=str(path), proxy=None, timeout=1)


@pytest.mark.parametrize(
    ("path", "status"),
    [("/echo", 200), ("/away", 302), ("/bytes/x", 500), ("/nothing", 404), (f"/bytes/{MAX_BODY + 1}", 0)],
)
async def test_each_call_is_told_once(calls: Calls, server: TestServer, path: str, status: int) -> None:
    """By its name and status; none is that of an answer that is too long, or that did not come."""
    told: list[tuple[str, int]] = []

    def tell(what: str, seconds: float, status: int) -> None:
        assert seconds >= 0.0
        told.append((what, status))

    calls.on_call = tell
    with contextlib.suppress(ProviderError):
        await calls.call(str(server.make_url(path)), what="keys")
    assert told == [("keys", status)]
    told.clear()
    with pytest.raises(ProviderUnreachable):
        await calls.call("http://127.0.0.1:1/", what="discovery")
    assert told == [("discovery", 0)]
