"""
Every page of the gate, from one gate: a site for each thing that can be in the way, and how one gets to see each page.

The sites are hosts below ``k8s.localhost``; logins end at ``auth``. Most pages are opened by one person who signed in
once; those of a login that fails have a browser of their own.
"""

import socket
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.async_api import Page, Route, expect

from oidcgate.cli.credential import page as credential_page
from oidcgate.config.load import parse_config
from oidcgate.kubectl.login import SIGNED_IN
from oidcgate.web import texts
from oidcgate.web.server import GateServer
from tests.journeys.steps import fill_in
from tests.support.apiserver import CREDENTIAL, ApiServer
from tests.support.chromium import Person, visit
from tests.support.stack import CLIENT, SECRET, Stack, listening, merged
from tests.web.steps import MEMORY, Intermediary, attempts_of, intercept_store

DOMAIN = "k8s.localhost"
MAY = {"may": {"verb": "get", "resource": "services/proxy"}}
RIGHTS = {
    "oidc:platform-admins": {("get", "pods"), ("list", "pods"), ("watch", "pods"), ("get", "pods/log")},
}
LOGO = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64"><rect width="64" height="64" rx="14" fill="#0b6e4f"/>'
    '<path d="M14 46 32 14l18 32h-9l-9-17-9 17z" fill="#fff"/><script>document.documentElement.dataset.ran = "yes"</script></svg>'
)
LOOK = {"name": "Acme Platform", "colour": "#0b6e4f"}
MOST_LOGINS = 9  # until somebody is told that they go round in circles


def private(file: Path, content: str) -> str:
    """A file of the owner's alone; its path."""
    file.touch(0o600)
    file.write_text(content)
    return str(file)


class Family(Stack):
    """Issuer, UI, API servers, and one gate with every kind of site."""

    def __init__(self, look: dict[str, Any]) -> None:
        super().__init__(config=MEMORY)
        self._look = look
        self._open = AsyncExitStack()
        self.logo = self.folder / "logo.svg"
        self.logo.write_text(LOGO)
        self.credential = self.folder / "credential"

    def of(self, name: str) -> str:
        """A site's origin."""
        return f"http://{name}.{DOMAIN}:{self.port}"

    @property
    def url(self) -> str:
        """Where logins end."""
        return self.of("auth")

    async def __aenter__(self) -> "Family":
        self.api = await self._open.enter_async_context(ApiServer(self.issuer, rights=RIGHTS))
        self.strict = await self._open.enter_async_context(ApiServer(self.issuer, audience="other-client"))
        self.mute = self._open.enter_context(listening())
        await super().__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await super().__aexit__()
        await self._open.aclose()

    async def start_gate(self) -> GateServer:
        """As the stack's, with a store that can be taken away."""
        gate = await super().start_gate()
        self.store: Intermediary = intercept_store(self)
        return gate

    def configuration(self) -> Any:
        """The gate's configuration."""
        assert self._upstream is not None
        private(self.credential, CREDENTIAL)
        with socket.create_server(("127.0.0.1", 0)) as closed:
            nobody = f"http://127.0.0.1:{closed.getsockname()[1]}"
        silent = f"http://127.0.0.1:{self.mute.getsockname()[1]}"
        prefixes = {"username_prefix": self.api.prefix, "groups_prefix": self.api.prefix}
        cluster, strict, gone = ({"api": url, **prefixes} for url in (self.api.url, self.strict.url, nobody))
        acting = {**cluster, "credential_file": str(self.credential)}
        sites: dict[str, dict[str, Any]] = {
            "auth": {"upstream": {"url": []}},
            "shop": {
                "kubernetes": cluster,
                "kubectl": {"client_id": "kubectl"},
                "access": {"rules": [{"path": "/admins/*", "groups": ["nobody"]}]},
            },
            "payroll": {"access": {"groups": ["nobody"]}},
            "staging": {"kubernetes": cluster, "access": MAY},
            "edge": {"kubernetes": strict},
            "archive": {"kubernetes": gone, "access": MAY},
            "factory": {"kubernetes": acting, "identity": "impersonate"},
            "lab": {"upstream": {"url": nobody}},
            "warehouse": {"upstream": {"url": silent, "header_timeout": "300ms"}},
            "dev": {},
            "metrics": {"upstream": {"url": []}},
        }
        known = {"upstream": {"url": self._upstream, "ui": "plain"}, "badge": False}
        config = {
            "listen": ["127.0.0.1:0"],
            "admin": None,
            "provider": {
                "issuer": self.issuer.url,
                "client_id": CLIENT,
                "client_secret_file": private(self.folder / "client-secret", SECRET),
            },
            "sites": [{"url": self.of(name), **merged(known, keys)} for name, keys in sites.items()],
            "session": {"admins": ["platform-admins"]},
            "forward_auth": {"peers": ["127.0.0.2"]},
            "look": self._look,
        }
        return parse_config(merged(config, self._config), folder=self.folder)


