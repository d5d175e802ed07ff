"""
Chromium before the doubles of the UIs: somebody signed in never sees the UI's own login or skip page.
"""

import asyncio
import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.async_api import Page, expect

from oidcgate.demo.issuer import Person as Account
from tests.journeys.steps import FORM, fill_in
from tests.journeys.test_badge import OPENED, banner
from tests.support.chromium import PATIENCE, People, Person, visit
from tests.support.raw import LIMIT
from tests.support.stack import merged
from tests.support.uis import UI, UIStack, gated
from tests.support.uis_dashboard_2 import Dashboard2
from tests.support.uis_dashboard_7 import Dashboard7
from tests.support.uis_headlamp import Headlamp
from tests.web.steps import look_again, set_clock, turn

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

VIEW = "#view"
EVERY = pytest.mark.parametrize(
    "make", [Dashboard2, Dashboard7, Headlamp], ids=["dashboard-2", "dashboard-7", "headlamp"]
)
DASHBOARDS = pytest.mark.parametrize("make", [Dashboard2, Dashboard7], ids=["dashboard-2", "dashboard-7"])
STALE = "eyJhbGciOiJub25lIn0.e30."
Make = Callable[[], UI]


async def enter(person: Person, stack: UIStack, path: str = "/") -> Page:
    """Open the UI and sign in on the way; returns once its lists have been filled."""
    page = await person.tab(stack.url + path)
    await fill_in(page)
    await expect(page.locator(VIEW)).to_have_text(stack.double.first)
    await polled(page)
    return page


async def polled(page: Page, more: int = 3) -> None:
    """Some more polls of the page went well."""
    before = await page.evaluate("polls")
    await page.wait_for_function("n => polls >= n", arg=before + more)


async def views(page: Page) -> list[str]:
    """Every view that the tab showed."""
    found: list[str] = await page.evaluate("JSON.parse(sessionStorage.views || '[]')")
    return found


async def never_its_own_login(page: Page, stack: UIStack) -> None:
    """Not for a moment."""
    seen = await views(page)
    assert seen
    assert not set(seen) & set(stack.double.own_login), seen


async def until(stack: UIStack, what: Callable[[], bool]) -> None:
    """Something has arrived at the UI."""
    async with asyncio.timeout(LIMIT):
        await stack.double.evidence.wait_for(what)


def stale_cookies(stack: UIStack) -> list[Any]:
    """What the UI's own login may have left behind."""
    names = ("jweToken", "username", "skipLoginPage", "token")
    plain = [{"name": name, "value": STALE, "url": stack.url} for name in names]
    return [*plain, {"name": "headlamp-auth-main.0", "value": STALE, "domain": "localhost", "path": "/clusters/main"}]


@EVERY
async def test_straight_in(people: People, make: Make) -> None:
    """From the issuer's form to the cluster, with the person's own token."""
    async with gated(make()) as stack:
        person = await people()
        page = await enter(person, stack)
        await expect(page.locator("#items")).to_contain_text("cart")
        await never_its_own_login(page, stack)
        assert person.complaints == []


@EVERY
async def test_bob_sees_a_refusal_and_no_login(people: People, make: Make) -> None:
    """Whoever may not see everything is told so."""
    async with gated(make()) as stack:
        page = await (await people()).tab(stack.url)
        await fill_in(page, "bob")
        await expect(page.locator("#notice")).to_contain_text(
            "failed: 403" if stack.double.preset == "headlamp" else 'User "bob@example.com" cannot list resource "pods"'
        )
        await never_its_own_login(page, stack)


