"""The way in: /start and /callback, step by step, as browsers and attackers take them."""

import asyncio
import re
from dataclasses import replace
from urllib.parse import quote

import pytest

from oidcgate.demo.issuer import DEMO_PEOPLE, Client
from oidcgate.session.attempt import LIFE, MOST_ATTEMPTS, MOST_COOKIE_BYTES
from oidcgate.web import attempts as attempts_module
from oidcgate.web import texts
from tests.support.browser import NAVIGATION, SCRIPT, Browser, query
from tests.support.stack import CLIENT, SECRET, Stack
from tests.web.steps import (
    RETURN,
    attempts_of,
    begin,
    come_back,
    consent,
    cookies_set,
    gate_of,
    hurry,
    intercept_store,
    is_signed_in,
    links,
    lives,
    quick_stack,
    start_url,
    the_live,
    to_callback,
)

LOGIN_COOKIE = "oidcgate-login-"


def login_cookies(browser: Browser) -> list[str]:
    """The attempts that a browser keeps."""
    return [name for _, name in browser.cookies if name.startswith(LOGIN_COOKIE)]


# /start


async def test_start_asks_for_the_fragment_first(stack: Stack) -> None:
    """The first step is a page that goes on by itself, with a script and without; it sets no cookie."""
    page = await Browser().send("GET", f"{stack.url}/oauth2/start?rd=%2Fpods%3Fa%3D1%26b%3D2", NAVIGATION)
    again = "/oauth2/start?rd=%2Fpods%3Fa%3D1%26b%3D2&amp;f="
    assert page.status == 200
    assert f'id="go" href="{again}"' in page.text
    assert f'<noscript><meta http-equiv="refresh" content="0;url={again}"></noscript>' in page.text
    assert not page.reply.values("Set-Cookie")


async def test_start_sends_to_the_provider(stack: Stack) -> None:
    """The second step redirects with code flow, PKCE S256, state and nonce, and sets one small cookie."""
    browser = Browser()
    page = await browser.send("GET", start_url(stack), NAVIGATION)
    asked = query(page.location)
    assert page.location.startswith(f"{stack.issuer.url}/auth?")
    assert asked["response_type"] == "code"
    assert asked["client_id"] == CLIENT
    assert asked["code_challenge_method"] == "S256"
    assert len(asked["code_challenge"]) == 43
    assert len(asked["state"]) >= 43
    assert len(asked["nonce"]) >= 43
    assert asked["redirect_uri"] == f"{stack.url}/oauth2/callback"
    assert asked["scope"].split()[0] == "openid"
    (line,) = page.reply.values("Set-Cookie")
    assert re.fullmatch(
        r"oidcgate-login-[0-9a-z]{12}=[\w-]+; Path=/; HttpOnly; SameSite=Lax; Max-Age=600", line
    )  # Secure and __Host- come with https
    assert len(line) < 4096


async def test_nothing_of_an_attempt_is_used_twice(stack: Stack) -> None:
    """State, nonce and challenge are fresh for each attempt, and the state says nothing about the target."""
    asked = [query(await begin(Browser(), stack, "/secret-place")) for _ in range(3)]
    for name in ("state", "nonce", "code_challenge"):
        assert len({each[name] for each in asked}) == 3
    assert not any("secret-place" in each["state"] for each in asked)


async def test_a_fragment_and_a_query_survive_the_login(stack: Stack) -> None:
    """Somebody arrives exactly where they were going."""
    page = await Browser().sign_in(f"{stack.url}/?q=a%20b&x=1#/pods/shop?sort=na%C3%AFve")
    assert page.url == f"{stack.url}/?q=a%20b&x=1#/pods/shop?sort=na%C3%AFve"


async def test_without_javascript_only_the_fragment_is_lost(stack: Stack) -> None:
    """The refresh of the noscript element leads through the login as well."""
    browser = Browser()
    first = await browser.send("GET", f"{stack.url}/oauth2/start?rd=%2Fpods", NAVIGATION)
    url = re.search(r'content="0;url=([^"]*)"', first.text)
    assert url is not None
    page = await browser.send("GET", stack.url + url[1].replace("&amp;", "&"), NAVIGATION)
    page = await come_back(browser, await consent(browser, page.location))
    assert page.location == f"{stack.url}/pods"


