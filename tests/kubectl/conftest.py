"""Fixtures of the tests of kubectl's sign-in."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.kubectl.support import Desk


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """Somebody's desk."""
    async with Desk(tmp_path) as there:
        yield there
