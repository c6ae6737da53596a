"""The guard against «everything»: which queries can exclude a lead at all."""

from __future__ import annotations

import itertools
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from closebulk_async.guard import Reach, find_danger, is_empty_search, reach

from .strategies import json_values, patient, texts

NAME = {"type": "regular_field", "object_type": "lead", "field_name": "name"}
ALL_LEADS = {"type": "object_type", "object_type": "lead"}
ACME = {"type": "text", "value": "ACME", "mode": "full_words"}
NOT_ACME = {**ACME, "negate": True}
ID = {"type": "id", "value": "lead_1"}
PHONE = {"type": "has_related", "this_object_type": "lead", "related_object_type": "contact_phone"}


def on_name(condition: dict[str, Any]) -> dict[str, Any]:
    """A condition on the name of the lead."""
    return {"type": "field_condition", "field": NAME, "condition": condition}


def both(*queries: object) -> dict[str, Any]:
    """An `and`."""
    return {"type": "and", "queries": list(queries)}


def either(*queries: object) -> dict[str, Any]:
    """An `or`."""
    return {"type": "or", "queries": list(queries)}


def negated(query: dict[str, Any]) -> dict[str, Any]:
    """The query with `negate`."""
    return {**query, "negate": True}


def related(to: str, query: object = None) -> dict[str, Any]:
    """Contacts with a related object."""
    return {"type": "has_related", "this_object_type": "contact", "related_object_type": to, "related_query": query}


