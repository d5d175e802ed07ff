"""
Token sets in this process: kept with the store's, renewed ahead of time, once however many wait.

Edge by its stores and providers. Rules of this file:
- A new refresh token is stored before anything made with it is used: the old one is dead by then.
- A renewal belongs to no request: it goes on when the request that began it goes away.
- A passing failure changes nothing but when the next try is; a final one lets the tokens run to their end.
- Losing the lease means somebody else renews: wait for what they store.
"""

import asyncio
import contextlib
import logging
import random
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from weakref import WeakValueDictionary

from oidcgate.errors import (
    InvalidIdToken,
    InvalidSeal,
    ProviderError,
    ProviderUnreachable,
    StoreUnavailable,
    TokenError,
)
from oidcgate.net.provider import Provider
from oidcgate.oidc.idtoken import Claims
from oidcgate.oidc.tokens import TokenSet
from oidcgate.session.grant import Grant, grant_from_bytes, grant_key
from oidcgate.session.lifecycle import Limits, backoff, renewal_due
from oidcgate.session.seal import NONCE_SIZE, KeyRing
from oidcgate.session.store import ABSENT, Store
from oidcgate.web.lease import Lease
from oidcgate.web.providers import Providers
from oidcgate.web.sharedgrant import SharedGrant

log = logging.getLogger("oidcgate.grants")

FINISH = 15.0  # seconds that renewals under way may take at the end; longer than a token call
PAUSE = "pause"  # begins the key that keeps other processes from trying what has just failed
LEASE_POLL = 0.1  # seconds between looks at what the holder stored
MOST_CONFLICTS = 20


class Paused(ProviderUnreachable):
    """Another process has just failed to renew the grant."""


