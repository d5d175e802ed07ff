"""
One HTTP exchange: the request goes to the UI, its reply is spliced to the browser as it comes.

Edge: asyncio transports. Rules of this file:
- Bytes go from ``data_received`` straight to the browser's transport: no reader, no task, no copy but one joined write
  a head and what came with it.
- A reply that breaks off must look broken: no last chunk, no missing bytes made up (RFC 9112 §8).
- Both ways wait for the slower side.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from oidcgate.errors import OidcgateError, ProviderUnreachable, RequestError, UpstreamError, UpstreamTimeout
from oidcgate.net.downstream import Downstream
from oidcgate.net.upstream import Pool, UpstreamConnection, UpstreamPools
from oidcgate.proxy.chunked import LAST_CHUNK, ChunkedDecoder, ChunkError, encode_chunk
from oidcgate.proxy.reply import MOST_HEAD, BadReply, Framing, Reply, ReplyRewriter

MOST_INTERIM = 10  # 1xx replies before the real one
RETRYABLE = frozenset({"GET", "HEAD", "OPTIONS"})
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

OnUpgrade = Callable[["Exchange", bytes, bytes], None]


class Exchange:
    """
    A request under way and its reply. ``done`` resolves when the reply is complete or has failed.

    Attributes:
        status: of the reply; 0 until its head has come.
        sent: bytes of head and body written to the browser.
        failure: why the reply did not come, or broke off.
    """

    __slots__ = (
        "_body_since",
        "_decoder",
        "_feed",
        "_held",
        "_http11",
        "_interim",
        "_left",
        "_limits",
        "_method",
        "_on_upgrade",
        "_rewriter",
        "_since",
        "connection",
        "done",
        "downstream",
        "failure",
        "is_stale",
        "keep_alive",
        "loop",
        "sent",
        "status",
        "upload_full",
        "uploading",
    )

    def __init__(
        self,
        downstream: Downstream,
        rewriter: ReplyRewriter,
        method: str,
        *,
        http11: bool,
        keep_alive: bool,
        limits: "RelayLimits",
        on_upgrade: OnUpgrade | None = None,
    ) -> None:
        self.downstream = downstream
        self.loop = downstream._loop
        self.connection: UpstreamConnection | None = None
        self.done: asyncio.Future[None] = self.loop.create_future()
        self.status = 0
        self.sent = 0
        self.failure: OidcgateError | None = None
        self.is_stale = False
        self.keep_alive = keep_alive
        self.upload_full: asyncio.Future[None] | None = None
        self.uploading = False
        self._rewriter = rewriter
        self._method = method
        self._http11 = http11
        self._limits = limits
        self._on_upgrade = on_upgrade
        self._feed: Callable[[bytes], None] = self._head
        self._held = b""
        self._left = 0
        self._interim = 0
        self._decoder: ChunkedDecoder | None = None
        self._since = 0.0
        self._body_since = 0.0

    # The upstream's side.

    def start(self, connection: UpstreamConnection, head: bytes) -> None:
        """Send the request's head (and a body that is already here) on a connection."""
        self.connection = connection
        self._since = self.loop.time()
        connection.sink = self
        self.downstream.writer_of_reply = self
        connection.write(head)

    def upstream_data(self, data: bytes) -> None:
        """As ``upstream.Sink``."""
        self._feed(data)

    def upstream_lost(self, error: Exception | None) -> None:
        """As ``upstream.Sink``: the end of a close-delimited body, or a failure."""
        connection, self.connection = self.connection, None
        if self.done.done():
            return
        if self._feed == self._until_close and error is None:
            self._finish_close()
            return
        self.is_stale = not self.status and not self._held and connection is not None and connection.reused
        self.fail(UpstreamError(f"the upstream's connection ended early: {error or 'closed'}"))

    def upstream_writable(self) -> None:
        """As ``upstream.Sink``."""
        waiter, self.upload_full = self.upload_full, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # The browser's side.

    def downstream_writable(self) -> None:
        """As ``downstream.Writer``."""
        if self.connection is not None and self.connection.transport is not None:
            self._since = self.loop.time()
            self.connection.transport.resume_reading()

    def downstream_lost(self) -> None:
        """As ``downstream.Writer``."""
        self.fail(UpstreamError("the browser went away"))

    def overdue(self, now: float) -> bool:
        """As ``downstream.Writer``: no head in time, no byte for too long, or a body that stalls."""
        if self.done.done():
            return False
        if self._body_since and now - self._body_since > self._limits.body_idle:
            self.fail(RequestError("The request's body took too long.", status=408))
        elif not self.status and not self._body_since and now - self._since > self._limits.header_timeout:
            self.fail(UpstreamTimeout(f"no reply within {self._limits.header_timeout:g} s"))
        elif self.status and now - self._since > self._limits.idle_timeout:
            self.fail(UpstreamTimeout("no byte either way for too long"))
        else:
            return False
        return True

    def end(self, code: int, reason: str) -> None:
        """As ``downstream.Writer``."""
        self.fail(UpstreamError(f"the session ended: {reason} ({code})"))

    # The reply.

    def _head(self, data: bytes) -> None:
        if self._held:
            data, self._held = self._held + data, b""
        end = data.find(b"\r\n\r\n")
        if end < 0:
            if len(data) > MOST_HEAD:
                self.fail(UpstreamError("the reply's head is too large"))
            self._held = data
            return
        head = data[:end]
        try:
            reply = self._rewriter.read(
                head, method=self._method, client_http11=self._http11, keep_alive=self.keep_alive
            )
        except BadReply as error:
            self.fail(UpstreamError(f"a reply that may not be passed on: {error}"))
            return
        if reply.status < 200:
            self._informational(reply, head, data[end + 4 :])
        else:
            self._begin(reply, data[end + 4 :])

    def _informational(self, reply: Reply, head: bytes, rest: bytes) -> None:
        """1xx: a switch of protocols if it was asked for, else dropped (RFC 9110 §15.2)."""
        self._interim += 1
        if reply.status == 101 and self._on_upgrade is not None:
            self.status = 101
            self._on_upgrade(self, head, rest)
        elif reply.status == 101 or self._interim > MOST_INTERIM:
            self.fail(UpstreamError("an unasked switch of protocols, or too many interim replies"))
        elif rest:
            self._head(rest)

    def _begin(self, reply: Reply, rest: bytes) -> None:
        self.status = reply.status
        if reply.framing is Framing.LENGTH:
            self._left = reply.length
            if len(rest) == reply.length:  # by far the most common: head and body came together
                self._write(reply.head + rest)
                self._finish(reusable=reply.reusable)
                return
            self._feed = self._by_length if reply.reusable else self._by_length_once
        elif reply.framing is Framing.NONE:
            self._write(reply.head)
            self._finish(reusable=reply.reusable and not rest)
            return
        elif reply.framing is Framing.CHUNKED:
            self._decoder = ChunkedDecoder()
            self._feed = self._by_chunks if reply.reusable else self._by_chunks_once
        else:
            self._feed = self._until_close
        self._write(reply.head)
        if rest or not (self._left or reply.framing is not Framing.LENGTH):
            self._feed(rest)

    def _by_length(self, data: bytes, *, reusable: bool = True) -> None:
        surplus = len(data) > self._left
        piece = data[: self._left] if surplus else data
        self._left -= len(piece)
        if piece:
            self._write(piece)
        if not self._left:
            self._finish(reusable=reusable and not surplus)

    def _by_length_once(self, data: bytes) -> None:
        self._by_length(data, reusable=False)

    def _by_chunks(self, data: bytes, *, reusable: bool = True) -> None:
        assert self._decoder is not None
        try:
            pieces, surplus = self._decoder.feed(data)
        except ChunkError as error:
            self.fail(UpstreamError(f"a broken chunk: {error}"))
            return
        done = self._decoder.is_done
        out = encode_chunk(pieces) if self._http11 else b"".join(pieces)
        if done and self._http11:
            out += LAST_CHUNK
        if out:
            self._write(out)
        if done:
            self._finish(reusable=reusable and not surplus)

    def _by_chunks_once(self, data: bytes) -> None:
        self._by_chunks(data, reusable=False)

    def _until_close(self, data: bytes) -> None:
        if data:
            self._write(encode_chunk([data]) if self._http11 else data)

    def _finish_close(self) -> None:
        if self._http11:
            self._write(LAST_CHUNK)
        self._finish(reusable=False)

    def _write(self, data: bytes) -> None:
        downstream = self.downstream
        transport = downstream.transport
        if transport is None:
            return
        self.sent += len(data)
        transport.write(data)
        if downstream.writing_paused and self.connection is not None and self.connection.transport is not None:
            self.connection.transport.pause_reading()
        self._since = self.loop.time()

    def _finish(self, *, reusable: bool) -> None:
        connection, self.connection = self.connection, None
        self._leave()
        if connection is not None:
            if reusable and not self.uploading:
                if connection.transport is not None and self.downstream.writing_paused:
                    connection.transport.resume_reading()
                connection.release()
            else:
                connection.abort()
        if not self.done.done():
            self.done.set_result(None)

    def fail(self, failure: OidcgateError) -> None:
        """Give up: the upstream's connection is cut, and a reply that has begun breaks off visibly."""
        if self.done.done():
            return
        self.failure = failure
        connection, self.connection = self.connection, None
        self._leave()
        if connection is not None:
            connection.abort()
        if self.status >= 200:
            self._break_off()
        self.done.set_result(None)

    def _break_off(self) -> None:
        self.keep_alive = False
        transport = self.downstream.transport
        if transport is not None:
            if self._http11:
                transport.close()
            else:
                transport.abort()  # HTTP/1.0 has no other sign that something is missing

    def _leave(self) -> None:
        if self.downstream.writer_of_reply is self:
            self.downstream.writer_of_reply = None
        self.upstream_writable()

    # The body.

    async def upload(self, content: Any, *, chunked: bool, most: int) -> None:
        """
        Pass on the request's body as it comes, waiting for the upstream.

        Args:
            content: aiohttp's reader of the body.
            chunked: how it is framed.
            most: bytes allowed; 0 = no limit.
        """
        total = 0
        self.uploading = True
        self._body_since = self.loop.time()
        try:
            while not self.done.done() and (data := await content.readany()):
                total += len(data)
                if most and total > most:
                    self.fail(RequestError("The request's body is too large.", status=413))
                    return
                await self._upload_piece(encode_chunk([data]) if chunked else data)
        except (web.PayloadAccessError, HttpProcessingError, web.RequestPayloadError, ConnectionError) as error:
            self.fail(RequestError(f"The request's body is malformed or broke off ({type(error).__name__})."))
            return
        self._body_since = 0.0
        self._since = self.loop.time()
        self.uploading = False
        if chunked and self.connection is not None:
            self.connection.write(LAST_CHUNK)

    async def _upload_piece(self, data: bytes) -> None:
        connection = self.connection
        if connection is None:
            return
        connection.write(data)
        if connection.writing_paused:
            self._body_since = 0.0  # the upstream's slowness is not the client's
            self._since = self.loop.time()
            self.upload_full = self.loop.create_future()
            await self.upload_full
        self._body_since = self.loop.time()


