"""Many who wait for one action: they cost the requests of one, come and go as they like, and share what is known."""

from __future__ import annotations

import asyncio
import gc
import random
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

import pytest

from closebulk_async import BulkActionFailed, BulkEmail, PollPolicy, WaitClosedError
from closebulk_async.simulator import faults
from closebulk_async.watching import MOST_FINISHED
from tests.stage import EVERY_SECOND, cancel, follow, step

if TYPE_CHECKING:
    from closebulk_async import JobRef, Wait
    from tests.stage import Stage


async def test_three_who_await_and_two_who_iterate_cost_the_requests_of_one(stage: Stage) -> None:
    """Of the very same instants, with the default cadence."""

    async def requests(n_awaiting: int, n_iterating: int) -> list[float]:
        async with stage.client(PollPolicy()) as close:
            begin, asked = stage.now, len(stage.polls())
            ref = stage.run_job(duration=500, n_objects=5000)
            waits = [close.wait_until_done(ref) for _ in range(n_awaiting + n_iterating)]
            await asyncio.gather(
                *(wait.result() for wait in waits[:n_awaiting]),
                *(follow(wait, stage.clock) for wait in waits[n_awaiting:]),
            )
            return [at - begin for at in stage.polls()[asked:]]

    alone, together = await requests(1, 0), await requests(3, 2)
    assert together == pytest.approx(alone, abs=1e-3)
    assert len(alone) > 5


@pytest.mark.parametrize("poll_under_way", [False, True])
@pytest.mark.parametrize("leaves_at", [0, 2.5])
async def test_the_first_one_leaves_and_the_others_go_on(
    stage: Stage, leaves_at: float, *, poll_under_way: bool
) -> None:
    """Whoever began the polls owns nothing: cancelled, also in the middle of one, it takes nobody along."""
    ref = stage.run_job(duration=10)
    if poll_under_way:
        stage.sim.fail_next(faults.delay(1), skip=int(leaves_at))
    tasks = [asyncio.create_task(stage.close.wait_until_done(ref).result()) for _ in range(4)]
    await stage.clock.advance(leaves_at)
    await cancel(tasks[0])
    assert all(action.is_done for action in await asyncio.gather(*tasks[1:]))
    assert stage.now <= 11
    assert max(stage.polls().count(at) for at in stage.polls()) == 1


async def test_who_was_cancelled_is_not_woken(stage: Stage) -> None:
    """And who stays is woken once for each step, not for what others leave."""
    ref = stage.run_job(duration=10, counting=0, n_objects=2)
    wait = stage.close.wait_until_done(ref)
    await anext(wait)
    gone = asyncio.create_task(step(stage.close.wait_until_done(ref)))
    await gone
    staying = asyncio.create_task(step(wait))
    await stage.clock.advance(2)
    leaving = [asyncio.create_task(stage.close.wait_until_done(ref).result()) for _ in range(3)]
    await stage.clock.advance(1)
    for task in leaving:
        await cancel(task)
    assert not staying.done()
    assert (await staying).n_objects_processed == 1
    assert stage.now == 5
    await wait.aclose()
    assert await stage.nothing_is_left()


@pytest.mark.parametrize("seed", range(20))
async def test_any_order_of_coming_and_going(stage: Stage, seed: int) -> None:
    """Some await and some iterate, some are cancelled, closed or collected, at any instant and whatever fails.

    Who stays has the outcome that the job has, polls of one action never overlap, and nothing is left.
    """
    rng = random.Random(seed)
    refs = [stage.run_job(duration=rng.uniform(5, 40), n_objects=rng.randrange(50)) for _ in range(rng.randrange(1, 4))]
    for _ in range(rng.randrange(8)):
        fault = rng.choice([faults.server_error(), faults.delay(1.5), faults.cut_after(), faults.broken_json()])
        stage.sim.fail_next(fault, skip=rng.randrange(10))
    staying: list[asyncio.Task[BulkEmail]] = []
    leaving: list[asyncio.Task[Any]] = []
    for _ in range(30):
        ref, what = rng.choice(refs), rng.randrange(6)
        wait = stage.close.wait_until_done(ref, heartbeat=rng.choice([None, 0.7]))
        if what == 0:
            staying.append(asyncio.create_task(wait.result()))
        elif what == 1:
            leaving.append(asyncio.create_task(wait.result()))
        elif what == 2:
            leaving.append(asyncio.create_task(follow(wait, stage.clock)))
        elif what == 3:
            await anext(wait)
            await wait.aclose()
        elif what == 4:
            await anext(wait)
        else:
            await wait.aclose()
        del wait
        await stage.clock.sleep(rng.choice([0, 0, 0.3, 1]))
        if leaving and rng.random() < 0.5:
            task = leaving.pop(rng.randrange(len(leaving)))
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
    for task in leaving:
        task.cancel()
    await asyncio.gather(*leaving, return_exceptions=True)
    assert all(action.is_done for action in await asyncio.gather(*staying))
    gc.collect()
    assert await stage.nothing_is_left()
    assert stage.was_never_touched()


