"""Walks through services that answer oddly: no object is lost or doubled, and no walk is endless."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from closebulk_async import (
    AuthenticationError,
    BadRequestError,
    DecodeError,
    SearchIncompleteError,
    ServerError,
    desc,
)
from closebulk_async.search_wire import regular_field
from tests.haystacks import BEGIN, QUERY, Answer, Haystack, collect, ids_of, in_order, on_cursors, refuse

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from closebulk_async import SortKey
    from closebulk_async.testing import FakeClock

LEADS = {"type": "object_type", "object_type": "lead"}
CONTACTS = {"type": "object_type", "object_type": "contact"}
BY_CREATION = [{"direction": "asc", "field": regular_field("lead", "date_created")}]
NEWEST = [desc("date_created")]


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize(
    "answer",
    [
        lambda: refuse("Invalid or expired cursor."),
        lambda: refuse("The cursor is unknown.", 404),
        lambda: refuse("Try again.", 503),
        lambda: refuse("Slow down.", 429),
        lambda: web.Response(text="{broken"),
        lambda: {"data": "none"},
        lambda: {"data": [{"id": "lead_1"}]},
        lambda: {"data": [], "cursor": 5},
        lambda: {"data": [{"__object_type": "lead", "id": "lead_1", "date_created": None}]},
    ],
)
async def test_a_cursor_that_fails_is_not_needed(hay: Haystack, answer: Callable[[], Answer], every: int) -> None:
    """The walk goes on by `date_created`, and no cursor is sent twice."""
    hay.add(*range(20), *[20] * 3, *range(21, 40))
    hay.odd = on_cursors(answer, every=every)
    assert await ids_of(hay, page_size=5) == in_order(hay)
    assert len(set(hay.by_cursor)) == len(hay.by_cursor)


async def test_a_cut_connection_is_no_end(hay: Haystack) -> None:
    """A page that does not come whole is read again, from where the walk stood."""
    hay.add(*range(20))

    def cut(body: dict[str, Any], page: Answer) -> Answer:
        if "cursor" in body or len(hay.asked) == 1:
            raise ConnectionResetError
        return page

    hay.odd = cut
    assert await ids_of(hay, page_size=5) == in_order(hay)
    assert len(set(hay.by_cursor)) == len(hay.by_cursor)


async def test_cursors_that_expire_early_are_no_end(hay: Haystack, clock: FakeClock) -> None:
    """A service that forgets sooner than it says answers 400, and the walk goes on without it."""
    hay.cursor_seconds = 5
    hay.add(*range(30))
    given = []
    async for hit in hay.close.search.iterate(QUERY, page_size=10):
        given.append(hit.id)
        await clock.sleep(1)
    assert given == in_order(hay)


@pytest.mark.parametrize("most_rows", [10, 25])
async def test_a_service_that_gives_fewer_rows_is_walked_through(hay: Haystack, most_rows: int) -> None:
    """Where the service refuses to go on before 10,000 rows, the walk does."""
    hay.most_rows = most_rows
    hay.add(*range(90), *[90] * 8)
    assert await ids_of(hay, page_size=10) == in_order(hay)


async def test_no_cursor_after_ten_thousand_rows_is_no_end(hay: Haystack) -> None:
    """A service that ends its 10,000 rows as it ends everything is asked for what follows."""
    hay.add(*range(10_300))

    def end(body: dict[str, Any], page: Answer) -> Answer:
        assert isinstance(page, dict)
        return {**page, "cursor": None} if page["data"][-1]["id"] == "lead_9999" and "cursor" in body else page

    hay.odd = end
    assert await ids_of(hay) == in_order(hay)


@pytest.mark.parametrize("n_kept", [0, 2])
async def test_a_short_page_with_a_cursor_is_no_end(hay: Haystack, n_kept: int) -> None:
    """The cursor says whether there is more, and not the number of rows."""
    hay.add(*range(23))

    def part(_: dict[str, Any], page: Answer) -> Answer:
        assert isinstance(page, dict)
        cursor = f"rest_{len(hay.asked)}"
        hay.aside[cursor] = {**page, "data": page["data"][n_kept:]}
        return {**page, "data": page["data"][:n_kept], "cursor": cursor}

    hay.odd = part
    assert await ids_of(hay, page_size=5) == in_order(hay)
    assert len(hay.begun) == 1


@pytest.mark.parametrize("back", [0, 1, 2])
async def test_a_cursor_that_leads_back_is_no_circle(hay: Haystack, back: int) -> None:
    """Where cursors lead to earlier pages again and again, all objects come once, and the walk ends."""
    hay.add(*range(40), *[40] * 12)

    def lead_back(body: dict[str, Any], page: Answer) -> Answer:
        return {**page, "cursor": f"cursor_{back}"} if isinstance(page, dict) and len(hay.asked) > back else page

    hay.odd = lead_back
    given: list[str] = []
    with pytest.raises(SearchIncompleteError, match="over and over"):
        await collect(hay.close.search.iterate(QUERY, page_size=5), given)
    assert len(set(given)) == len(given)
    assert len(hay.asked) < 200


async def test_the_same_cursor_may_lead_on(hay: Haystack) -> None:
    """A service that gives each page the same cursor, and the next page for it, is walked through."""
    hay.add(*range(40))
    n_given = 0

    def turn(body: dict[str, Any], page: Answer) -> Answer:
        nonlocal n_given
        rows = [hay.row(id_) for id_ in in_order(hay)[n_given : n_given + 5]]
        n_given += 5
        return {"data": rows, "cursor": "the one" if n_given < 40 else None}

    hay.cursors["the one"] = 0, 0, 0.0
    hay.odd = turn
    hay.cursor_seconds = 1e9
    assert await ids_of(hay, page_size=5) == in_order(hay)
    assert hay.by_cursor == ["the one"] * 7


@pytest.mark.parametrize("sort", [None, NEWEST])
@pytest.mark.parametrize("n_rows", [0, 5])
async def test_a_service_without_end_is_left(hay: Haystack, n_rows: int, sort: Sequence[SortKey] | None) -> None:
    """One that shows the same rows, or none, with a cursor each time, ends the walk with an error and not never."""
    hay.add(*range(n_rows))
    if sort is None and n_rows:
        hay.created = dict.fromkeys(hay.created, BEGIN)
    hay.odd = lambda *_: {"data": [hay.row(id_) for id_ in hay.created], "cursor": f"cursor {len(hay.asked)}"}
    given: list[str] = []
    with pytest.raises(SearchIncompleteError, match="over and over") as caught:
        await collect(hay.close.search.iterate(QUERY, sort=sort), given)
    assert given == list(hay.created)
    assert caught.value.given == n_rows
    assert len(hay.asked) < 60


async def test_a_service_that_ignores_the_key_is_left(hay: Haystack) -> None:
    """One that begins at the very beginning each time gives nothing twice, and the walk ends with an error."""
    hay.add(*range(30))
    hay.precision = lambda _: BEGIN
    hay.odd = on_cursors(lambda: refuse("Invalid or expired cursor."))
    given: list[str] = []
    with pytest.raises(BadRequestError, match="cursor"):
        await collect(hay.close.search.iterate(QUERY, page_size=10), given)
    assert given == in_order(hay)[:10]


async def test_moments_may_be_compared_by_the_second(hay: Haystack) -> None:
    """A service that takes the moment of a query less exactly than it shows it loses and doubles nothing."""
    hay.precision = lambda moment: moment.replace(microsecond=0)
    hay.add(*(n / 7 for n in range(400)))
    hay.odd = on_cursors(lambda: refuse("Invalid or expired cursor."))
    assert await ids_of(hay, page_size=20) == in_order(hay)


async def test_rows_in_another_order_are_not_believed(hay: Haystack) -> None:
    """Without the order of creation nobody could go on: it is an error, asked for again, and not a gap later on."""
    hay.add(*range(10))
    hay.odd = lambda _, page: {**page, "data": page["data"][::-1]} if isinstance(page, dict) else page
    with pytest.raises(DecodeError, match="not in the order"):
        await ids_of(hay)
    assert len(hay.asked) == 5


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ([], "no list 'data'"),
        ({}, "no list 'data'"),
        ({"data": {}}, "no list 'data'"),
        ({"data": [], "cursor": 1}, "'cursor' holds 1"),
        ({"data": [5]}, "no 'id' that is one"),
        ({"data": [{"__object_type": "lead", "id": "a b"}]}, "no 'id' that is one"),
        ({"data": [{"__object_type": 5, "id": "lead_1"}]}, "'__object_type'"),
        ({"data": [{"__object_type": "lead", "id": "lead_1"}]}, "'lead_1' has no 'date_created'"),
        ({"data": [{"__object_type": "lead", "id": "lead_1", "date_created": "soon"}]}, "soon"),
    ],
)
async def test_a_page_that_cannot_be_read_raises(hay: Haystack, page: object, said: str) -> None:
    """It is asked for as often as the policy allows, and the error says what does not fit."""
    hay.odd = lambda *_: web.json_response(page)
    with pytest.raises(DecodeError, match=said):
        await ids_of(hay)
    assert len(hay.asked) == 5


async def test_one_bad_page_is_read_again(hay: Haystack) -> None:
    """A first page that cannot be read once costs a request and nothing else."""
    hay.add(1)
    hay.odd = lambda _, page: {} if len(hay.asked) == 1 else page
    assert await ids_of(hay) == ["lead_0"]


async def test_too_many_fields_are_told(hay: Haystack) -> None:
    """The service's `List is too long.` comes as BadRequestError that says how many fields there were."""
    hay.odd = lambda *_: refuse("List is too long.")
    with pytest.raises(BadRequestError, match=r"List is too long\.; 12 fields were asked for: ask for fewer") as caught:
        await ids_of(hay, fields=[f"custom.cf_{n}" for n in range(10)])
    assert caught.value.body == {"error": "List is too long."}
    assert len(hay.asked) == 1


