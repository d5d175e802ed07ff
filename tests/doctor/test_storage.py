"""The store and its keys."""

import os
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


@pytest.mark.parametrize(
    ("mode", "text", "status"),
    [
        pytest.param(0o700, encode_key(b"k" * KEY_SIZE), "ok", id="good"),
        pytest.param(0o750, encode_key(b"k" * KEY_SIZE), "ok", id="group-may-look"),
        pytest.param(0o755, encode_key(b"k" * KEY_SIZE), "warn", id="open"),
        pytest.param(0o770, encode_key(b"k" * KEY_SIZE), "warn", id="group-may-write"),
        pytest.param(0o700, "x", "fail", id="cut-short"),
    ],
)
async def test_keys(mode: int, text: str, status: str, tmp_path: Path) -> None:
    """They can be read, by us alone."""
    keys = tmp_path / "keys"
    keys.touch(0o600)
    keys.write_text(text + "\n")
    tmp_path.chmod(mode)
    said = await looked_at(check_keys, store="sqlite", state_dir=str(tmp_path))
    assert said.status == status
    tmp_path.chmod(0o700)


async def test_keys_of_their_own_file(tmp_path: Path) -> None:
    """The configured file; none yet; none that last."""
    keys = tmp_path / "keys"
    keys.touch(0o600)
    assert (await looked_at(check_keys, keys_file=str(keys))).key == "session.keys_file"
    assert (await looked_at(check_keys, store="sqlite", state_dir="/nowhere")).status == "ok"
    assert (await looked_at(check_keys, store="memory")).status == "ok"
