"""Starts that wait for their place: what others started meanwhile is never taken for theirs."""

from __future__ import annotations

import asyncio
import math
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from closebulk_async import AmbiguousStartError, ServerError
from closebulk_async.creating import FRESH
from closebulk_async.errors import ClientClosedError
from closebulk_async.intents import State
from closebulk_async.limiter import MemoryLimiter
from closebulk_async.models import Kind
from closebulk_async.policy import RetryPolicy
from closebulk_async.simulator import Limits, faults
from tests.stage import Stage, cancel, create

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from closebulk_async import BulkEmail, CloseBulk
    from closebulk_async.limiter import Priority, Sight
    from closebulk_async.simulator.faults import Fault
    from closebulk_async.testing import FakeClock

POSTS = "POST /bulk_action/email/"
WAIT = 30


def begin_late(stage: Stage, close: CloseBulk) -> asyncio.Task[BulkEmail]:
    """A start whose first POST is refused for so long that its fence is an old one when it is sent."""
    stage.sim.fail_next(faults.too_many_requests(retry_after=WAIT), method="POST")
    return asyncio.create_task(create(close, Kind.EMAIL))


async def start_elsewhere(stage: Stage) -> BulkEmail:
    """An equal start by another process of the same user, with a journal of its own."""
    async with stage.client() as other:
        action: BulkEmail = await create(other, Kind.EMAIL)
        return action


async def fence_of(start: Awaitable[object]) -> frozenset[str]:
    """The actions that a start knows not to be its own, after its POST was lost."""
    with pytest.raises(AmbiguousStartError) as caught:
        await start
    assert caught.value.intent.fence is not None
    return caught.value.intent.fence.ids


def reads(stage: Stage) -> list[float]:
    """The instants at which pages of the list were asked for."""
    return [read.at for read in stage.reads() if read.how == "page"]


async def test_the_action_of_another_is_not_that_of_a_post_that_waited(stage: Stage) -> None:
    """It was started while the POST waited, which was lost on its way: nobody knows what became of that."""
    late = begin_late(stage, stage.close)
    await stage.clock.sleep(10)
    await start_elsewhere(stage)
    stage.sim.fail_next(faults.cut_before(), method="POST")
    with pytest.raises(AmbiguousStartError) as caught:
        await late
    assert (caught.value.candidates, len(stage.sim.jobs)) == ((), 1)


async def test_the_action_of_a_post_that_waited_is_found(stage: Stage) -> None:
    """Beside an equal one that another started meanwhile."""
    stage.sim.plan = stage.sim.plan.changed({"duration": 10_000})
    late = begin_late(stage, stage.close)
    await stage.clock.sleep(10)
    other = await start_elsewhere(stage)
    stage.sim.fail_next(faults.cut_after(), method="POST")
    assert [other.id, (await late).id] == [job.id for job in stage.sim.jobs]


@pytest.mark.parametrize("fault", [faults.delay(20, acts_first=True), faults.delay(20)], ids=["listed", "asked"])
async def test_a_list_that_comes_late_is_no_fence(stage: Stage, fault: Fault) -> None:
    """What it lacks may have been started while it was on its way, also where another start had asked for it."""
    stage.sim.fail_next(fault, method="GET")
    starts = [asyncio.create_task(create(stage.close, Kind.EMAIL))]
    await stage.clock.sleep(19.5)
    await start_elsewhere(stage)
    starts.append(asyncio.create_task(create(stage.close, Kind.EMAIL, template_id="tmpl_2")))
    await stage.clock.sleep(0)
    stage.sim.fail_next(faults.cut_before(), method="POST", times=2)
    assert [stage.sim.jobs[0].id in await fence_of(start) for start in starts] == [True, True]


async def test_a_reading_that_its_first_reader_left_is_as_old_as_it_is(stage: Stage) -> None:
    """Who joins it afterwards does not take it for one of that moment."""
    stage.sim.fail_next(faults.delay(20, acts_first=True), method="GET")
    leaving = asyncio.create_task(create(stage.close, Kind.EMAIL, template_id="tmpl_left"))
    await stage.clock.sleep(10)
    await start_elsewhere(stage)
    await stage.clock.sleep(9)
    await cancel(leaving)
    stage.sim.fail_next(faults.cut_before(), method="POST")
    assert await fence_of(create(stage.close, Kind.EMAIL)) == {stage.sim.jobs[0].id}


