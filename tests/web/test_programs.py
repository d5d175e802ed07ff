"""Programs that bring a token of their own: what opens, what does not, and what it leaves behind."""

import asyncio
import base64
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from oidcgate.demo.issuer import Client
from oidcgate.demo.issuer_tokens import Grant, Keyring
from oidcgate.web import programs as module
from oidcgate.web import server
from oidcgate.web.answers import CHALLENGE, INVALID_TOKEN
from tests.support.browser import NAVIGATION, SCRIPT
from tests.support.raw import LIMIT, Reply, Wire, connect, fetch, request
from tests.support.stack import CLIENT, Clock, Stack, merged
from tests.web.steps import PLAIN, clocked, come_back, consent, gate_of, is_signed_in, quick_stack, the_live

KUBECTL = "kubectl"
TAKEN = {"programs": {"audiences": [KUBECTL]}}
SCOPES = ("openid", "email", "profile", "groups")
ECHO = "/api/v1/echo"  # answers anybody
SOCKET = "/api/sockjs/000/abcdefgh/websocket"
HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}
LOG = "/api/v1/log/stream/shop/cart-7d9f5c8b6d-x2x7k"
OTHER_KEY = rsa.generate_private_key(65537, 2048)
Forged = Callable[[Stack], str]


@asynccontextmanager
async def taking(
    *audiences: str, site: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[tuple[Stack, Clock]]:
    """A stack that takes tokens for some audiences, and its clock; the UI takes kubectl's tokens, too."""
    programs = {"programs": {"audiences": list(audiences or (KUBECTL,))}}
    async with clocked(site=merged(programs, site or {}), **options) as (stack, clock):
        stack.issuer.add_client(Client(KUBECTL, None, ()))
        gate_of(stack).programs._clock = clock
        ui: Any = stack.ui
        ui._api._access._verifier._audience = [CLIENT, KUBECTL]
        yield stack, clock


def payload_of(stack: Stack, login: str = "alice", client: str = KUBECTL, **claims: Any) -> dict[str, Any]:
    """What the issuer would say in a token now, with claims changed; None removes one."""
    grant = Grant(client, stack.issuer.people[login], SCOPES, "")
    body = str(stack.issuer.token_set(grant)["id_token"]).split(".")[1]
    payload = {**json.loads(base64.urlsafe_b64decode(body + "==")), **claims}
    return {name: value for name, value in payload.items() if value is not None}


def token(stack: Stack, login: str = "alice", client: str = KUBECTL, **claims: Any) -> str:
    """A token that the issuer signs."""
    return stack.issuer.keys.sign(stack.issuer.keys.header, payload_of(stack, login, client, **claims))


async def ask(
    stack: Stack,
    bearer: str | None,
    target: str = ECHO,
    *,
    method: str = "GET",
    body: bytes = b"",
    headers: Mapping[str, str] = PLAIN,
) -> Reply:
    """A program's request: no cookie, and nothing that a browser would say."""
    lines = {**headers} if bearer is None else {**headers, "Authorization": f"Bearer {bearer}"}
    raw = request(target, method=method, host=f"localhost:{stack.port}", headers=lines, body=body)
    return await fetch(stack.port, raw, method)


def sent(stack: Stack, path: str = ECHO) -> list[list[str]]:
    """The Authorization of each request for a path that came to the UI."""
    assert stack.ui is not None
    return [a.values("Authorization") for a in stack.ui.arrivals if a.raw_target.partition("?")[0] == path]


def refused(reply: Reply, challenge: str = INVALID_TOKEN) -> bool:
    """Whether it is the 401 for programs, which neither redirects nor sets a cookie."""
    assert not reply.values("Set-Cookie")
    assert not reply.values("Location")
    return reply.status == 401 and reply.values("WWW-Authenticate") == [challenge]


# Off and on


async def test_off_by_default() -> None:
    """Without an audience a token is as if it were not there, be it for the gate's own client."""
    async with quick_stack() as stack:
        for client in (CLIENT, KUBECTL):
            assert refused(await ask(stack, token(stack, client=client)), CHALLENGE)
        browser = await stack.browser()
        page = await browser.send("GET", stack.url + ECHO, {**SCRIPT, "Authorization": f"Bearer {token(stack)}"})
        assert page.status == 200
        ((own,),) = sent(stack)
        assert own != f"Bearer {token(stack)}"
        assert len(gate_of(stack).programs) == 0


async def test_a_public_clients_own_login() -> None:
    """What a program gets by a login of its own passes, and the UI sees exactly that."""
    async with taking() as (stack, _):
        back = "http://localhost:1/oauth2/callback"
        query = f"client_id={KUBECTL}&redirect_uri={back}&response_type=code&scope=openid+email+groups&state=s&nonce=n"
        browser = await stack.browser(None)
        url = await consent(browser, f"{stack.issuer.url}/auth?{query}")
        code = url.partition("code=")[2].partition("&")[0]
        form = f"grant_type=authorization_code&client_id={KUBECTL}&code={code}&redirect_uri={back}".encode()
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        page = await browser.send("POST", f"{stack.issuer.url}/token", kind, form)
        raw = json.loads(page.text)["id_token"]
        reply = await ask(stack, raw, "/api/v1/me")
        assert (reply.status, json.loads(reply.text)["username"]) == (200, "alice@example.com")
        assert sent(stack, "/api/v1/me") == [[f"Bearer {raw}"]]


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER   "])
async def test_the_scheme_is_written_anyhow(scheme: str) -> None:
    """The scheme's case does not matter (RFC 9110 §11.1); the UI gets the one that it reads."""
    async with taking() as (stack, _):
        raw = token(stack)
        assert (await ask(stack, None, headers={"Authorization": scheme + raw})).status == 200
        assert sent(stack) == [[f"Bearer {raw}"]]


async def test_any_method() -> None:
    """A program says nothing of where it comes from, and writes all the same: no page can make it do so."""
    async with taking() as (stack, _):
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            assert (await ask(stack, token(stack), method=method, body=b"x")).status == 200
        assert (
            await ask(stack, token(stack), method="POST", body=b"x", headers={"Origin": "https://tool.example"})
        ).status == 200


async def test_a_fence_passes_no_token_on() -> None:
    """Where people's tokens are not sent, a program's is not either."""
    async with taking(site={"identity": "none"}) as (stack, _):
        assert (await ask(stack, token(stack))).status == 200
        assert sent(stack) == [[]]


async def test_impersonation_does_not_come_along() -> None:
    """What claims to be somebody is dropped beside a program's token as beside a session's."""
    async with taking() as (stack, _):
        assert (
            await ask(stack, token(stack), headers={"Impersonate-User": "root", "X-Remote-User": "root"})
        ).status == 200
        assert stack.ui is not None
        names = {name.lower() for name, _ in stack.ui.arrivals[-1].headers}
        assert not names & {b"impersonate-user", b"x-remote-user"}


# What is not good


def tampered(stack: Stack) -> str:
    """Another person's name behind the issuer's signature."""
    header, _, signature = token(stack).split(".")
    return f"{header}.{b64(payload_of(stack, 'bob'))}.{signature}"


def unsigned(stack: Stack, signature: str = "") -> str:
    """``alg: none``."""
    return f"{b64({'alg': 'none'})}.{b64(payload_of(stack))}.{signature}"


def by_nobody_we_know(stack: Stack) -> str:
    """Signed by a key that the issuer does not publish."""
    ring = Keyring(OTHER_KEY, clock=stack.issuer.now, keep=0)
    return ring.sign(ring.header, payload_of(stack))


def by_another_key(stack: Stack) -> str:
    """Signed by such a key under the issuer's key id."""
    return Keyring(OTHER_KEY, clock=stack.issuer.now, keep=0).sign(stack.issuer.keys.header, payload_of(stack))


def b64(part: dict[str, Any]) -> str:
    """A part of a token."""
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


FORGED: dict[str, Forged] = {
    "for-the-gate": lambda stack: token(stack, client=CLIENT),
    "for-another": lambda stack: token(stack, aud="argocd"),
    "for-another-as-well": lambda stack: token(stack, aud=["argocd", KUBECTL], azp=KUBECTL),
    "issued-to-another": lambda stack: token(stack, azp="argocd"),
    "for-nobody": lambda stack: token(stack, aud=None),
    "expired": lambda stack: token(stack, exp=int(time.time()) - 1, iat=int(time.time()) - 60),
    "without-exp": lambda stack: token(stack, exp=None),
    "for-ever": lambda stack: token(stack, exp=int(time.time()) + 10**8),
    "not-yet": lambda stack: token(stack, nbf=int(time.time()) + 600),
    "of-another-issuer": lambda stack: token(stack, iss="https://dex.example.com"),
    "without-sub": lambda stack: token(stack, sub=None),
    "tampered": tampered,
    "alg-none": unsigned,
    "alg-none-signed": lambda stack: unsigned(stack, "c2lnbmVk"),
    "unknown-kid": by_nobody_we_know,
    "another-key": by_another_key,
    "logout-token": lambda stack: stack.issuer.keys.sign(
        {**stack.issuer.keys.header, "typ": "logout+jwt"}, payload_of(stack)
    ),
    "cut": lambda stack: token(stack)[:-10],
    "no-token": lambda _stack: "sesame",
    "several-words": lambda stack: f"{token(stack)} {token(stack)}",
    "huge": lambda _stack: "x" * 30_000,
}


@pytest.mark.parametrize("name", FORGED)
async def test_refused(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """401 that says invalid_token (RFC 6750 §3.1), for a browser's navigation too; nothing reaches the UI."""
    caplog.set_level(logging.DEBUG)
    async with taking() as (stack, _):
        raw = FORGED[name](stack)
        assert refused(await ask(stack, raw))
        assert refused(await ask(stack, raw, "/", headers=NAVIGATION))
        assert sent(stack) == sent(stack, "/") == []
        assert len(gate_of(stack).programs) == 0
        assert raw not in caplog.text


async def test_two_tokens() -> None:
    """Two lines of Authorization are one that cannot be read."""
    async with taking() as (stack, _):
        lines = [("Authorization", f"Bearer {token(stack)}")] * 2
        assert refused(await fetch(stack.port, request(ECHO, host=f"localhost:{stack.port}", headers=lines)))
        assert sent(stack) == []


@pytest.mark.parametrize("header", ["Basic YTpi", "Bearer", "Token x", "Bearerx y"])
async def test_what_is_no_bearer_is_not_there(header: str) -> None:
    """Another scheme is nobody's token: the answer is the one for whoever brings none."""
    async with taking() as (stack, _):
        assert refused(await ask(stack, None, headers={"Authorization": header}), CHALLENGE)


async def test_the_presets_own_words() -> None:
    """The 401 has the body that the UI's code understands, and nothing is answered with 200."""
    async with taking(site={"upstream": {"ui": "dashboard-2"}}) as (stack, _):
        reply = await ask(stack, "sesame", "/api/v1/login/status")
        assert refused(reply)
        assert reply.text == "MSG_TOKEN_EXPIRED_ERROR"


async def test_several_audiences() -> None:
    """Each of those that are named opens, also beside one another, when it was issued to one of them."""
    async with taking(KUBECTL, "headlamp") as (stack, _):
        for aud, azp in ((KUBECTL, None), ("headlamp", None), ([KUBECTL, "headlamp"], KUBECTL)):
            assert (await ask(stack, token(stack, aud=aud, azp=azp))).status == 200
        for aud, azp in (("argocd", None), ([KUBECTL, "headlamp"], "argocd"), ([KUBECTL, "argocd"], KUBECTL)):
            assert refused(await ask(stack, token(stack, aud=aud, azp=azp)))


# Beside a cookie


@pytest.mark.parametrize("good", [True, False])
async def test_not_beside_a_cookie(good: bool) -> None:
    """A token and a session's cookie are two persons: 400, whatever either is worth."""
    async with taking() as (stack, _):
        browser = await stack.browser()
        cookies = (browser.cookie_header(stack.url), "oidcgate=x", "oidcgate=", "OIDCGATE=x", "oidcgate=x; oidcgate=y")
        for cookie in cookies:
            reply = await ask(stack, token(stack, "bob") if good else "sesame", headers={"Cookie": cookie})
            assert (reply.status, json.loads(reply.text)["message"]) == (400, "Send a token or a cookie, not both.")
        assert sent(stack) == []
        assert await is_signed_in(browser, stack)


async def test_beside_other_cookies() -> None:
    """The UI's own cookies are no session."""
    async with taking() as (stack, _):
        assert (await ask(stack, token(stack), headers={"Cookie": "theme=dark; oidcgate-login-a=x"})).status == 200
        assert stack.ui is not None
        assert stack.ui.arrivals[-1].values("Cookie") == ["theme=dark"]


async def test_people_are_not_affected() -> None:
    """A browser's session works as ever, the quick way included, with another Authorization too."""
    async with taking() as (stack, _):
        browser = await stack.browser()
        for headers in (SCRIPT, {**SCRIPT, "Authorization": "Basic YTpi"}):
            for _ in range(2):
                assert (await browser.send("GET", stack.url + ECHO, headers)).status == 200
        assert gate_of(stack).quick.taken == 2
        assert {line for (line,) in sent(stack)} == {the_live(stack).bearer.decode()[15:-2]}
        assert len(gate_of(stack).programs) == 0


# The same policy


async def test_the_sites_lists() -> None:
    """Whoever may not open the site in a browser may not with a program, and is told so once signed for."""
    async with taking(site={"access": {"groups": ["platform-admins"]}}) as (stack, _):
        assert (await ask(stack, token(stack))).status == 200
        reply = await ask(stack, token(stack, "bob"))
        assert (reply.status, json.loads(reply.text)["error"]) == (403, "forbidden")
        assert len(sent(stack)) == 1


async def test_unverified_addresses_open_nothing() -> None:
    """As with a login's token."""
    async with taking(site={"access": {"emails": ["alice@example.com"]}}) as (stack, _):
        assert (await ask(stack, token(stack))).status == 200
        assert (await ask(stack, token(stack, email_verified=False))).status == 403


RULES = [
    {"path": "/healthz", "public": True},
    {"path": f"{ECHO}/admin*", "groups": ["platform-admins"]},
    {"path": f"{ECHO}*", "methods": ["POST", "DELETE"], "groups": ["platform-admins"]},
]


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", ECHO, 200),
        ("GET", ECHO + "/admin", 403),
        ("GET", ECHO + "/x/..%2fadmin", 403),
        ("POST", ECHO, 403),
        ("DELETE", ECHO + "?x=1", 403),
        ("PUT", ECHO, 200),
        ("GET", "/api/sockjs/iframe.html", 403),
    ],
)
async def test_rules(method: str, target: str, status: int) -> None:
    """Rules by path and method, ambiguous paths included; alice, who is in the group, passes them."""
    async with taking(site={"access": {"rules": RULES}}) as (stack, _):
        assert (await ask(stack, token(stack, "bob"), target, method=method)).status == status
        admins = (await ask(stack, token(stack), target, method=method)).status
        assert (admins == 403) == ("sockjs" in target)


