"""Nothing that is deployed goes without a test."""

from pathlib import Path

import pytest

from tests.deploy.kubernetes_folders import FOLDER as MANIFESTS

HERE = Path(__file__).parent
DEPLOY = MANIFESTS.parent
TESTED_BY = {
    "Dockerfile": "test_image.py",
    "image": "test_image.py",
    "compose": "test_compose.py",
    "helm": "test_chart.py",
    "kubernetes": "test_kubernetes.py",
    "monitoring": "test_monitoring.py",
    "systemd": "test_systemd.py",
}
BY_NAME = ("image", "compose", "monitoring", "systemd")  # the others' tests walk through their folders


def test_each_has_its_tests() -> None:
    """A new way to run the gate comes with a test module."""
    assert {path.name for path in DEPLOY.iterdir()} == set(TESTED_BY)
    assert all((HERE / name).exists() for name in TESTED_BY.values())


@pytest.mark.parametrize("folder", BY_NAME)
def test_each_file_is_named(folder: str) -> None:
    """Its tests, or what helps them, name each file."""
    helpers = "\n".join(path.read_text() for path in HERE.rglob("*.py") if path != Path(__file__))
    files = [path.name for path in (DEPLOY / folder).iterdir()]
    assert [name for name in files if f'"{name}"' not in helpers and f"/{name}" not in helpers] == []