async def test_too_many_fields_are_told_in_a_field_error(hay: Haystack) -> None:
    """The same in the other shape of errors."""
    text = '{"errors": [], "field-errors": {"_fields": {"field-errors": {"lead": "List is too long."}}}}'
    hay.odd = lambda *_: web.Response(text=text, status=400, content_type="application/json")
    with pytest.raises(BadRequestError, match=r"2 fields were asked for.*_fields\.lead: List is too long\.") as caught:
        await ids_of(hay)
    assert caught.value.field_errors == {"_fields.lead": "List is too long."}


async def test_another_refusal_is_told_as_it_is(hay: Haystack) -> None:
    """A 400 to the first page is the caller's, without a second request."""
    hay.odd = lambda *_: refuse("Unknown field.")
    with pytest.raises(BadRequestError, match=r"Unknown field\.$"):
        await ids_of(hay)
    assert len(hay.asked) == 1


async def test_a_key_that_is_revoked_meanwhile_ends_the_walk(hay: Haystack) -> None:
    """A 401 in the middle is seen twice, once with the cursor, and raised."""
    hay.add(*range(10))
    hay.odd = lambda _, page: refuse("Unauthorized", 401) if len(hay.asked) > 1 else page
    with pytest.raises(AuthenticationError):
        await ids_of(hay, page_size=5)
    assert len(hay.asked) <= 3


async def test_a_service_that_is_down_raises_its_error(hay: Haystack) -> None:
    """Where no page comes in the middle, the walk ends as any read does."""
    hay.add(*range(10))
    hay.odd = lambda _, page: refuse("Down.", 503) if len(hay.asked) > 1 else page
    with pytest.raises(ServerError):
        await ids_of(hay, page_size=5)
    assert len(hay.asked) == 1 + 1 + 5
