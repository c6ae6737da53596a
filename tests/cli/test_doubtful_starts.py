"""`closebulk start` where the answer is lost, or somebody presses Ctrl-C meanwhile."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest
from attrs import evolve

from closebulk_async.simulator import faults

from .programs import Finished, finish, for_simulator, read_until, run, running
from .starts import DELETE, EMAIL, start, starts

if TYPE_CHECKING:
    from pathlib import Path

    from closebulk_async.simulator import Simulator

    from .conftest import Closebulk
    from .programs import StillClock


async def test_a_lost_answer_is_made_good(sim: Simulator, closebulk: Closebulk) -> None:
    """The action of a POST whose answer was lost is found, and told as if nothing had happened."""
    sim.fail_next(faults.cut_after(), method="POST", path="/bulk_action/")
    done = await closebulk(*DELETE, "--yes")
    assert (done.code, done.out, len(sim.jobs)) == (0, f"delete:{sim.jobs[0].id}\n", 1)
    assert "was reconciled: adopted" in done.err


async def test_an_unknown_outcome(sim: Simulator, closebulk: Closebulk, tmp_path: Path) -> None:
    """An outcome that stays unknown has the exit code 4, and what to do next is said; with --json it is an object."""
    sim.fail_next(faults.cut_after(), method="POST", path="/bulk_action/")
    journal = tmp_path / "close bulk.db"
    lost = await closebulk(*DELETE, "--yes", "--on-ambiguous", "raise", "--journal", str(journal), "--json")
    found = json.loads(lost.out)
    intent = found["intent"]
    assert lost.code == 4
    assert (found["kind"], found["candidates"]) == ("delete", [])
    assert lost.err.splitlines()[-5:] == [
        f"closebulk: it is not known whether a bulk delete was started: {found['error']}",
        "closebulk: look for it before you start it again: closebulk ls --kind delete",
        f"closebulk: if it is there: closebulk adopt {intent} REF --journal '{journal}'",
        f"closebulk: if it is not: closebulk abandon {intent} --journal '{journal}'",
        f"closebulk: to let the command look for it: closebulk recover --journal '{journal}'",
    ]
    assert len(sim.jobs) == 1


async def test_an_unknown_outcome_without_a_journal(sim: Simulator, closebulk: Closebulk) -> None:
    """Without a journal there is nothing to tell it to, and only the list is named."""
    sim.fail_next(faults.cut_before(), method="POST", path="/bulk_action/")
    lost = await closebulk(*DELETE, "--yes", "--on-ambiguous", "raise")
    assert (lost.code, lost.out, sim.jobs) == (4, "", ())
    assert lost.err.splitlines()[-1] == "closebulk: look for it before you start it again: closebulk ls --kind delete"


async def test_interrupted_before_the_post(sim: Simulator, clock: StillClock) -> None:
    """Ctrl-C while nothing has left sends nothing, and says so."""
    sim.fail_next(faults.delay(1), method="GET", path="/bulk_action/")
    async with running(*DELETE, "--yes", env=for_simulator(sim)) as process:
        await clock.is_waited_for.wait()
        process.send_signal(signal.SIGINT)
        done = await finish(process)
    assert (done.code, done.out, starts(sim)) == (130, "", [])
    assert done.err.splitlines()[-1] == "closebulk: nothing was started"


@pytest.mark.parametrize(("key", "other"), [(None, None), (None, "other"), ("campaign", "other")])
async def test_interrupted_beside_an_equal_start(
    sim: Simulator, clock: StillClock, tmp_path: Path, key: str | None, other: str | None
) -> None:
    """What an earlier equal start has made is not told for what this one did."""
    journal = tmp_path / "closebulk.db"
    await start(sim, journal, key=other)
    n_starts = len(starts(sim))
    sim.fail_next(faults.delay(1), path="/me/")
    keyed = () if key is None else ("--idempotency-key", key)
    async with running(*EMAIL, *keyed, "--journal", str(journal), "--yes", env=for_simulator(sim)) as process:
        await clock.is_waited_for.wait()
        process.send_signal(signal.SIGINT)
        done = await finish(process)
    assert (done.code, done.err.splitlines()[-1]) == (130, "closebulk: nothing was started")
    assert len(starts(sim)) == n_starts


@pytest.mark.parametrize("has_journal", [True, False])
async def test_interrupted_while_the_post_is_under_way(
    sim: Simulator, clock: StillClock, tmp_path: Path, *, has_journal: bool
) -> None:
    """Ctrl-C then waits for the answer: the ref of what was started is told before the command ends."""
    journal = ("--journal", str(tmp_path / "closebulk.db"), "--idempotency-key", "k") if has_journal else ()
    sim.fail_next(faults.delay(1, acts_first=True), method="POST", path="/bulk_action/")
    async with running(*DELETE, *journal, "--yes", env=for_simulator(sim)) as process:
        await clock.is_waited_for.wait()
        process.send_signal(signal.SIGINT)
        await read_until(process, "interrupted: waiting", stream="stderr")
        clock.may_go_on.set()
        done = await finish(process)
    said = f"closebulk: started; the job goes on, watch it with: closebulk watch delete:{sim.jobs[0].id}\n"
    assert done == Finished(130, "", said)


async def test_interrupted_and_refused(sim: Simulator, clock: StillClock) -> None:
    """A POST that is rejected after Ctrl-C started nothing; the reason is told."""
    refusal = faults.reply(400, '{"error": "No."}')
    sim.fail_next(evolve(refusal, wait_before=1.0), method="POST", path="/bulk_action/")
    async with running(*DELETE, "--yes", env=for_simulator(sim)) as process:
        await clock.is_waited_for.wait()
        process.send_signal(signal.SIGINT)
        await read_until(process, "interrupted: waiting", stream="stderr")
        clock.may_go_on.set()
        done = await finish(process)
    assert (done.code, done.out, sim.jobs) == (130, "", ())
    assert "400 Bad Request: No." in done.err.splitlines()[-2]
    assert done.err.splitlines()[-1] == "closebulk: nothing was started"


async def test_interrupted_and_lost(sim: Simulator, clock: StillClock, tmp_path: Path) -> None:
    """An answer that is lost after Ctrl-C leaves the outcome unknown: that is said, with what to do, by the code 4."""
    sim.fail_next(evolve(faults.cut_after(), wait_after=1.0), method="POST", path="/bulk_action/")
    journal = ("--journal", str(tmp_path / "closebulk.db"))
    async with running(*DELETE, *journal, "--yes", env=for_simulator(sim)) as process:
        await clock.is_waited_for.wait()
        process.send_signal(signal.SIGINT)
        await read_until(process, "interrupted: waiting", stream="stderr")
        clock.may_go_on.set()
        done = await finish(process)
    assert (done.code, done.out) == (4, "")
    assert "it is not known whether a bulk delete was started: the answer was lost" in done.err
    assert done.err.splitlines()[-1].startswith("closebulk: to let the command look for it: closebulk recover ")


async def test_interrupted_twice(sim: Simulator, clock: StillClock, tmp_path: Path) -> None:
    """A second Ctrl-C waits no more: the outcome is unknown, the code is 4, and the journal finds it out later."""
    sim.fail_next(faults.delay(1, acts_first=True), method="POST", path="/bulk_action/")
    journal = ("--journal", str(tmp_path / "closebulk.db"))
    async with running(*DELETE, *journal, "--yes", env=for_simulator(sim)) as process:
        await clock.is_waited_for.wait()
        process.send_signal(signal.SIGINT)
        await read_until(process, "interrupted: waiting", stream="stderr")
        process.send_signal(signal.SIGINT)
        done = await finish(process)
    assert (done.code, done.out) == (4, "")
    assert "closebulk: it is not known whether a bulk delete was started: the answer was lost\n" in done.err
    assert done.err.endswith(f"closebulk: to let the command look for it: closebulk recover --journal {journal[1]}\n")
    recovered = await run("recover", *journal, env=for_simulator(sim))
    assert recovered.code == 0
    assert recovered.lines[0].endswith(f"  delete:{sim.jobs[0].id}")
