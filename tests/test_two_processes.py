"""Several processes that share one journal: a key is one job, whoever is quicker, stopped or gone."""

from __future__ import annotations

import os
import signal
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from closebulk_async.simulator import Simulator, faults
from tests.chaos.nursery import running, until
from tests.chaos.programs import RESCUER, start_and_stop, start_when_told, try_to_start
from tests.chaos.rescuing import make_scene
from tests.peers import posts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.chaos.nursery import Child
    from tests.chaos.programs import Scene

LEASE = 0.2
"""Seconds after which a process that is stopped counts as silent."""


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    """A simulator in real time, for other processes."""
    async with Simulator() as simulator:
        yield simulator


async def start_together(stack: AsyncExitStack, scene: Scene, n_processes: int) -> list[Child]:
    """Processes that have opened their clients, and wait for a word."""
    children = [await stack.enter_async_context(running(start_when_told, scene)) for _ in range(n_processes)]
    assert [await child.hear() for child in children] == ["ready"] * n_processes
    return children


async def tell_all(children: list[Child], keys: list[str]) -> list[list[str]]:
    """Let all of them start all of these keys, and give the refs that each was told of."""
    for child in children:
        child.tell(keys)
    return [await child.hear() for child in children]


@pytest.mark.parametrize("fault", ["none", "cut_after", "503", "429"])
async def test_one_key_in_two_processes(sim: Simulator, tmp_path: Path, fault: str) -> None:
    """At the same moment, again and again, also where the answer to the POST is lost: one job each, told to both."""
    each_time = {
        "cut_after": faults.cut_after(),
        "503": faults.server_error(503, acts=True),
        "429": faults.too_many_requests(retry_after=0),
    }.get(fault)
    refs = []
    async with AsyncExitStack() as stack:
        children = await start_together(stack, make_scene(sim, tmp_path / "journal.db"), 2)
        for number in range(20 if each_time is None else 3):
            if each_time is not None:
                sim.fail_next(each_time, method="POST")
            (ref,), (other,) = await tell_all(children, [f"campaign {number}"])
            assert ref == other
            refs.append(ref)
    assert refs == [f"email:{job.id}" for job in sim.jobs]


async def test_many_keys_in_four_processes(sim: Simulator, tmp_path: Path) -> None:
    """All at once: each key is one job, and all are told of the same."""
    keys = [f"campaign {number}" for number in range(25)]
    async with AsyncExitStack() as stack:
        children = await start_together(stack, make_scene(sim, tmp_path / "journal.db"), 4)
        first, *others = await tell_all(children, keys)
    assert others == [first] * 3
    assert sorted(first) == sorted(f"email:{job.id}" for job in sim.jobs)
    assert len(set(first)) == len(keys)


async def test_one_that_is_stopped_before_it_sends(sim: Simulator, tmp_path: Path) -> None:
    """It is silent and not dead: another one refuses to send in its place. It goes on to the only job."""
    scene = make_scene(sim, tmp_path / "journal.db", lease=LEASE)
    async with running(start_and_stop, scene, "after swap to posting") as stopped:
        assert await stopped.hear() == "after swap to posting"
        async with running(try_to_start, scene) as other:
            assert await other.hear() == "AmbiguousStartError"
        assert posts(sim) == 0
        _wake(stopped)
        ref = await stopped.hear()
    async with running(try_to_start, scene) as other:
        assert await other.hear() == ref
    assert [f"email:{job.id}" for job in sim.jobs] == [ref]


async def test_one_that_is_stopped_after_it_has_sent(sim: Simulator, tmp_path: Path) -> None:
    """Another one finds its job and takes it for the key's; the first, when it goes on, is told of the same."""
    scene = make_scene(sim, tmp_path / "journal.db", lease=LEASE)
    async with running(start_and_stop, scene, "before swap to started") as stopped:
        assert await stopped.hear() == "before swap to started"
        async with running(try_to_start, scene) as other:
            ref = await other.hear()
        assert [f"email:{job.id}" for job in sim.jobs] == [ref]
        _wake(stopped)
        assert await stopped.hear() == ref
    assert len(sim.jobs) == 1


async def test_one_that_is_stopped_while_it_looks(sim: Simulator, tmp_path: Path) -> None:
    """Its answer was lost, and another one adopts its job before it can: it takes that for its own."""
    sim.fail_next(faults.cut_after(), method="POST")
    scene = make_scene(sim, tmp_path / "journal.db", lease=LEASE)
    async with running(start_and_stop, scene, "after claimed") as stopped:
        assert await stopped.hear() == "after claimed"
        async with running(try_to_start, scene) as other:
            ref = await other.hear()
        _wake(stopped)
        assert await stopped.hear() == ref
    assert [f"email:{job.id}" for job in sim.jobs] == [ref]


async def test_one_that_is_killed_while_another_waits_for_it(sim: Simulator, tmp_path: Path) -> None:
    """The other one learns at once that it is dead, looks for its job, finds none, and starts the only one."""
    scene = make_scene(sim, tmp_path / "journal.db")
    async with running(start_and_stop, scene, "after swap to posting") as stopped:
        assert await stopped.hear() == "after swap to posting"
        async with running(try_to_start, scene) as other:
            await until(lambda: sim.requests[-1].headers["user-agent"] == RESCUER)
            stopped.process.kill()
            ref = await other.hear()
    assert [f"email:{job.id}" for job in sim.jobs] == [ref]


def _wake(child: Child) -> None:
    assert child.process.pid is not None
    os.kill(child.process.pid, signal.SIGCONT)
