"""Sessions: how long they last, how they end, and what an outage of the store does to them."""

import asyncio
import base64
import os
import re
import socket
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from oidcgate.cli.secret import new_key
from oidcgate.demo.issuer import DEMO_PEOPLE
from oidcgate.session.lifecycle import SEEN_WINDOW
from oidcgate.session.session import session_key
from oidcgate.web.live import Live
from oidcgate.web.server import GateServer
from oidcgate.web.sessions import FORGET_AFTER, OUTAGE_WINDOW
from tests.support.browser import NAVIGATION, SCRIPT, Browser
from tests.support.raw import Wire, connect, request
from tests.support.stack import Stack
from tests.web.steps import (
    ask,
    clocked,
    gate_of,
    intercept_store,
    is_signed_in,
    lives,
    look_again,
    quick_stack,
    the_live,
    turn,
)

HOUR = 3600
LONG_TOKENS = {"id_token_life": 24 * HOUR}


async def open_stream(browser: Browser, stack: Stack) -> Wire:
    """Follow a log; its first bytes have come."""
    wire = await connect(stack.port)
    headers = {**SCRIPT, "Cookie": browser.cookie_header(stack.url), "Accept": "text/event-stream"}
    await wire.send(request("/api/v1/events", host=f"localhost:{stack.port}", headers=headers))
    assert (await wire.head()).status == 200
    return wire


async def open_websocket(browser: Browser, stack: Stack) -> Wire:
    """A SockJS websocket, as the UI's terminal opens one."""
    wire = await connect(stack.port)
    headers = {
        "Cookie": browser.cookie_header(stack.url),
        "Origin": stack.url,
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
    }
    await wire.send(request("/api/sockjs/000/abcdefgh/websocket", host=f"localhost:{stack.port}", headers=headers))
    assert (await wire.head()).status == 101
    return wire


async def closed_with(wire: Wire) -> tuple[int, str]:
    """Code and reason of the close frame that ends a websocket."""
    data = await wire.rest()
    match = re.search(rb"\x88([\x02-\x7d])", data)
    assert match is not None, data
    payload = data[match.end() : match.end() + match[1][0]]
    return int.from_bytes(payload[:2]), payload[2:].decode()


# Limits


async def test_the_idle_limit_ends_a_session() -> None:
    """Somebody who comes back after the idle limit signs in again; use in between extends it."""
    async with clocked(issuer=LONG_TOKENS, config={"session": {"idle": "1h"}}) as (stack, clock):
        browser = await stack.browser()
        for _ in range(3):
            turn(stack, clock, HOUR - 60)
            assert (await ask(browser, stack)).status == 200
        turn(stack, clock, HOUR)
        assert (await ask(browser, stack)).status == 401
        assert not lives(stack)


async def test_the_absolute_limit_ends_a_session_in_use() -> None:
    """However busy somebody is, after the longest life they sign in again."""
    async with clocked(issuer=LONG_TOKENS, config={"session": {"idle": "1h", "lifetime": "3h"}}) as (stack, clock):
        browser = await stack.browser()
        for _ in range(5):
            turn(stack, clock, HOUR / 2)
            assert (await ask(browser, stack)).status == 200
        turn(stack, clock, HOUR / 2)
        assert (await ask(browser, stack)).status == 401


async def test_the_hot_path_never_outlives_the_absolute_limit() -> None:
    """A session is fresh at most until it ends."""
    async with quick_stack(config={"session": {"lifetime": "3s", "idle": "3s"}}) as stack:
        await stack.browser()
        live = the_live(stack)
        assert live.fresh_until <= live.session.ends


@pytest.mark.parametrize("is_used", [False, True], ids=["idle", "absolute"])
async def test_limits_end_open_streams_and_websockets(is_used: bool) -> None:
    """The per-second work ends a session that is over, and with it what is open."""
    limits = {"idle": "1h", "lifetime": "1h" if is_used else "12h"}
    async with clocked(issuer=LONG_TOKENS, config={"session": limits}) as (stack, clock):
        browser = await stack.browser()
        stream, socket = await open_stream(browser, stack), await open_websocket(browser, stack)
        turn(stack, clock, HOUR + 1)
        if is_used:
            the_live(stack).use()
            the_live(stack).seen = clock()
        await gate_of(stack).look_after()
        code, reason = await closed_with(socket)
        assert code == 4001
        assert reason.startswith("Session ended")
        assert b"\r\n0\r\n\r\n" not in await stream.rest()  # cut, not completed
        await stream.close()
        await socket.close()
        assert not lives(stack)


