"""Walks that go on by the date of creation, and those in an order of the caller's own."""

from __future__ import annotations

from collections import Counter
from contextlib import aclosing
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from closebulk_async import (
    ClientClosedError,
    Hit,
    SearchIncompleteError,
    asc,
    desc,
)
from closebulk_async.search import Border
from closebulk_async.search_wire import regular_field
from tests.haystacks import BEGIN, QUERY, Haystack, collect, ids_of, in_order, on_cursors, refuse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from closebulk_async.testing import FakeClock

pytestmark = pytest.mark.unmeasured

LEADS = {"type": "object_type", "object_type": "lead"}
CONTACTS = {"type": "object_type", "object_type": "contact"}
BY_CREATION = [{"direction": "asc", "field": regular_field("lead", "date_created")}]
NEWEST = [desc("date_created")]


async def test_a_walk_goes_on_after_ten_thousand(hay: Haystack) -> None:
    """25,000 objects come once each, oldest first, in one request a page and one a new walk."""
    hay.add(*range(25_000, 0, -1))
    assert await ids_of(hay) == in_order(hay)
    assert len(hay.begun) == 3
    assert len(hay.asked) == 126


@pytest.mark.parametrize("page_size", [150, 3000, 10_000])
async def test_the_last_page_of_a_walk_is_as_large_as_the_service_lets_it(hay: Haystack, page_size: int) -> None:
    """Where the page size does not divide 10,000, the service is never asked for a row beyond."""
    hay.add(*range(20_500))
    assert await ids_of(hay, page_size=page_size) == in_order(hay)
    limits = [body["_limit"] for body in hay.asked]
    assert max(limits) == page_size
    walks = [n for n, body in enumerate(hay.asked) if "cursor" not in body]
    assert [sum(limits[begin:end]) for begin, end in pairwise(walks)] == [10_000] * (len(walks) - 1)


@pytest.mark.parametrize("n_ties", [1, 2, 199, 200, 201, 1000, 9_999])
@pytest.mark.parametrize("n_before", [1, 100, 800])
async def test_ties_at_the_border_are_neither_lost_nor_doubled(hay: Haystack, n_ties: int, n_before: int) -> None:
    """Objects of one instant on both sides of the 10,000th row come once each, also when they are more than a page."""
    alone = 10_000 - n_before
    hay.add(*range(alone), *[alone] * n_ties, *range(alone + 1, alone + 300))
    assert Counter(await ids_of(hay)) == Counter(in_order(hay))


@pytest.mark.parametrize(("n_ties", "n_after"), [(10_000, 0), (9_990, 5), (9_900, 3000)])
async def test_nearly_too_many_of_one_instant_are_passed(hay: Haystack, n_ties: int, n_after: int) -> None:
    """As many objects of one instant as the service gives at all do not end the walk where others follow."""
    hay.add(*[0] * n_ties, *range(1, n_after + 1))
    if n_ties < 10_000:
        assert await ids_of(hay) == in_order(hay)
    else:
        with pytest.raises(SearchIncompleteError):  # nobody can tell that there is no other
            await ids_of(hay)


@pytest.mark.parametrize("n_before", [0, 3, 9_000])
async def test_too_many_of_one_instant_raise(hay: Haystack, n_before: int) -> None:
    """More than 10,000 objects of one instant cannot be passed: what came came once, and the error says so."""
    hay.add(*range(-n_before, 0), *[0] * 10_001, 1)
    given: list[str] = []
    with pytest.raises(SearchIncompleteError, match="created at the same moment") as caught:
        await collect(hay.close.search.iterate(QUERY), given)
    assert len(set(given)) == len(given) == caught.value.given == n_before + 10_000


def test_a_walk_remembers_the_ids_of_one_instant() -> None:
    """What was given before the latest instant is told by its age, so that memory does not grow with the walk."""
    border = Border(is_by_key=True)
    hits = [Hit("lead", f"lead_{n}", {"date_created": f"2024-03-01T00:{n // 60:02}:{n % 60:02}Z"}) for n in range(900)]
    assert all(border.passes(hit) for hit in [*hits, Hit("lead", "lead_last", hits[-1].fields)])
    assert border.ids == {"lead_899", "lead_last"}
    assert not any(border.passes(hit) for hit in hits)


@pytest.mark.parametrize("pause", [0.1, 24, 26, 31, 3600])
async def test_a_slow_consumer_loses_nothing(hay: Haystack, clock: FakeClock, pause: float) -> None:
    """However long it takes between two pages, each object comes once; a cursor that has expired is not sent."""
    hay.add(*range(0, 40, 2), *[50] * 30)
    given = []
    async for hit in hay.close.search.iterate(QUERY, page_size=10):
        given.append(hit.id)
        if len(given) % 10 == 5:
            await clock.sleep(pause)
    assert given == in_order(hay)
    assert not hay.expired
    assert len(hay.begun) == 1 if pause < 25 else 1 < len(hay.begun) <= 7


