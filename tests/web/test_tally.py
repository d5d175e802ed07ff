"""What became of requests: one outcome each, whichever way it went, and nothing that a client chose in a label."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from oidcgate.errors import OidcgateError
from oidcgate.proxy.ui import PRESETS
from oidcgate.web import tally as words
from oidcgate.web.admin import Read
from oidcgate.web.logs import NOT_ASKED, Row
from oidcgate.web.tally import BUCKETS, LIMITS, RequestTally, Times, outcome_of
from tests.support.browser import NAVIGATION, SCRIPT
from tests.support.central import Central, question
from tests.support.counted import Counted, counted
from tests.support.raw import request
from tests.support.upstream import QUICK, SLOW, WAYS, Arrived, Gated, Link, answer, until
from tests.web.steps import gate_of, intercept_store, look_again

on_one_loop = pytest.mark.asyncio(loop_scope="module")
both_ways = pytest.mark.parametrize("way", WAYS)
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CROSS = [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "cors")]
REQUESTS = "oidcgate_requests_total"


class Site:
    """A site, as far as the log needs it."""

    preset = PRESETS["plain"]

    def __init__(self, label: str) -> None:
        self.authority = self.label = label


def row(
    site: Any, status: int, *, size: int = 0, seconds: float = 0.0, waited: float = NOT_ASKED, word: str = ""
) -> Row:
    """A request that is over."""
    return (1.0, site, '"alice"', "GET", "/secret", status, size, seconds, "192.0.2.1", 1, waited, word, "")


def read(tally: RequestTally) -> Counted:
    """What Prometheus reads of it, through its own parser."""
    text = generate_latest(Read(list(tally.collect()))).decode()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return Counted((sample.name, sample.labels, sample.value) for sample in samples)


@pytest.mark.parametrize(
    ("status", "waited", "outcome"),
    [
        (200, 0.0, "ok"),
        (204, 0.1, "ok"),
        (304, 0.1, "ok"),
        (401, 0.1, "ok"),
        (404, 0.1, "ok"),
        (499, 0.1, "ok"),  # the UI's own
        (500, 0.1, "ui_error"),
        (503, 0.1, "ui_error"),
        (101, 0.1, "websocket"),
        (200, NOT_ASKED, "own_page"),
        (302, NOT_ASKED, "own_page"),
        (401, NOT_ASKED, "login"),
        (403, NOT_ASKED, "forbidden"),
        (400, NOT_ASKED, "refused"),
        (404, NOT_ASKED, "refused"),
        (421, NOT_ASKED, "refused"),
        (429, NOT_ASKED, "refused"),
        (431, NOT_ASKED, "refused"),
        (499, NOT_ASKED, "aborted"),
        (500, NOT_ASKED, "unavailable"),
        (502, NOT_ASKED, "unavailable"),
        (503, NOT_ASKED, "unavailable"),
    ],
)
def test_what_a_status_means(status: int, waited: float, outcome: str) -> None:
    """It matters who said it: the UI or the gate."""
    assert outcome_of(status, answered=waited >= 0) == outcome


def test_a_histogram() -> None:
    """Each limit counts what is not above it; the last one counts everything."""
    times = Times()
    times.add([31.0, 0.0011, 0.0])
    times.add([0.001, 30.0])
    found = dict(times.cumulative())
    assert list(found) == list(LIMITS)
    assert (found["0.001"], found["0.0025"], found["10"], found["30"], found["+Inf"]) == (2, 3, 3, 4, 5)
    assert times.sum == pytest.approx(61.0021)
    assert len(times.counts) == len(BUCKETS) + 1


def test_a_clock_that_was_set_back() -> None:
    """A sum that fell would be taken for a restart."""
    times = Times()
    times.add([1.0, -3600.0])
    assert (times.sum, dict(times.cumulative())["+Inf"]) == (1.0, 2)


def test_rows_are_added_up() -> None:
    """By site and outcome; bytes and seconds, too; how long a UI took is counted where it has answered."""
    tally, one, two = RequestTally(), Site("one.example"), Site("two.example:8443")
    tally([row(one, 200, size=100, seconds=0.5, waited=0.25), row(one, 404, size=11, seconds=0.5, waited=0.5)])
    tally([row(one, 200, seconds=2.0, waited=1.0, word="aborted"), row(one, 502, size=7)])
    tally([row(two, 403), row(None, 421)])
    found = read(tally)
    assert found.by(REQUESTS, "site", "outcome") == {
        ("one.example", "ok"): 2,
        ("one.example", "aborted"): 1,
        ("one.example", "unavailable"): 1,
        ("two.example:8443", "forbidden"): 1,
        ("", "refused"): 1,
    }
    assert found.value("oidcgate_response_bytes_total", site="one.example", outcome="ok") == 111
    assert found.value("oidcgate_response_bytes_total") == 118
    assert found.value("oidcgate_request_duration_seconds_sum", site="one.example") == 3.0
    assert found.value("oidcgate_request_duration_seconds_count") == 6
    assert found.value("oidcgate_request_duration_seconds_bucket", outcome="ok", le="0.5") == 2
    assert found.by("oidcgate_upstream_duration_seconds_sum", "site") == {"one.example": 1.75}
    assert found.by("oidcgate_upstream_duration_seconds_count", "site") == {"one.example": 3}


def test_nothing_yet() -> None:
    """Before the first request there are names, and no series."""
    assert read(RequestTally()).series == {}


def test_every_outcome_has_its_name() -> None:
    """The words are the documented ones."""
    named = [value for name, value in vars(words).items() if name.isupper() and isinstance(value, str)]
    assert named == [
        "ok", "ui_error", "allowed", "own_page", "login", "forbidden", "refused", "unavailable", "websocket", "aborted",
    ]  # fmt: skip


# Real requests


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncIterator[Gated]:
    """One gate for all of them, which answers a proxy's questions, too."""
    config = {"session": {"store": "memory"}, "forward_auth": {"peers": ["127.0.0.1"]}}
    async with Gated(config=config) as gated:
        yield gated


