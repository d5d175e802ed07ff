"""
Programs that bring a token of their own from the issuer in place of a cookie; off unless a site names audiences.

Edge by its providers. Rules of this file:
- The token is verified as a login's is, for one of the site's own audiences, and never beside a cookie.
- What it opens is judged by the same policy as a person's; it goes to the UI as it came, and its streams end with it.
- Nothing is stored: a token that was verified is remembered in this process until it runs out.
"""

import hashlib
import time
from collections.abc import Callable

from oidcgate.errors import InvalidBearer, InvalidIdToken, RequestError
from oidcgate.oidc.idtoken import Claims
from oidcgate.session.cookies import named_in
from oidcgate.session.grant import Grant, Token
from oidcgate.session.session import Session
from oidcgate.web.facts import Facts
from oidcgate.web.live import Live
from oidcgate.web.providers import Providers
from oidcgate.web.sharedgrant import Renewals, SharedGrant
from oidcgate.web.site import SiteRuntime

SCHEME = b"bearer "
MOST_KNOWN = 1024  # tokens
KEPT_FOR = 60.0  # seconds until a token is verified again: the issuer may have withdrawn its key


class Programs:
    """Tokens that programs bring."""

    def __init__(self, providers: Providers, *, clock: Callable[[], float] = time.time) -> None:
        self._providers = providers
        self._clock = clock
        self._known: dict[bytes, tuple[float, Live]] = {}

    def __len__(self) -> int:
        return len(self._known)

    async def admit(self, facts: Facts) -> Live | None:
        """
        Whoever brings the token in a request's Authorization; None where none is brought, or none is taken.

        Raises:
            InvalidBearer: it is not good, or not for this site.
            RequestError: it came along with a cookie of ours.
            ProviderUnreachable: nobody can tell now.
        """
        site, header = facts.site, facts.head.authorization
        if not site.config.programs.audiences or header[: len(SCHEME)].lower() != SCHEME:
            return None
        if named_in(facts.head.cookie, (site.names.session,)):
            raise RequestError("Send a token or a cookie, not both.")
        raw = header[len(SCHEME) :].strip(b" \t")
        key = hashlib.sha256(site.origin.encode() + b" " + raw).digest()
        now = self._clock()
        known = self._known.get(key)
        if known is not None and now < known[0]:
            return known[1]
        live = await self._verified(raw.decode("ascii", "replace"), key, site)
        self._remember(key, live, now)
        return live

    async def _verified(self, raw: str, key: bytes, site: SiteRuntime) -> Live:
        provider = self._providers.by_id(site.provider_id)
        assert provider is not None
        try:
            claims = await provider.verify_program(raw, frozenset(site.config.programs.audiences))
        except InvalidIdToken as error:
            raise InvalidBearer(f"a program's token was refused: {error}") from error
        return bearer_life(raw, claims, key, site, now=self._clock())

    def _remember(self, key: bytes, live: Live, now: float) -> None:
        if len(self._known) >= MOST_KNOWN:
            self._known.pop(next(iter(self._known)))
        self._known[key] = min(now + KEPT_FOR, live.shared.usable_until), live

    def sweep(self) -> None:
        """Once a second: forget what is to be verified again."""
        now = self._clock()
        for key in [key for key, (until, _) in self._known.items() if now >= until]:
            del self._known[key]


def bearer_life(raw: str, claims: Claims, key: bytes, site: SiteRuntime, *, now: float) -> Live:
    """A token as a session of its own that nobody keeps: without a handle, a refresh token or a record."""
    name = f"program:{key.hex()}"
    grant = Grant(
        key=name,
        issuer=claims.issuer,
        client_id=site.client[1],
        claims=claims,
        tokens={"": Token(raw, claims, now)},
        obtained=now,
    )
    shared = SharedGrant(grant, 0, claims.expires, audience="", renewals=Renewals())
    session = Session(
        key=name, grant_key=name, started=now, seen=now, ends=claims.expires, site=site.session_site, csrf=""
    )
    live = Live(b"", session, shared, now, site)
    live.refresh(now)
    return live
