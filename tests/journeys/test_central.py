"""One gate for many clusters, as people and thieves see it: with a cookie for each host, and with one for all."""

import asyncio
import base64
import json
import re
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from playwright.async_api import expect

from oidcgate.web import texts
from tests.journeys.steps import fill_in
from tests.support.browser import NAVIGATION, SCRIPT, Browser
from tests.support.central import COOKIE, DOMAIN, LASTING, Central, asking, follow, walk_to
from tests.support.chromium import People
from tests.support.raw import LIMIT, request
from tests.web.steps import gate_of

MODES = pytest.mark.parametrize(
    "shared", [pytest.param(False, id="a-cookie-a-host"), pytest.param(True, id="one-cookie")]
)


def passwords(central: Central) -> int:
    """How often somebody typed one."""
    return central.issuer.calls["login"] // 2  # the form is shown, then sent


def tokens_seen(central: Central, name: str) -> set[str]:
    """Every token that reached a cluster's UI."""
    values = [value for arrival in central.uis[name].arrivals for value in arrival.values("Authorization")]
    return {value.removeprefix("Bearer ") for value in values}


def audience(token: str) -> set[str]:
    """Whom a token says that it is for."""
    payload = token.split(".")[1]
    found = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["aud"]
    return {found} if isinstance(found, str) else set(found)


async def whoami(browser: Browser, central: Central, name: str) -> str:
    """Whom a cluster takes the browser for; empty for nobody."""
    page = await browser.fetch(f"{central.of(name)}/api/v1/me")
    return str(json.loads(page.text)["username"]) if page.status == 200 else ""


@MODES
async def test_one_login_opens_every_cluster(shared: bool) -> None:
    """A deep link through the first login, a second one without a password, each with query and fragment."""
    async with Central(shared=shared) as central:
        browser = Browser()
        for count, name in enumerate(("one", "two", "one"), 1):
            url = f"{central.of(name)}/?q={count}&r=a%20b#/pods/shop?sort=na%C3%AFve"
            page = await browser.sign_in(url)
            assert (page.status, page.url) == (200, url)
            assert passwords(central) == 1
            assert await whoami(browser, central, name) == "alice@example.com"


async def test_each_host_has_a_cookie_of_its_own() -> None:
    """By default: no Domain anywhere, no value twice, and none that does for another host."""
    async with Central() as central:
        browser = Browser()
        for name in ("one", "two", "fresh"):
            await browser.sign_in(f"{central.of(name)}/oauth2/start?rd=/oauth2/session")
        handles = {where: value for (where, name), value in browser.cookies.items() if name == COOKIE}
        assert set(handles) == {f"{name}.{DOMAIN}" for name in ("auth", "one", "two", "fresh")}
        assert len(set(handles.values())) == 4
        lines = [line for page in browser.visited for line in page.reply.values("Set-Cookie")]
        assert not any("domain" in line.lower() for line in lines)
        for taken in handles:
            for name in ("auth", "one", "two", "fresh"):
                thief = Browser({(f"{name}.{DOMAIN}", COOKIE): handles[taken]})
                page = await thief.fetch(f"{central.of(name)}/oauth2/userinfo")
                assert (page.status == 200) == (taken == f"{name}.{DOMAIN}")


async def test_one_cookie_serves_every_host() -> None:
    """With a domain: one cookie with it, which every host below gets and the domain's neighbours do not."""
    async with Central(shared=True) as central:
        browser = Browser()
        await browser.sign_in(central.of("one") + "/")
        lines = [line for page in browser.visited for line in page.reply.values("Set-Cookie")]
        (line,) = [line for line in lines if line.startswith(f"{COOKIE}=")]
        assert re.fullmatch(rf"{COOKIE}=[\w-]{{43}}; Path=/; Domain={re.escape(DOMAIN)}; HttpOnly; SameSite=Lax", line)
        assert not any("Domain" in other for other in lines if other is not line)
        assert browser.cookie_header(central.of("never-seen")) == browser.cookie_header(central.of("two"))
        assert COOKIE not in browser.cookie_header(f"http://x{DOMAIN}/") + browser.cookie_header("http://localhost/")
        for name in ("auth", "one", "two", "fresh"):
            assert (await browser.fetch(f"{central.of(name)}/oauth2/userinfo")).status == 200


@MODES
async def test_a_stolen_token_opens_one_cluster(shared: bool) -> None:
    """The UI of each host sees a token for its own cluster (and the gate), and another one's takes it for nothing."""
    async with Central(shared=shared) as central:
        browser = Browser()
        for name in ("one", "two"):
            await browser.sign_in(central.of(name) + "/")
            assert await whoami(browser, central, name) == "alice@example.com"
        seen = {name: tokens_seen(central, name) for name in ("one", "two")}
        for name, other in (("one", "two"), ("two", "one")):
            stolen = seen[name]
            assert stolen
            assert {frozenset(audience(token)) for token in stolen} == {frozenset({f"cluster-{name}", "gate"})}
            async with aiohttp.ClientSession() as thief:
                for ui, status in ((name, 200), (other, 401)):
                    headers = {"Authorization": f"Bearer {next(iter(stolen))}"}
                    async with thief.get(central.uis[ui].url + "/api/v1/me", headers=headers) as reply:
                        assert reply.status == status


