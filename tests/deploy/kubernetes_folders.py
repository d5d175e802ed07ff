"""
The folders of deploy/kubernetes as their users have them: with the files that they make, built by the real kubectl.
"""

import functools
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from oidcgate.cli.secret import new_key
from tests.deploy.manifests import Document, documents
from tests.lab.kube.programs import built

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
FOLDERS = (
    "standalone",
    "sidecar-dashboard-2",
    "sidecar-dashboard-7",
    "sidecar-headlamp",
    "central",
    "central/other-cluster",
)
ALONE = ("standalone/httproute.yaml", "standalone/rbac-examples.yaml")  # applied by themselves
LIMIT = 60  # seconds for one build, which takes a tenth of one


@dataclass(frozen=True)
class Container:
    """One container of a pod, and what its pod says."""

    folder: str
    workload: str
    spec: Document
    pod: Document

    @property
    def id(self) -> str:
        """For the name of a test."""
        return f"{self.folder}:{self.workload}:{self.spec['name']}"

    @property
    def is_gate(self) -> bool:
        """Whether it is ours."""
        return "oidcgate/oidcgate" in self.spec["image"]

    @property
    def security(self) -> Document:
        """Its security context over its pod's."""
        return {**self.pod.get("securityContext", {}), **self.spec.get("securityContext", {})}


def files() -> list[str]:
    """Every file of ours, below deploy/kubernetes; those that users make are not."""
    own = {name for folder in FOLDERS for name in made_by_users(folder)}
    found = (path for path in FOLDER.rglob("*") if path.is_file() and path.name not in own)
    return sorted(path.relative_to(FOLDER).as_posix() for path in found)


def kustomization(folder: str) -> Document:
    """A folder's own, as it is written."""
    found: Document = yaml.safe_load((FOLDER / folder / "kustomization.yaml").read_text())
    return found


def named_by(folder: str) -> set[str]:
    """The files of ours that a folder's kustomization puts to use."""
    said = kustomization(folder)
    maps = (file.partition("=")[2] or file for each in said.get("configMapGenerator", []) for file in each["files"])
    return {*said["resources"], *maps}


def made_by_users(folder: str) -> set[str]:
    """The files that a folder's secrets are made of."""
    return {file for each in kustomization(folder).get("secretGenerator", []) for file in each["files"]}


def head(folder: str) -> str:
    """The comment at the top of a folder's kustomization."""
    return (FOLDER / folder / "kustomization.yaml").read_text().partition("apiVersion:")[0]


def build(folder: str, place: Path) -> list[Document]:
    """
    What `kubectl apply -k` would apply, with the files that a user makes.

    Args:
        place: an empty directory to work in.
    """
    shutil.copytree(FOLDER, place / "kubernetes")
    for name in made_by_users(folder):
        (place / "kubernetes" / folder / name).write_text(new_key() if name == "keys" else f"made-{name}")
    command = [str(built().kubectl), "kustomize", str(place / "kubernetes" / folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return documents(done.stdout)


@functools.cache
def written(name: str) -> tuple[Document, ...]:
    """The objects in a file of ours, as they are written."""
    return tuple(documents((FOLDER / name).read_text()))


def containers() -> list[Container]:
    """Every container of every folder."""
    found = []
    for name in files():
        if name.endswith(".yaml") and "kind:" in (FOLDER / name).read_text():
            for each in written(name):
                pod: Any = each.get("spec", {}).get("template", {}).get("spec")
                if pod is not None:
                    workload = each["metadata"]["name"]
                    folder = str(Path(name).parent)
                    listed = [*pod.get("initContainers", []), *pod["containers"]]
                    found += [Container(folder, workload, spec, pod) for spec in listed]
    return found
