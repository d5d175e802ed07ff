"""
The real kube-apiserver, kubectl and etcd, built from the modules that go.mod names, into the user's cache once.

`python -m tests.lab.kube.programs` builds and prints where they are: about five minutes on two cores, 0.6 GB of
modules, 3 GB of build cache. How it is built: `tests.lab.go_tools`.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from tests.lab.go_tools import BUILD_LIMIT, build, cached

__all__ = ["BUILD_LIMIT", "Binaries", "built", "kubernetes_version"]

HERE = Path(__file__).parent
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
    target = cached(HERE, "kube", lambda output: build(HERE, PACKAGES, output, linked=versions()))
    return Binaries(target / "kube-apiserver", target / "kubectl", target / "etcd", kubernetes_version()[0])


def kubernetes_version() -> tuple[str, str, str]:
    """Version, its major and its minor part, as go.mod has them."""
    found = MODULE.search((HERE / "go.mod").read_text())
    assert found is not None
    return found[1], found[2], found[3]


def versions() -> str:
    """What the linker writes into the programs, which otherwise say that they are of no version."""
    version, major, minor = kubernetes_version()
    says = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}
    return " ".join(f"-X {where}.{name}={value}" for where in SAY_VERSIONS for name, value in says.items())


if __name__ == "__main__":
    print(built())