@EVERY
async def test_stale_cookies_of_its_own_login(people: People, make: Make) -> None:
    """They are there before, and come back after the login: neither makes the UI think of another."""
    async with gated(make()) as stack:
        person = await people()
        await person.context.add_cookies(stale_cookies(stack))
        page = await enter(person, stack)
        kept = {cookie.get("name") for cookie in await person.context.cookies(stack.url)}
        preset = stack.double.preset
        gone = {"dashboard-2": {"jweToken", "username", "skipLoginPage"}, "dashboard-7": {"token", "jweToken"}}
        assert not kept & gone.get(preset, set())
        await never_its_own_login(page, stack)
        await person.context.add_cookies(stale_cookies(stack))
        await page.reload()
        await polled(page)
        await never_its_own_login(page, stack)
        arrived = [value for arrival in stack.double.arrivals for value in arrival.values("Cookie")]
        assert "headlamp-auth" not in "".join(arrived) or preset != "headlamp"
        assert not [arrival for arrival in stack.double.arrivals if arrival.values("jweToken")]


async def test_headlamp_s_cookie_does_not_win(people: People) -> None:
    """In a release without the token header the cookie would win over the bearer; it never arrives."""
    double = Headlamp(token_header=False)
    async with gated(double) as stack:
        person = await people()
        await person.context.add_cookies(stale_cookies(stack))
        page = await enter(person, stack)
        await never_its_own_login(page, stack)
        assert double.asked("/clusters/main/api/v1/pods")
        assert double.cookies == []


async def test_headlamp_s_websocket_is_the_person_s(people: People) -> None:
    """The multiplexer knows who opened it, also when a token rides along as a protocol."""
    double = Headlamp()
    async with gated(double) as stack:
        page = await enter(await people(), stack)
        await expect(page.locator("#socket")).to_have_text("alice@example.com")
        said = await page.evaluate(
            """(token) => new Promise((done) => {
              const socket = new WebSocket(`ws://${location.host}/wsMultiplexer`,
                ["other", "base64url.bearer.authorization.k8s.io." + token]);
              socket.onopen = () => socket.send(JSON.stringify({ clusterId: "main", path: "/x", type: "REQUEST" }));
              socket.onmessage = (event) => done(JSON.parse(event.data).data);
              socket.onerror = () => done("refused");
            })""",
            STALE.replace(".", ""),
        )
        assert said == "refused" or said == "alice@example.com"
        assert "bearer" not in "".join(double.protocols)


@EVERY
async def test_token_expiry(people: People, make: Make) -> None:
    """The token runs out while the page is open, and once more while the computer sleeps: nobody notices."""
    async with gated(make()) as stack:
        person = await people()
        page = await enter(person, stack)
        first = stack.double.arrivals[-1].token_exp
        turn(stack, stack.clock, 250)  # it is renewed ahead of time
        await until(stack, lambda: stack.double.arrivals[-1].token_exp != first)
        turn(stack, stack.clock, 51)
        await polled(page, 5)
        await page.goto("about:blank")
        turn(stack, stack.clock, 400)
        await visit(page, stack.url)
        await expect(page.locator(VIEW)).to_have_text(stack.double.first)
        await polled(page)
        await never_its_own_login(page, stack)
        assert stack.double.evidence.expired_tokens == 0
        assert await person.chain() == [line for line in await person.chain() if not line.startswith("401")]


@EVERY
async def test_issuer_down_while_the_token_is_good(people: People, make: Make) -> None:
    """A renewal that fails is tried again later; the page hears nothing of it."""
    async with gated(make()) as stack:
        page = await enter(await people(), stack)
        stack.issuer.quirks.fail["token"] = 503
        calls = stack.issuer.calls["token"]
        turn(stack, stack.clock, 250)
        await polled(page, 5)
        async with asyncio.timeout(LIMIT):
            await stack.issuer.wait_for("token", calls + 1)
        await page.reload()
        await polled(page)
        await never_its_own_login(page, stack)


@EVERY
async def test_issuer_down_until_the_token_is_gone(people: People, make: Make) -> None:
    """What cannot be answered is an outage, not the end of the login; afterwards all is as before."""
    async with gated(make()) as stack:
        page = await enter(await people(), stack)
        await outage(page, stack)
        await never_its_own_login(page, stack)
        stack.issuer.quirks.fail.clear()
        turn(stack, stack.clock, 120)
        await visit(page, stack.url)
        await expect(page.locator(VIEW)).to_have_text(stack.double.first)
        await polled(page)
        await never_its_own_login(page, stack)


