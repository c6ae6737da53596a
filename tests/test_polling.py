"""Many actions, few requests: what a page of the list answers, and what becomes of those that it does not show."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import TYPE_CHECKING, Any, get_args

import attrs
import pytest
from aiohttp import web

from closebulk_async import BulkEmail, PollPolicy
from closebulk_async.models import BULK_KINDS
from closebulk_async.simulator import faults
from closebulk_async.simulator.listing import ListOrder
from closebulk_async.telemetry import PollEnded
from tests.peers import Peer, connect
from tests.stage import EVERY_SECOND, NO_LISTS, Notes, cancel, follow

if TYPE_CHECKING:
    from closebulk_async import BulkAction, JobRef, Outcome
    from closebulk_async.simulator import Fault
    from closebulk_async.testing import FakeClock
    from tests.stage import Stage

pytestmark = pytest.mark.unmeasured

ORDERS = get_args(ListOrder)
"""The service may list actions newest first, oldest first, by their ids, or in no order at all."""

EMPTY_PAGE = faults.altered(data=[], has_more=False)
"""A page without the rows that it should have, or a single action that is left as it is."""


def mix_jobs(stage: Stage, *, ours: int, foreign: int, duration: float) -> list[JobRef[BulkEmail]]:
    """Our jobs with those of others in between, which run on and on."""
    rng = random.Random(1)
    is_ours = [True] * ours + [False] * foreign
    rng.shuffle(is_ours)
    refs = [(one, stage.run_job(duration=duration if one else 10**6, n_objects=1000)) for one in is_ours]
    return [ref for one, ref in refs if one]


def are_done(outcomes: list[Outcome[BulkAction]]) -> bool:
    """Each wait has ended as its job has."""
    return all(outcome.action is not None and outcome.action.is_done for outcome in outcomes)


# What one page answers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ORDERS)
async def test_a_page_answers_for_all_that_stand_on_it(stage: Stage, order: ListOrder) -> None:
    """Eighty actions cost a request each second, however their list is ordered, and each end is known in time."""
    stage.sim.list_order = order
    refs = [stage.run_job(duration=10) for _ in range(80)]
    assert are_done(await stage.close.wait_all(refs))
    assert [(read.at, read.how) for read in stage.reads()] == [(float(second), "page") for second in range(11)]


@pytest.mark.parametrize("order", ORDERS)
async def test_as_many_pages_are_read_as_the_list_has(stage: Stage, order: ListOrder) -> None:
    """Half of five hundred rows: after they were found, at most twice as many pages each second as it has.

    A page is read with some rows to spare on either side.
    """
    stage.sim.list_order = order
    refs = mix_jobs(stage, ours=250, foreign=250, duration=10)
    assert are_done(await stage.close.wait_all(refs))
    reads = stage.reads()
    each_second = Counter(int(read.at) for read in reads)
    assert each_second[0] <= 250
    assert all(each_second[second] <= 12 for second in range(2, 11))
    assert sum(read.how == "item" for read in reads if read.at >= 2) <= 10


@pytest.mark.parametrize("order", ORDERS)
async def test_rows_that_come_push_nobody_out_of_sight(stage: Stage, order: ListOrder) -> None:
    """While others start two actions a second, each end is known at the first beat after it."""
    stage.sim.list_order = order
    refs = mix_jobs(stage, ours=150, foreign=150, duration=20)

    async def start_others() -> None:
        while True:
            await stage.clock.sleep(0.5)
            stage.run_job(duration=10**6)

    others = asyncio.create_task(start_others())
    assert are_done(await stage.close.wait_all(refs))
    await cancel(others)
    assert stage.now == 20
    assert len(stage.reads()) < 150 + 20 * 20


async def test_many_kinds_have_a_page_each(stage: Stage) -> None:
    """A list is one kind's."""
    refs: list[JobRef[Any]] = []
    for kind in BULK_KINDS:
        refs += [stage.run_other_job(kind, duration=5) for _ in range(10)]
    assert are_done(await stage.close.wait_all(refs))
    for kind in BULK_KINDS:
        assert [(read.at, read.how) for read in stage.reads(kind)] == [(float(n), "page") for n in range(6)]


