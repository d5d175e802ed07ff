"""Browsers' connections: limits in our own words, slow clients, and what one of them may make the gate hold."""

import asyncio
import logging
import ssl
from pathlib import Path

import pytest

from oidcgate.net.downstream import KEEP_ALIVE, STALL
from tests.net.test_upstream import certificate
from tests.support.raw import connect
from tests.support.upstream import QUICK, SLOW, WAYS, Arrived, Gated, Link, answer, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

both_ways = pytest.mark.parametrize("way", WAYS)


def now() -> float:
    """The event loop's time."""
    return asyncio.get_running_loop().time()


# Heads.


@pytest.mark.parametrize(
    "headers",
    [
        [("X-Big", "a" * 33_000)],
        [(f"X-{n}", "a" * 1000) for n in range(70)],
        [(f"X-{n}", "a") for n in range(250)],
        [("X" * 33_000, "a")],
    ],
    ids=["a long line", "many bytes", "many lines", "a long name"],
)
async def test_a_head_that_is_too_large_is_refused(
    gated: Gated, headers: list, caplog: pytest.LogCaptureFixture
) -> None:
    """431 in our words, nothing of it quoted or logged, and the connection ends."""
    async with gated.wire() as wire:
        await wire.send(gated.request(headers=headers))
        reply = await wire.reply()
        assert reply.status == 431
        assert "aaaa" not in reply.text
        assert reply.value("Connection") == "close"
        await wire.rest()
    assert gated.upstream.requests == []
    assert gated.handles["alice"] not in caplog.text
    assert "aaaa" not in caplog.text


async def test_a_target_that_is_too_long_is_refused(gated: Gated) -> None:
    """32 KiB are enough for an address."""
    assert (await gated.fetch(gated.request("/" + "a" * 40_000))).status == 431


async def test_a_cookie_jar_of_many_kilobytes_passes(gated: Gated) -> None:
    """A sibling host may have set cookies for us; 30 KiB of them lock nobody out."""
    jar = f"junk={'a' * 30_000}; oidcgate={gated.handles['alice']}"
    assert (await gated.fetch(gated.request(who=None, headers=[("Cookie", jar)]))).status == 200


async def test_a_head_that_never_ends_is_cut_off_in_pieces_too(gated: Gated) -> None:
    """The bytes of an unfinished head are counted over all segments."""
    async with gated.wire() as wire:
        await wire.send(b"GET / HTTP/1.1\r\n")
        browser = gated.connection(wire)
        for n in range(80):
            if browser.transport is None:
                break
            await wire.send(f"X-{n}: ".encode() + b"a" * 1000 + b"\r\n")
            await until(lambda n=n: browser.transport is None or browser._head_bytes > n * 1000)
        reply = await wire.reply()
        assert reply.status == 431


async def test_garbage_is_answered_in_our_words(gated: Gated, caplog: pytest.LogCaptureFixture) -> None:
    """400, without a word of the input, in the log neither."""
    caplog.set_level(logging.DEBUG)
    async with gated.wire() as wire:
        await wire.send(b"GET /secret-token HTTP/1.1\r\nCookie: secret-cookie\x00\r\n\r\n")
        raw = await wire.rest()
    assert raw.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"secret" not in raw
    assert b"aiohttp" not in raw
    assert "secret" not in caplog.text


async def test_a_slow_head_is_given_up(gated: Gated) -> None:
    """408 after the head's time, counted from its first byte."""
    async with gated.wire() as wire:
        await wire.send(b"GET / HTTP/1.1\r\nHost: ")
        browser = gated.connection(wire)
        await until(lambda: browser._head_since)
        browser.sweep(now() + 14, 15)
        browser.sweep(now() + 16, 15)
        reply = await wire.reply()
        assert (reply.status, reply.value("Connection")) == (408, "close")
        assert await wire.is_closed()
        browser.sweep(now() + 100, 15)


async def test_a_slow_second_head_is_given_up(gated: Gated) -> None:
    """Each head has its own time; a request under way and the pause between two requests do not count."""
    async with gated.wire() as wire:
        raw = gated.request()
        await wire.send(raw)
        await wire.reply()
        browser = gated.connection(wire)
        await until(browser._is_idle)
        browser.sweep(now() + 100, 15)
        await wire.send(raw[:20])
        await until(lambda: browser._head_since)
        await wire.send(raw[20:])
        assert (await wire.reply()).status == 200
        assert browser._head_since == 0.0
        await wire.send(b"GET")
        await until(lambda: browser._head_since)
        browser.sweep(now() + 16, 15)
        assert (await wire.reply()).status == 408


