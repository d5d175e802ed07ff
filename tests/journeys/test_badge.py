"""The badge in the UI's page, as people see it: who, how long, out and back in, and nothing else changed."""

from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Locator, Page, expect

from tests.journeys.steps import POD, STATUS, TERMINAL, command, fill_in, sign_in
from tests.journeys.test_sockjs import SHELL, TALK
from tests.lab.npm import node_modules
from tests.support.chromium import PATIENCE, People, Person, visit
from tests.support.stack import Stack
from tests.support.upstream import Gated, Link, answer
from tests.web.steps import gate_of, lives

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

# Tests look into the shadow, which the page cannot; and the demo's UI, which opens itself anew when it is refused, keeps
# still like others.
OPENED = """
const attach = Element.prototype.attachShadow;
Element.prototype.attachShadow = function (options) { return attach.call(this, { ...options, mode: "open" }); };
try { sessionStorage.setItem("reloaded-at", String(Number.MAX_SAFE_INTEGER)); } catch {}
"""
ACCESSIBLE = (Path(__file__).parent.parent / "support" / "accessible.js").read_text()
# The same look at what is in the badge's shadow; a page has its landmark and heading elsewhere.
SHADOWED = f"""
() => {{
  const real = window.document, root = real.documentElement.lastElementChild.shadowRoot;
  const document = {{
    documentElement: real.documentElement, title: real.title, body: root.querySelector("aside"),
    get activeElement() {{ return root.activeElement; }},
    getAnimations: () => root.getAnimations(),
    querySelector: (selector) => real.querySelector(selector),
    querySelectorAll: (selector) => root.querySelectorAll(selector),
    createTreeWalker: (...args) => real.createTreeWalker(...args),
  }};
  return ({ACCESSIBLE.partition("() =>")[1] + ACCESSIBLE.partition("() =>")[2]})()
    .filter((problem) => !/^0 (main landmarks|level-1 headings)$/.test(problem));
}}
"""
LINK = f"#/pod/{POD}/logs"


async def somebody(people: People, **options: Any) -> Person:
    """Somebody in whose browser tests see the badge's inside."""
    person = await people(**options)
    await person.context.add_init_script(OPENED)
    return person


def pill(page: Page) -> Locator:
    """The round button."""
    return page.locator("button.pill")


def banner(page: Page) -> Locator:
    """What is said by itself."""
    return page.locator("aside > section:has([role=status])")


async def end_everything(stack: Stack) -> None:
    """End every session, as if somebody had done so elsewhere."""
    for live in lives(stack):
        await gate_of(stack).sessions.end(live, "for a test")


async def test_it_says_who_and_leads_out(shown: Stack, people: People) -> None:
    """Initials, and at a click the name, the account, the time left; Sign out signs out."""
    person = await somebody(people)
    page = await sign_in(person, f"{shown.url}/#/pods/shop")
    await expect(pill(page)).to_have_text("AA")
    await expect(page.get_by_role("button", name="AA: signed in as Alice Arden", expanded=False)).to_be_visible()
    await pill(page).click()
    await expect(pill(page)).to_have_attribute("aria-expanded", "true")
    await expect(page.locator("#card")).to_contain_text("alice@example.com")
    await expect(page.locator("#card")).to_contain_text(
        "The session ends in 11 h 59 min, or after 1 h 0 min without use."
    )
    await page.locator("main").click()
    await expect(page.locator("#card")).to_be_hidden()
    await pill(page).click()
    await page.locator("#card").get_by_role("link", name="Sign out").click()
    await page.get_by_role("button", name="Sign out").click()
    await page.wait_for_url(f"{shown.url}/oauth2/signed_out")
    assert person.complaints == []
    assert person.origins == {shown.url, shown.issuer.url.removesuffix("/dex")}


async def test_it_touches_nothing_of_the_page(people: People) -> None:
    """The document and the window are what they are without it, but for one element that cannot be looked into."""
    look = """() => ({ head: document.head.innerHTML, body: [...document.body.children].map((one) => one.outerHTML.slice(0, 60)),
        after: [...document.documentElement.children].map((one) => one.tagName), window: Object.keys(window).sort(),
        fetch: String(fetch), attributes: document.documentElement.getAttributeNames() })"""
    found = []
    for badge in (False, True):
        async with Stack(site={"badge": badge}) as stack:
            page = await sign_in(await people(), f"{stack.url}/#/namespaces")
            await page.wait_for_selector("#view h1")
            if badge:
                await page.wait_for_selector("html > div", state="attached")
                assert await page.evaluate("document.documentElement.lastElementChild.shadowRoot") is None
                assert await page.evaluate("document.documentElement.lastElementChild.outerHTML") == "<div></div>"
            found.append(await page.evaluate(look))
    assert found[1].pop("after") == [*found[0].pop("after"), "DIV"]
    assert found[0] == found[1]


