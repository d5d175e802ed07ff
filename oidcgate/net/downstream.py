"""
The browser's connection: aiohttp reads requests from it, replies are written to it directly.

Edge: aiohttp's server protocol, extended where a gate between strangers needs more:
- limits on heads, slow clients and connections that answer in our words and echo nothing;
- flow control and loss are told to whoever is writing a reply;
- a websocket's bytes go to its tunnel without a parser between.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

from aiohttp import web
from aiohttp.http_exceptions import BadHttpMessage, HttpProcessingError, LineTooLong
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import RequestHandler, _ErrInfo

from oidcgate.errors import OidcgateError
from oidcgate.net.upstream import WRITE_BUFFER
from oidcgate.proxy.forwarded import neighbourhood

log = logging.getLogger("oidcgate.downstream")

HEADER_LINE = 32 * 1024  # bytes; a sibling host can stuff our cookies, so more than browsers need
HEADER_LINES = 200
READ_BUFFER = 1024 * 1024  # bytes of an upload read ahead
KEEP_ALIVE = 75.0  # seconds; more than load balancers keep theirs, so that they close first
LINGER = 2.0  # seconds an unread body is drained, so that the answer arrives
STALL = 60.0  # seconds without a byte going out, after which a browser that does not read is cut off


class Writer(Protocol):
    """
    Who is writing a reply.

    Attributes:
        target: of the request, as received.
        began: seconds since the epoch.
    """

    target: str
    began: float

    def downstream_writable(self) -> None:
        """The browser takes bytes again."""

    def downstream_lost(self) -> None:
        """The browser has gone."""

    def overdue(self, now: float) -> None:
        """Told once a second: end what has waited too long. ``now`` is the event loop's time."""

    def end(self, code: int, reason: str) -> None:
        """The session is over: stop."""


class ByteSink(Protocol):
    """A tunnel's side for the browser's bytes."""

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Bytes have come."""

    def feed_eof(self) -> None:
        """The browser has gone."""


class Sent:
    """A reply that is already written: what aiohttp accepts in place of a response."""

    __slots__ = ("keep_alive",)

    def __init__(self, *, keep_alive: bool) -> None:
        self.keep_alive = keep_alive

    async def prepare(self, request: web.BaseRequest) -> None:
        """Nothing is left to write; but the next request waits until the browser has read most of this reply."""
        protocol = request.protocol
        if protocol is not None and protocol.writing_paused:
            await protocol._drain_helper()

    async def write_eof(self) -> None:
        """Nothing is left to write."""


KEPT = Sent(keep_alive=True)
CLOSED = Sent(keep_alive=False)


class Quick(Protocol):
    """Answers the usual request without aiohttp's request objects and tasks."""

    def __call__(self, downstream: "Downstream", message: RawRequestMessage) -> bool:
        """Whether the request was taken; ``quick_done`` or ``quick_failed`` is called later."""


