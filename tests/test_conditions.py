"""Conditions: what keeps the service's rules is a value, what does not stays the JSON that it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from closebulk_async.conditions import (
    BooleanIs,
    Condition,
    CustomField,
    Exists,
    FieldPart,
    FixedLocalDate,
    FixedUtc,
    MomentPart,
    MomentRange,
    NumberRange,
    Reference,
    RegularField,
    Term,
    Text,
    read_condition,
    read_field,
    read_moment,
)
from closebulk_async.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Callable

    from closebulk_async.parts import Part

EARLY, LATE = FixedUtc("2024-01-01T00:00:00Z"), FixedUtc("2024-01-01T02:00:00+01:00")


@pytest.mark.parametrize(
    ("read", "data", "value"),
    [
        (read_condition, {"type": "text", "value": "a"}, Text("a")),
        (read_condition, {"type": "text", "value": "a", "mode": "some_mode"}, Text("a", "some_mode")),
        (read_condition, {"type": "exists"}, Exists()),
        (read_condition, {"type": "boolean", "value": False}, BooleanIs(value=False)),
        (read_condition, {"type": "number_range", "gte": 0, "lte": 0}, NumberRange(gte=0, lte=0)),
        (read_condition, {"type": "number_range", "gt": 10**400}, NumberRange(gt=10**400)),
        (
            read_condition,
            {"type": "moment_range", "on_or_after": EARLY.to_dict(), "before": LATE.to_dict()},
            MomentRange(EARLY, LATE),
        ),
        (read_field, {"type": "custom_field", "custom_field_id": "cf_1"}, CustomField("cf_1")),
        (read_field, {"type": "regular_field", "object_type": "x", "field_name": "y"}, RegularField("x", "y")),
    ],
)
def test_what_keeps_the_rules_is_a_value(read: Callable[[object], Part], data: dict[str, Any], value: Part) -> None:
    """It is the value that one writes oneself, and gives its JSON back."""
    assert read(data) == value
    assert value.to_dict() == data


@pytest.mark.parametrize(
    ("read", "base", "data"),
    [
        (read_condition, Condition, {"type": "text", "value": ""}),
        (read_condition, Condition, {"type": "text", "value": "a", "mode": None}),
        (read_condition, Condition, {"type": "text"}),
        (read_condition, Condition, {"type": "boolean", "value": 1}),
        (read_condition, Condition, {"type": "term", "values": []}),
        (read_condition, Condition, {"type": "term", "values": "abc"}),
        (read_condition, Condition, {"type": "term", "values": ["a", 1]}),
        (read_condition, Condition, {"type": "number_range"}),
        (read_condition, Condition, {"type": "number_range", "gt": True}),
        (read_condition, Condition, {"type": "number_range", "gt": 2, "lt": 1}),
        (read_condition, Condition, {"type": "moment_range"}),
        (read_condition, Condition, {"type": "moment_range", "before": "2024-01-01"}),
        (read_condition, Condition, {"type": "moment_range", "on_or_after": LATE.to_dict(), "before": EARLY.to_dict()}),
        (read_condition, Condition, {"type": "tomorrow"}),
        (read_condition, Condition, {"type": ["text"]}),
        (read_condition, Condition, {}),
        (read_moment, MomentPart, {"type": "fixed_utc", "value": "yesterday"}),
        (read_moment, MomentPart, {"type": "fixed_utc", "value": 1704067200}),
        (read_moment, MomentPart, {"type": "fixed_local_date", "value": "2024-02-30", "which": "start"}),
        (read_moment, MomentPart, {"type": "fixed_local_date", "value": 20240201, "which": "start"}),
        (read_moment, MomentPart, {"type": "fixed_local_date", "value": "2024-02-01", "which": "middle"}),
        (read_moment, MomentPart, {"type": "fixed_local_date", "value": "2024-02-01", "which": ["end"]}),
        (read_moment, MomentPart, {"type": "now"}),
        (read_field, FieldPart, {"type": "custom_field", "custom_field_id": 7}),
        (read_field, FieldPart, {"type": "regular_field", "field_name": "name"}),
    ],
)
def test_what_breaks_them_stays_what_it_is(
    read: Callable[[object], Part], base: type[Part], data: dict[str, Any]
) -> None:
    """It is read as something unknown and not as a condition that says less."""
    found = read(data)
    assert type(found) is base
    assert found.to_dict() == data


@pytest.mark.parametrize("read", [read_condition, read_field, read_moment])
@pytest.mark.parametrize("data", [None, "now", 1, [{}]])
def test_what_is_no_object_is_refused(read: Callable[[object], Part], data: object) -> None:
    """There is nothing to keep its keys in."""
    with pytest.raises(InvalidRequestError):
        read(data)


@pytest.mark.parametrize(
    "write",
    [
        lambda: FixedUtc("yesterday"),
        lambda: FixedLocalDate("2024-02-30", "start"),
        lambda: FixedLocalDate("2024-02-01", "middle"),
        lambda: MomentRange(),  # noqa: PLW0108 - as the others
        lambda: MomentRange(EARLY, EARLY),
        lambda: MomentRange(FixedLocalDate("2024-01-02", "start"), FixedLocalDate("2024-01-01", "end")),
        lambda: MomentRange(FixedLocalDate("2024-01-01", "end"), FixedLocalDate("2024-01-01", "end")),
        lambda: Term(()),
        lambda: Term(["a"]),  # type: ignore[arg-type]  # wrong on purpose
        lambda: Reference("", ("user_1",)),
        lambda: RegularField("lead", " "),
    ],
)
def test_a_value_that_breaks_them_is_refused(write: Callable[[], Part]) -> None:
    """Written by hand, it is an error at once."""
    with pytest.raises(InvalidRequestError):
        write()


def test_an_error_names_the_place() -> None:
    """The type of the condition, its key, what it needs and what it got."""
    with pytest.raises(InvalidRequestError, match=r"^number_range: gt must be a finite number and is 'one'$"):
        NumberRange(gt="one")  # type: ignore[arg-type]  # wrong on purpose
