"""All workers as one: nothing that was counted is lost, whoever ends and however, and who is stuck shows."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge

from oidcgate import __version__
from oidcgate.errors import StoreUnavailable
from oidcgate.web import crew as crew_module
from oidcgate.web import master as master_module
from oidcgate.web.control import Channel, Message
from oidcgate.web.crew import Child, Crew, Told
from oidcgate.web.master import Master
from oidcgate.web.snapshot import snapshot, snapshot_of
from tests.support.counted import Counted, of_families, scraped
from tests.support.fleet import Fleet, Replica
from tests.support.raw import fetch, request
from tests.web.test_control import LIMIT
from tests.web.test_master import gone, hangup, reload, settings, until, workers

__all__ = ["settings"]  # a fixture

REQUESTS = "oidcgate_requests_total"


class Process:
    """What the crew needs of a worker's process."""

    def __init__(self) -> None:
        self.pid = os.getpid()


class Worker:
    """A worker that says what a test wants, over a real channel, in this process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("oidcgate_requests", "Requests.", registry=self.registry)
        self.sessions = Gauge("oidcgate_sessions", "Sessions.", registry=self.registry)
        self.checks: dict[str, str | None] = {"provider": None, "store": None}
        self.result: Any = None
        self.is_stuck = False
        self.asked: list[str] = []
        self.channel: Channel
        self.child: Child
        self.listening: asyncio.Task[None]

    async def start(self, index: int) -> "Worker":
        """Begin the conversation."""
        ours, theirs = socket.socketpair()
        told = Told()
        here = await Channel.over(ours, told)
        self.channel = await Channel.over(theirs, self.answer)
        self.listening = asyncio.create_task(self.channel.listen())
        listening = asyncio.create_task(here.listen())
        process: Any = Process()
        self.child = Child(index, process, here, listening, told)
        return self

    async def answer(self, message: Message) -> Message | None:
        """As ``control.OnMessage``."""
        self.asked.append(message["say"])
        if self.is_stuck:
            await asyncio.Event().wait()
        match message["say"]:
            case "metrics":
                return {"metrics": snapshot_of(self.registry)}
            case "checks":
                return {"checks": self.checks}
            case "sessions" if self.result is not None:
                return {"result": self.result}
            case "sessions":
                return {"failure": "away"}
        return {}

    async def farewell(self) -> None:
        """Its last words, and the end of its process."""
        assert await self.channel.ask("farewell", metrics=snapshot_of(self.registry)) is not None
        await self.die()

    async def die(self) -> None:
        """The end of its process."""
        self.channel.close()
        await asyncio.wait_for(self.child.listening, LIMIT)
        self.child.channel.close()
        await asyncio.wait_for(self.listening, LIMIT)
        for channel in (self.channel, self.child.channel):
            for task in list(channel._tasks):
                task.cancel()
            await asyncio.gather(*channel._tasks, return_exceptions=True)


class Setting:
    """A crew and its workers."""

    def __init__(self) -> None:
        self.crew = Crew()
        self.workers: list[Worker] = []

    async def add(self) -> Worker:
        """One more worker."""
        worker = await Worker().start(len(self.workers))
        self.workers.append(worker)
        self.crew.current.append(worker.child)
        return worker

    async def read(self) -> Counted:
        """The metrics as they are."""
        return of_families(snapshot(await self.crew.metrics()))


@asynccontextmanager
async def crewed(count: int) -> AsyncIterator[Setting]:
    """So many workers."""
    setting = Setting()
    for _ in range(count):
        await setting.add()
    try:
        yield setting
    finally:
        for worker in setting.workers:
            await worker.die()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that does not come is not waited for."""
    monkeypatch.setitem(Channel.ask.__kwdefaults__, "limit", 0.2)


# Metrics


async def test_workers_are_added_up() -> None:
    """What all have counted, and what the master knows itself."""
    async with crewed(2) as setting:
        for worker in setting.workers:
            worker.requests.inc(3)
            worker.sessions.set(2)
        found = await setting.read()
        assert (found.value(REQUESTS), found.value("oidcgate_sessions")) == (6, 4)
        assert found.value("oidcgate_workers") == 2
        assert found.value("oidcgate_worker_exits_total") == 0
        assert found.by("oidcgate_reloads_total", "outcome") == {"ok": 0, "failed": 0}
        assert found.by("oidcgate_build_info", "version") == {__version__: 1}
        assert found.value("oidcgate_start_time_seconds") > 0
        assert found.value("oidcgate_process_cpu_seconds_total") > 0
        assert found.value("oidcgate_process_resident_memory_bytes") > 0


