"""Who is signed in, from where, with what open: told by each process, read from the store."""

import asyncio
import json
import logging
from typing import Any

import pytest

from oidcgate.errors import StoreUnavailable
from oidcgate.web import register as register_module
from oidcgate.web.register import PUBLISH_EVERY, RECORD_LIFE, STREAM_AFTER, Listed, Register
from tests.support.raw import Wire, connect, request
from tests.support.stack import Clock, Stack
from tests.web.steps import ask, clocked, gate_of, intercept_store, lives, quick_stack, the_live
from tests.web.test_sessions import LONG_TOKENS, open_stream, open_websocket

PUBLISH_NOW = 0.0


def register_of(stack: Stack, clock: Clock | None = None) -> Any:
    """The gate's register, going by a clock of the test's."""
    register: Any = gate_of(stack).register
    if clock is not None:
        register._clock = clock
    return register


async def publish(stack: Stack) -> None:
    """Let the gate say what is open, however short a time ago it last did."""
    register_of(stack)._next = PUBLISH_NOW
    await gate_of(stack).register.publish(gate_of(stack).connections())


async def listed(stack: Stack) -> list[Listed]:
    """The browsers of the only person who is signed in."""
    return await gate_of(stack).register.of_grant(lives(stack)[0].session.grant_key)


def opened(found: list[Listed]) -> list[tuple[str, str]]:
    """What the sessions have open."""
    return [(stream.kind, stream.path) for one in found for stream in one.streams]


# Telling


async def test_terminals_and_streams_are_told_without_their_secrets() -> None:
    """A terminal's id is a bearer secret: it is neither listed nor stored; a stream's query is not, either."""
    async with clocked(issuer=LONG_TOKENS) as (stack, clock):
        register_of(stack, clock)
        browser = await stack.browser()
        stream, socket = await open_stream(browser, stack), await open_websocket(browser, stack)
        clock.ahead += STREAM_AFTER + 1
        await publish(stack)
        assert opened(await listed(stack)) == [("stream", "/api/v1/events"), ("terminal", "/api/sockjs/…")]
        (key,) = await gate_of(stack).store.keys("open:")
        stored = await gate_of(stack).store.get(key)
        assert stored is not None
        assert b"events" not in stored.value
        await stream.close()
        await socket.close()


async def test_an_endless_path_is_not_told_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients choose paths, and administrators read a list of all of them."""
    monkeypatch.setattr(register_module, "LONGEST_PATH", 8)
    async with clocked(issuer=LONG_TOKENS) as (stack, clock):
        register_of(stack, clock)
        browser = await stack.browser()
        stream, socket = await open_stream(browser, stack), await open_websocket(browser, stack)
        clock.ahead += STREAM_AFTER + 1
        await publish(stack)
        assert opened(await listed(stack)) == [("stream", "/api/v1/"), ("terminal", "/api/soc")]
        await stream.close()
        await socket.close()


async def test_short_replies_are_no_streams() -> None:
    """What is just being answered is not worth a line."""
    async with clocked(issuer=LONG_TOKENS) as (stack, clock):
        register_of(stack, clock)
        browser = await stack.browser()
        stream = await open_stream(browser, stack)
        await publish(stack)
        assert opened(await listed(stack)) == []
        assert await gate_of(stack).store.keys("open:") == []
        await stream.close()


async def test_what_closes_is_told_at_the_next_round() -> None:
    """The list shrinks again, and an empty list is no record."""
    async with quick_stack() as stack:
        browser = await stack.browser()
        socket = await open_websocket(browser, stack)
        await publish(stack)
        assert len(opened(await listed(stack))) == 1
        await socket.close()
        async with asyncio.timeout(10):
            while any(connection.writer_of_reply for connection in gate_of(stack).connections()):
                await asyncio.sleep(0)
        await publish(stack)
        assert await gate_of(stack).store.keys("open:") == []


async def test_only_every_few_seconds() -> None:
    """Nothing is written a second time at once, nor by those who have nothing open."""
    async with clocked(issuer=LONG_TOKENS) as (stack, clock):
        register = register_of(stack, clock)
        browser = await stack.browser()
        register._store = store = intercept_store(stack)
        socket = await open_websocket(browser, stack)
        await publish(stack)
        for _ in range(3):
            await register.publish(gate_of(stack).connections())
        assert store.events == ["put open"]
        clock.ahead += PUBLISH_EVERY
        await register.publish(gate_of(stack).connections())
        assert store.events == ["put open"] * 2
        await socket.close()


async def test_a_dead_process_is_forgotten(stack: Stack) -> None:
    """Its records run out by themselves, soon after it would have renewed them."""
    assert PUBLISH_EVERY * 2 < RECORD_LIFE
    browser = await stack.browser()
    clock = Clock()
    store: Any = gate_of(stack).store._inner
    store._clock = clock
    socket = await open_websocket(browser, stack)
    await publish(stack)
    clock.ahead += RECORD_LIFE
    assert opened(await listed(stack)) == []
    await socket.close()


async def test_an_outage_of_the_store_is_made_up_for() -> None:
    """What could not be said is said at a later round."""
    async with clocked(issuer=LONG_TOKENS) as (stack, clock):
        register = register_of(stack, clock)
        browser = await stack.browser()
        register._store = store = intercept_store(stack)
        socket = await open_websocket(browser, stack)
        store.is_down = True
        with pytest.raises(StoreUnavailable):
            await publish(stack)
        await gate_of(stack).look_after()  # takes no harm
        store.is_down = False
        clock.ahead += PUBLISH_EVERY
        await gate_of(stack).look_after()
        assert len(opened(await listed(stack))) == 1
        await socket.close()


async def test_requests_without_a_session_are_nobodys(stack: Stack) -> None:
    """A public path's stream belongs to no list."""
    wire: Wire = await connect(stack.port)
    await wire.send(request("/api/v1/me", host=f"localhost:{stack.port}"))
    assert (await wire.reply()).status == 401
    await publish(stack)
    assert await gate_of(stack).store.keys("open:") == []
    await wire.close()


