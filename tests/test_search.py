"""Searches: counts, and walks over everything that a query matches, each object once."""

from __future__ import annotations

import pickle
from collections import Counter
from contextlib import aclosing
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from closebulk_async import (
    AuthenticationError,
    BadRequestError,
    ClientClosedError,
    DecodeError,
    Hit,
    InvalidRequestError,
    SearchIncompleteError,
    ServerError,
    asc,
    desc,
)
from closebulk_async.search import Border
from closebulk_async.search_wire import regular_field
from tests.haystacks import BEGIN, QUERY, Answer, Haystack, collect, ids_of, in_order, refuse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from closebulk_async import CloseBulk, SortKey
    from closebulk_async.testing import FakeClock

LEADS = {"type": "object_type", "object_type": "lead"}
CONTACTS = {"type": "object_type", "object_type": "contact"}
BY_CREATION = [{"direction": "asc", "field": regular_field("lead", "date_created")}]
NEWEST = [desc("date_created")]


@pytest.fixture
async def hay(clock: FakeClock) -> AsyncIterator[Haystack]:
    """A service to search in, empty at first."""
    async with Haystack(clock) as haystack:
        yield haystack


@pytest.fixture
async def close(hay: Haystack) -> AsyncIterator[CloseBulk]:
    """A client of `hay`."""
    async with hay.client() as client:
        yield client


# Counts ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "object_type", "asked"),
    [
        (QUERY, None, {"type": "and", "queries": [LEADS, QUERY]}),
        (QUERY, "contact", {"type": "and", "queries": [CONTACTS, QUERY]}),
        (CONTACTS, None, CONTACTS),
        ({}, None, LEADS),
        ({}, "contact", CONTACTS),
    ],
)
async def test_a_count_reads_nothing_else(
    hay: Haystack, close: CloseBulk, query: Mapping[str, Any], object_type: str | None, asked: object
) -> None:
    """`count` asks for the number alone, of leads unless others are named."""
    hay.odd = lambda *_: {"data": [], "count": {"limited": 0, "total": 12}}
    assert await close.search.count(query, object_type=object_type) == 12
    assert hay.asked == [{"query": asked, "include_counts": True, "results_limit": 0}]


@pytest.mark.parametrize("query", [None, "ACME", [QUERY], {"type": "id", "value": object()}])
async def test_what_is_no_query_is_refused_at_once(hay: Haystack, close: CloseBulk, query: Any) -> None:  # noqa: ANN401 - what a caller must not pass
    """Neither is counted nor walked through, and nothing is sent."""
    with pytest.raises(InvalidRequestError, match="query"):
        await close.search.count(query)
    with pytest.raises(InvalidRequestError, match="query"):
        close.search.iterate(query)
    assert not hay.asked


# What is asked, and what comes ----------------------------------------------------------------------------------------


async def test_a_walk_asks_for_pages_in_the_order_of_creation(hay: Haystack, close: CloseBulk) -> None:
    """The first page by the query, the others by the cursor; hits have the fields that were asked for, and `KEY`."""
    hay.add(2, 0, 1)
    hits = [hit async for hit in close.search.iterate(QUERY, fields=["name"], page_size=2)]
    assert hits == [
        Hit("lead", f"lead_{n}", {"date_created": f"2024-03-01T00:00:0{at}+00:00", "name": f"LEAD_{n}"})
        for at, n in enumerate((1, 2, 0))
    ]
    same = {
        "query": {"type": "and", "queries": [LEADS, QUERY]},
        "_fields": {"lead": ["id", "date_created", "name"]},
        "sort": BY_CREATION,
        "_limit": 2,
    }
    assert hay.asked == [{**same, "include_counts": True}, {**same, "cursor": "cursor_0"}]


@pytest.mark.parametrize(
    ("fields", "asked"),
    [
        (None, {"lead": ["id", "date_created"]}),
        (iter(["name", "name", "id"]), {"lead": ["id", "date_created", "name"]}),
        ({"lead": ["name"]}, {"lead": ["id", "date_created", "name"]}),
        (
            {"contact": ["title", "custom.cf_1"]},
            {"lead": ["id", "date_created"], "contact": ["id", "date_created", "title", "custom.cf_1"]},
        ),
    ],
)
async def test_fields_are_names_or_names_by_type(
    hay: Haystack, close: CloseBulk, fields: object, asked: object
) -> None:
    """Both are sent as the service wants them, with what a walk needs, for each page anew."""
    hay.add(1, 2)
    assert len(await ids_of(close, fields=fields, page_size=1)) == 2
    assert [body["_fields"] for body in hay.asked] == [asked] * 2