async def test_public_paths() -> None:
    """They need no token, and pass none on; a bad one is told all the same."""
    async with taking(site={"access": {"rules": RULES}}) as (stack, _):
        assert (await ask(stack, None, "/healthz")).status == (await ask(stack, token(stack), "/healthz")).status
        assert sent(stack, "/healthz") == [[], []]
        assert refused(await ask(stack, "sesame", "/healthz"))


# Our own pages


@pytest.mark.parametrize("path", ["userinfo", "session", "sign_out", "signed_out", ""])
async def test_our_own_pages_ignore_it(path: str) -> None:
    """A token signs nobody in at the gate's own pages: they answer as they do without it."""
    async with taking() as (stack, _):
        target = f"/oauth2/{path}"
        without = await ask(stack, None, target)
        for raw in (token(stack), "sesame"):
            reply = await ask(stack, raw, target)
            assert (reply.status, reply.value("Location")) == (without.status, without.value("Location"))
            assert "alice" not in reply.text
            assert not reply.values("Set-Cookie")
        assert len(gate_of(stack).programs) == 0


async def test_our_own_pages_go_by_the_cookie() -> None:
    """Beside a cookie it is not there: who one is and the way out are the session's."""
    async with taking() as (stack, _):
        browser = await stack.browser()
        bobs = {**SCRIPT, "Authorization": f"Bearer {token(stack, 'bob')}"}
        page = await browser.send("GET", f"{stack.url}/oauth2/userinfo", bobs)
        assert (page.status, json.loads(page.text)["email"]) == (200, "alice@example.com")
        page = await browser.send("GET", f"{stack.url}/oauth2/sign_out", {**NAVIGATION, **bobs, **NAVIGATION})
        assert "alice@example.com" in page.text
        page = await browser.submit(page)
        assert "signed out" in page.text
        assert not await is_signed_in(browser, stack)