async def test_use_in_another_process_counts() -> None:
    """Before a session is ended for idleness the store is asked whether others have seen it."""
    async with clocked(issuer=LONG_TOKENS, config={"session": {"idle": "1h"}}) as (stack, clock):
        browser = await stack.browser()
        turn(stack, clock, HOUR + 1)
        live = the_live(stack)
        await gate_of(stack).sessions._write(live.session.used(clock() - 5))
        await gate_of(stack).look_after()
        assert (await ask(browser, stack)).status == 200


async def test_looking_after_leaves_good_sessions_alone(stack: Stack) -> None:
    """Nothing happens to somebody who is signed in and does nothing."""
    browser = await stack.browser()
    handle = browser.cookie("oidcgate")
    for _ in range(3):
        await gate_of(stack).look_after()
    assert (await ask(browser, stack)).status == 200
    assert browser.cookie("oidcgate") == handle


async def test_typing_into_a_terminal_is_use() -> None:
    """A websocket's bytes from the browser keep the session alive."""
    async with clocked(issuer=LONG_TOKENS, config={"session": {"idle": "1h"}}) as (stack, _clock):
        browser = await stack.browser()
        socket = await open_websocket(browser, stack)
        live = the_live(stack)
        live.seen = 0.0
        await socket.send(b"\x81\x80\x00\x00\x00\x00")
        async with asyncio.timeout(10):
            while not live.seen:
                await asyncio.sleep(0)
        await socket.close()


async def test_a_websocket_keeps_tokens_renewed() -> None:
    """While one is open its session counts as in use, however long ago the last request was."""
    async with clocked(issuer={"id_token_life": HOUR}, config={"session": {"idle": "12h"}}) as (stack, clock):
        browser = await stack.browser()
        socket = await open_websocket(browser, stack)
        calls = stack.issuer.calls["token"]
        turn(stack, clock, HOUR - 60)
        await gate_of(stack).look_after()
        await asyncio.wait_for(stack.issuer.wait_for("token", calls + 1), 10)
        await socket.close()


async def test_a_websocket_ends_when_its_tokens_cannot_be_renewed() -> None:
    """The account was deleted: at the token's end the terminal closes."""
    async with clocked(issuer={"id_token_life": HOUR}, config={"session": {"idle": "12h"}}) as (stack, clock):
        browser = await stack.browser()
        socket = await open_websocket(browser, stack)
        stack.issuer.refresh_tokens.revoke("demo-0001")
        turn(stack, clock, HOUR - 60)
        await gate_of(stack).look_after()
        for task in list(gate_of(stack).grants._tasks):
            await task
        turn(stack, clock, 120)
        await gate_of(stack).look_after()
        assert (await closed_with(socket))[0] == 4001
        await socket.close()


async def test_a_session_that_is_not_used_leaves_memory_only() -> None:
    """After a while it is only in the store, and comes back from there."""
    async with clocked(issuer=LONG_TOKENS) as (stack, clock):
        browser = await stack.browser()
        turn(stack, clock, FORGET_AFTER + 1)
        await gate_of(stack).look_after()
        assert len(gate_of(stack).sessions) == 0
        assert (await ask(browser, stack)).status == 200
        assert len(gate_of(stack).sessions) == 1


async def test_use_is_written_to_the_store_now_and_then() -> None:
    """Another process learns that the session is used, without a write a request."""
    async with clocked(issuer=LONG_TOKENS) as (stack, clock):
        browser = await stack.browser()
        store = intercept_store(stack)
        for _ in range(12):
            turn(stack, clock, 10)
            assert (await ask(browser, stack)).status == 200
        assert store.events == ["put session"] * 2


# People and their browsers


