"""What has to be inside a wheel and an sdist, and that nothing else is."""

import tarfile
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path

from tools.release.report import require

PACKAGE = "oidcgate"
BESIDE = frozenset(  # what an sdist holds besides the package
    {
        "CHANGELOG.md",
        "LICENSE",
        "MANIFEST.in",
        "PKG-INFO",
        "README.md",
        "config.example.yaml",
        "constraints.txt",
        "pyproject.toml",
        "setup.cfg",
    }
)
WHEEL_RECORDS = frozenset({"METADATA", "RECORD", "WHEEL", "entry_points.txt", "top_level.txt", "licenses/LICENSE"})


def package_files(tree: Path) -> set[str]:
    """Every file of the package in a source tree: its modules, and the data that is served or marks its types."""
    found = (tree / PACKAGE).rglob("*")
    return {path.relative_to(tree).as_posix() for path in found if path.is_file() and path.suffix != ".pyc"}


def wheel_files(wheel: Path) -> dict[str, bytes]:
    """A wheel's files by name."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}


def sdist_files(sdist: Path) -> set[str]:
    """An sdist's files, without the folder that holds all of them."""
    with tarfile.open(sdist) as archive:
        return {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}


def check_wheel(wheel: Path, tree: Path) -> str:
    """
    The whole package, the licence, its records, and nothing else.

    Raises:
        CheckFailed: something is missing, or does not belong there.
    """
    inside = set(wheel_files(wheel))
    records = {name for name in inside if name.split("/")[0].endswith(".dist-info")}
    told = differences(inside - records, package_files(tree))
    require(not told, told)
    told = differences({name.partition("/")[2] for name in records}, set(WHEEL_RECORDS))
    require(not told, f".dist-info: {told}")
    return f"{len(inside)} files, {wheel.stat().st_size // 1024} KiB"


def check_sdist(sdist: Path, tree: Path) -> str:
    """
    The package, what it is built with, what one reads first, and nothing else.

    Raises:
        CheckFailed: something is missing, or does not belong there.
    """
    inside = {name for name in sdist_files(sdist) if not name.startswith(f"{PACKAGE}.egg-info/")}
    told = differences(inside, package_files(tree) | BESIDE)
    require(not told, told)
    return f"{len(inside)} files, {sdist.stat().st_size // 1024} KiB"


def differences(found: set[str], expected: set[str]) -> str:
    """What is missing and what is too much, in words; nothing when nothing is."""
    missing, surplus = sorted(expected - found), sorted(found - expected)
    parts = [f"missing: {', '.join(missing)}"] if missing else []
    return "; ".join([*parts, *([f"does not belong there: {', '.join(surplus)}"] if surplus else [])])


def metadata(wheel: Path) -> Message:
    """What a wheel says of itself, as headers."""
    files = wheel_files(wheel)
    (name,) = [name for name in files if name.endswith(".dist-info/METADATA")]
    return message_from_bytes(files[name])