@pytest.mark.parametrize(
    ("query", "object_type", "found"),
    [
        (QUERY, None, "lead"),
        (CONTACTS, None, "contact"),
        ({"type": "and", "queries": [QUERY, CONTACTS]}, None, "contact"),
        ({"type": "or", "queries": [CONTACTS, {"type": "and", "queries": [CONTACTS, QUERY]}]}, None, "contact"),
        ({"type": "has_related", "related_object_type": "contact", "related_query": CONTACTS}, None, "lead"),
        ({"type": "not", "query": {**CONTACTS, "negate": True}}, None, "contact"),
        ({**CONTACTS, "negate": True}, "lead", "lead"),
        (QUERY, "opportunity", "opportunity"),
    ],
)
async def test_objects_of_one_type_are_looked_for(
    hay: Haystack, close: CloseBulk, query: Mapping[str, Any], object_type: str | None, found: str
) -> None:
    """It is the one given, or named in the query, or leads; it is said in the query, the fields and the sort."""
    assert [hit async for hit in close.search.iterate(query, object_type=object_type)] == []
    (body,) = hay.asked
    named = {"type": "object_type", "object_type": found}
    assert body["query"] == {"type": "and", "queries": [named, query]}
    assert body["_fields"] == {found: ["id", "date_created"]}
    assert body["sort"][0]["field"]["object_type"] == found


@pytest.mark.parametrize(
    "query",
    [
        {"type": "or", "queries": [LEADS, CONTACTS]},
        {**CONTACTS, "negate": True},
        {"type": "not", "query": CONTACTS},
        {"type": "and", "queries": [{"type": "or", "queries": [CONTACTS], "negate": True}]},
    ],
)
async def test_a_query_without_one_type_is_refused(hay: Haystack, close: CloseBulk, query: Mapping[str, Any]) -> None:
    """Whoever names several types, or only those that are not meant, has to say `object_type`."""
    with pytest.raises(InvalidRequestError, match="object_type="):
        close.search.iterate(query)
    assert not hay.asked


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"page_size": 0}, "page_size must be an integer of at least 1"),
        ({"page_size": 10_001}, "page_size must be at most 10000"),
        ({"max_items": -1}, "max_items"),
        ({"fields": "name"}, r"write \['name'\]"),
        ({"fields": {"lead": "name"}}, r"write \['name'\]"),
        ({"fields": ["name", ""]}, "'', which is no name"),
        ({"fields": [["name"]]}, "no name"),
        ({"sort": "name"}, "several keys"),
        ({"sort": asc("name")}, "several keys"),
        ({"sort": BY_CREATION[0]}, "several keys"),
        ({"sort": ["name"]}, r"write asc\('name'\)"),
        ({"sort": [{"field": object()}]}, "cannot be sent as JSON"),
    ],
)
async def test_what_does_not_fit_is_refused_at_once(
    hay: Haystack, close: CloseBulk, options: dict[str, Any], said: str
) -> None:
    """An argument that cannot be sent raises where it is passed, before the first step."""
    with pytest.raises(InvalidRequestError, match=said):
        close.search.iterate(QUERY, **options)
    assert not hay.asked


@pytest.mark.parametrize("text", ["", " "])
def test_a_sort_key_has_a_field(text: str) -> None:
    """A key without one is refused where it is made."""
    with pytest.raises(InvalidRequestError, match="field"):
        asc(text)


async def test_a_sort_is_sent_as_the_service_spells_it(hay: Haystack, close: CloseBulk) -> None:
    """Names, fields as JSON and whole keys as JSON mean the same."""
    field = {"type": "custom_field", "custom_field_id": "cf_1"}
    for key in (desc("name"), desc(regular_field("lead", "name")), {**BY_CREATION[0], "direction": "desc"}, asc(field)):
        await ids_of(close, sort=[key])
    name = {"direction": "desc", "field": regular_field("lead", "name")}
    assert [body["sort"] for body in hay.asked] == [
        [name],
        [name],
        [{**BY_CREATION[0], "direction": "desc"}],
        [{"direction": "asc", "field": field}],
    ]


