"""
Connections to one UI: dialled, pooled while silent, dropped when in doubt.

Edge: asyncio transports. Rules of this file:
- A byte, an end or an error on an idle connection kills it: whatever it says would be taken for the next person's
  reply.
- A connection goes back to the pool only when its last reply was complete and both sides agreed to stay.
"""

import asyncio
import logging
import select
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Protocol, cast

from oidcgate.config.addresses import parse_origin
from oidcgate.config.model import Upstream
from oidcgate.errors import UpstreamError, UpstreamTimeout, UpstreamUnreachable
from oidcgate.proxy.rewrite import host_line

log = logging.getLogger("oidcgate.upstream")

MOST_IDLE = 128  # connections kept for one address that is in use
LONGEST_IDLE = 50.0  # seconds; servers give up after 60 or more
DOWN_FOR = 5.0  # seconds for which a replica that did not accept a connection is left alone, where there are others
WRITE_BUFFER = 512 * 1024  # bytes held for a slow reader before the other side is asked to wait


class Sink(Protocol):
    """Who listens to a connection while a request is under way."""

    def upstream_data(self, data: bytes) -> None:
        """Bytes have come."""

    def upstream_lost(self, error: Exception | None) -> None:
        """The connection has ended."""

    def upstream_writable(self) -> None:
        """The upstream takes bytes again."""


class UpstreamConnection(asyncio.Protocol):
    """One connection to a UI; ``sink`` is None while it is idle."""

    __slots__ = ("idle_since", "loop", "pool", "reused", "sink", "speaks", "transport", "writing_paused")

    def __init__(self, pool: "Pool", loop: asyncio.AbstractEventLoop) -> None:
        self.pool = pool
        self.loop = loop
        self.sink: Sink | None = None
        self.transport: asyncio.Transport | None = None
        self.reused = False
        self.writing_paused = False
        self.idle_since = 0.0

    def __repr__(self) -> str:
        state = "closed" if self.transport is None else "idle" if self.sink is None else "busy"
        return f"<UpstreamConnection {self.pool.address} {state}>"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        transport = cast(asyncio.Transport, transport)  # uvloop's transports are not of asyncio's classes
        transport.set_write_buffer_limits(high=WRITE_BUFFER)
        self.transport = transport
        poller = select.poll()
        poller.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
        self.speaks = poller.poll  # whether something waits to be read, when called with 0

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        sink = self.sink
        if sink is None:
            self.abort()
        else:
            sink.upstream_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop."""
        self.transport = None
        self.pool.forget(self)
        sink, self.sink = self.sink, None
        if sink is not None:
            sink.upstream_lost(exc)

    def pause_writing(self) -> None:
        """Called by the event loop."""
        self.writing_paused = True

    def resume_writing(self) -> None:
        """Called by the event loop."""
        self.writing_paused = False
        if self.sink is not None:
            self.sink.upstream_writable()

    def write(self, data: bytes) -> None:
        """Send bytes; a lost connection is told to the sink, not here."""
        if self.transport is not None:
            self.transport.write(data)

    def release(self, now: float, *, resume: bool = False) -> None:
        """
        The request is over and the connection may serve another.

        Args:
            now: the event loop's time.
            resume: reading may be paused for the sake of the browser that was served.
        """
        self.sink = None
        transport = self.transport
        if transport is not None:
            if resume:
                transport.resume_reading()
            self.reused = True
            self.idle_since = now
            idle = self.pool.idle
            if len(idle) < self.pool.most_idle and not transport.is_closing():
                idle.append(self)
            else:
                self.abort()

    def abort(self) -> None:
        """Cut the connection; nothing more is told to the sink."""
        self.sink = None
        transport, self.transport = self.transport, None
        self.pool.forget(self)
        if transport is not None:
            transport.abort()


@dataclass(frozen=True, slots=True)
class Address:
    """
    Where a replica listens: ``path`` for a Unix socket, else host and port.

    ``authority`` and ``server_name`` are those of the name that it was found under, if it was.
    """

    host: str
    port: int
    path: str
    secure: bool
    authority: str
    server_name: str = ""

    def __str__(self) -> str:
        return f"unix:{self.path}" if self.path else f"{'https' if self.secure else 'http'}://{self.authority}"


def parse_address(url: str) -> Address:
    """An address from the configuration, already checked there."""
    if url.startswith("unix:"):
        return Address("", 0, url[5:], secure=False, authority="localhost")
    origin = parse_origin(url)
    return Address(
        origin.host.strip("[]"), origin.port, "", secure=origin.scheme == "https", authority=origin.authority
    )


def tls_context(upstream: Upstream) -> ssl.SSLContext:
    """
    How an upstream's certificate is verified. Only http/1.1 is offered: websockets need it.

    Raises:
        OSError, ssl.SSLError: the CA file cannot be used.
    """
    context = ssl.create_default_context(cafile=upstream.ca_file)
    context.set_alpn_protocols(["http/1.1"])
    if upstream.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class Pool:
    """The connections to one address. ``idle`` is its only changing state, the most recently used last."""

    def __init__(self, address: Address, upstream: Upstream, *, tls: ssl.SSLContext | None) -> None:
        self.address = address
        self.upstream = upstream
        self.host_line = host_line(address.authority)
        self._tls = tls
        self.name = f"{address.host} {address.port} {address.path}".encode()
        self.down_until = 0.0  # the event loop's time; until then others are preferred; 0 = it is not known to be down
        self._server_name = upstream.server_name or address.server_name or address.host
        self._connect_timeout = upstream.connect_timeout
        self.idle: list[UpstreamConnection] = []
        self.most_idle = MOST_IDLE

    def __repr__(self) -> str:
        return f"<Pool {self.address} {len(self.idle)} idle>"

    def take(self) -> UpstreamConnection | None:
        """An idle connection, if there is one."""
        while self.idle:
            connection = self.idle.pop()
            transport = connection.transport
            if transport is not None and not transport.is_closing() and not connection.speaks(0):
                return connection
            connection.abort()
        return None

    async def connect(self) -> UpstreamConnection:
        """
        Dial.

        Raises:
            UpstreamUnreachable: refused, no route, or a certificate that does not verify.
            UpstreamTimeout: no answer within the connect timeout.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._connect_timeout):
                if self.address.path:
                    _, connection = await loop.create_unix_connection(
                        lambda: UpstreamConnection(self, loop), self.address.path
                    )
                else:
                    _, connection = await loop.create_connection(
                        lambda: UpstreamConnection(self, loop),
                        self.address.host,
                        self.address.port,
                        ssl=self._tls,
                        server_hostname=self._server_name if self._tls else None,
                    )
        except TimeoutError as error:
            raise UpstreamTimeout(f"{self.address}: no connection within {self._connect_timeout:g} s") from error
        except (OSError, ssl.SSLError, UnicodeError) as error:
            raise UpstreamUnreachable(f"{self.address}: {error}") from error
        return connection

    def forget(self, connection: UpstreamConnection) -> None:
        """A connection has ended."""
        if connection in self.idle:
            self.idle.remove(connection)

    def sweep(self, now: float) -> None:
        """Close those idle for too long. ``now`` is the event loop's time."""
        for connection in [c for c in self.idle if now - c.idle_since > LONGEST_IDLE]:
            connection.abort()

    def retire(self) -> None:
        """The replica has left: connections that carry a request are closed after it."""
        self.most_idle = 0
        self.close()

    def close(self) -> None:
        """Close every idle connection."""
        for connection in list(self.idle):
            connection.abort()


