"""
One site at run time: its address, its UI, and what is prepared once for all its requests; and how a host finds it.

Edge by what it holds.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from oidcgate.config.addresses import DEFAULT_PORT, HOST
from oidcgate.config.model import Config, Site, Upstream
from oidcgate.config.rules import effective_provider
from oidcgate.net.relay import RelayLimits
from oidcgate.net.upstream import UpstreamPools
from oidcgate.proxy.reply import ReplyRewriter
from oidcgate.proxy.ui import PRESETS, Preset
from oidcgate.proxy.ui.actions import MARK
from oidcgate.session.cookies import CookieNames, cookie_names, expire_cookie, named_in
from oidcgate.web.look import PLAIN as PLAIN_LOOK
from oidcgate.web.look import Look
from oidcgate.web.outgoing import Outgoing
from oidcgate.web.providers import Providers

MOST_HOSTS = 1024  # hosts below a wildcard that are remembered
LONGEST_HOST = 253  # RFC 1035 §2.3.4


@dataclass(frozen=True, slots=True, eq=False)
class RoutePools:
    """A further service of a UI: its paths (all below ``path`` when ``is_prefix``) and its replicas."""

    path: str
    is_prefix: bool
    pools: UpstreamPools

    def matches(self, path: str) -> bool:
        """Whether a path is this service's."""
        return path.startswith(self.path) if self.is_prefix else path == self.path


def route_pools(upstream: Upstream) -> tuple[RoutePools, ...]:
    """The further services of a UI; all else is as for the UI itself."""
    return tuple(
        RoutePools(
            route.path.removesuffix("*"),
            route.path.endswith("*"),
            UpstreamPools(upstream.model_copy(update={"url": route.url})),
        )
        for route in upstream.routes
    )


@dataclass(frozen=True, slots=True, eq=False)
class SiteRuntime:
    """
    What the gate needs of one site.

    Attributes:
        origin, authority: of this very host, also where the site is every host below a domain.
        label: what metrics call it: as it is configured, so that hosts below a domain share one.
        client: issuer and client id of the grants that its sessions use.
        audience: whom its tokens are for; empty = the client itself.
        session_site: what a session's record says that belongs here.
        scope: tells apart the lives of one session on several sites.
        outgoing: what goes to the UI about a person.
        carries: whether requests are relayed to a UI from here; else another proxy does that.
        own_cookies: further names (or beginnings, with ``*``) of cookies of ours, besides those that begin with the
            session's.
    """

    config: Site
    origin: str
    authority: str
    label: str
    scheme: str
    secure: bool
    preset: Preset
    names: CookieNames
    provider_id: str
    client: tuple[str, str]
    audience: str
    session_site: str
    scope: bytes
    pools: UpstreamPools
    routes: tuple["RoutePools", ...]
    rewriter: ReplyRewriter
    limits: RelayLimits
    kept_cookies: tuple[bytes, ...]
    own_cookies: tuple[bytes, ...]
    outgoing: Outgoing
    carries: bool
    restricts: bool  # whether there are rules by path
    quick_target: re.Pattern[str]  # targets that need no second look
    look: Look = PLAIN_LOOK  # of the gate's pages

    def __repr__(self) -> str:
        return f"<SiteRuntime {self.origin}>"

    @property
    def every_pools(self) -> tuple[UpstreamPools, ...]:
        """Of the UI and of each further service of it."""
        return (self.pools, *(route.pools for route in self.routes))

    def pools_for(self, path: str) -> UpstreamPools:
        """The service that a path belongs to."""
        return next((route.pools for route in self.routes if route.matches(path)), self.pools)

    def ui_cookie_expiries(self, cookies: bytes) -> list[str]:
        """Set-Cookie values that remove the UI's own login cookies: those of known names, and those that came along."""
        known = [name for name in self.kept_cookies if not name.endswith(b"*")]
        names = dict.fromkeys([*known, *named_in(cookies, self.kept_cookies)])
        return [expire_cookie(name, secure=self.secure) for name in names]


# A target whose path every server reads alike: no empty or dot segment, nothing encoded but spaces, which the Dashboard
# sends; and any query. The first form covers nearly all, and fast. What the audit follows has a segment that tells it.
CHAR = r"[!\"$&-.0-:<->@-\[\]-~]"
FIRST = r"[!\"$&-\-0-:<->@-\[\]-~]"
QUERY = r"(?:\?[!\"$-\[\]-~]*)?"
USUAL = rf"(?=/)(?:/(?!{MARK}){FIRST}{CHAR}*)*/?{QUERY}"
PLAIN = rf"(?![^?]*/\.{{1,2}}(?:[/?]|$))/(?:(?!{MARK})(?:{CHAR}|%20)+/)*(?!{MARK})(?:{CHAR}|%20)*{QUERY}"


def quick_target(prefix: str, no_passage: tuple[str, ...]) -> re.Pattern[str]:
    """Matches targets of the UI that need no second look: none of our own paths, and none that nobody gets."""
    excluded = "|".join(re.escape(begin) for begin in (prefix, *no_passage))
    return re.compile(rf"(?!{excluded})(?:{USUAL}|{PLAIN})")


