"""The store in memory: what it lets go of."""

from oidcgate.stores.memory import SWEEP_EVERY, MemoryStore
from tests.stores.support import Clock


async def test_sweep() -> None:
    """Keys that nobody asks for again do not stay for ever."""
    clock = Clock()
    store = MemoryStore(clock=clock)
    for number in range(SWEEP_EVERY - 1):
        await store.put(f"old-{number}", b"1", life=60)
    clock.now += 60
    assert repr(store) == f"<MemoryStore of {SWEEP_EVERY - 1}>"
    await store.put("new", b"1", life=60)
    assert repr(store) == "<MemoryStore of 1>"


async def test_met() -> None:
    """A key that ran out goes when somebody asks for it."""
    clock = Clock()
    store = MemoryStore(clock=clock)
    await store.put("a", b"1", life=60)
    clock.now += 60
    await store.get("a")
    assert repr(store) == "<MemoryStore of 0>"


async def test_close() -> None:
    """Closed, it holds nothing."""
    store = MemoryStore()
    await store.put("a", b"1", life=60)
    await store.close()
    assert await store.get("a") is None