@MODES
async def test_our_cookies_reach_no_ui(shared: bool) -> None:
    """In either mode, on any host, whatever else the browser sends."""
    async with Central(shared=shared) as central:
        browser = Browser()
        await browser.sign_in(central.of("one") + "/")
        browser.cookies[f"one.{DOMAIN}", "theme"] = "dark"
        browser.cookies[f"one.{DOMAIN}", "oidcgate-login-abc"] = "x"
        await browser.fetch(central.of("one") + "/api/v1/me")
        assert [a.values("Cookie") for a in central.uis["one"].arrivals][-1] == ["theme=dark"]
        assert not any(COOKIE in value for a in central.uis["one"].arrivals for value in a.values("Cookie"))


@MODES
async def test_sign_out_on_one_host_is_sign_out_on_all(shared: bool) -> None:
    """Every session of this browser ends, open streams included; another browser of the same person goes on."""
    async with Central(shared=shared) as central:
        browser, other = Browser(), Browser()
        for each in (browser, other):
            for name in ("one", "two"):
                await each.sign_in(central.of(name) + "/")
        follow_log = f"http://127.0.0.1:{central.port}/api/v1/log/stream/shop/cart-7d9f5c8b6d-x2x7k"
        headers = {**SCRIPT, "Cookie": browser.cookie_header(central.of("two")), "Host": central.host_of("two")}
        async with aiohttp.ClientSession() as session:
            stream = await session.get(follow_log, headers=headers)
            assert stream.status == 200
            page = await browser.submit(await browser.open(f"{central.of('one')}/oauth2/sign_out"))
            assert texts.SIGNED_OUT[0] in page.text
            with suppress(aiohttp.ClientError):  # cut, or ended: it ends
                async with asyncio.timeout(LIMIT):
                    await stream.read()
            stream.close()
        for name in ("one", "two"):
            assert await whoami(browser, central, name) == ""
            assert await whoami(other, central, name) == "alice@example.com"
        page = await browser.open(central.of("two") + "/")
        assert "password" in page.text


@MODES
async def test_a_thief_with_the_addresses_alone(shared: bool) -> None:
    """Everything that ever stood in an address bar, opened in another browser, signs nobody in."""
    async with Central(shared=shared) as central:
        browser = Browser()
        await browser.sign_in(central.of("one") + "/?x")
        await browser.open(central.of("two") + "/?x")
        addresses = {page.url.partition("#")[0] for page in browser.visited if f".{DOMAIN}" in page.url}
        assert len(addresses) > 6
        for order in (sorted(addresses), sorted(addresses, reverse=True)):
            thief = Browser()
            for url in order:
                page = await follow(thief, url)
                assert not [line for line in page.reply.values("Set-Cookie") if line.startswith(f"{COOKIE}=")]
            for name in ("auth", "one", "two"):
                assert (await thief.fetch(f"{central.of(name)}/oauth2/userinfo")).status == 401


# Hosts that nobody has configured.


@MODES
@pytest.mark.parametrize("name", ["new", "a.b.c", "xn--bcher-kva"])
async def test_a_host_never_seen_before(shared: bool, name: str) -> None:
    """It works at once: no change in Dex, none in the gate, the deep link kept; with one cookie by questions alone."""
    async with Central(shared=shared) as central, asking(central, routes_own=not shared) as proxy:
        clients = dict(central.issuer.clients)
        browser = Browser(route=proxy.route)
        url = f"{central.of(name)}/pods?a=b%20c&d#/x"
        page = await browser.sign_in(url)
        assert (page.status, page.url) == (200, url)
        assert page.text == f"the UI of {central.host_of(name)}"
        carried, told = proxy.carried[-1]
        assert carried == url.partition("#")[0]
        assert audience(told["Authorization"].removeprefix("Bearer ")) == {"cluster-wild", "gate"}
        assert told["X-Auth-Request-Email"] == "alice@example.com"
        assert central.issuer.clients == clients
        assert passwords(central) == 1
        for other in (f"another-{name}", "one"):
            page = await browser.sign_in(central.of(other) + "/?x")
            assert (page.status, page.url) == (200, central.of(other) + "/?x")
        assert passwords(central) == 1


