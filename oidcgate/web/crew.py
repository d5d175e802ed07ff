"""
The workers that there are, those that drain, and what those that have ended have counted.

Edge: the conversation with worker processes. Answers for all of them: are they alive, are they ready, what have they
counted, whose sessions are there.
"""

import asyncio
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from oidcgate import __version__
from oidcgate.errors import StoreUnavailable
from oidcgate.web.control import Channel, Message
from oidcgate.web.processes import Usage
from oidcgate.web.snapshot import Family, Sum, snapshot

SILENT = 30.0  # seconds without an answer after which a worker counts as stuck
LAST_WORDS = 1.0  # seconds for what a worker said before it ended


class Told:
    """What a worker has told of what it counts, at its end at the latest; nothing told before replaces that."""

    def __init__(self) -> None:
        self.families: list[Family] = []
        self.is_final = False

    async def __call__(self, message: Message) -> Message | None:
        """As ``control.OnMessage``."""
        if message.get("say") == "farewell":
            self.families, self.is_final = message["metrics"], True
        return None

    def answered(self, families: list[Family]) -> None:
        """What it told when it was asked."""
        if not self.is_final:
            self.families = families


@dataclass(slots=True)
class Child:
    """
    A worker process as the master sees it.

    Attributes:
        started: of the monotonic clock.
        pause: seconds before its successor starts, when it dies at once.
    """

    index: int
    process: asyncio.subprocess.Process
    channel: Channel
    listening: asyncio.Task[None]
    told: Told = field(default_factory=Told)
    started: float = field(default_factory=time.monotonic)
    wanted: bool = True
    pause: float = 0.0

    async def ask(self, say: str, **message: Any) -> Message | None:
        """As ``Channel.ask``."""
        return await self.channel.ask(say, **message)

    def silent_for(self) -> float:
        """Seconds since it last said anything; one that answers too late is slow, not stuck."""
        return time.monotonic() - self.channel.heard


class Crew:
    """
    All workers of a master.

    Attributes:
        current: those that serve.
        leaving: those that finish what they have.
        exits: how many died although they were wanted.
        reloads: by how they ended, ok or failed.
    """

    def __init__(self) -> None:
        self.current: list[Child] = []
        self.leaving: list[Child] = []
        self.exits = 0
        self.reloads = {"ok": 0, "failed": 0}
        self._past = Sum()
        self._usage = Usage()
        self._began = time.time()

    def replace(self, children: list[Child]) -> list[Child]:
        """Others serve from now on; those that did."""
        old, self.current = self.current, children
        self.leaving += old
        return old

    async def ended(self, child: Child) -> None:
        """A worker's process has ended: hear its last words, and keep what it counted."""
        await asyncio.wait([child.listening], timeout=LAST_WORDS)
        self.current = [other for other in self.current if other is not child]
        self.leaving = [other for other in self.leaving if other is not child]
        self._past.add(child.told.families, ended=True)
        child.told.families = []

    # Questions.

    async def liveness(self) -> dict[str, str | None]:
        """Each worker, and whether it answers; nothing asks them here, ``ping`` does."""
        found: dict[str, str | None] = {"master": None if self.current else "no worker is running"}
        for child in self.current:
            seconds = child.silent_for()
            found[f"worker {child.index}"] = f"has not answered for {seconds:.0f} s" if seconds > SILENT else None
        return found

    async def readiness(self) -> dict[str, str | None]:
        """What each worker misses, by name; the first that misses something speaks for all."""
        merged: dict[str, str | None] = {}
        for answer in await asyncio.gather(*(child.ask("checks") for child in self.current)):
            for name, wrong in (answer or {"checks": {"worker": "does not answer"}}).get("checks", {}).items():
                merged[name] = merged.get(name) or wrong
        return merged or {"worker": "none is running"}

    async def metrics(self) -> list[Metric]:
        """What all processes have counted since the start, also those that have ended."""
        await asyncio.gather(*(self._hear(child) for child in (*self.current, *self.leaving)))
        merged = self._past.copy()
        for child in (*self.current, *self.leaving):  # those of now: some may have ended meanwhile
            merged.add(child.told.families)
        merged.add(snapshot(self._own()))
        return merged.families()

    async def sessions(self, name: str | None) -> list[dict[str, Any]] | bool:
        """
        Everybody's sessions, or whether the named one was ended. Any worker can tell: the store is one for all.

        Raises:
            StoreUnavailable: nobody can.
        """
        for child in self.current:
            answer = await child.ask("sessions", name=name)
            if answer is not None and "result" in answer:
                result: list[dict[str, Any]] | bool = answer["result"]
                return result
        raise StoreUnavailable("no worker could tell")

    async def ping(self) -> None:
        """Let each worker show that it is alive."""
        await asyncio.gather(*(child.ask("ping") for child in self.current))

    @staticmethod
    async def _hear(child: Child) -> None:
        answer = await child.ask("metrics")
        if answer is not None and "metrics" in answer:
            child.told.answered(answer["metrics"])

    def _own(self) -> Iterator[Metric]:
        """The master's own."""
        yield GaugeMetricFamily("oidcgate_workers", "Worker processes that serve.", value=len(self.current))
        yield CounterMetricFamily("oidcgate_worker_exits", "Workers that died although wanted.", value=self.exits)
        reloads = CounterMetricFamily("oidcgate_reloads", "Reloads, by how they ended.", labels=["outcome"])
        for outcome, count in self.reloads.items():
            reloads.add_metric([outcome], count)
        yield reloads
        build = GaugeMetricFamily("oidcgate_build_info", "The version, as a label.", labels=["version"])
        build.add_metric([__version__], 1)
        yield build
        yield GaugeMetricFamily("oidcgate_start_time_seconds", "When the gate was started.", value=self._began)
        yield from self._usage([os.getpid(), *(child.process.pid for child in (*self.current, *self.leaving))])
