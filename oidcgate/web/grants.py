"""
Token sets in this process: kept with the store's, renewed ahead of time, once however many wait.

Edge by its stores and providers. Rules of this file:
- A new refresh token is stored before anything made with it is used: the old one is dead by then.
- A renewal belongs to no request: it goes on when the request that began it goes away.
- A passing failure changes nothing but when the next try is; a final one lets the tokens run to their end.
- Losing the lease means somebody else renews: wait for what they store.
- All audiences of a grant have one refresh token, so one is renewed after the other. No token is ever sent that is for
  more than its own audience.
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
    AudienceRefused,
    InvalidIdToken,
    InvalidSeal,
    NeedsNarrowLogin,
    ProviderError,
    ProviderUnreachable,
    StoreUnavailable,
    TokenError,
)
from oidcgate.net.provider import Provider
from oidcgate.oidc.idtoken import Claims
from oidcgate.oidc.tokens import TokenSet
from oidcgate.session.grant import Grant, Token, grant_from_bytes, grant_key
from oidcgate.session.lifecycle import Limits, backoff, renewal_due
from oidcgate.session.seal import NONCE_SIZE, KeyRing
from oidcgate.session.store import ABSENT, Store
from oidcgate.web.lease import Lease
from oidcgate.web.providers import Providers
from oidcgate.web.sharedgrant import Renewals, SharedGrant, Trouble, Unstored

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
        self._shared: WeakValueDictionary[tuple[str, str], SharedGrant] = WeakValueDictionary()
        self._renewals: WeakValueDictionary[str, Renewals] = WeakValueDictionary()
        self._tasks: set[asyncio.Task[Any]] = set()

    # Loading and storing.

    async def load(self, key: str, audience: str = "") -> SharedGrant | None:
        """
        The grant as the store has it, shared with whoever else uses it here for that audience.

        Raises:
            StoreUnavailable: the store does not answer.
        """
        read = await self._read(key)
        return None if read is None else self._share(*read, audience)

    async def adopt_login(
        self,
        tokens: TokenSet,
        claims: Claims,
        *,
        issuer: str,
        client_id: str,
        session_key: str,
        ends: float,
        audience: str = "",
        root: str | None = None,
    ) -> tuple[SharedGrant, tuple[str, ...]]:
        """
        A login's token set replaces the person's last one; the issuer has ended that one anyway.

        Args:
            audience: whom the site's tokens are for; empty or ``client_id`` = the client itself.
            root: the session that this one was handed over from, if it was.

        Returns:
            The grant for that audience, and the keys of sessions of browsers that are too many for this person.

        Raises:
            NeedsNarrowLogin: the token is for more than that audience and cannot be narrowed; nothing was changed.
            AudienceRefused: the token is not for that audience; nothing was changed.
        """
        key = grant_key(issuer, client_id, claims.subject)
        now, audience = self._clock(), "" if audience == client_id else audience
        sendable = self._sendable(tokens, claims, issuer=issuer, client_id=client_id, audience=audience)
        if audience not in sendable:
            _check_renewable(tokens, claims, client_id, audience)

        def change(old: Grant | None) -> Grant:
            grant = old or Grant(key=key, issuer=issuer, client_id=client_id, claims=claims)
            new = grant.with_login(claims, refresh_token=tokens.refresh_token, tokens=sendable, now=now)
            return new.with_session(session_key, ends, now=now, root=root)

        changed = await self._change(key, change)
        assert changed is not None
        shared = self._share(*changed, audience)
        shared.renewals.trouble.clear()
        for member in shared.renewals.members:
            member.refusals.clear()
        return shared, shared.grant.over_limit(self._limits.max_per_user)

    async def adopt_tokens(
        self, tokens: TokenSet, claims: Claims, *, issuer: str, client_id: str, audience: str = ""
    ) -> None:
        """A login that led to no session here: it has ended the refresh token of the person's other sessions anyway."""
        sendable = self._sendable(tokens, claims, issuer=issuer, client_id=client_id, audience=audience)
        if not sendable and tokens.refresh_token is None:
            return

        def change(old: Grant | None) -> Grant | None:
            return old and old.with_login(
                claims, refresh_token=tokens.refresh_token, tokens=sendable, now=self._clock()
            )

        changed = await self._change(grant_key(issuer, client_id, claims.subject), change)
        if changed is not None:
            self._adopt(*changed)

    async def join(
        self, key: str, audience: str, *, session_key: str, ends: float, root: str
    ) -> tuple[SharedGrant, tuple[str, ...]] | None:
        """
        One more session of a grant, handed over from another host's.

        Args:
            root: the session of the login host; it must still be there.

        Returns:
            As ``adopt_login``; None when the grant or the root is gone, or has no way to a token of that audience.

        Raises:
            StoreUnavailable: nobody can tell.
        """
        now = self._clock()

        def change(old: Grant | None) -> Grant | None:
            if old is None or not old.has_session(root):
                return None
            token = old.tokens.get(audience)
            if not old.allows(audience) and (token is None or token.claims.expires <= now):
                return None
            return old.with_session(session_key, ends, now=now, root=root)

        changed = await self._change(key, change)
        if changed is None:
            return None
        return self._share(*changed, audience), changed[0].over_limit(self._limits.max_per_user)

    def _sendable(
        self, tokens: TokenSet, claims: Claims, *, issuer: str, client_id: str, audience: str
    ) -> dict[str, Token]:
        """A login's token by its audience if it is for that one alone; else nothing: it would open all clusters."""
        exactly = self._exactly(issuer, client_id, audience)
        if exactly is not None and exactly != frozenset(claims.audience):
            return {}
        return {audience: Token(tokens.id_token, claims, self._clock())}

    def _scopes(self, issuer: str, client_id: str, audience: str) -> tuple[str, ...] | None:
        """What to ask a refresh for; None where there is nothing to narrow."""
        provider_id = self._providers.id_for_grant(issuer, client_id)
        return None if provider_id is None else self._providers.narrowed_scopes(provider_id, audience)

    def _exactly(self, issuer: str, client_id: str, audience: str) -> frozenset[str] | None:
        """The whole ``aud`` of a token for that audience; None where there is nothing to narrow."""
        if self._scopes(issuer, client_id, audience) is None:
            return None
        return frozenset({client_id, audience or client_id})

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
            if grant.ends > self._clock():
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

    async def _adopt_stored(self, key: str) -> bool:
        read = await self._read(key)
        if read is None:
            return False
        self._adopt(*read)
        return True

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
        except TokenError as error:
            if not error.final:
                raise
            await self._give_up(shared, grant.refresh_token, str(error))
            return
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
            await self._store.delete(grant.key)
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
        self._adopt(*changed)

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


def _check_renewable(tokens: TokenSet, claims: Claims, client_id: str, audience: str) -> None:
    """
    A login's own token may not be sent: see that a refresh can bring one that may.

    Raises:
        AudienceRefused, NeedsNarrowLogin: it cannot.
    """
    if audience and audience not in claims.audience:
        raise AudienceRefused(audience, client_id, f"the login's token is for {', '.join(claims.audience)[:200]}")
    if tokens.refresh_token is None:
        raise NeedsNarrowLogin(audience)
