"""
The admin listener: probes and figures, never on the public address.

Edge: an aiohttp application of its own.
"""

from collections.abc import Awaitable, Callable, Iterable

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

Readiness = Callable[[], Awaitable[dict[str, str | None]]]  # what is wrong, by name; None = nothing
Figures = Callable[[], Awaitable[dict[str, float]]]

HELP = {
    "oidcgate_workers": "Worker processes.",
    "oidcgate_requests": "Requests answered since the start.",
    "oidcgate_connections": "Connections from browsers that are open now.",
    "oidcgate_sessions": "Sessions in use by this process.",
    "oidcgate_upstream_idle_connections": "Connections to UIs that wait for the next request.",
}
COUNTERS = frozenset({"oidcgate_requests"})


class Collector:
    """The gate's figures, read when Prometheus asks; nothing is counted twice for it on the data path."""

    def __init__(self) -> None:
        self.figures: dict[str, float] = {}

    def collect(self) -> Iterable[Metric]:
        """As prometheus-client calls it."""
        for name, value in self.figures.items():
            kind = CounterMetricFamily if name in COUNTERS else GaugeMetricFamily
            yield kind(name, HELP[name], value=value)


def admin_app(*, readiness: Readiness, figures: Figures) -> web.Application:
    """
    ``/livez``, ``/readyz`` and ``/metrics``.

    Args:
        readiness: what is wrong with each thing that is needed.
        figures: what is counted.
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
    return app
