"""`closebulk recover`, `adopt` and `abandon`, on journals that earlier processes have left."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import TYPE_CHECKING

import pytest

from closebulk_async.intents import State
from closebulk_async.simulator import faults

from .programs import Finished, answer, finish, for_simulator, read_until, running
from .starts import EMAIL, crash, start, starts, state_of

if TYPE_CHECKING:
    from pathlib import Path

    from closebulk_async.simulator import Simulator

    from .conftest import Closebulk
    from .programs import StillClock


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """Where a journal is, or will be."""
    return tmp_path / "closebulk.db"


def n_posts(sim: Simulator) -> int:
    """How many starts were sent."""
    return len(starts(sim))


async def test_what_still_runs(sim: Simulator, closebulk: Closebulk, journal: Path) -> None:
    """An action that runs is one line with the ref last, and nothing that anybody has to do."""
    sim.next_job(duration=1000, counting=0.0, n_objects=100)
    ref = await start(sim, journal)
    done = await closebulk("recover", "--journal", str(journal))
    (line,) = done.lines
    intent, _, what = line.partition("  ")
    assert (done.code, what) == (0, f"processing, 0 of 100 (0%)  {ref}")
    assert await state_of(journal, intent) is State.STARTED
    assert done.err == f"closebulk: to watch what still runs: closebulk recover --watch --journal {journal}\n"
    assert n_posts(sim) == 1


async def test_what_has_ended(sim: Simulator, clock: StillClock, closebulk: Closebulk, journal: Path) -> None:
    """An action that is done is told once, one that failed makes the exit code 1."""
    sim.next_job(duration=10, counting=0.0, n_objects=100)
    done_ref = await start(sim, journal)
    clock.move(10)
    done = await closebulk("recover", "--journal", str(journal))
    assert (done.code, done.out.partition("  ")[2]) == (0, f"done, 100 of 100 (100%)  {done_ref}\n")
    assert done.err == ""
    again = await closebulk("recover", "--journal", str(journal))
    assert again == Finished(0, "", f"closebulk: nothing is open in {journal}\n")
    sim.next_job(duration=10, counting=0.0, n_objects=100, ends="error")
    failed_ref = await start(sim, journal)
    clock.move(10)
    failed = await closebulk("recover", "--journal", str(journal))
    assert (failed.code, failed.out.partition("  ")[2]) == (1, f"error, 50 of 100 (50%)  {failed_ref}\n")


async def test_what_was_lost_is_found(sim: Simulator, closebulk: Closebulk, journal: Path) -> None:
    """The action of a start that a crash cut off is found in the list, and nothing is sent again."""
    intent = await crash(sim, journal)
    ref = await start(sim)
    done = await closebulk("recover", "--journal", str(journal))
    assert (done.code, len(sim.jobs)) == (0, 1)
    (line,) = done.lines
    assert line.startswith(f"{intent}  ")
    assert line.endswith(f"  {ref}")


async def test_what_never_ran(sim: Simulator, closebulk: Closebulk, journal: Path) -> None:
    """A keyed start whose action is nowhere may be started with its key, which is said; of others it is said once."""
    intent = await crash(sim, journal, key="campaign")
    done = await closebulk("recover", "--journal", str(journal))
    said = f"{intent}  never ran: the same start with the key 'campaign' sends it\n"
    assert (done.code, done.out, starts(sim)) == (0, said, [])
    keyless = await crash(sim, journal)
    told = (await closebulk("recover", "--journal", str(journal))).out
    assert sorted(told.splitlines(keepends=True)) == sorted([said, f"{keyless}  never ran\n"])
    assert (await closebulk("recover", "--journal", str(journal))).out == said
    assert await state_of(journal, keyless) is State.FINAL


async def test_what_nobody_knows(sim: Simulator, closebulk: Closebulk, journal: Path) -> None:
    """Where several actions may be it, the exit code is 4, and what an operator can do is said."""
    intent = await crash(sim, journal)
    refs = {await start(sim), await start(sim)}
    lost = await closebulk("recover", "--journal", str(journal))
    assert lost.code == 4
    assert lost.out.startswith(f"{intent}  unknown: it may be email:")
    assert all(ref in lost.out for ref in refs)
    assert f"closebulk: if it is there: closebulk adopt {intent} REF --journal {journal}" in lost.err.splitlines()
    as_json = json.loads((await closebulk("recover", "--journal", str(journal), "--json")).out)
    assert set(as_json.pop("candidates")) == refs
    assert as_json.pop("error").startswith("it may be email:")
    assert as_json == {
        "intent": intent,
        "kind": "email",
        "state": "posting",
        "idempotency_key": None,
        "ref": None,
        "action": None,
    }


async def test_what_cannot_be_read(sim: Simulator, closebulk: Closebulk, journal: Path) -> None:
    """An action that cannot be read just now is told with its ref, and the exit code is 1."""
    ref = await start(sim, journal)
    sim.fail_next(faults.reply(404, '{"error": "Gone."}'), path=f"/{sim.jobs[0].id}/")
    failed = await closebulk("recover", "--journal", str(journal))
    assert failed.code == 1
    assert "could not be read: " in failed.out
    assert failed.out.endswith(f"  {ref}\n")


async def test_recovering_as_json(sim: Simulator, clock: StillClock, closebulk: Closebulk, journal: Path) -> None:
    """With --json an intent is an object, with the service's own object of its action."""
    ref = await start(sim, journal, key="campaign")
    found = json.loads((await closebulk("recover", "--journal", str(journal), "--json")).out)
    action = {"kind": "email", "ref": ref} | sim.jobs[0].snapshot(clock.now())
    assert (found["ref"], found["action"], found["idempotency_key"]) == (ref, action, "campaign")
    assert (found["state"], found["error"], found["candidates"]) == ("started", None, [])


