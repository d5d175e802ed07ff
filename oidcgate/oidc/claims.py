"""
What a verified token says, and what it must say.

Pure.

- Every claim has one type; whatever has another is refused, not converted.
- Identity is (issuer, subject). E-mail is an attribute, and compared only in the one form made here.
- Nothing past its ``exp`` is used: leeway is for ``iat`` and ``nbf``, since the API server gives ``exp``
  none.

Sources: OIDC Core §2, §3.1.3.7, §5.1, §5.7; RFC 7519 §2, §4.1.
"""

import hmac
import unicodedata
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from oidcgate.errors import InvalidIdToken

_MAX_SUBJECT = 255  # OIDC Core §2
_MAX_AUDIENCES = 64
_LAST_SECOND = 253402300799  # the end of the year 9999


@dataclass(frozen=True, slots=True)
class Expected:
    """
    What a token must be.

    ``audiences`` may stand beside ``client_id`` in ``aud``; ``leeway`` and ``max_token_life`` are seconds;
    ``nonce`` None means that no login is being ended: then it is not checked.
    """

    issuer: str
    client_id: str
    audiences: frozenset[str]
    algorithms: tuple[str, ...]
    leeway: float
    max_token_life: float
    nonce: str | None


@dataclass(frozen=True, slots=True)
class Claims:
    """
    A verified payload; (``issuer``, ``subject``) is the identity, times are seconds since 1970.

    ``email`` has its domain in lower case, and is None when it is no proper address; it says something about
    a person only if ``email_verified``.
    """

    issuer: str
    subject: str
    audience: tuple[str, ...]
    expires: float
    issued_at: float
    nonce: str | None = None
    sid: str | None = None
    auth_time: float | None = None
    email: str | None = None
    email_verified: bool = False
    groups: tuple[str, ...] = ()
    name: str | None = None
    preferred_username: str | None = None

    def to_record(self) -> dict[str, object]:
        """The claims as plain JSON values."""
        return asdict(self) | {"audience": list(self.audience), "groups": list(self.groups)}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Claims":
        """
        The claims out of ``to_record``'s dict; members of a newer release are ignored.

        Raises: ValueError when a member without a default is missing. Not checked: the members' types, since
        a record is only read after it was unsealed.
        """
        known = {each.name: record[each.name] for each in fields(cls) if each.name in record}
        for name in known.keys() & {"audience", "groups"}:
            known[name] = tuple(known[name])
        try:
            return cls(**known)
        except TypeError as error:
            raise ValueError("not a record of claims") from error


def check_claims(payload: Mapping[str, object], expected: Expected, *, now: float) -> Claims:
    """
    The claims of a payload whose signature holds (OIDC Core §3.1.3.7).

    Args: ``now`` seconds since 1970.
    Raises: InvalidIdToken naming the first claim that fails.
    Not checked: ``nonce`` when none is expected, ``at_hash``, ``acr``, ``amr`` and the age of ``auth_time``.
    """
    if payload.get("iss") != expected.issuer:
        raise InvalidIdToken("iss", differs(expected.issuer, payload.get("iss")))
    _check_nonce(payload, expected.nonce)
    expires, issued_at = _times(payload, expected, now)
    return Claims(
        issuer=expected.issuer,
        subject=_subject(payload.get("sub")),
        audience=_audience(payload, expected),
        expires=expires,
        issued_at=issued_at,
        nonce=_text(payload, "nonce"),
        sid=_text(payload, "sid"),
        auth_time=_seconds(payload, "auth_time") if "auth_time" in payload else None,
        email=_email(_text(payload, "email")),
        email_verified=payload.get("email_verified") is True,  # the string "true" verifies nothing
        groups=_groups(payload.get("groups")),
        name=_text(payload, "name"),
        preferred_username=_text(payload, "preferred_username"),
    )


def _check_nonce(payload: Mapping[str, object], nonce: str | None) -> None:
    got = payload.get("nonce")
    if got is not None and not isinstance(got, str):
        raise InvalidIdToken("nonce", "expected a string")
    if nonce is not None and not (got and hmac.compare_digest(nonce.encode(), got.encode())):
        raise InvalidIdToken("nonce", "not this login's")


def _audience(payload: Mapping[str, object], expected: Expected) -> tuple[str, ...]:
    """
    Ours must be in it; others only by configuration, and then ``azp`` must say that it was issued to us.
    """
    audience = _strings("aud", payload.get("aud"))
    if expected.client_id not in audience or len(audience) > _MAX_AUDIENCES:
        raise InvalidIdToken("aud", differs(expected.client_id, audience))
    foreign = set(audience) - {expected.client_id}
    if not foreign <= expected.audiences:
        raise InvalidIdToken("aud", f"not allowed beside us: {_shown(sorted(foreign - expected.audiences))}")
    azp = payload.get("azp")
    if azp != expected.client_id and (foreign or "azp" in payload):
        raise InvalidIdToken("azp", differs(expected.client_id, azp))
    return audience


def _times(payload: Mapping[str, object], expected: Expected, now: float) -> tuple[float, float]:
    expires, issued_at = _seconds(payload, "exp"), _seconds(payload, "iat")
    if expires <= now:
        raise InvalidIdToken("exp", f"expected after {now:.0f}, got {expires:.0f}")
    if issued_at > now + expected.leeway:
        raise InvalidIdToken("iat", f"expected before {now + expected.leeway:.0f}, got {issued_at:.0f}")
    if not 0 < expires - issued_at <= expected.max_token_life:
        life = expires - issued_at
        raise InvalidIdToken("exp", f"expected a life of {expected.max_token_life:.0f} s, got {life:.0f} s")
    if "nbf" in payload and _seconds(payload, "nbf") > now + expected.leeway:
        raise InvalidIdToken("nbf", f"expected before {now + expected.leeway:.0f}")
    return expires, issued_at


def _seconds(payload: Mapping[str, object], name: str) -> float:
    value = payload.get(name)
    # A bool is an int to Python; to RFC 7519 §2 it is no NumericDate.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LAST_SECOND:
        raise InvalidIdToken(name, differs("seconds since 1970", value))
    return value


def _subject(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _MAX_SUBJECT or not value.isprintable():
        raise InvalidIdToken("sub", f"expected a string of 1 to {_MAX_SUBJECT} characters")
    return value


def _text(payload: Mapping[str, object], name: str) -> str | None:
    value = payload.get(name)
    if value is not None and not isinstance(value, str):
        raise InvalidIdToken(name, "expected a string")
    return value or None


def _groups(value: object) -> tuple[str, ...]:
    # A directory may well deliver a blank name; it is nobody's group.
    return () if value is None else tuple(group for group in _strings("groups", value) if group)


def _strings(name: str, value: object) -> tuple[str, ...]:
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise InvalidIdToken(name, "expected a string or a list of strings")
    return tuple(items)


def _email(value: str | None) -> str | None:
    """An address that rules may compare, or None: a broken one must match no rule, and locks nobody out."""
    local, at, domain = (value or "").rpartition("@")
    if not local or not domain or "@" in local or not (local + domain).isprintable() or " " in local + domain:
        return None
    normal = unicodedata.normalize("NFC", domain).lower()
    if normal.isascii() != domain.isascii():  # a Kelvin sign would become the letter k: another domain
        return None
    return unicodedata.normalize("NFC", local) + at + normal


def differs(expected: object, got: object) -> str:
    """The sentence for a value that is not the expected one; long values are cut."""
    return f"expected {_shown(expected)}, got {_shown(got)}"


def _shown(value: object) -> str:
    return repr(value)[:200]