class Downstream(RequestHandler):
    """
    One browser's connection.

    A request that is nothing but a head and comes while nothing else is under way is first offered to ``Quick``; what
    that declines goes the way of every aiohttp request.
    """

    __slots__ = (
        "_ahead",
        "_head_bytes",
        "_head_limit",
        "_head_since",
        "_quick",
        "_quick_message",
        "_server",
        "_unsent",
        "_unsent_since",
        "address",
        "live",
        "loop",
        "quick_failure",
        "tunnel",
        "writer_of_reply",
    )

    def __init__(self, server: "DownstreamServer", **options: Any) -> None:
        super().__init__(server, **options)
        self.loop = self._loop
        self._server = server
        self._quick = server.quick
        self._quick_message: RawRequestMessage | None = None
        self._head_limit = server.head_limit
        self._ahead = 0  # bytes that came while a request was under way
        self._head_bytes = 0
        self._head_since = 0.0
        self._unsent = 0  # bytes that waited for the browser at the last look, and since when
        self._unsent_since = 0.0
        self.address = ""
        self.live: Any = None  # the session whose reply is being written
        self.tunnel: ByteSink | None = None
        self.writer_of_reply: Writer | None = None
        # Why the quick way failed, for the slow one to answer, and when the request came (seconds since the epoch).
        self.quick_failure: tuple[OidcgateError, float] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        transport = cast(asyncio.Transport, transport)  # uvloop's transports are not of asyncio's classes
        peer = transport.get_extra_info("peername")
        self.address = peer[0] if isinstance(peer, tuple) else "unix"
        transport.set_write_buffer_limits(high=WRITE_BUFFER)
        super().connection_made(transport)
        refusal = self._server.refusal(self.address)
        if refusal is not None:
            self._refuse(*refusal)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Called by the event loop."""
        super().connection_lost(exc)
        self.live = None
        writer, self.writer_of_reply = self.writer_of_reply, None
        if writer is not None:
            writer.downstream_lost()

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        if self.tunnel is not None:
            self.tunnel.feed_data(data)
            return
        if self._is_idle():
            self._ahead = 0
            if self._parse(data):
                self._head_bytes, self._head_since = 0, 0.0
                return
        elif self._quick_message is not None and not self._close and not self._force_close:
            self._queue(data)
            self._comes_ahead(len(data))
        else:
            super().data_received(data)
            self._comes_ahead(len(data))
            if self._messages and self._current_request is not None:
                self._end_broken_body(self._current_request.content)
        waiter = self._waiter
        if waiter is None or waiter.done() or self._quick_message is not None:  # a request is under way
            self._head_bytes = 0
            self._head_since = 0.0
        elif not self._force_close:
            self._head_pending(len(data))

    @property
    def is_busy(self) -> bool:
        """Whether a request is under way, or waits for its turn."""
        return bool(
            self.writer_of_reply is not None
            or self._quick_message is not None
            or self._current_request is not None
            or self._messages
        )

    def _is_idle(self) -> bool:
        """Whether aiohttp's loop waits for the next request and nothing is queued, under way or half read."""
        waiter = self._waiter
        return (
            waiter is not None
            and not waiter.done()
            and self._quick_message is None
            and not self._messages
            and not self._upgraded
            and not self._buffer_paused
            and not self._paused
            and not self._close
            and not self._force_close
        )

    def _parse(self, data: bytes) -> bool:
        """
        As aiohttp's ``data_received``, but that a single request without a body is offered to ``Quick``.

        Returns:
            Whether ``Quick`` took it, and may have answered it by now.
        """
        assert self._parser is not None
        messages, upgraded, tail = self._read(data)
        if len(messages) == 1 and not upgraded:
            message, payload = messages[0]
            if payload is EMPTY_PAYLOAD and isinstance(message, RawRequestMessage):
                self._quick_message = message
                if self._quick(self, message):
                    self._request_count += 1
                    self._server.requests_count += 1
                    self._parser.message_consumed()
                    return True
                self._quick_message = None
        self._enqueue(messages, upgraded, tail)
        self._wake()
        return False

    def _queue(self, data: bytes) -> None:
        """Keep what comes while a quick reply is under way: aiohttp's loop must not begin with it before."""
        if self._upgraded:
            self._message_tail += data
            if not self._buffer_paused and len(self._message_tail) >= self._read_bufsize:
                self._pause_reading_for_buffer()
        else:
            self._enqueue(*self._read(data))

    def _comes_ahead(self, count: int) -> None:
        """What comes before its turn, unless it is the body that is being read, is held within the limit of a head."""
        request = self._current_request
        if self._quick_message is None and (request is None or not request.content.is_eof()):
            return
        self._ahead += count
        if self._ahead > self._head_limit and not self._buffer_paused:
            self._pause_reading_for_buffer()

    def _resume_reading_if_drained(self) -> None:
        self._ahead = 0
        super()._resume_reading_if_drained()

    def _go_on_reading(self) -> None:
        """The request under way is over, and nothing is queued that would make aiohttp's loop read on."""
        if self._buffer_paused and not self._messages and not self._upgraded:
            self._resume_reading_if_drained()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """As in aiohttp; then what was held back may come."""
        result = await super().finish_response(request, resp, start_time)
        self._go_on_reading()
        return result

    def _end_broken_body(self, content: StreamReader) -> None:
        """Whoever reads a body whose framing is broken would wait for its end for ever."""
        if isinstance(self._messages[-1][0], _ErrInfo) and not content.is_eof():
            content.set_exception(web.RequestPayloadError("broken framing"))
            content.feed_eof()

    def _read(self, data: bytes) -> tuple[Sequence[tuple[Any, Any]], bool, bytes]:
        """What the parser makes of bytes."""
        assert self._parser is not None
        try:
            return self._parser.feed_data(data)
        except HttpProcessingError as error:
            return [(_ErrInfo(status=400, exc=error, message=error.message), EMPTY_PAYLOAD)], False, b""

    def _enqueue(self, messages: Sequence[tuple[Any, Any]], upgraded: bool, tail: bytes) -> None:
        """Keep requests for aiohttp's loop."""
        self._request_count += len(messages)
        self._messages.extend(messages)
        if not self._buffer_paused and len(self._messages) >= self._max_msg_queue_size:
            self._pause_reading_for_buffer()
        self._upgraded = upgraded
        if upgraded and tail:
            self._message_tail = tail

    def _wake(self) -> None:
        """Let aiohttp's loop go on, if there is something for it."""
        if self._messages and self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def quick_done(self, *, keep_alive: bool) -> None:
        """A quick reply is complete: wait for the next request, or go on with one that came meanwhile."""
        self._quick_message = None
        self._go_on_reading()
        if not keep_alive or self._close:
            if self.transport is not None:
                self.transport.close()
        elif self._messages:
            self._wake()
        else:
            self._next_keepalive_close_time = self.loop.time() + self._keepalive_timeout

    def quick_failed(self, failure: OidcgateError | None, began: float) -> None:
        """A quick request came to nothing before a byte of its reply: the slow way answers it."""
        message, self._quick_message = self._quick_message, None
        if message is None or self.transport is None:
            return
        self.quick_failure = None if failure is None else (failure, began)
        self._messages.appendleft((message, EMPTY_PAYLOAD))
        self._wake()

    def _process_keepalive(self) -> None:
        """A quick request under way is no idleness, although aiohttp's loop waits."""
        if self._quick_message is not None:
            self._next_keepalive_close_time = self.loop.time() + self._keepalive_timeout
        super()._process_keepalive()

    def close(self) -> None:
        """As in aiohttp; a quick reply under way is completed first."""
        if self._quick_message is None:
            super().close()
        else:
            self._close = True

    def _head_pending(self, count: int) -> None:
        """A head has begun and is not complete: watch its size and its time."""
        self._head_bytes += count
        if not self._head_since:
            self._head_since = self._loop.time()
        if self._head_bytes > self._head_limit:
            self._refuse(TOO_LARGE, "large")

    def _refuse(self, answer: bytes, reason: str) -> None:
        self._server.turned_away[reason] += 1
        if self.transport is not None:
            self.transport.write(answer)
        self.force_close()

    def resume_writing(self) -> None:
        """Called by the event loop."""
        super().resume_writing()
        if self.writer_of_reply is not None:
            self.writer_of_reply.downstream_writable()

    def sweep(self, now: float, header_timeout: float) -> None:
        """Once a second: end what has waited too long. ``now`` is the event loop's time."""
        if self._head_since and now - self._head_since > header_timeout:
            self._refuse(TOO_SLOW, "slow")
        elif self.transport is not None and self._is_stalled(self.transport.get_write_buffer_size(), now):
            self.transport.abort()
        elif self.writer_of_reply is not None:
            self.writer_of_reply.overdue(now)

    def _is_stalled(self, unsent: int, now: float) -> bool:
        """Whether what waits for the browser has not moved for too long."""
        if not unsent or unsent != self._unsent:
            self._unsent, self._unsent_since = unsent, now
        return now - self._unsent_since > STALL

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> Any:
        """Answer what aiohttp's parser refused, in our words: it would quote the input, and log it."""
        if isinstance(exc, LineTooLong) or (isinstance(exc, BadHttpMessage) and "headers" in str(exc).lower()):
            answer, reason = TOO_LARGE, "large"
        elif status < 500:
            answer, reason = MALFORMED, "malformed"
        else:
            answer, reason = plain_answer(500, "Internal Server Error", "Something went wrong in the gate."), "error"
            log.error("unexpected error while answering", exc_info=exc)
        self._server.turned_away[reason] += 1
        if self.transport is not None:
            self.transport.write(answer)
        return CLOSED


