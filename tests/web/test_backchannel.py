"""The issuer ends a login: over the back channel, with nothing but a token (OIDC Back-Channel Logout)."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest

from oidcgate.demo.issuer_sessions import LOGOUT_EVENT, Session
from oidcgate.web import backchannel
from oidcgate.web.backchannel import MOST_BODY, REASON
from tests.support.browser import Browser, Page
from tests.support.raw import Reply, connect, request
from tests.support.stack import CLIENT, Stack
from tests.web.steps import ask, gate_of, intercept_store, is_signed_in, lives, quick_stack
from tests.web.test_sessions import closed_with, open_websocket

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
PATH = "/oauth2/backchannel-logout"


@pytest.fixture
async def telling() -> AsyncIterator[Stack]:
    """A stack whose issuer has sessions and tells the gate of their ends."""
    async with quick_stack(issuer={"sessions": True}) as stack:
        client = stack.issuer.clients[CLIENT]
        stack.issuer.add_client(replace(client, backchannel_logout_uri=stack.url + PATH))
        yield stack


def logins(stack: Stack, login: str = "alice") -> list[Session]:
    """A person's sessions at the issuer, the oldest first."""
    return stack.issuer.sessions.of(stack.issuer.people[login].user_id)


async def post(stack: Stack, body: bytes, headers: dict[str, str] = FORM) -> Page:
    """What the issuer sends."""
    return await Browser().send("POST", stack.url + PATH, headers, body)


async def tell(stack: Stack, token: str) -> Page:
    """Post one token."""
    return await post(stack, urlencode({"logout_token": token}).encode())


def token_with(stack: Stack, **changes: Any) -> str:
    """A logout token of alice's first login with claims changed; None leaves one out."""

    def change(claims: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in (claims | changes).items() if value is not None}

    stack.issuer.quirks.logout_claims = change
    try:
        return stack.issuer.logout_token(logins(stack)[0], CLIENT)
    finally:
        stack.issuer.quirks.logout_claims = None


# Who is signed out


async def test_by_sid_ends_that_browser_only(telling: Stack) -> None:
    """The issuer tells of one login; the person's other browsers and other people stay, and nobody is called."""
    first, second, other = await telling.browser(), await telling.browser(), await telling.browser("bob")
    socket = await open_websocket(first, telling)
    calls = telling.issuer.calls.copy()
    page = await tell(telling, telling.issuer.logout_token(logins(telling)[0], CLIENT))
    assert (page.status, page.text) == (200, "")
    assert page.reply.value("Cache-Control") == "no-store"
    assert not page.reply.values("Set-Cookie")
    assert await closed_with(socket) == (4001, f"Session ended: {REASON}")
    await socket.close()
    assert [await is_signed_in(browser, telling) for browser in (first, second, other)] == [False, True, True]
    assert telling.issuer.calls == calls


async def test_by_sub_ends_all_of_the_persons(telling: Stack) -> None:
    """Without a sid every browser of that person is signed out, and its websockets close."""
    browsers = [await telling.browser(), await telling.browser(), await telling.browser("bob")]
    sockets = [await open_websocket(browser, telling) for browser in browsers[:2]]
    page = await tell(telling, token_with(telling, sid=None))
    assert page.status == 200
    for socket in sockets:
        assert (await closed_with(socket))[0] == 4001
        await socket.close()
    assert [await is_signed_in(browser, telling) for browser in browsers] == [False, False, True]


async def test_by_sid_alone(telling: Stack) -> None:
    """A token need not name the person."""
    browser = await telling.browser()
    assert (await tell(telling, token_with(telling, sub=None))).status == 200
    assert not await is_signed_in(browser, telling)