class Grants:
    """Loads, stores and renews grants."""

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
        self._shared: WeakValueDictionary[str, SharedGrant] = WeakValueDictionary()
        self._tasks: set[asyncio.Task[Any]] = set()

    # Loading and storing.

    async def load(self, key: str) -> SharedGrant | None:
        """
        The grant as the store has it, shared with whoever else uses it here.

        Raises:
            StoreUnavailable: the store does not answer.
        """
        read = await self._read(key)
        return None if read is None else self._share(*read)

    async def adopt_login(
        self, tokens: TokenSet, claims: Claims, *, issuer: str, client_id: str, session_key: str, ends: float
    ) -> tuple[SharedGrant, tuple[str, ...]]:
        """
        A login's token set replaces the person's last one; the issuer has ended that one anyway.

        Returns:
            The grant, and the keys of sessions that are one too many for this person.
        """
        key = grant_key(issuer, client_id, claims.subject)
        now = self._clock()

        def change(old: Grant | None) -> Grant:
            grant = old or Grant(key=key, issuer=issuer, client_id=client_id, claims=claims, id_token="")
            new = replace(
                grant,
                claims=claims,
                id_token=tokens.id_token,
                refresh_token=tokens.refresh_token or grant.refresh_token,
                obtained=now,
            )
            return new.with_session(session_key, ends, now=now)

        changed = await self._change(key, change)
        assert changed is not None
        grant, version = changed
        surplus = grant.over_limit(self._limits.max_per_user)
        shared = self._share(grant, version)
        shared.failures, shared.next_try, shared.failure = 0, 0.0, None
        return shared, surplus

    async def adopt_tokens(self, tokens: TokenSet, claims: Claims, *, issuer: str, client_id: str) -> None:
        """A login that led to no session here: it has ended the refresh token of the person's other sessions anyway."""

        def change(old: Grant | None) -> Grant | None:
            return old and replace(
                old,
                claims=claims,
                id_token=tokens.id_token,
                refresh_token=tokens.refresh_token or old.refresh_token,
                obtained=self._clock(),
            )

        changed = await self._change(grant_key(issuer, client_id, claims.subject), change)
        if changed is not None:
            self._share(*changed)

    async def leave_key(self, key: str, session_key: str) -> None:
        """
        A session ended; with the last one the grant goes, and its refresh token is revoked.

        Raises:
            StoreUnavailable: the grant still counts the session.
        """
        for _ in range(MOST_CONFLICTS):
            read = await self._read(key)
            if read is None:
                return
            grant, version = read[0].without_session(session_key), read[1]
            if any(ends > self._clock() for _, ends in grant.sessions):
                await self._change(key, lambda old: old and old.without_session(session_key))
                return
            # Only what was just read goes: somebody may sign in at this very moment.
            if await self._store.delete(key, expected=version):
                self._revoke(grant)
                return

    def _revoke(self, grant: Grant) -> None:
        provider = self._providers.for_grant(grant.issuer, grant.client_id)
        if provider is not None and grant.refresh_token is not None:
            self._background(provider.revoke(grant.refresh_token), f"revoke for {grant.key[:14]}")

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

    def _share(self, grant: Grant, version: int) -> SharedGrant:
        shared = self._shared.get(grant.key)
        if shared is None:
            shared = SharedGrant(grant, version, self._due(grant))
            self._shared[grant.key] = shared
        elif shared.version != version:
            shared.adopt(grant, version, self._due(grant))
        return shared

    def _due(self, grant: Grant) -> float:
        claims = grant.claims
        return renewal_due(
            issued=claims.issued_at,
            expires=claims.expires,
            ahead=self._limits.refresh_ahead,
            jitter=self._jitter(),
        )

    # Renewal.

    def begin_renewal(self, shared: SharedGrant) -> asyncio.Task[None] | None:
        """Renew in the background, unless that is under way, pointless, or was tried a moment ago."""
        if shared.renewing is not None:
            return shared.renewing
        if not shared.can_renew or self._clock() < shared.next_try:
            return None
        task = self._background(self._renew(shared), f"renew {shared.grant.key[:14]}")
        shared.renewing = task
        task.add_done_callback(lambda _: setattr(shared, "renewing", None))
        return task

    async def wait_for_renewal(self, shared: SharedGrant) -> None:
        """
        Renew and wait for the end of it, together with everybody else who waits.

        Raises:
            ProviderError, StoreUnavailable: it failed in a way that may pass.
        """
        task = self.begin_renewal(shared)
        if task is not None:
            await asyncio.shield(task)
        if shared.failure is not None and shared.can_renew and self._clock() >= shared.usable_until:
            raise shared.failure

    async def _renew(self, shared: SharedGrant) -> None:
        before, shared.failure = shared.failure, None
        try:
            await self._renew_with_lease(shared)
            shared.failures = 0
        except (ProviderError, StoreUnavailable) as error:
            # Whatever the provider said instead of tokens, for those who wait it is an outage.
            is_plain = isinstance(error, ProviderUnreachable | StoreUnavailable)
            shared.failure = error if is_plain else ProviderUnreachable(str(error))
            if isinstance(error, Paused | StoreUnavailable):  # nothing was asked of the provider: look again soon
                shared.next_try = self._clock() + backoff(1, self._jitter())
            if type(shared.failure) is not type(before):
                log.warning("renewal failed, the session goes on with the token it has: %s", error)

    def _back_off(self, shared: SharedGrant) -> float:
        """Count a failure; the seconds until the next try."""
        shared.failures += 1
        pause = backoff(shared.failures, self._jitter())
        shared.next_try = self._clock() + pause
        return pause

    async def _renew_with_lease(self, shared: SharedGrant) -> None:
        key = shared.grant.key
        lease = Lease(self._store, key)
        if not await lease.take():
            await self._follow(shared, lease)
            return
        async with lease:
            if await self._store.get(f"{PAUSE}:{key}") is not None:
                raise Paused("another process has just failed to renew this grant")
            try:
                await self._renew_alone(shared)
            except ProviderError:
                # Said while the lease is held: who waits for it would try at once what has just failed.
                await self._let_pause(key, self._back_off(shared))
                raise

    async def _let_pause(self, key: str, seconds: float) -> None:
        """A failure counts for every process: else each would try in turn."""
        with contextlib.suppress(StoreUnavailable):
            await self._store.put(f"{PAUSE}:{key}", b"1", life=seconds)

    async def _follow(self, shared: SharedGrant, lease: Lease) -> None:
        """Somebody else holds the lease: adopt what they store, or try when the lease is gone."""
        before = shared.grant.claims.expires
        while await lease.is_taken():
            await asyncio.sleep(LEASE_POLL)
            if await self._adopt_stored(shared.grant.key) and shared.grant.claims.expires > before:
                return
        await self._adopt_stored(shared.grant.key)
        if shared.grant.claims.expires <= before and shared.can_renew:
            await self._renew_with_lease(shared)

    async def _adopt_stored(self, key: str) -> bool:
        read = await self._read(key)
        if read is None:
            return False
        self._share(*read)
        return True

    async def _renew_alone(self, shared: SharedGrant) -> None:
        before = shared.grant
        if not await self._adopt_stored(shared.grant.key):
            return  # signed out meanwhile
        grant = shared.grant
        if grant.id_token != before.id_token or grant.refresh_token is None:
            return  # somebody was faster, or the grant is at its end
        provider = self._providers.for_grant(grant.issuer, grant.client_id)
        if provider is None:
            await self._give_up(shared, grant.refresh_token, "its provider is no longer configured")
            return
        if shared.unstored is None or shared.unstored[0] != grant.refresh_token:
            try:
                shared.unstored = grant.refresh_token, await provider.refresh_raw(grant.refresh_token, None)
            except TokenError as error:
                if not error.final:
                    raise
                await self._give_up(shared, grant.refresh_token, str(error))
                return
        await self._store_tokens(shared, shared.unstored[1], grant, provider)
        shared.unstored = None

    async def _store_tokens(self, shared: SharedGrant, tokens: TokenSet, grant: Grant, provider: Provider) -> None:
        """First of all the refresh token: the old one is dead from now on."""
        assert grant.refresh_token is not None
        refresh_token = tokens.refresh_token or grant.refresh_token
        ours = (grant.refresh_token, refresh_token)

        def rotated(old: Grant | None) -> Grant | None:
            return replace(old, refresh_token=refresh_token) if old and old.refresh_token in ours else None

        def renewed(old: Grant | None) -> Grant | None:
            if old is None or old.refresh_token != refresh_token:
                return None
            return replace(old, claims=claims, id_token=tokens.id_token, obtained=self._clock())

        if await self._change(grant.key, rotated) is None:
            await self._overtaken(refresh_token, grant.key, provider)
            return
        if not tokens.id_token:
            await self._give_up(shared, refresh_token, "the provider renews no ID tokens")
            return
        try:
            claims = await provider.verify(tokens, previous=grant.claims)
        except InvalidIdToken as error:
            if error.claim == "kid":  # the issuer's own word, under a key that will be known by and by
                raise ProviderUnreachable("the key of a refreshed ID token is not known yet") from error
            log.error("a refreshed ID token was refused, the sessions of this grant end: %s", error)
            await self._store.delete(grant.key)
            shared.usable_until = 0.0
            shared.grant = replace(shared.grant, refresh_token=None)
            return
        changed = await self._change(grant.key, renewed)
        if changed is None:
            await self._overtaken(refresh_token, grant.key, provider)
            return
        self._share(*changed)
        log.info("renewed a grant until %d", claims.expires)

    async def _overtaken(self, refresh_token: str, key: str, provider: Provider) -> None:
        """During the renewal somebody signed in, whose tokens count, or the last session ended."""
        if not await self._adopt_stored(key):
            self._background(provider.revoke(refresh_token), f"revoke for {key[:14]}")

    async def _give_up(self, shared: SharedGrant, refresh_token: str, reason: str) -> None:
        """Final, unless somebody has stored another refresh token meanwhile."""
        key = shared.grant.key

        def ended(old: Grant | None) -> Grant | None:
            return replace(old, refresh_token=None) if old and old.refresh_token == refresh_token else None

        changed = await self._change(key, ended)
        if changed is None:
            await self._adopt_stored(key)
            return
        log.warning("no further renewal, the tokens run to their end: %s", reason)
        self._share(*changed)

    # Background work.

    def renew_those_due(self, in_use: Callable[[SharedGrant], bool]) -> None:
        """Once a second: begin to renew what is due and in use."""
        now = self._clock()
        for shared in list(self._shared.values()):
            if now >= shared.due and shared.can_renew and in_use(shared):
                self.begin_renewal(shared)

    def _background(self, work: Any, name: str) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        """Let renewals under way finish: their refresh tokens would be lost."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=FINISH)
