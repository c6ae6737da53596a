"""The benchmarks run: a figure that nobody can measure again is worth nothing. Speed itself is not tested."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks.figures import Comparison, find
from benchmarks.peers import starts_with_closeio, starts_with_sdk
from benchmarks.second_jobs import CONTESTANTS, render, tally
from benchmarks.simulated import API_KEY, FAULTS, FaultySimulator, plan_faults

if TYPE_CHECKING:
    from closebulk_async.testing import FakeClock

ROOT = Path(__file__).parent.parent
FAULT = "job began, half of the JSON"
"""One that makes no client wait."""


@pytest.mark.parametrize(
    ("report", "suite", "name", "line"),
    [
        ("speed", "decoding", "latest", "decoding, page: closebulk_async to orjson"),
        ("starts", "journaling", "starts", "`create`: journal in SQLite less journal in memory"),
    ],
)
def test_a_quick_run_writes_its_tables(report: str, suite: str, name: str, line: str, tmp_path: Path) -> None:
    """JSON and Markdown come out, with the comparison that a promise was made of."""
    command = [sys.executable, "-m", "benchmarks", report, "--quick", "--only", suite, "--output", str(tmp_path)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert line in (tmp_path / f"{name}.md").read_text(encoding="utf-8")
    assert json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8"))["comparisons"]


def test_a_suite_of_another_report_is_refused() -> None:
    """The error says which suites there are."""
    command = [sys.executable, "-m", "benchmarks", "starts", "--only", "decoding"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert "second_jobs, journaling" in ran.stderr


def test_a_difference_is_taken_inside_a_round() -> None:
    """A round that lacks one of the figures says nothing, and the bound is one of milliseconds."""
    cost = Comparison("cost", "with", "without", at_most=3, is_difference=True)
    (finding,) = find([cost], [{"with": 9.0, "without": 5.0}, {"with": 40.0, "without": 39.0}, {"with": 1.0}])
    assert (finding.median, finding.rounds, finding.is_met) == (2.5, 2, True)
    assert cost.target == "≤ 3 ms"
    assert not cost.is_met_by(3.1)


def test_all_clients_meet_the_same_faults() -> None:
    """Each kind comes first equally often, some starts meet a second one, and every run has the same script."""
    script = plan_faults(10 * len(FAULTS))
    assert script == plan_faults(10 * len(FAULTS))
    assert Counter(names[0] for names in script) == dict.fromkeys(FAULTS, 10)
    assert {len(names) for names in script} == {1, 2}


def test_what_a_tally_counts() -> None:
    """A second job, a job of which nobody was told, one told for another, an error without a job, and a good start."""
    counts = tally(
        [[FAULT]] * 5,
        jobs={0: ["a", "b"], 1: ["c"], 2: ["d"], 4: ["f"]},
        told=[("a", None), (None, "Error"), ("f", None), (None, "Error"), ("f", None)],
    )
    assert {column: counts[f"{FAULT}.{column}"] for column in ("starts", "jobs", "second", "lost", "errors")} == {
        "starts": 5,
        "jobs": 5,
        "second": 1,
        "lost": 2,
        "errors": 2,
    }
    table = render({f"{name}.{figure}": count for name in CONTESTANTS for figure, count in counts.items()})
    assert table.count("**no**") == 4


async def test_this_sdk_makes_no_second_job_and_loses_none(close_clock: FakeClock) -> None:
    """Every start meets the faults that are meant for it, and what its caller is told is what is on the server."""
    script = plan_faults(2 * len(FAULTS))
    async with FaultySimulator(api_key=API_KEY, clock=close_clock, script=script) as sim:
        told = await starts_with_sdk.run(sim.base_url, len(script), at_once=8, clock=close_clock)
        met = Counter(request.fault for request in sim.requests if request.method == "POST")
    counts = tally(script, jobs=sim.find_jobs(), told=told)
    assert not any(count for figure, count in counts.items() if figure.endswith((".second", ".lost")))
    assert met.total() >= len(script)
    assert met["cut_after"] >= 2
    assert sum(counts[f"{fault}.jobs"] for fault in FAULTS) == sum(error is None for _, error in told)


@pytest.mark.parametrize(("calls", "column"), [(1, "lost"), (2, "second")])
async def test_what_the_vendors_client_makes_of_a_lost_answer(calls: int, column: str) -> None:
    """Its caller is told of an error and of no job; called again, it starts a second one."""
    script = [[FAULT]] * 3
    async with FaultySimulator(api_key=API_KEY, script=script) as sim:
        told = await asyncio.to_thread(
            starts_with_closeio.start_all, sim.base_url, 3, at_once=3, calls=calls, journal=None, resends=False
        )
    counts = tally(script, jobs=sim.find_jobs(), told=told)
    assert counts[f"{FAULT}.{column}"] == 3
