"""Starts that are cancelled, or whose client is closed, at any moment: no second job, and none that nobody knows."""

from __future__ import annotations

import asyncio
import logging
import re
from typing import TYPE_CHECKING, Any

import pytest

from closebulk_async import AmbiguousStartError, BulkEmail, CloseBulk, CloseBulkError
from closebulk_async.intents import State
from closebulk_async.models import Kind
from closebulk_async.simulator import faults
from tests.stage import create

if TYPE_CHECKING:
    from pathlib import Path

    from closebulk_async.simulator import Fault
    from tests.stage import Stage

pytestmark = pytest.mark.unmeasured

FAULTS = {
    "none": faults.delay(0),
    "lost after it was started": faults.cut_after(),
    "lost before": faults.cut_before(),
    "slow": faults.delay(5, acts_first=True),
    "hangs": faults.hang(acts=True),
    "rejected": faults.invalid_fields({"s_query": "No."}),
    "throttled": faults.too_many_requests(retry_after=3),
}
each_fault = pytest.mark.parametrize("fault", FAULTS.values(), ids=list(FAULTS))

TURNS = range(60)
"""Turns of the loop: more than a start takes that waits for nothing, with a journal in memory."""
TURNS_WITH_A_FILE = range(0, 400, 25)
SECONDS = (0.1, 0.6, 2.0, 3.5, 5.5, 30.0, 60.2, 61.0, 65.0)
"""Instants in the waits of the others."""


def begin(close: CloseBulk, **options: Any) -> asyncio.Task[BulkEmail]:
    """The one start of these tests, in a task of its own."""
    return asyncio.ensure_future(create(close, Kind.EMAIL, **options))


async def reach(stage: Stage, moment: float) -> None:
    """Let so many turns of the loop, or seconds where it is no integer, pass."""
    if isinstance(moment, int):
        for _ in range(moment):
            await asyncio.sleep(0)
    else:
        await stage.clock.sleep(moment)


async def outcome_of(task: asyncio.Task[BulkEmail]) -> BulkEmail | BaseException:
    """What it has come to."""
    return (await asyncio.gather(task, return_exceptions=True))[0]


def jobs(stage: Stage, before: int = 0) -> list[str]:
    """The ids of all jobs but so many that were there before."""
    return sorted(job.id for job in stage.sim.jobs[before:])


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The ids that warnings name of actions whose callers were cancelled."""
    texts = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    return [found[1] for text in texts if (found := re.search(r"was cancelled, and it started email:(\w+)", text))]


@each_fault
async def test_a_start_may_be_cancelled_at_any_moment(
    stage: Stage, caplog: pytest.LogCaptureFixture, fault: Fault
) -> None:
    """An equal start follows at once: each job is its own, or the first one's, or named by the log; none is twice."""
    for moment in (*TURNS, *SECONDS):
        caplog.clear()
        before = len(stage.sim.jobs)
        async with stage.client() as close:
            stage.sim.fail_next(fault, method="POST")
            first = begin(close)
            await reach(stage, moment)
            first.cancel()
            outcomes = [await outcome_of(begin(close)), await outcome_of(first)]
        stage.sim.clear_faults()
        returned = [outcome.id for outcome in outcomes if isinstance(outcome, BulkEmail)]
        assert sorted(returned + logged(caplog)) == jobs(stage, before), f"cancelled at {moment}"
        assert isinstance(outcomes[0], BulkEmail | CloseBulkError)


@pytest.mark.parametrize("fault", ["lost after it was started", "hangs"])
async def test_a_start_that_was_cancelled_is_known_to_the_next(
    stage: Stage, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    """An equal one that comes when all is settled finds the job of the lost answer, unless that was found already."""
    for moment in (*TURNS, *SECONDS):
        caplog.clear()
        before = len(stage.sim.jobs)
        async with stage.client() as close:
            stage.sim.fail_next(FAULTS[fault], method="POST")
            first = begin(close)
            await reach(stage, moment)
            first.cancel()
            outcome = await outcome_of(first)
            stage.sim.clear_faults()
            second = await create(close, Kind.EMAIL)
            known = [outcome.id] if isinstance(outcome, BulkEmail) else logged(caplog)
            assert sorted([second.id, *known]) == jobs(stage, before), f"cancelled at {moment}"


@each_fault
async def test_a_client_may_be_closed_at_any_moment(stage: Stage, tmp_path: Path, fault: Fault) -> None:
    """With a key and a file, the next client gives the one job that there is, or starts it."""
    for moment in (*TURNS_WITH_A_FILE, *SECONDS):
        before, key = len(stage.sim.jobs), f"key {moment}"
        stage.sim.fail_next(fault, method="POST")
        async with stage.client(journal=tmp_path / "journal.db") as close:
            first = begin(close, idempotency_key=key)
            await reach(stage, moment)
        await outcome_of(first)
        stage.sim.clear_faults()
        async with stage.client(journal=tmp_path / "journal.db") as close:
            action = await create(close, Kind.EMAIL, idempotency_key=key)
            assert jobs(stage, before) == [action.id], f"closed at {moment}"
            assert (await create(close, Kind.EMAIL, idempotency_key=key)).id == action.id


@each_fault
async def test_a_client_in_memory_may_be_closed_at_any_moment(stage: Stage, fault: Fault) -> None:
    """The start ends with its action or an error; that of a job that nobody knows says that it is in doubt."""
    for moment in (*TURNS[::2], *SECONDS):
        before = len(stage.sim.jobs)
        stage.sim.fail_next(fault, method="POST")
        async with stage.client() as close:
            first = begin(close)
            await reach(stage, moment)
        outcome = await outcome_of(first)
        stage.sim.clear_faults()
        if isinstance(outcome, BulkEmail):
            assert jobs(stage, before) == [outcome.id]
        else:
            assert isinstance(outcome, CloseBulkError)
            assert jobs(stage, before) == [] or isinstance(outcome, AmbiguousStartError), f"closed at {moment}"
    assert await stage.nothing_is_left()


async def test_who_is_cancelled_before_anything_was_sent_leaves_nothing(stage: Stage, tmp_path: Path) -> None:
    """Without a key nobody can ask for the start again: it is given up. One with a key waits for its repeat."""
    stage.sim.fail_next(faults.hang(), method="GET", path="/bulk_action/")
    async with stage.client(journal=tmp_path / "journal.db") as close:
        plain, keyed = begin(close), begin(close, idempotency_key="k")
        await stage.clock.sleep(1)
        for task in (plain, keyed):
            task.cancel()
            assert isinstance(await outcome_of(task), asyncio.CancelledError)
        left = await close.journal.unfinished()
        assert [(intent.idempotency_key, intent.state, intent.owner) for intent in left] == [("k", State.NEW, None)]
    assert stage.posts == 0


async def test_another_key_is_another_start(stage: Stage, tmp_path: Path) -> None:
    """What a cancelled start with one key has come to is that key's, and nobody else's who asks for the same."""
    stage.sim.fail_next(faults.delay(5, acts_first=True), method="POST")
    async with stage.client(journal=tmp_path / "journal.db") as close:
        first = begin(close, idempotency_key="a")
        await stage.clock.sleep(1)
        first.cancel()
        await stage.clock.sleep(1)
        second, third = [await create(close, Kind.EMAIL, idempotency_key=key) for key in ("b", "a")]
    assert [third.id, second.id] == [job.id for job in stage.sim.jobs]
    assert first.cancelled()