def test_a_hit_is_a_value() -> None:
    """It compares by all that it has, can be put in a set and sent to another process; its dict is the caller's."""
    hit = Hit("lead", "lead_1", {"urls": ["x"]})
    assert len({hit, pickle.loads(pickle.dumps(hit))}) == 1  # noqa: S301 - our own
    assert hit != Hit("lead", "lead_1", {"urls": []})
    plain = hit.to_dict()
    assert plain == {"__object_type": "lead", "id": "lead_1", "urls": ["x"]}
    plain["urls"].clear()
    assert hit.fields["urls"] == ["x"]


@pytest.mark.parametrize(("most", "limits"), [(0, []), (1, [1]), (3, [3]), (4, [4]), (7, [4, 4]), (99, [4, 4, 4])])
async def test_no_more_is_read_than_asked_for(hay: Haystack, close: CloseBulk, most: int, limits: list[int]) -> None:
    """`max_items` ends the walk without another page, and no page is larger."""
    hay.add(*range(10))
    assert await ids_of(close, max_items=most, page_size=4) == in_order(hay)[:most]
    assert [body["_limit"] for body in hay.asked] == limits


# Long walks -----------------------------------------------------------------------------------------------------------


async def test_a_walk_goes_on_after_ten_thousand(hay: Haystack, close: CloseBulk) -> None:
    """25,000 objects come once each, oldest first, in one request a page and one a new walk."""
    hay.add(*range(25_000, 0, -1))
    assert await ids_of(close) == in_order(hay)
    assert len(hay.begun) == 3
    assert len(hay.asked) == 126


@pytest.mark.parametrize("page_size", [150, 3000, 10_000])
async def test_the_last_page_of_a_walk_is_as_large_as_the_service_lets_it(
    hay: Haystack, close: CloseBulk, page_size: int
) -> None:
    """Where the page size does not divide 10,000, the service is never asked for a row beyond."""
    hay.add(*range(20_500))
    assert await ids_of(close, page_size=page_size) == in_order(hay)
    assert [body["_limit"] for body in hay.asked[:2]] == [page_size] * 2


@pytest.mark.parametrize("n_ties", [1, 2, 199, 200, 201, 1000, 9_999])
@pytest.mark.parametrize("n_before", [1, 100, 800])
async def test_ties_at_the_border_are_neither_lost_nor_doubled(
    hay: Haystack, close: CloseBulk, n_ties: int, n_before: int
) -> None:
    """Objects of one instant on both sides of the 10,000th row come once each, also when they are more than a page."""
    alone = 10_000 - n_before
    hay.add(*range(alone), *[alone] * n_ties, *range(alone + 1, alone + 300))
    assert Counter(await ids_of(close)) == Counter(in_order(hay))


@pytest.mark.parametrize(("n_ties", "n_after"), [(10_000, 0), (9_990, 5), (9_900, 3000)])
async def test_nearly_too_many_of_one_instant_are_passed(
    hay: Haystack, close: CloseBulk, n_ties: int, n_after: int
) -> None:
    """As many objects of one instant as the service gives at all do not end the walk where others follow."""
    hay.add(*[0] * n_ties, *range(1, n_after + 1))
    if n_ties < 10_000:
        assert await ids_of(close) == in_order(hay)
    else:
        with pytest.raises(SearchIncompleteError):  # nobody can tell that there is no other
            await ids_of(close)


@pytest.mark.parametrize("n_before", [0, 3, 9_000])
async def test_too_many_of_one_instant_raise(hay: Haystack, close: CloseBulk, n_before: int) -> None:
    """More than 10,000 objects of one instant cannot be passed: what came came once, and the error says so."""
    hay.add(*range(-n_before, 0), *[0] * 10_001, 1)
    given: list[str] = []
    with pytest.raises(SearchIncompleteError, match="created at the same moment") as caught:
        await collect(close.search.iterate(QUERY), given)
    assert len(set(given)) == len(given) == caught.value.given == n_before + 10_000


