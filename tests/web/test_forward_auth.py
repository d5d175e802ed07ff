"""What proxies that ask are told: the gate's own verdict in each peer's words, and nothing to anybody else."""

import json
import logging
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import cycle, product
from typing import Any
from urllib.parse import quote

import pytest

from oidcgate.demo.issuer import DEMO_PEOPLE
from oidcgate.proxy.dialects import DIALECTS
from oidcgate.proxy.forwarded import parse_networks
from oidcgate.web.forward_auth import ForwardAuth
from tests.support.browser import NAVIGATION, SCRIPT, Browser
from tests.support.central import Central, Pairs, question, set_every_clock
from tests.support.raw import Reply, connect, request
from tests.support.stack import Clock
from tests.support.upstream import Gated
from tests.web.steps import gate_of, intercept_store, lives, look_again

NAMES = list(DIALECTS)
PASSES = ("traefik", "caddy", "envoy")
PERSONAL = ("authorization", "x-auth-request-", "x-forwarded-")
PAGE, CALL = tuple(NAVIGATION.items()), tuple(SCRIPT.items())
HANDSHAKE: Pairs = (("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="), ("Sec-WebSocket-Version", "13"))
NO_TOKEN = {"one": {"identity": "none"}}
RULES = [
    {"path": "/public/*", "public": True},
    {"path": "/admin/*", "groups": ["platform-admins"]},
    {"path": "/write/*", "methods": ["POST", "PUT"], "groups": ["platform-admins"]},
    {"path": "/nobody", "groups": ["nobody"]},
]


def yes(name: str) -> int:
    """What a peer takes for a yes."""
    return 202 if name == "" else 200


def checked(reply: Reply) -> Reply:
    """What holds for every answer: no cookie, nothing to keep, and personal lines on a yes only."""
    assert reply.values("Set-Cookie") == []
    assert reply.values("Cache-Control") == ["no-store"]
    personal = [name for name, _ in reply.headers if name.lower().startswith(PERSONAL)]
    assert bool(personal) == (reply.status in (200, 202)) or reply.status in (200, 202)
    assert len(personal) == len({name.lower() for name in personal})
    return reply


class Peer:
    """Somebody's requests, as a proxy asks about them."""

    def __init__(self, central: Central, browser: Browser | None = None) -> None:
        self.central, self.browser = central, browser or Browser()

    async def ask(
        self, name: str, path: str = "/", *, host: str = "one", headers: Pairs = CALL, **options: Any
    ) -> Reply:
        """One question about one of the browser's requests."""
        url = self.central.of(host) + path
        jar = self.browser.cookie_header(url)
        sent = [*headers, *([("Cookie", jar)] if jar else [])]
        method = options.get("method", "GET") if name == "envoy" else "GET"
        return checked(await self.central.ask(question(name, url, headers=sent, **options), method))


@pytest.fixture
async def central() -> AsyncIterator[Central]:
    """Two clusters and a wildcard; the first has rules, the second is for admins."""
    sites = {
        "one": {"access": {"rules": RULES}},
        "two": {"access": {"groups": ["platform-admins"]}},
        "*": {"access": {"rules": [{"hosts": ["*.closed.k8s.localhost"], "groups": ["nobody"]}]}},
    }
    async with Central(sites=sites) as running:
        yield running


async def peer_of(central: Central, login: str = "alice", *hosts: str) -> Peer:
    """Somebody signed in on some hosts."""
    browser = Browser()
    for host in hosts or ("one",):
        page = await browser.sign_in(f"{central.of(host)}/oauth2/start?rd=/oauth2/userinfo", login)
        assert page.status == 200, page.text
    return Peer(central, browser)


# Table: dialect and situation.


async def test_a_person_opens_a_page_without_a_session(central: Central) -> None:
    """Who can pass a redirect on gets one; the others 401 and the address in a header that they can use."""
    for name in NAMES:
        reply = await Peer(central).ask(name, "/a?b=c&d", headers=PAGE)
        login = f"{central.of('one')}/oauth2/start?rd={quote('/a?b=c&d', safe='')}"
        if name in PASSES:
            assert (reply.status, reply.value("Location")) == (302, login)
            assert reply.values("X-Oidcgate-Location") == []
        else:
            assert (reply.status, reply.value("X-Oidcgate-Location")) == (401, login)
            assert reply.values("Location") == []
            assert reply.value("WWW-Authenticate").startswith("Bearer")


