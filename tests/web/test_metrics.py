"""What happens now and then: logins, renewals, ends of sessions, calls, and what a UI failed; each counted once."""

import ast
import importlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import pytest_asyncio

import oidcgate
from oidcgate.errors import StoreUnavailable, UpstreamTimeout
from oidcgate.web import attempts as attempts_module
from oidcgate.web.metrics import OTHER_END, SESSION_ENDS, Metrics
from oidcgate.web.sessionpage import session_name
from oidcgate.web.site import SiteRuntime
from tests.support.browser import NAVIGATION, Browser
from tests.support.central import Central, follow, handoffs_of, walk_to
from tests.support.counted import Counted, counted
from tests.support.stack import Stack
from tests.support.upstream import WAYS, Arrived, Gated, Link, until
from tests.web.steps import (
    ask,
    begin,
    clocked,
    come_back,
    gate_of,
    intercept_store,
    lives,
    look_again,
    quick_stack,
    start_url,
    the_live,
    to_callback,
    turn,
)

on_one_loop = pytest.mark.asyncio(loop_scope="module")
both_ways = pytest.mark.parametrize("way", WAYS)
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
LATER = 10.0**6  # seconds; beyond every time limit
ERRORS = "oidcgate_upstream_errors_total"
LOGINS = "oidcgate_logins_total"
ENDS = "oidcgate_sessions_ended_total"


# What a UI failed


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncIterator[Gated]:
    """One gate before a scripted UI."""
    async with Gated(config={"session": {"store": "memory"}}) as gated:
        yield gated


@pytest_asyncio.fixture(loop_scope="module")
async def gated(shared: Gated) -> AsyncIterator[Gated]:
    """That gate as new."""
    await shared.reset()
    yield shared
    shared.upstream.raise_failures()


def failures(gated: Gated, before: Counted) -> dict[Any, float]:
    """What was counted against the UI since then."""
    return counted(gate_of(gated)).since(before, ERRORS, "site", "kind")


def requests(gated: Gated, before: Counted) -> float:
    """How many requests were over since then."""
    now = counted(gate_of(gated))
    return now.value("oidcgate_requests_total") - before.value("oidcgate_requests_total")


async def silent(link: Link, _arrived: Arrived) -> None:
    """A UI that says nothing."""
    await link.rest()


async def cut(link: Link, _arrived: Arrived) -> None:
    """A UI that hangs up instead of an answer."""
    link.close()


async def cut_later(link: Link, _arrived: Arrived) -> None:
    """A UI that hangs up in the middle of a reply."""
    await link.send(CHUNKED + b"5\r\n12345\r\n")
    link.close()


async def begun(link: Link, _arrived: Arrived) -> None:
    """A UI that stops in the middle of a reply."""
    await link.send(CHUNKED + b"5\r\n12345\r\n")
    await link.rest()


@on_one_loop
@both_ways
@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (b"nonsense\r\n\r\n", "protocol"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "protocol"),
        (CHUNKED + b"xyz\r\n", "protocol"),
        (b"HTTP/1.1 101 X\r\nUpgrade: x\r\n\r\n", "protocol"),
        (cut, "lost"),
        (cut_later, "lost"),
    ],
)
async def test_a_ui_that_fails(gated: Gated, way: str, script: Any, kind: str) -> None:
    """By what went wrong, once, whichever way the request went."""
    gated.upstream.script = script
    raw = gated.request()
    async with gated.wire() as wire:
        await gated.prepare(wire, way, raw)
        before = counted(gate_of(gated))
        await wire.send(raw)
        await wire.reply()
        await until(lambda: requests(gated, before))
    assert failures(gated, before) == {(f"localhost:{gated.port}", kind): 1}


@on_one_loop
@both_ways
async def test_a_ui_that_does_not_listen(gated: Gated, way: str) -> None:
    """No connection: once, although the quick way tries first."""
    raw = gated.request()
    async with gated.wire() as wire:
        await gated.prepare(wire, way, raw)
        await gated.upstream.stop()
        try:
            before = counted(gate_of(gated))
            await wire.send(raw)
            assert (await wire.reply()).status == 502
            assert failures(gated, before) == {(f"localhost:{gated.port}", "connect"): 1}
        finally:
            await gated.upstream.start()


