"""
What container tools themselves make of our files: the libraries inside Docker Compose and the image builders.

Two small programs of ours around them, built from the modules that go.mod names, into the user's cache once: about
half a minute on two cores.
"""

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

from tests.lab.go_tools import build, cached

HERE = Path(__file__).parent
PACKAGES = {"loadcompose": "./loadcompose", "buildcontext": "./buildcontext"}


def compose_project(file: Path) -> dict[str, Any]:
    """
    A Compose file as Compose understands it: valid by its schema, every reference found, every default filled in.

    Raises:
        ValueError: it is not valid; with Compose's own words.
    """
    project: dict[str, Any] = json.loads(_run("loadcompose", file))
    return project


def build_context(folder: Path) -> list[str]:
    """
    The files that an image's build sees of a folder, by its .dockerignore.

    Raises:
        ValueError: .dockerignore is not valid.
    """
    return sorted(_run("buildcontext", folder).splitlines())


def _run(program: str, argument: Path) -> str:
    ours = b"".join((HERE / name / "main.go").read_bytes() for name in PACKAGES)
    name = f"containers-{hashlib.sha256(ours).hexdigest()[:8]}"
    folder = cached(HERE, name, lambda output: build(HERE, PACKAGES, output))
    done = subprocess.run([folder / program, argument], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(done.stderr.strip())
    return done.stdout
