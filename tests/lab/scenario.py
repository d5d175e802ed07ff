"""
What has to work through any proxy that asks the gate: one walk, one result a check.

``walk`` runs every check against a running peer and returns ``{check: "yes"}``, or what the peer is known not to do
(``Peer.limits``), or ``no: …`` with what happened. The dictionary's order is the table's in docs/forward-auth.md.
"""

import asyncio
import json
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from playwright.async_api import expect

from oidcgate.demo.issuer import Person
from oidcgate.demo.ui import DemoUI
from oidcgate.demo.ui.evidence import Arrival
from tests.journeys.steps import STATUS, TERMINAL, command, fill_in
from tests.lab.peers import Peer
from tests.support.browser import NAVIGATION, SCRIPT, Browser, Page
from tests.support.chromium import Person as Somebody
from tests.support.raw import Reply, Wire, connect, request
from tests.web.steps import turn

Check = Callable[[Peer], Awaitable[None]]

POD = "shop/cart-7d9f5c8b6d-x2x7k"
LIMIT = 20.0  # seconds for one check
TWELVE_HOURS = 12 * 3600.0
MALLORY = "mallory"  # in every forged value, and nowhere else
TOKEN = "eyJ"  # how every JSON Web Token begins

# Names that say who somebody is, or where a request came from: to the UI, or to the gate.
FORGED = (
    "Authorization",
    "X-Auth-Request-User",
    "X-Auth-Request-Email",
    "X-Auth-Request-Groups",
    "X-Auth-Request-Preferred-Username",
    "X-Forwarded-User",
    "X-Forwarded-Group",
    "X-Forwarded-Email",
    "X-Forwarded-Id-Token",
    "jweToken",
)
# Where the request goes, as somebody would like the gate to believe: an address that needs no login, another method.
MISLEADING = {
    "X-Original-URL": "http://mallory.example/",
    "X-Original-URI": "/mallory",
    "X-Original-Method": "OPTIONS",
    "X-Forwarded-Uri": "/mallory",
    "X-Forwarded-Host": "mallory.example",
    "X-Forwarded-Method": "OPTIONS",
    "X-Forwarded-Proto": "mallory",
    "X-Auth-Request-Redirect": "/mallory",
}
# The same names as a forgiving server behind the peer may read them.
# Who it acts for: a peer drops these, or the gate refuses the request.
ACTING = ("Impersonate-User", "Impersonate-Group", "Impersonate-Uid", "X-Remote-User", "X-Remote-Group")
ALIASES = ("Impersonate_User", "X_Remote_User", "X_Forwarded_User", "X_Auth_Request_User", "X.Forwarded.User")
PREFIXED = ("Impersonate-Extra-Scopes", "X-Remote-Extra-Scopes")
# Ways to write the question's address that some proxy reads as another.
QUESTIONS = (
    "/oauth2/auth",
    "/oauth2/auth/",
    "/oauth2/auth?x=1",
    "/oauth2/auth/nginx",
    "/oauth2/auth/haproxy",
    "/oauth2/auth/traefik",
    "/oauth2/auth/caddy",
    "/oauth2/auth/envoy",
    "/oauth2/auth/envoy/",
    "/oauth2/auth/envoy/api/v1/me",
    "/oauth2/auth/envoy/../../start",
    "/oauth2/auth/envoy/%2e%2e/%2e%2e/start",
    "/oauth2/auth/nginx/../../start",
    "/oauth2/%61uth/nginx",
    "/oauth2//auth/nginx",
    "//oauth2/auth/nginx",
    "/oauth2/./auth/nginx",
    "/oauth2/x/../auth/nginx",
    "/OAUTH2/AUTH/nginx",
    "/oauth2%2fauth/nginx",
)
# Addresses that two programs could read differently, and that no browser sends.
MALFORMED = ("/a#b", "/a\\b", "/a\x7fb", "*")


Jar = Browser  # what a browser is when all that counts of it is its cookies


def ui_of(peer: Peer) -> DemoUI:
    """The UI behind the peer."""
    assert peer.stack.ui is not None
    return peer.stack.ui


