"""``/session``: one's own browsers, everybody's for admins, and an end to each of them."""

import re
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import pytest

from oidcgate.demo.issuer import DEMO_PEOPLE
from oidcgate.session.session import Session
from oidcgate.web import texts
from oidcgate.web.live import Live
from oidcgate.web.register import Listed
from oidcgate.web.sessionpage import (
    ENDED_BY_ADMIN,
    ENDED_BY_OWNER,
    NAME_LENGTH,
    as_json,
    by_browser,
    session_name,
    short_agent,
    span,
)
from tests.support.browser import NAVIGATION, Browser, Page
from tests.support.stack import Stack
from tests.web.steps import ask, gate_of, intercept_store, is_signed_in, lives, look_again, quick_stack
from tests.web.test_register import publish
from tests.web.test_sessions import closed_with, open_websocket

ADMINS = {"session": {"admins": ["platform-admins"]}}
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0"
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)> Firefox"


class NamedBrowser(Browser):
    """A browser with a User-Agent of its own."""

    agent = FIREFOX

    async def send(self, method: str, url: str, headers: dict[str, str] | None = None, body: bytes = b"") -> Page:
        return await super().send(method, url, {**(headers or {}), "User-Agent": self.agent}, body)


async def named(stack: Stack, agent: str, login: str = "alice") -> Browser:
    """A browser that is signed in."""
    browser = NamedBrowser()
    browser.agent = agent
    assert (await browser.sign_in(stack.url + "/", login)).status == 200
    return browser


def live_of(stack: Stack, browser: Browser) -> Live:
    """A browser's session."""
    return next(live for live in lives(stack) if live.handle.decode() == browser.cookie("oidcgate"))


def name_of(stack: Stack, browser: Browser) -> str:
    """What the page calls a browser's session."""
    return session_name(live_of(stack, browser).session.key)


async def look(browser: Browser, stack: Stack, query: str = "") -> Page:
    """Open the page."""
    return await browser.open(f"{stack.url}/oauth2/session{query}")


def token_on(page: Page) -> str:
    """The CSRF token of a page's forms."""
    match = re.search(r'name="csrf" value="([0-9a-f]+)"', page.text)
    assert match is not None, page.text
    return match[1]


def ends_on(page: Page) -> set[str]:
    """Whose sessions a page's forms would end."""
    return set(re.findall(r'name="end" value="(\w+)"', page.text))


