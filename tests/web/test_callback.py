"""The way back: a login that ends for another host, and the ticket that takes it there; step by step, as attackers do."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from html import unescape
from typing import Any

import pytest

from oidcgate.session.attempt import LIFE
from oidcgate.session.ticket import LIFE as TICKET_LIFE
from oidcgate.web import texts
from tests.support.browser import Browser, Page, query
from tests.support.central import COOKIE, DOMAIN, LASTING, Central, follow, handoffs_of, set_every_clock, walk_to
from tests.support.stack import Clock
from tests.web.steps import attempts_of, cookies_set, gate_of, intercept_store, links, lives, look_again

NO_REFRESH = {"provider": {"scopes": ["openid", "email", "profile", "groups"]}}


@pytest.fixture
async def central() -> AsyncIterator[Central]:
    """Two clusters, a login host, a wildcard; a cookie for each host."""
    async with Central() as running:
        yield running


async def is_in(browser: Browser, central: Central, name: str) -> bool:
    """Whether the browser has a session on a host."""
    return (await browser.fetch(f"{central.of(name)}/oauth2/userinfo")).status == 200


async def signed_in(central: Central, name: str = "one", login: str = "alice") -> Browser:
    """A browser with a session on a cluster's host and on the login host."""
    browser = Browser()
    page = await browser.sign_in(f"{central.of(name)}/oauth2/start?rd=/oauth2/userinfo", login)
    assert (page.status, page.url) == (200, f"{central.of(name)}/oauth2/userinfo")
    return browser


def refused(page: Page) -> None:
    """A kind page, and no session."""
    assert page.status == 400, (page.status, page.text)
    assert COOKIE not in cookies_set(page)
    assert texts.LATE[0] in page.text or texts.NO_COOKIE[0] in page.text


def sessions(central: Central) -> set[str]:
    """On which hosts somebody has a session."""
    return {live.site.origin for live in lives(central)}


# The ticket.


async def test_a_ticket_ends_a_login(central: Central) -> None:
    """Straight to where the person was going, with a new session's cookie, and the attempt's gone."""
    browser = Browser()
    url = await walk_to(browser, f"{central.of('one')}/x?y=1", "/oauth2/ticket")
    assert url.startswith(f"{central.of('one')}/oauth2/ticket?t=")
    assert sessions(central) == {central.url}
    page = await follow(browser, url)
    assert (page.status, page.location) == (303, f"{central.of('one')}/x?y=1")
    assert set(cookies_set(page)) == {COOKIE, "oidcgate-guard"}
    assert not any("Domain" in line for line in page.reply.values("Set-Cookie"))
    assert page.reply.value("Cache-Control") == "no-store"
    assert page.reply.value("Referrer-Policy") == "no-referrer"
    assert not any(name.startswith("oidcgate-login-") for where, name in browser.cookies if where.startswith("one."))
    assert sessions(central) == {central.url, central.of("one")}
    host, login = ((where, value) for (where, name), value in browser.cookies.items() if name == COOKIE)
    assert host[1] != login[1]


async def test_a_ticket_works_once(central: Central) -> None:
    """A replay in the very same browser makes no second session, with the first one's cookie or without."""
    browser = Browser()
    before = dict(browser.cookies)
    url = await walk_to(browser, central.of("one") + "/", "/oauth2/ticket")
    before = dict(browser.cookies)
    await follow(browser, url)
    again = await follow(browser, url)
    assert (again.status, again.location) == (303, central.of("one") + "/")
    assert cookies_set(again) == []
    browser.cookies = before  # the attempt's cookie included
    refused(await follow(browser, url))
    assert len(lives(central)) == 2


@pytest.mark.parametrize("has_begun", [False, True])
async def test_a_ticket_in_another_browser(central: Central, has_begun: bool) -> None:
    """It is refused, also where that browser begins a login itself, and it is gone for its own browser, too."""
    browser, thief = Browser(), Browser()
    url = await walk_to(browser, central.of("one") + "/", "/oauth2/ticket")
    if has_begun:
        await walk_to(thief, central.of("one") + "/", "/dex/auth")
    refused(await follow(thief, url))
    refused(await follow(browser, url))
    assert sessions(central) == {central.url}


