"""
The provider, as one client of it sees it: metadata, keys, and the token endpoint.

Edge: aiohttp client.

- Metadata and keys are fetched by one task for all callers; failures back off, and a good copy outlives them.
- The secret is asked for at each call, so that a new one works without a restart.
- A refresh has two steps, ``refresh_raw`` and ``verify``, because the new refresh token must be stored even
  when the ID token beside it is refused.
- No secret, code or token reaches a log or an error message.

Sources: OIDC Discovery §4; OIDC Core §3.1.3, §10.1.1, §12; RFC 6749 §5; RFC 7009; RFC 9700 §4.
"""

import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit

from oidcgate.errors import InvalidIdToken, InvalidMetadata, ProviderError, ProviderUnreachable
from oidcgate.net.provider_cache import Shared
from oidcgate.net.provider_calls import Calls, OnCall
from oidcgate.oidc import idtoken, tokens
from oidcgate.oidc.backchannel import KIND, LogoutToken, verify_logout
from oidcgate.oidc.idtoken import Claims, Expected
from oidcgate.oidc.keyset import Key, KeySet, parse_keyset
from oidcgate.oidc.metadata import Metadata, discovery_url, internal_address, parse_metadata
from oidcgate.oidc.tokens import AuthMethod, TokenRequest, TokenSet

TOTAL_TIMEOUT: Final = 10.0  # seconds for one call: a provider that hangs gives no other sign