def test_a_walk_remembers_the_ids_of_one_instant() -> None:
    """What was given before the latest instant is told by its age, so that memory does not grow with the walk."""
    border = Border(is_by_key=True)
    hits = [Hit("lead", f"lead_{n}", {"date_created": f"2024-03-01T00:{n // 60:02}:{n % 60:02}Z"}) for n in range(900)]
    assert all(border.passes(hit) for hit in [*hits, Hit("lead", "lead_last", hits[-1].fields)])
    assert border.ids == {"lead_899", "lead_last"}
    assert not any(border.passes(hit) for hit in hits)


@pytest.mark.parametrize("pause", [0.1, 24, 26, 31, 3600])
async def test_a_slow_consumer_loses_nothing(hay: Haystack, close: CloseBulk, clock: FakeClock, pause: float) -> None:
    """However long it takes between two pages, each object comes once; a cursor that has expired is not sent."""
    hay.add(*range(0, 40, 2), *[50] * 30)
    given = []
    async for hit in close.search.iterate(QUERY, page_size=10):
        given.append(hit.id)
        if len(given) % 10 == 5:
            await clock.sleep(pause)
    assert given == in_order(hay)
    assert not hay.expired
    assert len(hay.begun) == 1 if pause < 25 else 1 < len(hay.begun) <= 7


async def test_objects_that_are_added_meanwhile_come_once_or_not(hay: Haystack, close: CloseBulk) -> None:
    """A walk gives all that matched from its beginning once, and of what is added none twice."""
    hay.add(*range(21_000))
    first = in_order(hay)
    hay.before = lambda _: hay.add(*[21_000 + len(hay.asked)] * 3)
    given = await ids_of(close)
    assert given[:21_000] == first
    assert len(set(given)) == len(given)


async def test_objects_that_go_meanwhile_take_no_other_with_them(hay: Haystack, close: CloseBulk) -> None:
    """What matches no longer when a walk begins anew is passed over, and the rest comes once."""
    hay.add(*range(12_000))
    first = in_order(hay)

    def remove(body: Mapping[str, Any]) -> None:
        if "cursor" not in body and len(hay.asked) > 1:
            for id_ in [*first[9_990:10_010], first[-1]]:
                del hay.created[id_]

    hay.before = remove
    given = await ids_of(close)
    assert len(set(given)) == len(given)
    assert set(given) == set(first[:10_000]) | set(hay.created)


# Odd services ---------------------------------------------------------------------------------------------------------


def on_cursors(answer: Callable[[], Answer], *, every: int = 1) -> Callable[[dict[str, Any], Answer], Answer]:
    """Answers so where a cursor is sent; each time, or each so many times."""
    n_sent = 0

    def odd(body: dict[str, Any], page: Answer) -> Answer:
        nonlocal n_sent
        n_sent += "cursor" in body
        return answer() if "cursor" in body and n_sent % every == 0 else page

    return odd


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
async def test_a_cursor_that_fails_is_not_needed(
    hay: Haystack, close: CloseBulk, answer: Callable[[], Answer], every: int
) -> None:
    """The walk goes on by `date_created`, and no cursor is sent twice."""
    hay.add(*range(20), *[20] * 3, *range(21, 40))
    hay.odd = on_cursors(answer, every=every)
    assert await ids_of(close, page_size=5) == in_order(hay)
    assert len(set(hay.by_cursor)) == len(hay.by_cursor)


async def test_a_cut_connection_is_no_end(hay: Haystack, close: CloseBulk) -> None:
    """A page that does not come whole is read again, from where the walk stood."""
    hay.add(*range(20))

    def cut(body: dict[str, Any], page: Answer) -> Answer:
        if "cursor" in body or len(hay.asked) == 1:
            raise ConnectionResetError
        return page

    hay.odd = cut
    assert await ids_of(close, page_size=5) == in_order(hay)
    assert len(set(hay.by_cursor)) == len(hay.by_cursor)


async def test_cursors_that_expire_early_are_no_end(hay: Haystack, close: CloseBulk, clock: FakeClock) -> None:
    """A service that forgets sooner than it says answers 400, and the walk goes on without it."""
    hay.cursor_seconds = 5
    hay.add(*range(30))
    given = []
    async for hit in close.search.iterate(QUERY, page_size=10):
        given.append(hit.id)
        await clock.sleep(1)
    assert given == in_order(hay)


