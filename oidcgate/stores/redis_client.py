"""
Connections to one Redis server, to the master that sentinels name, or to a cluster; one way to call them all.

Edge: ``redis.asyncio``. Each call has one time limit that covers waiting, connecting and answering. The library's own
retries are off: a write that was sent and not answered may have happened, so only what does no harm twice is tried
again. RESP2, so that old servers, Valkey and proxies are alike. What goes wrong becomes StoreUnavailable in one place,
``mapped``.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha1
from pathlib import Path
from typing import Any, assert_never

from redis.asyncio import Redis, RedisCluster, Sentinel
from redis.asyncio.client import PubSub
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisClusterException, RedisError
from redis.exceptions import TimeoutError as RedisTimeout

from oidcgate.config.redis_address import Login, RedisAddress
from oidcgate.config.secret import SecretFile, UnusableSecret, read_environment
from oidcgate.errors import StoreUnavailable

CONNECT_LIMIT = 2.0  # seconds
CALL_LIMIT = 2.0  # seconds, all included
SENTINEL_LIMIT = 0.5  # seconds for one sentinel: a dead one must leave time for the next
AT_ONCE = 64  # calls; more wait for their turn, which keeps the number of connections down
COPY_LIMIT = 200  # milliseconds to wait for a replica
PAGE = 500  # keys that the server looks at in one step of a scan
LOST = (RedisConnectionError, RedisTimeout, OSError)


@contextmanager
def mapped() -> Iterator[None]:
    """The library's errors, and the system's, become StoreUnavailable."""
    try:
        yield
    except TimeoutError as error:
        raise StoreUnavailable("redis: no answer in time") from error
    except (RedisError, RedisClusterException, OSError, UnusableSecret) as error:
        raise StoreUnavailable(f"redis: {error or type(error).__name__}") from error


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script that touches one key: anything else is refused by a cluster."""

    text: str

    @property
    def digest(self) -> str:
        """The name that the server knows it by once it has seen it."""
        return sha1(self.text.encode(), usedforsecurity=False).hexdigest()


class Credentials(CredentialProvider):
    """Name and password, looked up for each new connection: a changed file counts without a restart."""

    def __init__(self, login: Login) -> None:
        self._login = login
        self._file = SecretFile(Path(login.password_file)) if login.password_file else None

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """
        As redis-py wants it.

        Raises:
            UnusableSecret: the file or the variable cannot be used.
        """
        login = self._login
        password = login.password
        if self._file:
            password = self._file.read()
        elif login.password_env:
            password = read_environment(login.password_env)
        return (login.username, password) if login.username else (password,)

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        """As redis-py wants it."""
        return self.get_credentials()


