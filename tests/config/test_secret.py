"""Secrets from files and the environment."""

import os
from pathlib import Path

import pytest

from oidcgate.config.secret import SecretFile, UnusableSecret, read_environment, read_private
from tests.config.support import private


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o440, 0o640])
def test_private(tmp_path: Path, mode: int) -> None:
    """The owner and the group may read a secret."""
    path = private(tmp_path / "secret", "s3cret\n")
    path.chmod(mode)
    assert read_private(path) == b"s3cret\n"


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o777])
def test_world_readable(tmp_path: Path, mode: int) -> None:
    """A file that everybody can read is refused, with what to do, here and in Kubernetes."""
    path = private(tmp_path / "secret")
    path.chmod(mode)
    with pytest.raises(UnusableSecret, match=r"everybody .* chmod o-rwx .*defaultMode: 0440"):
        read_private(path)


def test_missing(tmp_path: Path) -> None:
    """A missing file says so."""
    for read in (lambda: read_private(tmp_path / "none"), SecretFile(tmp_path / "none").read):
        with pytest.raises(UnusableSecret, match="none cannot be read: No such file"):
            read()


def test_folder(tmp_path: Path) -> None:
    """A folder in the file's place says so."""
    folder = tmp_path / "secret"
    folder.mkdir(0o700)
    with pytest.raises(UnusableSecret, match="cannot be read: Is a directory"):
        read_private(folder)


def test_file(tmp_path: Path) -> None:
    """The line break that editors add is no part of the secret."""
    assert SecretFile(private(tmp_path / "secret", " s3cret \r\n")).read() == "s3cret"


@pytest.mark.parametrize("content", [b"", b"\n", b" \t\n"])
def test_empty(tmp_path: Path, content: bytes) -> None:
    """An empty secret is refused."""
    with pytest.raises(UnusableSecret, match="is empty"):
        SecretFile(private(tmp_path / "secret", content)).read()


def test_not_text(tmp_path: Path) -> None:
    """Bytes that are no text are refused without being shown."""
    with pytest.raises(UnusableSecret, match=r"secret is not text \(UTF-8\)$"):
        SecretFile(private(tmp_path / "secret", b"\xff\xfegeheim")).read()


def test_read_again(tmp_path: Path) -> None:
    """A secret that was replaced is read anew, as Kubernetes does it: by another file under the same name."""
    path = private(tmp_path / "secret", "old")
    secret = SecretFile(path)
    assert secret.read() == "old"
    private(tmp_path / "next", "new").rename(path)
    assert secret.read() == "new"


def test_changed_in_place(tmp_path: Path) -> None:
    """A secret that was edited is read anew: the file's time says so."""
    path = private(tmp_path / "secret", "old")
    secret = SecretFile(path)
    secret.read()
    path.write_text("new")
    os.utime(path, ns=(1, 1))
    assert secret.read() == "new"


def test_not_read_twice(tmp_path: Path) -> None:
    """A file with the same time and inode is not read again."""
    path = private(tmp_path / "secret", "old")
    os.utime(path, ns=(1, 1))
    secret = SecretFile(path)
    secret.read()
    path.write_text("new")
    os.utime(path, ns=(1, 1))
    assert secret.read() == "old"


def test_made_readable_for_all(tmp_path: Path) -> None:
    """A replacement that everybody can read is refused too; the next good one is taken."""
    path = private(tmp_path / "secret", "old")
    secret = SecretFile(path)
    secret.read()
    careless = private(tmp_path / "next", "new")
    careless.chmod(0o644)
    careless.rename(path)
    with pytest.raises(UnusableSecret, match="everybody"):
        secret.read()
    path.chmod(0o600)
    assert secret.read() == "new"


def test_repr(tmp_path: Path) -> None:
    """A secret's text shows in no repr."""
    secret = SecretFile(private(tmp_path / "secret", "geheim"))
    secret.read()
    assert "geheim" not in repr(secret)


def test_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable holds a secret too; unset or blank it is refused by name."""
    monkeypatch.setenv("GATE_SECRET", " s3cret\n")
    assert read_environment("GATE_SECRET") == "s3cret"
    monkeypatch.setenv("GATE_SECRET", " ")
    with pytest.raises(UnusableSecret, match="GATE_SECRET is not set"):
        read_environment("GATE_SECRET")
    monkeypatch.delenv("GATE_SECRET")
    with pytest.raises(UnusableSecret, match="GATE_SECRET is not set"):
        read_environment("GATE_SECRET")