async def test_max_per_user_ends_the_oldest_browser() -> None:
    """One browser too many ends the session that began first, and what it has open."""
    async with quick_stack(config={"session": {"max_per_user": 2}}) as stack:
        first = await stack.browser()
        socket = await open_websocket(first, stack)
        second, other = await stack.browser(), await stack.browser("bob")
        third = await stack.browser()
        assert (await closed_with(socket))[0] == 4001
        await socket.close()
        assert [await is_signed_in(b, stack) for b in (first, second, third, other)] == [False, True, True, True]


async def test_sign_out_of_one_browser_keeps_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """The grant goes with its last session, and only then its refresh token is given back."""
    async with quick_stack() as stack:
        revoked: list[str] = []

        async def revoke(token: str) -> None:
            revoked.append(token)

        monkeypatch.setattr(gate_of(stack).providers.by_id(""), "revoke", revoke)
        first, second = await stack.browser(), await stack.browser()
        key = lives(stack)[0].shared.grant.key
        socket = await open_websocket(first, stack)
        await first.submit(await first.open(f"{stack.url}/oauth2/sign_out"))
        assert (await closed_with(socket))[0] == 4001
        await socket.close()
        assert not await is_signed_in(first, stack)
        assert await is_signed_in(second, stack)
        assert not revoked
        assert await gate_of(stack).store.get(key) is not None
        await second.submit(await second.open(f"{stack.url}/oauth2/sign_out"))
        await asyncio.gather(*gate_of(stack).grants._tasks)
        assert len(revoked) == 1
        assert await gate_of(stack).store.get(key) is None


async def test_a_session_ended_by_another_process_ends_here() -> None:
    """The record is gone from the store: the next look ends the session and its terminal."""
    async with clocked(issuer=LONG_TOKENS) as (stack, clock):
        browser = await stack.browser()
        socket = await open_websocket(browser, stack)
        await gate_of(stack).store.delete(the_live(stack).session.key)
        turn(stack, clock, 6)
        await gate_of(stack).look_after()
        assert (await closed_with(socket))[0] == 4001
        await socket.close()
        assert not await is_signed_in(browser, stack)


async def test_a_grant_ended_by_another_process_ends_its_sessions_here(stack: Stack) -> None:
    """Without tokens there is no session."""
    browser = await stack.browser()
    await gate_of(stack).store.delete(the_live(stack).shared.grant.key)
    look_again(stack, at_the_store=True)
    assert (await ask(browser, stack)).status == 401
    assert not await is_signed_in(browser, stack)


async def test_somebody_who_is_no_longer_admitted_loses_open_streams() -> None:
    """A renewal that takes a group away ends what is open, not only what comes next."""
    async with clocked(
        issuer={"id_token_life": HOUR},
        site={"access": {"groups": ["platform-admins"]}},
        config={"session": {"idle": "12h"}},
    ) as (stack, clock):
        browser = await stack.browser()
        socket = await open_websocket(browser, stack)
        stack.issuer.replace_person(replace(DEMO_PEOPLE[0], groups=("others",)))
        turn(stack, clock, HOUR - 60)
        await gate_of(stack).look_after()
        for task in list(gate_of(stack).grants._tasks):
            await task
        await gate_of(stack).look_after()
        assert (await closed_with(socket))[0] == 4001
        await socket.close()
        assert (await ask(browser, stack)).status == 403


async def test_a_session_belongs_to_its_site() -> None:
    """A handle taken to another site of the same gate is none there: it holds another site's token."""
    async with quick_stack() as stack:
        await stack.stop_gate()
        other = {"url": "http://127.0.0.1:1", "upstream": {"url": stack.ui.url if stack.ui else ""}}
        site = {"url": stack.url, "upstream": {"url": stack.ui.url if stack.ui else "", "ui": "plain"}}
        stack._config = {**stack._config, "sites": [site, other]}
        await stack.start_gate()
        browser = await stack.browser()
        headers = {**SCRIPT, "Host": "127.0.0.1:1"}
        for _ in range(3):  # also by the quick way
            assert (await ask(browser, stack)).status == 200
            assert (await browser.send("GET", f"{stack.url}/api/v1/me", headers)).status == 401


