"""A clean copy of the tree, and the packages that are built from it."""

import os
import re
import shutil
import sys
from pathlib import Path

from tools.release.contents import wheel_files
from tools.release.report import require, run

EPOCH = "1767225600"  # seconds; any fixed moment does, since only sameness is checked
HEADING = re.compile(r"^## \[?([^\]\s]+)", re.MULTILINE)
APP_VERSION = re.compile(r"""^appVersion: ["']?([^"'\s]+)""", re.MULTILINE)
IMAGE = re.compile(r"ghcr\.io/oidcgate/oidcgate:([0-9][\w.+-]*)")
UNRELEASED = "Unreleased"
MADE_HERE = re.compile(r"/(\.[^/]*|build|dist|node_modules|__pycache__|[^/]+\.egg-info)/|\.pyc$")


def export(root: Path, target: Path) -> Path:
    """Copy what git knows, and what it would know: nothing that is ignored, nothing that is deleted."""
    for name in known_files(root):
        if (root / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            copy_as_git(root / name, target / name)
    return target


def known_files(root: Path) -> list[str]:
    """The tree's files by git; where there is no repository, such as in an archive, all that are not made here."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    if (root / ".git").exists():
        return [name for name in run(*command, folder=root).split("\0") if name]
    paths = [path.relative_to(root) for path in root.rglob("*") if path.is_file()]
    return [path.as_posix() for path in paths if not MADE_HERE.search(f"/{path.as_posix()}")]


def copy_as_git(source: str | Path, target: str | Path) -> None:
    """Copy a file with one of git's two modes: the umask of whoever has checked it out would else be in the wheel."""
    shutil.copyfile(source, target)
    os.chmod(target, 0o755 if os.access(source, os.X_OK) else 0o644)


def build(tree: Path, output: Path, *kinds: str, isolated: bool = True, epoch: str = EPOCH) -> list[Path]:
    """
    Build packages from a tree.

    Args:
        kinds: ``sdist``, ``wheel``.
        isolated: with a fresh setuptools, as installers do; else with the one that is installed here.

    Raises:
        CheckFailed: it cannot be built.
    """
    how = [f"--{kind}" for kind in kinds] + ([] if isolated else ["--no-isolation"])
    environment = {**os.environ, "SOURCE_DATE_EPOCH": epoch}
    run(sys.executable, "-m", "build", *how, "--outdir", output, tree, environment=environment)
    return sorted(output.iterdir())


def unpacked(sdist: Path, target: Path) -> Path:
    """The tree inside an sdist."""
    shutil.unpack_archive(sdist, target, filter="data")
    (tree,) = target.iterdir()
    return tree


def same_files(first: Path, second: Path) -> None:
    """
    Two wheels hold the same.

    Raises:
        CheckFailed: they do not.
    """
    here, there = wheel_files(first), wheel_files(second)
    different = sorted(name for name in here.keys() | there.keys() if here.get(name) != there.get(name))
    require(not different, f"different: {', '.join(different)}")


def same_bytes(first: Path, second: Path) -> None:
    """
    Two files are identical.

    Raises:
        CheckFailed: they are not.
    """
    require(first.read_bytes() == second.read_bytes(), f"{first.name} differs from one build to the next")


def package_version(tree: Path) -> str:
    """``oidcgate.__version__``, as written."""
    found = re.search(r'^__version__ = "([^"]+)"$', (tree / "oidcgate/__init__.py").read_text(), re.MULTILINE)
    require(found is not None, "oidcgate/__init__.py names no version")
    return found.group(1) if found is not None else ""


def check_changelog(tree: Path, version: str, *, final: bool) -> str:
    """
    The changelog begins with this version; before the release's own commit it may say that it is not released.

    Raises:
        CheckFailed: it begins with another one.
    """
    newest = HEADING.search((tree / "CHANGELOG.md").read_text())
    name = newest.group(1) if newest is not None else "nothing"
    if name == UNRELEASED and not final:
        return "says Unreleased; RELEASE=1 asks for the version"
    require(name == version, f"begins with {name}, the package is {version}")
    return version


def check_deployments(tree: Path, version: str) -> str:
    """
    The chart and every image of ours below ``deploy/`` are of this version.

    Raises:
        CheckFailed: one is of another.
    """
    files = [path for path in sorted((tree / "deploy").rglob("*")) if path.is_file()]
    found = {path.relative_to(tree).as_posix(): versions_in(path) for path in files}
    other = [f"{name} ({', '.join(named - {version})})" for name, named in found.items() if named - {version}]
    require(not other, f"of another version than {version}: {'; '.join(other)}")
    return f"named by {sum(1 for named in found.values() if named)}"


def versions_in(path: Path) -> set[str]:
    """The versions of ours that a file names."""
    text = path.read_text(errors="replace")
    named = set(IMAGE.findall(text))
    return named | set(APP_VERSION.findall(text)) if path.name == "Chart.yaml" else named


def same_version(found: str, version: str) -> str:
    """
    Both are the same.

    Raises:
        CheckFailed: they are not.
    """
    require(found == version, f"{found} is not {version}")
    return found
