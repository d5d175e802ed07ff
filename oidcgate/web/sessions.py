"""
Sessions in this process: found by their handle, checked now and then, ended everywhere at once.

Edge by its store. The hot path is one look at a table and one comparison: a ``Live`` session may be used as it is until
``fresh_until``; only then are limits, store and tokens looked at again.
"""

import json
import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import replace

from oidcgate.errors import InvalidHandle, InvalidSeal, ProviderError, StoreUnavailable
from oidcgate.oidc.idtoken import Claims
from oidcgate.oidc.tokens import TokenSet
from oidcgate.session.lifecycle import SEEN_WINDOW, Limits, touch_due
from oidcgate.session.seal import NONCE_SIZE, KeyRing
from oidcgate.session.session import Session, encode_handle, session_from_bytes, session_key
from oidcgate.session.store import Store
from oidcgate.web.grants import Grants, SharedGrant

log = logging.getLogger("oidcgate.sessions")

OUTAGE_WINDOW = 60.0  # seconds for which a session seen before an outage of the store goes on
FORGET_AFTER = 900.0  # seconds unused until a session is only in the store
IN_USE = 300.0  # seconds since the last request for which tokens are renewed ahead of time

OnEnd = Callable[["Live", str], None]


class Live:
    """
    A session in use in this process.

    Attributes:
        bearer: the Authorization line of its token.
        fresh_until: until when it may be used without another look (seconds since the epoch).
        seen: when a request or a websocket's byte last came.
        over: why it ended; empty while it goes on.
        user: how the log names the person, as a JSON string.
        admitted: whether the person may use the site, as last decided; None = not yet for this token.
    """

    __slots__ = (
        "__weakref__",
        "_revision",
        "admitted",
        "bearer",
        "checked",
        "fresh_until",
        "handle",
        "over",
        "seen",
        "session",
        "shared",
        "user",
    )

    def __init__(self, handle: bytes, session: Session, shared: SharedGrant, now: float) -> None:
        self.handle = handle
        self.session = session
        self.shared = shared
        self.seen = now
        self.checked = now
        self.over = ""
        self.admitted: bool | None = None
        self.bearer = shared.bearer
        self.fresh_until = 0.0
        self._revision = -1
        shared.users.add(self)
        self.user = json.dumps(shared.grant.claims.email or shared.grant.claims.subject)

    def __repr__(self) -> str:
        return f"<Live {self.session.key[:16]}{' over: ' + self.over if self.over else ''}>"

    @property
    def claims(self) -> Claims:
        """Who it is."""
        return self.shared.grant.claims

    def use(self) -> None:
        """A websocket's byte came from the browser."""
        self.seen = time.time()

    def take_over(self) -> None:
        """Take over what the grant has: another token, and perhaps other groups to judge."""
        if self.shared.revision != self._revision:
            self._revision = self.shared.revision
            self.bearer = self.shared.bearer
            self.admitted = None

    def refresh(self, now: float) -> None:
        """Take over what the grant has, and say until when that holds."""
        self.take_over()
        shared = self.shared
        until = min(now + SEEN_WINDOW, shared.usable_until, self.session.ends)
        if shared.can_renew:
            until = min(until, shared.due if shared.due > now else now + 1.0)
        self.fresh_until = until


