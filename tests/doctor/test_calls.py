"""Calls over real sockets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from oidcgate.doctor.calls import BROWSER, MOST_BYTES, STRAIGHT, Caller, Way
from oidcgate.doctor.stages import Unreached
from tests.doctor.certificates import Files, issued


@asynccontextmanager
async def serving(files: Files | None = None, path: Path | None = None) -> AsyncIterator[str]:
    """A server; its address."""

    async def answer(request: web.Request) -> web.Response:
        if request.path == "/large":
            return web.Response(body=b"x" * (MOST_BYTES + 1))
        if request.path == "/away":
            return web.Response(status=302, headers={"Location": "/large", "Date": "yesterday"})
        return web.Response(text=f"{request.method} {request.host} {(await request.read()).decode()}")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.01)
    await runner.setup()
    tls = files.context() if files else None
    site = web.UnixSite(runner, path) if path else web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    try:
        await site.start()
        yield "http://localhost" if path else f"{'https' if tls else 'http'}://localhost:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_call() -> None:
    """A reply with its offset from our clock; no redirect is followed, and no more is read than is of use."""
    async with serving() as url:
        seen = await Caller().call(url, method="POST", data=b"hello")
        assert seen.text == f"POST {url.removeprefix('http://')} hello"
        assert seen.ahead is not None
        assert abs(seen.ahead) < 2
        away = await Caller().call(url + "/away")
        assert (away.status, away.ahead) == (302, None)
        assert len((await Caller().call(url + "/large")).body) == MOST_BYTES


async def test_certificate(tmp_path: Path) -> None:
    """By the CA and the name that are given; what it is for can be read."""
    files = issued(tmp_path, "ui", ("ui.internal",))
    async with serving(files) as url:
        way = Way(str(files.ca), "ui.internal")
        shown = await Caller().reach(url, way)
        assert shown is not None
        assert shown.names == ("ui.internal",)
        assert (await Caller().call(url, way)).status == 200
        for wrong, reason in ((Way(str(files.ca)), "mismatch"), (Way(None, "ui.internal"), "untrusted")):
            for call in (Caller().reach, Caller().call):
                with pytest.raises(Unreached) as caught:
                    await call(url, wrong)  # type: ignore[operator]
                assert (caught.value.stage, caught.value.reason) == ("tls", reason)
        assert (await Caller().call(url, Way(verify=False))).status == 200


async def test_no_tls() -> None:
    """Plain HTTP where TLS was expected."""
    async with serving() as url:
        for call in (Caller().reach, Caller().call):
            with pytest.raises(Unreached) as caught:
                await call(url.replace("http:", "https:"))  # type: ignore[operator]
            assert caught.value.reason == "plain"


async def test_unix_socket(tmp_path: Path) -> None:
    """A path in place of an address."""
    path = tmp_path / "socket"
    async with serving(path=path) as url:
        assert await Caller().reach("unix:" + str(path), Way(path=str(path))) is None
        assert (await Caller().call(url + "/", Way(path=str(path)))).text.startswith("GET localhost")
    with pytest.raises(Unreached) as caught:
        await Caller().reach("unix:/nowhere", Way(path="/nowhere"))
    assert "no such file" in str(caught.value)


async def test_refused() -> None:
    """Nobody listens."""
    for call in (Caller().reach, Caller().call):
        with pytest.raises(Unreached) as caught:
            await call("http://127.0.0.1:9")  # type: ignore[operator]
        assert caught.value.stage == "tcp"
        assert "connection refused" in str(caught.value)


async def test_names() -> None:
    """A name of this machine is one to browsers; to the gate it is what the resolver says."""
    assert "127.0.0.1" in await Caller().resolve("any.thing.localhost", 1, BROWSER)
    assert BROWSER.host("127.0.0.1") == "127.0.0.1"
    assert STRAIGHT.host("any.thing.localhost") == "any.thing.localhost"
    with pytest.raises(Unreached) as caught:
        await Caller().resolve("nowhere.invalid", 1)
    assert caught.value.stage == "name"
    async with serving() as url:
        seen = await Caller().call(url.replace("localhost", "any.thing.localhost"), BROWSER)
        assert "any.thing.localhost" in seen.text


async def test_silence() -> None:
    """Whoever says nothing is not waited for."""
    done = asyncio.Event()

    async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await done.wait()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    for call, url in ((Caller(limit=0.1).call, "http"), (Caller(limit=0.1).reach, "https")):
        with pytest.raises(Unreached) as caught:
            await call(f"{url}://127.0.0.1:{port}")  # type: ignore[operator]
        assert caught.value.stage == "timeout"
    done.set()
    server.close()
    await server.wait_closed()
