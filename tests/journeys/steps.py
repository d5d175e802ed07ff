"""What people do in a browser, again and again."""

from playwright.async_api import Page, expect

from tests.support.chromium import Person
from tests.support.stack import Stack

FORM = "#login"  # the issuer's
POD = "shop/cart-7d9f5c8b6d-x2x7k"
TERMINAL, STATUS = "#terminal", "#terminal-status"


async def fill_in(page: Page, login: str = "alice") -> None:
    """Answer the issuer's form."""
    await page.fill(FORM, login)
    await page.fill("#password", login)
    await page.press("#password", "Enter")


async def sign_in(person: Person, url: str, login: str = "alice") -> Page:
    """Open an address in a new tab and sign in on the way."""
    page = await person.tab(url)
    await fill_in(page, login)
    await page.wait_for_url(url)
    await expect(page.locator("#who-name")).to_have_text(f"{login}@example.com")
    return page


async def open_terminal(person: Person, stack: Stack) -> Page:
    """A signed-in person's terminal, ready to be typed into."""
    page = await sign_in(person, f"{stack.url}/#/pod/{POD}/shell")
    await expect(page.locator(STATUS)).to_have_text("connected")
    return page


async def command(page: Page, line: str) -> None:
    """Type a line into the terminal."""
    await page.focus(TERMINAL)
    await page.keyboard.type(line)
    await page.keyboard.press("Enter")
