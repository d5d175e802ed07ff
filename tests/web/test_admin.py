"""Probes and figures, on a listener of their own."""

from pathlib import Path

import pytest

from tests.support.browser import Browser
from tests.support.raw import Reply, connect, fetch, request
from tests.support.stack import Stack
from tests.web.steps import ask, gate_of, intercept_store, quick_stack

ADMIN = {"admin": {"listen": "127.0.0.1:0"}}


async def probe(stack: Stack, path: str, method: str = "GET") -> Reply:
    """Ask the admin listener."""
    listen = gate_of(stack).admin_address
    assert listen is not None
    return await fetch(listen.port, request(path, method=method, host="127.0.0.1"))


async def test_livez_is_well_as_long_as_it_answers() -> None:
    """Whatever else is wrong."""
    async with quick_stack(config=ADMIN) as stack:
        intercept_store(stack).is_down = True
        reply = await probe(stack, "/livez")
        assert (reply.status, reply.text) == (200, "ok\n")


async def test_readyz_waits_for_the_provider() -> None:
    """503 until the issuer was reached, then 200, and its later outages do not take the gate out of service."""
    async with quick_stack(config=ADMIN) as stack:
        await stack.stop_gate()
        await stack.issuer.stop()
        gate = await stack.start_gate()
        reply = await probe(stack, "/readyz")
        assert reply.status == 503
        assert f"provider: not reached yet: {stack.issuer.url}\n" in reply.text
        assert "store: ok\n" in reply.text
        await stack.issuer.start()
        provider = gate.providers.by_id("")
        assert provider is not None
        for document in (provider._metadata, provider._keys):
            document._backoff = 0.0
        await provider.warm_up()
        reply = await probe(stack, "/readyz")
        assert (reply.status, reply.text) == (200, "provider: ok\nstore: ok\n")
        await stack.issuer.stop()
        assert (await probe(stack, "/readyz")).status == 200
        await stack.issuer.start()


async def test_readyz_tells_of_the_store() -> None:
    """Without its store a gate is not ready."""
    async with quick_stack(config=ADMIN) as stack:
        await stack.browser()
        store = intercept_store(stack)
        store.is_down = True
        reply = await probe(stack, "/readyz")
        assert reply.status == 503
        assert "store: out for a test\n" in reply.text
        store.is_down = False
        assert (await probe(stack, "/readyz")).status == 200


async def test_metrics() -> None:
    """Figures in Prometheus' format, and nobody's name among them."""
    async with quick_stack(config=ADMIN) as stack:
        browser = await stack.browser()
        for _ in range(3):
            await ask(browser, stack)
        reply = await probe(stack, "/metrics")
        assert reply.status == 200
        assert reply.value("Content-Type").startswith("text/plain; version=0.0.4")
        lines = dict(line.split() for line in reply.text.splitlines() if not line.startswith("#"))
        assert float(lines["oidcgate_requests_total"]) >= 6
        assert float(lines["oidcgate_sessions"]) == 1
        assert float(lines["oidcgate_upstream_idle_connections"]) >= 1
        assert "alice" not in reply.text


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
async def test_nothing_of_it_is_public(path: str) -> None:
    """The public listener knows none of these paths."""
    async with quick_stack(config=ADMIN) as stack:
        assert (await ask(Browser(), stack, path)).status == 401
        assert (await probe(stack, path, "POST")).status == 405
        assert (await probe(stack, "/oauth2/start")).status == 404


async def test_the_admin_listener_on_a_unix_socket(tmp_path: Path) -> None:
    """For probes on the same machine."""
    path = tmp_path / "admin.sock"
    async with quick_stack(config={"admin": {"listen": f"unix:{path}"}}):
        reader_writer = await _unix(path)
        assert b" 200 " in reader_writer


async def _unix(path: Path) -> bytes:
    import asyncio

    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    data = await reader.read()
    writer.close()
    await writer.wait_closed()
    return data


async def test_a_dead_client_of_the_admin_listener_disturbs_nobody() -> None:
    """Half a request is not waited for at the end."""
    async with quick_stack(config=ADMIN) as stack:
        listen = gate_of(stack).admin_address
        assert listen is not None
        wire = await connect(listen.port)
        await wire.send(b"GET /metrics HTT")
        assert (await probe(stack, "/livez")).status == 200
        await wire.close()
