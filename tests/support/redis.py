"""
Real redis-server processes on loopback, for tests: single ones, a master and its replica under a sentinel, a cluster.

Each has a folder of its own for its files and its log. Nothing here belongs to an event loop, so that a server can
outlive the loop of one test; starting one takes some hundredths of a second.
"""

import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from redis import Redis
from redis.exceptions import RedisError

from tests.support.processes import executable

PATIENCE = 30.0  # seconds until something that should have happened has not
SERVICE = "gate"  # the sentinels' name for the master


def free_port() -> int:
    """A port that nobody listens on, low enough for the port of a cluster's bus, which is 10000 above."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port < 55000:
            return port


def until(condition: Callable[[], object], *, what: str) -> None:
    """Wait for something that a server does by and by; the bound only ends tests that are stuck."""
    end = time.monotonic() + PATIENCE
    while not _holds(condition):
        if time.monotonic() > end:
            raise AssertionError(f"waited in vain for {what}")
        time.sleep(0.02)


def _holds(condition: Callable[[], object]) -> bool:
    try:
        return bool(condition())
    except (RedisError, OSError):
        return False


@dataclass
class RedisServer:
    """One process; after ``kill`` it can be started again on the same port and files."""

    folder: Path
    options: tuple[str, ...] = ()  # of the command line: name, value, name, value
    tls: bool = False  # then its port speaks nothing else
    configuration: str | None = None  # of a sentinel
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Until it accepts connections."""
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [executable("redis-server", "redis-server")]
        if self.configuration is not None:
            file = self.folder / "sentinel.conf"
            file.write_text(self.configuration)
            command += [str(file), "--sentinel"]
        command += ["--bind", "127.0.0.1", "--dir", str(self.folder), *self.options]
        command += ["--port", "0", "--tls-port", str(self.port)] if self.tls else ["--port", str(self.port)]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            until(self._accepts, what="a redis-server to accept connections")
        except BaseException:
            self.kill()
            raise

    def _accepts(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f"redis-server ended at once:\n{(self.folder / 'log').read_text()}")
        socket.create_connection(("127.0.0.1", self.port)).close()
        return True

    def freeze(self) -> None:
        """It keeps its connections and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on where it was."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """At once, frozen or not."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def ask(self, *command: str | int) -> Any:
        """What it answers to somebody without a password."""
        with Redis(port=self.port, socket_timeout=PATIENCE, protocol=2, decode_responses=True) as client:
            return client.execute_command(*command)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


def server(folder: Path, *options: str, tls: bool = False) -> RedisServer:
    """One that writes nothing to its disk, and whose replicas follow soon."""
    quick = ("--save", "", "--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1")
    return RedisServer(folder, (*quick, *options), tls=tls)


def synchronised(master: RedisServer) -> None:
    """Until a replica has all that this master has."""
    until(lambda: _is_followed(master.ask("INFO", "replication")), what="a replica to follow")


def _is_followed(state: dict[str, Any]) -> bool:
    replica = state.get("slave0", {})
    return bool(replica.get("state") == "online" and replica["offset"] == state["master_repl_offset"] > 0)


@dataclass
class Watched:
    """A master, its replica and a sentinel that watches them."""

    master: RedisServer
    replica: RedisServer
    sentinel: RedisServer

    @property
    def url(self) -> str:
        return f"redis+sentinel://127.0.0.1:{self.sentinel.port}/{SERVICE}/0"


@contextmanager
def watched(folder: Path) -> Iterator[Watched]:
    """With a sentinel that acts after half a second."""
    with ExitStack() as stack:
        master = stack.enter_context(server(folder / "master"))
        following = server(folder / "replica", "--replicaof", f"127.0.0.1 {master.port}")
        replica = stack.enter_context(following)
        synchronised(master)
        lines = (
            f"monitor {SERVICE} 127.0.0.1 {master.port} 1",
            f"down-after-milliseconds {SERVICE} 500",
            f"failover-timeout {SERVICE} 3000",
        )
        watching = RedisServer(folder / "sentinel", configuration="".join(f"sentinel {line}\n" for line in lines))
        sentinel = stack.enter_context(watching)
        # it learns of replicas by and by, and can do nothing without one
        until(lambda: sentinel.ask("SENTINEL", "REPLICAS", SERVICE), what="the sentinel to know the replica")
        yield Watched(master, replica, sentinel)


@dataclass
class Cluster:
    """Three masters, each with its replicas."""

    nodes: list[RedisServer]

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def masters(self) -> list[RedisServer]:
        """Those that are masters now, and alive."""
        return [node for node in self.nodes if _holds(lambda: node.ask("ROLE")[0] == "master")]  # noqa: B023 - at once


@contextmanager
def clustered(folder: Path, *, replicas: int = 0) -> Iterator[Cluster]:
    """A cluster that is ready."""
    options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-replica-validity-factor", "0")
    with ExitStack() as stack:
        count = 3 * (1 + replicas)
        nodes = [stack.enter_context(server(folder / f"node{number}", *options)) for number in range(count)]
        command = [
            executable("redis-cli", "redis-server"),
            "--cluster",
            "create",
            *(f"127.0.0.1:{node.port}" for node in nodes),
        ]
        command += ["--cluster-replicas", str(replicas), "--cluster-yes"]
        creation = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if creation.returncode:
            raise RuntimeError(f"no cluster:\n{creation.stdout}{creation.stderr}")
        until(lambda: all(_knows(node, count) for node in nodes), what="the cluster")
        yield Cluster(nodes)


def _knows(node: RedisServer, count: int) -> bool:
    """Whether a node sees the whole cluster, each replica with its master."""
    state = node.ask("CLUSTER", "INFO").splitlines()
    shards = node.ask("CLUSTER", "SLOTS")
    return (
        "cluster_state:ok" in state
        and f"cluster_known_nodes:{count}" in state
        and sum(len(shard) - 2 for shard in shards) == count
    )