@pytest.mark.parametrize("headers", [CALL, (), (("Accept", "application/json"),), (*PAGE, *HANDSHAKE)])
async def test_a_script_without_a_session(central: Central, headers: Pairs) -> None:
    """401 in the UI's words, and nothing that leads anywhere; a websocket's handshake is no page."""
    for name in NAMES:
        reply = await Peer(central).ask(name, "/a", headers=headers)
        assert reply.status == 401
        assert reply.values("Location") == reply.values("X-Oidcgate-Location") == []
        assert json.loads(reply.body)["error"] == "unauthorized"
        assert reply.value("WWW-Authenticate").startswith("Bearer")
        if name not in PASSES:
            assert json.loads(reply.value("X-Oidcgate-Body"))["error"] == "unauthorized"
            assert reply.value("X-Oidcgate-Type") == "application/json"


async def test_an_api_is_never_a_page(central: Central) -> None:
    """Whatever the browser says, a path of the UI's API gets 401."""
    for name in NAMES:
        reply = await Peer(central).ask(name, "/api/v1/pods", headers=PAGE)
        assert reply.status == 401
        assert reply.values("Location") == reply.values("X-Oidcgate-Location") == []


async def test_signed_in(central: Central) -> None:
    """Yes, the person's own token for this cluster, and who it is."""
    peer = await peer_of(central)
    (live,) = [live for live in lives(central) if live.site.origin == central.of("one")]
    for name in NAMES:
        reply = await peer.ask(name, "/a")
        assert reply.status == yes(name)
        assert reply.body == b""
        assert reply.value("Authorization") == live.bearer.decode().partition(": ")[2].strip()
        assert reply.value("X-Auth-Request-User") == live.claims.subject
        assert reply.value("X-Auth-Request-Email") == "alice@example.com"
        assert reply.value("X-Auth-Request-Groups") == "platform-admins"
        assert reply.value("X-Auth-Request-Preferred-Username") == "alice"
        assert reply.values("Location") == reply.values("X-Forwarded-User") == []
    assert set(live.claims.audience) == {"cluster-one", "gate"}


async def test_not_admitted(central: Central) -> None:
    """403; a page for people only where the peer passes it on."""
    for name in NAMES:
        peer = await peer_of(central, "bob", "two")
        for headers in (PAGE, CALL):
            reply = await peer.ask(name, "/", host="two", headers=headers)
            assert reply.status == 403
            assert reply.values("Location") == reply.values("X-Oidcgate-Location") == []
            is_page = reply.value("Content-Type").startswith("text/html")
            assert is_page == (name in PASSES and headers is PAGE)
            assert ("bob@example.com" in reply.text) == is_page


@pytest.mark.parametrize(
    ("who", "host", "path", "method", "allowed"),
    [
        ("bob", "one", "/admin/x", "GET", False),
        ("bob", "one", "/a/../admin/x", "GET", False),
        ("bob", "one", "/%61dmin/x", "GET", False),
        ("bob", "one", "//admin/x", "GET", False),
        ("bob", "one", "/a", "GET", True),
        ("bob", "one", "/write/x", "GET", True),
        ("bob", "one", "/write/x", "POST", False),
        ("bob", "one", "/write/x", "PUT", False),
        ("alice", "one", "/admin/x", "GET", True),
        ("alice", "one", "/write/x", "POST", True),
        ("alice", "one", "/nobody", "GET", False),
        ("alice", "one", "/nobody?x", "GET", False),
        ("bob", "fresh", "/a", "GET", True),
    ],
)
async def test_rules(central: Central, who: str, host: str, path: str, method: str, allowed: bool) -> None:
    """By path in every reading, and by method."""
    for name in NAMES:
        peer = await peer_of(central, who, host)
        own = [("Origin", central.of(host))]
        reply = await peer.ask(name, path, host=host, method=method, headers=[*CALL, *own])
        assert reply.status == (yes(name) if allowed else 403)


async def test_rules_by_host() -> None:
    """A rule of a wildcard for some of its hosts; the host counts with its port, in any case, with a dot at its end."""
    async with Central() as central:
        port = central.port
    rules = [{"hosts": [f"*.closed.k8s.localhost:{port}"], "groups": ["nobody"]}]
    rules += [{"hosts": [f"b.k8s.localhost:{port}"], "path": "/x", "groups": ["nobody"]}]
    central = Central(shared=True, sites={"*": {"access": {"rules": rules}}})
    central.port = port
    cases = [("a", "/x", True), ("b", "/", True), ("b", "/x", False), ("B", "/x", False), ("c.closed", "/", False)]
    async with central:
        peer = await peer_of(central)
        for name in NAMES:
            for host, path, allowed in [*cases, ("C.Closed", "/", False)]:
                url = central.of(host) + path
                for asked in (url, url.replace(f":{port}", f".:{port}")):
                    jar = ("Cookie", peer.browser.cookie_header(central.of("a")))
                    reply = checked(await central.ask(question(name, asked, headers=[*CALL, jar])))
                    assert reply.status == (yes(name) if allowed else 403), (name, asked)


