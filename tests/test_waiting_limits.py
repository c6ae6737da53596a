"""Timeouts and stalls: when a wait gives up, what it looks at before, and which options make no sense."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from closebulk_async import (
    BulkActionStalled,
    BulkEmail,
    InvalidRequestError,
    PollPolicy,
    ServerError,
    WaitTimeout,
)
from closebulk_async.simulator import faults

if TYPE_CHECKING:
    from closebulk_async.simulator import Fault
    from tests.stage import Stage


async def test_a_timeout_reads_once_more_and_says_that_the_job_runs(stage: Stage) -> None:
    """WaitTimeout is a TimeoutError too, comes at that instant, and carries ref, action and progress."""
    ref = stage.run_job(duration=100, counting=0, n_objects=100)
    wait = stage.close.wait_until_done(ref, timeout=timedelta(seconds=3.5))
    seen = []
    with pytest.raises(WaitTimeout, match="job goes on") as raised:
        async for progress in wait:
            seen.append(progress)  # noqa: PERF401 - what came before the error counts
    assert isinstance(raised.value, TimeoutError)
    assert stage.polls() == [0, 1, 2, 3, 3.5]
    assert stage.now == 3.5
    assert raised.value.ref == ref
    assert raised.value.progress is not None
    assert raised.value.action is raised.value.progress.action
    assert raised.value.progress.n_objects_processed == seen[-1].n_objects_processed == 3
    assert raised.value.progress.elapsed == timedelta(seconds=3.5)
    assert stage.was_never_touched()
    with pytest.raises(WaitTimeout):
        await wait
    assert await stage.nothing_is_left()
    assert (await stage.close.get(ref)).is_done


async def test_a_timeout_without_any_good_poll_does_not_say_that_the_job_runs(stage: Stage) -> None:
    """Then nobody knows: the message names the last failure, which is also the cause."""
    ref = stage.run_job(duration=100)
    stage.sim.fail_next(faults.server_error(502), times=None)
    with pytest.raises(WaitTimeout, match=r"could not be read within 0:00:03.*502") as raised:
        await stage.close.wait_until_done(ref, timeout=3)
    assert isinstance(raised.value.__cause__, ServerError)
    assert raised.value.action is None
    assert raised.value.progress is None


async def test_the_eta_of_a_heartbeat_counts_down(stage: Stage) -> None:
    """It says what is left now, not what was left at the latest poll."""
    async with stage.client(PollPolicy(floor=10, ceiling=10)) as close:
        ref = stage.run_job(duration=100, counting=0, n_objects=100)
        steps = [step async for step in close.wait_until_done(ref, heartbeat=4)]
    beats = [(before, after) for before, after in pairwise(steps) if before.eta and after.eta and not after.changed]
    assert len(beats) > 10
    assert {before.eta - after.eta for before, after in beats if before.eta and after.eta} == {timedelta(seconds=4)}


async def test_a_job_that_ended_before_the_timeout_is_done(stage: Stage) -> None:
    """The status is judged before the clock: what the last read shows is the outcome."""
    ref = stage.run_job(duration=3.4)
    assert (await stage.close.wait_until_done(ref, timeout=3.5)).is_done
    assert stage.now == 3.5


@pytest.mark.parametrize(
    ("fault", "ends_at"),
    [(faults.hang(), 4.5), (faults.server_error(502), 3.5), (faults.delay(0.4), 3.9), (faults.delay(5), 4.5)],
    ids=["hangs", "fails", "is slow", "is too slow"],
)
async def test_the_last_read_takes_a_second_at_most(stage: Stage, fault: Fault, ends_at: float) -> None:
    """A read that fails or does not come in time changes nothing about the timeout."""
    ref = stage.run_job(duration=100)
    stage.sim.fail_next(fault, times=None, skip=4)
    with pytest.raises(WaitTimeout):
        await stage.close.wait_until_done(ref, timeout=3.5)
    assert stage.now == pytest.approx(ends_at)
    assert await stage.nothing_is_left()


@pytest.mark.parametrize(("duration", "expected"), [(3.15, BulkEmail), (100, WaitTimeout)])
async def test_the_last_read_does_not_wait_for_a_poll_that_is_under_way(
    stage: Stage, duration: float, expected: type[object]
) -> None:
    """What was asked before the timeout may be answered with an older state, or never: it is asked once more."""
    ref = stage.run_job(duration=duration, counting=0, curve="silent")
    stage.sim.fail_next(faults.delay(0.4, acts_first=True), skip=3)
    (outcome,) = await asyncio.gather(stage.close.wait_until_done(ref, timeout=3.2), return_exceptions=True)
    assert type(outcome) is expected
    assert stage.polls() == [0, 1, 2, 3, 3.2]
    assert stage.now == pytest.approx(3.2)


async def test_a_timeout_of_zero_is_one_look(stage: Stage) -> None:
    """A job that is done is returned; one that runs is a WaitTimeout, both at once."""
    done, running = stage.show_job(status="done"), stage.run_job(duration=100)
    assert (await stage.close.wait_until_done(done, timeout=0)).is_done
    with pytest.raises(WaitTimeout):
        await stage.close.wait_until_done(running, timeout=0)
    assert stage.now == 0


async def test_a_timeout_during_a_silence_that_the_server_asked_for(stage: Stage) -> None:
    """No poll breaks the silence, and the wait ends within the second of the last read."""
    ref = stage.run_job(duration=100)
    stage.sim.fail_next(faults.too_many_requests(retry_after=30), skip=1)
    with pytest.raises(WaitTimeout):
        await stage.close.wait_until_done(ref, timeout=5)
    assert 5 <= stage.now <= 6
    assert stage.polls() == [0, 1]


async def test_a_stall_is_stated_when_it_is_due(stage: Stage) -> None:
    """Even where polls are rare, one comes at the instant at which the stall can be stated."""
    ref = stage.run_job(duration=10_000, counting=0, curve="silent")
    async with stage.client(PollPolicy(floor=1, ceiling=3600, factor=100)) as close:
        with pytest.raises(BulkActionStalled) as raised:
            await close.wait_until_done(ref, stall_timeout=timedelta(seconds=42))
    assert stage.now == 42
    assert raised.value.progress is not None
    assert raised.value.progress.stalled_for == timedelta(seconds=42)


async def test_a_movement_postpones_the_stall(stage: Stage) -> None:
    """Only time without any movement counts."""
    ref = stage.run_job(duration=40, counting=0, n_objects=4, curve=((0, 0), (0.25, 0), (0.25, 0.5), (1, 0.5)))
    with pytest.raises(BulkActionStalled):
        await stage.close.wait_until_done(ref, stall_timeout=12)
    assert stage.now == 22


async def test_a_stall_needs_two_good_polls(stage: Stage) -> None:
    """A server that does not answer is no job that does not move."""
    ref = stage.run_job(duration=10_000, counting=0, curve="silent")
    stage.sim.fail_next(faults.server_error(502), times=20, skip=1)
    with pytest.raises(BulkActionStalled):
        await stage.close.wait_until_done(ref, stall_timeout=5)
    assert stage.now == 21


async def test_a_paused_action_does_not_stall(stage: Stage) -> None:
    """A pause may last for days; what runs after it has its whole stall_timeout."""
    ref = stage.run_job(duration=1000, counting=0, curve="silent", resuming=0)
    job = stage.sim.jobs[0]
    job.pause(stage.clock.now())
    wait = stage.close.wait_until_done(ref, stall_timeout=30)
    await anext(wait)
    await stage.clock.advance(600)
    job.resume(stage.clock.now())
    with pytest.raises(BulkActionStalled):
        await wait
    assert stage.now == 660 + 30


@pytest.mark.parametrize(
    "options",
    [
        {"on_paused": "ignore"}, {"heartbeat": 0}, {"stall_timeout": 0}, {"timeout": -1},
        {"timeout": float("nan")}, {"heartbeat": float("inf")}, {"stall_timeout": "1h"}, {"timeout": True},
    ],
)  # fmt: skip
async def test_an_option_that_makes_no_sense_raises_before_any_request(
    stage: Stage, options: dict[str, object]
) -> None:
    """The message names the option and what it was."""
    (name,) = options
    with pytest.raises(InvalidRequestError, match=name):
        stage.close.wait_until_done("email:bulkemail_1", **options)  # type: ignore[call-overload]  # the mistake
    assert stage.sim.requests == ()
