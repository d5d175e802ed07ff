"""
One HTTP exchange: the request goes to the UI, its reply is spliced to the browser as it comes.

Edge: asyncio transports. Rules of this file:
- Bytes go from ``data_received`` straight to the browser's transport: no reader, no task, no copy but one joined write
  a head and what came with it.
- A reply that breaks off must look broken: no last chunk, no missing bytes made up (RFC 9112 §8).
- Both ways wait for the slower side.
"""

import asyncio
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from oidcgate.errors import (
    Interrupted,
    InvalidReply,
    OidcgateError,
    RequestError,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from oidcgate.net.downstream import Downstream
from oidcgate.net.upload import Body, Upload
from oidcgate.net.upstream import Pool, UpstreamConnection, UpstreamPools
from oidcgate.proxy.chunked import LAST_CHUNK, ChunkedDecoder, ChunkError, Decoder, encode_chunk
from oidcgate.proxy.reply import MOST_HEAD, BadReply, Framing, Reply, ReplyRewriter

MOST_INTERIM = 10  # 1xx replies before the real one
RETRYABLE = frozenset({"GET", "HEAD", "OPTIONS"})
PASSING = frozenset({502, 503, 504})  # statuses of an UI that is being replaced
MOMENT = 0.5  # seconds before a second try
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST, not FIN

OnDone = Callable[["Exchange"], None]
OnUpgrade = Callable[["Exchange", bytes, bytes], None]


@dataclass(frozen=True, slots=True)
class RelayLimits:
    """Time limits of an exchange, in seconds."""

    header_timeout: float
    idle_timeout: float
    body_idle: float


class Exchange:
    """
    A request under way and its reply. ``on_done`` is called once, when the reply is complete or has failed.

    What an exchange rarely changes stands as a class attribute: one is made for every request.

    Attributes:
        status: of the reply; 0 until its head has come.
        sent: bytes of head and body written to the browser.
        failure: why the reply did not come, or broke off.
        is_stale: it failed because a pooled connection was dead before a byte of the reply.
        upload: the request's body, while it is passed on.
        target, began: of the request, for lists of what is open; seconds since the epoch.
        asked: when the request's head was sent (seconds since the epoch).
        waited: seconds from then to the head of the reply; below zero while there is none.
    """

    target = ""
    began = 0.0
    asked = 0.0
    waited = -1.0

    connection: UpstreamConnection | None = None
    is_done = False
    status = 0
    sent = 0
    failure: OidcgateError | None = None
    is_stale = False
    again: frozenset[int] = frozenset()  # statuses that are not passed on, since the request is sent once more
    upload: Upload | None = None
    on_upgrade: OnUpgrade | None = None
    _framing: Framing | None = None  # None while the head is awaited
    _reusable = True
    _held = b""
    _left = 0
    _interim = 0
    _decoder: Decoder | None = None
    _since = 0.0

    def __init__(
        self,
        downstream: Downstream,
        rewriter: ReplyRewriter,
        method: str,
        *,
        http11: bool,
        keep_alive: bool,
        limits: RelayLimits,
        on_done: OnDone,
    ) -> None:
        self.downstream = downstream
        self.keep_alive = keep_alive
        self._rewriter = rewriter
        self._method = method
        self._http11 = http11
        self._limits = limits
        self._on_done = on_done

    def __repr__(self) -> str:
        return f"<Exchange {self._method} {self.status or 'waiting'}{' done' if self.is_done else ''}>"

    # The upstream's side.

    def start(self, connection: UpstreamConnection, head: bytes) -> None:
        """Send the request's head (and a body that is already here) on a connection."""
        self.connection = connection
        self.asked = self.asked or time.time()
        self._since = connection.loop.time()
        connection.sink = self
        self.downstream.writer_of_reply = self
        if connection.transport is None:
            connection.sink = None
            self.upstream_lost(None)
        else:
            connection.transport.write(head)

    def upstream_data(self, data: bytes) -> None:
        """As ``upstream.Sink``."""
        if self._framing is None:
            self._head(data)
        else:
            self._body(data)

    def upstream_lost(self, error: Exception | None) -> None:
        """As ``upstream.Sink``: the end of a close-delimited body, or a failure."""
        connection, self.connection = self.connection, None
        if self._framing is Framing.CLOSE and error is None:
            if self._http11:
                self._write(LAST_CHUNK)
            self._finish(reusable=False)
            return
        unanswered = not (self.status or self._held or self._interim)
        self.is_stale = unanswered and connection is not None and connection.reused
        self.fail(UpstreamError(f"the upstream's connection ended early: {error or 'closed'}"))

    def upstream_writable(self) -> None:
        """As ``upstream.Sink``."""
        if self.upload is not None:
            self.upload.go_on()

    # The browser's side.

    def downstream_writable(self) -> None:
        """As ``downstream.Writer``."""
        if self.connection is not None and self.connection.transport is not None:
            self._since = self.downstream.loop.time()
            self.connection.transport.resume_reading()

    def downstream_lost(self) -> None:
        """As ``downstream.Writer``."""
        self.fail(Interrupted("the browser went away"))

    def overdue(self, now: float) -> None:
        """As ``downstream.Writer``: no head in time, no byte for too long, or a body that stalls."""
        limits, upload = self._limits, self.upload
        if upload is not None and upload.waits_since and now - upload.waits_since > limits.body_idle:
            self.fail(RequestError("The request's body took too long.", status=408))
        elif upload is not None and upload.stalled_since and now - upload.stalled_since > limits.header_timeout:
            self.fail(UpstreamTimeout(f"it took nothing of the request's body for {limits.header_timeout:g} s"))
        elif self.status and now - self._since > limits.idle_timeout:
            kind = Interrupted if self.downstream.writing_paused else UpstreamTimeout  # who was waited for
            self.fail(kind("no byte either way for too long"))
        elif not self.status and upload is None and now - self._since > limits.header_timeout:
            self.fail(UpstreamTimeout(f"no reply within {limits.header_timeout:g} s"))

    def end(self, code: int, reason: str) -> None:
        """As ``downstream.Writer``."""
        self.fail(Interrupted(f"the session ended: {reason} ({code})"))

    def uploaded(self, now: float) -> None:
        """The request's body is complete: from now on the reply is awaited."""
        self.upload = None
        self._since = now

    # The reply.

    def _head(self, data: bytes) -> None:
        if self._held:
            data, self._held = self._held + data, b""
        end = data.find(b"\r\n\r\n")
        if end < 0:
            self._held = data
            if len(data) > MOST_HEAD:
                self.fail(InvalidReply("the reply's head is too large"))
            return
        head, rest = data[:end], data[end + 4 :]
        if self.upload is not None:
            self.keep_alive = False  # an early reply: the rest of the body is not read
        try:
            if self._http11 and self.keep_alive and self._method == "GET":
                reply = self._rewriter.read_usual(head)
            else:
                reply = self._rewriter.read(
                    head, method=self._method, client_http11=self._http11, keep_alive=self.keep_alive
                )
        except BadReply as error:
            self._held = head
            self.fail(InvalidReply(f"a reply that may not be passed on: {error}"))
            return
        if self.again and reply.status in self.again:
            self.is_stale = True
            self.fail(UpstreamUnreachable(f"the UI answered {reply.status} to what is worth a second try"))
        elif reply.status < 200:
            self._informational(reply.status, head, rest)
        else:
            self._begin(reply, rest)

    def _informational(self, status: int, head: bytes, rest: bytes) -> None:
        """1xx: a switch of protocols if it was asked for, else dropped (RFC 9110 §15.2)."""
        self._interim += 1
        if status == 101 and self.on_upgrade is not None:
            self.status = 101
            self.waited = max(0.0, time.time() - self.asked)
            self.on_upgrade(self, head, rest)
        elif status == 101 or self._interim > MOST_INTERIM:
            self._held = head
            self.fail(InvalidReply("an unasked switch of protocols, or too many interim replies"))
        elif rest:
            self._head(rest)

    def _begin(self, reply: Reply, rest: bytes) -> None:
        self.status = reply.status
        self.waited = max(0.0, time.time() - self.asked)
        self._framing = framing = reply.framing
        if framing is Framing.LENGTH:
            if len(rest) == reply.length:  # by far the most common: head and body came together
                self._write(reply.head + rest)
                self._finish(reusable=reply.reusable)
                return
            self._left = reply.length
        elif framing is Framing.CHUNKED:
            self._decoder = self._decoder or ChunkedDecoder()
        if not self._http11 and framing in (Framing.CHUNKED, Framing.CLOSE):
            self.keep_alive = False  # only the connection's end tells such a browser where the body ends
        self._reusable = reply.reusable
        self._write(reply.head)
        if framing is Framing.NONE:
            self._finish(reusable=reply.reusable and not rest)
        elif rest:
            self._body(rest)

    def _body(self, data: bytes) -> None:
        if self._framing is Framing.LENGTH:
            surplus = len(data) > self._left
            piece = data[: self._left] if surplus else data
            self._left -= len(piece)
            self._write(piece)
            if not self._left:
                self._finish(reusable=self._reusable and not surplus)
        elif self._framing is Framing.CHUNKED:
            self._chunks(data)
        else:
            self._write(encode_chunk([data]) if self._http11 else data)

    def _chunks(self, data: bytes) -> None:
        decoder = self._decoder
        assert decoder is not None
        try:
            pieces, surplus = decoder.feed(data)
        except ChunkError as error:
            self.fail(InvalidReply(f"a broken chunk: {error}"))
            return
        out = encode_chunk(pieces) if self._http11 else b"".join(pieces)
        if decoder.is_done and self._http11:
            out += LAST_CHUNK
        if out:
            self._write(out)
        if decoder.is_done:
            self._finish(reusable=self._reusable and not surplus)

    def _write(self, data: bytes) -> None:
        downstream = self.downstream
        transport = downstream.transport
        if transport is None:
            return
        self.sent += len(data)
        transport.write(data)
        if downstream.writing_paused and self.connection is not None and self.connection.transport is not None:
            self.connection.transport.pause_reading()
        self._since = downstream.loop.time()

    def _finish(self, *, reusable: bool) -> None:
        connection, self.connection = self.connection, None
        if self.upload is not None:  # the reply came before the body was complete
            self.upload.stop()
            self.keep_alive = reusable = False
        self.downstream.writer_of_reply = None
        if connection is not None:
            if reusable and self.on_upgrade is None:
                connection.release(self._since, resume=self.downstream.writing_paused)
            else:
                connection.abort()
        self.is_done = True
        self._on_done(self)

    def fail(self, failure: OidcgateError) -> None:
        """Give up: the upstream's connection is cut, and a reply that has begun breaks off visibly."""
        if self.is_done:
            return
        self.failure = failure
        connection, self.connection = self.connection, None
        if self.upload is not None:
            self.upload.stop()
            self.keep_alive = False
        if self.downstream.writer_of_reply is self:
            self.downstream.writer_of_reply = None
        if connection is not None:
            connection.abort()
        if self.status >= 200:
            self._break_off()
        self.is_done = True
        self._on_done(self)

    def switched(self) -> None:
        """A tunnel has taken over both connections."""
        self.is_done = True
        self._on_done(self)

    def _break_off(self) -> None:
        self.keep_alive = False
        transport = self.downstream.transport
        if transport is not None:
            if self._http11 and self._framing is not Framing.NONE:
                transport.close()
            else:  # HTTP/1.0 has no other sign that something is missing
                if (sock := transport.get_extra_info("socket")) is not None:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                transport.abort()


class Waiting:
    """An ``OnDone`` that a coroutine can wait for."""

    __slots__ = ("_ended",)

    def __init__(self) -> None:
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def __call__(self, _exchange: Exchange) -> None:
        """The exchange is over."""
        if not self._ended.done():
            self._ended.set_result(None)

    async def ended(self) -> None:
        """Wait for it."""
        await self._ended


@dataclass(frozen=True, slots=True)
class Request:
    """A request ready to be sent."""

    head: bytes
    body: Body | None
    retryable: bool
    again: frozenset[int]  # statuses at which it is sent once more, after a moment, as after a connection that fails
    check: Callable[[], None]  # raises when it may no longer be sent: the session is over, or the token past its time


async def relay(make: Callable[[OnDone], Exchange], request: Request, *, pools: UpstreamPools, pool: Pool) -> Exchange:
    """
    Send a request and see its reply through; a failure is left in the exchange's ``failure``.

    A request that may be repeated (RFC 9110 §9.2.2) is sent once more when a pooled connection turns out to be dead.

    Args:
        make: makes the exchange, once a try.
    """
    exchange = await _try(make, request, pool.take(), pools, pool, request.again)
    if not exchange.is_stale and request.again and isinstance(exchange.failure, UpstreamUnreachable):
        exchange.is_stale = True
    if exchange.is_stale and request.retryable and exchange.downstream.transport is not None:
        if request.again:
            await asyncio.sleep(MOMENT)
        exchange = await _try(make, request, None, pools, pool, request.again)
    return exchange


async def _try(
    make: Callable[[OnDone], Exchange],
    request: Request,
    connection: UpstreamConnection | None,
    pools: UpstreamPools,
    pool: Pool,
    again: frozenset[int] = frozenset(),
) -> Exchange:
    waiting = Waiting()
    exchange = make(waiting)
    exchange.again = again
    try:
        if connection is None:
            connection = await pools.connect(pool)
        request.check()
    except OidcgateError as error:
        if connection is not None:
            connection.abort()
        exchange.failure = error
        return exchange
    if exchange.downstream.transport is None:  # it left while its session was looked up or the UI was dialled
        connection.abort()
        exchange.failure = Interrupted("the browser went away")
        return exchange
    if request.body is None:
        exchange.start(connection, request.head)
    else:
        _send_body(exchange, connection, request.head, request.body)
    await waiting.ended()
    return exchange


def _send_body(exchange: Exchange, connection: UpstreamConnection, head: bytes, body: Body) -> None:
    content = body.content
    if content.is_eof() and not body.chunked:  # it came together with its head: one write, no task
        exchange.start(connection, head + content.read_nowait())
        return
    transport = exchange.downstream.transport
    if body.expects_continue and transport is not None and not content.is_eof():
        transport.write(CONTINUE)
    exchange.upload = Upload(connection, body, on_done=exchange.uploaded, on_failure=exchange.fail)
    exchange.start(connection, head)
    if exchange.upload is not None:
        exchange.upload.start()


def body_of(request: web.BaseRequest, *, chunked: bool, expects_continue: bool, most: int) -> Body:
    """The body of a request, ready to be passed on."""
    return Body(request.content, chunked=chunked, expects_continue=expects_continue, most=most)
