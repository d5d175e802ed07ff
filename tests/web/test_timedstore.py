"""A store that tells how long its operations take, and does nothing else."""

import asyncio
from typing import Any

import pytest

from oidcgate.errors import StoreUnavailable
from oidcgate.session.store import ABSENT
from oidcgate.stores.memory import MemoryStore
from oidcgate.web.timedstore import TimedStore
from tests.web.steps import Intermediary


class Timed:
    """A timed store before one that can be switched off, and what was told."""

    def __init__(self) -> None:
        self.inner = Intermediary(MemoryStore())
        self.told: list[tuple[str, bool]] = []
        self.seconds: list[float] = []
        self.store = TimedStore(self.inner, self.tell)

    def tell(self, name: str, seconds: float, is_good: bool) -> None:
        """As ``timedstore.OnOperation``."""
        self.told.append((name, is_good))
        self.seconds.append(seconds)


@pytest.fixture
def timed() -> Timed:
    """Fresh for each test."""
    return Timed()


async def test_each_operation_is_told_once(timed: Timed) -> None:
    """By its name; what goes in and comes out is the inner store's."""
    store = timed.store
    version = await store.put("a:1", b"x", life=60, expected=ABSENT)
    assert version is not None
    assert await store.put("a:1", b"y", life=60, expected=ABSENT) is None
    stored = await store.get("a:1")
    assert stored is not None
    assert stored.value == b"x"
    assert await store.get("a:2") is None
    assert await store.keys("a:") == ["a:1"]
    heard: list[str] = []
    store.listen(heard.append)
    await store.notify("news")
    assert heard == ["news"]
    assert await store.delete("a:1", expected=version)
    assert not await store.delete("a:1")
    names = ["put", "put", "get", "get", "keys", "notify", "delete", "delete"]
    assert timed.told == [(name, True) for name in names]
    assert min(timed.seconds) >= 0.0
    assert store.is_well


CALLS: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("get", ("a:1",), {}),
    ("put", ("a:1", b"x"), {"life": 60}),
    ("delete", ("a:1",), {}),
    ("keys", ("a:",), {}),
    ("notify", ("news",), {}),
]


@pytest.mark.parametrize(("name", "arguments", "options"), CALLS)
async def test_a_store_that_is_away(
    timed: Timed, name: str, arguments: tuple[Any, ...], options: dict[str, Any]
) -> None:
    """The failure is told and raised; the next operation that goes through makes it well again."""
    timed.inner.is_down = True
    with pytest.raises(StoreUnavailable, match="out for a test"):
        await getattr(timed.store, name)(*arguments, **options)
    assert timed.told == [(name, False)]
    assert not timed.store.is_well
    timed.inner.is_down = False
    await timed.store.get("a:1")
    assert timed.store.is_well


async def test_who_does_not_wait_for_the_end(timed: Timed) -> None:
    """An operation that was broken off says nothing about the store."""
    begun = asyncio.Event()

    async def slowly(_key: str) -> None:
        begun.set()
        await asyncio.Event().wait()

    timed.inner.get = slowly  # type: ignore[method-assign,assignment]
    task = asyncio.create_task(timed.store.get("a:1"))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert timed.told == [("get", False)]
    assert timed.store.is_well


async def test_the_end(timed: Timed) -> None:
    """Closing is passed on, and is no operation; what it shows of itself has no key in it."""
    closed: list[bool] = []

    async def close() -> None:
        closed.append(True)

    timed.inner.close = close  # type: ignore[method-assign]
    await timed.store.close()
    assert closed == [True]
    assert timed.told == []
    assert repr(timed.store).startswith("<TimedStore before ")
