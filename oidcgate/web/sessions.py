"""
Sessions in this process: found by their handle, checked now and then, ended everywhere at once.

Edge by its store. The hot path is one look at a table and one comparison: a ``Live`` session may be used as it is until
``fresh_until``; only then are limits, store and tokens looked at again. An end is told to every process by a notice.
"""

import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace

from oidcgate.errors import InvalidHandle, InvalidSeal, ProviderUnreachable, StoreUnavailable
from oidcgate.oidc.idtoken import Claims
from oidcgate.oidc.tokens import TokenSet
from oidcgate.session.grant import Grant
from oidcgate.session.lifecycle import SEEN_WINDOW, Limits, touch_due
from oidcgate.session.seal import NONCE_SIZE, KeyRing
from oidcgate.session.session import Session, encode_handle, session_from_bytes, session_key, sid_key
from oidcgate.session.store import ABSENT, Store
from oidcgate.web.grants import Grants
from oidcgate.web.live import Live
from oidcgate.web.site import SiteRuntime

log = logging.getLogger("oidcgate.sessions")

ENDED = "ended"  # begins the notice that a session is over; its key and the reason follow
LONGEST_LIFE = "it reached its longest life"
OUTAGE_WINDOW = 60.0  # seconds for which a session seen before an outage of the store goes on
FORGET_AFTER = 900.0  # seconds unused until a session is only in the store
IN_USE = 300.0  # seconds since the last request for which tokens are renewed ahead of time

OnEnd = Callable[[Live, str], None]
OnOver = Callable[[Session, Grant | None, str], None]
Admits = Callable[[Live], bool]