# Snapshots --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["text", "ref", "whole", "narrowed"])
async def test_snapshots_stay_whole(stage: Stage, given: str) -> None:
    """What a page is not asked for comes from the last whole read, whatever the wait was given to begin with."""
    refs = [stage.run_job(duration=3, counting=0, n_objects=3) for _ in range(3)]
    whole = [await stage.close.get(ref) for ref in refs]
    begin: dict[str, list[Any]] = {
        "text": [str(ref) for ref in refs],
        "ref": refs,
        "whole": whole,
        "narrowed": [await stage.close.get(ref, fields=["status"]) for ref in refs],
    }
    asked = len(stage.sim.requests)
    seen = await asyncio.gather(*(follow(stage.close.wait_until_done(action), stage.clock) for action in begin[given]))
    pages = stage.sim.requests[asked:]
    assert [bool(page.query.get("_fields")) for page in pages] == [given == "whole", True, True, True]
    for before, steps in zip(whole, seen, strict=True):
        assert [progress.n_objects_processed for _, progress in steps] == [0, 1, 2, 3]
        for _, progress in steps:
            moved = {"status", "n_objects", "n_objects_processed", "n_leads", "n_leads_processed", "date_updated"}
            assert progress.action.unset == frozenset()
            assert progress.action.to_dict().keys() == before.to_dict().keys()
            assert {
                name
                for name, value in progress.action.to_dict().items()
                if value != before.to_dict()[name] and name not in moved
            } == set()
        assert steps[-1][1].action == await stage.close.get(before.ref)


async def test_the_page_for_a_new_action_brings_all_fields_once(stage: Stage) -> None:
    """Who joins later has the next page whole, and the ones after it are narrow again."""
    first = asyncio.gather(*(stage.close.wait_until_done(stage.run_job(duration=6)) for _ in range(2)))
    await stage.clock.advance(2.5)
    action = await stage.close.wait_until_done(stage.run_job(duration=2))
    assert action.unset == frozenset()
    assert all(not action.unset for action in await first)
    are_narrow = [bool(request.query.get("_fields")) for request in stage.sim.requests]
    assert are_narrow[:3] == [False, True, True]
    assert are_narrow.count(False) == 2


# What pages do not show -------------------------------------------------------------------------------------------


async def test_who_is_missing_from_a_page_is_read_alone(stage: Stage) -> None:
    """At the same instant, and where that goes on, pages are left for a while: no wait is late or dies."""
    refs = [stage.run_job(duration=200, counting=0, n_objects=200) for _ in range(5)]
    stage.sim.fail_next(EMPTY_PAGE, times=None)
    outcomes = await stage.close.wait_all(refs)
    assert are_done(outcomes)
    assert stage.now == 200
    assert all(stage.polls(ref) == [float(second) for second in range(201)] for ref in refs)
    pages = [read.at for read in stage.reads() if read.how == "page"]
    assert 1 <= len(pages) <= 25


@pytest.mark.parametrize(
    "fault",
    [
        NO_LISTS,
        faults.altered(data=[{"id": 7}]),
        faults.altered(data=[{"status": "done"}]),
        faults.altered(data=None),
        faults.altered(data=[], has_more=True),
    ],
)
async def test_a_list_that_cannot_be_read_is_left_for_a_while(stage: Stage, fault: Fault) -> None:
    """Each action is then asked for alone; after one minute, and then after two, a page is tried again."""
    refs = [stage.run_job(duration=240) for _ in range(3)]
    stage.sim.fail_next(fault, times=None)
    assert are_done(await stage.close.wait_all(refs))
    assert [read.at for read in stage.reads() if read.how == "page"] == [0, 60, 180]
    assert all(stage.polls(ref) == [float(second) for second in range(241)] for ref in refs)


async def test_pages_are_read_again_once_they_are_whole(stage: Stage) -> None:
    """From the first one that shows what it should there are no single reads any more."""
    refs = [stage.run_job(duration=100) for _ in range(10)]
    stage.sim.fail_next(NO_LISTS, times=5)
    assert are_done(await stage.close.wait_all(refs))
    assert {(read.at < 60, read.how) for read in stage.reads() if read.at > 0} == {(True, "item"), (False, "page")}