@on_one_loop
@both_ways
@pytest.mark.parametrize("script", [silent, begun])
async def test_a_ui_that_takes_too_long(gated: Gated, way: str, script: Any) -> None:
    """Before its head, or in the middle of a reply."""
    gated.upstream.script = script
    raw = gated.request()
    async with gated.wire() as wire:
        await gated.prepare(wire, way, raw)
        before = counted(gate_of(gated))
        await wire.send(raw)
        await gated.upstream.arrived()
        if script is begun:
            await wire.head()
        connection = gated.connection(wire)
        connection.writer_of_reply.overdue(connection.loop.time() + LATER)
        await wire.reply() if script is silent else await wire.rest()
        await until(lambda: requests(gated, before))
    assert failures(gated, before) == {(f"localhost:{gated.port}", "timeout"): 1}


@on_one_loop
@both_ways
@pytest.mark.parametrize("script", [silent, begun])
@pytest.mark.parametrize("who", ["browser", "session"])
async def test_what_our_side_ends_is_no_failure(gated: Gated, way: str, script: Any, who: str) -> None:
    """A browser that leaves, a session that ends: the UI has done nothing wrong."""
    gated.upstream.script = script
    raw = gated.request()
    before = counted(gate_of(gated))
    async with gated.wire() as wire:
        await gated.prepare(wire, way, raw)
        before = counted(gate_of(gated))
        await wire.send(raw)
        await gated.upstream.arrived()
        if script is begun:
            await wire.head()
        if who == "session":
            live = gated.running.sessions.find(gated.handles["alice"].encode())
            await gated.running.sessions.end(live, "the person signed out")
            await wire.rest() if script is begun else await wire.reply()
    await until(lambda: requests(gated, before))
    assert failures(gated, before) == {}


@on_one_loop
async def test_a_browser_that_reads_nothing(gated: Gated) -> None:
    """Both sides stand still because of the browser: it is cut off, and not counted against the UI."""

    async def endless(link: Link, _arrived: Arrived) -> None:
        await link.send(CHUNKED)
        while True:
            await link.send(b"10000\r\n" + bytes(65536) + b"\r\n")

    gated.upstream.script = endless
    async with gated.wire() as wire:
        before = counted(gate_of(gated))
        await wire.send(gated.request())
        await gated.upstream.arrived()
        connection = gated.connection(wire)
        wire.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await until(lambda: connection.writing_paused)
        connection.writer_of_reply.overdue(connection.loop.time() + LATER)
        await until(lambda: requests(gated, before))
        assert failures(gated, before) == {}


def test_an_error_that_nobody_is_to_blame_for() -> None:
    """What is no failure of a UI's is not counted as one."""
    metrics, site = Metrics(), Any
    metrics.upstream_failed(site, StoreUnavailable("away"))  # type: ignore[arg-type]
    names = [sample for family in metrics.registry.collect() for sample in family.samples if "upstream" in sample.name]
    assert names == []
    assert UpstreamTimeout("x").kind == "timeout"


# Logins


def logins(stack: Stack, before: Counted) -> dict[Any, float]:
    """Steps of logins since then, on the only site."""
    return counted(gate_of(stack)).since(before, LOGINS, "step", "outcome")


@pytest.fixture
async def quick() -> AsyncIterator[tuple[Stack, Counted]]:
    """A stack, and what it had counted at its start."""
    async with quick_stack() as stack:
        yield stack, counted(gate_of(stack))


async def test_a_login(quick: tuple[Stack, Counted]) -> None:
    """Its start and its end, each once; somebody signed in who comes back begins none."""
    stack, before = quick
    browser = await stack.browser()
    await browser.send("GET", start_url(stack), NAVIGATION)
    assert logins(stack, before) == {("start", "ok"): 1, ("callback", "ok"): 1}
    assert counted(gate_of(stack)).by(LOGINS, "site") == {f"localhost:{stack.port}": 2}


async def test_a_loop(quick: tuple[Stack, Counted]) -> None:
    """A browser that does not keep its session."""
    stack, before = quick
    browser = Browser()
    for _ in range(4):
        await browser.sign_in(stack.url + "/")
        browser.cookies.pop(("localhost", "oidcgate"))
    assert (await browser.send("GET", start_url(stack), NAVIGATION)).status == 400
    assert logins(stack, before)["start", "loop"] == 1


async def test_too_many(quick: tuple[Stack, Counted], monkeypatch: pytest.MonkeyPatch) -> None:
    """From one address."""
    monkeypatch.setattr(attempts_module, "MOST_PER_ADDRESS", 1)
    stack, before = quick
    await begin(Browser(), stack)
    for _ in range(2):
        assert (await Browser().send("GET", start_url(stack), NAVIGATION)).status == 429
    assert logins(stack, before) == {("start", "ok"): 1, ("start", "too_many"): 2}


