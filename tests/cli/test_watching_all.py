"""`closebulk watch --active` without a terminal: what it finds, and what it says at its end."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest

from closebulk_async.models import Kind
from closebulk_async.simulator import faults

from . import keyrings
from .programs import Finished, finish, for_simulator, read_until, running
from .test_program import LONG, add

if TYPE_CHECKING:
    from pathlib import Path

    from closebulk_async.simulator import Simulator
    from closebulk_async.simulator.server import KindName

    from .conftest import Closebulk
    from .programs import StillClock


def add_running(sim: Simulator, kind: KindName) -> str:
    """Put a job there that runs until a test moves the clock; the ref of it."""
    return f"{kind}:{sim.add_job(kind, plan=sim.plan.changed({'duration': LONG, 'counting': 0.0})).id}"


async def test_everything_that_runs_is_watched_to_its_end(sim: Simulator, clock: StillClock) -> None:
    """Whatever kind it is, exports too; what has ended before is left out."""
    refs = {add_running(sim, "email"), add_running(sim, "delete"), f"export:{sim.add_export(rows=3).id}"}
    add(sim, "bulkemail_old")
    async with running("watch", "--active", env=for_simulator(sim)) as process:
        for _ in refs:
            await read_until(process, ": ")
        clock.move(LONG)
        done = await finish(process)
    assert (done.code, done.err) == (0, "")
    assert {line.split(": ")[0] for line in done.lines} == refs
    assert all(": done" in line for line in done.lines)
    assert {request.method for request in sim.requests} == {"GET"}


async def test_kinds_narrow_it(sim: Simulator, closebulk: Closebulk) -> None:
    """Others are not even looked for; with --json steps are objects."""
    ref = add(sim, "bulkemail_a", duration=LONG)
    sim.add_job("delete", status="processing")
    late = await closebulk("watch", "--active", "--kind", "email", "--kind", "edit", "--timeout", "0.3", "--json")
    steps = [json.loads(line) for line in late.lines]  # as many as a machine takes in that time, or the last alone
    assert (late.code, {step["ref"] for step in steps}) == (3, {ref})
    assert "still running" in steps[-1]["error"]
    assert late.err.splitlines()[-1] == f"closebulk: to go on watching: closebulk watch {ref}"
    assert {request.path.split("/")[4] for request in sim.requests} == {"email", "edit"}


async def test_nothing_that_runs_is_no_failure(sim: Simulator, closebulk: Closebulk) -> None:
    """It is said, as one might wait for something."""
    add(sim, "bulkemail_old")
    assert await closebulk("watch", "--active") == Finished(0, "", "closebulk: nothing is running\n")


async def test_an_action_that_fails_is_told(sim: Simulator, clock: StillClock) -> None:
    """By its last step, its reason and the exit code, and the others are watched on."""
    bad = add(sim, "bulkemail_bad", duration=LONG, ends_well=False)
    good = add(sim, "bulkemail_good", duration=2 * LONG)
    async with running("watch", "--active", "--json", env=for_simulator(sim)) as process:
        for _ in (bad, good):
            await read_until(process, "processing")
        clock.move(LONG)
        failed = json.loads(await read_until(process, '"status": "error"'))
        clock.move(LONG)
        done = await finish(process)
    assert failed["ref"] == bad
    assert done.code == 1
    assert done.err == f"closebulk: {bad}: the action failed; the API gives no reason\n"
    assert json.loads(done.lines[-1])["status"] == "done"


async def test_an_action_that_cannot_be_read_is_a_failure(sim: Simulator, closebulk: Closebulk) -> None:
    """Though it stood in the list a moment before."""
    ref = add(sim, "bulkemail_a", duration=LONG)
    sim.fail_next(faults.reply(404, '{"error": "no such thing"}'), path="/bulk_action/email/", skip=1, times=None)
    lost = await closebulk("watch", "--active", "--json")
    assert lost.code == 1
    found = json.loads(lost.out)
    assert found.keys() == {"ref", "error"}
    assert found["ref"] == ref
    assert lost.err == f"closebulk: {ref}: {found['error']}\n"


async def test_a_kind_that_may_not_be_read_is_left_out_unless_it_was_named(
    sim: Simulator, closebulk: Closebulk
) -> None:
    """It is said which; one that was named ends the watch."""
    sim.fail_next(faults.forbidden(), path="/export/", times=2)
    left = await closebulk("watch", "--active")
    assert (left.code, left.out) == (0, "")
    why, what = left.err.splitlines()
    assert why.startswith("closebulk: export actions are left out: ")
    assert what == "closebulk: nothing that may be read is running"
    refused = await closebulk("watch", "--active", "--kind", "export")
    assert (refused.code, refused.out) == (1, "")
    assert "403 Forbidden" in refused.err


async def test_where_no_list_may_be_read_nobody_knows_what_runs(sim: Simulator, closebulk: Closebulk) -> None:
    """That is a failure, and not a quiet day."""
    sim.fail_next(faults.forbidden(), times=None)
    refused = await closebulk("watch", "--active")
    *reasons, last = refused.err.splitlines()
    assert (refused.code, refused.out, last) == (1, "", "closebulk: none of the lists may be read")
    assert {line.split(" actions are left out: ")[0] for line in reasons} == {f"closebulk: {kind}" for kind in Kind}


@pytest.mark.parametrize("options", [(), ("--kind", "email", "--kind", "edit")])
async def test_a_list_that_cannot_be_read_does_not_end_the_others(
    sim: Simulator, clock: StillClock, options: tuple[str, ...]
) -> None:
    """It is said which, the rest is watched to its end, and the exit code tells that something is missing."""
    ref = add_running(sim, "email")
    sim.fail_next(faults.reply(404, '{"error": "no such list"}'), path="/bulk_action/edit/")
    async with running("watch", "--active", *options, env=for_simulator(sim)) as process:
        said = await read_until(process, "left out", stream="stderr")
        await read_until(process, ref)
        clock.move(LONG)
        done = await finish(process)
    assert said.startswith("closebulk: edit actions are left out: GET /bulk_action/edit/ was answered with 404")
    assert (done.code, done.lines[-1], done.err) == (1, f"{ref}: done, 100 of 100 (100%)", "")


async def test_after_a_list_that_could_not_be_read_it_is_read_again(sim: Simulator, closebulk: Closebulk) -> None:
    """The command that goes on looks for everything anew, though there are few refs."""
    add_running(sim, "email")
    sim.fail_next(faults.reply(404, '{"error": "no such list"}'), path="/bulk_action/edit/")
    late = await closebulk("watch", "--active", "--timeout", "0.3")
    assert late.code == 1
    assert late.err.splitlines()[-1] == "closebulk: to go on watching: closebulk watch --active"
    sim.fail_next(faults.reply(404, '{"error": "no such list"}'), path="/bulk_action/edit/")
    nothing = await closebulk("watch", "--active", "--kind", "edit")
    assert (nothing.code, nothing.err.splitlines()[-1]) == (1, "closebulk: none of the lists could be read")


async def test_a_key_that_is_refused_ends_it(
    sim: Simulator, closebulk: Closebulk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one line: that nothing were running nobody has seen."""
    add_running(sim, "email")
    monkeypatch.setenv("CLOSE_API_KEY", "api_wrong")
    refused = await closebulk("watch", "--active")
    assert (refused.code, refused.out, len(refused.err.splitlines())) == (1, "", 1)
    assert "401 Unauthorized" in refused.err