# Reading


async def test_several_processes_add_up(stack: Stack) -> None:
    """What each has open is one list, the oldest first."""
    await stack.browser()
    live, gate = the_live(stack), gate_of(stack)
    for process, since in (("aaa", 20.0), ("bbb", 10.0)):
        other: Any = Register(gate.store, register_of(stack)._ring, gate.sessions, gate.grants, process=process)
        await other._write(live.session.key, [register_module.OpenStream("stream", f"/{process}", since)])
    assert opened(await listed(stack)) == [("stream", "/bbb"), ("stream", "/aaa")]


async def test_moved_records_are_refused(stack: Stack, caplog: pytest.LogCaptureFixture) -> None:
    """What somebody has open cannot be shown as somebody else's by who can write to the store."""
    first, _other = await stack.browser(), await stack.browser("bob")
    socket = await open_websocket(first, stack)
    await publish(stack)
    store = gate_of(stack).store
    (key,) = await store.keys("open:")
    stored = await store.get(key)
    assert stored is not None
    bob = next(live for live in lives(stack) if "bob" in live.user)
    await store.put(f"open:{bob.session.key}:x", stored.value, life=100)
    with caplog.at_level(logging.WARNING):
        assert opened(await gate_of(stack).register.of_grant(bob.session.grant_key)) == []
    assert "a record of open streams cannot be opened" in caplog.text
    await socket.close()


async def test_a_record_that_runs_out_while_the_list_is_read(stack: Stack) -> None:
    """It was there a moment ago: no error."""
    browser = await stack.browser()
    socket = await open_websocket(browser, stack)
    await publish(stack)
    store: Any = gate_of(stack).store
    (key,) = await store.keys("open:")
    whole = store.get

    async def get(wanted: str) -> Any:
        return None if wanted == key else await whole(wanted)

    store.get = get
    assert opened(await listed(stack)) == []
    await socket.close()


async def test_the_newest_first(stack: Stack) -> None:
    """One person's, and everybody's."""
    for login in ("alice", "bob", "alice"):
        await stack.browser(login)
    own = await listed(stack)
    everybody = await gate_of(stack).register.everybody()
    assert [one.claims.preferred_username for one in own] == ["alice"] * 2
    assert [one.claims.preferred_username for one in everybody] == ["alice", "bob", "alice"]
    for found in (own, everybody):
        started = [one.session.started for one in found]
        assert started == sorted(started, reverse=True)


async def test_what_is_half_gone_is_left_out(stack: Stack) -> None:
    """A session without its record, one without its grant, and a person without sessions."""
    for login in ("alice", "alice", "bob"):
        await stack.browser(login)
    gate, register = gate_of(stack), gate_of(stack).register
    alice = [live for live in lives(stack) if "alice" in live.user]
    (bob,) = [live for live in lives(stack) if "bob" in live.user]
    await gate.store.delete(alice[0].session.key)
    await gate.store.delete(bob.session.grant_key)
    assert [one.session.key for one in await register.everybody()] == [alice[1].session.key]
    assert [one.session.key for one in await register.of_grant(alice[0].session.grant_key)] == [alice[1].session.key]
    assert await register.of_grant(bob.session.grant_key) == []
    await gate.store.put("session:x", b"nonsense", life=100)
    assert len(await register.everybody()) == 1


async def test_a_list_has_an_end(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list is for people, and not for reading all that a large store holds."""
    monkeypatch.setattr(register_module, "MOST_LISTED", 2)
    for _ in range(3):
        await stack.browser()
    assert len(await gate_of(stack).register.everybody()) == 2


async def test_listing_is_no_use(stack: Stack) -> None:
    """Looking at a session does not keep it alive."""
    browser = await stack.browser()
    key = the_live(stack).session.key
    before = await gate_of(stack).store.get(key)
    await gate_of(stack).register.everybody()
    assert await gate_of(stack).store.get(key) == before
    assert (await ask(browser, stack)).status == 200


async def test_the_admins_list_is_plain_data(stack: Stack) -> None:
    """It can be sent as JSON, and holds neither tokens nor cookies."""
    browser = await stack.browser()
    text = json.dumps(await gate_of(stack).list_or_end(None))
    live = the_live(stack)
    assert "alice@example.com" in text
    for secret in (browser.cookie("oidcgate"), live.shared.grant.id_token, live.session.csrf, live.session.key):
        assert secret is not None
        assert secret not in text