async def test_a_stray_callback(quick: tuple[Stack, Counted]) -> None:
    """Whatever a stranger makes up is one word."""
    stack, before = quick
    for index, query in enumerate(("", "?state=x", "?code=a&state=b&error=c", "?state=%00")):
        path = "/oauth2/callback" + ("/unknown" if index == 1 else "")
        await Browser().send("GET", stack.url + path + query, NAVIGATION)
    found = logins(stack, before)
    assert set(found) == {("callback", "stray")}
    assert found["callback", "stray"] == 4


async def test_the_provider_refuses(quick: tuple[Stack, Counted]) -> None:
    """Its own word is no label: whoever runs it, or a browser that makes one up, could make any number of them."""
    stack, before = quick
    stack.issuer.quirks.callback_params = lambda given: [
        ("error", "made_up_by_somebody"),
        *((name, value) for name, value in given if name != "code"),
    ]
    browser = Browser()
    assert (await come_back(browser, await to_callback(browser, stack))).status == 400
    assert logins(stack, before) == {("start", "ok"): 1, ("callback", "refused"): 1}
    assert "made_up" not in str(gate_of(stack).metrics_now())


async def test_the_provider_is_away(quick: tuple[Stack, Counted]) -> None:
    """During the callback, and at the start."""
    stack, before = quick
    stack.issuer.quirks.fail["token"] = 503
    browser = Browser()
    assert (await come_back(browser, await to_callback(browser, stack))).status == 503
    assert logins(stack, before) == {("start", "ok"): 1, ("callback", "unavailable"): 1}
    stack.issuer.quirks.drop.add("discovery")
    await stack.stop_gate()
    await stack.start_gate()
    assert (await Browser().send("GET", start_url(stack), NAVIGATION)).status == 503
    found = counted(gate_of(stack)).by(LOGINS, "step", "outcome")
    assert {key: count for key, count in found.items() if count} == {("start", "unavailable"): 1}


async def test_the_store_is_away_at_the_callback(quick: tuple[Stack, Counted]) -> None:
    """The very first question to it fails: the callback came to nothing, and is counted."""
    stack, before = quick
    browser = Browser()
    url = await to_callback(browser, stack)
    store = intercept_store(stack)
    store.is_down = True
    assert (await come_back(browser, url)).status == 503
    assert logins(stack, before) == {("start", "ok"): 1, ("callback", "unavailable"): 1}


async def test_the_store_fails_later(quick: tuple[Stack, Counted]) -> None:
    """The new session is not kept: one outcome all the same."""
    stack, before = quick
    browser = Browser()
    url = await to_callback(browser, stack)

    def fail(key: str) -> None:
        store.is_down = key.startswith(("session", "grant"))

    store = intercept_store(stack)
    store.before_put = fail
    assert (await come_back(browser, url)).status == 503
    assert logins(stack, before) == {("start", "ok"): 1, ("callback", "unavailable"): 1}


async def test_between_two_hosts() -> None:
    """A login on the login host, and a ticket for each further host; what goes wrong with one has a word."""
    async with Central() as central:
        before, browser = counted(gate_of(central)), Browser()
        auth, one, two = (f"{name}.k8s.localhost:{central.port}" for name in ("auth", "one", "two"))
        url = await walk_to(browser, f"{central.of('one')}/", "/oauth2/ticket")
        await follow(browser, url)
        expected = {(auth, "start", "ok"): 1, (auth, "callback", "ok"): 1, (one, "ticket", "ok"): 1}
        assert counted(gate_of(central)).since(before, LOGINS, "site", "step", "outcome") == expected

        await follow(Browser(), url)  # used, and in another browser
        expected[one, "ticket", "stray"] = 1
        assert counted(gate_of(central)).since(before, LOGINS, "site", "step", "outcome") == expected

        url = await walk_to(browser, f"{central.of('two')}/", "/oauth2/ticket")
        for live in [live for live in lives(central) if live.site.origin == central.url]:
            await gate_of(central).sessions.end(live, "the person signed out")
        assert (await follow(browser, url)).status == 400
        expected[two, "ticket", "late"] = 1
        assert counted(gate_of(central)).since(before, LOGINS, "site", "step", "outcome") == expected


