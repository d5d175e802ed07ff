"""What every request meets: session, policy, and only then the UI."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from oidcgate.errors import LoginError
from oidcgate.web import texts
from tests.support.browser import NAVIGATION, SCRIPT, Browser
from tests.support.raw import connect, fetch, request
from tests.support.stack import Stack
from tests.web.steps import ask, gate_of, look_again, quick_stack, the_live

CROSS = {"Sec-Fetch-Site": "cross-site"}
DOCUMENT = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
HTML = "text/html,application/xhtml+xml,*/*;q=0.8"


async def sent(browser: Browser, stack: Stack, method: str, path: str, headers: dict[str, str]) -> Any:
    """A request with ``{0}`` in headers standing for our origin."""
    filled = {name: value.format(stack.url) for name, value in headers.items()}
    return await browser.send(method, stack.url + path, filled)


def reached(stack: Stack, path: str) -> int:
    """How many requests for a path came to the UI."""
    assert stack.ui is not None
    return sum(arrival.raw_target == path for arrival in stack.ui.arrivals)


BESIDE = {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}


@pytest.mark.parametrize("path", ["/x", "/oauth2/session", "/oauth2/userinfo", "/oauth2/nothing"])
async def test_another_sites_page_keeps_no_session_alive(path: str) -> None:
    """A sibling host's page makes the browser ask with our cookie: that is no use of the session."""
    async with quick_stack() as stack:
        browser = await stack.browser()
        live = the_live(stack)
        live.seen -= 100.0
        look_again(stack)
        before = live.seen
        await browser.send("GET", stack.url + path, BESIDE)
        assert live.seen == before
        await browser.send("GET", stack.url + path, SCRIPT)
        assert live.seen > before


# Without a session: 302 or 401 (design: Contract 3)

