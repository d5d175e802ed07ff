"""Fixtures that several tests of what is deployed use."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.deploy.cluster import lab_with_crds
from tests.lab.kube.lab import Lab


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def lab() -> AsyncIterator[Lab]:
    """One real API server for all of them, with custom resources; it takes some seconds to start."""
    async with lab_with_crds() as running:
        yield running
