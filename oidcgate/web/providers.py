"""
The providers that the sites use: one client for each issuer and client id.

Edge by what it holds. The default provider's callback is ``/callback``; each other one has a path of its own, so that
an answer can never be taken for another issuer's (mix-up, RFC 9700 §4.4).

Sites of one client may have an audience each, their cluster's own client in Dex. A login asks for all of a client's
audiences; what is sent to a site comes from a refresh whose scope names that site's only.
"""

import hashlib
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

from oidcgate.config.model import Config, Provider, Site
from oidcgate.config.rules import effective_provider
from oidcgate.config.secret import SecretFile, read_environment
from oidcgate.net.provider import Provider as ProviderClient

log = logging.getLogger("oidcgate.provider")

AUDIENCE_SCOPE = "audience:server:client_id:"  # Dex's way to ask for a token that another client takes, too


class Providers:
    """All provider clients, by an id that is empty for the default one."""

    def __init__(self, config: Config) -> None:
        self._clients: dict[str, ProviderClient] = {}
        self._ids: dict[tuple[str, str], str] = {}
        self._audiences: dict[str, set[str]] = {}
        default = config.provider
        self._default_client = default.client_id
        self._add("", default)
        for site in config.sites:
            own = effective_provider(config, site)
            named = (own.issuer, own.client_id)
            if named not in self._ids:
                self._add(hashlib.sha256("\n".join(named).encode()).hexdigest()[:8], own)
            self._audiences[self._ids[named]].add(self.audience_for(site))

    def __iter__(self) -> Iterator[ProviderClient]:
        return iter(self._clients.values())

    def _add(self, provider_id: str, provider: Provider) -> None:
        self._ids[provider.issuer, provider.client_id] = provider_id
        self._clients[provider_id] = make_client(provider)
        self._audiences[provider_id] = set()

    def id_for(self, config: Config, site: Site) -> str:
        """The id of a site's provider."""
        own = effective_provider(config, site)
        return self._ids[own.issuer, own.client_id]

    def by_id(self, provider_id: str) -> ProviderClient | None:
        """The client with that id."""
        return self._clients.get(provider_id)

    def for_grant(self, issuer: str, client_id: str) -> ProviderClient | None:
        """The client that a grant came from, if it is still configured."""
        provider_id = self.id_for_grant(issuer, client_id)
        return None if provider_id is None else self._clients[provider_id]

    def id_for_grant(self, issuer: str, client_id: str) -> str | None:
        """The id of the client that a grant came from, if it is still configured."""
        return self._ids.get((issuer, client_id))

    # Audiences.

    def audience_for(self, site: Site) -> str:
        """Whom a site's tokens are for; empty = the client itself."""
        audience = site.provider.audience or ""
        return "" if audience == (site.provider.client_id or self._default_client) else audience

    def audiences_of(self, provider_id: str) -> tuple[str, ...]:
        """The audiences of a client's sites, the empty one included where a site needs no other."""
        return tuple(sorted(self._audiences.get(provider_id, ())))

    def login_scopes(self, provider_id: str, only: str | None = None) -> tuple[str, ...]:
        """What a login asks for: a token for all audiences of the client, or for a single one, which may be its own."""
        return self._clients[provider_id].scopes + _audience_scopes(self._asked(provider_id, only))

    def login_audiences(self, provider_id: str, only: str | None = None) -> frozenset[str] | None:
        """Who may stand beside us in such a login's token; None = those configured."""
        return frozenset(self._asked(provider_id, only)) if any(self.audiences_of(provider_id)) else None

    def _asked(self, provider_id: str, only: str | None) -> list[str]:
        asked = self.audiences_of(provider_id) if only is None else (only,)
        return [audience for audience in asked if audience not in ("", self._clients[provider_id].client_id)]

    def narrowed_scopes(self, provider_id: str, audience: str) -> tuple[str, ...] | None:
        """What a refresh asks for: a token for one audience; None for a client that has none to tell apart."""
        if not any(self.audiences_of(provider_id)):
            return None
        return self._clients[provider_id].scopes + _audience_scopes(self._asked(provider_id, audience))

    async def close(self) -> None:
        """Close every client's connections."""
        for client in self:
            await client.close()


def _audience_scopes(audiences: Iterable[str]) -> tuple[str, ...]:
    return tuple(AUDIENCE_SCOPE + audience for audience in audiences)


def make_client(provider: Provider) -> ProviderClient:
    """A client as configured; its secret is read anew whenever it is needed."""
    file = SecretFile(Path(provider.client_secret_file)) if provider.client_secret_file else None

    def secret() -> str | None:
        if file is not None:
            return file.read()
        return read_environment(provider.client_secret_env) if provider.client_secret_env else None

    return ProviderClient(
        issuer=provider.issuer,
        client_id=provider.client_id,
        client_secret=secret,
        scopes=provider.scopes,
        algorithms=provider.algorithms,
        audiences=frozenset(provider.audiences),
        leeway=provider.leeway,
        max_token_life=provider.max_token_life,
        endpoint_hosts=frozenset(provider.endpoint_hosts),
        ca_file=provider.ca_file,
        internal_url=provider.internal_url,
        proxy=provider.proxy,
        log=log,
    )
