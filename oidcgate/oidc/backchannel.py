"""
Is this logout token genuine, for us, and about whom?

Pure.

- A logout token is no ID token and an ID token no logout token: ``typ`` and ``events`` tell them apart, and a
  ``nonce`` in one is refused.
- Names a session (``sid``), a person (``sub``), or both.

Sources: OIDC Back-Channel Logout §2.4, §2.6.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from oidcgate.errors import InvalidIdToken
from oidcgate.oidc import idtoken
from oidcgate.oidc.claims import Expected, differs
from oidcgate.oidc.keyset import Key

KIND: Final = "logout+jwt"
EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"
MAX_TEXT: Final = 255  # characters of sub, sid and jti
MAX_AGE: Final = 600.0  # seconds since iat; a logout that old was answered or given up long ago


@dataclass(frozen=True, slots=True)
class LogoutToken:
    """Whom to sign out: a session, or everything of a person. ``jti`` is for the replay table."""

    subject: str | None
    sid: str | None
    jti: str
    expires: float


def verify_logout(raw: str, *, key: Key, expected: Expected, now: float) -> LogoutToken:
    """
    Check a logout token completely.

    Args: ``now`` seconds since 1970; ``expected`` as for ID tokens, its nonce and audiences aside.
    Raises: InvalidIdToken naming the first claim that fails. Not checked: whether ``jti`` was seen before.
    """
    payload = idtoken.genuine_payload(raw, key=key, expected=expected, kind=KIND)
    if payload.get("iss") != expected.issuer:
        raise InvalidIdToken("iss", differs(expected.issuer, payload.get("iss")))
    _check_audience(payload.get("aud"), expected.client_id)
    _check_event(payload.get("events"))
    if "nonce" in payload:
        raise InvalidIdToken("nonce", "a logout token has none")
    expires = _check_times(payload, expected, now)
    subject, sid, jti = (_text(payload, name) for name in ("sub", "sid", "jti"))
    if jti is None:
        raise InvalidIdToken("jti", "expected one, got none")
    if subject is None and sid is None:
        raise InvalidIdToken("sub", "expected sub or sid, got neither")
    return LogoutToken(subject=subject, sid=sid, jti=jti, expires=expires)


def _check_audience(audience: object, client_id: str) -> None:
    listed = audience if isinstance(audience, list) else [audience]
    if client_id not in listed:
        raise InvalidIdToken("aud", differs(client_id, audience))


def _check_event(events: object) -> None:
    if not isinstance(events, dict) or not isinstance(events.get(EVENT), dict):
        raise InvalidIdToken("events", "expected the back-channel logout event, an object")


def _check_times(payload: Mapping[str, object], expected: Expected, now: float) -> float:
    issued_at, expires = payload.get("iat"), payload.get("exp", now + MAX_AGE)
    for name, value in (("iat", issued_at), ("exp", expires)):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InvalidIdToken(name, "expected a number")
    assert isinstance(issued_at, int | float)
    assert isinstance(expires, int | float)
    if issued_at > now + expected.leeway or issued_at < now - MAX_AGE:
        raise InvalidIdToken("iat", "too far from now")
    if expires <= now - expected.leeway or expires > now + 10 * MAX_AGE:
        raise InvalidIdToken("exp", "in the past, or too far from now")
    return float(expires)


def _text(payload: Mapping[str, object], name: str) -> str | None:
    value = payload.get(name)
    if value is not None and (not isinstance(value, str) or not 0 < len(value) <= MAX_TEXT):
        raise InvalidIdToken(name, f"expected a string of at most {MAX_TEXT} characters")
    return value
