"""A real gate of two workers with traffic of every kind: what its metrics are looked at with."""

import base64
import json
import os
from pathlib import Path
from typing import Any

from tests.support.browser import Browser
from tests.support.fleet import AUTHORITY, Fleet
from tests.support.processes import free_ports
from tests.support.raw import Reply, Wire, connect, fetch, request

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"  # W3C Trace Context §3.2
DEAD = f"dead.{AUTHORITY}"  # a site whose UI does not answer
TOKEN_LIFE = 4  # seconds: tokens are renewed within the test


class Watched(Fleet):
    """One gate with two sites and short tokens, and the admin listener of its master."""

    def __init__(self) -> None:
        super().__init__(workers=2, issuer={"id_token_life": TOKEN_LIFE})
        self._dead = free_ports()

    def write_config(self, index: int, **more: Any) -> Path:
        """As the fleet's, with a second site."""
        sites = [
            {"url": self.url, "upstream": {"url": self._upstream}},
            {"url": f"http://{DEAD}", "upstream": {"url": f"http://127.0.0.1:{self._dead}", "ui": "plain"}},
        ]
        return super().write_config(index, **{"sites": sites, **more})

    def route(self, url: str) -> int | None:
        """Both sites are served by the gate."""
        return self.replicas[0].port if AUTHORITY in url.partition("?")[0] else None

    async def probe(self, path: str) -> Reply:
        """Ask the admin listener."""
        return await fetch(self.replicas[0].admin, request(path, host="127.0.0.1"))


async def traffic(fleet: Watched) -> Wire:
    """Something of everything; the websocket that stays open."""
    alice, bob = await fleet.browser("alice"), await fleet.browser("bob")
    assert (await alice.open(f"{fleet.url}/")).status == 200
    for _ in range(3):
        assert (await alice.fetch(f"{fleet.url}/api/v1/me")).status == 200
    traced = {"traceparent": TRACEPARENT, "tracestate": "a=b"}
    assert (await alice.fetch(f"{fleet.url}/api/v1/me", **traced)).status == 200
    assert (await alice.fetch(f"{fleet.url}/oauth2/auth")).status == 202
    assert (await Browser(route=fleet.route).fetch(f"{fleet.url}/api/v1/me")).status == 401
    assert (await alice.send("POST", f"{fleet.url}/api/v1/me", {"Origin": "http://evil.example"})).status == 403
    assert (await fetch(fleet.replicas[0].port, request(host="unknown.example"))).status == 421
    assert (await alice.fetch(f"{fleet.url}/api/sockjs/000/abcdefgh/jsonp")).status == 500
    assert (await alice.sign_in(f"http://{DEAD}/")).status == 502  # by a ticket, and its UI does not answer
    stray = await Browser(route=fleet.route).fetch(f"{fleet.url}/oauth2/callback?code=x&state=y")
    assert stray.status == 400
    await bob.submit(await bob.open(f"{fleet.url}/oauth2/sign_out"))
    return await websocket(alice, fleet)


async def websocket(browser: Browser, fleet: Watched) -> Wire:
    """A terminal's websocket."""
    wire = await connect(fleet.replicas[0].port)
    headers = {
        "Cookie": browser.cookie_header(fleet.url),
        "Origin": fleet.url,
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
    }
    await wire.send(request("/api/sockjs/000/abcdefgh/websocket", host=AUTHORITY, headers=headers))
    assert (await wire.head()).status == 101
    return wire


def access_lines(fleet: Watched) -> list[dict[str, Any]]:
    """The access log of all workers so far."""
    lines = [json.loads(line) for line in fleet.replicas[0].said]
    return [line for line in lines if line.get("kind") == "access"]