WAYS = [
    ("GET", "/", NAVIGATION, True),
    ("HEAD", "/", NAVIGATION, True),
    ("GET", "/deep/link?x=1", NAVIGATION, True),
    ("GET", "/", {**NAVIGATION, **CROSS}, True),
    ("GET", "/", {"Accept": HTML}, True),
    ("GET", "/", {"Accept": "text/html;q=0.5,application/json;q=0.4"}, True),
    ("GET", "/", {"Accept": "text/html;q=0.4,application/json;q=0.5"}, False),
    ("GET", "/", {"Accept": "text/html;q=0"}, False),
    ("GET", "/", {"Accept": "*/*"}, False),
    ("GET", "/", {"Accept": "application/json"}, False),
    ("GET", "/", {}, False),
    ("GET", "/", SCRIPT, False),
    ("GET", "/", {**SCRIPT, "Accept": HTML}, False),
    ("GET", "/", {"Accept": HTML, "Sec-Fetch-Mode": "navigate"}, False),
    ("GET", "/", {"Accept": HTML, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}, False),
    ("GET", "/", {"Accept": HTML, "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}, False),
    ("POST", "/", NAVIGATION, False),
    ("PUT", "/", NAVIGATION, False),
    ("OPTIONS", "/", {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}, False),
    ("GET", "/api/v1/pod", NAVIGATION, False),
    ("GET", "/apis/apps/v1", NAVIGATION, False),
    ("GET", "/api/v1/pod", {"Accept": HTML}, False),
    ("GET", "/", {**NAVIGATION, "Connection": "Upgrade", "Upgrade": "websocket"}, False),
]


@pytest.mark.parametrize(("method", "path", "headers", "navigates"), WAYS)
async def test_without_a_session(
    stack: Stack, method: str, path: str, headers: dict[str, str], navigates: bool
) -> None:
    """Somebody who opens a page is sent to sign in; a program is told 401; nothing reaches the UI."""
    page = await Browser().send(method, stack.url + path, headers)
    if navigates:
        assert page.status == 302
        assert page.location.startswith(f"{stack.url}/oauth2/start?rd=%2F")
    else:
        assert page.status == 401
        assert page.reply.value("WWW-Authenticate")
        assert not page.location
    assert not page.reply.values("Set-Cookie")
    assert not page.reply.values("Access-Control-Allow-Origin")
    assert stack.ui is not None
    assert not stack.ui.arrivals


async def test_the_target_is_kept_as_it_was_sent(stack: Stack) -> None:
    """Nothing of a deep link is decoded or lost on the way through the login."""
    page = await Browser().send("GET", f"{stack.url}/a%2Fb/c%20d?x=%26&y=+&z", NAVIGATION)
    assert page.location == f"{stack.url}/oauth2/start?rd=%2Fa%252Fb%2Fc%2520d%3Fx%3D%2526%26y%3D%2B%26z"


# With a session: where it comes from

CROSSINGS: list[tuple[str, str, dict[str, str], bool]] = [
    ("GET", "/api/v1/me", {"Sec-Fetch-Site": "same-origin"}, True),
    ("GET", "/api/v1/me", {"Sec-Fetch-Site": "none"}, True),
    ("GET", "/api/v1/me", {}, True),
    ("GET", "/api/v1/me", CROSS, False),
    ("GET", "/api/v1/me", {"Sec-Fetch-Site": "same-site"}, False),
    ("GET", "/api/v1/me", {**CROSS, **DOCUMENT}, False),
    ("GET", "/api/v1/me", {"Origin": "https://evil.example"}, False),
    ("GET", "/api/v1/me", {"Origin": "null"}, False),
    ("GET", "/", {**CROSS, **DOCUMENT}, True),
    ("GET", "/", {"Sec-Fetch-Site": "same-site", **DOCUMENT}, True),
    ("GET", "/", {**CROSS, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}, False),
    ("GET", "/", {**CROSS, "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"}, False),
    ("GET", "/", {**CROSS, **DOCUMENT, "Origin": "https://evil.example"}, False),
    ("POST", "/api/v1/echo", {"Origin": "{0}"}, True),
    ("POST", "/api/v1/echo", {"Origin": "{0}", "Sec-Fetch-Site": "same-origin"}, True),
    ("POST", "/api/v1/echo", {"Sec-Fetch-Site": "same-origin"}, True),
    ("POST", "/api/v1/echo", {"Referer": "{0}/x"}, True),
    ("POST", "/api/v1/echo", {}, False),
    ("POST", "/api/v1/echo", {"Origin": "null"}, False),
    ("POST", "/api/v1/echo", {"Origin": "https://evil.example"}, False),
    ("POST", "/api/v1/echo", {"Origin": "{0}1"}, False),
    ("POST", "/api/v1/echo", {"Referer": "https://evil.example/{0}/"}, False),
    ("POST", "/api/v1/echo", {"Referer": "{0}.evil.example/"}, False),
    ("POST", "/", {**CROSS, **DOCUMENT}, False),
    ("DELETE", "/api/v1/echo", {"Origin": "{0}", "Sec-Fetch-Site": "cross-site"}, False),
    ("PUT", "/api/v1/echo", {"Origin": "{0}"}, True),
    ("PATCH", "/api/v1/echo", {"Sec-Fetch-Site": "same-site"}, False),
    ("OPTIONS", "/api/v1/echo", {"Origin": "https://evil.example"}, False),
    ("POST", "/api/sockjs/000/abcdefgh/xhr_send", {"Origin": "https://evil.example"}, False),
    (
        "GET",
        "/api/sockjs/000/abcdefgh/jsonp?c=x",
        {**CROSS, "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"},
        False,
    ),
    (
        "GET",
        "/api/sockjs/000/abcdefgh/htmlfile?c=x",
        {**CROSS, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
        False,
    ),
    (
        "GET",
        "/api/sockjs/000/abcdefgh/eventsource",
        {**CROSS, "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"},
        False,
    ),
]


@pytest.mark.parametrize(("method", "path", "headers", "passes"), CROSSINGS)
async def test_requests_by_where_they_come_from(
    stack: Stack, method: str, path: str, headers: dict[str, str], passes: bool
) -> None:
    """Another site's page gets people here, and nothing else; refusals name nobody and share nothing."""
    browser = await stack.browser()
    assert stack.ui is not None
    stack.ui.arrivals.clear()
    page = await sent(browser, stack, method, path, headers)
    assert bool(stack.ui.arrivals) == passes
    if not passes:
        assert page.status == 403
        assert not page.reply.values("Access-Control-Allow-Origin")
        assert not page.reply.values("Set-Cookie")
        assert texts.FOREIGN[1] in page.text
        if page.reply.value("Content-Type") == "application/json":
            assert "alice" not in page.text
    else:
        assert page.status in (200, 404, 405)


SOCKET = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "{0}"}, 101),
        ({"Origin": "{0}", "Sec-Fetch-Site": "same-origin"}, 101),
        ({"Origin": "{0}", "Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 403),
        ({}, 403),
    ],
)
async def test_a_websocket_needs_our_origin(stack: Stack, headers: dict[str, str], status: int) -> None:
    """Origin is mandatory and equal, and the UI is not asked otherwise."""
    browser = await stack.browser()
    wire = await connect(stack.port)
    lines = {
        **SOCKET,
        **{k: v.format(stack.url) for k, v in headers.items()},
        "Cookie": browser.cookie_header(stack.url),
    }
    path = "/api/sockjs/000/abcdefgh/websocket"
    await wire.send(request(path, host=f"localhost:{stack.port}", headers=lines))
    assert (await wire.head()).status == status
    assert reached(stack, path) == (status == 101)
    await wire.close()


# Hosts and malformed requests


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:{0}", 200),
        ("LOCALHOST:{0}", 200),
        ("localhost.:{0}", 400),
        ("localhost", 421),
        ("127.0.0.1:{0}", 421),
        ("evil.example", 421),
        ("a,b", 400),
        ("a b", 400),
        ("", 400),
    ],
)
async def test_the_host_selects_the_site(stack: Stack, host: str, status: int) -> None:
    """An unknown host is 421, one that is none is 400, and neither reaches a UI."""
    browser = await stack.browser()
    headers = [("Host", host.format(stack.port)), ("Cookie", browser.cookie_header(stack.url))]
    reply = await fetch(stack.port, request("/api/v1/me", headers=headers))
    assert reply.status == status
    if status != 200:
        assert reply.value("Connection") == "close"
        assert "evil" not in reply.text


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("TRACE", "/", 405),
        ("CONNECT", "/", 405),
        ("GET", "http://localhost/", 400),
        ("OPTIONS", "*", 400),
        ("GET", "/a#b", 400),
        ("GET", "/a\\b", 400),
    ],
)
async def test_requests_that_are_refused_early(stack: Stack, method: str, target: str, status: int) -> None:
    """What a proxy must not pass on ends the connection with a short text and a request id."""
    reply = await fetch(stack.port, request(target, method=method, host=f"localhost:{stack.port}"))
    assert reply.status in (status, 400)
    assert reply.value("Connection") == "close"
    assert target.strip("/*") == "" or target not in reply.text


