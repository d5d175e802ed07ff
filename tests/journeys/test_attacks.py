"""What an attacker found once, and what it gets now."""

import asyncio
import json

import pytest

from oidcgate.demo.issuer import DemoIssuer
from tests.support.browser import Browser
from tests.support.raw import connect, fetch, request
from tests.support.stack import Stack
from tests.support.upstream import Gated, until


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        pytest.param(request("/k" + "/a" * 10_000 + "/..;b//%2f%252f"), 400, id="path-that-has-many-readings"),
        pytest.param(request("/", headers={"Cookie": "a;" * 300}), 431, id="more-cookies-than-browsers-keep"),
        pytest.param(request("/", headers={"Accept": "a," * 2000 + "text/html"}), 401, id="endless-accept"),
    ],
)
async def test_what_costs_much_is_refused_before_it_costs(stack: Stack, raw: bytes, status: int) -> None:
    """Nobody without a session makes the gate think for long."""
    host = f"localhost:{stack.port}".encode()
    assert (await fetch(stack.port, raw.replace(b"Host: localhost", b"Host: " + host))).status == status


async def test_junk_login_cookies_are_not_answered_one_by_one(stack: Stack) -> None:
    """A reply expires a bounded number of cookies."""
    junk = "; ".join(f"oidcgate-login-{number:04d}=x" for number in range(150))
    host = f"localhost:{stack.port}"
    reply = await fetch(stack.port, request("/oauth2/start?rd=%2F&f=", host=host, headers={"Cookie": junk}))
    assert reply.status == 302
    assert 1 < len(reply.values("Set-Cookie")) <= 41


@pytest.mark.parametrize("way", ["slow", "quick"])
async def test_what_is_sent_ahead_is_held_back(way: str) -> None:
    """While a request is under way the gate reads no more than a head's worth of the next ones, and then goes on."""
    go_on = asyncio.Event()

    async def script(link, _arrived) -> None:
        await go_on.wait()
        await link.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async with Gated() as gated:
        gated.upstream.script = script
        async with gated.wire() as wire:
            await gated.send(wire, way, gated.request())
            await gated.upstream.arrived()
            (connection,) = [c for c in gated.running.connections() if c.writer_of_reply is not None]
            ahead = gated.request("/next", headers=[("X-Long", "x" * 20_000)])
            for _ in range(40):
                wire.writer.write(ahead)
            await until(lambda: connection._buffer_paused)
            assert len(connection._messages) < 30
            go_on.set()
            for _ in range(41):
                assert (await wire.reply()).body == b"ok"


async def test_outsiders_do_not_spend_the_key_fetch_that_logins_need() -> None:
    """A logout token with an unknown key, then a rotation: the next login and the next refresh still work."""
    async with Stack(issuer={"id_token_life": 60}) as stack:
        await stack.browser("alice")
        body = b"logout_token=" + forged(stack.issuer, "nope").encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        host = f"localhost:{stack.port}"
        raw = request("/oauth2/backchannel-logout", method="POST", host=host, headers=headers, body=body)
        assert (await fetch(stack.port, raw, "POST")).status == 400
        stack.issuer.rotate_keys()
        page = await Browser().sign_in(f"{stack.url}/", "bob")
        assert page.status == 200


def forged(issuer: DemoIssuer, kid: str) -> str:
    """A logout token under a key that nobody knows."""
    header = {**issuer.keys.header, "kid": kid, "typ": "logout+jwt"}
    return issuer.keys.sign(header, {"iss": issuer.url, "aud": "gate"})


async def test_headlamps_own_login_cookie_stays_out() -> None:
    """It would win over the bearer: a sibling host could make somebody work as the attacker."""
    async with Stack(site={"upstream": {"ui": "headlamp"}}) as stack:
        browser = await stack.browser()
        browser.cookies["localhost", "headlamp-auth-main.0"] = "somebody-elses-token"
        browser.cookies["localhost", "theme"] = "dark"
        echo = json.loads((await browser.fetch(f"{stack.url}/api/v1/echo")).text)
        cookies = [value for name, value in echo["headers"] if name.lower() == "cookie"]
        assert cookies == ["theme=dark"]


def handshake(port: int) -> list[tuple[str, str]]:
    """A websocket's."""
    return [
        ("Origin", f"http://localhost:{port}"),
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="),
    ]


@pytest.mark.parametrize("kind", ["request", "websocket"])
async def test_a_sign_out_stops_what_is_still_being_dialled(kind: str) -> None:
    """Nothing goes out with the token of somebody who has signed out meanwhile."""
    async with Gated() as gated:
        gate = gated.running
        (site,) = gate.sites
        dialling, signed_out = asyncio.Event(), asyncio.Event()
        connect_to = site.pools.connect

        async def slowly(pool):
            dialling.set()
            await signed_out.wait()
            return await connect_to(pool)

        site.pools.connect = slowly  # type: ignore[method-assign]
        wire = await connect(gated.port)
        raw = gated.request("/ws", headers=handshake(gated.port)) if kind == "websocket" else gated.request("/api/x")
        await wire.send(raw)
        await dialling.wait()
        (live,) = [c.live for c in gate.connections() if c.live is not None]
        await gate.sessions.end(live, "signed out")
        signed_out.set()
        assert (await wire.reply()).status == 401
        await wire.close()
        assert gated.upstream.requests == []