async def test_keyboard(shown: Stack, people: People) -> None:
    """Opened and closed by keyboard; Escape gives the focus back; what is hidden stays so in this tab alone."""
    person = await somebody(people)
    page = await sign_in(person, f"{shown.url}/#/namespaces")
    await pill(page).focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("#card")).to_be_visible()
    await page.keyboard.press("Shift+Tab")
    await expect(page.get_by_role("button", name="Hide")).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(page.locator("#card")).to_be_hidden()
    await expect(pill(page)).to_be_focused()
    await page.keyboard.press("Space")
    await page.get_by_role("button", name="Hide").click()
    await expect(pill(page)).to_be_hidden()
    async with page.expect_response("**/oauth2/badge"):
        await page.reload()
    await expect(page.locator("html > div")).to_be_attached()
    await expect(pill(page)).to_be_hidden()
    other = await person.tab(f"{shown.url}/")
    await expect(pill(other)).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_for_everybody_who_looks_or_listens(shown: Stack, people: People, scheme: str) -> None:
    """Names, contrast, sizes, and a focus that is seen: closed, open, and after the end; small, and out of the way."""
    person = await somebody(people, color_scheme=scheme, viewport={"width": 320, "height": 640})
    page = await sign_in(person, f"{shown.url}/#/pods/shop")
    await expect(pill(page)).to_be_visible()
    box = await pill(page).bounding_box()
    assert box is not None
    assert max(box["width"], box["height"]) <= 40
    assert await page.evaluate("getComputedStyle(document.documentElement.lastElementChild).pointerEvents") == "none"
    for key in ("", "Enter", "Shift+Tab", "Shift+Tab", "Shift+Tab"):
        if key == "":
            await page.keyboard.press("Shift")  # from now on the focus is shown
            await pill(page).focus()
        else:
            await page.keyboard.press(key)
        assert await page.evaluate(SHADOWED) == [], key
    await end_everything(shown)
    await page.evaluate("dispatchEvent(new Event('focus'))")
    await expect(banner(page)).to_be_visible(timeout=PATIENCE)
    assert await page.evaluate(SHADOWED) == []
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_a_session_that_ended_elsewhere(shown: Stack, people: People) -> None:
    """The next look finds it, says so, and leads back to the very place; the pill is there again."""
    person = await somebody(people)
    page = await sign_in(person, f"{shown.url}/?a=b%20c{LINK}?x=%2F")
    await expect(pill(page)).to_be_visible()
    await end_everything(shown)
    await page.evaluate("dispatchEvent(new Event('focus'))")
    await expect(banner(page)).to_contain_text("You are signed out", timeout=PATIENCE)
    await expect(pill(page)).to_be_hidden()
    await banner(page).get_by_role("button", name="Sign in again").click()
    await fill_in(page)
    await page.wait_for_url(f"{shown.url}/?a=b%20c{LINK}?x=%2F")
    await expect(pill(page)).to_be_visible()
    await expect(banner(page)).to_be_hidden()


async def test_the_uis_own_login_page_is_no_place_to_come_back_to(shown: Stack, people: People) -> None:
    """A UI that goes to its own login when it is refused does not make people forget where they were."""
    page = await sign_in(await somebody(people), f"{shown.url}/#/pods/shop")
    await expect(pill(page)).to_be_visible()
    await end_everything(shown)
    await page.evaluate("location.hash = '#/login'")
    await expect(banner(page)).to_be_visible(timeout=PATIENCE)
    await banner(page).get_by_role("button", name="Sign in again").click()
    await fill_in(page)
    await page.wait_for_url(f"{shown.url}/#/pods/shop")


async def test_a_refusal_that_the_page_meets_is_noticed(shown: Stack, people: People) -> None:
    """When the UI is told 401, the badge looks for itself; and when one has signed in elsewhere, the banner goes."""
    person = await somebody(people)
    page = await sign_in(person, f"{shown.url}/#/namespaces")
    await expect(pill(page)).to_be_visible()
    await end_everything(shown)
    assert await page.evaluate("fetch('api/v1/me').then((reply) => reply.text())")
    await expect(banner(page)).to_contain_text("You are signed out", timeout=PATIENCE)
    other = await person.tab(f"{shown.url}/")
    await fill_in(other)
    await expect(pill(other)).to_be_visible()
    await page.bring_to_front()
    await page.evaluate("dispatchEvent(new Event('focus'))")
    await expect(banner(page)).to_be_hidden(timeout=PATIENCE)


