"""
The real Helm, built from the module that go.mod names, into the user's cache once.

`python -m tests.lab.helm.program` builds and prints where it is: about two minutes on two cores.
"""

from pathlib import Path

from tests.lab.go_tools import build, cached

HERE = Path(__file__).parent
PACKAGES = {"helm": "helm.sh/helm/v4/cmd/helm"}


def built() -> Path:
    """
    Helm; builds it first where it is missing.

    Raises:
        RuntimeError: Go is missing, too old, or the build failed; says what to do.
    """
    return cached(HERE, "helm", lambda output: build(HERE, PACKAGES, output)) / "helm"


if __name__ == "__main__":
    print(built())
