"""
One gate for many hosts: a login host, clusters of their own, and every host below a domain.

Logins end at ``http://auth.k8s.localhost:PORT``; the clusters are its siblings, each with a demo UI that takes tokens
for itself alone; whatever else is below ``k8s.localhost`` is a host of the wildcard, whose requests a proxy carries.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from oidcgate.demo.issuer import Client
from oidcgate.demo.ui import DemoUI
from oidcgate.proxy.dialects import DIALECTS
from oidcgate.web.handoff import Handoffs
from oidcgate.web.server import GateServer
from tests.support.browser import MOST_STEPS, NAVIGATION, Browser, Page
from tests.support.raw import Reply, fetch, request
from tests.support.stack import CLIENT, SECRET, Clock, Stack, merged
from tests.web.steps import MEMORY, RETURN, set_clock

DOMAIN = "k8s.localhost"
COOKIE = "oidcgate"
OTHER = "other-client"
REDIRECTS = (301, 302, 303, 307, 308)
Pairs = Sequence[tuple[str, str]]


class Central(Stack):
    """
    Issuer, a UI for each cluster, and one gate before all of them.

    Args:
        shared: one cookie for all hosts below the domain.
        clusters: names of the hosts with a UI behind the gate.
        audiences: whether each cluster has tokens of its own.
        wildcard: whether there is ``*.k8s.localhost``, too.
        other: the cluster that has an OAuth client of its own.
        sites: keys to set in the site of a name (``*`` = the wildcard).
        peers: proxies that are believed.
    """

    def __init__(
        self,
        *,
        shared: bool = False,
        clusters: tuple[str, ...] = ("one", "two"),
        audiences: bool = True,
        wildcard: bool = True,
        other: str = "",
        sites: dict[str, dict[str, Any]] | None = None,
        peers: tuple[str, ...] = ("127.0.0.1",),
        config: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(upstream="", config=merged(MEMORY, config or {}), **options)
        self.clusters = clusters
        self.wildcard = wildcard
        self.uis: dict[str, DemoUI] = {}
        self._own = sites or {}
        self._shared = shared
        self._audiences = audiences
        self._other = other
        self._peers = peers

    @property
    def url(self) -> str:
        """Where logins end."""
        return self.of("auth")

    def of(self, name: str) -> str:
        """A host's origin."""
        return f"http://{name}.{DOMAIN}:{self.port}"

    def audience(self, name: str) -> str:
        """Whom a cluster's tokens are for."""
        if name == self._other:
            return OTHER
        return f"cluster-{name}" if self._audiences else CLIENT

    async def __aenter__(self) -> "Central":
        await self.issuer.start()
        for name in self.clusters:
            self.uis[name] = DemoUI(self.issuer.url, self.audience(name), **self._ui_options)
            await self.uis[name].start()
        for name in (*self.clusters, "wild"):
            if self.audience(name) not in (CLIENT, OTHER):
                self.issuer.add_client(Client(self.audience(name), "x", (), trusted_peers=(CLIENT,)))
        await self.start_gate()
        return self

    async def __aexit__(self, *_: object) -> None:
        await super().__aexit__()
        for ui in self.uis.values():
            await ui.stop()

    async def start_gate(self) -> GateServer:
        """As the stack's; the other client's callback is registered, too."""
        gate = await super().start_gate()
        callbacks = tuple(f"{self.url}/oauth2/callback/{site.provider_id}" for site in gate.sites if site.provider_id)
        if callbacks:
            self.issuer.add_client(Client(OTHER, SECRET, callbacks))
        return gate

    def configuration(self) -> Any:
        """The gate's configuration."""
        secret = self.folder / "other-secret"
        if not secret.exists():
            os.close(os.open(secret, os.O_CREAT | os.O_WRONLY, 0o600))
            secret.write_text(SECRET)
        sites = [{"url": self.url, "upstream": {"url": []}}]
        sites += [self._site_of(name, secret) for name in self.clusters]
        if self.wildcard:
            audience = {"audience": "cluster-wild"} if self._audiences else {}
            sites.append({"url": f"http://*.{DOMAIN}:{self.port}", "provider": audience, "upstream": {"url": []}})
        names = ("auth", *self.clusters, "*")
        sites = [merged(site, self._own.get(name, {})) for name, site in zip(names, sites, strict=False)]
        asked = {"forward_auth": {"peers": list(self._peers)}, "sites": sites}
        cookie = {"session": {"cookie": {"domain": DOMAIN}}} if self._shared else {}
        kept, self._config = self._config, merged(merged(asked, cookie), self._config)
        try:
            return super().configuration()
        finally:
            self._config = kept

    def _site_of(self, name: str, secret: Path) -> dict[str, Any]:
        if name == self._other:
            provider = {"client_id": OTHER, "client_secret_file": str(secret)}
        else:
            provider = {"audience": self.audience(name)} if self._audiences else {}
        return {"url": self.of(name), "upstream": {"url": self.uis[name].url}, "provider": provider}

    async def restart(self, *, wildcard: bool | None = None, clusters: tuple[str, ...] | None = None) -> None:
        """Another configuration on the same port; sessions stay where the store lasts."""
        await self.stop_gate()
        self.wildcard = self.wildcard if wildcard is None else wildcard
        self.clusters = self.clusters if clusters is None else clusters
        await self.start_gate()

    async def ask(self, raw: bytes, method: str = "GET") -> Reply:
        """One question, and its answer."""
        return await fetch(self.port, raw, method)

    def host_of(self, name: str) -> str:
        """A host as browsers send it."""
        return urlsplit(self.of(name)).netloc