# Cookies


@pytest.mark.parametrize(
    "shape",
    [
        "oidcgate={0}; oidcgate={0}",
        "oidcgate={0}; oidcgate=x",
        "oidcgate={0}; OIDCGATE=x",
        'oidcgate="{0}"',
        "oidcgate={0}=",
        "oidcgate={0}x",
        "oidcgate=",
        "oidcgate",
        "oidcgate={0}, oidcgate=x",
    ],
)
async def test_a_cookie_that_could_be_read_in_two_ways_is_none(stack: Stack, shape: str) -> None:
    """Twice, shadowed, quoted or malformed: no session."""
    browser = await stack.browser()
    cookie = shape.format(browser.cookie("oidcgate"))
    assert (await Browser().fetch(f"{stack.url}/api/v1/me", Cookie=cookie)).status == 401


async def test_other_cookies_do_not_matter(stack: Stack) -> None:
    """A session is found among whatever else the browser keeps for the host."""
    browser = await stack.browser()
    cookie = f"a=b; oidcgate2=x;  oidcgate={browser.cookie('oidcgate')} ; c=d"
    assert (await Browser().fetch(f"{stack.url}/api/v1/me", Cookie=cookie)).status == 200


# Restarts and what lies in the store


async def test_nobody_signs_in_again_after_a_restart(stack: Stack) -> None:
    """SQLite keeps sessions, and the keys beside it open them."""
    browsers = [await stack.browser(), await stack.browser(), await stack.browser("bob")]
    await stack.stop_gate()
    await stack.start_gate()
    assert [(await ask(browser, stack)).status for browser in browsers] == [200, 200, 200]
    assert stack.issuer.calls["token"] == 3
    assert len({id(live.shared) for live in lives(stack)}) == 2


async def test_a_restart_with_another_key_ring_signs_out(stack: Stack) -> None:
    """Records that do not open are no sessions, and nothing breaks."""
    browser = await stack.browser()
    await stack.stop_gate()
    (stack.folder / "state" / "keys").unlink()
    await stack.start_gate()
    assert (await ask(browser, stack)).status == 401
    assert (await browser.sign_in(stack.url + "/")).status == 200


async def test_requests_that_load_a_session_at_once_share_it(stack: Stack) -> None:
    """After a restart a page's burst of requests makes one session of a handle."""
    browser = await stack.browser()
    await stack.stop_gate()
    await stack.start_gate()
    pages = await asyncio.gather(*(ask(browser, stack) for _ in range(10)))
    assert {page.status for page in pages} == {200}
    assert len(lives(stack)) == 1


def stored_bytes(folder: Path) -> bytes:
    """Everything that the store has on disk."""
    return b"".join(path.read_bytes() for path in (folder / "state").glob("sessions.db*"))


async def test_the_file_tells_nothing(stack: Stack) -> None:
    """No token, cookie, address or name can be read in the store's files."""
    browser = await stack.browser()
    assert (await ask(browser, stack)).status == 200
    live = the_live(stack)
    grant = live.shared.grant
    data = stored_bytes(stack.folder)
    secrets = [
        *grant.id_token.split("."),
        grant.refresh_token or "",
        live.handle.decode(),
        live.session.csrf,
        "alice",
        "example.com",
        "platform-admins",
        grant.claims.subject,
        grant.issuer,
        "127.0.0.1",
    ]
    assert [secret for secret in secrets if secret and secret.encode() in data] == []


async def test_swapped_records_are_refused(stack: Stack) -> None:
    """Somebody who can write to the file cannot give one person another's session or tokens."""
    alice, bob = await stack.browser(), await stack.browser("bob")
    await stack.stop_gate()
    for kind in ("session", "grant"):
        with sqlite3.connect(stack.folder / "state" / "sessions.db") as database:
            rows = database.execute("SELECT key, value FROM item WHERE key LIKE ?", (f"{kind}:%",)).fetchall()
            (first, one), (second, two) = rows
            database.execute("UPDATE item SET value = ? WHERE key = ?", (two, first))
            database.execute("UPDATE item SET value = ? WHERE key = ?", (one, second))
        database.close()
        await stack.start_gate()
        assert (await ask(alice, stack)).status == 401
        assert (await ask(bob, stack)).status == 401
        await stack.stop_gate()
        with sqlite3.connect(stack.folder / "state" / "sessions.db") as database:
            database.executemany("UPDATE item SET value = ? WHERE key = ?", [(one, first), (two, second)])
        database.close()
    await stack.start_gate()
    assert (await ask(alice, stack)).status == 200