class Sessions:
    """All sessions that this process knows."""

    def __init__(
        self,
        store: Store,
        ring: KeyRing,
        grants: Grants,
        limits: Limits,
        *,
        on_end: OnEnd,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._ring = ring
        self._grants = grants
        self._limits = limits
        self._on_end = on_end
        self._clock = clock
        self._lives: dict[bytes, Live] = {}
        self.find = self._lives.get  # the hot path's only call

    def __len__(self) -> int:
        return len(self._lives)

    async def resume(self, handle: bytes) -> Live | None:
        """
        The session of a handle, checked; None when there is none (any more).

        Raises:
            StoreUnavailable: nobody can tell.
            ProviderError: its token has run out and cannot be renewed right now.
        """
        live = self._lives.get(handle) or await self._load(handle)
        if live is None:
            return None
        now = self._clock()
        if now - live.checked >= SEEN_WINDOW and not await self._still_there(live, now):
            return None
        if self._is_over(live, now):
            await self.end(live, "it was not used for too long, or reached its longest life")
            return None
        live.seen = now
        if not await self._ensure_token(live, now):
            await self.end(live, "its tokens could not be renewed")
            return None
        live.refresh(now)
        return live

    async def _ensure_token(self, live: Live, now: float) -> bool:
        shared = live.shared
        if now < shared.due and now < shared.usable_until:
            return True
        if now < shared.usable_until:
            self._grants.begin_renewal(shared)
            return True
        await self._grants.wait_for_renewal(shared)
        if self._clock() < shared.usable_until:
            return True
        if shared.can_renew:
            raise shared.failure or ProviderError("the token ran out and was not renewed in time")
        return False

    async def _load(self, handle: bytes) -> Live | None:
        try:
            key = session_key(handle)
        except InvalidHandle:
            return None
        session = await self._read(key)
        if session is None:
            return None
        shared = await self._grants.load(session.grant_key)
        if shared is None or not any(k == key for k, _ in shared.grant.sessions):
            return None
        live = self._lives.get(handle)  # somebody else may have been faster
        if live is None:
            live = self._lives[handle] = Live(handle, session, shared, self._clock())
            live.seen = session.seen
        return live

    async def _read(self, key: str) -> Session | None:
        stored = await self._store.get(key)
        if stored is None:
            return None
        try:
            return session_from_bytes(key, self._ring.unseal(stored.value, purpose="session", context=key))
        except InvalidSeal as error:
            log.warning("a session record cannot be opened: %s", error)
            return None

    async def _still_there(self, live: Live, now: float) -> bool:
        """Look at the store again; during an outage, what was seen not long ago goes on."""
        try:
            session = await self._read(live.session.key)
            if session is None:
                self._drop(live, "it was ended")
                return False
            shared = await self._grants.load(session.grant_key)
            if shared is None:
                self._drop(live, "it was ended")
                return False
            if shared is not live.shared:
                live.shared = shared
                shared.users.add(live)
            seen = max(live.seen, session.seen)
            live.session = replace(session, seen=seen)
            if touch_due(stored_seen=session.seen, now=now, idle=self._limits.idle) and not self._is_over(live, now):
                await self._write(live.session.used(now))
            live.checked = now
        except StoreUnavailable:
            if now - live.checked > OUTAGE_WINDOW:
                raise
        return True

    def _is_over(self, live: Live, now: float) -> bool:
        return replace(live.session, seen=max(live.seen, live.session.seen)).is_over(now, self._limits.idle)

    async def _write(self, session: Session) -> None:
        nonce = secrets.token_bytes(NONCE_SIZE)
        sealed = self._ring.seal(session.to_bytes(), purpose="session", context=session.key, nonce=nonce)
        await self._store.put(session.key, sealed, life=max(1.0, session.ends - self._clock()))

    async def create(
        self,
        tokens: TokenSet,
        claims: Claims,
        *,
        issuer: str,
        client_id: str,
        site: str,
        address: str,
        agent: str,
    ) -> Live:
        """
        A new session for somebody who has just signed in; its handle is always new.

        Raises:
            StoreUnavailable: it could not be kept.
        """
        now = self._clock()
        handle = encode_handle(secrets.token_bytes(32)).encode()
        key = session_key(handle)
        ends = now + self._limits.lifetime
        shared, surplus = await self._grants.adopt_login(
            tokens, claims, issuer=issuer, client_id=client_id, session_key=key, ends=ends
        )
        session = Session(
            key=key,
            grant_key=shared.grant.key,
            started=now,
            seen=now,
            ends=ends,
            site=site,
            csrf=secrets.token_hex(16),
            sid=claims.sid,
            id_token_hint=tokens.id_token,
            address=address,
            agent=agent[:200],
        )
        await self._write(session)
        for other in surplus:
            await self._end_by_key(other, shared)
        live = self._lives[handle] = Live(handle, session, shared, now)
        live.refresh(now)
        return live

    async def _end_by_key(self, key: str, shared: SharedGrant) -> None:
        await self._store.delete(key)
        await self._grants.leave(shared, key)
        for live in [live for live in self._lives.values() if live.session.key == key]:
            self._drop(live, "the same person signed in from too many browsers")

    async def end(self, live: Live, reason: str) -> None:
        """
        End a session: its record, its share of the grant, its open streams and websockets.

        Raises:
            StoreUnavailable: the record could not be removed; here it has ended all the same.
        """
        self._drop(live, reason)
        await self._store.delete(live.session.key)
        await self._grants.leave(live.shared, live.session.key)

    def _drop(self, live: Live, reason: str) -> None:
        self._lives.pop(live.handle, None)
        if not live.over:
            live.over = reason
            live.fresh_until = 0.0
            self._on_end(live, reason)

    async def sweep(self, has_open: Callable[[Live], bool]) -> None:
        """Once a second: end what is over, renew what is due, forget what is not used."""
        now = self._clock()
        busy: set[int] = set()
        for live in list(self._lives.values()):
            is_open = has_open(live)
            if is_open or now - live.seen < IN_USE:
                busy.add(id(live.shared))
            await self._sweep_one(live, now, is_open=is_open)
        self._grants.renew_those_due(lambda shared: id(shared) in busy)

    async def _sweep_one(self, live: Live, now: float, *, is_open: bool) -> None:
        try:
            if is_open and now - live.checked >= SEEN_WINDOW and not await self._still_there(live, now):
                return
            if self._is_over(live, now):
                if await self._still_there(live, now) and self._is_over(live, now):
                    await self.end(live, "it was not used for too long, or reached its longest life")
            elif now >= live.shared.usable_until and not live.shared.can_renew:
                await self.end(live, "its tokens could not be renewed")
            elif is_open:
                live.take_over()
            elif now - live.seen > FORGET_AFTER:
                self._lives.pop(live.handle, None)
        except StoreUnavailable as error:
            log.warning("the store does not answer: %s", error)