@pytest.mark.parametrize("version", ["HTTP/2.0", "HTTP/1.2", "HTTP/0.9"])
async def test_other_versions_are_refused_in_ours(stack: Stack, version: str) -> None:
    """The answer never claims a version that is not spoken here."""
    wire = await connect(stack.port)
    await wire.send(request("/", host=f"localhost:{stack.port}", version=version))
    data = await wire.rest()
    assert data.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))
    await wire.close()


async def test_a_head_that_is_too_large() -> None:
    """431, whether it is one line or many."""
    async with quick_stack(config={"limits": {"head": "4KiB"}}) as stack:
        pad = [(f"X-Pad-{n}", "x" * 1000) for n in range(5)]
        reply = await fetch(stack.port, request("/", headers=[("Host", f"localhost:{stack.port}"), *pad]))
        assert reply.status == 431


async def test_a_body_that_is_too_large() -> None:
    """413 before it is read, as JSON for programs and as a page for people."""
    async with quick_stack(config={"limits": {"body": "1KiB"}}) as stack:
        browser = await stack.browser()
        page = await browser.fetch(f"{stack.url}/api/v1/echo", "POST", b"x" * 2000)
        assert page.status == 413
        assert json.loads(page.text)["error"] == "bad_request"
        assert reached(stack, "/api/v1/echo") == 0
        assert (await browser.fetch(f"{stack.url}/api/v1/echo", "POST", b"x" * 1000)).status == 200
        page = await browser.send("GET", f"{stack.url}/", {**NAVIGATION}, b"x" * 2000)
        assert page.status == 413
        assert page.reply.value("Content-Type").startswith("text/html")
        assert "Request " in page.text


