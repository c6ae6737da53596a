"""Who consumes a wait, and how: awaited and iterated in any order, by many, slowly, or not at all."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from closebulk_async import (
    ClientClosedError,
    CloseBulk,
    InvalidRequestError,
    WaitClosedError,
    WaitTimeout,
)
from tests.stage import cancel, follow, step

if TYPE_CHECKING:
    from tests.stage import Stage


# One outcome, however it is asked for -----------------------------------------------------------------------------


async def test_it_can_be_awaited_in_the_middle_of_iterating(stage: Stage) -> None:
    """The outcome is the one that the iteration comes to, whose last progress is still there afterwards."""
    wait = stage.close.wait_until_done(stage.run_job(duration=10, counting=0, n_objects=10))
    async for progress in wait:
        if progress.n_objects_processed == 4:
            break
    action = await wait
    asked = stage.polls()
    rest = await follow(wait, stage.clock)
    assert [(at, progress.n_objects_processed) for at, progress in rest] == [(10, 10)]
    assert rest[0][1].action is action
    assert stage.polls() == asked == [float(second) for second in range(11)]


async def test_it_can_be_iterated_after_it_was_awaited(stage: Stage) -> None:
    """Then the last progress is all that is left of the way."""
    wait = stage.close.wait_until_done(stage.run_job(duration=3))
    action = await wait
    asked = stage.polls()
    ((at, progress),) = await follow(wait, stage.clock)
    assert (at, progress.action, stage.polls()) == (3, action, asked)
    assert progress.is_final


async def test_two_tasks_may_await_one_wait(stage: Stage) -> None:
    """Both get the same action, for the polls of one."""
    wait = stage.close.wait_until_done(stage.run_job(duration=3))
    async with asyncio.TaskGroup() as group:
        first, second = group.create_task(wait.result()), group.create_task(wait.result())
    assert first.result() is second.result()
    assert stage.polls() == [0, 1, 2, 3]


async def test_an_awaiter_and_an_iteration_share_a_wait(stage: Stage) -> None:
    """The iteration sees each step, and the awaiter the end at the same instant."""
    wait = stage.close.wait_until_done(stage.run_job(duration=3, counting=0, n_objects=3))
    action, seen = await asyncio.gather(wait, follow(wait, stage.clock))
    assert [progress.n_objects_processed for _, progress in seen] == [0, 1, 2, 3]
    assert seen[-1][1].action is action


async def test_two_iterations_at_once_raise(stage: Stage) -> None:
    """The second one is told at once, and the first goes on."""
    wait = stage.close.wait_until_done(stage.run_job(duration=10, counting=0, curve="silent"))
    await anext(wait)
    first = asyncio.create_task(step(wait))
    await stage.clock.advance(3)
    with pytest.raises(WaitClosedError, match="two consumers"):
        await anext(wait)
    assert (await first).is_final
    assert stage.now == 10


async def test_a_slow_consumer_gets_the_newest_and_the_final_progress(stage: Stage) -> None:
    """What it slept through is skipped, in no queue, and what ends the wait is never lost."""
    wait = stage.close.wait_until_done(stage.run_job(duration=100, counting=0, n_objects=100))
    seen = []
    async for progress in wait:
        seen.append(progress.n_objects_processed)
        await stage.clock.sleep(30.25)
    assert seen == [0, 30, 60, 90, 100]


async def test_what_a_slow_consumer_takes_fits_the_end_of_its_wait(stage: Stage) -> None:
    """After its timeout it is not shown what only others, who wait longer, came to see."""
    ref = stage.run_job(duration=100, counting=0, n_objects=100)
    other = asyncio.create_task(stage.close.wait_until_done(ref).result())
    wait = stage.close.wait_until_done(ref, timeout=10)
    await anext(wait)
    await other
    late = await anext(wait)
    assert stage.now == 100
    assert (late.n_objects_processed, late.elapsed.total_seconds(), late.is_final) == (10, 10, False)
    with pytest.raises(WaitTimeout) as raised:
        await anext(wait)
    assert raised.value.action is late.action


async def test_it_has_the_methods_of_a_generator(stage: Stage) -> None:
    """`asend(None)` is the next step and nothing else can be sent; `athrow` leaves and raises what was thrown."""
    wait = stage.close.wait_until_done(stage.run_job(duration=10))
    assert (await wait.asend(None)).polls == 1
    with pytest.raises(InvalidRequestError, match="'faster'"):
        await wait.asend("faster")
    mistake = KeyError("a mistake")
    with pytest.raises(KeyError) as raised:
        await wait.athrow(mistake)
    assert raised.value is mistake
    with pytest.raises(StopAsyncIteration):
        await anext(wait)
    assert await stage.nothing_is_left()


async def test_a_class_can_be_thrown(stage: Stage) -> None:
    """Also before the first step, and with a value beside it, as the protocol has it."""
    wait = stage.close.wait_until_done(stage.run_job(duration=10))
    with pytest.raises(ValueError, match=r"^$"):
        await wait.athrow(ValueError)
    with pytest.raises(ValueError, match="why"):
        await wait.athrow(ValueError, ValueError("why"))
    assert stage.sim.requests == ()


async def test_a_wait_that_nobody_used_warns(stage: Stage) -> None:
    """As a forgotten coroutine does, naming the action."""
    ref = stage.run_job(duration=10)
    with pytest.warns(RuntimeWarning, match=f"{ref} was never awaited nor iterated"):
        stage.close.wait_until_done(ref)
    assert stage.sim.requests == ()


async def test_a_wait_that_was_left_before_its_begin_does_not_warn(stage: Stage) -> None:
    """Leaving is a use; nothing was asked."""
    async with stage.close.wait_until_done(stage.run_job(duration=10)) as wait:
        pass
    with pytest.raises(WaitClosedError):
        await wait
    assert stage.sim.requests == ()


async def test_a_task_that_is_cancelled_before_it_began_does_not_warn(stage: Stage) -> None:
    """Whoever made a coroutine of the wait has used it."""
    wait = stage.close.wait_until_done(stage.run_job(duration=10))
    await cancel(asyncio.create_task(wait.result()))
    del wait
    assert stage.sim.requests == ()


# Clients that are not open ----------------------------------------------------------------------------------------


async def test_a_client_that_was_never_opened_cannot_wait(stage: Stage) -> None:
    """The error says how to open it, and nothing is sent."""
    close = CloseBulk(stage.sim.api_key, base_url=stage.sim.base_url, clock=stage.clock)
    with pytest.raises(ClientClosedError):
        await close.wait_until_done("email:bulkemail_1")
    assert stage.sim.requests == ()
    assert await stage.nothing_is_left()


async def test_a_client_that_was_closed_cannot_wait(stage: Stage) -> None:
    """Neither a wait that is made afterwards nor one that was made before begins."""
    ref = stage.run_job(duration=10)
    early = stage.close.wait_until_done(ref)
    await stage.close.aclose()
    for wait in (early, stage.close.wait_until_done(ref)):
        with pytest.raises(ClientClosedError):
            await wait
        with pytest.raises(ClientClosedError):
            await anext(wait)
    assert stage.sim.requests == ()
