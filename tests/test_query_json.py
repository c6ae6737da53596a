"""Queries as JSON: what the service shows is read back without loss, and what is built can be shown and sent on."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest
from hypothesis import example, given

import closebulk_async
from closebulk_async import Query, lead, raw

from .query_trees import SIMPLE, anything, trees
from .strategies import patient

SAMPLE = {
    "queries": [
        {"object_type": "lead", "type": "object_type"},
        {
            "condition": {"mode": "full_words", "type": "text", "value": "ACME Inc."},
            "field": {"field_name": "name", "object_type": "lead", "type": "regular_field"},
            "type": "field_condition",
        },
    ],
    "type": "and",
}
"""The `s_query` of the vendor's samples of bulk emails and bulk deletes."""
COPIED = {
    "negate": False,
    "queries": [
        {"negate": False, "object_type": "contact", "type": "object_type"},
        {
            "negate": False,
            "queries": [
                {
                    "condition": {"gt": 1, "type": "number_range"},
                    "field": {"field_name": "emails_count", "object_type": "contact", "type": "regular_field"},
                    "negate": True,
                    "type": "field_condition",
                },
                {
                    "condition": {
                        "before": {"type": "now"},
                        "on_or_after": {"type": "fixed_local_date", "value": "2024-01-01", "which": "start"},
                        "type": "moment_range",
                    },
                    "field": {"custom_field_id": "cf_1", "type": "custom_field"},
                    "negate": False,
                    "type": "field_condition",
                },
                {
                    "negate": False,
                    "related_object_type": "lead",
                    "related_query": {"negate": False, "queries": [], "type": "and"},
                    "this_object_type": "contact",
                    "type": "has_related",
                },
            ],
            "type": "or",
        },
    ],
    "type": "and",
}
"""A query in the manner of the app's «Copy Filters»."""


def canonical(data: object) -> str:
    """JSON text that tells 1, 1.0 and true apart."""
    return json.dumps(data, sort_keys=True)


@patient
@given(tree=trees)
def test_a_query_comes_back_as_it_was(tree: dict[str, Any]) -> None:
    """Unknown nodes, fields, conditions, moments and keys, and every spelling of `negate`, are kept."""
    query = Query.from_dict(tree)
    assert canonical(query.to_dict()) == canonical(tree)
    assert Query.from_dict(query.to_dict()) == query
    assert hash(Query.from_dict(copy.deepcopy(tree))) == hash(query)


@patient
@given(tree=anything.filter(lambda tree: isinstance(tree, dict)))
def test_what_is_no_query_comes_back_as_well(tree: dict[str, Any]) -> None:
    """Known words with missing, null or wrong values lose nothing: reading is no place to judge."""
    assert canonical(Query.from_dict(tree).to_dict()) == canonical(tree)


@pytest.mark.parametrize("sample", [SAMPLE, COPIED, {}], ids=["sample", "copied", "empty"])
def test_samples_come_back_as_they_were(sample: dict[str, Any]) -> None:
    """The vendor's samples, the app's copies, and the empty query that an action without one shows."""
    assert canonical(Query.from_dict(sample).to_dict()) == canonical(sample)


def test_the_vendor_s_sample_is_read_as_what_it_says() -> None:
    """What is known becomes the very value that is written for it."""
    assert Query.from_dict(SAMPLE) == lead.every() & lead.name.full_words("ACME Inc.")


@pytest.mark.parametrize(
    "node",
    [
        {"type": "text", "value": "ACME", "negate": False},
        {"type": "text", "value": "ACME", "negate": True},
        {"type": "text", "value": "ACME", "boost": 1},
        {"type": "field_condition", "field": {"type": "new"}, "condition": {"type": "new"}},
        {"type": "and", "queries": [{"type": "new"}]},
    ],
    ids=str,
)
def test_a_known_node_is_known_whatever_stands_beside_it(node: dict[str, Any]) -> None:
    """An unknown key or part does not make the whole unreadable."""
    assert type(Query.from_dict(node)) is not Query