async def test_recover_and_watch(sim: Simulator, clock: StillClock, journal: Path) -> None:
    """With --watch what runs is shown to its end, and ends as a watch does."""
    sim.next_job(duration=1000, counting=0.0, n_objects=100)
    ref = await start(sim, journal)
    async with running("recover", "--watch", "--journal", str(journal), env=for_simulator(sim)) as process:
        await read_until(process, f"{ref}: processing")
        clock.move(1000)
        done = await finish(process)
    assert done == Finished(0, f"{ref}: done, 100 of 100 (100%)\n", "")


async def test_recover_and_watch_for_a_while(sim: Simulator, closebulk: Closebulk, journal: Path) -> None:
    """With --timeout the watch ends with the code 3 where an action still runs."""
    sim.next_job(duration=1000, counting=0.0, n_objects=100)
    ref = await start(sim, journal)
    late = await closebulk("recover", "--watch", "--timeout", "0.3", "--journal", str(journal))
    assert late.code == 3
    assert late.err.splitlines()[-1] == f"closebulk: to go on watching: closebulk watch {ref}"


async def test_recover_and_watch_is_interrupted(sim: Simulator, journal: Path) -> None:
    """Ctrl-C while it watches says how to go on."""
    sim.next_job(duration=1000, counting=0.0, n_objects=100)
    ref = await start(sim, journal)
    async with running("recover", "--watch", "--journal", str(journal), env=for_simulator(sim)) as process:
        await read_until(process, f"{ref}: processing")
        process.send_signal(signal.SIGINT)
        done = await finish(process)
    said = f"closebulk: interrupted; the job goes on, watch it with: closebulk watch {ref}\n"
    assert done == Finished(130, "", said)


async def test_recover_is_interrupted(sim: Simulator, clock: StillClock, journal: Path) -> None:
    """Ctrl-C while it looks leaves the rest open, and says how to go on."""
    await start(sim, journal)
    sim.fail_next(faults.delay(1), path="/me/")
    async with running("recover", "--journal", str(journal), env=for_simulator(sim)) as process:
        await clock.is_waited_for.wait()
        process.send_signal(signal.SIGINT)
        done = await finish(process)
    said = f"closebulk: interrupted; to go on: closebulk recover --journal {journal}\n"
    assert done == Finished(130, "", said)


@pytest.mark.parametrize("command", [["recover"], ["adopt", "intent", "email:bulkemail_a"], ["abandon", "intent"]])
async def test_a_journal_that_is_not_there(
    sim: Simulator, closebulk: Closebulk, journal: Path, command: list[str]
) -> None:
    """A misspelled journal is refused, and not made: it would have nothing open."""
    refused = await closebulk(*command, "--journal", str(journal))
    assert (refused.code, refused.out) == (2, "")
    assert "does not exist" in refused.err
    assert not await asyncio.to_thread(journal.exists)
    assert "Missing option '--journal'" in (await closebulk(*command)).err
    assert sim.requests == ()


async def test_a_timeout_is_for_watching(sim: Simulator, closebulk: Closebulk, journal: Path) -> None:
    """How long `recover` takes is bounded by itself."""
    await start(sim, journal)
    n_requests = len(sim.requests)
    said = "closebulk: --timeout is for --watch\n"
    assert await closebulk("recover", "--timeout", "5", "--journal", str(journal)) == Finished(2, "", said)
    assert len(sim.requests) == n_requests


async def test_a_file_that_is_no_journal(closebulk: Closebulk, journal: Path) -> None:
    """What is no journal is refused in one line."""
    await asyncio.to_thread(journal.write_text, "no journal\n" * 100)
    refused = await closebulk("recover", "--journal", str(journal))
    assert refused.code == 1
    assert refused.err.startswith(f"closebulk: the journal {journal} cannot be used: ")


