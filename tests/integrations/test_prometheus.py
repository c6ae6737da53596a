"""The metrics that Prometheus reads."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from closebulk_async.integrations.prometheus import PrometheusHook
from closebulk_async.models import Kind
from closebulk_async.simulator import faults
from closebulk_async.telemetry import WaitBegan
from tests.integrations.examples import EVENTS, GROUP, REF, ended, moved, request
from tests.stage import cancel, create

if TYPE_CHECKING:
    from tests.stage import Stage


@pytest.fixture
def registry() -> CollectorRegistry:
    """One of the test's own."""
    return CollectorRegistry()


@pytest.fixture
def hook(registry: CollectorRegistry) -> PrometheusHook:
    """It has counted nothing yet."""
    return PrometheusHook(registry=registry)


def test_the_metrics_have_these_names(registry: CollectorRegistry, hook: PrometheusHook) -> None:
    """Dashboards are built on them: a name that changes is a breaking change."""
    for event in [*EVENTS, moved(0, 5, status="done")]:
        hook(event)
    shown = {line.rpartition(" ")[0] for line in generate_latest(registry).decode().splitlines() if line[0] != "#"}
    names = {name.partition("{")[0] for name in shown}
    assert {name for name in names if not name.endswith(("_created", "_bucket", "_sum", "_count"))} == {
        "closebulk_requests_total",
        "closebulk_request_repeats_total",
        "closebulk_throttled_total",
        "closebulk_polls_total",
        "closebulk_waits_running",
        "closebulk_starts_total",
        "closebulk_start_reconciliations_total",
        "closebulk_objects_processed_total",
        "closebulk_actions_ended_total",
        "closebulk_webhooks_total",
    }
    assert {name.removesuffix("_count") for name in names if name.endswith("_count")} == {
        "closebulk_request_duration_seconds",
        "closebulk_wait_duration_seconds",
    }
    assert f'closebulk_requests_total{{group="{GROUP}",status="none"}}' in shown
    assert 'closebulk_polls_total{how="page",kind="email",outcome="found"}' in shown


def test_counters_add_up(registry: CollectorRegistry, hook: PrometheusHook) -> None:
    """Each event on top of those before it."""
    for event in (request(), request(), request(status=503), moved(10, 40), moved(40, 45)):
        hook(event)
    count = registry.get_sample_value
    assert count("closebulk_requests_total", {"group": GROUP, "status": "200"}) == 2
    assert count("closebulk_requests_total", {"group": GROUP, "status": "503"}) == 1
    assert count("closebulk_request_duration_seconds_sum", {"group": GROUP}) == 0.75
    assert count("closebulk_request_duration_seconds_bucket", {"group": GROUP, "le": "0.1"}) == 0
    assert count("closebulk_request_duration_seconds_bucket", {"group": GROUP, "le": "0.25"}) == 3
    assert count("closebulk_objects_processed_total", {"kind": "email"}) == 35


def test_waits_come_and_go(registry: CollectorRegistry, hook: PrometheusHook) -> None:
    """The gauge shows those that have not ended; it is zero before the first one."""
    running = [registry.get_sample_value("closebulk_waits_running")]
    for event in (WaitBegan(number=1, ref=REF), WaitBegan(number=2, ref=REF), ended(1), ended(2)):
        hook(event)
        running.append(registry.get_sample_value("closebulk_waits_running"))
    assert running == [0, 1, 2, 1, 0]
    labels = {"kind": "email", "outcome": "returned"}
    assert registry.get_sample_value("closebulk_wait_duration_seconds_sum", labels) == 180


def test_a_registry_takes_one_hook(registry: CollectorRegistry, hook: PrometheusHook) -> None:
    """A second one would show every name twice."""
    with pytest.raises(ValueError, match="Duplicated"):
        PrometheusHook(registry=registry)


def test_the_registry_of_the_process_is_the_default() -> None:
    """The one whose metrics exporters show. In a process of its own, since that registry is for its whole life."""
    program = (
        "from closebulk_async.integrations.prometheus import PrometheusHook\n"
        "from prometheus_client import generate_latest\n"
        "PrometheusHook()\n"
        "print(generate_latest().decode())\n"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert "closebulk_waits_running 0.0" in printed.splitlines()


async def test_a_client_is_measured(stage: Stage, registry: CollectorRegistry, hook: PrometheusHook) -> None:
    """From the start over the polls to the end, and a wait that is left; nothing runs at the end."""
    stage.sim.next_job(duration=10, n_objects=100)
    stage.sim.fail_next(faults.server_error(503), method="GET", skip=2)
    async with stage.client(hooks=[hook]) as close:
        action = await create(close, Kind.EMAIL)
        done = await close.wait_until_done(action)
        left = asyncio.ensure_future(close.wait_until_done(stage.run_job(duration=3600)))
        await stage.clock.sleep(3)
        assert registry.get_sample_value("closebulk_waits_running") == 1
        await cancel(left)
    count = registry.get_sample_value
    assert done.is_done
    for state in ("new", "posting", "started", "final"):
        assert count("closebulk_starts_total", {"kind": "email", "state": state}) == 1
    assert count("closebulk_requests_total", {"group": "POST /bulk_action/email/", "status": "200"}) == 1
    assert count("closebulk_requests_total", {"group": GROUP, "status": "503"}) == 1
    assert count("closebulk_actions_ended_total", {"kind": "email", "status": "done"}) == 1
    assert count("closebulk_waits_running") == 0
    for outcome in ("returned", "left"):
        labels = {"kind": "email", "outcome": outcome}
        assert count("closebulk_wait_duration_seconds_count", labels) == 1
    answered = sum(
        sample.value
        for metric in registry.collect()
        for sample in metric.samples
        if sample.name == "closebulk_requests_total" and "bulk_action" in sample.labels["group"]
    )
    assert answered == len([request for request in stage.sim.requests if "bulk_action" in request.path])