async def test_public(central: Central) -> None:
    """Nobody needs to sign in, nobody is named, and no header of the client's own passes: each name is there, empty."""
    for name in NAMES:
        for peer in (Peer(central), await peer_of(central)):
            for headers in (CALL, PAGE, (*CALL, ("Origin", "https://evil.example"))):
                reply = await peer.ask(name, "/public/x", headers=headers)
                assert reply.status == yes(name)
                lines = [(n, v) for n, v in reply.headers if n.lower().startswith(PERSONAL)]
                assert len(lines) == 5
                assert {value for _, value in lines} == {""}
        # Envoy's question would climb out of its own path, so nobody gets that.
        assert (await Peer(central).ask(name, "/public/../a")).status == (403 if name == "envoy" else 401)


@pytest.mark.parametrize(
    "headers",
    [
        (*CALL, ("Origin", "https://evil.example")),
        (*CALL, ("Origin", "null")),
        tuple({**SCRIPT, "Sec-Fetch-Site": "cross-site"}.items()),
        tuple({**SCRIPT, "Sec-Fetch-Site": "same-site"}.items()),
        (*HANDSHAKE, ("Origin", "https://evil.example")),
        HANDSHAKE,
        (*CALL, *HANDSHAKE),
    ],
)
async def test_from_elsewhere(central: Central, headers: Pairs) -> None:
    """Another site's page does not act with our cookie; a websocket must say that it is our own."""
    for name in NAMES:
        peer = await peer_of(central)
        assert (await peer.ask(name, "/a", headers=headers)).status == 403
        own = [("Origin", central.of("one"))]
        assert (await peer.ask(name, "/a", headers=[*CALL, *HANDSHAKE, *own])).status == yes(name)


@pytest.mark.parametrize(
    "path",
    [
        "/a\\b",
        "/a|b\\",
        "/" + "/a" * 1100 + "/..;b",
        "/oauth2/userinfo",
        "/oauth2/start?rd=/",
        "/oauth2",
        "/api/sockjs/iframe.html",
        "/a/../api/sockjs/iframe.html",
    ],
)
async def test_paths_that_nobody_gets(central: Central, path: str) -> None:
    """Malformed ones, those with too many readings, our own, and closed ones: no, even to somebody signed in."""
    for name in NAMES:
        peer = await peer_of(central)
        assert (await peer.ask(name, path, headers=CALL)).status == 403
        assert (await Peer(central).ask(name, path, headers=PAGE)).status == 403


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PROPFIND", "get"])
async def test_methods_that_nobody_gets(central: Central, name: str, method: str) -> None:
    """As the gate itself refuses them."""
    if name == "envoy":  # its question has the original's method, which the gate's own parser judges, too
        raw = question(name, central.of("one") + "/a", method=method)
        assert (await central.ask(raw, method)).status in (400, 403)
    else:
        assert (await (await peer_of(central)).ask(name, "/a", method=method)).status == 403


WORDS = {
    "url": ("X-Original-URL", "X-Original-Method"),
    "forwarded": ("X-Forwarded-Host", "X-Forwarded-Uri", "X-Forwarded-Method"),
    "path": (),
}


@pytest.mark.parametrize("name", NAMES[:-1])
async def test_a_word_that_is_not_there_exactly_once(central: Central, name: str) -> None:
    """Missing, doubled, or beside another spelling that might be the client's: no, and the answer says which."""
    peer = await peer_of(central)
    for word in WORDS[DIALECTS[name].source]:
        value = {"X-Forwarded-Uri": "/a", "X-Original-URL": central.of("one") + "/a"}.get(word, "GET")
        cases: list[dict[str, Any]] = [{"without": word}, {"extra": [(word, value)]}]
        cases += [{"extra": [(s, value)]} for s in (word.replace("-", "_"), word.replace("-", "--"), word.upper())]
        cases += [{"without": word, "extra": [(word.replace("-", "_"), value)]}]
        for case in cases:
            reply = await peer.ask(name, "/a", **case)
            assert reply.status == 403, case
            assert word.lower() in json.loads(reply.body)["message"]
    assert (await peer.ask(name, "/a")).status == yes(name)


@pytest.mark.parametrize(
    "host", ["evil.localhost", "xk8s.localhost", "k8s.localhost", "one.k8s.localhost.evil.localhost", "127.0.0.1"]
)
async def test_hosts_that_are_not_ours(central: Central, host: str) -> None:
    """No site, no verdict: 403, and no word about where to sign in."""
    for name in NAMES:
        raw = question(name, f"http://{host}:{central.port}/a", headers=PAGE)
        reply = checked(await central.ask(raw))
        assert reply.status == 403
        assert reply.values("Location") == reply.values("X-Oidcgate-Location") == []