async def test_a_connection_that_stays_silent_is_closed(gated: Gated) -> None:
    """After the keep-alive time; a quick reply under way is no silence."""
    go_on = asyncio.Event()

    async def script(link: Link, _arrived: Arrived) -> None:
        await go_on.wait()
        await link.send(answer())

    async with gated.wire() as wire:
        raw = gated.request()
        await gated.prepare(wire, QUICK, raw)
        gated.upstream.script = script
        browser = gated.connection(wire)
        await wire.send(raw)
        await gated.upstream.arrived()
        browser._next_keepalive_close_time = 0.0
        browser._process_keepalive()
        assert browser._next_keepalive_close_time > now() + KEEP_ALIVE - 5
        go_on.set()
        assert (await wire.reply()).status == 200
        browser._next_keepalive_close_time = 0.0
        browser._process_keepalive()
        assert await wire.is_closed()


# How many.


@pytest.fixture
def few(gated: Gated) -> Gated:
    """A gate that takes few connections."""
    server = gated.running.downstream
    before = server._most, server._most_per_address
    yield gated
    server._most, server._most_per_address = before


async def test_too_many_connections_are_refused(few: Gated) -> None:
    """503 in all and 429 an address; those that are there stay, and a place that is given up is free again."""
    server = few.running.downstream
    await until(lambda: not few.running.connections())
    async with few.wire() as one, few.wire() as two:
        for wire in (one, two):
            await wire.send(few.request())
            assert (await wire.reply()).status == 200
        server._most = 2
        assert (await few.fetch(b"")).status == 503
        server._most, server._most_per_address = 100, 2
        assert (await few.fetch(b"")).status == 429
        server._is_exempt, is_exempt = (lambda _address: True), server._is_exempt
        assert (await few.fetch(few.request())).status == 200
        server._is_exempt = is_exempt
        await one.send(few.request())
        assert (await one.reply()).status == 200
    await until(lambda: not server._per_address)
    assert (await few.fetch(few.request())).status == 200


# Browsers that do not read.


@both_ways
async def test_a_browser_that_does_not_read_holds_its_upstream_back(gated: Gated, way: str) -> None:
    """The upstream is not read any further than the buffer; all arrives once the browser reads."""
    size = 64 * 1024 * 1024
    sent = 0

    async def script(link: Link, _arrived: Arrived) -> None:
        nonlocal sent
        await link.send(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode())
        while sent < size:
            await link.send(bytes(65536))
            sent += 65536

    gated.upstream.script = script
    async with gated.wire() as wire:
        await gated.send(wire, way, gated.request())
        browser = gated.connection(wire)
        await until(lambda: browser.writing_paused and not browser.writer_of_reply.connection.transport.is_reading())
        assert browser.transport.get_write_buffer_size() < 2 * 1024 * 1024
        assert sent < size
        await wire.head()
        left = size
        while left:
            left -= len(await wire.reader.read(2**20))
        await wire.send(gated.request("/next"))
        gated.upstream.script = answer(b"next")
        assert (await wire.reply()).body == b"next"


async def test_a_browser_that_pipelines_and_does_not_read_is_not_served_further(gated: Gated) -> None:
    """Replies do not pile up: the next request waits until most of the last reply is read."""
    body = bytes(200_000)
    gated.upstream.script = answer(body)
    count = 300
    async with gated.wire() as wire:
        await gated.prepare(wire, QUICK, gated.request())
        wire.writer.transport.pause_reading()
        browser = gated.connection(wire)
        for _ in range(count):
            wire.writer.write(gated.request())
        await until(lambda: browser.writing_paused)
        for _ in range(200):
            await asyncio.sleep(0)
        assert browser.transport.get_write_buffer_size() < 2 * 1024 * 1024
        assert len(gated.upstream.requests) < count
        wire.writer.transport.resume_reading()
        for _ in range(count):
            assert len((await wire.reply()).body) == len(body)