class RedisClient:
    """Calls, writes, scans and one subscription. Every method raises StoreUnavailable when Redis does not answer."""

    def __init__(self, address: RedisAddress, *, call_limit: float = CALL_LIMIT) -> None:
        self._address = address
        self._limit = call_limit
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._sentinel: Sentinel | None = None
        self._cluster: RedisCluster | None = None
        self._redis: Any = self._connections()  # any: the library types its answers for both of its worlds at once

    async def ask(self, *command: Any, **options: Any) -> Any:
        """Make a call that may be made twice without harm: it is, when the connection turns out to be dead."""
        async with self._limited():
            try:
                return await self._redis.execute_command(*command, **options)
            except RedisConnectionError:
                return await self._redis.execute_command(*command, **options)

    async def run(self, script: Script, key: str, *arguments: Any, copied: bool = False) -> tuple[int, bool]:
        """
        Run a script that writes to a key.

        Args:
            copied: wait until a replica has it.

        Returns:
            What the script answers; whether a replica has it (True when nobody asked).
        """
        tail = (1, key, *arguments)
        async with self._limited():
            try:
                return await self._run(key, "EVALSHA", script.digest, *tail, copied=copied)
            except NoScriptError:  # the server has been started since, or it is another one
                return await self._run(key, "EVAL", script.text, *tail, copied=copied)

    async def scan(self, pattern: str) -> set[bytes]:
        """Every key that matches, on every master; the limit is for each page."""
        found: set[bytes] = set()
        for options in await self._masters():
            cursor = 0
            while True:
                cursor, page = await self.ask("SCAN", cursor, "MATCH", pattern, "COUNT", PAGE, **options)
                if isinstance(cursor, dict):  # of a cluster: by node
                    [cursor] = cursor.values()
                found.update(page)
                if cursor == 0:
                    break
        return found

    async def has_replicas(self) -> bool:
        """Whether every master has a replica connected to it."""
        answers = [await self.ask("INFO", "replication", **options) for options in await self._masters()]
        return all(answer.get("connected_slaves", 0) > 0 for answer in answers)

    @asynccontextmanager
    async def subscription(self, channel: str) -> AsyncIterator[PubSub]:
        """A subscription that the server has confirmed, on a connection of its own."""
        redis = await self._for_subscribing()
        pubsub: PubSub = redis.pubsub()
        try:
            with mapped():
                async with asyncio.timeout(self._limit):
                    await pubsub.subscribe(channel)
                    if await pubsub.get_message(timeout=self._limit) is None:
                        raise TimeoutError
            yield pubsub
        finally:
            await self._let_go(pubsub)
            if redis is not self._redis:
                await self._let_go(redis)

    async def close(self) -> None:
        """Let go of all connections; never an error."""
        await self._let_go(self._redis)
        for sentinel in self._sentinel.sentinels if self._sentinel else ():
            await self._let_go(sentinel)

    @asynccontextmanager
    async def _limited(self) -> AsyncIterator[None]:
        with mapped():
            async with asyncio.timeout(self._limit), self._turn:
                yield

    async def _run(self, key: str, *command: Any, copied: bool) -> tuple[int, bool]:
        if not copied:
            return int(await self._redis.execute_command(*command)), True
        options = {}
        if self._cluster:
            await self._cluster.initialize()
            options["target_nodes"] = self._cluster.get_node_from_key(key)
        # WAIT is about the writes of its own connection, which a pipeline keeps
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.execute_command(*command)
        pipeline.execute_command("WAIT", 1, COPY_LIMIT, **options)
        answer, copies = await pipeline.execute(raise_on_error=False)  # else the error's text quotes the command
        if isinstance(answer, Exception):
            if self._cluster and isinstance(answer, LOST):
                await self._cluster.aclose()  # a pipeline does not look for the new master by itself
            raise answer
        return int(answer), isinstance(copies, int) and copies > 0

    async def _masters(self) -> list[dict[str, ClusterNode]]:
        """What to add to a call to reach each of them."""
        if self._cluster is None:
            return [{}]
        async with self._limited():
            await self._cluster.initialize()
            # What the client has learnt by and by leaves out masters that nobody has called since a failover.
            await self._cluster.nodes_manager.initialize()
            return [{"target_nodes": node} for node in self._cluster.get_primaries()]

    async def _for_subscribing(self) -> Any:
        if self._cluster is None:
            return self._redis
        nodes = await self._masters()  # each of them hears what is published on any
        node = random.choice(nodes)["target_nodes"]  # noqa: S311 - to spread the load
        return Redis(host=node.host, port=int(node.port), **self._options())

    async def _let_go(self, thing: Any) -> None:
        with suppress(StoreUnavailable), mapped():
            async with asyncio.timeout(self._limit):
                await thing.aclose()

    def _connections(self) -> Any:
        address = self._address
        options = self._options()
        match address.kind:
            case "unix":
                del options["socket_connect_timeout"]
                return Redis(unix_socket_path=address.path, db=address.db, **options)
            case "single":
                [(host, port)] = address.hosts
                return Redis(host=host, port=port, db=address.db, **options)
            case "sentinel":
                brief = {**self._options(address.sentinel_login), "socket_connect_timeout": SENTINEL_LIMIT}
                brief["socket_timeout"] = SENTINEL_LIMIT
                self._sentinel = Sentinel(address.hosts, sentinel_kwargs=brief, db=address.db, **options)  # type: ignore[no-untyped-call]
                return self._sentinel.master_for(address.service)
            case "cluster":
                nodes = [ClusterNode(host, port) for host, port in address.hosts]
                # The configured nodes are asked again after a failure: their names outlive the addresses behind them.
                self._cluster = RedisCluster(startup_nodes=nodes, dynamic_startup_nodes=False, **options)
                return self._cluster
            case _:
                assert_never(address.kind)

    def _options(self, login: Login | None = None) -> dict[str, Any]:
        login = self._address.login if login is None else login
        options: dict[str, Any] = {
            "socket_connect_timeout": CONNECT_LIMIT,
            "socket_timeout": self._limit,
            "retry": Retry(NoBackoff(), 0),
            "protocol": 2,
        }
        if login:
            options["credential_provider"] = Credentials(login)
        if self._address.tls:
            options["ssl"] = options["ssl_check_hostname"] = True
            options["ssl_ca_certs"] = self._address.ca_file or None
            options["ssl_certfile"] = self._address.cert_file or None
            options["ssl_keyfile"] = self._address.key_file or None
        return options