LASTING = {"session": {"store": "sqlite"}}


def handoffs_of(stack: Stack) -> Handoffs:
    """The gate's wishes and tickets."""
    pages: Any = stack.gate.gate.own_pages  # type: ignore[union-attr]
    handoffs: Handoffs = pages._login._handoffs
    return handoffs


def set_every_clock(stack: Stack, clock: Clock) -> None:
    """Let the gate go by another clock, hand-offs and visits included."""
    set_clock(stack, clock)
    handoffs_of(stack)._clock = clock
    stack.gate.visits._clock = clock  # type: ignore[union-attr]


async def walk_to(browser: Browser, url: str, part: str, login: str = "alice") -> str:
    """
    Open an address and sign in on the way, up to the redirect whose address holds a part.

    Returns:
        That address, which is not opened.
    """
    page = await browser.send("GET", url, NAVIGATION)
    for _ in range(MOST_STEPS):
        if page.status in REDIRECTS:
            target = urljoin(page.url, page.location)
            if part in target:
                return target
            page = await browser.send("GET", target, RETURN)
        elif 'id="go"' in page.text:
            link = page.text.split('id="go" href="')[1].split('"')[0].replace("&amp;", "&")
            page = await browser.send("GET", urljoin(page.url, link), NAVIGATION)
        elif "password" in page.text:
            form = {"Content-Type": "application/x-www-form-urlencoded"}
            page = await browser.send("POST", page.url, form, f"login={login}&password={login}".encode())
        else:
            raise AssertionError(f"the way ends at {page.url}: {page.status} {page.text[-300:]}")
    raise AssertionError(f"{url} never led to {part}")


async def follow(browser: Browser, url: str) -> Page:
    """Open an address as a browser does that was redirected there; no redirect followed."""
    return await browser.send("GET", url, RETURN)


