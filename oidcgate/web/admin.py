"""
The admin listener: probes and metrics, never on the public address.

Edge: an aiohttp application of its own.
"""

import hmac
import ipaddress
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web
from prometheus_client import generate_latest
from prometheus_client.core import Metric

from oidcgate.config.addresses import is_loopback
from oidcgate.config.secret import SecretFile, UnusableSecret
from oidcgate.errors import StoreUnavailable

Checks = Callable[[], Awaitable[dict[str, str | None]]]  # what is wrong, by name; None = nothing
Token = Callable[[], str]
ListOrEnd = Callable[[str | None], Awaitable[list[dict[str, Any]] | bool]]
Metrics = Callable[[], Awaitable[list[Metric]]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Read:
    """Metrics that were read a moment ago, in the shape of a registry."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        """As prometheus-client calls it."""
        return self._families


def token_reader(path: str | None) -> Token | None:
    """Reads the admin token anew whenever its file changes; None without a file."""
    return SecretFile(Path(path)).read if path is not None else None


def is_allowed(request: web.Request, token: Token) -> bool:
    """Whether a request carries the admin token; an unusable token file allows nobody."""
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    try:
        sent = given.strip().encode("utf-8", "surrogateescape")
        return scheme.lower() == "bearer" and hmac.compare_digest(sent, token().encode())
    except UnusableSecret:
        return False


def add_sessions(app: web.Application, sessions: ListOrEnd, token: Token) -> None:
    """``GET /sessions`` and ``DELETE /sessions/<name>``, for who has the token."""

    async def answer(request: web.Request) -> web.Response:
        if not is_allowed(request, token):
            return web.json_response({"error": "unauthorized"}, status=401, headers={"WWW-Authenticate": "Bearer"})
        try:
            result = await sessions(request.match_info.get("name"))
        except StoreUnavailable as error:
            return web.json_response({"error": "store_unavailable", "message": error.public}, status=503)
        if isinstance(result, bool):
            return web.json_response({"ended": result}, status=200 if result else 404)
        return web.json_response({"sessions": result})

    app.add_routes([web.get("/sessions", answer), web.delete("/sessions/{name}", answer)])


def findings(checks: Checks) -> Callable[[web.Request], Awaitable[web.Response]]:
    """A probe: 200, or 503 when something is wrong; a line for each thing says what."""

    async def answer(_request: web.Request) -> web.Response:
        found = await checks()
        text = "".join(f"{name}: {wrong or 'ok'}\n" for name, wrong in found.items())
        return web.Response(status=503 if any(found.values()) else 200, text=text)

    return answer


@web.middleware
async def not_by_another_name(request: web.Request, handler: Handler) -> web.StreamResponse:
    """
    421 on loopback for a host name that is not this machine's: a page in a browser here may have let its own name lead
    to loopback (DNS rebinding), and would be told what only this machine may know.
    """
    own = request.transport.get_extra_info("sockname") if request.transport is not None else None
    if isinstance(own, tuple) and is_loopback(own[0]) and not is_plain(request.host):
        return web.Response(status=421, text="Ask by address, or as localhost.\n")
    return await handler(request)


def is_plain(authority: str) -> bool:
    """Whether a Host header holds an address, or means this machine; no page comes from there by a name of its own."""
    host = authority.rpartition("]")[0].strip("[") or authority.partition(":")[0]
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return is_loopback(host)
    return True


def admin_app(
    *,
    liveness: Checks,
    readiness: Checks,
    metrics: Metrics,
    token: Token | None = None,
    sessions: ListOrEnd | None = None,
) -> web.Application:
    """
    ``/livez``, ``/readyz`` and ``/metrics``.

    Args:
        liveness: what a restart would cure.
        readiness: what is wrong with each thing that is needed.
        metrics: what is counted.
        token: reads what ``/sessions`` asks for; without one there is no such path.
        sessions: lists everybody's sessions, or ends the named one.
    """

    async def tell(_request: web.Request) -> web.Response:
        body = generate_latest(Read(await metrics()))
        return web.Response(body=body, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    app = web.Application(middlewares=[not_by_another_name])
    app.add_routes(
        [web.get("/livez", findings(liveness)), web.get("/readyz", findings(readiness)), web.get("/metrics", tell)]
    )
    if token is not None and sessions is not None:
        add_sessions(app, sessions, token)
    return app