class Provider:
    """
    One issuer and one client of it.

    Args: ``issuer`` the exact URL; ``client_secret`` is called for each request, None means a public client;
    ``scopes`` what a login asks for (for ``authorization_url``; not used here); ``algorithms`` the ID token
    allow-list; ``audiences`` what may stand beside us in ``aud``; ``leeway`` and ``max_token_life`` seconds;
    ``endpoint_hosts`` hosts besides the issuer's that may serve endpoints; ``ca_file`` the only authorities
    to believe, None for the system's; ``internal_url`` the gate's own way to the issuer; ``proxy`` an HTTP
    proxy; ``timeout`` seconds for one call; ``jitter`` numbers in [0, 1).
    Raises: ConfigError when ``ca_file`` cannot be used. Opens nothing: the first call does.
    """

    def __init__(
        self,
        *,
        issuer: str,
        client_id: str,
        client_secret: Callable[[], str | None],
        scopes: Sequence[str],
        algorithms: Sequence[str],
        audiences: frozenset[str] = frozenset(),
        leeway: float,
        max_token_life: float,
        endpoint_hosts: frozenset[str] = frozenset(),
        ca_file: str | None = None,
        internal_url: str | None = None,
        proxy: str | None = None,
        clock: Callable[[], float] = time.time,
        log: logging.Logger,
        timeout: float = TOTAL_TIMEOUT,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.issuer = issuer
        self.client_id = client_id
        self.scopes = tuple(scopes)
        self._client_secret = client_secret
        self._expected = Expected(
            issuer=issuer,
            client_id=client_id,
            audiences=audiences,
            algorithms=tuple(algorithms),
            leeway=leeway,
            max_token_life=max_token_life,
            nonce=None,
        )
        self._endpoint_hosts = endpoint_hosts
        self._internal_url = internal_url
        self._clock = clock
        self._log = log
        self._calls = Calls(ca_file=ca_file, proxy=proxy, timeout=timeout)
        self._metadata = Shared(f"metadata of {issuer}", self._load_metadata, clock=clock, jitter=jitter, log=log)
        self._keys = Shared(f"keys of {issuer}", self._load_keys, clock=clock, jitter=jitter, log=log)

    def __repr__(self) -> str:
        return f"<Provider {self.issuer} client_id={self.client_id!r} ready={self.ready}>"

    def watch(self, on_call: OnCall) -> None:
        """Tell of each call to the provider."""
        self._calls.on_call = on_call

    @property
    def ready(self) -> bool:
        """Have metadata and keys been seen? Says nothing about now."""
        return self.missing is None

    @property
    def missing(self) -> str | None:
        """Which of the two was never seen."""
        if self._metadata.value is None:
            return "metadata"
        return "keys" if self._keys.value is None else None

    async def warm_up(self) -> None:
        """Fetch metadata and keys now, if not yet seen. Raises: ProviderUnreachable, InvalidMetadata."""
        await self._metadata.fresh()
        await self._keys.fresh()

    async def metadata(self) -> Metadata:
        """
        The metadata, at most an hour old; the last good one while the provider fails.

        Raises: ProviderUnreachable without an answer and during the back-off after one; InvalidMetadata for a
        document that breaks the rules; both only if there was never a good one.
        """
        return await self._metadata.fresh()

    async def keys(self, kid: str | None, alg: str, *, budget: str = "own") -> Key:
        """
        The key for a token's header. An unknown one makes the set be fetched again, once a minute for all
        callers of one ``budget``.

        Raises: InvalidIdToken("kid") if it is still unknown; ProviderUnreachable if nobody can tell.
        """
        version = self._keys.version
        key = (await self._keys.fresh()).find(kid, alg)
        if key is None and self._keys.version == version:  # else they are as new as can be
            key = (await self._keys.refetched(budget)).find(kid, alg)
        if key is None:
            raise InvalidIdToken("kid", f"no single key for kid {str(kid)[:80]!r} and {alg}")
        return key

    async def redeem(
        self,
        code: str,
        *,
        redirect_uri: str,
        verifier: str,
        nonce: str,
        audiences: frozenset[str] | None = None,
    ) -> tuple[TokenSet, Claims]:
        """
        Trade a code for tokens and check them; ``audiences`` replaces the ones configured.

        Raises: TokenError, ProviderError, ProviderUnreachable, InvalidMetadata, InvalidIdToken. A code works
        once: none of these is worth a second try with it.
        """
        secret, method, endpoint = await self._client()
        request = tokens.code_request(
            client_id=self.client_id,
            client_secret=secret,
            auth_method=method,
            code=code,
            redirect_uri=redirect_uri,
            verifier=verifier,
        )
        token_set = await self._tokens(endpoint, request, need_id_token=True)
        return token_set, await self.verify(token_set, nonce=nonce, audiences=audiences)

    async def refresh(
        self,
        refresh_token: str,
        *,
        scopes: Sequence[str] | None,
        previous: Claims,
        audiences: frozenset[str] | None = None,
    ) -> tuple[TokenSet, Claims]:
        """
        ``refresh_raw`` and ``verify`` in one: for callers that have nothing to store in between.

        Raises: as these two. After InvalidIdToken the rotated refresh token is lost.
        """
        token_set = await self.refresh_raw(refresh_token, scopes)
        return token_set, await self.verify(token_set, previous=previous, audiences=audiences)

    async def refresh_raw(self, refresh_token: str, scopes: Sequence[str] | None) -> TokenSet:
        """
        Renew, and verify nothing: store the new refresh token, then call ``verify``.

        Args: ``scopes`` narrows what the tokens are for; None asks for all that was granted.
        Raises: TokenError, whose ``final`` says whether the refresh token is dead; ProviderError for a 200
        that is no token reply; ProviderUnreachable without an answer, when the old token may or may not still
        live.
        """
        secret, method, endpoint = await self._client()
        request = tokens.refresh_request(
            client_id=self.client_id,
            client_secret=secret,
            auth_method=method,
            refresh_token=refresh_token,
            scopes=scopes,
        )
        return await self._tokens(endpoint, request, need_id_token=False)

    async def verify(
        self,
        token_set: TokenSet,
        *,
        nonce: str | None = None,
        previous: Claims | None = None,
        audiences: frozenset[str] | None = None,
        exactly: frozenset[str] | None = None,
    ) -> Claims:
        """
        Check a token set's ID token: a login's with its ``nonce``, a refresh's with the ``previous`` claims.

        ``audiences`` replaces the ones configured that may stand beside us; ``exactly`` is the whole audience that a
        narrowed token must have, ours included.
        Raises: InvalidIdToken; ProviderUnreachable when the key is needed and cannot be had.
        Not checked: the nonce when neither ``nonce`` nor ``previous`` is given.
        """
        expected = replace(
            self._expected,
            nonce=nonce,
            audiences=self._expected.audiences if audiences is None else audiences,
        )
        header = idtoken.header_of(token_set.id_token, expected)
        key = await self.keys(header.kid, header.alg)
        now, raw, access_token = self._clock(), token_set.id_token, token_set.access_token
        if previous is None:
            return idtoken.verify(raw, key=key, expected=expected, now=now, access_token=access_token, exactly=exactly)
        return idtoken.verify_refreshed(
            raw, key=key, expected=expected, now=now, access_token=access_token, previous=previous, exactly=exactly
        )

    async def verify_program(self, raw: str, audiences: frozenset[str]) -> Claims:
        """
        Check an ID token that a program brings, for one of ``audiences`` in place of us; others may stand beside it.

        Raises: InvalidIdToken; ProviderUnreachable when the key is needed and cannot be had.
        """
        header = idtoken.header_of(raw, self._expected)
        key = await self.keys(header.kid, header.alg, budget="programs")  # anybody may send one
        refused = InvalidIdToken("aud", "no audience is accepted")
        for audience in sorted(audiences):
            expected = replace(self._expected, client_id=audience, audiences=audiences - {audience}, nonce=None)
            try:
                return idtoken.verify(raw, key=key, expected=expected, now=self._clock(), access_token=None)
            except InvalidIdToken as error:
                refused = error
        raise refused

    async def verify_logout(self, raw: str) -> LogoutToken:
        """
        Check a logout token (OIDC Back-Channel Logout §2.6).

        Raises: InvalidIdToken; ProviderUnreachable when the key is needed and cannot be had.
        Not checked: whether it was used before.
        """
        header = idtoken.header_of(raw, self._expected, KIND)
        key = await self.keys(header.kid, header.alg, budget="logout")  # anybody may send one
        return verify_logout(raw, key=key, expected=self._expected, now=self._clock())

    def now(self) -> float:
        """The time by which tokens are judged, in seconds since 1970."""
        return self._clock()

    async def revoke(self, refresh_token: str) -> None:
        """Give a refresh token back, where the provider takes it; best effort: a failure is only logged."""
        try:
            endpoint = (await self.metadata()).revocation_endpoint
            if endpoint is None:
                return
            secret, method, _ = await self._client()
            request = tokens.revocation_request(
                client_id=self.client_id, client_secret=secret, auth_method=method, refresh_token=refresh_token
            )
            reply = await self._calls.call(self._inside(endpoint), what="revocation", request=request)
        except ProviderError as error:
            self._log.warning("revocation at %s failed: %s", self.issuer, error)
        else:
            if reply.status != 200:
                self._log.warning("revocation at %s failed: HTTP %d", self.issuer, reply.status)

    async def close(self) -> None:
        """End every call under way and close; the provider is of no use afterwards."""
        await self._metadata.close()
        await self._keys.close()
        await self._calls.close()

    async def _client(self) -> tuple[str | None, AuthMethod, str]:
        """The secret of this moment, how to show it, and the token endpoint."""
        metadata = await self.metadata()
        secret = self._client_secret()
        if secret == "":
            # A file just being replaced. Asking without a secret would get an answer that ends sessions.
            raise ProviderUnreachable(f"the client secret for {self.issuer} is empty")
        method = tokens.choose_auth_method(metadata.auth_methods, confidential=secret is not None)
        return secret, method, metadata.token_endpoint

    async def _tokens(self, endpoint: str, request: TokenRequest, *, need_id_token: bool) -> TokenSet:
        reply = await self._calls.call(self._inside(endpoint), what="token endpoint", request=request)
        return tokens.parse_token_reply(reply.status, reply.content_type, reply.body, need_id_token=need_id_token)

    async def _load_metadata(self) -> Metadata:
        body = await self._document(discovery_url(self.issuer), what="discovery")
        metadata = parse_metadata(body, issuer=self.issuer, endpoint_hosts=self._endpoint_hosts)
        known = self._metadata.value
        if known is None:
            if "S256" not in metadata.code_challenge_methods:
                self._log.warning("%s does not list PKCE S256; it is used regardless", self.issuer)
        elif urlsplit(known.jwks_uri).netloc != urlsplit(metadata.jwks_uri).netloc:
            raise InvalidMetadata(f"jwks_uri: the host of {known.jwks_uri} became that of {metadata.jwks_uri}")
        return metadata

    async def _load_keys(self) -> KeySet:
        metadata = await self.metadata()
        return parse_keyset(await self._document(metadata.jwks_uri, what="keys"))

    async def _document(self, url: str, *, what: str) -> bytes:
        reply = await self._calls.call(self._inside(url), what=what)
        if reply.status == 429 or reply.status >= 500:
            raise ProviderUnreachable(f"{what}: HTTP {reply.status}")
        if reply.status != 200:
            raise InvalidMetadata(f"{what}: expected HTTP 200, got {reply.status}")
        return reply.body

    def _inside(self, url: str) -> str:
        return internal_address(url, issuer=self.issuer, internal_url=self._internal_url)