async def test_a_fragment_that_is_no_text_is_dropped(stack: Stack) -> None:
    """A hostile or oversized fragment costs the fragment, not the login."""
    for fragment in ("é", "a\r\nSet-Cookie: x=1", "x" * 2049):
        browser = Browser()
        callback = await consent(browser, await begin(browser, stack, "/a", fragment))
        assert (await come_back(browser, callback)).location == f"{stack.url}/a"


BAD_TARGETS = [
    "//evil.example",
    "/\\evil.example",
    "https:/evil.example",
    "javascript:alert(1)",
    "/a/../b",
    "/%2e%2e//evil.example",
    "/a\tb",
    "/a\nb",
    "/é",
    "/" + "x" * 2048,
    "pods",
    "",
]


@pytest.mark.parametrize("goal", BAD_TARGETS)
async def test_a_bad_target_becomes_the_front_page(stack: Stack, goal: str) -> None:
    """A return target that is not a path of this site is replaced by /."""
    page = await Browser().send("GET", f"{stack.url}/oauth2/start?rd={quote(goal, safe='')}", NAVIGATION)
    assert 'href="/oauth2/start?rd=%2F&amp;f="' in page.text


@pytest.mark.parametrize("goal", ["https://evil.example/", "http://localhost.evil.example/", "https://evil.example"])
async def test_another_host_is_refused_before_the_login(stack: Stack, goal: str) -> None:
    """A well-formed address of a host that is not ours is refused with a page, and nothing begins."""
    page = await Browser().send("GET", f"{stack.url}/oauth2/start?rd={quote(goal, safe='')}&f=", NAVIGATION)
    assert page.status == 400
    assert "not one of ours" in page.text
    assert page.reply.values("Set-Cookie") == []
    assert stack.issuer.calls["auth"] == 0


@pytest.mark.parametrize(
    "query_string", ["", "?rd=%2Fa&rd=%2Fb", "?rd=%FF", "?RD=%2Fa"], ids=["none", "two", "not UTF-8", "other case"]
)
async def test_a_target_that_is_not_there_exactly_once_becomes_the_front_page(stack: Stack, query_string: str) -> None:
    """Two targets are none, and so is one that does not decode."""
    page = await Browser().send("GET", f"{stack.url}/oauth2/start{query_string}", NAVIGATION)
    assert 'href="/oauth2/start?rd=%2F&amp;f="' in page.text


async def test_an_absolute_target_of_our_own_is_a_path(stack: Stack) -> None:
    """The site's own origin may stand before the path, as UIs write it."""
    browser = Browser()
    callback = await to_callback(browser, stack, f"{stack.url}/pods?a=1")
    assert (await come_back(browser, callback)).location == f"{stack.url}/pods?a=1"


@pytest.mark.parametrize("name", ["start", "start?rd=%2F", "sign_out", "callback", "callback?code=1", "callback/abc"])
async def test_a_login_never_leads_into_the_login(stack: Stack, name: str) -> None:
    """Our own paths of the login dialogue are no target."""
    browser = Browser()
    callback = await to_callback(browser, stack, f"/oauth2/{name}")
    assert (await come_back(browser, callback)).location == f"{stack.url}/"


async def test_a_path_of_the_ui_may_be_called_callback(stack: Stack) -> None:
    """Only our own callback is excluded as a target, not whatever has that word in it."""
    browser = Browser()
    callback = await to_callback(browser, stack, "/plugins/callback/pods")
    assert (await come_back(browser, callback)).location == f"{stack.url}/plugins/callback/pods"


async def test_a_target_too_long_for_the_cookie_costs_only_itself(stack: Stack) -> None:
    """What would make the login's cookie larger than browsers keep is left out; the login goes on."""
    browser = Browser()
    page = await browser.send("GET", start_url(stack, "/" + '"' * 2047, "f"), NAVIGATION)
    assert max(map(len, page.reply.values("Set-Cookie"))) < 4096
    page = await come_back(browser, await consent(browser, page.location))
    assert page.location == f"{stack.url}/"


async def test_somebody_signed_in_is_taken_on_at_once(stack: Stack) -> None:
    """/start with a session leads to the target, fragment included, and begins nothing."""
    browser = await stack.browser()
    page = await browser.send("GET", start_url(stack, "/pods", "/x"), NAVIGATION)
    assert (page.status, page.location) == (303, f"{stack.url}/pods#/x")
    assert not page.reply.values("Set-Cookie")


