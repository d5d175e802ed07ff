"""What the tests of several processes do and look at, again and again."""

import asyncio
import base64
import contextlib
import itertools
import json
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import psutil

from oidcgate.session.lifecycle import LONGEST_BACKOFF
from tests.support.browser import NAVIGATION, SCRIPT, Browser
from tests.support.fleet import AUTHORITY, LIMIT, Fleet, Replica
from tests.support.raw import Reply, Wire, connect, fetch, request

ME = "/api/v1/me"
LOST = (ConnectionError, asyncio.IncompleteReadError)


async def eventually(condition: Callable[[], object], what: str, *, within: float = LIMIT) -> None:
    """Wait for something that happens by and by; the bound only ends tests that are stuck."""
    try:
        async with asyncio.timeout(within):
            while not condition():
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"waited in vain for {what}") from None


# Requests.


@dataclass(frozen=True)
class Answer:
    """What came of a request: status 0 if the connection broke; times in seconds since the epoch."""

    began: float
    ended: float
    status: int
    reply: Reply | None = None


async def ask(
    fleet: Fleet, cookie: str, target: str = ME, *, port: int | None = None, navigates: bool = False
) -> Answer:
    """A page's own call, or a click, on a connection of its own; redirects are not followed."""
    headers = {**(NAVIGATION if navigates else SCRIPT), "Cookie": cookie}
    began = time.time()
    raw = request(target, host=AUTHORITY, headers=headers)
    try:
        reply = await fetch(port or fleet.route(fleet.url) or 0, raw)
    except LOST:
        return Answer(began, time.time(), 0)
    return Answer(began, time.time(), reply.status if reply.complete else 0, reply)


async def ask_many(fleet: Fleet, cookie: str, count: int, target: str = ME) -> list[Answer]:
    """So many calls at once, over all replicas."""
    return list(await asyncio.gather(*(ask(fleet, cookie, target) for _ in range(count))))


def statuses(answers: Iterable[Answer]) -> Counter[int]:
    """How often each status came."""
    return Counter(answer.status for answer in answers)


@dataclass
class Load:
    """
    Clients that ask again and again, while used as a context: by turns a page's call and a click.

    Args:
        cookies: of each client.
        pause: seconds between an answer and the next request.
    """

    fleet: Fleet
    cookies: list[str]
    pause: float = 0.2
    answers: list[Answer] = field(default_factory=list)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _over: bool = False

    async def _client(self, cookie: str) -> None:
        for navigates in itertools.cycle((False, False, True)):
            self.answers.append(await ask(self.fleet, cookie, "/" if navigates else ME, navigates=navigates))
            if self._over:
                return
            await asyncio.sleep(self.pause)

    async def __aenter__(self) -> "Load":
        self._tasks = [asyncio.create_task(self._client(cookie)) for cookie in self.cookies]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._over = True
        await asyncio.gather(*self._tasks)

    def since(self, moment: float) -> list[Answer]:
        """Answers to what was asked after a moment."""
        return [answer for answer in self.answers if answer.began >= moment]

    async def serves_again(self) -> None:
        """Wait until each of the last answers, twice as many as clients, is a good one."""
        start, wanted = time.time(), 2 * len(self.cookies)

        def good() -> bool:
            last = self.since(start)[-wanted:]
            return len(last) == wanted and all(answer.status == 200 for answer in last)

        await eventually(good, "good answers only", within=LONGEST_BACKOFF + LIMIT)


# Processes.


def processes_that_answered(fleet: Fleet, target: str) -> set[str]:
    """Which worker processes' access logs have this target, by the name in their request ids."""
    found = set()
    for line in itertools.chain(*(replica.said for replica in fleet.replicas)):
        if b'"kind":"access"' in line and b'"path":"%b"' % target.encode() in line:
            found.add(json.loads(line)["id"].partition("-")[0])
    return found


def holder(replica: Replica, wire: Wire) -> int:
    """The process that has the other end of a connection."""
    ours = wire.writer.get_extra_info("sockname")[1]
    for worker in replica.workers():
        if any(one.raddr and one.raddr.port == ours for one in worker.net_connections("tcp")):
            return worker.pid
    raise AssertionError("no worker has the connection")


def caller(fleet: Fleet) -> psutil.Process:
    """The worker that waits for the issuer's answer."""
    port = int(fleet.issuer.url.split(":")[2].partition("/")[0])
    found = [
        worker
        for replica in fleet.replicas
        for worker in replica.workers()
        if any(one.raddr and one.raddr.port == port for one in worker.net_connections("tcp"))
    ]
    assert len(found) == 1, found
    return found[0]


# Tokens.


def expiry(fleet: Fleet) -> float:
    """When the token that reached the UI last runs out, in seconds since the epoch."""
    assert fleet.ui is not None
    return max(arrival.token_exp for arrival in fleet.ui.arrivals if arrival.token_exp is not None)


async def until(moment: float) -> None:
    """Sleep until then, in seconds since the epoch."""
    await asyncio.sleep(max(0.0, moment - time.time()))


def cookie_of(browser: Browser, fleet: Fleet) -> str:
    """A browser's Cookie header for the site."""
    return browser.cookie_header(fleet.url)


# Websockets.


async def websocket(replica: Replica, cookie: str, number: int = 0) -> Wire:
    """A websocket through one replica, as the UI's terminal opens one."""
    wire = await connect(replica.port)
    headers = {
        "Cookie": cookie,
        "Origin": f"http://{AUTHORITY}",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
    }
    target = f"/api/sockjs/000/{number:04}{os.urandom(4).hex()}/websocket"
    await wire.send(request(target, host=AUTHORITY, headers=headers))
    reply = await wire.head()
    assert reply.status == 101, reply.status
    return wire


async def close_frame(wire: Wire) -> tuple[int, str, float]:
    """Wait for the close frame that ends a websocket, however long: code, reason and when it came."""
    data = b""
    with contextlib.suppress(ConnectionError):
        while chunk := await wire.reader.read(65536):
            data += chunk
            match = re.search(rb"\x88([\x02-\x7d])", data)
            if match is not None and len(data) >= match.end() + match[1][0]:
                payload = data[match.end() : match.end() + match[1][0]]
                return int.from_bytes(payload[:2]), payload[2:].decode(), time.time()
    raise AssertionError(f"ended without a close frame: {data!r}")
