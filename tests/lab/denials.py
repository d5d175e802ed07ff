"""
What no proxy that asks the gate may let through, and what it says instead: the same questions to each of them.

Beside ``scenario.walk``, since these need a site of their own, or a gate that is away.
"""

from urllib.parse import urlsplit

from tests.lab.peers import Peer
from tests.lab.scenario import answer, me, seen, signed_in, ui_of
from tests.support.browser import NAVIGATION, Browser, Page
from tests.support.raw import request
from tests.web.steps import Intermediary, look_again

ADMINS_ONLY = {"rules": [{"path": "/api/*", "groups": ["platform-admins"]}]}  # a site's access

# Some servers read these as a path below /api/.
SPELLINGS = (
    "//api/v1/me",
    "/x/../api/v1/me",
    "/%61pi/v1/me",
    "/api%2fv1/me",
    "/x/..;/api/v1/me",
    "/x%2f..%2fapi/v1/me",
)
SECOND_BEARER = "base64url.bearer.authorization.k8s.io.dG9rZW4"
PROTOCOLS = {  # of a websocket, and what the UI may see of them
    "v4.channel.k8s.io": ["v4.channel.k8s.io"],
    f"{SECOND_BEARER}, v4.channel.k8s.io": ["v4.channel.k8s.io"],
    f"a, {SECOND_BEARER}, b": ["a", "b"],
    f"a,{SECOND_BEARER}": ["a"],
    SECOND_BEARER: [],
    f"{SECOND_BEARER}, {SECOND_BEARER}": [],
}


async def stays_away(peer: Peer) -> list[Page]:
    """The gate goes away: what a script and a page of somebody who is signed in get, and nobody is signed out."""
    browser = await signed_in(peer)
    await peer.stack.stop_gate()
    pages = await _both(peer, browser)
    assert [page.reply.values("Set-Cookie") for page in pages] == [[], []]
    return pages


async def loses_its_store(peer: Peer) -> list[Page]:
    """The gate cannot know who somebody is: what a script and a page get."""
    browser = await signed_in(peer)
    assert peer.stack.gate is not None
    store = Intermediary(peer.stack.gate.store)
    store.is_down = True
    peer.stack.gate.sessions._store = store
    look_again(peer.stack, at_the_store=True)
    browser.cookies = {key: "A" * 43 for key in browser.cookies}
    return await _both(peer, browser)


async def _both(peer: Peer, browser: Browser) -> list[Page]:
    return [await me(peer, browser), await browser.send("GET", f"{peer.site}/", NAVIGATION)]


def tries_again(pages: list[Page]) -> None:
    """The proxy's own page for a gate that is away."""
    for page in pages:
        assert page.status == 503
        assert page.reply.value("Retry-After") == page.reply.value("Refresh") == "3"


async def refuses_in_the_gate_s_words(peer: Peer) -> None:
    """Behind it a Dashboard 7.x that is ``ADMINS_ONLY``: a text that its code knows, and a page that nobody keeps."""
    page = await Browser().fetch(f"{peer.site}/api/v1/pod")
    assert (page.status, page.text) == (401, "MSG_LOGIN_UNAUTHORIZED_ERROR")
    assert page.reply.value("Content-Type").startswith("text/plain")
    page = await me(peer, await signed_in(peer, "bob"))
    assert (page.status, page.reply.value("Cache-Control")) == (403, "no-store")


async def refuses_each_spelling(peer: Peer) -> None:
    """Behind it a site that is ``ADMINS_ONLY``: what is asked about is what the UI would get."""
    browser = await signed_in(peer, "bob")
    headers = {**NAVIGATION, "Cookie": browser.cookie_header(peer.site)}
    before = len(ui_of(peer).arrivals)
    for target in SPELLINGS:
        reply = await answer(peer, request(target, host=urlsplit(peer.site).netloc, headers=headers))
        assert reply.status in (400, 403), target
    assert len(ui_of(peer).arrivals) == before


async def keeps_the_second_bearer_back(peer: Peer) -> None:
    """A token among a websocket's protocols, which an API server would believe, does not reach the UI."""
    browser = await signed_in(peer)
    for protocols, left in PROTOCOLS.items():
        page = await browser.fetch(f"{peer.site}/api/v1/echo", Sec_WebSocket_Protocol=protocols)
        arrived = dict(seen(page)).get("sec-websocket-protocol", "")
        assert [name.strip() for name in arrived.split(",") if name] == left