@pytest.mark.parametrize("name", ["X-Forwarded-Host", "Forwarded", "X-Forwarded-Proto", "X-Original-Host"])
async def test_the_redirect_uri_comes_from_the_configuration(stack: Stack, name: str) -> None:
    """No header moves the callback's address."""
    page = await Browser().send("GET", start_url(stack), {**NAVIGATION, name: "host=evil.example;proto=https"})
    assert query(page.location)["redirect_uri"] == f"{stack.url}/oauth2/callback"


async def test_a_foreign_host_begins_no_login(stack: Stack) -> None:
    """A Host that is no site of ours gets 421 and no redirect."""
    page = await Browser().send("GET", start_url(stack), {**NAVIGATION, "Host": "evil.example"})
    assert page.status == 421
    assert not page.location


async def test_too_many_starts_from_one_address_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit of a minute /start answers 429, and works again in the next minute."""
    monkeypatch.setattr(attempts_module, "MOST_PER_ADDRESS", 3)
    async with quick_stack() as stack:
        minute = 1_000_000.0
        attempts_of(stack)._clock = lambda: minute
        for _ in range(3):
            await begin(Browser(), stack)
        page = await Browser().send("GET", start_url(stack), NAVIGATION)
        assert page.status == 429
        assert page.reply.value("Retry-After") == "60"
        assert not page.reply.values("Set-Cookie")
        minute += 60
        await begin(Browser(), stack)


async def test_starts_are_counted_by_the_persons_own_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a trusted proxy each person has a count of their own."""
    monkeypatch.setattr(attempts_module, "MOST_PER_ADDRESS", 1)
    async with quick_stack(config={"trusted_proxies": ["127.0.0.0/8"]}) as stack:
        attempts_of(stack)._clock = lambda: 1_000_000.0
        for address, status in (("198.51.100.1", 302), ("198.51.100.2", 302), ("198.51.100.1", 429)):
            page = await Browser().send("GET", start_url(stack), {**NAVIGATION, "X-Forwarded-For": address})
            assert page.status == status


# /callback: the order of its checks


async def refused_without_a_call(browser: Browser, stack: Stack, url: str) -> None:
    """A callback that must not lead to a token request, nor to a session."""
    page = await come_back(browser, url)
    assert page.status == 400
    assert [link for link in links(page) if link.startswith("/oauth2/start?rd=")]
    assert 'http-equiv="refresh"' not in page.text
    assert stack.issuer.calls["token"] == 0
    assert browser.cookie("oidcgate") is None
    assert not cookies_set(page)


async def test_a_wrong_state_is_refused(stack: Stack) -> None:
    """A state that this browser did not begin never causes a token request."""
    browser = Browser()
    url = await to_callback(browser, stack)
    state = query(url)["state"]
    await refused_without_a_call(browser, stack, url.replace(state, state[:-1] + ("A" if state[-1] != "A" else "B")))


async def test_the_login_cookie_is_needed(stack: Stack) -> None:
    """Without the cookie of the attempt there is no session (login CSRF)."""
    url = await to_callback(Browser(), stack)
    other = Browser()
    await refused_without_a_call(other, stack, url)
    assert texts.NO_COOKIE[0] in other.visited[-1].text


async def test_another_browsers_login_cookie_does_not_do(stack: Stack) -> None:
    """A callback opened in a browser with an attempt of its own restarts kindly."""
    url = await to_callback(Browser(), stack)
    other = Browser()
    await begin(other, stack)
    await refused_without_a_call(other, stack, url)
    assert texts.LATE[0] in other.visited[-1].text


async def test_a_login_cookie_under_another_name_does_not_open(stack: Stack) -> None:
    """The cookie's content is bound to its name: renaming it to fit another state is noticed."""
    browser = Browser()
    first = await to_callback(browser, stack)
    (old,) = login_cookies(browser)
    value = browser.cookies.pop(("localhost", old))
    other = Browser()
    await begin(other, stack)
    (name,) = login_cookies(other)
    browser.cookies["localhost", name] = value
    await refused_without_a_call(browser, stack, first)
    state = query(await begin(other, stack))["state"]
    await refused_without_a_call(browser, stack, f"{stack.url}/oauth2/callback?code=x&state={state}")


