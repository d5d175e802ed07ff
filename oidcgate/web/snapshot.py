"""
Metrics as one process tells them to another, and several processes' as one.

Pure. Rules of this file:
- Counters and histograms are added up, also those of processes that have ended: a counter never falls while the
  master lives, or Prometheus would take the rest for new.
- Gauges are added up, but for those of which the worst speaks for all.
"""

from collections.abc import Iterable
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

# A family as JSON: its name, help and type, and its samples, each a name, its labels and a value.
Family = dict[str, Any]
Key = tuple[str, tuple[tuple[str, str], ...]]

CUMULATIVE = ("counter", "histogram")
GREATEST = frozenset({"oidcgate_oldest_grant_age_seconds"})
LEAST = frozenset({"oidcgate_next_token_expiry_seconds", "oidcgate_provider_ready", "oidcgate_store_ready"})


def snapshot(families: Iterable[Metric]) -> list[Family]:
    """What a process tells; when each series began is left out, since workers come and go."""
    return [
        {
            "name": family.name,
            "help": family.documentation,
            "type": family.type,
            "samples": [
                [sample.name, dict(sample.labels), sample.value]
                for sample in family.samples
                if not sample.name.endswith("_created")
            ],
        }
        for family in families
    ]


def snapshot_of(registry: CollectorRegistry) -> list[Family]:
    """As ``snapshot``, of all that a registry has."""
    return snapshot(registry.collect())


class Sum:
    """Several processes' families as one."""

    def __init__(self) -> None:
        self._heads: dict[str, tuple[str, str]] = {}
        self._samples: dict[str, dict[Key, float]] = {}

    def add(self, families: Iterable[Family], *, ended: bool = False) -> None:
        """One more process's; of one that has ended only what it has counted."""
        for family in families:
            if ended and family["type"] not in CUMULATIVE:
                continue
            name = family["name"]
            self._heads.setdefault(name, (family["help"], family["type"]))
            samples = self._samples.setdefault(name, {})
            for sample, labels, value in family["samples"]:
                key = (sample, tuple(labels.items()))
                samples[key] = combined(name, samples[key], value) if key in samples else value

    def copy(self) -> "Sum":
        """Another one, to which more can be added."""
        other = Sum()
        other._heads = dict(self._heads)
        other._samples = {name: dict(samples) for name, samples in self._samples.items()}
        return other

    def families(self) -> list[Metric]:
        """All of it, as Prometheus' library has it."""
        found = []
        for name, (text, kind) in self._heads.items():
            metric = Metric(name, text, kind)
            for (sample, labels), value in self._samples[name].items():
                metric.add_sample(sample, dict(labels), value)
            found.append(metric)
        return found


def combined(name: str, one: float, other: float) -> float:
    """Two processes' values of a series."""
    if name in GREATEST:
        return max(one, other)
    return min(one, other) if name in LEAST else one + other
