"""
The admin listener: probes and figures, never on the public address.

Edge: an aiohttp application of its own.
"""

import hmac
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from oidcgate.config.secret import SecretFile, UnusableSecret
from oidcgate.errors import StoreUnavailable

Readiness = Callable[[], Awaitable[dict[str, str | None]]]  # what is wrong, by name; None = nothing
Token = Callable[[], str]
ListOrEnd = Callable[[str | None], Awaitable[list[dict[str, Any]] | bool]]
Figures = Callable[[], Awaitable[dict[str, float]]]

HELP = {
    "oidcgate_workers": "Worker processes.",
    "oidcgate_requests": "Requests answered since the start.",
    "oidcgate_connections": "Connections from browsers that are open now.",
    "oidcgate_sessions": "Sessions in use by this process.",
    "oidcgate_audit_events_lost": "Audit events that could not be written.",
    "oidcgate_upstream_idle_connections": "Connections to UIs that wait for the next request.",
}
COUNTERS = frozenset({"oidcgate_requests", "oidcgate_audit_events_lost"})


class Collector:
    """The gate's figures, read when Prometheus asks; nothing is counted twice for it on the data path."""

    def __init__(self) -> None:
        self.figures: dict[str, float] = {}

    def collect(self) -> Iterable[Metric]:
        """As prometheus-client calls it."""
        for name, value in self.figures.items():
            kind = CounterMetricFamily if name in COUNTERS else GaugeMetricFamily
            yield kind(name, HELP[name], value=value)


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


def admin_app(
    *, readiness: Readiness, figures: Figures, token: Token | None = None, sessions: ListOrEnd | None = None
) -> web.Application:
    """
    ``/livez``, ``/readyz`` and ``/metrics``.

    Args:
        readiness: what is wrong with each thing that is needed.
        figures: what is counted.
        token: reads what ``/sessions`` asks for; without one there is no such path.
        sessions: lists everybody's sessions, or ends the named one.
    """
    registry = CollectorRegistry()
    collector = Collector()
    registry.register(collector)

    async def livez(_request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_request: web.Request) -> web.Response:
        findings = await readiness()
        text = "".join(f"{name}: {wrong or 'ok'}\n" for name, wrong in findings.items())
        return web.Response(status=503 if any(findings.values()) else 200, text=text)

    async def metrics(_request: web.Request) -> web.Response:
        collector.figures = await figures()
        body = generate_latest(registry)
        return web.Response(body=body, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    app = web.Application()
    app.add_routes([web.get("/livez", livez), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    if token is not None and sessions is not None:
        add_sessions(app, sessions, token)
    return app
