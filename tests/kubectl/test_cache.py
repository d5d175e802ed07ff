"""Where tokens are kept, and the lock around them."""

import fcntl
import os
import sys
import types
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from oidcgate.kubectl.account import CredentialError
from oidcgate.kubectl.cache import Cache, cache_folder, open_ring
from oidcgate.kubectl.entry import Entry
from tests.kubectl.test_entry import ENTRY

NAME = "account"


class Ring:
    """A key ring; ``broken`` names what raises, ``forgets`` keeps nothing."""

    def __init__(self, *broken: str, forgets: bool = False) -> None:
        self.kept: dict[tuple[str, str], str] = {}
        self.broken = set(broken)
        self.forgets = forgets
        self.priority = 5.0

    def get_keyring(self) -> "Ring":
        return self

    def _check(self, name: str) -> None:
        if name in self.broken:
            raise RuntimeError(f"{name} is locked")

    def get_password(self, service: str, name: str) -> str | None:
        self._check("get")
        return self.kept.get((service, name))

    def set_password(self, service: str, name: str, text: str) -> None:
        self._check("set")
        if not self.forgets:
            self.kept[service, name] = text

    def delete_password(self, service: str, name: str) -> None:
        self._check("delete")
        del self.kept[service, name]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that is not there yet."""
    return tmp_path / "below" / "oidcgate"


def written(folder: Path, entry: Entry = ENTRY, ring: Any = None) -> Cache:
    """A cache with an entry."""
    cache = Cache(folder, NAME, ring=ring)
    with cache.lock(lambda: None):
        cache.write(entry)
    return cache


def mode(path: Path) -> int:
    """Who may do what."""
    return path.stat().st_mode & 0o777


def test_a_file_of_the_owner_s_alone(folder: Path) -> None:
    """So is its folder; nothing else is left."""
    assert written(folder).read() == ENTRY
    assert (mode(folder), mode(folder / "account.json"), mode(folder / "account.lock")) == (0o700, 0o600, 0o600)
    assert sorted(os.listdir(folder)) == ["account.json", "account.lock"]


def test_nothing_there(folder: Path) -> None:
    """Reading makes nothing."""
    assert Cache(folder, NAME).read() is None
    assert not folder.exists()


def test_an_open_folder_is_closed(folder: Path) -> None:
    """Another program may have made it."""
    folder.mkdir(parents=True, mode=0o755)
    written(folder)
    assert mode(folder) == 0o700


def test_drop(folder: Path) -> None:
    """It is gone, and can be dropped once more."""
    cache = written(folder)
    cache.drop()
    cache.drop()
    assert cache.read() is None


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe\0", b"[]", b'{"version": 1}', b"x" * 2_000_000])
def test_a_broken_file(folder: Path, data: bytes) -> None:
    """Is none, and the next one replaces it."""
    cache = written(folder)
    (folder / "account.json").write_bytes(data)
    assert cache.read() is None
    assert written(folder).read() == ENTRY


def test_a_file_that_others_may_read_or_write(folder: Path) -> None:
    """Is none: its tokens may be known, or somebody else's."""
    cache = written(folder)
    (folder / "account.json").chmod(0o644)
    assert cache.read() is None
    assert written(folder).read() == ENTRY
    assert mode(folder / "account.json") == 0o600


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_what_is_no_file(folder: Path, kind: str) -> None:
    """Is not followed, and nobody waits for it."""
    cache = written(folder)
    file = folder / "account.json"
    elsewhere = file.rename(folder / "elsewhere")
    match kind:
        case "link":
            file.symlink_to(elsewhere)
        case "pipe":
            os.mkfifo(file, 0o600)
        case _:
            file.mkdir()
    assert cache.read() is None


def test_a_write_that_was_killed(folder: Path) -> None:
    """What it left aside, even as a link, is in nobody's way, and the old entry is whole."""
    cache = written(folder)
    victim = folder / "victim"
    (folder / "account.new").symlink_to(victim)
    assert cache.read() == ENTRY
    newer = replace(ENTRY, stored=6.0)
    assert written(folder, newer).read() == newer
    assert not victim.exists()
    assert "account.new" not in os.listdir(folder)


