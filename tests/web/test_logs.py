"""Logs: valid lines for hostile requests, nothing secret, written in batches."""

import asyncio
import io
import json
import logging
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from oidcgate.proxy.ui import PRESETS, Preset
from oidcgate.proxy.ui.dashboard import DASHBOARD_2
from oidcgate.web.logs import (
    FLUSH_ROWS,
    LONGEST_KNOWN,
    LONGEST_PATH,
    MOST_PATHS,
    NOT_ASKED,
    AccessLog,
    ConsoleFormatter,
    JsonFormatter,
    RequestNumbers,
    Row,
    Seconds,
    printable,
    set_up_logging,
    shown_path,
    timestamp,
)

NOW = 1_800_000_000.25


@dataclass(eq=False)
class Site:
    """What the log needs of a site."""

    authority: str = "ui.example.com"
    label: str = "ui.example.com"
    preset: Preset = field(default=DASHBOARD_2)


SITE = Site()


def row(
    target: str = "/",
    *,
    site: Site | None = SITE,
    user: str = "jane",
    method: str = "GET",
    waited: float = NOT_ASKED,
    trace: str = "",
) -> Row:
    """A request that is over."""
    return (NOW, site, json.dumps(user), method, target, 200, 5120, 0.01234, "192.0.2.1", 255, waited, "", trace)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[tuple[AccessLog, Path]]:
    """A log in JSON and its file."""
    yield from opened(tmp_path, "json")


@pytest.fixture
def console(tmp_path: Path) -> Iterator[tuple[AccessLog, Path]]:
    """A log for people and its file."""
    yield from opened(tmp_path, "console")


def opened(folder: Path, form: str) -> Iterator[tuple[AccessLog, Path]]:
    """A log and its file."""
    path = folder / "access.log"
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    yield AccessLog(run="ab12cd", form=form, descriptor=descriptor), path
    os.close(descriptor)


async def lines(log: tuple[AccessLog, Path], *rows: Row) -> list[str]:
    """What these requests leave in the log."""
    access, path = log
    for each in rows:
        access.add(each)
    access.flush()
    return path.read_text().splitlines()


async def test_json(log: tuple[AccessLog, Path]) -> None:
    """A request is one JSON object with who, what, how much and how long."""
    (line,) = await lines(log, row("/api/v1/pods"))
    assert json.loads(line) == {
        "time": "2027-01-15T08:00:00.250Z",
        "kind": "access",
        "id": "ab12cd-ff",
        "site": "ui.example.com",
        "user": "jane",
        "method": "GET",
        "path": "/api/v1/pods",
        "status": 200,
        "bytes": 5120,
        "seconds": 0.0123,
        "address": "192.0.2.1",
    }


async def test_the_ui_and_the_trace(log: tuple[AccessLog, Path]) -> None:
    """How long the UI took to answer, and the trace, are told where there were such."""
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    asked, not_asked = [json.loads(line) for line in await lines(log, row(waited=0.00456, trace=trace), row())]
    assert (asked["upstream_seconds"], asked["trace"]) == (0.0046, trace)
    assert {"upstream_seconds", "trace"} & set(not_asked) == set()


async def test_console(console: tuple[AccessLog, Path]) -> None:
    """For people it is one short line."""
    assert await lines(console, row("/api/v1/pods", waited=0.011), row("/x", user="", site=None)) == [
        "08:00:00.250 200 GET    /api/v1/pods jane 5120 B 0.012 s (0.011 s) ab12cd-ff",
        "08:00:00.250 200 GET    /x - 5120 B 0.012 s ab12cd-ff",
    ]


