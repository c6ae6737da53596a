"""Fields: each condition is written as it reads, and sends what the service takes."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest

from closebulk_async import address, contact, contact_email, contact_phone, contact_url, lead
from closebulk_async.errors import InvalidRequestError
from closebulk_async.fields import AnyField, MomentField, NumberField, ObjectFields, UntypedField, raw_field

if TYPE_CHECKING:
    from collections.abc import Callable

    from closebulk_async import Query

CUSTOM = lead.custom("cf_1")
NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)
FIRST, LAST = date(2026, 1, 1), date(2026, 1, 31)


def condition_of(query: Query) -> dict[str, Any]:
    """What the query asks of its field."""
    condition: dict[str, Any] = query.to_dict()["condition"]
    return condition


def utc(text: str) -> dict[str, str]:
    """A moment, as the service spells it."""
    return {"type": "fixed_utc", "value": text}


def day(text: str, which: str) -> dict[str, str]:
    """The start or the end of a day, as the service spells it."""
    return {"type": "fixed_local_date", "value": text, "which": which}


def test_a_text_is_asked_for_as_the_vendor_s_sample_does() -> None:
    """The condition in the vendor's sample of a bulk email, key for key."""
    assert lead.name.full_words("ACME Inc.").to_dict() == {
        "type": "field_condition",
        "field": {"type": "regular_field", "object_type": "lead", "field_name": "name"},
        "condition": {"type": "text", "mode": "full_words", "value": "ACME Inc."},
    }


@pytest.mark.parametrize(
    ("query", "condition"),
    [
        (lead.name.phrase("ACME Inc."), {"type": "text", "mode": "phrase", "value": "ACME Inc."}),
        (lead.name.beginning_of_words("AC"), {"type": "text", "mode": "beginning_of_words", "value": "AC"}),
        (lead.name.exists(), {"type": "exists"}),
        (contact.emails_count > 1, {"type": "number_range", "gt": 1}),
        (contact.emails_count >= 1, {"type": "number_range", "gte": 1}),
        (contact.emails_count < 1.5, {"type": "number_range", "lt": 1.5}),
        (contact.emails_count <= 0, {"type": "number_range", "lte": 0}),
        (1 < contact.emails_count, {"type": "number_range", "gt": 1}),  # noqa: SIM300 - the other way round on purpose
        (contact.emails_count.in_range(gt=1, lte=2), {"type": "number_range", "gt": 1, "lte": 2}),
        (contact.emails_count.in_range(gte=2, lte=2), {"type": "number_range", "gte": 2, "lte": 2}),
        (
            lead.created_by.is_any_of("user_1", "user_2"),
            {"type": "reference", "reference_type": "user", "object_ids": ["user_1", "user_2"]},
        ),
        (
            lead.status_id.is_any_of("stat_1"),
            {"type": "reference", "reference_type": "status.lead", "object_ids": ["stat_1"]},
        ),
        (
            lead.status_id.is_any_of("stat_1", reference_type="status"),
            {"type": "reference", "reference_type": "status", "object_ids": ["stat_1"]},
        ),
        (
            CUSTOM.is_any_of("cont_1", reference_type="contact"),
            {"type": "reference", "reference_type": "contact", "object_ids": ["cont_1"]},
        ),
        (lead.updated_by.is_current_user(), {"type": "current_user"}),
        (CUSTOM.has_any_term("Retail", "Food"), {"type": "term", "values": ["Retail", "Food"]}),
        (CUSTOM.is_true(), {"type": "boolean", "value": True}),
        (CUSTOM.is_false(), {"type": "boolean", "value": False}),
        (CUSTOM.matches({"type": "tomorrow", "n": [1]}), {"type": "tomorrow", "n": [1]}),
        (lead.date_created.before(FIRST), {"type": "moment_range", "before": day("2026-01-01", "start")}),
        (lead.date_created.on_or_after(FIRST), {"type": "moment_range", "on_or_after": day("2026-01-01", "start")}),
        (
            lead.date_created.between(FIRST, LAST),
            {
                "type": "moment_range",
                "on_or_after": day("2026-01-01", "start"),
                "before": day("2026-01-31", "end"),
            },
        ),
        (
            lead.date_created.between(FIRST, FIRST),
            {
                "type": "moment_range",
                "on_or_after": day("2026-01-01", "start"),
                "before": day("2026-01-01", "end"),
            },
        ),
        (
            lead.date_created.between(NOON - timedelta(days=1), NOON.astimezone(timezone(timedelta(hours=-3)))),
            {
                "type": "moment_range",
                "on_or_after": utc("2026-01-14T12:00:00.000000+00:00"),
                "before": utc("2026-01-15T12:00:00.000000+00:00"),
            },
        ),
        (
            lead.date_updated.on_or_after({"type": "offset", "offset": {"days": -7}}),
            {"type": "moment_range", "on_or_after": {"type": "offset", "offset": {"days": -7}}},
        ),
    ],
    ids=repr,
)
def test_a_condition_sends_what_it_says(query: Query, condition: dict[str, Any]) -> None:
    """Each method of a field is one condition, its values as they were given."""
    assert condition_of(query) == condition


