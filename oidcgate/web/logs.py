"""
Logs: one JSON object a line (or a readable line), nothing secret, written in batches.

Edge: writes to a file descriptor. Rules of this file:
- The access log formats nothing while a request is under way: rows wait, and are written together.
- A query never appears, nor what follows a UI's secret prefix; everything a client chose is escaped.
"""

import asyncio
import json
import logging
import os
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any, Protocol

from aiohttp import web

from oidcgate.proxy.ui import Preset

FLUSH_AFTER = 0.25  # seconds a row may wait
FLUSH_ROWS = 256
MOST_PATHS = 4096  # remembered, a site
LONGEST_KNOWN = 512  # characters of a target that is remembered: clients choose them
LONGEST_PATH = 2048  # characters that are shown

# seconds since the epoch, site, user as a JSON string, method, target, status, bytes, seconds, address, sequence
# number; seconds until the UI answered (below zero = it was not asked, or did not), a word of ``tally`` where the
# status does not tell the outcome, the trace that the request belongs to
Row = tuple[float, "LoggedSite | None", str, str, str, int, int, float, str, int, float, str, str]
NOT_ASKED = -1.0  # in place of the seconds until the UI answered


class LoggedSite(Protocol):
    """What the log needs of a site."""

    @property
    def authority(self) -> str:
        """Its host."""

    @property
    def label(self) -> str:
        """What metrics call it: as it is configured, so that there are few."""

    @property
    def preset(self) -> Preset:
        """What its UI keeps secret in paths."""


class RequestNumbers:
    """Numbers requests."""

    __slots__ = ("last",)

    def __init__(self) -> None:
        self.last = 0

    def next(self) -> int:
        """The next number."""
        self.last += 1
        return self.last


def timestamp(now: float) -> str:
    """RFC 3339 in UTC with milliseconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03d}Z"


def printable(text: str) -> str:
    """A text that a terminal only shows: controls, line breaks and what is invisible are escaped."""
    return text if text.isprintable() else "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)


class JsonFormatter(logging.Formatter):
    """A log record as one line of JSON; an exception's text and origin, never its locals."""

    def format(self, record: logging.LogRecord) -> str:
        """As ``logging.Formatter.format``."""
        row: dict[str, Any] = {
            "time": timestamp(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info and record.exc_info[1] is not None:
            row["error"] = self.formatException(record.exc_info)
        return json.dumps(row)


class ConsoleFormatter(logging.Formatter):
    """A log record for people."""

    def format(self, record: logging.LogRecord) -> str:
        """As ``logging.Formatter.format``; line breaks and other controls in messages are escaped."""
        line = f"{timestamp(record.created)[11:23]} {record.levelname:7} {printable(record.getMessage())}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def set_up_logging(*, form: str, level: str) -> None:
    """Send our own log to standard output; aiohttp's own loggers may quote requests and stay silent."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter() if form == "json" else ConsoleFormatter())
    ours = logging.getLogger("oidcgate")
    ours.handlers[:] = [handler]
    ours.setLevel(level.upper())
    ours.propagate = False
    # aiohttp-session keeps its things under plain names; aiohttp would say so on standard error.
    warnings.filterwarnings("ignore", category=web.NotAppKeyWarning, module="aiohttp_session")
    for name in ("aiohttp.server", "aiohttp.access", "aiohttp.web", "aiohttp.internal"):
        logging.getLogger(name).addHandler(logging.NullHandler())
        logging.getLogger(name).propagate = False


class AccessLog:
    """
    The access log.

    Args:
        run: names this process in request ids.
        descriptor: where lines go; None = nowhere.
        count: told of each batch of rows, also where no lines are written.
    """

    def __init__(
        self, *, run: str, form: str, descriptor: int | None, count: Callable[[list[Row]], None] | None = None
    ) -> None:
        self._run = run
        self._format = _json_line if form == "json" else _console_line
        self._descriptor = descriptor
        self._count = count
        self._is_read = descriptor is not None or count is not None
        self.lost = 0  # rows that could not be written, or not whole
        self._rows: list[Row] = []
        self._timer: asyncio.TimerHandle | None = None
        self._seconds = Seconds()
        self._paths: dict[str, dict[str, str]] = {}

    def request_id(self, sequence: int) -> str:
        """The id shown on error pages and in the log."""
        return f"{self._run}-{sequence:x}"

    def add(self, row: Row) -> None:
        """One more request is over."""
        if not self._is_read:
            return
        self._rows.append(row)
        if len(self._rows) >= FLUSH_ROWS:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_AFTER, self.flush)

    def flush(self) -> None:
        """Count and write what waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        rows, self._rows = self._rows, []
        if rows and self._count is not None:
            self._count(rows)
        if not rows or self._descriptor is None:
            return
        when, run, path, form = self._seconds.format, self._run, self._path, self._format
        text = "".join([form(row, when(row[0]), run, path(row[1], row[4])) for row in rows])
        data = text.encode("utf-8", "replace")
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError:
            self.lost += len(rows)  # a full disk or a reader that left: no request fails for it

    def _path(self, site: LoggedSite | None, target: str) -> str:
        """A target as a JSON string, as it may be shown; remembered, since UIs ask for the same paths all day."""
        preset = "" if site is None else site.preset.name  # there are few of them, while hosts can be many
        known = self._paths.get(preset)
        if known is None:
            known = self._paths[preset] = {}
        path = known.get(target)
        if path is None:
            path = json.dumps(shown_path(site, target))
            if len(target) <= LONGEST_KNOWN:
                if len(known) >= MOST_PATHS:
                    known.clear()
                known[target] = path
        return path


class Seconds:
    """Formats times that come in order: the part down to the second is made once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._text = ""

    def format(self, now: float) -> str:
        """As ``timestamp``."""
        second = int(now)
        if second != self._second:
            self._second = second
            self._text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._text}.{int((now - second) * 1000):03d}Z"


def _json_line(row: Row, when: str, run: str, path: str) -> str:
    _, site, user, method, _, status, count, seconds, address, sequence, waited, _, trace = row
    upstream = f',"upstream_seconds":{waited:.4f}' if waited >= 0 else ""
    traced = f',"trace":"{trace}"' if trace else ""
    return (
        f'{{"time":"{when}","kind":"access","id":"{run}-{sequence:x}","site":"{site.authority if site else ""}",'
        f'"user":{user},"method":"{method}","path":{path},"status":{status},"bytes":{count},'
        f'"seconds":{seconds:.4f}{upstream},"address":"{address}"{traced}}}\n'
    )


def _console_line(row: Row, when: str, run: str, path: str) -> str:
    _, _, user, method, _, status, count, seconds, _, sequence, waited, _, _ = row
    who, where = printable(json.loads(user)) or "-", printable(json.loads(path))
    upstream = f" ({waited:.3f} s)" if waited >= 0 else ""
    return f"{when[11:23]} {status} {method:6} {where} {who} {count} B {seconds:.3f} s{upstream} {run}-{sequence:x}\n"


def shown_path(site: LoggedSite | None, target: str) -> str:
    """A target as the log may show it; the rest of an endless one is left out."""
    path = site.preset.logged(target) if site is not None else target.partition("?")[0]
    return path if len(path) <= LONGEST_PATH else path[:LONGEST_PATH] + "…"
