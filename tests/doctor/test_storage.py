"""The store and its keys."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from oidcgate.doctor.report import Said
from oidcgate.doctor.storage import check_keys, check_store, not_yet
from oidcgate.errors import StoreUnavailable
from oidcgate.session.seal import KEY_SIZE, encode_key
from oidcgate.stores.sqlite import SqliteStore
from tests.doctor.pieces import scene_of


async def looked_at(check: Any, **session: object) -> Said:
    """The finding about a store."""
    (said,) = await check(scene_of({"session": session}))
    assert isinstance(said, Said)
    return said


async def test_store(tmp_path: Path) -> None:
    """It writes and reads, and leaves nothing behind."""
    store = SqliteStore(tmp_path / "sessions.db")
    await store.open()
    assert (await looked_at(check_store, store="sqlite", state_dir=str(tmp_path))).message == "sqlite writes and reads"
    assert await store.keys("") == []
    await store.close()


async def test_no_store_yet(tmp_path: Path) -> None:
    """Nothing is made, since the gate may run as somebody else."""
    said = await looked_at(check_store, store="sqlite", state_dir=str(tmp_path / "a" / "b"))
    assert (said.status, list(tmp_path.iterdir())) == ("ok", [])
    assert (await looked_at(check_store, store="memory")).status == "ok"


def test_no_store_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that cannot be written to."""
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert not_yet(Path("/nowhere")).key == "session.state_dir"


async def test_lost_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What was written is not there."""
    store = SqliteStore(tmp_path / "file.db")
    await store.open()
    await store.close()

    async def nothing(*_: object) -> None:
        return None

    monkeypatch.setattr(SqliteStore, "get", nothing)
    said = await looked_at(check_store, store=f"sqlite:{tmp_path}/file.db")
    assert (said.status, said.key) == ("fail", "session.store")


async def test_broken_while_in_use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It opens, and takes nothing."""
    store = SqliteStore(tmp_path / "sessions.db")
    await store.open()
    await store.close()

    async def full(*_: object, **__: object) -> None:
        raise StoreUnavailable("the disk is full")

    monkeypatch.setattr(SqliteStore, "put", full)
    said = await looked_at(check_store, store="sqlite", state_dir=str(tmp_path))
    assert (said.status, said.key) == ("fail", "session.state_dir")


@pytest.mark.parametrize(("mode", "status"), [(0o700, "ok"), (0o750, "ok"), (0o755, "warn"), (0o770, "warn")], ids=str)
async def test_who_may_look(mode: int, status: str, tmp_path: Path) -> None:
    """The folder is the owner's; a group may see that it is there."""
    store = SqliteStore(tmp_path / "sessions.db")
    await store.open()
    await store.close()
    tmp_path.chmod(mode)
    said = await looked_at(check_store, store="sqlite", state_dir=str(tmp_path))
    assert (said.status, said.key) == (status, "session.state_dir" if status == "warn" else "")
    tmp_path.chmod(0o700)


@pytest.mark.parametrize(
    ("text", "status"), [(encode_key(b"k" * KEY_SIZE), "ok"), ("x", "fail")], ids=["good", "short"]
)
async def test_keys(text: str, status: str, tmp_path: Path) -> None:
    """They can be read."""
    keys = tmp_path / "keys"
    keys.touch(0o600)
    keys.write_text(text + "\n")
    assert (await looked_at(check_keys, store="sqlite", state_dir=str(tmp_path))).status == status


async def test_keys_of_their_own_file(tmp_path: Path) -> None:
    """The configured file; none yet; none that last."""
    keys = tmp_path / "keys"
    keys.touch(0o600)
    assert (await looked_at(check_keys, keys_file=str(keys))).key == "session.keys_file"
    assert (await looked_at(check_keys, store="sqlite", state_dir="/nowhere")).status == "ok"
    assert (await looked_at(check_keys, store="memory")).status == "ok"


async def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis is an extra."""
    monkeypatch.setitem(sys.modules, "oidcgate.stores.redis", None)
    said = await looked_at(check_store, store="redis://redis.internal", keys_file="/keys")
    assert (said.status, said.key) == ("fail", "session.store")
