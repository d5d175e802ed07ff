"""What processes take of the machine."""

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from oidcgate.web import processes
from oidcgate.web.processes import Usage, cpu_seconds, resident_bytes

NOBODY = 2**22 + 1  # above the largest process number (proc(5))
SPIN = "import time\nwhile time.process_time() < 0.2: pass"


def told(usage: Usage, pids: Iterable[int]) -> dict[str, float]:
    """The samples of a look."""
    return {sample.name: sample.value for metric in usage(pids) for sample in metric.samples}


def test_this_process() -> None:
    """It computes, and it holds memory, as the operating system tells otherwise, too."""
    before = cpu_seconds(os.getpid())
    while sum(os.times()[:2]) < before + 0.05:
        pass
    assert before < cpu_seconds(os.getpid()) <= sum(os.times()[:2]) + 0.01
    assert resident_bytes(os.getpid()) > 1024 * 1024


def test_a_name_with_spaces_and_brackets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program calls itself what it likes; the fields behind its name are read all the same."""
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "stat").write_text(f"7 (a ) S 9 (b) R {' '.join(str(field) for field in range(1, 50))}\n")
    monkeypatch.setattr(processes, "Path", lambda path: tmp_path / path.removeprefix("/proc/"))
    assert cpu_seconds(7) == (11 + 12) / os.sysconf("SC_CLK_TCK")


def test_one_that_has_gone() -> None:
    """Is no error; the others are told."""
    for ask in (cpu_seconds, resident_bytes):
        with pytest.raises(OSError, match=str(NOBODY)):
            ask(NOBODY)
    assert told(Usage(), [os.getpid(), NOBODY])["oidcgate_process_resident_memory_bytes"] > 0


def test_no_linux() -> None:
    """Where nothing can be read nothing is told: a zero would be a lie."""
    assert told(Usage(), [NOBODY]) == {}


def test_children_that_have_ended_are_counted_on() -> None:
    """What they have computed is not lost with them."""
    usage = Usage()
    before = told(usage, [os.getpid()])["oidcgate_process_cpu_seconds_total"]
    subprocess.run([sys.executable, "-c", SPIN], check=True)
    assert told(usage, [os.getpid()])["oidcgate_process_cpu_seconds_total"] >= before + 0.2


def test_it_never_falls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when a process ends between two looks of the same scrape and is in neither."""
    usage = Usage()
    monkeypatch.setattr(processes, "cpu_seconds", lambda pid: 1000.0 * pid)
    monkeypatch.setattr(processes, "resident_bytes", lambda pid: pid)
    high = told(usage, [1, 2])
    low = told(usage, [1])
    assert low["oidcgate_process_cpu_seconds_total"] == high["oidcgate_process_cpu_seconds_total"]
    assert (high["oidcgate_process_resident_memory_bytes"], low["oidcgate_process_resident_memory_bytes"]) == (3, 1)
