"""Many actions at once: waiting for all of them, and running many with a bound on how many run."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest

from closebulk_async import (
    AmbiguousStartError,
    BadRequestError,
    BulkActionFailed,
    EmailStart,
    InvalidRequestError,
    NotFoundError,
    Outcome,
    UnsafeQueryError,
    WaitTimeout,
)
from closebulk_async.simulator import faults
from tests.stage import QUERY, cancel

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from closebulk_async import BulkAction
    from tests.stage import Stage


def email(number: int) -> EmailStart:
    """A start that can be told from others."""
    return EmailStart(template_id=f"tmpl_{number}", email_account_id="emailacct_1", s_query=QUERY)


def running_at_most(stage: Stage) -> int:
    """How many jobs ran at one instant, as the server saw it."""
    starts = [job.created_at for job in stage.sim.jobs]
    spans = [(job.created_at, job.created_at.timestamp() + job.plan.duration) for job in stage.sim.jobs]
    return max(sum(begin <= at and at.timestamp() < end for begin, end in spans) for at in starts)


async def run(stage: Stage, starts: Iterable[EmailStart], **options: float) -> list[Outcome[BulkAction]]:
    """All outcomes of a run, in the order in which they came."""
    max_running = int(options.pop("max_running", 2))
    return [
        outcome
        async for outcome in stage.close.run_many(starts, max_running=max_running, **options)  # type: ignore[arg-type]  # any options
    ]


def posts(stage: Stage) -> int:
    """How many POSTs the server received."""
    return sum(request.method == "POST" for request in stage.sim.requests)


async def test_all_are_waited_for_and_come_in_their_order(stage: Stage) -> None:
    """Whichever ends first; a failure of one is its error and disturbs no other."""
    slow, failing, quick = (
        stage.run_job(duration=30),
        stage.run_job(duration=10, ends="error"),
        stage.run_job(duration=5),
    )
    outcomes = await stage.close.wait_all([slow, str(failing), await stage.close.get(quick), "email:bulkemail_none"])
    assert stage.now == 30
    assert [outcome.ref for outcome in outcomes[:3]] == [slow, failing, quick]
    assert [outcome.action and outcome.action.is_done for outcome in outcomes] == [True, None, True, None]
    assert [type(outcome.error) for outcome in outcomes] == [type(None), BulkActionFailed, type(None), NotFoundError]
    assert {outcome.start for outcome in outcomes} == {None}


async def test_the_options_are_those_of_a_wait(stage: Stage) -> None:
    """Each action has its own timeout, all from the same begin."""
    refs = [stage.run_job(duration=3), stage.run_job(duration=300)]
    outcomes = await stage.close.wait_all(refs, timeout=10)
    assert stage.now == 10
    assert [type(outcome.error) for outcome in outcomes] == [type(None), WaitTimeout]


async def test_to_wait_for_nothing_is_done_at_once(stage: Stage) -> None:
    """No actions, no outcomes, no requests."""
    assert await stage.close.wait_all([]) == []
    assert await run(stage, []) == []
    assert stage.sim.requests == ()


async def test_what_is_no_action_raises_before_any_request(stage: Stage) -> None:
    """Also where the others are fine."""
    with pytest.raises(InvalidRequestError):
        await stage.close.wait_all([stage.run_job(), "bulkemail_without_kind"])
    with pytest.raises(InvalidRequestError):
        await stage.close.wait_all([stage.run_job()], heartbeat=0)
    assert stage.sim.requests == ()


async def test_a_cancelled_wait_for_all_leaves_nothing(stage: Stage) -> None:
    """Every wait ends, and every job goes on."""
    refs = [stage.run_job(duration=1000) for _ in range(5)]
    task = asyncio.create_task(stage.close.wait_all(refs))
    await stage.clock.advance(5.5)
    await cancel(task)
    assert await stage.nothing_is_left()
    assert stage.was_never_touched()


async def test_a_wait_for_all_that_is_cancelled_before_its_begin(stage: Stage) -> None:
    """Nothing is asked, and no wait complains that nobody used it."""
    task = asyncio.create_task(stage.close.wait_all([stage.run_job(), stage.run_job()]))
    await asyncio.sleep(0)
    await cancel(task)
    assert await stage.nothing_is_left()


async def test_no_more_run_than_allowed(stage: Stage) -> None:
    """The server never sees more, every place is used, and each outcome comes as it is known."""
    for duration in (10, 4, 8, 1, 5, 3):
        stage.sim.next_job(duration=duration)
    starts = [email(number) for number in range(6)]
    outcomes = await run(stage, starts, max_running=2)
    assert running_at_most(stage) == 2
    assert [starts.index(outcome.start) for outcome in outcomes if isinstance(outcome.start, EmailStart)] == [
        1, 0, 3, 2, 5, 4,
    ]  # fmt: skip
    assert stage.now == 16
    assert all(outcome.action is not None and outcome.action.is_done and outcome.error is None for outcome in outcomes)
    assert {outcome.ref.id for outcome in outcomes if outcome.ref} == {job.id for job in stage.sim.jobs}


@pytest.mark.parametrize("max_running", [1, 3, 50])
async def test_the_bound_is_the_callers(stage: Stage, max_running: int) -> None:
    """One after the other, some at a time, or all at once."""
    stage.sim.plan = stage.sim.plan.changed({"duration": 10})
    outcomes = await run(stage, map(email, range(7)), max_running=max_running)
    assert len(outcomes) == 7
    assert running_at_most(stage) == min(max_running, 7)


async def test_starts_are_read_as_places_become_free(stage: Stage) -> None:
    """The source may be endless: no start is taken before it can be sent, and none after the run was left."""
    stage.sim.plan = stage.sim.plan.changed({"duration": 10})
    read = []

    def endless() -> Iterator[EmailStart]:
        while True:
            read.append(stage.now)
            yield email(len(read))

    async with aclosing(stage.close.run_many(endless(), max_running=2)) as outcomes:
        async for _ in outcomes:
            if stage.now >= 30:
                break
    assert read == [0, 0, 10, 10, 20, 20]
    assert await stage.nothing_is_left()


async def test_failures_are_outcomes(stage: Stage) -> None:
    """A refused start, a failed job and an unknown outcome each have their error, and the others go on."""
    stage.sim.fail_next(faults.invalid_fields({"template_id": "unknown"}), method="POST")
    stage.sim.fail_next(faults.cut_after(), method="POST", skip=1)
    stage.sim.next_job(duration=5)
    stage.sim.next_job(duration=5, shown_after=1000)
    stage.sim.next_job(duration=5, ends="error")
    starts = [email(number) for number in range(4)]
    outcomes = {outcome.start: outcome for outcome in await run(stage, starts, max_running=1)}
    errors = [type(outcomes[start].error) for start in starts]
    assert errors == [BadRequestError, type(None), AmbiguousStartError, BulkActionFailed]
    assert [outcomes[start].ref is None for start in starts] == [True, False, True, False]
    assert posts(stage) == 4


async def test_nothing_is_started_after_the_first_failure_where_that_is_asked_for(stage: Stage) -> None:
    """What runs by then is still waited for, and its outcome comes."""
    stage.sim.next_job(duration=20)
    stage.sim.next_job(duration=5, ends="error")
    outcomes = await run(stage, map(email, range(10)), max_running=2, stop_on_error=True)
    assert [type(outcome.error) for outcome in outcomes] == [BulkActionFailed, type(None)]
    assert (posts(stage), stage.now) == (2, 20)


async def test_without_that_all_are_started(stage: Stage) -> None:
    """Failures are for whoever reads the outcomes."""
    stage.sim.plan = stage.sim.plan.changed({"duration": 3, "ends": "error"})
    outcomes = await run(stage, map(email, range(5)), max_running=2)
    assert [type(outcome.error) for outcome in outcomes] == [BulkActionFailed] * 5


async def test_a_source_that_raises_loses_no_outcome(stage: Stage) -> None:
    """What runs is waited for and given out, and then the error of the source comes."""
    stage.sim.next_job(duration=20)
    stage.sim.next_job(duration=5)

    def source() -> Iterator[EmailStart]:
        yield email(1)
        yield email(2)
        yield EmailStart(template_id="tmpl_3", email_account_id="emailacct_1", s_query={})

    seen = []
    with pytest.raises(UnsafeQueryError):
        async for outcome in stage.close.run_many(source(), max_running=2):
            seen.append((stage.now, outcome.error))  # noqa: PERF401 - what came before the error counts
    assert seen == [(5, None), (20, None)]
    assert posts(stage) == 2


@pytest.mark.parametrize("strange", [None, {"template_id": "tmpl_1"}, "email"])
async def test_what_is_no_start_is_not_sent(stage: Stage, strange: object) -> None:
    """It raises after the outcomes of what was fine, and is not taken for the end."""
    seen = []
    with pytest.raises(InvalidRequestError, match="run_many takes"):
        async for outcome in stage.close.run_many([email(1), strange, email(2)], max_running=1):  # type: ignore[list-item]  # wrong on purpose
            seen.append(outcome)  # noqa: PERF401 - what came before the error counts
    assert len(seen) == posts(stage) == 1


@pytest.mark.parametrize("max_running", [0, -1, 1.5, True])
async def test_a_bound_that_makes_no_sense_raises_before_any_start(stage: Stage, max_running: int) -> None:
    """Nothing runs without a bound by accident."""
    with pytest.raises(InvalidRequestError, match="max_running"):
        await anext(stage.close.run_many([email(1)], max_running=max_running))
    assert stage.sim.requests == ()


async def test_an_option_that_makes_no_sense_raises_before_any_start(stage: Stage) -> None:
    """Otherwise a job would run that nobody waits for."""
    with pytest.raises(InvalidRequestError, match="heartbeat"):
        await anext(stage.close.run_many([email(1)], max_running=1, heartbeat=0))
    assert stage.sim.requests == ()


async def test_a_timeout_frees_the_place(stage: Stage) -> None:
    """A wait that was given up is an outcome; its job goes on beside the next one."""
    stage.sim.plan = stage.sim.plan.changed({"duration": 100})
    outcomes = await run(stage, map(email, range(2)), max_running=1, timeout=10)
    assert [type(outcome.error) for outcome in outcomes] == [WaitTimeout] * 2
    assert all(outcome.ref is not None for outcome in outcomes)
    assert stage.now == 20


async def test_leaving_early_ends_the_waits_and_no_job(stage: Stage) -> None:
    """Also a POST that is under way is not lost: its outcome is awaited and logged before the run has ended."""
    stage.sim.next_job(duration=5)
    stage.sim.next_job(duration=500)
    stage.sim.fail_next(faults.delay(3, acts_first=True), method="POST", skip=2)
    async with aclosing(stage.close.run_many(map(email, range(9)), max_running=2)) as outcomes:
        await anext(outcomes)
        following = asyncio.ensure_future(anext(outcomes))
        await stage.clock.advance(1)
        await cancel(following)
    assert (posts(stage), len(stage.sim.jobs)) == (3, 3)
    assert 5 <= stage.now <= 9
    assert await stage.nothing_is_left()
    assert {request.method for request in stage.sim.requests} == {"GET", "POST"}


async def test_one_text_is_not_several_actions(stage: Stage) -> None:
    """A ref in the place of a list of refs is said to be one, and not taken apart into letters."""
    ref = stage.run_job(duration=1)
    with pytest.raises(InvalidRequestError, match=r"write \['email:"):
        await stage.close.wait_all(str(ref))
