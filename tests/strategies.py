"""What the service may send, as hypothesis strategies: written from its schema, not from the models under test."""

from __future__ import annotations

from datetime import UTC, timedelta, timezone
from functools import cache
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from closebulk_async.models import BulkObjectType, ContactPreference, EditType, Kind, SequenceActionType, Status

if TYPE_CHECKING:
    from collections.abc import Mapping
    from enum import StrEnum

patient = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
"""For property tests: whatever else the machine does, a slow example is no failure. Most are run once per kind."""

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
ids = st.from_regex(r"[A-Za-z0-9_-]{1,40}", fullmatch=True)
integers = st.integers(-(2**63), 2**63 - 1)
json_values = st.recursive(
    st.none() | st.booleans() | integers | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda children: st.lists(children, max_size=3) | st.dictionaries(texts, children, max_size=3),
    max_leaves=4,
)
json_objects = st.dictionaries(texts, json_values, max_size=3)
zones = st.just(UTC) | st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
# Not the first and the last year of all calendars: with a zone, some of their instants are in none.
moments = st.datetimes(timezones=zones).filter(lambda moment: 1 < moment.year < 9999)
dates = moments.map(lambda moment: moment.isoformat(timespec="microseconds"))

NULLABLE_TEXT = "text null"
COMMON: Mapping[str, str] = {
    "id": "id",
    "organization_id": "text",
    "created_by": NULLABLE_TEXT,
    "updated_by": NULLABLE_TEXT,
    "date_created": "date null",
    "date_updated": "date null",
    "n_leads": "integer null",
    "n_leads_processed": "integer",
    "n_objects": "integer null",
    "n_objects_processed": "integer",
    "query": NULLABLE_TEXT,
    "s_query": "object",
    "sort": "objects",
    "results_limit": "integer null",
    "send_done_email": "boolean",
    "status": "status null",
}
SCHEMA: Mapping[Kind, Mapping[str, str]] = {
    Kind.EMAIL: {
        **COMMON,
        "contact_preference": "preference null",
        **dict.fromkeys(("email_account_id", "sender", "template_id"), NULLABLE_TEXT),
    },
    Kind.DELETE: {**COMMON, "bulk_object_type": "object_type"},
    Kind.EDIT: {
        **COMMON,
        "type": "edit_type",
        **dict.fromkeys(("custom_field_name", "lead_status_id"), NULLABLE_TEXT),
        "custom_field_value": "anything",
    },
    Kind.SEQUENCE_SUBSCRIPTION: {
        **COMMON,
        "action_type": "action_type",
        "calls_assigned_to": "texts null",
        "contact_preference": "preference null",
        **dict.fromkeys(
            ("from_phone_number_id", "sender_account_id", "sender_email", "sender_name", "sequence_id"), NULLABLE_TEXT
        ),
    },
}
"""The documented fields of each kind and what they hold. The schema says that the value of a custom field is a text;
the service has fields of other types, so that any value must be borne."""


def _words(enum: type[StrEnum]) -> st.SearchStrategy[str]:
    return st.sampled_from([member.value for member in enum]) | texts


_VALUES: Mapping[str, st.SearchStrategy[Any]] = {
    "id": ids,
    "text": texts,
    "texts": st.lists(texts, max_size=3),
    "integer": integers,
    "boolean": st.booleans(),
    "object": json_objects,
    "objects": st.lists(json_objects, max_size=2),
    "date": dates,
    "null": st.none(),
    "anything": json_values,
    "status": _words(Status),
    "preference": _words(ContactPreference),
    "object_type": _words(BulkObjectType),
    "edit_type": _words(EditType),
    "action_type": _words(SequenceActionType),
}


@cache  # building a strategy takes longer than drawing from it
def values_of(words: str) -> st.SearchStrategy[Any]:
    """What a field of `SCHEMA` may hold."""
    return st.one_of([_VALUES[word] for word in words.split()])


@cache
def whole_rows(kind: Kind) -> st.SearchStrategy[dict[str, Any]]:
    """Rows with every documented key and no other."""
    return st.fixed_dictionaries({name: values_of(words) for name, words in SCHEMA[kind].items()})


@cache
def any_rows(kind: Kind) -> st.SearchStrategy[dict[str, Any]]:
    """Rows that may lack any key but the id, and may hold unknown ones."""
    known = {name: values_of(words) for name, words in SCHEMA[kind].items()}
    narrowed = st.fixed_dictionaries({"id": known.pop("id")}, optional=known)
    unknown = st.dictionaries(texts.filter(lambda key: key not in SCHEMA[kind]), json_values, max_size=3)
    return st.builds(lambda row, more: {**more, **row}, narrowed | whole_rows(kind), unknown)
