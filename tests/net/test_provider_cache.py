"""One document for many callers: who fetches, who waits, and what is remembered."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from oidcgate.errors import InvalidMetadata, ProviderError, ProviderUnreachable
from oidcgate.net.provider_cache import Shared


class Source:
    """A document that counts how often it was fetched, fails on demand, and can be made to wait."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.fetches = 0
        self.error: ProviderError | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def load(self) -> int:
        """The number of this fetch."""
        self.fetches += 1
        number = self.fetches
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return number


@pytest.fixture
async def source() -> Source:
    """A source that answers at once."""
    return Source()


@pytest.fixture
async def shared(source: Source) -> AsyncIterator[Shared[int]]:
    """A shared value of that source, without jitter."""
    log = logging.getLogger("test")
    shared = Shared("thing", source.load, clock=lambda: source.now, jitter=lambda: 1.0, log=log)
    yield shared
    await shared.close()


async def test_many_callers_one_fetch(shared: Shared[int], source: Source) -> None:
    """Callers at the same time share a fetch; later ones get its value for an hour."""
    assert await asyncio.gather(*(shared.fresh() for _ in range(10))) == [1] * 10
    source.now += 3599.9
    assert await shared.fresh() == 1
    source.now += 0.1
    assert await shared.fresh() == 2
    assert repr(shared) == "<Shared thing version=2 failures=0>"


async def test_failure_without_a_good_copy(shared: Shared[int], source: Source) -> None:
    """The first failure is raised as it is, then remembered, then tried again."""
    source.error = InvalidMetadata("broken")
    with pytest.raises(InvalidMetadata, match="broken"):
        await shared.fresh()
    with pytest.raises(ProviderUnreachable, match="thing: failed a moment ago: broken"):
        await shared.fresh()
    source.now += 2
    source.error = None
    assert await shared.fresh() == 2


@pytest.mark.parametrize(
    ("error", "level"),
    [(ProviderUnreachable("gone"), "WARNING"), (InvalidMetadata("changed"), "ERROR")],
    ids=["passing", "alarming"],
)
async def test_failure_with_a_good_copy(
    shared: Shared[int], source: Source, error: ProviderError, level: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The good copy stays in use, and the log says so once a try."""
    await shared.fresh()
    source.error = error
    source.now += 3600
    assert [await shared.fresh() for _ in range(3)] == [1, 1, 1]
    assert source.fetches == 2
    assert [record.levelname for record in caplog.records] == [level]


async def test_refetch_once_a_minute(shared: Shared[int], source: Source) -> None:
    """Outside the hourly rhythm a fetch is made once a minute, however often it is asked for."""
    await shared.fresh()
    assert [await shared.refetched() for _ in range(3)] == [2, 2, 2]
    source.now += 60
    assert await shared.refetched() == 3


async def test_refetch_joins_a_fetch_under_way(shared: Shared[int], source: Source) -> None:
    """Those who ask while the minute's fetch runs wait for it."""
    await shared.fresh()
    source.gate.clear()
    waiting = [asyncio.ensure_future(shared.refetched()) for _ in range(5)]
    await asyncio.sleep(0)
    source.gate.set()
    assert await asyncio.gather(*waiting) == [2] * 5


async def test_a_failed_refetch_is_not_the_minute_s(shared: Shared[int], source: Source) -> None:
    """Failures follow the back-off, so that a key rotated in an outage is found soon after it."""
    await shared.fresh()
    source.error = ProviderUnreachable("gone")
    with pytest.raises(ProviderUnreachable, match="gone"):
        await shared.refetched()
    source.error = None
    source.now += 2
    assert await shared.refetched() == 3


async def test_cancelled_callers(shared: Shared[int], source: Source) -> None:
    """A caller that leaves takes nobody's fetch along."""
    source.gate.clear()
    leaver, stayer = asyncio.ensure_future(shared.fresh()), asyncio.ensure_future(shared.fresh())
    await asyncio.sleep(0)
    leaver.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaver
    source.gate.set()
    assert await stayer == 1


async def test_close(shared: Shared[int], source: Source) -> None:
    """Closing ends the fetch and tells those who wait."""
    source.gate.clear()
    caller = asyncio.ensure_future(shared.fresh())
    await asyncio.sleep(0)
    await shared.close()
    with pytest.raises(ProviderUnreachable, match="closed while waiting"):
        await caller
