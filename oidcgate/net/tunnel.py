"""
A websocket through the gate: the UI agrees first, then the browser; after that, bytes both ways.

Edge: asyncio transports. Rules of this file:
- The browser sees 101 only after the upstream's own 101 has been verified (RFC 6455 §4.1); a refusal is relayed as the
  ordinary reply it is, and the connection is not used again.
- No message is parsed. A close frame is put in at a frame boundary, on both sides; after a second the sockets are cut.
- An end of the upstream's connection without a close frame is passed on as it came.
"""

import asyncio
import secrets
import time
from collections.abc import Callable

from oidcgate.errors import Interrupted, InvalidReply, OidcgateError
from oidcgate.net.downstream import Downstream
from oidcgate.net.relay import Exchange, OnDone, Request, Waiting
from oidcgate.net.upstream import Pool, UpstreamConnection, UpstreamPools
from oidcgate.proxy.websocket import FrameTracker, Handshake, check_accepted, close_frame

GRACE = 1.0  # seconds between our close frame and the cut

PASSED_ON = (b"sec-websocket-accept", b"sec-websocket-protocol", b"sec-websocket-extensions")


class Tunnel:
    """
    Both directions of an open websocket. ``done`` resolves when both ends are closed.

    Attributes:
        received, sent: bytes from and to the browser.
        reason: why it ended; of two that close, who began.
        used: the event loop's time of the browser's last byte.
    """

    def __init__(
        self, downstream: Downstream, connection: UpstreamConnection, *, idle_timeout: float, on_use: Callable[[], None]
    ) -> None:
        self.downstream = downstream
        self.connection: UpstreamConnection | None = connection
        self.loop = asyncio.get_running_loop()
        self.done: asyncio.Future[None] = self.loop.create_future()
        self.target = ""
        self.began = time.time()
        self.received = 0
        self.sent = 0
        self.reason = ""
        self._up = FrameTracker()
        self._down = FrameTracker()
        self._closing: tuple[int, str] | None = None
        self._closed_up = False
        self._closed_down = False
        self._idle_timeout = idle_timeout
        self._active = self.loop.time()
        self._on_use = on_use

    def __repr__(self) -> str:
        return f"<Tunnel {self.received} up {self.sent} down{' closing' if self._closing else ''}>"

    # Bytes.

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """From the browser, as ``downstream.ByteSink``."""
        self._active = self.loop.time()
        self._on_use()
        self.received += len(data)
        connection = self.connection
        if connection is None or self._closed_up:
            if self._closing and self._follow(self._up, data):
                self.cut()
            return False, b""
        if self._closing:
            self._close_side(self._up, data, connection.write, masked=True)
        else:
            self._up.feed(data)
            if self._up.closing and not self._down.closing:
                self.reason = self.reason or "closed by the browser"
            connection.write(data)
            if connection.writing_paused and self.downstream.transport is not None:
                self.downstream.transport.pause_reading()
        return False, b""

    def upstream_data(self, data: bytes) -> None:
        """From the UI, as ``upstream.Sink``."""
        self._active = self.loop.time()
        if self._closed_down:
            return
        if self._closing:
            self._close_side(self._down, data, self._to_browser, masked=False)
        else:
            self._down.feed(data)
            if self._down.closing and not self._up.closing:
                self.reason = self.reason or "closed by the UI"
            self._to_browser(data)
            connection = self.connection
            if self.downstream.writing_paused and connection is not None and connection.transport is not None:
                connection.transport.pause_reading()

    def _to_browser(self, data: bytes) -> None:
        self.sent += len(data)
        if self.downstream.transport is not None:
            self.downstream.transport.write(data)

    def upstream_writable(self) -> None:
        """As ``upstream.Sink``."""
        if self.downstream.transport is not None:
            self.downstream.transport.resume_reading()

    def downstream_writable(self) -> None:
        """As ``downstream.Writer``."""
        if self.connection is not None and self.connection.transport is not None:
            self.connection.transport.resume_reading()

    # Ends.

    def feed_eof(self) -> None:
        """The browser has gone, as ``downstream.ByteSink``."""
        self.downstream_lost()

    def downstream_lost(self) -> None:
        """As ``downstream.Writer``."""
        self.reason = self.reason or "closed by the browser"
        connection, self.connection = self.connection, None
        if connection is not None and connection.transport is not None:
            connection.sink = None
            connection.transport.close()
        self._finish()

    def upstream_lost(self, _error: Exception | None) -> None:
        """As ``upstream.Sink``: data, then the end, just as the UI ends its streams."""
        self.reason = self.reason or "closed by the UI"
        self.connection = None
        if self.downstream.transport is not None:
            self.downstream.transport.close()
        self._finish()

    def overdue(self, now: float) -> None:
        """As ``downstream.Writer``."""
        if now - self._active > self._idle_timeout:
            self.end(1001, "nothing was sent for too long")

    def end(self, code: int, reason: str) -> None:
        """Close both sides with a close frame (RFC 6455 §5.5.1), each where its frame under way ends."""
        if self._closing or self.done.done():
            return
        self._closing = (code, reason)
        self.reason = reason
        connection = self.connection
        if self._down.at_boundary:
            self._close_side(self._down, b"", self._to_browser, masked=False)
        if connection is not None and self._up.at_boundary:
            self._close_side(self._up, b"", connection.write, masked=True)
        self.downstream_writable()
        self.upstream_writable()
        self.loop.call_later(GRACE, self.cut)

    def _close_side(self, tracker: FrameTracker, data: bytes, write: Callable[[bytes], None], *, masked: bool) -> None:
        assert self._closing is not None
        count = 0 if tracker.at_boundary else tracker.feed(data, stop=True)
        if not tracker.at_boundary:
            write(data)
            return
        frame = b"" if tracker.closing else close_frame(*self._closing, mask=secrets.token_bytes(4) if masked else None)
        write(data[:count] + frame)
        if masked:
            self._closed_up = True
            self._follow(tracker, data[count:])
        else:
            self._closed_down = True

    @staticmethod
    def _follow(tracker: FrameTracker, data: bytes) -> bool:
        """Whether the browser has answered with a close frame of its own."""
        tracker.feed(data)
        return tracker.closing and tracker.at_boundary

    def cut(self) -> None:
        """Close both sockets; what is buffered for the browser still goes out."""
        connection, self.connection = self.connection, None
        if connection is not None and connection.transport is not None:
            connection.sink = None
            connection.transport.close()
        if self.downstream.transport is not None:
            self.downstream.transport.close()
        self._finish()

    def _finish(self) -> None:
        if self.downstream.writer_of_reply is self:
            self.downstream.writer_of_reply = None
        if not self.done.done():
            self.done.set_result(None)


