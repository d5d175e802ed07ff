"""
What the dashboard and the alert rules ask of Prometheus, read from their files.

A PromQL expression is taken apart by its tokens only: whether it holds is for promtool and Prometheus to say.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
DASHBOARD = ROOT / "deploy/monitoring/dashboard.json"
ALERTS = ROOT / "deploy/monitoring/alerts.yaml"
ALERTS_TEST = Path(__file__).with_name("alerts_test.yaml")

SELECTOR = re.compile(r"\b(oidcgate_\w+|up)\b(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
LABEL_LIST = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
LABEL_VALUES = re.compile(r"label_values\((.*), (\w+)\)")
LEGEND = re.compile(r"\{\{\s*(?:\$labels\.)?(\w+)\s*\}\}")
SUFFIXES = ("_bucket", "_count", "_sum")
OF_PROMETHEUS = frozenset({"job", "instance"})  # labels that come with the scrape


@dataclass(frozen=True)
class Query:
    """An expression and where it is from; ``legend`` names labels in double braces."""

    where: str
    expr: str
    legend: str = ""

    def selectors(self) -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
        """Each series that is asked for: its name, and its matchers as label, operator and value."""
        for name, inside in SELECTOR.findall(self.expr):
            yield name, MATCHER.findall(inside)

    def labels(self) -> set[str]:
        """The labels by which it groups, joins or names."""
        listed = {label.strip() for inside in LABEL_LIST.findall(self.expr) for label in inside.split(",")}
        return (listed | set(LEGEND.findall(self.legend))) - {""}


def dashboard() -> dict[str, Any]:
    """The dashboard."""
    document: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return document


def panels() -> list[dict[str, Any]]:
    """Its panels; rows are none."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def dashboard_queries(*, window: str) -> list[Query]:
    """
    What its panels and annotations ask.

    Args:
        window: in place of what Grafana takes for ``$__rate_interval``. Everything is chosen in its variables.
    """
    found = [
        Query(f"{panel['title']} {target['refId']}", filled(target["expr"], window), target["legendFormat"])
        for panel in panels()
        for target in panel["targets"]
    ]
    for annotation in dashboard()["annotations"]["list"]:
        found.append(Query(annotation["name"], filled(annotation["expr"], window), annotation["textFormat"]))
    return found


def variable_queries() -> list[Query]:
    """What its variables ask: the series, with the label whose values are offered as the legend."""
    found = []
    for variable in dashboard()["templating"]["list"]:
        if variable["type"] == "query":
            match = LABEL_VALUES.fullmatch(variable["query"]["query"])
            assert match is not None, variable
            found.append(Query(f"${variable['name']}", filled(match[1], "1m"), f"{{{{{match[2]}}}}}"))
    return found


def filled(expr: str, window: str) -> str:
    """An expression with Grafana's variables replaced."""
    expr = expr.replace("$__rate_interval", window)
    for variable in dashboard()["templating"]["list"]:
        expr = expr.replace(f"${variable['name']}", variable.get("allValue", ""))
    assert "$" not in expr, expr
    return expr


def alerts() -> list[dict[str, Any]]:
    """The alert rules."""
    (group,) = yaml.safe_load(ALERTS.read_text())["groups"]
    rules: list[dict[str, Any]] = group["rules"]
    return rules


def alert_queries() -> list[Query]:
    """What they ask; their texts are the legend."""
    return [Query(rule["alert"], rule["expr"], " ".join(rule["annotations"].values())) for rule in alerts()]


def as_rules(queries: list[Query]) -> str:
    """Queries as a file of recording rules, which promtool parses."""
    rules = [{"record": f"query:{number}", "expr": query.expr} for number, query in enumerate(queries)]
    return yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]})


def family_of(name: str, families: dict[str, Any]) -> str:
    """The family of metrics that a series belongs to; its own name when there is none."""
    for suffix in SUFFIXES:
        if name.endswith(suffix) and name.removesuffix(suffix) in families:
            return name.removesuffix(suffix)
    return name
