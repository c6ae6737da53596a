"""Fences: what a start reads of the list before its POST, what that costs, and that it holds."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, get_args

import pytest
from aiohttp import web

from closebulk_async import (
    AmbiguousStartError,
    BulkEmail,
    ServerError,
    StartPolicy,
    UnfencedStartError,
)
from closebulk_async.fencing import ENOUGH_DATES, Order, find_order, is_older, seems_older
from closebulk_async.intents import Fence
from closebulk_async.models import BULK_KINDS, Kind
from closebulk_async.simulator import faults
from closebulk_async.simulator.listing import ListOrder
from closebulk_async.testing import FakeClock
from tests.peers import Peer, connect, start_email
from tests.stage import KEYWORDS, QUERY, cancel, create

if TYPE_CHECKING:
    from collections.abc import Sequence

    from closebulk_async import CloseBulk
    from tests.stage import Stage

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)
ORDERS: tuple[ListOrder, ...] = get_args(ListOrder)
SIZES = (0, 1, 99, 100, 101, 250, 1000)
EQUAL = {"s_query": QUERY, **KEYWORDS[Kind.EMAIL]}
"""What an action shows that was started as the tests here start theirs."""


def add_jobs(stage: Stage, number: int, *, without: Sequence[str] = ()) -> None:
    """So many jobs of the same user that are equal to the one to be started, a minute between each and the next."""
    for age in range(number):
        stage.sim.add_job("email", EQUAL, age=60.0 * age, without=without)


def reads(stage: Stage) -> int:
    """How often the list was asked for since the last POST."""
    methods = [request.method for request in stage.sim.requests]
    return len(methods) if "POST" not in methods else methods[::-1].index("POST")


def reads_before_the_post(stage: Stage) -> int:
    """How often the list was asked for before the one POST that has arrived last."""
    methods = [request.method for request in stage.sim.requests][:-1]
    return methods[::-1].index("POST") if "POST" in methods else len(methods)


async def lose(close: CloseBulk, stage: Stage) -> Fence:
    """Start an action whose POST is lost before the server acts; what had been read before it."""
    stage.sim.fail_next(faults.cut_before(), method="POST")
    with pytest.raises(AmbiguousStartError) as caught:
        await create(close, Kind.EMAIL, on_ambiguous="raise")
    await close.abandon(caught.value.intent.id)
    assert caught.value.intent.fence is not None
    return caught.value.intent.fence


# What it costs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", SIZES)
async def test_a_list_that_shows_the_newest_first_costs_one_request(stage: Stage, number: int) -> None:
    """However long it is, at each start."""
    add_jobs(stage, number)
    for _ in range(3):
        await create(stage.close, Kind.EMAIL)
        assert reads_before_the_post(stage) == 1


@pytest.mark.parametrize(
    ("number", "first"), [(0, 1), (1, 1), (99, 1), (100, 1), (101, 4), (250, 3), (1000, 8), (1700, 9)]
)
async def test_a_list_that_shows_the_oldest_first_costs_one_request_once_it_is_known(
    stage: Stage, number: int, first: int
) -> None:
    """The first start has to find its end; every later one reads half of the last page, and what came since."""
    stage.sim.list_order = "oldest"
    add_jobs(stage, number)
    costs = []
    for _ in range(6):
        await create(stage.close, Kind.EMAIL)
        costs.append(reads_before_the_post(stage))
    if number in {99, 100}:  # it grows beyond the first page with the first or second start
        first, costs = 4, costs[100 - number + 1 :]
    assert costs == [first, *[1] * (len(costs) - 1)]


@pytest.mark.parametrize("order", ["id", "shuffled"])
@pytest.mark.parametrize(("number", "pages"), [(0, 1), (99, 1), (100, 1), (101, 2), (250, 3), (1000, 10), (2000, 20)])
async def test_a_list_in_no_order_is_read_whole(stage: Stage, order: ListOrder, number: int, pages: int) -> None:
    """At each start: a new row may be anywhere."""
    stage.sim.list_order = order
    add_jobs(stage, number)
    assert len((await lose(stage.close, stage)).ids) == number
    assert reads_before_the_post(stage) == pages


@pytest.mark.parametrize("order", ["id", "shuffled"])
async def test_a_list_in_no_order_and_without_end_is_refused(stage: Stage, order: ListOrder) -> None:
    """Above the bound of the policy no POST is sent, nothing is left open, and the error names the way out."""
    stage.sim.list_order = order
    add_jobs(stage, 2001)
    with pytest.raises(UnfencedStartError, match="fence_requests"):
        await create(stage.close, Kind.EMAIL)
    assert (stage.posts, reads(stage), len(await stage.close.journal.unfinished())) == (0, 20, 0)
    async with stage.client(start=StartPolicy(fence_requests=21)) as close:
        await create(close, Kind.EMAIL)
    assert stage.posts == 1


async def test_a_list_whose_end_cannot_be_read_is_refused(stage: Stage) -> None:
    """The service lets nobody skip so many rows, and new ones appear behind them."""
    stage.sim.list_order = "oldest"
    stage.sim.max_skip = 300
    add_jobs(stage, 500)
    with pytest.raises(UnfencedStartError, match="max_skip = 300"):
        await create(stage.close, Kind.EMAIL)
    assert stage.posts == 0


@pytest.mark.parametrize("order", ORDERS)
async def test_rows_without_dates_are_in_no_order(stage: Stage, order: ListOrder) -> None:
    """What cannot be told is not assumed: the whole list is read."""
    stage.sim.list_order = order
    add_jobs(stage, 150, without=["date_created"])
    assert len((await lose(stage.close, stage)).ids) == 150


async def test_too_few_dates_tell_no_order(stage: Stage) -> None:
    """A list that looks ordered by chance is read on until there are enough dates to tell."""
    stage.sim.list_order = "oldest"
    for number in range(220):
        stage.sim.add_job("email", age=60.0 * (250 - number // 25))
    assert len((await lose(stage.close, stage)).ids) == 220


async def test_starts_of_one_moment_share_a_reading(stage: Stage) -> None:
    """Fifty of them cost one request; the next start reads anew."""
    add_jobs(stage, 10)
    await asyncio.gather(*(create(stage.close, Kind.EMAIL, template_id=f"tmpl_{number}") for number in range(50)))
    assert [request.method for request in stage.sim.requests] == ["GET"] + ["POST"] * 50
    await create(stage.close, Kind.EMAIL)
    assert reads_before_the_post(stage) == 1


async def test_kinds_do_not_share_a_reading(stage: Stage) -> None:
    """Each has a list of its own."""
    await asyncio.gather(*(create(stage.close, kind) for kind in BULK_KINDS))
    assert len({request.path for request in stage.sim.requests if request.method == "GET"}) == 4


async def test_who_leaves_a_reading_takes_it_from_nobody(stage: Stage) -> None:
    """It was the first one's; the second one gets it all the same."""
    stage.sim.fail_next(faults.delay(1), method="GET")
    first = asyncio.ensure_future(create(stage.close, Kind.EMAIL, template_id="tmpl_first"))
    second = asyncio.ensure_future(create(stage.close, Kind.EMAIL))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await cancel(first)
    assert (await second).template_id == "tmpl_1"
    assert [request.method for request in stage.sim.requests] == ["GET", "POST"]


