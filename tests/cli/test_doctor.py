"""`oidcgate doctor`: options, output and exit codes; what it finds is in tests/journeys/test_doctor.py."""

import json
import re
import sys
from pathlib import Path

import pytest

from oidcgate.cli.doctor import is_coloured
from oidcgate.cli.main import main, parser
from tests.cli.support import config
from tests.journeys.test_doctor import HOPS


def test_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody listens anywhere: three failures, each with its line, and 1."""
    assert main(["doctor", "--config", str(config(tmp_path))]) == 1
    output, errors = capsys.readouterr()
    assert errors == ""
    assert "at   gate.yaml:4: provider.issuer\n" in output
    assert output.endswith("3 failed, 7 good, 6 skipped\n")


def test_offline(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without the network nothing fails: 0, also as JSON."""
    assert main(["doctor", "--config", str(config(tmp_path)), "--offline", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {each["status"] for each in found} == {"ok", "skip"}


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        pytest.param(["--site", "https://x.example.com"], "--site: no site has the address", id="site"),
        pytest.param(["--token-file", "/nowhere"], "--token-file: /nowhere cannot be read: No such", id="token"),
        pytest.param(["--token-file", "/dev/null"], "--token-file: /dev/null is empty", id="empty-token"),
        pytest.param(["--token-file", sys.executable], "it holds no token", id="no-token"),
    ],
)
def test_wrong_usage(options: list[str], problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """2, with the option that is to blame."""
    assert main(["doctor", "--config", str(config(tmp_path)), *options]) == 2
    assert problem in capsys.readouterr().err


def test_wrong_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All problems, and 2, as with every command."""
    path = config(tmp_path, ("client_id: gate", "client-id: gate"))
    assert main(["doctor", "--config", str(path)]) == 2
    assert "provider.client-id: unknown key" in capsys.readouterr().err


def test_one_token(tmp_path: Path) -> None:
    """From a file or from a sign-in."""
    with pytest.raises(SystemExit) as caught:
        main(["doctor", "--config", str(config(tmp_path)), "--login", "--token-file", "x"])
    assert caught.value.code == 2


def test_help() -> None:
    """It stands in the list."""
    assert "doctor" in parser().format_help()


def test_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal, unless its owner says no."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert not is_coloured()
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert is_coloured()
    monkeypatch.setenv("NO_COLOR", "1")
    assert not is_coloured()


def test_every_hop_is_in_the_guide() -> None:
    """docs/troubleshooting.md names each, in code."""
    guide = (Path(__file__).resolve().parents[2] / "docs" / "troubleshooting.md").read_text()
    said = {hop for line in guide.splitlines() if line.startswith("- ") for hop in re.findall(r"`([a-z-]+)`", line)}
    assert {hop for hop in {*HOPS, "credential", "redirect"} if hop != "configuration"} <= said
