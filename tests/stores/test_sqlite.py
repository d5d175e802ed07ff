"""The embedded store: its file, its owner, several programs on one file, and what goes wrong."""

import asyncio
import sqlite3
import stat
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from oidcgate.errors import StoreUnavailable
from oidcgate.stores.sqlite import SWEEP_EVERY, SqliteStore
from tests.stores.support import Clock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file in a folder that is not there yet."""
    return tmp_path / "state" / "sessions.db"


@pytest.fixture
async def stores(path: Path) -> AsyncIterator[list[SqliteStore]]:
    """Two stores on one file, as two processes have them."""
    pair = [SqliteStore(path), SqliteStore(path)]
    for store in pair:
        await store.open()
    yield pair
    for store in pair:
        await store.close()


def mode(path: Path) -> int:
    """Who may do what with a file."""
    return stat.S_IMODE(path.stat().st_mode)


async def test_owner(path: Path) -> None:
    """Folder, file and the files beside it are the owner's alone."""
    store = SqliteStore(path)
    await store.open()
    await store.put("a", b"1", life=60)
    assert mode(path.parent) == 0o700
    assert {file.name: mode(file) for file in path.parent.iterdir()} == {
        "sessions.db": 0o600,
        "sessions.db-wal": 0o600,
        "sessions.db-shm": 0o600,
    }
    await store.close()


async def test_survives(path: Path) -> None:
    """What was put is there after a restart, version included."""
    store = SqliteStore(path)
    await store.open()
    version = await store.put("a", b"1", life=60)
    await store.close()
    again = SqliteStore(path)
    await again.open()
    found = await again.get("a")
    assert found is not None
    assert (found.value, found.version) == (b"1", version)
    await again.close()


async def test_survives_a_kill(path: Path, tmp_path: Path) -> None:
    """What put has told is on the disk: a copy of the files taken without a close has it."""
    store = SqliteStore(path)
    await store.open()
    await store.put("a", b"1", life=60)
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in path.parent.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    await store.close()
    again = SqliteStore(copy / "sessions.db")
    await again.open()
    assert await again.get("a") is not None
    await again.close()


async def test_two_see_each_other(stores: list[SqliteStore]) -> None:
    """What one puts or deletes the other sees at once."""
    one, other = stores
    version = await one.put("a", b"1", life=60)
    found = await other.get("a")
    assert found is not None
    assert found.version == version
    assert await other.delete("a")
    assert await one.get("a") is None


async def test_two_and_one_wins(stores: list[SqliteStore]) -> None:
    """Of two that replace the same version at once exactly one succeeds, each time."""
    version = await stores[0].put("a", b"0", life=60)
    for number in range(20):
        results = await asyncio.gather(
            *(store.put("a", f"{number}".encode(), life=60, expected=version) for store in stores)
        )
        (version,) = [result for result in results if result is not None]


async def test_sweep(path: Path) -> None:
    """Keys that nobody asks for again are removed from the file."""
    clock = Clock()
    store = SqliteStore(path, clock=clock)
    await store.open()
    for number in range(SWEEP_EVERY - 1):
        await store.put(f"old-{number}", b"1", life=60)
    clock.now += 60
    await store.put("new", b"1", life=60)
    await store.close()
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT key FROM item").fetchall() == [("new",)]


@pytest.mark.parametrize("content", [b"this is no database " * 100, b"SQLite format 3\x00" + b"\xff" * 500])
async def test_broken_file(tmp_path: Path, content: bytes) -> None:
    """A file that is no database is refused and left as it is."""
    path = tmp_path / "sessions.db"
    path.write_bytes(content)
    store = SqliteStore(path)
    with pytest.raises(StoreUnavailable, match="sqlite: "):
        await store.open()
    await store.close()
    assert path.read_bytes() == content


async def test_file_breaks_later(path: Path) -> None:
    """A database whose table is gone answers with an error of ours, and works again when it is back."""
    store = SqliteStore(path)
    await store.open()
    with closing(sqlite3.connect(path)) as database:
        database.execute("ALTER TABLE item RENAME TO gone")
    for call in (store.get("a"), store.put("a", b"1", life=60), store.delete("a")):
        with pytest.raises(StoreUnavailable, match="no such table"):
            await call
    with closing(sqlite3.connect(path)) as database:
        database.execute("ALTER TABLE gone RENAME TO item")
    assert await store.put("a", b"1", life=60) is not None
    await store.close()


async def test_locked(path: Path) -> None:
    """While another program holds the file no write succeeds; reading does, and afterwards writing too."""
    store = SqliteStore(path, busy_timeout=0.01)
    await store.open()
    await store.put("a", b"1", life=60)
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreUnavailable, match="locked"):
            await store.put("a", b"2", life=60)
        with pytest.raises(StoreUnavailable, match="locked"):
            await store.delete("a")
        assert await store.get("a") is not None
        holder.execute("ROLLBACK")
    assert await store.put("a", b"2", life=60) is not None
    await store.close()


async def test_no_folder(tmp_path: Path) -> None:
    """A file in the folder's place is an error that says so."""
    (tmp_path / "state").write_text("")
    store = SqliteStore(tmp_path / "state" / "sessions.db")
    with pytest.raises(StoreUnavailable, match=r"File exists|Not a directory"):
        await store.open()
    await store.close()


async def test_not_open() -> None:
    """Before it is opened it does not answer."""
    store = SqliteStore(Path("/nowhere/sessions.db"))
    with pytest.raises(StoreUnavailable, match="not open"):
        await store.get("a")
    await store.close()


async def test_closed(path: Path) -> None:
    """Closed, it does not answer; closing again does no harm."""
    store = SqliteStore(path)
    await store.open()
    await store.close()
    await store.close()
    for call in (store.get("a"), store.put("a", b"1", life=60), store.delete("a")):
        with pytest.raises(StoreUnavailable, match="closed"):
            await call


def test_repr(path: Path) -> None:
    """It says which file."""
    assert repr(SqliteStore(path)) == f"<SqliteStore {path}>"
