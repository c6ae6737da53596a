"""The Grafana dashboard: each of its queries asks for metrics and labels that are there."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from closebulk_async.dashboard.cards import CARD_PHASES
from closebulk_async.dashboard.metrics import GAUGES
from closebulk_async.integrations.prometheus import PrometheusHook
from closebulk_async.intents import State
from closebulk_async.models import Kind, Status
from tests.integrations.examples import EVENTS, moved

from .programs import EXAMPLES
from .promql import Asked, Matcher, read_expression

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DASHBOARD: dict[str, Any] = json.loads((EXAMPLES / "grafana-dashboard.json").read_text(encoding="utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
SOURCE = {"type": "prometheus", "uid": "${DS_PROMETHEUS}"}

SERVED = {name: frozenset(labels) for name, (labels, _) in GAUGES.items()}
"""The gauges of the dashboard server, with their labels."""

PHASES = frozenset(CARD_PHASES)
"""Of actions, as the dashboard server tells them."""

WORDS: Mapping[str, frozenset[str]] = {
    "phase": PHASES,
    "kind": frozenset(Kind),
    "state": frozenset(State),
    "status": frozenset(Status),
}
"""The values of labels that a query may name."""


@attrs.frozen
class Query:
    """One expression of a panel, with what it is called in the legend."""

    panel: str
    text: str
    legend: str

    @property
    def asked(self) -> Asked:
        """What it asks for."""
        return read_expression(self.text)


def queries() -> Iterator[Query]:
    """Those of all panels."""
    for panel in PANELS:
        for target in panel["targets"]:
            yield Query(panel["title"], target["expr"], target["legendFormat"])


QUERIES = list(queries())
each_query = pytest.mark.parametrize("query", QUERIES, ids=lambda query: f"{query.panel}: {query.text}")


@pytest.fixture(scope="module")
def exposed() -> Mapping[str, frozenset[str]]:
    """Every name that can be asked for, with its labels: those of a hook that was told all, and the server's."""
    registry = CollectorRegistry()
    hook = PrometheusHook(registry=registry)
    for event in (*EVENTS, moved(0, 5, status="done")):
        hook(event)
    found: defaultdict[str, set[str]] = defaultdict(set)
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        for sample in family.samples:
            found[sample.name].update(sample.labels)
    return {name: frozenset(labels) for name, labels in found.items()} | dict(SERVED)


@each_query
def test_a_query_asks_for_what_is_there(query: Query, exposed: Mapping[str, frozenset[str]]) -> None:
    """Its metrics exist, and have the labels by which it selects, groups and names."""
    asked = query.asked
    for metric, matchers in asked.metrics.items():
        assert metric in exposed
        assert {matcher.label for matcher in matchers} <= exposed[metric]
    shared = frozenset.intersection(*(exposed[metric] for metric in asked.metrics))
    assert (asked.grouping or frozenset()) <= shared
    shown = shared if asked.grouping is None else asked.grouping
    assert set(re.findall(r"\{\{(\w+)\}\}", query.legend)) <= shown


@each_query
def test_a_query_asks_for_words_that_come(query: Query) -> None:
    """A value that it compares with is one that the label may have; the variable is compared as a pattern."""
    for matchers in query.asked.metrics.values():
        for matcher in matchers:
            if matcher.value == "$kind":
                assert matcher.sign == "=~"
            else:
                assert (matcher.sign, matcher.value in WORDS[matcher.label]) == ("=", True)


@each_query
def test_a_rate_is_taken_of_what_counts(query: Query) -> None:
    """`rate` and `increase` are for counters and histograms, and those are shown by nothing else."""
    counted = {metric for metric in query.asked.metrics if metric.endswith(("_total", "_bucket"))}
    assert bool(counted) == ("rate(" in query.text or "increase(" in query.text)
    assert counted in (set(), set(query.asked.metrics))


def test_everything_is_shown_somewhere(exposed: Mapping[str, frozenset[str]]) -> None:
    """No metric is left out: of a histogram its buckets are enough."""
    shown = {metric for query in QUERIES for metric in query.asked.metrics}
    parts = tuple(f"{name.removesuffix('_bucket')}_" for name in exposed if name.endswith("_bucket"))
    assert {name for name in exposed if not name.startswith(parts) and not name.endswith("_created")} <= shown
    assert {name for name in exposed if name.endswith("_bucket")} <= shown


def test_it_can_be_imported_for_any_data_source() -> None:
    """Grafana asks for a Prometheus when it is imported, and everything takes that one."""
    (source,) = DASHBOARD["__inputs"]
    assert (source["name"], source["type"], source["pluginId"]) == ("DS_PROMETHEUS", "datasource", "prometheus")
    assert DASHBOARD["id"] is None
    needed = {each["id"] for each in DASHBOARD["__requires"]}
    assert needed == {"grafana", "prometheus", *(panel["type"] for panel in PANELS)}
    (kind,) = DASHBOARD["templating"]["list"]
    asking = [kind, *PANELS, *(target for panel in PANELS for target in panel["targets"])]
    assert [each["datasource"] for each in asking] == [SOURCE] * len(asking)


def test_its_variable_asks_for_what_is_there(exposed: Mapping[str, frozenset[str]]) -> None:
    """The kinds to choose from are those of a metric that has them; without that metric all are meant."""
    (kind,) = DASHBOARD["templating"]["list"]
    match = re.fullmatch(r"label_values\((\w+), (\w+)\)", kind["query"]["query"])
    assert match
    assert match[2] in exposed[match[1]]
    assert (kind["name"], kind["definition"], kind["allValue"]) == ("kind", match[0], ".*")


def test_its_panels_lie_beside_each_other() -> None:
    """None covers another one or leaves the grid, and each has an id of its own and says what it shows."""
    cells: Counter[tuple[int, int]] = Counter()
    for panel in DASHBOARD["panels"]:
        grid = panel["gridPos"]
        assert grid["x"] + grid["w"] <= 24
        across, down = range(grid["x"], grid["x"] + grid["w"]), range(grid["y"], grid["y"] + grid["h"])
        cells.update((x, y) for x in across for y in down)
    assert set(cells.values()) == {1}
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    assert all(panel["title"] and panel["description"] for panel in PANELS)


def test_the_reader_of_expressions_reads_all_of_one() -> None:
    """Metrics, conditions and labels, wherever they stand."""
    asked = read_expression('max(a) / sum by (x, y) (rate(b:c_total{x="1", y!~"2.*"}[5m])) > 0.5')
    assert asked == Asked({"a": (), "b:c_total": (Matcher("x", "=", "1"), Matcher("y", "!~", "2.*"))}, frozenset("xy"))
    assert read_expression("a").grouping is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1 + 2",
        "delta(a[5m])",
        "sum(time())",
        "a b",
        "a -",
        "(a)(b)",
        "rate a",
        "sum by x (a)",
        "sum by (x (a)",
        "sum(a",
        "sum(a))",
        "a{x=1}",
        'a{x="1"',
        'a{x>"1"}',
        'a{"x"="1"}',
        '{__name__="a"}',
        'a "b"',
        "a[5x]",
        "a @ 5",
        "a offset 5m",
    ],
)
def test_the_reader_of_expressions_refuses_what_it_does_not_know(text: str) -> None:
    """A query that cannot be read is not taken for one that asks for nothing."""
    with pytest.raises(ValueError, match="not understood"):
        read_expression(text)
