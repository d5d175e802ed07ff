"""Websockets: who agrees first, what passes, and how they end."""

import asyncio
import base64
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from oidcgate.web.server import GateServer
from tests.support.raw import Wire
from tests.support.upstream import Arrived, Gated, Link, Pairs, answer, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def accept_for(key: str) -> str:
    """RFC 6455 §4.2.2."""
    return base64.b64encode(hashlib.sha1((key + GUID).encode()).digest()).decode()


def agreed(arrived: Arrived, extra: str = "") -> bytes:
    """The upstream's 101."""
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept_for(arrived.value('Sec-WebSocket-Key'))}\r\n{extra}\r\n"
    ).encode()


Then = Callable[[Link], Awaitable[None]]


def agreeing(then: Then, extra: str = "") -> Callable[[Link, Arrived], Awaitable[None]]:
    """A script that says 101 and goes on with bytes."""

    async def script(link: Link, arrived: Arrived) -> None:
        await link.send(agreed(arrived, extra))
        await then(link)
        link.close()

    return script


async def echo(link: Link) -> None:
    """Send everything back."""
    while data := await link.reader.read(65536):
        await link.send(data)


def handshake(gated: Gated, *, origin: str | None = "own", headers: Pairs = (), **options: Any) -> bytes:
    """A browser's handshake; headers replace those of the same name, and an empty value removes one."""
    pairs = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": KEY,
        **({"Origin": gated.url if origin == "own" else origin} if origin else {}),
    }
    pairs.update(headers)
    options.setdefault("target", "/ws?id")
    return gated.request(headers=[(name, value) for name, value in pairs.items() if value], **options)


def frame(payload: bytes = b"", opcode: int = 2, *, mask: bytes | None = None) -> bytes:
    """A frame."""
    size = len(payload)
    bit = 0x80 if mask else 0
    if size < 126:
        head = bytes((0x80 | opcode, bit | size))
    elif size < 65536:
        head = bytes((0x80 | opcode, bit | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, bit | 127)) + size.to_bytes(8, "big")
    if mask:
        payload = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
    return head + (mask or b"") + payload