@pytest.mark.parametrize("name", ["nginx", "traefik", "envoy"])
@pytest.mark.parametrize("port", ["1", "80", "443", ""])
async def test_another_port_is_another_host(central: Central, name: str, port: str) -> None:
    """The host counts with its port."""
    raw = question(name, "http://one.k8s.localhost" + (f":{port}" if port else "") + "/a", headers=PAGE)
    assert checked(await central.ask(raw)).status == 403


async def test_a_query_in_the_question(central: Central) -> None:
    """It says nothing: Caddy appends the client's own."""
    for name in NAMES[:-1]:
        bob = await peer_of(central, "bob")
        assert (await bob.ask(name, "/admin/x", tail="?rd=/public/x")).status == 403
        assert (await bob.ask(name, "/a", tail="?/admin/x")).status == yes(name)


@pytest.mark.parametrize("path", ["/oauth2/auth/", "/oauth2/auth/nginx/", "/oauth2/auth/unknown", "/oauth2/authorize"])
async def test_no_dialect(central: Central, path: str) -> None:
    """404 for what nobody asks; never taken for another dialect's question."""
    peer = await peer_of(central)
    headers = [("X-Original-URL", central.of("one") + "/a"), ("X-Original-Method", "GET")]
    jar = ("Cookie", peer.browser.cookie_header(central.of("one")))
    reply = await central.ask(request(path, host=central.host_of("one"), headers=[*headers, jar]))
    assert reply.status == 404
    assert not [name for name, _ in reply.headers if name.lower().startswith(PERSONAL)]


async def test_envoy_asks_about_a_post(central: Central) -> None:
    """Method, host and path are the question's own."""
    alice, bob = await peer_of(central), await peer_of(central, "bob")
    own = [*CALL, ("Origin", central.of("one"))]
    assert (await alice.ask("envoy", "/write/x?y", method="POST", headers=own)).status == 200
    assert (await bob.ask("envoy", "/write/x?y", method="POST", headers=own)).status == 403
    assert (await bob.ask("envoy", "/write/x?y", method="GET", headers=own)).status == 200
    assert (await alice.ask("envoy", "/write/x", method="POST", headers=())).status == 403  # from who knows where


async def test_ingress_nginx_redirects_every_401(central: Central) -> None:
    """A script's is told 403, or the login would begin again and again; a page is redirected as it should."""
    mark = [("X-Sent-From", "nginx-ingress-controller")]
    assert (await Peer(central).ask("nginx", "/a", extra=mark)).status == 403
    assert (await Peer(central).ask("nginx", "/a", headers=PAGE, extra=mark)).status == 401
    assert (await Peer(central).ask("haproxy", "/a", extra=mark)).status == 401


@pytest.mark.parametrize("name", NAMES)
async def test_a_site_that_sends_no_token(name: str) -> None:
    """Who it is, and an empty Authorization, so that the client's own does not pass."""
    async with Central(sites=NO_TOKEN) as central:
        reply = await (await peer_of(central)).ask(name, "/a")
        assert reply.status == yes(name)
        assert reply.values("Authorization") == [""]
        assert reply.value("X-Auth-Request-Email") == "alice@example.com"


async def test_headers_as_configured() -> None:
    """Only the families that are asked for."""
    config = {"forward_auth": {"headers": ["x-forwarded"]}}
    async with Central(config=config) as central:
        reply = await (await peer_of(central)).ask("traefik", "/a")
        assert reply.values("Authorization") == reply.values("X-Auth-Request-User") == []
        assert reply.value("X-Forwarded-Id-Token").count(".") == 2
        assert reply.value("X-Forwarded-Email") == "alice@example.com"


async def test_one_cookie_for_all_hosts() -> None:
    """The person is sent to the login host, with the whole address to come back to."""
    async with Central(shared=True) as central:
        reply = await Peer(central).ask("nginx", "/a?b", host="fresh", headers=PAGE)
        goal = quote(central.of("fresh") + "/a?b", safe="")
        assert reply.value("X-Oidcgate-Location") == f"{central.url}/oauth2/start?rd={goal}"
        peer = await peer_of(central, "alice", "one")
        reply = await peer.ask("nginx", "/a", host="fresh")
        assert reply.status == 200
        live = next(live for live in lives(central) if live.site.origin == central.of("fresh"))
        assert set(live.claims.audience) == {"cluster-wild", "gate"}


@pytest.mark.parametrize("name", NAMES)
async def test_after_the_sign_out(central: Central, name: str) -> None:
    """The very next question is answered 401."""
    peer = await peer_of(central)
    assert (await peer.ask(name, "/a")).status == yes(name)
    live = next(live for live in lives(central) if live.site.origin == central.of("one"))
    await gate_of(central).sessions.end_browser(live, "signed out")
    assert (await peer.ask(name, "/a")).status == 401


