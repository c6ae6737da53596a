"""Who leaves a wait, and comes back: what must be gone, what must be remembered, and who must not notice."""

from __future__ import annotations

import asyncio
import gc
import threading
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from closebulk_async import (
    BulkActionStalled,
    ClientClosedError,
    PollPolicy,
    Wait,
    WaitClosedError,
    WaitTimeout,
    WatchLostError,
)
from closebulk_async.auth import ApiKey
from closebulk_async.policy import RetryPolicy, Timeouts
from closebulk_async.polling import open_desks
from closebulk_async.settings import Settings
from closebulk_async.simulator import faults
from closebulk_async.telemetry import Telling
from closebulk_async.transport import Transport
from closebulk_async.watching import Watcher
from tests.stage import EVERY_SECOND, cancel, follow, step

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from closebulk_async import BulkEmail
    from closebulk_async.models import Job
    from tests.stage import Stage

    Leave = Callable[[Stage, Wait[BulkEmail]], Awaitable[None]]


# Leaving ----------------------------------------------------------------------------------------------------------


async def leave_by_aclose(stage: Stage, wait: Wait[BulkEmail]) -> None:
    """Close the wait after its first progress."""
    await anext(wait)
    await stage.clock.advance(2.5)
    await wait.aclose()


async def leave_by_block(stage: Stage, wait: Wait[BulkEmail]) -> None:
    """Leave the block of the wait."""
    async with wait:
        await anext(wait)
        await stage.clock.advance(2.5)


async def leave_by_exception(stage: Stage, wait: Wait[BulkEmail]) -> None:
    """Leave the block of the wait by raising."""
    with pytest.raises(KeyError):
        async with wait:
            async for _ in wait:
                await stage.clock.advance(2.5)
                raise KeyError


async def leave_by_break(stage: Stage, wait: Wait[BulkEmail]) -> None:
    """Break out of the loop; the caller then drops the last reference."""
    async for _ in wait:
        await stage.clock.advance(2.5)
        break


async def leave_by_cancelled_iteration(stage: Stage, wait: Wait[BulkEmail]) -> None:
    """Cancel the task that iterates."""
    task = asyncio.create_task(follow(wait, stage.clock))
    await stage.clock.advance(2.5)
    await cancel(task)


async def leave_by_cancelled_await(stage: Stage, wait: Wait[BulkEmail]) -> None:
    """Cancel the task that awaits."""
    task = asyncio.create_task(wait.result())
    await stage.clock.advance(2.5)
    await cancel(task)


def tasks_of_the_package() -> list[asyncio.Task[Any]]:
    """Those that have not ended."""
    return [task for task in asyncio.all_tasks() if task.get_name().startswith("closebulk_async")]


async def leave_by_closing_the_client(stage: Stage, wait: Wait[BulkEmail]) -> None:
    """Close the client under the task that awaits."""
    task = asyncio.create_task(wait.result())
    await stage.clock.advance(2.5)
    await stage.close.aclose()
    with pytest.raises(ClientClosedError, match=r"^email:bulkemail_[^:]*: the client was closed; the job goes on$"):
        await task


WAYS: list[Leave] = [
    leave_by_aclose,
    leave_by_block,
    leave_by_exception,
    leave_by_break,
    leave_by_cancelled_iteration,
    leave_by_cancelled_await,
    leave_by_closing_the_client,
]


@pytest.mark.parametrize("poll_under_way", [False, True])
@pytest.mark.parametrize("leave", WAYS)
async def test_nothing_is_left_of_a_wait(stage: Stage, leave: Leave, *, poll_under_way: bool) -> None:
    """No task, no alarm, no open request and no further one; the job was never touched and runs to its end."""
    ref = stage.run_job(duration=1000, counting=0, n_objects=1000, curve="silent")
    if poll_under_way:
        stage.sim.fail_next(faults.hang(), skip=2)  # the poll of 2 s is open when the wait is left at 2.5 s
    wait = stage.close.wait_until_done(ref, timeout=500, stall_timeout=400, heartbeat=300)
    await leave(stage, wait)
    del wait
    assert stage.polls() == [0, 1, 2]
    assert await stage.nothing_is_left()
    assert stage.was_never_touched()
    assert stage.sim.jobs[0].snapshot(stage.clock.now())["status"] == "done"