def big_frame(size: int) -> bytes:
    """A masked frame of so many bytes in all."""
    return b"\x82\xff" + (size - 14).to_bytes(8, "big") + b"mask" + (bytes(range(256)) * (size // 256))[14:]


async def read_close(read: Callable[[int], Awaitable[bytes]], *, masked: bool) -> tuple[int, str]:
    """A close frame's code and reason."""
    head = await read(2)
    assert head[0] == 0x88, head
    assert bool(head[1] & 0x80) == masked
    mask = await read(4) if masked else bytes(4)
    payload = await read(head[1] & 0x7F)
    plain = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
    return int.from_bytes(plain[:2], "big"), plain[2:].decode()


@asynccontextmanager
async def opened(gated: Gated, then: Then, **options: Any) -> AsyncIterator[Wire]:
    """An open websocket."""
    gated.upstream.script = agreeing(then)
    async with gated.wire() as wire:
        await wire.send(handshake(gated, **options))
        assert (await wire.head()).status == 101
        yield wire


# Who agrees first.


async def test_a_websocket_opens_when_the_upstream_has_agreed(gated: Gated) -> None:
    """The browser sees no 101 before the upstream's; the handshake is the browser's own, the bearer the gate's."""
    go_on = asyncio.Event()

    async def script(link: Link, arrived: Arrived) -> None:
        await go_on.wait()
        await link.send(agreed(arrived, "Sec-WebSocket-Protocol: two\r\nSet-Cookie: a=b\r\nServer: secret\r\n"))
        await echo(link)

    gated.upstream.script = script
    async with gated.wire() as wire:
        await wire.send(
            handshake(gated, headers=[("Sec-WebSocket-Protocol", "one, two"), ("Authorization", "Basic x")])
        )
        arrived = await gated.upstream.arrived()
        assert not wire.reader._buffer
        go_on.set()
        reply = await wire.head()
        await wire.send(frame(b"hello", mask=b"abcd"))
        assert await wire.exactly(11) == frame(b"hello", mask=b"abcd")
    assert reply.status == 101
    assert sorted(reply.headers) == [
        ("Connection", "Upgrade"),
        ("Sec-Websocket-Accept", accept_for(KEY)),
        ("Sec-Websocket-Protocol", "two"),
        ("Upgrade", "websocket"),
    ]
    assert arrived.target == "/ws?id"
    assert arrived.value("Connection") == "Upgrade"
    assert arrived.value("Upgrade") == "websocket"
    assert arrived.value("Sec-WebSocket-Key") == KEY
    assert arrived.value("Sec-WebSocket-Version") == "13"
    assert arrived.value("Sec-WebSocket-Protocol") == "one, two"
    assert arrived.value("Authorization") == gated.bearer()


@pytest.mark.parametrize("status", ["403 Forbidden", "200 OK", "302 Found"])
async def test_a_refused_upgrade_is_an_ordinary_reply(gated: Gated, status: str) -> None:
    """It is relayed as it is, both connections end, and what the browser sent early never becomes a request."""
    gated.upstream.script = answer(b"no", status=status)
    async with gated.wire() as wire:
        await wire.send(handshake(gated) + gated.request("/smuggled"))
        reply = await wire.reply()
        assert (reply.status, reply.body, reply.value("Connection")) == (int(status[:3]), b"no", "close")
        assert await wire.is_closed()
    assert len(gated.pool.idle) == 0
    await asyncio.wait_for(gated.upstream.links[-1].ended.wait(), 15)
    assert len(gated.upstream.requests) == 1


@pytest.mark.parametrize(
    "reply",
    [
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: wrong\r\n",
        "Upgrade: websocket\r\nConnection: Upgrade\r\n",
        f"Upgrade: h2c\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept_for(KEY)}\r\n",
        f"Connection: Upgrade\r\nSec-WebSocket-Accept: {accept_for(KEY)}\r\n",
        f"Upgrade: websocket\r\nSec-WebSocket-Accept: {accept_for(KEY)}\r\n",
        f"Upgrade: websocket\r\nConnection: close\r\nSec-WebSocket-Accept: {accept_for(KEY)}\r\n",
        f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept_for(KEY)}\r\nSec-WebSocket-Protocol: unasked\r\n",
        f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept_for(KEY)}\r\nSec-WebSocket-Extensions: permessage-deflate\r\n",
        f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept_for(KEY)}\r\nSec-WebSocket-Accept: x\r\n",
    ],
)
async def test_a_101_that_does_not_verify_is_no_101(gated: Gated, reply: str) -> None:
    """502 to the browser, and the upstream's connection is cut."""
    gated.upstream.script = f"HTTP/1.1 101 Switching Protocols\r\n{reply}\r\nevil".encode()
    async with gated.wire() as wire:
        await wire.send(handshake(gated))
        got = await wire.reply()
        assert (got.status, got.value("Connection")) == (502, "close")
        assert b"evil" not in got.body
    await asyncio.wait_for(gated.upstream.links[-1].ended.wait(), 15)


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"headers": [("Sec-WebSocket-Version", "8")]}, 426),
        ({"headers": [("Sec-WebSocket-Version", "14")]}, 426),
        ({"headers": [("Sec-WebSocket-Version", "")]}, 426),
        ({"headers": [("Sec-WebSocket-Key", "")]}, 400),
        ({"headers": [("Sec-WebSocket-Key", "short")]}, 400),
        ({"headers": [("Sec-WebSocket-Key", base64.b64encode(bytes(15)).decode())]}, 400),
        ({"headers": [("Sec-WebSocket-Key", KEY + "!")]}, 400),
        ({"headers": [("Sec-WebSocket-Protocol", "a b")]}, 400),
        ({"headers": [("Sec-WebSocket-Protocol", "base64url.bearer.authorization.k8s.io.abc")]}, 400),
        ({"method": "POST"}, 400),
        ({"method": "HEAD"}, 400),
        ({"method": "POST", "body": b"GET /smuggled HTTP/1.1\r\n\r\n"}, 400),
        ({"body": b"GET /smuggled HTTP/1.1\r\n\r\n"}, 400),
        ({"headers": [("Transfer-Encoding", "chunked")]}, 400),
        ({"version": "HTTP/1.0"}, 400),
        ({"origin": None}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"headers": [("Sec-Fetch-Site", "cross-site")]}, 403),
        ({"headers": [("Sec-Fetch-Site", "same-site")]}, 403),
        ({"who": None}, 401),
        ({"target": "/api/sockjs/iframe.html"}, 403),
    ],
)
async def test_a_handshake_that_must_not_pass(
    gated: Gated, options: dict, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is answered by the gate, the upstream is never asked, and the connection ends."""
    monkeypatch.setattr("oidcgate.net.downstream.LINGER", 0.01)
    async with gated.wire() as wire:
        await wire.send(handshake(gated, **options))
        reply = await wire.reply(options.get("method", "GET"))
        assert reply.status == status
        assert reply.value("Connection") in ("close", "")
        assert reply.values("Sec-WebSocket-Version") == (["13"] if status == 426 else [])
        await wire.rest()
    assert gated.upstream.links == [] or all(link.ended.is_set() for link in gated.upstream.links)
    assert gated.upstream.requests == []


async def test_tokens_among_the_subprotocols_are_dropped(gated: Gated) -> None:
    """A second bearer does not pass; the other protocols do, and so do extensions."""
    gated.upstream.script = agreeing(
        echo, "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=10\r\n"
    )
    async with gated.wire() as wire:
        await wire.send(
            handshake(
                gated,
                headers=[
                    ("Sec-WebSocket-Protocol", "v4.channel.k8s.io, BASE64URL.bearer.authorization.k8s.io.abc"),
                    ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"),
                ],
            )
        )
        reply = await wire.head()
        assert reply.status == 101
        assert reply.value("Sec-WebSocket-Extensions") == "permessage-deflate; client_max_window_bits=10"
    arrived = gated.upstream.requests[0]
    assert arrived.value("Sec-WebSocket-Protocol") == "v4.channel.k8s.io"
    assert arrived.value("Sec-WebSocket-Extensions") == "permessage-deflate; client_max_window_bits"


async def test_identity_and_nominated_headers_are_dropped_here_too(gated: Gated) -> None:
    """An upgrade is a request like any other."""
    async with opened(
        gated, echo, headers=[("Connection", "Upgrade, X-Gone"), ("X-Gone", "1"), ("Impersonate_User", "root")]
    ):
        arrived = gated.upstream.requests[0]
        assert arrived.values("X-Gone") == arrived.values("Impersonate_User") == []
        assert b"root" not in arrived.raw


async def test_a_trace_goes_through_with_the_handshake(gated: Gated) -> None:
    """Byte for byte, and into the log when the websocket is over."""
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    lines = [("TraceParent", f"00-{trace}-00f067aa0ba902b7-01"), ("tracestate", "a=1,  b=2")]
    async with opened(gated, echo, headers=lines):
        (arrived,) = gated.upstream.requests
        assert [arrived.values(name) for name, _ in lines] == [[value] for _, value in lines]
        assert (b"TraceParent", lines[0][1].encode()) in arrived.headers
    await until(lambda: f'"trace":"{trace}"' in gated.access_log())


async def test_early_bytes_are_held(gated: Gated) -> None:
    """What the browser sends before the 101 reaches the upstream after it, in order."""
    go_on = asyncio.Event()
    early = frame(b"early", mask=b"abcd")

    async def script(link: Link, arrived: Arrived) -> None:
        await go_on.wait()
        assert not link.reader._buffer
        await link.send(agreed(arrived) + frame(b"at once"))
        await echo(link)

    gated.upstream.script = script
    async with gated.wire() as wire:
        await wire.send(handshake(gated) + early)
        await gated.upstream.arrived()
        await wire.send(early)
        connection = gated.connection(wire)
        await until(lambda: connection._message_tail == early * 2)
        go_on.set()
        assert (await wire.head()).status == 101
        assert await wire.exactly(9 + 2 * len(early)) == frame(b"at once") + early * 2


async def test_early_bytes_are_bounded(gated: Gated) -> None:
    """The browser has to wait when it sends without end before it may."""
    go_on = asyncio.Event()
    total = 8 * 1024 * 1024

    async def script(link: Link, arrived: Arrived) -> None:
        await go_on.wait()
        await link.send(agreed(arrived))
        await link.read(total)
        await link.send(b"all there")

    gated.upstream.script = script
    async with gated.wire() as wire:
        await wire.send(handshake(gated))
        await gated.upstream.arrived()
        sending = asyncio.ensure_future(wire.send(big_frame(total)))
        connection = gated.connection(wire)
        await until(lambda: connection._buffer_paused)
        assert len(connection._message_tail) < total / 2
        go_on.set()
        assert (await wire.head()).status == 101
        assert await wire.exactly(9) == b"all there"
        await sending


async def test_a_handshake_of_somebody_who_left_is_not_sent(gated: Gated) -> None:
    """While the upstream is dialled the browser may go."""
    dialled, go_on = asyncio.Event(), asyncio.Event()
    pools = gated.running.sites[0].pools
    connect = pools.connect

    async def slow_connect(pool: object) -> object:
        connection = await connect(pool)
        dialled.set()
        await go_on.wait()
        return connection

    pools.connect = slow_connect
    try:
        async with gated.wire() as wire:
            await wire.send(handshake(gated))
            await asyncio.wait_for(dialled.wait(), 15)
            browser = gated.connection(wire)
        await until(lambda: browser.transport is None)
        go_on.set()
        await asyncio.wait_for(gated.upstream.links[-1].ended.wait(), 15)
    finally:
        pools.connect = connect
    assert gated.upstream.requests == []


async def test_an_upstream_that_is_not_there(gated: Gated) -> None:
    """502."""
    await gated.upstream.stop()
    gated.forget_connections()
    assert (await gated.fetch(handshake(gated))).status == 502
    await gated.upstream.start()


async def test_an_upstream_that_is_gone_when_it_was_dialled(gated: Gated) -> None:
    """502: the handshake could not be sent."""
    pools = gated.running.sites[0].pools
    connect = pools.connect

    async def lost(pool: object) -> object:
        connection = await connect(pool)
        connection.transport.abort()
        await until(lambda: connection.transport is None)
        return connection

    pools.connect = lost
    try:
        assert (await gated.fetch(handshake(gated))).status == 502
    finally:
        pools.connect = connect


async def test_a_handshake_behind_a_quick_reply_waits_for_it(gated: Gated) -> None:
    """What comes after it is kept for the tunnel, and bounded, while the reply before it is still under way."""
    go_on = asyncio.Event()
    early = big_frame(2 * 1024 * 1024)

    async def script(link: Link, arrived: Arrived) -> None:
        if arrived.target == "/first":
            await go_on.wait()
            await link.send(answer(b"first"))
        else:
            await agreeing(echo)(link, arrived)

    gated.upstream.script = script
    async with gated.wire() as wire:
        await gated.send(wire, "quick", gated.request("/first"))
        await gated.upstream.arrived()
        browser = gated.connection(wire)
        await wire.send(handshake(gated) + early[:1])
        await until(lambda: browser._message_tail == early[:1])
        sending = asyncio.ensure_future(wire.send(early[1:]))
        await until(lambda: browser._buffer_paused)
        assert [a.target for a in gated.upstream.requests] == ["/first"]
        go_on.set()
        assert (await wire.reply()).body == b"first"
        assert (await wire.head()).status == 101
        assert await wire.exactly(len(early)) == early
        await sending


# Bytes.


async def test_much_data_both_ways_with_a_slow_reader(gated: Gated) -> None:
    """Each side waits for the other; nothing is lost, and what is held stays bounded."""
    size = 96 * 1024 * 1024  # more than all buffers on the way
    data = big_frame(size)
    async with opened(gated, echo) as wire:
        sending = asyncio.ensure_future(wire.send(data))
        tunnel = gated.connection(wire).tunnel
        await until(lambda: tunnel.downstream.writing_paused and tunnel.connection.writing_paused)
        assert tunnel.received < size
        got = await asyncio.wait_for(wire.reader.readexactly(len(data)), 60)
        await sending
        assert got == data
        assert repr(tunnel).startswith("<Tunnel")


async def test_an_end_without_a_close_frame_is_passed_on_as_it_came(gated: Gated) -> None:
    """Data, then the end: just as SockJS servers do it."""

    async def then(link: Link) -> None:
        await link.send(frame(b'c[3000,"Go away!"]', 1))

    async with opened(gated, then) as wire:
        assert await wire.rest() == frame(b'c[3000,"Go away!"]', 1)


async def test_a_cut_in_the_middle_of_a_frame_is_passed_on(gated: Gated) -> None:
    """Half a frame, then the end."""

    async def then(link: Link) -> None:
        await link.send(frame(b"x" * 1000)[:500])

    async with opened(gated, then) as wire:
        assert await wire.rest() == frame(b"x" * 1000)[:500]


async def test_a_browser_that_leaves_ends_the_upstreams_side(gated: Gated) -> None:
    """What it sent still arrives."""
    rest: asyncio.Queue[bytes] = asyncio.Queue()

    async def then(link: Link) -> None:
        rest.put_nowait(await link.rest())

    async with opened(gated, then) as wire:
        await wire.send(frame(b"bye", mask=b"abcd"))
    assert await asyncio.wait_for(rest.get(), 15) == frame(b"bye", mask=b"abcd")


async def test_bytes_from_the_browser_keep_the_session_in_use(gated: Gated) -> None:
    """A terminal that is typed into is no idle session."""
    async with opened(gated, echo) as wire:
        live = gated.running.sessions.find(gated.handles["alice"].encode())
        live.seen = 0.0
        await wire.send(frame(b"x", mask=b"abcd"))
        await wire.exactly(7)
        assert live.seen > 0


# Ends.


async def closing(link: Link) -> None:
    """Read a close frame from the gate and the end."""
    assert (await read_close(link.read, masked=True))[0] == 4001
    assert await link.rest() == b""


def live_of(gated: Gated, who: str = "alice") -> Any:
    """Somebody's session."""
    return gated.running.sessions.find(gated.handles[who].encode())


async def test_sign_out_closes_both_sides_with_a_close_frame(gated: Gated) -> None:
    """4001 and the reason: unmasked to the browser, masked to the upstream; then both connections end."""
    async with opened(gated, closing) as wire:
        browser = gated.browsers["alice"]
        page = await browser.open(f"{gated.url}/oauth2/sign_out")
        await browser.submit(page)
        code, reason = await read_close(wire.exactly, masked=False)
        assert code == 4001
        assert reason.startswith("Session ended")
        await wire.send(frame(b"\x0f\xa1", 8, mask=b"abcd"))
        assert await wire.is_closed()
    await asyncio.wait_for(gated.upstream.links[-1].ended.wait(), 15)


async def test_another_persons_websocket_stays_open(gated: Gated) -> None:
    """Only the session that ended loses its streams."""
    async with opened(gated, echo, who="bob") as wire:
        await gated.running.sessions.end(live_of(gated), "a test says so")
        await wire.send(frame(b"x", mask=b"abcd"))
        assert await wire.exactly(7) == frame(b"x", mask=b"abcd")


async def test_a_close_in_the_middle_of_a_frame_waits_for_its_end(gated: Gated) -> None:
    """On both sides the frame under way is completed, the close frame follows, and nothing after it passes."""
    down, up = frame(b"d" * 1000), frame(b"u" * 1000, mask=b"abcd")
    half = asyncio.Event()
    rest: asyncio.Queue[bytes] = asyncio.Queue()

    async def then(link: Link) -> None:
        await link.send(down[:300])
        assert await link.read(400) == up[:400]
        await half.wait()
        await link.send(down[300:] + frame(b"never seen"))
        assert await link.read(len(up) - 400) == up[400:]
        assert (await read_close(link.read, masked=True))[0] == 4001
        rest.put_nowait(await link.rest())

    async with opened(gated, then) as wire:
        assert await wire.exactly(300) == down[:300]
        await wire.send(up[:400])
        tunnel = gated.connection(wire).tunnel
        await until(lambda: tunnel.received == 400)
        tunnel.end(4001, "a test says so")
        tunnel.end(4001, "twice")
        assert "closing" in repr(tunnel)
        half.set()
        await wire.send(up[400:410])
        await until(lambda: tunnel.received == 410)
        await wire.send(up[410:] + frame(b"never seen", mask=b"abcd"))
        assert await wire.exactly(700 + 4) == down[300:]
        assert await read_close(wire.exactly, masked=False) == (4001, "a test says so")
        await wire.send(frame(b"\x0f\xa1", 8, mask=b"abcd"))
        assert await wire.is_closed()
    assert await asyncio.wait_for(rest.get(), 15) == b""


async def test_a_close_frame_that_has_passed_is_not_followed_by_another(gated: Gated) -> None:
    """The upstream said close already; the gate adds nothing to the browser's side."""

    async def then(link: Link) -> None:
        await link.send(frame(b"\x03\xe8", 8))
        assert (await read_close(link.read, masked=True))[0] == 4001
        await link.rest()

    async with opened(gated, then) as wire:
        assert await wire.exactly(4) == frame(b"\x03\xe8", 8)
        gated.connection(wire).tunnel.end(4001, "a test says so")
        gated.connection(wire).tunnel.cut()
        assert await wire.is_closed()


@pytest.mark.parametrize("stuck", ["nobody answers", "in the middle of a frame"])
async def test_both_sockets_are_cut_after_the_grace(gated: Gated, stuck: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A side that neither answers nor completes its frame is not waited for."""
    monkeypatch.setattr("oidcgate.net.tunnel.GRACE", 0.0)

    async def then(link: Link) -> None:
        if stuck != "nobody answers":
            await link.send(frame(b"x" * 100)[:50])
        await link.rest()

    async with opened(gated, then) as wire:
        if stuck != "nobody answers":
            await wire.exactly(50)
        gated.connection(wire).tunnel.end(4001, "a test says so")
        await wire.rest()
    await asyncio.wait_for(gated.upstream.links[-1].ended.wait(), 15)


async def test_a_slow_browser_still_gets_its_close_frame(gated: Gated) -> None:
    """Its buffer is full when the session ends: the rest, the close frame and the end come in order."""

    async def then(link: Link) -> None:
        piece = frame(bytes(60_000))
        try:
            while True:
                await link.send(piece)
        except ConnectionError:
            return

    async with opened(gated, then) as wire:
        tunnel = gated.connection(wire).tunnel
        await until(lambda: tunnel.downstream.writing_paused)
        tunnel.end(4001, "a test says so")
        got = await wire.rest()
        assert got.endswith(b"\x88\x10\x0f\xa1a test says so")


async def test_the_longest_life_of_a_session_ends_its_websocket(gated: Gated) -> None:
    """The absolute limit passes while it is open."""
    async with opened(gated, closing) as wire:
        live = live_of(gated)
        await gated.running.sessions._write(replace(live.session, ends=time.time() - 1))
        live.session = replace(live.session, ends=time.time() - 1)
        live.checked = 0.0
        await gated.running.look_after()
        assert (await read_close(wire.exactly, masked=False))[0] == 4001
    await asyncio.wait_for(gated.upstream.links[-1].ended.wait(), 15)


async def test_tokens_that_cannot_be_renewed_end_a_websocket(gated: Gated) -> None:
    """The refresh token is dead and the ID token's time is over."""
    async with opened(gated, closing) as wire:
        shared = live_of(gated).shared
        shared.grant = replace(shared.grant, refresh_token=None)
        shared.usable_until = time.time() - 1
        await gated.running.look_after()
        assert (await read_close(wire.exactly, masked=False))[0] == 4001
    await asyncio.wait_for(gated.upstream.links[-1].ended.wait(), 15)


async def test_a_websocket_without_a_byte_is_closed_in_the_end(gated: Gated) -> None:
    """The idle limit counts bytes of either side."""

    async def then(link: Link) -> None:
        assert (await read_close(link.read, masked=True))[0] == 1001
        await link.rest()

    async with opened(gated, then) as wire:
        browser, now = gated.connection(wire), asyncio.get_running_loop().time()
        browser.sweep(now + 3599, 15)
        browser.sweep(now + 3601, 15)
        assert (await read_close(wire.exactly, masked=False))[0] == 1001


async def test_a_gate_that_stops_says_so() -> None:
    """1012 to both sides, and the gate does not wait for them for long."""

    async def then(link: Link) -> None:
        assert (await read_close(link.read, masked=True))[0] == 1012
        await link.rest()

    async with Gated() as gated:
        async with opened(gated, then) as wire:
            server: GateServer = gated.running
            stopping = asyncio.ensure_future(server.stop(drain=5))
            assert (await read_close(wire.exactly, masked=False))[0] == 1012
            await wire.send(frame(b"\x03\xf4", 8, mask=b"abcd"))
            assert await wire.is_closed()
            await stopping
        gated.gate = None
