"""Bodies on their way up: framing, limits, and clients that wait to be asked."""

import asyncio
import gzip

import pytest

from tests.support.raw import Wire
from tests.support.upstream import Arrived, Gated, Link, Pairs, answer, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

CHUNKED: Pairs = [("Transfer-Encoding", "chunked")]
BIG = b"x" * 300_000


def post(gated: Gated, body: bytes = b"", *, headers: Pairs = (), target: str = "/", method: str = "POST") -> bytes:
    """A request with a body, from our own page."""
    return gated.request(target, method=method, headers=[("Origin", gated.url), *headers], body=body)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "GET", "OPTIONS"])
async def test_a_body_of_known_length_arrives_with_its_length(gated: Gated, method: str) -> None:
    """Content-Length is told once and the bytes are the same, whatever the method."""
    for body in (b"abc", BIG):
        assert (await gated.fetch(post(gated, body, method=method))).status == 200
        arrived = gated.upstream.requests[-1]
        assert arrived.value("Content-Length") == str(len(body))
        assert arrived.value("Transfer-Encoding") == ""
        assert arrived.body == body


@pytest.mark.parametrize(("method", "told"), [("POST", "0"), ("PUT", "0"), ("PATCH", "0"), ("DELETE", ""), ("GET", "")])
async def test_no_body_is_told_where_one_is_usual(gated: Gated, method: str, told: str) -> None:
    """A POST without a body says so (RFC 9110 §8.6); no Content-Type is invented."""
    await gated.fetch(post(gated, method=method, headers=[("Content-Length", "0")] if told else []))
    assert gated.upstream.requests[0].value("Content-Length") == told
    assert gated.upstream.requests[0].value("Content-Type") == ""


async def test_a_body_that_comes_in_pieces_is_passed_on_as_it_comes(gated: Gated) -> None:
    """The upstream sees a piece before the client sends the next."""
    gated.upstream.reads_body = False
    seen: asyncio.Queue[bytes] = asyncio.Queue()

    async def script(link: Link, _arrived: Arrived) -> None:
        for _ in range(3):
            seen.put_nowait(await link.read(3))
        await link.send(answer())

    gated.upstream.script = script
    async with gated.wire() as wire:
        await wire.send(post(gated, headers=[("Content-Length", "9")]))
        for piece in (b"one", b"two", b"six"):
            await wire.send(piece)
            assert await asyncio.wait_for(seen.get(), 15) == piece
        assert (await wire.reply()).status == 200
        await wire.send(gated.request())


async def test_a_chunked_body_is_framed_anew(gated: Gated) -> None:
    """Extensions and trailers stay here; the data and the coding arrive, and no Trailer header."""
    raw = post(gated, headers=[*CHUNKED, ("Trailer", "X-Sum")])
    async with gated.wire() as wire:
        await wire.send(raw + b"3;ext=1\r\nabc\r\n")
        arrived = None
        await until(lambda: gated.upstream.links)
        await wire.send(b"2\r\nde\r\n0\r\nX-Sum: evil\r\n\r\n")
        assert (await wire.reply()).status == 200
        arrived = gated.upstream.requests[0]
        assert arrived.value("Transfer-Encoding") == "chunked"
        assert arrived.values("Content-Length") == arrived.values("Trailer") == []
        assert b"X-Sum" not in arrived.body
        assert b"ext" not in arrived.body
        assert decoded(arrived.body) == b"abcde"
        await wire.send(gated.request("/next"))
        assert (await wire.reply()).status == 200


def decoded(raw: bytes) -> bytes:
    """The data of a chunked body."""
    data = b""
    while raw:
        size, _, raw = raw.partition(b"\r\n")
        data += raw[: int(size, 16)]
        raw = raw[int(size, 16) + 2 :]
    return data