async def test_a_session_that_its_grant_does_not_name_is_none(stack: Stack) -> None:
    """An old session record that was kept aside does not come back after a sign-out."""
    browser, _other = await stack.browser(), await stack.browser()
    live = next(live for live in lives(stack) if live.handle.decode() == browser.cookie("oidcgate"))
    store = gate_of(stack).store
    kept = await store.get(live.session.key)
    assert kept is not None
    await gate_of(stack).sessions.end(live, "for a test")
    await store.put(live.session.key, kept.value, life=1000)
    assert (await ask(browser, stack)).status == 401


# The store in trouble


async def test_an_outage_of_the_store() -> None:
    """Who was seen just now goes on; others get 503 and keep their cookie; afterwards nobody signs in again."""
    async with clocked(issuer=LONG_TOKENS) as (stack, clock):
        seen, unseen = await stack.browser(), await stack.browser("bob")
        gate_of(stack).sessions._lives = {  # bob was served by another process so far
            live.handle: live for live in lives(stack) if live.user == '"alice@example.com"'
        }
        gate_of(stack).sessions.find = gate_of(stack).sessions._lives.get
        store = intercept_store(stack)
        store.is_down = True
        turn(stack, clock, OUTAGE_WINDOW - 1)
        assert (await ask(seen, stack)).status == 200
        for headers, needle in ((SCRIPT, '"store_unavailable"'), (NAVIGATION, '<meta http-equiv="refresh"')):
            page = await unseen.send("GET", f"{stack.url}/", headers)
            assert page.status == 503
            assert page.reply.value("Retry-After") == "5"
            assert needle in page.text
            assert not page.reply.values("Set-Cookie")
        turn(stack, clock, 2)
        assert (await ask(seen, stack)).status == 503  # fails closed
        await gate_of(stack).look_after()
        store.is_down = False
        for browser in (seen, unseen):
            assert (await ask(browser, stack)).status == 200


async def test_a_session_that_runs_out_during_an_outage_stays_over() -> None:
    """Its record could not be removed, but it does not come back either."""
    async with clocked(issuer=LONG_TOKENS, config={"session": {"idle": "30s"}}) as (stack, clock):
        browser = await stack.browser()
        store = intercept_store(stack)
        store.is_down = True
        turn(stack, clock, 31)
        await gate_of(stack).look_after()
        assert (await ask(browser, stack)).status in (401, 503)
        store.is_down = False
        assert (await ask(browser, stack)).status == 401


async def test_a_sign_out_during_an_outage_holds(stack: Stack) -> None:
    """Here the session has ended at once and its cookie goes; for everybody else it ends when the store is back."""
    browser = await stack.browser()
    page = await browser.open(f"{stack.url}/oauth2/sign_out")
    store = intercept_store(stack)
    store.is_down = True
    handle = browser.cookie("oidcgate") or ""
    answer = await browser.submit(page)
    assert "signed out" in answer.text
    assert browser.cookie("oidcgate") is None
    assert not lives(stack)
    store.is_down = False
    browser.cookies["localhost", "oidcgate"] = handle
    assert (await ask(browser, stack)).status == 401
    await gate_of(stack).look_after()
    assert await store.get(session_key(handle.encode())) is None


async def test_a_renewal_that_the_store_delays_is_told_as_an_outage_of_the_store() -> None:
    """After exp with the store away: 503 until it is back, and then the token is renewed."""
    async with clocked(issuer={"id_token_life": 30}) as (stack, clock):
        browser = await stack.browser()
        store = intercept_store(stack)
        store.is_down = True
        turn(stack, clock, 40)
        page = await ask(browser, stack)
        assert page.status == 503
        assert '"store_unavailable"' in page.text
        store.is_down = False
        turn(stack, clock, 2)
        assert (await ask(browser, stack)).status == 200
        assert stack.ui is not None
        assert stack.ui.expired_tokens == 0