class RelayLimits:
    """Time limits of an exchange, in seconds."""

    __slots__ = ("body_idle", "header_timeout", "idle_timeout")

    def __init__(self, *, header_timeout: float, idle_timeout: float, body_idle: float) -> None:
        self.header_timeout = header_timeout
        self.idle_timeout = idle_timeout
        self.body_idle = body_idle


async def relay(
    exchange: Exchange,
    request: web.BaseRequest,
    head: bytes,
    *,
    pools: UpstreamPools,
    pool: Pool,
    method: str,
    chunked: bool,
    has_body: bool,
    expects_continue: bool,
    most_body: int,
    usable_until: float,
) -> None:
    """
    Send a request and see its reply through. Failures are left in ``exchange.failure``.

    A request without a body that may be repeated (RFC 9110 §9.2.2) is sent once more when a pooled connection turns
    out to be dead.
    """
    connection = pool.take()
    try:
        if connection is None:
            connection = await pools.connect(pool)
            check_usable(connection, usable_until)
        if has_body:
            await _with_body(
                exchange,
                connection,
                request,
                head,
                chunked=chunked,
                expects_continue=expects_continue,
                most_body=most_body,
            )
            return
        exchange.start(connection, head)
        await exchange.done
        if exchange.is_stale and method in RETRYABLE and exchange.downstream.transport is not None:
            exchange.done = exchange.loop.create_future()
            exchange.failure, exchange.is_stale = None, False
            connection = await pools.connect(pool)
            check_usable(connection, usable_until)
            exchange.start(connection, head)
            await exchange.done
    except OidcgateError as error:
        exchange.failure = error


def check_usable(connection: UpstreamConnection, usable_until: float) -> None:
    """
    Dialling takes time: look once more whether the token is still good, since one past its time goes nowhere.

    Raises:
        ProviderUnreachable: it ran out meanwhile; the next request has a new one.
    """
    if time.time() >= usable_until:
        connection.abort()
        raise ProviderUnreachable("the token ran out while the upstream was dialled")


async def _with_body(
    exchange: Exchange,
    connection: UpstreamConnection,
    request: web.BaseRequest,
    head: bytes,
    *,
    chunked: bool,
    expects_continue: bool,
    most_body: int,
) -> None:
    content = request.content
    if content.is_eof() and not chunked:  # it came together with its head: one write, no task
        exchange.start(connection, head + content.read_nowait())
        await exchange.done
        return
    if expects_continue and exchange.downstream.transport is not None and not content.is_eof():
        exchange.downstream.transport.write(CONTINUE)
    exchange.start(connection, head)
    pump = exchange.loop.create_task(
        exchange.upload(content, chunked=chunked, most=most_body), name=f"upload to {connection.pool.address}"
    )
    try:
        await exchange.done
    finally:
        if not pump.done():
            exchange.keep_alive = False
            pump.cancel()
