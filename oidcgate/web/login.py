"""
The way in, to the provider: ``/start``, on the host where logins end and on those that ask it.

Edge: aiohttp responses. Rules of this file:
- One host takes every login (one callback an issuer, never one a cluster). Another host sends the browser there with a
  wish, and gets a ticket back; where one cookie serves all hosts, the address to lead back to is enough.
- A host that is not ours is refused here, before anybody signs in, and once more after that.
- Nobody clicks anything on the way in; whoever comes late, twice, or to the wrong place finds one button.
"""

import logging
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

from aiohttp import web

from oidcgate.errors import ProviderError
from oidcgate.net.provider import Provider
from oidcgate.oidc.authorization import authorization_url
from oidcgate.policy import Crossing
from oidcgate.returnto import Destination, location, safe_fragment
from oidcgate.session.cookies import find_cookie
from oidcgate.session.ticket import Wish, bound_to
from oidcgate.web import texts
from oidcgate.web.attempts import Attempts
from oidcgate.web.audit import Audit
from oidcgate.web.destinations import Destinations
from oidcgate.web.facts import Inbound
from oidcgate.web.grants import Grants
from oidcgate.web.handoff import Handoffs
from oidcgate.web.live import Live
from oidcgate.web.metrics import Metrics
from oidcgate.web.pages import Action, Page, redirect, start_page
from oidcgate.web.providers import Providers
from oidcgate.web.sessions import Sessions
from oidcgate.web.site import SiteRuntime

log = logging.getLogger("oidcgate.login")

REDIRECT_HEADER = b"x-auth-request-redirect"  # oauth2-proxy's word for ``rd`` in a header


ALL = "*"  # every audience, although there is a login already


def alone(only: str) -> str | None:
    """The one audience that a login asks for; None = all."""
    return None if only in ("", ALL) else only


def query_values(target: str, name: str) -> list[str]:
    """The values of a query parameter, decoded exactly once; those that do not decode are left out."""
    values = []
    for pair in target.partition("?")[2].split("&"):
        key, _, value = pair.partition("=")
        if key == name:
            try:
                values.append(unquote(value, errors="strict"))
            except UnicodeDecodeError:
                continue
    return values


def single(target: str, name: str) -> str | None:
    """The value of a parameter that is there exactly once."""
    values = query_values(target, name)
    return values[0] if len(values) == 1 else None


def redirect_wanted(inbound: Inbound) -> str:
    """Where the request wants to be led back to: ``rd``, else the header that oauth2-proxy knows, else ``/``."""
    wanted = single(inbound.target, "rd")
    if wanted is None:
        values = [value for name, value in inbound.request.raw_headers if name.lower() == REDIRECT_HEADER]
        wanted = values[0].decode("ascii", "replace") if len(values) == 1 else None
    return wanted or "/"


def wants_longer(inbound: Inbound) -> bool:
    """Whether the site's own page asks for another session before the one there is has ended; that one goes on."""
    return inbound.facts.how is Crossing.SAME and single(inbound.target, "again") is not None


@dataclass(frozen=True, slots=True)
class LoginParts:
    """What the pages of a login work with."""

    sessions: Sessions
    grants: Grants
    providers: Providers
    attempts: Attempts
    handoffs: Handoffs
    destinations: Destinations
    prefix: str
    audit: Audit = field(default_factory=Audit)
    metrics: Metrics = field(default_factory=Metrics)


