"""`oidcgate secret`."""

from pathlib import Path

import pytest

from oidcgate.cli.main import main
from oidcgate.web.keys import read_ring
from tests.config.support import private


def test_secret(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It prints one line that a keys file takes, another one each time."""
    assert main(["secret"]) == 0
    assert main(["secret"]) == 0
    output = capsys.readouterr().out
    assert output.count("\n") == 2
    assert len(read_ring(private(tmp_path / "keys", output), "session.keys_file")) == 2
