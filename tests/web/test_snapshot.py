"""Metrics of several processes as one: what is counted is added up and never lost, and of a state the worst is told."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families

from oidcgate.web.admin import Read
from oidcgate.web.snapshot import Family, Sum, snapshot, snapshot_of
from tests.support.counted import Counted, parsed


class Process:
    """A worker's registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.logins = Counter("oidcgate_logins", "Logins.", ["site"], registry=self.registry)
        self.calls = Histogram("oidcgate_calls_seconds", "Calls.", ["call"], registry=self.registry, buckets=(1.0, 5.0))
        self.open = Gauge("oidcgate_connections", "Open.", registry=self.registry)

    def told(self) -> list[Family]:
        """What it tells, as the master gets it: by JSON."""
        families: list[Family] = json.loads(json.dumps(snapshot_of(self.registry)))
        return families


def read(summed: Sum) -> Counted:
    """The text that Prometheus gets, read back; its own parser takes it, too."""
    text = generate_latest(Read(summed.families())).decode()
    kinds = {family.name: family.type for family in text_string_to_metric_families(text)}
    assert "unknown" not in kinds.values()
    return Counted(parsed(text))


def of(name: str, value: float) -> list[Family]:
    """A process with one gauge."""
    return snapshot([GaugeMetricFamily(name, "Text.", value=value)])


def test_two_processes() -> None:
    """Counters, histograms and gauges are added up, series by series; one that only one process has is there, too."""
    one, other, summed = Process(), Process(), Sum()
    one.logins.labels("a").inc(2)
    one.calls.labels("token").observe(0.5)
    one.open.set(3)
    other.logins.labels("a").inc()
    other.logins.labels("b").inc(5)
    other.calls.labels("token").observe(3.0)
    other.calls.labels("keys").observe(9.0)
    other.open.set(4)
    for process in (one, other):
        summed.add(process.told())
    found = read(summed)
    assert found.by("oidcgate_logins_total", "site") == {"a": 3, "b": 5}
    assert found.by("oidcgate_calls_seconds_bucket", "call", "le") == {
        ("token", "1.0"): 1,
        ("token", "5.0"): 2,
        ("token", "+Inf"): 2,
        ("keys", "1.0"): 0,
        ("keys", "5.0"): 0,
        ("keys", "+Inf"): 1,
    }
    assert found.by("oidcgate_calls_seconds_sum", "call") == {"token": 3.5, "keys": 9.0}
    assert found.value("oidcgate_connections") == 7


def test_when_a_series_began_is_not_told() -> None:
    """Workers come and go: the sum of their beginnings says nothing."""
    process = Process()
    process.logins.labels("a").inc()
    process.calls.labels("keys").observe(1)
    names = [sample[0] for family in process.told() for sample in family["samples"]]
    assert names
    assert not [name for name in names if name.endswith("_created")]


def test_one_that_has_ended() -> None:
    """What it has counted stays; its gauges are nobody's any more."""
    process, summed = Process(), Sum()
    process.logins.labels("a").inc(2)
    process.calls.labels("token").observe(0.5)
    process.open.set(3)
    summed.add(process.told(), ended=True)
    found = read(summed)
    assert found.value("oidcgate_logins_total") == 2
    assert found.value("oidcgate_calls_seconds_count") == 1
    assert not found.has("oidcgate_connections")


@pytest.mark.parametrize(
    ("name", "of_all"),
    [
        ("oidcgate_oldest_grant_age_seconds", max),
        ("oidcgate_next_token_expiry_seconds", min),
        ("oidcgate_provider_ready", min),
        ("oidcgate_store_ready", min),
        ("oidcgate_sessions", sum),
        ("oidcgate_websockets", sum),
    ],
)
@pytest.mark.parametrize("values", [(1.0, 0.0, 1.0), (-5.0, 3.0), (7.0,), (0.0, 0.0)])
def test_gauges(name: str, of_all: Callable[..., Any], values: tuple[float, ...]) -> None:
    """The worst speaks for all where a sum would mean nothing, in whichever order they are told."""
    for order in (values, values[::-1]):
        summed = Sum()
        for value in order:
            summed.add(of(name, value))
        assert read(summed).value(name) == of_all(values)


def test_a_copy_is_another() -> None:
    """What is added to a copy leaves the first as it was."""
    process, past = Process(), Sum()
    process.logins.labels("a").inc()
    past.add(process.told())
    copy = past.copy()
    copy.add(process.told())
    copy.add(of("oidcgate_sessions", 1))
    assert read(copy).value("oidcgate_logins_total") == 2
    assert read(past).value("oidcgate_logins_total") == 1
    assert not read(past).has("oidcgate_sessions")


def test_a_process_that_has_told_nothing() -> None:
    """Changes nothing."""
    summed = Sum()
    summed.add([])
    assert summed.families() == []
    assert generate_latest(Read(summed.families())) == b""


@pytest.mark.parametrize("label", ['a"b', "a\\b", "a\nb", "ü"])
def test_a_label_that_needs_escaping(label: str) -> None:
    """Survives the way through JSON and the text format."""
    process, summed = Process(), Sum()
    process.logins.labels(label).inc()
    summed.add(process.told())
    text = generate_latest(Read(summed.families())).decode()
    (family,) = [each for each in text_string_to_metric_families(text) if each.name == "oidcgate_logins"]
    assert [sample.labels for sample in family.samples] == [{"site": label}]
