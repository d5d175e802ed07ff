"""How a gate is right now."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from oidcgate.net.upstream import parse_address
from oidcgate.web.gauges import label_of
from tests.support.browser import SCRIPT
from tests.support.central import Central, question
from tests.support.counted import Counted, counted
from tests.support.raw import connect
from tests.support.stack import Stack
from tests.support.upstream import Arrived, Gated, Link, answer, until
from tests.web.steps import ask, clocked, gate_of, lives, quick_stack, the_live
from tests.web.test_sessions import open_websocket

AGE, EXPIRY = "oidcgate_oldest_grant_age_seconds", "oidcgate_next_token_expiry_seconds"


def now(stack: Stack) -> Counted:
    """The gauges of a stack's gate."""
    return counted(gate_of(stack))


def connections(stack: Stack) -> dict[Any, float]:
    """Connections to UIs, by what they do."""
    return now(stack).by("oidcgate_upstream_connections", "state")


async def test_connections_to_a_ui() -> None:
    """Idle, busy, idle again; each that was made is counted once."""
    async with Gated() as gated:
        gated.forget_connections()
        made = now(gated).value("oidcgate_upstream_connects_total")
        go_on = asyncio.Event()

        async def script(link: Link, _arrived: Arrived) -> None:
            await go_on.wait()
            await link.send(answer())

        gated.upstream.script = script
        assert connections(gated) == {"idle": 0, "busy": 0}
        async with gated.wire() as wire:
            await wire.send(gated.request())
            await gated.upstream.arrived()
            assert connections(gated) == {"idle": 0, "busy": 1}
            go_on.set()
            await wire.reply()
            assert connections(gated) == {"idle": 1, "busy": 0}
            await wire.send(gated.request())
            await wire.reply()
        assert now(gated).value("oidcgate_upstream_connects_total") == made + 1
        assert now(gated).by("oidcgate_upstream_connects_total", "site").keys() == {f"localhost:{gated.port}"}


async def test_connections_from_browsers_and_websockets() -> None:
    """As many as are open; a websocket is a busy connection to the UI, too."""
    async with quick_stack() as stack:
        browser = await stack.browser()
        await until(lambda: now(stack).value("oidcgate_connections") == 0)
        assert now(stack).by("oidcgate_websockets", "site") == {f"localhost:{stack.port}": 0}
        one, two = await open_websocket(browser, stack), await open_websocket(browser, stack)
        idle = await connect(stack.port)
        await until(lambda: now(stack).value("oidcgate_connections") == 3)
        assert now(stack).value("oidcgate_websockets") == 2
        assert connections(stack)["busy"] == 2
        for wire in (one, two, idle):
            await wire.close()
        await until(lambda: now(stack).value("oidcgate_connections") == 0)
        assert now(stack).value("oidcgate_websockets") == 0
        assert connections(stack)["busy"] == 0


async def test_a_websocket_to_a_replica_that_left() -> None:
    """DNS says that it is gone: what is open there goes on, and is still this site's."""
    async with quick_stack() as stack:
        wire = await open_websocket(await stack.browser(), stack)
        pools = gate_of(stack).sites[0].pools
        (pool,) = pools.pools
        pools._adopt([replace(parse_address(str(pool.address)), host="127.0.0.2")])
        assert pool not in pools.pools
        assert now(stack).by("oidcgate_websockets", "site") == {f"localhost:{stack.port}": 1}
        assert connections(stack)["busy"] == 1
        await wire.close()


async def test_each_site_has_its_own() -> None:
    """Hosts of a wildcard have none of their own, and what a proxy carries is no connection of ours."""
    async with Central() as central:
        labels = {f"{name}.k8s.localhost:{central.port}" for name in ("auth", "one", "two", "*")}
        url = f"http://some.k8s.localhost:{central.port}/"
        await central.ask(question("traefik", url, headers=tuple(SCRIPT.items())))
        for name in ("oidcgate_websockets", "oidcgate_upstream_connections", "oidcgate_upstream_connects_total"):
            assert set(now(central).by(name, "site")) == labels


