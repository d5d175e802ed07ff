"""The short way: taken for the usual request only, and with the same verdict as the long one."""

import json
from typing import Any

import pytest

from oidcgate.demo.ui import DemoUI
from tests.support.browser import NAVIGATION, SCRIPT
from tests.support.raw import Wire, connect, request
from tests.support.stack import CLIENT, Stack
from tests.web.steps import gate_of, look_again, quick_stack, the_live


class Line:
    """One browser's keep-alive connection."""

    def __init__(self, stack: Stack, wire: Wire, cookie: str) -> None:
        self.stack, self.wire, self.cookie = stack, wire, cookie

    async def ask(
        self, target: str = "/api/v1/me", method: str = "GET", version: str = "HTTP/1.1", **headers: str
    ) -> Any:
        """A request on this connection, and its reply."""
        lines = {**SCRIPT, "Cookie": self.cookie, **{name.replace("_", "-"): v for name, v in headers.items()}}
        raw = request(target, method=method, host=f"localhost:{self.stack.port}", headers=lines, version=version)
        await self.wire.send(raw)
        return await self.wire.reply(method)


async def line_to(stack: Stack) -> Line:
    """A connection of somebody signed in whose first request has gone the long way."""
    browser = await stack.browser()
    line = Line(stack, await connect(stack.port), browser.cookie_header(stack.url))
    assert (await line.ask()).status == 200
    return line


async def test_the_usual_request_is_taken(stack: Stack) -> None:
    """A GET or HEAD with a known head and a fresh session: with its token, its log line, and the same reply."""
    line, quick = await line_to(stack), gate_of(stack).quick
    for count, method in enumerate(("GET", "HEAD", "GET"), 1):
        reply = await line.ask(method=method)
        assert reply.status == 200
        assert quick.taken == count
    assert stack.ui is not None
    token = the_live(stack).shared.grant.id_token
    assert [a.values("Authorization") for a in list(stack.ui.arrivals)[-3:]] == [[f"Bearer {token}"]] * 3
    rows = [row for row in map(json.loads, stack.access_log().splitlines()) if row["path"] == "/api/v1/me"]
    assert len(rows) == 4
    assert {(row["status"], row["user"]) for row in rows} == {(200, "alice@example.com")}
    await line.wire.close()


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"target": "/oauth2/userinfo"}, 200),
        ({"target": "/oauth2x"}, 404),
        ({"target": "/api/sockjs/iframe.html"}, 403),
        ({"target": "/api/v1/echo", "method": "POST", "Origin": "{0}"}, 200),
        ({"method": "OPTIONS"}, 405),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"X_New": "1"}, 200),
        ({"version": "HTTP/1.0"}, 200),
        ({"Connection": "close"}, 200),
        ({"Cookie": "oidcgate=x"}, 401),
    ],
)
async def test_everything_else_goes_the_long_way(stack: Stack, change: dict[str, str], status: int) -> None:
    """Own paths, other methods, what crosses over, what is new."""
    line, quick = await line_to(stack), gate_of(stack).quick
    reply = await line.ask(**{name: value.format(stack.url) for name, value in change.items()})
    assert reply.status == status
    assert quick.taken == 0
    await line.wire.close()


async def test_the_verdict_is_never_older_than_the_session(stack: Stack) -> None:
    """A session that is over, unfresh or not admitted is not served the short way."""
    line, quick = await line_to(stack), gate_of(stack).quick
    live = the_live(stack)
    look_again(stack)
    assert (await line.ask()).status == 200
    assert quick.taken == 0
    live.admitted = False
    assert (await line.ask()).status == 403
    live.admitted = None
    assert (await line.ask()).status == 200
    assert quick.taken == 0
    assert (await line.ask()).status == 200
    assert quick.taken == 1
    await gate_of(stack).sessions.end(live, "for a test")
    assert (await line.ask()).status == 401
    assert quick.taken == 1
    await line.wire.close()


async def test_a_site_with_rules_has_no_short_way() -> None:
    """Rules by path are judged on each request."""
    async with quick_stack(site={"access": {"rules": [{"path": "/x", "groups": ["y"]}]}}) as stack:
        line = await line_to(stack)
        for _ in range(2):
            assert (await line.ask()).status == 200
        assert (await line.ask("/x")).status == 403
        assert gate_of(stack).quick.taken == 0
        await line.wire.close()


async def test_a_gate_that_ends_takes_no_short_way(stack: Stack) -> None:
    """Its connections are to close, and no new work begins unseen."""
    line = await line_to(stack)
    gate_of(stack).quick.is_open = False
    assert (await line.ask()).status == 200
    assert gate_of(stack).quick.taken == 0
    await line.wire.close()


async def test_a_short_way_that_fails_goes_the_long_way(stack: Stack) -> None:
    """The UI was restarted: the idle connection is dead, and the request is answered all the same."""
    line = await line_to(stack)
    assert stack.ui is not None
    port = stack.ui.port
    await stack.ui.stop()
    await stack.ui.start(port=port)
    assert (await line.ask()).status == 200
    await stack.ui.stop()
    reply = await line.ask()
    assert (reply.status, json.loads(reply.text)["error"]) == (502, "upstream_unreachable")
    await line.wire.close()


@pytest.mark.parametrize("badge", [False, True])
async def test_pages_go_the_short_way_too(*, badge: bool) -> None:
    """Somebody who reloads a page sends the usual request as well, unless the badge has to go into it."""
    async with quick_stack(site={"badge": badge}) as stack:
        line, quick = await line_to(stack), gate_of(stack).quick
        for taken in (0, 1):
            reply = await line.ask("/", **{name.replace("-", "_"): value for name, value in NAVIGATION.items()})
            assert reply.status == 200
            assert quick.taken == (0 if badge else taken)
    await line.wire.close()


async def test_a_further_service_of_the_ui() -> None:
    """Its paths go to it, on the quick way as on the slow one, each with the Host of its own service."""
    async with quick_stack() as stack:
        assert stack.ui is not None
        await stack.stop_gate()
        further = DemoUI(stack.issuer.url, CLIENT, record=True)
        await further.start()
        stack._site = {"upstream": {"routes": [{"path": "/api/v1/me*", "url": further.url}]}}
        gate = await stack.start_gate()
        browser = await stack.browser()
        taken = gate.quick.taken
        for _ in range(3):
            assert (await browser.fetch(f"{stack.url}/api/v1/me")).status == 200
            assert (await browser.fetch(f"{stack.url}/api/v1/echo")).status == 200
        assert gate.quick.taken > taken
        assert {arrival.raw_target for arrival in further.arrivals} == {"/api/v1/me"}
        assert "/api/v1/me" not in {arrival.raw_target for arrival in stack.ui.arrivals}
        hosts = {value.decode() for arrival in further.arrivals for name, value in arrival.headers if name == b"Host"}
        assert hosts == {further.url.removeprefix("http://")}
        await further.stop()
