"""
What the checks share: the configuration seen as sites and providers, and what earlier hops have learned.

Edge by the clients it holds.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from oidcgate.config.addresses import HOST, Origin, parse_origin
from oidcgate.config.model import Config, Kubernetes, Site
from oidcgate.config.model import Provider as ProviderSection
from oidcgate.config.rules import effective_provider
from oidcgate.doctor.calls import Caller, Way
from oidcgate.doctor.stages import Certificate, Unreached
from oidcgate.errors import ConfigError, Problem
from oidcgate.net.provider import Provider
from oidcgate.oidc.claims import Claims
from oidcgate.oidc.metadata import Metadata, internal_address
from oidcgate.web.providers import Providers


@dataclass(frozen=True, slots=True)
class Visit:
    """One site of the walk; ``origin`` is a host's own, also where the site is every host below a domain."""

    config: Site
    index: int
    origin: Origin | None

    @property
    def url(self) -> str:
        """Its name in the report."""
        return self.config.url if self.origin is None else str(self.origin)

    def key(self, name: str) -> str:
        """A key of it."""
        return f"sites[{self.index}].{name}"

    def upstream_way(self, url: str) -> Way:
        """How its UI is reached."""
        upstream = self.config.upstream
        return Way(
            upstream.ca_file,
            upstream.server_name,
            not upstream.insecure_skip_verify,
            path=url.removeprefix("unix:") if url.startswith("unix:") else "",
        )


def cluster_way(kubernetes: Kubernetes) -> Way:
    """How an API server is reached."""
    return Way(kubernetes.ca_file, kubernetes.server_name)


async def shown_by(scene: "Scene", url: str, server_name: str | None = None) -> Certificate | None:
    """The certificate that a server shows, believed or not; only its names are of use."""
    try:
        return await scene.caller.reach(url, Way(verify=False, server_name=server_name))
    except Unreached:
        return None


@dataclass(slots=True)
class Issuer:
    """One issuer and client; ``document`` and ``metadata`` are there once discovery has passed."""

    id: str
    section: ProviderSection
    client: Provider
    visits: tuple[Visit, ...]
    callback: str
    own: frozenset[str] = frozenset()  # keys that the site sets itself
    document: dict[str, Any] = field(default_factory=dict)
    metadata: Metadata | None = None

    @property
    def label(self) -> str:
        """Its name in the report: empty for the one that sites have by default."""
        return self.visits[0].url if self.id else ""

    def key(self, name: str) -> str:
        """A key of it, where it is set."""
        return self.visits[0].key(f"provider.{name}") if name in self.own else f"provider.{name}"

    def inside(self, url: str) -> str:
        """The gate's own way to an endpoint."""
        return internal_address(url, issuer=self.section.issuer, internal_url=self.section.internal_url)

    @property
    def known(self) -> Metadata:
        """The metadata; checks that use it need discovery to have passed."""
        assert self.metadata is not None
        return self.metadata

    @property
    def way(self) -> Way:
        """How the gate reaches it."""
        return Way(self.section.ca_file, proxy=self.section.proxy)


@dataclass(frozen=True, slots=True)
class Bearer:
    """A verified token, and the client that it was issued to: the gate's, or the one for kubectl."""

    raw: str = field(repr=False)
    claims: Claims
    issuer: Issuer
    client_id: str