async def test_ending_a_session_twice_tells_once(stack: Stack) -> None:
    """Its streams are closed once, for one reason."""
    await stack.browser()
    live, told = the_live(stack), []
    sessions: Any = gate_of(stack).sessions

    def note(over: Live, reason: str) -> None:
        told.append((over, reason))

    sessions._on_end = note
    await sessions.end(live, "first")
    await sessions.end(live, "second")
    assert told == [(live, "first")]
    assert live.over == "first"
    assert "over: first" in repr(live)


# Several processes


@asynccontextmanager
async def second_gate(stack: Stack, **changes: Any) -> AsyncIterator[tuple[GateServer, int]]:
    """Another gate on the same files, as another process has it, and its port."""
    sock = socket.create_server(("127.0.0.1", 0))
    config = gate_of(stack).config
    gate = GateServer(
        config.model_copy(update={"session": config.session.model_copy(update=changes)}),
        access_descriptor=None,
        sockets=[sock],
    )
    await gate.start()
    try:
        yield gate, sock.getsockname()[1]
    finally:
        await gate.stop(drain=0.1)


async def websocket_at(port: int, browser: Browser, stack: Stack) -> Wire:
    """Open a websocket at another process, which serves the same site."""
    wire = await connect(port)
    headers = {
        "Cookie": browser.cookie_header(stack.url),
        "Origin": stack.url,
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
    }
    await wire.send(request("/api/sockjs/000/abcdefgh/websocket", host=f"localhost:{stack.port}", headers=headers))
    assert (await wire.head()).status == 101
    return wire


async def me_at(port: int, browser: Browser, stack: Stack) -> int:
    """What the other process answers."""
    browser.route = lambda _url: port
    try:
        return (await ask(browser, stack)).status
    finally:
        browser.route = lambda _url: None


async def test_a_sign_out_is_heard_by_the_other_process(stack: Stack) -> None:
    """Its websocket closes there with the reason, and the cookie is none there either."""
    browser, other = await stack.browser(), await stack.browser("bob")
    async with second_gate(stack) as (gate, port):
        assert await me_at(port, browser, stack) == 200
        assert await me_at(port, other, stack) == 200
        wire, kept = await websocket_at(port, browser, stack), await websocket_at(port, other, stack)
        assert (await browser.submit(await browser.open(f"{stack.url}/oauth2/sign_out"))).status == 200
        assert await closed_with(wire) == (4001, "Session ended: the person signed out")
        assert await me_at(port, browser, stack) == 401
        assert await me_at(port, other, stack) == 200
        assert len(gate.sessions) == 1
        await wire.close()
        await kept.close()


async def test_one_browser_too_many_ends_in_the_other_process(stack: Stack) -> None:
    """Also an end that nobody asked for is told."""
    browser = await stack.browser()
    async with second_gate(stack) as (_gate, port):
        wire = await websocket_at(port, browser, stack)
        assert await gate_of(stack).sessions.end_key(the_live(stack).session.key, "for a test")
        assert await closed_with(wire) == (4001, "Session ended: for a test")
        await wire.close()


async def test_an_end_that_is_told() -> None:
    """A notice names a session and says why; other sessions do not mind, nor do other notices."""
    async with quick_stack() as stack:
        first, second = await stack.browser(), await stack.browser()
        sockets = [await open_websocket(browser, stack) for browser in (first, second)]
        store, (live, kept) = gate_of(stack).store, lives(stack)
        for message in ("ended session:unknown why", "ended", "something else", f"begun {kept.session.key} x"):
            await store.notify(message)
        assert len(lives(stack)) == 2
        await store.notify(f"ended {live.session.key} told from elsewhere")
        assert await closed_with(sockets[0]) == (4001, "Session ended: told from elsewhere")
        assert (await ask(second, stack)).status == 200
        for wire in sockets:
            await wire.close()


