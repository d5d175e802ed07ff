"""The badge's own paths, its way into pages through a whole gate, and sessions that it does not keep alive."""

import json
import re
from dataclasses import replace

import pytest

from oidcgate.demo.issuer import Client
from oidcgate.session.lifecycle import SEEN_WINDOW
from oidcgate.web.badge import CANVAS, initials, script_in
from oidcgate.web.colour import LEAST, contrast
from oidcgate.web.look import PLAIN
from oidcgate.web.sessions import IN_USE
from tests.support.browser import NAVIGATION, Browser, Page
from tests.support.central import Central, set_every_clock
from tests.support.stack import CLIENT, SECRET, Clock, Stack
from tests.web.steps import RETURN, ask, clocked, consent, gate_of, intercept_store, lives, quick_stack, the_live, turn

HOUR = 3600
SCRIPT, TAG = script_in(PLAIN.colour)
OUR_LINK = {**NAVIGATION, "Sec-Fetch-Site": "same-origin"}
ELEMENT = '<script src="/oauth2/badge.js" defer></script>'


async def state(browser: Browser, stack: Stack) -> Page:
    """What the script asks."""
    return await browser.fetch(f"{stack.url}/oauth2/badge")


async def document(browser: Browser, stack: Stack, path: str = "/", **headers: str) -> Page:
    """Open a page."""
    return await browser.send("GET", stack.url + path, {**NAVIGATION, **headers})


# Into the page.


async def test_the_uis_page_has_the_script(stack: Stack) -> None:
    """Once, in its head; the rest of the document is as the UI made it."""
    browser = await stack.browser()
    page = await document(browser, stack, Accept_Encoding="gzip", **{"If-None-Match": "*"})
    plain = await browser.fetch(f"{stack.url}/")
    assert page.status == plain.status == 200
    assert page.text == plain.text.replace("<head>", f"<head>{ELEMENT}")
    assert page.reply.value("Transfer-Encoding") == "chunked"


async def test_the_prefix_is_the_configured_one() -> None:
    """The script's address and both paths follow the prefix."""
    async with quick_stack(config={"prefix": "/gate"}) as stack:
        stack.issuer.add_client(Client(CLIENT, SECRET, (f"{stack.url}/gate/callback",)))
        browser = await stack.browser()
        assert '<script src="/gate/badge.js" defer></script>' in (await document(browser, stack)).text
        assert (await browser.fetch(f"{stack.url}/gate/badge.js")).status == 200
        assert (await browser.fetch(f"{stack.url}/gate/badge")).status == 200


async def test_without_the_badge() -> None:
    """`badge: false` leaves the page as it is, and there is neither script nor answer."""
    async with quick_stack(site={"badge": False}) as stack:
        browser = await stack.browser()
        page, plain = await document(browser, stack), await browser.fetch(f"{stack.url}/")
        assert page.reply.headers == plain.reply.headers
        assert page.text == plain.text
        for path in ("/oauth2/badge", "/oauth2/badge.js"):
            assert (await browser.fetch(stack.url + path)).status == 404


async def test_public_pages_and_visitors_have_none() -> None:
    """A page that nobody needs to sign in for does not speak of a session, not even to those who have one."""
    rules = [{"path": "/", "public": True}]
    async with quick_stack(site={"access": {"rules": rules}}) as stack:
        for browser in (Browser(), await stack.browser()):
            page = await document(browser, stack)
            assert page.status == 200
            assert "badge.js" not in page.text


async def test_apis_are_left_alone(stack: Stack) -> None:
    """What the preset calls an API is none of the badge's, even when somebody opens it as a page."""
    browser = await stack.browser()
    page = await document(browser, stack, "/api/v1/me", **{"Accept-Encoding": "gzip;x=1"})
    assert page.status == 200
    assert stack.ui is not None
    assert stack.ui.arrivals[-1].raw_target == "/api/v1/me"
    assert (b"accept-encoding", b"gzip;x=1") in [(n.lower(), v) for n, v in stack.ui.arrivals[-1].headers]


# The script.


async def test_the_script(stack: Stack) -> None:
    """Anybody may have it, browsers keep it for a while, and ask whether it is still the same."""
    reply = (await Browser().fetch(f"{stack.url}/oauth2/badge.js")).reply
    assert reply.status == 200
    assert reply.body == SCRIPT
    assert reply.value("Content-Type") == "text/javascript; charset=utf-8"
    assert reply.value("X-Content-Type-Options") == "nosniff"
    assert reply.value("Cross-Origin-Resource-Policy") == "same-origin"
    assert reply.value("Cache-Control") == "max-age=300"
    assert reply.value("ETag") == TAG
    for known, status in ((TAG, 304), (f'"x", W/{TAG}', 304), ('"x"', 200)):
        again = await Browser().fetch(f"{stack.url}/oauth2/badge.js", **{"If-None-Match": known})
        assert again.status == status
        assert again.reply.value("ETag") == TAG
        assert not again.reply.values("Set-Cookie")


