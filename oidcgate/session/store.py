"""
What a session store can do: bytes by key with a time to live, compare-and-set, and notices to other processes.

Pure: the Protocol only. Stores know nothing of cookies, requests or tokens; values arrive sealed.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

OnMessage = Callable[[str], None]

ABSENT = 0  # as ``expected``: only when there is no such key


@dataclass(frozen=True, slots=True)
class Stored:
    """A value and its version; a version is never used twice for one key."""

    value: bytes = field(repr=False)
    version: int


class Store(Protocol):
    """Every method raises StoreUnavailable when the store does not answer."""

    async def get(self, key: str) -> Stored | None:
        """The value of a key that has not run out."""
        ...

    async def put(self, key: str, value: bytes, *, life: float, expected: int | None = None) -> int | None:
        """
        Write a value.

        Args:
            life: seconds until it runs out.
            expected: the version that must be there (``ABSENT`` = none); without it, whatever is there is replaced.

        Returns:
            The new version, or None when something else was there.
        """
        ...

    async def delete(self, key: str, *, expected: int | None = None) -> bool:
        """Remove a key (only while that version is there); whether it was."""
        ...

    async def keys(self, prefix: str) -> list[str]:
        """The keys that begin with a prefix; a list for people, not for every request."""
        ...

    async def notify(self, message: str) -> None:
        """Tell every process that uses this store, this one included."""
        ...

    def listen(self, on_message: OnMessage) -> None:
        """Be told. An empty message says that some may have been missed."""
        ...

    async def close(self) -> None:
        """Let go of files and connections."""
        ...
