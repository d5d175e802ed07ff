"""The way in, as a browser without scripts of its own sees it."""

from tests.support.browser import Browser
from tests.support.stack import Stack


async def test_first_login_arrives_with_the_persons_own_token(stack: Stack) -> None:
    """Somebody without a session signs in and reaches the page they asked for, with their own token."""
    browser = Browser()
    page = await browser.sign_in(f"{stack.url}/#/pods/shop")
    assert page.status == 200
    assert page.url == f"{stack.url}/#/pods/shop"
    me = await browser.fetch(f"{stack.url}/api/v1/me")
    assert '"username": "alice@example.com"' in me.text
