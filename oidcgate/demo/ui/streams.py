"""
Everything long: logs that follow, downloads, uploads, events; and the two test tools, slow and echo. Edge:
aiohttp server.

Each line and event is written when it happens, never collected. The download repeats one buffer, so that its
speed is the network's and its size costs no memory. Whoever hangs up ends the handler.
"""

import asyncio
import hashlib
import json
from collections.abc import Callable
from typing import Any, Final

from aiohttp import web

from oidcgate.demo.ui.access import Access, KubeError
from oidcgate.demo.ui.api import API, reach
from oidcgate.demo.ui.cluster import Cluster, Pod, log_line, timestamp

FIRST_LINES: Final = 10  # of the past, shown at once when a log is followed
DEFAULT_DOWNLOAD: Final = 64 * 1024  # bytes
MAX_SLOW: Final = 3600.0  # seconds

# 256 KiB of whole 64-byte lines: big enough that the chunk heads do not count.
BLOCK: Final = b"".join(b"%-63s\n" % f"demo log line {n:05}".encode() for n in range(4096))

_HAPPENINGS: Final = (
    ("Normal", "Pulled", 'Container image "{image}" already present on machine'),
    ("Normal", "Created", "Created container {container}"),
    ("Normal", "Started", "Started container {container}"),
    ("Warning", "BackOff", "Back-off restarting failed container {container}"),
    ("Normal", "Scheduled", "Successfully assigned {namespace}/{name} to {node}"),
)


class Streams:
    """The handlers. `tick` is the seconds between two lines or events."""

    def __init__(self, access: Access, cluster: Cluster, *, clock: Callable[[], float], tick: float) -> None:
        self._access = access
        self._cluster = cluster
        self._clock = clock
        self._tick = tick

    def routes(self) -> list[web.RouteDef]:
        """The routes under /api/v1."""
        return [
            web.get(API + "/log/stream/{namespace}/{pod}", self._log_stream),
            web.get(API + "/log/file/{namespace}/{pod}", self._log_file),
            web.post(API + "/upload", self._upload),
            web.get(API + "/events", self._events),
            web.get(API + "/slow", self._slow),
            web.route("*", API + "/echo", self._echo),
        ]

    async def _log_stream(self, request: web.Request) -> web.StreamResponse:
        _, pod = await reach(self._access, self._cluster, request, "get", "pods/log")
        response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        past = self._cluster.log(pod, FIRST_LINES)
        await response.write("".join(line + "\n" for line in past).encode())
        second = int(self._clock())
        while True:
            await asyncio.sleep(self._tick)
            second += 1
            await response.write(f"{log_line(pod, second)}\n".encode())

    async def _log_file(self, request: web.Request) -> web.StreamResponse:
        _, pod = await reach(self._access, self._cluster, request, "get", "pods/log")
        left = int(_number(request, "bytes", DEFAULT_DOWNLOAD))
        headers = {
            "Content-Type": "text/plain",
            "Content-Disposition": f'attachment; filename="{pod.name}.log"',
        }
        response = web.StreamResponse(headers=headers)
        response.enable_chunked_encoding()
        await response.prepare(request)
        while left >= len(BLOCK):
            await response.write(BLOCK)
            left -= len(BLOCK)
        await response.write(BLOCK[:left])
        await response.write_eof()
        return response

    async def _upload(self, request: web.Request) -> web.Response:
        await self._access.caller(request)
        digest = hashlib.sha256() if request.query.get("hash") == "1" else None
        count = 0
        async for chunk in request.content.iter_any():
            count += len(chunk)
            if digest:
                digest.update(chunk)
        return web.json_response({"bytes": count} | ({"sha256": digest.hexdigest()} if digest else {}))

    async def _events(self, request: web.Request) -> web.StreamResponse:
        caller = await self._access.caller(request)
        pods = [pod for pod in self._cluster.pods() if self._access.may(caller, "list", "pods", pod.namespace)]
        headers = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache"}
        response = web.StreamResponse(headers=headers)
        response.enable_chunked_encoding()
        await response.prepare(request)
        number = 0
        while True:
            event = _event(pods, number, self._clock())
            await response.write(f"id: {number}\ndata: {json.dumps(event)}\n\n".encode())
            await asyncio.sleep(self._tick)
            number += 1

    async def _slow(self, request: web.Request) -> web.Response:
        await self._access.caller(request)
        seconds = min(_number(request, "seconds", 1), MAX_SLOW)
        await asyncio.sleep(seconds)
        return web.json_response({"slept": seconds})

    async def _echo(self, request: web.Request) -> web.Response:
        """What arrived, for anybody: no bearer is asked for."""
        body = hashlib.sha256()
        count = 0
        async for chunk in request.content.iter_any():
            count += len(chunk)
            body.update(chunk)
        seen = {
            "method": request.method,
            "target": request.raw_path,
            "version": f"{request.version.major}.{request.version.minor}",
            "headers": [[k.decode("latin-1"), v.decode("latin-1")] for k, v in request.raw_headers],
            "bytes": count,
            "sha256": body.hexdigest(),
        }
        return web.json_response(seen)


def _number(request: web.Request, name: str, default: float) -> float:
    """A number from the query that is not negative; raises KubeError 400."""
    try:
        number = float(request.query.get(name, default))
    except ValueError:
        number = -1
    if not 0 <= number < float("inf"):
        raise KubeError(400, "BadRequest", f"{name} is not a number from 0 up")
    return number


def _event(pods: list[Pod], number: int, now: float) -> dict[str, Any]:
    if not pods:
        return {"time": timestamp(now), "type": "Normal", "reason": "Quiet", "object": "", "message": ""}
    pod = pods[number * 5 % len(pods)]
    kind, reason, text = _HAPPENINGS[number % len(_HAPPENINGS)]
    message = text.format(
        image=pod.image, container=pod.container, namespace=pod.namespace, name=pod.name, node=pod.node
    )
    return {
        "time": timestamp(now),
        "type": kind,
        "reason": reason,
        "object": f"pod/{pod.name}",
        "namespace": pod.namespace,
        "message": message,
    }
