"""The short way for a proxy's usual question: really taken, the same answer, and never older than the session."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from oidcgate.demo.issuer import DEMO_PEOPLE
from oidcgate.proxy.dialects import DIALECTS
from oidcgate.web import forward_quick as module
from tests.support.browser import NAVIGATION, SCRIPT, Browser
from tests.support.central import Central, Pairs, question, set_every_clock
from tests.support.raw import Reply, Wire, connect, request
from tests.support.stack import Clock
from tests.web.steps import gate_of, lives, look_again

NAMES = list(DIALECTS)
MATTERS = ("cache-control", "content-length", "authorization", "location", "set-cookie", "content-type", "vary")


@pytest.fixture
async def central() -> AsyncIterator[Central]:
    """Two clusters and a wildcard."""
    async with Central(sites={"two": {"access": {"rules": [{"path": "/admin", "groups": ["nobody"]}]}}}) as running:
        yield running


class Line:
    """A proxy's keep-alive connection, about one person's requests."""

    def __init__(self, central: Central, wire: Wire, browser: Browser) -> None:
        self.central, self.wire, self.browser = central, wire, browser

    @property
    def taken(self) -> int:
        """How many questions went the short way."""
        gate: Any = gate_of(self.central)
        return int(gate.quick._otherwise.taken)

    def raw(self, name: str, path: str = "/a", *, host: str = "one", headers: Pairs = (), **options: Any) -> bytes:
        """A question."""
        url = self.central.of(host) + path
        jar = [("Cookie", self.browser.cookie_header(url))]
        return question(name, url, headers=[*(headers or SCRIPT.items()), *jar], **options)

    async def ask(self, name: str, path: str = "/a", **options: Any) -> Reply:
        """A question on this connection, and its answer."""
        await self.wire.send(self.raw(name, path, **options))
        method = options.get("method", "GET") if name == "envoy" else "GET"
        return await self.wire.reply(method)

    async def head(self, name: str, path: str = "/a", **options: Any) -> tuple[bool, bytes]:
        """Whether it went the short way, and the answer's head as bytes."""
        before = self.taken
        await self.wire.send(self.raw(name, path, **options))
        raw = await self.wire.reader.readuntil(b"\r\n\r\n")
        return self.taken > before, raw

    async def ask_for_a_request(self) -> Reply:
        """Something else of ours on the same connection."""
        await self.wire.send(
            request("/oauth2/userinfo", host=self.central.host_of("one"), headers=list(SCRIPT.items()))
        )
        return await self.wire.reply()


@pytest.fixture
async def line(central: Central) -> AsyncIterator[Line]:
    """Of alice, signed in on the first cluster."""
    found = await line_to(central)
    yield found
    await found.wire.close()


async def line_to(central: Central, login: str = "alice", host: str = "one") -> Line:
    """Of somebody signed in on a host, before the first question."""
    browser = Browser()
    page = await browser.sign_in(f"{central.of(host)}/oauth2/start?rd=/oauth2/userinfo", login)
    assert page.status == 200
    return Line(central, await connect(central.port), browser)


def telling(raw: bytes) -> list[bytes]:
    """The lines of a head that tell something, as bytes: its status, who it is, and what may be done with it."""
    first, *lines = raw.split(b"\r\n")[:-2]
    kept = [
        row for row in lines if row.partition(b":")[0].decode().lower().startswith((*MATTERS, "x-auth-", "x-forwarded"))
    ]
    return [first, *sorted(kept)]


@pytest.mark.parametrize(
    "families", [["authorization", "x-auth-request"], ["authorization", "x-auth-request", "x-forwarded"], []]
)
async def test_both_ways_say_the_same(families: list[str]) -> None:
    """The first question goes the long way, the next ones the short way; each byte that matters is alike."""
    async with Central(config={"forward_auth": {"headers": families}}) as central:
        central.issuer.replace_person(replace(DEMO_PEOPLE[0], groups=("b\u00fcro", "platform-admins", "a,b")))
        line = await line_to(central)
        for name in NAMES:
            gate_of(central).gate.facts.forget()
            was_quick, slow = await line.head(name)
            assert not was_quick
            for _ in range(3):
                was_quick, quick = await line.head(name, "/other?x=y")
                assert was_quick
                assert telling(quick) == telling(slow)
                assert len(quick) < len(slow)
            assert len(telling(slow)) == 3 + (1 + 4 if families else 0) + (4 if "x-forwarded" in families else 0)
        await line.wire.close()


