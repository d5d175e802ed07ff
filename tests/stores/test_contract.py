"""What every session store does, held against each of them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from oidcgate.session.store import ABSENT, Store
from oidcgate.stores import memory, sqlite
from oidcgate.stores.memory import MemoryStore
from oidcgate.stores.sqlite import SqliteStore
from tests.stores.support import Clock


@pytest.fixture
def clock() -> Clock:
    """A clock."""
    return Clock()


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> AsyncIterator[Store]:
    """A store of each kind, empty."""
    if request.param == "memory":
        opened: Store = MemoryStore(clock=clock)
    else:
        opened = SqliteStore(tmp_path / "sessions.db", clock=clock)
        await opened.open()
    yield opened
    await opened.close()


async def test_put_and_get(store: Store) -> None:
    """What was put is there, byte for byte, under the version that put told."""
    value = bytes(range(256))
    version = await store.put("a", value, life=60)
    found = await store.get("a")
    assert found is not None
    assert (found.value, found.version) == (value, version)
    assert await store.get("A") is None


async def test_value_shows_in_no_repr(store: Store) -> None:
    """A stored value is sealed, and still nobody's business."""
    await store.put("a", b"geheim", life=60)
    assert "geheim" not in repr(await store.get("a"))
    assert "geheim" not in repr(store)


async def test_put_replaces(store: Store) -> None:
    """Without a condition the newest value wins, with a life of its own."""
    await store.put("a", b"1", life=60)
    await store.put("a", b"2", life=120)
    found = await store.get("a")
    assert found is not None
    assert found.value == b"2"


async def test_life(store: Store, clock: Clock) -> None:
    """A key runs out at its time, not before."""
    await store.put("a", b"1", life=60)
    clock.now += 59.9
    assert await store.get("a") is not None
    clock.now += 0.1
    assert await store.get("a") is None


async def test_life_begins_anew(store: Store, clock: Clock) -> None:
    """Each put starts the time again."""
    await store.put("a", b"1", life=60)
    clock.now += 50
    await store.put("a", b"2", life=60)
    clock.now += 50
    assert await store.get("a") is not None


@pytest.mark.parametrize("life", [0.0, -1.0])
async def test_no_life(store: Store, life: float) -> None:
    """What has no time left is not there."""
    assert await store.put("a", b"1", life=life) is not None
    assert await store.get("a") is None


async def test_compare_and_set(store: Store) -> None:
    """With the version that is there the value is replaced; with an older one it is not."""
    first = await store.put("a", b"1", life=60)
    second = await store.put("a", b"2", life=60, expected=first)
    assert second is not None
    assert await store.put("a", b"3", life=60, expected=first) is None
    found = await store.get("a")
    assert found is not None
    assert (found.value, found.version) == (b"2", second)


async def test_refused_put_leaves_the_life(store: Store, clock: Clock) -> None:
    """A put that was refused does not prolong anything."""
    await store.put("a", b"1", life=60)
    assert await store.put("a", b"2", life=600, expected=ABSENT) is None
    clock.now += 60
    assert await store.get("a") is None


async def test_absent(store: Store, clock: Clock) -> None:
    """``ABSENT`` means that the key must not be there; one that ran out is not."""
    assert await store.put("a", b"1", life=60, expected=ABSENT) is not None
    assert await store.put("a", b"2", life=60, expected=ABSENT) is None
    clock.now += 60
    assert await store.put("a", b"3", life=60, expected=ABSENT) is not None


async def test_expected_but_gone(store: Store, clock: Clock) -> None:
    """A version that ran out or was deleted is not there to be replaced."""
    version = await store.put("a", b"1", life=60)
    clock.now += 60
    assert await store.put("a", b"2", life=60, expected=version) is None
    version = await store.put("b", b"1", life=60)
    await store.delete("b")
    assert await store.put("b", b"2", life=60, expected=version) is None


async def test_delete(store: Store, clock: Clock) -> None:
    """Delete tells whether the key was there; what ran out was not."""
    await store.put("a", b"1", life=60)
    assert await store.delete("a") is True
    assert await store.delete("a") is False
    assert await store.get("a") is None
    await store.put("b", b"1", life=60)
    clock.now += 60
    assert await store.delete("b") is False


async def test_versions_never_repeat(store: Store, clock: Clock) -> None:
    """However often a key comes and goes, no version is used twice, and none is ``ABSENT``."""
    versions: list[int | None] = []
    for _ in range(20):
        versions.append(await store.put("a", b"1", life=60))
        versions.append(await store.put("a", b"2", life=60, expected=versions[-1]))
        await store.delete("a")
        versions.append(await store.put("a", b"3", life=60))
        clock.now += 60
    assert None not in versions
    assert ABSENT not in versions
    assert len(set(versions)) == len(versions)


async def test_one_wins(store: Store) -> None:
    """Of many that replace the same version at once exactly one succeeds."""
    version = await store.put("a", b"0", life=60)
    tries = [store.put("a", str(number).encode(), life=60, expected=version) for number in range(20)]
    results = await asyncio.gather(*tries)
    (winner,) = [number for number, result in enumerate(results) if result is not None]
    found = await store.get("a")
    assert found is not None
    assert found.value == str(winner).encode()


@pytest.mark.parametrize("key", ["", "session:ä", "a' OR '1'='1", "k" * 1000])
async def test_any_key(store: Store, key: str) -> None:
    """A key is a key, whatever stands in it."""
    await store.put(key, b"1", life=60)
    assert await store.get(key) is not None
    assert await store.delete(key)


async def test_sweep_keeps_what_lives(store: Store, clock: Clock) -> None:
    """Many writes later, what ran out is gone and the rest is there."""
    await store.put("short", b"1", life=60)
    await store.put("long", b"1", life=3600)
    clock.now += 60
    for number in range(max(memory.SWEEP_EVERY if isinstance(store, MemoryStore) else sqlite.SWEEP_EVERY, 1)):
        await store.put("busy", str(number).encode(), life=60)
    assert await store.get("short") is None
    assert await store.get("long") is not None