@pytest.mark.parametrize("status", [400, 402, 403, 404, 500, 502, 504])
async def test_lists_that_are_refused_end_no_wait(close_clock: FakeClock, status: int) -> None:
    """A key that may read actions and no lists, or a list that is too much for the service: single reads serve."""
    reads: Counter[str] = Counter()

    def answer(request: web.BaseRequest) -> web.Response:
        *_, ref_id, _ = request.path.split("/")
        if ref_id == "email":
            return web.Response(status=status, text='{"error": "no"}', content_type="application/json")
        reads[ref_id] += 1
        row = {**BulkEmail.example().to_dict(), "id": ref_id, "status": "done" if reads[ref_id] == 3 else "processing"}
        return web.json_response(row)

    async with Peer(answer) as peer, connect(peer, close_clock, poll=EVERY_SECOND) as close:
        outcomes = await close.wait_all([f"email:bulkemail_{number}" for number in range(3)])
    assert are_done(outcomes)
    assert set(reads.values()) == {3}
    assert len(peer.seen) - 9 <= 20


async def test_rows_beyond_the_largest_skip_are_read_alone(stage: Stage) -> None:
    """The service refuses to skip further: no wait dies of that."""
    stage.sim.max_skip = 100
    refs = [stage.run_job(duration=5) for _ in range(300)]
    assert are_done(await stage.close.wait_all(refs))
    assert stage.now == 5


@pytest.mark.parametrize("order", ORDERS)
async def test_few_among_many_cost_hardly_more_than_alone(stage: Stage, order: ListOrder) -> None:
    """Ten actions in a list of a thousand: a request for each that is due, and a bounded number of trials."""
    stage.sim.list_order = order
    refs = mix_jobs(stage, ours=10, foreign=990, duration=40)
    assert are_done(await stage.close.wait_all(refs))
    assert len(stage.reads()) <= 10 * 41 + 20


async def test_a_late_page_takes_nothing_back(stage: Stage) -> None:
    """A page that was asked for earlier and does not show an action which another one has shown stops no polls of it.

    Otherwise nobody would ever ask for it again.
    """
    stage.sim.fail_next(attrs.evolve(EMPTY_PAGE, wait_before=4.7))
    early = asyncio.gather(*(stage.close.wait_until_done(stage.run_job(duration=10), timeout=60) for _ in range(2)))
    await stage.clock.advance(1)
    late = asyncio.gather(*(stage.close.wait_until_done(stage.run_job(duration=3), timeout=60) for _ in range(2)))
    assert all(action.is_done for action in [*await early, *await late])
    assert stage.now <= 11
    assert all(read.at % 0.5 == 0 for read in stage.reads())  # nobody was asked for when the page came


async def test_a_page_answers_who_waits_for_a_turn_unless_it_was_sent_before(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """What was asked before a wait began may be older than what its caller knows: the next page answers for all."""
    refs = [stage.run_job(duration=10) for _ in range(3)]
    stage.sim.fail_next(faults.delay(3))
    async with stage.client(PollPolicy(floor=10, ceiling=10, concurrency=1)) as close:
        first = asyncio.gather(*(close.wait_until_done(ref) for ref in refs[:2]))
        await stage.clock.advance(1)
        assert (await close.wait_until_done(refs[2])).is_done
        await first
    assert stage.polls() == [0, 3, 13]
    assert caplog.records == []


# What is told -----------------------------------------------------------------------------------------------------


async def test_each_request_is_told_with_what_it_was_sent_for(stage: Stage) -> None:
    """By item or by page, how many watched actions it showed, and why it showed none."""
    notes = Notes()
    async with stage.client(EVERY_SECOND, hooks=[notes]) as close:
        refs = [stage.run_job(duration=1) for _ in range(3)]
        stage.sim.fail_next(NO_LISTS)
        await close.wait_all(refs)
        await close.wait_until_done(stage.run_job(duration=0))
    polls = notes.of(PollEnded)
    assert [(poll.how, poll.found) for poll in polls[:4]] == [("page", 0), ("item", 1), ("item", 1), ("item", 1)]
    assert type(polls[0].error).__name__ == "DecodeError"
    assert set(polls[0].refs) == set(refs) == {poll.refs[0] for poll in polls[1:4]}
    assert [poll.error for poll in polls[1:]] == [None] * (len(polls) - 1)
    assert len(polls) == len(stage.reads())
