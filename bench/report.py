"""The figures as a table for people and as JSON for programs, with the machine and all versions."""

import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

from bench.gates import oauth2_proxy_version
from bench.measure import CONNECTIONS, Sample
from bench.servers import BULK_SIZE, HERE, JSON_SIZE, program

RESULTS = HERE / "results"
DISTURBED = 0.05  # share of the measured core used by others
Rounds = dict[str, list[Sample]]


def first_line(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    return (done.stdout or done.stderr).strip().partition("\n")[0]


def machine() -> dict[str, str]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": str(os.cpu_count()),
        "kernel": platform.release(),
        "load before": f"{os.getloadavg()[0]:.2f}",
    }


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in ("oidcgate", "aiohttp", "uvloop"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    found["nginx"] = first_line(program("nginx", "nginx"), "-v").rpartition("/")[2]
    found["wrk"] = first_line(program("wrk", "wrk"), "-v").partition("[")[0].removeprefix("wrk ").strip()
    found["oauth2-proxy"] = oauth2_proxy_version().lstrip("v")
    return found


def ratio(rounds: Rounds, one: str, other: str, figure: str = "requests_per_second") -> float | None:
    """The median of the rounds' ratios: both sides of each were measured within the same half minute."""
    if one not in rounds or other not in rounds:
        return None
    pairs = zip(rounds[one], rounds[other], strict=True)
    return float(median(getattr(mine, figure) / getattr(theirs, figure) for mine, theirs in pairs))


def middle(samples: list[Sample], figure: str) -> float:
    return float(median(getattr(sample, figure) for sample in samples))


def table(rounds: Rounds) -> str:
    lines = [
        "| server | requests/s | p50 ms | p99 ms | of nginx | of oauth2-proxy | its core | 50 MB, GB/s | of nginx "
        "| auth answers/s | of oauth2-proxy |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, samples in rounds.items():
        cells = [
            name,
            f"{middle(samples, 'requests_per_second'):,.0f}",
            f"{middle(samples, 'p50_ms'):.2f}",
            f"{middle(samples, 'p99_ms'):.2f}",
            shown(ratio(rounds, name, "nginx")),
            shown(ratio(rounds, name, "oauth2-proxy")),
            f"{middle(samples, 'cpu'):.0%}",
            f"{middle(samples, 'bulk_gb_per_second'):.2f}",
            shown(ratio(rounds, name, "nginx", "bulk_gb_per_second")),
            f"{middle(samples, 'auth_per_second'):,.0f}" if name != "nginx" else "–",
            shown(ratio(rounds, name, "oauth2-proxy", "auth_per_second")) if name != "nginx" else "–",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def remarks(rounds: Rounds) -> list[str]:
    found = []
    for name, samples in rounds.items():
        if failures := sum(sample.failures for sample in samples):
            found.append(f"**{name}: {failures} requests failed.** Its figures mean nothing.")
        if any(sample.others > DISTURBED for sample in samples):
            share = max(sample.others for sample in samples)
            found.append(f"**{name}: others used up to {share:.0%} of its core.** Run again on a quiet machine.")
    return found


def facts(title: str, values: dict[str, str]) -> str:
    return f"{title}: " + ", ".join(f"{name} {value}" for name, value in values.items())


def publish(rounds: Rounds, *, seconds: int, about: dict[str, str], config: str | None) -> None:
    """Prints the table and writes `bench/results/<time>.json`."""
    count = len(next(iter(rounds.values())))
    found = versions()
    parts = [
        table(rounds),
        f"Medians of {count} round(s) of {seconds} s on one core each: {CONNECTIONS} kept connections, "
        f"{JSON_SIZE:,} bytes of JSON; then {BULK_SIZE:,} bytes over one connection.",
        *remarks(rounds),
        facts("Machine", about),
        facts("Versions", found),
    ]
    if config is not None:
        parts.append(f"The gate's configuration:\n```yaml\n{config.strip()}\n```")
    print("\n\n".join(parts))
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{datetime.now(UTC):%Y-%m-%dT%H%M%SZ}.json"
    ratios = {
        "gate/nginx": ratio(rounds, "gate", "nginx"),
        "gate/oauth2-proxy": ratio(rounds, "gate", "oauth2-proxy"),
        "gate/nginx, 50 MB": ratio(rounds, "gate", "nginx", "bulk_gb_per_second"),
        "gate/oauth2-proxy, auth": ratio(rounds, "gate", "oauth2-proxy", "auth_per_second"),
    }
    samples = {name: [sample.as_dict() for sample in found] for name, found in rounds.items()}
    record = {
        "machine": about,
        "versions": found,
        "seconds": seconds,
        "ratios": ratios,
        "rounds": samples,
        "config": config,
    }
    file.write_text(json.dumps(record, indent=1) + "\n")
    print(f"written: {file}", file=sys.stderr)
