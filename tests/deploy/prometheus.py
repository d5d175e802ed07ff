"""Debian's Prometheus and promtool, run for a test and ended with it."""

import asyncio
import json
import subprocess
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import yaml

from tests.support.processes import executable
from tests.support.raw import fetch, request

LIMIT = 30.0  # seconds after which a test is stuck
SCRAPE = "200ms"
Sample = dict[str, Any]


def promtool(*args: str | Path, stdin: str = "") -> tuple[int, str]:
    """How promtool ends, and all that it says."""
    command = [executable("promtool", "prometheus"), *map(str, args)]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=LIMIT, check=False)
    return done.returncode, done.stdout + done.stderr


class Prometheus:
    """One that runs; answers by its HTTP API."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def ask(self, path: str) -> Any:
        """The data of an answer."""
        reply = await fetch(self.port, request(path, host="127.0.0.1", headers={"Connection": "close"}))
        answer = json.loads(reply.body)
        assert answer["status"] == "success", (path, answer)
        return answer["data"]

    async def query(self, expr: str) -> list[Sample]:
        """What an expression gives right now: samples with ``metric`` and ``value``."""
        data = await self.ask(f"/api/v1/query?query={quote(expr, safe='')}")
        assert data["resultType"] in ("vector", "scalar"), (expr, data)
        samples: list[Sample] = data["result"]
        return samples

    async def until(self, expr: str) -> None:
        """Wait until an expression gives something."""
        async with asyncio.timeout(LIMIT):
            while not await self.query(expr):
                await asyncio.sleep(0.05)


@asynccontextmanager
async def prometheus(folder: Path, *, target: int, rules: Path) -> AsyncIterator[Prometheus]:
    """One on a port of the system's choice that scrapes a gate's admin port, as the job ``gate``."""
    (folder / "prometheus.yml").write_text(
        yaml.safe_dump(
            {
                "global": {"scrape_interval": SCRAPE, "scrape_timeout": SCRAPE, "evaluation_interval": SCRAPE},
                "rule_files": [str(rules)],
                "scrape_configs": [{"job_name": "gate", "static_configs": [{"targets": [f"127.0.0.1:{target}"]}]}],
            }
        )
    )
    process = await asyncio.create_subprocess_exec(
        executable("prometheus", "prometheus"),
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/data",
        "--web.listen-address=127.0.0.1:0",
        "--log.level=error",
        stdin=DEVNULL,
        stdout=DEVNULL,
        stderr=PIPE,
    )
    try:
        yield Prometheus(await _port_of(process))
    finally:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.communicate(), LIMIT)


async def _port_of(process: Process) -> int:
    """Where it listens: it does not say so, but the system knows."""
    async with asyncio.timeout(LIMIT):
        while True:
            if process.returncode is not None:
                _, said = await process.communicate()
                raise RuntimeError(f"prometheus ended:\n{said.decode()}")
            for connection in psutil.net_connections("tcp4"):
                if connection.pid == process.pid and connection.status == psutil.CONN_LISTEN:
                    return int(connection.laddr.port)
            await asyncio.sleep(0.05)