@pytest.mark.parametrize("name", NAMES)
async def test_taken_again_and_again(line: Line, name: str) -> None:
    """GET and HEAD, whatever the path and query; each with its line in the log, which has no query."""
    await line.ask(name)
    before = line.taken
    targets = ["/", "/a/b?c=d", "/api/v1/pods", "/x%20y", "/auth", "/oauth"]
    for count, target in enumerate(targets, 1):
        reply = await line.ask(name, target, method=("GET", "HEAD")[count % 2])
        assert (reply.status, reply.body) == (DIALECTS[name].allow, b"")
        assert line.taken == before + count
    rows = [json.loads(row) for row in line.central.access_log().splitlines()][-len(targets) :]
    assert [row["path"] for row in rows] == [target.partition("?")[0] for target in targets]
    assert {(row["status"], row["user"]) for row in rows} == {(DIALECTS[name].allow, "alice@example.com")}
    assert [row["method"] for row in rows] == ["HEAD", "GET"] * 3


@pytest.mark.parametrize(
    ("change", "status"),
    [
        pytest.param({"path": "/oauth2/userinfo"}, 403, id="own-path"),
        pytest.param({"path": "/api/sockjs/iframe.html"}, 403, id="closed"),
        pytest.param({"path": "/a/../b"}, 200, id="dots"),
        pytest.param({"path": "/a//b"}, 200, id="empty-segment"),
        pytest.param({"path": "/a%2fb"}, 200, id="encoded"),
        pytest.param({"path": "/a\\b"}, 403, id="backslash"),
        pytest.param({"method": "POST"}, 200, id="post"),
        pytest.param({"method": "OPTIONS"}, 200, id="options"),
        pytest.param({"method": "TRACE"}, 403, id="trace"),
        pytest.param({"version": "HTTP/1.0"}, 200, id="http-1.0"),
        pytest.param({"extra": [("Connection", "close")]}, 200, id="last-of-its-connection"),
        pytest.param({"headers": [*SCRIPT.items(), ("X-New", "1")]}, 200, id="a-block-that-is-not-known"),
        pytest.param({"headers": [*SCRIPT.items(), ("Origin", "https://evil.example")]}, 403, id="foreign"),
        pytest.param({"headers": list({**NAVIGATION, "Sec-Fetch-Site": "cross-site"}.items())}, 200, id="navigation"),
        pytest.param({"without": "X-Original-Method"}, 403, id="word-missing"),
        pytest.param({"extra": [("X-Original-URL", "http://x/")]}, 403, id="word-twice"),
        pytest.param({"extra": [("X_Original_URL", "http://x/")]}, 403, id="word-in-another-spelling"),
        pytest.param({"host": "evil"}, 401, id="host-without-a-session"),
        pytest.param({"host": "two"}, 401, id="another-host"),
    ],
)
async def test_everything_else_goes_the_long_way(line: Line, change: dict[str, Any], status: int) -> None:
    """And is answered there as it should be."""
    await line.ask("nginx")
    await line.ask("nginx")
    before = line.taken
    assert before == 1
    reply = await line.ask("nginx", **change)
    assert reply.status == status
    assert line.taken == before


async def test_sites_with_rules_are_looked_at_each_time(central: Central) -> None:
    """A path may be somebody else's."""
    line = await line_to(central, host="two")
    for _ in range(3):
        assert (await line.ask("nginx", host="two")).status == 200
        assert (await line.ask("nginx", "/admin", host="two")).status == 403
    assert line.taken == 0
    await line.wire.close()


async def test_a_query_may_hold_conditions(line: Line) -> None:
    """Of oauth2-proxy's endpoint; any other dialect's says nothing, on either way."""
    for name, taken in (("", 0), ("nginx", 2)):
        for _ in range(3):
            reply = await line.ask(name, tail="?allowed_groups=nobody")
            assert reply.status == (403 if name == "" else 200)
        assert line.taken == taken


async def test_strangers_never_take_it() -> None:
    """From an address that is no peer's, a known block gets what strangers get: no token."""
    async with Central() as central:
        line = await line_to(central)
        await line.ask("envoy")
        assert (await line.ask("envoy")).value("Authorization")
        gate: Any = gate_of(central)
        gate.forward_auth._peers = ()
        gate.quick._otherwise._peers.clear()
        reply = await line.ask("envoy")
        assert reply.status == 200
        assert reply.values("Authorization") == reply.values("X-Auth-Request-User") == []
        await line.wire.close()