async def test_a_reading_that_fails_fails_all_that_share_it_and_no_other(stage: Stage) -> None:
    """Its error is theirs, no POST is sent, and the next start reads anew."""
    stage.sim.fail_next(faults.server_error(), method="GET", times=5)
    starts = (create(stage.close, Kind.EMAIL, template_id=f"tmpl_{number}") for number in range(5))
    errors = await asyncio.gather(*starts, return_exceptions=True)
    assert [type(error) for error in errors] == [ServerError] * 5
    assert stage.posts == 0
    await create(stage.close, Kind.EMAIL)
    assert stage.posts == 1


async def test_closing_ends_a_reading(stage: Stage) -> None:
    """Whoever waited for it learns that the client was closed, and nothing is left."""
    stage.sim.fail_next(faults.hang(), method="GET")
    async with stage.client() as close:
        start = asyncio.ensure_future(create(close, Kind.EMAIL))
        await stage.clock.sleep(1)
    with pytest.raises(Exception, match="closed"):
        await start
    assert stage.posts == 0
    assert await stage.nothing_is_left()


# That it holds ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("number", SIZES)
async def test_the_action_of_a_lost_answer_is_found_in_any_list(stage: Stage, order: ListOrder, number: int) -> None:
    """Whatever the order, and however many equal ones were there before: at once, and after more starts."""
    stage.sim.list_order = order
    add_jobs(stage, number)
    for _ in range(1 if number == 1000 else 3):
        stage.sim.fail_next(faults.cut_after(), method="POST")
        assert (await create(stage.close, Kind.EMAIL)).id == stage.sim.jobs[-1].id


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("short_pages", [1, 7])
async def test_pages_may_be_shorter_than_was_asked_for(stage: Stage, order: ListOrder, short_pages: int) -> None:
    """A page may end early and say that there are more; nothing is jumped over."""
    stage.sim.list_order = order
    stage.sim.short_pages = short_pages
    add_jobs(stage, 15)
    for _ in range(3):
        stage.sim.fail_next(faults.cut_after(), method="POST")
        assert (await create(stage.close, Kind.EMAIL)).id == stage.sim.jobs[-1].id


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("number", [15, 150])
async def test_rows_may_lack_their_dates(stage: Stage, order: ListOrder, number: int) -> None:
    """Then the ids alone tell which were there before."""
    stage.sim.list_order = order
    add_jobs(stage, number, without=["date_created"])
    stage.sim.fail_next(faults.cut_after(), method="POST")
    assert (await create(stage.close, Kind.EMAIL)).id == stage.sim.jobs[-1].id