DANGEROUS: dict[str, object] = {
    "empty object": {},
    "list": [],
    "text instead of a query": "ACME",
    "number": 1,
    "false": False,
    "only negate": {"negate": True},
    "no type": {"value": "ACME"},
    "type is a list": {"type": ["text"], "value": "ACME"},
    "type is null": {"type": None, "value": "ACME"},
    "type is an object": {"type": {}, "value": "ACME"},
    "body of a search": {"query": both(ALL_LEADS, ACME), "_limit": 10},
    "all leads": ALL_LEADS,
    "term of an empty text": {"type": "field_condition", "field": NAME, "condition": {"type": "term", "values": [""]}},
    "reference to nothing": {
        "type": "field_condition",
        "field": NAME,
        "condition": {"type": "reference", "reference_type": "user", "object_ids": [None, ""]},
    },
    "moment without a moment": {
        "type": "field_condition",
        "field": NAME,
        "condition": {"type": "moment_range", "on_or_after": {"type": "fixed_utc", "value": None}},
    },
    "moment of no day": {
        "type": "field_condition",
        "field": NAME,
        "condition": {"type": "moment_range", "before": {"type": "fixed_local_date", "value": None, "which": "start"}},
    },
    "or of an or and its opposite": either(either(ACME, PHONE), negated(either(ACME, PHONE))),
    "or of an or and its opposite, spelt with not": either(
        {"type": "not", "query": either(ACME, ACME)}, either(ACME, ACME)
    ),
    "or of an or and its opposite, deep inside": either(
        ID, either(ID, either(ACME, PHONE)), negated(either(ACME, PHONE))
    ),
    "or of a lone and and its opposite": either(both(either(ACME, PHONE)), negated(both(either(ACME, PHONE)))),
    "not of and of an and and its opposite": negated(both(both(ACME, PHONE), negated(both(ACME, PHONE)))),
    "opposites on two levels of or": either(ACME, either(PHONE, NOT_ACME)),
    "opposites on two levels of or, with a lone and between": either(ACME, both(either(PHONE, NOT_ACME))),
    "not of and of opposites on two levels": negated(both(ACME, both(PHONE, NOT_ACME))),
    "opposites, one of them alone in an and": either(both(ACME), NOT_ACME),
    "opposites in a nested or": either(PHONE, either(ACME, both(NOT_ACME))),
    "all leads, negate false": {**ALL_LEADS, "negate": False},
    "all contacts": {"type": "object_type", "object_type": "contact"},
    "no contacts": {"type": "object_type", "object_type": "contact", "negate": True},
    "object_type without one": {"type": "object_type"},
    "and of nothing": both(),
    "and of nothing, negated": negated(both()),
    "and without queries": {"type": "and"},
    "and of an object": {"type": "and", "queries": ACME},
    "and of a text": {"type": "and", "queries": "ACME"},
    "and of null": both(None),
    "and of all leads": both(ALL_LEADS),
    "and of empty things": both(ALL_LEADS, {"type": "text", "value": ""}, {}, both()),
    "nested ands of all leads": both(both(both(ALL_LEADS)), both(ALL_LEADS, ALL_LEADS)),
    "or of nothing": either(),
    "or of nothing, negated": negated(either()),
    "or without queries": {"type": "or"},
    "or with all leads": either(ACME, ALL_LEADS),
    "or with an empty object": either(ACME, {}),
    "or with an empty text": either(ACME, {"type": "text", "value": " "}),
    "or deep inside": both(ALL_LEADS, either(ACME, both(ALL_LEADS, either(ACME, {})))),
    "or of opposites": either(ACME, NOT_ACME),
    "or of opposites in the other order": either(NOT_ACME, on_name({"type": "exists"}), {**ACME, "negate": False}),
    "or of opposites, keys in another order": either(ACME, dict(reversed(NOT_ACME.items()))),
    "or of opposites, spelt with not": either({"type": "not", "query": ACME}, ACME),
    "or of opposites, twice negated": either({"type": "not", "query": NOT_ACME}, NOT_ACME),
    "not of and of opposites": negated(both(ACME, NOT_ACME)),
    "not nothing": negated(negated_nothing := negated(ALL_LEADS)) | {"negate": False},
    "not of no leads": {"type": "not", "query": negated_nothing},
    "not of not of all leads": {"type": "not", "query": {"type": "not", "query": ALL_LEADS}},
    "not of an empty object": {"type": "not", "query": {}},
    "not without a query": {"type": "not"},
    "negate is a text": {**ALL_LEADS, "negate": "false"},
    "negate is a number": {**ALL_LEADS, "negate": 1},
    "not of a negate that is a number": {"type": "not", "query": {**ALL_LEADS, "negate": 1}},
    "negated and with no leads": negated(both(ACME, negated_nothing)),
    "text without value": {"type": "text"},
    "text null": {"type": "text", "value": None},
    "text empty": {"type": "text", "value": "", "mode": "phrase"},
    "text empty, negated": {"type": "text", "value": "", "negate": True},
    "text of spaces": {"type": "text", "value": " \t\n"},
    "text of quotes": {"type": "text", "value": '""'},
    "text star": {"type": "text", "value": "*"},
    "text is a number": {"type": "text", "value": 1},
    "id without value": {"type": "id"},
    "id empty": {"type": "id", "value": ""},
    "id star": {"type": "id", "value": "*"},
    "id is a list": {"type": "id", "value": []},
    "saved search without id": {"type": "saved_search"},
    "saved search by another key": {"type": "saved_search", "name": "everybody"},
    "saved search empty": {"type": "saved_search", "saved_search_id": ""},
    "no condition": {"type": "field_condition", "field": NAME},
    "condition is a text": {"type": "field_condition", "field": NAME, "condition": "exists"},
    "no field": {"type": "field_condition", "condition": {"type": "exists"}},
    "empty field": {"type": "field_condition", "field": {}, "condition": {"type": "exists"}},
    "condition without type": on_name({}),
    "condition type is a list": on_name({"type": ["text"], "value": "x"}),
    "condition text empty": on_name({"type": "text", "mode": "full_words", "value": ""}),
    "condition text empty, negated": negated(on_name({"type": "text", "value": ""})),
    "condition term without values": on_name({"type": "term", "values": []}),
    "condition reference without ids": on_name({"type": "reference", "reference_type": "user", "object_ids": []}),
    "condition number_range open": on_name({"type": "number_range", "gt": None}),
    "condition moment_range open": on_name({"type": "moment_range", "before": {}}),
    "condition boolean without value": on_name({"type": "boolean", "value": None}),
    "has_related to nothing": {"type": "has_related", "this_object_type": "lead"},
    "has_related to a list": {"type": "has_related", "related_object_type": ["contact"]},
    "contacts of any lead": related("lead", ALL_LEADS),
    "contacts of whatever lead": related("lead"),
    "unknown type alone": {"type": "everything"},
    "unknown type, negated": {"type": "everything", "negate": True},
    "unknown type with empty keys": {"type": "everything", "value": "", "values": []},
    "unknown wrapper of all leads": {"type": "nested", "query": ALL_LEADS, "boost": 1},
    "unknown spelling of and": {"type": "AND", "queries": [ALL_LEADS]},
}

