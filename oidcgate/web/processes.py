"""
What processes take of the machine, as Linux tells; elsewhere nothing is told.

Edge: /proc.
"""

import os
import resource
from collections.abc import Iterable, Iterator
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

UTIME, STIME = 11, 12  # fields of /proc/<pid>/stat behind the program's name (proc(5))
RESIDENT = 1  # field of /proc/<pid>/statm


def cpu_seconds(pid: int) -> float:
    """
    The time that a process has computed.

    Raises:
        OSError: it has gone, or this is no Linux.
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[UTIME]) + int(fields[STIME])) / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int) -> int:
    """
    The memory that a process holds.

    Raises:
        OSError: as ``cpu_seconds``.
    """
    return int(Path(f"/proc/{pid}/statm").read_text().split()[RESIDENT]) * os.sysconf("SC_PAGE_SIZE")


class Usage:
    """CPU and memory of processes together; that of children that have ended is counted on."""

    def __init__(self) -> None:
        self._seconds = 0.0

    def __call__(self, pids: Iterable[int]) -> Iterator[Metric]:
        """Of these processes now, and of what has ended."""
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds, resident = ended.ru_utime + ended.ru_stime, 0
        for pid in pids:
            try:
                seconds += cpu_seconds(pid)
                resident += resident_bytes(pid)
            except OSError:
                continue
        if resident:
            self._seconds = seconds = max(seconds, self._seconds)  # one that ends right now is missed for a moment
            yield CounterMetricFamily("oidcgate_process_cpu_seconds", "Computed by all processes.", value=seconds)
            yield GaugeMetricFamily("oidcgate_process_resident_memory_bytes", "Held by all processes.", value=resident)
