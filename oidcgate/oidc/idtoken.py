"""
Is this ID token genuine, for us, and for now?

Pure.

- Two steps, so that cheap refusals come before a key is fetched: ``header_of``, then ``verify`` with the key.
- Nothing in the token chooses how it is checked: the algorithm must be on our list and fit the key, and a
  header that brings or points to a key is refused.
- What the claims must be is in ``claims``; here they are looked at only once the signature holds.
- Messages name what was expected and got, never the token.

Sources: OIDC Core §3.1.3.6, §3.1.3.7, §12.2; RFC 7515 §4.1, §5.2; RFC 7797 §7; RFC 8725 §3.
"""

import hashlib
import hmac
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from oidcgate.errors import InvalidIdToken
from oidcgate.oidc.claims import Claims, Expected, check_claims, differs
from oidcgate.oidc.keyset import ALGORITHMS, MAX_KID, Key
from oidcgate.oidc.strictjson import decode_base64url, encode_base64url, loads_object

__all__ = [
    "MAX_TOKEN",
    "Claims",
    "Expected",
    "TokenHeader",
    "genuine_payload",
    "header_of",
    "verify",
    "verify_refreshed",
]

MAX_TOKEN = 64 * 1024  # characters; hundreds of groups make tokens of 30 kB
MAX_HEADER = 1024  # bytes, decoded
# Headers that bring a key, change what is signed, or wrap another token (RFC 7515 §4.1, RFC 7797, RFC 7516).
_REFUSED: Final = ("crit", "b64", "jku", "jwk", "x5u", "x5c", "zip", "enc", "cty")


@dataclass(frozen=True, slots=True)
class TokenHeader:
    """Which key a token says it was signed with, and how."""

    kid: str | None
    alg: str


def header_of(raw: str, expected: Expected, kind: str = "JWT") -> TokenHeader:
    """
    Check all that needs no key: shape, sizes, encoding and the JOSE header.

    Args: ``kind`` what ``typ`` must be where it is given (RFC 8725 §3.11).
    Raises: InvalidIdToken. Not checked: the signature and every claim.
    """
    return _header(_split(raw), expected, kind)


def genuine_payload(raw: str, *, key: Key, expected: Expected, kind: str) -> dict[str, object]:
    """
    The payload of a token of another kind, such as ``logout+jwt``, once its signature holds.

    Raises: InvalidIdToken. Not checked: every claim.
    """
    parts = _split(raw)
    return _payload(parts, _header(parts, expected, kind), key)


def verify(
    raw: str,
    *,
    key: Key,
    expected: Expected,
    now: float,
    access_token: str | None,
    exactly: frozenset[str] | None = None,
) -> Claims:
    """
    Check a token completely (OIDC Core §3.1.3.7).

    Args: ``key`` out of the issuer's key set, by ``header_of``'s kid and alg; ``now`` seconds since 1970;
    ``access_token`` the one that came along, for ``at_hash``; without one ``at_hash`` is not checked;
    ``exactly`` the whole audience, which replaces ``expected.audiences``.
    Raises: InvalidIdToken naming the first claim that fails.
    Not checked: ``nonce`` when none is expected, ``acr``, ``amr`` and the age of ``auth_time``.
    """
    parts = _split(raw)
    header = _header(parts, expected)
    payload = _payload(parts, header, key)
    if exactly is not None:
        expected = replace(expected, audiences=exactly - {expected.client_id})
    if "events" in payload:  # a logout token says what happened, not who somebody is (Back-Channel Logout §2.4)
        raise InvalidIdToken("events", "belongs to a logout token")
    claims = check_claims(payload, expected, now=now)
    if exactly is not None and exactly != frozenset(claims.audience):
        raise InvalidIdToken("aud", differs(sorted(exactly), sorted(claims.audience)))
    _check_access_token(payload.get("at_hash"), header.alg, access_token)
    return claims


