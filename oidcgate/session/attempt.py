"""
A login under way, kept in a small sealed cookie of the browser that began it.

Pure. Nothing is stored for somebody who has not signed in, so visitors fill no store. Each attempt has a cookie of its
own, named by its state: tabs that begin at the same moment cannot overwrite one another's, and the callback finds
exactly the one it answers. A browser keeps at most twenty.
"""

import hashlib
import json
from dataclasses import dataclass, field, replace

from oidcgate.errors import InvalidSeal

MOST_ATTEMPTS = 20
MOST_COOKIE_BYTES = 16 * 1024  # of all attempts together: heads have limits, also those of proxies before us
LIFE = 600.0  # seconds a login may take
MOST_BYTES = 2700  # of one attempt: stays below 4096 with sealing, base64, name and attributes
LOOP_WINDOW = 60.0  # seconds
LOOP_LOGINS = 4  # finished logins of one browser within the window that mean a loop
LABEL_LENGTH = 12
FIELD_COUNTS = (7, 9)  # of the release before, and of this one


@dataclass(frozen=True, slots=True)
class Attempt:
    """
    One login under way.

    Attributes:
        provider: which callback it belongs to.
        target, fragment: where it leads back to: a path of the own host, or an address on another host of ours.
        began: seconds since the epoch.
        wish: of another host that asked for this login, as it came; empty = none.
        only: the audience that is asked for alone; empty = all.
    """

    state: str = field(repr=False)
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)
    provider: str
    target: str
    fragment: str
    began: float
    wish: str = ""
    only: str = ""

    def is_late(self, now: float) -> bool:
        """Whether it took too long."""
        return now - self.began >= LIFE

    def to_bytes(self) -> bytes:
        """For sealing; a fragment that would not fit into a cookie is left out, then the target."""
        row = [self.state, self.nonce, self.verifier, self.provider, self.target, self.fragment, int(self.began)]
        row += [self.wish, self.only] if self.wish or self.only else []
        plain = json.dumps(row, separators=(",", ":")).encode()
        if len(plain) > MOST_BYTES and self.fragment:
            return replace(self, fragment="").to_bytes()
        if len(plain) > MOST_BYTES and self.target != "/":
            return replace(self, target="/").to_bytes()
        return plain


def attempt_from_bytes(plain: bytes) -> Attempt:
    """
    The inverse of ``to_bytes``.

    Raises:
        InvalidSeal: a release wrote it that keeps other fields.
    """
    row = json.loads(plain)
    if not isinstance(row, list) or len(row) not in FIELD_COUNTS:
        raise InvalidSeal("an attempt of another release")
    return Attempt(*row)


def label(state: str) -> str:
    """What an attempt's cookie is called by: says nothing about the state itself."""
    return hashlib.sha256(state.encode("utf-8", "replace")).hexdigest()[:LABEL_LENGTH]


def used_key(state: str) -> str:
    """The store's key for the mark that an attempt was used."""
    return "used:" + hashlib.sha256(state.encode()).hexdigest()


def loops(finished: tuple[float, ...], now: float) -> bool:
    """Whether logins succeed again and again and yet the browser comes back without a session."""
    return sum(1 for at in finished if now - at < LOOP_WINDOW) >= LOOP_LOGINS


def finish(finished: tuple[float, ...], now: float) -> tuple[float, ...]:
    """Remember one more login that succeeded."""
    return (*(at for at in finished if now - at < LOOP_WINDOW), now)[-LOOP_LOGINS:]
