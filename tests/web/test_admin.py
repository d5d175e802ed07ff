"""Probes and metrics, on a listener of their own."""

import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestServer

from oidcgate.web.admin import admin_app
from oidcgate.web.sessionpage import ENDED_BY_ADMIN, session_name
from tests.support.browser import Browser
from tests.support.raw import Reply, connect, fetch, request
from tests.support.stack import Stack
from tests.web.steps import ask, gate_of, intercept_store, lives, quick_stack, the_live
from tests.web.test_sessions import closed_with, open_websocket

ADMIN = {"admin": {"listen": "127.0.0.1:0"}}


async def probe(stack: Stack, path: str, method: str = "GET") -> Reply:
    """Ask the admin listener."""
    listen = gate_of(stack).admin_address
    assert listen is not None
    return await fetch(listen.port, request(path, method=method, host="127.0.0.1"))


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8081", 200),
        ("[::1]:8081", 200),
        ("10.0.0.7:8081", 200),
        ("localhost:8081", 200),
        ("localhost", 200),
        ("evil.example:8081", 421),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("127.0.0.1.evil.example", 421),
    ],
)
async def test_a_name_that_was_led_to_loopback(host: str, status: int) -> None:
    """A page in a browser on this machine cannot read metrics by letting its own name lead here."""
    async with quick_stack(config=ADMIN) as stack:
        listen = gate_of(stack).admin_address
        assert listen is not None
        for path in ("/metrics", "/livez"):
            reply = await fetch(listen.port, request(path, host=host))
            assert reply.status == status
            assert ("oidcgate_" in reply.text) is (status == 200 and path == "/metrics")


async def test_livez_is_well_as_long_as_it_answers() -> None:
    """Whatever else is wrong."""
    async with quick_stack(config=ADMIN) as stack:
        intercept_store(stack).is_down = True
        reply = await probe(stack, "/livez")
        assert (reply.status, reply.text) == (200, "gate: ok\n")


async def test_readyz_waits_for_the_provider() -> None:
    """503 until the issuer was reached, then 200, and its later outages do not take the gate out of service."""
    async with quick_stack(config=ADMIN) as stack:
        await stack.stop_gate()
        await stack.issuer.stop()
        gate = await stack.start_gate()
        reply = await probe(stack, "/readyz")
        assert reply.status == 503
        assert f"provider: not reached yet: {stack.issuer.url}\n" in reply.text
        assert f"keys: not known yet: {stack.issuer.url}\n" in reply.text
        assert "store: ok\n" in reply.text
        await stack.issuer.start()
        provider = gate.providers.by_id("")
        assert provider is not None
        for document in (provider._metadata, provider._keys):
            document._backoff = 0.0
        await provider.warm_up()
        reply = await probe(stack, "/readyz")
        assert (reply.status, reply.text) == (200, "provider: ok\nkeys: ok\nstore: ok\n")
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
        lines = dict(line.rsplit(" ", 1) for line in reply.text.splitlines() if not line.startswith("#"))
        site = f'site="localhost:{stack.port}"'
        assert float(lines[f'oidcgate_requests_total{{outcome="ok",{site}}}']) >= 3
        assert float(lines["oidcgate_sessions"]) == 1
        assert float(lines[f'oidcgate_upstream_connections{{{site},state="idle"}}']) >= 1
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


# Everybody's sessions, for programs

TOKEN = "an-admin-token"


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    """A private file with the token in it."""
    path = tmp_path / "admin-token"
    path.touch(0o600)
    path.write_text(TOKEN + "\n")
    return path


def with_token(token_file: Path) -> dict[str, Any]:
    """The configuration that names it."""
    return {"admin": {"listen": "127.0.0.1:0", "token_file": str(token_file)}}


async def manage(stack: Stack, path: str, method: str = "GET", token: str | None = f"Bearer {TOKEN}") -> Reply:
    """Ask the admin listener with a token."""
    listen = gate_of(stack).admin_address
    assert listen is not None
    headers = {"Authorization": token} if token is not None else {}
    return await fetch(listen.port, request(path, method=method, host="127.0.0.1", headers=headers))


