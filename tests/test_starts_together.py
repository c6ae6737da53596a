"""Starts that are like each other and under way at the same time: each has a job of its own, whatever fails."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from closebulk_async import AmbiguousStartError, BlockedStartError, BulkEdit, CloseBulkError, RateLimitedError
from closebulk_async.intents import State
from closebulk_async.journal import MemoryJournal
from closebulk_async.models import Kind
from closebulk_async.simulator import faults
from tests.stage import QUERY, create
from tests.test_fault_matrix import ROWS, Row

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from closebulk_async import CloseBulk
    from closebulk_async.journal import Journal
    from tests.stage import Stage

pytestmark = pytest.mark.unmeasured

SMALL_FAULTS = {row.what: row for row in ROWS if row.fault is not None and row.fault.padding == 0}
each_row = pytest.mark.parametrize("row", SMALL_FAULTS.values(), ids=list(SMALL_FAULTS))
each_found = pytest.mark.parametrize(
    "row",
    [row for row in SMALL_FAULTS.values() if row.found],
    ids=[row.what for row in SMALL_FAULTS.values() if row.found],
)


@asynccontextmanager
async def clients(stage: Stage, number: int, journal: Journal) -> AsyncIterator[list[CloseBulk]]:
    """So many clients that share a journal."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(stage.client(journal=journal)) for _ in range(number)]


async def start_at_once(closes: Sequence[CloseBulk]) -> tuple[list[str], list[CloseBulkError]]:
    """An equal start on each; the ids of the actions, and what was raised."""
    outcomes = await asyncio.gather(*(create(close, Kind.EMAIL) for close in closes), return_exceptions=True)
    errors = [outcome for outcome in outcomes if isinstance(outcome, CloseBulkError)]
    return [outcome.id for outcome in outcomes if not isinstance(outcome, BaseException)], errors


def expected_errors(row: Row, number: int, *, clients: int = 1) -> list[str]:
    """What so many starts end with of which the first met the fault."""
    if row.error is None:
        return []
    if row.error is RateLimitedError and clients == 1:
        return ["RateLimitedError"] * number  # who is still to be sent would have to wait as long
    # Whoever waits for a start that stays in doubt is not sent.
    others = number - 1 if row.error is AmbiguousStartError else 0
    return sorted([row.error.__name__, *["BlockedStartError"] * others])


async def check_books(stage: Stage, journal: Journal, ids: list[str]) -> None:
    """Every job is the action of one caller and of one intent."""
    jobs = sorted(job.id for job in stage.sim.jobs)
    assert sorted(ids) == jobs
    assert sorted(intent.ref.id for intent in await journal.unfinished() if intent.ref) == jobs


@pytest.mark.parametrize("number", [2, 10])
@each_row
async def test_equal_starts_of_one_client(stage: Stage, row: Row, number: int) -> None:
    """One after the other: what one of them meets is settled before the next is sent."""
    assert row.fault is not None
    stage.sim.fail_next(row.fault, method="POST")
    ids, errors = await start_at_once([stage.close] * number)
    assert sorted(type(error).__name__ for error in errors) == expected_errors(row, number)
    assert len(ids) == number - len(errors)
    await check_books(stage, stage.close.journal, ids)


@each_row
async def test_equal_starts_of_clients_that_share_a_journal(stage: Stage, row: Row) -> None:
    """The journal lets one of them be under way at a time."""
    assert row.fault is not None
    stage.sim.fail_next(row.fault, method="POST")
    journal = MemoryJournal()
    async with clients(stage, 3, journal) as closes:
        ids, errors = await start_at_once(closes)
    assert sorted(type(error).__name__ for error in errors) == expected_errors(row, 3, clients=3)
    await check_books(stage, journal, ids)


@each_found
async def test_equal_starts_whose_answers_are_all_lost(stage: Stage, row: Row) -> None:
    """Each finds its own, and no two the same."""
    assert row.fault is not None
    stage.sim.fail_next(row.fault, method="POST", times=None)
    stage.sim.plan = stage.sim.plan.changed({"shown_after": 2, "duration": 10_000})
    journal = MemoryJournal()
    async with clients(stage, 2, journal) as closes:
        ids, errors = await start_at_once(closes * 2)
    assert errors == []
    await check_books(stage, journal, ids)


async def test_a_start_that_waits_for_one_in_doubt_says_which(stage: Stage) -> None:
    """The error has the other one's intent; once that is settled, the start can be sent."""
    stage.sim.fail_next(faults.cut_before(), method="POST")
    ids, errors = await start_at_once([stage.close] * 2)
    doubt, blocked = sorted(errors, key=lambda error: type(error).__name__)
    assert isinstance(doubt, AmbiguousStartError)
    assert isinstance(blocked, BlockedStartError)
    assert (ids, blocked.intent.id, stage.posts) == ([], doubt.intent.id, 1)
    assert [intent.id for intent in await stage.close.journal.unfinished()] == [doubt.intent.id]
    await stage.close.abandon(blocked.intent.id)
    assert len((await start_at_once([stage.close] * 2))[0]) == 2