async def test_it_completes_no_login() -> None:
    """A login under way goes on as if no token had come along."""
    async with taking() as (stack, _):
        browser = await stack.browser(None)
        page = await browser.send("GET", f"{stack.url}/oauth2/start?rd=%2F&f=", NAVIGATION)
        url = await consent(browser, page.location)
        page = await come_back(browser, url)
        assert page.status == 303
        assert await is_signed_in(browser, stack)


# Websockets and streams


@asynccontextmanager
async def opened(stack: Stack, bearer: str | None, target: str, **headers: str) -> AsyncIterator[tuple[Wire, Reply]]:
    """A connection on which a reply has begun."""
    wire = await connect(stack.port)
    lines = {**headers, **({"Authorization": f"Bearer {bearer}"} if bearer else {})}
    await wire.send(request(target, host=f"localhost:{stack.port}", headers=lines))
    try:
        yield wire, await wire.head()
    finally:
        await wire.close()


async def frame(wire: Wire) -> tuple[int, bytes]:
    """The opcode and the payload of a short frame."""
    first, length = await wire.exactly(2)
    return first & 15, await wire.exactly(length)


async def test_a_websocket_needs_no_origin() -> None:
    """A program has none; and no page can send its token."""
    async with taking() as (stack, _):
        raw = token(stack)
        async with opened(stack, raw, SOCKET, **HANDSHAKE) as (wire, reply):
            assert reply.status == 101
            assert await frame(wire) == (1, b"o")
            assert sent(stack, SOCKET) == [[f"Bearer {raw}"]]
        async with opened(stack, None, SOCKET, **HANDSHAKE) as (_, reply):
            assert refused(reply, CHALLENGE)
        async with opened(stack, "sesame", SOCKET, **HANDSHAKE) as (_, reply):
            assert refused(reply)