@pytest.mark.parametrize("kind", ["file", "link", "above"])
def test_a_folder_that_cannot_be_used(tmp_path: Path, kind: str) -> None:
    """One sentence that says what to do."""
    folder = tmp_path / "oidcgate"
    match kind:
        case "file":
            folder.write_text("")
        case "link":
            (tmp_path / "real").mkdir()
            folder.symlink_to(tmp_path / "real")
        case _:
            (tmp_path / "file").write_text("")
            folder = tmp_path / "file" / "oidcgate"
    with pytest.raises(CredentialError, match="XDG_CACHE_HOME"), Cache(folder, NAME).lock(lambda: None):
        pass


def test_the_lock_is_held(folder: Path) -> None:
    """By one; it ends with the block, whatever happens there."""
    cache = Cache(folder, NAME)

    def fail() -> None:
        with cache.lock(lambda: None), (folder / "account.lock").open() as other:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)

    with pytest.raises(BlockingIOError):
        fail()
    with (folder / "account.lock").open() as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_whoever_waits_says_so(folder: Path) -> None:
    """Once, and goes on when the lock is free."""
    cache, told = Cache(folder, NAME), []
    with cache.lock(lambda: told.append("first")):
        other = os.open(folder / "account.lock", os.O_RDWR)
    fcntl.flock(other, fcntl.LOCK_EX)

    def waiting() -> None:
        told.append("waiting")
        os.close(other)

    with cache.lock(waiting):
        assert told == ["waiting"]


def test_a_failure_is_told_to_those_who_waited(folder: Path) -> None:
    """Not to those who came later; what is no note is none."""
    cache = Cache(folder, NAME)
    with cache.lock(lambda: None) as lock:
        assert lock.failure_since(0.0) is None
        lock.note_failure("a longer sentence, which the next one replaces", 50.0)
        lock.note_failure("no luck", 100.0)
    with cache.lock(lambda: None) as lock:
        assert lock.failure_since(99.0) == "no luck"
        assert lock.failure_since(100.5) is None
    for text in ("{", "{}", '{"at": "x", "sentence": "y"}', "[]"):
        (folder / "account.lock").write_text(text)
        with cache.lock(lambda: None) as lock:
            assert lock.failure_since(0.0) is None


def test_key_ring(folder: Path) -> None:
    """It is taken in place of a file, and a file that was there goes."""
    written(folder)
    ring = Ring()
    cache = written(folder, replace(ENTRY, stored=9.0), ring)
    assert cache.read() == replace(ENTRY, stored=9.0)
    assert not (folder / "account.json").exists()
    cache.drop()
    assert ring.kept == {}
    assert cache.read() is None


@pytest.mark.parametrize("ring", [Ring("set"), Ring("get"), Ring("get", "set", "delete"), Ring(forgets=True)])
def test_a_key_ring_that_does_not_work(folder: Path, ring: Ring) -> None:
    """The file does, whatever the ring says."""
    cache = written(folder, ring=ring)
    assert cache.read() == ENTRY
    cache.drop()
    assert cache.read() is None


def test_the_newer_of_two_counts(folder: Path) -> None:
    """A ring that could not be written once may hold an old entry still."""
    ring = Ring()
    written(folder, ring=ring)
    ring.broken = {"set", "delete"}
    newer = replace(ENTRY, stored=6.0)
    assert written(folder, newer, ring).read() == newer


def test_opening_the_ring(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package's, if it is there and has a place to keep things."""
    ring = Ring()
    module = types.ModuleType("keyring")
    module.get_keyring = ring.get_keyring  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "keyring", module)
    assert open_ring() is module
    ring.priority = 0
    assert open_ring() is None
    monkeypatch.setitem(sys.modules, "keyring", None)
    assert open_ring() is None


@pytest.mark.parametrize(
    ("base", "folder"),
    [("/x", "/x/oidcgate"), ("", "/home/me/.cache/oidcgate"), ("x", "/home/me/.cache/oidcgate")],
)
def test_folder(base: str, folder: str) -> None:
    """As XDG has it; a relative path is ignored."""
    assert cache_folder({"XDG_CACHE_HOME": base}, Path("/home/me")) == Path(folder)
    assert cache_folder({}, Path("/home/me")) == Path("/home/me/.cache/oidcgate")