@both_ways
async def test_a_browser_that_reads_nothing_for_too_long_is_cut_off(gated: Gated, way: str) -> None:
    """What waits for it must move, be the reply still coming or complete."""
    body = bytes(32 * 1024 * 1024)
    gated.upstream.script = answer(body)
    async with gated.wire() as wire:
        await gated.send(wire, way, gated.request())
        browser = gated.connection(wire)
        wire.writer.transport.pause_reading()
        await until(lambda: browser.writing_paused)
        for _ in range(50):
            await asyncio.sleep(0)
        browser.sweep(now(), 15)
        browser.sweep(now() + STALL - 1, 15)
        assert not browser.transport.is_closing()
        browser.sweep(now() + STALL + 1, 15)
        await until(lambda: browser.transport is None)
        wire.writer.transport.resume_reading()
    await until(lambda: not gated.pool.idle)


# Sockets of other kinds.


async def test_the_gate_listens_on_a_unix_socket(tmp_path: Path) -> None:
    """A reverse proxy on the same machine is a client like any other, and one that is trusted."""
    path = tmp_path / "gate.sock"
    async with Gated() as gated:
        listeners = gated.running._listeners
        listeners._config = listeners._config.model_copy(update={"listen": (f"unix:{path}",)})
        await listeners.open([])
        for _ in range(2):
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(gated.request())
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK")
            writer.close()
            await writer.wait_closed()
        assert gated.upstream.requests[-1].value("X-Forwarded-For") == "127.0.0.1"
        assert path.stat().st_mode & 0o777 == 0o660


async def test_the_gate_listens_with_tls(tmp_path: Path) -> None:
    """Only http/1.1 is offered, plain text is no way in, and both ways lead through."""
    cert_file, _ = certificate(tmp_path, "localhost")
    tls = {"cert_file": str(cert_file), "key_file": str(tmp_path / "key.pem")}
    async with Gated() as gated:
        config = gated.running.config.model_copy(update={"tls": type("Tls", (), tls)()})
        gated.running._listeners._config = config
        from oidcgate.config.addresses import Listen

        await gated.running._listeners._open_port(Listen("127.0.0.1", 0))
        port = gated.running.addresses[-1].port
        trust = ssl.create_default_context(cafile=str(cert_file))
        trust.set_alpn_protocols(["h2", "http/1.1"])
        wire = await connect(port, ssl=trust, server_hostname="localhost")
        assert wire.writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
        for _ in range(2):
            await wire.send(gated.request())
            assert (await wire.reply()).status == 200
            browser = next(c for c in gated.running.connections() if c.transport is not None)
            await until(browser._is_idle)
        assert gated.taken == 1
        await wire.close()
        plain = await connect(port)
        await plain.send(gated.request())
        assert b"200 OK" not in await plain.rest()
        await plain.close()


# Errors of our own, and the end.


async def test_an_unexpected_error_is_a_500_without_its_text(
    gated: Gated, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has the cause, the browser a sentence, and the connection ends."""

    def fail(_inbound: object) -> None:
        raise ZeroDivisionError("secret cause")

    monkeypatch.setattr(gated.running.gate, "decide", fail)
    async with gated.wire() as wire:
        await wire.send(gated.request())
        reply = await wire.reply()
        assert reply.status == 500
        assert "secret" not in reply.text
        assert await wire.is_closed()
    assert "secret cause" in caplog.text


@both_ways
async def test_a_gate_that_stops_completes_what_is_under_way(way: str) -> None:
    """The reply comes whole; a request that was on its way behind it is still answered, and the connection ends."""
    go_on = asyncio.Event()

    async def script(link: Link, _arrived: Arrived) -> None:
        await go_on.wait()
        await link.send(answer(b"whole"))

    async with Gated() as gated:
        gated.upstream.script = script
        async with gated.wire() as wire:
            await gated.send(wire, way, gated.request())
            await gated.upstream.arrived()
            server = gated.running
            stopping = asyncio.ensure_future(server.stop(drain=10))
            await until(lambda: server.gate.draining)
            await wire.send(gated.request("/late"))
            go_on.set()
            assert (await wire.reply()).body == b"whole"
            last = await wire.reply()
            assert (last.body, last.value("Connection")) == (b"whole", "close")
            assert await wire.is_closed()
            await stopping
        assert [a.target for a in gated.upstream.requests] == ["/", "/late"]
        gated.gate = None


async def test_a_failed_quick_request_of_somebody_who_left_is_forgotten(gated: Gated) -> None:
    """There is nobody to answer."""
    async with gated.wire() as wire:
        await gated.prepare(wire, SLOW, gated.request())
        await wire.send(gated.request())
        await wire.reply()
        browser = gated.connection(wire)
        browser.quick_failed(None, 0.0)
        assert not browser._messages