def tunnels(stack: Stack) -> list[Any]:
    """The websockets that are open."""
    return [connection.tunnel for connection in gate_of(stack).connections() if connection.tunnel is not None]


def at(clock: Clock) -> SimpleNamespace:
    """The time as the server's look at its connections sees it."""
    return SimpleNamespace(time=clock, monotonic=time.monotonic)


async def test_a_websocket_ends_with_its_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a close frame that says why, when the token runs out and not before."""
    async with taking(issuer={"id_token_life": 600}) as (stack, clock):
        monkeypatch.setattr(server, "time", at(clock))
        async with opened(stack, token(stack), SOCKET, **HANDSHAKE) as (wire, reply):
            assert reply.status == 101
            assert await frame(wire) == (1, b"o")
            clock.ahead = 590
            await gate_of(stack).look_after()
            (tunnel,) = tunnels(stack)
            assert tunnel._closing is None
            clock.ahead = 600
            await gate_of(stack).look_after()
            assert await frame(wire) == (8, (4001).to_bytes(2) + b"The token of this program has run out")


async def test_a_stream_ends_with_its_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reply breaks off, so that nobody takes it for complete; without the token there is no other."""
    async with taking(issuer={"id_token_life": 600}) as (stack, clock):
        monkeypatch.setattr(server, "time", at(clock))
        raw = token(stack)
        async with opened(stack, raw, LOG) as (wire, reply):
            assert reply.status == 200
            assert await wire.reader.readuntil(b"\r\n")
            clock.ahead = 601
            await gate_of(stack).look_after()
            assert not (await wire.rest()).endswith(b"0\r\n\r\n")
        assert refused(await ask(stack, raw, LOG))