@pytest.mark.parametrize("order", ORDERS)
async def test_a_list_may_change_its_order(stage: Stage, order: ListOrder) -> None:
    """What was learned of it shows to be wrong in what is read, and is learned anew."""
    add_jobs(stage, 150)
    stage.sim.list_order = "oldest"
    await create(stage.close, Kind.EMAIL)
    stage.sim.list_order = order
    stage.sim.fail_next(faults.cut_after(), method="POST")
    assert (await create(stage.close, Kind.EMAIL)).id == stage.sim.jobs[-1].id


@pytest.mark.parametrize("order", ORDERS)
async def test_many_new_rows_are_read_past(stage: Stage, order: ListOrder) -> None:
    """While others start hundreds of jobs, the reading goes on until it comes to what it knows."""
    stage.sim.list_order = order
    add_jobs(stage, 150)
    stage.sim.next_job(shown_after=8)
    stage.sim.fail_next(faults.cut_after(), method="POST")
    start = asyncio.ensure_future(create(stage.close, Kind.EMAIL))
    await stage.clock.sleep(0.1)
    ours = stage.sim.jobs[-1].id
    for _ in range(300):
        await stage.clock.sleep(0.02)
        stage.sim.add_job("email", template_id="tmpl_other")
    assert (await start).id == ours


async def test_a_fence_is_not_older_than_its_start(stage: Stage) -> None:
    """An equal job of somebody else's that came between two starts is before the second one."""
    await create(stage.close, Kind.EMAIL)
    other = stage.sim.add_job("email", EQUAL)
    assert other.id in (await lose(stage.close, stage)).ids


async def test_a_fence_has_the_last_rows_also_where_none_has_come_since(stage: Stage) -> None:
    """Pages of one row leave no room for new ones: where nothing is behind the known end, what is before it is read."""
    stage.sim.list_order = "oldest"
    stage.sim.short_pages = 1
    add_jobs(stage, 15)
    await lose(stage.close, stage)
    assert stage.sim.jobs[0].id in (await lose(stage.close, stage)).ids  # the youngest was added first


