"""
Login attempts in the browser's cookies: sealed, found again, bounded.

Edge by its clock and random numbers only. Nothing here reaches a store but the mark that an attempt was used.
"""

import base64
import binascii
import hmac
import json
import secrets
import time
from collections import Counter
from collections.abc import Callable

from aiohttp import web

from oidcgate.errors import InvalidSeal
from oidcgate.proxy.forwarded import neighbourhood
from oidcgate.session.attempt import (
    LIFE,
    LOOP_WINDOW,
    MOST_ATTEMPTS,
    MOST_COOKIE_BYTES,
    Attempt,
    attempt_from_bytes,
    finish,
    label,
    loops,
    used_key,
)
from oidcgate.session.cookies import expire_cookie, find_cookie, find_labelled, set_cookie
from oidcgate.session.seal import NONCE_SIZE, KeyRing
from oidcgate.session.store import ABSENT, Store
from oidcgate.session.ticket import bound_to
from oidcgate.web.site import SiteRuntime

MOST_EXPIRED = 40  # cookies expired by one reply
MOST_PER_ADDRESS = 240  # logins begun from one address in a minute


class Attempts:
    """Reads and writes the login cookies of a site's browsers."""

    def __init__(self, store: Store, ring: KeyRing, *, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._ring = ring
        self._clock = clock
        self._minute = 0
        self._begun: Counter[str] = Counter()

    def is_too_many(self, address: str) -> bool:
        """Whether an address begins more logins than people do."""
        minute = int(self._clock() // 60)
        if minute != self._minute:
            self._minute = minute
            self._begun.clear()
        place = neighbourhood(address)
        self._begun[place] += 1
        return self._begun[place] > MOST_PER_ADDRESS

    def begin(
        self,
        site: SiteRuntime,
        cookies: bytes,
        *,
        target: str,
        response: web.Response,
        fragment: str = "",
        wish: str = "",
        only: str = "",
    ) -> Attempt:
        """A new attempt; its cookie is added to the response, and those beyond the bounds are expired."""
        attempt = Attempt(
            state=secrets.token_urlsafe(32),
            nonce=secrets.token_urlsafe(32),
            verifier=secrets.token_urlsafe(48),
            provider=site.provider_id,
            target=target,
            fragment=fragment,
            began=self._clock(),
            wish=wish,
            only=only,
        )
        for name in self._surplus(site, cookies):
            response.headers.add("Set-Cookie", expire_cookie(name, secure=site.secure))
        name = site.names.login + label(attempt.state).encode()
        value = self._sealed(attempt.to_bytes(), "login", f"{site.origin} {name.decode()}")
        response.headers.add("Set-Cookie", set_cookie(name, value, secure=site.secure, max_age=int(LIFE)))
        return attempt

    def _surplus(self, site: SiteRuntime, cookies: bytes) -> list[bytes]:
        """Cookies of attempts that are late or one too many, oldest first."""
        now = self._clock()
        known: list[tuple[float, bytes, int]] = []
        dead: list[bytes] = []
        for found, value in find_labelled(cookies, site.names.login).items():
            name = site.names.login + found
            attempt = self._opened(name, value, site)
            if attempt is None or attempt.is_late(now):
                dead.append(name)
            else:
                known.append((attempt.began, name, len(name) + len(value)))
        known.sort(reverse=True)
        total = 0
        for index, (_, name, size) in enumerate(known):
            total += size
            if index >= MOST_ATTEMPTS - 1 or total > MOST_COOKIE_BYTES:
                dead.append(name)
        return dead[:MOST_EXPIRED]

    def find(self, site: SiteRuntime, cookies: bytes, state: str) -> Attempt | None:
        """The attempt that a callback's state belongs to, when this browser began it."""
        name = label(state).encode()
        value = find_labelled(cookies, site.names.login).get(name)
        attempt = None if value is None else self._opened(site.names.login + name, value, site)
        if attempt is None or not hmac.compare_digest(attempt.state.encode(), state.encode("utf-8", "replace")):
            return None
        return attempt

    def find_bound(self, site: SiteRuntime, cookies: bytes, bind: str) -> Attempt | None:
        """The attempt that a ticket is bound to, when this browser began it."""
        for found, value in find_labelled(cookies, site.names.login).items():
            if bind.encode().startswith(found):
                attempt = self._opened(site.names.login + found, value, site)
                if attempt is not None and hmac.compare_digest(bound_to(attempt.state), bind):
                    return attempt
        return None

    def has_any(self, site: SiteRuntime, cookies: bytes) -> bool:
        """Whether the browser keeps any cookie of ours: then cookies work."""
        own = (site.names.session, site.names.guard)
        return bool(find_labelled(cookies, site.names.login)) or any(find_cookie(cookies, name) for name in own)

    async def use(self, attempt: Attempt) -> bool:
        """
        Use up an attempt; False when it was used before.

        Raises:
            StoreUnavailable: nobody can tell.
        """
        version = await self._store.put(used_key(attempt.state), b"1", life=LIFE, expected=ABSENT)
        return version is not None

    def expire(self, site: SiteRuntime, attempt: Attempt, response: web.Response) -> None:
        """The attempt is over: remove its cookie."""
        name = site.names.login + label(attempt.state).encode()
        response.headers.add("Set-Cookie", expire_cookie(name, secure=site.secure))

    def loops(self, site: SiteRuntime, cookies: bytes) -> bool:
        """Whether this browser's logins succeed again and again without a session to show for it."""
        return loops(self._finished(site, cookies), self._clock())

    def finish(self, site: SiteRuntime, cookies: bytes, response: web.Response) -> None:
        """Remember that a login succeeded."""
        finished = finish(self._finished(site, cookies), self._clock())
        value = self._sealed(json.dumps([int(at) for at in finished]).encode(), "guard", site.origin)
        cookie = set_cookie(site.names.guard, value, secure=site.secure, max_age=int(LOOP_WINDOW))
        response.headers.add("Set-Cookie", cookie)

    def forget_finished(self, site: SiteRuntime, response: web.Response) -> None:
        """The person was told about the loop: begin to count anew."""
        response.headers.add("Set-Cookie", expire_cookie(site.names.guard, secure=site.secure))

    def _finished(self, site: SiteRuntime, cookies: bytes) -> tuple[float, ...]:
        value = find_cookie(cookies, site.names.guard)
        plain = None if value is None else self._unsealed(value, "guard", site.origin)
        return () if plain is None else tuple(json.loads(plain))

    def _opened(self, name: bytes, value: bytes, site: SiteRuntime) -> Attempt | None:
        plain = self._unsealed(value, "login", f"{site.origin} {name.decode()}")
        try:
            return None if plain is None else attempt_from_bytes(plain)
        except InvalidSeal:  # begun under another release
            return None

    def _sealed(self, plain: bytes, purpose: str, context: str) -> str:
        nonce = secrets.token_bytes(NONCE_SIZE)
        sealed = self._ring.seal(plain, purpose=purpose, context=context, nonce=nonce)
        return base64.urlsafe_b64encode(sealed).decode().rstrip("=")

    def _unsealed(self, value: bytes, purpose: str, context: str) -> bytes | None:
        try:
            sealed = base64.urlsafe_b64decode(value + b"=" * (-len(value) % 4))
            return self._ring.unseal(sealed, purpose=purpose, context=context)
        except (InvalidSeal, binascii.Error):
            return None
