"""Fixtures that many tests use."""

from collections.abc import AsyncIterator

import pytest

from tests.support.stack import Stack


@pytest.fixture
async def stack() -> AsyncIterator[Stack]:
    """Issuer, UI and gate with defaults."""
    async with Stack() as running:
        yield running