def make_site(config: Config, site: Site, providers: Providers, look: Look = PLAIN_LOOK) -> SiteRuntime:
    """Prepare a site."""
    origin = site.origin
    secure = origin.scheme == "https"
    domain = config.session.cookie.domain
    names = cookie_names(config.session.cookie.name, secure=secure, domain=domain)
    preset = PRESETS[site.upstream.ui]
    pools, routes = UpstreamPools(site.upstream), route_pools(site.upstream)
    origins = tuple(dict.fromkeys(origin for each in (pools, *(r.pools for r in routes)) for origin in each.origins))
    kept = tuple(name.encode() for name in preset.token_cookies)
    host_only = names.login.removesuffix(b"-login-")
    own = () if host_only == names.session else (host_only + b"*",)
    provider = effective_provider(config, site)
    return SiteRuntime(
        config=site,
        origin=str(origin),
        authority=origin.authority,
        label=site.url.partition("://")[2],
        scheme=origin.scheme,
        secure=secure,
        preset=preset,
        names=names,
        provider_id=providers.id_for(config, site),
        client=(provider.issuer, provider.client_id),
        audience=providers.audience_for(site),
        session_site=str(origin) if domain is None else f"*.{domain}",
        scope=b"" if domain is None else b"%d." % config.sites.index(site),
        pools=pools,
        routes=routes,
        rewriter=ReplyRewriter(origin=str(origin), upstream_origins=origins, own=names.session, others=(*kept, *own)),
        limits=RelayLimits(
            header_timeout=site.upstream.header_timeout,
            idle_timeout=site.upstream.idle_timeout,
            body_idle=config.limits.body_idle,
        ),
        outgoing=Outgoing(site, preset),
        carries=bool(site.upstream.urls),
        restricts=bool(site.access.rules),
        quick_target=quick_target(config.prefix, (*preset.no_passage, *preset.tried_again)),
        kept_cookies=kept,
        own_cookies=own,
        look=look,
    )


class SiteTable:
    """
    Sites by what browsers send as Host, with and without a default port; of wildcards, the nearest.

    Attributes:
        login: where every login ends.
        sites: as configured.
        roots: as what its host keeps the logins of each provider, by the provider's id.
    """

    def __init__(self, sites: Sequence[SiteRuntime], *, login: SiteRuntime) -> None:
        self.login = login
        self.sites = tuple(sites)
        self.roots = {site.provider_id: _root(login, site) for site in sites}
        self._exact: dict[str, SiteRuntime] = {}
        self._wild = sorted((s for s in sites if s.config.is_wildcard), key=lambda s: -len(s.config.origin.host))
        self._below: dict[str, SiteRuntime] = {}
        for site in sites:
            if not site.config.is_wildcard:
                origin = site.config.origin
                self._exact[site.authority] = self._exact[f"{origin.host}:{origin.port}"] = site

    def __repr__(self) -> str:
        return f"<SiteTable {', '.join(self.names)}>"

    @property
    def names(self) -> tuple[str, ...]:
        """Every site's address, as configured."""
        return tuple(sorted(site.config.url for site in self.sites))

    def get(self, authority: str) -> SiteRuntime | None:
        """The site of a Host."""
        return self._exact.get(authority) or self._below.get(authority) or self._below_wildcard(authority)

    def of_origin(self, scheme: str, authority: str) -> SiteRuntime | None:
        """The site of an origin; a host with another scheme is none."""
        site = self.get(authority)
        return site if site is not None and site.scheme == scheme else None

    def _below_wildcard(self, authority: str) -> SiteRuntime | None:
        host, _, port = authority.partition(":")
        for site in self._wild:
            origin = site.config.origin
            if not host.endswith(f".{origin.host}") or not HOST.fullmatch(host) or len(host) > LONGEST_HOST:
                continue
            if (port or str(DEFAULT_PORT[origin.scheme])) != str(origin.port):
                continue
            return self._remembered(site, host, authority)
        return None

    def _remembered(self, site: SiteRuntime, host: str, authority: str) -> SiteRuntime:
        """A wildcard's site as this very host."""
        shown = replace(site.config.origin, host=host)
        of_domain = site.session_site.startswith("*.")
        concrete = replace(
            site,
            origin=str(shown),
            authority=shown.authority,
            session_site=site.session_site if of_domain else str(shown),
        )
        if len(self._below) >= MOST_HOSTS:
            self._below.clear()
        self._below[authority] = concrete
        return concrete


def _root(login: SiteRuntime, site: SiteRuntime) -> SiteRuntime:
    """The login host itself; for another provider than its own, with a cookie and sessions of their own kind."""
    if site.provider_id == login.provider_id:
        return login
    session = login.names.session + b"-" + site.provider_id.encode()
    return replace(
        login,
        names=replace(login.names, session=session),
        provider_id=site.provider_id,
        client=site.client,
        audience="",
        session_site=f"{login.session_site}#{site.provider_id}",
    )


def make_table(config: Config, sites: Sequence[SiteRuntime]) -> SiteTable:
    """The table of a configuration's sites."""
    login = next(site for site in sites if site.config is config.login_site)
    return SiteTable(sites, login=login)