async def signed_in(peer: Peer, login: str = "alice") -> Browser:
    """A browser after its login through the peer."""
    browser = Browser()
    page = await browser.sign_in(f"{peer.site}/", login)
    assert page.status == 200, f"the login ended with {page.status} at {page.url}: {page.text[:200]}"
    return browser


async def me(peer: Peer, browser: Browser) -> Page:
    """Ask the UI who it is, as its page does."""
    return await browser.fetch(f"{peer.site}/api/v1/me")


def seen(page: Page) -> list[tuple[str, str]]:
    """What the UI's echo saw, lower-case names."""
    assert page.status == 200, f"the echo answered {page.status}: {page.text[:200]}"
    return [(name.lower(), value) for name, value in json.loads(page.text)["headers"]]


# The checks.


async def login(peer: Peer) -> None:
    """Somebody opens the address, signs in, and the UI knows who it is by the person's own token."""
    browser = await signed_in(peer)
    assert browser.visited[-1].url.rstrip("/") == peer.site, browser.visited[-1].url
    page = await me(peer, browser)
    assert page.status == 200, page.status
    assert json.loads(page.text)["username"] == "alice@example.com"


async def deep_link(peer: Peer) -> None:
    """Path, query and fragment are what they were before the login."""
    url = f"{peer.site}/some/path?x=a%20b&y=%2F%26&z=c+d#/pods?q=1%20"
    browser = Browser()
    page = await browser.sign_in(url)
    assert page.url == url, page.url
    target = ui_of(peer).arrivals[-1].raw_target
    assert target == "/some/path?x=a%20b&y=%2F%26&z=c+d", target


async def api_401(peer: Peer) -> None:
    """A script without a session gets 401: no redirect, no cookie, and nothing reaches the UI."""
    before = len(ui_of(peer).arrivals)
    for method in ("GET", "POST"):
        page = await Browser().fetch(f"{peer.site}/api/v1/me", method)
        assert page.status == 401, f"{page.status} {page.location}".strip()
        assert page.reply.values("Set-Cookie") == [], "a cookie was set"
        assert page.reply.values("WWW-Authenticate"), "WWW-Authenticate is missing"
    assert len(ui_of(peer).arrivals) == before, "the UI saw it"


async def websocket(peer: Peer) -> None:
    """The UI's terminal works; without a session, and from another origin, there is no handshake."""
    browser = await signed_in(peer)
    shell = json.loads((await browser.fetch(f"{peer.site}/api/v1/pod/{POD}/shell/cart")).text)["id"]
    cookie = browser.cookie_header(peer.site)
    async with terminal(peer, shell, cookie, peer.site) as socket:
        assert await socket.receive_str() == "o"
        await say(socket, {"Op": "bind", "SessionID": shell})
        await say(socket, {"Op": "stdin", "Data": "echo $((6 * 7)) whoami\r"})
        await hear(socket, "whoami\r\n")
    for jar, origin in (("", peer.site), (cookie, "http://mallory.example")):
        try:
            async with terminal(peer, shell, jar, origin):
                raise AssertionError(f"a handshake from {origin} passed, {'with' if jar else 'without'} a session")
        except aiohttp.WSServerHandshakeError as error:
            assert error.status in (401, 403), error.status  # noqa: PT017


