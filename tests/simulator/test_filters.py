"""The filters of webhook subscriptions."""

from __future__ import annotations

import pytest

from closebulk_async.simulator.filters import judge_filter, passes

EVENT: dict[str, object] = {
    "action": "completed",
    "changed_fields": ["status", "n_leads_processed"],
    "data": {"status": "done", "template_id": None, "sender": "ada@example.com"},
}


def equals(value: object) -> dict[str, object]:
    """A filter for one value."""
    return {"type": "equals", "value": value}


def at(*names: str, then: dict[str, object]) -> dict[str, object]:
    """A filter of the value that is found along these names."""
    for name in reversed(names):
        then = {"type": "field_accessor", "field": name, "filter": then}
    return then


NULL: dict[str, object] = {"type": "is_null"}
PRESENT: dict[str, object] = {"type": "non_null"}
DONE = at("data", "status", then=equals("done"))
FAILED = at("data", "status", then=equals("error"))


@pytest.mark.parametrize(
    ("rule", "passing"),
    [
        (None, True),
        (DONE, True),
        (FAILED, False),
        (at("data", "status", then={"type": "not_equals", "value": "done"}), False),
        (at("data", "status", then={"type": "not_equals", "value": "error"}), True),
        (at("data", "template_id", then=NULL), True),
        (at("data", "template_id", then=PRESENT), False),
        (at("data", "nothing", then=NULL), True),
        (at("nothing", "deeper", then=NULL), True),
        (at("action", "deeper", then=PRESENT), False),
        (at("data", "sender", then=PRESENT), True),
        (at("data", "sender", then={"type": "contains", "value": "@example"}), True),
        (at("data", "sender", then={"type": "contains", "value": "@other"}), False),
        (at("data", "sender", then={"type": "contains", "value": 1}), False),
        (at("changed_fields", then={"type": "contains", "value": "status"}), True),
        (at("changed_fields", then={"type": "contains", "value": "stat"}), False),
        (at("data", then={"type": "contains", "value": "status"}), False),
        ({"type": "and", "filters": [DONE, at("action", then=equals("completed"))]}, True),
        ({"type": "and", "filters": [DONE, FAILED]}, False),
        ({"type": "or", "filters": [FAILED, DONE]}, True),
        ({"type": "or", "filters": [FAILED, FAILED]}, False),
        ({"type": "not", "filter": FAILED}, True),
        ({"type": "not", "filter": DONE}, False),
        (at("changed_fields", then={"type": "any_array_value", "filter": equals("status")}), True),
        (at("changed_fields", then={"type": "any_array_value", "filter": equals("sort")}), False),
        (at("action", then={"type": "any_array_value", "filter": PRESENT}), False),
    ],
)
def test_which_events_pass(rule: dict[str, object] | None, *, passing: bool) -> None:
    """Each word does what its name says, on the whole event or on what a field accessor leads to."""
    assert judge_filter(rule) == ""
    assert passes(rule, EVENT) is passing


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("done", "Value must be of dict type."),
        ({}, "This field is required."),
        ({"type": "like", "value": "x"}, "Not a valid choice."),
        ({"type": 1}, "Not a valid choice."),
        ({"type": "equals"}, "This field is required."),
        ({"type": "field_accessor", "field": "data"}, "This field is required."),
        ({"type": "field_accessor", "filter": NULL}, "This field is required."),
        ({"type": "not"}, "This field is required."),
        ({"type": "and"}, "This field is required."),
        ({"type": "and", "filters": NULL}, "Value must be of list type."),
        ({"type": "or", "filters": [NULL, {"type": "like"}]}, "Not a valid choice."),
        (at("data", "status", then={"type": "contains"}), "This field is required."),
    ],
)
def test_filters_that_are_refused(rule: object, text: str) -> None:
    """A filter is judged to its depth before it is ever applied."""
    assert judge_filter(rule) == text
