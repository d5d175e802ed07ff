"""
The providers that the sites use: one client for each issuer and client id.

Edge by what it holds. The default provider's callback is ``/callback``; each other one has a path of its own, so that
an answer can never be taken for another issuer's (mix-up, RFC 9700 §4.4).
"""

import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path

from oidcgate.config.model import Config, Provider, Site
from oidcgate.config.rules import effective_provider
from oidcgate.config.secret import SecretFile, read_environment
from oidcgate.net.provider import Provider as ProviderClient

log = logging.getLogger("oidcgate.provider")


class Providers:
    """All provider clients, by an id that is empty for the default one."""

    def __init__(self, config: Config) -> None:
        self._clients: dict[str, ProviderClient] = {}
        self._ids: dict[tuple[str, str], str] = {}
        default = config.provider
        self._add("", default)
        for site in config.sites:
            own = effective_provider(config, site)
            named = (own.issuer, own.client_id)
            if named not in self._ids:
                self._add(hashlib.sha256("\n".join(named).encode()).hexdigest()[:8], own)

    def __iter__(self) -> Iterator[ProviderClient]:
        return iter(self._clients.values())

    def _add(self, provider_id: str, provider: Provider) -> None:
        self._ids[provider.issuer, provider.client_id] = provider_id
        self._clients[provider_id] = make_client(provider)

    def id_for(self, config: Config, site: Site) -> str:
        """The id of a site's provider."""
        own = effective_provider(config, site)
        return self._ids[own.issuer, own.client_id]

    def by_id(self, provider_id: str) -> ProviderClient | None:
        """The client with that id."""
        return self._clients.get(provider_id)

    def for_grant(self, issuer: str, client_id: str) -> ProviderClient | None:
        """The client that a grant came from, if it is still configured."""
        provider_id = self._ids.get((issuer, client_id))
        return None if provider_id is None else self._clients[provider_id]

    async def close(self) -> None:
        """Close every client's connections."""
        for client in self:
            await client.close()


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
