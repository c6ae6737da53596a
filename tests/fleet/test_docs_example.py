"""The example of docs/fleet.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

from closebulk_async.simulator import Simulator
from tests.docs.running import run_example

if TYPE_CHECKING:
    from pathlib import Path


async def test_it_starts_once_however_often_it_runs(fleet_database: str, tmp_path: Path) -> None:
    """A program that is client and worker shows the action to its end, and again when it is run again."""
    async with Simulator() as simulator:
        simulator.next_job(duration=0.5, n_objects=10)
        more = {"CLOSEBULK_DATABASE": fleet_database}
        runs = [await run_example(simulator, "docs/fleet.md", tmp_path, **more) for _ in range(2)]
        assert len(simulator.jobs) == 1
    assert [run[-1] for run in runs] == ["done 10 of 10"] * 2
