"""How one gets to see each page of the gate and of the demo."""

from playwright.async_api import Page, Route

from tests.journeys.steps import FORM, POD, fill_in, open_terminal, sign_in
from tests.support.chromium import Person, visit
from tests.support.stack import Stack


async def start(person: Person, stack: Stack) -> Page:
    """The page that fetches the fragment, held where it would go on by itself."""

    async def stay(route: Route) -> None:
        await route.fulfill(status=204)

    page = await person.tab()
    await page.route("**/oauth2/start?rd=*&f=*", stay)
    await visit(page, f"{stack.url}/oauth2/start?rd=%2F")
    return page


async def signed_out(person: Person, stack: Stack) -> Page:
    """Where the issuer's own sign-out leads back to."""
    return await person.tab(f"{stack.url}/oauth2/signed_out")


async def home(person: Person, stack: Stack) -> Page:
    """The landing page."""
    page = await sign_in(person, f"{stack.url}/")
    await visit(page, f"{stack.url}/oauth2/")
    return page


async def sign_out(person: Person, stack: Stack) -> Page:
    """The question before a sign-out."""
    page = await sign_in(person, f"{stack.url}/")
    await visit(page, f"{stack.url}/oauth2/sign_out")
    return page


async def form_ran_out(person: Person, stack: Stack) -> Page:
    """A sign-out whose form belongs to an older session."""
    page = await sign_out(person, stack)
    await page.evaluate("document.querySelector('[name=csrf]').value = 'other'")
    await page.get_by_role("button", name="Sign out").click()
    await page.wait_for_load_state()
    return page


async def not_found(person: Person, stack: Stack) -> Page:
    """An address below the prefix that means nothing."""
    return await person.tab(f"{stack.url}/oauth2/such/a/long-path-{'x' * 60}")


async def callback_without_login(person: Person, stack: Stack) -> Page:
    """A callback that nobody began."""
    return await person.tab(f"{stack.url}/oauth2/callback?code=c&state=s")


async def provider_refuses(person: Person, stack: Stack) -> Page:
    """The issuer sends the person back with an error."""
    stack.issuer.quirks.callback_params = lambda pairs: [
        *((name, value) for name, value in pairs if name == "state"),
        ("error", "invalid_scope"),
    ]
    page = await person.tab(f"{stack.url}/")
    await fill_in(page)
    await page.wait_for_url("**/oauth2/callback?*")
    return page


async def late(person: Person, stack: Stack) -> Page:
    """The issuer does not know the code any more."""
    page = await person.tab(f"{stack.url}/")
    stack.issuer.quirks.callback_params = lambda pairs: [(n, "gone" if n == "code" else v) for n, v in pairs]
    await fill_in(page)
    await page.wait_for_url("**/oauth2/callback?*")
    return page


async def not_admitted(person: Person, stack: Stack) -> Page:
    """Somebody the issuer knows, whom the site is not open to."""
    page = await person.tab(f"{stack.url}/")
    await fill_in(page, "carol")
    await page.wait_for_url("**/oauth2/callback?*")
    return page


async def refused_by_rule(person: Person, stack: Stack) -> Page:
    """A path for others."""
    page = await sign_in(person, f"{stack.url}/", "bob")
    await visit(page, f"{stack.url}/admins/only")
    return page


async def upstream_gone(person: Person, stack: Stack) -> Page:
    """502: what lies behind is not there."""
    page = await home(person, stack)
    assert stack.ui is not None
    await stack.ui.stop()
    await visit(page, f"{stack.url}/a/page")
    return page


async def upstream_silent(person: Person, stack: Stack) -> Page:
    """504: what lies behind says nothing."""
    page = await person.tab(f"{stack.url}/")
    await fill_in(page)
    await page.wait_for_selector("text=too slow")
    return page


async def provider_down(person: Person, stack: Stack) -> Page:
    """503: the issuer fails while somebody signs in."""
    page = await person.tab(f"{stack.url}/")
    stack.issuer.quirks.fail["token"] = 503
    await fill_in(page)
    await page.wait_for_url("**/oauth2/callback?*")
    return page


async def loop(person: Person, stack: Stack) -> Page:
    """A browser that keeps no session."""
    page = await sign_in(person, f"{stack.url}/")
    stack.issuer.auto_login = "alice"
    for _ in range(9):
        if await page.locator("h1:has-text('circles')").count():
            break
        await person.context.clear_cookies(name="oidcgate")
        await visit(page, f"{stack.url}/")
        await page.wait_for_selector("#who-name, h1:has-text('circles')")
    return page


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