async def test_last_words() -> None:
    """What was counted after the last question is told at the end, and counted once."""
    async with crewed(2) as setting:
        one, other = setting.workers
        one.requests.inc(3)
        one.sessions.set(5)
        await setting.read()
        one.requests.inc(4)
        await one.farewell()
        await setting.crew.ended(one.child)
        other.requests.inc()
        found = await setting.read()
        assert (found.value(REQUESTS), found.value("oidcgate_sessions")) == (8, 0)
        await setting.crew.ended(one.child)  # the death and the dismissal may both tell
        assert (await setting.read()).value(REQUESTS) == 8


async def test_last_words_that_are_still_on_their_way() -> None:
    """The end of the process may be seen before what it said is read: that is waited for."""
    async with crewed(1) as setting:
        (worker,) = setting.workers
        worker.requests.inc(3)
        worker.channel.tell(say="farewell", metrics=snapshot_of(worker.registry))
        worker.channel.close()
        await setting.crew.ended(worker.child)
        assert (await setting.read()).value(REQUESTS) == 3


async def test_a_worker_that_was_killed() -> None:
    """What it told last stays."""
    async with crewed(2) as setting:
        victim, _ = setting.workers
        victim.requests.inc(3)
        before = await setting.read()
        victim.requests.inc(100)
        await victim.die()
        between = await setting.read()  # it has gone, and nobody has noticed
        await setting.crew.ended(victim.child)
        after = await setting.read()
        assert before.fell(before) == between.fell(before) == after.fell(between) == []
        assert after.value(REQUESTS) == 3
        assert after.value("oidcgate_workers") == 1


async def test_a_worker_that_drains() -> None:
    """It counts on while it finishes what it has."""
    async with crewed(1) as setting:
        (old,) = setting.workers
        old.requests.inc(3)
        new = await Worker().start(0)
        setting.workers.append(new)
        assert setting.crew.replace([new.child]) == [old.child]
        new.requests.inc(1)
        old.requests.inc(1)
        assert (await setting.read()).value(REQUESTS) == 5
        assert (await setting.read()).value("oidcgate_workers") == 1
        old.requests.inc(2)
        await old.farewell()
        await setting.crew.ended(old.child)
        assert (await setting.read()).value(REQUESTS) == 7
        assert setting.crew.leaving == []


async def test_one_that_ends_while_it_is_asked() -> None:
    """Whatever comes in whichever order, its numbers are there once, and the last ones count."""
    async with crewed(2) as setting:
        one, _ = setting.workers
        one.requests.inc(3)
        one.is_stuck = True
        reading = asyncio.create_task(setting.read())
        await until(lambda: has(one.asked, "metrics"))
        await one.farewell()
        await setting.crew.ended(one.child)
        assert (await reading).value(REQUESTS) == 3
        assert (await setting.read()).value(REQUESTS) == 3


async def has(things: list[str], wanted: str) -> bool:
    """Whether something is there."""
    return wanted in things


async def test_an_answer_that_comes_after_the_last_words() -> None:
    """It was given before them."""
    told = Told()
    await told({"say": "farewell", "metrics": [{"name": "last"}]})
    told.answered([{"name": "earlier"}])
    assert told.families == [{"name": "last"}]
    assert await told({"say": "nonsense"}) is None


async def test_a_worker_that_does_not_answer() -> None:
    """Its last numbers stand for it; the others are told as they are."""
    async with crewed(2) as setting:
        one, other = setting.workers
        one.requests.inc(3)
        before = await setting.read()
        one.is_stuck = True
        one.requests.inc(5)
        other.requests.inc(1)
        after = await setting.read()
        assert after.fell(before) == []
        assert after.value(REQUESTS) == 4


async def test_two_that_ask_at_once() -> None:
    """Each scrape is whole."""
    async with crewed(2) as setting:
        for worker in setting.workers:
            worker.requests.inc(2)
        found = await asyncio.gather(*(setting.read() for _ in range(5)))
        assert [each.value(REQUESTS) for each in found] == [4] * 5


async def test_nobody_there() -> None:
    """Without a worker there is still something to tell."""
    found = of_families(snapshot(await Crew().metrics()))
    assert found.value("oidcgate_workers") == 0
    assert found.has("oidcgate_build_info")
    assert await Crew().liveness() == {"master": "no worker is running"}
    assert await Crew().readiness() == {"worker": "none is running"}
    with pytest.raises(StoreUnavailable):
        await Crew().sessions(None)


# Alive, ready