HOSTILE = [
    pytest.param('/"x', id="quote"),
    pytest.param('/","status":500,"a":"', id="injection"),
    pytest.param("/a\\", id="backslash"),
    pytest.param("/a\nfake", id="line-break"),
    pytest.param("/a\r\nfake", id="two-line-breaks"),
    pytest.param("/a\x1b[2Jb", id="escape-sequence"),
    pytest.param("/a\x00b", id="nul"),
    pytest.param("/a\u2028b", id="line-separator"),
    pytest.param("/a\x9bb", id="c1-control"),
    pytest.param("/a\udcffb", id="byte-that-is-no-text"),
    pytest.param("/ä\u202eb", id="direction-override"),
    pytest.param("//%00%0a", id="percent"),
    pytest.param("", id="empty"),
    pytest.param("/" + "x" * 60_000, id="endless"),
]


@pytest.mark.parametrize("target", HOSTILE)
async def test_hostile_target(log: tuple[AccessLog, Path], target: str) -> None:
    """Whatever a target holds, the line is one JSON object with the same keys, and not endless."""
    (line,) = await lines(log, row(target))
    found = json.loads(line)
    assert len(found) == 11
    assert found["status"] == 200
    assert target.startswith(found["path"].removesuffix("…"))
    assert len(line) < 3000
    assert line.isascii()


@pytest.mark.parametrize("target", HOSTILE)
async def test_hostile_target_on_a_console(console: tuple[AccessLog, Path], target: str) -> None:
    """Whatever a target or a name holds, the line is one, and steers no terminal."""
    (line,) = await lines(console, row(target, user=target))
    assert line.isprintable()
    assert len(line) < 70_000


@pytest.mark.parametrize("user", ['ja"ne', "ja\nne", "jané"])
async def test_hostile_user(log: tuple[AccessLog, Path], user: str) -> None:
    """A person's name is escaped as well."""
    (line,) = await lines(log, row(user=user))
    assert json.loads(line)["user"] == user


@pytest.mark.parametrize("site", [SITE, Site(preset=PRESETS["plain"]), None], ids=["dashboard", "plain", "no-site"])
@pytest.mark.parametrize(
    "target",
    ["/?code=geheim&state=geheim", "/oauth2/callback?code=geheim", "/a?", "/a?b?geheim", "/" + "a" * 3000 + "?geheim"],
)
async def test_no_query(log: tuple[AccessLog, Path], site: Site | None, target: str) -> None:
    """A query is never shown: it holds codes and tokens."""
    (line,) = await lines(log, row(target, site=site))
    assert "geheim" not in line
    assert "?" not in line


@pytest.mark.parametrize("preset", PRESETS.values(), ids=list(PRESETS))
async def test_no_secret_path(log: tuple[AccessLog, Path], preset: Preset) -> None:
    """What follows a UI's secret prefix is never shown: a terminal's id is its bearer."""
    site = Site(preset=preset)
    targets = [prefix + "123/geheim/xhr?geheim" for prefix in preset.secret_paths]
    found = await lines(log, *(row(target, site=site) for target in targets))
    assert [json.loads(line)["path"] for line in found] == [prefix + "…" for prefix in preset.secret_paths]


def test_shown_path() -> None:
    """A path beyond the limit is cut, with a mark; at the limit it is not."""
    assert shown_path(SITE, "/" * LONGEST_PATH) == "/" * LONGEST_PATH
    assert shown_path(None, "/" * (LONGEST_PATH + 1)) == "/" * LONGEST_PATH + "…"


async def test_sites_do_not_share_paths(log: tuple[AccessLog, Path]) -> None:
    """The same target may be secret on one site and none on another."""
    open_site = Site(preset=Preset(name="x", secret_paths=()))
    target = "/api/sockjs/1"
    found = await lines(log, row(target, site=open_site), row(target), row(target, site=None))
    assert [json.loads(line)["path"] for line in found] == [target, "/api/sockjs/…", target]


async def test_remembered_paths_are_bounded(log: tuple[AccessLog, Path]) -> None:
    """Clients choose targets: few are remembered, and no long ones."""
    access, _ = log
    for number in range(MOST_PATHS + 10):
        access.add(row(f"/{number}"))
    access.add(row("/" + "x" * LONGEST_KNOWN))
    access.flush()
    known = access._paths[SITE.preset.name]
    assert 0 < len(known) <= MOST_PATHS
    assert all(len(target) <= LONGEST_KNOWN for target in known)