@pytest.mark.parametrize("most_rows", [10, 25])
async def test_a_service_that_gives_fewer_rows_is_walked_through(
    hay: Haystack, close: CloseBulk, most_rows: int
) -> None:
    """Where the service refuses to go on before 10,000 rows, the walk does."""
    hay.most_rows = most_rows
    hay.add(*range(90), *[90] * 8)
    assert await ids_of(close, page_size=10) == in_order(hay)


async def test_no_cursor_after_ten_thousand_rows_is_no_end(hay: Haystack, close: CloseBulk) -> None:
    """A service that ends its 10,000 rows as it ends everything is asked for what follows."""
    hay.add(*range(10_300))

    def end(body: dict[str, Any], page: Answer) -> Answer:
        assert isinstance(page, dict)
        return {**page, "cursor": None} if page["data"][-1]["id"] == "lead_9999" and "cursor" in body else page

    hay.odd = end
    assert await ids_of(close) == in_order(hay)


@pytest.mark.parametrize("n_kept", [0, 2])
async def test_a_short_page_with_a_cursor_is_no_end(hay: Haystack, close: CloseBulk, n_kept: int) -> None:
    """The cursor says whether there is more, and not the number of rows."""
    hay.add(*range(23))

    def part(_: dict[str, Any], page: Answer) -> Answer:
        assert isinstance(page, dict)
        cursor = f"rest_{len(hay.asked)}"
        hay.aside[cursor] = {**page, "data": page["data"][n_kept:]}
        return {**page, "data": page["data"][:n_kept], "cursor": cursor}

    hay.odd = part
    assert await ids_of(close, page_size=5) == in_order(hay)
    assert len(hay.begun) == 1


@pytest.mark.parametrize("back", [0, 1, 2])
async def test_a_cursor_that_leads_back_is_no_circle(hay: Haystack, close: CloseBulk, back: int) -> None:
    """Where cursors lead to earlier pages again and again, all objects come once, and the walk ends."""
    hay.add(*range(40), *[40] * 12)

    def lead_back(body: dict[str, Any], page: Answer) -> Answer:
        return {**page, "cursor": f"cursor_{back}"} if isinstance(page, dict) and len(hay.asked) > back else page

    hay.odd = lead_back
    given: list[str] = []
    with pytest.raises(SearchIncompleteError, match="over and over"):
        await collect(close.search.iterate(QUERY, page_size=5), given)
    assert len(set(given)) == len(given)
    assert len(hay.asked) < 200


async def test_the_same_cursor_may_lead_on(hay: Haystack, close: CloseBulk) -> None:
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
    assert await ids_of(close, page_size=5) == in_order(hay)
    assert hay.by_cursor == ["the one"] * 7


@pytest.mark.parametrize("sort", [None, NEWEST])
@pytest.mark.parametrize("n_rows", [0, 5])
async def test_a_service_without_end_is_left(
    hay: Haystack, close: CloseBulk, n_rows: int, sort: Sequence[SortKey] | None
) -> None:
    """One that shows the same rows, or none, with a cursor each time, ends the walk with an error and not never."""
    hay.add(*range(n_rows))
    if sort is None and n_rows:
        hay.created = dict.fromkeys(hay.created, BEGIN)
    hay.odd = lambda *_: {"data": [hay.row(id_) for id_ in hay.created], "cursor": f"cursor {len(hay.asked)}"}
    given: list[str] = []
    with pytest.raises(SearchIncompleteError, match="over and over") as caught:
        await collect(close.search.iterate(QUERY, sort=sort), given)
    assert given == list(hay.created)
    assert caught.value.given == n_rows
    assert len(hay.asked) < 60


async def test_a_service_that_ignores_the_key_is_left(hay: Haystack, close: CloseBulk) -> None:
    """One that begins at the very beginning each time gives nothing twice, and the walk ends with an error."""
    hay.add(*range(30))
    hay.precision = lambda _: BEGIN
    hay.odd = on_cursors(lambda: refuse("Invalid or expired cursor."))
    given: list[str] = []
    with pytest.raises(BadRequestError, match="cursor"):
        await collect(close.search.iterate(QUERY, page_size=10), given)
    assert given == in_order(hay)[:10]


