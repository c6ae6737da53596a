"""Searches: counts, what is asked for, and what comes."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import pytest

from closebulk_async import (
    Hit,
    InvalidRequestError,
    asc,
    desc,
)
from closebulk_async.search_wire import regular_field
from tests.haystacks import QUERY, Haystack, ids_of, in_order

if TYPE_CHECKING:
    from collections.abc import Mapping


LEADS = {"type": "object_type", "object_type": "lead"}
CONTACTS = {"type": "object_type", "object_type": "contact"}
BY_CREATION = [{"direction": "asc", "field": regular_field("lead", "date_created")}]
NEWEST = [desc("date_created")]


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
    hay: Haystack, query: Mapping[str, Any], object_type: str | None, asked: object
) -> None:
    """`count` asks for the number alone, of leads unless others are named."""
    hay.odd = lambda *_: {"data": [], "count": {"limited": 0, "total": 12}}
    assert await hay.close.search.count(query, object_type=object_type) == 12
    assert hay.asked == [{"query": asked, "include_counts": True, "results_limit": 0}]


@pytest.mark.parametrize("query", [None, "ACME", [QUERY], {"type": "id", "value": object()}])
async def test_what_is_no_query_is_refused_at_once(hay: Haystack, query: Any) -> None:  # noqa: ANN401 - what a caller must not pass
    """Neither is counted nor walked through, and nothing is sent."""
    with pytest.raises(InvalidRequestError, match="query"):
        await hay.close.search.count(query)
    with pytest.raises(InvalidRequestError, match="query"):
        hay.close.search.iterate(query)
    assert not hay.asked


# What is asked, and what comes ----------------------------------------------------------------------------------------


async def test_a_walk_asks_for_pages_in_the_order_of_creation(hay: Haystack) -> None:
    """The first page by the query, the others by the cursor; hits have the fields that were asked for, and `KEY`."""
    hay.add(2, 0, 1)
    hits = [hit async for hit in hay.close.search.iterate(QUERY, fields=["name"], page_size=2)]
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
async def test_fields_are_names_or_names_by_type(hay: Haystack, fields: object, asked: object) -> None:
    """Both are sent as the service wants them, with what a walk needs, for each page anew."""
    hay.add(1, 2)
    assert len(await ids_of(hay, fields=fields, page_size=1)) == 2
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
    hay: Haystack, query: Mapping[str, Any], object_type: str | None, found: str
) -> None:
    """It is the one given, or named in the query, or leads; it is said in the query, the fields and the sort."""
    assert [hit async for hit in hay.close.search.iterate(query, object_type=object_type)] == []
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
async def test_a_query_without_one_type_is_refused(hay: Haystack, query: Mapping[str, Any]) -> None:
    """Whoever names several types, or only those that are not meant, has to say `object_type`."""
    with pytest.raises(InvalidRequestError, match="object_type="):
        hay.close.search.iterate(query)
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
async def test_what_does_not_fit_is_refused_at_once(hay: Haystack, options: dict[str, Any], said: str) -> None:
    """An argument that cannot be sent raises where it is passed, before the first step."""
    with pytest.raises(InvalidRequestError, match=said):
        hay.close.search.iterate(QUERY, **options)
    assert not hay.asked


@pytest.mark.parametrize("text", ["", " "])
def test_a_sort_key_has_a_field(text: str) -> None:
    """A key without one is refused where it is made."""
    with pytest.raises(InvalidRequestError, match="field"):
        asc(text)


async def test_a_sort_is_sent_as_the_service_spells_it(hay: Haystack) -> None:
    """Names, fields as JSON and whole keys as JSON mean the same."""
    field = {"type": "custom_field", "custom_field_id": "cf_1"}
    for key in (desc("name"), desc(regular_field("lead", "name")), {**BY_CREATION[0], "direction": "desc"}, asc(field)):
        await ids_of(hay, sort=[key])
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
async def test_no_more_is_read_than_asked_for(hay: Haystack, most: int, limits: list[int]) -> None:
    """`max_items` ends the walk without another page, and no page is larger."""
    hay.add(*range(10))
    assert await ids_of(hay, max_items=most, page_size=4) == in_order(hay)[:most]
    assert [body["_limit"] for body in hay.asked] == limits


@pytest.mark.parametrize("end", [{"cursor": None}, {"cursor": ""}, {}])
async def test_a_page_without_a_cursor_is_the_last_one(hay: Haystack, end: dict[str, Any]) -> None:
    """A null, an empty text and no cursor at all are an end."""
    hay.add(1)
    row = hay.row("lead_0")
    hay.odd = lambda *_: {"data": [row], "count": {"limited": 1, "total": 1}, **end}
    assert await ids_of(hay) == ["lead_0"]
    assert len(hay.asked) == 1
