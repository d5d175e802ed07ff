"""The gate's own answers in the words of each UI, and in the form that was asked for."""

import json

import pytest

from oidcgate.errors import UpstreamError, UpstreamTimeout, UpstreamUnreachable
from tests.support.browser import NAVIGATION, SCRIPT, Browser
from tests.support.raw import connect, request
from tests.support.stack import Stack
from tests.web.steps import ask, gate_of, quick_stack

UNAUTHORIZED = [
    ("plain", "application/json", '{"error":"unauthorized","message":"Sign in first: open this site in a browser."}'),
    (
        "headlamp",
        "application/json",
        '{"error":"unauthorized","message":"Sign in first: open this site in a browser."}',
    ),
    ("dashboard-2", "text/plain", "MSG_TOKEN_EXPIRED_ERROR"),
    ("dashboard-7", "text/plain", "MSG_LOGIN_UNAUTHORIZED_ERROR"),
]


@pytest.mark.parametrize(("ui", "kind", "body"), UNAUTHORIZED)
async def test_401_in_the_uis_own_words(ui: str, kind: str, body: str) -> None:
    """Each UI gets the text that its scripts understand, with a challenge and a hint for ours."""
    async with quick_stack(site={"upstream": {"ui": ui}}) as stack:
        page = await ask(Browser(), stack, "/api/v1/pod")
        assert page.status == 401
        assert page.reply.value("Content-Type").startswith(kind)
        assert page.text == body
        assert page.reply.value("WWW-Authenticate") == 'Bearer realm="oidcgate"'
        assert page.reply.value("X-Oidcgate") == "sign-in"
        assert page.reply.value("Cache-Control") == "no-store"


@pytest.mark.parametrize(
    ("ui", "path", "is_api"),
    [
        ("headlamp", "/clusters/main/pods", True),
        ("headlamp", "/config", True),
        ("headlamp", "/c/main/pods", False),
        ("dashboard-7", "/metrics", True),
        ("dashboard-7", "/api/v1/pod", True),
        ("dashboard-2", "/api/v1/pod", True),
        ("dashboard-2", "/metrics", False),
        ("plain", "/apis/apps", True),
        ("plain", "/apish", False),
    ],
)
async def test_api_paths_are_never_redirected(ui: str, path: str, is_api: bool) -> None:
    """What a UI's scripts fetch gets 401, even when it looks like a page being opened."""
    async with quick_stack(site={"upstream": {"ui": ui}}) as stack:
        page = await Browser().send("GET", stack.url + path, NAVIGATION)
        assert page.status == (401 if is_api else 302)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_dashboard_2_asks_for_its_login_status(method: str) -> None:
    """An error there sends its client into an endless loop, so the gate answers for it; nothing else is answered so."""
    async with quick_stack(site={"upstream": {"ui": "dashboard-2"}}) as stack:
        page = await Browser().send(method, f"{stack.url}/api/v1/login/status?x=1", SCRIPT)
        assert page.status == 200
        assert page.reply.value("Content-Type") == "application/json"
        if method == "GET":
            assert json.loads(page.text)["headerPresent"] is False
        assert not page.reply.values("Set-Cookie")
        for verb, path in (("POST", "/api/v1/login/status"), ("GET", "/api/v1/login/status/")):
            assert (await Browser().send(verb, stack.url + path, SCRIPT)).status == 401
        browser = await stack.browser()
        assert json.loads((await ask(browser, stack, "/api/v1/login/status")).text)["headerPresent"] is True


async def test_a_program_that_lost_its_session_is_told_so_over_http_1_0(stack: Stack) -> None:
    """Old clients are answered, too."""
    wire = await connect(stack.port)
    await wire.send(request("/api/v1/me", host=f"localhost:{stack.port}", version="HTTP/1.0"))
    assert (await wire.reply()).status == 401
    assert await wire.is_closed()
    await wire.close()


async def test_401_to_an_unread_upload_ends_the_connection(stack: Stack) -> None:
    """The body was refused, not read, and cannot be taken for the next request."""
    wire = await connect(stack.port)
    headers = {"Content-Length": "100000", "Origin": stack.url}
    await wire.send(request("/api/v1/upload", method="POST", host=f"localhost:{stack.port}", headers=headers))
    reply = await wire.reply()
    assert (reply.status, reply.value("Connection")) == (401, "close")
    await wire.close()


@pytest.mark.parametrize(
    ("error", "status", "name"),
    [
        (UpstreamTimeout("t0ps3cret"), 504, "upstream_timeout"),
        (UpstreamUnreachable("t0ps3cret"), 502, "upstream_unreachable"),
        (UpstreamError("t0ps3cret"), 502, "upstream_broken"),
    ],
)
async def test_failures_of_the_ui_are_told_apart(stack: Stack, error: UpstreamError, status: int, name: str) -> None:
    """Pages and JSON say what happened, and nothing of the cause."""
    browser = await stack.browser()
    gate = gate_of(stack).gate

    async def fails(_inbound: object) -> None:
        raise error

    gate._pass_on = fails  # type: ignore[assignment,method-assign]
    page = await browser.send("GET", f"{stack.url}/deep?a=%22", NAVIGATION)
    assert page.status == status
    assert 'href="/deep?a=%22"' in page.text
    assert str(error) not in page.text
    page = await browser.send("GET", f"{stack.url}/api/v1/me?again", {**SCRIPT, "X-Fresh": "1"})
    assert (page.status, json.loads(page.text)["error"]) == (status, name)


async def test_a_foreign_page_that_frames_us_gets_no_page(stack: Stack) -> None:
    """A refusal of what crossed over offers the site itself, opened by the person."""
    browser = await stack.browser()
    headers = {**NAVIGATION, "Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}
    page = await browser.send("GET", f"{stack.url}/", headers)
    assert page.status == 403
    assert 'href="/"' in page.text
    assert page.reply.value("X-Frame-Options") == "DENY"
