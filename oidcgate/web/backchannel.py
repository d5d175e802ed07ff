"""
``/backchannel-logout``: the issuer says that somebody's login is over.

Edge: aiohttp responses. Rules of this file (OIDC Back-Channel Logout 1.0):
- The token is all the authority there is: no cookie, no origin; it is checked like an ID token, and used once.
- Unknown sessions are no error: they are gone, which is what was asked for.
"""

import hashlib
import logging
from urllib.parse import parse_qsl

from aiohttp import web

from oidcgate.errors import InvalidIdToken
from oidcgate.net.provider import Provider
from oidcgate.oidc.backchannel import LogoutToken
from oidcgate.session.grant import grant_key
from oidcgate.session.session import sid_key
from oidcgate.session.store import ABSENT, Store
from oidcgate.web.facts import Inbound
from oidcgate.web.pages import json_response
from oidcgate.web.providers import Providers
from oidcgate.web.sessions import Sessions

log = logging.getLogger("oidcgate.backchannel")

MOST_BODY = 128 * 1024  # bytes
FORM = b"application/x-www-form-urlencoded"
REASON = "the identity provider ended the login"


class BackchannelLogout:
    """Answers logout tokens."""

    def __init__(self, sessions: Sessions, providers: Providers, store: Store) -> None:
        self._sessions = sessions
        self._providers = providers
        self._store = store

    async def __call__(self, inbound: Inbound) -> web.Response:
        """
        End what the token names.

        Raises:
            StoreUnavailable, ProviderError: the issuer should try again.
        """
        raw = await logout_token(inbound)
        provider = self._providers.by_id(inbound.facts.site.provider_id)
        if raw is None or provider is None:
            return refused("exactly one logout_token in a form is expected")
        try:
            token = await provider.verify_logout(raw)
        except InvalidIdToken as error:
            log.warning("a logout token was refused: %s", error)
            return refused("the logout token was not accepted")
        if not await self._is_first(provider, token):
            return refused("the logout token was used before")
        count = await self._end(provider, token)
        log.info("the provider ended %d sessions", count)
        return web.Response(status=200)

    async def _is_first(self, provider: Provider, token: LogoutToken) -> bool:
        named = hashlib.sha256(f"{provider.issuer}\n{token.jti}".encode()).hexdigest()
        life = max(60.0, token.expires - provider.now() + 60.0)
        return await self._store.put(f"jti:{named}", b"1", life=life, expected=ABSENT) is not None

    async def _end(self, provider: Provider, token: LogoutToken) -> int:
        """The session that ``sid`` names, or all of a person's when it names none."""
        if token.sid is not None:
            stored = await self._store.get(sid_key(provider.issuer, provider.client_id, token.sid))
            keys = [stored.value.decode("ascii")] if stored is not None else []
        else:
            assert token.subject is not None
            keys = await self._sessions.keys_of(grant_key(provider.issuer, provider.client_id, token.subject))
        return sum([await self._sessions.end_key(key, REASON) for key in keys])


async def logout_token(inbound: Inbound) -> str | None:
    """The one token in a form, or None."""
    request, head = inbound.request, inbound.facts.head
    kind = next((v for n, v in request.raw_headers if n.lower() == b"content-type"), b"")
    if kind.partition(b";")[0].strip().lower() != FORM or head.chunked or head.length > MOST_BODY:
        return None
    body = await request.content.read(-1)
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=20)
    except ValueError:
        return None
    tokens = [value for name, value in pairs if name == "logout_token"]
    return tokens[0] if len(tokens) == 1 else None


def refused(why: str) -> web.Response:
    """400 as the specification words it (§2.8)."""
    return json_response(400, {"error": "invalid_request", "error_description": why})
