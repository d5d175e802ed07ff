"""
A kubelet without containers: what kube-apiserver 1.37 asks of one for logs, exec, attach and port-forward.

Edge: aiohttp server, https, for clients with a certificate of the lab's authority only.
The node declares ExtendWebSocketsToKubelet (KEP 4006, on by default since 1.36), so the API server hands over each
websocket as it came. Without that it would speak SPDY here, which is not spoken; nor is what needs it from end to end:
`kubectl port-forward`, and clients that open exec with SPDY. Sources: pkg/kubelet/server/server.go of kubernetes,
pkg/streaming of cri-streaming.
"""

import asyncio
import json
import shlex
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import WSMsgType, web
from multidict import CIMultiDictProxy, MultiDictProxy

from tests.lab.kube.authority import Authority

STDIN, STDOUT, STDERR, ERROR, RESIZE = range(5)  # channels: the first byte of each message
CLOSE = 255  # v5 only: the channel named next gets nothing more
PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")  # of exec and attach; port-forward has v4 alone
SHELLS = ("sh", "bash", "/bin/sh", "/bin/bash")
SHUTDOWN_LIMIT = 0.01  # seconds; aiohttp takes 0 for no limit


@dataclass
class Call:
    """A request that the API server made."""

    path: str
    query: MultiDictProxy[str]
    headers: CIMultiDictProxy[str]
    client: str  # the common name in its certificate
    protocol: str = ""  # of the websocket
    ended: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class Container:
    """What a container has said, and what runs in it."""

    lines: list[tuple[datetime, str]] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def say(self, *lines: str) -> None:
        """Write lines to its log; followers see them at once."""
        self.lines += [(datetime.now(UTC), line) for line in lines]
        self.changed.set()
        self.changed = asyncio.Event()

    async def more(self, seen: int) -> None:
        """Wait until there are more lines than that."""
        while len(self.lines) <= seen:
            await self.changed.wait()


class Terminal:
    """
    The streams of one exec or attach.

    Attributes:
        sizes: what the client said of its window, such as ``{"Width": 80, "Height": 24}``.
    """

    def __init__(self, socket: web.WebSocketResponse, query: MultiDictProxy[str], container: Container) -> None:
        self.container = container
        self.command = query.getall("command", [])
        self.has_tty = query.get("tty") == "1"
        self.sizes: list[dict[str, int]] = []
        self._has_stdin = query.get("input") == "1"
        self._socket = socket
        self._typed: asyncio.Queue[bytes] = asyncio.Queue()
        self._at_end = False

    async def read(self) -> bytes:
        """What was typed; empty at the end."""
        if not self._has_stdin or self._at_end:
            return b""
        data = await self._typed.get()
        self._at_end = not data
        return data

    async def write(self, data: bytes | str, channel: int = STDOUT) -> None:
        """Send to the client; with a terminal there is no standard error."""
        raw = data.encode() if isinstance(data, str) else data
        if self.has_tty:
            channel, raw = (STDOUT if channel == STDERR else channel), raw.replace(b"\n", b"\r\n")
        await self._socket.send_bytes(bytes((channel,)) + raw)

    async def finish(self, status: int) -> None:
        """Tell how the command ended, in words of the API."""
        body: dict[str, Any] = {"metadata": {}, "status": "Success"}
        if status:
            body = {
                "metadata": {},
                "status": "Failure",
                "message": f"command terminated with non-zero exit code: {status}",
                "reason": "NonZeroExitCode",
                "details": {"causes": [{"reason": "ExitCode", "message": str(status)}]},
            }
        await self._socket.send_bytes(bytes((ERROR,)) + json.dumps(body).encode())

    async def listen(self) -> None:
        """Sort what comes until the client is gone."""
        async for message in self._socket:
            if message.type is not WSMsgType.BINARY or not message.data:
                continue
            channel, data = message.data[0], message.data[1:]
            if channel == RESIZE:
                self.sizes.append(json.loads(data))
            elif channel == STDIN and data:
                self._typed.put_nowait(data)
            elif channel == CLOSE and data == bytes((STDIN,)):
                self._typed.put_nowait(b"")


Program = Callable[[Terminal], Awaitable[int]]


async def busybox(terminal: Terminal) -> int:
    """Run a few commands; returns the exit status."""
    return await _run(terminal, terminal.command)


async def _run(terminal: Terminal, words: list[str]) -> int:
    match words:
        case ["echo", *rest]:
            await terminal.write(" ".join(rest) + "\n")
        case ["cat"]:
            while data := await terminal.read():
                await terminal.write(data)
        case [shell, "-c", line] if shell in SHELLS:
            return await _run(terminal, shlex.split(line))
        case [shell] if shell in SHELLS:
            return await _shell(terminal)
        case ["exit", status]:
            return int(status)
        case ["false"]:
            return 1
        case []:
            pass
        case [other, *_]:
            await terminal.write(f"{other}: not found\n", STDERR)
            return 127
    return 0