@pytest_asyncio.fixture(loop_scope="module")
async def gated(shared: Gated) -> AsyncIterator[Gated]:
    """That gate as new."""
    await shared.reset()
    yield shared
    shared.upstream.raise_failures()


class Ledger:
    """What a gate has counted since a moment."""

    def __init__(self, gated: Gated) -> None:
        self.gated = gated
        self.label = f"localhost:{gated.port}"
        self.before = counted(gate_of(gated))

    def requests(self) -> dict[tuple[str, str], float]:
        """By site and outcome."""
        return counted(gate_of(self.gated)).since(self.before, REQUESTS, "site", "outcome")

    async def only(self, outcome: str, *, label: str | None = None) -> Counted:
        """Wait for the request to be counted: once, so. All that is counted now."""
        await until(self.requests)
        assert self.requests() == {(self.label if label is None else label, outcome): 1}
        now = counted(gate_of(self.gated))
        assert sum(now.since(self.before, "oidcgate_request_duration_seconds_count", "outcome").values()) == 1
        return now


@both_ways
@pytest.mark.parametrize(
    ("status", "outcome"), [("200 OK", "ok"), ("404 Not Found", "ok"), ("500 Oh", "ui_error"), ("503 No", "ui_error")]
)
@on_one_loop
async def test_the_ui_answered(gated: Gated, way: str, status: str, outcome: str) -> None:
    """As the UI's own status says; bytes are those that the browser got, and the UI's time is counted once."""
    gated.upstream.script = answer(b"x" * 1000, status=status)
    raw = gated.request("/api/a?secret=1")
    async with gated.wire() as wire:
        await gated.prepare(wire, way, raw)
        ledger = Ledger(gated)
        await wire.send(raw)
        reply = await wire.reply()
        now = await ledger.only(outcome)
    size = now.since(ledger.before, "oidcgate_response_bytes_total", "outcome")[outcome]
    head = sum(len(name) + len(value) + 4 for name, value in reply.headers)
    assert size == len(f"HTTP/1.1 {status}\r\n\r\n") + head + 1000
    assert sum(now.since(ledger.before, "oidcgate_upstream_duration_seconds_count", "site").values()) == 1


@pytest.mark.parametrize(
    ("target", "method", "headers", "who", "outcome"),
    [
        ("/oauth2/userinfo", "GET", (), "alice", "own_page"),
        ("/oauth2/start?rd=/", "GET", tuple(NAVIGATION.items()), None, "own_page"),
        ("/", "GET", tuple(NAVIGATION.items()), None, "login"),
        ("/api/a", "GET", tuple(SCRIPT.items()), None, "login"),
        ("/api/a", "POST", CROSS, "alice", "forbidden"),
        ("/a\\b", "GET", (), "alice", "refused"),
        ("/oauth2/nothing", "GET", (), "alice", "refused"),
    ],
)
@on_one_loop
async def test_the_gate_answered(
    gated: Gated, target: str, method: str, headers: Any, who: str | None, outcome: str
) -> None:
    """Pages of its own, the way to the login, no, and what breaks a rule; the UI's time is not counted."""
    ledger = Ledger(gated)
    await gated.fetch(gated.request(target, method=method, headers=headers, who=who), method)
    label = None if target != "/a\\b" else ""
    now = await ledger.only(outcome, label=label)
    assert now.since(ledger.before, "oidcgate_upstream_duration_seconds_count", "site") == {}