async def test_the_store_is_away_between_two_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ticket that cannot be looked at, and one that cannot be written: a word each, and no login counted twice."""
    async with Central() as central:
        before, browser = counted(gate_of(central)), Browser()

        async def away(*_: Any) -> Any:
            raise StoreUnavailable("out for a test")

        one, auth = (f"{name}.k8s.localhost:{central.port}" for name in ("one", "auth"))
        url = await walk_to(browser, f"{central.of('one')}/", "/oauth2/callback")
        with monkeypatch.context() as patch:
            patch.setattr(handoffs_of(central), "issue", away)
            assert (await follow(browser, url)).status == 503
        expected = {(auth, "start", "ok"): 1, (auth, "callback", "unavailable"): 1}
        assert counted(gate_of(central)).since(before, LOGINS, "site", "step", "outcome") == expected
        with monkeypatch.context() as patch:
            patch.setattr(handoffs_of(central), "redeem", away)
            assert (await follow(browser, f"{central.of('one')}/oauth2/ticket?t=x")).status == 503
        expected[one, "ticket", "unavailable"] = 1
        assert counted(gate_of(central)).since(before, LOGINS, "site", "step", "outcome") == expected


# Tokens, calls, the store


async def test_renewals_and_calls() -> None:
    """A renewal that goes well, one that fails for now, and one that was refused for good; calls by name."""
    async with clocked(issuer={"id_token_life": 3600}, config={"session": {"idle": "12h", "lifetime": "24h"}}) as both:
        stack, clock = both
        before = counted(gate_of(stack))
        browser = await stack.browser()
        calls = counted(gate_of(stack)).since(
            before, "oidcgate_provider_call_duration_seconds_count", "call", "outcome"
        )
        assert calls["token", "ok"] == 1
        found = counted(gate_of(stack)).by("oidcgate_provider_call_duration_seconds_count", "call", "outcome")
        assert (found["discovery", "ok"], found["keys", "ok"]) == (1, 1)
        for outcome in ("ok", "unavailable", "refused"):
            before = counted(gate_of(stack))
            if outcome == "unavailable":
                stack.issuer.quirks.fail["token"] = 503
            elif outcome == "refused":
                stack.issuer.quirks.fail.clear()
                stack.issuer.refresh_tokens.revoke("demo-0001")
            turn(stack, clock, 3500)
            assert (await ask(browser, stack)).status == 200 or outcome == "refused"
            tasks = gate_of(stack).grants._tasks
            await until(lambda tasks=tasks: not tasks)
            now = counted(gate_of(stack))
            assert now.since(before, "oidcgate_refreshes_total", "outcome") == {outcome: 1}
            made = now.since(before, "oidcgate_provider_call_duration_seconds_count", "call", "outcome")
            word = {"unavailable": "error"}.get(outcome, outcome)
            assert made.get(("token", word)) == 1


def test_series_that_begin_at_0() -> None:
    """Those that alerts go by: Prometheus sees no increase in a series' first value."""
    metrics = Metrics()
    metrics.begin([cast(SiteRuntime, SimpleNamespace(label="ui.example.com"))])
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name.endswith("_total")
    }
    assert found["oidcgate_refreshes_total", "unavailable"] == 0
    assert found["oidcgate_upstream_errors_total", "ui.example.com", "connect"] == 0
    assert found["oidcgate_logins_total", "ui.example.com", "callback", "refused"] == 0


async def test_the_store() -> None:
    """Its operations by name; whether it is well is what the last one showed."""
    async with quick_stack() as stack:
        browser = await stack.browser()
        now = counted(gate_of(stack))
        found = now.by("oidcgate_store_duration_seconds_count", "operation", "outcome")
        assert {operation for operation, _ in found} <= {"get", "put", "delete", "keys", "notify"}
        assert {"get", "put"} <= {operation for operation, _ in found}
        assert {outcome for _, outcome in found} == {"ok"}
        assert now.value("oidcgate_store_ready") == 1
        gate: Any = gate_of(stack)
        inner, store = gate.store._inner, intercept_store(stack)
        gate.store = gate.sessions._store = observed(gate)
        observed(gate)._inner, store.is_down = store, True
        look_again(stack, at_the_store=True)
        await ask(browser, stack)
        now = counted(gate)
        assert now.value("oidcgate_store_ready") == 0
        assert now.value("oidcgate_store_duration_seconds_count", outcome="error") >= 1
        store.is_down = False
        assert (await gate.checks())["store"] is None
        assert counted(gate).value("oidcgate_store_ready") == 1
        assert store.inner is inner


