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
from typing import Any

from oidcgate.proxy.ui import Preset

FLUSH_AFTER = 0.25  # seconds a row may wait
FLUSH_ROWS = 256

# seconds since the epoch, preset, site, user, method, target, status, bytes, seconds, address, sequence number
Row = tuple[float, Preset | None, str, str, str, str, int, int, float, str, int]


def timestamp(now: float) -> str:
    """RFC 3339 in UTC with milliseconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03d}Z"


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
        """As ``logging.Formatter.format``; line breaks in messages are escaped."""
        message = record.getMessage().replace("\n", "\\n").replace("\r", "\\r")
        line = f"{timestamp(record.created)[11:23]} {record.levelname:7} {message}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def set_up_logging(*, form: str, level: str) -> None:
    """Send our own log to standard output; aiohttp's own loggers may quote requests and stay silent."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter() if form == "json" else ConsoleFormatter())
    ours = logging.getLogger("oidcgate")
    ours.handlers[:] = [handler]
    ours.setLevel(level.upper())
    ours.propagate = False
    for name in ("aiohttp.server", "aiohttp.access", "aiohttp.web", "aiohttp.internal"):
        logging.getLogger(name).addHandler(logging.NullHandler())
        logging.getLogger(name).propagate = False


class AccessLog:
    """
    The access log.

    Args:
        run: names this process in request ids.
        descriptor: where lines go; None = nowhere.
    """

    def __init__(self, *, run: str, form: str, descriptor: int | None) -> None:
        self._run = run
        self._format = _json_line if form == "json" else _console_line
        self._descriptor = descriptor
        self._rows: list[Row] = []
        self._timer: asyncio.TimerHandle | None = None

    def request_id(self, sequence: int) -> str:
        """The id shown on error pages and in the log."""
        return f"{self._run}-{sequence:x}"

    def add(self, row: Row) -> None:
        """One more request is over."""
        if self._descriptor is None:
            return
        self._rows.append(row)
        if len(self._rows) >= FLUSH_ROWS:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_AFTER, self.flush)

    def flush(self) -> None:
        """Write what waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        rows, self._rows = self._rows, []
        if not rows or self._descriptor is None:
            return
        text = "".join([self._format(row, self.request_id(row[10])) for row in rows])
        data = text.encode("utf-8", "replace")
        while data:
            data = data[os.write(self._descriptor, data) :]


def _json_line(row: Row, request_id: str) -> str:
    now, preset, site, user, method, target, status, count, seconds, address, _ = row
    path = json.dumps(shown_path(preset, target))
    return (
        f'{{"time":"{timestamp(now)}","kind":"access","id":"{request_id}","site":{json.dumps(site)},'
        f'"user":{json.dumps(user)},"method":"{method}","path":{path},"status":{status},"bytes":{count},'
        f'"seconds":{seconds:.4f},"address":"{address}"}}\n'
    )


def _console_line(row: Row, request_id: str) -> str:
    now, preset, _, user, method, target, status, count, seconds, _, _ = row
    path = shown_path(preset, target)
    return f"{timestamp(now)[11:23]} {status} {method:6} {path} {user or '-'} {count} B {seconds:.3f} s {request_id}\n"


def shown_path(preset: Preset | None, target: str) -> str:
    """A target as the log may show it."""
    return preset.logged(target) if preset is not None else target.partition("?")[0]
