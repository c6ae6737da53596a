"""The fields and conditions of a query, as the service spells them.

Not all of it is the vendor's word. Documented are `boolean`, `current_user`, `exists`, `text` with the modes
`full_words` and `phrase`, `term`, `reference` of the type `user`, and `gt` of `number_range`. The rest of
`number_range`, the mode `beginning_of_words` and all of `moment_range` are what the app and other clients send.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from itertools import product
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, TypeAlias

import attrs
from attrs.validators import optional

from closebulk_async.convert import format_datetime, parse_datetime
from closebulk_async.errors import InvalidRequestError
from closebulk_async.parts import (
    NOTHING,
    OF_TEXTS,
    Attribute,
    Part,
    are_texts,
    is_a,
    is_boolean,
    is_number,
    is_text,
    read_part,
    reads,
    refuse,
)

if TYPE_CHECKING:
    from collections.abc import Mapping


@attrs.frozen
class FieldPart(Part):
    """What a condition is about; itself where nobody knows its type."""


@attrs.frozen
class RegularField(FieldPart):
    """A field that every object of a type has."""

    word: ClassVar[str] = "regular_field"

    object_type: str = attrs.field(validator=is_text)
    field_name: str = attrs.field(validator=is_text)


@attrs.frozen
class CustomField(FieldPart):
    """A field that an organization has made for itself. Its id does not say of which objects it is a field."""

    word: ClassVar[str] = "custom_field"

    custom_field_id: str = attrs.field(validator=is_text)


@attrs.frozen
class Condition(Part):
    """What is asked of a field; itself where nobody knows its type."""

    def call(self) -> str:
        """The method call that makes it on a field."""
        shown = self._call() if self.rest == NOTHING else None
        return shown or f"matches({self.to_dict()!r})"

    def _call(self) -> str | None:
        return None


@attrs.frozen
class BooleanIs(Condition):
    """The field is true, or is false."""

    word: ClassVar[str] = "boolean"

    value: bool = attrs.field(validator=is_boolean)

    def _call(self) -> str:
        return "is_true()" if self.value else "is_false()"


@attrs.frozen
class CurrentUser(Condition):
    """The field names the user whose key or token sends the request."""

    word: ClassVar[str] = "current_user"

    def _call(self) -> str:
        return "is_current_user()"


@attrs.frozen
class Exists(Condition):
    """The field has a value."""

    word: ClassVar[str] = "exists"

    def _call(self) -> str:
        return "exists()"


TEXT_MODES = ("full_words", "phrase", "beginning_of_words")


@attrs.frozen
class Text(Condition):
    """The field holds a text, in the way that `mode` says."""

    word: ClassVar[str] = "text"

    value: str = attrs.field(validator=is_text)
    mode: str | None = attrs.field(default=None, validator=optional(is_text))

    def _call(self) -> str | None:
        return f"{self.mode}({self.value!r})" if self.mode in TEXT_MODES else None


@attrs.frozen
class Term(Condition):
    """The field holds one of these choices."""

    word: ClassVar[str] = "term"

    values: tuple[str, ...] = attrs.field(validator=are_texts, metadata=OF_TEXTS)

    def _call(self) -> str:
        return f"has_any_term({', '.join(map(repr, self.values))})"


@attrs.frozen
class Reference(Condition):
    """The field names one of these objects."""

    word: ClassVar[str] = "reference"

    reference_type: str = attrs.field(validator=is_text)
    object_ids: tuple[str, ...] = attrs.field(validator=are_texts, metadata=OF_TEXTS)

    def _call(self) -> str:
        ids = ", ".join(map(repr, self.object_ids))
        return f"is_any_of({ids}, reference_type={self.reference_type!r})"


@attrs.frozen
class NumberRange(Condition):
    """The field holds a number between the bounds."""

    word: ClassVar[str] = "number_range"

    gt: float | None = attrs.field(default=None, validator=optional(is_number))
    gte: float | None = attrs.field(default=None, validator=optional(is_number))
    lt: float | None = attrs.field(default=None, validator=optional(is_number))
    lte: float | None = attrs.field(default=None, validator=optional(is_number))

    def __attrs_post_init__(self) -> None:
        """Refuse a range that holds no number."""
        bounds = {name: value for name in ("gt", "gte", "lt", "lte") if (value := getattr(self, name)) is not None}
        for low, high in product(bounds.keys() & {"gt", "gte"}, bounds.keys() & {"lt", "lte"}):
            touches = bounds[low] == bounds[high] and (low, high) == ("gte", "lte")
            if bounds[low] >= bounds[high] and not touches:
                message = f"number_range: no number is {low} {bounds[low]!r} and {high} {bounds[high]!r}"
                raise InvalidRequestError(message)
        if not bounds:
            message = "number_range: name at least one bound: gt, gte, lt or lte"
            raise InvalidRequestError(message)

    def _call(self) -> str:
        bounds = {"gt": self.gt, "gte": self.gte, "lt": self.lt, "lte": self.lte}
        return f"in_range({', '.join(f'{name}={value!r}' for name, value in bounds.items() if value is not None)})"


@attrs.frozen
class MomentPart(Part):
    """A bound of a range of moments; itself where nobody knows its type (the app has relative ones)."""


def _check_moment(instance: Part, attribute: Attribute, value: object) -> None:
    try:
        parse_datetime(value if isinstance(value, str) else "")
    except ValueError:
        refuse(instance, attribute, value, wanted="the ISO 8601 text of a moment")


def _check_date(instance: Part, attribute: Attribute, value: object) -> None:
    try:
        date.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        refuse(instance, attribute, value, wanted="the ISO 8601 text of a date")


def _check_which(instance: Part, attribute: Attribute, value: object) -> None:
    if value not in ("start", "end"):
        refuse(instance, attribute, value, wanted="'start' or 'end'")


@attrs.frozen
class FixedUtc(MomentPart):
    """A moment, as ISO 8601 text."""

    word: ClassVar[str] = "fixed_utc"

    value: str = attrs.field(validator=_check_moment)


@attrs.frozen
class FixedLocalDate(MomentPart):
    """The start or the end of a day, as the `x-tz-offset` of the request or the organization has it."""

    word: ClassVar[str] = "fixed_local_date"

    value: str = attrs.field(validator=_check_date)
    which: str = attrs.field(validator=_check_which)


MOMENTS: Mapping[str, type[MomentPart]] = MappingProxyType(
    {"fixed_utc": FixedUtc, "fixed_local_date": FixedLocalDate},
)


def read_moment(data: object) -> MomentPart:
    """The bound of plain JSON."""
    return read_part(data, MomentPart, MOMENTS)


Moment: TypeAlias = datetime | date


def to_moment(moment: object, *, which: str) -> MomentPart:
    """The bound that a datetime means, or a date: its start or its end, as `which` says.

    Raises InvalidRequestError for a datetime without a time zone, which could mean any of 26 hours.
    """
    if isinstance(moment, datetime):
        return _to_utc(moment)
    if not isinstance(moment, date):
        message = f"expected a datetime with a time zone or a date, not {moment!r}"
        raise InvalidRequestError(message)
    return FixedLocalDate(moment.isoformat(), which)


def _to_utc(moment: datetime) -> FixedUtc:
    if moment.utcoffset() is None:
        message = f"{moment!r} has no time zone: give it one, or pass a date"
        raise InvalidRequestError(message)
    try:
        return FixedUtc(format_datetime(moment.astimezone(UTC)))
    except OverflowError:
        message = f"{moment!r} is not in the years 1 to 9999 of UTC"
        raise InvalidRequestError(message) from None


@attrs.frozen
class MomentRange(Condition):
    """The field holds a moment between the bounds."""

    word: ClassVar[str] = "moment_range"

    on_or_after: MomentPart | None = attrs.field(
        default=None, validator=optional(is_a(MomentPart)), metadata=reads(read_moment)
    )
    before: MomentPart | None = attrs.field(
        default=None, validator=optional(is_a(MomentPart)), metadata=reads(read_moment)
    )

    def __attrs_post_init__(self) -> None:
        """Refuse a range that holds no moment. Bounds of two types are compared by the service alone."""
        if self.on_or_after is None and self.before is None:
            message = "moment_range: name at least one bound: on_or_after or before"
            raise InvalidRequestError(message)
        if _is_later_or_equal(self.on_or_after, self.before):
            message = f"moment_range: no moment is on or after {self.on_or_after!r} and before {self.before!r}"
            raise InvalidRequestError(message)


def _is_later_or_equal(start: MomentPart | None, end: MomentPart | None) -> bool:
    if isinstance(start, FixedUtc) and isinstance(end, FixedUtc):
        return parse_datetime(start.value) >= parse_datetime(end.value)
    if isinstance(start, FixedLocalDate) and isinstance(end, FixedLocalDate):
        first, last = ((date.fromisoformat(bound.value), bound.which == "end") for bound in (start, end))
        return first >= last
    return False


FIELDS: Mapping[str, type[FieldPart]] = MappingProxyType({"regular_field": RegularField, "custom_field": CustomField})
CONDITIONS: Mapping[str, type[Condition]] = MappingProxyType(
    {
        "boolean": BooleanIs,
        "current_user": CurrentUser,
        "exists": Exists,
        "text": Text,
        "term": Term,
        "reference": Reference,
        "number_range": NumberRange,
        "moment_range": MomentRange,
    }
)


def read_field(data: object) -> FieldPart:
    """The field of plain JSON."""
    return read_part(data, FieldPart, FIELDS)


def read_condition(data: object) -> Condition:
    """The condition of plain JSON."""
    return read_part(data, Condition, CONDITIONS)