async def test_somebody_else_signed_in(shown: Stack, people: People) -> None:
    """A page that alice opened says so when it acts for bob by now."""
    person = await somebody(people)
    page = await sign_in(person, f"{shown.url}/#/namespaces")
    await expect(pill(page)).to_be_visible()
    await end_everything(shown)
    other = await person.tab(f"{shown.url}/#/namespaces")
    await fill_in(other, "bob")
    await expect(pill(other)).to_be_visible()
    await page.evaluate("dispatchEvent(new Event('focus'))")
    await expect(banner(page)).to_contain_text("Now signed in as Bob", timeout=PATIENCE)
    await banner(page).get_by_role("button", name="Load again").click()
    await expect(page.locator("#who-name")).to_have_text("bob@example.com")
    await expect(banner(page)).to_be_hidden()


async def test_before_the_end(people: People) -> None:
    """Ten minutes before its end a session warns, can be told to be quiet, and can be followed by a longer one."""
    async with Stack(config={"session": {"lifetime": "9m", "idle": "5m"}}) as stack:
        page = await sign_in(await somebody(people), f"{stack.url}/#/pods/shop")
        await expect(banner(page)).to_contain_text("Your session ends in 8 minutes")
        await expect(banner(page)).to_contain_text("Open terminals will close.")
        first = lives(stack)[0].session
        await banner(page).get_by_role("button", name="Sign in again now").click()
        await fill_in(page)
        await page.wait_for_url(f"{stack.url}/#/pods/shop")
        await expect(banner(page)).to_be_visible(timeout=PATIENCE)
        assert max(live.session.ends for live in lives(stack)) > first.ends
        await banner(page).get_by_role("button", name="Later").click()
        await expect(banner(page)).to_be_hidden()
        await expect(pill(page)).to_be_visible()


POLICIES = {
    "nothing at all": "default-src 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    "hashes": "script-src 'sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='; style-src 'none'",
    "nonces alone": "script-src 'nonce-abc' 'strict-dynamic'; object-src 'none'",
    "two of them": "script-src 'self', default-src 'none'; script-src 'nonce-abc' 'strict-dynamic'",
}


@pytest.mark.parametrize("policy", POLICIES)
async def test_pages_with_a_policy(people: People, policy: str) -> None:
    """It runs, asks and looks right below strict policies, which complain of nothing."""
    async with Gated() as gated:
        page_text = (
            b'<!doctype html><html lang="en"><head><base href="https://elsewhere.example/"><title>x</title><body>x'
        )
        headers = [("Content-Type", "text/html"), ("Content-Security-Policy", POLICIES[policy])]

        async def script(link: Link, _arrived: object) -> None:
            await link.send(answer(page_text, headers=headers))

        gated.upstream.script = script
        person = await somebody(people)
        page = await person.tab(f"{gated.url}/")
        await fill_in(page)
        await expect(pill(page)).to_have_text("AA")
        await expect(pill(page)).to_have_css("border-radius", "50%")
        assert person.complaints == []


async def test_terminals(shown: Stack, people: People) -> None:
    """The demo's terminal and one of npm's sockjs-client work beside it."""
    person = await somebody(people)
    page = await sign_in(person, f"{shown.url}/#/pod/{POD}/shell")
    await expect(page.locator(STATUS)).to_have_text("connected")
    await expect(pill(page)).to_be_visible()
    await command(page, "echo hello | world")
    await expect(page.locator(TERMINAL)).to_contain_text("\nhello | world\n")
    await page.add_script_tag(path=node_modules() / "sockjs-client/dist/sockjs.min.js")
    told = await page.evaluate(TALK, ["websocket", SHELL])
    assert (told["used"], told["code"], told["reason"]) == ("websocket", 1, "Process exited")
    await expect(pill(page)).to_be_visible()
    assert person.complaints == []


async def test_without_a_session_there_is_none(shown: Stack, people: People) -> None:
    """The gate's own pages and the issuer's have no badge."""
    person = await somebody(people)
    page = await person.tab(f"{shown.url}/oauth2/signed_out")
    await expect(page.locator("h1")).to_be_visible()
    await visit(page, f"{shown.url}/")
    await page.wait_for_selector("#login")
    assert await page.locator("html > div").count() == 0
