"""The audit: who came, who was refused, who left."""

import json
from pathlib import Path
from typing import Any

from oidcgate.web.audit import MOST_SAID, SAID_FOR, Audit
from tests.support.audit import AUDIT, events, facts, heard
from tests.support.browser import NAVIGATION, Browser
from tests.support.central import Central
from tests.support.stack import Clock, Stack
from tests.web.steps import (
    ask,
    clocked,
    come_back,
    gate_of,
    look_again,
    quick_stack,
    the_live,
    to_callback,
    turn,
)

CROSS = {"Sec-Fetch-Site": "cross-site"}


def audited(**options: Any) -> Stack:
    """A stack with an audit file."""
    return quick_stack(**{**options, "config": {**AUDIT, **options.get("config", {})}})


async def test_among_the_lines_of_the_log(stack: Stack) -> None:
    """Without a file, events stand in the access log's output, also when there is no access log."""
    await stack.browser()
    gate_of(stack).audit.flush()
    kinds = {json.loads(line)["kind"] for line in stack.access_log().splitlines()}
    assert kinds == {"access", "audit"}


# Ways in.


async def test_login() -> None:
    """Who, from where, with what, and until when."""
    async with audited() as stack:
        await stack.browser()
        (event,) = events(stack)
        live = the_live(stack)
        assert facts(event, "event", "user", "site", "address", "agent", "provider") == (
            "login",
            "alice@example.com",
            f"localhost:{stack.port}",
            "127.0.0.1",
            "scripted",
            stack.issuer.url,
        )
        assert event["session"] == live.session.key.partition(":")[2][:16]
        assert event["subject"] == live.claims.subject
        assert event["time"] < event["until"]


async def test_nobody_of_ours() -> None:
    """Somebody the provider knows but the site does not admit is told as refused, with the name."""
    async with audited(site={"access": {"groups": ["nobody"]}}) as stack:
        assert (await Browser().sign_in(f"{stack.url}/", "bob")).status == 403
        (event,) = events(stack)
        assert facts(event, "event", "user", "reason", "agent") == (
            "login_refused",
            "bob@example.com",
            "not admitted",
            "scripted",
        )


async def test_callback_used_twice() -> None:
    """A callback that comes again is refused, and told."""
    async with audited() as stack:
        browser = Browser()
        url = await to_callback(browser, stack)
        cookies = dict(browser.cookies)
        assert (await come_back(browser, url)).status == 303
        again = Browser(cookies)
        assert (await come_back(again, url)).status == 400
        assert [event["event"] for event in events(stack)] == ["login", "login_refused"]
        assert "used before" in events(stack)[-1]["reason"]


async def test_the_provider_says_no() -> None:
    """Its error's name is told, cut, and never the code or the state."""
    async with audited() as stack:
        browser = Browser()
        url = await to_callback(browser, stack)
        state = url.partition("state=")[2].partition("&")[0]
        page = await come_back(browser, f"{url.partition('?')[0]}?error=access_denied&state={state}")
        assert page.status == 400
        (event,) = events(stack)
        assert facts(event, "event", "reason") == ("login_refused", "the provider refused: access_denied")
        assert state not in json.dumps(event)


async def test_strangers_fill_nothing() -> None:
    """Whoever comes without a login attempt or a session leaves no event."""
    async with audited() as stack:
        await Browser().send("GET", f"{stack.url}/oauth2/callback?code=x&state=y", NAVIGATION)
        await Browser().send("GET", f"{stack.url}/api/sockjs/iframe.html", {})
        await ask(Browser(), stack)
        assert events(stack) == []


async def test_hand_over() -> None:
    """A login that is taken over on another host names the session that it came from."""
    async with Central(config=AUDIT) as central:
        await Browser().sign_in(f"{central.of('one')}/")
        login, handed = events(central)
        assert (login["event"], handed["event"]) == ("login", "hand_over")
        assert handed["root"] == login["session"] != handed["session"]
        assert facts(handed, "user", "address", "agent") == facts(login, "user", "address", "agent")
        assert [login["site"], handed["site"]] == [central.host_of("auth"), central.host_of("one")]


# Denials.