@pytest.mark.parametrize("name", NAMES)
async def test_the_issuer_is_away(name: str) -> None:
    """503 when a token has run out and cannot be renewed; nobody is signed out for it, and before that all goes on."""
    clock = Clock()
    async with Central(issuer={"id_token_life": 600, "clock": clock}, ui={"clock": clock}) as central:
        set_every_clock(central, clock)
        peer = await peer_of(central)
        central.issuer.quirks.fail["token"] = 503
        assert (await peer.ask(name, "/a")).status == yes(name)
        clock.ahead += 601
        look_again(central)
        for headers in (CALL, PAGE):
            reply = await peer.ask(name, "/a", headers=headers)
            assert reply.status == 503
            assert reply.value("Retry-After")
            assert reply.values("Location") == []
        central.issuer.quirks.fail.clear()
        clock.ahead += 60
        look_again(central)
        assert (await peer.ask(name, "/a")).status == yes(name)


@pytest.mark.parametrize("name", NAMES)
async def test_the_store_is_away(central: Central, name: str) -> None:
    """503 where nobody can tell, and no sign-out."""
    peer = await peer_of(central)
    store = intercept_store(central)
    store.is_down = True
    gate_of(central).sessions._lives.clear()
    for headers in (CALL, PAGE):
        reply = await peer.ask(name, "/a", headers=headers)
        assert reply.status == 503
        assert reply.value("Retry-After")
    assert (await Peer(central).ask(name, "/a")).status == 401
    store.is_down = False
    assert (await peer.ask(name, "/a")).status == yes(name)


async def test_the_log_has_the_request_that_was_asked_about(central: Central) -> None:
    """Its site, method and path, who it is, and no query; a refused question has a line, too."""
    peer = await peer_of(central)
    await peer.ask("nginx", "/a?secret=1", method="HEAD")
    await peer.ask("nginx", "/a?secret=1", without="X-Original-Method")
    rows = [json.loads(line) for line in central.access_log().splitlines()][-2:]
    assert (rows[0]["method"], rows[0]["path"], rows[0]["status"]) == ("HEAD", "/a", 200)
    assert rows[0]["user"] == "alice@example.com"
    assert central.host_of("one") in json.dumps(rows[0])
    assert rows[1]["status"] == 403
    assert "secret" not in central.access_log()


async def test_own_banner(central: Central) -> None:
    """Which program and library answers is nobody's business."""
    reply = await (await peer_of(central)).ask("nginx", "/a")
    assert "aiohttp" not in reply.value("Server")


# The verdict is the gate's own.

TARGETS = (
    "/",
    "/a?b=/admin/x",
    "/api/v1/pods",
    "/public/x",
    "/public/%2e%2e/admin/x",
    "/public//x",
    "/admin/x",
    "/admin",
    "/x/..;/admin/x",
    "/%2561dmin/x",
    "/write/x",
    "/nobody",
    "/api/sockjs/iframe.html",
    "/API/sockjs/info",
    "/a;b/c",
)
CLIMBING = {"/public/%2e%2e/admin/x", "/x/..;/admin/x"}  # refused in Envoy's question, which has the path in its own
HEADERS: tuple[Pairs, ...] = (
    (),
    CALL,
    PAGE,
    tuple({**NAVIGATION, "Sec-Fetch-Site": "cross-site"}.items()),
    (("Accept", "text/html"),),
    (("Accept", "application/json, text/html;q=0.5"),),
    (*CALL, ("Origin", "{own}")),
    (*CALL, ("Origin", "https://evil.example")),
    (("Referer", "{own}/x"),),
    (("Referer", "https://evil.example/"),),
    (*HANDSHAKE, ("Origin", "{own}")),
    (*HANDSHAKE, ("Origin", "https://evil.example")),
    (("Origin", "null"),),
    (("Sec-Fetch-Site", "same-site"),),
)


