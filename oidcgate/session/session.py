"""
A session: one browser's login, found by the handle in its cookie.

Pure. The handle is 256 random bits; the store knows only its hash, so reading the store signs nobody in.
"""

import base64
import hashlib
import json
from dataclasses import dataclass, field, replace
from typing import Any

from oidcgate.errors import InvalidHandle, InvalidSeal

RECORD_VERSION = 1
HANDLE_LENGTH = 43  # 32 bytes in base64url without padding


def encode_handle(secret: bytes) -> str:
    """32 random bytes as a cookie value."""
    return base64.urlsafe_b64encode(secret).decode().rstrip("=")


def session_key(handle: bytes) -> str:
    """
    The store's key for a cookie value.

    Raises:
        InvalidHandle: not the shape of a handle.
    """
    if len(handle) != HANDLE_LENGTH:
        raise InvalidHandle("not a handle")
    return "session:" + hashlib.sha256(handle).hexdigest()


def sid_key(issuer: str, client_id: str, sid: str) -> str:
    """Where the store says whose a login is, by the issuer's name of it (OIDC Back-Channel Logout §2.4); a hash."""
    named = json.dumps([issuer, client_id, sid]).encode()
    return "sid:" + hashlib.sha256(named).hexdigest()


@dataclass(frozen=True, slots=True)
class Session:
    """
    One browser's login. Times are seconds since the epoch.

    ``id_token_hint`` and ``sid`` belong to the login itself (OIDC RP-Initiated Logout §2), not to the grant.
    """

    key: str
    grant_key: str
    started: float
    seen: float
    ends: float
    site: str
    csrf: str = field(repr=False)
    sid: str | None = None
    id_token_hint: str = field(default="", repr=False)
    address: str = ""
    agent: str = ""
    root: str = ""

    @property
    def browser(self) -> str:
        """The key of the session that the browser's others, on further hosts, were handed over from."""
        return self.root or self.key

    def is_over(self, now: float, idle: float) -> bool:
        """Whether the absolute or the idle limit has passed."""
        return now >= self.ends or now >= self.seen + idle

    def used(self, now: float) -> "Session":
        """The same session, seen now."""
        return replace(self, seen=now)

    def to_bytes(self) -> bytes:
        """For sealing; the key is bound as context instead."""
        record = {name: getattr(self, name) for name in FIELDS}
        return json.dumps({"v": RECORD_VERSION, **record}, separators=(",", ":")).encode()


FIELDS = ("grant_key", "started", "seen", "ends", "site", "csrf", "sid", "id_token_hint", "address", "agent", "root")


def session_from_bytes(key: str, plain: bytes) -> Session:
    """
    The inverse of ``to_bytes``; fields that a newer release added are ignored.

    Raises:
        InvalidSeal: a record that this release does not understand.
    """
    record: dict[str, Any] = json.loads(plain)
    if record.get("v") != RECORD_VERSION:
        raise InvalidSeal("a session record of another version")
    try:
        return Session(key=key, **{name: record[name] for name in FIELDS if name in record})
    except TypeError as error:
        raise InvalidSeal("a session record that lacks a field") from error