async def test_every_session_of_one_login_ends(telling: Stack) -> None:
    """A browser that came back to the issuer without the gate's cookie has two sessions of one login: both end."""
    browser = await telling.browser()
    (key,) = [key for key in browser.cookies if key[1] == "oidcgate"]
    first = browser.cookies.pop(key)
    assert (await browser.sign_in(telling.url + "/")).status == 200
    second = browser.cookies[key]
    assert (len(logins(telling)), first == second) == (1, False)
    assert (await tell(telling, token_with(telling))).status == 200
    for handle in (first, second):
        browser.cookies[key] = handle
        assert not await is_signed_in(browser, telling)


async def test_the_issuers_own_call(telling: Stack) -> None:
    """As the issuer does it when somebody is signed out there."""
    browsers = [await telling.browser(), await telling.browser()]
    assert await telling.issuer.end_sessions("alice") == [{CLIENT: 200}, {CLIENT: 200}]
    assert [await is_signed_in(browser, telling) for browser in browsers] == [False, False]
    assert not lives(telling)


async def test_sign_out_at_the_gate_comes_back_over_the_back_channel(telling: Stack) -> None:
    """The issuer tells of the end that the gate began: nothing is left to do, and that is well (rpinitlogout)."""
    browser = await telling.browser()
    page = await browser.submit(await browser.open(f"{telling.url}/oauth2/sign_out"))
    assert "You are signed out" in page.text
    assert not logins(telling)
    assert not await is_signed_in(browser, telling)


@pytest.mark.parametrize("changes", [{"sid": "unknown"}, {"sid": None, "sub": "unknown"}], ids=["sid", "sub"])
async def test_unknown_sessions_are_no_error(telling: Stack, changes: dict[str, Any]) -> None:
    """They are gone, which is what was asked for."""
    browser = await telling.browser()
    assert (await tell(telling, token_with(telling, **changes))).status == 200
    assert await is_signed_in(browser, telling)


# Tokens that are refused


def other_key(header: dict[str, Any], claims: dict[str, Any]) -> str:
    """Signed with a secret."""
    return jwt.encode(claims, "a-secret-that-is-long-enough-for-hs256", algorithm="HS256", headers=header)


REFUSED: list[Any] = [
    pytest.param({"claims": lambda c: c | {"events": {}}}, id="no-event"),
    pytest.param({"claims": lambda c: c | {"events": {LOGOUT_EVENT + "x": {}}}}, id="wrong-event"),
    pytest.param({"claims": lambda c: c | {"events": {LOGOUT_EVENT: "x"}}}, id="event-no-object"),
    pytest.param({"claims": lambda c: c | {"aud": "another"}}, id="wrong-aud"),
    pytest.param({"claims": lambda c: c | {"iss": "https://evil.example.com"}}, id="wrong-iss"),
    pytest.param({"claims": lambda c: c | {"nonce": "x"}}, id="with-nonce"),
    pytest.param({"claims": lambda c: c | {"exp": c["iat"] - 60}}, id="expired"),
    pytest.param({"claims": lambda c: c | {"iat": c["iat"] - 3600}}, id="old"),
    pytest.param({"claims": lambda c: {k: v for k, v in c.items() if k not in ("sub", "sid")}}, id="nobody"),
    pytest.param({"claims": lambda c: {k: v for k, v in c.items() if k != "jti"}}, id="no-jti"),
    pytest.param({"header": lambda h: h | {"typ": "JWT"}}, id="typ-of-an-id-token"),
    pytest.param({"header": lambda h: h | {"alg": "none"}}, id="alg-none"),
    pytest.param({"header": lambda h: h | {"alg": "HS256"}, "sign": other_key}, id="wrong-alg"),
    pytest.param({"sign": lambda h, c: "not-a-token"}, id="nonsense"),
]