def plain_answer(status: int, reason: str, sentence: str) -> bytes:
    """A complete text reply that ends the connection."""
    body = sentence + "\n"
    return (
        f"HTTP/1.1 {status} {reason}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
        f"Cache-Control: no-store\r\nConnection: close\r\n\r\n{body}"
    ).encode()


TOO_LARGE = plain_answer(431, "Request Header Fields Too Large", "The request's headers are too large.")
MALFORMED = plain_answer(400, "Bad Request", "This is not a well-formed HTTP/1.1 request.")
TOO_MANY = plain_answer(503, "Service Unavailable", "Too many connections; try again in a moment.")
TOO_MANY_FROM_THERE = plain_answer(429, "Too Many Requests", "Too many connections from this address.")
TOO_SLOW = plain_answer(408, "Request Timeout", "The request's headers took too long.")


TURNED_AWAY = ("connections", "address", "malformed", "large", "slow", "error")


class DownstreamServer(web.Server):
    """
    Makes a ``Downstream`` for each connection and counts them.

    Args:
        handler: answers a request; returns ``Sent`` or an aiohttp response.
        quick: is offered each request without a body first.
        head_limit: bytes of a request's head.
        most: connections in all.
        most_per_address: connections from one address, unless ``is_exempt`` says otherwise.
        header_timeout: seconds for a request's head to arrive.

    Attributes:
        turned_away: how many were not let in, or not heard out, by why.
    """

    def __init__(
        self,
        handler: Callable[[web.BaseRequest], Any],
        quick: Quick,
        *,
        head_limit: int,
        most: int,
        most_per_address: int,
        header_timeout: float,
        is_exempt: Callable[[str], bool],
    ) -> None:
        super().__init__(handler, handler_cancellation=False)
        self.quick = quick
        self.head_limit = head_limit
        self._most = most
        self._most_per_address = most_per_address
        self._header_timeout = header_timeout
        self._is_exempt = is_exempt
        self._per_address: Counter[str] = Counter()
        self._addresses: dict[RequestHandler, str] = {}
        self.turned_away = Counter(dict.fromkeys(TURNED_AWAY, 0))

    def __call__(self) -> RequestHandler:
        """A protocol for a new connection."""
        return Downstream(
            self,
            loop=self._loop,
            keepalive_timeout=KEEP_ALIVE,
            access_log=None,
            logger=log,
            max_line_size=HEADER_LINE,
            max_field_size=HEADER_LINE,
            max_headers=HEADER_LINES,
            lingering_time=LINGER,
            read_bufsize=READ_BUFFER,
            auto_decompress=False,
        )

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        """Called by the connection."""
        super().connection_made(handler, transport)
        address = getattr(handler, "address", "")
        self._addresses[handler] = place = neighbourhood(address)
        self._per_address[place] += 1

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        """Called by the connection."""
        super().connection_lost(handler, exc)
        address = self._addresses.pop(handler, None)
        if address is not None:
            self._per_address[address] -= 1
            if not self._per_address[address]:
                del self._per_address[address]

    def refusal(self, address: str) -> tuple[bytes, str] | None:
        """What a connection too many is told, and which limit it is above."""
        if len(self._addresses) > self._most:
            return TOO_MANY, "connections"
        if self._per_address[neighbourhood(address)] > self._most_per_address and not self._is_exempt(address):
            return TOO_MANY_FROM_THERE, "address"
        return None

    def sweep(self) -> None:
        """Once a second: end what has waited too long."""
        now = self._loop.time()
        for connection in cast(list[Downstream], self.connections):
            connection.sweep(now, self._header_timeout)

    def end_session(self, is_over: Callable[[Any], bool], code: int, reason: str) -> int:
        """End the replies and tunnels of sessions that are over; how many there were."""
        count = 0
        for connection in cast(list[Downstream], self.connections):
            writer = connection.writer_of_reply
            if writer is not None and connection.live is not None and is_over(connection.live):
                writer.end(code, reason)
                count += 1
        return count
