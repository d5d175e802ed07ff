"""
The demo issuer as a control plane can trust it: known by an https address, and alive for as long as the cluster is.

kube-apiserver takes no other address. The scripted browser speaks no TLS; it comes in by a second, plain port.
"""

import json
import ssl
from dataclasses import replace
from urllib.parse import urlencode, urljoin

from aiohttp import web

from oidcgate.demo.issuer import DEMO_PEOPLE, Client, DemoIssuer
from oidcgate.demo.issuer_tokens import Grant, token_claims
from tests.lab.kube.authority import Authority
from tests.support.browser import Browser, Form, query
from tests.support.stack import CLIENT, SECRET, Stack, signing_key

SCOPES = ("openid", "email", "profile", "groups")


class LabIssuer(DemoIssuer):
    """
    An issuer shared by many stacks: their starts and stops leave it alone, only `close` ends it.

    Attributes:
        plain_port: where browsers without TLS are served.
    """

    plain_port = 0

    def __init__(self, authority: Authority) -> None:
        super().__init__(DEMO_PEOPLE, (Client(CLIENT, SECRET, ()),), key=signing_key())
        self.authority = authority

    async def start(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        public_host: str = "localhost",
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        """Listen, unless that was done before."""
        if not self._runner:
            secure = ssl_context or self.authority.server_context("issuer")
            await super().start(host, port, public_host=public_host, ssl_context=secure)
            runner = self._runner
            assert runner
            await web.TCPSite(runner, host, self.plain_port).start()
            self.plain_port = runner.addresses[-1][1]

    async def stop(self) -> None:
        """A stack ended; others go on."""

    async def close(self) -> None:
        """Close the ports."""
        await super().stop()

    def route(self, url: str) -> int | None:
        """Where a browser without TLS finds an address; see `Browser`."""
        return self.plain_port if url.startswith(self.url) else None

    async def sign_in(self, login: str, client: str = CLIENT) -> str:
        """The ID token that somebody gets who signs in with a browser and redeems the code at the token endpoint."""
        registered = self.clients[client]
        back = f"http://localhost/{client}/callback"
        self.add_client(replace(registered, redirect_uris=(*registered.redirect_uris, back)))
        browser = Browser(route=self.route)
        asks = {"client_id": client, "redirect_uri": back, "response_type": "code", "scope": " ".join(SCOPES)}
        page = await browser.open(f"{self.url}/auth?{urlencode(asks)}")
        form = Form(page.text)
        filled = urlencode({**form.fields, "login": login, "password": login}).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        page = await browser.send("POST", urljoin(page.url, form.action), headers, filled)
        code = query(page.location)["code"]
        redeems = {"grant_type": "authorization_code", "code": code, "redirect_uri": back}
        own = {"client_id": client, "client_secret": registered.secret or ""}
        reply = await browser.send("POST", f"{self.url}/token", headers, urlencode({**redeems, **own}).encode())
        return str(json.loads(reply.text)["id_token"])

    def id_token(self, login: str, client: str = CLIENT, *, now: float | None = None, life: int = 600) -> str:
        """
        An ID token as the token endpoint would make it at another time or for another client.

        Args:
            client: its audience.
            now: when it was issued, in seconds since 1970; life: seconds until it expires.
        """
        grant = Grant(client, self.people[login], SCOPES, nonce="")
        issued = int(self.now() if now is None else now)
        claims = token_claims(grant, issuer=self.url, now=issued, life=life, access_token="unused")
        return self.keys.sign(self.keys.header, claims)


class ClusterStack(Stack):
    """
    A gate before a real API server, or before a UI that talks to it; logins end at the cluster's issuer.

    Args:
        options: as `Stack` takes them; ``site`` needs the upstream's ``ca_file``.
    """

    def __init__(self, issuer: LabIssuer, *, config: dict[str, object] | None = None, **options: object) -> None:
        provider = {"provider": {"ca_file": str(issuer.authority.ca_file)}}
        super().__init__(config={**provider, **(config or {})}, **options)  # type: ignore[arg-type]
        self.issuer: LabIssuer = issuer

    async def browser(self, login: str | None = "alice") -> Browser:
        """A browser, signed in unless told otherwise."""
        browser = Browser(route=self.issuer.route)
        if login is not None:
            await browser.sign_in(f"{self.url}/version", login)
            assert browser.cookie("oidcgate")
        return browser