async def test_remembered_addresses_are_bounded(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes from many addresses fills no memory."""
    monkeypatch.setattr(module, "MOST_PEERS", 8)
    gate: Any = gate_of(line.central)
    quick = gate.quick._otherwise
    assert not any(quick._remember_peer(f"192.0.2.{number}") for number in range(100))
    assert len(quick._peers) <= 8
    assert quick._remember_peer("127.0.0.1")


@pytest.mark.parametrize("name", NAMES)
async def test_after_the_sign_out(line: Line, name: str) -> None:
    """The next question is answered 401, on the very same connection."""
    await line.ask(name)
    assert (await line.ask(name)).status == DIALECTS[name].allow
    assert line.taken == 1
    page = await line.browser.open(f"{line.central.url}/oauth2/sign_out")
    kept = dict(line.browser.cookies)
    await line.browser.submit(page)
    line.browser.cookies = kept  # the peer's client still sends it
    reply = await line.ask(name)
    assert reply.status == 401
    assert reply.values("Authorization") == reply.values("X-Auth-Request-User") == []
    assert line.taken == 1


async def test_the_verdict_is_never_older_than_the_session(line: Line) -> None:
    """One that is not fresh, not admitted, or over is looked at."""
    await line.ask("nginx")
    (live,) = [live for live in lives(line.central) if live.site.origin == line.central.of("one")]
    for change, status in (("fresh_until", 200), ("admitted", 200)):
        await line.ask("nginx")
        before = line.taken
        setattr(live, change, 0.0 if change == "fresh_until" else None)
        assert (await line.ask("nginx")).status == status
        assert line.taken == before
    live.admitted = False
    assert (await line.ask("nginx")).status == 403
    assert line.taken == before


async def test_a_renewed_token_is_told_at_once() -> None:
    """Never one past its time, and new groups with the new token."""
    clock = Clock()
    async with Central(issuer={"id_token_life": 600, "clock": clock}, ui={"clock": clock}) as central:
        set_every_clock(central, clock)
        line = await line_to(central)
        await line.ask("nginx")
        old = await line.ask("nginx")
        assert line.taken == 1
        central.issuer.replace_person(replace(DEMO_PEOPLE[0], groups=("new-group",)))
        clock.ahead += 601
        look_again(central)
        new = await line.ask("nginx")
        assert new.status == 200
        assert new.value("Authorization") != old.value("Authorization")
        assert new.value("X-Auth-Request-Groups") == "new-group"
        await line.wire.close()


async def test_a_gate_that_drains_takes_none(line: Line) -> None:
    """The long way ends the connection in its own time."""
    await line.ask("nginx")
    gate_of(line.central).quick.is_open = False
    assert (await line.ask("nginx")).status == 200
    assert line.taken == 0


async def test_questions_sent_ahead(line: Line) -> None:
    """Several at once are answered each, in their order."""
    await line.ask("nginx")
    paths = ["/a", "/oauth2", "/b", "/api/sockjs/iframe.html", "/c"]
    await line.wire.send(b"".join(line.raw("nginx", path) for path in paths))
    assert [(await line.wire.reply()).status for _ in paths] == [200, 403, 200, 403, 200]
    for path in paths[:3]:
        await line.wire.send(line.raw("nginx", path))
    assert [(await line.wire.reply()).status for _ in paths[:3]] == [200, 403, 200]


async def test_a_question_in_pieces(line: Line) -> None:
    """However the bytes come."""
    await line.ask("nginx")
    raw = line.raw("nginx")
    for cut in (1, 10, len(raw) // 2, len(raw) - 1):
        before = line.taken
        await line.wire.send(raw[:cut])
        await line.wire.send(raw[cut:])
        assert (await line.wire.reply()).status == 200
        assert line.taken == before + 1


async def test_other_requests_on_the_same_connection(line: Line) -> None:
    """A quick answer leaves a connection as good as new; one after another are not mixed up."""
    await line.ask("nginx")
    for _ in range(3):
        assert (await line.ask("nginx")).status == 200
        assert (await line.ask_for_a_request()).status == 401
    assert line.taken == 3
    await line.wire.send(line.raw("nginx", extra=[("Connection", "close")]))
    assert (await line.wire.reply()).status == 200
    assert await line.wire.is_closed()


async def test_one_persons_facts_are_nobody_elses(central: Central) -> None:
    """On one connection of a proxy's, people alternate: each question is about its own cookie."""
    alice, bob = await line_to(central), await line_to(central, "bob")
    await bob.wire.close()
    bob.wire = alice.wire
    for _ in range(3):
        for who, line in (("alice", alice), ("bob", bob)):
            reply = await line.ask("nginx")
            assert reply.value("X-Auth-Request-Email") == f"{who}@example.com"
    assert alice.taken == 4
    await alice.wire.close()
