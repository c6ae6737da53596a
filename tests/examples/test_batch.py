"""The batch: how many edits run at once, what it shows, and its exit code."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from typing import TYPE_CHECKING

from closebulk_async.simulator import Plan, Simulator
from tests.cli.programs import StillClock, environment, finish, for_simulator, read_terminal, running_program

from .programs import command, example, run, until

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.traps import Trap


async def test_fifty_edits_and_one_table(trap: Trap) -> None:
    """By itself it runs 50 edits on a simulator of its own, counts them as they end, and sums them up."""
    done = await run("batch.py", "--seconds", "0.1", "--leads", "3", env=trap.env)
    assert done.code == 0
    title, *rows, total = done.lines
    assert title.split() == ["city", "leads", "outcome"]
    assert len(rows) == 50
    assert all(re.fullmatch(r"\w[\w ]+ 3  edit:bulkedit_\w+", row) for row in rows)
    assert total.split() == ["all", "150", "50", "done,", "0", "failed"]
    simulator, *counts = done.err.splitlines()
    assert simulator.endswith("Nothing is sent to Close.")
    assert counts == [f"{n} done, 0 failed of 50" for n in range(51)]
    assert trap.caught == []


async def test_one_that_fails_makes_the_exit_code_1(trap: Trap) -> None:
    """The others are done all the same, and the table says which has failed and why."""
    options = ("--seconds", "0.1", "--leads", "3", "--edits", "4", "--failing", "1")
    done = await run("batch.py", *options, env=trap.env)
    assert done.code == 1
    _, *rows, total = done.lines
    assert [row for row in rows if row.endswith("the action failed; the API gives no reason")] == rows[:1]
    assert total.split() == ["all", "9", "3", "done,", "1", "failed"]


async def test_on_a_terminal_the_count_is_one_line() -> None:
    """It is written over until all have ended."""
    terminal, its_end = os.openpty()
    words = command("batch.py", "--seconds", "0", "--edits", "2")
    async with running_program(*words, env=environment(), stderr=its_end) as process:
        os.close(its_end)
        seen = await asyncio.to_thread(read_terminal, terminal)
        done = await finish(process)
    os.close(terminal)
    assert done.code == 0
    assert seen.partition("\n")[2] == "".join(f"\r{n} done, 0 failed of 2" for n in range(3)) + "\r\n"


async def test_no_more_than_so_many_run_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While two of them run no third one is started; each that ends makes room for one more."""
    monkeypatch.chdir(tmp_path)
    clock = StillClock()
    options = ("--live", "--status-id", "stat_1", "--edits", "3", "--at-once", "2")
    async with Simulator(clock=clock, plan=Plan(duration=60, n_objects=1)) as sim:
        async with example("batch.py", *options, env=for_simulator(sim)) as process:
            await until(lambda: len(sim.jobs) == 2)
            asked = len(sim.requests)
            await until(lambda: len(sim.requests) >= asked + 2)  # a third one would have been started by then
            assert len(sim.jobs) == 2
            clock.move(60)
            await until(lambda: len(sim.jobs) == 3)
            clock.move(60)
            ended = await finish(process)
        sent = [job.request for job in sim.jobs]
    assert ended.code == 0
    assert [request["lead_status_id"] for request in sent] == ["stat_1"] * 3
    assert (tmp_path / "batch.db").stat().st_mode & 0o777 == 0o600


async def test_interrupted_it_says_what_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a line, with the exit code of an interrupt."""
    monkeypatch.chdir(tmp_path)
    async with Simulator(clock=StillClock(), plan=Plan(duration=60, n_objects=1)) as sim:
        options = ("--live", "--status-id", "stat_1", "--edits", "1")
        async with example("batch.py", *options, env=for_simulator(sim)) as process:
            await until(lambda: len(sim.jobs) == 1)
            process.send_signal(signal.SIGINT)
            ended = await finish(process)
    assert ended.code == 130
    assert ended.err.splitlines()[-1] == "interrupted: edits that run go on; to run the batch once more does no harm"
    assert "Traceback" not in ended.err


async def test_at_least_one_runs_at_once() -> None:
    """None would wait for ever: it is wrong usage."""
    done = await run("batch.py", "--at-once", "0", env=environment())
    assert done.code == 2
    assert done.err.endswith("argument --at-once: invalid count of at least one value: '0'\n")


async def test_it_needs_a_status_to_be_live() -> None:
    """Nothing is sent before it is known what the leads are to become."""
    done = await run("batch.py", "--live", env=environment(CLOSE_API_KEY="api_real"))
    assert done.code == 2
    assert "--live needs --status-id" in done.err
