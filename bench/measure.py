"""One measurement: wrk on small replies, one connection for the large one, what the core was busy with."""

import json
import os
import subprocess
import time
from dataclasses import asdict, dataclass
from http.client import HTTPConnection
from pathlib import Path

from bench.servers import (
    BULK_PATH,
    BULK_SIZE,
    HERE,
    HOST,
    JSON_PATH,
    JSON_SIZE,
    TOKEN_PATH,
    CannotRun,
    Target,
    program,
)

CONNECTIONS = 32
WARM_UP = 2  # seconds before each measurement
BULK_TRANSFERS = 10
AUTH_PATH = "/oauth2/auth"
AUTH_STATUS = 202
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Sample:
    """One server in one round."""

    requests_per_second: float
    p50_ms: float
    p99_ms: float
    failures: int
    cpu: float  # share of its core the server used
    others: float  # share of that core somebody else used: above a few per cent the round is spoilt
    bulk_gb_per_second: float
    auth_per_second: float  # answers to a proxy that asks whether a request may pass; 0 = has no such endpoint

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


def check(target: Target) -> None:
    """The whole body arrives, and behind a login the upstream sees a bearer."""
    if (size := len(fetched(target, JSON_PATH))) != JSON_SIZE:
        raise CannotRun(f"{target.name} answered {size} bytes instead of {JSON_SIZE}")
    if target.cookie and not fetched(target, TOKEN_PATH).startswith(b"Bearer ey"):
        raise CannotRun(f"{target.name} did not hand an ID token to the upstream")
    if target.cookie:
        fetched(target, AUTH_PATH, status=AUTH_STATUS)


def fetched(target: Target, path: str, *, status: int = 200) -> bytes:
    connection = HTTPConnection("127.0.0.1", target.port, timeout=30)
    try:
        connection.request("GET", path, headers=headers(target, path))
        reply = connection.getresponse()
        body = reply.read()
    finally:
        connection.close()
    if reply.status != status:
        raise CannotRun(f"{target.name} answered {reply.status} to GET {path}")
    if status == AUTH_STATUS and not (reply.getheader("Authorization") or "").startswith("Bearer ey"):
        raise CannotRun(f"{target.name} did not hand an ID token to the proxy that asks")
    return body


def headers(target: Target, path: str = JSON_PATH) -> dict[str, str]:
    """A script's request; to the auth endpoint with the words that nginx adds."""
    found = {"Host": f"{HOST}:{target.port}", "Accept": "application/json", "User-Agent": "wrk"}
    if path == AUTH_PATH:
        found |= {"X-Original-URL": f"http://{HOST}:{target.port}{JSON_PATH}", "X-Original-Method": "GET"}
    return found | ({"Cookie": target.cookie} if target.cookie else {})


def measured(target: Target, *, seconds: int, core: int) -> Sample:
    wrk(target, WARM_UP)
    began, busy, own = time.monotonic(), core_ticks(core), process_ticks(target.pid)
    result = wrk(target, seconds)
    ticks = (time.monotonic() - began) * TICKS
    own = process_ticks(target.pid) - own
    busy = core_ticks(core) - busy
    return Sample(
        requests_per_second=result["requests"] / result["microseconds"] * 1e6,
        p50_ms=result["p50"] / 1000,
        p99_ms=result["p99"] / 1000,
        failures=result["failures"],
        cpu=own / ticks,
        others=max(0.0, busy - own) / ticks,
        bulk_gb_per_second=bulk(target),
        auth_per_second=answers(target, seconds) if target.cookie else 0.0,
    )


def answers(target: Target, seconds: int) -> float:
    """Answers a second of the auth endpoint."""
    result = wrk(target, seconds, AUTH_PATH)
    if result["failures"]:
        raise CannotRun(f"{target.name} failed {result['failures']} times at {AUTH_PATH}")
    return result["requests"] / result["microseconds"] * 1e6


def wrk(target: Target, seconds: int, path: str = JSON_PATH) -> dict[str, int]:
    command = [program("wrk", "wrk"), "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(HERE / "wrk.lua")]
    for name, value in headers(target, path).items():
        command += ["-H", f"{name}: {value}"]
    command.append(f"http://127.0.0.1:{target.port}{path}")
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30, check=True)
    result: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return result


def bulk(target: Target) -> float:
    """GB/s over one kept connection, with a reader that costs little."""
    buffer = bytearray(1 << 20)
    connection = HTTPConnection("127.0.0.1", target.port, timeout=60)
    try:
        began = time.monotonic()
        for _ in range(BULK_TRANSFERS):
            connection.request("GET", BULK_PATH, headers=headers(target))
            reply, left = connection.getresponse(), BULK_SIZE
            while got := reply.readinto(buffer):
                left -= got
            if reply.status != 200 or left:
                raise CannotRun(f"{target.name} answered {reply.status} and {left} bytes too few to GET {BULK_PATH}")
        return BULK_TRANSFERS * BULK_SIZE / (time.monotonic() - began) / 1e9
    finally:
        connection.close()


def process_ticks(pid: int) -> int:
    """User and system time of a process and its children, in clock ticks."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    children = [int(child) for task in tasks for child in task.read_text().split()]
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12]) + sum(process_ticks(child) for child in children)


def core_ticks(core: int) -> int:
    """User, nice and system time of a core."""
    lines = Path("/proc/stat").read_text().splitlines()
    fields = next(line for line in lines if line.startswith(f"cpu{core} ")).split()
    return sum(int(value) for value in fields[1:4])
