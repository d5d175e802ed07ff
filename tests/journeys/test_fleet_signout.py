"""A sign-out that is one: whoever holds a person's websockets closes them."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journeys.fleets import ask, close_frame, cookie_of, holder, websocket
from tests.support.fleet import LIMIT, Fleet
from tests.support.redis import RedisServer, server

pytestmark = pytest.mark.real

SOCKETS = 8  # a replica: enough that each of its workers gets some


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of its own."""
    with server(tmp_path / "redis") as running:
        yield running


@pytest.mark.parametrize("is_shared", [True, False], ids=["redis, 2 x 2 workers", "sqlite, 4 workers"])
async def test_sign_out_closes_websockets_everywhere(redis: RedisServer, is_shared: bool) -> None:
    """A sign-out at one process ends the session in all: websockets close with a reason, and the cookie is dead."""
    shape = {"store": redis.url, "replicas": 2} if is_shared else {"workers": 4}
    async with Fleet(**shape) as fleet:
        browser, other = await fleet.browser(), await fleet.browser()
        cookie = cookie_of(browser, fleet)
        holders = []
        wires = []
        for replica in fleet.replicas:
            for number in range(2 * SOCKETS):
                wire = await websocket(replica, cookie, number)
                wires.append(wire)
                holders.append(holder(replica, wire))
        assert len(set(holders)) == 4
        spared = await websocket(fleet.replicas[0], cookie_of(other, fleet))
        closing = [asyncio.create_task(close_frame(wire)) for wire in wires]
        page = await browser.open(f"{fleet.url}/oauth2/sign_out")
        began = time.time()
        assert (await browser.submit(page)).status == 200
        async with asyncio.timeout(LIMIT):
            frames = await asyncio.gather(*closing)
        assert {frame[:2] for frame in frames} == {(4001, "Session ended: the person signed out")}
        print(f"{len(frames)} websockets closed within {max(at for *_, at in frames) - began:.3f} s of the sign-out")
        for replica in fleet.replicas:
            for _ in range(SOCKETS):
                assert (await ask(fleet, cookie, port=replica.port)).status == 401
        assert (await ask(fleet, cookie_of(other, fleet))).status == 200
        assert not spared.reader.at_eof()
        for wire in (*wires, spared):
            await wire.close()