async def test_a_websocket_of_another_version(stack: Stack) -> None:
    """426 names the version that would do, and the UI is never asked."""
    browser = await stack.browser()
    page = await sent(
        browser,
        stack,
        "GET",
        "/api/sockjs/000/abcdefgh/websocket",
        {**SOCKET, "Sec-WebSocket-Version": "8", "Origin": "{0}"},
    )
    assert page.status == 426
    assert page.reply.value("Sec-WebSocket-Version") == "13"
    assert stack.ui is not None
    assert not any(arrival.websocket for arrival in stack.ui.arrivals)


# What reaches the UI


async def test_the_bearer_is_the_gates_alone(stack: Stack) -> None:
    """Whatever a browser says about who it is does not arrive; the session's token does, once."""
    browser = await stack.browser()
    hostile = {
        "Authorization": "Bearer mine",
        "Impersonate-User": "root",
        "Impersonate_User": "root",
        "X-Remote-User": "root",
        "X-Forwarded-For": "203.0.113.9",
        "X-Forwarded-Host": "evil.example",
    }
    assert (await browser.send("GET", f"{stack.url}/api/v1/me", {**SCRIPT, **hostile})).status == 200
    assert stack.ui is not None
    arrival = stack.ui.arrivals[-1]
    token = the_live(stack).shared.grant.id_token
    assert arrival.values("Authorization") == [f"Bearer {token}"]
    text = repr(arrival.headers)
    assert "root" not in text
    assert "evil.example" not in text
    assert "203.0.113.9" not in text
    assert "oidcgate=" not in text


@pytest.mark.parametrize(
    ("trusted", "chain", "seen"),
    [
        ([], "203.0.113.9", "127.0.0.1"),
        (["127.0.0.0/8"], "203.0.113.9", "203.0.113.9"),
        (["127.0.0.0/8"], "198.51.100.1, 203.0.113.9", "203.0.113.9"),
        (["127.0.0.0/8", "203.0.113.0/24"], "198.51.100.1, 203.0.113.9", "198.51.100.1"),
    ],
)
async def test_where_a_request_comes_from_is_told_the_ui(trusted: list[str], chain: str, seen: str) -> None:
    """X-Forwarded-* are written anew; only a trusted proxy's chain is believed, from the right."""
    async with quick_stack(config={"trusted_proxies": trusted}) as stack:
        browser = await stack.browser()
        for _ in range(3):  # first the slow way, then the quick one
            page = await browser.send("GET", f"{stack.url}/api/v1/me", {**SCRIPT, "X-Forwarded-For": chain})
            assert page.status == 200
            assert stack.ui is not None
            arrival = stack.ui.arrivals[-1]
            (forwarded,) = arrival.values("X-Forwarded-For")
            assert forwarded.split(", ")[0] == seen or forwarded.split(", ")[-1] == seen
            assert arrival.values("X-Forwarded-Host") == [f"localhost:{stack.port}"]
            assert arrival.values("X-Forwarded-Proto") == ["http"]


