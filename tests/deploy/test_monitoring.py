"""The dashboard and the alert rules, held to a real gate's /metrics, to promtool and to a real Prometheus."""

import asyncio
import json
import math
import re
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.deploy.prometheus import Prometheus, Sample, prometheus, promtool
from tests.deploy.promql import (
    ALERTS,
    ALERTS_TEST,
    DASHBOARD,
    OF_PROMETHEUS,
    ROOT,
    SUFFIXES,
    Query,
    alert_queries,
    alerts,
    as_rules,
    dashboard,
    dashboard_queries,
    family_of,
    panels,
    variable_queries,
)
from tests.deploy.traffic import TRACE, TRACEPARENT, Watched, access_lines, traffic
from tests.journeys.fleets import eventually
from tests.lab.go_tools import build, cached

pytestmark = pytest.mark.real

DOC = ROOT / "docs/monitoring.md"
GRAFANA = Path(__file__).with_name("grafana")
SILENT = {"Errors of the store A"}  # queries that say nothing as long as all is well
BRIEF = {"Starts"}  # those that say something for a minute only, which a slow machine misses
WHOLE = 24  # columns of a Grafana dashboard
EVERYTHING = [*dashboard_queries(window="1m"), *variable_queries(), *alert_queries()]
Family = dict[str, Any]


@dataclass(frozen=True)
class Seen:
    """
    What a gate with traffic told.

    Attributes:
        text: of /metrics.
        answers: of Prometheus to the queries of the dashboard, and to those of its variables.
        rules: what Prometheus makes of the alert rules.
        probes: what each probe answers.
        access: lines of the access log.
        traced: headers with which the UI got the request that belongs to a trace.
    """

    text: str
    answers: dict[str, list[Sample]]
    rules: list[dict[str, Any]]
    probes: dict[str, str]
    access: list[dict[str, Any]]
    traced: dict[str, str]

    def families(self) -> dict[str, Family]:
        """Name as in the table of the docs: type and labels, and the values of each label."""
        found: dict[str, Family] = {}
        for family in text_string_to_metric_families(self.text):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            labels: dict[str, set[str]] = {}
            for sample in family.samples:
                for label, value in sample.labels.items():
                    labels.setdefault(label, set()).add(value)
            labels.pop("le", None)
            found[name] = {"type": family.type, "labels": labels}
        return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def seen(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Seen]:
    """A gate with traffic of every kind, scraped by a Prometheus that knows the rules."""
    folder = tmp_path_factory.mktemp("prometheus")
    async with (
        Watched() as fleet,
        prometheus(folder, target=fleet.replicas[0].admin, rules=ALERTS) as server,
    ):
        first = await traffic(fleet)
        await server.until('oidcgate_logins_total{step="ticket"}')
        second = await traffic(fleet)  # what is counted on between two scrapes has a rate
        await eventually(lambda: fleet.issuer.calls["token:refresh"] > 0, "a renewal")
        answers = await settled(server)
        text = (await fleet.probe("/metrics")).text
        rules = (await server.ask("/api/v1/rules"))["groups"][0]["rules"]
        probes = {path: (await fleet.probe(path)).text for path in ("/livez", "/readyz")}
        await first.close()
        await second.close()
        await eventually(lambda: traces_of(fleet), "the access log")
    yield Seen(text, answers, rules, probes, access_lines(fleet), headers_of_the_traced(fleet))


def traces_of(fleet: Watched) -> list[dict[str, Any]]:
    """Lines of the access log with a trace; they are written in batches."""
    return [line for line in access_lines(fleet) if "trace" in line]


def headers_of_the_traced(fleet: Watched) -> dict[str, str]:
    """What the UI got with it, of the headers that say so."""
    assert fleet.ui is not None
    pairs = [(name.decode().lower(), value.decode()) for each in fleet.ui.arrivals for name, value in each.headers]
    return {name: value for name, value in pairs if name.startswith("trace")}