@MODES
async def test_sign_out_reaches_hosts_behind_other_proxies(shared: bool) -> None:
    """The next question about any of them is answered with the way to the login."""
    async with Central(shared=shared) as central, asking(central, routes_own=not shared) as proxy:
        browser = Browser(route=proxy.route)
        for name in ("new", "newer", "one"):
            await browser.sign_in(central.of(name) + "/")
        page = await browser.submit(await browser.open(f"{central.of('one')}/oauth2/sign_out"))
        assert page.status == 200
        count = len(proxy.carried)
        for name in ("new", "newer"):
            assert (await browser.fetch(central.of(name) + "/api/x")).status == 401
            assert "password" in (await browser.open(central.of(name) + "/")).text
        assert len(proxy.carried) == count


OUTSIDE = (
    "http://evil.localhost:{port}/",
    "http://k8s.localhost.evil.localhost:{port}/",
    "http://xk8s.localhost:{port}/",
    "http://k8s.localhost:{port}/",
    "http://new.k8s.localhost:1/",
    "http://new.k8s.localhost/",
    "https://new.k8s.localhost:{port}/",
    "http://new.k8s.localhost.example.com:{port}/",
    "https://example.com/",
)


@MODES
@pytest.mark.parametrize("signed_in", [False, True])
@pytest.mark.parametrize("url", OUTSIDE)
async def test_a_host_outside_is_refused_before_the_login(shared: bool, signed_in: bool, url: str) -> None:
    """A page says so, on every host of ours; nobody signs in, nothing is set, and the address is no link."""
    async with Central(shared=shared) as central:
        browser = Browser()
        if signed_in:
            await browser.sign_in(central.of("one") + "/")
        calls = central.issuer.calls["auth"]
        outside = url.format(port=central.port)
        for name in ("auth", "one", "fresh"):
            for more in ("", "&f=", "&f=x"):
                start = f"{central.of(name)}/oauth2/start?rd={quote(outside, safe='')}{more}"
                page = await browser.send("GET", start, NAVIGATION)
                assert page.status == 400
                assert texts.NOT_OURS[0] in page.text
                assert outside not in page.text
                assert page.reply.values("Set-Cookie") == []
        assert central.issuer.calls["auth"] == calls


async def test_a_host_outside_is_refused_after_the_login() -> None:
    """The configuration changed while somebody typed a password: where the login leads is judged again at its end."""
    async with Central(shared=True, audiences=False, config=LASTING) as central:
        browser = Browser()
        goal = quote(central.of("new") + "/x", safe="")
        back = await walk_to(browser, f"{central.url}/oauth2/start?rd={goal}", "/oauth2/callback")
        await central.restart(wildcard=False)
        page = await follow(browser, back)
        assert page.status == 400
        assert texts.NOT_OURS[0] in page.text
        assert page.location == ""
        assert central.of("new") not in page.text


@MODES
@pytest.mark.parametrize("name", ["auth", "one", "fresh"])
async def test_hosts_that_are_no_sites_of_ours(shared: bool, name: str) -> None:
    """A login may lead on to those of ``return_hosts``, by https, with a session on the host that it began on."""
    config = {"forward_auth": {"return_hosts": ["portal.example.org", ".tools.example.org"]}}
    async with Central(shared=shared, config=config) as central:
        browser = Browser()
        for goal in ("https://portal.example.org/x?y", "https://a.tools.example.org/"):
            start = f"{central.of(name)}/oauth2/start?rd={quote(goal, safe='')}"
            if shared or name == "auth" or browser.cookies:
                assert await walk_to(browser, start, "example.org/") == goal
        for goal in ("http://portal.example.org/", "https://tools.example.org/", "https://x.portal.example.org/"):
            page = await browser.send("GET", f"{central.of(name)}/oauth2/start?rd={quote(goal, safe='')}", NAVIGATION)
            assert page.status == 400


@MODES
async def test_unknown_hosts_get_nothing_from_the_gate_itself(shared: bool) -> None:
    """Whatever comes with a Host that is not ours is misdirected."""
    async with Central(shared=shared) as central:
        for host in ("evil.localhost", f"x{DOMAIN}", DOMAIN, f"{DOMAIN}.evil.localhost"):
            for target in ("/", "/oauth2/start?rd=/", "/oauth2/ticket?t=x", "/oauth2/callback?state=x&code=y"):
                raw = request(target, host=f"{host}:{central.port}", headers=NAVIGATION)
                reply = await central.ask(raw)
                assert reply.status == 421
                assert reply.values("Location") == reply.values("Set-Cookie") == []


@MODES
async def test_a_host_that_another_proxy_carries(shared: bool) -> None:
    """A request for its UI that comes to the gate by mistake is told so; its front page leads to the gate's own."""
    async with Central(shared=shared) as central:
        browser = Browser()
        await browser.sign_in(f"{central.of('new')}/oauth2/start?rd=/oauth2/session")
        assert (await browser.fetch(central.of("new") + "/api/v1/me")).status == 421
        assert (await browser.send("GET", central.of("new") + "/x", NAVIGATION)).status == 421
        page = await browser.open(central.of("new") + "/")
        assert page.url == f"{central.of('new')}/oauth2/"
        assert page.status == 200


