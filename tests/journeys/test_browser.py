"""The way in and a day's work, as somebody with a real browser sees them."""

import asyncio

import pytest
from playwright.async_api import expect

from tests.journeys.steps import FORM, POD, STATUS, TERMINAL, command, fill_in, open_terminal, sign_in
from tests.support.chromium import People, visit
from tests.support.stack import Stack

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


# In.


async def test_first_login(shown: Stack, people: People) -> None:
    """Somebody opens the address, signs in once, and the API knows them; scripts of the page see no secret."""
    person = await people()
    page = await sign_in(person, f"{shown.url}/")
    assert page.url == f"{shown.url}/"
    await expect(page.locator("[data-group]")).to_have_text("platform-admins")
    assert (
        await page.evaluate("document.cookie + JSON.stringify([{...localStorage}, {...sessionStorage}])") == "[{},{}]"
    )
    cookies = [cookie for cookie in await person.context.cookies(shown.url) if cookie["value"]]
    assert [
        (cookie["name"], cookie["httpOnly"], cookie["sameSite"]) for cookie in cookies if len(cookie["value"]) == 43
    ]
    assert person.complaints == []
    assert person.origins == {shown.url, shown.issuer.url.removesuffix("/dex")}


async def test_deep_link_arrives_exactly(shown: Stack, people: People) -> None:
    """Query and fragment, escapes and all, are what they were before the login."""
    url = f"{shown.url}/?a=b%20c&d=%2F%25&e=f+g&h#/pods/shop/x%20y?z=%C3%A9&q=1%252"
    page = await sign_in(await people(), url)
    assert page.url == url
    await expect(page.locator("#pods [data-pod]")).to_have_count(6)


async def test_somebody_known_upstream_goes_straight_through(people: People) -> None:
    """Who is already signed in upstream sees no form, clicks nothing, and passes one page only, by itself."""
    async with Stack(issuer={"auto_login": "alice"}) as stack:
        person = await people()
        page = await person.tab(f"{stack.url}/#/pods/payments")
        await page.wait_for_selector("[data-pod]")
        assert page.url == f"{stack.url}/#/pods/payments"
        assert await person.chain() == [
            f"302 {stack.url}/",
            f"200 {stack.url}/oauth2/start",  # fetches the fragment
            f"302 {stack.url}/oauth2/start",
            f"303 {stack.issuer.url}/auth",
            f"303 {stack.url}/oauth2/callback",
            f"200 {stack.url}/",
        ]
        assert person.complaints == []
        assert await page.evaluate("history.length") <= 2  # the start page is not left behind for the back button


async def test_without_javascript(shown: Stack, people: People) -> None:
    """Without JavaScript the login arrives all the same, less the fragment."""
    page = await (await people(java_script_enabled=False)).tab(f"{shown.url}/?a=1#/pods/shop")
    await page.wait_for_selector(FORM)
    await fill_in(page)
    await page.wait_for_url(f"{shown.url}/?a=1")
    await expect(page).to_have_title("Demo cluster")


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["first tab first", "second tab first"])
async def test_two_tabs_at_once(shown: Stack, people: People, order: tuple[int, int]) -> None:
    """Two logins begun side by side both arrive where they were going, in either order."""
    person = await people()
    urls = [f"{shown.url}/#/pods/shop", f"{shown.url}/?n=2#/pods/payments"]
    tabs = [await person.tab(url) for url in urls]
    for tab in tabs:
        await tab.wait_for_selector(FORM)
    for index in order:
        await fill_in(tabs[index])
        await tabs[index].wait_for_url(urls[index])
        await tabs[index].wait_for_selector("[data-pod]")
    assert person.complaints == []


async def test_five_tabs_restored_at_once(people: People) -> None:
    """A browser that restores five tabs signs in five times at once, and each tab gets back to its own place."""
    async with Stack(issuer={"auto_login": "alice"}) as stack:
        person = await people()
        names = ("shop", "payments", "monitoring", "kube-system", "")
        urls = [f"{stack.url}/?tab={number}#/pods/{name}" for number, name in enumerate(names)]
        tabs = [await person.tab() for _ in urls]
        await asyncio.gather(*(visit(tab, url) for tab, url in zip(tabs, urls, strict=True)))
        for tab, url in zip(tabs, urls, strict=True):
            await tab.wait_for_selector("[data-pod]")
            assert tab.url == url
        assert person.complaints == []


# A day's work.


async def test_terminal(shown: Stack, people: People) -> None:
    """A terminal is typed into, and knows whose token opened it."""
    person = await people()
    page = await open_terminal(person, shown)
    await command(page, "echo hello | world")
    await expect(page.locator(TERMINAL)).to_contain_text("\nhello | world\n")
    await command(page, "whoami")
    await expect(page.locator(TERMINAL)).to_contain_text("believes you are alice@example.com (groups: platform-admins)")
    await command(page, "exit")
    await expect(page.locator(STATUS)).to_have_text("connection closed: Process exited")
    await page.click("#terminal-reopen")
    await expect(page.locator(STATUS)).to_have_text("connected")
    assert person.complaints == []


async def test_followed_log(shown: Stack, people: People) -> None:
    """A followed log grows while one watches, until one leaves."""
    page = await sign_in(await people(), f"{shown.url}/#/pod/{POD}/logs")
    await page.wait_for_selector("#log span")
    before = await page.locator("#log span").count()
    await page.wait_for_function("n => document.querySelectorAll('#log span').length >= n + 5", arg=before)
    await expect(page.locator("#log-status")).to_have_text("following")
    await page.click("#follow")
    await expect(page.locator("#log-status")).to_have_text("paused")


async def test_bob_may_see_one_namespace(shown: Stack, people: People) -> None:
    """Bob's own rights decide: his namespace is there, another one is refused in words, and nothing breaks."""
    person = await people()
    page = await sign_in(person, f"{shown.url}/#/pods/payments", "bob")
    await expect(page.locator(".refusal")).to_contain_text('User "bob@example.com" cannot list resource "pods"')
    await page.select_option("#namespace", "shop")
    await expect(page.locator("#pods [data-pod]")).to_have_count(6)
    assert await page.locator("#namespace option").all_inner_texts() == ["All I may see", "shop"]
    assert person.complaints == []


async def test_carol_may_see_nothing(shown: Stack, people: People) -> None:
    """Carol is signed in, and is told that she may see nothing."""
    page = await sign_in(await people(), f"{shown.url}/#/namespaces", "carol")
    await expect(page.locator("#who-groups")).to_have_text("no groups")
    await expect(page.locator("#view")).to_contain_text("Your groups open no namespace.")
    await page.click("[data-nav=pods]")
    await expect(page.locator("#pods-message")).to_contain_text("No pods that you may see.")