async def test_denials() -> None:
    """Across sites, by access and by rule: once a minute for the same request, each with its reason."""
    rules = [{"path": "/admin/*", "groups": ["nobody"]}]
    async with audited(site={"access": {"rules": rules}}) as stack:
        browser = await stack.browser()
        for path, headers in (
            ("/api/v1/me?secret=1", CROSS),
            ("/api/v1/me?secret=2", CROSS),
            ("/admin/x", {}),
            ("/api/sockjs/000/abcdefgh/xhr", CROSS),
        ):
            assert (await browser.send("GET", stack.url + path, headers)).status == 403
        told = [facts(event, "reason", "method", "path", "user") for event in events(stack, "denied")]
        assert told == [
            ("crossed", "GET", "/api/v1/me", "alice@example.com"),
            ("rule", "GET", "/admin/x", "alice@example.com"),
            ("crossed", "GET", "/api/sockjs/…", "alice@example.com"),
        ]
        assert "secret" not in (stack.folder / "audit.log").read_text()


async def test_no_longer_admitted() -> None:
    """A session whose person lost the right."""
    async with audited() as stack:
        browser = await stack.browser()
        the_live(stack).admitted = False
        look_again(stack)
        assert (await ask(browser, stack)).status == 403
        assert events(stack, "denied")[0]["reason"] == "not admitted"


def test_news_is_bounded() -> None:
    """What was said is forgotten after a minute, or when there is too much of it."""
    clock = Clock()
    audit = Audit(clock=clock)
    assert [audit.is_news("a"), audit.is_news("a"), audit.is_news("b")] == [True, False, True]
    clock.ahead += SAID_FOR
    assert audit.is_news("a")
    for number in range(MOST_SAID + 10):
        audit.is_news(str(number))
    assert len(audit._said) <= MOST_SAID


# Ends.


async def test_sign_out() -> None:
    """An end has the login's session name, and its reason."""
    async with audited() as stack:
        browser = await stack.browser()
        page = await browser.open(f"{stack.url}/oauth2/sign_out")
        await browser.submit(page)
        login, end = events(stack, "login", "session_end")
        assert facts(end, "user", "session", "site", "address", "reason") == (
            *facts(login, "user", "session", "site", "address"),
            "the person signed out",
        )


async def test_idle_and_too_many() -> None:
    """A session that was not used, and the oldest of too many browsers."""
    config = {"session": {"store": "memory", "idle": "10m", "max_per_user": 1}}
    async with clocked(config={**AUDIT, **config}) as (stack, clock):
        await stack.browser()
        browser = await stack.browser()
        turn(stack, clock, 700)
        await ask(browser, stack)
        assert [event["reason"] for event in events(stack, "session_end")] == [
            "the same person signed in from too many browsers",
            "it was not used for too long, or reached its longest life",
        ]


async def test_longest_life_is_told_once() -> None:
    """Its record has run out by itself: the first that notices says so."""
    async with audited() as stack:
        await stack.browser()
        sessions: Any = gate_of(stack).sessions
        live = the_live(stack)
        await sessions._store.delete(live.session.key)
        await sessions._gone(live, live.session.ends)
        await sessions._gone(live, live.session.ends)
        (end,) = events(stack, "session_end")
        assert end["reason"] == "it reached its longest life"


async def test_ended_elsewhere_is_told_there() -> None:
    """A process that finds a session ended does not say so again."""
    async with audited() as stack:
        browser = await stack.browser()
        live = the_live(stack)
        await gate_of(stack).store.delete(live.session.key)
        look_again(stack, at_the_store=True)
        assert (await ask(browser, stack)).status == 401
        assert live.over
        assert events(stack, "session_end") == []


async def test_refresh_failed_for_good() -> None:
    """Once, when the issuer refuses the refresh token."""
    async with clocked(config=AUDIT, issuer={"id_token_life": 600}) as (stack, clock):
        browser = await stack.browser()
        stack.issuer.refresh_tokens.revoke("demo-0001")
        turn(stack, clock, 550)
        for _ in range(2):
            assert (await ask(browser, stack)).status == 200
            event = await heard(stack, "refresh_failed")
            look_again(stack)
        assert facts(event, "user", "provider", "client", "reason") == (
            "alice@example.com",
            stack.issuer.url,
            "gate",
            "token endpoint: invalid_request (HTTP 400)",
        )
        assert len(events(stack, "refresh_failed")) == 1


# What is written about it.

DOCS = Path(__file__).resolve().parents[2] / "docs" / "audit.md"


def test_docs() -> None:
    """Each event has an example that is one line of JSON, in the order that the gate writes."""
    examples = [json.loads(line) for line in DOCS.read_text().splitlines() if line.startswith("{")]
    told = {example["event"] for example in examples}
    assert told == {
        *("login", "login_refused", "hand_over", "denied", "refresh_failed", "session_end"),
        *("exec", "secret", "shell"),
    }
    assert all(list(example)[:3] == ["time", "kind", "event"] for example in examples)
    assert all(f"**`{event}`" in DOCS.read_text() for event in told)