async def test_the_verdict_is_the_gates_own() -> None:
    """Whoever asks whatever how: the same request at the gate itself meets the same fate, in every dialect."""
    config = {"forward_auth": {"peers": ["127.0.0.1"]}}
    names, seen = cycle(NAMES), set()
    async with Gated(site={"access": {"rules": RULES}}, config=config) as gated, gated.wire() as asking:
        for who, method, target, headers in product(
            ("alice", "bob", None), ("GET", "HEAD", "POST", "OPTIONS"), TARGETS, HEADERS
        ):
            sent = [(name, value.format(own=gated.url)) for name, value in headers]
            jar = [("Cookie", f"oidcgate={gated.handles[who]}")] if who else []
            upgrade = [("Connection", "Upgrade"), ("Upgrade", "websocket")] if headers[:2] == HANDSHAKE else []
            if upgrade and method != "GET":
                continue  # no handshake (RFC 6455 §4.1): the gate refuses it as one, the UI as whatever it is
            async with gated.wire() as wire:
                host = f"localhost:{gated.port}"
                await wire.send(request(target, method=method, host=host, headers=[*upgrade, *sent, *jar]))
                direct = await wire.reply(method)
            for name in (next(names), next(names)):
                raw = question(name, gated.url + target, method=method, headers=[*sent, *jar])
                await asking.send(raw)
                told = checked(await asking.reply(method if name == "envoy" else "GET"))
                case = (who, method, target, headers, name, direct.status, told.status)
                if name == "envoy" and target in CLIMBING:
                    assert told.status == 403, case
                elif direct.status == 200:
                    assert told.status == yes(name), case
                elif direct.status == 302:
                    where = told.value("Location" if name in PASSES else "X-Oidcgate-Location")
                    assert (told.status, where) == (302 if name in PASSES else 401, direct.value("Location")), case
                else:
                    assert told.status == direct.status, case
                if told.value("Connection") == "close":
                    await asking.close()
                    fresh = await connect(gated.port)
                    asking.reader, asking.writer = fresh.reader, fresh.writer
                seen.add((direct.status, name))
    assert seen == set(product((200, 302, 401, 403), NAMES))


# Whoever else asks.


def forgeries(central: Central) -> list[tuple[str, list[tuple[str, str]]]]:
    """A hundred questions with headers that name other hosts, paths and methods, in every spelling."""
    dice = random.Random(5)
    urls = [central.of(host) + path for host in ("one", "two", "fresh", "auth") for path in ("/public/x", "/", "/a")]
    found = []
    for _ in range(100):
        url = dice.choice([*urls, "http://evil.example/", "/public/x", ""])
        pairs = [
            ("X-Original-URL", url),
            ("X-Original-URI", "/public/x"),
            ("X-Original-Method", dice.choice(["GET", "OPTIONS", "POST"])),
            ("X-Forwarded-Host", url.partition("://")[2].partition("/")[0] or "x"),
            ("X-Forwarded-Uri", "/public/x"),
            ("X-Forwarded-Method", "GET"),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-For", "127.0.0.1"),
            ("X-Real-IP", "127.0.0.1"),
            ("Forwarded", "for=127.0.0.1;host=one"),
            ("X-Auth-Request-Redirect", url),
            ("X-Auth-Request-User", "admin"),
            ("X-Envoy-Original-Path", "/public/x"),
        ]
        chosen = dice.sample(pairs, dice.randint(1, len(pairs)))
        spelled = [(dice.choice([n, n.lower(), n.upper(), n.replace("-", "_")]), v) for n, v in chosen]
        name = dice.choice(NAMES)
        tail = f"/{name}" if name else ""
        found.append(
            (f"/oauth2/auth{tail}" + (dice.choice(["", "/public/x", "/a"]) if name == "envoy" else ""), spelled)
        )
    return found


@pytest.mark.parametrize("peers", [(), ("10.1.2.3", "2001:db8::/32")])
async def test_strangers_get_no_token_and_change_no_verdict(peers: tuple[str, ...]) -> None:
    """Whatever they forge: there is a session on the Host's site or there is none; where paths matter it is no."""
    sites = {
        "two": {"access": {"rules": [{"path": "/public/*", "public": True}]}},
        "one": {"access": {"groups": ["platform-admins"]}},
    }
    async with Central(peers=peers, sites=sites) as central:
        alice, bob = await peer_of(central, "alice", "one", "two"), await peer_of(central, "bob", "one", "two")
        for target, pairs in forgeries(central):
            dialect = target.removeprefix("/oauth2/auth").removeprefix("/").partition("/")[0]
            for who, host, status in (
                (alice, "one", yes(dialect)),
                (bob, "one", 403),
                (alice, "two", 403),
                (None, "one", 401),
                (None, "two", 401),
            ):
                jar = [("Cookie", who.browser.cookie_header(central.of(host)))] if who else []
                raw = request(target, host=central.host_of(host), headers=[*pairs, *CALL, *jar])
                reply = checked(await central.ask(raw))
                assert reply.status == status, (target, pairs, host)
                assert not [name for name, _ in reply.headers if name.lower().startswith(PERSONAL)]
                assert reply.values("Location") == reply.values("X-Oidcgate-Location") == []
                assert b"example.com" not in reply.body