@dataclass(slots=True)
class Scene:
    """The whole walk: what is looked at, with what, and the token once it is there."""

    config: Config
    caller: Caller
    visits: tuple[Visit, ...]
    login: Visit
    providers: Providers
    issuers: tuple[Issuer, ...]
    raw: str | None = None
    wants_login: bool = False
    bearer: Bearer | None = None

    @property
    def public(self) -> tuple[Visit, ...]:
        """The sites that browsers must reach: those of the walk, and the one where logins end."""
        return (
            self.visits if any(visit.index == self.login.index for visit in self.visits) else (self.login, *self.visits)
        )

    def issuer_of(self, visit: Visit) -> Issuer:
        """A site's issuer."""
        wanted = self.providers.id_for(self.config, visit.config)
        return next(issuer for issuer in self.issuers if issuer.id == wanted)

    def audience_of(self, visit: Visit) -> str:
        """Whom a site's tokens are for; empty = the client itself."""
        return self.providers.audience_for(visit.config)

    def token_for(self, visit: Visit) -> tuple[str, str]:
        """The token as a site's cluster may see it, or an empty one and why it may not."""
        bearer = self.bearer
        if bearer is None or bearer.issuer is not self.issuer_of(visit):
            return "", "the token is of another issuer or client"
        foreign = set(bearer.claims.audience) - {bearer.client_id}
        is_ours = bearer.client_id == bearer.issuer.section.client_id
        audience = self.audience_of(visit) if is_ours else ""
        if not is_ours and visit.config.kubectl.client_id != bearer.client_id:
            return "", f"the token is for {bearer.client_id}, and this site has another client for kubectl"
        if foreign - {audience}:
            return "", f"the token is for {', '.join(sorted(foreign))}, too: it is sent to none; name one with --site"
        if audience and audience not in foreign:
            return "", f"the token is not for {audience}"
        return bearer.raw, ""

    async def close(self) -> None:
        """Close the clients."""
        await self.providers.close()


def make_scene(config: Config, caller: Caller, *, site: str | None = None, **options: Any) -> Scene:
    """
    The scene of a configuration, or of one site in it.

    Raises:
        ConfigError: there is no such site.
    """
    visits = tuple(_visit(config, index) for index in range(len(config.sites)))
    login = next(visit for visit in visits if visit.config is config.login_site)
    chosen = visits if site is None else (find_site(visits, site),)
    providers = Providers(config)
    issuers = tuple(_issuer(config, providers, chosen, login, each) for each in _ids(config, providers, chosen))
    return Scene(config, caller, chosen, login, providers, issuers, **options)


def _visit(config: Config, index: int) -> Visit:
    site = config.sites[index]
    return Visit(site, index, None if site.is_wildcard else site.origin)


def find_site(visits: Sequence[Visit], url: str) -> Visit:
    """
    The site of an address; a host below a wildcard is one.

    Raises:
        ConfigError: there is none.
    """
    if known := next((visit for visit in visits if url.rstrip("/") in (visit.url, visit.config.url)), None):
        return known
    try:
        origin = parse_origin(url.rstrip("/"))
    except ValueError as error:
        raise ConfigError([Problem("--site", str(error))]) from None
    for visit in visits:
        wide = visit.config.origin
        below = origin.host.endswith(f".{wide.host}") and HOST.fullmatch(origin.host)
        if visit.origin == origin or (visit.origin is None and below and replace(origin, host=wide.host) == wide):
            return replace(visit, origin=origin)
    there = ", ".join(visit.url for visit in visits)
    raise ConfigError([Problem("--site", f"no site has the address {url}; there are: {there}")])


def _ids(config: Config, providers: Providers, visits: Sequence[Visit]) -> list[str]:
    return list(dict.fromkeys(providers.id_for(config, visit.config) for visit in visits))


def _issuer(config: Config, providers: Providers, visits: Sequence[Visit], login: Visit, provider_id: str) -> Issuer:
    own = tuple(visit for visit in visits if providers.id_for(config, visit.config) == provider_id)
    client = providers.by_id(provider_id)
    assert client is not None
    callback = f"{login.url}{config.prefix}/callback" + (f"/{provider_id}" if provider_id else "")
    if not provider_id:
        return Issuer("", config.provider, client, own, callback)
    site = own[0].config
    named = frozenset(site.provider.model_dump(exclude_none=True))
    return Issuer(provider_id, effective_provider(config, site), client, own, callback, named)