async def test_a_wait_begins_no_more_after_its_client_was_closed(stage: Stage) -> None:
    """It says of which job, and that the client is closed; nothing is asked for, also where the end was known."""
    ref, ended = stage.run_job(duration=1000), stage.run_job(duration=1)
    await stage.close.wait_until_done(ended)
    waits = {ref: stage.close.wait_until_done(ref), ended: stage.close.wait_until_done(ended)}
    await stage.close.aclose()
    asked = len(stage.sim.requests)
    for each, wait in waits.items():
        with pytest.raises(ClientClosedError, match=f"^{each}: this client is closed$"):
            await wait
    assert len(stage.sim.requests) == asked


@pytest.mark.parametrize("at", [3, 5, 7])
async def test_it_can_be_left_at_the_instant_of_a_poll_a_heartbeat_or_a_timeout(stage: Stage, at: float) -> None:
    """What was due in that very moment happens before or not at all, and nothing follows."""
    ref = stage.run_job(duration=1000, counting=0, curve="silent")
    wait = stage.close.wait_until_done(ref, heartbeat=5, timeout=7)
    await anext(wait)
    task = asyncio.create_task(wait.result())
    beat = asyncio.create_task(step(wait))
    await stage.clock.advance(at - 0.5)
    await stage.clock.sleep(0.5)
    await wait.aclose()
    await asyncio.gather(task, beat, return_exceptions=True)
    assert stage.now == at
    assert await stage.nothing_is_left()


@pytest.mark.parametrize("poll_under_way", [False, True])
@pytest.mark.parametrize("leave", [leave_by_aclose, leave_by_block, leave_by_exception, leave_by_closing_the_client])
async def test_who_leaves_in_order_finds_nothing_left_at_once(
    stage: Stage, leave: Leave, *, poll_under_way: bool
) -> None:
    """`aclose` and the end of a block return when the last task has ended, not some turns of the loop before."""
    wait = stage.close.wait_until_done(stage.run_job(duration=1000, counting=0, curve="silent"))
    if poll_under_way:
        stage.sim.fail_next(faults.hang(), skip=2)
    await leave(stage, wait)
    assert tasks_of_the_package() == []


async def test_a_watcher_that_was_closed_has_let_go_of_its_polls(stage: Stage) -> None:
    """Before it returns, whatever else its client closes after it."""
    auth = ApiKey(stage.sim.api_key)
    transport = Transport(
        Settings(base_url=stage.sim.base_url, auth=auth, timeouts=Timeouts(), retry=RetryPolicy(), clock=stage.clock)
    )
    transport.open()

    async def note(_: Job) -> None:
        """Nobody keeps it."""

    desks = open_desks(transport, clock=stage.clock, policy=EVERY_SECOND, note=note, tell=Telling(()))
    watcher = Watcher(desks, clock=stage.clock, policy=EVERY_SECOND)
    stage.sim.fail_next(faults.hang())
    watcher.watch(stage.run_job(duration=1000)).poll_now()
    await stage.clock.settle()
    assert tasks_of_the_package() != []
    await watcher.aclose()
    assert tasks_of_the_package() == []
    await transport.aclose()


async def test_a_progress_that_was_not_read_is_gone_after_leaving(stage: Stage) -> None:
    """An iteration over a wait that was closed just ends."""
    wait = stage.close.wait_until_done(stage.run_job(duration=100, counting=0, n_objects=100))
    await anext(wait)
    await stage.clock.advance(5)
    await wait.aclose()
    assert await follow(wait, stage.clock) == []


