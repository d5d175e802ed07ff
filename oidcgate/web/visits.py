"""
When a person last used which site: what the landing page shows.

Edge by its store and clock. Noted in memory with each request that goes the slow way, written once a minute, kept for
a month; a list for people, so a write that is lost costs nothing.
"""

import json
import logging
import secrets
import time
from collections.abc import Callable, Mapping

from oidcgate.errors import InvalidSeal
from oidcgate.session.seal import NONCE_SIZE, KeyRing
from oidcgate.session.store import ABSENT, Store

log = logging.getLogger("oidcgate.visits")

WRITE_EVERY = 60.0  # seconds
KEPT = 30 * 86400.0  # seconds
MOST_SITES = 64  # of one person
MOST_PEOPLE = 4096  # noted between two writes
TRIES = 3


class Visits:
    """Remembers, by a grant's key and a site's origin, in seconds since the epoch."""

    def __init__(self, store: Store, ring: KeyRing, *, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._ring = ring
        self._clock = clock
        self._noted: dict[str, dict[str, float]] = {}
        self._next = 0.0

    def note(self, grant_key: str, origin: str) -> None:
        """Somebody uses a site now."""
        if grant_key not in self._noted and len(self._noted) >= MOST_PEOPLE:
            return
        noted = self._noted.setdefault(grant_key, {})
        if origin in noted or len(noted) < MOST_SITES:
            noted[origin] = self._clock()

    async def of(self, grant_key: str) -> Mapping[str, float]:
        """
        One person's visits, by origin.

        Raises:
            StoreUnavailable: nobody can tell.
        """
        return {**(await self._read(grant_key))[0], **self._noted.get(grant_key, {})}

    async def publish(self) -> None:
        """
        Write what was noted, once a minute.

        Raises:
            StoreUnavailable: later again.
        """
        now = self._clock()
        if now < self._next or not self._noted:
            return
        self._next = now + WRITE_EVERY
        for grant_key in list(self._noted):
            await self._write(grant_key)

    async def _write(self, grant_key: str) -> None:
        key = visits_key(grant_key)
        for _ in range(TRIES):
            known, version = await self._read(grant_key)
            merged = {**known, **self._noted.get(grant_key, {})}
            newest = sorted(merged.items(), key=lambda item: -item[1])[:MOST_SITES]
            sealed = self._ring.seal(
                json.dumps(dict(newest)).encode(),
                purpose="visits",
                context=key,
                nonce=secrets.token_bytes(NONCE_SIZE),
            )
            if await self._store.put(key, sealed, life=KEPT, expected=version) is not None:
                break
        self._noted.pop(grant_key, None)

    async def _read(self, grant_key: str) -> tuple[dict[str, float], int | None]:
        """What is stored, and its version; a record that cannot be opened is replaced."""
        key = visits_key(grant_key)
        stored = await self._store.get(key)
        if stored is None:
            return {}, ABSENT
        try:
            found: dict[str, float] = json.loads(self._ring.unseal(stored.value, purpose="visits", context=key))
        except InvalidSeal as error:
            log.warning("a record of visits cannot be opened: %s", error)
            return {}, stored.version
        return found, stored.version


def visits_key(grant_key: str) -> str:
    """Where a person's visits are."""
    return "visits:" + grant_key.partition(":")[2]
