"""
The store: it takes a record and gives it back, and its keys are there.

Edge: opens the configured store. Nothing is made that a start of the gate would make: it may run as another user.
"""

import os
import secrets
import stat
from pathlib import Path

from oidcgate.config.model import Session
from oidcgate.doctor.report import Said, fail, ok, warn
from oidcgate.doctor.scene import Scene
from oidcgate.errors import ConfigError, StoreUnavailable
from oidcgate.web.keys import read_ring
from oidcgate.web.opening import open_store

LIFE = 60.0  # seconds that a record lasts which could not be deleted


async def check_store(scene: Scene) -> list[Said]:
    """A record is written, read and deleted."""
    session = scene.config.session
    if session.store == "memory":
        return [ok("memory: a restart signs everybody out")]
    path = sqlite_path(session)
    if path is not None and not path.exists():
        return [not_yet(path.parent)]
    key, todo = "session.store", "start it, or correct its address"
    if path is not None:
        key, todo = (
            key if ":" in session.store else "session.state_dir",
            f"let the gate's user (this one: {os.getuid()}) read and write {path}, on a disk with room",
        )
    try:
        store = await open_store(scene.config)
    except StoreUnavailable as error:
        return [fail(str(error), key, todo)]
    except ConfigError as error:
        return [fail(error.problems[0].message, error.problems[0].path, "install it, or use sqlite")]
    name, value = f"doctor:{secrets.token_hex(8)}", secrets.token_bytes(16)
    try:
        await store.put(name, value, life=LIFE)
        found = await store.get(name)
        await store.delete(name)
    except StoreUnavailable as error:
        return [fail(str(error), key, todo)]
    finally:
        await store.close()
    if found is None or found.value != value:
        return [fail("what was written was not there a moment later", key, "ask the primary, not a replica that lags")]
    if path is not None and is_open(path.parent):
        return [warn(f"{path.parent} is open to others on this machine", key, f"chmod 0700 {path.parent}")]
    return [ok(f"{'sqlite' if path else session.store.partition(':')[0]} writes and reads")]


def sqlite_path(session: Session) -> Path | None:
    """The file of the embedded store."""
    kind, _, path = session.store.partition(":")
    return (Path(path) if path else Path(session.state_dir) / "sessions.db") if kind == "sqlite" else None


def not_yet(folder: Path) -> Said:
    """The finding about a store that the first start will make."""
    while not folder.exists():
        folder = folder.parent
    if not os.access(folder, os.W_OK | os.X_OK):
        todo = f"name a folder that the gate's user (this one: {os.getuid()}) may write to, on a volume that lasts"
        return fail(f"{folder} cannot be written to", "session.state_dir", todo)
    return ok("there is no store yet; the first start makes it")


async def check_keys(scene: Scene) -> list[Said]:
    """The keys that seal what is stored."""
    session = scene.config.session
    if session.keys_file is not None:
        path, key = Path(session.keys_file), "session.keys_file"
    elif session.store == "memory" or not (path := Path(session.state_dir) / "keys").exists():
        return [ok("none yet; a start makes them")]
    else:
        key = "session.state_dir"
    try:
        read_ring(path, key)
    except ConfigError as error:
        return [fail(error.problems[0].message, key, "put back the file as it was; `oidcgate secret` makes a new key")]
    return [ok("keys can be read")]


def is_open(folder: Path) -> bool:
    """Whether others than its owner can change what is in a folder, or anybody can look into it."""
    return bool(folder.stat().st_mode & (stat.S_IRWXO | stat.S_IWGRP))
