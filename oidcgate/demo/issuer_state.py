"""
What the demo issuer knows and how it is bent: the part of `DemoIssuer` that its endpoints share.

Edge: waits.
Every request first arrives (it is counted, and tests that wait for it wake up) and then passes stages, at
which `Quirks` may delay it, hold it, drop it or fail it.
"""

import asyncio
import ssl
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any

from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa
from multidict import MultiDictProxy

from oidcgate.demo.issuer_authorization import AuthRequest
from oidcgate.demo.issuer_grants import Codes, RefreshTokens
from oidcgate.demo.issuer_model import Claims, Client, Person, Quirks
from oidcgate.demo.issuer_sessions import Session, Sessions, logout_claims
from oidcgate.demo.issuer_tokens import Grant, Keyring, new_id, token_claims


class Failed(Exception):
    """A quirk asks for this HTTP status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Dropped(Exception):
    """A quirk asks for the connection to be closed."""


class IssuerState:
    """
    The issuer without its sockets.

    Args:
        people, clients: who may sign in, and where.
        id_token_life: seconds; access tokens live as long.
        reuse_interval: seconds after a rotation in which the refresh token before is still answered.
        clock: seconds since 1970.
        path: the issuer's path; empty for an issuer at the root of its host.
        sessions: behave like Dex's unreleased main: a cookie, single logout, ``sid``, ``auth_time``, ``jti``.
        key: the first signing key; None makes one when it is first needed.
        auto_login: a login name that is signed in without a form, as with Dex's mockCallback connector.
        hints: offer every person's sign-in as one button on the form.

    ``calls`` counts the requests by name and ``events`` lists the names in order. ``backchannel_trust`` says
    how the clients' certificates are judged at a logout; True means by the system's authorities.
    """

    def __init__(
        self,
        people: Iterable[Person],
        clients: Iterable[Client] = (),
        *,
        id_token_life: int = 86400,
        reuse_interval: float = 0.0,
        clock: Callable[[], float] = time.time,
        path: str = "/dex",
        quirks: Quirks | None = None,
        sessions: bool = False,
        key: rsa.RSAPrivateKey | None = None,
        auto_login: str | None = None,
        hints: bool = False,
    ) -> None:
        self.people = {person.login: person for person in people}
        self.clients = {client.id: client for client in clients}
        self.id_token_life = id_token_life
        self.clock = clock
        self.path = path.rstrip("/")
        self.quirks = quirks or Quirks()
        self.has_sessions = sessions
        self.device_life = 300  # seconds; Dex's default
        self.further_grants: dict[str, Callable[[MultiDictProxy[str]], Awaitable[web.Response]]] = {}
        self.auto_login = auto_login
        self.hints = hints
        self.calls: Counter[str] = Counter()
        self.events: list[str] = []
        self._changed = asyncio.Event()
        self._origin: str | None = None
        self.codes = Codes(self.now)
        self.refresh_tokens = RefreshTokens(self.now, reuse_interval)
        self.sessions = Sessions()
        self.waiting: dict[str, tuple[float, AuthRequest]] = {}  # for a password, until that time
        self.backchannel_trust: ssl.SSLContext | bool = True
        self.keys = Keyring(key, clock=self.now, keep=id_token_life)

    @property
    def url(self) -> str:
        """The issuer identifier, known once `DemoIssuer.start` has returned."""
        if self._origin is None:
            raise RuntimeError("the issuer has not been started")
        return self._origin + self.path

    def now(self) -> float:
        """Seconds since 1970 by the clock of the moment: ``clock`` may be replaced at any time."""
        return self.clock()

    async def arrive(self, name: str) -> None:
        """Count a request and pass its first stage."""
        self.calls[name] += 1
        self.events.append(name)
        self._changed.set()
        self._changed = asyncio.Event()
        await self.pass_stage(name)

    async def pass_stage(self, stage: str) -> None:
        """Suffer what `Quirks` has in store here; raise `Failed` or `Dropped`."""
        quirks = self.quirks
        if stage in quirks.delay:
            await asyncio.sleep(quirks.delay[stage])
        if stage in quirks.hang:
            await quirks.released()
        if stage in quirks.drop:
            raise Dropped
        if stage in quirks.fail:
            raise Failed(quirks.fail[stage])

    async def wait_for(self, name: str, count: int = 1) -> None:
        """Return once ``calls[name]`` has reached ``count``; the caller sets a time limit."""
        while self.calls[name] < count:
            await self._changed.wait()

    def person(self, login: str, password: str) -> Person | None:
        """Whoever this password belongs to; the e-mail address is a login name, too."""
        found = self.people.get(login) or next((p for p in self.people.values() if p.email == login), None)
        return found if found and found.password == password else None

    def newest(self, person: Person) -> Person | None:
        """Today's data of a person, None if they are gone; main with sessions keeps the login's data."""
        if self.has_sessions:
            return person
        return next((p for p in self.people.values() if p.user_id == person.user_id), None)

    def token_set(self, grant: Grant, *, code: str = "", refresh_token: str | None = None) -> Claims:
        """The body of a token reply; ``code`` is empty at a refresh."""
        now = self.now()
        claims = partial(token_claims, grant, issuer=self.url, now=int(now), life=self.id_token_life)
        access_token = self.keys.sign(self.keys.header, claims(access_token=new_id()))
        id_claims = claims(access_token=access_token, code=code)
        reply: dict[str, Any] = {
            "access_token": access_token,
            "token_type": "bearer",
            "expires_in": int(now + self.id_token_life - self.now()),
            "refresh_token": refresh_token,
            "id_token": self._signed(id_claims, self.quirks.claims),
        }
        return {name: value for name, value in reply.items() if value is not None}

    def logout_token(self, session: Session, client_id: str) -> str:
        """A back-channel logout token, as changed by the quirks."""
        claims = logout_claims(session, client_id, issuer=self.url, now=int(self.now()))
        return self._signed(claims, self.quirks.logout_claims)

    def grant(self, grant: Grant, session: Session | None) -> Grant:
        """``grant`` tied to the session of the browser, if there is one."""
        if session is None:
            return grant
        session.join(grant.client_id)
        return replace(grant, sid=session.sid, auth_time=session.auth_time)

    def _signed(self, claims: Claims, change: Callable[[Claims], Claims] | None) -> str:
        header = self.keys.header
        if change:
            claims = change(claims)
        if self.quirks.header:
            header = self.quirks.header(header)
        return (self.quirks.sign or self.keys.sign)(header, claims)