@on_one_loop
async def test_hosts_that_are_not_ours_share_one_label(gated: Gated) -> None:
    """A stranger makes no series, with whatever host, method or path."""
    await gated.fetch(gated.request(host="h0.example"))
    ledger = Ledger(gated)
    names = set(counted(gate_of(gated)).series)
    for index in range(1, 20):
        await gated.fetch(gated.request(f"/{index}", host=f"h{index}.example"))
    assert ledger.requests() == {("", "refused"): 19}
    assert set(counted(gate_of(gated)).series) == names


@on_one_loop
async def test_a_body_that_is_too_large(gated: Gated) -> None:
    """413 is the gate's no."""
    limit, gate = gated.running.gate._body_limit, gated.running.gate
    gate._body_limit = 10
    try:
        ledger = Ledger(gated)
        reply = await gated.fetch(gated.request(method="POST", body=b"x" * 11))
        assert reply.status == 413
        await ledger.only("refused")
    finally:
        gate._body_limit = limit


@both_ways
@on_one_loop
async def test_a_ui_that_is_away(gated: Gated, way: str) -> None:
    """Counted once, although the quick way hands such a request to the slow one."""
    raw = gated.request()
    async with gated.wire() as wire:
        await gated.prepare(wire, way, raw)
        await gated.upstream.stop()
        try:
            ledger = Ledger(gated)
            await wire.send(raw)
            assert (await wire.reply()).status == 502
            await ledger.only("unavailable")
        finally:
            await gated.upstream.start()


@on_one_loop
@both_ways
async def test_how_long_a_browser_waited_for_a_no(gated: Gated, way: str) -> None:
    """From its request on, also when the quick way waited for the UI and the slow one answers."""

    async def script(link: Link, _arrived: Arrived) -> None:
        await link.rest()

    gated.upstream.script = script
    raw = gated.request()
    async with gated.wire() as wire:
        await gated.prepare(wire, way, raw)
        ledger = Ledger(gated)
        await wire.send(raw)
        await gated.upstream.arrived()
        connection = gated.connection(wire)
        if way == QUICK:
            connection.writer_of_reply.began -= 1000.0
        connection.writer_of_reply.overdue(connection.loop.time() + 10.0**6)
        assert (await wire.reply()).status == 504
        now = await ledger.only("unavailable")
    waited = now.since(ledger.before, "oidcgate_request_duration_seconds_sum", "outcome")["unavailable"]
    assert (waited > 1000.0) == (way == QUICK)


@on_one_loop
async def test_the_store_is_away(gated: Gated) -> None:
    """503 until it is back."""
    gate = gated.running
    inner = gate.store
    intercept_store(gated).is_down = True
    look_again(gated, at_the_store=True)
    for live in gate.sessions._lives.values():
        live.checked = -(10.0**9)
    try:
        ledger = Ledger(gated)
        assert (await gated.fetch(gated.request())).status == 503
        await ledger.only("unavailable")
    finally:
        gate.store = gate.sessions._store = gate.grants._store = inner