async def test_who_is_silent_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that says nothing for too long; an answer, even a late one, makes it well again."""
    async with crewed(2) as setting:
        stuck, _ = setting.workers
        assert await setting.crew.liveness() == {"master": None, "worker 0": None, "worker 1": None}
        monkeypatch.setattr(crew_module, "SILENT", 1000.0)
        stuck.child.channel.heard -= 2000.0
        assert await setting.crew.liveness() == {
            "master": None,
            "worker 0": "has not answered for 2000 s",
            "worker 1": None,
        }
        stuck.is_stuck = True
        await setting.crew.ping()
        assert (await setting.crew.liveness())["worker 0"] is not None
        stuck.channel.tell(answers=10**6)  # to a question that nobody waits for any more

        async def is_well() -> bool:
            return (await setting.crew.liveness())["worker 0"] is None

        await until(is_well)


async def test_readiness() -> None:
    """The first that misses something speaks for all; one that does not answer is not ready."""
    async with crewed(2) as setting:
        one, other = setting.workers
        assert await setting.crew.readiness() == {"provider": None, "store": None}
        other.checks = {"provider": "not reached yet: x", "store": None}
        assert await setting.crew.readiness() == {"provider": "not reached yet: x", "store": None}
        one.is_stuck = True
        assert await setting.crew.readiness() == {
            "provider": "not reached yet: x",
            "store": None,
            "worker": "does not answer",
        }


async def test_sessions_are_asked_of_whoever_can_tell() -> None:
    """The store is one for all."""
    async with crewed(2) as setting:
        one, other = setting.workers
        other.result = [{"session": "a"}]
        assert await setting.crew.sessions(None) == [{"session": "a"}]
        one.result = True
        assert await setting.crew.sessions("a") is True


# Real processes


async def metrics(replica: Replica) -> Counted:
    """What Prometheus gets."""
    return await scraped(replica.admin)


async def requested(fleet: Fleet, count: int) -> None:
    """Strangers' requests, each on a connection of its own, so that every worker has some."""
    port = fleet.replicas[0].port
    raw = request("/api/v1/me", host="localhost:18443")
    for _ in range(count):
        assert (await fetch(port, raw)).status == 401


async def test_counters_never_fall() -> None:
    """Over a reload, a refused one, and a worker that is killed: each request is counted, each once."""
    async with Fleet() as fleet:
        (replica,) = fleet.replicas
        await requested(fleet, 12)
        first = await metrics(replica)
        assert first.value(REQUESTS, outcome="login") == 12

        old = replica.workers()
        assert b"reloaded" in await hangup(replica)
        await requested(fleet, 5)
        between = await metrics(replica)
        assert between.fell(first) == []
        await gone(old)
        second = await metrics(replica)
        assert second.fell(between) == []
        assert second.value(REQUESTS, outcome="login") == 17
        assert second.by("oidcgate_reloads_total", "outcome") == {"ok": 1, "failed": 0}
        assert second.value("oidcgate_worker_exits_total") == 0

        before = len(replica.said)
        replica.workers()[0].send_signal(signal.SIGKILL)
        await replica.hear(b"died with -9", after=before)
        await workers(replica, 2)
        third = await metrics(replica)
        assert third.fell(second) == []
        assert third.value(REQUESTS, outcome="login") == 17
        assert third.value("oidcgate_worker_exits_total") == 1

        assert b"refused" in await reload(fleet, session={"keys_file": "/nowhere/keys"})
        await requested(fleet, 3)
        last = await metrics(replica)
        assert last.fell(third) == []
        assert last.value(REQUESTS, outcome="login") == 20
        assert last.by("oidcgate_reloads_total", "outcome") == {"ok": 1, "failed": 1}
        assert last.value("oidcgate_workers") == 2


async def test_a_stuck_worker_is_replaced(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It shows as silent, is killed, and another one serves in its place; its numbers stay."""
    monkeypatch.setitem(Channel.ask.__kwdefaults__, "limit", 2.0)
    _, config = settings
    monkeypatch.setattr(master_module, "PING", 0.02)
    monkeypatch.setattr(master_module, "NOTICE", 0.0)
    master: Any = Master(lambda: config)
    await master._begin(config)
    try:
        (victim,) = master._crew.current
        await master._crew.metrics()
        victim.process.send_signal(signal.SIGSTOP)
        monkeypatch.setitem(Channel.ask.__kwdefaults__, "limit", 0.02)
        monkeypatch.setattr(crew_module, "SILENT", 0.2)
        monkeypatch.setattr(master_module, "STUCK", 10.0**6)

        async def is_silent() -> bool:
            return (await master._crew.liveness())["worker 0"] is not None

        await until(is_silent)
        monkeypatch.setattr(crew_module, "SILENT", 1000.0)
        monkeypatch.setattr(master_module, "STUCK", 0.2)
        assert await asyncio.wait_for(victim.process.wait(), LIMIT) == -signal.SIGKILL
        monkeypatch.setattr(master_module, "STUCK", 1000.0)
        monkeypatch.setitem(Channel.ask.__kwdefaults__, "limit", 2.0)

        async def is_replaced() -> bool:
            return [child.process.pid for child in master._crew.current] not in ([], [victim.process.pid])

        await until(is_replaced)
        assert master._crew.exits == 1
        assert (await master._crew.readiness())["store"] is None
        assert await master._crew.liveness() == {"master": None, "worker 0": None}
    finally:
        await master._finish()
    assert master._crew.current == []