class LoginPages:
    """``/start``."""

    def __init__(self, parts: LoginParts) -> None:
        self._sessions = parts.sessions
        self._grants = parts.grants
        self._providers = parts.providers
        self._attempts = parts.attempts
        self._handoffs = parts.handoffs
        self._destinations = parts.destinations
        self._login = parts.destinations.table.login
        self._prefix = parts.prefix
        self._metrics = parts.metrics

    async def start(self, inbound: Inbound) -> web.Response:
        """Begin a login: first a tiny page that fetches the fragment, then on to the provider or to the login host."""
        wish = single(inbound.target, "for")
        if wish is not None and inbound.facts.site is self._login:
            return await self._grant_wish(inbound, wish)
        goal = self._destinations.read(inbound.facts.site, redirect_wanted(inbound))
        if goal is None:
            return Page(*texts.NOT_OURS, actions=[Action(texts.OPEN, "/")]).response(400)
        return await self._start(inbound, goal)

    async def _start(self, inbound: Inbound, goal: Destination) -> web.Response:
        site, target = inbound.facts.site, inbound.target
        fragment = single(target, "f")
        if inbound.live is not None and not wants_longer(inbound) and self._is_served(inbound.live, goal):
            return redirect(location(goal.origin, goal.path, safe_fragment(fragment or "")), status=303)
        if fragment is None and not query_values(target, "f"):
            return start_page(f"{self._prefix}/start?rd={quote(shown(goal, site), safe='')}&f=")
        fragment = safe_fragment(fragment or "")
        elsewhere = self._own_start(site, goal)
        if elsewhere is not None:
            return redirect(f"{elsewhere}&f={quote(fragment, safe='')}")
        if self._attempts.loops(site, inbound.facts.head.cookie):
            return self._loop(site, shown(goal, site))
        if site is not self._login and self._login.names.domain is None:
            return self._to_login_host(inbound, goal, fragment)
        if self._attempts.is_too_many(inbound.client):
            return self._too_many(inbound.facts.site)
        only = self._only(inbound.live, self._destinations.site_of(goal.origin)) or (
            ALL if wants_longer(inbound) else ""
        )
        return await self.to_provider(inbound, self._login, target=shown(goal, site), fragment=fragment, only=only)

    def _is_served(self, live: Live, goal: Destination) -> bool:
        """Whether the session at hand is the one that the goal wants, so that nobody need sign in."""
        if self._is_foreign(goal):
            return True
        if self._login.names.domain is None:
            return live.site.origin == goal.origin
        return not self._only(live, self._destinations.site_of(goal.origin))

    def _only(self, live: Live | None, site: SiteRuntime | None) -> str:
        """
        What another login must ask for, because the one there is cannot bring the site's token; empty = none is needed.

        Where there are no refresh tokens that is the site's audience alone, else all of them: with the new refresh
        token the last one is dead.
        """
        grant = None if live is None else live.shared.grant
        if grant is None or site is None or self._grants.serves(grant, site.audience):
            return ""
        return ALL if grant.refresh_token is not None else site.audience or site.client[1]

    def _is_foreign(self, goal: Destination) -> bool:
        """Whether the goal is a host of ``return_hosts`` that is no site."""
        return self._destinations.site_of(goal.origin) is None

    def _own_start(self, site: SiteRuntime, goal: Destination) -> str | None:
        """Another host's ``/start`` that this goal belongs to: its own, or where all logins end."""
        if self._login.names.domain is not None:
            at = self._login if site is not self._login else site
        elif self._is_foreign(goal):
            at = site
        else:
            at = self._destinations.site_of(goal.origin) or site
        if at.origin == site.origin:
            return None
        return f"{at.origin}{self._prefix}/start?rd={quote(shown(goal, at), safe='')}"

    def _loop(self, site: SiteRuntime, goal: str) -> web.Response:
        log.warning("a browser signs in again and again without keeping its session")
        self._metrics.login(site, "start", "loop")
        again = Action(texts.SIGN_IN_AGAIN, f"{self._prefix}/start?rd={quote(goal, safe='')}")
        response = Page(*texts.LOOP, actions=[again]).response(400)
        self._attempts.forget_finished(site, response)
        return response

    def _too_many(self, site: SiteRuntime) -> web.Response:
        self._metrics.login(site, "start", "too_many")
        return Page(*texts.TOO_MANY).response(429, headers={"Retry-After": "60"})

    # Between hosts.

    def _to_login_host(self, inbound: Inbound, goal: Destination, fragment: str) -> web.Response:
        """Keep where the person was going in a cookie here, and ask the login host."""
        site, response = inbound.facts.site, redirect("")
        attempt = self._attempts.begin(
            site, inbound.facts.head.cookie, target=goal.path, fragment=fragment, response=response
        )
        wish = self._handoffs.wish(site.origin, bound_to(attempt.state), longer=wants_longer(inbound))
        response.headers["Location"] = f"{self._login.origin}{self._prefix}/start?for={wish}"
        return response

    async def _grant_wish(self, inbound: Inbound, text: str) -> web.Response:
        """On the login host: a ticket for the login there is, or a login first."""
        wish = self._handoffs.read_wish(text)
        site = None if wish is None else self._destinations.site_of(wish.origin)
        if wish is None or site is None:
            return Page(*texts.LATE, actions=[Action(texts.OPEN, "/")]).response(400)
        root = self._destinations.table.roots[site.provider_id]
        live = await self._root_session(inbound, root)
        only = self._only(live, site) or (ALL if wish.longer else "")
        if live is not None and not only:
            return await self.hand_over(live, wish)
        if self._attempts.is_too_many(inbound.client):
            return self._too_many(inbound.facts.site)
        return await self.to_provider(inbound, root, target="/", wish=text, only=only)

    async def _root_session(self, inbound: Inbound, root: SiteRuntime) -> Live | None:
        """The browser's session with a provider, on the login host."""
        if root is self._login:
            return inbound.live
        handle = find_cookie(inbound.facts.head.cookie, root.names.session)
        return None if handle is None else await self._sessions.resume(handle, root, for_token=False)

    async def hand_over(self, live: Live, wish: Wish) -> web.Response:
        """Send the browser back with a ticket."""
        ticket = await self._handoffs.issue(live.session.browser, wish)
        return redirect(f"{wish.origin}{self._prefix}/ticket?t={ticket}", status=303)

    # To the provider.

    async def to_provider(
        self, inbound: Inbound, root: SiteRuntime, *, target: str, fragment: str = "", wish: str = "", only: str = ""
    ) -> web.Response:
        """The redirect that begins a login, always on the login host."""
        provider = self.provider(root.provider_id)
        try:
            metadata = await provider.metadata()
        except ProviderError:
            self._metrics.login(inbound.facts.site, "start", "unavailable")
            raise
        self._metrics.login(inbound.facts.site, "start", "ok")
        response = redirect("")
        attempt = self._attempts.begin(
            root,
            inbound.facts.head.cookie,
            target=target,
            fragment=fragment,
            response=response,
            wish=wish,
            only=only,
        )
        response.headers["Location"] = authorization_url(
            metadata,
            client_id=provider.client_id,
            redirect_uri=self.redirect_uri(root),
            scopes=self._providers.login_scopes(root.provider_id, alone(only)),
            state=attempt.state,
            nonce=attempt.nonce,
            verifier=attempt.verifier,
        )
        return response

    def provider(self, provider_id: str) -> Provider:
        """The client of an id that is known to be configured."""
        provider = self._providers.by_id(provider_id)
        assert provider is not None
        return provider

    def redirect_uri(self, root: SiteRuntime) -> str:
        """From the configuration, never from a header; one an issuer, never one a cluster."""
        return self._login.origin + self._prefix + "/callback" + (f"/{root.provider_id}" if root.provider_id else "")


def shown(goal: Destination, site: SiteRuntime) -> str:
    """A destination as ``rd`` on a site: a path of its own, or a whole address."""
    return goal.path if goal.origin == site.origin else goal.origin + goal.path