def question(
    dialect: str,
    url: str,
    *,
    method: str = "GET",
    headers: Pairs = (),
    host: str = "gate.internal",
    tail: str = "",
    without: str = "",
    extra: Pairs = (),
    version: str = "HTTP/1.1",
) -> bytes:
    """
    What a peer of some kind asks about a request of its client.

    Args:
        dialect: as in the path; empty for oauth2-proxy's.
        url: what the client asked for; method, headers: how.
        host: of the question, where the dialect does not say the original's there.
        tail: behind the question's own address.
        without, extra: a header that is left out, and further ones.
    """
    parts = urlsplit(url)
    original = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if dialect in ("traefik", "caddy"):
        words = [
            ("X-Forwarded-Method", method),
            ("X-Forwarded-Proto", parts.scheme),
            ("X-Forwarded-Host", parts.netloc),
            ("X-Forwarded-Uri", original),
            ("X-Forwarded-For", "192.0.2.7"),
        ]
    elif dialect == "envoy":
        words = [("X-Envoy-Internal", "true"), ("Content-Length", "0")]
    else:
        words = [("X-Original-URL", url), ("X-Original-Method", method), ("X-Real-IP", "192.0.2.7")]
    words = [(name, value) for name, value in words if name != without]
    target = "/oauth2/auth" + (f"/{dialect}" if dialect else "") + (original if dialect == "envoy" else "") + tail
    return request(
        target,
        method=method if dialect == "envoy" else "GET",
        host=parts.netloc if dialect == "envoy" else host,
        headers=[*words, *headers, *extra],
        version=version,
    )


class AskingProxy:
    """
    What a proxy with forward auth does for the wildcard's hosts: it asks, and carries the request or says no.

    Args:
        dialect: as which kind of peer.
        routes_own: whether ``/oauth2/`` of those hosts goes to the gate.

    Attributes:
        carried: addresses whose requests went on to the UI, each with what it was told about the person.
    """

    def __init__(self, central: Central, *, dialect: str, routes_own: bool) -> None:
        self.central, self.dialect, self.routes_own = central, dialect, routes_own
        self.port = 0
        self.carried: list[tuple[str, dict[str, str]]] = []

    def route(self, url: str) -> int | None:
        """For a browser: the wildcard's hosts are served here."""
        host = urlsplit(url).hostname or ""
        configured = {f"{name}.{DOMAIN}" for name in ("auth", *self.central.clusters)}
        return self.port if host.endswith(f".{DOMAIN}") and host not in configured else None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request a connection."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head[:-4].split("\r\n")
        method, target, _ = first.split(" ")
        headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        named = dict(headers)
        body = await reader.readexactly(int(named.get("Content-Length", "0")))
        if self.routes_own and target.startswith("/oauth2/"):
            raw = request(target, method=method, headers=headers, body=body)
            reply = await fetch(self.central.port, raw, method)
        else:
            reply = await self._guarded(f"http://{named['Host']}{target}", method, headers)
        kept = [
            (n, v) for n, v in reply.headers if n.lower() not in ("content-length", "transfer-encoding", "connection")
        ]
        text = "".join(f"{name}: {value}\r\n" for name, value in [*kept, ("Content-Length", str(len(reply.body)))])
        writer.write(f"HTTP/1.1 {reply.status} X\r\n{text}\r\n".encode("latin-1") + reply.body)
        await writer.drain()
        writer.close()

    async def _guarded(self, url: str, method: str, headers: list[tuple[str, str]]) -> Reply:
        """What the client gets for an address of the UI's."""
        kept = [(name, value) for name, value in headers if name not in ("Host", "Content-Length", "Connection")]
        raw = question(self.dialect, url, method=method, headers=kept)
        asked = await self.central.ask(raw, method if self.dialect == "envoy" else "GET")
        assert asked.values("Set-Cookie") == []
        if asked.status == DIALECTS[self.dialect].allow:
            self.carried.append((url, dict(asked.headers)))
            return Reply(200, "OK", [], b"the UI of " + urlsplit(url).netloc.encode())
        if DIALECTS[self.dialect].passes_answer:
            return asked
        if asked.status == 401 and asked.values("X-Oidcgate-Location"):
            return Reply(302, "Found", [("Location", asked.value("X-Oidcgate-Location"))])
        return Reply(asked.status, asked.reason, [])


@asynccontextmanager
async def asking(central: Central, *, routes_own: bool, dialect: str = "nginx") -> AsyncIterator[AskingProxy]:
    """A proxy before every host that has no site of its own."""
    proxy = AskingProxy(central, dialect=dialect, routes_own=routes_own)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await server.wait_closed()
