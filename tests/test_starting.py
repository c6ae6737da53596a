"""A job is started once: what becomes of a create whose caller does not wait for the end."""

from __future__ import annotations

import asyncio
import logging
import re
from typing import TYPE_CHECKING

import pytest
from attrs import evolve

from closebulk_async import AmbiguousStartError, BulkEmail, ClientClosedError, CloseBulk, PollPolicy, RateLimitedError
from closebulk_async.simulator import Simulator, faults
from closebulk_async.testing import FakeClock
from tests.peers import connect, posts, start_email

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LATE = faults.delay(20, acts_first=True)
"""The job is started at once, and the answer comes after twenty seconds."""


@pytest.fixture
def clock() -> FakeClock:
    """Virtual time that passes when the test says so."""
    return FakeClock(auto=False)


@pytest.fixture
async def close(sim: Simulator, clock: FakeClock) -> AsyncIterator[CloseBulk]:
    """A client of `sim`."""
    async with connect(sim, clock) as client:
        yield client


def begin(close: CloseBulk, *, template: str = "tmpl_1") -> asyncio.Task[BulkEmail]:
    """A create in a task of its own."""
    return asyncio.ensure_future(start_email(close, template=template))


async def cancel(task: asyncio.Task[BulkEmail], clock: FakeClock) -> None:
    """Cancel it, and let all happen that can happen without time passing."""
    task.cancel()
    await clock.settle()


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The messages that were logged as warnings or worse."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def refs(sim: Simulator) -> list[str]:
    """The refs of all jobs."""
    return [f"email:{job.id}" for job in sim.jobs]


