"""One refresh, whoever asks: worker processes of several replicas before one issuer that counts."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journeys.fleets import ME, ask_many, caller, cookie_of, eventually, expiry, processes_that_answered, until
from tests.support.fleet import Fleet
from tests.support.redis import RedisServer, server

pytestmark = pytest.mark.real

LIFE = 6  # seconds that tokens live
BURST = 50


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of its own."""
    with server(tmp_path / "redis") as running:
        yield running


@pytest.mark.parametrize("is_shared", [True, False], ids=["redis, 2 x 2 workers", "sqlite, 4 workers"])
async def test_a_burst_at_expiry(redis: RedisServer, is_shared: bool) -> None:
    """50 requests in the moment a token has run out, at four processes: one call, 50 good answers, no old token."""
    shape = {"store": redis.url, "replicas": 2} if is_shared else {"workers": 4}
    # Nothing is renewed ahead of time: the gate sends a token for the last time a tenth of its life before its end,
    # and would renew it by itself only at its end. In between everybody finds it gone at once.
    config = {"session": {"refresh_ahead": "0s"}}
    async with Fleet(**shape, config=config, issuer={"id_token_life": LIFE}) as fleet:
        assert fleet.ui is not None
        browser = await fleet.browser()
        cookie = cookie_of(browser, fleet)
        warm = await ask_many(fleet, cookie, BURST, "/api/v1/namespace")
        assert {answer.status for answer in warm} == {200}
        fleet.issuer.quirks.delay["token"] = 0.2
        await until(expiry(fleet) - LIFE / 10 + 0.05)
        assert fleet.issuer.calls["token:refresh"] == 0
        answers = await ask_many(fleet, cookie, BURST)
        assert [answer.status for answer in answers] == [200] * BURST
        assert fleet.issuer.calls["token:refresh"] == 1
        assert fleet.ui.expired_tokens == 0
        await eventually(lambda: len(processes_that_answered(fleet, ME)) == 4, "four processes' logs")


@pytest.mark.parametrize(
    ("stage", "reuse_interval", "commits"),
    [("token:refresh", 0.0, False), ("token:reply", 30.0, True)],
    ids=["nothing has happened", "the reply is lost"],
)
async def test_the_winner_is_killed(redis: RedisServer, stage: str, reuse_interval: float, commits: bool) -> None:
    """The process that renews is killed in the middle: another one takes over, and nobody is signed out."""
    options = {"id_token_life": LIFE, "reuse_interval": reuse_interval}
    async with Fleet(store=redis.url, replicas=2, issuer=options) as fleet:
        assert fleet.ui is not None
        browser = await fleet.browser()
        cookie = cookie_of(browser, fleet)
        await ask_many(fleet, cookie, 20)
        await kill_winner(fleet, stage, commits=commits)
        await until(expiry(fleet))
        answers = await ask_many(fleet, cookie, 20)
        assert [answer.status for answer in answers] == [200] * 20
        assert fleet.issuer.calls["token:refresh"] == 2
        assert fleet.issuer.calls["token:code"] == 1
        assert fleet.ui.expired_tokens == 0


async def test_the_winner_is_killed_and_the_token_lost(redis: RedisServer) -> None:
    """A rotation that no reuse interval covers: each browser passes through the issuer once, and no more."""
    async with Fleet(store=redis.url, replicas=2, issuer={"id_token_life": LIFE, "auto_login": "alice"}) as fleet:
        assert fleet.ui is not None
        browser = await fleet.browser()
        await ask_many(fleet, cookie_of(browser, fleet), 20)
        await kill_winner(fleet, "token:reply", commits=True)
        await until(expiry(fleet))
        browser.visited.clear()
        for _ in range(5):
            assert (await browser.open(f"{fleet.url}/")).status == 200
        assert fleet.issuer.calls["auth"] == 2
        assert {page.status for page in browser.visited} <= {200, 302, 303}
        answers = await ask_many(fleet, cookie_of(browser, fleet), 20)
        assert [answer.status for answer in answers] == [200] * 20
        assert fleet.issuer.calls["auth"] == 2
        assert fleet.issuer.calls["token:refresh"] <= 3  # lost, refused, and perhaps the new one's first renewal
        assert fleet.ui.expired_tokens == 0


async def kill_winner(fleet: Fleet, stage: str, *, commits: bool) -> None:
    """Let a renewal begin, hold the issuer at a stage, kill who waits for it, and let the issuer go on or fail."""
    quirks = fleet.issuer.quirks
    quirks.hang.add(stage)
    async with asyncio.timeout(LIFE):
        await fleet.issuer.wait_for("token:refresh")
    winner = caller(fleet)
    winner.kill()
    await eventually(lambda: not winner.is_running() or winner.status() == "zombie", "the worker's end")
    if not commits:
        quirks.fail[stage] = 503
    quirks.release()
    for _ in range(5):  # what hung goes on
        await asyncio.sleep(0)
    quirks.fail.clear()