@pytest.mark.parametrize("name", ["state", "code", "iss", "error"])
async def test_duplicate_parameters_are_refused(stack: Stack, name: str) -> None:
    """Each parameter may be there once."""
    browser = Browser()
    url = await to_callback(browser, stack)
    value = query(url).get(name, "x")
    extra = f"&{name}={value}" + (f"&{name}={value}" if name not in query(url) else "")
    await refused_without_a_call(browser, stack, url + extra)


@pytest.mark.parametrize(
    "change",
    [
        "?",
        "?state=x",
        "?code=a",
        "?code=a%00&state=x",
        "?code=%FF&state=x",
        "?code=a&state=%",
        "?code=a&error=b&state=x",
    ],
)
async def test_a_malformed_callback_is_refused(stack: Stack, change: str) -> None:
    """A callback that cannot be read is a client's mistake, and not the end of the attempt."""
    browser = Browser()
    url = await to_callback(browser, stack)
    await refused_without_a_call(browser, stack, f"{stack.url}/oauth2/callback{change}")
    assert (await come_back(browser, url)).status == 303


@pytest.mark.parametrize("tail", ["/other", "/", "/00000000"])
async def test_another_providers_callback_is_refused(stack: Stack, tail: str) -> None:
    """Each issuer has a callback of its own; an answer at the wrong one is not used (mix-up)."""
    browser = Browser()
    url = await to_callback(browser, stack)
    await (refused_without_a_call if tail != "/" else _arrives)(
        browser, stack, url.replace("/callback", "/callback" + tail)
    )


async def _arrives(browser: Browser, _stack: Stack, url: str) -> None:
    assert (await come_back(browser, url)).status == 303


async def test_only_get_ends_a_login(stack: Stack) -> None:
    """Other methods are refused before anything is looked at."""
    browser = Browser()
    url = await to_callback(browser, stack)
    page = await browser.send("POST", url, RETURN, b"x=1")
    assert (page.status, page.reply.value("Allow")) == (405, "GET")
    assert stack.issuer.calls["token"] == 0


async def test_a_used_callback_restarts_kindly(stack: Stack) -> None:
    """The same callback again, without the session it made: no second redemption, one button."""
    browser = Browser()
    url = await to_callback(browser, stack, "/pods")
    keep = dict(browser.cookies)
    assert (await come_back(browser, url)).status == 303
    browser.cookies = keep  # as somebody who replays everything
    page = await come_back(browser, url)
    assert page.status == 400
    assert "/oauth2/start?rd=%2Fpods" in links(page)
    assert stack.issuer.calls["token"] == 1


async def test_a_used_callback_is_used_even_when_it_failed(stack: Stack) -> None:
    """The attempt ends with its first callback, whatever came of it."""
    browser = Browser()
    url = await to_callback(browser, stack)
    keep = dict(browser.cookies)
    stack.issuer.quirks.fail["token"] = 500
    assert (await come_back(browser, url)).status in (400, 503)
    stack.issuer.quirks.fail.clear()
    browser.cookies = keep
    assert (await come_back(browser, url)).status == 400
    assert stack.issuer.calls["token"] == 1


async def test_a_late_callback_restarts_kindly(stack: Stack) -> None:
    """After ten minutes a login has run out; the button leads to the same target."""
    began = attempts_of(stack)._clock() - LIFE - 1
    attempts_of(stack)._clock = lambda: began
    browser = Browser()
    page = await come_back(browser, await to_callback(browser, stack, "/pods"))
    assert page.status == 400
    assert texts.LATE[0] in page.text
    assert "/oauth2/start?rd=%2Fpods" in links(page)
    assert stack.issuer.calls["token"] == 0
    assert not login_cookies(browser)


async def test_somebody_signed_in_goes_on_without_a_second_redemption(stack: Stack) -> None:
    """A callback in a browser that has a session by then leads to the target and redeems nothing."""
    browser = Browser()
    slow = await to_callback(browser, stack, "/slow")
    await browser.sign_in(stack.url + "/")
    handle, calls = browser.cookie("oidcgate"), stack.issuer.calls["token"]
    page = await come_back(browser, slow)
    assert (page.status, page.location) == (303, f"{stack.url}/slow")
    assert stack.issuer.calls["token"] == calls
    assert browser.cookie("oidcgate") == handle


async def test_a_stray_callback_of_somebody_signed_in_leads_home(stack: Stack) -> None:
    """With a session there is nothing to explain."""
    browser = await stack.browser()
    page = await come_back(browser, f"{stack.url}/oauth2/callback?code=x&state=y")
    assert (page.status, page.location) == (303, f"{stack.url}/")


