"""
A grant: one person's token set from one issuer for one client, shared by all of that person's browsers.

Pure. Dex keeps one refresh token a person, connector and client, so browsers that kept one each would end one
another's; here the newest replaces the last, and every session of the person profits.
"""

import hashlib
import json
from dataclasses import dataclass, field, replace
from typing import Any

from oidcgate.errors import InvalidSeal
from oidcgate.oidc.idtoken import Claims

RECORD_VERSION = 1


def grant_key(issuer: str, client_id: str, subject: str) -> str:
    """The store's key; a hash, so that the store's keys name nobody."""
    named = json.dumps([issuer, client_id, subject]).encode()
    return "grant:" + hashlib.sha256(named).hexdigest()


@dataclass(frozen=True, slots=True)
class Grant:
    """
    The tokens of one person.

    ``refresh_token`` None means that the tokens run out at ``claims.expires`` and then the person passes through
    login again. ``sessions`` maps each session's key to when it ends at the latest (seconds since the epoch).
    """

    key: str
    issuer: str
    client_id: str
    claims: Claims
    id_token: str = field(repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    obtained: float = 0.0
    sessions: tuple[tuple[str, float], ...] = ()

    def with_session(self, key: str, ends: float, *, now: float) -> "Grant":
        """Also used by one more session; those that ended are forgotten."""
        kept = tuple((k, end) for k, end in self.sessions if end > now and k != key)
        return replace(self, sessions=(*kept, (key, ends)))

    def without_session(self, key: str) -> "Grant":
        """Not used by that session any more."""
        return replace(self, sessions=tuple((k, end) for k, end in self.sessions if k != key))

    def over_limit(self, most: int) -> tuple[str, ...]:
        """The oldest sessions' keys beyond ``most``."""
        return tuple(key for key, _ in self.sessions[: max(0, len(self.sessions) - most)])

    @property
    def ends(self) -> float:
        """When the last session ends, in seconds since the epoch."""
        return max((end for _, end in self.sessions), default=0.0)

    def to_bytes(self) -> bytes:
        """For sealing; the key is bound as context instead."""
        record = {
            "v": RECORD_VERSION,
            "issuer": self.issuer,
            "client_id": self.client_id,
            "claims": self.claims.to_record(),
            "id_token": self.id_token,
            "refresh_token": self.refresh_token,
            "obtained": self.obtained,
            "sessions": self.sessions,
        }
        return json.dumps(record, separators=(",", ":")).encode()


def grant_from_bytes(key: str, plain: bytes) -> Grant:
    """
    The inverse of ``to_bytes``.

    Raises:
        InvalidSeal: a record that this release does not understand.
    """
    record: dict[str, Any] = json.loads(plain)
    if record.get("v") != RECORD_VERSION:
        raise InvalidSeal("a grant record of another version")
    try:
        return Grant(
            key=key,
            issuer=record["issuer"],
            client_id=record["client_id"],
            claims=Claims.from_record(record["claims"]),
            id_token=record["id_token"],
            refresh_token=record["refresh_token"],
            obtained=record["obtained"],
            sessions=tuple((k, end) for k, end in record["sessions"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidSeal("a grant record that lacks a field") from error
