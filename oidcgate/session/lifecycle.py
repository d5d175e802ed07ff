"""
When tokens are renewed and when a session is over: the decisions, without the doing.

Pure. Times are seconds since the epoch; random numbers are arguments.
"""

from dataclasses import dataclass

SEEN_WINDOW = 5.0  # seconds for which a session's record in the store is taken as known
TOUCH_SHARE = 10  # "seen" is written at most this many times an idle period
TOUCH_MOST = 60.0  # seconds
LONGEST_BACKOFF = 60.0
FIRST_BACKOFF = 1.0


def renewal_due(*, issued: float, expires: float, ahead: float, jitter: float) -> float:
    """
    When to begin to renew a token: min(ahead, a fifth of its life) before it expires.

    Args:
        jitter: 0 to 1; spreads the calls of many people over a tenth of that time.
    """
    early = min(ahead, max(0.0, expires - issued) / 5)
    return expires - early * (1 + jitter / 10)


def backoff(failures: int, jitter: float) -> float:
    """Seconds to wait after so many failures in a row: doubling, at most a minute, less up to a half at random."""
    return min(LONGEST_BACKOFF, FIRST_BACKOFF * 2.0 ** min(failures - 1, 10)) * (1 - jitter / 2)


def touch_due(*, stored_seen: float, now: float, idle: float) -> bool:
    """Whether "seen" in the store is old enough to be written again."""
    return now - stored_seen >= min(TOUCH_MOST, idle / TOUCH_SHARE)


@dataclass(frozen=True, slots=True)
class Limits:
    """How long sessions last, in seconds."""

    idle: float
    lifetime: float
    refresh_ahead: float
    max_per_user: int