@pytest.mark.parametrize("quirks", REFUSED)
async def test_bad_tokens_end_nothing(telling: Stack, quirks: dict[str, Callable[..., Any]]) -> None:
    """400, not to be stored, with an error as the specification words it; the session lives on."""
    browser = await telling.browser()
    telling.issuer.quirks.logout_claims = quirks.get("claims")
    telling.issuer.quirks.header = quirks.get("header")
    telling.issuer.quirks.sign = quirks.get("sign")
    token = telling.issuer.logout_token(logins(telling)[0], CLIENT)
    calls = telling.issuer.calls.copy()
    page = await tell(telling, token)
    assert page.status == 400
    assert page.reply.value("Cache-Control") == "no-store"
    assert page.reply.value("Content-Type").startswith("application/json")
    assert json.loads(page.text)["error"] == "invalid_request"
    assert await is_signed_in(browser, telling)
    assert telling.issuer.calls == calls


async def test_an_id_token_signs_nobody_out(telling: Stack) -> None:
    """Not even one's own."""
    browser = await telling.browser()
    assert (await tell(telling, lives(telling)[0].shared.grant.id_token)).status == 400
    assert await is_signed_in(browser, telling)


async def test_made_up_keys_ask_the_issuer_once(telling: Stack) -> None:
    """Tokens of unknown keys spend the common budget: one look at the keys, not one a token."""
    browser = await telling.browser()
    before = telling.issuer.calls["keys"]
    for number in range(5):
        telling.issuer.quirks.header = lambda h, n=number: h | {"kid": f"made-up-{n}"}
        page = await tell(telling, telling.issuer.logout_token(logins(telling)[0], CLIENT))
        assert page.status == 400
    assert telling.issuer.calls["keys"] <= before + 1
    assert await is_signed_in(browser, telling)


async def test_a_token_is_used_once(telling: Stack) -> None:
    """Whoever has read one cannot sign the person out again."""
    browser = await telling.browser()
    token = token_with(telling, sid=None)
    assert (await tell(telling, token)).status == 200
    assert (await browser.sign_in(telling.url + "/")).status == 200
    page = await tell(telling, token)
    assert page.status == 400
    assert "used before" in page.text
    assert await is_signed_in(browser, telling)


# Requests that are refused


def doubled(token: str) -> bytes:
    """The same token twice."""
    return urlencode([("logout_token", token), ("logout_token", token)]).encode()


@pytest.mark.parametrize(
    ("make", "headers"),
    [
        pytest.param(doubled, FORM, id="two-tokens"),
        pytest.param(lambda _token: b"", FORM, id="no-body"),
        pytest.param(lambda _token: b"logout_token=", FORM, id="empty-token"),
        pytest.param(lambda token: f"token={token}".encode(), FORM, id="another-name"),
        pytest.param(lambda token: b"logout_token=\xff" + token.encode(), FORM, id="no-ascii"),
        pytest.param(lambda token: f"{'a=b&' * 21}logout_token={token}".encode(), FORM, id="many-fields"),
        pytest.param(lambda token: urlencode({"logout_token": token}).encode(), {}, id="no-content-type"),
        pytest.param(
            lambda token: json.dumps({"logout_token": token}).encode(), {"Content-Type": "application/json"}, id="json"
        ),
        pytest.param(
            lambda token: urlencode({"logout_token": token, "x": "y" * MOST_BODY}).encode(), FORM, id="too-large"
        ),
        pytest.param(
            lambda token: b"%x\r\nlogout_token=%s\r\n0\r\n\r\n" % (len(token) + 13, token.encode()),
            {**FORM, "Transfer-Encoding": "chunked"},
            id="chunked",
        ),
    ],
)
async def test_bad_forms(telling: Stack, make: Callable[[str], bytes], headers: dict[str, str]) -> None:
    """Exactly one token in a small form, or 400; the token that came along ends nothing."""
    browser = await telling.browser()
    page = await post(telling, make(token_with(telling)), headers)
    assert page.status == 400
    assert page.reply.value("Cache-Control") == "no-store"
    assert await is_signed_in(browser, telling)