async def test_a_ticket_on_another_host(central: Central) -> None:
    """In the right browser, which has begun there, too: refused, and gone."""
    browser = Browser()
    await walk_to(browser, central.of("two") + "/", "/dex/auth")
    url = await walk_to(browser, central.of("one") + "/", "/oauth2/ticket")
    for name in ("two", "fresh"):
        refused(await follow(browser, url.replace("//one.", f"//{name}.")))
    refused(await follow(browser, url))
    assert sessions(central) == {central.url}


async def test_the_secret_of_one_host_does_not_do_for_another(central: Central) -> None:
    """Even when a browser holds the attempt's cookie on the other host, by the same name."""
    browser = Browser()
    url = await walk_to(browser, central.of("one") + "/", "/oauth2/ticket")
    for (where, name), value in list(browser.cookies.items()):
        if where.startswith("one."):
            browser.cookies[f"two.{DOMAIN}", name] = value
    refused(await follow(browser, url.replace("//one.", "//two.")))
    assert sessions(central) == {central.url}


async def test_a_ticket_names_its_host(central: Central) -> None:
    """Even one that is bound to the right browser's secret on this host is refused when it is for another."""
    browser = await signed_in(central)
    url = await walk_to(browser, central.of("two") + "/", "/oauth2/start?for=")
    wish = handoffs_of(central).read_wish(query(url)["for"])
    assert wish is not None
    root = next(live.session.key for live in lives(central) if live.site.origin == central.url)
    for origin, is_good in ((central.of("one"), False), (central.url, False), (central.of("two"), True)):
        name = await handoffs_of(central).issue(root, replace(wish, origin=origin))
        page = await follow(browser, f"{central.of('two')}/oauth2/ticket?t={name}")
        assert (page.status == 303) == is_good
        assert await is_in(browser, central, "two") == is_good


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda t: "A" * len(t), id="forged"),
        pytest.param(lambda t: t[:-1], id="shorter"),
        pytest.param(lambda t: t + "A", id="longer"),
        pytest.param(lambda _t: "", id="empty"),
        pytest.param(lambda t: f"{t}&t={t}", id="twice"),
        pytest.param(lambda t: f"%FF{t}", id="no-text"),
        pytest.param(lambda _t: "%00" * 43, id="nul"),
    ],
)
async def test_no_ticket_of_ours(central: Central, change: Any) -> None:
    """Whatever else stands there signs nobody in, and the genuine one still works."""
    browser = Browser()
    url = await walk_to(browser, central.of("one") + "/", "/oauth2/ticket")
    begin, _, name = url.partition("?t=")
    refused(await follow(browser, f"{begin}?t={change(name)}"))
    refused(await follow(browser, begin))
    assert (await follow(browser, url)).status == 303


async def test_a_ticket_lives_for_a_minute(central: Central) -> None:
    """Then it is refused, and to sign in again needs no password."""
    clock = Clock()
    set_every_clock(central, clock)
    browser = Browser()
    url = await walk_to(browser, central.of("one") + "/", "/oauth2/ticket")
    clock.ahead += TICKET_LIFE
    page = await follow(browser, url)
    refused(page)
    again = await browser.open(next(central.of("one") + link for link in links(page) if "/start" in link))
    assert (again.status, again.url) == (200, central.of("one") + "/")


async def test_a_login_that_took_too_long(central: Central) -> None:
    """The attempt on the host that asked runs out as any other does."""
    attempts_of(central)._clock = clock = Clock()
    clock.ahead = -LIFE - 1
    browser = Browser()
    wish = await walk_to(browser, central.of("one") + "/", "/oauth2/start?for=")
    clock.ahead = 0
    refused(await follow(browser, await walk_to(browser, wish, "/oauth2/ticket")))
    assert sessions(central) == {central.url}


async def test_the_login_ends_before_the_ticket_comes(central: Central) -> None:
    """Nobody gets a session from one that is over; the page leads to where the person was going."""
    browser = Browser()
    url = await walk_to(browser, central.of("one") + "/x?y", "/oauth2/ticket")
    (root,) = lives(central)
    await gate_of(central).sessions.end(root, "signed out")
    page = await follow(browser, url)
    refused(page)
    assert "/oauth2/start?rd=%2Fx%3Fy" in links(page)
    assert sessions(central) == set()


