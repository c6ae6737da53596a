"""What a wait yields, returns and raises, row by row of what it promises, each at its exact instant."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import TYPE_CHECKING, get_args

import pytest

from closebulk_async import (
    BulkActionFailed,
    BulkActionPaused,
    BulkActionStalled,
    PollPolicy,
    Status,
)
from closebulk_async.simulator import faults
from closebulk_async.waiters import OnPaused
from tests.stage import follow

if TYPE_CHECKING:
    from tests.stage import Stage

WEEK = timedelta(days=7)


async def test_it_polls_at_once(stage: Stage) -> None:
    """Nothing is asked before the first step, and the first step takes no time."""
    ref = stage.run_job(duration=5)
    wait = stage.close.wait_until_done(ref)
    await stage.clock.advance(2)
    assert stage.polls() == []
    progress = await anext(wait)
    assert (stage.now, stage.polls(), progress.polls) == (2, [2.0], 1)
    assert progress.elapsed == timedelta(0)
    await wait.aclose()


async def test_each_movement_is_one_progress(stage: Stage) -> None:
    """A poll that shows nothing new yields nothing; a counter or a status that moved yields one progress."""
    ref = stage.run_job(duration=10, counting=0, n_objects=8, curve="four_steps")
    seen = await follow(stage.close.wait_until_done(ref), stage.clock)
    assert [(at, progress.n_objects_processed) for at, progress in seen] == [(0, 0), (3, 2), (5, 4), (8, 6), (10, 8)]
    assert stage.polls() == [float(second) for second in range(11)]
    assert all(progress.changed for _, progress in seen)
    assert [progress.polls for _, progress in seen] == [1, 4, 6, 9, 11]
    assert [progress.elapsed.total_seconds() for _, progress in seen] == [0, 3, 5, 8, 10]
    assert [progress.next_poll_in for _, progress in seen] == [timedelta(seconds=1)] * 4 + [None]


async def test_a_status_that_moved_is_a_progress(stage: Stage) -> None:
    """From null counts on: created, loading, processing, and at the end done."""
    ref = stage.run_job(duration=10, counting=6, n_objects=9, curve="silent")
    seen = await follow(stage.close.wait_until_done(ref), stage.clock)
    assert [(at, progress.status, progress.n_objects) for at, progress in seen] == [
        (0, Status.CREATED, None),
        (3, Status.LOADING, None),
        (6, Status.PROCESSING, 9),
        (10, Status.DONE, 9),
    ]


async def test_a_heartbeat_is_a_step_without_movement(stage: Stage) -> None:
    """While nothing moves there is one progress with changed=False each heartbeat, and none without the option."""
    ref = stage.run_job(duration=10, counting=0, curve="silent")
    seen, quiet = await asyncio.gather(
        follow(stage.close.wait_until_done(ref, heartbeat=timedelta(seconds=3)), stage.clock),
        follow(stage.close.wait_until_done(ref), stage.clock),
    )
    assert [(at, progress.changed) for at, progress in seen] == [
        (0, True), (3, False), (6, False), (9, False), (10, True),
    ]  # fmt: skip
    assert [at for at, _ in quiet] == [0, 10]


async def test_a_movement_begins_the_heartbeat_anew(stage: Stage) -> None:
    """The silence is measured from the latest step, whatever its reason was."""
    ref = stage.run_job(duration=10, counting=0, n_objects=2, curve="linear")
    seen = await follow(stage.close.wait_until_done(ref, heartbeat=3.5), stage.clock)
    assert [(at, progress.changed) for at, progress in seen] == [
        (0, True), (3.5, False), (5, True), (8.5, False), (10, True),
    ]  # fmt: skip


async def test_a_heartbeat_is_counted_from_the_question(stage: Stage) -> None:
    """A consumer that was busy for longer is not told at once that nothing moved."""
    wait = stage.close.wait_until_done(stage.run_job(duration=100, counting=0, curve="silent"), heartbeat=3)
    await anext(wait)
    await stage.clock.advance(10)
    assert (await anext(wait)).changed is False
    assert stage.now == 13
    await wait.aclose()


async def test_counters_never_run_backwards(stage: Stage) -> None:
    """A snapshot of an earlier state is no movement, and a total that is null once more is not forgotten."""
    ref = stage.run_job(duration=6, counting=0, n_objects=6)
    stage.sim.fail_next(faults.altered(n_objects_processed=1, n_objects=None), skip=3)
    seen = await follow(stage.close.wait_until_done(ref), stage.clock)
    assert [(at, progress.n_objects_processed) for at, progress in seen] == [
        (0, 0),
        (1, 1),
        (2, 2),
        (4, 4),
        (5, 5),
        (6, 6),
    ]
    assert {progress.n_objects for _, progress in seen} == {6}


async def test_done_is_the_last_progress_and_the_outcome(stage: Stage) -> None:
    """The generator ends after it, for good, and awaiting gives the action without another request."""
    ref = stage.run_job(duration=2.5, n_objects=4)
    wait = stage.close.wait_until_done(ref)
    seen = await follow(wait, stage.clock)
    at, last = seen[-1]
    assert (at, last.is_final, last.status, last.fraction, last.error) == (3, True, Status.DONE, 1.0, None)
    with pytest.raises(StopAsyncIteration):
        await anext(wait)
    asked = stage.polls()
    assert await wait is last.action
    assert (await wait.result()).ref == ref
    assert stage.polls() == asked


async def test_an_error_is_the_last_progress_and_then_raised(stage: Stage) -> None:
    """The last progress carries the error that then comes, once to the iteration and each time to who awaits."""
    ref = stage.run_job(duration=2.5, n_objects=4, ends="error")
    wait = stage.close.wait_until_done(ref)
    seen = []
    with pytest.raises(BulkActionFailed) as raised:
        async for progress in wait:
            seen.append(progress)  # noqa: PERF401 - what came before the error counts
    assert (stage.now, seen[-1].status, seen[-1].is_final) == (3, Status.ERROR, True)
    assert seen[-1].error is raised.value
    assert (raised.value.ref, raised.value.action) == (ref, seen[-1].action)
    assert raised.value.progress is not None
    assert raised.value.progress.n_objects_processed == 2
    with pytest.raises(StopAsyncIteration):
        await anext(wait)
    for _ in range(2):
        with pytest.raises(BulkActionFailed) as again:
            await wait
        assert again.value is raised.value


async def test_a_pause_is_polled_slowly_until_it_ends(stage: Stage) -> None:
    """Paused is a progress and no end: polls come each minute, and after resuming each second again."""
    ref = stage.run_job(duration=10, counting=0, n_objects=10)
    job = stage.sim.jobs[0]
    paused_at = stage.clock.now() + timedelta(seconds=2)

    async def pause_and_resume() -> None:
        await stage.clock.sleep(2)
        job.pause(stage.clock.now())
        await stage.clock.sleep(150)
        job.resume(stage.clock.now())

    person = asyncio.create_task(pause_and_resume())
    await stage.clock.settle()
    seen = await follow(stage.close.wait_until_done(ref), stage.clock)
    await person
    assert stage.polls() == [0, 1, 2, 62, 122, *range(182, 183)]
    assert [progress.status for _, progress in seen][-2:] == [Status.PAUSED, Status.DONE]
    (paused,) = [progress for _, progress in seen if progress.status is Status.PAUSED]
    assert (paused.paused_since, paused.eta, paused.is_final) == (paused_at, None, False)
    assert paused.next_poll_in == timedelta(minutes=1)
    assert seen[-1][1].paused_since is None


async def test_a_pause_is_raised_to_who_asked(stage: Stage) -> None:
    """With on_paused="raise" the pause is the last progress and then BulkActionPaused, at the poll that shows it."""
    ref = stage.run_job(duration=100)
    wait = stage.close.wait_until_done(ref, on_paused="raise")
    await anext(wait)
    stage.sim.jobs[0].pause(stage.clock.now())
    assert (await anext(wait)).status is Status.PAUSED
    with pytest.raises(BulkActionPaused) as raised:
        await anext(wait)
    assert stage.now == 1
    assert raised.value.action is not None
    assert raised.value.action.is_paused
    with pytest.raises(BulkActionPaused):
        await wait


async def test_a_pause_is_the_outcome_of_who_asked_for_that(stage: Stage) -> None:
    """With on_paused="return" the wait ends with the paused action."""
    ref = stage.show_job(status="paused")
    wait = stage.close.wait_until_done(ref, on_paused="return")
    ((at, progress),) = await follow(wait, stage.clock)
    assert (at, progress.status) == (0, Status.PAUSED)
    assert (await wait).is_paused


@pytest.mark.parametrize("on_paused", get_args(OnPaused))
async def test_a_pause_of_more_than_seven_days_is_an_error(stage: Stage, on_paused: OnPaused) -> None:
    """Such an action cannot be resumed any more, so that no wait goes on for it or takes it for an outcome."""
    ref = stage.show_job(status="paused", date_updated=stage.clock.now() - WEEK - timedelta(seconds=1))
    with pytest.raises(BulkActionPaused, match="too long ago"):
        await stage.close.wait_until_done(ref, on_paused=on_paused, timeout=60)  # lest it waits for ever
    assert stage.now == 0


async def test_seven_days_pass_during_a_wait(stage: Stage) -> None:
    """The first poll after the seventh day raises, and none before."""
    ref = stage.show_job(status="paused", date_updated=stage.clock.now() - WEEK + timedelta(seconds=90))
    with pytest.raises(BulkActionPaused):
        await stage.close.wait_until_done(ref, timeout=600)
    assert stage.polls() == [0, 60, 120]


@pytest.mark.parametrize("status", ["archiving", None])
async def test_an_unknown_status_counts_as_running(
    stage: Stage, caplog: pytest.LogCaptureFixture, status: str | None
) -> None:
    """It is said once in the log, the wait goes on, and the end is noticed as ever."""
    ref = stage.run_job(duration=5, counting=0, curve="silent")
    stage.sim.fail_next(faults.altered(status=status), times=5)
    with caplog.at_level(logging.WARNING, logger="closebulk_async"):
        seen = await follow(stage.close.wait_until_done(ref), stage.clock)
    assert [(at, progress.status) for at, progress in seen] == [(0, status), (5, "done")]
    (warning,) = caplog.records
    assert str(ref) in warning.message
    assert repr(status) in warning.message


@pytest.mark.parametrize(("stall_timeout", "stalls_at"), [(None, 86_400), (7200, 7200), (180_000, 180_000)])
async def test_an_unknown_status_without_movement_is_a_stall(
    stage: Stage, stall_timeout: float | None, stalls_at: float
) -> None:
    """After 24 hours, because such a word may be final; a stall_timeout of the caller's goes first."""
    ref = stage.show_job(status="archived", n_objects=10, n_objects_processed=5)
    async with stage.client(PollPolicy(floor=1800, ceiling=1800)) as close:
        with pytest.raises(BulkActionStalled):
            await close.wait_until_done(ref, stall_timeout=stall_timeout, timeout=WEEK)  # lest it waits for ever
    assert stage.now == stalls_at