async def settled(server: Prometheus) -> dict[str, list[Sample]]:
    """Each query's answer, once all that must have data have some."""
    queries = [*dashboard_queries(window="1m"), *variable_queries()]
    answers: dict[str, list[Sample]] = {}
    async with asyncio.timeout(15):
        while missing := [query for query in queries if not has_data(answers.get(query.where, []))]:
            for query in missing:
                answers[query.where] = await server.query(query.expr)
            if {query.where for query in missing} <= SILENT | BRIEF:
                break
            await asyncio.sleep(0.1)
    return answers


def has_data(samples: list[Sample]) -> bool:
    """Whether there is a number among them: a share of nothing is none."""
    return any(math.isfinite(float(sample["value"][1])) for sample in samples)


# promtool


def test_promtool_accepts_the_rules() -> None:
    """Syntax, templates and duplicates."""
    code, said = promtool("check", "rules", "--lint=all", "--lint-fatal", ALERTS)
    assert code == 0, said
    assert f"{len(alerts())} rules found" in said


def test_the_rules_do_as_their_tests_say() -> None:
    """Each fires when it should, and at no other time."""
    code, said = promtool("test", "rules", ALERTS_TEST)
    assert code == 0, said


def test_every_alert_has_a_test_for_both_ways() -> None:
    """One in which it fires, and one in which it never does."""
    fires, silent = set(), set()
    for test in yaml.safe_load(ALERTS_TEST.read_text())["tests"]:
        name = test["name"].split()[0]
        samples = [sample for query in test.get("promql_expr_test", []) for sample in query["exp_samples"]]
        fired = {re.findall(r'alertname="(\w+)"', sample["labels"])[0] for sample in samples}
        fires |= fired
        silent |= {name} - fired
    names = {rule["alert"] for rule in alerts()}
    assert (names - fires, names - silent) == (set(), set())


def test_promtool_parses_every_query_of_the_dashboard(tmp_path: Path) -> None:
    """Panels, variables and annotations."""
    queries = [*dashboard_queries(window="1m"), *variable_queries()]
    rules = tmp_path / "queries.yaml"
    rules.write_text(as_rules(queries))
    code, said = promtool("check", "rules", rules)
    assert code == 0, said
    assert f"{len(queries)} rules found" in said


def test_promtool_finds_nothing_to_say_about_the_metrics(seen: Seen) -> None:
    """Names, units and help texts as Prometheus wants them."""
    assert promtool("check", "metrics", stdin=seen.text) == (0, "")


# The live gate


@pytest.mark.parametrize("query", EVERYTHING, ids=lambda query: query.where)
def test_every_name_is_one_of_the_gates(seen: Seen, query: Query) -> None:
    """Each metric that is asked for is there, with the labels by which it is chosen and grouped."""
    families = seen.families()
    known = set(OF_PROMETHEUS)
    for series, matchers in query.selectors():
        if series == "up":
            continue
        name = family_of(series, families)
        assert name in families, series
        assert (name != series) == (families[name]["type"] == "histogram"), series
        labels = set(families[name]["labels"]) | OF_PROMETHEUS
        assert {label for label, _, _ in matchers} <= labels, series
        known |= labels | ({"le"} if series.endswith(SUFFIXES[0]) else set())
    assert query.labels() <= known


@pytest.mark.parametrize("query", [*dashboard_queries(window="1m"), *variable_queries()], ids=lambda query: query.where)
def test_every_query_has_data(seen: Seen, query: Query) -> None:
    """From a gate with traffic each panel shows something, but for those of what must not happen."""
    assert query.where in SILENT | BRIEF or has_data(seen.answers[query.where])


def test_what_must_not_happen_has_not(seen: Seen) -> None:
    """The panels that may be empty are so in a gate that is well."""
    assert {where for where in SILENT if seen.answers[where]} == set()


