"""
The demo issuer's keys and the tokens made with them.

Pure, save for random numbers.
Claims come in Dex's order and are left out where Dex leaves them out: no ``nbf`` ever, no ``groups`` for
somebody who has none, ``azp`` only beside several audiences. The access token is one more JWT of the same
shape, and passes for an ID token wherever ``at_hash`` is not compared (Dex v2.45.1, server/oauth2.go).
"""

import base64
import hashlib
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from jwt.algorithms import RSAAlgorithm
from jwt.types import Options

from oidcgate.demo.issuer_authorization import peer_of
from oidcgate.demo.issuer_model import CONNECTOR, Claims, Person


@dataclass(frozen=True)
class Grant:
    """What somebody agreed to at a login: the seed of every token of that login."""

    client_id: str
    person: Person
    scopes: tuple[str, ...]
    nonce: str
    redirect_uri: str = ""
    challenge: str = ""
    challenge_method: str = "plain"
    sid: str | None = None  # with sessions only
    auth_time: int | None = None  # seconds since 1970; with sessions only


class Keyring:
    """
    One signing key and the public keys of its predecessors.

    Args:
        key: the first key; None makes one when it is first needed.
        clock: seconds since 1970.
        keep: seconds that a public key outlives its rotation; Dex keeps it for one ID token's life.
    """

    def __init__(self, key: rsa.RSAPrivateKey | None, *, clock: Callable[[], float], keep: float) -> None:
        self._clock = clock
        self._keep = keep
        self._key = key
        self._kid = _new_kid()
        self._retired: list[tuple[float, Claims]] = []

    def __repr__(self) -> str:
        return f"<Keyring kid={self._kid} retired={len(self._retired)}>"

    @property
    def key(self) -> rsa.RSAPrivateKey:
        """The key that signs now."""
        if self._key is None:
            self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        return self._key

    @property
    def header(self) -> Claims:
        """The JOSE header of the next token; Dex sends no ``typ``."""
        return {"alg": "RS256", "kid": self._kid}

    def rotate(self, key: rsa.RSAPrivateKey | None = None) -> None:
        """Sign with a new key from now on; it was published nowhere before."""
        self._retired.insert(0, (self._clock() + self._keep, self._public()))
        self._key = key
        self._kid = _new_kid()

    def jwks(self) -> Claims:
        """The JWK Set: the signing key first, then the retired ones that may still have signed something."""
        now = self._clock()
        return {"keys": [self._public(), *(jwk for until, jwk in self._retired if until > now)]}

    def sign(self, header: Claims, claims: Claims) -> str:
        """A compact RS256 token, whatever ``header`` says (RFC 7515 §7.1)."""
        data = b".".join(_b64(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims))
        signature = self.key.sign(data, padding.PKCS1v15(), hashes.SHA256())
        return b".".join((data, _b64(signature))).decode()

    def verify(self, token: str, *, issuer: str, expired: bool = False) -> Claims:
        """
        The claims of one of our own tokens, for any audience.

        Args:
            expired: accept a token after its ``exp``.

        Raises:
            jwt.InvalidTokenError: it is not ours, or too old.
        """
        kid = jwt.get_unverified_header(token).get("kid")
        jwk = next((jwk for jwk in self.jwks()["keys"] if jwk["kid"] == kid), None)
        if jwk is None:
            raise jwt.InvalidTokenError("no such key")
        checks: Options = {"verify_aud": False, "verify_exp": False, "verify_iat": False}
        claims = jwt.decode(token, jwt.PyJWK(jwk).key, algorithms=["RS256"], issuer=issuer, options=checks)
        if not expired and claims.get("exp", 0) < self._clock():
            raise jwt.ExpiredSignatureError("expired")
        return claims

    def _public(self) -> Claims:
        numbers = json.loads(RSAAlgorithm.to_jwk(self.key.public_key()))
        return {
            "use": "sig",
            "kty": "RSA",
            "kid": self._kid,
            "alg": "RS256",
            "n": numbers["n"],
            "e": numbers["e"],
        }


def token_claims(grant: Grant, *, issuer: str, now: int, life: int, access_token: str, code: str = "") -> Claims:
    """
    The claims of an ID token, or of an access token.

    Args:
        now, life: seconds; ``exp`` is their sum.
        access_token: what ``at_hash`` is made from; Dex gives its access token the hash of a random word.
        code: what ``c_hash`` is made from; empty at a refresh.
    """
    aud = audience(grant.client_id, grant.scopes)
    claims = {
        "iss": issuer,
        "sub": subject(grant.person.user_id),
        "aud": aud if len(aud) > 1 else aud[0],
        "exp": now + life,
        "iat": now,
        "azp": grant.client_id if len(aud) > 1 else None,
        "nonce": grant.nonce or None,
        "at_hash": half_hash(access_token),
        "c_hash": half_hash(code) if code else None,
        **_personal(grant.person, grant.scopes),
        "sid": grant.sid,
        "auth_time": grant.auth_time,
        "jti": new_id() if grant.sid else None,
    }
    return {name: value for name, value in claims.items() if value is not None}


def _personal(person: Person, scopes: tuple[str, ...]) -> dict[str, Any]:
    claims: dict[str, Any] = {}
    if "email" in scopes:
        claims |= {"email": person.email or None, "email_verified": person.email_verified}
    if "groups" in scopes:
        claims["groups"] = list(person.groups) or None
    if "profile" in scopes:
        claims |= {"name": person.name or None, "preferred_username": person.login or None}
    if "federated:id" in scopes:
        claims["federated_claims"] = {"connector_id": CONNECTOR, "user_id": person.user_id}
    return claims


def audience(client_id: str, scopes: tuple[str, ...]) -> list[str]:
    """The peers named in ``scopes``, in order; the client itself comes last unless it named itself."""
    aud = [peer for scope in scopes if (peer := peer_of(scope)) is not None]
    return aud if client_id in aud else [*aud, client_id]


def half_hash(text: str) -> str:
    """``at_hash`` and ``c_hash``: the left half of SHA-256 (OIDC Core §3.1.3.6)."""
    return _b64(hashlib.sha256(text.encode()).digest()[:16]).decode()


def challenge_of(verifier: str, method: str) -> str:
    """The PKCE challenge that ``verifier`` answers (RFC 7636 §4.6)."""
    return verifier if method == "plain" else _b64(hashlib.sha256(verifier.encode()).digest()).decode()


def subject(user_id: str) -> str:
    """``sub``: a protobuf message of user id and connector, so it changes if the connector does."""
    return pack(user_id, CONNECTOR)


def pack(first: str, second: str) -> str:
    """Base64url of a protobuf message with two strings, fields 1 and 2."""
    parts = ((b"\x0a", first.encode()), (b"\x12", second.encode()))
    return _b64(b"".join(tag + _varint(len(data)) + data for tag, data in parts if data)).decode()


def new_id() -> str:
    """25 random characters of lower case and digits, led by a letter: Dex's ids, codes and tokens."""
    return secrets.choice("abcdefghijklmnopqrstuvwxyz") + base64.b32encode(secrets.token_bytes(15)).decode().lower()


def _varint(number: int) -> bytes:
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])


def _new_kid() -> str:
    return secrets.token_hex(20)


def _b64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