SAFE: dict[str, dict[str, Any]] = {
    "text": ACME,
    "text, negated": NOT_ACME,
    "id": ID,
    "saved search": {"type": "saved_search", "saved_search_id": "save_1"},
    "vendor's sample": both(ALL_LEADS, on_name({"type": "text", "mode": "full_words", "value": "ACME Inc."})),
    "as the app copies it": both(
        {**ALL_LEADS, "negate": False}, {**both({**both(ACME), "negate": False}), "negate": False}
    ),
    "or of two": both(ALL_LEADS, either(ACME, PHONE)),
    "or of the same": either(ACME, ACME),
    "or of one": either(ACME),
    "or of one negated": either(NOT_ACME, NOT_ACME),
    "not": {"type": "not", "query": ACME},
    "negated and": negated(both(ACME, PHONE)),
    "negated or": negated(either(ACME, PHONE)),
    "no leads": negated(ALL_LEADS),
    "opposites in an and": both(ACME, NOT_ACME),
    "or of an or and the opposite of another": either(either(ACME, PHONE), negated(either(ACME, ID))),
    "opposites apart": both(either(ACME, PHONE), either(NOT_ACME, PHONE)),
    "everything narrowed": both(either(ACME, NOT_ACME), PHONE),
    "exists": on_name({"type": "exists"}),
    "does not exist": negated(on_name({"type": "exists"})),
    "current user": on_name({"type": "current_user"}),
    "boolean false": on_name({"type": "boolean", "value": False}),
    "number 0": on_name({"type": "number_range", "gte": 0}),
    "number below": on_name({"type": "number_range", "lt": 5, "gt": None}),
    "number above": on_name({"type": "number_range", "gt": 5}),
    "number up to": on_name({"type": "number_range", "lte": 5}),
    "moment from": on_name({"type": "moment_range", "on_or_after": {"type": "fixed_utc", "value": "2024-01-01"}}),
    "moment after": on_name({"type": "moment_range", "after": {"type": "fixed_utc", "value": "2024-01-01"}}),
    "moment up to": on_name({"type": "moment_range", "on_or_before": {"type": "fixed_utc", "value": "2024-01-01"}}),
    "no leads, spelt with not": {"type": "not", "query": ALL_LEADS},
    "term": on_name({"type": "term", "values": ["x"]}),
    "reference": on_name({"type": "reference", "reference_type": "user", "object_ids": ["user_1"]}),
    "moment": on_name({"type": "moment_range", "before": {"type": "fixed_utc", "value": "2024-01-01"}}),
    "unknown condition": on_name({"type": "near", "place": "Ulm"}),
    "has phone": PHONE,
    "has no phone": negated(PHONE),
    "contacts of some leads": related("lead", ACME),
    "unknown type that says something": {"type": "geo", "within": 5},
    "unknown wrapper of a condition": {"type": "nested", "query": ACME},
    "unknown wrapper of a condition, beside it": either({"type": "nested", "query": ACME}, ACME),
    "or with what JSON does not know": either({"type": "geo", "since": date(2026, 1, 15)}, ACME),
    "text of another script": {"type": "text", "value": "東京"},
}


@pytest.mark.parametrize("query", DANGEROUS.values(), ids=DANGEROUS)
def test_a_query_that_may_match_every_lead_is_found(query: object) -> None:
    """The guard gives a reason for each of these."""
    assert reach(query).all
    assert "s_query" in (find_danger(query, None) or "")


@pytest.mark.parametrize("query", SAFE.values(), ids=SAFE)
def test_a_query_that_excludes_is_let_pass(query: dict[str, Any]) -> None:
    """The guard has nothing against any of these."""
    assert not reach(query).all
    assert find_danger(query, None) is None


@pytest.mark.parametrize("query", [*DANGEROUS.values(), *SAFE.values()], ids=[*DANGEROUS, *SAFE])
def test_a_selective_and_makes_any_query_safe(query: object) -> None:
    """Whatever stands beside it, an `and` with a condition that picks can exclude a lead."""
    assert find_danger(both(query, PHONE), None) is None
    assert find_danger(both(PHONE, query, ALL_LEADS), None) is None


@pytest.mark.parametrize("query", [*DANGEROUS.values(), *SAFE.values()], ids=[*DANGEROUS, *SAFE])
def test_an_or_with_everything_makes_any_query_dangerous(query: object) -> None:
    """Whatever stands beside it, an `or` with all leads excludes nobody, at any depth."""
    assert find_danger(either(query, ALL_LEADS), None)
    assert find_danger(both(ALL_LEADS, either(query, both(ALL_LEADS))), None)


nodes = st.recursive(
    st.sampled_from([*DANGEROUS.values(), *SAFE.values()]) | json_values | st.fixed_dictionaries({"type": texts}),
    lambda children: st.one_of(
        st.builds(lambda queries: both(*queries), st.lists(children, max_size=4)),
        st.builds(lambda queries: either(*queries), st.lists(children, max_size=4)),
        st.builds(lambda query, negate: {"type": "not", "query": query, "negate": negate}, children, st.booleans()),
        st.builds(lambda queries: negated(both(*queries)), st.lists(children, max_size=4)),
    ),
    max_leaves=12,
)


@patient
@given(query=nodes)
def test_the_guard_judges_whatever_it_is_given(query: object) -> None:
    """Any JSON gets an answer, narrowing makes it safe and widening makes it dangerous."""
    assert reach(query).all is (find_danger(query, None) is not None)
    assert find_danger(both(query, PHONE), None) is None
    assert find_danger(either(query, ALL_LEADS), None)
    assert find_danger(either(query, {"type": "not", "query": query}), None)
    assert find_danger({"type": "not", "query": both(query, negated(ALL_LEADS))}, None)