def test_a_custom_field_is_named_by_its_id_alone() -> None:
    """The service needs no object type for it, and a type that is named changes only what can be asked."""
    field = {"type": "custom_field", "custom_field_id": "cf_1"}
    assert CUSTOM.exists().to_dict()["field"] == field
    assert contact.custom("cf_1", type=NumberField).exists() == CUSTOM.exists()
    assert isinstance(lead.custom("cf_1", type=MomentField), MomentField)


def test_a_field_without_an_attribute_has_its_name() -> None:
    """A field or a type of objects that this package does not name is asked for as well."""
    deal = ObjectFields("opportunity")
    query = lead.has(deal, deal.field("value", type=NumberField) > 100)
    assert query.to_dict() == {
        "type": "has_related",
        "this_object_type": "lead",
        "related_object_type": "opportunity",
        "related_query": {
            "type": "field_condition",
            "field": {"type": "regular_field", "object_type": "opportunity", "field_name": "value"},
            "condition": {"type": "number_range", "gt": 100},
        },
    }


def test_a_field_of_an_unknown_type_is_sent_as_it_is() -> None:
    """So that what the vendor adds tomorrow can be asked for today."""
    field = {"type": "computed_field", "formula": {"a": [1]}}
    assert raw_field(field).exists().to_dict()["field"] == field


def test_every_object_of_a_type() -> None:
    """Leads and contacts have a query of their own that matches all of them."""
    assert lead.every().to_dict() == {"type": "object_type", "object_type": "lead"}
    assert contact.every().to_dict() == {"type": "object_type", "object_type": "contact"}


def test_the_vendor_s_example_of_a_search_can_be_written() -> None:
    """Contacts with several addresses and a title whose leads have chosen something: the tree of the documentation."""
    query = (
        (contact.emails_count > 1)
        & contact.title.full_words("CEO")
        & contact.has(lead, lead.custom("cf_1").has_any_term("Software as a service"))
    )
    regular = {"type": "regular_field", "object_type": "contact"}
    assert query.to_dict() == {
        "type": "and",
        "queries": [
            {
                "type": "field_condition",
                "field": {**regular, "field_name": "emails_count"},
                "condition": {"type": "number_range", "gt": 1},
            },
            {
                "type": "field_condition",
                "field": {**regular, "field_name": "title"},
                "condition": {"type": "text", "mode": "full_words", "value": "CEO"},
            },
            {
                "type": "has_related",
                "this_object_type": "contact",
                "related_object_type": "lead",
                "related_query": {
                    "type": "field_condition",
                    "field": {"type": "custom_field", "custom_field_id": "cf_1"},
                    "condition": {"type": "term", "values": ["Software as a service"]},
                },
            },
        ],
    }


@pytest.mark.parametrize("of", [lead, contact, contact_phone, contact_email, contact_url, address], ids=repr)
def test_each_attribute_is_the_field_of_its_name(of: ObjectFields) -> None:
    """No field of an object asks for another one, or for one of another object."""
    fields = {name: value for name in dir(of) if isinstance(value := getattr(of, name), AnyField)}
    assert fields
    for name, field in fields.items():
        asked = {"type": "regular_field", "object_type": of.object_type, "field_name": name}
        assert field.exists().to_dict()["field"] == asked
        assert repr(field) == f"{of!r}.{name}"


