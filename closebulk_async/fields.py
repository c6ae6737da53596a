"""The objects and fields that queries are written with: `lead.name.full_words("ACME Inc.")`.

A field has the methods of its type, so that a type checker refuses a text condition on a number. The fields are those
that the vendor's pages name; `field()` gives any other, and `custom()` those of the organization, which have the
methods of all types unless one is named: `lead.custom("cf_…", type=NumberField)`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self, TypeVar, overload

import attrs

from closebulk_async.conditions import (
    BooleanIs,
    Condition,
    CurrentUser,
    CustomField,
    Exists,
    FieldPart,
    Moment,
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
    to_moment,
)
from closebulk_async.errors import InvalidRequestError
from closebulk_async.query import FieldCondition, HasRelated, ObjectType, Query, to_query_dict

F = TypeVar("F", bound="AnyField")


@attrs.frozen(repr=False, order=False)
class AnyField:
    """What can be asked of every field."""

    part: FieldPart

    @classmethod
    def of(cls, object_type: str, name: str) -> Self:
        """The field of this name that objects of this type have."""
        return cls(RegularField(object_type, name))

    def exists(self) -> Query:
        """The field has a value."""
        return self._where(Exists())

    def matches(self, condition: Mapping[str, Any]) -> Query:
        """The condition of a JSON object, for those that this package does not know yet. It must have a `type`."""
        return self._where(read_condition(_check_part(condition, name="condition")))

    def _where(self, condition: Condition) -> Query:
        return FieldCondition(self.part, condition)

    def __repr__(self) -> str:
        part = self.part
        if isinstance(part, RegularField):
            return f"{part.object_type}.{part.field_name}"
        if isinstance(part, CustomField):
            return f"lead.custom({part.custom_field_id!r})"
        return f"raw_field({part.to_dict()!r})"


class TextField(AnyField):
    """A field that holds a text."""

    __slots__ = ()

    def full_words(self, value: str) -> Query:
        """The text has all of these words, in whatever order (as the mode's name says; the vendor does not)."""
        return self._where(Text(value, "full_words"))

    def phrase(self, value: str) -> Query:
        """The text has these words one after the other."""
        return self._where(Text(value, "phrase"))

    def beginning_of_words(self, value: str) -> Query:
        """The text has words that begin so. Unconfirmed: seen in use, in no page of the vendor's."""
        return self._where(Text(value, "beginning_of_words"))


class NumberField(AnyField):
    """A field that holds a number. Unconfirmed are all bounds but `gt`."""

    __slots__ = ()

    def in_range(
        self, *, gt: float | None = None, gte: float | None = None, lt: float | None = None, lte: float | None = None
    ) -> Query:
        """The number lies between the bounds, at least one of which is given."""
        return self._where(NumberRange(gt, gte, lt, lte))

    def __gt__(self, number: float) -> Query:
        return self.in_range(gt=number)

    def __ge__(self, number: float) -> Query:
        return self.in_range(gte=number)

    def __lt__(self, number: float) -> Query:
        return self.in_range(lt=number)

    def __le__(self, number: float) -> Query:
        return self.in_range(lte=number)


class MomentField(AnyField):
    """A field that holds a moment, or a date. The conditions are those of the vendor's app; none is documented.

    A datetime needs a time zone. A date is a day in the time zone of the request, its `x-tz-offset`. A mapping is the
    bound as the service spells it, such as the app's relative ones.
    """

    __slots__ = ()

    def on_or_after(self, moment: Moment | Mapping[str, Any]) -> Query:
        """At that moment or later; from the start of that day on."""
        return self._where(MomentRange(on_or_after=_to_moment(moment, which="start")))

    def before(self, moment: Moment | Mapping[str, Any]) -> Query:
        """Before that moment; before the start of that day."""
        return self._where(MomentRange(before=_to_moment(moment, which="start")))

    def between(self, start: Moment | Mapping[str, Any], end: Moment | Mapping[str, Any]) -> Query:
        """From `start` on and before `end`. A date as the end belongs to the range with its whole day."""
        bounds = _to_moment(start, which="start"), _to_moment(end, which="end")
        return self._where(MomentRange(*bounds))


class ReferenceField(AnyField):
    """A field that names another object."""

    __slots__ = ()

    reference_type: ClassVar[str | None] = None
    """The service's word for what the field names, where one is known."""

    def is_any_of(self, *ids: str, reference_type: str | None = None) -> Query:
        """The field names one of these objects, of the type that the service calls `reference_type`.

        Only `user` is documented. Where the field's own type is not known, leaving it out raises InvalidRequestError.
        """
        word = reference_type or self.reference_type
        if word is None:
            message = f"{self!r}: nobody documents what this field refers to: pass reference_type="
            raise InvalidRequestError(message)
        return self._where(Reference(word, ids))


class UserField(ReferenceField):
    """A field that names a user."""

    __slots__ = ()

    reference_type: ClassVar[str | None] = "user"

    def is_current_user(self) -> Query:
        """The field names the user whose key or token sends the request: with another key, it means another one."""
        return self._where(CurrentUser())


class LeadStatusField(ReferenceField):
    """A field that names a status of leads. Its reference type is unconfirmed: other clients send this one."""

    __slots__ = ()

    reference_type: ClassVar[str | None] = "status.lead"


class TermField(AnyField):
    """A field that holds one or several of given choices."""

    __slots__ = ()

    def has_any_term(self, *values: str) -> Query:
        """The field holds at least one of these choices."""
        return self._where(Term(values))


class BooleanField(AnyField):
    """A field that is true or false."""

    __slots__ = ()

    def is_true(self) -> Query:
        """The field is true."""
        return self._where(BooleanIs(value=True))

    def is_false(self) -> Query:
        """The field is false. Whether one without a value is, nobody says."""
        return self._where(BooleanIs(value=False))


class UntypedField(TextField, NumberField, MomentField, UserField, TermField, BooleanField):
    """A field of which nobody knows what it holds: it takes every condition, and the service judges."""

    __slots__ = ()

    reference_type: ClassVar[str | None] = None


@attrs.frozen(repr=False)
class ObjectFields:
    """The objects of a type, and their fields. `ObjectFields("opportunity")` is for types that have no name here."""

    object_type: str

    @overload
    def field(self, name: str) -> UntypedField: ...

    @overload
    def field(self, name: str, *, type: type[F]) -> F: ...

    def field(self, name: str, *, type: type[Any] = UntypedField) -> Any:
        """The field of this name, for those that have no attribute."""
        return type(RegularField(self.object_type, name))

    @overload
    def custom(self, id: str) -> UntypedField: ...

    @overload
    def custom(self, id: str, *, type: type[F]) -> F: ...

    def custom(self, id: str, *, type: type[Any] = UntypedField) -> Any:
        """The custom field with this id (`cf_…`). The service knows by itself of which objects it is one."""
        return type(CustomField(id))

    def has(self, related: ObjectFields, query: Query) -> Query:
        """Objects of this type to which one of the other belongs that the query matches."""
        return HasRelated(self.object_type, related.object_type, query)

    def every(self) -> Query:
        """All objects of this type. Documented for leads and contacts only."""
        return ObjectType(self.object_type)

    def __repr__(self) -> str:
        return self.object_type


class LeadFields(ObjectFields):
    """Leads."""

    __slots__ = ()

    name: ClassVar[TextField] = TextField.of("lead", "name")
    display_name: ClassVar[TextField] = TextField.of("lead", "display_name")
    description: ClassVar[TextField] = TextField.of("lead", "description")
    url: ClassVar[TextField] = TextField.of("lead", "url")
    status_id: ClassVar[LeadStatusField] = LeadStatusField.of("lead", "status_id")
    created_by: ClassVar[UserField] = UserField.of("lead", "created_by")
    updated_by: ClassVar[UserField] = UserField.of("lead", "updated_by")
    date_created: ClassVar[MomentField] = MomentField.of("lead", "date_created")
    date_updated: ClassVar[MomentField] = MomentField.of("lead", "date_updated")
    addresses_count: ClassVar[NumberField] = NumberField.of("lead", "addresses_count")
    all_urls_count: ClassVar[NumberField] = NumberField.of("lead", "all_urls_count")


class ContactFields(ObjectFields):
    """Contacts."""

    __slots__ = ()

    title: ClassVar[TextField] = TextField.of("contact", "title")
    lead_id: ClassVar[ReferenceField] = ReferenceField.of("contact", "lead_id")
    created_by: ClassVar[UserField] = UserField.of("contact", "created_by")
    updated_by: ClassVar[UserField] = UserField.of("contact", "updated_by")
    date_created: ClassVar[MomentField] = MomentField.of("contact", "date_created")
    date_updated: ClassVar[MomentField] = MomentField.of("contact", "date_updated")
    emails_count: ClassVar[NumberField] = NumberField.of("contact", "emails_count")
    phones_count: ClassVar[NumberField] = NumberField.of("contact", "phones_count")
    urls_count: ClassVar[NumberField] = NumberField.of("contact", "urls_count")


class ContactPhoneFields(ObjectFields):
    """Phone numbers of contacts. Which conditions `type` takes is documented nowhere, here and below."""

    __slots__ = ()

    phone: ClassVar[TextField] = TextField.of("contact_phone", "phone")
    type: ClassVar[UntypedField] = UntypedField.of("contact_phone", "type")


class ContactEmailFields(ObjectFields):
    """Email addresses of contacts."""

    __slots__ = ()

    email: ClassVar[TextField] = TextField.of("contact_email", "email")
    type: ClassVar[UntypedField] = UntypedField.of("contact_email", "type")


class ContactUrlFields(ObjectFields):
    """URLs of contacts."""

    __slots__ = ()

    url: ClassVar[TextField] = TextField.of("contact_url", "url")
    type: ClassVar[UntypedField] = UntypedField.of("contact_url", "type")


class AddressFields(ObjectFields):
    """Addresses of leads. Whether countries and states are texts or choices is documented nowhere."""

    __slots__ = ()

    address_1: ClassVar[TextField] = TextField.of("address", "address_1")
    address_2: ClassVar[TextField] = TextField.of("address", "address_2")
    city: ClassVar[TextField] = TextField.of("address", "city")
    location: ClassVar[TextField] = TextField.of("address", "location")
    zipcode: ClassVar[TextField] = TextField.of("address", "zipcode")
    country: ClassVar[UntypedField] = UntypedField.of("address", "country")
    state: ClassVar[UntypedField] = UntypedField.of("address", "state")


lead: LeadFields = LeadFields("lead")
contact: ContactFields = ContactFields("contact")
contact_phone: ContactPhoneFields = ContactPhoneFields("contact_phone")
contact_email: ContactEmailFields = ContactEmailFields("contact_email")
contact_url: ContactUrlFields = ContactUrlFields("contact_url")
address: AddressFields = AddressFields("address")


def raw_field(data: Mapping[str, Any]) -> UntypedField:
    """The field of a JSON object, for the types of fields that this package does not know yet."""
    return UntypedField(read_field(_check_part(data, name="field")))


def _to_moment(moment: Moment | Mapping[str, Any], *, which: str) -> MomentPart:
    if isinstance(moment, Mapping):
        return read_moment(_check_part(moment, name="moment"))
    return to_moment(moment, which=which)


def _check_part(data: Mapping[str, Any], *, name: str) -> dict[str, Any]:
    plain = to_query_dict(data, name=name)
    if not isinstance(word := plain.get("type"), str) or not word:
        message = f"a {name} says its type, and this one does not: {plain!r}"
        raise InvalidRequestError(message)
    return plain
