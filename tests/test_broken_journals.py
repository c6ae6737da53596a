"""A journal that fails: before the POST nothing is sent, after it nothing is lost, and a wait goes on."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

import pytest

from closebulk_async import AmbiguousStartError, JournalError
from closebulk_async.intents import State
from closebulk_async.simulator import Simulator, faults
from closebulk_async.sqlite_journal import SqliteJournal
from closebulk_async.testing.chaos.children import running
from closebulk_async.testing.chaos.rescuing import make_scene, rescue
from tests.chaos.programs import start_on_a_full_disk
from tests.offices import Office, recover, start

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BEFORE = [
    "before enter",
    "after enter",
    "before begin",
    "after begin",
    "before swap to posting",
    "after swap to posting",
]
AFTER = ["before swap to started", "after swap to started"]


def failing(point: str, *, times: float) -> Callable[[str], None]:
    """For a journal: fails at that step and at those that follow, `times` in all."""
    has_begun, left = False, times

    def fail(step: str) -> None:
        nonlocal has_begun, left
        has_begun = has_begun or step == point
        if has_begun and left:
            left -= 1
            raise JournalError("no room")

    return fail


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged as a warning or worse."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("times", [1, float("inf")])
@pytest.mark.parametrize("point", BEFORE)
async def test_before_the_post(office: Office, point: str, times: float) -> None:
    """JournalError, and nothing is sent; the same create of a client whose journal works sends it, once."""
    broken = await office.telling(failing(point, times=times))
    with pytest.raises(JournalError, match="no room"):
        await start(broken)
    assert office.posts == 0
    await office.crash(broken)
    close = await office.client()
    for found in await recover(close):
        assert (found.intent.state, found.error) == (State.NEW, None)
    assert [(await start(close)).ref] == office.refs


@pytest.mark.parametrize("point", BEFORE)
async def test_once_before_the_post(office: Office, point: str) -> None:
    """When it works again, the same client can send it at once: it knows that nothing ran."""
    close = await office.telling(failing(point, times=1))
    with pytest.raises(JournalError):
        await start(close)
    assert [(await start(close)).ref] == office.refs
    assert office.clock.monotonic() == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize("times", [1, float("inf")])
@pytest.mark.parametrize("point", AFTER)
async def test_after_the_post(office: Office, point: str, times: float, caplog: pytest.LogCaptureFixture) -> None:
    """The action is returned, its ref is logged with the error, and who comes next finds it in the journal."""
    broken = await office.telling(failing(point, times=times))
    action = await start(broken)
    assert [action.ref] == office.refs
    assert str(action.ref) in said(caplog)[0]
    await office.crash(broken)
    (found,) = await recover(await office.client())
    assert (found.ref, found.error) == (action.ref, None)
    assert (await start(await office.client())).ref == action.ref
    assert office.posts == 1


async def test_the_same_client_after_the_post(office: Office) -> None:
    """It finds the action by itself once its own lease has run out, and sends nothing."""
    close = await office.telling(failing("before swap to started", times=1))
    action = await start(close)
    assert (await start(close)).ref == action.ref
    assert office.clock.monotonic() == pytest.approx(20, abs=1)
    assert office.posts == 1


async def test_while_it_looks_for_a_lost_answer(office: Office) -> None:
    """The error says that the outcome is unknown, not that the journal fails: nobody may take it for not sent."""
    office.sim.fail_next(faults.cut_after(), method="POST")
    broken = await office.telling(failing("before claimed", times=float("inf")))
    with pytest.raises(AmbiguousStartError):
        await start(broken)
    await office.crash(broken)
    assert [(await start(await office.client())).ref] == office.refs


async def test_after_a_rejection_that_is_repeated(office: Office) -> None:
    """It ends, in doubt though nothing ran: what could not be written down is not known to who comes next."""
    office.sim.fail_next(faults.too_many_requests(retry_after=1), method="POST")
    close = await office.telling(failing("before swap to new", times=1))
    with pytest.raises(AmbiguousStartError):
        await start(close)
    assert office.refs == []


async def test_what_is_no_journal(office: Office) -> None:
    """A damaged file fails the start before anything is sent, and stays as it is."""
    office.path.write_bytes(b"no database " * 1000)
    close = await office.client()
    with pytest.raises(JournalError, match=r"journal\.db"):
        await start(close)
    assert office.posts == 0
    assert office.path.read_bytes() == b"no database " * 1000


async def test_a_full_disk(tmp_path: Path) -> None:
    """Wherever a process may write no more: its start fails before anything is sent, or is there to be found."""
    outcomes = []
    for room in range(0, 60_000, 4096):
        async with Simulator() as sim:
            scene = make_scene(sim, partial(SqliteJournal, path := tmp_path / f"{room}.db"))
            async with running(start_on_a_full_disk, scene, room) as child:
                words = await child.hear()
                assert await child.ended() == 0
            jobs = [f"email:{job.id}" for job in sim.jobs]
            outcomes.append(len(jobs))
            assert jobs == [words] if jobs else words.startswith(f"JournalError: the journal {path}")
            assert sum(request.method == "POST" for request in sim.requests) == len(jobs)
            outcome = await rescue(sim, scene, known=0, told=words if jobs else None)
            assert outcome.is_well, outcome
    assert set(outcomes) == {0, 1}


class TestWaits:
    """A wait keeps the journal up to date, and does not need it."""

    async def test_it_notes_how_far_the_action_is(self, office: Office) -> None:
        """Each time that something has moved, and its end: the intent is final then."""
        office.sim.next_job(duration=100, n_objects=10)
        close = await office.client()
        action = await start(close)
        seen = []
        async for progress in close.wait_until_done(action):
            for intent in await close.journal.unfinished():
                assert intent.sighting is not None
                assert intent.sighting.status == str(progress.status)
                seen.append((intent.sighting.n_objects_processed, progress.n_objects_processed))
        assert len(seen) > 5
        assert all(noted == shown for noted, shown in seen)
        assert await close.journal.unfinished() == []

    async def test_an_action_of_somebody_else(self, office: Office) -> None:
        """Is waited for as ever; the journal has no intent of it, and gets none."""
        job = office.sim.add_job("email", status="done")
        close = await office.client()
        assert (await close.wait_until_done(f"email:{job.id}")).is_done
        assert await close.journal.unfinished() == []

    async def test_a_journal_that_fails(self, office: Office, caplog: pytest.LogCaptureFixture) -> None:
        """The wait goes on to its end, and each note that could not be written is said."""
        close = await office.telling(failing("before progress", times=float("inf")))
        action = await start(close)
        assert (await close.wait_until_done(action)).is_done
        assert said(caplog)
        assert all("could not be written" in text and str(action.ref) in text for text in said(caplog))
