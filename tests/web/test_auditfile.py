"""The audit's lines are whole and of one kind, whatever happens to the file."""

import asyncio
import errno
import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from oidcgate.errors import ConfigError
from oidcgate.web.auditfile import LONGEST_FACT, LOOK_AFTER, AuditFile
from oidcgate.web.logs import FLUSH_ROWS
from tests.support.stack import Clock


def read(path: Path) -> list[dict[str, Any]]:
    """The events of a file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_event(tmp_path: Path) -> None:
    """An event is one object a line; what is not known is left out, what is endless is cut, all is escaped."""
    path = tmp_path / "audit.log"
    audit = AuditFile(str(path), clock=lambda: 1_800_000_000.25)
    audit.event("x", user='a"\n\x1b[2Jé', nothing=None, empty="", zero=0, long="x" * 5000)
    audit.close()
    (line,) = path.read_text().splitlines()
    assert line.isascii()
    assert json.loads(line) == {
        "time": "2027-01-15T08:00:00.250Z",
        "kind": "audit",
        "event": "x",
        "user": 'a"\n\x1b[2Jé',
        "zero": 0,
        "long": "x" * LONGEST_FACT + "…",
    }
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_batches(tmp_path: Path) -> None:
    """Events wait for one another; a full batch is written at once, a lonely one soon."""
    path = tmp_path / "audit.log"
    audit = AuditFile(str(path))
    for number in range(FLUSH_ROWS - 1):
        audit.event("x", number=number)
    assert path.read_text() == ""
    audit.event("x", number=FLUSH_ROWS - 1)
    assert [row["number"] for row in read(path)] == list(range(FLUSH_ROWS))
    audit.event("last")
    timer = audit._timer
    assert timer is not None
    written = asyncio.Event()
    asyncio.get_running_loop().call_at(timer.when(), lambda: asyncio.get_running_loop().call_soon(written.set))
    await written.wait()
    assert read(path)[-1]["event"] == "last"
    audit.close()


async def test_appends(tmp_path: Path) -> None:
    """What was there stays."""
    path = tmp_path / "audit.log"
    for kind in ("one", "two"):
        audit = AuditFile(str(path))
        audit.event(kind)
        audit.close()
        audit.close()
    assert [row["event"] for row in read(path)] == ["one", "two"]


async def test_moved_away(tmp_path: Path) -> None:
    """A file that is moved or deleted is made anew, within a second; not a line is lost."""
    path, old, clock = tmp_path / "audit.log", tmp_path / "audit.log.1", Clock()
    audit = AuditFile(str(path), clock=clock)

    def say(kind: str) -> None:
        audit.event(kind)
        audit.flush()

    say("one")
    path.rename(old)
    say("two")
    clock.ahead += LOOK_AFTER
    say("three")
    assert [row["event"] for row in read(old)] == ["one", "two"]
    assert [row["event"] for row in read(path)] == ["three"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.unlink()
    clock.ahead += LOOK_AFTER
    say("four")
    path.rename(old)
    path.mkdir()  # what is in the way is written around
    clock.ahead += LOOK_AFTER
    say("five")
    assert [row["event"] for row in read(old)] == ["four", "five"]
    assert audit.lost == 0
    audit.close()


async def test_cannot_be_opened(tmp_path: Path) -> None:
    """The start fails and says where; also at a pipe that nobody reads, without waiting for a reader."""
    os.mkfifo(tmp_path / "pipe")
    for name in ("missing/audit.log", ".", "pipe"):
        with pytest.raises(ConfigError) as refused:
            AuditFile(str(tmp_path / name))
        assert refused.value.problems[0].path == "audit.file"


async def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit is lost and counted; what comes later begins on a line of its own."""
    path = tmp_path / "audit.log"
    audit = AuditFile(str(path))
    real, room = os.write, [100]

    def write(descriptor: int, data: bytes) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        count = real(descriptor, data[: room[0]])
        room[0] -= count
        return count

    monkeypatch.setattr("oidcgate.web.auditfile.os.write", write)
    for kind in ("one", "two", "three"):
        audit.event(kind)
    audit.flush()
    assert audit.lost == 2
    room[0] = 10_000
    audit.event("four")
    audit.close()
    whole = []
    for line in path.read_text().splitlines():
        try:
            whole.append(json.loads(line)["event"])
        except ValueError:
            continue
    assert whole == ["one", "four"]


async def test_nowhere() -> None:
    """Without a file or a descriptor nothing is kept."""
    audit = AuditFile()
    audit.event("x")
    audit.close()
    assert audit._lines == []


APPEND = """
import asyncio, sys
from oidcgate.web.auditfile import AuditFile

async def main():
    audit = AuditFile(sys.argv[1])
    for number in range(2000):
        audit.event("x", who=sys.argv[2], number=number, text="x" * 200)
    audit.close()

asyncio.run(main())
"""


async def test_several_processes(tmp_path: Path) -> None:
    """Each appends whole lines, in its own order."""
    path = tmp_path / "audit.log"
    command = (sys.executable, "-c", APPEND, str(path))
    started = [await asyncio.create_subprocess_exec(*command, who) for who in ("a", "b", "c")]
    assert [await process.wait() for process in started] == [0, 0, 0]
    rows = read(path)
    for who in ("a", "b", "c"):
        assert [row["number"] for row in rows if row["who"] == who] == list(range(2000))