async def test_a_wait_in_a_cycle_is_left_when_it_is_collected(stage: Stage) -> None:
    """Until then it polls: nobody can know earlier."""
    wait = stage.close.wait_until_done(stage.run_job(duration=1000, counting=0, curve="silent"))
    await anext(wait)
    cycle: list[object] = [wait]
    cycle.append(cycle)
    del wait, cycle
    gc.collect()
    assert await stage.nothing_is_left()


async def test_the_collector_may_run_in_another_thread(stage: Stage) -> None:
    """The last reference that a worker thread drops ends the polls as well, in the loop's own thread."""
    asyncio.get_running_loop().set_debug(True)  # refuses what comes from a wrong thread
    wait = stage.close.wait_until_done(stage.run_job(duration=1000, counting=0, curve="silent"), heartbeat=10)
    await anext(wait)
    box = [wait]
    del wait
    thread = threading.Thread(target=box.clear)
    thread.start()
    thread.join()
    assert await stage.nothing_is_left()


async def test_a_task_that_nobody_holds_waits_to_its_end(stage: Stage) -> None:
    """The loop holds tasks weakly; one that waits for an action is not collected in the middle of it."""
    done: list[BulkEmail] = []

    async def serve() -> None:
        done.append(await stage.close.wait_until_done(stage.run_job(duration=100)))

    asyncio.create_task(serve())  # noqa: RUF006 - the forgotten reference is the subject
    for _ in range(5):
        await stage.clock.advance(10)
        gc.collect()
    await stage.clock.advance(60)
    assert [action.is_done for action in done] == [True]


async def test_leaving_does_not_wait_for_the_poll_of_others(stage: Stage) -> None:
    """A wait that shares its action is closed at once, also while a poll hangs, and the other goes on."""
    ref = stage.run_job(duration=100)
    stage.sim.fail_next(faults.hang(), skip=2)
    other = asyncio.create_task(stage.close.wait_until_done(ref).result())
    wait = stage.close.wait_until_done(ref)
    await anext(wait)
    await stage.clock.advance(2.5)
    before = stage.now
    await wait.aclose()
    assert stage.now == before
    assert (await other).is_done


async def test_a_cancelled_waiter_of_several_disturbs_nobody(stage: Stage) -> None:
    """Not those who wait on the same action, nor those who await the same wait."""
    ref = stage.run_job(duration=20)
    shared = stage.close.wait_until_done(ref)
    tasks = [asyncio.create_task(shared.result()) for _ in range(2)]
    leaver = asyncio.create_task(follow(stage.close.wait_until_done(ref, timeout=50, heartbeat=1), stage.clock))
    await stage.clock.advance(5.5)
    await cancel(leaver)
    await cancel(tasks.pop(0))
    assert (await tasks[0]).is_done
    assert stage.now == 20
    assert stage.polls() == [float(second) for second in range(21)]


async def test_who_awaits_a_wait_that_is_closed_is_told(stage: Stage) -> None:
    """A wait that somebody else closes does not leave those hanging who await it."""
    wait = stage.close.wait_until_done(stage.run_job(duration=100))
    task = asyncio.create_task(wait.result())
    await stage.clock.advance(5)
    await wait.aclose()
    with pytest.raises(WaitClosedError, match="closed before"):
        await task
    await wait.aclose()
    assert await stage.nothing_is_left()


async def test_closing_a_wait_that_has_ended_keeps_its_outcome(stage: Stage) -> None:
    """Leaving the block does not unmake what is known."""
    async with stage.close.wait_until_done(stage.run_job(duration=3)) as wait:
        action = await wait
    assert await wait is action


# Coming back ------------------------------------------------------------------------------------------------------


