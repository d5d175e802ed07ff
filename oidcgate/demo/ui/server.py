"""
The demo UI as one object to start and stop. Edge: aiohttp server; the composition root of this package.

It knows an issuer and an audience, and trusts nothing but `Authorization: Bearer`. Limits are those of a Go
server (1 MiB of head), bodies are left as they came, and a client that hangs up cancels its handler.
"""

import asyncio
import secrets
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from aiohttp import web

from oidcgate.demo.ui.access import Access, refusals
from oidcgate.demo.ui.api import Api, Csrf
from oidcgate.demo.ui.cluster import Cluster
from oidcgate.demo.ui.evidence import Arrival, Evidence
from oidcgate.demo.ui.rbac import DEFAULT_RULES, Rule
from oidcgate.demo.ui.shells import Shell, ShellPeer, Shells
from oidcgate.demo.ui.sockjs import RESPONSE_LIMIT, SockJS
from oidcgate.demo.ui.static import Static
from oidcgate.demo.ui.streams import Streams
from oidcgate.demo.ui.token import BearerVerifier

HEAD_LIMIT: Final = 1 << 20  # bytes, as Go's net/http
SOCKJS: Final = "/api/sockjs"
GRACE: Final = 0.2  # seconds; by then every handler has been cancelled


class DemoUI:
    """
    A cluster UI with a small API server behind it, for the demo and for tests.

    Args:
        issuer_url: whose tokens are believed, exactly as in `iss`.
        audience: must be in `aud`.
        clock: seconds since the epoch.
        rules: who may do what.
        record: keep the last 10 000 requests in `arrivals`.
        tick: seconds between two lines of a followed log, or two events.
        heartbeat: seconds of silence before SockJS sends `h`.
        orphan_timeout: seconds that a SockJS session lives without a receiver.
        bind_window: seconds in which a shell's id must be bound.
        response_limit: bytes of one SockJS streaming reply.
        https_mode: what login/status claims; False is how a Dashboard looks that would ignore the bearer.
        csrf_key: shared by replicas of one cluster; fresh if None.
        issuer_ssl_context: for an issuer with a private CA.
    """

    def __init__(
        self,
        issuer_url: str,
        audience: str,
        *,
        clock: Callable[[], float] = time.time,
        rules: Iterable[Rule] = DEFAULT_RULES,
        record: bool = False,
        tick: float = 1,
        heartbeat: float = 25,
        orphan_timeout: float = 5,
        bind_window: float = 10,
        response_limit: int = RESPONSE_LIMIT,
        https_mode: bool = True,
        csrf_key: bytes | None = None,
        issuer_ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._clock = clock
        self._evidence = Evidence(clock, record)
        self._shells = Shells(clock=clock, changed=self._evidence.changed, bind_window=bind_window)
        self._sockjs = SockJS(
            lambda session: ShellPeer(self._shells, session),
            heartbeat=heartbeat,
            orphan_timeout=orphan_timeout,
            response_limit=response_limit,
        )
        verifier = BearerVerifier(issuer_url, audience, clock=clock, ssl_context=issuer_ssl_context)
        access, cluster = Access(verifier, rules), Cluster(clock)
        self._csrf = Csrf(csrf_key or secrets.token_bytes(32))
        self._api = Api(access, cluster, self._shells, self._csrf, clock=clock, https_mode=https_mode)
        self._streams = Streams(access, cluster, clock=clock, tick=tick)
        self._runner: web.AppRunner | None = None
        self._url = ""
        self._port = 0

    def __repr__(self) -> str:
        return f"<DemoUI {self._url if self._runner else 'stopped'}>"

    @property
    def url(self) -> str:
        """`http://127.0.0.1:1234` without a slash at the end, or `unix:/the/path`."""
        return self._url

    @property
    def port(self) -> int:
        """The TCP port; 0 on a Unix socket. Kept after `stop`, so that a restart can ask for the same one."""
        return self._port

    @property
    def arrivals(self) -> deque[Arrival]:
        """The last requests, oldest first; empty unless `record`."""
        return self._evidence.arrivals

    @property
    def expired_tokens(self) -> int:
        """How many requests arrived with a bearer whose `exp` was not after the clock."""
        return self._evidence.expired_tokens

    @property
    def in_flight(self) -> int:
        """How many requests, streams and websockets are being served now."""
        return len(self._evidence.running)

    @property
    def open_terminals(self) -> list[Shell]:
        """The shells that are bound to a browser now; each has `id`, `place`, `opened_at`, `cols`, `rows`."""
        return list(self._shells.open)

    async def wait_for(self, predicate: Callable[["DemoUI"], bool], *, timeout: float = 10) -> None:  # noqa: ASYNC109
        """
        Returns once `predicate(self)` is true, asked after each arrival, end of a request and change of a
        terminal.
        """
        async with asyncio.timeout(timeout):
            await self._evidence.wait_for(lambda: predicate(self))

    async def start(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        ssl_context: ssl.SSLContext | None = None,
        path: str | Path | None = None,
    ) -> None:
        """Listens on `host` and `port` (0 = any free one), or on the Unix socket `path`."""
        if self._runner is not None:
            raise RuntimeError("already started")
        runner = web.AppRunner(
            self._app(),
            access_log=None,
            handler_cancellation=True,
            auto_decompress=False,
            max_line_size=HEAD_LIMIT,
            max_field_size=HEAD_LIMIT,
            max_headers=4096,
            shutdown_timeout=GRACE,
        )
        await runner.setup()
        self._runner = runner
        try:
            await self._listen(runner, host, port, ssl_context, path)
        except OSError:
            await self.stop()
            raise

    async def _listen(
        self, runner: web.AppRunner, host: str, port: int, tls: ssl.SSLContext | None, path: str | Path | None
    ) -> None:
        if path is not None:
            await web.UnixSite(runner, path, ssl_context=tls).start()
            self._url, self._port = f"unix:{path}", 0
            return
        await web.TCPSite(runner, host, port, ssl_context=tls).start()
        self._port = runner.addresses[0][1]
        self._url = f"{'https' if tls else 'http'}://{_bracketed(host)}:{self._port}"

    async def stop(self) -> None:
        """Stops listening and ends every request, stream and shell at once."""
        if self._runner is None:
            return
        runner, self._runner = self._runner, None
        for site in list(runner.sites):
            await site.stop()
        self._shells.close()
        self._sockjs.close_all()
        running = dict(self._evidence.running)
        # Abort, not close: a download that nobody reads would never be flushed.
        for transport in filter(None, [request.transport for request in running.values()]):
            transport.abort()
        for task in running:
            task.cancel()
        await runner.cleanup()

    def _app(self) -> web.Application:
        app = web.Application(middlewares=[self._evidence.middleware, refusals, self._csrf.middleware])
        app.add_routes(self._streams.routes())
        app.add_routes(self._api.routes())
        app.add_routes(self._sockjs.routes(SOCKJS))
        app.add_routes(Static(self._clock()).routes())
        return app


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
