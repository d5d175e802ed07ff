"""
A session store that tells how long each of its operations takes.

Edge by the store before which it stands. Listening and closing are passed through: nobody waits for them.
"""

import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from oidcgate.errors import StoreUnavailable
from oidcgate.session.store import OnMessage, Store, Stored

T = TypeVar("T")
OnOperation = Callable[[str, float, bool], None]  # its name, its seconds, and whether the store did it


class TimedStore:
    """
    As ``session.store.Store``.

    Attributes:
        is_well: whether the last operation went through.
    """

    def __init__(self, inner: Store, on_operation: OnOperation) -> None:
        self._inner = inner
        self._on_operation = on_operation
        self.is_well = True

    def __repr__(self) -> str:
        return f"<TimedStore before {self._inner!r}>"

    async def _timed(self, name: str, operation: Awaitable[T]) -> T:
        began, is_good = time.monotonic(), False
        try:
            result = await operation
            is_good = self.is_well = True
        except StoreUnavailable:
            self.is_well = False
            raise
        finally:
            self._on_operation(name, time.monotonic() - began, is_good)
        return result

    async def get(self, key: str) -> Stored | None:
        """As ``Store.get``."""
        return await self._timed("get", self._inner.get(key))

    async def put(self, key: str, value: bytes, *, life: float, expected: int | None = None) -> int | None:
        """As ``Store.put``."""
        return await self._timed("put", self._inner.put(key, value, life=life, expected=expected))

    async def delete(self, key: str, *, expected: int | None = None) -> bool:
        """As ``Store.delete``."""
        return await self._timed("delete", self._inner.delete(key, expected=expected))

    async def keys(self, prefix: str) -> list[str]:
        """As ``Store.keys``."""
        return await self._timed("keys", self._inner.keys(prefix))

    async def notify(self, message: str) -> None:
        """As ``Store.notify``."""
        await self._timed("notify", self._inner.notify(message))

    def listen(self, on_message: OnMessage) -> None:
        """As ``Store.listen``."""
        self._inner.listen(on_message)

    async def close(self) -> None:
        """As ``Store.close``."""
        await self._inner.close()