async def test_notices_that_were_missed() -> None:
    """An empty notice says so: each session is looked at again at its next use, and open ones at once."""
    async with quick_stack() as stack:
        gone, waiting, good = [await stack.browser() for _ in range(3)]
        wire = await open_websocket(waiting, stack)
        store = gate_of(stack).store
        for live in lives(stack)[:2]:
            await store.delete(live.session.key)
        assert (await ask(gone, stack)).status == 200  # seen just now
        await store.notify("")
        assert (await ask(gone, stack)).status == 401
        assert (await ask(good, stack)).status == 200
        await gate_of(stack).look_after()
        assert (await closed_with(wire))[0] == 4001
        await wire.close()


async def test_missed_notices_and_an_outage() -> None:
    """A store that comes and goes: what was seen not long ago goes on all the same."""
    async with clocked(issuer=LONG_TOKENS) as (stack, clock):
        browser = await stack.browser()
        store = intercept_store(stack)
        turn(stack, clock, SEEN_WINDOW * 2)
        await store.notify("")
        store.is_down = True
        assert (await ask(browser, stack)).status == 200
        turn(stack, clock, OUTAGE_WINDOW)
        assert (await ask(browser, stack)).status == 503
        store.is_down = False
        assert (await ask(browser, stack)).status == 200


@pytest.mark.parametrize("is_told", [False, True], ids=["silently", "told"])
async def test_a_touch_never_resurrects(is_told: bool) -> None:
    """Ended by another process between the look and the note that it was used: it stays ended."""
    async with clocked(issuer=LONG_TOKENS) as (stack, clock):
        browser = await stack.browser()
        live, store = the_live(stack), intercept_store(stack)
        key = live.session.key

        def end(written: str) -> None:
            if written == key:
                items: Any = store.inner
                items._items.pop(key)
                if is_told:
                    gate_of(stack).sessions._told(f"ended {key} told from elsewhere")

        turn(stack, clock, 300)
        store.before_put = end
        first = await ask(browser, stack)
        assert "put session" in store.events
        store.before_put = lambda _key: None
        assert await store.get(key) is None
        assert first.status == (401 if is_told else 200)
        look_again(stack, at_the_store=True)
        assert (await ask(browser, stack)).status == 401
        assert not lives(stack)


async def test_a_session_that_ended_while_its_websocket_was_opened() -> None:
    """It was not there yet to be closed: the next look does it."""
    async with quick_stack() as stack:
        browser = await stack.browser()
        wire = await open_websocket(browser, stack)
        sessions: Any = gate_of(stack).sessions
        sessions._on_end = lambda _live, _reason: None
        await sessions.end(the_live(stack), "for a test")
        await gate_of(stack).look_after()
        assert await closed_with(wire) == (4001, "Session ended: for a test")
        await wire.close()


async def test_a_sign_in_while_the_last_session_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    """The grant was to go, yet somebody uses it again by now: it stays, with its refresh token."""
    async with quick_stack() as stack:
        revoked: list[str] = []

        async def revoke(token: str) -> None:
            revoked.append(token)

        monkeypatch.setattr(gate_of(stack).providers.by_id(""), "revoke", revoke)
        first = await stack.browser()
        page = await first.open(f"{stack.url}/oauth2/sign_out")
        store: Any = intercept_store(stack)
        whole = store.delete
        second: list[Browser] = []

        async def delete(key: str, *, expected: int | None = None) -> bool:
            if key.startswith("grant:") and not second:
                second.append(await stack.browser())
            return bool(await whole(key, expected=expected))

        store.delete = delete
        assert (await first.submit(page)).status == 200
        assert not await is_signed_in(first, stack)
        assert await is_signed_in(second[0], stack)
        look_again(stack, at_the_store=True)
        assert (await ask(second[0], stack)).status == 200
        assert not revoked