async def test_adopt(sim: Simulator, closebulk: Closebulk, journal: Path) -> None:
    """An operator says which action it was; from then on the key stands for it."""
    intent = await crash(sim, journal, key="campaign")
    refs = [await start(sim), await start(sim)]
    done = await closebulk("adopt", intent, refs[0], "--journal", str(journal), "--yes")
    assert (done.code, done.err) == (0, "")
    assert done.out.endswith(f"  {refs[0]}\n")
    repeated = await closebulk(*EMAIL, "--yes", "--idempotency-key", "campaign", "--journal", str(journal))
    assert (repeated.code, repeated.out, n_posts(sim)) == (0, f"{refs[0]}\n", 2)
    as_json = await closebulk("adopt", intent, refs[0], "--journal", str(journal), "--yes", "--json")
    assert json.loads(as_json.out)["ref"] == refs[0]
    other = await closebulk("adopt", intent, refs[1], "--journal", str(journal), "--yes")
    assert (other.code, other.out) == (2, "")


@pytest.mark.parametrize(("answered", "code", "state"), [("y", 0, State.STARTED), ("n", 1, State.POSTING)])
async def test_adopt_asks(sim: Simulator, journal: Path, answered: str, code: int, state: State) -> None:
    """The question comes after the intent and the action; whatever is not yes changes nothing."""
    intent = await crash(sim, journal, key="campaign")
    ref = await start(sim)
    done = await answer(answered, "adopt", intent, ref, "--journal", str(journal), env=for_simulator(sim))
    assert done.code == code
    shown = done.err.splitlines()
    assert shown[0].startswith(f"closebulk: intent {intent}: a bulk email, written down ")
    assert shown[0].endswith(", with the key 'campaign', posting")
    assert shown[1].endswith(f" {ref}")
    assert shown[2].startswith("Is this action the one that it started? [y/N]")
    assert await state_of(journal, intent) is state


async def test_abandon(sim: Simulator, closebulk: Closebulk, journal: Path) -> None:
    """An operator gives a start up; its key is free again."""
    intent = await crash(sim, journal, key="campaign")
    done = await closebulk("abandon", intent, "--journal", str(journal), "--yes")
    assert done == Finished(0, "", f"closebulk: intent {intent} is given up; its key 'campaign' is free again\n")
    fresh = await closebulk(*EMAIL, "--yes", "--idempotency-key", "campaign", "--journal", str(journal))
    assert (fresh.code, n_posts(sim)) == (0, 1)


async def test_abandon_what_was_started(sim: Simulator, closebulk: Closebulk, journal: Path) -> None:
    """The action of a start goes on, and keeps its key."""
    ref = await start(sim, journal, key="campaign")
    intent = json.loads((await closebulk("recover", "--journal", str(journal), "--json")).out)["intent"]
    done = await closebulk("abandon", intent, "--journal", str(journal), "--yes")
    assert done == Finished(0, "", f"closebulk: intent {intent} is given up\n")
    repeated = await closebulk(*EMAIL, "--yes", "--idempotency-key", "campaign", "--journal", str(journal))
    assert (repeated.code, repeated.out, n_posts(sim)) == (0, f"{ref}\n", 1)


@pytest.mark.parametrize(("answered", "code", "state"), [("y", 0, State.FINAL), ("n", 1, State.POSTING)])
async def test_abandon_asks(sim: Simulator, journal: Path, answered: str, code: int, state: State) -> None:
    """Whatever is not yes changes nothing."""
    intent = await crash(sim, journal)
    done = await answer(answered, "abandon", intent, "--journal", str(journal), env=for_simulator(sim))
    assert done.code == code
    assert "\nGive it up? [y/N] " in done.err
    assert await state_of(journal, intent) is state


@pytest.mark.parametrize("command", [["adopt", "intent", "email:bulkemail_a"], ["abandon", "intent"]])
async def test_without_a_terminal_or_an_intent(
    sim: Simulator, closebulk: Closebulk, journal: Path, command: list[str]
) -> None:
    """Both need somebody to ask, or --yes, and an intent that the journal has."""
    await start(sim, journal)
    n_requests = len(sim.requests)
    said = "closebulk: there is no terminal to ask on: --yes goes on without the question\n"
    assert await closebulk(*command, "--journal", str(journal)) == Finished(2, "", said)
    unknown = await closebulk(*command, "--journal", str(journal), "--yes")
    assert unknown == Finished(2, "", "closebulk: the journal has no intent 'intent'\n")
    assert len(sim.requests) == n_requests


async def test_abandon_prints_json(sim: Simulator, closebulk: Closebulk, journal: Path) -> None:
    """The intent that was given up, and the key that is free again."""
    intent = await crash(sim, journal, key="campaign")
    done = await closebulk("abandon", intent, "--journal", str(journal), "--yes", "--json")
    assert done.code == 0
    assert json.loads(done.out) == {"intent": intent, "kind": "email", "idempotency_key": "campaign", "ref": None}