def observed(gate: Any) -> Any:
    """The timed store, however the gate's parts were rewired for a test."""
    gauges = next(each for each in gate.metrics.registry._collector_to_names if hasattr(each, "_seen"))
    return gauges._seen.store


# Ends of sessions


def test_every_reason_has_a_word() -> None:
    """Whatever ends a session, its reason is in the table: none would be found under ``other``."""
    found = dict(reasons())
    assert len(found) >= 8
    assert {reason for reason in found.values() if reason not in SESSION_ENDS} == set()
    assert OTHER_END not in SESSION_ENDS.values()
    words = {SESSION_ENDS[reason] for reason in found.values()}
    assert words == set(SESSION_ENDS.values())


def reasons() -> Iterator[tuple[str, str]]:
    """Where sessions are ended, and the reason given there; one that is an argument is given by a caller."""
    assert oidcgate.__file__ is not None
    folder = Path(oidcgate.__file__).parent / "web"
    for path in sorted(folder.glob("*.py")):
        tree = ast.parse(path.read_text())
        module = importlib.import_module(f"oidcgate.web.{path.stem}")
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            if not ends_a_session(call, path.stem):
                continue
            reason = call.args[-1]
            if isinstance(reason, ast.Constant):
                yield f"{path.name}:{call.lineno}", reason.value
            elif isinstance(reason, ast.Name) and reason.id.isupper():
                yield f"{path.name}:{call.lineno}", getattr(module, reason.id)
            else:
                assert isinstance(reason, ast.Name), f"{path.name}:{call.lineno} gives no constant"
                assert reason.id == "reason", f"{path.name}:{call.lineno} gives no constant"
                assert path.stem == "sessions", f"{path.name}:{call.lineno} gives no constant"


def ends_a_session(call: ast.Call, module: str) -> bool:
    """Whether a call ends a session: of ``Sessions``, wherever it is called, or one inside it that tells of an end."""
    if not isinstance(call.func, ast.Attribute):
        return False
    owner, name = ast.unparse(call.func.value), call.func.attr
    if owner.endswith("sessions") and not owner.startswith("self.state"):
        return name in ("end", "end_key", "end_browser")
    inside = ("end", "end_key", "end_browser", "_end_or_say_later", "_remove", "on_over")
    return module == "sessions" and owner == "self" and name in inside


async def test_sessions_that_ended() -> None:
    """Each once, by why, also where several ways lead to its end."""
    async with quick_stack() as stack:
        gate = gate_of(stack)
        before = counted(gate)
        alice, bob = await stack.browser(), await stack.browser("bob")
        (live,) = [live for live in lives(stack) if "bob" in live.user]
        assert await gate.list_or_end(session_name(live.session.key))
        assert counted(gate).since(before, ENDS, "reason") == {"ended_by_admin": 1}
        assert (await ask(bob, stack)).status == 401
        await gate.sessions.end_browser(the_live(stack), "the person signed out")
        assert (await ask(alice, stack)).status == 401
        await gate.sessions.end(await signed_in(stack), "something nobody has a word for")
        expected = {"ended_by_admin": 1, "signed_out": 1, "other": 1}
        assert counted(gate).since(before, ENDS, "reason") == expected


async def signed_in(stack: Stack) -> Any:
    """Somebody's new session."""
    await stack.browser("carol")
    return the_live(stack)


async def test_a_session_whose_time_is_up() -> None:
    """Also when its record has gone from the store before anybody looked."""
    async with clocked(config={"session": {"idle": "1h", "lifetime": "2h"}}) as (stack, clock):
        before = counted(gate_of(stack))
        browser = await stack.browser()
        turn(stack, clock, 3 * 3600)
        assert (await ask(browser, stack)).status == 401
        await gate_of(stack).look_after()
        assert counted(gate_of(stack)).since(before, ENDS, "reason") == {"ran_out": 1}


async def test_no_secret_and_no_name_is_a_label() -> None:
    """Neither whose session it is, nor what authorises them, nor which paths they open."""
    async with quick_stack() as stack:
        browser = await stack.browser()
        await ask(browser, stack, "/api/v1/echo/very-secret?token=very-secret")
        live = the_live(stack)
        text = str(gate_of(stack).metrics_now())
        for secret in ("alice", "very-secret", browser.cookie("oidcgate") or "?", live.bearer.decode()[-40:]):
            assert secret not in text