def test_documented_fields_are_there() -> None:
    """The fields that the vendor's pages name are attributes of their objects."""
    documented = {
        lead: "addresses_count all_urls_count created_by date_created date_updated updated_by description display_name "
        "status_id url name",
        contact: "created_by date_created date_updated updated_by emails_count phones_count urls_count title lead_id",
        contact_phone: "type phone",
        contact_email: "type email",
        contact_url: "type url",
        address: "address_1 address_2 city country location state zipcode",
    }
    for of, names in documented.items():
        assert [name for name in names.split() if not isinstance(getattr(of, name, None), AnyField)] == []


@pytest.mark.parametrize(
    "write",
    [
        lambda: lead.name.full_words(""),
        lambda: lead.name.phrase("  "),
        lambda: UntypedField(lead.name.part).full_words(5),  # type: ignore[arg-type]  # wrong on purpose
        lambda: contact.emails_count.in_range(gt=float("nan")),
        lambda: contact.emails_count < float("inf"),
        lambda: contact.emails_count >= True,
        lambda: contact.emails_count <= "1",  # type: ignore[operator]  # wrong on purpose
        lambda: contact.emails_count > None,  # type: ignore[operator]  # wrong on purpose
        contact.emails_count.in_range,
        lambda: contact.emails_count.in_range(gt=2, lt=2),
        lambda: contact.emails_count.in_range(gte=2, lt=2),
        lambda: contact.emails_count.in_range(gt=2, lte=2),
        lambda: contact.emails_count.in_range(gte=3, lte=2),
        lambda: contact.emails_count.in_range(gt=1, gte=3, lt=9, lte=2),
        lead.created_by.is_any_of,
        lambda: lead.created_by.is_any_of("user_1", ""),
        lambda: lead.created_by.is_any_of(["user_1"]),  # type: ignore[arg-type]  # wrong on purpose
        lambda: contact.lead_id.is_any_of("lead_1"),
        lambda: CUSTOM.is_any_of("user_1"),
        CUSTOM.has_any_term,
        lambda: CUSTOM.has_any_term("Retail", " "),
        lambda: CUSTOM.matches({}),
        lambda: CUSTOM.matches({"type": ""}),
        lambda: CUSTOM.matches({"type": "x", "n": float("nan")}),
        lambda: lead.custom("").exists(),
        lambda: lead.field("").exists(),
        lambda: raw_field({"field_name": "name"}),
        lambda: ObjectFields("").every(),
        lambda: lead.has(contact, {"type": "id", "value": "cont_1"}),  # type: ignore[arg-type]  # wrong on purpose
        lambda: lead.date_created.on_or_after(datetime(2026, 1, 15)),  # noqa: DTZ001 - naive on purpose
        lambda: lead.date_created.before("2026-01-15"),  # type: ignore[arg-type]  # wrong on purpose
        lambda: lead.date_created.before({"value": "2026-01-15"}),
        lambda: lead.date_created.before(datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1)))),
        lambda: lead.date_created.between(NOON, NOON),
        lambda: lead.date_created.between(NOON, NOON - timedelta(microseconds=1)),
        lambda: lead.date_created.between(LAST, FIRST),
    ],
)
def test_what_can_match_nothing_or_anything_is_refused(write: Callable[[], Query]) -> None:
    """A value that is empty, no number, without a zone or of a wrong type ends where it is written."""
    with pytest.raises(InvalidRequestError):
        write()


def test_bounds_of_two_kinds_are_left_to_the_service() -> None:
    """Nobody here knows the time zone in which a date and a moment would be compared."""
    assert lead.date_created.between(LAST, NOON).to_dict()["condition"]["before"]["type"] == "fixed_utc"


def test_a_chained_comparison_fails() -> None:
    """`1 < field < 5` would keep only the second half."""
    with pytest.raises(InvalidRequestError, match="in_range"):
        assert 1 < contact.emails_count < 5


def test_equality_of_fields_is_that_of_values() -> None:
    """`==` compares fields and writes no condition: what it gives no start takes."""
    assert lead.name == lead.field("name", type=type(lead.name))
    assert lead.name != lead.display_name
    assert (lead.name == "ACME") is False  # type: ignore[comparison-overlap]  # mypy sees that it is never true, which is the point


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (lead, "lead"),
        (lead.custom("cf_1"), "lead.custom('cf_1')"),
        (raw_field({"type": "x"}), "raw_field({'type': 'x'})"),
    ],
)
def test_a_field_is_shown_as_it_is_written(value: object, shown: str) -> None:
    """Where an error names a field, it reads as the code does."""
    assert repr(value) == shown
