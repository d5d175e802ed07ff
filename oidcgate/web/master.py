"""
The master process: keeps the listening sockets and the admin listener, starts workers, replaces them.

Edge: processes and signals; serves no request itself. Rules of this file:
- Listening sockets outlive every worker and every reload, so that no queued connection is lost.
- A reload starts a whole new generation and lets the old one drain; a configuration that does not hold is reported,
  and everything stays as it was.
- A worker that dies is replaced at once, and ever more slowly when it dies at once again.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable

from aiohttp import web

from oidcgate.config.addresses import Listen, parse_listen
from oidcgate.config.model import Admin, Config
from oidcgate.errors import ConfigError, OidcgateError, Problem
from oidcgate.web.admin import admin_app, token_reader
from oidcgate.web.control import Channel, Message
from oidcgate.web.crew import Child, Crew, Told
from oidcgate.web.keys import load_ring
from oidcgate.web.listeners import listen_admin, listening
from oidcgate.web.machine import raise_file_limit
from oidcgate.web.opening import open_store
from oidcgate.web.supervisor import READY, STOPPING, tell_supervisor

log = logging.getLogger("oidcgate.master")

READY_LIMIT = 30.0  # seconds for a worker to start
DRAIN = 25.0  # seconds that requests under way may take; orchestrators kill after 30
NOTICE = 1.0  # seconds between readiness going off and the end of accepting, for load balancers to see
LAST_WAIT = 10.0  # seconds beyond its drain after which a worker is killed
QUICK_DEATH = 2.0  # seconds; a worker that lived less is restarted with a pause
LONGEST_PAUSE = 5.0
PING = 5.0  # seconds between questions whether a worker is alive
STUCK = 60.0  # seconds without an answer after which a worker is replaced
WATCH = 2.0  # seconds between looks at certificates and keys on disk


class Master:
    """
    Runs a configuration with as many workers as it says.

    Args:
        load: reads and checks the configuration anew.
    """

    def __init__(self, load: Callable[[], Config]) -> None:
        self._load = load
        self._config: Config | None = None
        self._sockets: dict[str, list[socket.socket]] = {}
        self._crew = Crew()
        self._tasks: set[asyncio.Task[None]] = set()
        self._admin: web.AppRunner | None = None
        self._admin_wanted: Admin | None = None
        self._stamps: dict[str, int] = {}
        self._reloading = asyncio.Lock()
        self._stopping = False
        self._end = asyncio.Event()
        self.admin_address: Listen | None = None

    # Life.

    async def run(self) -> int:
        """
        Start, and serve until a signal; the exit code.

        Raises:
            ConfigError, OidcgateError: it cannot start.
        """
        raise_file_limit()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end.set)
        loop.add_signal_handler(signal.SIGHUP, lambda: self._spawn(self.reload(), "reload"))
        config = self._load()
        try:
            await self._begin(config)
            await self._end.wait()
        finally:
            await self._finish()
        return 0

    async def _begin(self, config: Config) -> None:
        await prepare(config)
        self._listen(config)
        self._stamps = file_stamps(config)
        self._crew.current = await self._generation(config)
        self._config = config
        await self._listen_admin(config)
        self._look_after(self._crew.current, config)
        self._spawn(self._watch(), "watch files")
        self._spawn(self._watch_workers(), "watch workers")
        where = ", ".join(self.addresses())
        log.info("listening on %s for %s", where, ", ".join(site.url for site in config.sites))
        tell_supervisor(READY)

    async def _finish(self) -> None:
        self._stopping = True
        tell_supervisor(STOPPING)
        async with self._reloading:  # one under way ends first: its workers must be known, to be dismissed
            await self._drain()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._admin is not None:
            await self._admin.cleanup()

    async def _drain(self) -> None:
        if self._crew.current:
            log.info("draining")
            await asyncio.sleep(NOTICE)
        for sockets in self._sockets.values():
            for sock in sockets:
                sock.close()  # else the kernel would queue connections that nobody accepts
        await asyncio.gather(*(self._dismiss(child, DRAIN) for child in self._crew.current))

    def _spawn(self, work: "asyncio._CoroutineLike[None]", name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # Sockets.

    def addresses(self) -> list[str]:
        """Where the workers listen, with the ports that the system chose."""
        found = []
        for text, sockets in self._sockets.items():
            listen = parse_listen(text)
            found.append(text if listen.path else str(Listen(listen.host, sockets[0].getsockname()[1])))
        return found

    def _listen(self, config: Config) -> None:
        """Open what is newly wanted; what is not wanted (any more) is closed by ``_forget``."""
        count = worker_count(config)
        for text in config.listen:
            listen = parse_listen(text)
            sockets = self._sockets.setdefault(text, [])
            wanted = 1 if listen.path else count
            try:
                while len(sockets) < wanted:
                    sockets.append(listening(listen, sockets))
            except OSError as error:
                raise ConfigError([Problem("listen", f"{text}: {error.strerror or error}")]) from None

    def _forget(self) -> None:
        assert self._config is not None
        for text in [text for text in self._sockets if text not in self._config.listen]:
            for sock in self._sockets.pop(text):
                sock.close()

    def _sockets_of(self, config: Config, index: int) -> list[socket.socket]:
        """Every socket has its worker, also those of a time with more workers: the kernel goes on giving to each."""
        count = worker_count(config)
        mine = [self._sockets[text][index::count] or self._sockets[text] for text in config.listen]
        return [sock for sockets in mine for sock in sockets]

    # Workers.

    async def _generation(self, config: Config) -> list[Child]:
        """
        A whole set of new workers, all ready.

        Raises:
            ConfigError, OidcgateError: one of them could not start; the others are gone again.
        """
        children: list[Child] = []
        try:
            for index in range(worker_count(config)):
                children.append(await self._start_child(config, index))
        except OidcgateError:
            await asyncio.gather(*(self._dismiss(child, 0.0) for child in children))
            raise
        return children

    async def _start_child(self, config: Config, index: int) -> Child:
        ours, theirs = socket.socketpair()
        sockets = self._sockets_of(config, index)
        descriptors = [sock.fileno() for sock in sockets]
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "oidcgate",
                "worker",
                str(theirs.fileno()),
                *map(str, descriptors),
                pass_fds=[theirs.fileno(), *descriptors],
                stdin=asyncio.subprocess.DEVNULL,
            )
        except OSError as error:
            ours.close()
            raise OidcgateError(f"no process for a worker: {error.strerror or error}") from None
        finally:
            theirs.close()
        told = Told()
        channel = await Channel.over(ours, told)
        listening_task = asyncio.create_task(channel.listen(), name=f"worker {process.pid}")
        child = Child(index, process, channel, listening_task, told)
        document = config.model_dump(mode="json", exclude_unset=True)
        answer = await child.ask("start", limit=READY_LIMIT, config=document)
        if not (answer or {}).get("ready"):
            await self._dismiss(child, 0.0)
            raise _failure(answer or {})
        return child

    def _look_after(self, children: list[Child], config: Config) -> None:
        for child in children:
            self._spawn(self._wait_for(child, config), f"wait for {child.process.pid}")

    async def _wait_for(self, child: Child, config: Config) -> None:
        """Replace a worker that died although it was wanted."""
        code = await child.process.wait()
        if not child.wanted or self._stopping:
            return
        log.error("worker %d (process %d) died with %d; starting another", child.index, child.process.pid, code)
        self._crew.exits += 1
        await self._crew.ended(child)
        pause = child.pause
        while not self._stopping and self._config is config:
            if time.monotonic() - child.started < QUICK_DEATH:
                pause = min(LONGEST_PAUSE, pause * 2 or 0.1)
                await asyncio.sleep(pause)
            try:
                successor = await self._start_child(config, child.index)
            except OidcgateError as error:
                log.error("a worker could not be started: %s", error)
                child.started = time.monotonic()
                continue
            if self._config is not config or self._stopping:  # a reload, or the end, was faster
                await self._dismiss(successor, 0.0)
                return
            successor.pause = pause
            self._crew.current.append(successor)
            self._look_after([successor], config)
            return

    async def _dismiss(self, child: Child, drain: float, *, patient: bool = False) -> None:
        """Let a worker finish its requests, then end; one that does not is killed."""
        child.wanted = False
        child.channel.tell(say="stop", drain=drain, patient=patient)
        try:
            await asyncio.wait_for(child.process.wait(), drain + LAST_WAIT)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                child.process.kill()
            await child.process.wait()
        await self._crew.ended(child)
        child.channel.close()
        await asyncio.gather(child.listening, return_exceptions=True)

    # Reload.

    async def reload(self) -> None:
        """A new generation from the configuration as it is now; what is wrong with it is said, and nothing changes."""
        async with self._reloading:
            outcome = "failed"
            try:
                await self._reload()
                outcome = "ok"
            except ConfigError as error:
                for problem in error.problems:
                    log.error("reload refused: %s", problem)
            except OidcgateError as error:
                log.error("reload refused: %s", error)
            except Exception:
                log.exception("reload failed, everything stays as it was")
            self._crew.reloads[outcome] += 1
            self._forget()

    async def _reload(self) -> None:
        config = self._load()
        stamps = file_stamps(config)
        await prepare(config)
        self._listen(config)
        children = await self._generation(config)
        try:
            await self._listen_admin(config)
        except ConfigError:
            await asyncio.gather(*(self._dismiss(child, 0.0) for child in children))
            raise
        old, self._config, self._stamps = self._crew.replace(children), config, stamps
        self._look_after(children, config)
        await asyncio.gather(*(child.ask("leave") for child in old))  # from here on the new ones answer
        log.info("reloaded; the old workers drain")
        for child in old:
            self._spawn(self._dismiss(child, DRAIN, patient=True), f"drain {child.process.pid}")

    async def _watch(self) -> None:
        """Certificates, keys and CA files that change on disk reload the workers, as SIGHUP does."""
        while True:
            await asyncio.sleep(WATCH)
            now = file_stamps(self._config)
            if now != self._stamps:
                log.info("a certificate or key changed on disk")
                self._stamps = now  # what changes from now on calls for another reload, also when this one is refused
                await self.reload()

    async def _watch_workers(self) -> None:
        """A worker that answers no more serves nobody: it is killed, and so replaced."""
        while True:
            await asyncio.sleep(PING)
            await self._crew.ping()
            for child in [child for child in self._crew.current if child.silent_for() > STUCK]:
                log.error("worker %d (process %d) is stuck; killing it", child.index, child.process.pid)
                with contextlib.suppress(ProcessLookupError):
                    child.process.kill()

    # The admin listener.

    async def _listen_admin(self, config: Config) -> None:
        """The admin listener of a configuration in place of the one before, which stays when that cannot be had."""
        wanted, before = config.admin, self._admin
        if wanted == self._admin_wanted:
            return
        if before is not None and wanted is not None and wanted.listen == getattr(self._admin_wanted, "listen", None):
            await before.cleanup()  # only the token's file has changed
        self._admin = await self._admin_on(wanted) if wanted is not None else None
        self._admin_wanted = wanted
        if before is not None:
            await before.cleanup()

    async def _admin_on(self, admin: Admin) -> web.AppRunner:
        token = token_reader(admin.token_file)
        app = admin_app(
            liveness=self._crew.liveness,
            readiness=self._readiness,
            metrics=self._crew.metrics,
            token=token,
            sessions=self._crew.sessions,
        )
        runner, self.admin_address = await listen_admin(app, admin.listen)
        log.info("admin on %s", self.admin_address)
        return runner

    async def _readiness(self) -> dict[str, str | None]:
        return {"gate": "shutting down"} if self._stopping else await self._crew.readiness()


def _failure(answer: Message) -> OidcgateError:
    if "problems" in answer:
        return ConfigError([Problem(path, message) for path, message in answer["problems"]])
    return OidcgateError(answer.get("failure", "a worker did not start in time"))


def worker_count(config: Config) -> int:
    """How many workers ``workers`` means here."""
    return len(os.sched_getaffinity(0)) if config.workers == "auto" else config.workers


async def prepare(config: Config) -> None:
    """
    Make what several workers must not make at once: keys and the store's file.

    Raises:
        ConfigError, StoreUnavailable: it cannot be made.
    """
    load_ring(config.session)
    store = await open_store(config)
    await store.close()


def file_stamps(config: Config | None) -> dict[str, int]:
    """Times of the files whose change calls for new workers; client secrets are read anew without that."""
    if config is None:
        return {}
    paths = [config.session.keys_file, config.provider.ca_file]
    if config.tls is not None:
        paths += [config.tls.cert_file, config.tls.key_file]
    for site in config.sites:
        paths += [site.upstream.ca_file, site.provider.ca_file]
    return {path: _stamp(path) for path in paths if path is not None}


def _stamp(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0
