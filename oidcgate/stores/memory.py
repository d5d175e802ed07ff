"""
A store in this process's memory: for tests and for those who accept that a restart signs everybody out.

Edge by its place only; no I/O. Expired keys go when they are met, and in a sweep every so many writes.
"""

import itertools
import time
from collections.abc import Callable

from oidcgate.session.store import ABSENT, OnMessage, Stored

SWEEP_EVERY = 1024  # writes


class MemoryStore:
    """Implements ``session.store.Store``."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._items: dict[str, tuple[Stored, float]] = {}
        self._versions = itertools.count(1)
        self._writes = 0
        self._listeners: list[OnMessage] = []

    def __repr__(self) -> str:
        return f"<MemoryStore of {len(self._items)}>"

    async def get(self, key: str) -> Stored | None:
        """As ``Store.get``."""
        return self._current(key)

    async def put(self, key: str, value: bytes, *, life: float, expected: int | None = None) -> int | None:
        """As ``Store.put``."""
        current = self._current(key)
        if expected is not None and (current.version if current else ABSENT) != expected:
            return None
        version = next(self._versions)
        self._items[key] = (Stored(value, version), self._clock() + life)
        self._writes += 1
        if self._writes % SWEEP_EVERY == 0:
            self._sweep()
        return version

    async def delete(self, key: str, *, expected: int | None = None) -> bool:
        """As ``Store.delete``."""
        current = self._current(key)
        if current is None or (expected is not None and current.version != expected):
            return False
        del self._items[key]
        return True

    async def keys(self, prefix: str) -> list[str]:
        """As ``Store.keys``."""
        return [key for key in list(self._items) if key.startswith(prefix) and self._current(key)]

    async def notify(self, message: str) -> None:
        """As ``Store.notify``; there is no other process."""
        for on_message in self._listeners:
            on_message(message)

    def listen(self, on_message: OnMessage) -> None:
        """As ``Store.listen``."""
        self._listeners.append(on_message)

    async def close(self) -> None:
        """As ``Store.close``."""
        self._items.clear()

    def _current(self, key: str) -> Stored | None:
        stored, ends = self._items.get(key, (None, 0.0))
        if stored is not None and ends <= self._clock():
            del self._items[key]
            return None
        return stored

    def _sweep(self) -> None:
        now = self._clock()
        for key in [key for key, (_, ends) in self._items.items() if ends <= now]:
            del self._items[key]