async def test_a_fence_knows_the_servers_time(stage: Stage) -> None:
    """In whole seconds, as the service says it."""
    await stage.clock.sleep(12.75)
    taken_at = (await lose(stage.close, stage)).taken_at
    assert taken_at == stage.clock.now().replace(microsecond=0)


async def test_without_the_servers_time_the_newest_row_tells_it() -> None:
    """An answer that has no date has rows that do."""

    def answer(request: web.BaseRequest) -> web.Response:
        if request.method == "POST":
            return web.Response(status=500)
        row = BulkEmail.example(id="bulkemail_1", date_created=NOON).to_json()
        body = f'{{"data":[{row}],"has_more":false}}'
        return web.Response(text=body, content_type="application/json", headers={"date": "some day"})

    async with Peer(answer) as peer, connect(peer, FakeClock()) as close:
        with pytest.raises(AmbiguousStartError) as caught:
            await start_email(close)
    assert caught.value.intent.fence == Fence(ids=frozenset({"bulkemail_1"}), taken_at=NOON)


# Its parts ----------------------------------------------------------------------------------------------------------


def rows(*minutes: int | None) -> list[BulkEmail]:
    """Actions that were created so many minutes after noon; None for one that does not say."""
    dates = [None if minute is None else NOON + timedelta(minutes=minute) for minute in minutes]
    return [BulkEmail.example(id=f"bulkemail_{index}", date_created=date) for index, date in enumerate(dates)]


@pytest.mark.parametrize(
    ("minutes", "order"),
    [
        ([], None),
        (range(ENOUGH_DATES - 1), None),
        (range(ENOUGH_DATES), Order.OLDEST_FIRST),
        (range(ENOUGH_DATES, 0, -1), Order.NEWEST_FIRST),
        ([0] * 50, None),
        ([*([0] * 50), *range(1, ENOUGH_DATES)], Order.OLDEST_FIRST),
        ([1, 0, *range(2, ENOUGH_DATES)], Order.NONE),
        ([*range(ENOUGH_DATES), 0], Order.NONE),
        ([None, *range(ENOUGH_DATES), None], Order.OLDEST_FIRST),
        ([None] * 50, None),
    ],
)
def test_the_order_shows_in_the_rows(minutes: Sequence[int | None], order: Order | None) -> None:
    """By their dates, where there are enough different ones; equal dates follow in any order."""
    assert find_order(rows(*minutes)) is order


@pytest.mark.parametrize(
    ("seconds", "is_out", "seems_out"),
    [
        (5, False, False),
        (-2, False, False),
        (-2.001, False, True),
        (-60, False, True),
        (-60.001, True, True),
    ],
)
def test_what_was_created_before_a_fence_is_older(seconds: float, *, is_out: bool, seems_out: bool) -> None:
    """Clocks of one service differ by little: a bit earlier seems older, much earlier is older."""
    row = BulkEmail.example(id="bulkemail_new", date_created=NOON + timedelta(seconds=seconds))
    fence = Fence(ids=frozenset({"bulkemail_old"}), taken_at=NOON)
    assert (is_older(row, fence), seems_older(row, fence)) == (is_out, seems_out)


def test_what_a_fence_lists_is_older() -> None:
    """Whatever its date says, and also where none is known."""
    fence = Fence(ids=frozenset({"bulkemail_1"}), taken_at=NOON)
    later = BulkEmail.example(id="bulkemail_1", date_created=NOON + timedelta(days=1))
    assert is_older(later, fence)
    for row in (BulkEmail.from_dict({"id": "bulkemail_1"}), BulkEmail.example(id="bulkemail_1", date_created=None)):
        assert is_older(row, fence)
        assert not seems_older(row, fence)


def test_without_dates_only_the_ids_tell() -> None:
    """A row or a fence that lacks its date says nothing about the age of a row that is not listed."""
    undated = BulkEmail.from_dict({"id": "bulkemail_2"})
    ancient = BulkEmail.example(id="bulkemail_2", date_created=NOON - timedelta(days=999))
    assert not is_older(undated, Fence(ids=frozenset(), taken_at=NOON))
    assert not is_older(ancient, Fence(ids=frozenset(), taken_at=None))
