"""
``/backchannel-logout``: the issuer says that somebody's login is over.

Edge: aiohttp responses. Rules of this file (OIDC Back-Channel Logout 1.0):
- The token is all the authority there is: no cookie, no origin; it is checked like an ID token, and used once.
- Unknown sessions are no error: they are gone, which is what was asked for.
"""

import asyncio
import hashlib
import logging
from urllib.parse import parse_qsl

from aiohttp import web

from oidcgate.errors import InvalidIdToken
from oidcgate.net.provider import Provider
from oidcgate.oidc.backchannel import LogoutToken
from oidcgate.session.grant import grant_key
from oidcgate.session.store import Store
from oidcgate.web.facts import Inbound
from oidcgate.web.pages import json_response
from oidcgate.web.providers import Providers
from oidcgate.web.sessions import Sessions

log = logging.getLogger("oidcgate.backchannel")

MOST_BODY = 128 * 1024  # bytes
BODY_TIME = 10.0  # seconds for one to arrive
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
        used = self._used_key(provider, token)
        if await self._store.get(used) is not None:
            return refused("the logout token was used before")
        count = await self._end(provider, token)
        # Marked only now: when the store fails halfway, the issuer may try again with the same token.
        life = max(60.0, token.expires - provider.now() + 60.0)
        await self._store.put(used, b"1", life=life)
        log.info("the provider ended %d sessions", count)
        return web.Response(status=200)

    def _used_key(self, provider: Provider, token: LogoutToken) -> str:
        return "jti:" + hashlib.sha256(f"{provider.issuer}\n{token.jti}".encode()).hexdigest()

    async def _end(self, provider: Provider, token: LogoutToken) -> int:
        """The sessions of the login that ``sid`` names, or all of a person's when it names none."""
        if token.sid is not None:
            keys = await self._sessions.keys_of_login(provider.issuer, provider.client_id, token.sid)
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
    try:
        async with asyncio.timeout(BODY_TIME):
            body = await request.content.read(-1)
    except (OSError, web.RequestPayloadError):  # too slow, or gone
        return None
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=20)
    except ValueError:
        return None
    tokens = [value for name, value in pairs if name == "logout_token"]
    return tokens[0] if len(tokens) == 1 else None


def refused(why: str) -> web.Response:
    """400 as the specification words it (§2.8)."""
    return json_response(400, {"error": "invalid_request", "error_description": why})