def test_the_script_is_small_and_harmless() -> None:
    """Less than 6 KiB, and nothing in it makes markup of text, or lays hands on what the page uses."""
    assert len(SCRIPT) < 6144
    for word in (b"innerHTML", b"outerHTML", b"insertAdjacent", b"document.write", b"eval(", b"Function(", b".style"):
        assert word not in SCRIPT
    for word in (b"fetch =", b"XMLHttpRequest", b"prototype", b"cookie", b"localStorage"):
        assert word not in SCRIPT


@pytest.mark.parametrize("colour", ["#1d5fd1", "#ffd400", "#000000", "#ffffff"])
def test_the_script_has_the_colour_of_the_pages(colour: str) -> None:
    """Made readable on the badge's ground, in both schemes, and with text that can be read on it."""
    found = re.findall(r"aside\{--a:(#\w{6});--o:(#\w{6})", script_in(colour).body.decode())
    assert len(found) == len(CANVAS) == 2
    for (accent, text), ground in zip(found, CANVAS.values(), strict=True):
        assert contrast(accent, ground) >= LEAST
        assert contrast(text, accent) >= LEAST
    assert len({script_in(other).tag for other in ("#000001", "#1d5fd1")}) == 2


async def test_a_configured_colour() -> None:
    """Is the script's."""
    async with quick_stack(config={"look": {"colour": "#0b6e4f"}}) as stack:
        assert b"--a:#0b6e4f;" in (await Browser().fetch(f"{stack.url}/oauth2/badge.js")).reply.body


# What it asks.


async def test_who_and_until_when(stack: Stack) -> None:
    """A name, its initials, and times by the gate's own clock."""
    browser = await stack.browser()
    said = json.loads((await state(browser, stack)).text)
    live = the_live(stack)
    assert (said["who"], said["account"], said["initials"]) == ("Alice Arden", "alice@example.com", "AA")
    assert said["session_ends"] == int(live.session.ends)
    assert said["token_expires"] == int(live.claims.expires)
    assert said["idle"] == HOUR
    assert said["renews"] is True
    assert abs(said["now"] - live.checked) < 30


async def test_nobody_is_told_anything(stack: Stack) -> None:
    """401 with our mark and no cookie; and another site's page is refused."""
    page = await state(Browser(), stack)
    assert page.status == 401
    assert page.reply.value("X-Oidcgate") == "sign-in"
    assert not page.reply.values("Set-Cookie")
    browser = await stack.browser()
    foreign = await browser.fetch(f"{stack.url}/oauth2/badge", **{"Sec-Fetch-Site": "cross-site"})
    assert foreign.status == 403
    assert "alice" not in foreign.text
    assert (await browser.fetch(f"{stack.url}/oauth2/badge", "POST")).status == 405


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("Alice Admin", "AA"),
        ("alice", "A"),
        ("Jean-Luc de la Tour", "JT"),
        ("bob.builder@example.com", "BB"),
        ("émile zola", "ÉZ"),
        ("李 小龙", "李小"),
        ("<b>", "B"),
        ("ß", "SS"),
        ("…", "?"),
        ("", "?"),
    ],
)
def test_initials(name: str, wanted: str) -> None:
    """One or two letters, of whatever script."""
    assert initials(name) == wanted


# Not a use of the session.


@pytest.mark.parametrize("uses", [False, True])
async def test_asking_keeps_nothing_alive(*, uses: bool) -> None:
    """A tab that only asks is signed out after the idle limit, while one that is used stays."""
    limits = {"idle": "1h", "lifetime": "12h"}
    async with clocked(issuer={"id_token_life": 24 * HOUR}, config={"session": limits}) as (stack, clock):
        browser = await stack.browser()
        for _ in range(5):
            turn(stack, clock, HOUR / 4 + 1)
            await gate_of(stack).look_after()  # sessions that are not in use are only in the store
            answered = (await state(browser, stack)).status
            if uses:
                assert (await ask(browser, stack)).status == 200
        assert answered == (200 if uses else 401)
        assert bool(lives(stack)) == uses


