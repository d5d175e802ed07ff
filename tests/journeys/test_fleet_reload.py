"""Reloads under load: nobody who asks and nobody who has a terminal open notices."""

import asyncio
import itertools
import os
import signal
from collections import Counter
from dataclasses import dataclass, field

import pytest

from tests.journeys.fleets import ME, close_frame, cookie_of, websocket
from tests.support.browser import SCRIPT
from tests.support.fleet import AUTHORITY, Fleet, Replica
from tests.support.raw import Reply, Wire, connect, request

RELOADS = int(os.environ.get("OIDCGATE_RELOADS", "3"))  # 20 in `make soak`
CLIENTS, WEBSOCKETS = 200, 50
PAUSE = 1.0  # seconds between a client's requests


@dataclass
class Clients:
    """
    Clients that keep their connections, and websockets, while used as a context.

    ``seen`` counts: requests; connections that were closed before a byte of the answer, whose request was sent again
    as RFC 9110 §9.2.2 has it; failures; websockets closed for a restart, which were opened again.
    """

    replica: Replica
    cookies: list[str]
    seen: Counter[str] = field(default_factory=Counter)
    _over: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def __aenter__(self) -> "Clients":
        cookies = itertools.cycle(self.cookies)
        for number in range(CLIENTS):
            self._tasks.append(asyncio.create_task(self._client(number, next(cookies))))
        for number in range(WEBSOCKETS):
            self._tasks.append(asyncio.create_task(self._watch(number, next(cookies))))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._over.set()
        await asyncio.gather(*self._tasks)

    async def rest(self, seconds: float) -> None:
        """Wait, unless it is over before."""
        try:
            await asyncio.wait_for(self._over.wait(), seconds)
        except TimeoutError:
            return

    async def _client(self, number: int, cookie: str) -> None:
        await self.rest(number * PAUSE / CLIENTS)
        raw = request(ME, host=AUTHORITY, headers={**SCRIPT, "Cookie": cookie})
        wire: Wire | None = None
        while not self._over.is_set():
            self.seen["requests"] += 1
            reply = await exchange(wire, raw) if wire is not None else None
            if reply is None:
                self.seen["sent again"] += wire is not None
                wire = await connect(self.replica.port)
                reply = await exchange(wire, raw)
            if reply is None or reply.status != 200 or not reply.complete or b"@example.com" not in reply.body:
                self.seen["failed"] += 1
            assert wire is not None
            if reply is None or reply.value("Connection").lower() == "close":
                await wire.close()
                wire = None
            await self.rest(PAUSE)
        if wire is not None:
            await wire.close()

    async def _watch(self, number: int, cookie: str) -> None:
        while not self._over.is_set():
            wire = await websocket(self.replica, cookie, number)
            self.seen["opened"] += 1
            closing = asyncio.create_task(close_frame(wire))
            over = asyncio.create_task(self._over.wait())
            await asyncio.wait({closing, over}, return_when=asyncio.FIRST_COMPLETED)
            if closing.done():
                code, reason, _ = closing.result()
                self.seen[f"closed {code} {reason}"] += 1
            else:
                self.seen["open"] += 1
            for task in (closing, over):
                task.cancel()
            await asyncio.gather(closing, over, return_exceptions=True)
            await wire.close()


async def exchange(wire: Wire, raw: bytes) -> Reply | None:
    """A request and its answer; None if the connection ended before a byte of it."""
    try:
        await wire.send(raw)
        return await wire.reply()
    except ConnectionError:
        return None
    except asyncio.IncompleteReadError as error:
        return Reply(0, "", [], complete=False) if error.partial else None


@pytest.mark.timeout(600)
async def test_reloads_under_load() -> None:
    """200 keep-alive clients and 50 websockets through reloads: no request fails; websockets get the grace period."""
    async with Fleet() as fleet:
        [replica] = fleet.replicas
        cookies = [cookie_of(await fleet.browser(login), fleet) for login in ("alice", "bob", "alice", "bob")]
        async with Clients(replica, cookies) as clients:
            await clients.rest(2 * PAUSE)
            for _ in range(RELOADS):
                before, said = clients.seen["requests"], len(replica.said)
                replica.process.send_signal(signal.SIGHUP)
                await replica.hear(b"reloaded", after=said)
                while clients.seen["requests"] < before + CLIENTS:
                    await clients.rest(0.1)
        seen = clients.seen
        print(f"{RELOADS} reloads: {dict(seen)}")
        assert seen["failed"] == 0
        assert seen["open"] == WEBSOCKETS
        assert seen["opened"] == WEBSOCKETS + seen["closed 1012 the gate restarts"]
        assert fleet.ui is not None
        assert fleet.ui.expired_tokens == 0
