"""A worker process: one gate on sockets it was handed, and what it does when the master speaks, or is gone."""

import asyncio
import json
import logging
import os
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from oidcgate.errors import StoreUnavailable
from oidcgate.web.control import Channel, Message, OnMessage
from oidcgate.web.worker import Worker
from tests.support.browser import Browser
from tests.support.counted import Counted, of_families
from tests.support.raw import connect, fetch, request
from tests.support.stack import Stack
from tests.web.steps import MEMORY, ask, quick_stack
from tests.web.test_control import LIMIT, nothing


class Master:
    """The other side of a worker's conversation, in this process or another."""

    def __init__(self, channel: Channel, port: int) -> None:
        self.channel = channel
        self.port = port

    async def ask(self, say: str, **message: Any) -> Message:
        """Ask and have an answer."""
        answer = await self.channel.ask(say, limit=LIMIT, **message)
        assert answer is not None
        return {name: value for name, value in answer.items() if name != "answers"}


@asynccontextmanager
async def talking(ours: socket.socket, port: int, hear: OnMessage = nothing) -> AsyncIterator[Master]:
    """The conversation from the master's side; hangs up at the end."""
    channel = await Channel.over(ours, hear)
    listening = asyncio.create_task(channel.listen())
    try:
        yield Master(channel, port)
    finally:
        channel.close()
        await asyncio.wait_for(listening, LIMIT)


@asynccontextmanager
async def employed(hear: OnMessage = nothing) -> AsyncIterator[tuple[Master, "asyncio.Task[int]", Worker]]:
    """A worker in this process."""
    ours, theirs = socket.socketpair()
    sock = socket.create_server(("127.0.0.1", 0))
    sock.setblocking(False)
    worker = Worker([sock])
    running = asyncio.create_task(worker.run(theirs))
    try:
        async with talking(ours, sock.getsockname()[1], hear) as master:
            yield master, running, worker
        assert await asyncio.wait_for(running, LIMIT) == 0
    finally:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            loop.remove_signal_handler(number)
        sock.close()


@pytest.fixture(autouse=True)
def _logging() -> Any:
    """A worker sets logging up for its process: put it back."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield
    for handler in set(root.handlers) - set(before):
        root.removeHandler(handler)
    for handler in set(before) - set(root.handlers):
        root.addHandler(handler)
    root.setLevel(level)


def document(stack: Stack, **changes: Any) -> dict[str, Any]:
    """A configuration as the master sends it."""
    stack._config = {**stack._config, **MEMORY, "log": {"access": False}, **changes}
    dumped: dict[str, Any] = stack.configuration().model_dump(mode="json", exclude_unset=True)
    return json.loads(json.dumps(dumped))  # type: ignore[no-any-return]


async def status(master: Master, stack: Stack) -> int:
    """What the worker answers to a stranger."""
    return (await fetch(master.port, request("/api/v1/me", host=f"localhost:{stack.port}"))).status


async def signed_in(master: Master, stack: Stack) -> Browser:
    """A browser whose session the worker has."""
    browser = Browser(route=lambda url: master.port if url.startswith(stack.url) else None)
    assert (await browser.sign_in(stack.url + "/")).status == 200
    return browser


async def test_started_asked_and_stopped() -> None:
    """It serves once it was told what, tells its metrics and checks, and ends when it is told to."""
    async with quick_stack() as stack, employed() as (master, running, _worker):
        assert await master.ask("start", config=document(stack)) == {"ready": True}
        browser = await signed_in(master, stack)
        assert (await ask(browser, stack)).status == 200
        told = {family["name"]: family["samples"] for family in (await master.ask("metrics"))["metrics"]}
        assert told["oidcgate_sessions"] == [["oidcgate_sessions", {}, 1.0]]
        assert sum(value for *_, value in told["oidcgate_requests"]) >= 4
        assert (await master.ask("checks"))["checks"] == {"provider": None, "keys": None, "store": None}
        assert await master.ask("ping") == {}
        assert await master.ask("stop", drain=0.2) == {}
        assert await asyncio.wait_for(asyncio.shield(running), LIMIT) == 0


async def test_sessions_are_listed_and_ended() -> None:
    """For the master's admin listener."""
    async with quick_stack() as stack, employed() as (master, _running, worker):
        await master.ask("start", config=document(stack))
        browser = await signed_in(master, stack)
        (row,) = (await master.ask("sessions"))["result"]
        assert row["email"] == "alice@example.com"
        assert await master.ask("sessions", name="unknown") == {"result": False}
        assert await master.ask("sessions", name=row["session"]) == {"result": True}
        assert (await ask(browser, stack)).status == 401

        async def away(_name: str | None) -> Any:
            raise StoreUnavailable("out for a test")

        gate: Any = worker._gate
        gate.list_or_end = away
        assert await master.ask("sessions") == {"failure": "out for a test"}


async def test_questions_before_the_start() -> None:
    """Without a gate there is nothing to tell, and nonsense is no reason to die."""
    async with employed() as (master, _running, _worker):
        for say in ("leave", "metrics", "ping", "sessions", "checks", "nonsense"):
            assert await master.ask(say) == {}
        assert await master.ask("stop", drain=0) == {}