@dataclass(frozen=True)
class Visitor:
    """
    Who looks at a page.

    Attributes:
        alice: the tab of somebody who is signed in.
        stranger: somebody who is not, with a browser of their own.
    """

    family: Family
    alice: Page
    stranger: Person


Way = Callable[[Visitor], Awaitable[Page]]


def at(address: str) -> Way:
    """Somebody who is signed in opens an address, ``site/path``."""
    name, _, path = address.partition("/")

    async def way(visitor: Visitor) -> Page:
        await visit(visitor.alice, f"{visitor.family.of(name)}/{path}")
        return visitor.alice

    return way


def straight_to(address: str) -> Way:
    """Somebody who is not signed in opens an address."""
    name, _, path = address.partition("/")

    async def way(visitor: Visitor) -> Page:
        return await visitor.stranger.tab(f"{visitor.family.of(name)}/{path}")

    return way


async def start(visitor: Visitor) -> Page:
    """The page that fetches the fragment, held where it would go on by itself."""

    async def stay(route: Route) -> None:
        await route.fulfill(status=204)

    page = await visitor.stranger.tab()
    await page.route("**/oauth2/start?rd=*&f=*", stay)
    await visit(page, f"{visitor.family.of('dev')}/oauth2/start?rd=%2F")
    return page


async def form_ran_out(visitor: Visitor) -> Page:
    """A sign-out whose form belongs to an older session."""
    page = await at("shop/oauth2/sign_out")(visitor)
    await page.evaluate("document.querySelector('[name=csrf]').value = 'other'")
    await page.get_by_role("button", name=texts.SIGN_OUT).click()
    return page


async def foreign(visitor: Visitor) -> Page:
    """A form that stands on another site."""
    page = visitor.alice
    await page.goto("about:blank")
    await page.set_content(
        f'<form method="post" action="{visitor.family.of("shop")}/oauth2/sign_out"><button>x</button>'
    )
    await page.get_by_role("button").click()
    return page


async def not_impersonated(visitor: Visitor) -> Page:
    """The gate's own credential is gone."""
    visitor.family.credential.unlink(missing_ok=True)
    return await at("factory/")(visitor)


async def store_down(visitor: Visitor) -> Page:
    """The store fails while it is asked for a session."""
    known = await visitor.alice.context.cookies(visitor.family.of("shop"))
    handle = next(cookie["value"] for cookie in known if cookie["name"] == "oidcgate")
    await visitor.stranger.context.add_cookies(
        [{"name": "oidcgate", "value": handle[::-1], "url": visitor.family.of("dev")}]
    )
    visitor.family.store.is_down = True
    try:
        page = await straight_to("dev/")(visitor)
        await expect(page.locator("h1")).to_have_text(texts.STORE_DOWN[0])
    finally:
        visitor.family.store.is_down = False
    return page


async def _back_from_provider(visitor: Visitor) -> Page:
    page = await straight_to("dev/")(visitor)
    await fill_in(page)
    await page.wait_for_url("**/oauth2/callback?*")
    return page


async def provider_refuses(visitor: Visitor) -> Page:
    """The issuer sends the person back with an error."""
    quirks = visitor.family.issuer.quirks
    quirks.callback_params = lambda pairs: [*(p for p in pairs if p[0] == "state"), ("error", "invalid_scope")]
    try:
        return await _back_from_provider(visitor)
    finally:
        quirks.callback_params = None


async def late(visitor: Visitor) -> Page:
    """The issuer does not know the code any more."""
    quirks = visitor.family.issuer.quirks
    quirks.callback_params = lambda pairs: [(name, "gone" if name == "code" else value) for name, value in pairs]
    try:
        return await _back_from_provider(visitor)
    finally:
        quirks.callback_params = None


async def provider_down(visitor: Visitor) -> Page:
    """The issuer fails while somebody signs in."""
    fail = visitor.family.issuer.quirks.fail
    fail["token"] = 503
    try:
        page = await _back_from_provider(visitor)
        await expect(page.locator("h1")).to_have_text(texts.PROVIDER_DOWN[0])
    finally:
        del fail["token"]
    return page


async def token_refused(visitor: Visitor) -> Page:
    """The issuer's token does not answer this login."""
    quirks = visitor.family.issuer.quirks
    quirks.claims = lambda claims: {**claims, "nonce": "of another login"}
    try:
        return await _back_from_provider(visitor)
    finally:
        quirks.claims = None


