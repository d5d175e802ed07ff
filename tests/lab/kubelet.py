"""
A kubelet without containers: what kube-apiserver 1.37 asks of one for logs, exec, attach and port-forward.

Edge: aiohttp server, https, for clients with a certificate of the lab's authority only.
The node declares ExtendWebSocketsToKubelet (KEP 4006, on by default since 1.36), so the API server hands over each
websocket as it came; without that it turns v5 of exec into SPDY. What clients send as SPDY comes as SPDY either way.
Sources: pkg/kubelet/server/server.go of kubernetes, pkg/streaming of cri-streaming.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from multidict import MultiMapping

from tests.lab.kube.authority import Authority
from tests.lab.kube.channels import TUNNEL, Channels, SpdyChannels, Tunnel, Upgraded, WebSocketChannels, first_of
from tests.lab.kube.container import (
    ERROR,
    RESIZE,
    STDERR,
    STDIN,
    STDOUT,
    Container,
    Program,
    Terminal,
    busybox,
)
from tests.lab.kube.forwarding import forward_channels, forward_streams

V4, V5, FORWARD = "v4.channel.k8s.io", "v5.channel.k8s.io", "portforward.k8s.io"
SHUTDOWN_LIMIT = 0.01  # seconds; aiohttp takes 0 for no limit


@dataclass
class Call:
    """A request that the API server made."""

    path: str
    query: MultiMapping[str]
    headers: MultiMapping[str]
    client: str  # the common name in its certificate
    protocol: str = ""  # of its channels; SPDY/3.1+ stands before one that SPDY carries
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Kubelet:
    """
    The double, from `start` to `stop`.

    Args:
        name: the node's.
        program: what exec runs, whatever the command.
        websockets: declare that websockets may be handed over; else the API server turns some into SPDY.

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
                if call.protocol.startswith(TUNNEL) and request.transport is not None:
                    request.transport.close()  # aiohttp has no part in it any more

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
        reply, channels = await _opened(request, call)
        terminal = Terminal(channels.send, request.query, container)
        self.terminals.append(terminal)

        async def listen() -> None:
            while (arrived := await channels.receive()) is not None:
                terminal.feed(*arrived)

        async def run() -> None:
            await terminal.finish(await program(terminal))

        await channels.send(STDOUT if request.query.get("output") == "1" else ERROR, b"")  # says that it is open
        await first_of(listen(), run())
        await channels.close()
        return reply

    async def _port_forward(self, request: web.Request, call: Call) -> web.StreamResponse:
        if not _is_websocket(request):
            await forward_streams(_taken_over(request, call, FORWARD), self.ports)
            return web.Response()
        socket = await _agreed(request, call, (V4, TUNNEL + FORWARD))
        if call.protocol == V4:
            ports = request.query.get("port", "").split(",")
            await forward_channels(socket, list(map(int, ports)), self.ports)
        else:
            await forward_streams(Tunnel(socket), self.ports)
        return socket


async def _opened(request: web.Request, call: Call) -> tuple[web.StreamResponse, Channels]:
    """Agree to an exec or an attach."""
    if _is_websocket(request):
        socket = await _agreed(request, call, (V5, V4))
        return socket, WebSocketChannels(socket)
    channels = SpdyChannels(_taken_over(request, call, V4))
    asked = {"input": STDIN, "output": STDOUT, "error": STDERR, "tty": RESIZE}
    await channels.open({ERROR} | {channel for name, channel in asked.items() if request.query.get(name) == "1"})
    return web.Response(), channels


def _is_websocket(request: web.Request) -> bool:
    return request.headers.get("Upgrade", "").lower() == "websocket"


async def _agreed(request: web.Request, call: Call, protocols: tuple[str, ...]) -> web.WebSocketResponse:
    """
    Agree to a websocket with one of the protocols.

    Raises:
        web.HTTPForbidden: none of them is offered.
    """
    offered = [name.strip() for name in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
    if not set(offered) & set(protocols):
        raise web.HTTPForbidden(text=f"requested protocol(s) are not supported: {offered}")
    socket = web.WebSocketResponse(protocols=protocols, compress=False)
    await socket.prepare(request)
    call.protocol = socket.ws_protocol or ""
    return socket


def _taken_over(request: web.Request, call: Call, protocol: str) -> Upgraded:
    """
    Agree to SPDY with this protocol inside; what a handler answers then reaches nobody.

    Raises:
        web.HTTPException: it is no such upgrade, or the protocol is not offered.
    """
    if request.headers.get("Upgrade", "").lower() != "spdy/3.1":
        raise web.HTTPBadRequest(text="unable to upgrade: missing upgrade headers in request")
    if protocol not in ", ".join(request.headers.getall("X-Stream-Protocol-Version", [])).split(", "):
        raise web.HTTPForbidden(text=f"unable to upgrade: only {protocol} is spoken")
    call.protocol = TUNNEL + protocol
    return Upgraded(request, protocol)


def _common_name(request: web.Request) -> str:
    assert request.transport is not None
    certificate = request.transport.get_extra_info("peercert") or {}
    names = dict(pair for part in certificate.get("subject", ()) for pair in part)
    return str(names.get("commonName", ""))
