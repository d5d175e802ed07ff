"""
How the audit is written: events as lines of JSON, in batches, to a file that may be moved away.

Edge: appends to a file, or writes among the lines of the log. Rules of this file:
- Events wait for one another like the rows of the access log, and go out by one write; no request fails for them.
- Several processes append to one file: each write is whole lines. Who moves the file away gets a new one.
"""

import asyncio
import json
import logging
import os
import time
from collections.abc import Callable

from oidcgate.errors import ConfigError, Problem
from oidcgate.web.logs import FLUSH_AFTER, FLUSH_ROWS, timestamp

log = logging.getLogger("oidcgate.audit")

LOOK_AFTER = 1.0  # seconds until the file's name is looked at again
LONGEST_FACT = 2048  # characters

Fact = str | int | float | None


class AuditFile:
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
        self.lost = 0

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
