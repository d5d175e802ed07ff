"""
One site at run time: its address, its UI, and what is prepared once for all its requests.

Edge by what it holds.
"""

import re
from dataclasses import dataclass

from oidcgate.config.model import Config, Site
from oidcgate.net.relay import RelayLimits
from oidcgate.net.upstream import UpstreamPools
from oidcgate.proxy.reply import ReplyRewriter
from oidcgate.proxy.ui import PRESETS, Preset
from oidcgate.session.cookies import CookieNames, cookie_names, expire_cookie, named_in
from oidcgate.web.providers import Providers


@dataclass(frozen=True, slots=True, eq=False)
class SiteRuntime:
    """What the gate needs of one site."""

    config: Site
    origin: str
    authority: str
    scheme: str
    secure: bool
    preset: Preset
    names: CookieNames
    provider_id: str
    pools: UpstreamPools
    rewriter: ReplyRewriter
    limits: RelayLimits
    kept_cookies: tuple[bytes, ...]
    sends_token: bool
    restricts: bool  # whether there are rules by path
    quick_target: re.Pattern[str]  # targets that need no second look

    def ui_cookie_expiries(self, cookies: bytes) -> list[str]:
        """Set-Cookie values that remove the UI's own login cookies: those of known names, and those that came along."""
        known = [name for name in self.kept_cookies if not name.endswith(b"*")]
        names = dict.fromkeys([*known, *named_in(cookies, self.kept_cookies)])
        return [expire_cookie(name, secure=self.secure) for name in names]


# A target whose path every server reads alike: no empty or dot segment, nothing encoded but spaces, which the Dashboard
# sends; and any query. The first form covers nearly all, and fast.
CHAR = r"[!\"$&-.0-:<->@-\[\]-~]"
FIRST = r"[!\"$&-\-0-:<->@-\[\]-~]"
QUERY = r"(?:\?[!\"$-\[\]-~]*)?"
USUAL = rf"(?=/)(?:/{FIRST}{CHAR}*)*/?{QUERY}"
PLAIN = rf"(?![^?]*/\.{{1,2}}(?:[/?]|$))/(?:(?:{CHAR}|%20)+/)*(?:{CHAR}|%20)*{QUERY}"


def quick_target(prefix: str, no_passage: tuple[str, ...]) -> re.Pattern[str]:
    """Matches targets of the UI that need no second look: none of our own paths, and none that nobody gets."""
    excluded = "|".join(re.escape(begin) for begin in (prefix, *no_passage))
    return re.compile(rf"(?!{excluded})(?:{USUAL}|{PLAIN})")


def make_site(config: Config, site: Site, providers: Providers) -> SiteRuntime:
    """Prepare a site."""
    origin = site.origin
    secure = origin.scheme == "https"
    names = cookie_names(config.session.cookie.name, secure=secure)
    preset = PRESETS[site.upstream.ui]
    pools = UpstreamPools(site.upstream)
    kept = tuple(name.encode() for name in preset.token_cookies)
    return SiteRuntime(
        config=site,
        origin=str(origin),
        authority=origin.authority,
        scheme=origin.scheme,
        secure=secure,
        preset=preset,
        names=names,
        provider_id=providers.id_for(config, site),
        pools=pools,
        rewriter=ReplyRewriter(origin=str(origin), upstream_origins=pools.origins, own=names.session, others=kept),
        limits=RelayLimits(
            header_timeout=site.upstream.header_timeout,
            idle_timeout=site.upstream.idle_timeout,
            body_idle=config.limits.body_idle,
        ),
        sends_token=site.identity == "token",
        restricts=bool(site.access.rules),
        quick_target=quick_target(config.prefix, preset.no_passage),
        kept_cookies=kept,
    )


def sites_by_authority(sites: list[SiteRuntime]) -> dict[str, SiteRuntime]:
    """Sites by what browsers send as Host, with and without a default port."""
    table: dict[str, SiteRuntime] = {}
    for site in sites:
        table[site.authority] = site
        origin = site.config.origin
        table[f"{origin.host}:{origin.port}"] = site
    return table
