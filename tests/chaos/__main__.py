"""Kill hundreds of processes that start an action and wait for it, evenly over the lines that they run, and count.

The exit code is 1 where one job is there twice or lost, or anything else is not as it must be.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from closebulk_async.models import BULK_KINDS, Kind
from closebulk_async.simulator import Plan, Simulator, faults
from closebulk_async.sqlite_journal import SqliteJournal
from closebulk_async.testing.chaos.children import running
from closebulk_async.testing.chaos.rescuing import Outcome, make_scene, rescue
from tests.chaos.programs import start_and_wait_traced

if TYPE_CHECKING:
    from collections.abc import Sequence

    from closebulk_async.simulator.faults import Fault

FAULTS: dict[str, Fault | None] = {
    "none": None,
    "answer lost": faults.cut_after(),
    "503, and acted": faults.server_error(503, acts=True),
    "cut before it acted": faults.cut_before(),
}
"""What becomes of the victim's POST beside the kill."""


@attrs.frozen(kw_only=True)
class Kill:
    """One victim: what it started under which fault, the module that it was killed in, and what was found."""

    kind: Kind
    fault: str
    module: str
    outcome: Outcome


async def kill_evenly(kind: Kind, fault: str, *, times: int) -> list[Kill]:
    """So many victims, each killed at another moment: those of a whole run are parted evenly."""
    with tempfile.TemporaryDirectory() as folder:
        async with Simulator(plan=Plan(duration=0.05, n_objects=3)) as sim:
            n_moments = (await _run(sim, kind, FAULTS[fault], Path(folder, "whole.db")))["moments"]
            return [
                await _kill(sim, kind, fault, at=1 + n_moments * number // times, folder=Path(folder))
                for number in range(times)
            ]


async def _kill(sim: Simulator, kind: Kind, fault: str, *, at: int, folder: Path) -> Kill:
    while True:
        known = len(sim.jobs)
        journal = folder / f"{at}-{known}.db"
        heard = await _run(sim, kind, FAULTS[fault], journal, last_moment=at)
        if "dies" in heard:
            outcome = await rescue(
                sim, make_scene(sim, partial(SqliteJournal, journal), kind), known=known, told=heard.get("started")
            )
            return Kill(kind=kind, fault=fault, module=heard["dies"], outcome=outcome)
        at = heard["moments"]  # a run may be shorter than the first one: one poll less, say


async def _run(
    sim: Simulator, kind: Kind, fault: Fault | None, journal: Path, *, last_moment: int | None = None
) -> dict[str, Any]:
    """What a victim says until it ends."""
    if fault is not None:
        sim.fail_next(fault, method="POST")
    async with running(
        start_and_wait_traced, make_scene(sim, partial(SqliteJournal, journal), kind), last_moment
    ) as victim:
        return dict(await victim.hear_all())


async def kill_all(*, times: int, lanes: int) -> list[Kill]:
    """For each kind and each fault, so many at a time as there are lanes."""
    places = asyncio.Semaphore(lanes)

    async def run_lane(kind: Kind, fault: str) -> list[Kill]:
        async with places:
            return await kill_evenly(kind, fault, times=times)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(run_lane(kind, fault)) for kind in BULK_KINDS for fault in FAULTS]
    return [kill for task in tasks for kill in task.result()]


def render(kills: Sequence[Kill]) -> str:
    """Two tables: what came of the kills of each fault, and how many were killed in which module."""
    lines = [f"{'fault of the POST':24}{'kills':>8}{'jobs':>8}{'twice':>8}{'lost':>8}{'wrong':>8}"]
    for name in [*FAULTS, "all"]:
        outcomes = [kill.outcome for kill in kills if name in {kill.fault, "all"}]
        figures = (
            len(outcomes),
            sum(outcome.jobs for outcome in outcomes),
            sum(outcome.duplicates for outcome in outcomes),
            sum(outcome.lost for outcome in outcomes),
            sum(bool(outcome.wrongs) for outcome in outcomes),
        )
        lines.append(f"{name:24}" + "".join(f"{figure:>8}" for figure in figures))
    places = Counter(kill.module for kill in kills)
    lines += ["", "killed in", *(f"  {module:22}{times:>8}" for module, times in places.most_common())]
    wrongs = {
        f"  {kill.kind}, {kill.fault}, in {kill.module}: {text}" for kill in kills for text in kill.outcome.wrongs
    }
    return "\n".join([*lines, *sorted(wrongs)])


def main() -> int:
    """Kill, print what came of it, and say whether all is well."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=1000, help="at least so many (default: %(default)s)")
    parser.add_argument("--lanes", type=int, default=os.cpu_count(), help="at the same time (default: one a core)")
    options = parser.parse_args()
    began = time.monotonic()
    kills = asyncio.run(kill_all(times=-(-options.kills // (len(BULK_KINDS) * len(FAULTS))), lanes=options.lanes))
    sys.stdout.write(f"{render(kills)}\n\n{len(kills)} kills in {time.monotonic() - began:.0f} s\n")
    return 0 if all(kill.outcome.is_well for kill in kills) else 1


if __name__ == "__main__":
    sys.exit(main())
