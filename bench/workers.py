"""
`python -m bench.workers`: what a second worker costs, and what idle websockets take.

The gates may use every core, as in production; upstream, issuer and load share them. Requests a second then say little,
so what is compared is requests a second of the workers' own CPU time.
"""

import argparse
import asyncio
import base64
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median

import psutil

from bench import gates, servers
from bench.browser import Browser, LoginFailed
from bench.measure import check, wrk
from bench.servers import CannotRun, Target

LOGIN, PASSWORD = "alice", "alice"
MOST_CPU_LOSS = 0.85  # requests a worker-CPU-second with two workers, of that with one
WEBSOCKETS = 5000
MOST_MB = 400
DIALS = 50  # handshakes at once
SETTLE = 3.0  # seconds, so that nothing under way is counted


@contextmanager
def gate(directory: Path, *, workers: int, upstream_port: int, issuer_url: str, port: int) -> Iterator[Target]:
    """A gate with so many workers."""
    directory.mkdir()
    [admin_port] = servers.free_ports(1)
    config = gates.gate_config(
        directory, port=port, admin_port=admin_port, upstream_port=upstream_port, issuer_url=issuer_url
    )
    most = WEBSOCKETS + 100
    config.write_text(f"{config.read_text()}workers: {workers}\nlimits: {{connections: {most}, per_address: {most}}}\n")
    every = ",".join(map(str, sorted(os.sched_getaffinity(0))))
    log = directory / "gate.log"
    command = ["taskset", "-c", every, sys.executable, "-m", "oidcgate", "serve", "--config", str(config)]
    with servers.running(command, core=min(os.sched_getaffinity(0)), log=log) as process:
        servers.wait_until_listening(process, port, log)
        while psutil.Process(process.pid).children() == [] or b"listening on" not in log.read_bytes():
            time.sleep(0.05)
        yield Target(f"{workers} workers", port, process.pid)


def signed_in(target: Target) -> Target:
    """With a session."""
    return replace(target, cookie=Browser(LOGIN, PASSWORD).sign_in(f"{target.url}/"))


def workers_of(target: Target) -> list[psutil.Process]:
    return psutil.Process(target.pid).children()


def cpu_seconds(target: Target) -> float:
    """User and system time of the workers."""
    return sum(times.user + times.system for times in (worker.cpu_times() for worker in workers_of(target)))


def efficiency(target: Target, seconds: int) -> float:
    """Requests a worker-CPU-second."""
    wrk(target, 2)
    before = cpu_seconds(target)
    result = wrk(target, seconds)
    if result["failures"]:
        raise CannotRun(f"{target.name}: {result['failures']} requests failed")
    used = cpu_seconds(target) - before
    rate = result["requests"] / result["microseconds"] * 1e6
    print(f"{target.name}: {rate:,.0f} requests/s, {result['requests'] / used:,.0f} a CPU-second", file=sys.stderr)
    return result["requests"] / used


def compared(directory: Path, *, rounds: int, seconds: int) -> float:
    """Efficiency with two workers, of that with one: the median of rounds that take turns."""
    upstream_port, *ports = servers.free_ports(3)
    names = dict(zip((1, 2), ports, strict=True))
    core = min(os.sched_getaffinity(0))
    with ExitStack() as stack:
        stack.enter_context(servers.upstream(directory, core=core, port=upstream_port))
        targets = {}
        for count, port in names.items():
            folder = directory / f"gate-{count}"
            issuer_folder = directory / f"issuer-{count}"
            issuer_folder.mkdir()
            issuer = stack.enter_context(gates.issuer(issuer_folder, {"gate": port}, core=core))
            opened = gate(folder, workers=count, upstream_port=upstream_port, issuer_url=issuer, port=port)
            targets[count] = signed_in(stack.enter_context(opened))
            check(targets[count])
        ratios = []
        for _ in range(rounds):
            one, two = (efficiency(targets[count], seconds) for count in (1, 2))
            ratios.append(two / one)
        return median(ratios)


def idle_websockets(directory: Path) -> tuple[float, float]:
    """A worker's memory in MB without and with so many idle websockets."""
    upstream_port, port = servers.free_ports(2)
    core = max(os.sched_getaffinity(0))
    with ExitStack() as stack:
        log = directory / "idle.log"
        command = [sys.executable, "-m", "bench.idle", str(upstream_port)]
        process = stack.enter_context(servers.running(command, core=core, log=log))
        servers.wait_until_listening(process, upstream_port, log)
        issuer = stack.enter_context(gates.issuer(directory, {"gate": port}, core=core))
        opened = gate(directory / "gate", workers=1, upstream_port=upstream_port, issuer_url=issuer, port=port)
        target = signed_in(stack.enter_context(opened))
        [worker] = workers_of(target)
        before = worker.memory_info().rss / 1e6
        return before, asyncio.run(held(target, worker))


async def held(target: Target, worker: psutil.Process) -> float:
    """The worker's memory in MB while the websockets are open."""
    key = base64.b64encode(os.urandom(16)).decode()
    raw = (
        f"GET /api/sockjs/000/idle/websocket HTTP/1.1\r\nHost: {servers.HOST}:{target.port}\r\nOrigin: {target.url}\r\n"
        f"Cookie: {target.cookie}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: {key}\r\n\r\n"
    ).encode()
    turn = asyncio.Semaphore(DIALS)

    async def dial() -> asyncio.StreamWriter:
        async with turn:
            reader, writer = await asyncio.open_connection("127.0.0.1", target.port)
            writer.write(raw)
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), servers.START_LIMIT)
            if b" 101 " not in head.partition(b"\r\n")[0]:
                raise CannotRun(f"a websocket was refused: {head[:200]!r}")
            return writer

    writers = await asyncio.gather(*(dial() for _ in range(WEBSOCKETS)))
    await asyncio.sleep(SETTLE)
    found = worker.memory_info().rss / 1e6
    if any(writer.is_closing() for writer in writers):
        raise CannotRun("a websocket did not stay")
    for writer in writers:
        writer.transport.abort()
    await asyncio.sleep(SETTLE)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.workers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=8, help="length of one measurement")
    found = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with tempfile.TemporaryDirectory(prefix="oidcgate-bench-") as folder:
            ratio = compared(Path(folder), rounds=found.rounds, seconds=found.seconds)
        print(f"requests a worker-CPU-second, two workers of one: {ratio:.2f} (wanted: {MOST_CPU_LOSS})", flush=True)
        with tempfile.TemporaryDirectory(prefix="oidcgate-bench-") as folder:
            before, after = idle_websockets(Path(folder))
    except (CannotRun, LoginFailed) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(f"a worker: {before:.0f} MB, with {WEBSOCKETS:,} idle websockets {after:.0f} MB (wanted: below {MOST_MB})")
    return 0 if ratio >= MOST_CPU_LOSS and after < MOST_MB else 1


if __name__ == "__main__":
    sys.exit(main())
