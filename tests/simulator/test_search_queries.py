"""What a query finds among leads and contacts that are there."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from closebulk_async.simulator import SearchRules

from .searches import CONTACTS, LEADS, both, count, either, find, having, negated, search, where

if TYPE_CHECKING:
    from .api import Api, Row

ALL = {"acme", "bolt", "core"}
TITLED = {"ann", "al", "bob"}


@pytest.fixture
def town(api: Api) -> Api:
    """Three leads: one with everything, one with something, one with nothing but its dates."""
    sim = api.sim
    acme = sim.add_lead(
        id="acme",
        name="ACME Inc.",
        description="The quick brown fox",
        url="https://acme.example.com",
        status_id="stat_hot",
        created_by=sim.user_id,
        updated_by="user_other",
        date_created=datetime(2024, 1, 1, tzinfo=UTC),
        addresses=[{"city": "Paris", "country": "FR", "zipcode": "75001"}],
        opportunities=[{"value": 5000, "status_id": "stat_won"}],
        cf_plan="Pro",
        cf_seats=10,
        cf_tags=["red", "blue"],
        cf_since="2024-03-01",
        cf_owner=sim.user_id,
        cf_vip=True,
    )
    sim.add_contact(
        acme,
        id="ann",
        name="Ann Abel",
        title="CEO",
        emails=["ann@acme.example.com", {"email": "ann@home.example.org", "type": "home"}],
        phones=[{"phone": "+14155550100", "type": "mobile"}],
    )
    sim.add_contact(acme, id="al", name="Al Brook", title="Vice President", urls=["https://al.example.com"])
    bolt = sim.add_lead(
        id="bolt",
        name="Bolt acme",
        description="A fox, quick and brown",
        status_id="stat_cold",
        date_created=datetime(2024, 1, 1, 23, tzinfo=UTC),
        cf_plan="Free",
        cf_seats=10.5,
        cf_vip=False,
    )
    sim.add_contact(bolt, id="bob", name="Bob Costa", title="Assistant of the ceo", emails=["bob@bolt.example.com"])
    sim.add_lead(id="core", date_created=datetime(2024, 1, 2, tzinfo=UTC))
    return api


def text(name: str, value: str, mode: str = "full_words", of: str = "lead") -> Row:
    """A condition on a text."""
    return where(name, "text", of=of, mode=mode, value=value)


def moment(name: str = "date_created", **bounds: Any) -> Row:
    """A condition on a date."""
    return where(name, "moment_range", **bounds)


def utc(value: str) -> Row:
    """A bound that is an instant."""
    return {"type": "fixed_utc", "value": value}


def day(value: str, which: str = "start") -> Row:
    """A bound that is a day of the one who asks."""
    return {"type": "fixed_local_date", "value": value, "which": which}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, ALL),
        (LEADS, ALL),
        ({"type": "id", "value": "bolt"}, {"bolt"}),
        ({"type": "id", "value": "ann"}, set()),
        (both(), ALL),
        (either(), ALL),
        (both({"type": "id", "value": "bolt"}, {"type": "id", "value": "acme"}), set()),
        (either({"type": "id", "value": "bolt"}, {"type": "id", "value": "acme"}), {"acme", "bolt"}),
        (both(LEADS, CONTACTS), set()),
        (either(LEADS, CONTACTS), {*ALL, "ann", "al", "bob"}),
        (CONTACTS, {"ann", "al", "bob"}),
        (both(both(CONTACTS), {"type": "text", "mode": "full_words", "value": "Ann"}), {"ann"}),
    ],
)
async def test_nodes_that_combine(town: Api, query: Row, found: set[str]) -> None:
    """Ids, types, conjunctions and disjunctions mean what they say, and nothing is no condition."""
    assert await find(town, query) == found


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (text("name", "acme"), {"acme", "bolt"}),
        (text("name", "Inc ACME"), {"acme"}),
        (text("name", "acm"), set()),
        (text("name", "acm", "beginning_of_words"), {"acme", "bolt"}),
        (text("name", "cme", "beginning_of_words"), set()),
        (text("description", "quick brown", "phrase"), {"acme"}),
        (text("description", "brown quick"), {"acme", "bolt"}),
        (text("description", "brown quick", "phrase"), set()),
        (text("display_name", "Bolt"), {"bolt"}),
        (text("name", ""), {"acme", "bolt"}),
        (text("cf_plan", "pro"), {"acme"}),
        (text("cf_tags", "blue"), {"acme"}),
        ({"type": "text", "mode": "full_words", "value": "Paris"}, {"acme"}),
        ({"type": "text", "mode": "full_words", "value": "bob@bolt.example.com"}, {"bolt"}),
        ({"type": "text", "mode": "phrase", "value": "brown fox"}, {"acme"}),
    ],
)
async def test_texts(town: Api, query: Row, found: set[str]) -> None:
    """Words are compared whole, by their beginnings or as a phrase, in any case; plain text looks everywhere."""
    assert await find(town, query) == found


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (where("name", "exists"), {"acme", "bolt"}),
        (where("cf_vip", "exists"), {"acme", "bolt"}),
        (where("cf_nobody_has_it", "exists"), set()),
        (where("addresses_count", "exists"), ALL),
        (where("cf_vip", "boolean", value=True), {"acme"}),
        (where("cf_vip", "boolean", value=False), {"bolt"}),
        (where("created_by", "current_user"), {"acme"}),
        (where("updated_by", "current_user"), set()),
        (where("cf_owner", "current_user"), {"acme"}),
        (where("status_id", "reference", reference_type="status.lead", object_ids=["stat_hot", "x"]), {"acme"}),
        (where("updated_by", "reference", reference_type="user", object_ids=["user_other"]), {"acme"}),
        (where("status_id", "term", values=["stat_cold"]), {"bolt"}),
        (where("cf_plan", "term", values=["Pro", "Free"]), {"acme", "bolt"}),
        (where("cf_plan", "term", values=["pro"]), set()),
        (where("cf_tags", "term", values=["red", "green"]), {"acme"}),
        (where("cf_plan", "term", values=[]), set()),
        (where("cf_seats", "number_range", gt=10), {"bolt"}),
        (where("cf_seats", "number_range", gte=10), {"acme", "bolt"}),
        (where("cf_seats", "number_range", lt=10.5), {"acme"}),
        (where("cf_seats", "number_range", lte=10.5, gt=10), {"bolt"}),
        (where("cf_vip", "number_range", gte=0), set()),
        (where("addresses_count", "number_range", gt=0), {"acme"}),
        (where("all_urls_count", "number_range", gte=2), {"acme"}),
    ],
)
async def test_conditions(town: Api, query: Row, found: set[str]) -> None:
    """Each type of condition, on regular and on custom fields; of several values one has to fit."""
    assert await find(town, query) == found


@pytest.mark.parametrize(
    ("query", "offset", "found"),
    [
        (moment(on_or_after=utc("2024-01-01T23:00:00+00:00")), "0", {"bolt", "core"}),
        (moment(before=utc("2024-01-01T23:00:00+00:00")), "0", {"acme"}),
        (moment(before=utc("2024-01-01T23:00:00")), "-4", {"acme"}),
        (moment(on_or_after=utc("2024-01-01T18:00:00-05:00"), before=utc("2024-01-02T00:00:00Z")), "0", {"bolt"}),
        (moment(on_or_after=None, before=day("2024-01-01", "end")), "0", {"acme", "bolt"}),
        (moment(on_or_after=day("2024-01-02")), "0", {"core"}),
        (moment(on_or_after=day("2024-01-02")), "1", {"bolt", "core"}),
        (moment(on_or_after=day("2024-01-01", "end")), "1", {"bolt", "core"}),
        (moment(before=day("2024-01-01")), "-0.5", {"acme"}),
        (moment(), "0", ALL),
        (moment("cf_since", on_or_after=day("2024-03-01"), before=day("2024-03-01", "end")), "-7", {"acme"}),
        (moment("cf_since", on_or_after=utc("2024-03-01T00:00:01Z")), "0", set()),
        (moment("cf_since", on_or_after=utc("2024-03-01T00:00:01Z")), "-1", {"acme"}),
        (moment("cf_plan"), "0", set()),
    ],
)
async def test_moments(town: Api, query: Row, offset: str, found: set[str]) -> None:
    """A range begins with its first instant and ends before its last; days are those of `x-tz-offset`."""
    assert await find(town, query, x_tz_offset=offset) == found


async def test_days_are_those_of_utc_where_nothing_is_said(town: Api) -> None:
    """Without `x-tz-offset` a day begins at midnight UTC; one that is no offset is refused."""
    query = moment(on_or_after=day("2024-01-02"))
    assert await find(town, query) == {"core"}
    for offset in ("east", "nan", "24"):
        reply = await search(town, query, headers={"x-tz-offset": offset})
        assert reply.status == 400
        assert "x-tz-offset" in str(reply.error())


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (having("contact", text("title", "CEO", of="contact")), {"acme", "bolt"}),
        (having("contact", negated(text("title", "CEO", of="contact"))), {"acme"}),
        (negated(having("contact", text("title", "CEO", of="contact"))), {"core"}),
        (having("contact", CONTACTS), {"acme", "bolt"}),
        (having("contact", LEADS), set()),
        (having("address", where("city", "term", of="address", values=["Paris"])), {"acme"}),
        (having("address", text("location", "FR", of="address")), {"acme"}),
        (having("opportunity", where("value", "number_range", of="opportunity", gt=4999)), {"acme"}),
        (
            having("contact", having("contact_phone", text("type", "mobile", of="contact_phone"), this="contact")),
            {"acme"},
        ),
        (both(CONTACTS, having("contact_email", text("type", "home", of="contact_email"), this="contact")), {"ann"}),
        (both(CONTACTS, having("contact_url", text("url", "al", of="contact_url"), this="contact")), {"al"}),
        (both(CONTACTS, having("lead", where("cf_plan", "term", values=["Pro"]), this="contact")), {"ann", "al"}),
        (both(CONTACTS, having("lead", having("contact", text("title", "CEO", of="contact")), this="contact")), TITLED),
        (
            both(CONTACTS, where("lead_id", "reference", of="contact", reference_type="lead", object_ids=["bolt"])),
            {"bob"},
        ),
    ],
)
async def test_related_objects(town: Api, query: Row, found: set[str]) -> None:
    """A related object that fits is looked for from leads and from contacts, also through one another."""
    assert await find(town, query) == found


async def test_the_vendors_example(town: Api) -> None:
    """Contacts with several email addresses, a title and a lead of a certain kind."""
    query = both(
        CONTACTS,
        where("emails_count", "number_range", of="contact", gt=1),
        text("title", "CEO", of="contact"),
        having("lead", where("cf_plan", "term", values=["Pro"]), this="contact"),
    )
    assert await find(town, query) == {"ann"}


@pytest.mark.parametrize(
    ("query", "others"),
    [
        ({"type": "id", "value": "bolt"}, {"acme", "core"}),
        (both({"type": "id", "value": "bolt"}), {"acme", "core"}),
        (either({"type": "id", "value": "bolt"}, {"type": "id", "value": "core"}), {"acme"}),
        (where("name", "exists"), {"core"}),
        (text("name", "bolt"), {"acme", "core"}),
        ({"type": "saved_search", "saved_search_id": "save_bolt"}, {"acme", "core"}),
        (LEADS, set()),
    ],
)
async def test_any_node_may_be_negated(town: Api, query: Row, others: set[str]) -> None:
    """`negate` turns a node into its opposite, among those without a value as well; `negate: false` says nothing."""
    town.sim.saved_searches["save_bolt"] = {"type": "id", "value": "bolt"}
    assert await find(town, negated(query)) == others
    assert await find(town, {**query, "negate": False}) == ALL - others


async def test_saved_searches(town: Api) -> None:
    """A saved search is its query, with its type, wherever it is named; one in itself is as unknown as any other."""
    town.sim.saved_searches.update(
        {
            "save_ceo": both(CONTACTS, text("title", "CEO", of="contact")),
            "save_self": both({"type": "saved_search", "saved_search_id": "save_self"}),
        }
    )
    saved = {"type": "saved_search", "saved_search_id": "save_ceo"}
    assert await find(town, saved) == {"ann", "bob"}
    assert await find(town, both(saved, text("name", "Ann", of="contact"))) == {"ann"}
    for name in ("save_self", "save_nobody"):
        assert (await search(town, {**saved, "saved_search_id": name})).status == 400


async def test_what_is_found_unasked(town: Api) -> None:
    """A query without a type finds leads, or what a test says; a type that is only negated or in an `or` is none."""
    query = negated({"type": "id", "value": "bolt"})
    assert await find(town, query) == {"acme", "core"}
    assert await find(town, negated(CONTACTS)) == ALL
    assert await find(town, either(CONTACTS, {"type": "id", "value": "bolt"})) == {"bolt"}
    town.sim.search_rules = SearchRules(found_unasked=("contact",))
    assert await find(town, query) == {"ann", "al", "bob"}
    assert await find(town, both(LEADS, query)) == {"acme", "core"}


async def test_what_is_there_is_looked_at_each_time(town: Api) -> None:
    """A lead or a contact that comes after a search is found by the next one, and counted."""
    query = having("contact", text("title", "CEO", of="contact"))
    assert await count(town, query) == 2
    town.sim.add_contact(town.sim.leads[2], title="ceo")
    late = town.sim.add_lead(name="Late")
    assert await count(town, query) == 3
    town.sim.add_contact(late, title="CEO")
    assert await find(town, query) == {"acme", "bolt", "core", late.id}


REQUIRED, NO_CHOICE = "This field is required.", "Not a valid choice."
BAD_DATE = "Invalid ISO 8601 datetime."


@pytest.mark.parametrize(
    ("query", "name", "message"),
    [
        ({"queries": []}, "type", REQUIRED),
        ({"type": "not", "query": LEADS}, "type", NO_CHOICE),
        ({"type": ["and"]}, "type", "Value must be of str type."),
        ({"type": "and"}, "queries", REQUIRED),
        ({"type": "or", "queries": {}}, "queries", "Value must be of list type."),
        ({"type": "id"}, "value", REQUIRED),
        ({"type": "object_type", "object_type": "leads"}, "object_type", NO_CHOICE),
        ({**LEADS, "negate": "true"}, "negate", "Value must be of bool type."),
        ({"type": "text", "mode": "words", "value": "x"}, "mode", NO_CHOICE),
        ({"type": "text", "mode": "phrase"}, "value", REQUIRED),
        ({"type": "saved_search"}, "saved_search_id", REQUIRED),
        ({"type": "saved_search", "saved_search_id": "save_x"}, "saved_search_id", "Object does not exist."),
        ({"type": "field_condition", "condition": {"type": "exists"}}, "field", REQUIRED),
        (
            {"type": "has_related", "this_object_type": "lead", "related_object_type": "contact"},
            "related_query",
            REQUIRED,
        ),
        (having("contact_email", {}), "related_object_type", NO_CHOICE),
        (having("lead", {}, this="contact"), "this_object_type", NO_CHOICE),
    ],
)
async def test_malformed_nodes(town: Api, query: Row, name: str, message: str) -> None:
    """A node that nobody can read is a 400 that names its key."""
    reply = await search(town, query)
    expected = {"errors": [], "field-errors": {"query": {"field-errors": {name: message}}}}
    assert (reply.status, reply.json()) == (400, expected)


@pytest.mark.parametrize(
    ("query", "part", "errors"),
    [
        (where("nme", "exists"), "field", {"field_name": NO_CHOICE}),
        (where("title", "exists", of="contact"), "field", {"object_type": NO_CHOICE}),
        ({**where("name", "exists"), "field": {"type": "smart_field"}}, "field", {"type": NO_CHOICE}),
        ({**where("name", "exists"), "field": {"type": "custom_field"}}, "field", {"custom_field_id": REQUIRED}),
        (where("name", "starts_with", value="x"), "condition", {"type": NO_CHOICE}),
        (where("addresses_count", "text", mode="phrase", value="x"), "condition", {"type": NO_CHOICE}),
        (where("name", "number_range", gt=1), "condition", {"type": NO_CHOICE}),
        (where("name", "current_user"), "condition", {"type": NO_CHOICE}),
        (where("date_created", "number_range", gt=1), "condition", {"type": NO_CHOICE}),
        (where("created_by", "text", mode="phrase", value="x"), "condition", {"type": NO_CHOICE}),
        (where("name", "text", value="x"), "condition", {"mode": REQUIRED}),
        (where("name", "term", values="x"), "condition", {"values": "Value must be of list type."}),
        (where("name", "term", values=[1]), "condition", {"values": "Value must be of str type."}),
        (where("cf_x", "boolean", value="true"), "condition", {"value": "Value must be of bool type."}),
        (where("cf_x", "reference", object_ids=["x"]), "condition", {"reference_type": REQUIRED}),
        (where("cf_x", "number_range", gt="1"), "condition", {"gt": "Value must be of float type."}),
        (where("cf_x", "number_range", lt=True), "condition", {"lt": "Value must be of float type."}),
        (moment(before="2024"), "condition", {"before": "Value must be of dict type."}),
        (moment(before={"type": "now"}), "condition", {"before": {"field-errors": {"type": NO_CHOICE}}}),
        (moment(before=utc("soon")), "condition", {"before": {"field-errors": {"value": BAD_DATE}}}),
        (moment(before=day("2024-01-01T00:00:00")), "condition", {"before": {"field-errors": {"value": BAD_DATE}}}),
        (moment(before=day("2024-02-30")), "condition", {"before": {"field-errors": {"value": BAD_DATE}}}),
        (moment(before=day("2024-01-01", "middle")), "condition", {"before": {"field-errors": {"which": NO_CHOICE}}}),
    ],
)
async def test_malformed_conditions(town: Api, query: Row, part: str, errors: Row) -> None:
    """A condition that cannot be, or not on this field, is a 400, however deep it stands."""
    for around in (query, negated(query)):
        reply = await search(town, both(LEADS, having("contact", having("lead", around, this="contact"))))
        nested: object = {"field-errors": {part: {"field-errors": errors}}}
        for _ in range(2):
            nested = {"field-errors": {"related_query": nested}}
        expected = {"query": {"field-errors": {"queries": {"errors": {"1": nested}}}}}
        assert (reply.status, reply.json()) == (400, {"errors": [], "field-errors": expected})


async def test_a_child_that_is_no_node(town: Api) -> None:
    """A list of queries holds objects."""
    reply = await search(town, both(LEADS, "x"))
    assert reply.status == 400
    assert "Value must be of dict type." in reply.body.decode()


async def test_a_query_that_is_too_deep(town: Api) -> None:
    """However deep a query is nested, there is an answer."""
    query: Row = {"type": "id", "value": "acme"}
    for _ in range(60):
        query = negated(both(query))
    assert await find(town, query) == {"acme"}
    for _ in range(300):
        query = negated(both(query))
    assert (await search(town, query)).status == 400