async def test_moments_may_be_compared_by_the_second(hay: Haystack, close: CloseBulk) -> None:
    """A service that takes the moment of a query less exactly than it shows it loses and doubles nothing."""
    hay.precision = lambda moment: moment.replace(microsecond=0)
    hay.add(*(n / 7 for n in range(400)))
    hay.odd = on_cursors(lambda: refuse("Invalid or expired cursor."))
    assert await ids_of(close, page_size=20) == in_order(hay)


async def test_rows_in_another_order_are_not_believed(hay: Haystack, close: CloseBulk) -> None:
    """Without the order of creation nobody could go on: it is an error, asked for again, and not a gap later on."""
    hay.add(*range(10))
    hay.odd = lambda _, page: {**page, "data": page["data"][::-1]} if isinstance(page, dict) else page
    with pytest.raises(DecodeError, match="not in the order"):
        await ids_of(close)
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
async def test_a_page_that_cannot_be_read_raises(hay: Haystack, close: CloseBulk, page: object, said: str) -> None:
    """It is asked for as often as the policy allows, and the error says what does not fit."""
    hay.odd = lambda *_: web.json_response(page)
    with pytest.raises(DecodeError, match=said):
        await ids_of(close)
    assert len(hay.asked) == 5


async def test_one_bad_page_is_read_again(hay: Haystack, close: CloseBulk) -> None:
    """A first page that cannot be read once costs a request and nothing else."""
    hay.add(1)
    hay.odd = lambda _, page: {} if len(hay.asked) == 1 else page
    assert await ids_of(close) == ["lead_0"]


async def test_too_many_fields_are_told(hay: Haystack, close: CloseBulk) -> None:
    """The service's `List is too long.` comes as BadRequestError that says how many fields there were."""
    hay.odd = lambda *_: refuse("List is too long.")
    with pytest.raises(BadRequestError, match=r"List is too long\.; 12 fields were asked for: ask for fewer") as caught:
        await ids_of(close, fields=[f"custom.cf_{n}" for n in range(10)])
    assert caught.value.body == {"error": "List is too long."}
    assert len(hay.asked) == 1


async def test_too_many_fields_are_told_in_a_field_error(hay: Haystack, close: CloseBulk) -> None:
    """The same in the other shape of errors."""
    text = '{"errors": [], "field-errors": {"_fields": {"field-errors": {"lead": "List is too long."}}}}'
    hay.odd = lambda *_: web.Response(text=text, status=400, content_type="application/json")
    with pytest.raises(BadRequestError, match=r"2 fields were asked for.*_fields\.lead: List is too long\.") as caught:
        await ids_of(close)
    assert caught.value.field_errors == {"_fields.lead": "List is too long."}


async def test_another_refusal_is_told_as_it_is(hay: Haystack, close: CloseBulk) -> None:
    """A 400 to the first page is the caller's, without a second request."""
    hay.odd = lambda *_: refuse("Unknown field.")
    with pytest.raises(BadRequestError, match=r"Unknown field\.$"):
        await ids_of(close)
    assert len(hay.asked) == 1


async def test_a_key_that_is_revoked_meanwhile_ends_the_walk(hay: Haystack, close: CloseBulk) -> None:
    """A 401 in the middle is seen twice, once with the cursor, and raised."""
    hay.add(*range(10))
    hay.odd = lambda _, page: refuse("Unauthorized", 401) if len(hay.asked) > 1 else page
    with pytest.raises(AuthenticationError):
        await ids_of(close, page_size=5)
    assert len(hay.asked) <= 3


async def test_a_service_that_is_down_raises_its_error(hay: Haystack, close: CloseBulk) -> None:
    """Where no page comes in the middle, the walk ends as any read does."""
    hay.add(*range(10))
    hay.odd = lambda _, page: refuse("Down.", 503) if len(hay.asked) > 1 else page
    with pytest.raises(ServerError):
        await ids_of(close, page_size=5)
    assert len(hay.asked) == 1 + 1 + 5