# /callback: what the provider says


HOSTILE = "<script>alert(1)</script>'\"><a href=//evil.example>"


@pytest.mark.parametrize("error", ["access_denied", "server_error", "no_such_code", "login_required"])
async def test_an_error_answer_is_told_in_our_own_words(
    stack: Stack, error: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Fixed sentences by known code; the provider's texts are neither shown nor linked, and nothing loops."""
    stack.issuer.quirks.callback_params = lambda given: [
        *((name, value) for name, value in given if name == "state"),
        ("error", error),
        ("error_description", HOSTILE),
        ("error_uri", "https://evil.example/"),
    ]
    browser = Browser()
    page = await come_back(browser, await to_callback(browser, stack))
    assert page.status == 400
    assert texts.PROVIDER_SAYS_NO[0] in page.text
    assert "evil.example" not in page.text
    assert "alert(1)" not in page.text
    assert 'http-equiv="refresh"' not in page.text
    assert all(link.startswith("/oauth2/start?rd=") for link in links(page))
    assert stack.issuer.calls["token"] == 0
    assert error in caplog.text


async def test_invalid_scope_names_trusted_peers(stack: Stack) -> None:
    """A missing trustedPeer is what an administrator most likely has to look for."""
    stack.issuer.add_client(Client("other", "x", ()))
    provider = gate_of(stack).providers.by_id("")
    assert provider is not None
    provider.scopes = (*provider.scopes, "audience:server:client_id:other")
    browser = Browser()
    page = await come_back(browser, await to_callback(browser, stack))
    assert page.status == 400
    assert "trustedPeers" in page.text


@pytest.mark.parametrize(
    ("promised", "sent", "status", "calls"),
    [
        (False, None, 303, 1),
        (True, None, 400, 0),
        (True, "ours", 303, 1),
        (False, "ours", 303, 1),
        (False, "https://evil.example/dex", 400, 0),
        (True, "ours/", 400, 0),
    ],
)
async def test_the_iss_parameter(promised: bool, sent: str | None, status: int, calls: int) -> None:
    """RFC 9207: present it must be ours byte for byte, promised it must be present."""
    async with quick_stack() as stack:
        flag = "authorization_response_iss_parameter_supported"
        stack.issuer.quirks.discovery = lambda document: {**document, flag: promised}
        value = (sent or "").replace("ours", stack.issuer.url)
        if sent is not None:
            stack.issuer.quirks.callback_params = lambda given: [*given, ("iss", value)]
        browser = Browser()
        page = await come_back(browser, await to_callback(browser, stack))
        assert page.status == status
        assert stack.issuer.calls["token"] == calls
        assert (browser.cookie("oidcgate") is not None) == (status == 303)


@pytest.mark.parametrize(
    ("stage", "kind"), [("token", "drop"), ("token", "fail"), ("token:reply", "drop"), ("token:code", "fail")]
)
async def test_an_outage_in_the_middle_of_a_login_begins_anew(stack: Stack, stage: str, kind: str) -> None:
    """When the provider fails during the callback a page says so and begins again by itself; then it works."""
    quirks = stack.issuer.quirks
    if kind == "drop":
        quirks.drop.add(stage)
    else:
        quirks.fail[stage] = 503
    browser = Browser()
    page = await come_back(browser, await consent(browser, await begin(browser, stack, "/?tab=1", "/x")))
    assert page.status == 503
    assert page.reply.value("Retry-After")
    assert 'http-equiv="refresh"' in page.text
    assert browser.cookie("oidcgate") is None
    quirks.drop.clear()
    quirks.fail.clear()
    url = re.search(r'http-equiv="refresh" content="\d+;url=([^"]*)"', page.text)
    assert url is not None
    page = await browser.sign_in(stack.url + url[1].replace("&amp;", "&"))
    assert (page.status, page.url) == (200, f"{stack.url}/?tab=1#/x")


async def test_a_provider_that_hangs_does_not_hold_the_callback_for_ever(stack: Stack) -> None:
    """Each call has a time limit; others are answered meanwhile."""
    hurry(stack)
    other = await stack.browser("bob")
    browser = Browser()
    url = await to_callback(browser, stack)
    stack.issuer.quirks.hang.add("token")
    page = await come_back(browser, url)
    assert page.status == 503
    assert await is_signed_in(other, stack)
    stack.issuer.release()


async def test_the_issuer_is_down_at_the_start() -> None:
    """Without the provider /start answers 503 with Retry-After: a page that tries again, or JSON."""
    async with quick_stack() as stack:
        stack.issuer.quirks.drop.add("discovery")
        page = await Browser().send("GET", start_url(stack), NAVIGATION)
        if page.status != 302:  # the gate may have been faster
            assert page.status == 503
        await stack.stop_gate()
        await stack.start_gate()
        page = await Browser().send("GET", start_url(stack), NAVIGATION)
        assert page.status == 503
        assert page.reply.value("Retry-After") == "5"
        assert '<meta http-equiv="refresh" content="5">' in page.text
        assert not page.reply.values("Set-Cookie")
        reply = await Browser().send("GET", start_url(stack), SCRIPT)
        assert reply.status == 503
        assert '"provider_unavailable"' in reply.text


async def test_a_document_that_breaks_the_rules_is_the_providers_fault() -> None:
    """Metadata of another issuer stop every login, and are not passed over."""
    async with quick_stack() as stack:
        await stack.stop_gate()
        stack.issuer.quirks.discovery = lambda document: {**document, "issuer": "https://evil.example"}
        await stack.start_gate()
        page = await Browser().send("GET", start_url(stack), NAVIGATION)
        assert page.status in (502, 503)  # 503 while the next look at it is not due
        assert "evil.example" not in page.text


@pytest.mark.parametrize(
    ("error", "status"), [("invalid_client", 502), ("unauthorized_client", 502), ("invalid_grant", 400)]
)
async def test_a_refused_code_is_told_by_whose_fault_it_is(stack: Stack, error: str, status: int) -> None:
    """The operator's mistakes are 502, a code that ran out is the browser's 400."""
    stack.issuer.quirks.token_status = 401 if error == "invalid_client" else 400
    stack.issuer.quirks.token_reply = lambda _reply: {"error": error, "error_description": HOSTILE}
    browser = Browser()
    page = await come_back(browser, await to_callback(browser, stack))
    assert page.status == status
    assert "evil.example" not in page.text
    assert browser.cookie("oidcgate") is None


# Tabs


async def test_tabs_may_end_in_any_order(stack: Stack) -> None:
    """Five tabs begin, and come back last first: each arrives at its own target, with one redemption."""
    browser = Browser()
    urls = [await to_callback(browser, stack, f"/tab/{number}") for number in range(5)]
    assert len(login_cookies(browser)) == 5
    for number, url in reversed(list(enumerate(urls))):
        page = await come_back(browser, url)
        assert (page.status, page.location) == (303, f"{stack.url}/tab/{number}")
    assert stack.issuer.calls["token"] == 1
    assert not login_cookies(browser)


async def test_tabs_begun_at_the_same_moment_all_arrive(stack: Stack) -> None:
    """No tab's attempt overwrites another's, although none had a cookie yet."""
    browser = Browser()
    starts = await asyncio.gather(*(begin(browser, stack, f"/tab/{number}") for number in range(4)))
    urls = [await consent(browser, url) for url in starts]
    pages = await asyncio.gather(*(come_back(browser, url) for url in urls))
    assert [page.status for page in pages] == [303] * 4
    assert sorted(page.location for page in pages) == [f"{stack.url}/tab/{number}" for number in range(4)]
    assert await is_signed_in(browser, stack)


async def test_a_browser_keeps_twenty_attempts(stack: Stack) -> None:
    """The oldest attempts go; the newest still succeed."""
    browser = Browser()
    clock = iter(range(2_000_000_000, 2_000_010_000))
    attempts_of(stack)._clock = lambda: float(next(clock))
    urls = [await begin(browser, stack, f"/tab/{number}") for number in range(MOST_ATTEMPTS + 5)]
    assert len(login_cookies(browser)) == MOST_ATTEMPTS
    page = await come_back(browser, await consent(browser, urls[0]))
    assert page.status == 400
    page = await come_back(browser, await consent(browser, urls[-1]))
    assert page.location == f"{stack.url}/tab/{MOST_ATTEMPTS + 4}"


async def test_the_bytes_of_all_attempts_are_bounded(stack: Stack) -> None:
    """Long targets do not make a Cookie header that servers refuse."""
    browser = Browser()
    for number in range(12):
        await begin(browser, stack, f"/{number}/" + "x" * 2000)
    size = sum(len(name) + len(value) for (_, name), value in browser.cookies.items())
    assert MOST_COOKIE_BYTES / 2 < size <= MOST_COOKIE_BYTES + 4096


async def test_attempts_that_are_late_or_broken_are_cleared_away(stack: Stack) -> None:
    """A new attempt removes cookies that lead nowhere."""
    browser = Browser()
    browser.cookies["localhost", LOGIN_COOKIE + "abc"] = "broken"
    await begin(browser, stack)
    assert LOGIN_COOKIE + "abc" not in login_cookies(browser)
    later = attempts_of(stack)._clock() + LIFE
    attempts_of(stack)._clock = lambda: later
    await begin(browser, stack)
    assert len(login_cookies(browser)) == 1


# Loops, and who is not let in


async def test_a_loop_is_named_and_ends(stack: Stack) -> None:
    """A browser that loses its session each time is told why, once, instead of going round for ever."""
    browser = Browser()
    for _ in range(4):
        await browser.sign_in(stack.url + "/")
        browser.cookies.pop(("localhost", "oidcgate"))
    page = await browser.send("GET", start_url(stack, "/pods"), NAVIGATION)
    assert page.status == 400
    assert texts.LOOP[0] in page.text
    assert "/oauth2/start?rd=%2Fpods" in links(page)
    assert 'http-equiv="refresh"' not in page.text
    assert (await browser.sign_in(stack.url + "/")).status == 200


@pytest.mark.parametrize("value", ["x", "AAAA", "_" * 80])
async def test_a_forged_loop_cookie_is_ignored(stack: Stack, value: str) -> None:
    """The guard's cookie is sealed; what does not open counts as none."""
    browser = Browser()
    browser.cookies["localhost", "oidcgate-guard"] = value
    assert (await browser.sign_in(stack.url + "/")).status == 200


async def test_somebody_who_is_not_admitted_gets_a_page_and_no_session() -> None:
    """403 names who one is and offers another account; no session begins, and nothing loops."""
    async with quick_stack(site={"access": {"groups": ["platform-admins"]}}) as stack:
        hostile = replace(DEMO_PEOPLE[1], groups=("<b>team</b>",))
        stack.issuer.replace_person(hostile)
        browser = Browser()
        page = await browser.sign_in(stack.url + "/", "bob")
        assert page.status == 403
        assert texts.DENIED[0] in page.text
        assert "bob@example.com" in page.text
        assert "&lt;b&gt;team&lt;/b&gt;" in page.text
        assert browser.cookie("oidcgate") is None
        assert not lives(stack)
        assert (await (await stack.browser("alice")).fetch(f"{stack.url}/api/v1/me")).status == 200


async def test_somebody_without_groups_or_email_is_named_by_subject() -> None:
    """The page works with what the token has."""
    async with quick_stack(site={"access": {"groups": ["platform-admins"]}}) as stack:
        drop = ("email", "email_verified", "groups")
        stack.issuer.quirks.claims = lambda claims: {
            **{name: value for name, value in claims.items() if name not in drop},
            "sub": "subject-7",
        }
        page = await Browser().sign_in(stack.url + "/", "carol")
        assert page.status == 403
        assert "subject-7" in page.text
        assert "Groups" not in page.text


# Sessions made by a login


async def test_each_login_makes_a_new_handle(stack: Stack) -> None:
    """Handles are never used again, also not by the same browser."""
    browser, seen = Browser(), set()
    for _ in range(3):
        await browser.sign_in(stack.url + "/")
        seen.add(browser.cookies.pop(("localhost", "oidcgate")))
    assert len(seen) == 3
    assert all(re.fullmatch(r"[\w-]{43}", handle) for handle in seen)


async def test_a_planted_cookie_never_becomes_valid(stack: Stack) -> None:
    """Session fixation: the value somebody planted before the login is replaced and stays worthless."""
    planted = "A" * 43
    browser = Browser({("localhost", "oidcgate"): planted})
    page = await browser.sign_in(stack.url + "/")
    assert page.status == 200
    assert browser.cookie("oidcgate") != planted
    assert not await is_signed_in(Browser({("localhost", "oidcgate"): planted}), stack)


async def test_the_session_cookies_attributes_on_https() -> None:
    """On https the cookie is __Host-, Secure, HttpOnly, Lax, whole site, and has no Domain and no Max-Age."""
    async with quick_stack(site={"url": "https://dash.example.com"}) as stack:
        stack.issuer.add_client(Client(CLIENT, SECRET, ("https://dash.example.com/oauth2/callback",)))
        host = {"Host": "dash.example.com"}
        browser = Browser()
        page = await browser.send("GET", start_url(stack), {**NAVIGATION, **host})
        assert page.reply.value("Set-Cookie").startswith("__Host-oidcgate-login-")
        assert "; Secure" in page.reply.value("Set-Cookie")
        url = await consent(browser, page.location)
        page = await browser.send("GET", url.replace("https://dash.example.com", stack.url), {**RETURN, **host})
        assert (page.status, page.location) == (303, "https://dash.example.com/")
        (line,) = [line for line in page.reply.values("Set-Cookie") if line.startswith("__Host-oidcgate=")]
        assert line.partition(";")[2] == " Path=/; HttpOnly; SameSite=Lax; Secure"
        assert page.reply.value("Strict-Transport-Security")


async def test_a_session_remembers_where_it_was_made(stack: Stack) -> None:
    """Address and browser are kept for the list of one's browsers."""
    await stack.browser()
    session = the_live(stack).session
    assert (session.address, session.agent, session.site) == ("127.0.0.1", "scripted", stack.url)


WITHOUT_SESSION = [
    ("GET", "/", NAVIGATION),
    ("GET", "/", SCRIPT),
    ("POST", "/api/v1/x", SCRIPT),
    ("GET", "/oauth2/start?rd=%2F", NAVIGATION),
    ("GET", "/oauth2/callback?code=a&state=b", NAVIGATION),
    ("GET", "/oauth2/callback", NAVIGATION),
    ("GET", "/oauth2/sign_out", NAVIGATION),
    ("GET", "/oauth2/signed_out", NAVIGATION),
    ("POST", "/oauth2/sign_out", {"Origin": "https://evil.example"}),
    ("GET", "/oauth2/userinfo", SCRIPT),
    ("GET", "/oauth2/", NAVIGATION),
    ("GET", "/oauth2/nothing", NAVIGATION),
    ("DELETE", "/oauth2/start", SCRIPT),
    ("TRACE", "/", SCRIPT),
]


@pytest.mark.parametrize("cookie", [None, "A" * 43, "short", '"quoted"'])
async def test_nothing_without_a_session_sets_a_cookie(stack: Stack, cookie: str | None) -> None:
    """Only the second step of /start does."""
    browser = Browser() if cookie is None else Browser({("localhost", "oidcgate"): cookie})
    for method, path, headers in WITHOUT_SESSION:
        page = await browser.send(method, stack.url + path, headers)
        assert not page.reply.values("Set-Cookie"), (method, path)


# The store in the way


async def test_a_store_that_is_down_at_the_callback_redeems_nothing(stack: Stack) -> None:
    """Nobody can tell whether the attempt was used: 503, and the same callback works when the store is back."""
    browser = Browser()
    url = await to_callback(browser, stack)
    store = intercept_store(stack)
    store.is_down = True
    page = await come_back(browser, url)
    assert page.status == 503
    assert texts.STORE_DOWN[0] in page.text
    assert stack.issuer.calls["token"] == 0
    assert not page.reply.values("Set-Cookie")
    store.is_down = False
    assert (await come_back(browser, url)).status == 303


async def test_a_store_that_fails_after_the_redemption_begins_anew(stack: Stack) -> None:
    """The code is gone by then: the page that comes back by itself begins a new login."""
    browser = Browser()
    url = await consent(browser, await begin(browser, stack, "/?tab=1", "/x"))
    store = intercept_store(stack)
    store.before_put = lambda key: setattr(store, "is_down", key.startswith("grant:"))
    page = await come_back(browser, url)
    store.before_put = lambda _key: None
    store.is_down = False
    assert page.status == 503
    assert browser.cookie("oidcgate") is None
    again = re.search(r'http-equiv="refresh" content="\d+;url=([^"]*)"', page.text)
    assert again is not None
    page = await browser.sign_in(stack.url + again[1].replace("&amp;", "&"))
    assert (page.status, page.url) == (200, f"{stack.url}/?tab=1#/x")
