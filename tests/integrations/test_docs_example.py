"""The example of docs/telemetry.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

from closebulk_async.simulator import Simulator
from tests.docs.running import run_example

if TYPE_CHECKING:
    from pathlib import Path


async def test_it_prints_what_was_counted(tmp_path: Path) -> None:
    """One start in each of its states."""
    async with Simulator() as simulator:
        simulator.next_job(duration=0.2, n_objects=1)
        printed = await run_example(simulator, "docs/telemetry.md", tmp_path)
    states = ("new", "posting", "started", "final")
    counted = {f'closebulk_starts_total{{kind="delete",state="{state}"}} 1.0' for state in states}
    assert set(printed) == counted