async def test_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ends with one token leaves the next one's stream alone."""
    async with taking(issuer={"id_token_life": 600}) as (stack, clock):
        monkeypatch.setattr(server, "time", at(clock))
        async with opened(stack, token(stack), SOCKET, **HANDSHAKE) as (first, _):
            clock.ahead = 300
            async with opened(stack, token(stack), SOCKET.replace("abcdefgh", "ijklmnop"), **HANDSHAKE) as (second, _):
                assert await frame(first) == await frame(second) == (1, b"o")
                clock.ahead = 601
                await gate_of(stack).look_after()
                assert (await frame(first))[0] == 8
                assert [tunnel._closing is None for tunnel in tunnels(stack)].count(True) == 1


# What it leaves behind


async def test_the_log_names_the_person_and_no_token(caplog: pytest.LogCaptureFixture) -> None:
    """Neither log holds the token, nor does an error page, whatever becomes of the request."""
    caplog.set_level(logging.DEBUG)
    async with taking(site={"access": {"groups": ["platform-admins"]}}) as (stack, _):
        good, bobs, bad = token(stack), token(stack, "bob"), tampered(stack)
        replies = [await ask(stack, raw, f"{ECHO}?token=y") for raw in (good, bobs, bad)]
        replies.append(await ask(stack, good, headers={"Cookie": "oidcgate=x"}))
        assert stack.ui is not None
        await stack.ui.stop()
        replies += [await ask(stack, good, "/", headers=NAVIGATION), await ask(stack, bobs, "/", headers=NAVIGATION)]
        assert [reply.status for reply in replies] == [200, 403, 401, 400, 502, 403]
        rows = [json.loads(line) for line in stack.access_log().splitlines()]
        assert [(row["status"], row["user"]) for row in rows] == [
            (200, "alice@example.com"),
            (403, "bob@example.com"),
            (401, ""),
            (400, ""),
            (502, "alice@example.com"),
            (403, "bob@example.com"),
        ]
        seen = stack.access_log() + caplog.text + "".join(reply.text for reply in replies[1:])
        for raw in (good, bobs, bad):
            assert not any(part in seen for part in raw.split("."))


