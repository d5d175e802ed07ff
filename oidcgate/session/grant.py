"""
A grant: what one person has from one issuer for one client, shared by all of that person's browsers.

Pure. Dex keeps one refresh token a person, connector and client, so browsers that kept one each would end one
another's; here the newest replaces the last, and every session of the person profits. The one refresh token brings a
token for each audience: whoever steals one of them opens one cluster only.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from oidcgate.errors import InvalidSeal
from oidcgate.oidc.idtoken import Claims

# A release that knows version 1 only takes a record of version 2 for no session, so it has to be drained before the
# first of this release starts; the other way round nobody is signed out.
RECORD_VERSION = 2


def grant_key(issuer: str, client_id: str, subject: str) -> str:
    """The store's key; a hash, so that the store's keys name nobody."""
    named = json.dumps([issuer, client_id, subject]).encode()
    return "grant:" + hashlib.sha256(named).hexdigest()


@dataclass(frozen=True, slots=True)
class Token:
    """An ID token for one audience; ``obtained`` in seconds since the epoch."""

    id_token: str = field(repr=False)
    claims: Claims
    obtained: float


@dataclass(frozen=True, slots=True)
class Grant:
    """
    The tokens of one person.

    ``claims`` are the newest that are known of the person, whichever token they came with. ``tokens`` has them by
    audience; empty = the client itself. ``granted`` names the audiences that the last login was for, besides the
    client. ``refresh_token`` None means that the tokens run out and then the person passes through login again.
    ``obtained`` is the time of the last login (seconds since the epoch). ``sessions`` has a row for each session: its
    key, when it ends at the latest, and the key of the session of the login host that it was handed over from, which
    is its own when it began with a login. All rows with one root are one browser's.
    """

    key: str
    issuer: str
    client_id: str
    claims: Claims
    tokens: Mapping[str, Token] = field(default_factory=dict)
    refresh_token: str | None = field(default=None, repr=False)
    granted: tuple[str, ...] = ()
    obtained: float = 0.0
    sessions: tuple[tuple[str, float, str], ...] = ()

    @property
    def id_token(self) -> str:
        """The token for the client itself; empty = there is none."""
        return self.tokens[""].id_token if "" in self.tokens else ""

    def allows(self, audience: str) -> bool:
        """Whether the refresh token can bring a token for that audience."""
        return self.refresh_token is not None and (not audience or audience in self.granted)

    def with_login(
        self, claims: Claims, *, refresh_token: str | None, tokens: Mapping[str, Token], now: float
    ) -> "Grant":
        """
        After another login; ``tokens`` are those of its tokens that may be sent.

        The tokens of other audiences stay: the login's own is not for them alone.
        """
        granted = tuple(audience for audience in claims.audience if audience != self.client_id)
        return replace(
            self,
            claims=claims,
            tokens={**self.tokens, **tokens},
            refresh_token=refresh_token or self.refresh_token,
            granted=granted if refresh_token else self.granted,
            obtained=now,
        )

    def with_token(self, audience: str, id_token: str, claims: Claims, *, now: float) -> "Grant":
        """
        After a renewal; never older than the login, however clocks differ: it would be due for ever.

        When the person's groups have changed, the tokens of other audiences are due at once, as after a login.
        """
        obtained = max(now, self.obtained)
        changed = set(claims.groups) != set(self.claims.groups) or claims.email != self.claims.email
        return replace(
            self,
            claims=claims,
            tokens={**self.tokens, audience: Token(id_token, claims, obtained)},
            obtained=obtained if changed else self.obtained,
        )

    def with_session(self, key: str, ends: float, *, now: float, root: str | None = None) -> "Grant":
        """Also used by one more session; those that ended are forgotten."""
        kept = tuple(row for row in self.sessions if row[1] > now and row[0] != key)
        return replace(self, sessions=(*kept, (key, ends, root or key)))

    def without_session(self, key: str) -> "Grant":
        """Not used by that session any more."""
        return replace(self, sessions=tuple(row for row in self.sessions if row[0] != key))

    def has_session(self, key: str) -> bool:
        """Whether that session uses it."""
        return any(row[0] == key for row in self.sessions)

    @property
    def session_keys(self) -> tuple[str, ...]:
        """The keys of all sessions."""
        return tuple(key for key, _, _ in self.sessions)

    def keys_of_browser(self, root: str) -> tuple[str, ...]:
        """The keys of one browser's sessions."""
        return tuple(key for key, _, its_root in self.sessions if its_root == root)

    def over_limit(self, most: int) -> tuple[str, ...]:
        """The keys of all sessions of the oldest browsers beyond ``most``."""
        roots = list(dict.fromkeys(root for _, _, root in self.sessions))
        surplus = roots[: max(0, len(roots) - most)]
        return tuple(key for key, _, root in self.sessions if root in surplus)

    @property
    def ends(self) -> float:
        """When the last session ends, in seconds since the epoch."""
        return max((end for _, end, _ in self.sessions), default=0.0)

    def to_bytes(self) -> bytes:
        """For sealing; the key is bound as context instead."""
        record = {
            "v": RECORD_VERSION,
            "issuer": self.issuer,
            "client_id": self.client_id,
            "claims": self.claims.to_record(),
            "tokens": {
                audience: {"id_token": token.id_token, "claims": token.claims.to_record(), "obtained": token.obtained}
                for audience, token in self.tokens.items()
            },
            "refresh_token": self.refresh_token,
            "granted": self.granted,
            "obtained": self.obtained,
            "sessions": self.sessions,
        }
        return json.dumps(record, separators=(",", ":")).encode()


def grant_from_bytes(key: str, plain: bytes) -> Grant:
    """
    The inverse of ``to_bytes``; records of version 1 are read, too.

    Raises:
        InvalidSeal: a record that this release does not understand.
    """
    record: dict[str, Any] = json.loads(plain)
    if record.get("v") not in (1, RECORD_VERSION):
        raise InvalidSeal("a grant record of another version")
    try:
        if record["v"] == 1:
            record = _of_version_1(record)
        return Grant(
            key=key,
            issuer=record["issuer"],
            client_id=record["client_id"],
            claims=Claims.from_record(record["claims"]),
            tokens={audience: _token(token) for audience, token in record["tokens"].items()},
            refresh_token=record["refresh_token"],
            granted=tuple(record["granted"]),
            obtained=record["obtained"],
            sessions=tuple((k, end, root) for k, end, root in record["sessions"]),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InvalidSeal("a grant record that lacks a field") from error


def _token(record: Mapping[str, Any]) -> Token:
    return Token(record["id_token"], Claims.from_record(record["claims"]), record["obtained"])


def _of_version_1(record: dict[str, Any]) -> dict[str, Any]:
    """It had one token, and each session was a browser's only one."""
    token = {name: record[name] for name in ("id_token", "claims", "obtained")}
    sessions = [(key, ends, key) for key, ends in record["sessions"]]
    return {**record, "tokens": {"": token}, "granted": (), "sessions": sessions}
