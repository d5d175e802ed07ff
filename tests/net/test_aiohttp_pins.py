"""What the gate relies on in aiohttp; each test fails when the library changes it."""

import asyncio
import inspect
from typing import Any

import pytest
from aiohttp import http_parser, web
from aiohttp.http_exceptions import BadHttpMessage, HttpProcessingError, LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.web_protocol import RequestHandler, _ErrInfo

from oidcgate.net.downstream import CLOSED, KEPT, Downstream
from tests.support.upstream import Arrived, Gated, Link, answer, until

pytestmark = pytest.mark.asyncio(loop_scope="module")


def parser(**options: Any) -> Any:
    """The request parser as a connection sets it up."""
    loop = asyncio.get_running_loop()
    protocol = RequestHandler(web.Server(lambda _request: None), loop=loop)
    return http_parser.HttpRequestParser(
        protocol, loop, 2**16, payload_exception=web.RequestPayloadError, auto_decompress=False, **options
    )


GET = b"GET /a%20b?x HTTP/1.1\r\nHost: a\r\nX-Raw: \xff\r\n\r\n"


async def test_the_c_parser_is_in_use() -> None:
    """The Python one is slower and less strict."""
    assert http_parser.HttpRequestParser is not http_parser.HttpRequestParserPy
    assert type(parser()).__module__ == "aiohttp._http_parser"


async def test_a_handlers_answer_may_be_any_object(gated: Gated) -> None:
    """prepare, write_eof and keep_alive are all that is asked of it."""
    calls: list[str] = []

    class Answer:
        keep_alive = False

        async def prepare(self, request: web.BaseRequest) -> None:
            calls.append("prepare")
            request.transport.write(b"HTTP/1.1 204 No Content\r\n\r\n")

        async def write_eof(self) -> None:
            calls.append("write_eof")

    async def handler(_request: web.BaseRequest) -> Any:
        return Answer()

    server = web.Server(handler)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*listener.sockets[0].getsockname()[:2])
    writer.write(GET)
    assert await reader.read(-1) == b"HTTP/1.1 204 No Content\r\n\r\n"
    assert calls == ["prepare", "write_eof"]
    writer.close()
    await writer.wait_closed()
    listener.close()
    await server.shutdown()
    assert (KEPT.keep_alive, CLOSED.keep_alive) == (True, False)


async def test_a_parsed_head_is_raw_and_hashable() -> None:
    """``raw_headers`` is a tuple of pairs of bytes, ``path`` the target as it came."""
    messages, upgraded, tail = parser().feed_data(GET)
    (message, payload), *rest = messages
    assert (upgraded, tail, rest) == (False, b"", [])
    assert message.raw_headers == ((b"Host", b"a"), (b"X-Raw", b"\xff"))
    assert isinstance(message.raw_headers, tuple)
    assert hash(message.raw_headers) == hash(tuple(message.raw_headers))
    assert message.path == "/a%20b?x"
    assert isinstance(message, http_parser.RawRequestMessage)
    assert message.should_close is False
    assert payload is EMPTY_PAYLOAD


async def test_only_a_request_without_a_body_has_the_empty_payload() -> None:
    """Identity with EMPTY_PAYLOAD tells that the head is all."""
    for head, empty in (
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", True),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", False),
    ):
        messages, _, _ = parser().feed_data(head)
        assert (messages[0][1] is EMPTY_PAYLOAD) == empty, head


async def test_a_websockets_head_is_reported_as_upgraded_with_what_follows() -> None:
    """``feed_data`` answers (messages, upgraded, tail)."""
    raw = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    messages, upgraded, tail = parser().feed_data(raw + b"early")
    assert (len(messages), upgraded, tail) == (1, True, b"early")


async def test_errors_of_the_parser_have_a_message_and_a_kind() -> None:
    """What becomes 431 and what 400."""
    with pytest.raises(LineTooLong):
        parser(max_line_size=100, max_field_size=100).feed_data(b"GET / HTTP/1.1\r\nX: " + b"a" * 200 + b"\r\n\r\n")
    with pytest.raises(BadHttpMessage, match="headers"):
        parser(max_headers=2).feed_data(b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 5 + b"\r\n")
    with pytest.raises(HttpProcessingError) as caught:
        parser().feed_data(b"\x00\r\n\r\n")
    assert caught.value.message
    assert "headers" not in str(caught.value).lower()
    assert _ErrInfo(status=400, exc=caught.value, message="x").exc is caught.value


async def test_the_parser_is_told_of_each_message_taken() -> None:
    """``message_consumed`` frees a place in its bounded queue, and one call too many does no harm."""
    tight = parser(max_msg_queue_size=2)
    messages, _, _ = tight.feed_data(GET * 5)
    assert len(messages) == 2
    for _ in range(5):
        tight.message_consumed()
    messages, _, _ = tight.feed_data(b"")
    assert len(messages) == 2


