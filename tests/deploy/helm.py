"""The real Helm on the chart: what it renders, what it says, and what it refuses."""

import functools
import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tests.deploy.manifests import Document, documents
from tests.lab.helm.program import built

CHART = Path(__file__).parents[2] / "deploy" / "helm" / "oidcgate"
VALUES = sorted((CHART / "ci").glob("*.yaml"))
LIMIT = 60.0  # seconds; a rendering takes less than one
NOT_OF_INTEREST = "found symbolic link in path"  # the alert rules are one file, which the chart links to


def helm(*args: str, stdin: str = "", kubeconfig: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run Helm, away from the user's own configuration and cluster."""
    with tempfile.TemporaryDirectory(prefix="oidcgate-helm-") as home:
        environment = {
            "HOME": home,
            "PATH": os.environ.get("PATH", ""),
            "KUBECONFIG": str(kubeconfig or home + "/none"),
        }
        return subprocess.run(
            [built(), *args], input=stdin, capture_output=True, text=True, env=environment, timeout=LIMIT, check=False
        )


def template(*values: Path, **more: Any) -> list[Document]:
    """
    The objects that value files and further values make, in a release ``gate`` of a namespace ``access``.

    Raises:
        AssertionError: Helm refused; quotes it.
    """
    done = _rendered(values, json.dumps(more))
    assert done.returncode == 0, done.stderr
    return documents(done.stdout)


def refusal(*values: Path, **more: Any) -> str:
    """
    What Helm says of values that it does not take.

    Raises:
        AssertionError: it took them.
    """
    done = _rendered(values, json.dumps(more))
    assert done.returncode == 1, done.stdout
    return done.stderr


@functools.cache
def _rendered(values: tuple[Path, ...], more: str) -> subprocess.CompletedProcess[str]:
    return helm("template", "gate", str(CHART), "--namespace", "access", *files(*values), "--values", "-", stdin=more)


def files(*values: Path) -> list[str]:
    """The arguments that name value files."""
    return [f"--values={file}" for file in values]


def said(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The lines that Helm wrote beside its output."""
    return [line for line in done.stderr.splitlines() if NOT_OF_INTEREST not in line]