async def end(browser: Browser, stack: Stack, what: str, *, csrf: str | None = None, **headers: str) -> Page:
    """Send the form of a page that is opened for it."""
    token = csrf if csrf is not None else live_of(stack, browser).session.csrf
    if csrf is None:
        token = "00" * 16 + token  # masked with nothing
    sent = {
        **NAVIGATION,
        "Origin": stack.url,
        "Sec-Fetch-Site": "same-origin",
        "Content-Type": "application/x-www-form-urlencoded",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    body = urlencode({"csrf": token, "end": what}).encode()
    return await browser.send("POST", f"{stack.url}/oauth2/session", sent, body)


# What is shown


async def test_my_own_browsers(stack: Stack) -> None:
    """Who I am, how long this lasts, and my browsers, this one marked; nobody else's."""
    mine, other = await stack.browser(), await named(stack, FIREFOX)
    await stack.browser("bob")
    page = await look(mine, stack)
    assert page.status == 200
    for text in ("alice@example.com", "platform-admins", "This session ends in", "This browser", "Firefox on Linux"):
        assert text in page.text
    assert page.text.count("<li><div>") == 2
    assert "bob" not in page.text
    assert ends_on(page) == {name_of(stack, other), "others"}
    assert page.reply.value("Cache-Control") == "no-store"
    assert page.reply.value("Referrer-Policy") == "same-origin"  # else a browser's form would come from nowhere


async def test_the_only_browser_can_only_sign_out(stack: Stack) -> None:
    """There is nothing else to end."""
    page = await look(await stack.browser("carol"), stack)
    assert ends_on(page) == set()
    assert "/oauth2/sign_out" in page.text
    assert "<dt>Groups</dt>" not in page.text  # she has none


async def test_open_terminals_without_their_secrets(stack: Stack) -> None:
    """A terminal is named as one; its id would open it."""
    browser = await stack.browser()
    socket = await open_websocket(browser, stack)
    await publish(stack)
    page = await look(browser, stack)
    assert "<li>terminal /api/sockjs/…, open for less than a minute</li>" in page.text
    assert "abcdefgh" not in page.text
    await socket.close()


async def test_no_secret_is_on_the_page(stack: Stack) -> None:
    """A part of a hash names a session: neither its cookie nor its whole key nor its token is there."""
    browser, other = await stack.browser(), await stack.browser()
    text = (await look(browser, stack)).text
    for live in (live_of(stack, browser), live_of(stack, other)):
        secrets = [live.handle.decode(), live.session.key.partition(":")[2], live.session.csrf]
        assert not [secret for secret in [*secrets, live.shared.grant.id_token] if secret in text]
        assert len(session_name(live.session.key)) == NAME_LENGTH


@pytest.mark.parametrize("agent", [HOSTILE, "\xff\xfe Firefox", "x" * 2000, ""], ids=["html", "bytes", "long", "none"])
async def test_hostile_agents(agent: str) -> None:
    """What a browser calls itself is shown in our own words, and as data."""
    async with quick_stack(config=ADMINS) as stack:
        await named(stack, agent)
        browser = await stack.browser()
        for query in ("", "?everybody"):
            page = await look(browser, stack, query)
            assert page.status == 200
            for piece in ("<script>alert", "<img", "onerror"):
                assert piece not in page.text
        rows: Any = await gate_of(stack).list_or_end(None)
        assert max(len(row["agent"]) for row in rows) <= 200


async def test_hostile_names() -> None:
    """Nor does a person's e-mail, subject or group become part of the page."""
    async with quick_stack(config=ADMINS) as stack:
        browser = await stack.browser()
        live = live_of(stack, browser)
        bad = "<b>&\"'"
        for one in lives(stack):
            claims = replace(one.claims, email=None, subject=bad, groups=(bad, "platform-admins"))
            shared = one.shared
            assert shared.token is not None
            shared.token = replace(shared.token, claims=claims)
        page: Any = gate_of(stack).session_page
        text = page._page(live, [], everybody=False).main(200)
        assert bad not in text
        assert "&lt;b&gt;&amp;" in text


async def test_without_a_session(stack: Stack) -> None:
    """To the login, and back to the page."""
    page = await Browser().send("GET", f"{stack.url}/oauth2/session", NAVIGATION)
    assert page.status == 302
    assert page.location == f"{stack.url}/oauth2/start?rd=/oauth2%2Fsession"
    page = await Browser().sign_in(f"{stack.url}/oauth2/session")
    assert page.status == 200
    assert f"<h1>{texts.SESSION_PAGE[0]}</h1>" in page.text


async def test_the_store_is_away(stack: Stack) -> None:
    """Nobody can tell: 503, and the cookie stays."""
    browser = await stack.browser()
    store: Any = intercept_store(stack)
    page: Any = gate_of(stack).session_page
    page._register._store = store
    store.is_down = True
    answer = await look(browser, stack)
    assert answer.status == 503
    assert not answer.reply.values("Set-Cookie")
    assert (await end(browser, stack, "others")).status == 503
    store.is_down = False
    assert (await look(browser, stack)).status == 200


# Endings


async def test_end_one(stack: Stack) -> None:
    """That one, with what it has open; the page is shown again."""
    mine, other, third = [await stack.browser() for _ in range(3)]
    socket = await open_websocket(other, stack)
    page = await end(mine, stack, name_of(stack, other))
    assert (page.status, page.location) == (303, f"{stack.url}/oauth2/session")
    assert await closed_with(socket) == (4001, f"Session ended: {ENDED_BY_OWNER}")
    await socket.close()
    assert [await is_signed_in(browser, stack) for browser in (mine, other, third)] == [True, False, True]


async def test_end_all_others(stack: Stack) -> None:
    """Every browser of the person but this one, by the page's own form; other people's stay."""
    mine, second, third, bob = [await stack.browser(login) for login in ("alice", "alice", "alice", "bob")]
    socket = await open_websocket(second, stack)
    page = await look(mine, stack)
    assert (await end(mine, stack, "others", csrf=token_on(page))).status == 303
    assert (await closed_with(socket))[0] == 4001
    await socket.close()
    assert [await is_signed_in(browser, stack) for browser in (mine, second, third, bob)] == [True, False, False, True]
    assert ends_on(await look(mine, stack)) == set()


async def test_the_forms_work_in_a_browser(stack: Stack) -> None:
    """The first form on the page ends the other browser."""
    mine, other = await stack.browser(), await stack.browser()
    page = await mine.submit(await look(mine, stack))
    assert page.status == 200
    assert page.url == f"{stack.url}/oauth2/session"
    assert not await is_signed_in(other, stack)
    assert await is_signed_in(mine, stack)


@pytest.mark.parametrize("csrf", ["", "x", "00" * 32, "zz" * 32, "00" * 33])
async def test_without_the_forms_token(stack: Stack, csrf: str) -> None:
    """A form that is not from the page ends nothing."""
    mine, other = await stack.browser(), await stack.browser()
    page = await end(mine, stack, name_of(stack, other), csrf=csrf)
    assert page.status == 403
    assert texts.FORM_OLD in page.text
    assert await is_signed_in(other, stack)


async def test_another_sessions_token(stack: Stack) -> None:
    """A token is good for the session it was made for, and for no other of the same person."""
    mine, other = await stack.browser(), await stack.browser()
    page = await end(mine, stack, "others", csrf=token_on(await look(other, stack)))
    assert page.status == 403
    assert await is_signed_in(other, stack)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example.com", "Sec_Fetch_Site": "cross-site"},
        {"Origin": "https://evil.example.com", "Sec_Fetch_Site": "same-origin"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
async def test_from_another_site(stack: Stack, headers: dict[str, str]) -> None:
    """Even with the right token."""
    mine, other = await stack.browser(), await stack.browser()
    page = await end(mine, stack, name_of(stack, other), **headers)
    assert page.status == 403
    assert await is_signed_in(other, stack)


async def test_without_a_session_nothing_ends(stack: Stack) -> None:
    """Nobody is asked for a token that cannot be."""
    other = await stack.browser()
    page = await end(Browser(), stack, name_of(stack, other), csrf="00" * 32)
    assert page.status == 403
    assert await is_signed_in(other, stack)


@pytest.mark.parametrize("config", [{}, ADMINS], ids=["no-admins", "no-member"])
async def test_somebody_elses_cannot_be_ended(config: dict[str, Any]) -> None:
    """Nor seen; a guess gets the same answer as anything that is not there."""
    async with quick_stack(config=config) as stack:
        alice, bob = await stack.browser(), await stack.browser("bob")
        page = await look(bob, stack, "?everybody")
        assert "alice" not in page.text
        assert texts.EVERYBODY not in page.text
        answers = [await end(bob, stack, name) for name in (name_of(stack, alice), "0" * 16, "", "x", "*" * 16)]
        assert {(answer.status, answer.location) for answer in answers} == {(303, f"{stack.url}/oauth2/session")}
        assert await is_signed_in(alice, stack)
        assert await is_signed_in(bob, stack)


# Admins


async def test_admins_see_and_end_everybodys() -> None:
    """With whose it is; "all others" stays with one's own."""
    async with quick_stack(config=ADMINS) as stack:
        alice, bob, carol = [await stack.browser(login) for login in ("alice", "bob", "carol")]
        assert "bob" not in (await look(alice, stack)).text
        assert texts.EVERYBODY in (await look(alice, stack)).text
        page = await look(alice, stack, "?everybody")
        for login in ("bob", "carol"):
            assert f"{login}@example.com · 127.0.0.1" in page.text
        assert texts.MINE in page.text
        assert ends_on(page) == {name_of(stack, bob), name_of(stack, carol)}
        socket = await open_websocket(bob, stack)
        assert (await end(alice, stack, name_of(stack, bob), csrf=token_on(page))).status == 303
        assert await closed_with(socket) == (4001, f"Session ended: {ENDED_BY_ADMIN}")
        await socket.close()
        assert [await is_signed_in(browser, stack) for browser in (alice, bob, carol)] == [True, False, True]
        assert (await end(alice, stack, "others")).status == 303
        assert await is_signed_in(carol, stack)


@pytest.mark.parametrize("name", ["0" * 16, "", "x", "*" * 16, "?" * 16, "%" * 16, "others"])
async def test_admins_end_nobody_by_mistake(name: str) -> None:
    """A name is a name: not a pattern, not a part of one."""
    async with quick_stack(config=ADMINS) as stack:
        alice, bob = await stack.browser(), await stack.browser("bob")
        assert (await end(alice, stack, name)).status == 303
        assert await is_signed_in(alice, stack)
        assert await is_signed_in(bob, stack)


async def test_somebody_who_is_no_admin_any_more() -> None:
    """The groups of the present token count."""
    async with quick_stack(config=ADMINS) as stack:
        alice, bob = await stack.browser(), await stack.browser("bob")
        stack.issuer.replace_person(replace(DEMO_PEOPLE[0], groups=("others",)))
        live = live_of(stack, alice)
        live.shared.due = 0.0
        look_again(stack)
        await ask(alice, stack)
        await gate_of(stack).grants.wait_for_renewal(live.shared)
        assert (await end(alice, stack, name_of(stack, bob))).status == 303
        assert await is_signed_in(bob, stack)


# Words


@pytest.mark.parametrize(
    ("agent", "shown"),
    [
        (FIREFOX, "Firefox on Linux"),
        ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/120 Safari/537.36 Edg/120", "Edge on Windows"),
        ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/120 Safari/537.36 OPR/106", "Opera on Windows"),
        ("Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 Chrome/120 Mobile Safari/537.36", "Chrome on Android"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 14_0) AppleWebKit/605 Version/17 Safari/605", "Safari on macOS"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) Safari/604", "Safari on iPhone"),
        ("curl/8.4.0", "curl"),
        (HOSTILE, "Firefox"),
        ("", "Another browser"),
        ("scripted", "Another browser"),
    ],
)
def test_short_agents(agent: str, shown: str) -> None:
    """Two words of ours."""
    assert short_agent(agent) == shown


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "less than a minute"),
        (0, "less than a minute"),
        (59.9, "less than a minute"),
        (60, "1 minute"),
        (3600, "1 hour"),
        (7380, "2 hours 3 minutes"),
        (86400, "1 day"),
        (2 * 86400 + 3 * 3600 + 240, "2 days 3 hours"),
    ],
)
def test_spans(seconds: float, words: str) -> None:
    """As people say it; minutes do not matter beside days."""
    assert span(seconds) == words


