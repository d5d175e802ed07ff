"""
Answers of somebody else that hold for a while, asked for once however many want them.

Edge: a task that belongs to no request, so that whoever stops waiting takes nothing from the others.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

MOST_KNOWN: Final = 4096

Key = tuple[str, ...]
Value = TypeVar("Value")


class Remembered(Generic[Value]):
    """Answers by their key, each for as long as it says; whoever asks meanwhile waits for the same call."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._known: dict[Key, tuple[float, Value]] = {}
        self._asking: dict[Key, asyncio.Task[tuple[float, Value]]] = {}

    async def get(self, key: Key, ask: Callable[[], Awaitable[tuple[float, Value]]]) -> tuple[float, Value]:
        """Until when it holds, and the answer; ``ask`` gives both. What it raises, all who wait get."""
        known = self._known.get(key)
        if known is not None and self._clock() < known[0]:
            return known
        task = self._asking.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._ask(key, ask), name="ask the API server")
            self._asking[key] = task
            task.add_done_callback(lambda done: self._done(key, done))
        return await asyncio.shield(task)

    def _done(self, key: Key, task: "asyncio.Task[tuple[float, Value]]") -> None:
        del self._asking[key]
        if not task.cancelled():
            task.exception()  # whoever waits has it; perhaps nobody does any more

    async def _ask(self, key: Key, ask: Callable[[], Awaitable[tuple[float, Value]]]) -> tuple[float, Value]:
        answer = await ask()
        if len(self._known) >= MOST_KNOWN:
            now = self._clock()
            self._known = {key: known for key, known in self._known.items() if now < known[0]}
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
        self._known[key] = answer
        return answer

    def forget(self) -> None:
        """Ask anew."""
        self._known.clear()

    async def close(self) -> None:
        """Wait for nothing any more."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
