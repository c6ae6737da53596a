"""A field takes the conditions of its type, and a query stands wherever a mapping does."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, assert_type

from closebulk_async import CloseBulk, DeleteStart, Query, contact, lead, raw
from closebulk_async.fields import NumberField, UntypedField
from closebulk_async.query import to_query_dict

if TYPE_CHECKING:
    from collections.abc import Mapping

TODAY = date(2026, 1, 15)
NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)


def ask_fields() -> None:
    """What does not fit the type of a field is an error in the editor."""
    assert_type(lead.name.full_words("ACME"), Query)
    assert_type(contact.emails_count > 1, Query)
    assert_type(lead.date_created.between(TODAY, NOW), Query)
    assert_type(lead.created_by.is_current_user(), Query)
    lead.name.full_words(1)  # type: ignore[arg-type]
    lead.name.is_true()  # type: ignore[attr-defined]
    assert lead.name > 1  # type: ignore[operator]
    contact.emails_count.full_words("two")  # type: ignore[attr-defined]
    assert contact.emails_count > "1"  # type: ignore[operator]
    contact.emails_count.in_range(above=1)  # type: ignore[call-arg]
    lead.date_created.on_or_after("2026-01-15")  # type: ignore[arg-type]
    lead.date_created.phrase("2026")  # type: ignore[attr-defined]
    lead.status_id.is_current_user()  # type: ignore[attr-defined]
    assert lead.emails_count  # type: ignore[attr-defined]


def ask_other_fields() -> None:
    """A field whose type nobody knows takes every condition; one whose type is named, its own."""
    assert_type(lead.custom("cf_1"), UntypedField)
    assert_type(lead.custom("cf_1").has_any_term("Retail"), Query)
    assert_type(lead.custom("cf_1", type=NumberField), NumberField)
    assert_type(contact.field("department"), UntypedField)
    assert_type(contact.field("age", type=NumberField) <= 30, Query)
    lead.custom("cf_1", type=NumberField).has_any_term("Retail")  # type: ignore[attr-defined]
    lead.custom("cf_1", type=str)  # type: ignore[type-var]


def join(one: Query, other: Query, mapping: Mapping[str, Any]) -> None:
    """Queries are joined with queries."""
    assert_type(~(one & other | raw(mapping)), Query)
    assert_type(contact.has(lead, one), Query)
    assert_type(to_query_dict(one), dict[str, Any])
    one & mapping  # type: ignore[operator]
    one & (lead.name == "ACME")  # type: ignore[operator, comparison-overlap]
    lead.has("contact", one)  # type: ignore[arg-type]
    one.negate = True  # type: ignore[misc]


async def start(close: CloseBulk, query: Query, mapping: Mapping[str, Any]) -> None:
    """Both serve where a start takes a query; what a start shows is the JSON object."""
    await close.deletes.create(s_query=query)
    await close.deletes.create(s_query=mapping)
    await close.emails.preview(template_id="t", email_account_id="e", s_query=query)
    assert_type(DeleteStart(s_query=query).s_query, "Mapping[str, Any] | None")
    DeleteStart(s_query=mapping)
    DeleteStart(s_query=lead.name)  # type: ignore[arg-type]
    await close.deletes.create(s_query=lead)  # type: ignore[arg-type]
