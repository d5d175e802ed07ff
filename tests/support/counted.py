"""What a gate has counted: read as Prometheus would, and compared before and after."""

from collections.abc import Iterable
from typing import Any

from oidcgate.web.server import GateServer
from oidcgate.web.snapshot import Family
from tests.support.raw import fetch, request

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


class Counted:
    """Samples of a moment, by name and labels."""

    def __init__(self, samples: Iterable[tuple[str, dict[str, str], float]]) -> None:
        self.series: Series = {}
        for name, labels, value in samples:
            key = (name, frozenset(labels.items()))
            assert key not in self.series, f"{name} {labels} is there twice"
            self.series[key] = value

    def value(self, name: str, **labels: str) -> float:
        """The sum of a name's series with these labels."""
        wanted = labels.items()
        return sum(value for (each, found), value in self.series.items() if each == name and wanted <= found)

    def has(self, name: str) -> bool:
        """Whether there is any series of a name."""
        return any(each == name for each, _ in self.series)

    def by(self, name: str, *labels: str) -> dict[Any, float]:
        """A name's series by some of their labels: a word where there is one label, else a tuple."""
        found: dict[Any, float] = {}
        for (each, pairs), value in self.series.items():
            if each == name:
                key = tuple(dict(pairs)[label] for label in labels)
                word = key[0] if len(labels) == 1 else key
                found[word] = found.get(word, 0.0) + value
        return found

    def since(self, before: "Counted", name: str, *labels: str) -> dict[Any, float]:
        """What was added to a name's series since then, as ``by``; what has not changed is left out."""
        past = before.by(name, *labels)
        return {
            key: value - past.get(key, 0.0) for key, value in self.by(name, *labels).items() if value != past.get(key)
        }

    def fell(self, before: "Counted") -> list[str]:
        """Cumulative series that are lower than they were, or that are gone."""
        ends = ("_total", "_bucket", "_count", "_sum")
        return [
            f"{name} {dict(labels)}: {value} became {self.series.get((name, labels))}"
            for (name, labels), value in before.series.items()
            if name.endswith(ends) and self.series.get((name, labels), -1.0) < value
        ]


def of_families(families: Iterable[Family]) -> Counted:
    """As a process tells it."""
    return Counted((name, labels, value) for family in families for name, labels, value in family["samples"])


def counted(gate: GateServer) -> Counted:
    """What a gate has counted up to now."""
    return of_families(gate.metrics_now())


async def scraped(port: int) -> Counted:
    """What the admin listener tells Prometheus."""
    reply = await fetch(port, request("/metrics", host="127.0.0.1"))
    assert reply.status == 200, reply.text
    return Counted(parsed(reply.text))


def parsed(text: str) -> list[tuple[str, dict[str, str], float]]:
    """The text format, as far as our labels go: none has a quotation mark or a comma in it."""
    found = []
    for line in text.splitlines():
        if line[0] != "#":
            series, _, value = line.rpartition(" ")
            name, _, inside = series.partition("{")
            pairs = (pair.partition("=") for pair in inside.removesuffix("}").split(",") if pair)
            found.append((name, {label: quoted.strip('"') for label, _, quoted in pairs}, float(value)))
    return found
