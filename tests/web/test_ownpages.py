"""Our own paths: the way out, who am I, and what is not there."""

import json
import re
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from oidcgate.session.csrf import masked
from oidcgate.web import ownpages, texts
from tests.support.browser import NAVIGATION, SCRIPT, Browser, Form, query
from tests.support.raw import connect, request
from tests.support.stack import CLIENT, Stack
from tests.web.steps import (
    cookies_set,
    gate_of,
    is_signed_in,
    links,
    lives,
    quick_stack,
    the_live,
)

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def same_origin(stack: Stack) -> dict[str, str]:
    """What a browser sends along with a form of our own page."""
    return {**NAVIGATION, **FORM, "Origin": stack.url, "Sec-Fetch-Site": "same-origin"}


async def send_form(browser: Browser, stack: Stack, headers: dict[str, str], **fields: str) -> Any:
    """Send the sign-out form."""
    return await browser.send("POST", f"{stack.url}/oauth2/sign_out", headers, urlencode(fields).encode())


def token(stack: Stack) -> str:
    """A genuine CSRF token of the only session."""
    return masked(the_live(stack).session.csrf, bytes(range(16)))


# The way out


async def test_sign_out_asks_and_acts(stack: Stack) -> None:
    """GET changes nothing and shows a button; POST ends the session and expires the cookie."""
    browser = await stack.browser()
    page = await browser.open(f"{stack.url}/oauth2/sign_out")
    assert page.status == 200
    assert "alice@example.com" in page.text
    assert await is_signed_in(browser, stack)
    handle = browser.cookie("oidcgate")
    done = await browser.submit(page)
    assert done.url == f"{stack.url}/oauth2/signed_out"
    assert texts.SIGNED_OUT[0] in done.text
    assert browser.cookie("oidcgate") is None
    assert not await is_signed_in(Browser({("localhost", "oidcgate"): handle or ""}), stack)
    assert not lives(stack)


async def test_the_expiry_matches_the_cookie(stack: Stack) -> None:
    """A cookie goes only when path, Secure and prefix are those it was set with."""
    browser = await stack.browser()
    answer = await send_form(browser, stack, same_origin(stack), csrf=token(stack))
    assert answer.status == 303
    assert "oidcgate=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0" in answer.reply.values("Set-Cookie")


async def test_each_form_has_a_token_of_its_own(stack: Stack) -> None:
    """The token is masked anew for each page, and each one works (BREACH)."""
    browser = await stack.browser()
    pages = [await browser.open(f"{stack.url}/oauth2/sign_out") for _ in range(3)]
    tokens = {Form(page.text).fields["csrf"] for page in pages}
    assert len(tokens) == 3
    assert not any(the_live(stack).session.csrf in page.text for page in pages)
    assert (await browser.submit(pages[0])).status == 200
    assert not await is_signed_in(browser, stack)


@pytest.mark.parametrize(
    "value", ["", "x", "00" * 32, "é", "0" * 63, None], ids=["empty", "x", "zeros", "not ASCII", "short", "missing"]
)
async def test_sign_out_needs_a_genuine_token(stack: Stack, value: str | None) -> None:
    """A form of ours that ran out is told so, with a way to try again; nothing is changed."""
    browser = await stack.browser()
    page = await send_form(browser, stack, same_origin(stack), **({} if value is None else {"csrf": value}))
    assert page.status == 403
    assert "/oauth2/sign_out" in links(page)
    assert await is_signed_in(browser, stack)


async def test_another_persons_token_does_not_do(stack: Stack) -> None:
    """The token belongs to one session."""
    other = await stack.browser("bob")
    theirs = Form((await other.open(f"{stack.url}/oauth2/sign_out")).text).fields["csrf"]
    browser = await stack.browser()
    assert (await send_form(browser, stack, same_origin(stack), csrf=theirs)).status == 403
    assert await is_signed_in(browser, stack)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "{0}", "Sec-Fetch-Site": "same-site"},
        {"Origin": "{0}.evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
        {"Referer": "https://evil.example/"},
        {},
    ],
)
async def test_sign_out_from_elsewhere_is_refused(stack: Stack, headers: dict[str, str]) -> None:
    """Even with a genuine token: another site's page, `null`, or no trace of an origin at all."""
    browser = await stack.browser()
    sent = {**FORM, **{name: value.format(stack.url) for name, value in headers.items()}}
    page = await send_form(browser, stack, sent, csrf=token(stack))
    assert page.status == 403
    assert not page.reply.values("Set-Cookie")
    assert await is_signed_in(browser, stack)


