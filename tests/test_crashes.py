"""A process is killed at a step of a start or of a wait: another one recovers, and starts once more with the key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from closebulk_async.models import BULK_KINDS, Kind
from closebulk_async.simulator import Plan, Simulator, faults
from tests.chaos.nursery import running, until
from tests.chaos.programs import recover_and_die, start_and_wait
from tests.chaos.rescuing import make_scene, rescue

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from closebulk_async.simulator.faults import Fault

KILLED = -9

POINTS: dict[str, tuple[Fault | None, str, int]] = {
    "before it has a lock": (None, "before enter", 0),
    "before the intent": (None, "before begin", 0),
    "after the intent": (None, "after begin", 0),
    "before the intent is posting": (None, "before swap to posting", 0),
    "before the POST leaves": (None, "after swap to posting", 0),
    "after the response": (None, "before swap to started", 1),
    "after the ref": (None, "after swap to started", 1),
    "before the first poll is written": (None, "before progress", 1),
    "after the first poll is written": (None, "after progress", 1),
    "while it looks for a lost answer": (faults.cut_after(), "before claimed", 1),
    "before it adopts": (faults.server_error(503, acts=True), "before swap to started", 1),
    "after it has adopted": (faults.cut_after(), "after swap to started", 1),
    "while it looks for what was never received": (faults.cut_before(), "before get", 0),
}
"""The fault of the POST, the step of the journal, and how many jobs the server has made by then."""


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    """A simulator in real time, for other processes."""
    async with Simulator(plan=Plan(duration=0.1, n_objects=3)) as simulator:
        yield simulator


@pytest.mark.parametrize("name", POINTS)
async def test_killed_at_a_step_of_the_journal(sim: Simulator, tmp_path: Path, name: str) -> None:
    """The job of the killed one is found and stays the only one; where there is none, the second process starts it."""
    fault, point, jobs = POINTS[name]
    scene = make_scene(sim, tmp_path / "journal.db")
    if fault is not None:
        sim.fail_next(fault, method="POST")
    async with running(start_and_wait, scene, point) as victim:
        heard = dict(await victim.hear_all())
        assert heard["dies"] == point
        assert await victim.ended() == KILLED
    outcome = await rescue(sim, scene, known=0, told=heard.get("started"))
    assert outcome.is_well, outcome
    assert outcome.jobs == jobs


@pytest.mark.parametrize("kind", BULK_KINDS)
async def test_killed_after_the_server_has_committed(sim: Simulator, tmp_path: Path, kind: Kind) -> None:
    """The answer is still under way: its job is found, although an equal one was there before."""
    sim.fail_next(faults.hang(acts=True), method="POST", skip=1)
    async with running(start_and_wait, make_scene(sim, tmp_path / "another.db", kind), None) as earlier:
        assert await earlier.ended() == 0
    scene = make_scene(sim, tmp_path / "journal.db", kind)
    async with running(start_and_wait, scene, None) as victim:
        await until(lambda: len(sim.jobs) == 2)
        victim.process.kill()
        assert await victim.ended() == KILLED
    outcome = await rescue(sim, scene, known=1)
    assert outcome.is_well, outcome
    assert outcome.jobs == 1


async def test_killed_while_it_polls(sim: Simulator, tmp_path: Path) -> None:
    """The job runs on, and the second process is given it to wait for."""
    sim.next_job(duration=3600)
    scene = make_scene(sim, tmp_path / "journal.db")
    async with running(start_and_wait, scene, None) as victim:
        _, ref = await victim.hear()
        await until(lambda: sum(sim.jobs[0].id in request.path for request in sim.requests) > 2)
        victim.process.kill()
        assert await victim.ended() == KILLED
    outcome = await rescue(sim, scene, known=0, told=ref)
    assert outcome.is_well, outcome
    assert outcome.jobs == 1


@pytest.mark.parametrize("point", ["before unfinished", "before claimed", "before swap to started", "after progress"])
async def test_who_recovers_is_killed_as_well(sim: Simulator, tmp_path: Path, point: str) -> None:
    """The third process finds what the first has started."""
    scene = make_scene(sim, tmp_path / "journal.db")
    async with running(start_and_wait, scene, "before swap to started") as victim:
        assert await victim.ended() == KILLED
    async with running(recover_and_die, scene, point) as rescuer:
        assert await rescuer.ended() == KILLED
    outcome = await rescue(sim, scene, known=0)
    assert outcome.is_well, outcome
    assert outcome.jobs == 1


async def test_killed_when_nothing_was_sent_and_nothing_found(sim: Simulator, tmp_path: Path) -> None:
    """The one that recovers is killed before it says so: the next one comes to the same end."""
    scene = make_scene(sim, tmp_path / "journal.db")
    async with running(start_and_wait, scene, "after swap to posting") as victim:
        assert await victim.ended() == KILLED
    async with running(recover_and_die, scene, "before swap to new") as rescuer:
        assert await rescuer.ended() == KILLED
    outcome = await rescue(sim, scene, known=0)
    assert outcome.is_well, outcome
    assert outcome.jobs == 0