async def _shell(terminal: Terminal) -> int:
    """Read lines and run them; with a terminal they are echoed, and there is a prompt."""
    status, line = 0, ""
    await terminal.write("$ " if terminal.has_tty else b"")
    while data := await terminal.read():
        line += data.decode().replace("\r", "\n")
        if terminal.has_tty:
            await terminal.write(data.replace(b"\r", b"\n"))
        while "\n" in line:
            first, _, line = line.partition("\n")
            words = shlex.split(first)
            if words[:1] == ["exit"]:
                return int(words[1]) if words[1:] else status
            status = await _run(terminal, words)
            await terminal.write("$ " if terminal.has_tty else b"")
    return status


class Kubelet:
    """
    The double, from `start` to `stop`.

    Args:
        name: the node's.
        program: what exec runs, whatever the command.
        websockets: declare that websockets may be handed over; else the API server turns them into SPDY.

    Attributes:
        calls: what the API server asked, in order.
        containers: by namespace, pod and name; `run` adds some.
        ports: where the pods' ports really are, by number, on loopback.
    """

    def __init__(
        self, authority: Authority, *, name: str = "node-1", program: Program = busybox, websockets: bool = True
    ) -> None:
        self.name = name
        self.program = program
        self.websockets = websockets
        self.calls: list[Call] = []
        self.containers: dict[tuple[str, str, str], Container] = {}
        self.ports: dict[int, int] = {}
        self.terminals: list[Terminal] = []
        self.port = 0
        self._authority = authority
        self._runner: web.AppRunner | None = None
        self._arrived = asyncio.Event()

    async def start(self) -> None:
        """Listen on a port of the system's choice."""
        app = web.Application()
        for path, handler in (
            ("/containerLogs/{namespace}/{pod}/{container}", self._logs),
            ("/exec/{namespace}/{pod}/{container}", self._exec),
            ("/attach/{namespace}/{pod}/{container}", self._attach),
            ("/portForward/{namespace}/{pod}", self._port_forward),
        ):
            app.router.add_route("*", path, self._noted(handler))
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_LIMIT, handler_cancellation=True)
        await self._runner.setup()
        context = self._authority.server_context(f"system:node:{self.name}", asks=True)
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=context).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Close the port and every stream."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def wait_for(self, path: str) -> Call:
        """The newest request for a path that begins so, if need be the next one; the caller sets a time limit."""
        while not (found := [call for call in self.calls if call.path.startswith(path)]):
            await self._arrived.wait()
        return found[-1]

    def run(self, namespace: str, pod: str, *containers: str) -> dict[str, Any]:
        """Run containers; returns the pod's status."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        for container in containers:
            self.containers.setdefault((namespace, pod, container), Container())
        running = {"ready": True, "started": True, "restartCount": 0, "state": {"running": {"startedAt": now}}}
        image = {"image": "lab/nothing:1", "imageID": "lab/nothing@sha256:0"}
        return {
            "phase": "Running",
            "hostIP": "127.0.0.1",
            "podIP": "127.0.0.1",
            "podIPs": [{"ip": "127.0.0.1"}],
            "startTime": now,
            "conditions": [{"type": "Ready", "status": "True"}, {"type": "Initialized", "status": "True"}],
            "containerStatuses": [
                {"name": name, "containerID": f"lab://{pod}-{name}", **image, **running} for name in containers
            ],
        }

    def node_status(self) -> dict[str, Any]:
        """Where it is, and what it can do."""
        return {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self.port}},
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
            "capacity": {"cpu": "4", "memory": "8Gi", "pods": "110"},
            "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"},
            "declaredFeatures": ["ExtendWebSocketsToKubelet"] if self.websockets else [],
        }

    def _noted(
        self, handler: Callable[[web.Request, Call], Awaitable[web.StreamResponse]]
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def noted(request: web.Request) -> web.StreamResponse:
            call = Call(request.path, request.query, request.headers, _common_name(request))
            self.calls.append(call)
            self._arrived.set()
            self._arrived = asyncio.Event()
            try:
                return await handler(request, call)
            finally:
                call.ended.set()

        return noted

    def _container(self, request: web.Request) -> Container:
        where = request.match_info
        found = self.containers.get((where["namespace"], where["pod"], where["container"]))
        if found is None:
            raise web.HTTPNotFound(text=f'container "{where["container"]}" not found in pod "{where["pod"]}"')
        return found

    async def _logs(self, request: web.Request, _call: Call) -> web.StreamResponse:
        container = self._container(request)
        reply = web.StreamResponse(headers={"Content-Type": "text/plain"})
        reply.enable_chunked_encoding()
        await reply.prepare(request)
        tail = request.query.get("tailLines")
        seen = max(0, len(container.lines) - int(tail)) if tail is not None else 0
        while True:
            for when, line in container.lines[seen:]:
                stamp = f"{when.isoformat().replace('+00:00', 'Z')} " if request.query.get("timestamps") else ""
                await reply.write(f"{stamp}{line}\n".encode())
                seen += 1
            if request.query.get("follow") != "true":
                await reply.write_eof()
                return reply
            await container.more(seen)

    async def _exec(self, request: web.Request, call: Call) -> web.StreamResponse:
        return await self._stream(request, call, self.program)

    async def _attach(self, request: web.Request, call: Call) -> web.StreamResponse:
        async def attached(terminal: Terminal) -> int:
            seen = len(terminal.container.lines)
            while True:
                await terminal.container.more(seen)
                for _, line in terminal.container.lines[seen:]:
                    await terminal.write(f"{line}\n")
                    seen += 1

        return await self._stream(request, call, attached)

    async def _stream(self, request: web.Request, call: Call, program: Program) -> web.StreamResponse:
        container = self._container(request)
        socket = await _upgraded(request, call, PROTOCOLS)
        terminal = Terminal(socket, request.query, container)
        self.terminals.append(terminal)
        # an empty message says that it is open
        await socket.send_bytes(bytes((STDOUT if request.query.get("output") == "1" else ERROR,)))
        listening = asyncio.create_task(terminal.listen())
        running = asyncio.create_task(_to_its_end(terminal, program))
        await _first_of(listening, running)
        await socket.close()
        return socket

    async def _port_forward(self, request: web.Request, call: Call) -> web.StreamResponse:
        """Two channels for each port, data and errors; both begin with the port's number, low byte first."""
        ports = [int(port) for port in request.query.get("port", "").split(",")]
        socket = await _upgraded(request, call, PROTOCOLS[1:])
        writers: dict[int, asyncio.StreamWriter] = {}
        tasks = []
        for index, port in enumerate(ports):
            data, error = 2 * index, 2 * index + 1
            for channel in (data, error):
                await socket.send_bytes(bytes((channel,)) + port.to_bytes(2, "little"))
            try:
                reader, writers[data] = await asyncio.open_connection("127.0.0.1", self.ports[port])
            except (KeyError, OSError) as problem:
                await socket.send_bytes(bytes((error,)) + f"error forwarding port {port}: {problem!r}".encode())
            else:
                tasks.append(asyncio.create_task(_pump(reader, socket, data)))
        try:
            await _first_of(asyncio.create_task(_sort(socket, writers)), *tasks)
        finally:
            for writer in writers.values():
                writer.close()
        await socket.close()
        return socket