def test_a_stat_has_one_value(seen: Seen) -> None:
    """A big number is of everything that is chosen."""
    stats = [f"{panel['title']} A" for panel in panels() if panel["type"] == "stat"]
    assert {where: len(seen.answers[where]) for where in stats} == dict.fromkeys(stats, 1)


def test_prometheus_evaluates_every_rule_and_none_fires(seen: Seen) -> None:
    """On a gate whose one UI has just not answered: that takes a while to be an alert."""
    assert {rule["name"]: rule["health"] for rule in seen.rules} == {rule["alert"]: "ok" for rule in alerts()}
    assert [rule["name"] for rule in seen.rules if rule["state"] == "firing"] == []


# The dashboard as Grafana wants it


def test_panels_have_a_place_a_name_and_a_description() -> None:
    """Ids are unique, nothing overlaps, and each panel says what a healthy value is."""
    everything = dashboard()["panels"]
    assert [panel["id"] for panel in everything] == list(range(1, len(everything) + 1))
    taken: set[tuple[int, int]] = set()
    for panel in everything:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert place["x"] + place["w"] <= WHOLE, panel["title"]
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len({panel["title"] for panel in everything}) == len(everything)
    assert [panel["title"] for panel in panels() if "ealthy" not in panel["description"]] == []


def test_every_panel_asks_the_chosen_prometheus_for_what_is_chosen() -> None:
    """By the variables, none of which names somebody's installation."""
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    assert {str(panel["datasource"]) for panel in panels()} == {str(chosen)}
    variables = {variable["name"] for variable in dashboard()["templating"]["list"]}
    assert variables == {"datasource", "job", "instance", "site"}
    for panel in panels():
        for target in panel["targets"]:
            choices = re.findall(r"oidcgate_\w+(\{[^}]*\})?", target["expr"])
            assert all('job=~"$job",instance=~"$instance"' in choice for choice in choices), target["expr"]
    assert not {"id", "iteration", "gnetId", "__inputs"} & set(dashboard())


def kept(ours: Any, theirs: Any) -> bool:
    """Whether all of ours is in theirs, which may have defaults besides."""
    if isinstance(ours, dict):
        return isinstance(theirs, dict) and all(name in theirs and kept(ours[name], theirs[name]) for name in ours)
    if isinstance(ours, list):
        return isinstance(theirs, list) and len(ours) == len(theirs) and all(map(kept, ours, theirs))
    return bool(ours == theirs)


def test_grafanas_types_have_every_key_of_the_dashboard() -> None:
    """Nothing is unknown to them, missing, or of another type, and nothing is lost on the way through."""
    program = cached(GRAFANA, "grafana", lambda output: build(GRAFANA, {"dashboard": "."}, output)) / "dashboard"
    done = subprocess.run([program], input=DASHBOARD.read_bytes(), capture_output=True, timeout=30, check=False)
    assert done.returncode == 0, done.stdout.decode()
    theirs = json.loads(done.stdout)
    assert len(theirs["panels"]) == len(dashboard()["panels"])
    assert {name: kept(value, theirs.get(name)) for name, value in dashboard().items()} == dict.fromkeys(
        dashboard(), True
    )


# The page about it

METRIC_ROW = re.compile(r"^\| `(oidcgate_\w+)` \| (\w+) \|([^|]*)\|", re.M)
VALUE_ROW = re.compile(r"^\| `(\w+)` \| ((?:`oidcgate_\w+`(?:, )?)+) \| (.*) \|$", re.M)
ALERT_SECTION = re.compile(r"^### (\w+)\n\n(\w+), (at once|after (\d+) min)", re.M)
FIELD_ROW = re.compile(r"^\| ((?:`\w+`(?:, )?)+) \|", re.M)
OPEN = {"site", "issuer", "version"}  # labels whose values are somebody's configuration


def words(text: str) -> set[str]:
    """What stands in backticks."""
    return set(re.findall(r"`([^`\n]+)`", text))