async def test_nothing_is_stored() -> None:
    """No session, no grant, no visit, and no header block that is remembered."""
    async with taking() as (stack, _):
        gate = gate_of(stack)
        for _ in range(3):
            assert (await ask(stack, token(stack))).status == 200
        await gate.look_after()
        assert await gate.store.keys("") == []
        assert len(gate.sessions) == 0
        assert gate.gate.facts._known == {}
        assert gate.quick.taken == 0


def verifications(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tokens that are verified from now on."""
    provider: Any = gate_of(stack).providers.by_id("")
    seen: list[str] = []
    verify = provider.verify_program

    async def noting(raw: str, audiences: frozenset[str]) -> Any:
        seen.append(raw)
        return await verify(raw, audiences)

    monkeypatch.setattr(provider, "verify_program", noting)
    return seen


async def test_verified_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that is known is not verified again before a minute has passed."""
    async with taking() as (stack, clock):
        seen, raw = verifications(stack, monkeypatch), token(stack)
        for ahead, count in ((0, 1), (0, 1), (59, 1), (61, 2), (62, 2)):
            clock.ahead = ahead
            assert (await ask(stack, raw)).status == 200
            assert len(seen) == count


async def test_forgotten_in_time() -> None:
    """What has to be verified again is not kept."""
    async with taking() as (stack, clock):
        assert (await ask(stack, token(stack))).status == 200
        for ahead, count in ((59, 1), (61, 0)):
            clock.ahead = ahead
            await gate_of(stack).look_after()
            assert len(gate_of(stack).programs) == count


async def test_no_longer_than_its_life() -> None:
    """A known token is refused once it has run out, within its minute as well."""
    async with taking() as (stack, clock):
        raw = token(stack, exp=int(time.time()) + 30)
        assert (await ask(stack, raw)).status == 200
        clock.ahead = 31
        assert refused(await ask(stack, raw))


async def test_known_ones_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest are forgotten, which costs no more than another look; refused ones take no place."""
    monkeypatch.setattr(module, "MOST_KNOWN", 3)
    async with taking() as (stack, _):
        tokens = [token(stack, jti=str(number)) for number in range(5)]
        for raw in (*tokens, tampered(stack), *tokens):
            assert (await ask(stack, raw)).status in (200, 401)
            assert len(gate_of(stack).programs) <= 3
        assert len(gate_of(stack).programs) == 3


async def test_a_withdrawn_key() -> None:
    """Within a minute of the gate knowing that the issuer has withdrawn a key, its tokens open nothing."""
    async with taking() as (stack, clock):
        old = token(stack)
        assert (await ask(stack, old)).status == 200
        stack.issuer.rotate_keys(OTHER_KEY)
        stack.issuer.keys._retired.clear()
        assert (await ask(stack, token(stack))).status == 200  # its key is unknown, so the set is fetched
        assert (await ask(stack, old)).status == 200
        clock.ahead = 61
        assert refused(await ask(stack, old))


async def test_unknown_keys_are_asked_for_once_a_minute() -> None:
    """Whoever sends one token after another makes the gate ask no more often."""
    async with taking() as (stack, clock):
        assert (await ask(stack, token(stack))).status == 200
        before = stack.issuer.calls["keys"]
        for ahead, count in ((0, 1), (0, 1), (30, 1), (61, 2)):
            clock.ahead = ahead
            assert refused(await ask(stack, by_nobody_we_know(stack)))
            assert stack.issuer.calls["keys"] - before == count


async def test_logins_have_a_minute_of_their_own() -> None:
    """Tokens of nobody's keep no login from the key that the issuer has just begun to sign with."""
    async with taking() as (stack, _):
        assert (await ask(stack, token(stack))).status == 200  # the keys are there
        assert refused(await ask(stack, by_nobody_we_know(stack)))
        stack.issuer.rotate_keys(OTHER_KEY)
        assert await is_signed_in(await stack.browser(), stack)


async def test_while_the_issuer_is_down() -> None:
    """A token whose key is known passes; one that nobody can judge is 503, not 401."""
    async with taking() as (stack, _):
        raw = token(stack)
        assert (await ask(stack, raw)).status == 200
        await stack.issuer.stop()
        assert (await ask(stack, token(stack, "bob"))).status == 200
        reply = await ask(stack, by_nobody_we_know(stack))
        assert (reply.status, json.loads(reply.text)["error"]) == (503, "provider_unavailable")
        assert reply.values("Retry-After")
        assert (await ask(stack, raw)).status == 200


async def test_many_at_once() -> None:
    """Programs that come at the same time are served together."""
    async with taking() as (stack, _):
        raw = token(stack)
        async with asyncio.timeout(LIMIT):
            replies = await asyncio.gather(*(ask(stack, raw) for _ in range(20)))
        assert {reply.status for reply in replies} == {200}
        assert len(gate_of(stack).programs) == 1


async def test_each_site_for_itself() -> None:
    """What is known on one site opens no other: not one that names nobody, nor one that names others."""
    async with taking() as (stack, _):
        assert stack.ui is not None
        more: dict[str, Any] = {"none": {}, "others": {"programs": {"audiences": ["argocd"]}}, "same": TAKEN}
        names = [
            {"url": f"http://{n}.localhost:{stack.port}", "upstream": {"url": stack.ui.url}, **more[n]} for n in more
        ]
        own = {"url": stack.url, "upstream": {"url": stack.ui.url}, **TAKEN}
        stack._config = merged(stack._config, {"sites": [own, *names]})
        await stack.stop_gate()
        await stack.start_gate()
        raw = token(stack)
        for name, challenge in (("localhost", ""), ("same.localhost", ""), ("none.localhost", CHALLENGE)):
            reply = await ask(stack, raw, headers={"Host": f"{name}:{stack.port}"})
            assert refused(reply, challenge) if challenge else reply.status == 200
        assert refused(await ask(stack, raw, headers={"Host": f"others.localhost:{stack.port}"}))


# Through a proxy that asks

PEERS = {"forward_auth": {"peers": ["127.0.0.1/32"]}}


async def question(
    stack: Stack,
    bearer: str | None,
    path: str = "/x",
    *,
    method: str = "GET",
    dialect: str = "/nginx",
    headers: Mapping[str, str] = PLAIN,
) -> Reply:
    """What nginx asks about a program's request."""
    original = {"X-Original-URL": stack.url + path, "X-Original-Method": method}
    return await ask(stack, bearer, f"/oauth2/auth{dialect}", headers={**original, **headers})


async def test_a_proxy_gets_the_token() -> None:
    """Yes, with the very token and who it is."""
    async with taking(config=PEERS) as (stack, _):
        raw = token(stack)
        reply = await question(stack, raw, method="POST")
        assert reply.status == 200
        assert reply.values("Authorization") == [f"Bearer {raw}"]
        assert reply.values("X-Auth-Request-Email") == ["alice@example.com"]
        assert (await question(stack, raw, dialect="")).status == 202
        assert gate_of(stack).gate.facts._known == {}


async def test_a_proxy_is_refused() -> None:
    """The same verdicts as without it, in the words that it understands."""
    async with taking(config=PEERS, site={"access": {"rules": RULES}}) as (stack, _):
        bobs = token(stack, "bob")
        assert (await question(stack, bobs, ECHO)).status == 200
        assert (await question(stack, bobs, ECHO + "/admin")).status == 403
        assert (await question(stack, bobs, ECHO, method="DELETE")).status == 403
        for name in ("expired", "tampered", "alg-none", "unknown-kid", "for-the-gate", "of-another-issuer"):
            reply = await question(stack, FORGED[name](stack))
            assert reply.status == 401
            assert not reply.values("Authorization")
        reply = await question(stack, bobs, headers={"Cookie": "oidcgate=x"})
        assert (reply.status, json.loads(reply.text)["message"]) == (403, "Send a token or a cookie, not both.")
        assert (await question(stack, bobs, "/oauth2/userinfo")).status == 403


async def test_a_proxys_websocket() -> None:
    """A handshake without Origin passes with a token, since no page can send it."""
    async with taking(config=PEERS) as (stack, _):
        key = {name: HANDSHAKE[name] for name in ("Sec-WebSocket-Key", "Sec-WebSocket-Version")}
        assert (await question(stack, token(stack), SOCKET, headers=key)).status == 200
        assert (await question(stack, None, SOCKET, headers=key)).status == 401


async def test_through_a_proxy_tokens_run_out_too() -> None:
    """The answer to the same question changes when the time has come."""
    async with taking(config=PEERS, issuer={"id_token_life": 600}) as (stack, clock):
        raw = token(stack)
        assert (await question(stack, raw)).status == 200
        clock.ahead = 601
        assert (await question(stack, raw)).status == 401


async def test_a_stranger_is_given_no_token() -> None:
    """Whoever is no peer learns whether the token is good here, and gets nothing back."""
    async with taking() as (stack, _):
        reply = await question(stack, token(stack))
        assert reply.status == 200
        assert not reply.values("Authorization")
        assert (await question(stack, "sesame")).status == 401


async def test_off_by_default_for_proxies() -> None:
    """Without an audience a proxy's question has no token either."""
    async with quick_stack(config=PEERS) as stack:
        reply = await question(stack, token(stack, client=CLIENT))
        assert refused(reply, CHALLENGE)
