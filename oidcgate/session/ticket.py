"""
Handing a login over from the host where logins end to another host of the same gate.

Pure. Rules of this file:
- What is asked (``Wish``) travels sealed through the browser; what is given (``Ticket``) lies in the store and only its
  name travels. Both name the host and the hash of a secret that the browser keeps in a cookie of that very host.
- A ticket lives for a minute, is used up by the first look at it, and works in no other browser and on no other host.
"""

import hashlib
import json
from dataclasses import dataclass, field

from oidcgate.errors import InvalidSeal

LIFE = 60.0  # seconds
WISH_LIFE = 600.0  # seconds; a person may type a password in between
WISH_FIELDS = 3
LONGER = (1,)  # follows them where another login is wanted although there is one
TICKET_FIELDS = 3


def bound_to(secret: str) -> str:
    """What a wish and a ticket say of the browser's secret: its hash."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def ticket_key(name: bytes) -> str:
    """The store's key of a ticket; a hash, so that reading the store redeems none."""
    return "ticket:" + hashlib.sha256(name).hexdigest()


@dataclass(frozen=True, slots=True)
class Wish:
    """
    A host asks for the login of a browser.

    Attributes:
        began: seconds since the epoch.
        longer: another login is wanted, although there may be one, since that one ends soon.
    """

    origin: str
    bind: str = field(repr=False)
    began: float
    longer: bool = False

    def is_late(self, now: float) -> bool:
        """Whether it took too long."""
        return now - self.began >= WISH_LIFE

    def to_bytes(self) -> bytes:
        """For sealing."""
        row = [self.origin, self.bind, int(self.began), *(LONGER if self.longer else ())]
        return json.dumps(row, separators=(",", ":")).encode()


def wish_from_bytes(plain: bytes) -> Wish:
    """
    The inverse of ``to_bytes``.

    Raises:
        InvalidSeal: a release wrote it that keeps other fields.
    """
    row = json.loads(plain)
    if not isinstance(row, list) or len(row) < WISH_FIELDS or tuple(row[WISH_FIELDS:]) not in ((), LONGER):
        raise InvalidSeal("a wish of another release")
    return Wish(row[0], row[1], row[2], longer=len(row) > WISH_FIELDS)


@dataclass(frozen=True, slots=True)
class Ticket:
    """A login to be taken over: by the key of its session, by which host, and by which browser."""

    root: str
    origin: str
    bind: str = field(repr=False)

    def to_bytes(self) -> bytes:
        """For sealing; the store's key is bound as context instead."""
        return json.dumps([self.root, self.origin, self.bind], separators=(",", ":")).encode()


def ticket_from_bytes(plain: bytes) -> Ticket:
    """
    The inverse of ``to_bytes``.

    Raises:
        InvalidSeal: a release wrote it that keeps other fields.
    """
    row = json.loads(plain)
    if not isinstance(row, list) or len(row) != TICKET_FIELDS:
        raise InvalidSeal("a ticket of another release")
    return Ticket(*row)