async def test_for_programs(stack: Stack) -> None:
    """Everything that the page shows, as plain values."""
    browser = await named(stack, FIREFOX)
    socket = await open_websocket(browser, stack)
    await publish(stack)
    live = live_of(stack, browser)
    (one,) = await gate_of(stack).register.everybody()
    row = as_json(one)
    assert row["session"] == session_name(live.session.key)
    assert (row["email"], row["groups"]) == ("alice@example.com", ["platform-admins"])
    assert (row["agent"], row["address"], row["site"]) == (FIREFOX, "127.0.0.1", stack.url)
    assert [(each["kind"], each["path"]) for each in row["open"]] == [("terminal", "/api/sockjs/…")]
    assert row["started"] <= row["seen"] < row["ends"]
    await socket.close()


def test_one_browser_on_several_hosts_is_one() -> None:
    """What was handed over stands with the session that it came from, in the order of the list."""

    def listed(key: str, root: str = "") -> Any:
        session = Session(key=key, grant_key="g", started=0, seen=0, ends=9, site="s", csrf="", root=root)
        return Listed(session, Any, ())

    found = [listed("c", root="a"), listed("b"), listed("a")]
    assert [[one.session.key for one in together] for together in by_browser(found)] == [["c", "a"], ["b"]]


async def test_ending_a_browser_ends_it_on_every_host() -> None:
    """One row, one button, and both hosts are signed out; the browser that pressed it stays."""
    async with quick_stack() as stack:
        mine, other = await stack.browser(), await stack.browser()
        page: Any = gate_of(stack).session_page
        root = live_of(stack, other)
        handed = await gate_of(stack).sessions.hand_over(root.session.key, root.site, address="::1", agent="x")
        assert handed is not None
        shown = await mine.open(f"{stack.url}/oauth2/session")
        assert shown.text.count("<li><div>") == 2
        name = session_name(root.session.browser)
        await page._end_one(live_of(stack, mine), await page._register.of_grant(root.session.grant_key), name)
        assert handed.over
        assert root.over
        assert (await mine.fetch(f"{stack.url}/oauth2/userinfo")).status == 200


async def test_an_admin_ends_a_browser_by_its_first_session() -> None:
    """Or by any other: what the browser has elsewhere goes with it, else it would come back by itself."""
    async with quick_stack() as stack:
        root = live_of(stack, await stack.browser())
        sessions, page = gate_of(stack).sessions, gate_of(stack).session_page
        first = await sessions.hand_over(root.session.key, root.site, address="::1", agent="x")
        second = await sessions.hand_over(root.session.key, root.site, address="::1", agent="x")
        assert first is not None
        assert second is not None
        assert await page.end_by_name(session_name(first.session.key))
        assert (bool(first.over), bool(second.over), bool(root.over)) == (True, True, True)
        assert not await page.end_by_name(session_name(root.session.key))