async def test_without_sessions_nothing_is_said_of_tokens() -> None:
    """A zero would look like a token that has run out."""
    async with quick_stack() as stack:
        found = now(stack)
        assert found.value("oidcgate_sessions") == 0
        assert not found.has(AGE)
        assert not found.has(EXPIRY)


async def test_the_tokens_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest login of all sessions, and the nearest expiry of those in use: others are renewed when they come back."""
    async with clocked(issuer={"id_token_life": 3600}) as (stack, clock):
        monkeypatch.setattr("oidcgate.web.gauges.time", SimpleNamespace(time=clock))
        await stack.browser()
        clock.ahead += 600
        await stack.browser("bob")
        found = now(stack)
        assert found.value("oidcgate_sessions") == 2
        assert 600 <= found.value(AGE) < 660
        assert 3540 < found.value(EXPIRY) <= 3600
        for live in lives(stack):
            live.seen = clock()
        assert 2940 < now(stack).value(EXPIRY) <= 3000
        clock.ahead += 7200
        assert not now(stack).has(EXPIRY)
        for live in lives(stack):
            live.seen = clock()
        assert -4260 < now(stack).value(EXPIRY) <= -4200


async def test_sessions_of_one_login() -> None:
    """A site's share of a grant without a token yet is no reason to fail."""
    async with quick_stack() as stack:
        await stack.browser()
        shared: Any = the_live(stack).shared
        token, shared.token = shared.token, None
        assert not now(stack).has(EXPIRY)
        shared.token = token
        assert now(stack).has(EXPIRY)
        (live,) = lives(stack)
        assert live.shared is shared


async def test_the_provider() -> None:
    """Ready once its metadata and keys were seen; an issuer is one series however many clients it has."""
    async with quick_stack() as stack:
        await stack.browser()
        assert now(stack).by("oidcgate_provider_ready", "issuer") == {stack.issuer.url: 1}
        await stack.stop_gate()
        stack.issuer.quirks.drop.add("keys")
        await stack.start_gate()
        assert now(stack).by("oidcgate_provider_ready", "issuer") == {stack.issuer.url: 0}
    async with Central(other="two") as central:
        assert len(list(gate_of(central).providers)) == 2
        await gate_of(central).providers.by_id("").warm_up()  # type: ignore[union-attr]
        found = now(central).by("oidcgate_provider_ready", "issuer")
        assert set(found) == {central.issuer.url}
        for provider in gate_of(central).providers:
            await provider.warm_up()
        assert now(central).by("oidcgate_provider_ready", "issuer") == {central.issuer.url: 1}


async def test_what_was_lost() -> None:
    """Lines that could not be written are counters, and there from the start."""
    async with quick_stack() as stack:
        for name in ("oidcgate_audit_events_lost_total", "oidcgate_log_lines_lost_total"):
            assert now(stack).has(name)
        gate = gate_of(stack)
        gate.access_log.lost = 3
        assert now(stack).value("oidcgate_log_lines_lost_total") == 3


async def test_a_connection_that_does_nothing_has_no_site() -> None:
    """Nor has one whose connection to the UI has just ended."""
    async with quick_stack() as stack:
        browser = await stack.browser()
        wire = await open_websocket(browser, stack)
        (connection,) = [each for each in gate_of(stack).connections() if each.tunnel is not None]
        labels = {id(pools.upstream): "x" for site in gate_of(stack).sites for pools in site.every_pools}
        assert label_of(connection, labels) == "x"
        assert label_of(connection, {}) is None
        tunnel: Any = connection.tunnel
        kept, tunnel.connection = tunnel.connection, None
        assert label_of(connection, labels) is None
        tunnel.connection = kept
        await wire.close()
        assert (await ask(browser, stack)).status == 200