@pytest.mark.parametrize(
    "token",
    [None, "", "Bearer", "Bearer ", "Bearer x", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", "Bearer \xff\xfe"],
)
async def test_sessions_ask_for_the_token(token_file: Path, token: str | None) -> None:
    """401 that says how, the same for every path and whoever is signed in; nothing is told and nothing ends."""
    async with quick_stack(config=with_token(token_file)) as stack:
        browser = await stack.browser()
        name = session_name(the_live(stack).session.key)
        for path, method in (("/sessions", "GET"), (f"/sessions/{name}", "DELETE"), ("/sessions/x", "DELETE")):
            reply = await manage(stack, path, method, token)
            assert (reply.status, reply.value("WWW-Authenticate")) == (401, "Bearer")
            assert reply.text == '{"error": "unauthorized"}'
        assert (await ask(browser, stack)).status == 200


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_list(token_file: Path, scheme: str) -> None:
    """Whose, from where, since when; by names that end them; no secret."""
    async with quick_stack(config=with_token(token_file)) as stack:
        alice, _bob = await stack.browser(), await stack.browser("bob")
        reply = await manage(stack, "/sessions", token=f"{scheme}  {TOKEN}")
        assert (reply.status, reply.value("Content-Type")) == (200, "application/json; charset=utf-8")
        rows = json.loads(reply.text)["sessions"]
        assert [row["email"] for row in rows] == ["bob@example.com", "alice@example.com"]
        assert {row["session"] for row in rows} == {session_name(live.session.key) for live in lives(stack)}
        assert (alice.cookie("oidcgate") or "?") not in reply.text


async def test_ending_one(token_file: Path) -> None:
    """200 for one that was there, 404 afterwards; the others go on."""
    async with quick_stack(config=with_token(token_file)) as stack:
        alice, bob = await stack.browser(), await stack.browser("bob")
        socket = await open_websocket(alice, stack)
        (live,) = [live for live in lives(stack) if "alice" in live.user]
        path = f"/sessions/{session_name(live.session.key)}"
        reply = await manage(stack, path, "DELETE")
        assert (reply.status, reply.text) == (200, '{"ended": true}')
        assert await closed_with(socket) == (4001, f"Session ended: {ENDED_BY_ADMIN}")
        await socket.close()
        assert [(await ask(browser, stack)).status for browser in (alice, bob)] == [401, 200]
        reply = await manage(stack, path, "DELETE")
        assert (reply.status, reply.text) == (404, '{"ended": false}')


@pytest.mark.parametrize("name", ["unknown", "0" * 16, "%2A" * 16, "%3F" * 16, "session:", "a/b", "%2e%2e"])
async def test_ending_what_is_not_there(token_file: Path, name: str) -> None:
    """404, and a name is no pattern."""
    async with quick_stack(config=with_token(token_file)) as stack:
        browser = await stack.browser()
        assert (await manage(stack, f"/sessions/{name}", "DELETE")).status == 404
        assert (await ask(browser, stack)).status == 200


@pytest.mark.parametrize("config", [ADMIN, {"admin": {"listen": "127.0.0.1:0", "token_file": None}}])
async def test_no_such_path_without_a_token_file(config: dict[str, Any]) -> None:
    """Who has not asked for it has not got it."""
    async with quick_stack(config=config) as stack:
        await stack.browser()
        assert (await manage(stack, "/sessions")).status == 404
        assert (await manage(stack, "/sessions/x", "DELETE")).status == 404


async def test_the_token_is_read_anew(token_file: Path) -> None:
    """A changed token counts at once; one that cannot be read, or is empty, lets nobody in."""
    async with quick_stack(config=with_token(token_file)) as stack:
        assert (await manage(stack, "/sessions")).status == 200
        token_file.write_text("another-token")
        assert (await manage(stack, "/sessions")).status == 401
        assert (await manage(stack, "/sessions", token="Bearer another-token")).status == 200
        token_file.write_text("")
        for token in ("Bearer another-token", "Bearer ", "Bearer"):
            assert (await manage(stack, "/sessions", token=token)).status == 401
        token_file.unlink()
        assert (await manage(stack, "/sessions", token="Bearer another-token")).status == 401


async def test_sessions_without_the_store(token_file: Path) -> None:
    """503: nobody can tell."""
    async with quick_stack(config=with_token(token_file)) as stack:
        browser = await stack.browser()
        name = session_name(the_live(stack).session.key)
        gate: Any = gate_of(stack)
        store = intercept_store(stack)
        gate.register._store = store
        store.is_down = True
        for path, method in (("/sessions", "GET"), (f"/sessions/{name}", "DELETE")):
            reply = await manage(stack, path, method)
            assert reply.status == 503
            assert json.loads(reply.text)["error"] == "store_unavailable"
        store.is_down = False
        assert (await ask(browser, stack)).status == 200


async def test_sessions_are_not_public(token_file: Path) -> None:
    """The public listener knows no such path, token or not."""
    async with quick_stack(config=with_token(token_file)) as stack:
        page = await Browser().fetch(f"{stack.url}/sessions", Authorization=f"Bearer {TOKEN}")
        assert page.status == 401
        assert "sessions" not in page.text


# What probes are told


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
@pytest.mark.parametrize(
    ("found", "status", "text"),
    [
        ({"a": None}, 200, "a: ok\n"),
        ({"a": None, "b": "is stuck"}, 503, "a: ok\nb: is stuck\n"),
        ({"a": "x", "b": "y"}, 503, "a: x\nb: y\n"),
    ],
)
async def test_a_line_for_each_thing(path: str, found: dict[str, str | None], status: int, text: str) -> None:
    """503 as soon as one of them is not well, and what is wrong with it."""

    async def checks() -> dict[str, str | None]:
        return found

    async def others() -> dict[str, str | None]:
        return {"other": None}

    async def metrics() -> list[Any]:
        return []

    both = {"/livez": (checks, others), "/readyz": (others, checks)}
    liveness, readiness = both[path]
    app = admin_app(liveness=liveness, readiness=readiness, metrics=metrics)
    async with TestServer(app) as server:
        assert server.port is not None
        reply = await fetch(server.port, request(path, host="127.0.0.1"))
        assert (reply.status, reply.text) == (status, text)


async def test_readyz_tells_metadata_from_keys() -> None:
    """The provider was reached, and its keys are not known yet."""
    async with quick_stack(config=ADMIN) as stack:
        await stack.stop_gate()
        stack.issuer.quirks.drop.add("keys")
        gate = await stack.start_gate()
        provider = gate.providers.by_id("")
        assert provider is not None
        await provider.metadata()
        reply = await probe(stack, "/readyz")
        assert (reply.status, reply.text) == (
            503,
            f"provider: ok\nkeys: not known yet: {stack.issuer.url}\nstore: ok\n",
        )