async def interrupt(sim: Simulator, *options: str, jobs: int) -> str:
    """What a watch of all that runs says when it is interrupted, once so many jobs were shown."""
    async with running("watch", "--active", *options, env=for_simulator(sim)) as process:
        for _ in range(jobs):
            await read_until(process, ": ")
        process.send_signal(signal.SIGINT)
        interrupted = await finish(process)
    assert interrupted.code == 130
    assert {request.method for request in sim.requests} == {"GET"}
    return interrupted.err


async def test_an_interrupted_watch_of_a_few_goes_on_with_their_refs(sim: Simulator) -> None:
    """Those that have ended by then are left out."""
    kinds: tuple[KindName, ...] = ("email", "delete", "edit")
    refs = {add_running(sim, kind) for kind in kinds}
    said = await interrupt(sim, *(word for kind in kinds for word in ("--kind", kind)), jobs=3)
    start, _, named = said.partition(" with: closebulk watch ")
    assert start == "closebulk: interrupted; 3 jobs go on, watch them"
    assert set(named.split()) == refs


@pytest.mark.parametrize("options", [(), ("--kind", "email"), ("--kind", "email", "--kind", "edit")])
async def test_an_interrupted_watch_of_many_goes_on_with_the_same_command(
    sim: Simulator, options: tuple[str, ...]
) -> None:
    """A line of many refs would be hard to copy."""
    for _ in range(4):
        add_running(sim, "email")
    command = " ".join(("closebulk watch --active", *options))
    assert await interrupt(sim, *options, jobs=4) == (
        f"closebulk: interrupted; 4 jobs go on, watch them with: {command}\n"
    )


async def test_a_watch_that_is_interrupted_early_does_not_say_that_all_has_ended(
    sim: Simulator, clock: StillClock
) -> None:
    """While the lists are read nobody knows yet."""
    sim.fail_next(faults.delay(LONG), times=None)
    async with running("watch", "--active", env=for_simulator(sim)) as process:
        await clock.is_waited_for.wait()
        process.send_signal(signal.SIGINT)
        interrupted = await finish(process)
    said = "closebulk: interrupted; what runs goes on, watch it with: closebulk watch --active\n"
    assert (interrupted.code, interrupted.out, interrupted.err) == (130, "", said)


@pytest.mark.parametrize("jobs", [0, 1, 4])
async def test_whoever_goes_on_is_who_began(sim: Simulator, clock: StillClock, tmp_path: Path, jobs: int) -> None:
    """The profile is part of the command, of a few refs, of many, and of none that is known yet."""
    kept = {"base_url": sim.base_url, "api_key": sim.api_key}
    (tmp_path / "keyring.json").write_text(json.dumps({"closebulk_async work": json.dumps(kept)}))
    env = keyrings.environment_with(tmp_path / "keyring.json")
    refs = [add_running(sim, "email") for _ in range(jobs)]
    if not jobs:
        sim.fail_next(faults.delay(LONG), times=None)
    async with running("--profile", "work", "watch", "--active", "--kind", "email", env=env) as process:
        if not jobs:
            await clock.is_waited_for.wait()
        for _ in refs:
            await read_until(process, ": ")
        process.send_signal(signal.SIGINT)
        said = (await finish(process)).err
    rest = refs[0] if jobs == 1 else "--active --kind email"
    assert said.endswith(f" with: closebulk --profile work watch {rest}\n")