def verify_refreshed(
    raw: str,
    *,
    key: Key,
    expected: Expected,
    now: float,
    access_token: str | None,
    previous: Claims,
    exactly: frozenset[str] | None = None,
) -> Claims:
    """
    Check a token that came from a refresh against the one before it (OIDC Core §12.2).

    The audience must be the previous one, or ``client_id`` with all of ``expected.audiences``. A token that was
    narrowed to one cluster must be for ``exactly`` that one, whatever the previous was for: else a provider that
    narrows nothing would hand one cluster the key to all. ``expected.nonce`` is not used: the nonce is the login's
    or absent, and nonce, auth_time and sid are carried over.
    Raises: InvalidIdToken, as ``verify`` does. Not checked: whether groups or e-mail still let the person in.
    """
    claims = verify(
        raw, key=key, expected=replace(expected, nonce=None), now=now, access_token=access_token, exactly=exactly
    )
    if claims.issuer != previous.issuer:
        raise InvalidIdToken("iss", differs(previous.issuer, claims.issuer))
    if claims.subject != previous.subject:
        raise InvalidIdToken("sub", "another person than before the refresh")
    asked = {expected.client_id} | expected.audiences
    if exactly is None and set(claims.audience) not in (asked, set(previous.audience)):
        raise InvalidIdToken("aud", differs(sorted(previous.audience), sorted(claims.audience)))
    if claims.auth_time is not None and previous.auth_time not in (None, claims.auth_time):
        raise InvalidIdToken("auth_time", differs(previous.auth_time, claims.auth_time))
    if claims.nonce is not None and claims.nonce != previous.nonce:
        raise InvalidIdToken("nonce", "another than the login's")
    return replace(
        claims,
        nonce=previous.nonce,
        auth_time=claims.auth_time if claims.auth_time is not None else previous.auth_time,
        sid=claims.sid or previous.sid,
    )


class _Parts(NamedTuple):
    """A compact JWS taken apart, decoded."""

    header: bytes
    payload: bytes
    signature: bytes
    signed: bytes


def _split(raw: str) -> _Parts:
    if len(raw) > MAX_TOKEN:
        raise InvalidIdToken("id_token", f"expected at most {MAX_TOKEN} characters, got {len(raw)}")
    pieces = raw.split(".")
    if len(pieces) != 3:  # five would be encrypted (RFC 7516 §3.1)
        raise InvalidIdToken("id_token", f"expected three parts, got {len(pieces)}")
    try:
        header, payload, signature = map(decode_base64url, pieces)
    except ValueError as error:
        raise InvalidIdToken("id_token", str(error)) from error
    if not signature:
        raise InvalidIdToken("signature", "expected one, got none")
    return _Parts(header, payload, signature, f"{pieces[0]}.{pieces[1]}".encode("ascii"))


def _header(parts: _Parts, expected: Expected, kind: str = "JWT") -> TokenHeader:
    try:
        header = loads_object(parts.header, max_bytes=MAX_HEADER, max_depth=4)
    except ValueError as error:
        raise InvalidIdToken("header", str(error)) from error
    alg, kid = header.get("alg"), header.get("kid")
    if not isinstance(alg, str) or alg not in expected.algorithms or alg not in ALGORITHMS:
        raise InvalidIdToken("alg", differs(" or ".join(expected.algorithms), alg))
    for name in _REFUSED:
        if name in header:
            raise InvalidIdToken(name, "not accepted in a header")
    typ = header.get("typ", kind)
    if not isinstance(typ, str) or typ.upper() != kind.upper():  # at+jwt and logout+jwt are other things
        raise InvalidIdToken("typ", differs(kind, typ))
    if "kid" in header and (not isinstance(kid, str) or not 0 < len(kid) <= MAX_KID):
        raise InvalidIdToken("kid", f"expected a string of at most {MAX_KID} characters")
    return TokenHeader(kid=kid if isinstance(kid, str) else None, alg=alg)


def _payload(parts: _Parts, header: TokenHeader, key: Key) -> dict[str, object]:
    if header.kid not in (None, key.kid) or not key.fits(header.alg):
        raise InvalidIdToken("kid", "the key is not the one for this token")
    if not key.verifies(header.alg, parts.signed, parts.signature):
        raise InvalidIdToken("signature", "does not match the token")
    try:
        return loads_object(parts.payload, max_bytes=MAX_TOKEN)
    except ValueError as error:
        raise InvalidIdToken("payload", str(error)) from error


def _check_access_token(at_hash: object, alg: str, access_token: str | None) -> None:
    """OIDC Core §3.1.3.6 and §3.1.3.8: the left half of the hash."""
    if at_hash is None or access_token is None:
        return
    digest = hashlib.new(ALGORITHMS[alg].digest, access_token.encode()).digest()
    expected = encode_base64url(digest[: len(digest) // 2])
    if not isinstance(at_hash, str) or not hmac.compare_digest(expected.encode(), at_hash.encode()):
        raise InvalidIdToken("at_hash", "belongs to another access token")
