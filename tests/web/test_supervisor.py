"""What a supervisor is told."""

import socket
from pathlib import Path

import pytest

from oidcgate.web.supervisor import READY, tell_supervisor


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_told(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a socket in the file system, or in Linux's abstract namespace."""
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(path if kind == "path" else f"\0{path}")
        monkeypatch.setenv("NOTIFY_SOCKET", path if kind == "path" else f"@{path}")
        tell_supervisor(READY)
        assert sock.recv(100) == b"READY=1"


@pytest.mark.parametrize("value", [None, "", "relative", "/nowhere/at/all"])
def test_nobody_to_tell(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then it is none of our business."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if value is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", value)
    tell_supervisor(READY)