@asynccontextmanager
async def terminal(peer: Peer, shell: str, cookie: str, origin: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """A websocket to the shell, as a browser would open it."""
    headers = {
        "Host": urlsplit(peer.site).netloc,
        "Origin": origin,
        "Sec-Fetch-Site": "same-origin" if origin == peer.site else "cross-site",
        "Sec-Fetch-Mode": "websocket",
        "Sec-Fetch-Dest": "empty",
    }
    if cookie:
        headers["Cookie"] = cookie
    url = f"http://127.0.0.1:{peer.port}/api/sockjs/123/abcdefgh/websocket?{shell}"
    async with aiohttp.ClientSession() as session, session.ws_connect(url, headers=headers) as socket:
        yield socket


async def say(socket: aiohttp.ClientWebSocketResponse, message: dict[str, Any]) -> None:
    """One message, as SockJS wraps it."""
    await socket.send_str(json.dumps([json.dumps(message)]))


async def hear(socket: aiohttp.ClientWebSocketResponse, text: str) -> None:
    """Read until the terminal has said something."""
    said = ""
    while text not in said:
        frame = await socket.receive_str()
        if frame.startswith("a"):
            said += "".join(json.loads(inner)["Data"] for inner in json.loads(frame[1:]))


async def upload(peer: Peer) -> None:
    """A body of 1 MB reaches the UI while it is still being sent, and whole."""
    browser = await signed_in(peer)
    csrf = json.loads((await browser.fetch(f"{peer.site}/api/v1/csrftoken/upload")).text)["token"]
    headers = {
        **SCRIPT,
        "Origin": peer.site,
        "Cookie": browser.cookie_header(peer.site),
        "X-CSRF-TOKEN": csrf,
        "Transfer-Encoding": "chunked",
    }
    host = urlsplit(peer.site).netloc
    wire = await connect(peer.port)
    try:
        await wire.send(request("/api/v1/upload", method="POST", host=host, headers=headers))
        await wire.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        await ui_of(peer).wait_for(lambda ui: ui.arrivals[-1].raw_target == "/api/v1/upload", timeout=LIMIT / 2)
        await wire.send((b"10000\r\n" + b"x" * 65536 + b"\r\n") * 15 + b"0\r\n\r\n")
        reply = await wire.reply("POST")
    finally:
        await wire.close()
    assert reply.status == 200, f"{reply.status}: {reply.text[:200]}"
    assert json.loads(reply.text)["bytes"] == 1 << 20, reply.text


async def download(peer: Peer) -> None:
    """Lines of a log come as they are written; a download of 5 MB comes whole."""
    browser = await signed_in(peer)
    host, cookie = urlsplit(peer.site).netloc, browser.cookie_header(peer.site)
    wire = await connect(peer.port)
    try:
        headers = {**SCRIPT, "Cookie": cookie}
        await wire.send(request(f"/api/v1/log/stream/{POD}", host=host, headers=headers))
        assert (await wire.head()).status == 200
        await lines(wire, 15)  # ten of the past come at once
    finally:
        await wire.close()
    whole = await browser.fetch(f"{peer.site}/api/v1/log/file/{POD}?bytes=5000000")
    assert whole.reply.complete, "it broke off"
    assert len(whole.reply.body) == 5_000_000, len(whole.reply.body)


async def lines(wire: Wire, count: int) -> None:
    """Read so many lines of a body, framing and all."""
    for _ in range(count):
        await asyncio.wait_for(wire.reader.readuntil(b"\n"), LIMIT / 2)


async def big_token(peer: Peer) -> None:
    """Somebody in so many groups that the token has 8 kB gets through, also with a body that fills buffers."""
    groups = tuple(f"platform-team-{number:04}-of-the-company" for number in range(160))
    person = Person("dora", "dora", "Dora Dahl", "dora@example.com", groups, "demo-0004")
    peer.stack.issuer.replace_person(person)
    browser = await signed_in(peer, "dora")
    page = await me(peer, browser)
    assert page.status == 200, page.status
    assert json.loads(page.text)["groups"] == list(groups)
    (bearer,) = ui_of(peer).arrivals[-1].values("Authorization")
    assert 8000 < len(bearer) < 12000, len(bearer)
    page = await browser.fetch(f"{peer.site}/api/v1/echo", "POST", b"x" * 300_000)
    assert page.status == 200, f"{page.status} with a body"
    assert json.loads(page.text)["bytes"] == 300_000


async def forged_headers(peer: Peer) -> None:
    """Whatever a client says of itself or of its way, the UI hears only what the gate says."""
    browser = await signed_in(peer)
    forged = {name: f"Bearer {MALLORY}" if name == "Authorization" else MALLORY for name in FORGED}
    page = await browser.fetch(f"{peer.site}/api/v1/echo", **underscored({**forged, **MISLEADING}))
    headers = seen(page)
    passed = [name for name, value in headers if MALLORY in value]
    assert passed == [], f"{', '.join(passed)} passed"
    bearers = [value for name, value in headers if name == "authorization"]
    assert len(bearers) == 1, f"{len(bearers)} Authorization lines"
    assert bearers[0].startswith(f"Bearer {TOKEN}"), "not the gate's Authorization"
    await are_dropped(peer, ACTING)
    told = dict(headers)
    assert told.get("x-auth-request-email") == "alice@example.com", told.get("x-auth-request-email")
    assert told.get("x-forwarded-email") == "alice@example.com", told.get("x-forwarded-email")
    for nobody in (Browser(), Browser(cookies={("ui.localhost", "oidcgate"): "A" * 43})):
        page = await nobody.fetch(f"{peer.site}/api/v1/echo", **underscored({**forged, **MISLEADING}))
        assert page.status in (401, 403), f"{page.status} without a session"


def underscored(headers: dict[str, str]) -> dict[str, str]:
    """As keywords for ``Browser.fetch``."""
    return {name.replace("-", "_"): value for name, value in headers.items()}


async def aliases(peer: Peer) -> None:
    """Nor does it hear forged names that are spelled with ``_`` or ``.``."""
    await are_dropped(peer, ALIASES)


async def prefixes(peer: Peer) -> None:
    """Nor such as end in anything. (Without Impersonate-User an API server refuses them.)"""
    await are_dropped(peer, PREFIXED)


async def are_dropped(peer: Peer, names: tuple[str, ...]) -> None:
    """The UI does not see headers of these names; to refuse them is as good as to drop them."""
    browser = await signed_in(peer)
    headers = {**SCRIPT, **dict.fromkeys(names, MALLORY)}
    page = await browser.send("GET", f"{peer.site}/api/v1/echo", headers)
    if page.status not in (400, 403):
        passed = [name for name, value in seen(page) if MALLORY in value]
        assert passed == [], f"{', '.join(passed)} passed"


async def cookie_kept_back(peer: Peer) -> None:
    """The UI sees its own cookies and not the gate's."""
    browser = await signed_in(peer)
    host = urlsplit(peer.site).hostname or ""
    browser.cookies = {(host, "first"): "1", **browser.cookies, (host, "last"): "2"}
    cookie = dict(seen(await browser.fetch(f"{peer.site}/api/v1/echo"))).get("cookie", "")
    assert "first=1" in cookie, cookie
    assert "last=2" in cookie, cookie
    assert "oidcgate" not in cookie, "the UI sees the session's cookie"


async def question_is_hidden(peer: Peer) -> None:
    """Nobody outside can put the question to the gate: the answer holds a token."""
    browser = await signed_in(peer)
    host, cookie = urlsplit(peer.site).netloc, browser.cookie_header(peer.site)
    original = {"X-Original-URL": f"{peer.site}/", "X-Original-Method": "GET"}
    forwarded = {"X-Forwarded-Uri": "/", "X-Forwarded-Host": host, "X-Forwarded-Proto": "http"}
    leaky = []
    for target in QUESTIONS:
        headers = {**SCRIPT, "Cookie": cookie, **original, **forwarded, "X-Forwarded-Method": "GET"}
        reply = await answer(peer, request(target, host=host, headers=headers))
        text = reply.text + "".join(f"{name}: {value}\n" for name, value in reply.headers)
        if TOKEN in text or "x-auth-request-" in text.lower():
            leaky.append(target)
    assert leaky == [], f"answered {' '.join(leaky)}"


async def answer(peer: Peer, raw: bytes) -> Reply:
    """A reply on a connection of its own; a connection that is only closed counts as 400."""
    wire = await connect(peer.port)
    try:
        await wire.send(raw)
        return await wire.reply()
    except (asyncio.IncompleteReadError, ConnectionError):
        return Reply(400, "closed", [])
    finally:
        await wire.close()


async def malformed(peer: Peer) -> None:
    """An address that two programs could read differently is refused with 400, and the UI never sees it."""
    browser = await signed_in(peer)
    host, cookie = urlsplit(peer.site).netloc, browser.cookie_header(peer.site)
    before = len(ui_of(peer).arrivals)
    passed = {}
    for target in MALFORMED:
        reply = await answer(peer, request(target, host=host, headers={**NAVIGATION, "Cookie": cookie}))
        if len(ui_of(peer).arrivals) > before or reply.status not in (400, 403, 404):
            passed[target] = reply.status
        before = len(ui_of(peer).arrivals)
    other = request(f"{peer.site}/", host="elsewhere.localhost", headers={**NAVIGATION, "Cookie": cookie})
    reply = await answer(peer, other)
    judged_alike = len(ui_of(peer).arrivals) == before or arrived_for(ui_of(peer).arrivals[-1]) == host
    assert judged_alike, f"Host of another server: {reply.status}"
    assert passed == {}, f"{passed}"


def arrived_for(arrival: Arrival) -> str:
    """The Host that the UI was sent."""
    return next(value.decode() for name, value in arrival.headers if name.lower() == b"host")


async def sign_out(peer: Peer) -> None:
    """After the sign-out a script gets 401 and a page the login."""
    browser = await signed_in(peer)
    page = await browser.submit(await browser.open(f"{peer.stack.url}/oauth2/sign_out"))
    assert page.status == 200, f"{page.status} at {page.url}"
    await is_out(peer, browser)


async def expired_session(peer: Peer) -> None:
    """When the session has run out, a script gets 401 and a page the login. Turns the clock: comes last."""
    browser = await signed_in(peer)
    turn(peer.stack, peer.stack.clock, TWELVE_HOURS + 1)
    await is_out(peer, browser)


async def is_out(peer: Peer, browser: Browser) -> None:
    """The login is needed, and a script is told so by 401, unless it is known that this peer redirects it, too."""
    page = await browser.send("GET", f"{peer.site}/", NAVIGATION)
    assert page.status == 302, f"a page got {page.status}"
    assert "/oauth2/start" in page.location, page.location
    expected = (401,) if "API 401" not in peer.limits else (302, 401, 403)
    page = await me(peer, browser)
    assert page.status in expected, f"a script got {page.status}"


CHECKS: dict[str, Check] = {
    "login": login,
    "deep link": deep_link,
    "API 401": api_401,
    "websocket": websocket,
    "upload": upload,
    "download": download,
    "big token": big_token,
    "forged headers": forged_headers,
    "aliases": aliases,
    "prefixes": prefixes,
    "cookie kept back": cookie_kept_back,
    "question hidden": question_is_hidden,
    "malformed": malformed,
    "sign-out": sign_out,
    "expired session": expired_session,
}


async def walk(peer: Peer) -> dict[str, str]:
    """All checks, in order, each with a browser of its own."""
    return {name: await result(peer, name, check) for name, check in CHECKS.items()}


async def result(peer: Peer, name: str, check: Check) -> str:
    """``yes``, or the limit that is known, or what happened."""
    try:
        async with asyncio.timeout(LIMIT):
            await check(peer)
    except Exception as error:
        if name in peer.limits:
            return peer.limits[name]
        where = traceback.extract_tb(error.__traceback__)[-1]
        first = (str(error) or type(error).__name__).splitlines()[0]
        return f"no: {first} ({where.name}:{where.lineno})"
    return "yes"


async def works_in_chromium(somebody: Somebody, peer: Peer) -> None:
    """A real browser: the login, a deep link with its fragment, and a terminal that answers."""
    url = f"{peer.site}/?a=b%20c#/pod/{POD}/shell"
    page = await somebody.tab(url)
    await fill_in(page)
    await page.wait_for_url(url)
    await expect(page.locator("#who-name")).to_have_text("alice@example.com")
    await expect(page.locator(STATUS)).to_have_text("connected")
    await command(page, "echo through it")
    await expect(page.locator(TERMINAL)).to_contain_text("\nthrough it\n")
    assert somebody.complaints == []
