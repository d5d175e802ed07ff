"""
One document of the provider's, fetched by one task for everybody who waits.

Edge: asyncio tasks.

- A caller that goes away takes nobody's fetch along.
- A failure is remembered for two seconds, doubling to a minute: meanwhile callers learn at once that it
  failed.
- A good copy outlives every failure, and is asked for anew after an hour.
- A fetch that only an outsider's token asks for is made once a minute, however many ask.

Sources: OIDC Core §10.1.1 (rotation of keys), RFC 9110 §10.2.3 (the idea of waiting).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

from oidcgate.errors import InvalidMetadata, ProviderError, ProviderUnreachable

T = TypeVar("T")

FRESH: Final = 3600.0  # seconds that a document is used without asking again
REFETCH_EVERY: Final = 60.0  # seconds between two fetches outside that rhythm
FIRST_BACKOFF: Final = 2.0  # seconds
LONGEST_BACKOFF: Final = 60.0  # seconds, jitter included


class Shared(Generic[T]):
    """
    A value that ``load`` fetches.

    Args: ``name`` for logs; ``load`` raises ProviderError and nothing else; ``clock`` seconds;
    ``jitter`` numbers in [0, 1).
    State: ``value`` the last good one or None; ``version`` how many good ones there were.
    """

    def __init__(
        self,
        name: str,
        load: Callable[[], Awaitable[T]],
        *,
        clock: Callable[[], float],
        jitter: Callable[[], float],
        log: logging.Logger,
    ) -> None:
        self.value: T | None = None
        self.version = 0
        self._name = name
        self._load = load
        self._clock = clock
        self._jitter = jitter
        self._log = log
        self._task: asyncio.Task[T] | None = None
        self._loaded_at = self._failed_at = float("-inf")
        self._refetched_at: dict[str, float] = {}
        self._failures = 0
        self._backoff = 0.0
        self._failure = ""

    def __repr__(self) -> str:
        return f"<Shared {self._name} version={self.version} failures={self._failures}>"

    async def fresh(self) -> T:
        """The value, at most an hour old, or the last good one. Raises: ProviderError if there is none."""
        if self.value is not None and self._within(self._loaded_at, FRESH):
            return self.value
        try:
            return await self._fetched(None)
        except ProviderError:
            if self.value is None:
                raise
            return self.value

    async def refetched(self, budget: str = "own") -> T:
        """
        The value anew, though it is not due: joins a fetch under way, else at most one good one a minute.

        Args: ``budget`` whose minute it is: what outsiders ask for must not use up what our own needs.
        Returns: the present value when that minute is not over. Raises: ProviderError when the fetch fails.
        """
        if (
            self._task is None
            and self.value is not None
            and self._within(self._refetched_at.get(budget, float("-inf")), REFETCH_EVERY)
        ):
            return self.value
        return await self._fetched(budget)

    async def close(self) -> None:
        """End a fetch under way; those who wait for it get ProviderUnreachable."""
        if (task := self._task) is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _fetched(self, budget: str | None) -> T:
        if self._task is None:
            if self._within(self._failed_at, self._backoff):
                raise ProviderUnreachable(f"{self._name}: failed a moment ago: {self._failure}")
            self._task = asyncio.create_task(self._run(budget), name=f"provider {self._name}")
            self._task.add_done_callback(_retrieve)
        task = self._task
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            own = asyncio.current_task()
            if task.cancelled() and own is not None and not own.cancelling():
                raise ProviderUnreachable(f"{self._name}: closed while waiting") from None
            raise

    async def _run(self, budget: str | None) -> T:
        try:
            value = await self._load()
        except ProviderError as error:
            self._note_failure(error)
            raise
        else:
            self.value = value
            self.version += 1
            self._loaded_at = self._clock()
            self._failures, self._backoff = 0, 0.0
            if budget is not None:
                self._refetched_at[budget] = self._loaded_at
            return value
        finally:
            self._task = None

    def _note_failure(self, error: ProviderError) -> None:
        # Between half and the whole of the step, so that many gates do not come back in one beat.
        step = min(FIRST_BACKOFF * 2**self._failures, LONGEST_BACKOFF)
        self._backoff = step * (0.5 + 0.5 * self._jitter())
        self._failures = min(self._failures + 1, 16)
        self._failed_at, self._failure = self._clock(), str(error)
        level = logging.ERROR if isinstance(error, InvalidMetadata) else logging.WARNING
        kept = "the last good one stays" if self.value is not None else "there is none yet"
        self._log.log(level, "%s not renewed, %s: %s", self._name, kept, error)

    def _within(self, since: float, seconds: float) -> bool:
        # A clock that was set back must not keep anything for ever: a time that lies ahead counts as long
        # ago.
        return 0 <= self._clock() - since < seconds


def _retrieve(task: "asyncio.Task[T]") -> None:
    """Look at the outcome once, since all who waited may be gone; it was logged where it happened."""
    if not task.cancelled():
        task.exception()