def documented_values() -> dict[tuple[str, str], set[str]]:
    """By metric and label."""
    rows = VALUE_ROW.findall(DOC.read_text())
    return {(metric, label): words(values) for label, metrics, values in rows for metric in words(metrics)}


def test_the_page_has_every_metric(seen: Seen) -> None:
    """Names, types and labels are those of a real gate, neither more nor fewer."""
    rows = METRIC_ROW.findall(DOC.read_text())
    listed = {name: (kind, words(labels)) for name, kind, labels in rows}
    assert len(listed) == len(rows)
    assert listed == {name: (each["type"], set(each["labels"])) for name, each in seen.families().items()}


def test_the_page_has_every_value_of_a_label(seen: Seen) -> None:
    """But for those that are somebody's configuration."""
    listed = documented_values()
    live = {
        (name, label): values
        for name, each in seen.families().items()
        for label, values in each["labels"].items()
        if label not in OPEN
    }
    assert set(listed) == set(live)
    assert {key: values - listed[key] for key, values in live.items() if values - listed[key]} == {}


@pytest.mark.parametrize("query", EVERYTHING, ids=lambda query: query.where)
def test_values_that_are_asked_for_exist(seen: Seen, query: Query) -> None:
    """A word that is no value of its label would choose nothing, for ever."""
    listed, families = documented_values(), seen.families()
    for series, matchers in query.selectors():
        for label, _, wanted in matchers:
            if label not in OPEN | OF_PROMETHEUS:
                assert set(wanted.split("|")) <= listed[family_of(series, families), label], query.expr


def test_every_alert_says_what_to_do() -> None:
    """Its text leads to its section, which has the same severity and time; no section is left over."""
    sections = {name: (severity, minutes) for name, severity, _, minutes in ALERT_SECTION.findall(DOC.read_text())}
    rules = {rule["alert"]: (rule["labels"]["severity"], rule.get("for", "").removesuffix("m")) for rule in alerts()}
    assert sections == rules
    ends = {rule["alert"]: rule["annotations"]["description"].rpartition(" See ")[2] for rule in alerts()}
    assert ends == {name: f"docs/monitoring.md#{name.lower()}" for name in rules}


def test_what_alerts_say_they_know() -> None:
    """Labels in their texts are those that the expression keeps."""
    for query in alert_queries():
        kept = Query(query.where, query.expr).labels() | (set(OF_PROMETHEUS) if "up ==" in query.expr else set())
        assert query.labels() <= kept, query.where


def test_the_page_has_every_line_of_the_probes(seen: Seen) -> None:
    """As a gate that is well answers."""
    lines = {re.sub(r"worker \d+", "worker 0", line) for text in seen.probes.values() for line in text.splitlines()}
    assert lines >= {"master: ok", "store: ok"}
    assert lines <= words(DOC.read_text())


def test_the_page_has_every_field_of_the_access_log(seen: Seen) -> None:
    """Also those that only some lines have."""
    _, _, rest = DOC.read_text().partition("| field | is |")
    listed = set().union(*(words(cells) for cells in FIELD_ROW.findall(rest)))
    assert listed == {field for line in seen.access for field in line}


def test_a_trace_goes_through(seen: Seen) -> None:
    """Its id is in the log, and the UI gets the headers as they came."""
    assert {line["trace"] for line in seen.access if "trace" in line} == {TRACE}
    assert seen.traced == {"traceparent": TRACEPARENT, "tracestate": "a=b"}


def test_the_scrape_configuration_of_the_page(tmp_path: Path) -> None:
    """Prometheus takes it, with the rules beside it."""
    block = DOC.read_text().split("```yaml\n")[1].partition("```")[0]
    (tmp_path / "prometheus.yml").write_text(block)
    (tmp_path / "alerts.yaml").write_text(ALERTS.read_text())
    code, said = promtool("check", "config", tmp_path / "prometheus.yml")
    assert (code, f"{len(alerts())} rules found" in said) == (0, True), said
