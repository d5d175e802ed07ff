"""Tokens that run out while somebody works, and the way out, in a real browser."""

import asyncio

import pytest
from playwright.async_api import expect

from tests.journeys.steps import FORM, STATUS, TERMINAL, command, fill_in, open_terminal, sign_in
from tests.support.chromium import People, visit
from tests.support.stack import Stack

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


# Expiry in the middle.


async def test_tokens_are_renewed_unnoticed(people: People) -> None:
    """Tokens run out and are renewed again and again; the page stays, its terminal goes on, nothing is said."""
    async with Stack(issuer={"id_token_life": 3}) as stack:
        person = await people()
        page = await open_terminal(person, stack)
        await page.evaluate("window.mark = 1")
        async with asyncio.timeout(20):
            await stack.issuer.wait_for("token", 3)  # the login, and two renewals
        await command(page, "echo still here")
        await expect(page.locator(TERMINAL)).to_contain_text("\nstill here\n")
        await page.click("[data-nav=pods]")
        await page.wait_for_selector("[data-pod]")
        assert await page.evaluate("window.mark") == 1
        assert await page.is_hidden("#notice")
        assert person.complaints == []
        assert stack.ui is not None
        assert stack.ui.expired_tokens == 0
        assert len({arrival.token_exp for arrival in stack.ui.arrivals} - {None}) >= 2


async def test_revoked_in_the_middle(people: People) -> None:
    """When tokens can be renewed no more, the page's next call leads to the login and back to the same place."""
    async with Stack(issuer={"id_token_life": 3}) as stack:
        url = f"{stack.url}/?n=1#/pods/shop"
        page = await sign_in(await people(), url)
        stack.issuer.refresh_tokens.revoke("demo-0001")
        await page.wait_for_selector(FORM)
        await fill_in(page)
        await page.wait_for_url(url)
        await page.wait_for_selector("[data-pod]")
        assert stack.ui is not None
        assert stack.ui.expired_tokens == 0


# Out.


async def test_sign_out_closes_the_terminal(shown: Stack, people: People) -> None:
    """Signing out in another tab ends the terminal with a reason to read, which stays; the next click leads to the login."""
    person = await people()
    page = await open_terminal(person, shown)
    other = await person.tab(f"{shown.url}/oauth2/sign_out")
    await other.get_by_role("button", name="Sign out").click()
    await other.wait_for_url(f"{shown.url}/oauth2/signed_out")
    await expect(page.locator(STATUS)).to_have_text("connection closed: Session ended: the person signed out")
    assert shown.ui is not None
    await shown.ui.wait_for(lambda ui: not ui.open_terminals)
    await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # somebody looks at the tab again
    await expect(page.locator("#notice")).to_contain_text("Your next click leads to the login.")
    await expect(page.locator(TERMINAL)).to_contain_text("cart:/app#")
    await page.click("[data-nav=pods]")
    await page.wait_for_selector(FORM)
    await fill_in(page)
    await page.wait_for_url(f"{shown.url}/#/pods")
    assert person.complaints == []


async def test_nothing_private_behind_the_back_button(shown: Stack, people: People) -> None:
    """After sign-out the back button finds the login, not what was on the screen before."""
    person = await people()
    page = await sign_in(person, f"{shown.url}/#/pods/shop")
    await visit(page, f"{shown.url}/oauth2/sign_out")
    await expect(page.locator("dd").first).to_have_text("alice@example.com")
    async with page.expect_response(lambda reply: reply.request.method == "POST") as left:
        await page.get_by_role("button", name="Sign out").click()
    await page.wait_for_url(f"{shown.url}/oauth2/signed_out")
    # Without it Chromium shows the page of before, from memory, now and then.
    assert (await (await left.value).all_headers())["clear-site-data"] == '"cache"'
    for _ in range(2):
        await page.go_back(wait_until="commit")
        text = await page.inner_text("body")
        assert "alice" not in text
        assert "shop" not in text
    await page.wait_for_selector(FORM)
