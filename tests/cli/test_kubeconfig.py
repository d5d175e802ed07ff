"""`oidcgate kubeconfig`: output and exit codes."""

import base64
from pathlib import Path

import pytest
import yaml

from oidcgate.cli.main import main
from tests.cli.support import config

UPSTREAM = 'upstream: {url: "http://127.0.0.1:9"}'
KUBECTL = (
    UPSTREAM,
    f"{UPSTREAM}\n    kubectl: {{client_id: kubectl}}\n    kubernetes: {{api: 'https://api:6443', ca_file: ca.pem}}",
)


def test_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A kubeconfig, with the authority's contents."""
    (tmp_path / "ca.pem").write_text("CA")
    assert main(["kubeconfig", "--config", str(config(tmp_path, KUBECTL)), "--name", "here"]) == 0
    output, errors = capsys.readouterr()
    found = yaml.safe_load(output)
    assert errors == ""
    assert found["current-context"] == "here"
    assert found["clusters"][0]["cluster"]["certificate-authority-data"] == base64.b64encode(b"CA").decode()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "sites[0].kubernetes.ca_file: "),
        (["--site", "https://other.example.com"], "--site: "),
        (["--server", "nonsense"], "--server: "),
    ],
)
def test_problems(options: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """2, and where they are."""
    assert main(["kubeconfig", "--config", str(config(tmp_path, KUBECTL)), *options]) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert words in errors


def test_nothing_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The keys to set, all of them."""
    assert main(["kubeconfig", "--config", str(config(tmp_path))]) == 2
    errors = capsys.readouterr().err
    assert "sites[0].kubectl.client_id: is not set" in errors
    assert "sites[0].kubernetes.api: is not set" in errors
