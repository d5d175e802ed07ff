"""
The shared store: Redis or Valkey, for many machines.

Edge: Redis. A value is kept behind the eight bytes of its version, in one string: reading is one GET, writing one
script that compares these bytes. Versions are random, so a key that comes and goes never repeats one. Sessions and
grants wait for a replica where there is one (a rotated refresh token cannot be had again); a replica that lags is
logged and is no error. A write that raises StoreUnavailable may have happened.
"""

import asyncio
import logging
import re
import secrets
from collections.abc import Callable
from math import ceil

from oidcgate.config.redis_address import RedisAddress
from oidcgate.errors import StoreUnavailable
from oidcgate.session.store import ABSENT, Stored
from oidcgate.stores.redis_client import CALL_LIMIT, RedisClient, Script
from oidcgate.stores.redis_notices import RedisNotices

log = logging.getLogger("oidcgate.store")

PREFIX = "oidcgate:"
PRECIOUS = ("grant:", "session:")  # keys worth waiting for a replica
VERSION = 8  # bytes
ANY = b"*"  # as the expected version; no version is one byte long
LOOK_EVERY = 60.0  # seconds between looks for replicas, and between complaints about them

# GETRANGE of an absent key is empty, and so is the expected version "absent".
COMPARE = f"if ARGV[1] ~= '*' and redis.call('GETRANGE', KEYS[1], 0, {VERSION - 1}) ~= ARGV[1] then return 0 end\n"
PUT = Script(
    COMPARE
    + "if tonumber(ARGV[3]) > 0 then redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])\n"
    + "else redis.call('DEL', KEYS[1]) end\nreturn 1"
)
DELETE = Script(COMPARE + "return redis.call('DEL', KEYS[1])")


class RedisStore:
    """Implements ``session.store.Store``. Call ``open`` before anything else, on the loop that uses it."""

    def __init__(self, address: RedisAddress, *, prefix: str = PREFIX, call_limit: float = CALL_LIMIT) -> None:
        self._address = address
        self._prefix = prefix
        self._channel = f"{prefix}notices:{address.db}"  # channels know no databases
        self._call_limit = call_limit
        self._client: RedisClient | None = None
        self._notices: RedisNotices | None = None
        self._listeners: list[Callable[[str], None]] = []
        self._replicas = False
        self._look_at = 0.0
        self._complain_at = 0.0

    def __repr__(self) -> str:
        return f"<RedisStore {self._address}>"

    async def open(self) -> None:
        """
        Connect, subscribe and look for replicas.

        Raises:
            StoreUnavailable: it cannot be reached or refuses us. The store works all the same once that is over, so
                whoever can wait need not give up; ``close`` it in any case.
        """
        if self._client is None or self._notices is None:
            self._client = RedisClient(self._address, call_limit=self._call_limit)
            self._notices = RedisNotices(self._client, self._channel, self._listeners)
        await self._notices.start()
        await self._look(self._client)

    async def get(self, key: str) -> Stored | None:
        """As ``Store.get``."""
        packed = await self._open().ask("GET", self._prefix + key)
        if packed is None:
            return None
        if len(packed) < VERSION:
            raise StoreUnavailable(f"redis: {self._prefix}{key} was not written by us")
        return Stored(packed[VERSION:], int.from_bytes(packed[:VERSION], "big"))

    async def put(self, key: str, value: bytes, *, life: float, expected: int | None = None) -> int | None:
        """As ``Store.put``."""
        version = secrets.randbits(62) + 1
        packed = version.to_bytes(VERSION, "big") + value
        written = await self._write(PUT, key, _packed(expected), packed, ceil(life * 1000))
        return version if written else None

    async def delete(self, key: str, *, expected: int | None = None) -> bool:
        """As ``Store.delete``."""
        return await self._write(DELETE, key, _packed(expected))

    async def keys(self, prefix: str) -> list[str]:
        """As ``Store.keys``; keys that are written or run out meanwhile may be among them or not."""
        found = await self._open().scan(re.sub(r"([*?\[\]^\\-])", r"\\\1", self._prefix + prefix) + "*")
        return sorted(key.decode("utf-8", "replace").removeprefix(self._prefix) for key in found)

    async def notify(self, message: str) -> None:
        """As ``Store.notify``."""
        await self._open().ask("PUBLISH", self._channel, message)

    def listen(self, on_message: Callable[[str], None]) -> None:
        """As ``Store.listen``."""
        self._listeners.append(on_message)

    async def close(self) -> None:
        """As ``Store.close``."""
        client, self._client = self._client, None
        if self._notices is not None:
            await self._notices.stop()
        if client is not None:
            await client.close()

    def _open(self) -> RedisClient:
        if self._client is None:
            raise StoreUnavailable("redis: the store is not open")
        return self._client

    async def _write(self, script: Script, key: str, *arguments: bytes | int) -> bool:
        client = self._open()
        wait = key.startswith(PRECIOUS) and await self._look(client)
        done, copied = await client.run(script, self._prefix + key, *arguments, copied=wait)
        if not copied:
            self._complain()
        return done > 0

    async def _look(self, client: RedisClient) -> bool:
        """Whether there are replicas to wait for, as of the last minute."""
        now = asyncio.get_running_loop().time()
        if now >= self._look_at:
            self._replicas = await client.has_replicas()
            self._look_at = now + LOOK_EVERY
        return self._replicas

    def _complain(self) -> None:
        now = asyncio.get_running_loop().time()
        self._look_at = now  # it may be gone: then nobody waits for it again
        if now >= self._complain_at:
            self._complain_at = now + LOOK_EVERY
            log.warning("redis: no replica has confirmed a write in time; a failover now could lose it")


def _packed(expected: int | None) -> bytes:
    if expected is None:
        return ANY
    return b"" if expected == ABSENT else expected.to_bytes(VERSION, "big")