class Sessions:
    """
    All sessions that this process knows.

    Attributes:
        on_over: told once, in one of all processes, of each session that ends: its record, its person's, and why.
    """

    on_over: OnOver | None = None

    def __init__(
        self,
        store: Store,
        ring: KeyRing,
        grants: Grants,
        limits: Limits,
        *,
        on_end: OnEnd,
        admits: Admits = lambda _live: True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._ring = ring
        self._grants = grants
        self._limits = limits
        self._on_end = on_end
        self._admits = admits
        self._clock = clock
        self._lives: dict[bytes, Live] = {}
        self.find = self._lives.get  # the hot path's only call
        self._unsaid: dict[str, tuple[str, str]] = {}  # sessions that ended while the store was away
        store.listen(self._told)

    def lives(self) -> Collection[Live]:
        """Those in use here."""
        return self._lives.values()

    def __len__(self) -> int:
        return len(self._lives)

    async def resume(self, handle: bytes, site: SiteRuntime, *, for_token: bool = True) -> Live | None:
        """
        The session of a handle on a site, checked; None when there is none (any more), or it belongs elsewhere.

        Args:
            for_token: whether a token is to be sent; a page that only knows or hands over who somebody is needs none.

        Raises:
            StoreUnavailable: nobody can tell.
            ProviderUnreachable: its token has run out and cannot be renewed right now.
        """
        live = await self._found(handle, site)
        if live is None:
            return None
        asked = self._clock()
        if asked - live.checked >= SEEN_WINDOW and not await self._still_there(live, asked):
            return None
        now = self._clock()  # a store that is away takes its time, in which a token may run out
        if self._is_over(live, now):
            await self.end(live, "it was not used for too long, or reached its longest life")
            return None
        live.seen = now
        has_token = not for_token or await self._ensure_token(live, now)
        if live.shared.is_spent(self._clock()):
            await self.end(live, "its tokens could not be renewed")
            return None
        if not has_token:  # it has one for another site
            return None
        if live.over:  # somebody ended it while we looked
            return None
        live.refresh(now)
        return live

    async def look(self, handle: bytes, site: SiteRuntime) -> Live | None:
        """
        As ``resume``, for somebody who asks about a session without using it: its idle time goes on, and no token is
        renewed. What is returned is not to be used for anything else.

        Raises:
            StoreUnavailable: nobody can tell.
        """
        live = await self._found(handle, site)
        now = self._clock()
        if live is None or live.fresh_until > now:
            return live
        if now - live.checked >= SEEN_WINDOW and not await self._still_there(live, now, is_use=False):
            return None
        ended = live.over or self._is_over(live, now) or live.shared.is_spent(now)
        return None if ended else live

    async def _found(self, handle: bytes, site: SiteRuntime) -> Live | None:
        live = self._lives.get(site.scope + handle)
        if live is not None and live.session.site != site.session_site:
            return None
        return live or await self._load(handle, site)

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
            raise shared.failure or ProviderUnreachable("the token ran out and was not renewed in time")
        return False

    async def _load(self, handle: bytes, site: SiteRuntime) -> Live | None:
        try:
            key = session_key(handle)
        except InvalidHandle:
            return None
        session, _ = await self._read(key)
        if session is None or key in self._unsaid or session.site != site.session_site:
            return None
        shared = await self._grants.load(session.grant_key, site.audience)
        if shared is None or not shared.grant.has_session(key):
            return None
        if (shared.grant.issuer, shared.grant.client_id) != site.client:  # the site has another provider by now
            return None
        live = self._lives.get(site.scope + handle)  # somebody else may have been faster
        if live is None:
            live = self._keep(Live(handle, session, shared, self._clock(), site))
            live.seen = session.seen
            if touch_due(stored_seen=session.seen, now=live.checked, idle=self._limits.idle):
                live.checked -= SEEN_WINDOW  # the use that it was loaded for is written, not only those that follow
        return live

    def _keep(self, live: Live) -> Live:
        self._lives[live.key] = live
        return live

    async def read(self, key: str) -> Session | None:
        """
        The record of a session.

        Raises:
            StoreUnavailable: nobody can tell.
        """
        return (await self._read(key))[0]

    async def _read(self, key: str) -> tuple[Session | None, int]:
        """The record of a session and its version."""
        stored = await self._store.get(key)
        if stored is None:
            return None, ABSENT
        try:
            plain = self._ring.unseal(stored.value, purpose="session", context=key)
            return session_from_bytes(key, plain), stored.version
        except InvalidSeal as error:
            log.warning("a session record cannot be opened: %s", error)
            return None, stored.version

    async def _still_there(self, live: Live, now: float, *, is_use: bool = True) -> bool:
        """Look at the store again; during an outage, what was seen not long ago goes on."""
        try:
            session, version = await self._read(live.session.key)
            if session is None:
                await self._gone(live, now)
                return False
            # What the grant has goes into live.shared.
            if await self._grants.load(session.grant_key, live.site.audience) is None:
                self._drop(live, "it was ended")
                return False
            seen = max(live.seen, session.seen)
            live.session = replace(session, seen=seen)
            if not is_use:
                return True
            if touch_due(stored_seen=session.seen, now=now, idle=self._limits.idle) and not self._is_over(live, now):
                # Only what was just read is touched: a session that somebody ends meanwhile must not come back.
                await self._write(live.session.used(now), expected=version)
                await self._touch_root(session, now)
            live.checked = now
        except StoreUnavailable:
            if now - live.checked > OUTAGE_WINDOW:
                raise
        return True

    async def _gone(self, live: Live, now: float) -> None:
        """A record that is gone: somebody ended the session, or its time is up, which nobody has told yet."""
        if now < live.session.ends - 1.0:  # stores count in seconds of their own
            self._drop(live, "it was ended")
            return
        self._drop(live, LONGEST_LIFE)
        mark = "over:" + live.session.key.partition(":")[2]
        if self.on_over is not None and await self._store.put(mark, b"1", life=SEEN_WINDOW * 12, expected=ABSENT):
            self.on_over(live.session, live.shared.grant, LONGEST_LIFE)

    async def _touch_root(self, session: Session, now: float) -> None:
        """Whoever uses one host of the gate is not idle on the one where logins end: the next host opens at once."""
        if not session.root:
            return
        root, version = await self._read(session.root)
        if root is not None and touch_due(stored_seen=root.seen, now=now, idle=self._limits.idle):
            await self._write(root.used(now), expected=version)

    def _is_over(self, live: Live, now: float) -> bool:
        return replace(live.session, seen=max(live.seen, live.session.seen)).is_over(now, self._limits.idle)

    async def _write(self, session: Session, *, expected: int | None = None) -> None:
        nonce = secrets.token_bytes(NONCE_SIZE)
        sealed = self._ring.seal(session.to_bytes(), purpose="session", context=session.key, nonce=nonce)
        life = max(1.0, session.ends - self._clock())
        await self._store.put(session.key, sealed, life=life, expected=expected)

    async def create(
        self,
        tokens: TokenSet,
        claims: Claims,
        *,
        site: SiteRuntime,
        address: str,
        agent: str,
        only: str = "",
    ) -> Live:
        """
        A new session for somebody who has just signed in; its handle is always new.

        Args:
            only: the audience that the login asked for alone; empty = all of the site's client.

        Raises:
            StoreUnavailable: it could not be kept.
            NeedsNarrowLogin: the tokens are for more than one cluster and cannot be narrowed.
        """
        now = self._clock()
        handle = encode_handle(secrets.token_bytes(32)).encode()
        key = session_key(handle)
        ends = now + self._limits.lifetime
        issuer, client_id = site.client
        shared, surplus = await self._grants.adopt_login(
            tokens,
            claims,
            issuer=issuer,
            client_id=client_id,
            session_key=key,
            ends=ends,
            audience=only or site.audience,
        )
        session = Session(
            key=key,
            grant_key=shared.grant.key,
            started=now,
            seen=now,
            ends=ends,
            site=site.session_site,
            csrf=secrets.token_hex(16),
            sid=claims.sid,
            id_token_hint=tokens.id_token if self._grants.may_hint(claims, site.client) else "",
            address=address,
            agent=agent[:200],
        )
        await self._write(session)
        if claims.sid is not None:  # the issuer may end the login by this name alone
            index = sid_key(issuer, client_id, claims.sid)
            await self._store.put(index, shared.grant.key.encode(), life=self._limits.lifetime)
        await self._end_surplus(surplus)
        shared = await self._grants.load(shared.grant.key, site.audience) or shared
        return self._begin(Live(handle, session, shared, now, site), now)

    async def hand_over(self, root_key: str, site: SiteRuntime, *, address: str, agent: str) -> Live | None:
        """
        A session on another host for the browser of a session; it ends when that one's time is up. None when the login
        has ended, or is not of the site's provider.

        Raises:
            StoreUnavailable: nobody can tell.
        """
        now = self._clock()
        root = await self.read(root_key)
        if root is None or root.is_over(now, self._limits.idle):
            return None
        handle = encode_handle(secrets.token_bytes(32)).encode()
        key = session_key(handle)
        joined = await self._grants.join(
            root.grant_key, site.audience, session_key=key, ends=root.ends, root=root.browser
        )
        if joined is None:
            return None
        shared, surplus = joined
        if (shared.grant.issuer, shared.grant.client_id) != site.client:
            await self._grants.leave_key(root.grant_key, key)
            return None
        session = replace(
            root,
            key=key,
            started=now,
            seen=now,
            site=site.session_site,
            csrf=secrets.token_hex(16),
            address=address,
            agent=agent[:200],
            root=root.browser,
        )
        await self._write(session)
        await self._end_surplus(surplus)
        return self._begin(Live(handle, session, shared, now, site), now)

    def _begin(self, live: Live, now: float) -> Live:
        live.refresh(now)
        return self._keep(live)

    async def _end_surplus(self, keys: Iterable[str]) -> None:
        for key in keys:
            await self.end_key(key, "the same person signed in from too many browsers")

    async def end(self, live: Live, reason: str) -> None:
        """
        End a session everywhere: its record, its share of the grant, its open streams and websockets.

        When the store does not answer, it has ended in this process, and for all others when the store is back.
        """
        self._drop(live, reason)
        self._drop_key(live.session.key, reason)
        try:
            await self._remove(live.session.key, live.session.grant_key, reason)
        except StoreUnavailable as error:
            # Whoever signs out has signed out: here at once, elsewhere as soon as the store can be told.
            log.warning("the end of a session waits for the store: %s", error)
            self._unsaid[live.session.key] = (live.session.grant_key, reason)

    async def end_browser(self, live: Live, reason: str) -> None:
        """
        End a session and all that the same browser has on other hosts of this gate.

        When the store does not answer, as ``end``: the others end as far as it can be told.
        """
        session = live.session
        if session.root:
            await self._end_or_say_later(session.root, session.grant_key, reason)  # from now on none is handed over
        else:
            await self.end(live, reason)
        others: list[str] = []
        with contextlib.suppress(StoreUnavailable):
            others = await self.keys_of_browser(session)
        if session.root:
            await self.end(live, reason)
        for key in others:
            await self._end_or_say_later(key, session.grant_key, reason)

    async def _end_or_say_later(self, key: str, grant_key: str, reason: str) -> None:
        self._drop_key(key, reason)
        try:
            await self.end_key(key, reason)
        except StoreUnavailable:
            self._unsaid[key] = (grant_key, reason)

    async def keys_of_browser(self, session: Session) -> list[str]:
        """
        The keys of the sessions of one browser, this one's included.

        Raises:
            StoreUnavailable: nobody can tell.
        """
        shared = await self._grants.load(session.grant_key)
        return [] if shared is None else list(shared.grant.keys_of_browser(session.browser))

    async def end_key(self, key: str, reason: str) -> bool:
        """
        End a session that may live in another process; whether there was one.

        Raises:
            StoreUnavailable: as ``end``.
        """
        session = await self.read(key)
        if session is None:
            return False
        self._drop_key(key, reason)
        await self._remove(key, session.grant_key, reason)
        return True

    async def _remove(self, key: str, grant: str, reason: str) -> None:
        session, whose = await self.read(key), await self._grants.peek(grant)
        if await self._store.delete(key) and session is not None and self.on_over is not None:
            self.on_over(session, whose, reason)
        await self._store.notify(f"{ENDED} {key} {reason}")
        await self._grants.leave_key(grant, key)

    async def keys_of(self, grant_key: str) -> list[str]:
        """
        The keys of a person's sessions.

        Raises:
            StoreUnavailable: nobody can tell.
        """
        shared = await self._grants.load(grant_key)
        return [] if shared is None else list(shared.grant.session_keys)

    async def keys_of_login(self, issuer: str, client_id: str, sid: str) -> list[str]:
        """
        The keys of the sessions of one login at the issuer: a browser may have one on each site, and some more.

        Raises:
            StoreUnavailable: nobody can tell.
        """
        stored = await self._store.get(sid_key(issuer, client_id, sid))
        keys = await self.keys_of(stored.value.decode("ascii")) if stored is not None else []
        read = [await self.read(key) for key in keys]
        return [session.key for session in read if session is not None and session.sid == sid]

    async def keys_by_name(self, name: str) -> list[str]:
        """
        The keys of sessions that a list calls so.

        Raises:
            StoreUnavailable: nobody can tell.
        """
        return await self._store.keys(f"session:{name}")

    def _told(self, message: str) -> None:
        """Another process ended a session, or its word may have been missed."""
        kind, _, rest = message.partition(" ")
        if kind == ENDED:
            key, _, reason = rest.partition(" ")
            self._drop_key(key, reason)
        elif not message:
            before = self._clock() - SEEN_WINDOW  # due to be looked at, yet seen not long ago: see _still_there
            for live in self._lives.values():
                live.fresh_until, live.checked = 0.0, min(live.checked, before)

    def _drop_key(self, key: str, reason: str) -> None:
        """A session is over on every site it serves."""
        for live in [live for live in self._lives.values() if live.session.key == key]:
            self._drop(live, reason)

    def _drop(self, live: Live, reason: str) -> None:
        self._lives.pop(live.key, None)
        if not live.over:
            live.over = reason
            live.fresh_until = 0.0
            self._on_end(live, reason)

    async def sweep(self, has_open: Callable[[Live], bool]) -> None:
        """Once a second: end what is over, renew what is due, forget what is not used."""
        await self._say_what_waits()
        now = self._clock()
        busy: set[int] = set()
        for live in list(self._lives.values()):
            is_open = has_open(live)
            if is_open or now - live.seen < IN_USE:
                busy.add(id(live.shared))
            await self._sweep_one(live, now, is_open=is_open)
        self._grants.renew_those_due(lambda shared: id(shared) in busy)

    async def _say_what_waits(self) -> None:
        for key, (grant_key, reason) in list(self._unsaid.items()):
            try:
                await self._remove(key, grant_key, reason)
            except StoreUnavailable:
                return
            del self._unsaid[key]

    async def _sweep_one(self, live: Live, now: float, *, is_open: bool) -> None:
        try:
            if is_open and now - live.checked >= SEEN_WINDOW and not await self._still_there(live, now):
                return
            if self._is_over(live, now):
                if await self._still_there(live, now) and self._is_over(live, now):
                    await self.end(live, "it was not used for too long, or reached its longest life")
            elif live.shared.is_spent(now):
                await self.end(live, "its tokens could not be renewed")
            elif is_open and now >= live.shared.usable_until and not live.shared.can_renew:
                self._on_end(live, "its tokens could not be renewed")
            elif is_open:
                self._judge_open(live)
            elif now - live.seen > FORGET_AFTER:
                self._lives.pop(live.key, None)
        except StoreUnavailable as error:
            log.warning("the store does not answer: %s", error)

    def _judge_open(self, live: Live) -> None:
        """A renewal may have brought other groups: what is open must still be allowed."""
        live.take_over()
        if live.admitted is None:
            live.admitted = self._admits(live)
        if not live.admitted:
            self._on_end(live, "your account may no longer use this site")
