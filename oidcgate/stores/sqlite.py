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
from oidcgate.session.store import ABSENT, OnMessage, Stored

T = TypeVar("T")

SWEEP_EVERY = 256  # writes
LOOK_EVERY = 0.1  # seconds between looks for other processes' notices
NOTICE_LIFE = 60.0  # seconds
BUSY_TIMEOUT = 5.0  # seconds to wait for another process's write
SCHEMA = """
CREATE TABLE IF NOT EXISTS item (
    key TEXT PRIMARY KEY, value BLOB NOT NULL, version INTEGER NOT NULL, ends REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS item_ends ON item (ends);
CREATE TABLE IF NOT EXISTS notice (id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, message TEXT NOT NULL);
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
        self._listeners: list[OnMessage] = []
        self._watching: asyncio.Task[None] | None = None
        self._last_notice = 0
        self._data_version = -1
        self._own_changes = -1

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

    async def delete(self, key: str, *, expected: int | None = None) -> bool:
        """As ``Store.delete``."""
        return await self._run(lambda: self._delete(key, expected))

    async def keys(self, prefix: str) -> list[str]:
        """As ``Store.keys``."""
        return await self._run(lambda: self._keys(prefix))

    async def notify(self, message: str) -> None:
        """As ``Store.notify``; others see it at their next look, this process at once."""
        await self._run(lambda: self._notify(message))
        await self._look()

    def listen(self, on_message: OnMessage) -> None:
        """As ``Store.listen``; looks a few times a second whether another process wrote, which costs no read."""
        self._listeners.append(on_message)
        if self._watching is None:
            self._watching = asyncio.get_running_loop().create_task(self._watch(), name="sqlite notices")

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY)
            try:
                await self._look()
            except StoreUnavailable:
                continue

    async def _look(self) -> None:
        for message in await self._run(self._new_notices):
            for on_message in self._listeners:
                on_message(message)

    async def close(self) -> None:
        """As ``Store.close``."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
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
        row = connection.execute("SELECT max(id) FROM notice").fetchone()
        self._last_notice = row[0] or 0  # what was said before we came is not for us
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

    def _delete(self, key: str, expected: int | None) -> bool:
        condition, values = ("", ()) if expected is None else (" AND version = ?", (expected,))
        cursor = self._db().execute(
            f"DELETE FROM item WHERE key = ? AND ends > ?{condition}",  # noqa: S608 - one of two fixed texts
            (key, self._clock(), *values),
        )
        return cursor.rowcount > 0

    def _keys(self, prefix: str) -> list[str]:
        rows = self._db().execute(
            "SELECT key FROM item WHERE substr(key, 1, ?) = ? AND ends > ?", (len(prefix), prefix, self._clock())
        )
        return [row[0] for row in rows]

    def _notify(self, message: str) -> None:
        now = self._clock()
        self._db().execute("DELETE FROM notice WHERE at < ?", (now - NOTICE_LIFE,))
        self._db().execute("INSERT INTO notice (at, message) VALUES (?, ?)", (now, message))

    def _new_notices(self) -> list[str]:
        """Notices since the last look; ``data_version`` tells whether another connection wrote at all."""
        database = self._db()
        version = database.execute("PRAGMA data_version").fetchone()[0]
        own = database.total_changes
        if (version, own) == (self._data_version, self._own_changes):
            return []
        self._data_version, self._own_changes = version, own
        rows = database.execute(
            "SELECT id, message FROM notice WHERE id > ? ORDER BY id", (self._last_notice,)
        ).fetchall()
        if rows:
            self._last_notice = rows[-1][0]
        return [row[1] for row in rows]

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
