"""Outcomes of real runs: what the simulator's event log says of the objects that an action has processed."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from closebulk_async import Kind
from closebulk_async.models import BULK_KINDS
from closebulk_async.simulator import EventRules, Plan

if TYPE_CHECKING:
    from tests.stage import Stage

OWN: dict[Kind, dict[str, Any]] = {
    Kind.EDIT: {"type": "set_lead_status"},
    Kind.DELETE: {"bulk_object_type": "lead"},
    Kind.SEQUENCE_SUBSCRIPTION: {"action_type": "subscribe"},
}


@pytest.mark.parametrize("kind", BULK_KINDS)
async def test_each_object_has_its_outcome(stage: Stage, kind: Kind) -> None:
    """All that were processed and that the log tells of, once each; the others are counted."""
    plan = Plan(duration=300, n_objects=230, skipped=0.1)
    job = stage.sim.add_job(kind.value, OWN.get(kind, {}), plan=plan, age=1000)  # type: ignore[arg-type]  # the words of four kinds
    stage.sim.add_job("delete", plan=Plan(duration=300, n_objects=200), age=1000)
    outcomes = stage.close.outcomes(f"{kind}:{job.id}")
    found = [outcome async for outcome in outcomes]
    summary = outcomes.summary
    assert summary.n_processed == 230
    assert summary.n_without_event is not None
    assert 0 < summary.n_without_event < 60
    assert summary.n_objects + summary.n_without_event == 230
    assert len({outcome.object_id for outcome in found}) == summary.n_objects
    assert sum(summary.by_event.values()) == len(found)
    assert summary.is_complete


async def test_a_running_action_has_had_some(stage: Stage) -> None:
    """As many as it has processed so far, and more later."""
    job = stage.sim.add_job("delete", OWN[Kind.DELETE], plan=Plan(duration=1000, n_objects=100, counting=0.0), age=500)
    outcomes = stage.close.outcomes(f"delete:{job.id}")
    first = await outcomes.summarize()
    assert 30 < first.n_objects < 70
    assert not first.is_complete
    await stage.clock.sleep(2000)
    assert (await outcomes.summarize()).n_objects == 100


async def test_after_an_hour_only_administrators_see_data(stage: Stage) -> None:
    """The events are still there, and say of what they were."""
    stage.sim.event_rules = EventRules(sees_old_data=False)
    job = stage.sim.add_job("delete", OWN[Kind.DELETE], plan=Plan(duration=10, n_objects=5), age=timedelta(hours=2))
    summary = await stage.close.outcomes(f"delete:{job.id}").summarize()
    assert (summary.n_objects, summary.n_without_data) == (5, 5)