async def test_batches(log: tuple[AccessLog, Path]) -> None:
    """Rows wait for one another; a full batch is written at once, in order."""
    access, path = log
    for number in range(FLUSH_ROWS - 1):
        access.add(row(f"/{number}"))
    assert path.read_text() == ""
    access.add(row("/last"))
    written = [json.loads(line)["path"] for line in path.read_text().splitlines()]
    assert written == [*(f"/{number}" for number in range(FLUSH_ROWS - 1)), "/last"]
    assert access._timer is None


async def test_timer(log: tuple[AccessLog, Path]) -> None:
    """A row that waits alone is written soon, by one timer however many rows wait."""
    access, path = log
    access.add(row("/a"))
    timer = access._timer
    access.add(row("/b"))
    assert timer is not None
    assert access._timer is timer
    written = asyncio.Event()
    asyncio.get_running_loop().call_at(timer.when(), lambda: asyncio.get_running_loop().call_soon(written.set))
    await written.wait()
    assert len(path.read_text().splitlines()) == 2
    access.flush()
    assert len(path.read_text().splitlines()) == 2


async def test_nowhere() -> None:
    """Without a descriptor nothing is kept or written."""
    access = AccessLog(run="x", form="json", descriptor=None)
    access.add(row())
    access.flush()
    assert access._rows == []
    assert access._timer is None


async def test_counted_where_nothing_is_written() -> None:
    """Each batch is told to who counts, once, whether or not lines go anywhere."""
    batches: list[list[Row]] = []
    access = AccessLog(run="x", form="json", descriptor=None, count=batches.append)
    for _ in range(FLUSH_ROWS + 1):
        access.add(row())
    assert [len(batch) for batch in batches] == [FLUSH_ROWS]
    access.flush()
    access.flush()
    assert [len(batch) for batch in batches] == [FLUSH_ROWS, 1]


async def test_reader_is_gone() -> None:
    """A pipe that nobody reads fails no request; what was lost is counted, the next rows are tried again."""
    reading, writing = os.pipe()
    os.close(reading)
    access = AccessLog(run="x", form="json", descriptor=writing)
    for _ in range(FLUSH_ROWS):
        access.add(row())
    access.add(row())
    access.flush()
    assert access.lost == FLUSH_ROWS + 1
    os.close(writing)


async def test_written_in_parts() -> None:
    """A pipe that takes a part at a time gets all of it, in order."""
    reading, writing = os.pipe()
    access = AccessLog(run="x", form="json", descriptor=writing)
    for number in range(FLUSH_ROWS - 1):
        access.add(row(f"/{number}/" + "x" * 1000))

    def drain() -> bytes:
        data = b""
        while data.count(b"\n") < FLUSH_ROWS - 1:
            data += os.read(reading, 4096)
        return data

    read = asyncio.create_task(asyncio.to_thread(drain))
    await asyncio.to_thread(flushing(access))
    assert len([json.loads(line) for line in (await read).splitlines()]) == FLUSH_ROWS - 1
    os.close(reading)
    os.close(writing)


def flushing(access: AccessLog) -> Any:
    """A flush that may run in a thread: its timer belongs to the loop and is cancelled here."""
    if access._timer is not None:
        access._timer.cancel()
        access._timer = None
    return access.flush


def test_request_id() -> None:
    """An id names the process and the request."""
    sequence = RequestNumbers()
    access = AccessLog(run="ab12cd", form="json", descriptor=None)
    assert [access.request_id(sequence.next()) for _ in range(2)] == ["ab12cd-1", "ab12cd-2"]