@pytest.mark.parametrize(
    "headers", [{"Referer": "{0}/oauth2/sign_out"}, {"Origin": "{0}"}, {"Sec-Fetch-Site": "same-origin"}]
)
async def test_sign_out_by_an_old_browser(stack: Stack, headers: dict[str, str]) -> None:
    """Origin, Fetch Metadata or Referer: one of them that names us is enough."""
    browser = await stack.browser()
    sent = {**FORM, **{name: value.format(stack.url) for name, value in headers.items()}}
    assert (await send_form(browser, stack, sent, csrf=token(stack))).status == 303
    assert not await is_signed_in(browser, stack)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/x-www-form-urlencoded; charset=nonsense", b"csrf=x"),
        ("application/x-www-form-urlencoded; charset=utf-16", b"c"),
        ("application/x-www-form-urlencoded", b"csrf=%FF%FE"),
        ("application/x-www-form-urlencoded", b"\xff\xfe"),
        ("multipart/form-data", b"--x"),
        ("multipart/form-data; boundary=x", b"--x\r\nbroken"),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="csrf"; filename="f"\r\n\r\na\r\n--x--',
        ),
        ("application/json", b'{"csrf":"x"}'),
        ("text/plain", b"csrf=x"),
        ("nonsense", b"csrf=x"),
    ],
)
async def test_a_form_that_cannot_be_read_is_the_clients_mistake(stack: Stack, kind: str, body: bytes) -> None:
    """Whatever the body is, the answer is 403 and nothing changes."""
    browser = await stack.browser()
    page = await browser.send(
        "POST", f"{stack.url}/oauth2/sign_out", {**same_origin(stack), "Content-Type": kind}, body
    )
    assert page.status == 403
    assert await is_signed_in(browser, stack)


async def test_a_form_that_is_too_large_is_not_read(stack: Stack) -> None:
    """Beyond 16 KiB, or of unknown length, the token counts as missing and the connection ends."""
    browser = await stack.browser()
    page = await send_form(browser, stack, same_origin(stack), csrf=token(stack), pad="x" * 20_000)
    assert page.status == 403
    chunk = f"csrf={token(stack)}".encode()
    body = f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n0\r\n\r\n"
    headers = {**same_origin(stack), "Transfer-Encoding": "chunked"}
    assert (await browser.send("POST", f"{stack.url}/oauth2/sign_out", headers, body)).status == 403
    assert await is_signed_in(browser, stack)


