"""What is lost when the issuer, the store or a worker is gone for a while: nothing."""

import asyncio
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.journeys.fleets import (
    LOST,
    Answer,
    Load,
    ask,
    ask_many,
    cookie_of,
    eventually,
    expiry,
    holder,
    statuses,
    until,
)
from tests.support.browser import SCRIPT
from tests.support.fleet import AUTHORITY, LIMIT, Fleet
from tests.support.raw import connect, request
from tests.support.redis import RedisServer

pytestmark = pytest.mark.real

LIFE = 6  # seconds that tokens live
OUTAGE = float(os.environ.get("OIDCGATE_OUTAGE", "6"))  # seconds; some minutes for a long look
RENEWALS = 6  # of one grant; more within an outage of some seconds would be a call a request


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that has everything on disk before it answers."""
    with RedisServer(tmp_path / "redis", ("--appendonly", "yes", "--appendfsync", "always", "--save", "")) as running:
        yield running


def all_right_or_503(answers: Iterable[Answer]) -> None:
    """Outages are said, not played down: 503 with Retry-After, and the cookie is not touched."""
    for answer in answers:
        assert answer.status in (200, 503), (answer.status, answer.reply)
        assert answer.reply is not None
        assert not answer.reply.values("Set-Cookie")
        if answer.status == 503:
            assert answer.reply.value("Retry-After").isdecimal()


async def people(fleet: Fleet) -> list[str]:
    """The cookies of two people in three browsers."""
    browsers = [await fleet.browser(login) for login in ("alice", "bob", "bob")]
    return [cookie_of(browser, fleet) for browser in browsers]


async def nobody_is_signed_out(fleet: Fleet, cookies: list[str]) -> None:
    """Every session goes on at every process, without another login."""
    for cookie in cookies:
        while statuses(answers := await ask_many(fleet, cookie, 8)) != {200: 8}:
            all_right_or_503(answers)  # a process that nobody asked meanwhile may have to look again
            await asyncio.sleep(0.5)
    assert fleet.issuer.calls["token:code"] == len(cookies)
    assert fleet.ui is not None
    assert fleet.ui.expired_tokens == 0


async def test_an_issuer_that_never_answers() -> None:
    """Valid tokens keep working, then it is 503 for page and script, with few calls; it works again by itself."""
    # What hung goes on when it is let go: then the token is another one, and only the interval makes up for that.
    async with Fleet(issuer={"id_token_life": LIFE, "reuse_interval": 60.0}) as fleet:
        cookie = cookie_of(await fleet.browser(), fleet)
        fleet.issuer.quirks.hang.add("token:refresh")
        end = expiry(fleet)
        async with Load(fleet, [cookie] * 4) as load:
            async with asyncio.timeout(LIMIT):
                await fleet.issuer.wait_for("token:refresh")
            await until(end + 1)
            before_the_end = [answer for answer in load.answers if answer.ended < end - LIFE / 10]
            assert set(statuses(before_the_end)) == {200}
            await eventually(lambda: statuses(load.answers)[503] >= 12, "outage pages")
            page, script = await ask(fleet, cookie, "/", navigates=True), await ask(fleet, cookie)
            assert page.reply is not None
            assert script.reply is not None
            assert (page.status, script.status) == (503, 503)
            assert "text/html" in page.reply.value("Content-Type")
            assert "http-equiv=refresh" in page.reply.text.replace('"', "")
            assert "application/json" in script.reply.value("Content-Type")
            assert fleet.issuer.calls["token:refresh"] <= RENEWALS
            fleet.issuer.release()
            await load.serves_again()
        all_right_or_503([*load.answers, page, script])
        await nobody_is_signed_out(fleet, [cookie])


async def test_an_issuer_that_is_down_at_expiry() -> None:
    """Gone before tokens run out, back some time after: every answer is right or 503, and nobody signs in again."""
    async with Fleet(issuer={"id_token_life": LIFE}) as fleet:
        cookies = await people(fleet)
        async with Load(fleet, cookies) as load:
            await load.serves_again()
            await fleet.issuer.stop()
            await until(time.time() + OUTAGE)
            await eventually(lambda: statuses(load.answers)[503] >= 30, "outage pages")
            await fleet.issuer.start()
            await load.serves_again()
        all_right_or_503(load.answers)
        await nobody_is_signed_out(fleet, cookies)


async def test_a_redis_that_stands_still_and_then_dies(redis: RedisServer) -> None:
    """Frozen, then killed and started again, while tokens run out: every answer is right or 503, nobody signs in."""
    # A refresh whose result could not be stored may be lost with its process only; here no process dies.
    async with Fleet(store=redis.url, replicas=2, issuer={"id_token_life": LIFE}) as fleet:
        cookies = await people(fleet)
        async with Load(fleet, cookies) as load:
            for _ in range(2):
                await load.serves_again()
                redis.freeze()
                await until(time.time() + OUTAGE)
                redis.thaw()
            await load.serves_again()
            redis.kill()
            await until(time.time() + OUTAGE)
            redis.start()
            await load.serves_again()
        all_right_or_503(load.answers)
        assert statuses(load.answers)[503]
        await nobody_is_signed_out(fleet, cookies)


async def test_workers_that_die() -> None:
    """A worker is killed again and again under load: only what it had under way is lost, and nobody signs in again."""
    issuer = {"id_token_life": LIFE, "reuse_interval": 30.0}
    async with Fleet(workers=3, issuer=issuer) as fleet:
        cookies = await people(fleet)
        kills: list[float] = []
        lost = 0
        async with Load(fleet, cookies * 2, pause=0.05) as load:
            end = time.time() + max(OUTAGE, 10)
            while time.time() < end:
                await eventually(lambda: len(alive(fleet)) == 3, "workers")
                lost += await kill_one(fleet, cookies[0], kills)
            await eventually(lambda: len(alive(fleet)) == 3, "workers")
            await load.serves_again()
        broken = [answer for answer in load.answers if answer.status == 0]
        for answer in broken:
            assert any(answer.began <= kill <= answer.ended for kill in kills)
        all_right_or_503(answer for answer in load.answers if answer.status)
        assert statuses(load.answers)[503] == 0
        print(f"{len(kills)} workers killed, {len(load.answers)} requests, {len(broken)} and {lost} slow ones lost")
        await nobody_is_signed_out(fleet, cookies)


def alive(fleet: Fleet) -> list[psutil.Process]:
    """The workers that have not been killed."""
    return [worker for worker in fleet.replicas[0].workers() if worker.status() != psutil.STATUS_ZOMBIE]


async def kill_one(fleet: Fleet, cookie: str, kills: list[float]) -> int:
    """Kill a worker with slow requests under way, and see that these are lost and no others; how many it were."""
    assert fleet.ui is not None
    [replica] = fleet.replicas
    target = f"/api/v1/slow?seconds=1&number={len(kills)}"
    raw = request(target, host=AUTHORITY, headers={**SCRIPT, "Cookie": cookie})
    wires = [await connect(replica.port) for _ in range(6)]
    for wire in wires:
        await wire.send(raw)
    await fleet.ui.wait_for(lambda ui: sum(arrival.raw_target == target for arrival in ui.arrivals) == len(wires))
    holders = [holder(replica, wire) for wire in wires]
    kills.append(time.time())
    psutil.Process(holders[0]).kill()
    lost = 0
    for wire, process in zip(wires, holders, strict=True):
        try:
            status = (await wire.reply()).status
        except LOST:
            status = 0
        lost += status == 0
        assert status == 200 or process == holders[0]
        await wire.close()
    return lost
