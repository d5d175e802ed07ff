"""
What reached the demo UI, kept so that a test can ask for it. Edge: aiohttp server.

The demo UI knows nothing of who sent a request; a test that puts something in between looks here to see what
came through. Nothing here judges a token: `exp` is read unverified, because the question is what was *sent*.
"""

import asyncio
import base64
import binascii
import json
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

ARRIVALS_KEPT: Final = 10_000  # some minutes of a busy test, a few MB


@dataclass(frozen=True, slots=True)
class Arrival:
    """
    One request as it came off the wire.

    `raw_target` is the request target byte for byte; `headers` are (name, value) pairs in order, in their own
    case; `at` is seconds since the epoch by the UI's clock; `token_exp` is the bearer's unverified `exp`,
    None without one.
    """

    method: str
    raw_target: str
    headers: tuple[tuple[bytes, bytes], ...]
    at: float
    token_exp: float | None
    websocket: bool

    def values(self, name: str) -> list[str]:
        """All values of the header `name` (any case), in order."""
        wanted = name.lower().encode()
        return [value.decode("latin-1") for key, value in self.headers if key.lower() == wanted]


@lru_cache(maxsize=256)
def unverified_exp(token: str) -> float | None:
    """
    The `exp` claim of a JWT in seconds since the epoch, without checking the signature; None if there is
    none.
    """
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return float(claims["exp"])
    except (IndexError, KeyError, TypeError, ValueError, binascii.Error):
        return None


@dataclass(eq=False)
class Evidence:
    """
    Counts every request, remembers them when `record` is set, and wakes whoever waits for something to
    happen.
    """

    clock: Callable[[], float]
    record: bool = False
    arrivals: deque[Arrival] = field(default_factory=lambda: deque(maxlen=ARRIVALS_KEPT))
    expired_tokens: int = 0
    running: dict["asyncio.Task[object]", web.Request] = field(default_factory=dict)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def changed(self) -> None:
        """Wakes every `wait_for`."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait_for(self, predicate: Callable[[], bool]) -> None:
        """Returns once `predicate()` is true; it is asked again after each change."""
        while not predicate():
            await self._changed.wait()

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Notes the arrival, then lets the request through; it counts as running until its handler ends."""
        self._note(request)
        task = asyncio.current_task()
        assert task is not None
        self.running[task] = request
        try:
            return await handler(request)
        finally:
            del self.running[task]
            self.changed()

    def _note(self, request: web.Request) -> None:
        now = self.clock()
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        exp = unverified_exp(token) if scheme.lower() == "bearer" else None
        if exp is not None and exp <= now:
            self.expired_tokens += 1
        if self.record:
            websocket = request.headers.get("Upgrade", "").lower() == "websocket"
            self.arrivals.append(Arrival(request.method, request.raw_path, request.raw_headers, now, exp, websocket))
        self.changed()