ATOMS = [{"type": "id", "value": f"lead_{number}"} for number in range(3)]
formulas = st.recursive(
    st.sampled_from([*ATOMS, ALL_LEADS]),
    lambda children: st.builds(
        lambda word, queries, negate: {"type": word, "queries": queries, "negate": negate},
        st.sampled_from(["and", "or"]),
        st.lists(children, min_size=1, max_size=3),
        st.booleans(),
    ),
    max_leaves=10,
)


def matches(query: dict[str, Any], lead: frozenset[str]) -> bool:
    """Whether a formula matches a lead that has these ids: the plain meaning, to compare the guard with."""
    if query["type"] == "id":
        return query["value"] in lead
    if query["type"] == "object_type":
        return True
    found = [matches(child, lead) for child in query["queries"]]
    return (all(found) if query["type"] == "and" else any(found)) is not query["negate"]


def is_monotone(query: dict[str, Any]) -> bool:
    """Whether nothing in it is negated."""
    return not query.get("negate") and all(is_monotone(child) for child in query.get("queries", ()))


@patient
@given(query=formulas)
def test_the_guard_agrees_with_logic(query: dict[str, Any]) -> None:
    """What it refuses without negations excludes nobody, and what excludes nobody without negations it refuses."""
    ids = [atom["value"] for atom in ATOMS]
    leads = [frozenset(some) for size in range(len(ids) + 1) for some in itertools.combinations(ids, size)]
    is_everything = all(matches(query, lead) for lead in leads)
    if is_monotone(query):
        assert reach(query).all is is_everything
    if reach(query).all:
        # A refusal is never a whim: some leaf or pair of opposites covers every lead.
        assert is_everything


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\n",
        "*",
        '""',
        "''",
        "* *",
        '" "',
        "()",
        '"*"',
        "*:*",
        "-",
        "...",
        "\u200b",
        "sort:name",
        "SORT:-name *",
        "%",
        "* or *",
        "not *",
        "AND",
        '("NOT" *)',
    ],
)
def test_a_search_text_that_asks_for_nothing_is_found(text: str) -> None:
    """Blank, a star, quotes around nothing, punctuation, only an order: all leads."""
    assert is_empty_search(text)
    assert repr(text) in (find_danger(None, text) or "")


@pytest.mark.parametrize(
    "text", ["ACME", "lead_status:Potential", '"ACME Inc."', "sort:name ACME", "a", "7", "東京", "not x", "*x*", "(a)"]
)
def test_a_search_text_that_asks_is_let_pass(text: str) -> None:
    """A word or a digit is enough."""
    assert not is_empty_search(text)
    assert find_danger(None, text) is None


def test_no_query_is_all_leads() -> None:
    """Neither query nor search text: the reason says what the service makes of that."""
    assert find_danger(None, None) == "there is no query, and the service takes that as all leads"


def test_what_a_node_may_do_is_two_claims() -> None:
    """Match every lead, match none; what says nothing may do both."""
    assert reach(ACME) == Reach(all=False, none=False)
    assert reach(ALL_LEADS) == Reach(all=True, none=False)
    assert reach(negated(ALL_LEADS)) == Reach(all=False, none=True)
    assert reach({}) == Reach(all=True, none=True)


@pytest.mark.parametrize(
    ("s_query", "query", "culprit"),
    [
        (ACME, "", "search text"),
        (ACME, "*", "search text"),
        ({}, "ACME", "s_query"),
        (ALL_LEADS, "ACME", "s_query"),
        ({}, "", "s_query"),
        (ACME, "ACME", None),
    ],
)
def test_each_query_given_must_exclude(s_query: object, query: str, culprit: str | None) -> None:
    """Nobody knows which of two the service obeys, so that one dangerous one is enough."""
    danger = find_danger(s_query, query)
    assert (danger is None) if culprit is None else (culprit in (danger or ""))


def test_the_reason_shows_the_begin_of_a_long_query() -> None:
    """The reason names the culprit, and stays one readable line."""
    danger = find_danger(either(*[ACME] * 1000, ALL_LEADS), None)
    assert danger == f"s_query matches every lead: {repr(either(*[ACME] * 3))[:119]}…"
    assert find_danger(None, "*") == "the search text '*' matches every lead"


def test_a_long_or_is_judged_at_once() -> None:
    """Twenty thousand ids, half of them negated, are compared in one pass: pair by pair it would take minutes."""
    ids = [{"type": "id", "value": f"lead_{number}", "negate": number % 2 == 0} for number in range(20_000)]
    assert find_danger(either(*ids), None) is None
    assert find_danger(either(*ids, negated(ids[1])), None)