@on_one_loop
async def test_our_own_mistake(gated: Gated, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that nobody foresaw is a 500, and is counted and logged as one."""

    def broken(_inbound: Any) -> None:
        raise OidcgateError("nobody expects this")

    monkeypatch.setattr(gated.running.gate, "decide", broken)
    ledger = Ledger(gated)
    assert (await gated.fetch(gated.request())).status == 500
    await ledger.only("unavailable")
    assert '"status":500' in gated.access_log().splitlines()[-1]


@both_ways
@on_one_loop
async def test_a_reply_that_broke_off(gated: Gated, way: str) -> None:
    """The browser has the UI's 200 and not all of its body."""

    async def script(link: Link, _arrived: Arrived) -> None:
        await link.send(CHUNKED + b"5\r\n12345\r\n")
        link.close()

    gated.upstream.script = script
    raw = gated.request()
    async with gated.wire() as wire:
        await gated.prepare(wire, way, raw)
        ledger = Ledger(gated)
        await wire.send(raw)
        assert not (await wire.reply()).complete
        now = await ledger.only("aborted")
    assert sum(now.since(ledger.before, "oidcgate_upstream_duration_seconds_count", "site").values()) == 1


@both_ways
@pytest.mark.parametrize("begin", [b"", CHUNKED + b"5\r\n12345\r\n"])
@on_one_loop
async def test_a_browser_that_left(gated: Gated, way: str, begin: bytes) -> None:
    """Before the reply or in the middle of it: counted and logged, whichever way it went."""

    async def script(link: Link, _arrived: Arrived) -> None:
        await link.send(begin)
        await link.rest()

    gated.upstream.script = script
    raw = gated.request("/api/left")
    async with gated.wire() as wire:
        await gated.prepare(wire, way, raw)
        ledger = Ledger(gated)
        await wire.send(raw)
        await gated.upstream.arrived()
        if begin:
            await wire.head()
    await ledger.only("aborted")
    assert f'"path":"/api/left","status":{200 if begin else 499}' in gated.access_log().splitlines()[-1]


@on_one_loop
async def test_a_websocket(gated: Gated) -> None:
    """Counted when it is over, with what went to the browser."""
    accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    agreed = f"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"

    async def script(link: Link, _arrived: Arrived) -> None:
        await link.send(agreed.encode() + b"\x81\x05hello")
        await link.rest()

    gated.upstream.script = script
    headers = [
        ("Origin", gated.url),
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ]
    ledger = Ledger(gated)
    async with gated.wire() as wire:
        await wire.send(gated.request(headers=headers))
        assert (await wire.head()).status == 101
        assert await wire.exactly(7) == b"\x81\x05hello"
        assert ledger.requests() == {}
    now = await ledger.only("websocket")
    assert now.since(ledger.before, "oidcgate_response_bytes_total", "outcome")["websocket"] > 7


# A proxy asks


@on_one_loop
async def test_a_proxy_was_told_yes(gated: Gated) -> None:
    """By the slow way first, then by the quick one."""
    cookie = f"oidcgate={gated.handles['alice']}"
    raw = question("traefik", f"{gated.url}/api/a", headers=[*SCRIPT.items(), ("Cookie", cookie)])
    quick = gated.running.quick._otherwise
    for taken in (0, 1):
        before, ledger = quick.taken, Ledger(gated)
        assert (await gated.fetch(raw)).status == 200
        await ledger.only("allowed")
        assert quick.taken - before == taken


@pytest.mark.parametrize(
    ("dialect", "status", "outcome"), [("traefik", 302, "login"), ("nginx", 401, "login"), ("envoy", 302, "login")]
)
@on_one_loop
async def test_a_proxy_was_told_to_sign_in(gated: Gated, dialect: str, status: int, outcome: str) -> None:
    """However it is put: a redirect is the way to the login, and no page of ours."""
    ledger = Ledger(gated)
    reply = await gated.fetch(question(dialect, f"{gated.url}/", headers=tuple(NAVIGATION.items())))
    assert reply.status == status
    await ledger.only(outcome)


@on_one_loop
async def test_a_proxy_was_told_no(gated: Gated) -> None:
    """What may not be, what is for no site of ours, and what nobody speaks: each is counted."""
    cookie = f"oidcgate={gated.handles['alice']}"
    ledger = Ledger(gated)
    raw = question("traefik", f"{gated.url}/a", method="POST", headers=[*CROSS, ("Cookie", cookie)])
    assert (await gated.fetch(raw)).status == 403
    await ledger.only("forbidden")
    ledger = Ledger(gated)
    assert (await gated.fetch(question("traefik", "http://elsewhere.example/"))).status == 403
    await ledger.only("forbidden", label="")
    ledger = Ledger(gated)
    assert (await gated.fetch(request("/oauth2/auth/unknown", host=f"localhost:{gated.port}"))).status == 404
    await ledger.only("refused", label="")


@on_one_loop
async def test_hosts_of_a_wildcard_share_one_label() -> None:
    """As the site is configured, however many hosts there are and whoever asks about them."""
    async with Central() as central:
        before = counted(gate_of(central))
        for index in range(5):
            url = f"http://h{index}.k8s.localhost:{central.port}/"
            assert (await central.ask(question("traefik", url, headers=tuple(SCRIPT.items())))).status == 401
            raw = request("/", host=f"g{index}.k8s.localhost:{central.port}", headers=SCRIPT)
            assert (await central.ask(raw)).status == 401
        now = counted(gate_of(central))
        label = f"*.k8s.localhost:{central.port}"
        assert now.since(before, REQUESTS, "site", "outcome") == {(label, "login"): 10}
        assert set(now.by("oidcgate_websockets", "site")) == {site.label for site in gate_of(central).sites}
        assert label in now.by("oidcgate_websockets", "site")


@on_one_loop
async def test_a_scrape_waits_for_no_batch(gated: Gated) -> None:
    """What is over is counted, also when the log has not written it yet; a second look finds nothing more."""
    gated.upstream.script = answer()
    ledger = Ledger(gated)
    await asyncio.gather(*(gated.ask(SLOW, f"/{index}") for index in range(3)))
    await until(lambda: ledger.requests() == {(ledger.label, "ok"): 3})
    assert ledger.requests() == {(ledger.label, "ok"): 3}