async def test_a_fence_sends_no_token() -> None:
    """``identity: none`` lets people in or not, and tells the UI nothing."""
    async with quick_stack(site={"identity": "none"}) as stack:
        browser = Browser()
        assert (await browser.fetch(f"{stack.url}/api/v1/echo")).status == 401
        await browser.sign_in(f"{stack.url}/")
        for _ in range(2):
            assert (await browser.fetch(f"{stack.url}/api/v1/echo")).status == 200
            assert stack.ui is not None
            assert not stack.ui.arrivals[-1].values("Authorization")


async def test_an_iframe_of_sockjs_has_no_passage(stack: Stack) -> None:
    """That page would load code from another site."""
    browser = await stack.browser()
    for name in ("iframe.html", "iframe-1.6.1.html"):
        page = await ask(browser, stack, f"/api/sockjs/{name}")
        assert page.status == 403
        assert reached(stack, f"/api/sockjs/{name}") == 0


# Rules

RULES = [
    {"path": "/public/*", "public": True},
    {"path": "/healthz", "methods": ["GET"], "public": True},
    {"path": "/api/v1/namespace", "groups": ["platform-admins"]},
    {"path": "/admin*", "groups": ["platform-admins"]},
]


async def test_public_paths_need_no_session_and_get_no_token() -> None:
    """Public is exactly what the rules say, and nothing that could be read in two ways."""
    async with quick_stack(site={"access": {"rules": RULES}}) as stack:
        signed_in = await stack.browser()
        for browser in (Browser(), signed_in):
            assert stack.ui is not None
            stack.ui.arrivals.clear()
            assert (await ask(browser, stack, "/public/a")).status == 404
            assert (await ask(browser, stack, "/healthz")).status == 404
            assert len(stack.ui.arrivals) == 2
            assert not any(arrival.values("Authorization") for arrival in stack.ui.arrivals)
        for path in (
            "/public",
            "/public/../x",
            "/public/%2e%2e/x",
            "/public//x",
            "/publicx",
            "/public/;x",
            "/healthz/",
        ):
            assert (await ask(Browser(), stack, path)).status == 401
        assert (await Browser().fetch(f"{stack.url}/healthz", "POST")).status == 401


async def test_rules_by_group() -> None:
    """A path for some is 403 for others, in every spelling that servers could take for it."""
    async with quick_stack(site={"access": {"rules": RULES}}) as stack:
        alice, bob = await stack.browser(), await stack.browser("bob")
        assert (await ask(alice, stack, "/api/v1/namespace")).status == 200
        for path in ("/api/v1/namespace", "/api/v1//namespace", "/api/v1/x/../namespace", "/api/v1/%6eamespace"):
            page = await ask(bob, stack, path)
            assert page.status == 403
            assert json.loads(page.text)["message"] == texts.DENIED_RULE[1]
        page = await bob.open(f"{stack.url}/admin/x")
        assert page.status == 403
        assert texts.DENIED_RULE[1] in page.text
        assert "bob@example.com" in page.text
        assert "team-shop" in page.text
        assert (await ask(bob, stack)).status == 200


async def test_a_page_for_somebody_who_is_not_admitted_any_more() -> None:
    """The page names the person, and leads to sign out and to another account."""
    async with quick_stack() as stack:
        browser = await stack.browser("carol")
        live = the_live(stack)
        live.admitted = False
        page = await browser.open(f"{stack.url}/")
        assert page.status == 403
        assert texts.DENIED[0] in page.text
        assert 'href="/oauth2/sign_out"' in page.text
        assert "Groups" not in page.text
        page = await ask(browser, stack)
        assert json.loads(page.text)["message"] == texts.DENIED[1]
        assert json.loads(page.text)["request"]


# The UI in trouble