async def test_a_lost_group_ends_what_is_open() -> None:
    """A stream is cut and a websocket closed, also when a request has met the refusal first."""
    async with clocked(
        issuer={"id_token_life": HOUR},
        site={"access": {"groups": ["platform-admins"]}},
        config={"session": {"idle": "12h"}},
    ) as (stack, clock):
        browser = await stack.browser()
        stream, wire = await open_stream(browser, stack), await open_websocket(browser, stack)
        stack.issuer.replace_person(replace(DEMO_PEOPLE[0], groups=("others",)))
        turn(stack, clock, HOUR - 60)
        live = the_live(stack)
        gate_of(stack).grants.begin_renewal(live.shared)
        await gate_of(stack).grants.wait_for_renewal(live.shared)
        assert (await ask(browser, stack)).status == 403
        await gate_of(stack).look_after()
        assert await closed_with(wire) == (4001, "Session ended: your account may no longer use this site")
        assert b"\r\n0\r\n\r\n" not in await stream.rest()
        await stream.close()
        await wire.close()


# Keys


def write_keys(stack: Stack, *keys: str) -> str:
    """A keys file; its path."""
    path = stack.folder / "ring"
    path.touch(0o600)
    path.write_text("\n".join(keys) + "\n")
    return str(path)


async def test_rotation_signs_nobody_out() -> None:
    """One process after the other gets the new key, first behind the old one, then before it; then the old one goes."""
    old, new = new_key(), new_key()
    async with Stack() as stack:
        stack._config = {"session": {"keys_file": write_keys(stack, old)}}
        await stack.stop_gate()
        await stack.start_gate()
        early = await stack.browser()
        for ring in ((old,), (old, new), (new, old)):
            async with second_gate(stack) as (_gate, port):  # still with the keys of the round before
                write_keys(stack, *ring)
                await stack.stop_gate()
                await stack.start_gate()
                late = await stack.browser()
                for browser in (early, late):
                    assert (await ask(browser, stack)).status == 200
                    assert await me_at(port, browser, stack) == 200
        assert stack.issuer.calls["token"] == 4


async def test_a_key_that_is_gone_signs_out() -> None:
    """Its records do not open: that is no session and no failure; signing in works, whatever is left of before."""
    old, new = new_key(), new_key()
    async with Stack(site={"access": {"groups": ["platform-admins"]}}) as stack:
        stack._config = {"session": {"keys_file": write_keys(stack, old)}}
        await stack.stop_gate()
        await stack.start_gate()
        browser = await stack.browser()
        write_keys(stack, new)
        await stack.stop_gate()
        await stack.start_gate()
        assert (await ask(browser, stack)).status == 401
        page = await browser.send("GET", f"{stack.url}/", NAVIGATION)
        assert page.status == 302
        assert await gate_of(stack).register.everybody() == []
        assert (await browser.sign_in(stack.url + "/")).status == 200
        assert (await ask(browser, stack)).status == 200
        assert len(await gate_of(stack).register.everybody()) == 1


# The end of its tokens


async def test_a_session_goes_on_to_the_end_of_its_last_token() -> None:
    """No refresh any more: what there is counts until it expires, and then the session is over."""
    async with clocked(issuer={"id_token_life": HOUR}, config={"session": {"idle": "12h"}}) as (stack, clock):
        browser = await stack.browser()
        stack.issuer.refresh_tokens.revoke("demo-0001")
        turn(stack, clock, HOUR - 60)
        assert (await ask(browser, stack)).status == 200
        for task in list(gate_of(stack).grants._tasks):
            await task
        look_again(stack)
        assert (await ask(browser, stack)).status == 200
        turn(stack, clock, 120)
        assert (await ask(browser, stack)).status == 401
        assert not lives(stack)


async def test_a_renewal_that_brings_nothing_usable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that has run out is not sent, and the session is not ended for it."""
    async with clocked(issuer={"id_token_life": HOUR}, config={"session": {"idle": "12h"}}) as (stack, clock):
        browser = await stack.browser()

        async def nothing(_shared: Any) -> None:
            return None

        with monkeypatch.context() as patched:
            patched.setattr(gate_of(stack).grants, "wait_for_renewal", nothing)
            turn(stack, clock, HOUR + 1)
            assert (await ask(browser, stack)).status in (502, 503)
        assert (await ask(browser, stack)).status == 200


async def test_ending_what_is_not_there(stack: Stack) -> None:
    """It says so."""
    assert not await gate_of(stack).sessions.end_key("session:unknown", "for a test")
    assert await gate_of(stack).sessions.keys_of("grant:unknown") == []