async def test_asking_writes_and_renews_nothing() -> None:
    """No record is touched and no token renewed, however often it asks."""
    async with clocked(issuer={"id_token_life": 300}) as (stack, clock):
        browser = await stack.browser()
        turn(stack, clock, IN_USE - 1)
        store, token = intercept_store(stack), the_live(stack).shared.bearer
        for _ in range(3):
            turn(stack, clock, SEEN_WINDOW * 2)
            assert (await state(browser, stack)).status == 200
            await gate_of(stack).look_after()
        assert store.gets
        assert store.events == []
        assert the_live(stack).shared.bearer == token


async def test_asking_hears_of_the_end_at_once() -> None:
    """A session that was ended elsewhere, or has reached its limit, is answered with 401."""
    async with clocked(issuer={"id_token_life": 24 * HOUR}, config={"session": {"lifetime": "2h"}}) as (stack, clock):
        browsers = [await stack.browser() for _ in range(2)]
        assert await gate_of(stack).sessions.end_key(lives(stack)[0].session.key, "for a test")
        assert (await state(browsers[0], stack)).status == 401
        assert (await state(browsers[1], stack)).status == 200
        turn(stack, clock, 2 * HOUR)
        assert (await state(browsers[1], stack)).status == 401


async def test_another_process_ended_it() -> None:
    """The store is asked, so that a notice that was missed does not matter."""
    async with clocked() as (stack, clock):
        browser = await stack.browser()
        await gate_of(stack).store.delete(the_live(stack).session.key)
        turn(stack, clock, SEEN_WINDOW * 2)
        assert (await state(browser, stack)).status == 401


async def test_an_outage_says_nothing_about_the_session() -> None:
    """While the store is away for long, the answer is 503, not 401."""
    async with clocked() as (stack, clock):
        browser = await stack.browser()
        intercept_store(stack).is_down = True
        turn(stack, clock, SEEN_WINDOW * 2)
        assert (await state(browser, stack)).status == 200
        turn(stack, clock, 300)
        assert (await state(browser, stack)).status == 503


async def test_a_cookie_of_another_site_is_nobodys(stack: Stack) -> None:
    """A session is looked at only where it belongs."""
    await stack.browser()
    live, sessions = the_live(stack), gate_of(stack).sessions
    other = replace(live.site, session_site="http://b.localhost:1")
    assert await sessions.look(live.handle, live.site) is live
    assert await sessions.look(live.handle, other) is None


# A longer session.


async def test_signing_in_again_before_the_end() -> None:
    """`again` brings a new session, with a life of its own; without it, or from another site, one goes straight back."""
    async with clocked(config={"session": {"lifetime": "2h"}}) as (stack, clock):
        browser = await stack.browser()
        first = the_live(stack)
        turn(stack, clock, HOUR * 3 / 4)
        url = f"{stack.url}/oauth2/start?rd=%2F&f=%2Fpods&again=1"
        foreign = await browser.send("GET", url, {**NAVIGATION, "Sec-Fetch-Site": "cross-site"})
        assert foreign.location == f"{stack.url}/#/pods"
        page = await browser.send("GET", url, OUR_LINK)
        assert page.location.startswith(stack.issuer.url)
        back = await browser.send("GET", await consent(browser, page.location), RETURN)
        assert back.location == f"{stack.url}/#/pods"
        assert json.loads((await state(browser, stack)).text)["session_ends"] > first.session.ends + HOUR / 2


@pytest.mark.parametrize("shared", [False, True])
async def test_signing_in_again_on_another_host(*, shared: bool) -> None:
    """A cluster's host gets a longer session by way of the login host; where one cookie serves all, none is offered."""
    async with Central(shared=shared, config={"session": {"lifetime": "2h"}}) as central:
        browser = Browser()
        await browser.sign_in(central.of("one") + "/")
        said = json.loads((await browser.fetch(f"{central.of('one')}/oauth2/badge")).text)
        assert said["renews"] != shared
        if shared:
            return
        clock = Clock()
        set_every_clock(central, clock)
        clock.ahead = HOUR * 3 / 4
        start = "/oauth2/start?rd=%2F&f=%2Fpods&again=1"
        first = await browser.send("GET", central.of("one") + start, OUR_LINK)
        form = await browser._follow(first, "")
        page = await browser.submit(form, login="alice", password="alice")
        assert page.url == f"{central.of('one')}/#/pods"
        again = json.loads((await browser.fetch(f"{central.of('one')}/oauth2/badge")).text)
        assert again["session_ends"] > said["session_ends"] + HOUR / 2