async def test_a_start_with_a_place_waits_for_no_earlier_reading_alone(stage: Stage) -> None:
    """One that another start began before that is joined, and then there is one more."""
    late = begin_late(stage, stage.close)
    await stage.clock.sleep(15)
    stage.sim.fail_next(faults.delay(20, acts_first=True), method="GET")
    other = asyncio.create_task(create(stage.close, Kind.EMAIL, template_id="tmpl_2"))
    await stage.clock.sleep(5)
    await start_elsewhere(stage)
    stage.sim.fail_next(faults.cut_before(), method="POST", times=2)
    assert [stage.sim.jobs[0].id in await fence_of(start) for start in (late, other)] == [True, True]


async def test_a_queue_of_starts_reads_the_list_seldom(stage: Stage) -> None:
    """However many places come in a second: one reading, and as many more as its time has passed."""
    stage.sim.limits = Limits(rate=20, window=8, rates={POSTS: 10})
    await asyncio.gather(*(create(stage.close, Kind.EMAIL, template_id=f"tmpl_{number}") for number in range(200)))
    assert stage.now > 10
    assert all(after - before >= FRESH for before, after in pairwise(reads(stage)))
    assert 4 < len(reads(stage)) <= 1 + stage.now / FRESH


# Without a second reading -------------------------------------------------------------------------------------------


class Counter(MemoryLimiter):
    """Counts the places that are taken and not given back; of those who wait nobody leaves here."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.taken = 0

    def acquire(self, group: str, *, priority: Priority, most: float = math.inf) -> Awaitable[None] | None:
        """Count one."""
        self.taken += 1
        return super().acquire(group, priority=priority, most=most)

    def learn(self, group: str, sight: Sight | None) -> None:
        """Count one less."""
        self.taken -= 1
        super().learn(group, sight)


@pytest.fixture
def counter(stage: Stage) -> Counter:
    """A limiter for one client."""
    return Counter(stage.clock)


async def test_a_second_reading_that_fails_is_the_error(stage: Stage, counter: Counter) -> None:
    """Nothing was sent after it, and its place is given back."""
    async with stage.client(retry=RetryPolicy(attempts=2), limiter=counter) as close:
        late = begin_late(stage, close)
        await stage.clock.sleep(10)
        stage.sim.fail_next(faults.server_error(), method="GET", times=2)
        with pytest.raises(ServerError):
            await late
        assert (counter.taken, stage.posts, await close.journal.unfinished()) == (0, 1, [])


async def test_a_start_that_is_cancelled_while_it_reads_again_is_not_sent(stage: Stage, counter: Counter) -> None:
    """Until it has read, its intent does not say that it is being sent; then it is gone, and the place given back."""
    async with stage.client(limiter=counter) as close:
        late = begin_late(stage, close)
        await stage.clock.sleep(10)
        stage.sim.fail_next(faults.delay(5), method="GET")
        await stage.clock.sleep(WAIT - 8)
        assert (reads(stage)[-1] > WAIT, counter.taken) == (True, 2)
        assert [intent.state for intent in await close.journal.unfinished()] == [State.NEW]
        await cancel(late)
        await stage.clock.sleep(10)
        assert (counter.taken, stage.posts, await close.journal.unfinished()) == (0, 1, [])


async def test_closing_ends_a_second_reading(stage: Stage, counter: Counter) -> None:
    """The start says that the client was closed, its place is given back, and nothing is in doubt."""
    async with stage.client(limiter=counter) as close:
        late = begin_late(stage, close)
        await stage.clock.sleep(10)
        stage.sim.fail_next(faults.hang(), method="GET")
        await stage.clock.sleep(WAIT - 8)
        assert (reads(stage)[-1] > WAIT, counter.taken) == (True, 2)
    with pytest.raises(ClientClosedError):
        await late
    assert (counter.taken, stage.posts, await close.journal.unfinished()) == (0, 1, [])