async def test_a_compressed_body_is_not_opened(gated: Gated) -> None:
    """Good gzip and bad alike arrive as they came."""
    for body in (gzip.compress(b"data" * 50), b"\x1f\x8bno gzip"):
        reply = await gated.fetch(post(gated, body, headers=[("Content-Encoding", "gzip")]))
        assert reply.status == 200
        assert gated.upstream.requests[-1].body == body


@pytest.mark.parametrize(
    "body",
    [b"zz\r\nabc\r\n0\r\n\r\n", b"3\r\nabcd\r\n0\r\n\r\n", b"-1\r\n\r\n", b"0x3\r\nabc\r\n0\r\n\r\n", b"3\nabc\n0\n\n"],
)
@pytest.mark.parametrize("apart", [False, True])
async def test_broken_chunks_are_refused(
    gated: Gated, body: bytes, apart: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """400 and the end, no error in our log; the upstream's connection is cut without a last chunk."""
    gated.upstream.reads_body = False
    rest: asyncio.Queue[bytes] = asyncio.Queue()

    async def script(link: Link, _arrived: Arrived) -> None:
        rest.put_nowait(await link.rest())

    gated.upstream.script = script
    async with gated.wire() as wire:
        await wire.send(post(gated, headers=CHUNKED) + (b"" if apart else body))
        if apart:
            await gated.upstream.arrived()
            await wire.send(body)
        assert (await wire.reply()).status == 400
        await wire.rest()
    assert "Unhandled exception" not in caplog.text
    if gated.upstream.requests:
        assert b"0\r\n\r\n" not in await asyncio.wait_for(rest.get(), 15)


# Expect: 100-continue.

EXPECTS: Pairs = [("Expect", "100-continue"), ("Content-Length", "3")]


async def test_a_client_that_waits_is_asked_for_its_body(gated: Gated) -> None:
    """100 is ours, and Expect goes no further: an upstream that never says 100 makes nobody wait."""
    async with gated.wire() as wire:
        await wire.send(post(gated, headers=EXPECTS))
        assert (await wire.head()).status == 100
        await wire.send(b"abc")
        assert (await wire.reply()).status == 200
    arrived = gated.upstream.requests[0]
    assert arrived.value("Expect") == ""
    assert arrived.body == b"abc"


async def test_a_client_that_does_not_wait_is_not_asked(gated: Gated) -> None:
    """A body that came along needs no 100."""
    reply = await gated.fetch(post(gated, b"abc", headers=[("Expect", "100-continue")]))
    assert reply.status == 200


@pytest.mark.parametrize(
    ("who", "origin", "status"), [(None, None, 401), ("alice", "https://evil.example", 403), ("alice", "null", 403)]
)
async def test_a_client_that_waits_is_refused_without_its_body(
    gated: Gated, who: str | None, origin: str | None, status: int
) -> None:
    """The verdict comes first; no 100, no byte upstream, and the connection ends."""
    headers = [*EXPECTS, ("Origin", origin or gated.url)]
    async with gated.wire() as wire:
        await wire.send(gated.request(method="POST", headers=headers, who=who))
        reply = await wire.reply()
        assert reply.status == status
        assert reply.value("Connection") == "close"
    assert gated.upstream.requests == []


async def test_another_expectation_is_refused(gated: Gated) -> None:
    """417, and nothing is sent on."""
    assert (await gated.fetch(post(gated, b"abc", headers=[("Expect", "a-miracle")]))).status == 417
    assert gated.upstream.requests == []


async def test_an_http_1_0_client_is_never_asked(gated: Gated) -> None:
    """It would not understand 100 (RFC 9110 §10.1.1)."""
    raw = gated.request(method="POST", version="HTTP/1.0", headers=[("Origin", gated.url), *EXPECTS])
    async with gated.wire() as wire:
        await wire.send(raw)
        await until(lambda: gated.upstream.links)
        await wire.send(b"abc")
        assert (await wire.reply()).status == 200


# Limits, and ends.


@pytest.fixture
def body_limit(gated: Gated) -> int:
    """The gate takes bodies of 1000 bytes."""
    gated.running.gate._body_limit = 1000
    yield 1000
    gated.running.gate._body_limit = 0


async def test_a_body_that_says_it_is_too_large_is_refused(gated: Gated, body_limit: int) -> None:
    """413 before a byte of it is read, and the upstream is not asked."""
    reply = await gated.fetch(post(gated, headers=[("Content-Length", str(body_limit + 1))]))
    assert (reply.status, reply.value("Connection")) == (413, "close")
    assert gated.upstream.requests == []
    assert (await gated.fetch(post(gated, b"x" * body_limit))).status == 200


async def test_a_chunked_body_that_grows_too_large_is_refused(gated: Gated, body_limit: int) -> None:
    """413 when it does, and the upstream's connection is cut before the end of the body."""
    gated.upstream.reads_body = False
    rest: asyncio.Queue[bytes] = asyncio.Queue()

    async def script(link: Link, _arrived: Arrived) -> None:
        rest.put_nowait(await link.rest())

    gated.upstream.script = script
    async with gated.wire() as wire:
        await wire.send(post(gated, headers=CHUNKED) + b"258\r\n" + b"x" * 600 + b"\r\n")
        await gated.upstream.arrived()
        await wire.send(b"258\r\n" + b"x" * 600 + b"\r\n")
        reply = await wire.reply()
        assert (reply.status, reply.value("Connection")) == (413, "close")
    assert not (await asyncio.wait_for(rest.get(), 15)).endswith(b"0\r\n\r\n")


async def test_an_early_reply_ends_the_upload(gated: Gated, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client gets it at once and is told that the connection ends; so does the upstream's."""
    monkeypatch.setattr("oidcgate.net.downstream.LINGER", 0.01)
    gated.upstream.reads_body = False
    gated.upstream.script = answer(b"no", status="403 Forbidden")
    async with gated.wire() as wire:
        await wire.send(post(gated, headers=[("Content-Length", "1000000")]) + b"some")
        reply = await wire.reply()
        assert (reply.status, reply.body) == (403, b"no")
        assert reply.value("Connection") == "close"
        assert await wire.is_closed()
    assert len(gated.pool.idle) == 0


async def test_an_early_reply_while_the_upstream_takes_nothing(gated: Gated) -> None:
    """The upload waits for the upstream; its reply ends that."""
    gated.upstream.reads_body = False
    go_on = asyncio.Event()

    async def script(link: Link, _arrived: Arrived) -> None:
        link.writer.transport.pause_reading()
        await go_on.wait()
        await link.send(answer(b"no", status="403 Forbidden"))

    gated.upstream.script = script
    async with gated.wire() as wire:
        feeding = asyncio.ensure_future(feed(wire, post(gated, headers=[("Content-Length", str(2**30))])))
        await gated.upstream.arrived()
        await until(lambda: any(u.stalled_since for u in uploads(gated)))
        go_on.set()
        assert (await wire.reply()).status == 403
        await stop(feeding)


async def feed(wire: Wire, head: bytes) -> None:
    """Send without end."""
    await wire.send(head)
    while True:
        await wire.send(b"x" * 65536)


async def stop(task: "asyncio.Future[None]") -> None:
    """End a feeder."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def uploads(gated: Gated) -> list:
    """Bodies under way."""
    writers = [c.writer_of_reply for c in gated.running.connections()]
    return [w.upload for w in writers if getattr(w, "upload", None) is not None]


async def test_an_upstream_that_stops_taking_a_body_is_given_up(gated: Gated) -> None:
    """After the time that it has for a reply: 504, though the client is still sending."""
    gated.upstream.reads_body = False

    async def script(link: Link, _arrived: Arrived) -> None:
        link.writer.transport.pause_reading()
        await asyncio.sleep(3600)

    gated.upstream.script = script
    async with gated.wire() as wire:
        feeding = asyncio.ensure_future(feed(wire, post(gated, headers=[("Content-Length", str(2**30))])))
        await gated.upstream.arrived()
        await until(lambda: any(u.stalled_since for u in uploads(gated)))
        browser = gated.connection(wire)
        now = asyncio.get_running_loop().time()
        browser.sweep(now + 29, 15)
        assert not browser.writer_of_reply.is_done
        browser.sweep(now + 31, 15)
        assert (await wire.reply()).status == 504
        await stop(feeding)
    gated.upstream.links[-1].abort()
    for task in gated.upstream._tasks:
        task.cancel()


async def test_a_client_that_stops_sending_is_given_up(gated: Gated) -> None:
    """408 after the idle limit of bodies; the upstream's slowness does not count."""
    gated.upstream.reads_body = False

    async def script(link: Link, _arrived: Arrived) -> None:
        assert await link.rest() == b"half"

    gated.upstream.script = script
    async with gated.wire() as wire:
        await wire.send(post(gated, headers=[("Content-Length", "100")]) + b"half")
        await gated.upstream.arrived()
        browser, now = gated.connection(wire), asyncio.get_running_loop().time()
        browser.sweep(now + 29, 15)
        assert not browser.writer_of_reply.is_done
        browser.sweep(now + 31, 15)
        reply = await wire.reply()
        assert (reply.status, reply.value("Connection")) == (408, "close")
    await asyncio.wait_for(gated.upstream.links[-1].ended.wait(), 15)


@pytest.mark.parametrize("headers", [[("Content-Length", "100")], CHUNKED])
async def test_a_client_that_leaves_in_the_middle_of_its_body(gated: Gated, headers: Pairs) -> None:
    """The upstream sees an incomplete body and the end of its connection."""
    gated.upstream.reads_body = False
    rest: asyncio.Queue[bytes] = asyncio.Queue()

    async def script(link: Link, _arrived: Arrived) -> None:
        rest.put_nowait(await link.rest())

    gated.upstream.script = script
    async with gated.wire() as wire:
        await wire.send(post(gated, headers=headers) + b"5\r\nabcde\r\n")
        await gated.upstream.arrived()
    got = await asyncio.wait_for(rest.get(), 15)
    assert len(got) < 100
    assert not got.endswith(b"0\r\n\r\n")


async def test_an_upstream_that_leaves_in_the_middle_of_a_body(gated: Gated) -> None:
    """502, and the client's connection ends since its body was not read."""
    gated.upstream.reads_body = False

    async def script(link: Link, _arrived: Arrived) -> None:
        link.close()

    gated.upstream.script = script
    async with gated.wire() as wire:
        await wire.send(post(gated, headers=[("Content-Length", "100")]) + b"half")
        reply = await wire.reply()
        assert (reply.status, reply.value("Connection")) == (502, "close")


async def test_a_reply_may_stream_while_the_body_is_still_coming(gated: Gated) -> None:
    """An upstream that echoes as it reads is not cut short."""
    gated.upstream.reads_body = False

    async def script(link: Link, _arrived: Arrived) -> None:
        await link.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n")
        for _ in range(2):
            await link.send(await link.read(3))

    gated.upstream.script = script
    async with gated.wire() as wire:
        await wire.send(post(gated, headers=[("Content-Length", "6")]) + b"one")
        await wire.head()
        assert await wire.exactly(3) == b"one"
        await wire.send(b"two")
        assert await wire.exactly(3) == b"two"


async def test_the_next_request_follows_a_body_at_once(gated: Gated) -> None:
    """Body and next request in one segment are told apart."""
    async with gated.wire() as wire:
        await wire.send(post(gated, b"abc") + gated.request("/second"))
        for _ in range(2):
            assert (await wire.reply()).status == 200
    assert [a.target for a in gated.upstream.requests] == ["/", "/second"]
    assert gated.upstream.requests[0].body == b"abc"
