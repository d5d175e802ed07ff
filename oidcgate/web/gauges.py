"""
How a gate is right now, looked at when somebody asks.

Edge by the gate's parts. Nothing here is kept up to date on the way of a request.
"""

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from oidcgate.net.downstream import Downstream, DownstreamServer
from oidcgate.net.relay import Exchange
from oidcgate.net.tunnel import Tunnel
from oidcgate.web.audit import Audit
from oidcgate.web.logs import AccessLog
from oidcgate.web.providers import Providers
from oidcgate.web.sessions import IN_USE, Sessions
from oidcgate.web.site import SiteRuntime
from oidcgate.web.timedstore import TimedStore


@dataclass(frozen=True, slots=True)
class Observed:
    """The parts that are looked at."""

    sites: Sequence[SiteRuntime]
    sessions: Sessions
    providers: Providers
    store: TimedStore
    audit: Audit
    access_log: AccessLog
    downstream: DownstreamServer


class Gauges(Collector):
    """The gate as it is; Prometheus reads it."""

    def __init__(self, observed: Observed) -> None:
        self._seen = observed

    def collect(self) -> Iterable[Metric]:
        """As prometheus-client calls it."""
        seen = self._seen
        connections = cast(list[Downstream], seen.downstream.connections)
        yield gauge("connections", "Connections from browsers that are open.", len(connections))
        yield gauge("sessions", "Sessions in use, by process and site.", len(seen.sessions))
        yield gauge("store_ready", "Whether the session store did what it was last asked for.", seen.store.is_well)
        yield CounterMetricFamily(
            "oidcgate_audit_events_lost", "Audit events that could not be written.", value=seen.audit.lost
        )
        yield CounterMetricFamily(
            "oidcgate_log_lines_lost", "Lines of the access log that could not be written.", value=seen.access_log.lost
        )
        away = CounterMetricFamily(
            "oidcgate_turned_away", "Connections and requests refused before a site was known.", labels=["reason"]
        )
        for reason, count in seen.downstream.turned_away.items():
            away.add_metric([reason], count)
        yield away
        yield self._providers()
        yield from self._tokens()
        yield from self._upstreams(connections)

    def _providers(self) -> Metric:
        family = GaugeMetricFamily(
            "oidcgate_provider_ready", "Whether the issuer was reached once and its keys are known.", labels=["issuer"]
        )
        ready = Counter(provider.issuer for provider in self._seen.providers if provider.ready)
        for issuer, clients in Counter(provider.issuer for provider in self._seen.providers).items():
            family.add_metric([issuer], float(ready[issuer] == clients))
        return family

    def _tokens(self) -> Iterable[Metric]:
        """Of the sessions in use here; without one there is nothing to say."""
        now, lives = time.time(), [live for live in self._seen.sessions.lives() if live.handle]
        logins = [live.shared.grant.obtained for live in lives if live.shared.grant.obtained]
        used = [
            live.shared for live in lives if now - live.seen < IN_USE
        ]  # the others' are renewed when they come back
        ends = [each.token.claims.expires for each in used if each.token is not None]
        if logins:
            yield gauge("oldest_grant_age_seconds", "Since the login that is longest ago.", now - min(logins))
        if ends:
            yield gauge("next_token_expiry_seconds", "Until the first ID token in use runs out.", min(ends) - now)

    def _upstreams(self, connections: Sequence[Downstream]) -> Iterable[Metric]:
        labels = {id(each.upstream): site.label for site in self._seen.sites for each in site.every_pools}
        connects, idle = Counter[str](), Counter[str]()
        for site in self._seen.sites:
            for each in site.every_pools:
                connects[site.label] += each.connects
                idle[site.label] += sum(len(pool.idle) for pool in each.pools)
        busy, websockets = Counter[str](), Counter[str]()
        for connection in connections:
            label = label_of(connection, labels)
            if label is not None:
                busy[label] += 1
                websockets[label] += connection.tunnel is not None
        yield self._by_site("websockets", "Websockets that are open.", websockets)
        yield self._by_state(idle, busy)
        made = CounterMetricFamily("oidcgate_upstream_connects", "Connections made to a UI.", labels=["site"])
        for label, count in connects.items():
            made.add_metric([label], count)
        yield made

    def _by_site(self, name: str, text: str, counted: Counter[str]) -> Metric:
        family = GaugeMetricFamily(f"oidcgate_{name}", text, labels=["site"])
        for label in dict.fromkeys(site.label for site in self._seen.sites):
            family.add_metric([label], counted[label])
        return family

    def _by_state(self, idle: Counter[str], busy: Counter[str]) -> Metric:
        family = GaugeMetricFamily("oidcgate_upstream_connections", "Connections to a UI.", labels=["site", "state"])
        for label in dict.fromkeys(site.label for site in self._seen.sites):
            family.add_metric([label, "idle"], idle[label])
            family.add_metric([label, "busy"], busy[label])
        return family


def gauge(name: str, text: str, value: float) -> Metric:
    """A gauge without labels."""
    return GaugeMetricFamily(f"oidcgate_{name}", text, value=float(value))


def label_of(connection: Downstream, labels: dict[int, str]) -> str | None:
    """The site whose UI answers on a browser's connection right now."""
    writer = connection.writer_of_reply
    if not isinstance(writer, Exchange | Tunnel) or writer.connection is None:
        return None
    return labels.get(id(writer.connection.pool.upstream))  # the pool itself may have left with its replica