async def test_the_content_type_may_have_parameters(telling: Stack) -> None:
    """A charset says nothing that matters, and names have no case."""
    browser = await telling.browser()
    headers = {"Content-Type": "Application/X-WWW-Form-Urlencoded; charset=utf-8"}
    body = urlencode({"logout_token": token_with(telling), "more": "x"}).encode()
    assert (await post(telling, body, headers)).status == 200
    assert not await is_signed_in(browser, telling)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
async def test_other_methods(telling: Stack, method: str) -> None:
    """POST only."""
    browser = await telling.browser()
    query = urlencode({"logout_token": token_with(telling)})
    page = await Browser().send(method, f"{telling.url}{PATH}?{query}")
    assert (page.status, page.reply.value("Allow")) == (405, "POST")
    assert await is_signed_in(browser, telling)


async def test_no_cookie_and_no_origin_is_asked_for(telling: Stack) -> None:
    """The token is all the authority there is: what else comes along changes nothing."""
    browser = await telling.browser()
    body = urlencode({"logout_token": token_with(telling)}).encode()
    headers = {**FORM, "Origin": "https://evil.example.com", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}
    assert (await browser.send("POST", telling.url + PATH, headers, body)).status == 200
    assert not await is_signed_in(browser, telling)


async def begun(stack: Stack) -> Any:
    """A connection on which half a form has come."""
    wire = await connect(stack.port)
    headers = {**FORM, "Content-Length": "1000"}
    await wire.send(request(PATH, method="POST", host=f"localhost:{stack.port}", headers=headers) + b"logout_token=x")
    return wire


async def test_a_form_that_does_not_arrive(telling: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not waited for for ever."""
    monkeypatch.setattr(backchannel, "BODY_TIME", 0.05)
    wire = await begun(telling)
    reply: Reply = await wire.reply()
    assert reply.status == 400
    await wire.close()


async def test_an_issuer_that_goes_away(telling: Stack) -> None:
    """Half a form, and then nobody: the gate serves on."""
    browser = await telling.browser()
    wire = await begun(telling)
    await wire.close()
    assert await is_signed_in(browser, telling)


# Outages


async def test_an_outage_of_the_store_is_told(telling: Stack) -> None:
    """503: the issuer may try again, with the same token too, and then it counts."""
    browser = await telling.browser()
    token = token_with(telling)
    store: Any = intercept_store(telling)
    pages: Any = gate_of(telling).gate.own_pages
    pages._routes["backchannel-logout"]["POST"]._store = store
    store.is_down = True
    page = await tell(telling, token)
    assert page.status == 503
    assert page.reply.value("Retry-After")
    assert page.reply.value("Cache-Control") == "no-store"
    store.is_down = False
    assert await is_signed_in(browser, telling)
    assert (await tell(telling, token)).status == 200
    assert not await is_signed_in(browser, telling)


async def test_a_store_that_fails_halfway(telling: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """The token counts as used once its work is done, not before."""
    browser = await telling.browser()
    token = token_with(telling)
    store: Any = intercept_store(telling)
    pages: Any = gate_of(telling).gate.own_pages
    pages._routes["backchannel-logout"]["POST"]._store = store
    whole = store.delete

    async def fails(key: str, *, expected: int | None = None) -> bool:
        store.is_down = True
        try:
            return bool(await whole(key, expected=expected))
        finally:
            store.is_down = False

    store.delete = fails
    assert (await tell(telling, token)).status == 503
    store.delete = whole
    assert (await tell(telling, token)).status == 200
    assert not await is_signed_in(browser, telling)


async def test_a_burst_of_ends(telling: Stack) -> None:
    """Many at once, each answered, each done."""
    browsers = [await telling.browser() for _ in range(5)]
    tokens = [telling.issuer.logout_token(login, CLIENT) for login in logins(telling)]
    pages = await asyncio.gather(*(tell(telling, token) for token in tokens))
    assert {page.status for page in pages} == {200}
    assert not any([(await ask(browser, telling)).status == 200 for browser in browsers])