def test_the_order_of_keys_makes_no_other_query() -> None:
    """Equal JSON is an equal query, whatever is known of it."""
    node = {"type": "tomorrow", "a": {"b": 1, "c": 2}, "negate": True}
    again = {"negate": True, "a": {"c": 2, "b": 1}, "type": "tomorrow"}
    assert Query.from_dict(node) == Query.from_dict(again)
    assert Query.from_dict({**SAMPLE, **node, "type": "and"}) == Query.from_dict({**again, **SAMPLE, "type": "and"})


def test_a_value_keeps_nothing_of_the_caller_s() -> None:
    """Changing the JSON that was read, or the JSON that was given, does not change the query."""
    tree = copy.deepcopy(COPIED) | {"more": {"a": [1]}}
    query = raw(tree)
    sent = canonical(query.to_dict())
    for mine in (tree, query.to_dict()):
        mine["queries"][1]["queries"].clear()  # type: ignore[index]  # JSON that the test knows
        mine["more"]["a"].clear()  # type: ignore[index]  # JSON that the test knows
    assert canonical(query.to_dict()) == sent


NAMES = {name: getattr(closebulk_async, name) for name in closebulk_async.__all__}


@patient
@given(tree=trees)
@example(tree={"type": "id", "value": "lead_1", "negate": False})
@example(tree={"type": "and", "queries": [{"type": "and", "queries": SIMPLE}, *SIMPLE]})
@example(tree={"type": "or", "queries": [{"type": "or", "queries": SIMPLE, "negate": True}, *SIMPLE]})
def test_a_query_reads_as_the_expression_that_makes_it(tree: dict[str, Any]) -> None:
    """What `repr` shows can be pasted into a program: it makes an equal query."""
    query = Query.from_dict(tree)
    assert eval(repr(query), dict(NAMES)) == query  # noqa: S307 - our own text


ANY_CALL = {
    "type": "has_related",
    "this_object_type": "lead",
    "related_object_type": "call",
    "related_query": {"type": "id", "value": "acti_1"},
}
WITH_NOTE = {
    "type": "field_condition",
    "field": {"type": "regular_field", "object_type": "call", "field_name": "note"},
    "condition": {"type": "exists"},
}


@pytest.mark.parametrize(
    "text",
    [
        "lead.name.full_words('ACME')",
        "~lead.name.exists()",
        "(lead.every() & ~(by_id('lead_1') | saved_search('save_1')))",
        "(contact.emails_count.in_range(gt=1, lte=2) | contact.title.beginning_of_words('CE'))",
        "contact.has(contact_phone, contact_phone.phone.phrase('+1'))",
        "contact.has(contact_email, contact_email.email.exists())",
        "contact.has(contact_url, contact_url.url.exists())",
        "lead.has(address, address.city.exists())",
        "contact.every()",
        "lead.custom('cf_1').has_any_term('a', 'b')",
        "lead.custom('cf_1').is_any_of('user_1', reference_type='user')",
        "lead.created_by.is_current_user()",
        "(lead.custom('cf_1').is_true() & lead.custom('cf_2').is_false())",
        "text_search('ACME', mode='phrase')",
        "text_search('ACME')",
        "lead.name.matches({'type': 'new'})",
        "lead.field('shoe size').exists()",
        f"Query.from_dict({ANY_CALL!r})",
        f"Query.from_dict({WITH_NOTE!r})",
        "Query.from_dict({'type': 'new'})",
        "Query.from_dict({'type': 'object_type', 'object_type': 'call'})",
    ],
)
def test_a_query_is_shown_in_its_short_form(text: str) -> None:
    """Every kind of node that has a constructor is shown by it."""
    assert repr(eval(text, dict(NAMES))) == text  # noqa: S307 - our own text


@patient
@given(tree=trees)
def test_a_query_can_be_copied_and_sent_to_another_process(tree: dict[str, Any]) -> None:
    """By pickle and by `copy`, it stays an equal value."""
    query = Query.from_dict(tree)
    assert pickle.loads(pickle.dumps(query)) == copy.deepcopy(query) == query  # noqa: S301 - our own bytes
