"""
The npm packages of this folder, installed once into the user's cache.

The directory is named after the lock file's hash: a changed lock installs anew, an unchanged one costs nothing.
`python tests/lab/npm.py` installs them and prints where they are.
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
FILES = ("package.json", "package-lock.json", ".npmrc")
INSTALL = "install Node.js 20 or later with npm (Debian: apt-get install nodejs npm)"
TIME_LIMIT = 300  # seconds for `npm ci`: 52 packages, a few megabytes


def cache_directory() -> Path:
    """Where this lock file's packages live, installed or not."""
    digest = hashlib.sha256(b"\0".join((HERE / name).read_bytes() for name in FILES)).hexdigest()[:16]
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "oidcgate" / f"npm-{digest}"


def node_modules() -> Path:
    """
    The installed `node_modules`; installs it first where it is missing.

    Raises:
        RuntimeError: node or npm is missing, too old, or could not install; says what to do.
    """
    check_node()
    target = cache_directory()
    if not target.exists():
        install(target)
    return target / "node_modules"


def check_node() -> None:
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            raise RuntimeError(f"{program} is not installed; {INSTALL}")
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.lstrip("v").partition(".")[0]) < 20:
        raise RuntimeError(f"node is {version}; {INSTALL}")


def install(target: Path) -> None:
    """Runs `npm ci` beside the target and moves the whole into place, so that half an install is never seen."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="npm-installing-") as scratch:
        build = Path(scratch) / "build"
        build.mkdir()
        for name in FILES:
            shutil.copy(HERE / name, build)
        command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        try:
            subprocess.run(command, cwd=build, capture_output=True, text=True, check=True, timeout=TIME_LIMIT)
        except subprocess.CalledProcessError as error:
            raise RuntimeError(f"npm ci failed in tests/lab; is the npm registry reachable?\n{error.stderr}") from error
        except subprocess.TimeoutExpired as error:
            raise RuntimeError(
                f"npm ci took longer than {TIME_LIMIT} seconds; is the npm registry reachable?"
            ) from error
        try:
            build.rename(target)
        except OSError:  # somebody else was quicker
            if not target.exists():
                raise


if __name__ == "__main__":
    print(node_modules())