async def test_a_configuration_that_does_not_hold(tmp_path: Path) -> None:
    """What is wrong is said, by its key; the worker waits to be dismissed."""
    async with quick_stack() as stack, employed() as (master, running, _worker):
        tls = {"cert_file": str(tmp_path / "none.pem"), "key_file": str(tmp_path / "none.pem")}
        answer = await master.ask("start", config={**document(stack), "tls": tls})
        assert [path for path, _ in answer["problems"]] == ["tls.cert_file"]
        assert not running.done()


async def test_a_store_that_does_not_open(tmp_path: Path) -> None:
    """That is no mistake in the configuration, and is told in words."""
    (tmp_path / "file").touch()
    async with quick_stack() as stack, employed() as (master, _running, _worker):
        keys = tmp_path / "keys"
        keys.touch(0o600)
        keys.write_text("A" * 43)
        session = {"store": f"sqlite:{tmp_path}/file/sessions.db", "keys_file": str(keys)}
        answer = await master.ask("start", config={**document(stack), "session": session})
        assert answer["failure"].startswith("sqlite: ")


async def test_the_master_has_gone() -> None:
    """A worker does not outlive it."""
    async with quick_stack() as stack, employed() as (master, running, _worker):
        await master.ask("start", config=document(stack))
        assert await status(master, stack) == 401
        master.channel.close()
        assert await asyncio.wait_for(asyncio.shield(running), LIMIT) == 0


async def test_nobody_new() -> None:
    """Told to leave, it accepts no connection and still answers on those it has."""
    async with quick_stack() as stack, employed() as (master, _running, _worker):
        await master.ask("start", config=document(stack))
        wire = await connect(master.port)
        get = request("/api/v1/me", host=f"localhost:{stack.port}")
        await wire.send(get)
        assert (await wire.reply()).status == 401
        assert await master.ask("leave") == {}
        with pytest.raises(ConnectionRefusedError):
            await connect(master.port)
        await wire.send(get)
        assert (await wire.reply()).status == 401
        await wire.close()
        assert await master.ask("stop", drain=0.2) == {}


async def test_a_reload_leaves_connections_their_time() -> None:
    """A patient stop waits for idle connections to leave by themselves."""
    async with quick_stack() as stack, employed() as (master, running, _worker):
        await master.ask("start", config=document(stack))
        assert await master.ask("stop", drain=0.1, patient=True) == {}
        assert await asyncio.wait_for(asyncio.shield(running), LIMIT) == 0


async def test_last_words() -> None:
    """All that was counted is told at the very end: what drained, what was cut, and websockets that were closed."""
    last: list[Counted] = []

    async def hear(message: Message) -> Message | None:
        if message["say"] == "farewell":
            last.append(of_families(message["metrics"]))
        return None

    async with quick_stack() as stack, employed(hear) as (master, running, worker):
        await master.ask("start", config=document(stack))
        browser = await signed_in(master, stack)
        gate: Any = worker._gate
        before = of_families((await master.ask("metrics"))["metrics"])
        host, cookie = f"localhost:{stack.port}", {"Cookie": browser.cookie_header(stack.url)}
        socket_headers = {
            **cookie,
            "Origin": stack.url,
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        }
        terminal, stream = await connect(master.port), await connect(master.port)
        await terminal.send(request("/api/sockjs/000/abcdefgh/websocket", host=host, headers=socket_headers))
        assert (await terminal.head()).status == 101
        follow = {**cookie, "Sec-Fetch-Site": "same-origin"}
        await stream.send(request("/api/v1/events", host=host, headers=follow))
        assert (await stream.head()).status == 200
        assert len(gate.connections()) >= 2
        assert await master.ask("stop", drain=0.2) == {}
        assert await asyncio.wait_for(asyncio.shield(running), LIMIT) == 0
        await terminal.close()
        await stream.close()
    (told,) = last
    assert told.fell(before) == []
    found = told.since(before, "oidcgate_requests_total", "outcome")
    assert found == {"websocket": 1, "aborted": 1}


@asynccontextmanager
async def process(port_of: socket.socket) -> AsyncIterator[tuple[Master, Process]]:
    """A worker as the program it is."""
    ours, theirs = socket.socketpair()
    descriptors = (theirs.fileno(), port_of.fileno())
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "oidcgate", "worker", *map(str, descriptors), pass_fds=descriptors, stdin=DEVNULL
    )
    theirs.close()
    try:
        async with talking(ours, port_of.getsockname()[1]) as master:
            yield master, child
        assert await asyncio.wait_for(child.wait(), LIMIT) == 0
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


async def test_signals_are_the_masters_business() -> None:
    """A Ctrl-C in the terminal reaches all processes at once: workers go on until the master says what to do."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        async with quick_stack() as stack, process(sock) as (master, child):
            assert await master.ask("start", config=document(stack)) == {"ready": True}
            for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
                os.kill(child.pid, number)
            assert await status(master, stack) == 401
            assert child.returncode is None
            await master.ask("stop", drain=0.2)


async def test_a_master_that_was_killed() -> None:
    """The end of the conversation is the end of the worker, with 0: it has done nothing wrong."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        async with quick_stack() as stack, process(sock) as (master, child):
            assert await master.ask("start", config=document(stack)) == {"ready": True}
            master.channel.close()
            assert await asyncio.wait_for(child.wait(), LIMIT) == 0