async def outage(page: Page, stack: UIStack) -> None:
    """The issuer is silent, the token gone, and the page notices."""
    stack.issuer.quirks.fail["token"] = 503
    turn(stack, stack.clock, 301)
    if stack.double.preset == "headlamp":
        await expect(page.locator("#notice")).to_contain_text("failed: 50")
    else:
        await expect(page.locator(VIEW)).to_have_text("error")


@DASHBOARDS
async def test_turning_a_page_while_the_issuer_is_down(people: People, make: Make) -> None:
    """The small question about who somebody is, is answered by the gate meanwhile: no token form, no ping-pong."""
    async with gated(make()) as stack:
        page = await enter(await people(), stack)
        await outage(page, stack)
        turns = await page.evaluate("turns")
        await page.click("#pods")
        ends = "JSON.parse(sessionStorage.views).join().endsWith('pods,error')"
        await page.wait_for_function(ends, timeout=3000)
        assert await page.evaluate("turns") - turns <= 3
        await never_its_own_login(page, stack)


@DASHBOARDS
async def test_one_failure_during_a_rollout(people: People, make: Make) -> None:
    """One 502 of the question that the guards go by is tried again."""
    async with gated(make()) as stack:
        page = await enter(await people(), stack)
        is_polled = stack.double.preset == "dashboard-7"
        path = "/api/v1/me" if is_polled else "/api/v1/login/status"
        asked = len(stack.double.asked(path))
        stack.double.failures[path] = [502]
        if is_polled:
            await until(stack, lambda: len(stack.double.asked(path)) >= asked + 2)
        await page.click("#pods")
        await expect(page.locator(VIEW)).to_have_text("pods", timeout=3000)
        await polled(page)
        await never_its_own_login(page, stack)


async def sign_out(person: Person, stack: UIStack) -> None:
    """In another tab."""
    other = await person.tab(f"{stack.url}/oauth2/sign_out")
    await other.get_by_role("button", name="Sign out").click()
    await expect(other.get_by_role("heading", name="You are signed out")).to_be_visible()
    await other.close()


@EVERY
async def test_sign_out_elsewhere(people: People, make: Make) -> None:
    """Signed out in another tab, the next load of the page leads to our login, and from there back into the cluster."""
    async with gated(make()) as stack:
        person = await people()
        page = await enter(person, stack)
        await sign_out(person, stack)
        if stack.double.preset == "headlamp":
            await expect(page.locator("#notice")).to_have_text("failed: 401")
        else:
            await expect(page.locator(VIEW)).not_to_have_text(stack.double.first)
        before = len(await views(page))
        await page.reload(wait_until="commit")
        await page.wait_for_selector(FORM)
        await fill_in(page)
        # A poll that the sign-out cut off brought Dashboard 2.7 to its error page, whose address it has kept.
        await expect(page.locator(VIEW)).to_have_text(re.compile(f"{stack.double.first}|error"))
        await page.click("#pods")
        await polled(page)
        assert not set((await views(page))[before:]) & set(stack.double.own_login)


@EVERY
async def test_the_badge_leads_back(people: People, make: Make) -> None:
    """Signed out in another tab, the badge says so in the UI's page, and leads through our login back in."""
    async with gated(make()) as stack:
        person = await people()
        await person.context.add_init_script(OPENED)
        page = await enter(person, stack)
        place = stack.double.first
        if place == "workloads":
            await page.click("#pods")
            place = "pods"
            await expect(page.locator(VIEW)).to_have_text(place)
            await polled(page)
        await sign_out(person, stack)
        await expect(banner(page)).to_contain_text("You are signed out", timeout=PATIENCE)
        await banner(page).get_by_role("button", name="Sign in again").click()
        await fill_in(page)
        # Dashboard 7 turns to its first page by itself while /me was good a moment ago.
        places = re.compile("pods|workloads" if stack.double.preset == "dashboard-7" else place)
        await expect(page.locator(VIEW)).to_have_text(places)
        await polled(page)


