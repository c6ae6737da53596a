"""What was asked before somebody began to wait is not the answer to what he asks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from closebulk_async import BulkActionPaused, PollPolicy, WaitTimeout
from closebulk_async.simulator import faults

if TYPE_CHECKING:
    from tests.stage import Stage

pytestmark = pytest.mark.unmeasured

DEFAULT = PollPolicy()


async def test_a_pause_that_has_ended_is_no_outcome_of_a_new_wait(stage: Stage) -> None:
    """Although another wait, which polls a paused action once a minute, has not seen it go on."""
    ref = stage.run_job(duration=300, counting=0, resuming=0)
    async with stage.client(DEFAULT) as close:
        await close.pause(ref)
        first = asyncio.create_task(close.wait_until_done(ref).result())
        await stage.clock.advance(30)
        stage.sim.jobs[0].resume(stage.clock.now())  # by somebody else
        second = asyncio.create_task(close.wait_until_done(ref, on_paused="raise").result())
        assert (await second).is_done
        assert (await first).is_done


async def test_a_pause_is_an_outcome_once_it_was_read(stage: Stage) -> None:
    """A wait that begins beside another one asks for itself."""
    ref = stage.run_job(duration=300, counting=0)
    async with stage.client(DEFAULT) as close:
        await close.pause(ref)
        first = asyncio.create_task(close.wait_until_done(ref).result())
        await stage.clock.advance(30)
        with pytest.raises(BulkActionPaused):
            await close.wait_until_done(ref, on_paused="raise")
        assert stage.now == 30
        first.cancel()


async def test_who_waits_sees_what_his_client_resumes(stage: Stage) -> None:
    """At once, and not with the next poll of a paused action."""
    ref = stage.run_job(duration=300, counting=0, resuming=0)
    async with stage.client(DEFAULT) as close:
        await close.pause(ref)
        wait = close.wait_until_done(ref)
        assert (await anext(wait)).action.is_paused
        await stage.clock.advance(5)
        await close.resume(ref)
        assert not (await anext(wait)).action.is_paused
        assert stage.now == 5
        await wait.aclose()


async def test_a_poll_that_hangs_does_not_take_the_last_read_away(stage: Stage) -> None:
    """What has ended before the timeout is known, although one request is never answered."""
    ref = stage.run_job(duration=10)
    stage.sim.fail_next(faults.hang(), skip=2)
    async with stage.client(DEFAULT) as close:
        assert (await close.wait_until_done(ref, timeout=20)).is_done
    assert stage.now == 20


async def test_short_steps_on_a_server_that_hangs_end_with_the_timeout(stage: Stage) -> None:
    """And ask it no more often than the floor allows."""
    ref = stage.run_job(duration=10_000)
    stage.sim.fail_next(faults.hang(), times=None)
    async with stage.client(DEFAULT) as close:
        wait = close.wait_until_done(ref, timeout=20)
        with pytest.raises(WaitTimeout):
            while True:
                task = asyncio.ensure_future(anext(wait))
                await stage.clock.advance(0.5)
                if task.done():
                    await task
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        assert stage.now <= 22
    assert len(stage.polls()) <= 25


async def test_one_refused_page_is_one_bad_poll_for_thousands(stage: Stage) -> None:
    """Whoever was not asked for with it is asked for afterwards, and not blamed for it twice."""
    refs = [stage.run_job(duration=5) for _ in range(1000)]
    stage.sim.fail_next(faults.hang())
    async with stage.client(DEFAULT) as close:
        tasks = [asyncio.create_task(close.wait_until_done(ref).result()) for ref in refs]
        await stage.clock.advance(30)
        assert sum(task.done() for task in tasks) >= 900
        await asyncio.gather(*tasks)