async def test_what_a_connection_holds(gated: Gated) -> None:
    """The private attributes of an idle connection mean what the gate takes them for."""
    async with gated.wire() as wire:
        await gated.prepare(wire, "quick", gated.request())
        browser = gated.connection(wire)
        assert isinstance(browser, Downstream)
        assert isinstance(browser._waiter, asyncio.Future)
        assert not browser._waiter.done()
        assert len(browser._messages) == 0
        assert browser._current_request is None
        assert browser._payload_parser is None
        assert browser._parser is not None
        assert browser._message_tail == b""
        assert browser._upgraded is browser._buffer_paused is browser._close is browser._force_close is False
        assert browser._paused is browser.writing_paused is False
        assert browser._keepalive is True
        assert browser._keepalive_handle is not None
        assert browser._next_keepalive_close_time > asyncio.get_running_loop().time()
        assert browser._keepalive_timeout == 75.0
        assert browser._max_msg_queue_size == 32
        assert browser._read_bufsize == 1024 * 1024
        assert browser._request_count == 1
        assert inspect.iscoroutinefunction(browser._drain_helper)
        for name in ("_pause_reading_for_buffer", "_process_keepalive", "force_close", "set_parser", "handle_error"):
            assert callable(getattr(browser, name))


async def test_what_a_connection_holds_while_a_request_is_under_way(gated: Gated) -> None:
    """``_waiter`` is gone, the request is current, and what follows waits in ``_messages``."""
    go_on = asyncio.Event()

    async def script(link: Link, _arrived: Arrived) -> None:
        await go_on.wait()
        await link.send(answer())

    gated.upstream.script = script
    async with gated.wire() as wire:
        await gated.send(wire, "slow", gated.request("/one"))
        await gated.upstream.arrived()
        browser = gated.connection(wire)
        assert browser._waiter is None
        assert browser._current_request.raw_path == "/one"
        await wire.send(gated.request("/two"))
        await until(lambda: browser._messages)
        message, payload = browser._messages[0]
        assert message.path == "/two"
        assert payload is EMPTY_PAYLOAD
        go_on.set()
        for _ in range(2):
            assert (await wire.reply()).status == 200


async def test_an_upgraded_connection_hands_its_bytes_to_the_new_parser() -> None:
    """``set_parser`` passes on what came early, then each segment, then the end."""
    fed: list[bytes] = []
    ended = asyncio.Event()

    class Sink:
        def feed_data(self, data: bytes) -> tuple[bool, bytes]:
            fed.append(data)
            return False, b""

        def feed_eof(self) -> None:
            ended.set()

    async def handler(request: web.BaseRequest) -> Any:
        request.protocol.set_parser(Sink())
        request.transport.write(b"go")
        await ended.wait()
        return CLOSED

    server = web.Server(handler)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*listener.sockets[0].getsockname()[:2])
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly")
    assert await reader.readexactly(2) == b"go"
    assert fed == [b"early"]
    writer.write(b"later")
    await until(lambda: fed == [b"early", b"later"])
    writer.close()
    await writer.wait_closed()
    await asyncio.wait_for(ended.wait(), 15)
    listener.close()
    await server.shutdown()


async def test_a_body_can_be_ended_from_outside() -> None:
    """``set_exception`` wakes whoever reads, and ``feed_eof`` after it makes the body count as read."""
    messages, _, _ = parser().feed_data(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n")
    content = messages[0][1]
    content.set_exception(web.RequestPayloadError("broken"))
    content.feed_eof()
    assert content.is_eof()
    with pytest.raises(web.RequestPayloadError):
        await content.readany()


async def test_the_version_of_an_answer_follows_the_request() -> None:
    """``version`` is kept in the request's cache, where the gate corrects one that it does not speak."""
    messages, _, _ = parser().feed_data(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    loop = asyncio.get_running_loop()
    protocol = RequestHandler(web.Server(lambda _request: None), loop=loop)
    request = web.BaseRequest(messages[0][0], messages[0][1], protocol, None, None, loop)
    assert request.version == (1, 1)
    request._cache["version"] = (1, 0)
    assert request.version == (1, 0)


async def test_the_second_identical_get_takes_the_quick_way(gated: Gated) -> None:
    """All of the above together: it works, and it is used."""
    async with gated.wire() as wire:
        before = gated.taken
        for n in range(4):
            await wire.send(gated.request(f"/{n}"))
            assert (await wire.reply()).status == 200
            await until(gated.connection(wire)._is_idle)
        assert gated.taken - before == 3
        assert gated.connection(wire)._request_count == 4
