"""
The embedded store: one SQLite file that survives restarts.

Edge: sqlite3, on a thread of its own so that the event loop never waits for a disk. Writes are synchronous (FULL): a
rotated refresh token that is lost with the power cannot be had again. The file and its folder are the owner's alone.
"""

import asyncio
import os
import secrets
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from oidcgate.errors import StoreUnavailable
from oidcgate.session.store import ABSENT, Stored

T = TypeVar("T")

SWEEP_EVERY = 256  # writes
BUSY_TIMEOUT = 5.0  # seconds to wait for another process's write
SCHEMA = """
CREATE TABLE IF NOT EXISTS item (
    key TEXT PRIMARY KEY, value BLOB NOT NULL, version INTEGER NOT NULL, ends REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS item_ends ON item (ends);
"""


class SqliteStore:
    """Implements ``session.store.Store``. Call ``open`` before anything else."""

    def __init__(
        self, path: Path, *, clock: Callable[[], float] = time.time, busy_timeout: float = BUSY_TIMEOUT
    ) -> None:
        self._path = path
        self._busy_timeout = busy_timeout
        self._clock = clock
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sqlite")
        self._connection: sqlite3.Connection | None = None
        self._writes = 0
        self._closed = False

    def __repr__(self) -> str:
        return f"<SqliteStore {self._path}>"

    async def open(self) -> None:
        """
        Create or open the file.

        Raises:
            StoreUnavailable: it cannot be opened.
        """
        await self._run(self._open)

    async def get(self, key: str) -> Stored | None:
        """As ``Store.get``."""
        return await self._run(lambda: self._get(key))

    async def put(self, key: str, value: bytes, *, life: float, expected: int | None = None) -> int | None:
        """As ``Store.put``."""
        return await self._run(lambda: self._put(key, value, self._clock() + life, expected))

    async def delete(self, key: str) -> bool:
        """As ``Store.delete``."""
        return await self._run(lambda: self._delete(key))

    async def close(self) -> None:
        """As ``Store.close``."""
        if not self._closed:
            await self._run(self._close)
            self._closed = True
            self._thread.shutdown(wait=False)

    async def _run(self, work: Callable[[], T]) -> T:
        if self._closed:
            raise StoreUnavailable("sqlite: the store is closed")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except (sqlite3.Error, OSError) as error:
            raise StoreUnavailable(f"sqlite: {error}") from error

    def _open(self) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
        connection = sqlite3.connect(self._path, timeout=self._busy_timeout, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.executescript(SCHEMA)
        except BaseException:
            connection.close()
            raise
        self._connection = connection

    def _db(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StoreUnavailable("sqlite: the store is not open")
        return self._connection

    def _get(self, key: str) -> Stored | None:
        row = (
            self._db()
            .execute("SELECT value, version FROM item WHERE key = ? AND ends > ?", (key, self._clock()))
            .fetchone()
        )
        return Stored(row[0], row[1]) if row else None

    def _put(self, key: str, value: bytes, ends: float, expected: int | None) -> int | None:
        database = self._db()
        database.execute("BEGIN IMMEDIATE")
        try:
            if expected is not None:
                current = self._get(key)
                if (current.version if current else ABSENT) != expected:
                    database.execute("ROLLBACK")
                    return None
            version = secrets.randbits(62) + 1  # random: a key that comes and goes never repeats a version
            database.execute("REPLACE INTO item VALUES (?, ?, ?, ?)", (key, value, version, ends))
            self._writes += 1
            if self._writes % SWEEP_EVERY == 0:
                database.execute("DELETE FROM item WHERE ends <= ?", (self._clock(),))
            database.execute("COMMIT")
        except BaseException:
            if database.in_transaction:
                database.execute("ROLLBACK")
            raise
        return version

    def _delete(self, key: str) -> bool:
        cursor = self._db().execute("DELETE FROM item WHERE key = ? AND ends > ?", (key, self._clock()))
        return cursor.rowcount > 0

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
