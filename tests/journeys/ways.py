"""How one gets to see each page of the demo; the gate's own are in ``family``."""

from playwright.async_api import Page

from tests.journeys.steps import FORM, POD, open_terminal, sign_in
from tests.support.chromium import Person
from tests.support.stack import Stack


async def issuer_form(person: Person, stack: Stack) -> Page:
    """The demo issuer's form."""
    return await person.tab(f"{stack.url}/")


async def issuer_failed(person: Person, stack: Stack) -> Page:
    """The demo issuer's form after a wrong password."""
    page = await person.tab(f"{stack.url}/")
    await page.fill(FORM, "alice")
    await page.fill("#password", "wrong")
    await page.press("#password", "Enter")
    await page.wait_for_selector("[role=alert]")
    return page


async def overview(person: Person, stack: Stack) -> Page:
    """The demo UI's overview."""
    page = await sign_in(person, f"{stack.url}/#/overview")
    await page.wait_for_selector("#events li")
    return page


async def pods(person: Person, stack: Stack) -> Page:
    """The demo UI's pods."""
    page = await sign_in(person, f"{stack.url}/#/pods")
    await page.wait_for_selector("[data-pod]")
    return page


async def log(person: Person, stack: Stack) -> Page:
    """The demo UI's log."""
    page = await sign_in(person, f"{stack.url}/#/pod/{POD}/logs")
    await page.wait_for_selector("#log span")
    return page


async def terminal(person: Person, stack: Stack) -> Page:
    """The demo UI's terminal."""
    return await open_terminal(person, stack)


async def forbidden(person: Person, stack: Stack) -> Page:
    """What the demo UI says about a namespace that one may not see."""
    page = await sign_in(person, f"{stack.url}/#/pods/payments", "bob")
    await page.wait_for_selector(".refusal")
    return page