async def test_a_known_status_without_movement_is_no_stall(stage: Stage) -> None:
    """Who sets no stall_timeout waits for days."""
    ref = stage.run_job(duration=timedelta(days=3), counting=0, curve="silent")
    async with stage.client(PollPolicy(floor=3600, ceiling=3600)) as close:
        assert (await close.wait_until_done(ref)).is_done
    assert stage.now == 3 * 86_400


async def test_unknown_totals_are_never_made_up(stage: Stage) -> None:
    """While n_objects is null there is neither fraction nor ETA, however much is processed; once done it is 1.0."""
    ref = stage.run_job(duration=4, counting=0, n_objects=8)
    stage.sim.fail_next(faults.altered(n_objects=None, n_leads=None), times=None)
    seen = await follow(stage.close.wait_until_done(ref), stage.clock)
    assert [progress.n_objects_processed for _, progress in seen] == [0, 2, 4, 6, 8]
    assert {(progress.n_objects, progress.fraction, progress.eta) for _, progress in seen[:-1]} == {(None, None, None)}
    assert (seen[-1][1].n_objects, seen[-1][1].fraction) == (None, 1.0)


async def test_nothing_of_nothing_is_all_of_it(stage: Stage) -> None:
    """An action that matched nothing has no fraction while it runs, and 1.0 when it is done."""
    ref = stage.run_job(duration=2, counting=0, n_objects=0)
    seen = await follow(stage.close.wait_until_done(ref), stage.clock)
    assert [progress.fraction for _, progress in seen] == [None, 1.0]
