"""
Who sent this request, by the issuer's own keys. Edge: aiohttp client.

Rules, as kube-apiserver keeps them: the issuer's name must match exactly; `exp` has no leeway; keys are
fetched when first needed and again when a token names a key that is not known; while the issuer cannot be
reached, every token is refused. `email` is the user's name, and is refused when the issuer says that it is
not verified.

Sources: OIDC Core §3.1.3.7, OIDC Discovery §4, RFC 6750 §2.1, RFC 7517.
"""

import asyncio
import json
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import jwt

# The nine that kube-apiserver's AuthenticationConfiguration takes; never `none`, never a shared secret.
ALGORITHMS: Final = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512")
FETCH_TIMEOUT: Final = aiohttp.ClientTimeout(total=10)  # seconds; as long as kube-apiserver waits between two tries


@dataclass(frozen=True, slots=True)
class Caller:
    """
    A verified bearer: what the API server believes about who is asking. Times are seconds since the epoch.
    """

    username: str
    groups: tuple[str, ...]
    subject: str
    expires_at: float
    issued_at: float


class BearerRefused(Exception):
    """The token is missing or not good; the text says why, and is for the test's eyes only."""


class BearerExpired(BearerRefused):
    """A good token, too late."""


class BearerVerifier:
    """
    Verifies ID tokens of one issuer for one audience.

    Does not check nonce, at_hash or azp: those are the relying party's business, not the API server's.
    """

    def __init__(
        self,
        issuer_url: str,
        audience: str,
        *,
        clock: Callable[[], float],
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._issuer = issuer_url
        self._audience = audience
        self._clock = clock
        self._ssl = ssl_context
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._fetching = asyncio.Lock()

    async def verify(self, token: str) -> Caller:
        """The caller behind `token` (compact JWS, without the scheme's name); raises BearerRefused."""
        try:
            header = jwt.get_unverified_header(token)
            if header.get("alg") not in ALGORITHMS:
                raise BearerRefused(f"algorithm {header.get('alg')!r} is not accepted")
            key = await self._key(header.get("kid"))
            claims = jwt.decode(
                token,
                key,
                algorithms=[header["alg"]],
                audience=self._audience,
                issuer=self._issuer,
                # The times are compared below with the clock handed in; PyJWT would ask the system's.
                options={
                    "require": ["iss", "aud", "exp"],
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
        except jwt.PyJWTError as error:
            raise BearerRefused(f"{type(error).__name__}: {error}") from error
        self._check_times(claims)
        return _caller(claims)

    def _check_times(self, claims: Mapping[str, Any]) -> None:
        now = self._clock()
        if _number(claims, "exp") <= now:
            raise BearerExpired(f"exp {claims['exp']} is not after {now}")
        if "nbf" in claims and _number(claims, "nbf") > now:
            raise BearerRefused(f"nbf {claims['nbf']} is after {now}")

    async def _key(self, kid: str | None) -> jwt.PyJWK:
        if kid not in self._keys:
            async with self._fetching:
                # Whoever held the lock before may have brought the key.
                self._keys = self._keys if kid in self._keys else await self._fetch()
        if kid not in self._keys:
            raise BearerRefused(f"the issuer has no key {kid!r}")
        return self._keys[kid]

    async def _fetch(self) -> dict[str | None, jwt.PyJWK]:
        """The issuer's keys by kid; the first one also under None, for a token that names no key."""
        try:
            async with aiohttp.ClientSession(timeout=FETCH_TIMEOUT) as client:
                metadata = await self._json(client, self._issuer.rstrip("/") + "/.well-known/openid-configuration")
                if metadata.get("issuer") != self._issuer:
                    raise BearerRefused(f"the metadata names {metadata.get('issuer')!r}, not {self._issuer!r}")
                keys = jwt.PyJWKSet.from_dict(await self._json(client, metadata["jwks_uri"])).keys
        except (aiohttp.ClientError, TimeoutError, ValueError, KeyError, jwt.PyJWTError) as error:
            raise BearerRefused(f"no keys from {self._issuer}: {error!r}") from error
        by_kid: dict[str | None, jwt.PyJWK] = {key.key_id: key for key in keys}
        by_kid.setdefault(None, keys[0])
        return by_kid

    async def _json(self, client: aiohttp.ClientSession, url: str) -> dict[str, Any]:
        async with client.get(url, ssl=self._ssl if self._ssl is not None else True) as reply:
            reply.raise_for_status()
            document = json.loads(await reply.read())
        if not isinstance(document, dict):
            raise ValueError(f"{url} is not a JSON object")
        return document


def _number(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BearerRefused(f"{name} is not a number")
    return float(value)


def _caller(claims: Mapping[str, Any]) -> Caller:
    username = claims.get("email")
    if not isinstance(username, str) or not username:
        raise BearerRefused("no email claim to name the user by")
    if claims.get("email_verified", True) is not True:
        raise BearerRefused("the email is not verified")
    groups = claims.get("groups") or ()
    if isinstance(groups, str):  # kube-apiserver takes a string or a list
        groups = (groups,)
    if not isinstance(groups, list | tuple) or not all(isinstance(group, str) for group in groups):
        raise BearerRefused("groups is neither a string nor a list of strings")
    return Caller(
        username=username,
        groups=tuple(groups),
        subject=str(claims.get("sub", "")),
        expires_at=_number(claims, "exp"),
        issued_at=_number(claims, "iat"),
    )
