"""
Grants as the store has them, shared by whoever uses them in this process.

Edge by its store. A change is compare-and-set; what was read or written is adopted by every audience of the grant that
is in use here.
"""

import asyncio
import logging
import random
import secrets
import time
from collections.abc import Callable
from typing import Any
from weakref import WeakValueDictionary

from oidcgate.errors import InvalidSeal, StoreUnavailable
from oidcgate.oidc.idtoken import Claims
from oidcgate.session.grant import Grant, grant_from_bytes
from oidcgate.session.lifecycle import Limits, renewal_due
from oidcgate.session.seal import NONCE_SIZE, KeyRing
from oidcgate.session.store import ABSENT, Store
from oidcgate.web.providers import Providers
from oidcgate.web.sharedgrant import Renewals, SharedGrant

log = logging.getLogger("oidcgate.grants")

MOST_CONFLICTS = 20


class GrantRecords:
    """Reads, changes and shares grants."""

    def __init__(
        self,
        store: Store,
        ring: KeyRing,
        providers: Providers,
        limits: Limits,
        *,
        clock: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._ring = ring
        self._providers = providers
        self._limits = limits
        self._clock = clock
        self._jitter = jitter
        self._shared: WeakValueDictionary[tuple[str, str], SharedGrant] = WeakValueDictionary()
        self._renewals: WeakValueDictionary[str, Renewals] = WeakValueDictionary()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def _read(self, key: str) -> tuple[Grant, int] | None:
        stored = await self._store.get(key)
        if stored is None:
            return None
        try:
            plain = self._ring.unseal(stored.value, purpose="grant", context=key)
            return grant_from_bytes(key, plain), stored.version
        except InvalidSeal as error:
            log.warning("a grant record cannot be opened: %s", error)
            return None

    async def _change(self, key: str, change: Callable[[Grant | None], Grant | None]) -> tuple[Grant, int] | None:
        """Compare-and-set until nobody was in between; None when ``change`` says to leave things as they are."""
        for _ in range(MOST_CONFLICTS):
            read = await self._read(key)
            grant = change(read[0] if read else None)
            if grant is None:
                return None
            life = max(1.0, grant.ends - self._clock())
            nonce = secrets.token_bytes(NONCE_SIZE)
            sealed = self._ring.seal(grant.to_bytes(), purpose="grant", context=key, nonce=nonce)
            # A record that cannot be opened counts as none, yet it is there: then it is replaced.
            expected = read[1] if read else (ABSENT if await self._store.get(key) is None else None)
            version = await self._store.put(key, sealed, life=life, expected=expected)
            if version is not None:
                return grant, version
        raise StoreUnavailable("a grant changes faster than it can be written")

    def _share(self, grant: Grant, version: int, audience: str) -> SharedGrant:
        self._adopt(grant, version)
        shared = self._shared.get((grant.key, audience))
        if shared is None:
            renewals = self._renewals.get(grant.key)
            if renewals is None:
                renewals = self._renewals[grant.key] = Renewals()
            due = self._due(grant, audience)
            shared = SharedGrant(grant, version, due, audience=audience, renewals=renewals)
            self._shared[grant.key, audience] = shared
        return shared

    def _adopt(self, grant: Grant, version: int) -> None:
        """Let all audiences in use here have what the store holds."""
        renewals = self._renewals.get(grant.key)
        for shared in list(renewals.members) if renewals is not None else ():
            if shared.version != version:
                shared.adopt(grant, version, self._due(grant, shared.audience))

    def _due(self, grant: Grant, audience: str) -> float:
        token = grant.tokens.get(audience)
        if token is None or token.obtained < grant.obtained:  # since that login the person's groups may be others
            return 0.0
        return renewal_due(
            issued=token.claims.issued_at,
            expires=token.claims.expires,
            ahead=self._limits.refresh_ahead,
            jitter=self._jitter(),
        )

    async def _adopt_stored(self, key: str) -> bool:
        read = await self._read(key)
        if read is None:
            return False
        self._adopt(*read)
        return True

    def _scopes(self, issuer: str, client_id: str, audience: str) -> tuple[str, ...] | None:
        """What to ask a refresh for; None where there is nothing to narrow."""
        provider_id = self._providers.id_for_grant(issuer, client_id)
        return None if provider_id is None else self._providers.narrowed_scopes(provider_id, audience)

    def may_hint(self, claims: Claims, client: tuple[str, str]) -> bool:
        """Whether a login's own token may be shown to the issuer at sign-out: it must not open more than one site."""
        issuer, client_id = client
        return self._scopes(issuer, client_id, "") is None or set(claims.audience) == {client_id}

    def serves(self, grant: Grant, audience: str) -> bool:
        """Whether a grant has a token for an audience, or a way to one."""
        token = grant.tokens.get(audience)
        return grant.allows(audience) or (token is not None and token.claims.expires > self._clock())

    def _exactly(self, issuer: str, client_id: str, audience: str) -> frozenset[str] | None:
        """The whole ``aud`` of a token for that audience; None where there is nothing to narrow."""
        if self._scopes(issuer, client_id, audience) is None:
            return None
        return frozenset({client_id, audience or client_id})

    def _background(self, work: Any, name: str) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
