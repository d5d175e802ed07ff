"""
A lease in the store: one process at a time does something, and a killed one is replaced.

Edge by its store. Kept alive while the work goes on, so that it can be short: a holder that dies is missed within
seconds. Compare-and-set throughout: a lease that was lost is neither renewed nor given back by its former holder.
"""

import asyncio
import contextlib
from types import TracebackType
from typing import Self

from oidcgate.errors import StoreUnavailable
from oidcgate.session.store import ABSENT, Store

LIFE = 5.0  # seconds without a sign of life until somebody else may take it


class Lease:
    """Use as ``async with`` once ``take`` said yes."""

    def __init__(self, store: Store, key: str, *, life: float = LIFE) -> None:
        self._store = store
        self._key = f"lease:{key}"
        self._life = life
        self._version: int | None = None
        self._keeper: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Lease {self._key[:20]} {'held' if self._version else 'not held'}>"

    async def take(self) -> bool:
        """
        Whether it is ours now.

        Raises:
            StoreUnavailable: nobody can tell.
        """
        self._version = await self._store.put(self._key, b"1", life=self._life, expected=ABSENT)
        return self._version is not None

    async def is_taken(self) -> bool:
        """
        Whether somebody holds it.

        Raises:
            StoreUnavailable: nobody can tell.
        """
        return await self._store.get(self._key) is not None

    async def __aenter__(self) -> Self:
        self._keeper = asyncio.get_running_loop().create_task(self._keep(), name=f"keep {self._key[:20]}")
        return self

    async def _keep(self) -> None:
        while self._version is not None:
            await asyncio.sleep(self._life / 3)
            with contextlib.suppress(StoreUnavailable):
                self._version = await self._store.put(self._key, b"1", life=self._life, expected=self._version)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        if self._version is not None:
            with contextlib.suppress(StoreUnavailable):  # it runs out by itself
                await self._store.delete(self._key, expected=self._version)
            self._version = None