async def test_strangers_from_other_sites_learn_nothing() -> None:
    """Another site's page that makes a browser ask is told 403; an unknown host is no site."""
    async with Central(peers=()) as central:
        peer = await peer_of(central)
        jar = ("Cookie", peer.browser.cookie_header(central.of("one")))
        for headers in ([("Origin", "https://evil.example")], [("Sec-Fetch-Site", "cross-site")]):
            raw = request("/oauth2/auth", host=central.host_of("one"), headers=[*headers, jar])
            assert (await central.ask(raw)).status == 403
        raw = request("/oauth2/auth", host=f"evil.localhost:{central.port}", headers=[jar])
        assert (await central.ask(raw)).status == 403


async def test_strangers_during_an_outage() -> None:
    """503: nobody can tell."""
    async with Central(peers=()) as central:
        peer = await peer_of(central)
        intercept_store(central).is_down = True
        gate_of(central).sessions._lives.clear()
        jar = ("Cookie", peer.browser.cookie_header(central.of("one")))
        raw = request("/oauth2/auth", host=central.host_of("one"), headers=[*CALL, jar])
        assert (await central.ask(raw)).status == 503


def test_who_is_a_peer() -> None:
    """Nobody by default; a Unix socket counts where there are any."""

    def auth(*peers: str) -> ForwardAuth:
        nothing: Any = None
        return ForwardAuth(nothing, nothing, peers=parse_networks(peers), headers=(), prefix="/oauth2")

    assert not auth().is_peer("127.0.0.1")
    assert not auth().is_peer("unix")
    some = auth("10.0.0.0/8", "2001:db8::/32")
    assert [some.is_peer(a) for a in ("10.1.2.3", "2001:db8::1", "unix", "11.1.2.3", "::ffff:10.1.2.3", "")] == [
        True,
        True,
        True,
        False,
        True,
        False,
    ]


# oauth2-proxy's further conditions.

ADMINS = "allowed_groups=platform-admins"


@pytest.mark.parametrize(
    ("query", "alice", "bob"),
    [
        (f"?{ADMINS}", 202, 403),
        ("?allowed_groups=team-shop,platform-admins", 202, 202),
        ("?allowed_groups=", 403, 403),
        ("?allowed_emails=bob@example.com", 403, 202),
        ("?allowed_emails=bob@example.com&allowed_groups=team-shop", 403, 202),
        ("?allowed_emails=bob@example.com&allowed_groups=platform-admins", 403, 403),
        ("?allowed_email_domains=example.com", 202, 202),
        ("?allowed_email_domains=*.example.com", 403, 403),
        ("?allowed_email_domains=ample.com", 403, 403),
        ("?other=x", 202, 202),
    ],
)
async def test_conditions_only_take_away(central: Central, query: str, alice: int, bob: int) -> None:
    """Each must be met besides what the configuration says; a condition admits nobody whom that keeps out."""
    one, other = await peer_of(central), await peer_of(central, "bob", "one", "two")
    for _ in range(2):  # the second question would go the quick way without them
        assert (await one.ask("", "/a", tail=query)).status == alice
        assert (await other.ask("", "/a", tail=query)).status == bob
        assert (await other.ask("", "/a", host="two", tail=query)).status == 403
        assert (await Peer(central).ask("", "/a", tail=query)).status == 401
        assert (await other.ask("nginx", "/a", tail=query)).status == 200
    is_open = (await Peer(central).ask("", "/public/x", tail=query)).status
    assert is_open == (202 if query == "?other=x" else 403)


async def test_conditions_of_strangers() -> None:
    """They hold for whoever asks."""
    async with Central(peers=()) as central:
        for who, status in (("alice", 202), ("bob", 403)):
            peer = await peer_of(central, who)
            jar = ("Cookie", peer.browser.cookie_header(central.of("one")))
            raw = request(f"/oauth2/auth?{ADMINS}", host=central.host_of("one"), headers=[*CALL, jar])
            assert (await central.ask(raw)).status == status


@pytest.mark.parametrize("header", ["Impersonate-User", "impersonate_group", "X-Remote-Extra-Scopes"])
async def test_whoever_claims_to_be_somebody(central: Central, header: str) -> None:
    """Where the peer passes such headers on, the request is refused; others drop them themselves."""
    peer = await peer_of(central)
    for name in NAMES:
        reply = await peer.ask(name, "/a", headers=[*CALL, (header, "admin")])
        assert reply.status == (403 if name in ("", "nginx") else yes(name))


# Programs that bring a token of their own.

PROGRAMS = {"one": {"programs": {"audiences": ["kubectl"]}}}