async def loop(visitor: Visitor) -> Page:
    """A browser that keeps no session."""
    page = await straight_to("dev/")(visitor)
    await fill_in(page)
    circles = page.locator(f"h1:text-is('{texts.LOOP[0]}')")
    for _ in range(MOST_LOGINS):
        await page.wait_for_selector(f"#who-name, h1:text-is('{texts.LOOP[0]}')")
        if await circles.count():
            break
        await visitor.stranger.context.clear_cookies(name="oidcgate", domain=f"dev.{DOMAIN}")
        await visit(page, f"{visitor.family.of('dev')}/")
    return page


async def too_many(visitor: Visitor) -> Page:
    """More logins than one address may begin."""
    attempts: Any = attempts_of(visitor.family)
    attempts.is_too_many = lambda _address: True
    try:
        page = await straight_to("auth/oauth2/start?rd=%2Foauth2%2F&f=")(visitor)
    finally:
        del attempts.is_too_many
    return page


async def kubectl_done(visitor: Visitor) -> Page:
    """What kubectl's helper shows in the browser, from this machine."""
    shown = credential_page(*SIGNED_IN, 200)

    async def answer(route: Route) -> None:
        await route.fulfill(status=shown.status, headers=dict(shown.headers), body=shown.text)

    page = await visitor.stranger.tab()
    await page.route("**/done", answer)
    await visit(page, f"{visitor.family.of('dev')}/done")
    return page


Shown = tuple[Way, int, str]  # how one gets there, the status of the document, and the heading

# Each page, by the name of its picture in docs/pages.md.
PAGES: dict[str, Shown] = {
    "start": (start, 200, texts.START[0]),
    "home": (at("shop/oauth2/"), 200, texts.HOME[0]),
    "landing": (at("auth/oauth2/"), 200, texts.LANDING[0]),
    "session": (at("shop/oauth2/session"), 200, texts.SESSION_PAGE[0]),
    "access": (at("shop/oauth2/access"), 200, texts.ACCESS[0]),
    "kubectl": (at("shop/oauth2/kubectl"), 200, texts.KUBECTL[0]),
    "kubectl-done": (kubectl_done, 200, SIGNED_IN[0]),
    "sign-out": (at("shop/oauth2/sign_out"), 200, texts.SIGN_OUT_PAGE[0]),
    "signed-out": (straight_to("auth/oauth2/signed_out"), 200, texts.SIGNED_OUT[0]),
    "denied": (at("payroll/"), 403, texts.DENIED[0]),
    "denied-path": (at("shop/admins/x"), 403, texts.DENIED_RULE[0]),
    "denied-permission": (at("staging/"), 403, texts.DENIED_PERMISSION[0]),
    "misfit": (at("edge/"), 403, texts.MISFIT[0]),
    "foreign": (foreign, 403, texts.FOREIGN[0]),
    "form-ran-out": (form_ran_out, 403, texts.FORM_OLD),
    "stray": (straight_to("auth/oauth2/callback?code=c&state=s"), 400, texts.NO_COOKIE[0]),
    "late": (late, 400, texts.LATE[0]),
    "loop": (loop, 400, texts.LOOP[0]),
    "not-ours": (straight_to("auth/oauth2/start?rd=https%3A%2F%2Fexample.org%2F"), 400, texts.NOT_OURS[0]),
    "provider-refuses": (provider_refuses, 400, texts.PROVIDER_SAYS_NO[0]),
    "token-refused": (token_refused, 400, texts.TOKEN_REFUSED[0]),
    "too-many": (too_many, 429, texts.TOO_MANY[0]),
    "not-found": (straight_to("dev/oauth2/such/a/page"), 404, texts.NOT_FOUND[0]),
    "no-method": (straight_to("dev/oauth2/backchannel-logout"), 405, texts.NO_METHOD[0]),
    "elsewhere": (at("metrics/pods"), 421, texts.ELSEWHERE[0]),
    "provider-down": (provider_down, 503, texts.PROVIDER_DOWN[0]),
    "store-down": (store_down, 503, texts.STORE_DOWN[0]),
    "cluster-down": (at("archive/"), 503, texts.CLUSTER_DOWN[0]),
    "application-down": (at("lab/"), 502, texts.UPSTREAM_DOWN[0]),
    "application-slow": (at("warehouse/"), 504, texts.UPSTREAM_SLOW[0]),
    "not-impersonated": (not_impersonated, 503, texts.NOT_IN_THIS_NAME),
}

# The same pages when they have something else to say.
VARIANTS: dict[str, Shown] = {
    "access-lacking": (at("staging/oauth2/access"), 200, texts.ACCESS[0]),
    "access-refused": (at("edge/oauth2/access"), 200, texts.ACCESS[0]),
    "access-without-cluster": (at("dev/oauth2/access"), 200, texts.ACCESS[0]),
    "kubectl-missing": (at("dev/oauth2/kubectl"), 200, texts.KUBECTL[0]),
    "session-everybody": (at("auth/oauth2/session?everybody"), 200, texts.SESSION_PAGE[0]),
}