class UpstreamPools:
    """
    The replicas of one upstream; somebody's requests go to the same one while it answers.

    Which one follows from the handle and the addresses alone (highest random weight), so every process
    agrees, and a replica that comes or goes moves nobody but its own. One that does not accept connections is left
    alone for a moment.

    Attributes:
        upstream: as it is configured.
        on_change: called when somebody's requests may go elsewhere from now on.
        connects: how many connections were made.
    """

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self._tls = tls_context(upstream) if any(url.startswith("https:") for url in upstream.urls) else None
        self._configured = [parse_address(url) for url in upstream.urls]
        self.pools = [self._pool(address) for address in self._configured]
        self._resolve_at = 0.0
        self.connects = 0
        self.on_change: Callable[[], None] = lambda: None

    def _pool(self, address: Address) -> Pool:
        return Pool(address, self.upstream, tls=self._tls if address.secure else None)

    @property
    def origins(self) -> tuple[str, ...]:
        """The origins that a Location of ours may name."""
        return tuple(str(address) for address in self._configured if not address.path)

    def for_handle(self, handle: bytes) -> Pool:
        """The replica for a session."""
        if len(self.pools) == 1:
            return self.pools[0]
        up = [pool for pool in self.pools if not pool.down_until]
        return max(up or self.pools, key=lambda pool: sha256(handle + pool.name).digest())

    async def connect(self, first: Pool) -> UpstreamConnection:
        """
        Dial a replica, or another one when it does not answer.

        Raises:
            UpstreamError: none answers.
        """
        others = [pool for pool in self.pools if pool is not first]
        failure: UpstreamError | None = None
        for pool in [first, *sorted(others, key=lambda pool: pool.down_until)]:
            try:
                connection = await pool.connect()
            except UpstreamError as error:
                failure = error
                self._mark_down(pool)
            else:
                pool.down_until = 0.0
                self.connects += 1
                return connection
        assert failure is not None
        raise failure

    def _mark_down(self, pool: Pool) -> None:
        if len(self.pools) > 1:
            pool.close()
            pool.down_until = asyncio.get_running_loop().time() + DOWN_FOR
            self.on_change()

    async def look_again(self, now: float) -> None:
        """Once a second: who was down is tried again, and DNS is asked when it is time. ``now`` is the loop's time."""
        if any(0.0 < pool.down_until <= now for pool in self.pools):
            for pool in self.pools:
                if pool.down_until <= now:
                    pool.down_until = 0.0
            self.on_change()
        if self.upstream.resolve_every and now >= self._resolve_at:
            self._resolve_at = now + self.upstream.resolve_every
            found = [await resolved(each) for each in self._configured]
            if all(found):
                self._adopt([address for each in found for address in each])

    def _adopt(self, addresses: list[Address]) -> None:
        """Take over what DNS says; replicas that stay keep their connections, those that left finish what they have."""
        known = {pool.address: pool for pool in self.pools}
        if set(addresses) == set(known):
            return
        for address in known.keys() - set(addresses):
            known[address].retire()
        self.pools = [known.get(address) or self._pool(address) for address in dict.fromkeys(addresses)]
        log.info(
            "the replicas are now %s", ", ".join(f"{pool.address.host}:{pool.address.port}" for pool in self.pools)
        )
        self.on_change()

    def sweep(self, now: float) -> None:
        """As ``Pool.sweep``."""
        for pool in self.pools:
            pool.sweep(now)

    def close(self) -> None:
        """As ``Pool.close``."""
        for pool in self.pools:
            pool.close()


async def resolved(address: Address) -> list[Address]:
    """An address of its own for each that DNS has for a host; none when it does not say."""
    if address.path:
        return [address]
    try:
        found = await asyncio.get_running_loop().getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except OSError as error:
        log.warning("%s cannot be resolved, its last addresses stay: %s", address.host, error)
        return []
    hosts = sorted({str(info[4][0]) for info in found})
    return [replace(address, host=host, server_name=address.server_name or address.host) for host in hosts]