async def test_the_store_is_away_when_a_ticket_comes(central: Central) -> None:
    """503 and nothing is lost: the ticket works when the store is back."""
    browser = Browser()
    url = await walk_to(browser, central.of("one") + "/", "/oauth2/ticket")
    handoffs_of(central)._store = store = intercept_store(central)
    store.is_down = True
    page = await follow(browser, url)
    assert page.status == 503
    assert page.reply.value("Retry-After")
    assert cookies_set(page) == []
    store.is_down = False
    assert (await follow(browser, url)).status == 303


async def test_the_store_fails_after_the_ticket_was_used(central: Central) -> None:
    """No half session: 503, and one more round needs no password."""
    browser = Browser()
    url = await walk_to(browser, central.of("one") + "/", "/oauth2/ticket")
    handoffs_of(central)._store = store = intercept_store(central)

    def fail(key: str) -> None:
        store.is_down = key.startswith(("session:", "grant:"))

    store.before_put = fail
    page = await follow(browser, url)
    assert page.status == 503
    assert cookies_set(page) == []
    store.before_put, store.is_down = lambda _key: None, False
    assert not await is_in(browser, central, "one")
    assert (await browser.open(central.of("one") + "/oauth2/userinfo")).status == 401
    assert (await browser.open(central.of("one") + "/")).status == 200


# The wish.


async def test_a_wish_of_somebody_signed_in_is_granted_at_once(central: Central) -> None:
    """The login host answers with a ticket and asks the provider nothing."""
    browser = await signed_in(central)
    calls = central.issuer.calls["auth"] + central.issuer.calls["token"]
    url = await walk_to(browser, central.of("fresh") + "/oauth2/start", "/oauth2/ticket")
    assert url.startswith(central.of("fresh"))
    assert central.issuer.calls["auth"] + central.issuer.calls["token"] == calls


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda w: w[:20] + ("A" if w[20] != "A" else "B") + w[21:], id="forged"),
        pytest.param(lambda w: w[:-4], id="shorter"),
        pytest.param(lambda _w: "", id="empty"),
        pytest.param(lambda _w: "A" * 300, id="made-up"),
        pytest.param(lambda _w: "http%3A%2F%2Fevil.example", id="an-address"),
        pytest.param(lambda w: w * 20, id="too-long"),
    ],
)
async def test_no_wish_of_ours(central: Central, change: Any, signed: bool) -> None:
    """A page, no ticket, no login, and no word to the provider."""
    browser = await signed_in(central) if signed else Browser()
    url = await walk_to(Browser(), central.of("two") + "/", "/oauth2/start?for=")
    begin, _, wish = url.partition("?for=")
    calls = central.issuer.calls["auth"] + central.issuer.calls["token"]
    page = await follow(browser, f"{begin}?for={change(wish)}")
    refused(page)
    assert cookies_set(page) == []
    assert central.issuer.calls["auth"] + central.issuer.calls["token"] == calls


async def test_a_late_wish(central: Central) -> None:
    """After ten minutes it is refused, before a login and after it."""
    clock = Clock()
    handoffs_of(central)._clock = clock
    browser = Browser()
    url = await walk_to(browser, central.of("one") + "/", "/oauth2/start?for=")
    back = await walk_to(browser, url, "/oauth2/callback")
    clock.ahead = LIFE
    refused(await follow(browser, url))
    page = await follow(browser, back)
    assert page.status == 400
    assert texts.LATE[0] in page.text
    assert page.location == ""


async def test_a_wish_on_a_host_that_takes_no_logins(central: Central) -> None:
    """Only the login host reads it; elsewhere it is a login of that host's own."""
    url = await walk_to(Browser(), central.of("one") + "/", "/oauth2/start?for=")
    page = await follow(Browser(), url.replace("//auth.", "//two."))
    assert page.status == 200
    assert 'id="go" href="/oauth2/start?rd=%2F&amp;f="' in page.text


async def test_an_attackers_wish_in_a_victims_browser(central: Central) -> None:
    """It signs nobody in anywhere else: not the victim on that host, and least of all the attacker."""
    attacker, victim = Browser(), await signed_in(central, "two")
    url = await walk_to(attacker, central.of("one") + "/", "/oauth2/start?for=")
    ticket = await walk_to(victim, url, "/oauth2/ticket")
    refused(await follow(victim, ticket))
    refused(await follow(attacker, ticket))
    assert not await is_in(victim, central, "one")
    assert not await is_in(attacker, central, "one")
    assert sessions(central) == {central.url, central.of("two")}