async def open_tunnel(
    make: Callable[[OnDone], Exchange], request: Request, *, pools: UpstreamPools, pool: Pool, switch: "Switch"
) -> Exchange:
    """Dial the UI, send the handshake, and see its answer through; ``switch`` takes over at its 101."""
    waiting = Waiting()
    exchange = make(waiting)
    exchange.on_upgrade = switch
    connection = None
    try:
        connection = await pools.connect(pool)
        request.check()
    except OidcgateError as error:
        if connection is not None:
            connection.abort()
        exchange.failure = error
        return exchange
    if exchange.downstream.transport is None:  # it left while the UI was dialled
        connection.abort()
        exchange.failure = Interrupted("the browser went away")
        return exchange
    exchange.start(connection, request.head)
    await waiting.ended()
    if switch.tunnel is not None:
        await switch.tunnel.done
        exchange.sent = switch.tunnel.sent
    return exchange


class Switch:
    """Turns an exchange into a tunnel when the upstream agrees; ``tunnel`` is set then."""

    def __init__(self, handshake: Handshake, *, idle_timeout: float, on_use: Callable[[], None]) -> None:
        self._handshake = handshake
        self._idle_timeout = idle_timeout
        self._on_use = on_use
        self.tunnel: Tunnel | None = None

    def __call__(self, exchange: Exchange, head: bytes, rest: bytes) -> None:
        """As ``relay.OnUpgrade``."""
        fields: dict[bytes, list[bytes]] = {}
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            fields.setdefault(name.lower(), []).append(value.strip(b" \t"))
        wrong = check_accepted(self._handshake, fields)
        connection, downstream = exchange.connection, exchange.downstream
        if wrong is not None or connection is None or downstream.transport is None:
            exchange.status, exchange.waited = 0, -1.0
            exchange.fail(InvalidReply(f"the upstream's 101 has {wrong or 'nobody to go to'}"))
            return
        exchange.connection = None
        tunnel = self.tunnel = Tunnel(downstream, connection, idle_timeout=self._idle_timeout, on_use=self._on_use)
        tunnel.target = exchange.target
        connection.sink = tunnel
        downstream.writer_of_reply = tunnel
        tunnel._to_browser(agreed(fields))
        downstream.set_parser(tunnel)  # type: ignore[arg-type]  # anything with feed_data and feed_eof serves
        downstream.tunnel = tunnel
        if rest:
            tunnel.upstream_data(rest)
        exchange.switched()


def agreed(fields: dict[bytes, list[bytes]]) -> bytes:
    """The browser's 101: the handshake's own headers and nothing else."""
    lines = [b"HTTP/1.1 101 Switching Protocols", b"Upgrade: websocket", b"Connection: Upgrade"]
    lines += [b"%b: %b" % (name.title(), value) for name in PASSED_ON for value in fields.get(name, [])]
    return b"\r\n".join((*lines, b"", b""))