@MODES
async def test_the_login_host_leads_to_the_landing_page(shared: bool) -> None:
    """Its front page shows the clusters, and each link opens one without a password."""
    async with Central(shared=shared) as central:
        browser = Browser()
        page = await browser.sign_in(central.url + "/")
        assert texts.LANDING[0] in page.text
        for name in ("one", "two"):
            assert f'href="{central.of(name)}/"' in page.text
            assert (await browser.open(central.of(name) + "/")).status == 200
        assert passwords(central) == 1


@MODES
async def test_a_session_survives_a_restart_of_the_gate(shared: bool) -> None:
    """On every host."""
    async with Central(shared=shared, config=LASTING) as central:
        browser = Browser()
        for name in ("one", "two"):
            await browser.sign_in(central.of(name) + "/")
        await central.restart()
        for name in ("one", "two"):
            assert await whoami(browser, central, name) == "alice@example.com"
        assert (await browser.fetch(f"{central.url}/oauth2/userinfo")).status == 200


# In a real browser.


async def arrive(person: Any, url: str, *, password: bool) -> Any:
    """Open an address in a new tab, sign in if that is to be expected, and wait until the UI shows who it is."""
    page = await person.tab(url)
    if password:
        await fill_in(page)
    await page.wait_for_url(url)
    await expect(page.locator("#who-name")).to_have_text("alice@example.com")
    return page


@MODES
@pytest.mark.browser
@pytest.mark.asyncio(loop_scope="session")
async def test_in_chromium(people: People, shared: bool) -> None:
    """Two clusters, one password, fragments kept; then a sign-out on one of them, and the other asks again."""
    async with Central(shared=shared, ui={"tick": 0.1}) as central:
        person = await people()
        await arrive(person, f"{central.of('one')}/?a=b%20c#/pods", password=True)
        page = await arrive(person, f"{central.of('two')}/#/pods", password=False)
        assert passwords(central) == 1
        await page.goto(f"{central.of('two')}/oauth2/sign_out")
        await page.get_by_role("button", name=texts.SIGN_OUT).click()
        await expect(page.get_by_role("heading", name=texts.SIGNED_OUT[0])).to_be_visible()
        page = await person.tab(central.of("one") + "/")
        await expect(page.locator("#password")).to_be_visible()
        assert gate_of(central).sessions._lives == {}


# What a hostile reading found


@pytest.mark.parametrize("shared", [False, True])
async def test_a_sign_out_shows_nobody_a_token_for_all_clusters(shared: bool) -> None:
    """The login's own token would open every cluster: no address ever holds it, also not the issuer's sign-out."""
    async with Central(shared=shared, issuer={"sessions": True}) as central:
        browser = Browser()
        await browser.sign_in(central.of("one") + "/")
        for live in central.gate.sessions._lives.values():
            assert live.session.id_token_hint == ""
        await browser.submit(await browser.open(central.of("one") + "/oauth2/sign_out"))
        places = [page.location for page in browser.visited]
        assert any("client_id=" in place and "/logout" in place for place in places)
        assert not [place for place in places if "id_token_hint" in place or "eyJ" in place]


async def test_an_admin_is_one_on_the_login_host_alone() -> None:
    """A cluster's host sees its own cookie: that one must not govern everybody's sessions."""
    async with Central(config={"session": {"admins": ["platform-admins"]}}) as central:
        other, browser = Browser(), Browser()
        await other.sign_in(central.of("one") + "/", "bob")
        await browser.sign_in(central.of("one") + "/", "alice")
        page = await browser.open(central.of("one") + "/oauth2/session?everybody")
        assert "bob@example.com" not in page.text
        page = await browser.open(central.url + "/oauth2/session?everybody")
        assert "bob@example.com" in page.text


async def test_a_ticket_that_a_sign_out_overtakes_opens_nothing() -> None:
    """The login is gone before the others are counted, so nothing can be handed over in between."""
    async with Central() as central:
        browser = Browser()
        await browser.sign_in(central.of("one") + "/")
        sessions = central.gate.sessions
        root = next(live for live in sessions._lives.values() if not live.session.root)
        counted = sessions.keys_of_browser

        async def meanwhile(session: Any) -> list[str]:
            site = next(site for site in central.gate.sites if site.origin == central.of("two"))
            assert await sessions.hand_over(root.session.key, site, address="::1", agent="x") is None
            return list(await counted(session))

        sessions.keys_of_browser = meanwhile
        await sessions.end_browser(root, "the person signed out")
        assert sessions._lives == {}