@DASHBOARDS
async def test_signed_out_by_time(people: People, make: Make) -> None:
    """A session that ended while nobody looked leads to our login at the next load."""
    async with gated(make()) as stack:
        page = await enter(await people(), stack)
        await page.goto("about:blank")
        turn(stack, stack.clock, 13 * 3600)
        look_again(stack, at_the_store=True)
        await visit(page, f"{stack.url}/#/workloads")
        await page.wait_for_selector(FORM)
        await fill_in(page)
        await expect(page.locator(VIEW)).to_have_text("workloads")
        await never_its_own_login(page, stack)


async def test_dashboard_2_that_would_ignore_the_bearer(people: People) -> None:
    """Over plain HTTP without --enable-insecure-login it would act for everybody: nothing of it is shown."""
    double = Dashboard2(insecure_login=False)
    async with gated(double) as stack:
        page = await (await people()).tab(stack.url)
        await fill_in(page)
        await expect(page.locator("h1")).to_have_text("The application's answer was unusable")
        assert {arrival.raw_target for arrival in double.arrivals} == {"/api/v1/login/status"}


@pytest.mark.parametrize("kong", [True, False], ids=["kong", "without-kong"])
async def test_dashboard_7_and_a_token_of_many_groups(people: People, kong: bool) -> None:
    """Kong refuses a header above 8 kB, be it of the page itself; without Kong there is no such limit."""
    groups = ("platform-admins", *(f"platform-team-{number:04}-of-the-company" for number in range(160)))
    async with gated(Dashboard7(kong=kong)) as stack:
        stack.issuer.replace_person(Account("dora", "dora", "Dora Dahl", "dora@example.com", groups, "demo-0004"))
        page = await (await people()).tab(stack.url)
        await fill_in(page, "dora")
        if kong:
            await expect(page.locator("body")).to_have_text("Request header or cookie too large")
        else:
            await expect(page.locator(VIEW)).to_have_text("workloads")
            await polled(page)


async def test_dashboard_7_without_kong(people: People) -> None:
    """By the gate's own routes each path gets to its part."""
    parts = {name: Dashboard7(kong=False) for name in ("web", "auth", "api")}
    async with gated(parts["web"]) as first:
        for name in ("auth", "api"):
            await parts[name].start(first.issuer.url, clock=first.clock)
        table = {
            "/api/v1/login": "auth",
            "/api/v1/csrftoken/login": "auth",
            "/api/v1/me": "auth",
            "/api/*": "api",
            "/metrics": "api",
        }
        routes = [{"path": path, "url": parts[name].url} for path, name in table.items()]
        await first.stop_gate()
        first._site = merged(first._site, {"upstream": {"routes": routes}})
        await first.start_gate()
        set_clock(first, first.clock)
        try:
            await enter(await people(), first)
            for name, double in parts.items():
                assert {service for service, _ in double.served} == {name}
        finally:
            for name in ("auth", "api"):
                await parts[name].stop()


async def test_dashboard_2_that_lets_people_skip_its_login(people: People) -> None:
    """With --enable-skip-login its account acts for whoever brings no token; everybody behind the gate brings one."""
    async with gated(Dashboard2(skip_login=True)) as stack:
        person = await people()
        await person.context.add_cookies([{"name": "skipLoginPage", "value": "true", "url": stack.url}])
        page = await person.tab(stack.url)
        await fill_in(page, "bob")
        await expect(page.locator("#notice")).to_contain_text('User "bob@example.com" cannot list resource "pods"')
        await never_its_own_login(page, stack)
        assert all(arrival.values("Authorization") for arrival in stack.double.arrivals)
