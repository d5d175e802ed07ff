"""`python -m bench`: nginx, this gate and oauth2-proxy on one core each, in turn, same upstream."""

import argparse
import os
import signal
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from bench import gates, report, servers
from bench.browser import Browser, LoginFailed
from bench.measure import Sample, check, measured

NAMES = ("nginx", "gate", "oauth2-proxy")
LOGIN, PASSWORD = "alice", "alice"  # one of the demo issuer's people


@dataclass(frozen=True)
class Options:
    rounds: int
    seconds: int
    only: list[str]
    profile: bool


def parsed(arguments: list[str]) -> Options:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=10, help="length of one measurement")
    parser.add_argument("--only", default=",".join(NAMES), help="for example nginx,gate")
    parser.add_argument("--profile", action="store_true", help="run the gate under cProfile; figures void")
    found = parser.parse_args(arguments)
    only = found.only.split(",")
    if unknown := set(only) - set(NAMES):
        parser.error(f"--only: no such server: {', '.join(sorted(unknown))}; known: {', '.join(NAMES)}")
    if found.rounds < 1 or found.seconds < 1:
        parser.error("--rounds and --seconds start at 1")
    return Options(found.rounds, found.seconds, [name for name in NAMES if name in only], found.profile)


def two_cores() -> servers.Cores:
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        raise servers.CannotRun("two cores are needed: one for the server, one for the load")
    return servers.Cores(measured=allowed[0], rest=allowed[1])


def start(stack: ExitStack, options: Options, cores: servers.Cores) -> tuple[list[servers.Target], str | None]:
    """Everything that runs, the signed-in targets and the gate's configuration."""
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="oidcgate-bench-")))
    upstream_port, admin_port, *ports = servers.free_ports(2 + len(NAMES))
    port = dict(zip(NAMES, ports, strict=True))
    stack.enter_context(servers.upstream(directory, core=cores.rest, port=upstream_port))
    signed_in = {name: port[name] for name in options.only if name != "nginx"}
    issuer = stack.enter_context(gates.issuer(directory, signed_in, core=cores.rest)) if signed_in else ""
    targets, config = [], None
    for name in options.only:
        where = {"core": cores.measured, "port": port[name]}
        if name == "nginx":
            opened = servers.plain_proxy(directory, **where, upstream_port=upstream_port)
        elif name == "gate":
            file = gates.gate_config(
                directory,
                port=port[name],
                admin_port=admin_port,
                upstream_port=upstream_port,
                issuer_url=issuer,
            )
            config = gates.effective_config(file)
            opened = gates.gate(directory, file, **where, profile=profile_file() if options.profile else None)
        else:
            binary = gates.built_oauth2_proxy()
            opened = gates.oauth2_proxy(directory, binary, **where, upstream_port=upstream_port, issuer_url=issuer)
        targets.append(ready(stack.enter_context(opened)))
    return targets, config


def ready(target: servers.Target) -> servers.Target:
    """The target with a session where it needs one, answering as it should."""
    if target.name != "nginx":
        target = replace(target, cookie=Browser(LOGIN, PASSWORD).sign_in(f"{target.url}/"))
    check(target)
    return target


def profile_file() -> Path:
    report.RESULTS.mkdir(exist_ok=True)
    return report.RESULTS / "gate.prof"


def run(options: Options) -> None:
    cores = two_cores()
    os.sched_setaffinity(0, {cores.rest})
    about = report.machine()
    rounds: dict[str, list[Sample]] = {name: [] for name in options.only}
    with ExitStack() as stack:
        targets, config = start(stack, options, cores)
        for number in range(1, options.rounds + 1):
            for target in targets:
                sample = measured(target, seconds=options.seconds, core=cores.measured)
                rounds[target.name].append(sample)
                line = f"round {number}: {target.name} {sample.requests_per_second:,.0f} requests/s"
                print(f"{line}, {sample.bulk_gb_per_second:.2f} GB/s", file=sys.stderr, flush=True)
    report.publish(rounds, seconds=options.seconds, about=about, config=config)
    if options.profile:
        print(f"profile: python -m pstats {profile_file()}", file=sys.stderr)


def main() -> int:
    options = parsed(sys.argv[1:])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        run(options)
    except (servers.CannotRun, LoginFailed) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