@pytest.mark.parametrize(
    ("now", "text"),
    [
        pytest.param(0.0, "1970-01-01T00:00:00.000Z", id="epoch"),
        pytest.param(1_800_000_000.999, "2027-01-15T08:00:00.999Z", id="milliseconds"),
        pytest.param(1_800_000_000.9999, "2027-01-15T08:00:00.999Z", id="never-rounded-up"),
    ],
)
def test_timestamp(now: float, text: str) -> None:
    """Times are RFC 3339 in UTC, also from the formatter that remembers the second."""
    assert timestamp(now) == text
    assert Seconds().format(now) == text or now < 1
    seconds = Seconds()
    assert [seconds.format(now + 60), seconds.format(now + 60)] == [timestamp(now + 60)] * 2


def record(message: str, *args: object, error: bool = False) -> logging.LogRecord:
    """A log record, with an exception when asked."""
    info: Any = None
    if error:
        try:
            secret = "geheim"
            raise ValueError("went wrong " + secret[:0])
        except ValueError:
            info = sys.exc_info()
    made = logging.LogRecord("oidcgate.x", logging.WARNING, __file__, 1, message, args, info)
    made.created = NOW
    return made


@pytest.mark.parametrize("text", ['a "b"', "a\nb", "a\x1b[2J", "a\udcff", "ä"])
def test_json_message(text: str) -> None:
    """A message is one JSON object on one line, whatever was put into it."""
    line = JsonFormatter().format(record("seen: %s", text))
    assert "\n" not in line
    assert json.loads(line) == {
        "time": "2027-01-15T08:00:00.250Z",
        "level": "warning",
        "logger": "oidcgate.x",
        "message": f"seen: {text}",
    }


def test_json_error() -> None:
    """An exception is told with its origin, not with its variables."""
    line = JsonFormatter().format(record("oh", error=True))
    error = json.loads(line)["error"]
    assert error.startswith("Traceback")
    assert error.endswith("ValueError: went wrong ")
    assert "'geheim'" not in line


def test_console_message() -> None:
    """For people: time, level, message; line breaks and controls in it are escaped."""
    assert ConsoleFormatter().format(record("a\n%s\rb\x1b[2J", "ä")) == ("08:00:00.250 WARNING a\\nä\\rb\\u001b[2J")


def test_console_error() -> None:
    """An exception follows on lines of its own."""
    shown = ConsoleFormatter().format(record("oh", error=True))
    assert shown.startswith("08:00:00.250 WARNING oh\nTraceback")


def test_printable() -> None:
    """What a terminal only shows stays; everything else is escaped."""
    assert printable("jané /a") == "jané /a"
    assert printable("a\u202eb\u200b") == "a\\u202eb\\u200b"


@pytest.fixture
def restored() -> Iterator[None]:
    """Put the loggers back as they were."""
    names = ("oidcgate", "aiohttp.server", "aiohttp.access", "aiohttp.web", "aiohttp.internal")
    before = [(log, log.handlers[:], log.level, log.propagate) for log in map(logging.getLogger, names)]
    yield
    for log, handlers, level, propagate in before:
        log.handlers[:], log.propagate = handlers, propagate
        log.setLevel(level)


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize("form", ["json", "console"])
def test_set_up(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Our messages go to standard output from the level on, once however often it is set up; aiohttp's, which may
    quote requests, go nowhere."""
    output, errors = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", output)
    monkeypatch.setattr(sys, "stderr", errors)
    set_up_logging(form="json", level="debug")
    set_up_logging(form=form, level="info")
    logging.getLogger("oidcgate.provider").info("hello")
    logging.getLogger("oidcgate").debug("too quiet")
    logging.getLogger("aiohttp.server").error("Cookie: geheim")
    logging.getLogger("aiohttp.access").error("GET /?code=geheim")
    (line,) = output.getvalue().splitlines()
    assert json.loads(line)["message"] == "hello" if form == "json" else line.endswith("INFO    hello")
    assert errors.getvalue() == ""
