"""Chromium for the journeys: one for all of them, on the session's event loop."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.support.chromium import People, launched
from tests.support.stack import Stack

FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Remember whether a test failed, for those who clean up after it."""
    report = yield
    if report.when == "call":
        item.stash[FAILED] = report.failed
    return report


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def chromium() -> AsyncIterator[Browser]:
    """The one Chromium of this run."""
    async with launched() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="session")
async def people(chromium: Browser, request: pytest.FixtureRequest) -> AsyncIterator[People]:
    """Makes people with browsers of their own."""
    everybody = People(chromium, request.node.name)
    yield everybody
    await everybody.leave(failed=request.node.stash.get(FAILED, True))


@pytest_asyncio.fixture(loop_scope="session")
async def shown() -> AsyncIterator[Stack]:
    """Issuer, UI and gate with defaults, on the loop that Chromium's tests run on; the UI's streams are brisk."""
    async with Stack(ui={"tick": 0.1}) as running:
        yield running