async def test_a_ui_that_is_not_there(stack: Stack) -> None:
    """502 with a page or JSON, told apart from an outage of the sign-in; the session stays."""
    browser = await stack.browser()
    assert stack.ui is not None
    port = stack.ui.port
    await stack.ui.stop()
    page = await browser.open(f"{stack.url}/?a=1")
    assert page.status == 502
    assert texts.UPSTREAM_DOWN[0] in page.text
    assert 'href="/?a=1"' in page.text
    page = await ask(browser, stack)
    assert (page.status, json.loads(page.text)["error"]) == (502, "upstream_unreachable")
    await stack.ui.start(port=port)
    assert (await ask(browser, stack)).status == 200


async def test_a_ui_that_is_too_slow() -> None:
    """504."""
    async with quick_stack(site={"upstream": {"header_timeout": "1s"}}) as stack:
        browser = await stack.browser()
        assert (await ask(browser, stack)).status == 200

        async def tick() -> None:
            for connection in gate_of(stack).connections():
                if connection.writer_of_reply is not None:
                    connection.writer_of_reply.overdue(float("inf"))

        wire = await connect(stack.port)
        headers = {**SCRIPT, "Cookie": browser.cookie_header(stack.url)}
        await wire.send(request("/api/v1/slow?seconds=30", host=f"localhost:{stack.port}", headers=headers))
        assert stack.ui is not None
        await stack.ui.wait_for(lambda ui: reached(stack, "/api/v1/slow?seconds=30") == 1)
        await tick()
        reply = await wire.reply()
        assert (reply.status, json.loads(reply.text)["error"]) == (504, "upstream_timeout")
        await wire.close()


# The log


async def test_the_access_log_holds_nothing_secret(stack: Stack) -> None:
    """No query, cookie, token, code, state or terminal id; each line is an object with what one looks for."""
    browser = await stack.browser()
    await ask(browser, stack, "/api/v1/me?token=t0ps3cret")
    await ask(browser, stack, "/api/sockjs/info?t0ps3cret")
    await ask(browser, stack, "/api/sockjs/000/t0ps3cret/xhr")
    await browser.send("POST", f"{stack.url}/api/sockjs/1/t0ps3cret/xhr_send", {"Origin": stack.url}, b"t0ps3cret")
    await fetch(stack.port, request("/t0ps3cret#x?t0ps3cret", host=f"localhost:{stack.port}"))
    await fetch(stack.port, request("/?x=t0ps3cret", host="evil.example"))
    text = stack.access_log()
    assert "/api/v1/me" in text
    secrets = ["t0ps3cret" + end for end in ("/xhr", "/xhr_send")]
    secrets += ["=t0ps3cret", "?t0ps3cret", "state=", "code=", browser.cookie("oidcgate") or "", "eyJ"]
    assert [secret for secret in secrets if secret in text] == []
    for line in text.splitlines():
        row = json.loads(line)
        assert row["kind"] == "access"
        assert row["site"] in (f"localhost:{stack.port}", "")
        assert row["address"] == "127.0.0.1"
        assert row["status"]
    rows = [json.loads(line) for line in text.splitlines()]
    (me,) = [row for row in rows if row["path"] == "/api/v1/me"]
    assert me["user"] == "alice@example.com"
    assert me["bytes"] > 0
    assert len({row["id"] for row in rows}) == len(rows)


async def test_an_error_page_names_its_line_in_the_log(stack: Stack) -> None:
    """The request id on the page finds the request."""
    page = await Browser().send("GET", f"{stack.url}/oauth2/nothing", NAVIGATION)
    name = page.text.split("Request ")[1].split("<")[0]
    (row,) = [json.loads(line) for line in stack.access_log().splitlines() if name in line]
    assert (row["status"], row["path"]) == (404, "/oauth2/nothing")


