"""A gate before a scripted upstream, started once a module and as new for each test."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.support.upstream import Gated


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_gate() -> AsyncIterator[Gated]:
    """The gate that a module's tests share."""
    async with Gated() as gated:
        yield gated


@pytest_asyncio.fixture(loop_scope="module")
async def gated(shared_gate: Gated) -> AsyncIterator[Gated]:
    """That gate without a script, a pooled connection or a remembered request; scripts must not have failed."""
    await shared_gate.reset()
    yield shared_gate
    shared_gate.upstream.raise_failures()
