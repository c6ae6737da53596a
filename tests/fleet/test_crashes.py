"""Workers that are killed and stopped, as processes of their own. `make chaos-fleet` does the same for longer."""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import attrs
import psycopg
import pytest

from closebulk_async import AmbiguousStartError, StartPolicy
from closebulk_async.clock import SystemClock
from closebulk_async.simulator import Plan, Simulator, faults
from tests.fleet.chaos import Workers, is_well, make_fleet, run_chaos
from tests.fleet.stage import FleetStage, start

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fleet.postgres import PostgresServer

TAKEN_OVER = 15.0
"""Seconds: what is promised. How soon it is in fact is measured by `python -m tests.fleet.figures`."""


SILENT_AFTER = 2.0
"""Seconds after which a worker that gives no sign of life is no longer waited for."""


@contextmanager
def workers_of(stage: FleetStage, number: int, *, lease: float = StartPolicy().lease) -> Iterator[Workers]:
    """So many processes that work."""
    place = ["--base-url", stage.sim.base_url, "--key", stage.sim.api_key, "--database", stage.database]
    workers = Workers([*place, "--lease", str(lease)])
    try:
        for _ in range(number):
            workers.add()
        yield workers
    finally:
        workers.close()


def options_of(stage: FleetStage) -> argparse.Namespace:
    """What such a process is told."""
    return argparse.Namespace(base_url=stage.sim.base_url, key=stage.sim.api_key, database=stage.database)


async def test_the_polls_of_a_worker_that_was_killed_go_on(fleet_stage: FleetStage) -> None:
    """Another one has polled every action within 15 seconds."""
    refs = [fleet_stage.job(duration=1000) for _ in range(5)]
    with workers_of(fleet_stage, 1) as workers:
        async with make_fleet(options_of(fleet_stage)) as fleet:
            waits = [fleet.wait_until_done(ref) for ref in refs]
            for wait in waits:
                await anext(wait)
            (victim,) = workers.processes
            workers.add()
            workers.kill(victim)
            killed_at = time.time()
            async with asyncio.timeout(TAKEN_OVER):
                while await _count_behind(fleet_stage, killed_at):  # noqa: ASYNC110 - nobody else tells
                    await asyncio.sleep(0.1)


async def test_the_start_of_a_worker_that_was_killed_is_single(fleet_stage: FleetStage) -> None:
    """Killed between the POST and its answer: another one finds what it has started, and the caller gets that."""
    fleet_stage.sim.fail_next(faults.hang(acts=True), method="POST", path="/bulk_action/")
    fleet_stage.sim.plan = Plan(duration=1000)
    with workers_of(fleet_stage, 1) as workers:
        async with make_fleet(options_of(fleet_stage)) as fleet:
            asked = asyncio.create_task(start(fleet, idempotency_key="k"))
            while not fleet_stage.sim.jobs:  # noqa: ASYNC110 - nobody else tells
                await asyncio.sleep(0.01)
            (victim,) = workers.processes
            workers.add()
            workers.kill(victim)
            action = await asked
    assert [job.id for job in fleet_stage.sim.jobs] == [action.id]
    assert fleet_stage.posts == 1


@attrs.frozen
class Gate(SystemClock):
    """For a service that keeps an answer waiting until a test lets it go on."""

    is_open: asyncio.Event = attrs.field(factory=asyncio.Event)

    async def sleep(self, seconds: float) -> None:  # noqa: ARG002 - however long it is
        """Until then."""
        await self.is_open.wait()


async def test_a_worker_that_was_stopped_ends_what_it_has_begun(fleet_database: str) -> None:
    """While it is silent, nobody sends its POST again, although another one has its task: it may go on at any time."""
    gate = Gate()
    async with Simulator(clock=gate, plan=Plan(duration=1000)) as sim:
        stage = FleetStage(sim=sim, database=fleet_database)
        sim.fail_next(faults.delay(1), method="POST", path="/bulk_action/")
        with workers_of(stage, 1, lease=SILENT_AFTER) as workers:
            async with make_fleet(options_of(stage)) as fleet:
                asked = asyncio.create_task(start(fleet, idempotency_key="k"))
                while not stage.posts:  # noqa: ASYNC110 - nobody else tells
                    await asyncio.sleep(0.01)
                (victim,) = workers.processes
                victim.send_signal(signal.SIGSTOP)
                workers.add()
                with pytest.raises(AmbiguousStartError, match="no such action is in the list"):
                    await asked
                assert not sim.jobs
                victim.send_signal(signal.SIGCONT)
                gate.is_open.set()
                action = await start(fleet, idempotency_key="k")
        assert [job.id for job in sim.jobs] == [action.id]
        assert stage.posts == 1


async def test_nothing_is_there_twice_or_lost(postgres: PostgresServer) -> None:
    """A short run of what `make chaos-fleet` does, with a restart of the database in it."""
    random.seed(7)
    figures = await run_chaos(postgres, starts=16, disturbances=3, pause=1.0)
    assert is_well(figures), figures
    assert figures["kills"] == 2


async def _count_behind(stage: FleetStage, since: float) -> int:
    async with await psycopg.AsyncConnection.connect(stage.database) as connection:
        asked = await connection.execute("SELECT count(*) FROM closebulk.actions WHERE polled_at < %s", [since])
        row = await asked.fetchone()
    return 0 if row is None else int(row[0])


pytestmark = pytest.mark.timeout(180)  # processes that die and come again take seconds
