"""
What a login brought, as it is kept between two runs of kubectl.

Pure.

- What is not as it was written is no entry: a login repairs it.
- No repr shows a token.
"""

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from oidcgate.oidc.claims import Claims
from oidcgate.oidc.strictjson import loads_object

VERSION = 1  # of the record
MAX_RECORD = 1024 * 1024  # bytes


@dataclass(frozen=True, slots=True)
class Token:
    """An ID token and its times, in seconds since 1970."""

    id_token: str = field(repr=False)
    issued: float
    expires: float


@dataclass(frozen=True, slots=True)
class Entry:
    """
    What one login brought: its claims, the scopes it was granted, and a token for each set of scopes asked for since.
    """

    claims: Claims
    scopes: frozenset[str]
    tokens: dict[str, Token] = field(default_factory=dict)
    refresh_token: str | None = field(default=None, repr=False)
    stored: float = 0.0

    def to_json(self) -> str:
        """As it is kept."""
        record = {
            "version": VERSION,
            "stored": self.stored,
            "scopes": sorted(self.scopes),
            "claims": self.claims.to_record(),
            "refresh_token": self.refresh_token,
            "tokens": {slot: asdict(token) for slot, token in self.tokens.items()},
        }
        return json.dumps(record)

    @classmethod
    def from_json(cls, text: str) -> "Entry | None":
        """The entry, or None for anything that `to_json` did not write."""
        try:
            record: dict[str, Any] = loads_object(text.encode(), max_bytes=MAX_RECORD)
            if record["version"] != VERSION:
                return None
            return cls(
                claims=Claims.from_record(record["claims"]),
                scopes=frozenset(map(_text, record["scopes"])),
                tokens={slot: _token(each) for slot, each in record["tokens"].items()},
                refresh_token=None if record["refresh_token"] is None else _text(record["refresh_token"]),
                stored=float(record["stored"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            return None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("expected a string")
    return value


def _token(record: Any) -> Token:
    return Token(_text(record["id_token"]), float(record["issued"]), float(record["expires"]))
