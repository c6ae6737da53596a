"""`closebulk outcomes`: a summary, JSON lines, and a CSV file that a spreadsheet may open."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from closebulk_async.simulator import Plan

from .programs import StillClock

if TYPE_CHECKING:
    from pathlib import Path

    from closebulk_async.simulator import Simulator

    from .conftest import Closebulk


@pytest.fixture
def clock() -> StillClock:
    """The command asks how long ago an action began: the simulator stands at the present."""
    return StillClock(datetime.now(UTC))


@pytest.fixture
def ref(sim: Simulator) -> str:
    """A deletion of twenty leads that has ended, of which the log tells of most."""
    job = sim.add_job(
        "delete", {"bulk_object_type": "lead"}, plan=Plan(duration=100, n_objects=20, skipped=0.2), age=1000
    )
    return f"delete:{job.id}"


async def test_a_summary(ref: str, closebulk: Closebulk) -> None:
    """How many objects were processed, and what happened to how many."""
    finished = await closebulk("outcomes", ref)
    assert (finished.code, finished.err) == (0, "")
    first, deleted, rest = finished.lines
    assert first.startswith(f"{ref}: 20 objects processed, events of ")
    n = int(first.rpartition(" ")[2])
    assert (deleted, rest) == (f"  lead.deleted: {n}", f"  without any event: {20 - n}")


async def test_json_lines(ref: str, closebulk: Closebulk) -> None:
    """One for each event, and the summary."""
    finished = await closebulk("outcomes", ref, "--json")
    *events, last = map(json.loads, finished.lines)
    assert {event["event_type"] for event in events} == {"lead.deleted"}
    assert last["summary"]["n_objects"] == len({event["object_id"] for event in events}) == len(events)
    assert last["summary"]["is_complete"]


async def test_a_csv_file(ref: str, closebulk: Closebulk, tmp_path: Path) -> None:
    """A row for each event beside the summary; what looks like a formula is text."""
    path = tmp_path / "outcomes.csv"
    finished = await closebulk("outcomes", ref, "--csv", str(path))
    assert (finished.code, len(finished.lines)) == (0, 3)
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert finished.lines[1] == f"  lead.deleted: {len(rows)}"
    assert {row["event_type"] for row in rows} == {"lead.deleted"}
    assert all(row["object_id"].startswith("lead_") and row["at"] for row in rows)
    assert all(json.loads(row["previous_data"]) for row in rows)


async def test_csv_on_standard_output(ref: str, closebulk: Closebulk) -> None:
    """Nothing else is written there."""
    finished = await closebulk("outcomes", ref, "--csv", "-")
    rows = list(csv.DictReader(finished.lines))
    assert {row["event_type"] for row in rows} == {"lead.deleted"}


async def test_an_action_that_runs_is_not_all(sim: Simulator, closebulk: Closebulk) -> None:
    """Standard error says so."""
    job = sim.add_job("delete", {"bulk_object_type": "lead"}, plan=Plan(duration=1000, n_objects=100), age=500)
    finished = await closebulk("outcomes", f"delete:{job.id}")
    assert finished.code == 0
    assert finished.err.startswith("closebulk: this may not be all")


async def test_a_file_that_cannot_be_written_is_wrong_usage(ref: str, closebulk: Closebulk, tmp_path: Path) -> None:
    """And an export is no action; each in one line."""
    finished = await closebulk("outcomes", ref, "--csv", str(tmp_path))
    assert (finished.code, finished.out) == (2, "")
    assert finished.err.count("\n") == 1
    finished = await closebulk("outcomes", "export:expo_1")
    assert (finished.code, finished.err.count("\n")) == (2, 1)