async def test_a_browser_that_leaves_before_the_answer_is_logged_as_such(stack: Stack) -> None:
    """499: nobody was there to be answered."""
    browser = await stack.browser()
    wire = await connect(stack.port)
    headers = {**SCRIPT, "Cookie": browser.cookie_header(stack.url)}
    await wire.send(request("/api/v1/slow?seconds=30", host=f"localhost:{stack.port}", headers=headers))
    assert stack.ui is not None
    await stack.ui.wait_for(lambda ui: reached(stack, "/api/v1/slow?seconds=30") == 1)
    await wire.close()
    await stack.ui.wait_for(lambda ui: ui.in_flight == 0)

    def statuses() -> list[int]:
        return [
            row["status"] for row in map(json.loads, stack.access_log().splitlines()) if row["path"] == "/api/v1/slow"
        ]

    assert statuses() in ([499], [0], [502])


async def test_an_unexpected_error_is_a_500_without_details(stack: Stack) -> None:
    """A mistake of our own shows nothing of itself."""
    pages: Any = gate_of(stack).gate

    for error in (RuntimeError("t0ps3cret"), LoginError("t0ps3cret")):

        async def broken(_inbound: object, error: Exception = error) -> None:
            raise error

        pages.own_pages = broken
        page = await Browser().send("GET", f"{stack.url}/oauth2/userinfo", SCRIPT)
        assert page.status == 500
        assert "t0ps3cret" not in page.text


async def test_looking_again_keeps_a_good_session(stack: Stack) -> None:
    """Also when limits, store and token are all looked at."""
    browser = await stack.browser()
    for _ in range(3):
        look_again(stack, at_the_store=True)
        assert (await ask(browser, stack)).status == 200


# What one failure would end in the client's eyes


class Flaky:
    """A UI that answers the first requests for a path with a status of its choice."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.asked: list[str] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.asked.append(head.split(b" ")[1].decode())
        status = self.statuses.pop(0) if self.statuses else 200
        writer.write(b"HTTP/1.1 %d X\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}" % status)
        await writer.drain()
        writer.close()


@asynccontextmanager
async def flaky(ui: Flaky, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Stack, Browser, Callable[[], None]]]:
    """A Dashboard 7 that fails, somebody signed in, and a way to take it away."""
    monkeypatch.setattr("oidcgate.net.relay.MOMENT", 0.001)
    server = await asyncio.start_server(ui, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with quick_stack(upstream=url, site={"upstream": {"ui": "dashboard-7"}}) as stack:
        yield stack, await stack.browser(), server.close
    server.close()


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_what_is_worth_a_second_try_gets_one(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Dashboard 7 logs out at the first failure of its own question; any other path's is passed on."""
    ui = Flaky()
    async with flaky(ui, monkeypatch) as (stack, browser, _):
        for _ in range(2):  # the second time its header block is known
            ui.statuses, ui.asked = [status], []
            assert (await browser.fetch(f"{stack.url}/api/v1/me")).status == 200
            assert ui.asked == ["/api/v1/me"] * 2
        ui.statuses, ui.asked = [status], []
        assert (await browser.fetch(f"{stack.url}/api/v1/pod")).status == status
        assert ui.asked == ["/api/v1/pod"]
        ui.statuses, ui.asked = [status, status], []
        page = await browser.fetch(f"{stack.url}/api/v1/me")
        assert (page.status, page.text) == (200, '{"authenticated":true}')
        ui.statuses, ui.asked = [status], []
        page = await browser.fetch(f"{stack.url}/api/v1/me", "POST")
        assert (page.status, ui.asked) == (status, ["/api/v1/me"])


async def test_while_the_ui_is_away_its_own_question_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody signed in is: an outage must not look like the end of the login. To anybody else it is 401."""
    ui = Flaky()
    async with flaky(ui, monkeypatch) as (stack, browser, close):
        close()
        page = await browser.fetch(f"{stack.url}/api/v1/me")
        assert (page.status, page.text) == (200, '{"authenticated":true}')
        assert (await browser.fetch(f"{stack.url}/api/v1/pod")).status == 502
        assert (await Browser().fetch(f"{stack.url}/api/v1/me")).status == 401
