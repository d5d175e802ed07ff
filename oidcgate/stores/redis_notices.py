"""
Change notices over Redis: one subscription that comes back by itself.

Edge: one task. Redis keeps no message for whoever was away, so after each re-subscription the listeners hear ``""``:
something may have been missed. A connection that is silent for some seconds is asked for a sign of life, since a
network that swallows packets looks like peace.
"""

import asyncio
import logging
import random
from collections.abc import Callable

from redis.asyncio.client import PubSub

from oidcgate.errors import StoreUnavailable
from oidcgate.stores.redis_client import CALL_LIMIT, RedisClient, mapped

log = logging.getLogger("oidcgate.store")

MISSED = ""  # the message that says so
SILENCE = 5.0  # seconds before a connection is asked for a sign of life
PAUSES = (0.1, 2.0)  # seconds between attempts, first and longest: a sign-out must not wait long for us


class RedisNotices:
    """The task that tells ``listeners`` every message, one's own too, and ``""`` after an outage."""

    def __init__(self, client: RedisClient, channel: str, listeners: list[Callable[[str], None]]) -> None:
        self._client = client
        self._channel = channel
        self._listeners = listeners
        self._task: asyncio.Task[None] | None = None
        self._tried = asyncio.Event()
        self._trouble: StoreUnavailable | None = None
        self._started = False

    async def start(self) -> None:
        """
        Begin, and wait for the first attempt to subscribe; the task goes on whatever came of it.

        Raises:
            StoreUnavailable: it failed.
        """
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="redis notices")
        try:
            await self._tried.wait()
        finally:
            self._started = True
        if self._trouble:
            raise self._trouble

    async def stop(self) -> None:
        """End the task."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        pause, longest = PAUSES
        while True:
            try:
                async with self._client.subscription(self._channel) as pubsub:
                    pause = PAUSES[0]
                    self._subscribed()
                    await self._read(pubsub)
            except StoreUnavailable as error:
                if self._trouble is None:
                    log.warning("no change notices for now: %s", error)
                self._trouble = error
            except Exception as error:  # a mistake, the library's or ours; whoever lost this task would never know
                log.exception("change notices failed")
                self._trouble = StoreUnavailable(f"redis: {type(error).__name__}")
            self._tried.set()
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - so that not all come at once
            pause = min(pause * 2, longest)

    def _subscribed(self) -> None:
        self._trouble = None
        self._tried.set()
        if self._started:
            log.info("change notices arrive again")
            self._tell(MISSED)

    async def _read(self, pubsub: PubSub) -> None:
        asked = False
        while True:
            with mapped():
                message = await pubsub.get_message(timeout=CALL_LIMIT if asked else SILENCE)
                if message is None:
                    if asked:
                        raise TimeoutError
                    async with asyncio.timeout(CALL_LIMIT):
                        await pubsub.ping()
            asked = message is None
            if message is not None and message["type"] == "message":
                self._tell(message["data"].decode("utf-8", "replace"))

    def _tell(self, message: str) -> None:
        for on_message in self._listeners:
            try:
                on_message(message)
            except Exception:  # one listener's mistake must not make the others deaf
                log.exception("a listener failed")
