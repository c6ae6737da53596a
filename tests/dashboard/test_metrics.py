"""`/metrics`: names, labels and values, as Prometheus reads them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from closebulk_async.dashboard.cards import CARD_PHASES
from closebulk_async.dashboard.metrics import GAUGES
from closebulk_async.integrations.prometheus import PrometheusHook
from closebulk_async.models import Kind
from closebulk_async.simulator import Limits, Plan, faults
from tests.journals import new_intent

from .houses import House, living

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from prometheus_client.metrics_core import Metric

Labels = frozenset[tuple[str, str]]


async def read(house: House) -> Mapping[str, Mapping[Labels, float]]:
    """All values, by name and labels."""
    found: dict[str, dict[Labels, float]] = {}
    for family in text_string_to_metric_families((await house.ask("/metrics")).text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
    return found


def labels(**words: str) -> Labels:
    """Labels as they are read."""
    return frozenset(words.items())


async def test_actions_are_counted_by_kind_and_phase(house: House) -> None:
    """With what is left to do of those that go on. What is none is 0: an alert on a metric that is away never fires."""
    house.run_job(status="paused", n_objects=10, n_objects_processed=4)
    house.run_job("delete", status="done")
    house.run_job("delete", status="done")
    house.run_job("delete", status="error")
    await house.settle(2)
    values = await read(house)
    counted = values["closebulk_actions"]
    assert len(counted) == len(Kind) * len(CARD_PHASES)
    assert {words: number for words, number in counted.items() if number} == {
        labels(kind="email", phase="paused"): 1,
        labels(kind="delete", phase="done"): 2,
        labels(kind="delete", phase="failed"): 1,
    }
    left = {labels(kind=str(kind)): 6 if kind is Kind.EMAIL else 0 for kind in Kind}
    assert values["closebulk_objects_remaining"] == left


async def test_the_budget_of_each_group_is_shown(house: House) -> None:
    """As the latest answers had it."""
    house.sim.limits = Limits(rate=20, window=8)
    house.run_job(plan=Plan(duration=600, n_objects=10))
    await house.settle(2)
    values = await read(house)
    shown = (await house.ask("/api/actions")).json()["limits"]
    allowed = values["closebulk_rate_limit_requests"]
    assert shown
    assert {dict(words)["group"] for words in allowed} == {limit["group"] for limit in shown}
    assert set(allowed.values()) == {160}
    assert allowed.keys() == values["closebulk_rate_limit_remaining_requests"].keys()


async def test_the_latest_answer_is_dated(house: House) -> None:
    """In seconds since 1970."""
    await house.settle(100)
    (at,) = (await read(house))["closebulk_last_success_timestamp_seconds"].values()
    assert 0 <= house.clock.now().timestamp() - at <= 60


async def test_before_the_first_answer_nothing_is_dated(house: House) -> None:
    """An alarm would take a zero for half a century of silence."""
    house.sim.fail_next(faults.server_error(), times=None)
    await house.settle(30)
    assert "closebulk_last_success_timestamp_seconds" not in await read(house)


async def test_open_pages_are_counted(house: House) -> None:
    """Each stream is one."""
    async with house.page() as page:
        await page.take()
        assert (await read(house))["closebulk_dashboard_clients"] == {labels(): 1}


async def test_open_starts_are_counted(tmp_path: Path) -> None:
    """By how far they are."""
    async with living(client={"journal": tmp_path / "journal.db"}) as house:
        await house.close.journal.begin(new_intent())
        while not (await house.ask("/api/actions")).json()["starts"]:
            await house.settle(1)
        counted = (await read(house))["closebulk_open_starts"]
        assert counted == {labels(state="new"): 1, labels(state="posting"): 0}


async def test_what_the_client_counts_is_there_as_well() -> None:
    """Where it has a hook for that, and its registry is given; whatever else is in the registry, too."""
    registry = CollectorRegistry()
    Counter("own_things", "Of the application", registry=registry).inc(3)
    async with living(client={"hooks": [PrometheusHook(registry=registry)]}, registry=registry) as house:
        house.run_job(plan=Plan(duration=600, n_objects=10))
        await house.settle(5)
        values = await read(house)
    assert values["own_things_total"] == {labels(): 3}
    assert sum(values["closebulk_requests_total"].values()) > 0
    assert values["closebulk_actions"][labels(kind="email", phase="running")] == 1


async def test_a_registry_of_the_application_gets_nothing_new() -> None:
    """It may be shown elsewhere, or by two dashboards."""
    registry = CollectorRegistry()
    async with living(registry=registry) as house, living(registry=registry) as other:
        assert (await read(house)).keys() == (await read(other)).keys()
        assert list(registry.collect()) == []


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "text/plain"),
        ("text/plain;version=0.0.4;q=0.5", "text/plain"),
        ("application/openmetrics-text;version=1.0.0,text/plain;q=0.5", "application/openmetrics-text"),
    ],
)
async def test_whoever_asks_for_openmetrics_gets_it(house: House, accept: str, content_type: str) -> None:
    """As the official client speaks both."""
    house.run_job()
    await house.settle(2)
    answer = await house.ask("/metrics", headers={"Accept": accept})
    assert answer.headers["Content-Type"].startswith(content_type)
    parse = parse_openmetrics if "openmetrics" in content_type else text_string_to_metric_families
    assert {family.name for family in parse(answer.text)} >= {"closebulk_actions"}


async def test_all_names_are_in_the_table_and_follow_the_conventions(house: House) -> None:
    """A gauge is no total, units are base units, and no label has a value for each action."""
    house.run_job()
    await house.settle(2)
    families = {family.name: family for family in text_string_to_metric_families((await house.ask("/metrics")).text)}
    assert families.keys() == GAUGES.keys()
    for name, (words, meaning) in GAUGES.items():
        assert re.fullmatch(r"closebulk_[a-z_]+", name)
        assert not name.endswith(("_total", "_count", "_sum", "_bucket", "_info", "_ms", "_minutes"))
        assert families[name].type == "gauge"
        assert families[name].documentation == meaning
        assert not {"ref", "id"} & set(words)
        assert all(set(sample.labels) == set(words) for sample in families[name].samples)


class _Broken(Collector):
    """An application's own, which fails."""

    def collect(self) -> Iterator[Metric]:
        raise RuntimeError("out of order")


async def test_a_mistake_is_an_answer_too(caplog: pytest.LogCaptureFixture) -> None:
    """It says nothing of what went wrong, which the log does."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Broken())
    async with living(registry=registry) as house:
        answer = await house.ask("/metrics")
    assert (answer.status, answer.headers["Content-Type"]) == (500, "application/json")
    assert "order" not in answer.text
    assert "out of order" in caplog.text
