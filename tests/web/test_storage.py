"""aiohttp-session over the gate's own sessions."""

from aiohttp_session import get_session

from oidcgate.web.storage import INBOUND_KEY
from tests.support.browser import NAVIGATION, Browser
from tests.support.stack import Stack
from tests.web.steps import come_back, gate_of, the_live, to_callback


async def test_a_page_sees_the_session(stack: Stack) -> None:
    """Whose it is and since when; without one, an empty new one that sets nothing."""
    browser = await stack.browser()
    pages = gate_of(stack).gate.own_pages
    seen = []

    async def look(inbound):  # type: ignore[no-untyped-def]
        session = await get_session(inbound.request)
        seen.append((session.new, session.get("subject"), session.identity, session.created))
        assert inbound.request[INBOUND_KEY] is inbound
        if not session.new:
            session["anything"] = 1  # what pages keep here is for one request
        return pages._signed_out_page()  # type: ignore[union-attr]

    pages._routes["look"] = {"GET": look}  # type: ignore[union-attr]
    for someone in (browser, Browser()):
        page = await someone.send("GET", f"{stack.url}/oauth2/look", NAVIGATION)
        assert not page.reply.values("Set-Cookie")
    live = the_live(stack)
    assert seen[0] == (False, live.claims.subject, live.handle, int(live.session.started))
    assert seen[1][:3] == (True, None, None)


async def test_a_login_sets_one_session_cookie(stack: Stack) -> None:
    """Beside the loop guard's, and the expiry of the attempt's."""
    browser = Browser()
    page = await come_back(browser, await to_callback(browser, stack))
    names = [line.partition("=")[0] for line in page.reply.values("Set-Cookie")]
    assert sorted(name.partition("-login-")[0] for name in names) == ["oidcgate", "oidcgate", "oidcgate-guard"]
    assert names.count("oidcgate") == 1