async def test_objects_that_are_added_meanwhile_come_once_or_not(hay: Haystack) -> None:
    """A walk gives all that matched from its beginning once, and of what is added none twice."""
    hay.add(*range(21_000))
    first = in_order(hay)
    hay.before = lambda _: hay.add(*[21_000 + len(hay.asked)] * 3)
    given = await ids_of(hay)
    assert given[:21_000] == first
    assert len(set(given)) == len(given)


async def test_objects_that_go_meanwhile_take_no_other_with_them(hay: Haystack) -> None:
    """What matches no longer when a walk begins anew is passed over, and the rest comes once."""
    hay.add(*range(12_000))
    first = in_order(hay)

    def remove(body: Mapping[str, Any]) -> None:
        if "cursor" not in body and len(hay.asked) > 1:
            for id_ in [*first[9_990:10_010], first[-1]]:
                del hay.created[id_]

    hay.before = remove
    given = await ids_of(hay)
    assert len(set(given)) == len(given)
    assert set(given) == set(first[:10_000]) | set(hay.created)


# In an order of the caller's own --------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_rows", [0, 1, 300, 9_801, 9_999])
async def test_up_to_ten_thousand_come_in_any_order(hay: Haystack, n_rows: int) -> None:
    """What the service gives in one search comes in the order that was asked for."""
    hay.add(*range(n_rows))
    assert await ids_of(hay, sort=NEWEST) == in_order(hay)[::-1]
    assert len(hay.begun) == 1


@pytest.mark.parametrize("n_rows", [10_001, 25_000])
@pytest.mark.parametrize("ends_silently", [True, False])
async def test_more_than_ten_thousand_in_another_order_raise(
    hay: Haystack, n_rows: int, *, ends_silently: bool
) -> None:
    """After 10,000 objects the walk says that there are more, whether the service does or not."""
    hay.add(*range(n_rows))
    if ends_silently:
        hay.odd = lambda _, page: {**page, "cursor": None} if len(hay.asked) == 50 and isinstance(page, dict) else page
    given: list[str] = []
    with pytest.raises(SearchIncompleteError, match="leave sort out, narrow the query, or set max_items") as caught:
        await collect(hay.close.search.iterate(QUERY, sort=NEWEST), given)
    assert given == in_order(hay)[::-1][:10_000]
    assert caught.value.given == 10_000
    assert len(hay.asked) == 50


async def test_the_caller_may_want_no_more_than_ten_thousand(hay: Haystack) -> None:
    """With `max_items` of up to 10,000 a search in any order ends well."""
    hay.add(*range(10_500))
    assert await ids_of(hay, sort=NEWEST, max_items=10_000) == in_order(hay)[::-1][:10_000]


async def test_the_default_order_may_be_said(hay: Haystack) -> None:
    """`asc("date_created")` is what a walk does by itself, and goes on after 10,000."""
    hay.add(*range(10_500))
    assert await ids_of(hay, sort=[asc("date_created")]) == in_order(hay)


@pytest.mark.parametrize("pause", [1, 31])
async def test_a_slow_consumer_of_another_order_loses_nothing(hay: Haystack, clock: FakeClock, pause: float) -> None:
    """Where its cursors expire, the rest is read at once: the search costs at most twice as much."""
    hay.add(*range(50))
    given = []
    async for hit in hay.close.search.iterate(QUERY, sort=NEWEST, page_size=5):
        given.append(hit.id)
        if len(given) % 5 == 0:
            await clock.sleep(pause)
    assert given == in_order(hay)[::-1]
    assert len(hay.asked) <= (10 if pause < 25 else 11)


async def test_objects_that_move_up_are_given_once(hay: Haystack) -> None:
    """What is shown again because it moved in the order, or because the search began anew, is not given again."""
    hay.add(*range(30))
    hay.odd = on_cursors(lambda: refuse("Invalid or expired cursor."), every=7)
    hay.before = lambda _: hay.created.update(lead_5=BEGIN + timedelta(seconds=100 + len(hay.asked)))
    given = await ids_of(hay, sort=NEWEST, page_size=5)
    assert sorted(given) == sorted(hay.created)


# Leaving --------------------------------------------------------------------------------------------------------------


async def test_a_walk_that_is_left_asks_for_nothing(hay: Haystack, clock: FakeClock) -> None:
    """Neither before its first step nor after its last one is anything read, and no task runs."""
    hay.add(*range(30))
    walk = hay.close.search.iterate(QUERY, page_size=5)
    await clock.settle()
    assert not hay.asked
    async with aclosing(walk):
        async for hit in walk:
            if hit.id == "lead_7":
                break
    await clock.advance(3600)
    assert len(hay.asked) == 2
    assert clock.sleepers == 0


async def test_a_client_that_is_closed_ends_the_walk(hay: Haystack) -> None:
    """What was read already comes, and then ClientClosedError."""
    hay.add(*range(30))
    given: list[str] = []
    with pytest.raises(ClientClosedError):
        async for hit in hay.close.search.iterate(QUERY, page_size=5):
            given.append(hit.id)
            await hay.close.aclose()
    assert given == in_order(hay)[:5]