@pytest.mark.parametrize("name", NAMES)
async def test_a_program_with_a_bad_token(name: str) -> None:
    """401 that says so, and nothing that leads to a login; beside a cookie it is refused; elsewhere it is nobody's."""
    async with Central(sites=PROGRAMS) as central:
        bad = [*PAGE, ("Authorization", "Bearer a.b.c")]
        reply = await Peer(central).ask(name, "/a", headers=bad)
        assert reply.status == 401
        assert "invalid_token" in reply.value("WWW-Authenticate")
        assert reply.values("Location") == reply.values("X-Oidcgate-Location") == []
        peer = await peer_of(central, "alice", "one", "two")
        assert (await peer.ask(name, "/a", headers=bad)).status == 403
        reply = await peer.ask(name, "/a", host="two", headers=[*CALL, bad[-1]])
        assert reply.status == yes(name)
        assert "a.b.c" not in reply.value("Authorization")


async def test_a_strange_program_with_a_bad_token() -> None:
    """From no peer: 401, and 403 beside a cookie would be no better than none."""
    async with Central(sites=PROGRAMS, peers=()) as central:
        raw = request("/oauth2/auth", host=central.host_of("one"), headers=[("Authorization", "Bearer a.b.c")])
        reply = checked(await central.ask(raw))
        assert reply.status == 401


# A person with many groups.


async def head_of(central: Central, peer: Peer, name: str = "nginx") -> bytes:
    """An answer's head, as bytes."""
    url = central.of("one") + "/a"
    wire = await connect(central.port)
    await wire.send(question(name, url, headers=[*CALL, ("Cookie", peer.browser.cookie_header(url))]))
    raw = await wire.reader.readuntil(b"\r\n\r\n")
    await wire.close()
    assert raw.startswith(b"HTTP/1.1 20")
    return raw


@pytest.mark.parametrize("name", ["", "nginx"])
async def test_an_answer_fits_the_buffers_of_proxies(name: str) -> None:
    """As long as the token is below 3.5 kB the head stays below 4096 bytes, and no name is missing."""
    sizes = [0, 400, 800, *range(1000, 1400, 20), 1600, 1800]
    emptied = kept = 0
    async with Central(audiences=False) as central:
        for size in sizes:
            central.issuer.replace_person(replace(DEMO_PEOPLE[0], groups=("g" * size,) if size else ()))
            peer = await peer_of(central)
            raw = await head_of(central, peer, name)
            token = raw.partition(b"Authorization: Bearer ")[2].partition(b"\r\n")[0]
            assert raw.count(b"\r\nX-Auth-Request-") == 4
            assert len(token) < 3584
            assert len(raw) < 4096, (size, len(token), len(raw))
            groups = raw.partition(b"X-Auth-Request-Groups: ")[2].partition(b"\r\n")[0]
            emptied += size > 0 and not groups
            kept += size > 0 and groups == b"g" * size
    assert emptied + kept == len(sizes) - 1
    assert emptied
    assert kept


async def test_a_token_that_is_too_large(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is kept back, since buffers must be raised anyway; the log says so once, with the size."""
    async with Central(audiences=False) as central:
        central.issuer.replace_person(replace(DEMO_PEOPLE[0], groups=tuple(f"team-{n:04}" for n in range(300))))
        peer = await peer_of(central)
        with caplog.at_level(logging.WARNING, "oidcgate.forward_auth"):
            for _ in range(3):
                raw = await head_of(central, peer)
            look_again(central, at_the_store=True)
            for live in lives(central):
                live.told = None
            await head_of(central, peer)
        (record,) = caplog.records
        token = raw.partition(b"Authorization: Bearer ")[2].partition(b"\r\n")[0]
        assert len(token) > 4096
        assert str(len(token) + len("Authorization: Bearer ") + 2) in record.getMessage()
        assert raw.count(b"\r\nX-Auth-Request-") == 4
        assert b"X-Auth-Request-Groups: team-0000,team-0001," in raw
        assert "alice" not in record.getMessage()


async def test_who_was_warned_of_is_bounded(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Memory does not grow with the sessions; somebody may be told of once more."""
    monkeypatch.setattr("oidcgate.web.forward_auth.MOST_WARNED", 2)
    async with Central(audiences=False) as central:
        central.issuer.replace_person(replace(DEMO_PEOPLE[0], groups=("g" * 3000,)))
        with caplog.at_level(logging.WARNING, "oidcgate.forward_auth"):
            for _ in range(5):
                await head_of(central, await peer_of(central))
        assert len(caplog.records) == 5
        auth: Any = gate_of(central).forward_auth
        assert len(auth._warned) <= 2


async def test_groups_and_names_in_unicode(central: Central) -> None:
    """As UTF-8, each whole; one with a comma is left out."""
    central.issuer.replace_person(replace(DEMO_PEOPLE[0], groups=("b\u00fcro", "a,b", "platform-admins")))
    raw = await head_of(central, await peer_of(central))
    assert "X-Auth-Request-Groups: b\u00fcro,platform-admins\r\n".encode() in raw
