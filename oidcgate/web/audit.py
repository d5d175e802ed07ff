"""
The audit: one JSON event a line for what somebody may ask about later.

Edge: appends to a file, or writes among the lines of the log. Rules of this file:
- Events wait for one another like the rows of the access log, and go out by one write; no request fails for them.
- Several processes append to one file: each write is whole lines. Who moves the file away gets a new one.
- An event names people and things, never what opens them: no handle, token, ticket, query or id of a shell.
"""

import asyncio
import json
import logging
import os
import time
from collections.abc import Callable

from oidcgate.errors import ConfigError, Problem
from oidcgate.policy import Forbidden
from oidcgate.session.grant import Grant
from oidcgate.session.session import Session
from oidcgate.web.facts import Inbound
from oidcgate.web.live import Live
from oidcgate.web.logs import FLUSH_AFTER, FLUSH_ROWS, shown_path, timestamp
from oidcgate.web.sessionpage import session_name

log = logging.getLogger("oidcgate.audit")

LOOK_AFTER = 1.0  # seconds until the file's name is looked at again
LONGEST_FACT = 2048  # characters
SAID_FOR = 60.0  # seconds for which the same denial of the same session is not told again
MOST_SAID = 4096  # of those that are remembered

Fact = str | int | float | None


class Audit:
    """
    Writes events.

    Args:
        path: of the file; None = ``descriptor``.
        descriptor: where events go without a file; None = nowhere.

    Attributes:
        lost: events that could not be written.
    """

    def __init__(
        self,
        path: str | None = None,
        *,
        descriptor: int | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._descriptor = descriptor if path is None else _opened(path)
        self._clock = clock
        self._looked = 0.0
        self._lines: list[str] = []
        self._timer: asyncio.TimerHandle | None = None
        self._is_torn = False
        self._said: dict[tuple[str, ...], float] = {}
        self.lost = 0

    # What happened.

    def login(self, inbound: Inbound, live: Live) -> None:
        """Somebody signed in."""
        session = live.session
        self.event(
            "login",
            **of(live),
            site=inbound.facts.site.authority,
            address=session.address,
            agent=session.agent,
            provider=live.claims.issuer,
            until=timestamp(session.ends),
        )

    def login_refused(self, inbound: Inbound, reason: str, *, provider: str, agent: str, user: str = "") -> None:
        """Somebody came back from the provider and was not let in."""
        self.event(
            "login_refused",
            user=user,
            site=inbound.facts.site.authority,
            address=inbound.client,
            agent=agent[:200],
            provider=provider,
            reason=reason,
        )

    def handed_over(self, inbound: Inbound, live: Live) -> None:
        """A login was taken over on another host."""
        session = live.session
        self.event(
            "hand_over",
            **of(live),
            site=inbound.facts.site.authority,
            address=session.address,
            agent=session.agent,
            root=session_name(session.root),
        )

    def ended(self, session: Session, grant: Grant | None, reason: str) -> None:
        """A session is over."""
        claims = None if grant is None else grant.claims
        self.event(
            "session_end",
            user=None if claims is None else claims.email or claims.subject,
            subject=None if claims is None else claims.subject,
            session=session_name(session.key),
            site=session.site.partition("://")[2] or session.site,
            address=session.address,
            started=timestamp(session.started),
            reason=reason,
        )

    def refresh_failed(self, grant: Grant, reason: str) -> None:
        """A grant gives no further tokens."""
        self.event(
            "refresh_failed",
            user=grant.claims.email or grant.claims.subject,
            subject=grant.claims.subject,
            provider=grant.issuer,
            client=grant.client_id,
            reason=reason,
        )

    def denied(self, inbound: Inbound, decision: Forbidden, address: str) -> None:
        """Somebody who is signed in may not; the same again within a minute is not told."""
        live = inbound.live
        if live is None:
            return
        site = inbound.facts.site
        path = shown_path(site, inbound.target)
        if not self.is_news(live.session.key, decision.reason, f"{site.authority} {inbound.method} {path}"):
            return
        self.event(
            "denied",
            **of(live),
            site=site.authority,
            address=address,
            method=inbound.method,
            path=path,
            reason=decision.reason,
        )

    def is_news(self, *said: str) -> bool:
        """Whether something was not said within the last minute; from now on it was."""
        now = self._clock()
        if now < self._said.get(said, 0.0):
            return False
        if len(self._said) >= MOST_SAID:
            self._said.clear()
        self._said[said] = now + SAID_FOR
        return True

    # How it is written.

    def event(self, kind: str, **facts: Fact) -> None:
        """Something happened; what is not known is left out."""
        if self._descriptor is None:
            return
        known = {name: _short(fact) for name, fact in facts.items() if fact is not None and fact != ""}
        row = {"time": timestamp(self._clock()), "kind": "audit", "event": kind, **known}
        self._lines.append(json.dumps(row, separators=(",", ":")) + "\n")
        if len(self._lines) >= FLUSH_ROWS:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_AFTER, self.flush)

    def flush(self) -> None:
        """Write what waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        lines, self._lines = self._lines, []
        if lines and self._descriptor is not None:
            self._look_at_the_name()
            self._write(lines)

    def _write(self, lines: list[str]) -> None:
        assert self._descriptor is not None
        # What a full disk cut off is not continued: the next batch begins on a line of its own.
        data = (("\n" if self._is_torn else "") + "".join(lines)).encode("ascii")
        written = 0
        try:
            while written < len(data):
                written += os.write(self._descriptor, data[written:])
        except OSError as error:
            left = data[written:].count(b"\n")
            if not self.lost:
                log.error("the audit cannot be written: %s", error.strerror)
            self.lost += min(left, len(lines))
        if written:
            self._is_torn = data[written - 1 : written] != b"\n"

    def _look_at_the_name(self) -> None:
        """A file that was moved away or deleted is made anew; while that fails, the old one is written on."""
        now = self._clock()
        if self._path is None or abs(now - self._looked) < LOOK_AFTER:
            return
        self._looked = now
        assert self._descriptor is not None
        try:
            if _identity(os.stat(self._path)) == _identity(os.fstat(self._descriptor)):
                return
        except FileNotFoundError:
            pass
        except OSError:
            return
        try:
            new = _opened(self._path)
        except ConfigError as error:
            log.error("%s", error)
            return
        os.close(self._descriptor)
        self._descriptor, self._is_torn = new, False

    def close(self) -> None:
        """Write what waits, and leave the file."""
        self.flush()
        if self._path is not None and self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None


def of(live: Live) -> dict[str, Fact]:
    """Who it is, and by which session."""
    claims = live.claims
    name = session_name(live.session.key) if live.handle else None
    return {"user": claims.email or claims.subject, "subject": claims.subject, "session": name}


def _short(fact: Fact) -> Fact:
    return fact[:LONGEST_FACT] + "…" if isinstance(fact, str) and len(fact) > LONGEST_FACT else fact


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _opened(path: str) -> int:
    """
    A descriptor that appends.

    Raises:
        ConfigError: it cannot be opened.
    """
    try:  # a pipe that nobody reads must not make anybody wait
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
    except OSError as error:
        raise ConfigError([Problem("audit.file", f"{path}: {error.strerror}")]) from None
