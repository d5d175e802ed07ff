"""
Who is signed in, from where, and with what open: the list behind ``/session`` and the admin listener.

Edge by its store. What is open is known to the process that holds it; each says so in the store, in a sealed record
that runs out by itself when the process dies. A list is for people: it is read when somebody looks, not kept.
"""

import json
import logging
import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

from oidcgate.errors import InvalidSeal
from oidcgate.net.downstream import Downstream
from oidcgate.net.tunnel import Tunnel
from oidcgate.oidc.idtoken import Claims
from oidcgate.session.seal import NONCE_SIZE, KeyRing
from oidcgate.session.session import Session
from oidcgate.session.store import Store
from oidcgate.web.grants import Grants
from oidcgate.web.logs import LONGEST_PATH
from oidcgate.web.sessions import Sessions

log = logging.getLogger("oidcgate.register")

STREAM_AFTER = 5.0  # seconds from which a reply under way counts as an open stream
PUBLISH_EVERY = 5.0  # seconds
RECORD_LIFE = 15.0  # seconds; longer than two rounds
MOST_LISTED = 1000  # sessions


@dataclass(frozen=True, slots=True)
class OpenStream:
    """A websocket or a reply that goes on. ``since`` in seconds since the epoch; no secret is in ``path``."""

    kind: str
    path: str
    since: float


@dataclass(frozen=True, slots=True)
class Listed:
    """A session with who it belongs to and what it has open."""

    session: Session
    claims: Claims
    streams: tuple[OpenStream, ...]


class Register:
    """
    Reads and publishes the list.

    Args:
        process: names this process in the records of what is open.
    """

    def __init__(
        self,
        store: Store,
        ring: KeyRing,
        sessions: Sessions,
        grants: Grants,
        *,
        process: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._ring = ring
        self._sessions = sessions
        self._grants = grants
        self._process = process
        self._clock = clock
        self._published: set[str] = set()
        self._next = 0.0

    # Telling.

    async def publish(self, connections: Iterable[Downstream]) -> None:
        """
        Say what is open here, every few seconds and only while there is something to say.

        Raises:
            StoreUnavailable: later again.
        """
        now = self._clock()
        if now < self._next:
            return
        self._next = now + PUBLISH_EVERY
        found: dict[str, list[OpenStream]] = defaultdict(list)
        for connection in connections:
            stream = self._described(connection, now)
            if stream is not None:
                found[connection.live.session.key].append(stream)
        for key, streams in found.items():
            await self._write(key, streams)
        for key in self._published - found.keys():
            await self._store.delete(self._key(key))
        self._published = set(found)

    def _described(self, connection: Downstream, now: float) -> OpenStream | None:
        """What is open on a connection, if it counts."""
        live, writer = connection.live, connection.writer_of_reply
        is_tunnel = isinstance(writer, Tunnel)
        if live is None or not live.handle or writer is None or (not is_tunnel and now - writer.began < STREAM_AFTER):
            return None
        path = live.site.preset.logged(writer.target)
        kind = "terminal" if path.endswith("…") else "websocket" if is_tunnel else "stream"
        return OpenStream(kind, path[:LONGEST_PATH], writer.began)

    def _key(self, session_key: str) -> str:
        return f"open:{session_key}:{self._process}"

    async def _write(self, session_key: str, streams: list[OpenStream]) -> None:
        key = self._key(session_key)
        plain = json.dumps([asdict(stream) for stream in streams]).encode()
        nonce = secrets.token_bytes(NONCE_SIZE)
        sealed = self._ring.seal(plain, purpose="open", context=key, nonce=nonce)
        await self._store.put(key, sealed, life=RECORD_LIFE)

    # Reading.

    async def of_grant(self, grant_key: str) -> list[Listed]:
        """
        One person's sessions, the newest first.

        Raises:
            StoreUnavailable: nobody can tell.
        """
        shared = await self._grants.load(grant_key)
        if shared is None:
            return []
        found = [await self._listed(key, shared.grant.claims) for key in shared.grant.session_keys]
        return sorted((one for one in found if one), key=lambda one: -one.session.started)

    async def everybody(self) -> list[Listed]:
        """
        Everybody's sessions, the newest first, at most a thousand.

        Raises:
            StoreUnavailable: nobody can tell.
        """
        found = []
        for key in (await self._store.keys("session:"))[:MOST_LISTED]:
            session = await self._sessions.read(key)
            shared = await self._grants.load(session.grant_key) if session is not None else None
            if shared is not None:
                found.append(await self._listed(key, shared.grant.claims))
        return sorted((one for one in found if one), key=lambda one: -one.session.started)

    async def _listed(self, key: str, claims: Claims) -> Listed | None:
        session = await self._sessions.read(key)
        if session is None:
            return None
        return Listed(session, claims, tuple(await self._streams(key)))

    async def _streams(self, session_key: str) -> list[OpenStream]:
        streams: list[OpenStream] = []
        for key in await self._store.keys(f"open:{session_key}:"):
            stored = await self._store.get(key)
            if stored is None:
                continue
            try:
                rows = json.loads(self._ring.unseal(stored.value, purpose="open", context=key))
            except InvalidSeal as error:
                log.warning("a record of open streams cannot be opened: %s", error)
                continue
            streams += [OpenStream(**row) for row in rows]
        return sorted(streams, key=lambda stream: stream.since)