async def _upgraded(request: web.Request, call: Call, protocols: tuple[str, ...]) -> web.WebSocketResponse:
    """
    Agree to a websocket with one of the protocols.

    Raises:
        web.HTTPException: it is no websocket, or has no such protocol.
    """
    if request.headers.get("Upgrade", "").lower() != "websocket":
        raise web.HTTPBadRequest(text=f"no SPDY here, only websockets: {request.headers.get('Upgrade')!r}")
    offered = [name.strip() for name in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
    if not set(offered) & set(protocols):
        raise web.HTTPForbidden(text=f"requested protocol(s) are not supported: {offered}")
    socket = web.WebSocketResponse(protocols=protocols, compress=False)
    await socket.prepare(request)
    call.protocol = socket.ws_protocol or ""
    return socket


async def _to_its_end(terminal: Terminal, program: Program) -> None:
    await terminal.finish(await program(terminal))


async def _first_of(*tasks: asyncio.Task[None]) -> None:
    """Wait until one of them is done; the others are given up."""
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        with suppress(ConnectionError):  # the client is gone
            task.result()


async def _pump(reader: asyncio.StreamReader, socket: web.WebSocketResponse, channel: int) -> None:
    while data := await reader.read(65536):
        await socket.send_bytes(bytes((channel,)) + data)


async def _sort(socket: web.WebSocketResponse, writers: dict[int, asyncio.StreamWriter]) -> None:
    async for message in socket:
        if message.type is WSMsgType.BINARY and message.data and message.data[0] in writers:
            writers[message.data[0]].write(message.data[1:])
            await writers[message.data[0]].drain()


def _common_name(request: web.Request) -> str:
    assert request.transport is not None
    certificate = request.transport.get_extra_info("peercert") or {}
    names = dict(pair for part in certificate.get("subject", ()) for pair in part)
    return str(names.get("commonName", ""))
