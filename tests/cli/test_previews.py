"""A start in words: what it does, to how many leads, and what is sent."""

from __future__ import annotations

import json
from typing import Any

import pytest

from closebulk_async.cli.previews import (
    describe_deed,
    describe_leads,
    describe_matches,
    describe_preview,
    preview_to_dict,
)
from closebulk_async.counting import Preview
from closebulk_async.models import EditType, Kind, SequenceActionType
from tests.peers import ACME

SEQUENCE: dict[str, Any] = {"s_query": ACME, "sequence_id": "seq_1"}


def preview(kind: Kind = Kind.DELETE, *, count: int | None = 5, **request: Any) -> Preview:
    """The preview of such a request."""
    return Preview(kind=kind, count=count, fingerprint="f00d", request=request)


@pytest.mark.parametrize(
    ("count", "request_", "text"),
    [
        (0, {"s_query": ACME}, "about 0 leads"),
        (1, {"s_query": ACME}, "about 1 lead"),
        (999, {"s_query": ACME}, "about 999 leads"),
        (1234567, {"s_query": ACME}, "about 1 234 567 leads"),
        (50, {"s_query": ACME, "results_limit": 50}, "about 50 leads"),
        (None, {"query": "acme"}, "an unknown number of leads (Close cannot count a legacy query)"),
        (
            None,
            {"query": "acme", "results_limit": 5000},
            "at most 5 000 of an unknown number of leads (Close cannot count a legacy query)",
        ),
        (1234, {}, "ALL leads (about 1 234)"),
        (1234, {"s_query": {}}, "ALL leads (about 1 234)"),
        (None, {"query": "*"}, "ALL leads"),
        (50, {"results_limit": 50}, "at most 50 of ALL leads (about 50)"),
        # What excludes leads in one query does not in the other.
        (None, {"s_query": ACME, "query": ""}, "ALL leads"),
    ],
)
def test_how_many_leads(count: int | None, request_: dict[str, Any], text: str) -> None:
    """A count is about right, as leads come and go; what cannot exclude a lead is ALL of them, whatever was counted."""
    assert describe_leads(preview(count=count, **request_)) == text


@pytest.mark.parametrize(
    ("kind", "request_", "text"),
    [
        (Kind.EMAIL, {"template_id": "tmpl_1"}, "Send the template tmpl_1 to about 5 leads"),
        (Kind.EMAIL, {"template_id": "t\x1b[2J"}, "Send the template t?[2J to about 5 leads"),
        (Kind.DELETE, {}, "Delete about 5 leads"),
        (Kind.DELETE, {"bulk_object_type": "lead"}, "Delete about 5 leads"),
        (Kind.DELETE, {"bulk_object_type": "call"}, "Delete objects of the type call of about 5 leads"),
        (Kind.EDIT, {"type": "set_lead_status"}, "Edit about 5 leads: set_lead_status"),
        (Kind.SEQUENCE_SUBSCRIPTION, {"action_type": "pause"}, "Pause the subscriptions of about 5 leads to seq_1"),
        (
            Kind.SEQUENCE_SUBSCRIPTION,
            {"action_type": "resume", "sequence_id": None},
            "Resume the subscriptions of about 5 leads to EVERY sequence",
        ),
        (
            Kind.SEQUENCE_SUBSCRIPTION,
            {"action_type": "subscribe"},
            "Subscribe contacts of about 5 leads to seq_1",
        ),
    ],
)
def test_what_is_done(kind: Kind, request_: dict[str, Any], text: str) -> None:
    """The deed is a question's beginning, and names what it is done with."""
    assert describe_deed(preview(kind, **{**SEQUENCE, **request_})) == text


@pytest.mark.parametrize("action_type", SequenceActionType)
def test_every_sequence_action_has_words(action_type: SequenceActionType) -> None:
    """None of them is unknown, and each names leads and sequence."""
    text = describe_deed(preview(Kind.SEQUENCE_SUBSCRIPTION, **SEQUENCE, action_type=action_type.value))
    assert "about 5 leads to seq_1" in text


@pytest.mark.parametrize("type_", EditType)
def test_every_edit_is_named(type_: EditType) -> None:
    """The type says what is edited."""
    assert describe_deed(preview(Kind.EDIT, s_query=ACME, type=type_.value)).endswith(f": {type_.value}")


def test_the_whole_request_is_shown() -> None:
    """Below the deed stand its query in words, the fingerprint, the path and the body, with control codes masked."""
    shown = preview(s_query=ACME, extra_text="Zo\u00eb \u202e").request
    lines = describe_preview(preview(**shown)).splitlines()
    assert lines[:4] == [
        "Delete about 5 leads",
        'matches leads whose name has the words "ACME"',
        "fingerprint f00d",
        "POST /bulk_action/delete/",
    ]
    assert json.loads("\n".join(lines[4:])) == {"s_query": ACME, "extra_text": "Zo\u00eb ?"}


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"s_query": ACME}, 'leads whose name has the words "ACME"'),
        ({"s_query": ACME, "query": "acme"}, 'leads whose name has the words "ACME"'),
        ({"s_query": {}}, "every lead: nothing is excluded"),
        ({"s_query": None, "query": None}, "every lead: nothing is excluded"),
        ({}, "every lead: nothing is excluded"),
        ({"s_query": {}, "query": ""}, None),
        ({"query": "acme"}, None),
    ],
)
def test_what_it_is_done_to(request_: dict[str, Any], words: str | None) -> None:
    """A query is told in words; a search text has nothing to translate, and no query at all is every lead."""
    assert describe_matches(request_) == words
    assert any(line.startswith("matches") for line in describe_preview(preview(**request_)).splitlines()) is bool(words)


def test_as_json() -> None:
    """The object for scripts has all that a preview knows."""
    as_dict = preview_to_dict(preview(count=None, query="acme"))
    assert json.loads(json.dumps(as_dict)) == {
        "kind": "delete",
        "count": None,
        "matches": None,
        "fingerprint": "f00d",
        "request": {"query": "acme"},
    }
    counted = preview_to_dict(preview(s_query={"type": "id", "value": "lead_1"}))
    assert counted["matches"] == describe_matches({"s_query": {"type": "id", "value": "lead_1"}})
