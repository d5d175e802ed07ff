"""
A request's body on its way to the UI, as it comes and no faster than the UI takes it.

Edge: aiohttp's reader of the body, in a task of its own that ends with the exchange.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import StreamReader, web
from aiohttp.http_exceptions import HttpProcessingError

from oidcgate.errors import OidcgateError, RequestError
from oidcgate.net.upstream import UpstreamConnection
from oidcgate.proxy.chunked import LAST_CHUNK, encode_chunk


@dataclass(frozen=True, slots=True)
class Body:
    """
    A request's body.

    Attributes:
        chunked: how it goes on; else its length is known.
        expects_continue: the client waits to be asked for it (RFC 9110 §10.1.1).
        most: bytes allowed; 0 = no limit.
    """

    content: StreamReader = field(repr=False)
    chunked: bool
    expects_continue: bool
    most: int


class Upload:
    """
    Passes a body on.

    Attributes:
        waits_since: since when the client has been waited for, in the event loop's time; 0 while the UI is.
        stalled_since: since when the UI has been waited for; 0 while the client is.
    """

    def __init__(
        self,
        connection: UpstreamConnection,
        body: Body,
        *,
        on_done: Callable[[float], None],
        on_failure: Callable[[OidcgateError], None],
    ) -> None:
        self._connection = connection
        self._body = body
        self._on_done = on_done
        self._on_failure = on_failure
        self._full: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self.waits_since = connection.loop.time()
        self.stalled_since = 0.0

    def start(self) -> None:
        """Begin."""
        self._task = self._connection.loop.create_task(self._run(), name="upload")

    def stop(self) -> None:
        """The exchange is over."""
        self.waits_since = self.stalled_since = 0.0
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()

    def go_on(self) -> None:
        """The UI takes bytes again."""
        waiter, self._full = self._full, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def _run(self) -> None:
        try:
            await self._pass_on()
        except (web.PayloadAccessError, web.RequestPayloadError, HttpProcessingError, ConnectionError) as error:
            self._on_failure(RequestError(f"The request's body is malformed or broke off ({type(error).__name__})."))

    async def _pass_on(self) -> None:
        body, connection = self._body, self._connection
        total = 0
        while data := await body.content.readany():
            total += len(data)
            if body.most and total > body.most:
                self._on_failure(RequestError("The request's body is too large.", status=413))
                return
            connection.write(encode_chunk([data]) if body.chunked else data)
            if connection.writing_paused:
                self.waits_since, self.stalled_since = 0.0, connection.loop.time()
                self._full = connection.loop.create_future()
                await self._full
                self.stalled_since = 0.0
            self.waits_since = connection.loop.time()
        self._on_done(connection.loop.time())
        if body.chunked:
            connection.write(LAST_CHUNK)
