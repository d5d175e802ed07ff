"""
Builds the package, looks inside, installs it everywhere, and uses it there: `make release-check`.

The tree is what git knows and would know. OIDCGATE_PYTHONS names the Pythons ("3.11 3.12 3.13"); RELEASE=1 asks for a
changelog that begins with the version. What passed lies in ``dist/``.
"""

import os
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path

from tools.release import building, contents, installing, sbom
from tools.release.report import Report, run

ROOT = Path(__file__).resolve().parents[2]
PYTHONS = os.environ.get("OIDCGATE_PYTHONS", "3.11 3.12 3.13").split()
FINAL = os.environ.get("RELEASE", "") not in ("", "0")


def main() -> int:
    """All checks; the exit code."""
    report = Report()
    with tempfile.TemporaryDirectory(prefix="oidcgate-release-") as name:
        work = Path(name)
        tree = building.export(ROOT, work / "tree")
        built = report.check("sdist and wheel are built", partial(packages, tree, work))
        if built is not None:
            sdist, wheel = built
            version = building.package_version(tree)
            check_packages(report, work, tree, sdist, wheel)
            check_versions(report, tree, wheel, version)
            check_environments(report, work, tree, sdist, wheel, version)
            if not report.failed:
                keep(wheel.parent)
    return report.summary()


def packages(tree: Path, work: Path) -> tuple[Path, Path]:
    """The sdist and the wheel."""
    sdist, wheel = sorted(building.build(tree, work / "dist", "sdist", "wheel"), key=lambda path: path.suffix)
    return sdist, wheel


def check_packages(report: Report, work: Path, tree: Path, sdist: Path, wheel: Path) -> None:
    """What is inside, and that it is the same however it is built."""
    report.check("the wheel holds the package and nothing else", partial(contents.check_wheel, wheel, tree))
    report.check("the sdist holds the package and nothing else", partial(contents.check_sdist, sdist, tree))
    report.check("twine takes both", partial(twine, sdist, wheel))
    report.check("check-wheel-contents finds nothing", partial(wheel_contents, wheel))
    report.check("the wheel built from the sdist holds the same", partial(rebuilt, work, sdist, wheel))
    report.check("a second build gives the same wheel, byte by byte", partial(reproduced, work, tree, wheel))


def twine(sdist: Path, wheel: Path) -> None:
    """The metadata and the page they become are well-formed."""
    run(sys.executable, "-m", "twine", "check", "--strict", sdist, wheel)


def wheel_contents(wheel: Path) -> None:
    """No common mistake is in the wheel."""
    run(installing.program("check-wheel-contents"), "--no-config", wheel)


def rebuilt(work: Path, sdist: Path, wheel: Path) -> None:
    """Who builds from the sdist gets what we publish."""
    (again,) = building.build(building.unpacked(sdist, work / "unpacked"), work / "from-sdist", "wheel")
    building.same_files(wheel, again)


def reproduced(work: Path, tree: Path, wheel: Path) -> None:
    """Another place and another time of the files change nothing."""
    copy = work / "elsewhere/tree"
    shutil.copytree(
        tree, copy, ignore=shutil.ignore_patterns("build", "*.egg-info"), copy_function=building.copy_as_git
    )
    (again,) = building.build(copy, work / "again", "wheel")
    building.same_bytes(wheel, again)


def check_versions(report: Report, tree: Path, wheel: Path, version: str) -> None:
    """Whatever names a version names this one."""
    report.check(
        "the wheel's metadata name the version",
        lambda: building.same_version(contents.metadata(wheel)["Version"], version),
    )
    report.check("the changelog begins with it", partial(building.check_changelog, tree, version, final=FINAL))
    report.check("what is deployed is of it", partial(building.check_deployments, tree, version))


def check_environments(report: Report, work: Path, tree: Path, sdist: Path, wheel: Path, version: str) -> None:
    """Installed from nothing, on every Python."""
    constraints = tree / "constraints.txt"
    pythons = [
        (name, report.check(f"Python {name} is here", partial(installing.find_python, name))) for name in PYTHONS
    ]
    found = [(name, python) for name, python in pythons if python is not None]
    for name, python in found:
        first = installing.Environment(work / f"wheel-{name}", python)
        what = f"{name}, wheel[redis] by pip"
        if report.check(f"{what}: installs", partial(first.with_pip, "-c", constraints, f"{wheel}[redis]")) is not None:
            use(report, first, what, version, redis=True)
            report.check(f"{what}: types reach users", partial(first.types_reach_users, work / "mypy"))
        second = installing.Environment(work / f"sdist-{name}", python)
        what = f"{name}, sdist by uv"
        if report.check(f"{what}: installs", partial(second.with_uv, "-c", constraints, sdist)) is not None:
            use(report, second, what, version, redis=False)
        third = installing.Environment(work / f"lowest-{name}", python)
        what = f"{name}, the lowest versions"
        if report.check(f"{what}: install", partial(third.with_lowest, wheel)) is not None:
            use(report, third, what, version, redis=True)
    if found:
        name, python = found[0]
        check_bill(report, installing.Environment(work / "bill", python), wheel, constraints)
        by_pipx = partial(installing.runs_by_pipx, wheel, python, work / "pipx", constraints, version)
        report.check(f"{name}, pipx run", by_pipx)


def check_bill(report: Report, environment: installing.Environment, wheel: Path, constraints: Path) -> None:
    """The bill of materials, to be published beside the packages."""
    bill = wheel.with_name(f"{'-'.join(wheel.name.split('-')[:2])}.cdx.json")

    def write() -> str:
        environment.with_uv("-c", constraints, f"{wheel}[redis]")
        return sbom.write_sbom(environment.bin / "python", bill)

    if report.check("the bill of materials is valid", write) is not None:
        report.check("licences of what is installed with it", partial(sbom.check_licences, bill))


def use(report: Report, environment: installing.Environment, what: str, version: str, *, redis: bool) -> None:
    """What people do first."""
    report.check(f"{what}: the version", partial(environment.says_version, version))
    report.check(f"{what}: licence, type marker, place", environment.has_what_it_needs)
    report.check(f"{what}: check --schema, secret", environment.small_commands)
    report.check(f"{what}: redis", partial(environment.has_redis, redis))
    if redis:
        report.check(f"{what}: check --config", environment.checks_a_configuration)
    report.check(f"{what}: demo", environment.runs_the_demo)


def keep(folder: Path) -> None:
    """What passed is what is published."""
    target = ROOT / "dist"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(folder, target)
    for path in sorted(target.iterdir()):
        print(f"      dist/{path.name}")


if __name__ == "__main__":
    raise SystemExit(main())