async def test_an_attackers_wish_makes_a_victim_sign_in(central: Central) -> None:
    """A login that somebody else's wish led to ends on the login host, as the victim's own, and goes no further."""
    attacker, victim = Browser(), Browser()
    url = await walk_to(attacker, central.of("one") + "/", "/oauth2/start?for=")
    ticket = await walk_to(victim, url, "/oauth2/ticket")
    refused(await follow(victim, ticket))
    refused(await follow(attacker, ticket))
    assert sessions(central) == {central.url}
    assert not await is_in(attacker, central, "auth")


async def test_an_attackers_ticket_in_a_victims_browser(central: Central) -> None:
    """Nobody is made to work as somebody else (login CSRF)."""
    attacker, victim = Browser(), Browser()
    ticket = await walk_to(attacker, central.of("one") + "/", "/oauth2/ticket", "bob")
    await walk_to(victim, central.of("one") + "/", "/dex/auth")
    refused(await follow(victim, ticket))
    assert not await is_in(victim, central, "one")


async def test_too_many_wishes_from_one_address(central: Central, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is a login begun, and counts as one; one of somebody signed in asks nothing of anybody."""
    browser = await signed_in(central)
    url = await walk_to(Browser(), central.of("two") + "/", "/oauth2/start?for=")
    monkeypatch.setattr("oidcgate.web.attempts.MOST_PER_ADDRESS", 0)
    page = await follow(Browser(), url)
    assert page.status == 429
    assert page.reply.value("Retry-After")
    assert cookies_set(page) == []
    assert "/oauth2/ticket" in (await follow(browser, url)).location


# The callback of a login with a wish.


async def test_a_login_begun_in_one_browser_ends_in_no_other(central: Central) -> None:
    """The callback's address alone is worth nothing, with a wish as without."""
    browser, thief = Browser(), Browser()
    back = await walk_to(browser, central.of("one") + "/", "/oauth2/callback")
    calls = central.issuer.calls["token"]
    refused(await follow(thief, back))
    assert central.issuer.calls["token"] == calls
    assert sessions(central) == set()
    ticket = (await follow(browser, back)).location
    assert "/oauth2/ticket?t=" in ticket


@pytest.mark.parametrize("name", ["one", "fresh"])
async def test_only_the_login_host_ends_logins(central: Central, name: str) -> None:
    """A callback on another host of ours is refused, whatever cookies it has; one URL an issuer."""
    browser = Browser()
    back = await walk_to(browser, central.of("one") + "/", "/oauth2/callback")
    for (where, cookie), value in list(browser.cookies.items()):
        if where.startswith("auth."):
            browser.cookies[f"{name}.{DOMAIN}", cookie] = value
    calls = central.issuer.calls["token"]
    refused(await follow(browser, back.replace("//auth.", f"//{name}.")))
    assert central.issuer.calls["token"] == calls
    assert all(
        query(p.location)["redirect_uri"] == f"{central.url}/oauth2/callback"
        for p in browser.visited
        if "/dex/auth?" in p.location
    )


async def test_a_callback_twice(central: Central) -> None:
    """The second one of a login with a wish restarts kindly, with the wish, and redeems nothing."""
    browser = Browser()
    back = await walk_to(browser, central.of("one") + "/x", "/oauth2/callback")
    cookies = dict(browser.cookies)
    await follow(browser, back)
    browser.cookies = cookies
    calls = central.issuer.calls["token"]
    page = await follow(browser, back)
    refused(page)
    assert central.issuer.calls["token"] == calls
    (again,) = [link for link in links(page) if "?for=" in link]
    assert "/oauth2/ticket?t=" in await walk_to(browser, central.url + again, "/oauth2/ticket")


@pytest.mark.parametrize("shared", [False, True])
async def test_the_host_is_gone_when_a_login_comes_back(shared: bool) -> None:
    """Where a login leads is judged again at its end: the configuration may have changed meanwhile."""
    async with Central(shared=shared, audiences=False, config=LASTING) as central:
        browser = Browser()
        back = await walk_to(browser, central.of("two") + "/x", "/oauth2/callback")
        await central.restart(wildcard=False, clusters=("one",))
        page = await follow(browser, back)
        assert page.status == 400
        assert (texts.NOT_OURS if shared else texts.LATE)[0] in page.text
        assert page.location == ""
        assert f"//two.{DOMAIN}" not in page.text


async def test_the_host_is_gone_when_its_wish_comes() -> None:
    """A genuine wish of a host that is no longer configured is refused, signed in or not."""
    async with Central(config=LASTING) as central:
        browser, other = await signed_in(central), Browser()
        wish = await walk_to(other, central.of("two") + "/x", "/oauth2/start?for=")
        await central.restart(wildcard=False, clusters=("one",))
        for each in (browser, other):
            refused(await follow(each, wish))
        assert await is_in(browser, central, "one")


@pytest.mark.parametrize("shared", [False, True])
async def test_the_issuer_is_away_at_the_callback(shared: bool) -> None:
    """503, and the page begins the same login anew by itself: it ends on the host that asked."""
    async with Central(shared=shared) as central:
        browser = Browser()
        back = await walk_to(browser, central.of("one") + "/x?y", "/oauth2/callback")
        central.issuer.quirks.fail["token"] = 503
        page = await follow(browser, back)
        assert page.status == 503
        central.issuer.quirks.fail.clear()
        again = page.text.split(";url=")[1].partition('"')[0].replace("&amp;", "&")
        page = await browser.sign_in(central.url + again)
        assert page.url == f"{central.of('one')}/x?y"
        assert await is_in(browser, central, "one")


async def test_the_provider_says_no_to_a_wish(central: Central) -> None:
    """The page's button begins the same login again, for the host that asked."""
    browser = Browser()
    back = await walk_to(browser, central.of("one") + "/x", "/oauth2/callback")
    begin, _, _ = back.partition("?")
    page = await follow(browser, f"{begin}?state={query(back)['state']}&error=access_denied")
    assert page.status == 400
    (again,) = [link for link in links(page) if "?for=" in link]
    assert (await browser.sign_in(central.url + again)).url == f"{central.of('one')}/x"


# What follows for sessions.


async def test_sign_out_anywhere_ends_the_browser_everywhere(central: Central) -> None:
    """All of this browser's sessions end, and nobody else's, not even the same person's."""
    browser, other, bob = await signed_in(central), await signed_in(central), await signed_in(central, login="bob")
    for each in (browser, other, bob):
        for name in ("two", "fresh"):
            await each.open(f"{central.of(name)}/oauth2/")
            assert await is_in(each, central, name)
    page = await browser.open(f"{central.of('two')}/oauth2/sign_out")
    page = await browser.submit(page)
    assert page.status == 200
    for name in ("auth", "one", "two", "fresh"):
        assert not await is_in(browser, central, name)
        assert await is_in(other, central, name)
        assert await is_in(bob, central, name)
    assert 'id="go"' in (await browser.send("GET", f"{central.url}/oauth2/start", {})).text


async def test_the_limit_counts_browsers() -> None:
    """Twenty browsers (here two), whatever number of hosts each uses; the oldest one goes as a whole."""
    async with Central(config={"session": {"max_per_user": 2}}) as central:
        names = ("auth", "one", "two", "fresh", "other")
        browsers = []
        for _ in range(3):
            browsers.append(await signed_in(central))
            for name in names[2:]:
                await browsers[-1].open(f"{central.of(name)}/oauth2/")
            states = [[await is_in(browser, central, name) for name in names] for browser in browsers]
            assert states[-2:] == [[True] * 5] * min(2, len(browsers))
        assert states[0] == [False] * 5


async def test_use_of_one_host_keeps_the_login_awake(central: Central) -> None:
    """Whoever works on one host for hours opens the next without a password; the login host was not touched."""
    clock = Clock()
    set_every_clock(central, clock)
    browser = await signed_in(central)
    for _ in range(6):
        clock.ahead += 1500
        look_again(central, at_the_store=True)
        assert await is_in(browser, central, "one")
        await gate_of(central).look_after()
    calls = central.issuer.calls["auth"]
    assert "/oauth2/ticket" in await walk_to(browser, central.of("two") + "/", "/oauth2/ticket")
    assert central.issuer.calls["auth"] == calls


async def test_nobody_uses_anything_for_an_hour(central: Central) -> None:
    """Then the login is over on every host, and the next ticket needs a password."""
    clock = Clock()
    set_every_clock(central, clock)
    browser = await signed_in(central)
    clock.ahead += 3601
    look_again(central, at_the_store=True)
    assert not await is_in(browser, central, "one")
    assert "/dex/auth" in await walk_to(browser, central.of("two") + "/", "/dex/auth")


async def test_a_session_on_another_host_ends_with_its_login(central: Central) -> None:
    """A ticket late in the day does not begin a day of its own."""
    browser = await signed_in(central)
    await browser.open(central.of("two") + "/")
    assert len({live.session.ends for live in lives(central)}) == 1
    assert len({live.session.csrf for live in lives(central)}) == 3
    assert {live.session.browser for live in lives(central)} == {lives(central)[0].session.browser}


async def test_an_audience_for_each_host(central: Central) -> None:
    """What a host's UI gets is for its own cluster and for the gate: a stolen token opens one cluster."""
    browser = await signed_in(central)
    for name in ("one", "two"):
        await browser.open(central.of(name) + "/")
        assert (await browser.fetch(central.of(name) + "/api/v1/me")).status == 200
    audiences = {live.site.origin: set(live.claims.audience) for live in lives(central) if live.bearer}
    assert audiences[central.of("one")] == {"cluster-one", "gate"}
    assert audiences[central.of("two")] == {"cluster-two", "gate"}


async def test_a_host_with_a_client_of_its_own() -> None:
    """Its logins end on the login host, too, at a callback of their own; the other hosts' do not count there."""
    async with Central(other="two") as central:
        browser = await signed_in(central, "one")
        back = await walk_to(browser, central.of("two") + "/x", "/oauth2/callback")
        provider = next(site.provider_id for site in gate_of(central).sites if site.provider_id)
        assert back.startswith(f"{central.url}/oauth2/callback/{provider}?")
        moved = back.replace(f"/callback/{provider}", "/callback")
        assert (await follow(browser, moved)).location in ("", central.url + "/")
        ticket = (await follow(browser, back)).location
        page = await follow(browser, ticket)
        assert page.location == f"{central.of('two')}/x"
        assert json.loads((await browser.fetch(central.of("two") + "/api/v1/me")).text)["authenticated"]
        assert (await browser.fetch(central.of("one") + "/api/v1/me")).status == 200
        assert f"oidcgate-{provider}" in {name for where, name in browser.cookies if where.startswith("auth.")}


async def test_somebody_not_admitted_is_told_on_the_host() -> None:
    """The login host knows who it is; the host says who may."""
    async with Central(sites={"two": {"access": {"groups": ["platform-admins"]}}}) as central:
        browser = await signed_in(central, "one", "bob")
        page = await browser.open(central.of("two") + "/")
        assert page.status == 403
        assert texts.DENIED[1].partition(".")[0] in page.text.replace("&#x27;", "'")
        assert central.uis["two"].arrivals.maxlen
        assert not central.uis["two"].arrivals


# A login that cannot bring every host's token.


async def sign_in_often(browser: Browser, url: str) -> Page:
    """Type the password as often as the provider asks."""
    page = await browser.open(url)
    for _ in range(4):
        if "password" in page.text:
            page = await browser.submit(page, login="alice", password="alice")
    return page


@pytest.mark.parametrize("shared", [False, True])
async def test_without_refresh_tokens_a_second_pass_asks_for_one_cluster(shared: bool) -> None:
    """The provider gives no refresh token to narrow: one more pass brings a token for the one cluster alone."""
    async with Central(shared=shared, config=NO_REFRESH) as central:
        browser = Browser()
        page = await sign_in_often(browser, central.of("one") + "/?x")
        assert (page.status, page.url) == (200, central.of("one") + "/?x")
        assert (await browser.fetch(central.of("one") + "/api/v1/me")).status == 200
        audiences = [set(live.claims.audience) for live in lives(central) if live.bearer]
        assert audiences
        assert all(found == {"cluster-one", "gate"} for found in audiences)


@pytest.mark.parametrize("shared", [False, True])
async def test_without_refresh_tokens_the_next_cluster_is_one_more_login(shared: bool) -> None:
    """Somebody signed in for one cluster opens another: a login for that one, not a dead end."""
    async with Central(shared=shared, config=NO_REFRESH) as central:
        browser = Browser()
        await sign_in_often(browser, central.of("one") + "/?x")
        page = await sign_in_often(browser, central.of("two") + "/?x")
        assert (page.status, page.url) == (200, central.of("two") + "/?x")
        assert (await browser.fetch(central.of("two") + "/api/v1/me")).status == 200


@pytest.mark.parametrize("shared", [False, True])
async def test_a_cluster_that_was_added_meanwhile(shared: bool) -> None:
    """Somebody signed in before a cluster was configured opens it: at most one more login, not a dead end."""
    async with Central(shared=shared, clusters=("one", "two"), config=LASTING) as central:
        central.clusters = ("one",)
        await central.stop_gate()
        await central.start_gate()
        browser = await signed_in(central)
        await central.restart(clusters=("one", "two"))
        page = await sign_in_often(browser, central.of("two") + "/?x")
        assert (page.status, page.url) == (200, central.of("two") + "/?x")
        assert (await browser.fetch(central.of("two") + "/api/v1/me")).status == 200


@pytest.mark.parametrize("shared", [False, True])
async def test_after_a_cluster_was_added_all_go_on(shared: bool) -> None:
    """The login that it needed is for every cluster: none is lost when the tokens from before have run out."""
    clock = Clock()
    options: Any = {"issuer": {"id_token_life": 600, "clock": clock}, "ui": {"clock": clock}}
    async with Central(shared=shared, config=LASTING, **options) as central:
        central.clusters = ("one",)
        await central.stop_gate()
        await central.start_gate()
        set_every_clock(central, clock)
        browser = await signed_in(central)
        await central.restart(clusters=("one", "two"))
        set_every_clock(central, clock)
        await sign_in_often(browser, central.of("two") + "/?x")
        logins = central.issuer.calls["auth"]
        for _ in range(2):
            clock.ahead += 601
            look_again(central, at_the_store=True)
            for name in ("one", "two"):
                page = await browser.open(central.of(name) + "/?x")
                assert (page.status, page.url) == (200, central.of(name) + "/?x")
                assert (await browser.fetch(central.of(name) + "/api/v1/me")).status == 200
        assert central.issuer.calls["auth"] == logins


async def test_sign_out_ends_the_logins_of_every_client() -> None:
    """Also where a host has a client of its own: its sessions, and the login that the login host keeps of it."""
    async with Central(other="two") as central:
        for name in ("one", "two", "auth"):
            browser, bystander = Browser(), await signed_in(central)
            for host in ("one", "two"):
                page = await browser.sign_in(f"{central.of(host)}/oauth2/start?rd=/oauth2/userinfo")
                assert page.status == 200
            kept = dict(browser.cookies)
            page = await browser.submit(await browser.open(f"{central.of(name)}/oauth2/sign_out"))
            assert page.status == 200
            assert texts.SIGNED_OUT[0] in page.text
            browser.cookies = kept
            for host in ("auth", "one", "two"):
                assert not await is_in(browser, central, host)
            assert "/dex/auth" in await walk_to(browser, central.of("two") + "/", "/dex/auth")
            assert await is_in(bystander, central, "one")


async def test_a_sign_out_by_way_of_the_login_host_is_no_open_redirect() -> None:
    """Its name is made by us, works once, and signs out nobody but the browser that brings it."""
    async with Central(other="two") as central:
        browser, victim = await signed_in(central), await signed_in(central)
        page = await browser.open(f"{central.of('one')}/oauth2/sign_out")
        await browser.submit(page)
        (url,) = {page.url for page in browser.visited if "/oauth2/signed_out?t=" in page.url}
        assert url.startswith(central.url)
        for address in (url, url[:-1] + "A", f"{central.url}/oauth2/signed_out?t=https://evil.example"):
            page = await follow(victim, address)
            assert (page.status, page.location) == (200, "")
        ticket = await walk_to(victim, central.of("fresh") + "/oauth2/start", "/oauth2/ticket")
        page = await follow(victim, f"{central.url}/oauth2/signed_out?t={query(ticket)['t']}")
        assert (page.status, page.location) == (200, "")
        assert await is_in(victim, central, "auth")
        assert await is_in(victim, central, "one")


@pytest.mark.parametrize("shared", [False, True])
async def test_a_provider_that_gives_no_token_for_the_cluster(shared: bool) -> None:
    """Its token is for the gate alone, and it gives no other: a page says whose fault it is, and no UI sees anybody."""
    async with Central(shared=shared, config=NO_REFRESH) as central:
        central.issuer.quirks.claims = lambda claims: {**claims, "aud": "gate"}
        browser = Browser()
        page = await sign_in_often(browser, central.of("one") + "/?x")
        assert page.status == 502
        assert texts.TOKEN_REFUSED[0] in unescape(page.text)
        assert not central.uis["one"].arrivals
