"""The short form of `make soak`."""

from pathlib import Path

import pytest

from bench.soak import LIFE, soak
from tests.support.fleet import Fleet
from tests.support.redis import server

pytestmark = pytest.mark.real


async def test_people_at_work(tmp_path: Path) -> None:
    """20 people in 3 browsers each, tokens living 15 s: none arrives expired, nobody signs in again, few calls."""
    with server(tmp_path / "redis") as redis:
        async with Fleet(store=redis.url, replicas=2, issuer={"id_token_life": LIFE}) as fleet:
            report = await soak(fleet, seconds=46)
    print(report)
    assert report.problems == []