async def test_short_steps_notice_a_stall(stage: Stage) -> None:
    """Whoever cancels each step after a while and takes the next one still learns that nothing moves."""
    ref = stage.run_job(duration=10_000, counting=0, curve="silent")
    wait = stage.close.wait_until_done(ref, stall_timeout=60)
    with pytest.raises(BulkActionStalled) as raised:
        while True:
            task = asyncio.create_task(step(wait))
            await asyncio.wait(
                {task, asyncio.create_task(stage.clock.sleep(7.25))}, return_when=asyncio.FIRST_COMPLETED
            )
            if task.done():
                await task
            else:
                await cancel(task)
    assert stage.now == 60
    assert raised.value.progress is not None
    given_up = len(stage.polls()) - raised.value.progress.polls  # at the instants at which a step ended as well
    assert 0 <= given_up <= 2
    assert all(after - before >= 1 for before, after in pairwise(stage.polls()))
    assert raised.value.progress.elapsed.total_seconds() == 60


async def test_short_steps_do_not_prolong_the_timeout(stage: Stage) -> None:
    """It is measured from the first step."""
    wait = stage.close.wait_until_done(stage.run_job(duration=1000), timeout=20)
    with pytest.raises(WaitTimeout) as raised:
        while stage.now < 100:
            task = asyncio.create_task(wait.result())
            await stage.clock.advance(7)
            if task.done():
                await task
            else:
                await cancel(task)
    assert raised.value.progress is not None
    assert raised.value.progress.elapsed == timedelta(seconds=20)


async def test_short_steps_notice_a_lost_watch(stage: Stage) -> None:
    """The quarter of an hour without a good poll does not begin anew with each step."""
    ref = stage.run_job(duration=10_000)
    stage.sim.fail_next(faults.server_error(502), times=None)
    async with stage.client(PollPolicy(floor=10, ceiling=10)) as close:
        wait = close.wait_until_done(ref)
        with pytest.raises(WatchLostError):
            while stage.now < 2000:
                task = asyncio.create_task(wait.result())
                await stage.clock.advance(25)
                if task.done():
                    await task
                else:
                    await cancel(task)
    assert 900 <= stage.now <= 925


async def test_counters_do_not_run_back_for_who_comes_back(stage: Stage) -> None:
    """What was seen before leaving still counts, and nothing old is shown as new."""
    ref = stage.run_job(duration=100, counting=0, n_objects=100)
    stage.sim.fail_next(faults.altered(n_objects_processed=3), skip=11)
    wait = stage.close.wait_until_done(ref)
    task = asyncio.create_task(follow(wait, stage.clock))
    await stage.clock.advance(10.5)
    await cancel(task)
    await stage.clock.advance(9.5)
    progress = await anext(wait)
    assert (stage.now, stage.polls()[-2:]) == (21, [20, 21])
    assert progress.n_objects_processed == 21
    await wait.aclose()


async def test_what_one_remembers_is_not_shown_to_others(stage: Stage) -> None:
    """Another wait that begins while a first one comes back sees what its own first poll shows."""
    ref = stage.run_job(duration=100, counting=0, n_objects=100)
    wait = stage.close.wait_until_done(ref)
    task = asyncio.create_task(wait.result())
    await stage.clock.advance(10)
    await cancel(task)
    await stage.clock.advance(10)
    back = asyncio.create_task(wait.result())
    await asyncio.sleep(0)
    other = stage.close.wait_until_done(ref)
    assert (await anext(other)).n_objects_processed == 20
    assert (await anext(other)).polls == 2
    assert (await back).is_done


async def test_coming_back_is_no_way_around_what_a_503_asked_for(stage: Stage) -> None:
    """Who leaves after a bad poll and comes back polls when the next one was due, however often that happens."""
    ref = stage.run_job(duration=700)
    stage.sim.fail_next(faults.reply(503, headers=(("retry-after", "300"),)), skip=1)
    wait = stage.close.wait_until_done(ref)
    for _ in range(4):
        task = asyncio.create_task(wait.result())
        await stage.clock.advance(20)
        await cancel(task)
    await wait
    assert stage.polls()[:2] == [0, 1]
    assert 301 <= stage.polls()[2] <= 302