async def test_cancelled_while_it_waits_to_send_again(
    close: CloseBulk, sim: Simulator, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """What was rejected is not under way: the caller is free at once, nothing is sent and nothing is said."""
    sim.fail_next(faults.too_many_requests(retry_after=30), method="POST")
    task = begin(close)
    await clock.settle()
    await cancel(task, clock)
    assert task.cancelled()
    await clock.advance(100)
    assert (posts(sim), sim.jobs, warnings(caplog)) == (1, (), [])


async def test_cancelled_after_the_server_acted(
    close: CloseBulk, sim: Simulator, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The outcome is waited for, its ref is logged as a warning, and only then does CancelledError go on."""
    sim.fail_next(LATE, method="POST")
    task = begin(close)
    await clock.settle()
    await cancel(task, clock)
    await clock.advance(19.9)
    assert not task.done()
    assert warnings(caplog) == []
    await clock.advance(0.1)
    assert task.cancelled()
    assert len(warnings(caplog)) == 1
    assert warnings(caplog)[0].endswith(f"started {refs(sim)[0]}")
    assert posts(sim) == 1


async def test_cancelled_again_and_again(
    close: CloseBulk, sim: Simulator, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """However often: the outcome is not given up."""
    sim.fail_next(LATE, method="POST")
    task = begin(close)
    await clock.settle()
    for _ in range(5):
        await cancel(task, clock)
        assert not task.done()
    await clock.advance(20)
    assert task.cancelled()
    assert len(warnings(caplog)) == 1


async def test_the_wait_of_a_cancelled_caller_is_bounded(
    close: CloseBulk, sim: Simulator, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """An answer that never comes ends with the total timeout; that it is in doubt is logged, with the intent."""
    sim.fail_next(faults.hang(acts=True), method="POST")
    task = begin(close)
    await clock.settle()
    await cancel(task, clock)
    await clock.advance(59.9)
    assert not task.done()
    await clock.advance(0.1)
    assert task.cancelled()
    assert re.search(r"may or may not have started an action.*close\.adopt\('[0-9a-f]{32}', ref\)", warnings(caplog)[0])
    assert (posts(sim), len(sim.jobs)) == (1, 1)


async def test_a_timeout_around_a_create(
    close: CloseBulk, sim: Simulator, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """`asyncio.timeout` raises TimeoutError as ever, as soon as the outcome is known."""
    sim.fail_next(LATE, method="POST")
    scope = asyncio.timeout(None)

    async def start() -> None:
        async with scope:
            await start_email(close)

    task = asyncio.ensure_future(start())
    await clock.settle()
    scope.reschedule(asyncio.get_running_loop().time())
    await clock.settle()
    assert scope.expired()
    assert not task.done()
    await clock.advance(20)
    with pytest.raises(TimeoutError):
        await task
    assert len(warnings(caplog)) == 1
    assert refs(sim)[0] in warnings(caplog)[0]


async def test_a_task_group_that_fails(
    close: CloseBulk, sim: Simulator, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The group ends after the outcome is known, with the error of its other task."""
    sim.fail_next(LATE, method="POST")

    async def fail() -> None:
        await clock.sleep(1)
        raise ZeroDivisionError

    async def run() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(start_email(close))
            group.create_task(fail())

    task = asyncio.ensure_future(run())
    await clock.advance(19)
    assert not task.done()
    await clock.advance(1)
    with pytest.RaisesGroup(ZeroDivisionError):
        await task
    assert refs(sim)[0] in warnings(caplog)[0]


async def test_an_equal_create_gets_the_outcome(
    close: CloseBulk, sim: Simulator, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Who was cancelled and asks again means the same job: one POST, one job, and no warning."""
    sim.fail_next(LATE, method="POST")
    first = begin(close)
    await clock.settle()
    await cancel(first, clock)
    second = begin(close)
    await clock.advance(20)
    assert first.cancelled()
    assert (await second).id == sim.jobs[0].id
    assert (posts(sim), len(sim.jobs), warnings(caplog)) == (1, 1, [])


@pytest.mark.parametrize("acts", [False, True])
async def test_an_equal_create_gets_what_is_found(
    close: CloseBulk, sim: Simulator, clock: FakeClock, caplog: pytest.LogCaptureFixture, *, acts: bool
) -> None:
    """An answer that never comes is made good for it as for its own POST, or leaves it in doubt; nothing is sent."""
    sim.fail_next(faults.hang(acts=acts), method="POST")
    first = begin(close)
    await clock.settle()
    await cancel(first, clock)
    second = begin(close)
    await clock.advance(60 + PollPolicy().settle)
    assert first.cancelled()
    if acts:
        assert (await second).id == sim.jobs[0].id
        assert warnings(caplog) == []
    else:
        with pytest.raises(AmbiguousStartError, match="no such action is in the list"):
            await second
    assert (posts(sim), len(sim.jobs)) == (1, acts)


async def test_an_equal_create_that_is_cancelled_too(
    close: CloseBulk, sim: Simulator, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Both end with CancelledError, and the one outcome is logged once."""
    sim.fail_next(LATE, method="POST")
    first = begin(close)
    await clock.settle()
    await cancel(first, clock)
    second = begin(close)
    await clock.settle()
    await cancel(second, clock)
    await clock.advance(20)
    assert first.cancelled()
    assert second.cancelled()
    assert (posts(sim), len(warnings(caplog))) == (1, 1)


async def test_another_create_is_another_job(close: CloseBulk, sim: Simulator, clock: FakeClock) -> None:
    """One byte of difference in the body, and it is sent."""
    sim.fail_next(LATE, method="POST")
    first = begin(close)
    await clock.settle()
    await cancel(first, clock)
    assert (await begin(close, template="tmpl_2")).template_id == "tmpl_2"
    assert len(sim.jobs) == 2
    await clock.advance(20)
    assert first.cancelled()


async def test_equal_creates_at_the_same_time_are_two_jobs(close: CloseBulk, sim: Simulator, clock: FakeClock) -> None:
    """Nobody was cancelled: whoever starts twice gets two, one after the other, and a third one is a third."""
    sim.fail_next(LATE, times=3, method="POST")
    tasks = [begin(close), begin(close)]
    await clock.settle()
    tasks.append(begin(close))
    for started in (1, 2, 3):
        assert len(sim.jobs) == started
        await clock.advance(20)
    assert {task.result().id for task in tasks} == {job.id for job in sim.jobs}
    assert len(sim.jobs) == 3


async def test_equal_creates_that_are_both_cancelled(
    close: CloseBulk, sim: Simulator, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The one that waited for its turn is free at once and starts nothing; the ref of the other is not lost."""
    sim.fail_next(LATE, times=2, method="POST")
    first, second = begin(close), begin(close)
    await clock.settle()
    await cancel(second, clock)
    assert second.cancelled()
    await cancel(first, clock)
    assert not first.done()
    await clock.advance(20)
    assert first.cancelled()
    assert [text.rpartition(" ")[2] for text in warnings(caplog)] == refs(sim)
    assert len(sim.jobs) == 1


async def test_unlike_creates_that_are_both_cancelled(
    close: CloseBulk, sim: Simulator, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Both are under way at once, and neither ref is lost."""
    sim.fail_next(LATE, times=2, method="POST")
    tasks = [begin(close), begin(close, template="tmpl_2")]
    await clock.settle()
    for task in tasks:
        await cancel(task, clock)
    await clock.advance(20)
    assert sorted(text.rpartition(" ")[2] for text in warnings(caplog)) == sorted(refs(sim))
    assert len(sim.jobs) == 2


async def test_a_job_that_is_over_is_not_taken_for_a_new_one(
    close: CloseBulk, sim: Simulator, clock: FakeClock
) -> None:
    """An outcome that was logged belongs to the past: an equal create after it is sent."""
    sim.fail_next(LATE, method="POST")
    first = begin(close)
    await clock.settle()
    await cancel(first, clock)
    await clock.advance(20)
    assert (await begin(close)).id == sim.jobs[1].id


async def test_nothing_is_sent_for_a_caller_who_has_left(
    close: CloseBulk, sim: Simulator, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A 429 that comes after the cancellation settles it: there is no second POST."""
    sim.fail_next(evolve(faults.too_many_requests(retry_after=5), wait_before=20.0), method="POST")
    task = begin(close)
    await clock.settle()
    await cancel(task, clock)
    await clock.advance(100)
    assert task.cancelled()
    assert (posts(sim), sim.jobs) == (1, ())
    assert "429" in warnings(caplog)[0]


async def test_it_is_sent_again_for_who_took_it_over(close: CloseBulk, sim: Simulator, clock: FakeClock) -> None:
    """The same 429, but an equal create waits for the outcome by then: it gets its job."""
    sim.fail_next(evolve(faults.too_many_requests(retry_after=5), wait_before=20.0), method="POST")
    first = begin(close)
    await clock.settle()
    await cancel(first, clock)
    second = begin(close)
    await clock.advance(30)
    assert (await second).id == sim.jobs[0].id
    assert (posts(sim), len(sim.jobs)) == (2, 1)
    assert first.cancelled()


async def test_who_took_it_over_can_leave_as_well(close: CloseBulk, sim: Simulator, clock: FakeClock) -> None:
    """Cancelled in the wait that follows a 429, it lets both go at once."""
    sim.fail_next(evolve(faults.too_many_requests(retry_after=50), wait_before=20.0), method="POST")
    first = begin(close)
    await clock.settle()
    await cancel(first, clock)
    second = begin(close)
    await clock.advance(21)
    assert not second.done()
    await cancel(second, clock)
    assert first.cancelled()
    assert second.cancelled()
    await clock.advance(100)
    assert (posts(sim), sim.jobs) == (1, ())


@pytest.mark.parametrize("turns", range(120))
async def test_cancelled_at_any_moment(
    close: CloseBulk, sim: Simulator, clock: FakeClock, caplog: pytest.LogCaptureFixture, turns: int
) -> None:
    """After however many turns of the loop: each job that was started is returned or logged, and none is sent twice."""
    sim.fail_next(faults.delay(20), method="POST")
    first = begin(close)
    for _ in range(turns):
        await asyncio.sleep(0)
    first.cancel()
    second = begin(close)
    await clock.advance(40)
    assert (await second).id in {job.id for job in sim.jobs}
    assert first.done()
    logged = [text.rpartition(" ")[2] for text in warnings(caplog)]
    assert sorted([*logged, str((await second).ref)]) == sorted(refs(sim))
    assert posts(sim) == len(sim.jobs)


async def test_closing_waits_for_what_is_under_way(
    sim: Simulator, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """With its caller cancelled or not, the POST ends before the client does."""
    sim.fail_next(LATE, times=2, method="POST")
    close = connect(sim, clock)
    await close.__aenter__()
    cancelled, patient = begin(close), begin(close, template="tmpl_2")
    await clock.settle()
    await cancel(cancelled, clock)
    closing = asyncio.ensure_future(close.aclose())
    await clock.advance(19.9)
    assert not closing.done()
    await clock.advance(0.1)
    await closing
    assert cancelled.cancelled()
    assert {(await patient).id, warnings(caplog)[0].rpartition(":")[2]} == {job.id for job in sim.jobs}


async def test_closing_may_be_cancelled(sim: Simulator, clock: FakeClock) -> None:
    """It still waits for what is under way, closes its connections, and then lets CancelledError go on."""
    sim.fail_next(LATE, method="POST")
    close = connect(sim, clock)
    await close.__aenter__()
    task = begin(close)
    await clock.settle()
    closing = asyncio.ensure_future(close.aclose())
    for _ in range(3):
        await clock.settle()
        closing.cancel()
    await clock.settle()
    assert not closing.done()
    await clock.advance(20)
    assert closing.cancelled()
    assert (await task).id == sim.jobs[0].id


async def test_closing_does_not_wait_for_what_was_not_sent(sim: Simulator, clock: FakeClock) -> None:
    """A create that waits for the rate limit ends with ClientClosedError, at once and without a POST."""
    sim.fail_next(faults.too_many_requests(retry_after=100), method="POST")
    async with connect(sim, clock) as close:
        task = begin(close)
        await clock.settle()
    with pytest.raises(ClientClosedError):
        await task
    await clock.advance(200)
    assert (posts(sim), sim.jobs, clock.monotonic()) == (1, (), 200)


async def test_a_429_while_the_client_closes(sim: Simulator, clock: FakeClock) -> None:
    """The caller learns that it was rejected; there is no second try."""
    sim.fail_next(evolve(faults.too_many_requests(retry_after=5), wait_before=20.0), method="POST")
    close = connect(sim, clock)
    await close.__aenter__()
    task = begin(close)
    await clock.settle()
    closing = asyncio.ensure_future(close.aclose())
    await clock.advance(20)
    await closing
    with pytest.raises(RateLimitedError):
        await task
    assert posts(sim) == 1


async def test_a_broken_answer_while_the_client_closes(sim: Simulator, clock: FakeClock) -> None:
    """What is read before a POST is not asked for again: that start ends at once, and another one's POST goes on."""
    sim.fail_next(LATE, method="POST")
    close = connect(sim, clock)
    await close.__aenter__()
    slow = begin(close)
    await clock.settle()
    sim.fail_next(evolve(faults.broken_json(), wait_before=5.0), method="GET")
    other = begin(close, template="tmpl_2")
    await clock.settle()
    closing = asyncio.ensure_future(close.aclose())
    await clock.advance(5)
    assert other.done()
    with pytest.raises(ClientClosedError):
        await other
    await clock.advance(15)
    await closing
    assert (await slow).id == sim.jobs[0].id
    assert posts(sim) == 1


def test_the_loop_ends_under_it(caplog: pytest.LogCaptureFixture) -> None:
    """A program that leaves a create behind in a task ends, and the log says what is in doubt."""

    async def main() -> None:
        clock = FakeClock(auto=False)
        async with Simulator(clock=clock) as sim:
            sim.fail_next(faults.hang(acts=True), method="POST")
            close = connect(sim, clock)
            await close.__aenter__()
            task = begin(close)
            await clock.settle()
            posts_ = [other for other in asyncio.all_tasks() if "Starter" in repr(other.get_coro())]
            for other in posts_:
                other.cancel()  # as asyncio.run does with every task when main has ended
            await clock.settle()
            assert task.cancelled()
            await close.aclose()

    asyncio.run(main())
    assert [re.sub(r"[0-9a-f]{32}", "…", text) for text in warnings(caplog)] == [
        "POST /bulk_action/email/ was cut off after it may have been received: intent …"
    ]
