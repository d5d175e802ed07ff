"""
The landing page of a gate with several sites: which clusters a person may open, how they are, and when they were used.

Edge: aiohttp responses, and a look at each UI. Rules of this file:
- A site that a person may not use is not named; a host below a wildcard is named once the person has been there.
- A path that came along is kept for every cluster, so that a link to the landing page can be a deep link.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from html import escape

from aiohttp import web

from oidcgate.errors import OidcgateError
from oidcgate.policy import admits
from oidcgate.returnto import safe_path
from oidcgate.web import answers, texts
from oidcgate.web.facts import Inbound
from oidcgate.web.live import Live
from oidcgate.web.login import single
from oidcgate.web.pages import Action, Page
from oidcgate.web.sessionpage import span
from oidcgate.web.site import SiteRuntime, SiteTable
from oidcgate.web.visits import Visits

KNOWN_FOR = 10.0  # seconds for which a look at a UI counts
LOOK = 2.0  # seconds a UI may take to accept a connection


class Health:
    """Whether UIs accept connections; looked at when somebody wants to know, and remembered for a moment."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._known: dict[str, tuple[float, bool]] = {}

    async def of(self, site: SiteRuntime) -> bool | None:
        """Whether the site's UI answers; None when another proxy carries its requests."""
        if not site.carries:
            return None
        at, good = self._known.get(site.authority, (0.0, False))
        if self._clock() - at >= KNOWN_FOR:
            good = await self._look(site)
            self._known[site.authority] = self._clock(), good
        return good

    async def _look(self, site: SiteRuntime) -> bool:
        pool = site.pools.pools[0]
        try:
            async with asyncio.timeout(LOOK):
                connection = await site.pools.connect(pool)
        except (OidcgateError, TimeoutError):
            return False
        connection.release(asyncio.get_running_loop().time())
        return True


class Landing:
    """Shows the clusters."""

    def __init__(
        self,
        table: SiteTable,
        visits: Visits,
        health: Health,
        *,
        prefix: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._table = table
        self._visits = visits
        self._health = health
        self._prefix = prefix
        self._clock = clock

    @property
    def is_central(self) -> bool:
        """Whether there is more to choose from than one site."""
        return len(self._table.sites) > 1

    async def show(self, inbound: Inbound, live: Live) -> web.Response:
        """The page."""
        used = await self._visits.of(live.session.grant_key)
        sites = self.sites_for(live, used)
        path = safe_path(single(inbound.target, "rd") or "/") or "/"
        states = await asyncio.gather(*(self._health.of(site) for site in sites))
        rows = [self._row(site, state, used, path) for site, state in zip(sites, states, strict=True)]
        listed = f'<ul class="list">{"".join(rows)}</ul>' if rows else f"<p>{escape(texts.NO_CLUSTER)}</p>"
        actions = (
            Action(texts.SESSION_PAGE[0], f"{self._prefix}/session", quiet=True),
            Action(texts.SIGN_OUT, f"{self._prefix}/sign_out", quiet=True),
        )
        facts = answers.known_of(live.claims)[:1]
        return Page(*texts.LANDING, facts=facts, body=listed, actions=actions, wide=True).response()

    def sites_for(self, live: Live, used: Mapping[str, float]) -> list[SiteRuntime]:
        """The sites that a person may open, the last used first."""
        below = [site for origin in used if (site := self._table.of_origin(*_parts(origin))) is not None]
        every = {site.origin: site for site in (*self._table.sites, *below) if not _is_domain(site)}
        found = [site for site in every.values() if self._is_open(site, live)]
        return sorted(found, key=lambda site: (-used.get(site.origin, 0.0), site.authority))

    def _is_open(self, site: SiteRuntime, live: Live) -> bool:
        """Whether to name a site; what another provider says of the person is not known, so only one open to all is."""
        if site is self._table.login and not site.carries:
            return False
        if site.client == live.site.client:
            return admits(site.config.access, live.claims)
        access = site.config.access
        return not (access.groups or access.emails or access.email_domains)

    def _row(self, site: SiteRuntime, state: bool | None, used: Mapping[str, float], path: str) -> str:
        at = used.get(site.origin)
        last = texts.NEVER_USED if at is None else texts.LAST_USED.format(span(self._clock() - at))
        health = {True: texts.ANSWERS, False: texts.SILENT, None: ""}[state]
        details = " · ".join(part for part in (health, last) if part)
        link = Action(texts.OPEN_CLUSTER, site.origin + path, quiet=state is False, about=site.authority)
        kind = {True: ' class="good"', False: ' class="bad"', None: ""}[state]
        return (
            f"<li{kind}><div><strong>{escape(site.authority)}</strong><span>{escape(details)}</span></div>"
            f"{link.html()}</li>"
        )


def _parts(origin: str) -> tuple[str, str]:
    scheme, _, authority = origin.partition("://")
    return scheme, authority


def _is_domain(site: SiteRuntime) -> bool:
    """Whether this stands for a whole domain, not for one host."""
    return site.config.is_wildcard and site.authority == site.config.origin.authority
