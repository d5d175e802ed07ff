"""Leases: one process at a time, kept while the work goes on, and nobody waits for a dead one."""

import asyncio
from typing import Any

import pytest

from oidcgate.errors import StoreUnavailable
from oidcgate.stores.memory import MemoryStore
from oidcgate.web.lease import LIFE, Lease
from tests.support.stack import Clock
from tests.web.steps import Intermediary

SHORT = 0.003  # seconds; a lease's keeper works every third of it


class Watched(Intermediary):
    """A store that tells when a lease was written."""

    def __init__(self, inner: MemoryStore) -> None:
        super().__init__(inner)
        self.tried = asyncio.Event()
        self.before_put = lambda _key: self.tried.set()

    async def next_try(self) -> None:
        """Wait until the keeper writes, and has heard what came of it."""
        self.tried.clear()
        await asyncio.wait_for(self.tried.wait(), 10)
        await asyncio.sleep(0)


@pytest.fixture
def clock() -> Clock:
    """Stands almost still: real time hardly passes in a test."""
    return Clock()


@pytest.fixture
def store(clock: Clock) -> Watched:
    """A store whose time the test turns."""
    return Watched(MemoryStore(clock=clock))


async def test_one_at_a_time(store: Watched) -> None:
    """The second asks in vain until the first has given it back."""
    first, second = Lease(store, "x"), Lease(store, "x")
    assert not await second.is_taken()
    assert await first.take()
    async with first:
        assert await second.is_taken()
        assert not await second.take()
        assert await Lease(store, "y").take()
    assert not await second.is_taken()
    assert await second.take()


async def test_many_at_once(store: Watched) -> None:
    """Of all who ask at the same time one gets it."""
    answers = await asyncio.gather(*(Lease(store, "x").take() for _ in range(20)))
    assert sorted(answers) == [False] * 19 + [True]


async def test_kept_alive_while_the_work_goes_on(store: Watched, clock: Clock) -> None:
    """However long the work takes, nobody else begins it."""
    lease = Lease(store, "x", life=SHORT)
    store.inner._clock = lambda: 1000.0 + clock.ahead  # type: ignore[attr-defined]  # only the test turns it
    assert await lease.take()
    async with lease:
        for _ in range(5):
            await store.next_try()
            clock.ahead += SHORT * 0.9
            assert not await Lease(store, "x").take()
        assert "held" in repr(lease)
    assert not await lease.is_taken()
    assert "not held" in repr(lease)


async def test_a_killed_holder_is_replaced(store: Watched, clock: Clock) -> None:
    """Without a sign of life it runs out."""
    assert await Lease(store, "x").take()  # and nobody keeps it
    clock.ahead += LIFE - 1
    assert not await Lease(store, "x").take()
    clock.ahead += 1
    assert await Lease(store, "x").take()


async def test_a_lost_lease_is_neither_renewed_nor_given_back(store: Watched, clock: Clock) -> None:
    """A holder that was away for too long finds another and leaves that one alone."""
    slow, other = Lease(store, "x", life=SHORT), Lease(store, "x", life=1000.0)
    assert await slow.take()
    clock.ahead += 1
    assert await other.take()
    async with slow:
        await store.next_try()
        await asyncio.wait_for(asyncio.shield(slow._keeper or asyncio.sleep(0)), 10)  # it stops trying
        assert "not held" in repr(slow)
    assert await other.is_taken()
    async with other:
        pass
    assert not await slow.is_taken()


async def test_an_outage_while_it_is_held(store: Watched, clock: Clock) -> None:
    """A write that fails is tried again, and the lease lives on when it was not for too long."""
    lease = Lease(store, "x", life=SHORT)
    store.inner._clock = lambda: 1000.0 + clock.ahead  # type: ignore[attr-defined]
    assert await lease.take()
    async with lease:
        store.is_down = True
        await store.next_try()
        await store.next_try()
        store.is_down = False
        await store.next_try()
        assert "held" in repr(lease)
        assert await lease.is_taken()


async def test_an_outage_at_the_end(store: Watched) -> None:
    """It cannot be given back, and runs out by itself; the work is none the worse."""
    lease = Lease(store, "x")
    assert await lease.take()
    async with lease:
        store.is_down = True
    store.is_down = False
    assert await lease.is_taken()


async def test_an_outage_at_the_start(store: Watched) -> None:
    """Nobody can tell whose it is."""
    store.is_down = True
    lease = Lease(store, "x")
    for ask in (lease.take, lease.is_taken):
        with pytest.raises(StoreUnavailable):
            await ask()


async def test_given_back_when_the_work_fails(store: Watched) -> None:
    """The next one need not wait."""
    lease: Any = Lease(store, "x")
    assert await lease.take()
    with pytest.raises(ZeroDivisionError):
        async with lease:
            raise ZeroDivisionError
    assert await Lease(store, "x").take()
    await lease.__aexit__(None, None, None)  # again: nothing left to do
    assert await lease.is_taken()


async def test_leaving_without_having_entered(store: Watched) -> None:
    """There is no keeper to end."""
    lease = Lease(store, "x")
    assert await lease.take()
    await lease.__aexit__(None, None, None)
    assert not await lease.is_taken()