# In an order of the caller's own --------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_rows", [0, 1, 300, 9_801, 9_999])
async def test_up_to_ten_thousand_come_in_any_order(hay: Haystack, close: CloseBulk, n_rows: int) -> None:
    """What the service gives in one search comes in the order that was asked for."""
    hay.add(*range(n_rows))
    assert await ids_of(close, sort=NEWEST) == in_order(hay)[::-1]
    assert len(hay.begun) == 1


@pytest.mark.parametrize("n_rows", [10_001, 25_000])
@pytest.mark.parametrize("ends_silently", [True, False])
async def test_more_than_ten_thousand_in_another_order_raise(
    hay: Haystack, close: CloseBulk, n_rows: int, *, ends_silently: bool
) -> None:
    """After 10,000 objects the walk says that there are more, whether the service does or not."""
    hay.add(*range(n_rows))
    if ends_silently:
        hay.odd = lambda _, page: {**page, "cursor": None} if len(hay.asked) == 50 and isinstance(page, dict) else page
    given: list[str] = []
    with pytest.raises(SearchIncompleteError, match="leave sort out, narrow the query, or set max_items") as caught:
        await collect(close.search.iterate(QUERY, sort=NEWEST), given)
    assert given == in_order(hay)[::-1][:10_000]
    assert caught.value.given == 10_000
    assert len(hay.asked) == 50


async def test_the_caller_may_want_no_more_than_ten_thousand(hay: Haystack, close: CloseBulk) -> None:
    """With `max_items` of up to 10,000 a search in any order ends well."""
    hay.add(*range(10_500))
    assert await ids_of(close, sort=NEWEST, max_items=10_000) == in_order(hay)[::-1][:10_000]


async def test_the_default_order_may_be_said(hay: Haystack, close: CloseBulk) -> None:
    """`asc("date_created")` is what a walk does by itself, and goes on after 10,000."""
    hay.add(*range(10_500))
    assert await ids_of(close, sort=[asc("date_created")]) == in_order(hay)


@pytest.mark.parametrize("pause", [1, 31])
async def test_a_slow_consumer_of_another_order_loses_nothing(
    hay: Haystack, close: CloseBulk, clock: FakeClock, pause: float
) -> None:
    """Where its cursors expire, the rest is read at once: the search costs at most twice as much."""
    hay.add(*range(50))
    given = []
    async for hit in close.search.iterate(QUERY, sort=NEWEST, page_size=5):
        given.append(hit.id)
        if len(given) % 5 == 0:
            await clock.sleep(pause)
    assert given == in_order(hay)[::-1]
    assert len(hay.asked) <= (10 if pause < 25 else 11)


async def test_objects_that_move_up_are_given_once(hay: Haystack, close: CloseBulk) -> None:
    """What is shown again because it moved in the order, or because the search began anew, is not given again."""
    hay.add(*range(30))
    hay.odd = on_cursors(lambda: refuse("Invalid or expired cursor."), every=7)
    hay.before = lambda _: hay.created.update(lead_5=BEGIN + timedelta(seconds=100 + len(hay.asked)))
    given = await ids_of(close, sort=NEWEST, page_size=5)
    assert sorted(given) == sorted(hay.created)


# Leaving --------------------------------------------------------------------------------------------------------------


async def test_a_walk_that_is_left_asks_for_nothing(hay: Haystack, close: CloseBulk, clock: FakeClock) -> None:
    """Neither before its first step nor after its last one is anything read, and no task runs."""
    hay.add(*range(30))
    walk = close.search.iterate(QUERY, page_size=5)
    await clock.settle()
    assert not hay.asked
    async with aclosing(walk):
        async for hit in walk:
            if hit.id == "lead_7":
                break
    await clock.advance(3600)
    assert len(hay.asked) == 2
    assert clock.sleepers == 0


async def test_a_client_that_is_closed_ends_the_walk(hay: Haystack, close: CloseBulk) -> None:
    """What was read already comes, and then ClientClosedError."""
    hay.add(*range(30))
    given: list[str] = []
    with pytest.raises(ClientClosedError):
        async for hit in close.search.iterate(QUERY, page_size=5):
            given.append(hit.id)
            await close.aclose()
    assert given == in_order(hay)[:5]
