"""
Renewal of tokens: ahead of time, once however many wait, and never twice with one refresh token.

Edge by its store and providers. Rules of this file:
- A new refresh token is stored before anything made with it is used: the old one is dead by then.
- A renewal belongs to no request: it goes on when the request that began it goes away.
- A passing failure changes nothing but when the next try is; a final one lets the tokens run to their end.
- Losing the lease means somebody else renews: wait for what they store.
- All audiences of a grant have one refresh token, so one is renewed after the other.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import replace

from oidcgate.errors import (
    AudienceRefused,
    InvalidIdToken,
    ProviderError,
    ProviderUnreachable,
    StoreUnavailable,
    TokenError,
)
from oidcgate.net.provider import Provider
from oidcgate.oidc.idtoken import Claims
from oidcgate.session.grant import Grant, Token
from oidcgate.session.lifecycle import backoff
from oidcgate.web.grantrecords import GrantRecords
from oidcgate.web.lease import Lease
from oidcgate.web.sharedgrant import SharedGrant, Trouble, Unstored

log = logging.getLogger("oidcgate.grants")

PAUSE = "pause"  # begins the key that keeps other processes from trying what has just failed
LEASE_POLL = 0.1  # seconds between looks at what the holder stored


class Paused(ProviderUnreachable):
    """Another process has just failed to renew the grant."""


class Renewal(GrantRecords):
    """
    Grants whose tokens are renewed.

    Attributes:
        on_final: told of each grant that gives no further tokens, and why.
        on_refresh: told how each call for new tokens ended: ok, refused or unavailable.
    """

    on_final: Callable[[Grant, str], None] | None = None
    on_refresh: Callable[[str], None] = staticmethod(lambda _outcome: None)

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
        before, said = shared.token, shared.failure
        try:
            async with shared.renewals.lock:
                await self._renew_with_lease(shared, before)
        except (ProviderError, StoreUnavailable) as error:
            self._note(shared, error)
            if type(shared.failure) is not type(said):
                log.warning("renewal failed, the session goes on with the token it has: %s", error)
        else:
            shared.renewals.trouble.clear()
            shared.refusals.clear()

    def _note(self, shared: SharedGrant, error: ProviderError | StoreUnavailable) -> None:
        trouble = shared.renewals.trouble
        if isinstance(error, AudienceRefused):
            trouble.clear()  # the refresh itself went well
            shared.refusals.failure = error
            return
        shared.refusals.failure = None  # this one is newer
        # Whatever the provider said instead of tokens, for those who wait it is an outage.
        is_plain = isinstance(error, ProviderUnreachable | StoreUnavailable)
        trouble.failure = error if is_plain else ProviderUnreachable(str(error))
        if isinstance(error, Paused | StoreUnavailable):  # nothing was asked of the provider: look again soon
            trouble.next_try = self._clock() + backoff(1, self._jitter())

    def _back_off(self, trouble: Trouble) -> float:
        """Count a failure; the seconds until the next try."""
        trouble.failures += 1
        pause = backoff(trouble.failures, self._jitter())
        trouble.next_try = self._clock() + pause
        return pause

    async def _renew_with_lease(self, shared: SharedGrant, before: Token | None) -> None:
        key = shared.grant.key
        lease = Lease(self._store, key)
        while not await lease.take():
            if await self._is_renewed_elsewhere(shared, before, lease):
                return
        async with lease:
            if await self._store.get(f"{PAUSE}:{key}") is not None:
                raise Paused("another process has just failed to renew this grant")
            try:
                await self._renew_alone(shared, before)
            except AudienceRefused:
                self._back_off(shared.refusals)
                raise
            except ProviderError:
                # Said while the lease is held: who waits for it would try at once what has just failed.
                await self._let_pause(key, self._back_off(shared.renewals.trouble))
                raise

    async def _let_pause(self, key: str, seconds: float) -> None:
        """A failure counts for every process: else each would try in turn."""
        with contextlib.suppress(StoreUnavailable):
            await self._store.put(f"{PAUSE}:{key}", b"1", life=seconds)

    async def _is_renewed_elsewhere(self, shared: SharedGrant, before: Token | None, lease: Lease) -> bool:
        """Somebody else holds the lease, for whichever audience: adopt what they store until the lease is gone."""
        key = shared.grant.key
        while await lease.is_taken():
            await asyncio.sleep(LEASE_POLL)
            if await self._adopt_stored(key) and shared.differs_from(before):
                return True
        await self._adopt_stored(key)
        return shared.differs_from(before) or not shared.can_renew

    async def _renew_alone(self, shared: SharedGrant, before: Token | None) -> None:
        if not await self._adopt_stored(shared.grant.key):
            return  # signed out meanwhile
        provider = self._providers.for_grant(shared.grant.issuer, shared.grant.client_id)
        if provider is None:
            await self._give_up(shared, shared.grant.refresh_token, "its provider is no longer configured")
            return
        await self._store_leftover(shared, provider)
        grant = shared.grant
        if shared.differs_from(before) or not shared.can_renew or grant.refresh_token is None:
            return  # somebody was faster, or the grant is at its end
        scopes = self._scopes(grant.issuer, grant.client_id, shared.audience)
        try:
            tokens = await provider.refresh_raw(grant.refresh_token, scopes)
        except ProviderError as error:
            is_final = isinstance(error, TokenError) and error.final
            self.on_refresh("refused" if is_final else "unavailable")
            if not is_final:
                raise
            await self._give_up(shared, grant.refresh_token, str(error))
            return
        self.on_refresh("ok")
        shared.renewals.unstored = Unstored(grant.refresh_token, tokens, shared.audience)
        await self._store_tokens(shared, shared.renewals.unstored, provider)

    async def _store_leftover(self, shared: SharedGrant, provider: Provider) -> None:
        """What an earlier renewal could not store: its refresh token is the only one that still lives."""
        left = shared.renewals.unstored
        if left is None:
            return
        if left.spent != shared.grant.refresh_token:  # a login has brought another
            shared.renewals.unstored = None
            return
        try:
            await self._store_tokens(shared, left, provider)
        except AudienceRefused as error:
            if left.audience == shared.audience:
                raise
            log.warning("what was left to store was refused: %s", error)
            await self._adopt_stored(shared.grant.key)  # its refresh token is good all the same

    async def _store_tokens(self, shared: SharedGrant, reply: Unstored, provider: Provider) -> None:
        """First of all the refresh token: the old one is dead from now on."""
        grant, tokens = shared.grant, reply.tokens
        refresh_token = tokens.refresh_token or reply.spent

        def rotated(old: Grant | None) -> Grant | None:
            is_ours = old is not None and old.refresh_token in (reply.spent, refresh_token)
            return replace(old, refresh_token=refresh_token) if old and is_ours else None

        def renewed(old: Grant | None) -> Grant | None:
            if old is None or old.refresh_token != refresh_token:
                return None
            return old.with_token(reply.audience, tokens.id_token, claims, now=self._clock())

        changed = await self._change(grant.key, rotated)
        shared.renewals.unstored = None
        if changed is None:
            await self._overtaken(refresh_token, grant.key, provider)
            return
        if not tokens.id_token:
            await self._give_up(shared, refresh_token, "the provider renews no ID tokens")
            return
        try:
            claims = await self._verified(reply, grant, provider)
        except InvalidIdToken as error:
            log.error("a refreshed ID token was refused, the sessions of this grant end: %s", error)
            if await self._store.delete(grant.key) and self.on_final is not None:
                self.on_final(grant, "a refreshed ID token was refused")
            for member in shared.renewals.members:
                member.end(replace(grant, refresh_token=None, tokens={}))
            return
        changed = await self._change(grant.key, renewed)
        if changed is None:
            await self._overtaken(refresh_token, grant.key, provider)
            return
        self._adopt(*changed)
        log.info("renewed a grant until %d", claims.expires)

    async def _verified(self, reply: Unstored, grant: Grant, provider: Provider) -> Claims:
        """
        The claims of a refreshed ID token.

        Raises:
            InvalidIdToken: it breaks a rule so that the grant is not to be trusted any more.
            AudienceRefused: only its audience is another than was asked for.
            ProviderUnreachable: nobody can tell yet.
        """
        exactly = self._exactly(grant.issuer, grant.client_id, reply.audience)
        try:
            return await provider.verify(reply.tokens, previous=grant.claims, exactly=exactly)
        except InvalidIdToken as error:
            if error.claim == "kid":  # the issuer's own word, under a key that will be known by and by
                raise ProviderUnreachable("the key of a refreshed ID token is not known yet") from error
            if error.claim == "aud" and exactly is not None:
                raise AudienceRefused(reply.audience, grant.client_id, str(error)) from error
            raise

    async def _overtaken(self, refresh_token: str, key: str, provider: Provider) -> None:
        """During the renewal somebody signed in, whose tokens count, or the last session ended."""
        if not await self._adopt_stored(key):
            self._background(provider.revoke(refresh_token), f"revoke for {key[:14]}")

    async def _give_up(self, shared: SharedGrant, refresh_token: str | None, reason: str) -> None:
        """Final, unless somebody has stored another refresh token meanwhile."""
        key = shared.grant.key

        def ended(old: Grant | None) -> Grant | None:
            return replace(old, refresh_token=None) if old and old.refresh_token == refresh_token else None

        changed = await self._change(key, ended)
        if changed is None:
            await self._adopt_stored(key)
            return
        log.warning("no further renewal, the tokens run to their end: %s", reason)
        if self.on_final is not None:
            self.on_final(changed[0], reason)
        self._adopt(*changed)

    def renew_those_due(self, in_use: Callable[[SharedGrant], bool]) -> None:
        """Once a second: begin to renew what is due and in use."""
        now = self._clock()
        for shared in list(self._shared.values()):
            if now >= shared.due and shared.can_renew and in_use(shared):
                self.begin_renewal(shared)
