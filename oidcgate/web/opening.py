"""
Opens the configured session store.

Edge by what it opens; the only place that knows which stores there are.
"""

import logging
import os
from pathlib import Path

from oidcgate.config.model import Config
from oidcgate.config.redis_address import parse_redis_url
from oidcgate.errors import ConfigError, Problem, StoreUnavailable
from oidcgate.session.store import Store
from oidcgate.stores.memory import MemoryStore
from oidcgate.stores.sqlite import SqliteStore

log = logging.getLogger("oidcgate")


async def open_store(config: Config) -> Store:
    """
    The configured store, opened.

    Raises:
        StoreUnavailable: it cannot be.
    """
    kind, _, path = config.session.store.partition(":")
    if kind == "memory":
        return MemoryStore()
    if kind not in ("sqlite", ""):
        return await open_redis(config.session.store)
    store = SqliteStore(Path(path) if path else Path(config.session.state_dir) / "sessions.db")
    try:
        await store.open()
    except StoreUnavailable as error:
        if isinstance(error.__cause__, OSError):  # not a broken or busy database
            key = "session.store" if path else "session.state_dir"
            raise StoreUnavailable(
                f"{error}; {key} must be in a folder that user {os.getuid()} can write to"
            ) from error
        raise
    return store


async def open_redis(url: str) -> Store:
    """
    The shared store. One that does not answer yet is no reason not to start: it recovers by itself.

    Raises:
        ConfigError: the library is not installed.
    """
    try:
        from oidcgate.stores.redis import RedisStore
    except ImportError:
        raise ConfigError([Problem("session.store", "needs the extra: pip install 'oidcgate[redis]'")]) from None
    store = RedisStore(parse_redis_url(url))
    try:
        await store.open()
    except StoreUnavailable as error:
        log.warning("the store does not answer yet: %s", error)
    return store