async def test_a_form_that_does_not_come(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that stops half way is not waited for without end, and one whose sender leaves is no error."""
    monkeypatch.setattr(ownpages, "FORM_TIME", 0.1)
    browser = await stack.browser()
    headers = {**same_origin(stack), "Cookie": browser.cookie_header(stack.url), "Content-Length": "50"}
    for leaves in (False, True):
        wire = await connect(stack.port)
        await wire.send(request("/oauth2/sign_out", method="POST", host=f"localhost:{stack.port}", headers=headers))
        if not leaves:
            assert (await wire.reply()).status == 403
        await wire.close()
    assert await is_signed_in(browser, stack)


async def test_a_form_that_waits_for_100_continue(stack: Stack) -> None:
    """The gate says so itself, since nobody else would."""
    browser = await stack.browser()
    body = f"csrf={token(stack)}".encode()
    headers = {
        **same_origin(stack),
        "Cookie": browser.cookie_header(stack.url),
        "Expect": "100-continue",
        "Content-Length": str(len(body)),
    }
    wire = await connect(stack.port)
    await wire.send(request("/oauth2/sign_out", method="POST", host=f"localhost:{stack.port}", headers=headers))
    assert (await wire.reply()).status == 100
    await wire.send(body)
    assert (await wire.reply()).status == 303
    await wire.close()


async def test_sign_out_without_a_session(stack: Stack) -> None:
    """Nothing to end: the page says that one is signed out, and the form leads there as well."""
    browser = Browser()
    page = await browser.open(f"{stack.url}/oauth2/sign_out")
    assert page.status == 200
    assert texts.SIGNED_OUT[0] in page.text
    answer = await send_form(browser, stack, same_origin(stack))
    assert (answer.status, answer.location) == (303, f"{stack.url}/oauth2/signed_out")
    assert not cookies_set(answer)


async def test_the_providers_own_sign_out() -> None:
    """An issuer with sessions is asked to end its own: hint, client, state, and the way back."""
    async with quick_stack(issuer={"sessions": True}) as stack:
        browser = await stack.browser()
        page = await browser.open(f"{stack.url}/oauth2/sign_out")
        policy = page.reply.value("Content-Security-Policy")
        origin = "/".join(stack.issuer.url.split("/")[:3])
        assert f"form-action 'self' {origin};" in policy
        hint = the_live(stack).session.id_token_hint
        answer = await send_form(browser, stack, same_origin(stack), csrf=token(stack))
        asked = query(answer.location)
        assert answer.location.startswith(f"{stack.issuer.url}/logout?")
        assert asked["id_token_hint"] == hint
        assert asked["client_id"] == CLIENT
        assert asked["post_logout_redirect_uri"] == f"{stack.url}/oauth2/signed_out"
        assert asked["state"]
        page = await browser.open(answer.location)
        assert page.url.startswith(f"{stack.url}/oauth2/signed_out")
        assert "password" in (await browser.open(f"{stack.url}/")).text


async def test_signed_out_takes_nothing_from_its_query(stack: Stack) -> None:
    """A missing or wrong state does not matter: the page only says something (rp-init-logout-other-state)."""
    browser = await stack.browser()
    for tail in ("", "?state=wrong", "?state=a&state=b", "?rd=//evil.example"):
        page = await browser.open(f"{stack.url}/oauth2/signed_out{tail}")
        assert page.status == 200
        assert "evil" not in page.text
    assert await is_signed_in(browser, stack)


async def test_sign_out_while_the_issuer_is_away() -> None:
    """It stays local, and works."""
    async with quick_stack() as stack:
        browser = await stack.browser()
        page = await browser.open(f"{stack.url}/oauth2/sign_out")
        provider: Any = gate_of(stack).providers.by_id("")
        provider._metadata.value = None
        await stack.issuer.stop()
        done = await browser.submit(page)
        assert done.url == f"{stack.url}/oauth2/signed_out"
        await stack.issuer.start()
        assert not await is_signed_in(browser, stack)


@pytest.mark.parametrize(
    ("ui", "names"), [("dashboard-2", {"jweToken"}), ("dashboard-7", {"token", "jweToken"}), ("plain", set())]
)
async def test_the_uis_own_login_cookies_go(ui: str, names: set[str]) -> None:
    """At sign-in and at sign-out a Dashboard's own token cookies are expired: they would only confuse it."""
    async with quick_stack(site={"upstream": {"ui": ui}}) as stack:
        browser = Browser({("localhost", name): "old" for name in names})
        await browser.sign_in(f"{stack.url}/")
        (callback,) = [page for page in browser.visited if "/oauth2/callback" in page.url]
        answer = await send_form(browser, stack, same_origin(stack), csrf=token(stack))
        for page in (callback, answer):
            gone = {line.partition("=")[0] for line in page.reply.values("Set-Cookie") if "Max-Age=0" in line}
            assert names <= gone
        assert not [name for _, name in browser.cookies if name in names]


# Who am I


async def test_userinfo(stack: Stack) -> None:
    """JSON about the person, and no token."""
    browser = await stack.browser()
    page = await browser.fetch(f"{stack.url}/oauth2/userinfo")
    told = json.loads(page.text)
    assert page.status == 200
    assert told["email"] == "alice@example.com"
    assert told["groups"] == ["platform-admins"]
    assert told["name"] == "Alice Arden"
    assert told["preferred_username"] == "alice"
    assert told["subject"] == the_live(stack).claims.subject
    assert told["session_ends"] > told["expires"] - 86400 > 0
    assert "eyJ" not in page.text


async def test_userinfo_without_a_session(stack: Stack) -> None:
    """401, as for every program."""
    page = await Browser().fetch(f"{stack.url}/oauth2/userinfo")
    assert page.status == 401
    assert page.reply.value("WWW-Authenticate") == 'Bearer realm="oidcgate"'


async def test_userinfo_for_another_site_is_refused(stack: Stack) -> None:
    """Who I am is nobody else's business."""
    browser = await stack.browser()
    page = await browser.fetch(
        f"{stack.url}/oauth2/userinfo", Origin="https://evil.example", Sec_Fetch_Site="cross-site"
    )
    assert page.status == 403
    assert "alice" not in page.text
    assert not page.reply.values("Access-Control-Allow-Origin")


# Home, and what is not there


@pytest.mark.parametrize("path", ["/oauth2", "/oauth2/"])
async def test_home(stack: Stack, path: str) -> None:
    """Who one is, the way in and the way out; without a session the way to sign in."""
    page = await Browser().send("GET", stack.url + path, NAVIGATION)
    assert (page.status, page.location) == (302, f"{stack.url}/oauth2/start?rd={quote(path, safe='')}")
    page = await (await stack.browser()).open(stack.url + path)
    assert page.status == 200
    assert "alice@example.com" in page.text
    assert "platform-admins" in page.text
    assert links(page) == ["/", "/oauth2/sign_out"]


async def test_home_of_somebody_without_groups(stack: Stack) -> None:
    """There is no line for what there is not."""
    page = await (await stack.browser("carol")).open(f"{stack.url}/oauth2/")
    assert "carol@example.com" in page.text
    assert "Groups" not in page.text


@pytest.mark.parametrize(
    "name", ["nothing", "start/x", "Start", "sign_out/", "userinfo.json", "%73tart", "callbackx", "//start"]
)
async def test_there_is_no_such_page(stack: Stack, name: str) -> None:
    """404: a page for people, JSON for programs, whoever asks; nothing below our prefix reaches the UI."""
    for browser in (Browser(), await stack.browser()):
        page = await browser.send("GET", f"{stack.url}/oauth2/{name}", NAVIGATION)
        assert page.status == 404
        assert texts.NOT_FOUND[0] in page.text
        page = await browser.send("GET", f"{stack.url}/oauth2/{name}", SCRIPT)
        assert page.status == 404
        assert json.loads(page.text)["error"] == "not_found"
    assert stack.ui is not None
    assert not [arrival for arrival in stack.ui.arrivals if "oauth2" in arrival.raw_target]


@pytest.mark.parametrize(
    ("method", "name", "allow"),
    [
        ("PUT", "start", "GET, POST"),
        ("PUT", "callback", "GET"),
        ("POST", "callback/abc", "GET"),
        ("DELETE", "sign_out", "GET, POST"),
        ("PATCH", "userinfo", "GET"),
        ("OPTIONS", "userinfo", "GET"),
        ("POST", "", "GET"),
        ("POST", "signed_out", "GET"),
    ],
)
async def test_wrong_methods(stack: Stack, method: str, name: str, allow: str) -> None:
    """405 says which would do, and changes nothing."""
    browser = await stack.browser()
    page = await browser.send(method, f"{stack.url}/oauth2/{name}", {"Origin": stack.url})
    assert page.status == 405
    assert page.reply.value("Allow") == allow
    assert not page.reply.values("Access-Control-Allow-Origin")
    assert await is_signed_in(browser, stack)


async def test_people_are_told_by_a_page(stack: Stack) -> None:
    """What is for programs, and what another site sent, are told to whoever opens a page as such."""
    browser = await stack.browser()
    page = await browser.send("GET", f"{stack.url}/oauth2/backchannel-logout", NAVIGATION)
    assert (page.status, page.reply.value("Allow")) == (405, "POST")
    assert f"<h1>{texts.NO_METHOD[0]}</h1>" in page.text
    for name in ("sign_out", "session"):
        foreign = {**NAVIGATION, **FORM, "Origin": "https://elsewhere.example", "Sec-Fetch-Site": "cross-site"}
        page = await browser.send("POST", f"{stack.url}/oauth2/{name}", foreign, b"end=others")
        assert page.status == 403
        assert f"<h1>{texts.FOREIGN[0]}</h1>" in page.text
    assert await is_signed_in(browser, stack)


async def test_every_page_names_its_request(stack: Stack) -> None:
    """At its foot, as the log does."""
    browser = await stack.browser()
    for name in ("", "session", "sign_out", "access", "kubectl", "nothing"):
        page = await browser.open(f"{stack.url}/oauth2/{name}")
        (request_id,) = re.findall(r"<footer><p>Request ([0-9a-z-]+)</p></footer>", page.text)
        assert f'"{request_id}"' in stack.access_log()


async def test_head_is_get_less_the_body(stack: Stack) -> None:
    """Our pages answer HEAD."""
    page = await Browser().send("HEAD", f"{stack.url}/oauth2/signed_out", NAVIGATION)
    assert page.status == 200
    assert int(page.reply.value("Content-Length")) > 0
    assert not page.reply.body


# What every page of ours has


PAGES = [
    "start?rd=%2F",
    "start?rd=%2F&f=",
    "callback?code=a&state=b",
    "sign_out",
    "signed_out",
    "userinfo",
    "",
    "nothing",
]


@pytest.mark.parametrize("signed_in", [False, True])
@pytest.mark.parametrize("name", PAGES)
async def test_headers_of_our_own_answers(stack: Stack, name: str, signed_in: bool) -> None:
    """Not stored, not framed, not sniffed, not shared; a fresh nonce; scripts on the start page only."""
    browser = await stack.browser() if signed_in else Browser()
    nonces = set()
    for headers in (NAVIGATION, NAVIGATION, SCRIPT):
        page = await browser.send("GET", f"{stack.url}/oauth2/{name}", headers)
        reply = page.reply
        assert reply.value("Cache-Control") == "no-store"
        assert reply.value("X-Content-Type-Options") == "nosniff"
        assert reply.value("X-Frame-Options") == "DENY"
        assert reply.value("Cross-Origin-Opener-Policy") == "same-origin"
        assert reply.value("Cross-Origin-Resource-Policy") == "same-origin"
        has_form = "<form" in page.text
        assert reply.value("Referrer-Policy") == ("same-origin" if has_form else "no-referrer")
        assert not reply.values("Access-Control-Allow-Origin")
        assert not reply.values("Strict-Transport-Security")  # plain http
        if reply.value("Content-Type").startswith("text/html"):
            nonces.add(check_policy(page.text, reply.value("Content-Security-Policy")))
    assert len(nonces) in (0, 2, 3)


def check_policy(text: str, policy: str) -> str:
    """A page against its Content-Security-Policy; its nonce."""
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    nonce = re.fullmatch(r"'nonce-([\w-]{22})'", rules["style-src"])
    assert nonce is not None
    assert rules["default-src"] == "'none'"
    assert rules["frame-ancestors"] == "'none'"
    assert rules["base-uri"] == "'none'"
    assert rules["form-action"].startswith("'self'")
    is_start = 'id="go"' in text
    assert ("script-src" in rules) == is_start == ("<script" in text)
    assert text.count("<script") == text.count(f'<script nonce="{nonce[1]}">')
    assert text.count("<style") == text.count(f'<style nonce="{nonce[1]}">') == 1
    assert not re.search(r"\son\w+=|javascript:|style=", text)
    assert not re.search(r'(?:src|href|action)="(?!/)', text)
    return nonce[1]


async def test_pages_that_get_an_upgrade_or_a_body_end_the_connection(stack: Stack) -> None:
    """What was not read or not switched cannot be taken for a request."""
    for extra in ({"Connection": "Upgrade", "Upgrade": "h2c"}, {"Content-Length": "5"}):
        wire = await connect(stack.port)
        await wire.send(request("/oauth2/signed_out", host=f"localhost:{stack.port}", headers={**NAVIGATION, **extra}))
        reply = await wire.reply()
        assert (reply.status, reply.value("Connection")) == (200, "close")
        await wire.send(b"12345")
        assert await wire.is_closed()
        await wire.close()


# As people who come from oauth2-proxy are used to


FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize(
    ("form", "header", "goal"),
    [
        ("rd=%2Fpods%3Fa%3D1", None, "/pods?a=1"),
        ("", "/logs", "/logs"),
        ("rd=%2Fpods", "/logs", "/pods"),
        ("rd=https%3A%2F%2Fevil.example%2F", None, "/"),
        ("", None, "/"),
    ],
)
async def test_where_to_by_form_or_header(stack: Stack, form: str, header: str | None, goal: str) -> None:
    """A form's ``rd``, else the header's, leads on to the address that takes it by query; a foreign one nowhere."""
    headers = FORM | {"Origin": stack.url} | ({"X-Auth-Request-Redirect": header} if header else {})
    page = await Browser().send("POST", f"{stack.url}/oauth2/start", headers, form.encode())
    assert (page.status, page.location) == (303, f"{stack.url}/oauth2/start?rd={quote(goal, safe='')}")
    assert page.reply.values("Set-Cookie") == []


async def test_where_to_by_header(stack: Stack) -> None:
    """GET knows the header too; the query counts more."""
    for query_string, goal in (("", "%2Flogs"), ("?rd=%2Fpods", "%2Fpods")):
        headers = {**NAVIGATION, "X-Auth-Request-Redirect": "/logs"}
        page = await Browser().send("GET", f"{stack.url}/oauth2/start{query_string}", headers)
        assert f"rd={goal}&amp;f=" in page.text


@pytest.mark.parametrize(("wanted", "leads"), [("/bye", "/bye"), ("https://evil.example/", "/oauth2/signed_out")])
async def test_a_sign_out_leads_where_its_address_said(stack: Stack, wanted: str, leads: str) -> None:
    """``rd`` goes along with the form, and is judged like every other."""
    browser = await stack.browser()
    page = await browser.open(f"{stack.url}/oauth2/sign_out?rd={quote(wanted, safe='')}")
    form = Form(page.text)
    headers = {**NAVIGATION, **FORM, "Origin": stack.url, "Sec-Fetch-Site": "same-origin"}
    page = await browser.send("POST", f"{stack.url}/oauth2/sign_out", headers, urlencode(form.fields).encode())
    assert (page.status, page.location) == (303, stack.url + leads)