async def test_a_wait_that_is_closed_under_its_awaiters_says_so(stage: Stage) -> None:
    """Each of them is told; those of other waits on the action are not."""
    ref = stage.run_job(duration=5)
    wait, other = stage.close.wait_until_done(ref), stage.close.wait_until_done(ref)
    tasks = [asyncio.create_task(wait.result()) for _ in range(2)]
    going_on = asyncio.create_task(other.result())
    await stage.clock.advance(1.5)
    await wait.aclose()
    assert [type(error) for error in await asyncio.gather(*tasks, return_exceptions=True)] == [WaitClosedError] * 2
    assert (await going_on).is_done


# What is remembered -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("later", "n_polls"), [(0, 0), (59, 0), (60, 1), (3600, 1)])
@pytest.mark.parametrize("ends", ["done", "error"])
async def test_what_has_just_ended_is_remembered(
    stage: Stage, ends: Literal["done", "error"], later: float, n_polls: int
) -> None:
    """For a minute it costs nothing to wait for it once more, in whatever way; after that it costs a poll."""
    ref = stage.run_job(duration=5, ends=ends)
    (first,) = await stage.close.wait_all([ref])
    asked = len(stage.polls())
    await stage.clock.advance(later)
    (again,) = await stage.close.wait_all([str(ref)])
    assert stage.now == 5 + later
    assert type(again.error) is type(first.error)
    assert (again.action is None) == (ends == "error")
    assert len(stage.polls()) - asked == n_polls
    steps = [progress async for progress in stage.close.watch(ref)]
    assert [(progress.is_final, progress.polls) for progress in steps] == [(True, 0)]
    assert isinstance(steps[0].error, BulkActionFailed) == (ends == "error")
    assert len(stage.polls()) - asked == n_polls


async def test_what_is_recalled_is_not_remembered_for_longer(stage: Stage) -> None:
    """The minute begins with the poll that showed the end, however often it is asked for."""
    ref = stage.run_job(duration=5)
    await stage.close.wait_until_done(ref)
    asked = len(stage.polls())
    for n_polls in (0, 0, 1):
        await stage.clock.advance(25)
        await stage.close.wait_until_done(ref)
        assert len(stage.polls()) - asked == n_polls


async def test_nothing_is_remembered_where_that_is_asked_for(stage: Stage) -> None:
    """With a `remember` of 0 each wait asks for itself."""
    ref = stage.show_job(status="done")
    async with stage.client(PollPolicy(remember=0)) as close:
        for _ in range(3):
            await stage.clock.advance(0.1)
            await close.wait_until_done(ref)
    assert len(stage.polls()) == 3


async def test_what_failed_to_be_read_is_not_remembered(stage: Stage) -> None:
    """An error of the API's is no end of the action: who waits next asks again."""
    ref = stage.run_job(duration=5)
    stage.sim.fail_next(faults.forbidden())
    (outcome,) = await stage.close.wait_all([ref])
    assert outcome.error is not None
    assert (await stage.close.wait_until_done(ref)).is_done


async def test_no_more_are_remembered_than_a_thousand(stage: Stage) -> None:
    """The latest ones: a client that follows jobs all day grows no larger."""
    others = _count_alive(BulkEmail)  # of tests before this one
    refs: list[JobRef[BulkEmail]] = []
    async with stage.client(EVERY_SECOND) as close:
        for _ in range(12):
            refs += (batch := [stage.show_job(status="done") for _ in range(100)])
            await close.wait_all(batch)
        assert _count_alive(BulkEmail) - others <= MOST_FINISHED + 100
        asked = len(stage.sim.requests)
        await close.wait_all(refs[-MOST_FINISHED:])
        assert len(stage.sim.requests) == asked
        await close.wait_all(refs[:10])
        assert len(stage.sim.requests) > asked


async def test_who_waits_for_what_has_ended_iterates_once(stage: Stage) -> None:
    """The last step is there without a request, and then the end."""
    ref = stage.run_job(duration=5)
    await stage.close.wait_until_done(ref)
    wait: Wait[BulkEmail] = stage.close.wait_until_done(ref)
    asked = len(stage.polls())
    ((at, progress),) = await follow(wait, stage.clock)
    assert (at, progress.is_final, progress.polls, len(stage.polls())) == (5, True, 0, asked)
    assert progress.elapsed.total_seconds() == 0


def _count_alive(cls: type) -> int:
    gc.collect()
    return sum(isinstance(item, cls) for item in gc.get_objects())
