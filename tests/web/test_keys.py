"""Where the key ring comes from."""

import stat
from pathlib import Path

import pytest

from oidcgate.config.model import Session
from oidcgate.errors import ConfigError
from oidcgate.session.seal import encode_key
from oidcgate.web.keys import load_ring, read_ring
from tests.config.support import private

RECORD = {"purpose": "session", "context": "x"}
OLD, NEW = encode_key(bytes(32)), encode_key(bytes(range(32)))


def test_made_at_the_first_start(tmp_path: Path) -> None:
    """Without a keys file a key is made in the state folder, the owner's alone, and found again."""
    session = Session(state_dir=str(tmp_path / "a" / "state"))
    box = load_ring(session).seal(b"x", **RECORD, nonce=bytes(12))
    path = tmp_path / "a" / "state" / "keys"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert load_ring(session).unseal(box, **RECORD) == b"x"


def test_memory(tmp_path: Path) -> None:
    """The memory store needs no key that lasts, and leaves no file."""
    session = Session(store="memory", state_dir=str(tmp_path / "state"))
    box = load_ring(session).seal(b"x", **RECORD, nonce=bytes(12))
    with pytest.raises(Exception, match="not on the ring"):
        load_ring(session).unseal(box, **RECORD)
    assert not (tmp_path / "state").exists()


def test_keys_file(tmp_path: Path) -> None:
    """The first key seals, all open; blank lines and comments are skipped; nothing is made."""
    path = private(tmp_path / "keys", f"# since May\n{NEW}\n\n   # before\n  {OLD}\n")
    session = Session(keys_file=str(path), state_dir=str(tmp_path / "state"))
    ring = load_ring(session)
    assert len(ring) == 2
    private(tmp_path / "new", NEW)
    box = ring.seal(b"x", **RECORD, nonce=bytes(12))
    assert read_ring(tmp_path / "new", "x").unseal(box, **RECORD) == b"x"
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    ("content", "mode", "message"),
    [
        pytest.param("", 0o600, "a key ring needs a key", id="empty"),
        pytest.param("# none yet\n", 0o600, "a key ring needs a key", id="comments-only"),
        pytest.param("geheim\n", 0o600, "one of base64|a key has 32 bytes|a key is one line of base64", id="no-key"),
        pytest.param(f"{NEW}\n{OLD[:-4]}\n", 0o600, "a key has 32 bytes, this one has 29", id="one-is-short"),
        pytest.param(b"\xff\xfe\n", 0o600, "a key is one line of base64", id="not-text"),
        pytest.param(NEW, 0o644, "can be read by everybody", id="world-readable"),
    ],
)
def test_refused(tmp_path: Path, content: str | bytes, mode: int, message: str) -> None:
    """A file that gives no usable key is a problem at its YAML path, and no key is shown."""
    path = private(tmp_path / "keys", content)
    path.chmod(mode)
    with pytest.raises(ConfigError, match=message) as caught:
        load_ring(Session(keys_file=str(path)))
    (problem,) = caught.value.problems
    assert problem.path == "session.keys_file"
    assert problem.message.startswith(f"{path}")
    assert "geheim" not in str(problem)
    assert OLD[:-4] not in str(problem)


def test_missing(tmp_path: Path) -> None:
    """A keys file that was named must be there: none is made in its place."""
    with pytest.raises(ConfigError, match="No such file"):
        load_ring(Session(keys_file=str(tmp_path / "keys")))
    assert not (tmp_path / "keys").exists()


def test_made_key_readable_by_everybody(tmp_path: Path) -> None:
    """A made key that somebody opened to all is refused at the folder's YAML path."""
    session = Session(state_dir=str(tmp_path))
    load_ring(session)
    (tmp_path / "keys").chmod(0o644)
    with pytest.raises(ConfigError, match=r"^session\.state_dir: .*everybody"):
        load_ring(session)


@pytest.mark.parametrize("name", ["state", "state/below"])
def test_no_folder(tmp_path: Path, name: str) -> None:
    """A file in the folder's place says so."""
    (tmp_path / "state").write_text("")
    with pytest.raises(ConfigError, match=r"^session\.state_dir: .*(Not a directory|File exists)"):
        load_ring(Session(state_dir=str(tmp_path / name)))