async def test_unlike_starts_do_not_wait_for_each_other(stage: Stage) -> None:
    """Another query is another start, however long the first one takes."""
    stage.sim.fail_next(faults.delay(50, acts_first=True), method="POST")
    slow = asyncio.ensure_future(create(stage.close, Kind.EMAIL))
    await stage.clock.sleep(1)
    await create(stage.close, Kind.EMAIL, s_query={"type": "text", "value": "other"})
    assert stage.now == 1
    await slow
    assert stage.now == 50


async def test_unlike_starts_are_no_candidates_of_each_other(stage: Stage) -> None:
    """The action of one that is under way, with another query, is not what the other one may have started."""
    stage.sim.plan = stage.sim.plan.changed({"shown_after": 3, "duration": 10_000})
    stage.sim.fail_next(faults.cut_after(), method="POST", times=None)
    queries = [{"type": "text", "value": f"word {number}"} for number in range(5)]
    actions = await asyncio.gather(*(create(stage.close, Kind.EMAIL, s_query=query) for query in queries))
    assert [action.s_query for action in actions] == queries
    await check_books(stage, stage.close.journal, [action.id for action in actions])


async def test_a_start_under_way_is_no_candidate_of_an_unlike_one(stage: Stage) -> None:
    """Its action is there, its answer is not: it is known to be of that start, and nobody else need decide about it."""
    stage.sim.next_job(shown_after=3, duration=10_000)
    stage.sim.fail_next(faults.delay(50, acts_first=True), method="POST")
    slow = asyncio.ensure_future(create(stage.close, Kind.EMAIL))
    await stage.clock.sleep(1)
    stage.sim.fail_next(faults.cut_before(), method="POST")
    with pytest.raises(AmbiguousStartError) as caught:
        await create(stage.close, Kind.EMAIL, s_query={"type": "text", "value": "other"})
    assert (caught.value.candidates, stage.now) == ((), 16)
    await check_books(stage, stage.close.journal, [(await slow).id])


# Edits whose difference no response shows -----------------------------------------------------------------------


async def edit(close: CloseBulk, field: str) -> BulkEdit:
    """Clear a field, whose id the service does not show again."""
    return await close.edits.create(type="clear_custom_field", custom_field_id=field, s_query=QUERY)


def edited(stage: Stage) -> dict[str, object]:
    """By the id of the job, the field that its POST named."""
    return {job.id: job.request["custom_field_id"] for job in stage.sim.jobs}


FIELDS = [f"cf_{number}" for number in range(4)]


@pytest.mark.parametrize("loses", [0, 2])
@pytest.mark.parametrize("number", [1, 2])
@each_row
async def test_edits_that_look_alike_are_never_swapped(stage: Stage, row: Row, number: int, loses: int) -> None:
    """Whichever of them meets the fault: who gets an action has the one that does what he asked for."""
    assert row.fault is not None
    stage.sim.fail_next(row.fault, method="POST", skip=loses)
    journal = MemoryJournal()
    async with clients(stage, number, journal) as closes:
        starts = (edit(closes[index % number], field) for index, field in enumerate(FIELDS))
        outcomes = await asyncio.gather(*starts, return_exceptions=True)
        for field, outcome in zip(FIELDS, outcomes, strict=True):
            if isinstance(outcome, BulkEdit):
                assert edited(stage)[outcome.id] == field
            else:
                assert isinstance(outcome, CloseBulkError)
        assert sum(isinstance(outcome, BulkEdit) for outcome in outcomes) == len(stage.sim.jobs)
        refs = {intent.ref.id: intent.request["custom_field_id"] for intent in await journal.unfinished() if intent.ref}
        assert refs == edited(stage)


@pytest.mark.parametrize("number", [1, 2])
async def test_an_edit_that_is_shown_late_is_taken_by_nobody_else(stage: Stage, number: int) -> None:
    """While the first one is in doubt the second is not sent; later the first is found, and then the second sent."""
    stage.sim.next_job(shown_after=500, duration=10_000)
    stage.sim.fail_next(faults.cut_after(), method="POST")
    journal = MemoryJournal()
    async with clients(stage, number, journal) as closes:
        with pytest.raises(AmbiguousStartError) as caught:
            await edit(closes[0], "cf_0")
        with pytest.raises(BlockedStartError) as blocked:
            await edit(closes[-1], "cf_1")
        assert (blocked.value.intent.id, stage.posts) == (caught.value.intent.id, 1)
        await stage.clock.sleep(500)
        second = await edit(closes[-1], "cf_1")
        first = await closes[0].reconcile(caught.value.intent.id)
    assert edited(stage) == {first.id: "cf_0", second.id: "cf_1"}


async def test_an_equal_start_by_another_client_is_another_job(stage: Stage) -> None:
    """Nobody told it of the doubt of the first: it settles that one, and then starts its own."""
    stage.sim.next_job(shown_after=20, duration=10_000)
    stage.sim.fail_next(faults.cut_after(), method="POST")
    journal = MemoryJournal()
    async with clients(stage, 2, journal) as (one, other):
        with pytest.raises(AmbiguousStartError) as caught:
            await create(one, Kind.EMAIL)
        await stage.clock.sleep(20)
        second = await create(other, Kind.EMAIL)
        first = await caught.value.reconcile()
    assert [first.id, second.id] == [job.id for job in stage.sim.jobs]
    assert [intent.state for intent in await journal.unfinished()] == [State.STARTED] * 2
