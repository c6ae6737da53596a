"""The objects that a search looks at, and the tables of what it may ask about them.

The names of regular fields and the ways from one object to another are those of the vendor's page on filtering, except
opportunities, which are named there nowhere; that a contact has a `name` is seen in its examples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from operator import attrgetter
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from attrs import field, frozen

from .kinds import Json, JsonObject

FieldType = Literal["text", "number", "date", "user", "reference"]
ReachType = Literal["contact_email", "contact_phone", "contact_url"]


def _check_aware(_record: object, _attribute: object, instant: datetime) -> None:
    if instant.tzinfo is None:
        raise ValueError(f"the dates of records are aware, got {instant!r}")


@frozen(kw_only=True, eq=False)
class Lead:
    """One lead; `custom` has the values of custom fields by their id, several of one field as a list."""

    object_type: ClassVar[str] = "lead"
    id: str
    name: str | None = None
    description: str | None = None
    url: str | None = None
    status_id: str | None = None
    created_by: str | None = None
    updated_by: str | None = None
    date_created: datetime = field(validator=_check_aware)
    date_updated: datetime = field(validator=_check_aware)
    custom: JsonObject = field(factory=dict)
    contacts: list[Contact] = field(factory=list)
    addresses: list[Address] = field(factory=list)
    opportunities: list[Opportunity] = field(factory=list)


@frozen(kw_only=True, eq=False)
class Contact:
    """One person of a lead."""

    object_type: ClassVar[str] = "contact"
    id: str
    lead: Lead = field(repr=False)
    name: str | None = None
    title: str | None = None
    created_by: str | None = None
    updated_by: str | None = None
    date_created: datetime = field(validator=_check_aware)
    date_updated: datetime = field(validator=_check_aware)
    custom: JsonObject = field(factory=dict)
    emails: list[Reach] = field(factory=list)
    phones: list[Reach] = field(factory=list)
    urls: list[Reach] = field(factory=list)


@frozen(eq=False)
class Reach:
    """One email address, phone number or URL of a contact; `type` is a word such as `office`."""

    object_type: ReachType
    value: str
    type: str = field(default="office", kw_only=True)
    contact: Contact = field(repr=False, kw_only=True)


@frozen(kw_only=True, eq=False)
class Address:
    """One address of a lead."""

    object_type: ClassVar[str] = "address"
    lead: Lead = field(repr=False)
    address_1: str | None = None
    address_2: str | None = None
    city: str | None = None
    state: str | None = None
    zipcode: str | None = None
    country: str | None = None

    @property
    def location(self) -> str:
        """City, state and country in one text."""
        return ", ".join(filter(None, (self.city, self.state, self.country)))


@frozen(kw_only=True, eq=False)
class Opportunity:
    """One opportunity of a lead; `value` is in cents."""

    object_type: ClassVar[str] = "opportunity"
    id: str
    lead: Lead = field(repr=False)
    status_id: str | None = None
    value: int | None = None
    confidence: int | None = None
    date_created: datetime = field(validator=_check_aware)


Found = Lead | Contact
Record = Found | Reach | Address | Opportunity


@frozen
class Attribute:
    """One regular field: what its values are, and how a record tells its own."""

    type: FieldType
    read: Callable[[Any], Json]


def _named(**types: FieldType) -> dict[str, Attribute]:
    return {name: Attribute(known, attrgetter(name)) for name, known in types.items()}


def _counted(name: str) -> Attribute:
    return Attribute("number", lambda record: len(getattr(record, name)))


def _reach(name: str) -> Mapping[str, Attribute]:
    return MappingProxyType(
        {"type": Attribute("text", attrgetter("type")), name: Attribute("text", attrgetter("value"))}
    )


def _count_urls(lead: Lead) -> int:
    return (lead.url is not None) + sum(len(contact.urls) for contact in lead.contacts)


_STAMPS = _named(created_by="user", updated_by="user", date_created="date", date_updated="date")

FIELDS: Mapping[str, Mapping[str, Attribute]] = MappingProxyType(
    {
        "lead": MappingProxyType(
            {
                **_STAMPS,
                **_named(id="reference", name="text", description="text", url="text", status_id="reference"),
                "display_name": Attribute("text", attrgetter("name")),
                "addresses_count": _counted("addresses"),
                "all_urls_count": Attribute("number", _count_urls),
            }
        ),
        "contact": MappingProxyType(
            {
                **_STAMPS,
                **_named(id="reference", name="text", title="text"),
                "lead_id": Attribute("reference", attrgetter("lead.id")),
                "display_name": Attribute("text", attrgetter("name")),
                "emails_count": _counted("emails"),
                "phones_count": _counted("phones"),
                "urls_count": _counted("urls"),
            }
        ),
        "contact_email": _reach("email"),
        "contact_phone": _reach("phone"),
        "contact_url": _reach("url"),
        "address": MappingProxyType(
            {
                **_named(address_1="text", address_2="text", city="text", country="text", location="text"),
                **_named(state="text", zipcode="text"),
            }
        ),
        "opportunity": MappingProxyType(
            {
                **_named(id="reference", status_id="reference", value="number", confidence="number"),
                **_named(date_created="date"),
                "lead_id": Attribute("reference", attrgetter("lead.id")),
            }
        ),
    }
)
"""The regular fields of each object type that a condition may name."""


def _owner(name: str) -> Callable[[Any], Iterable[Record]]:
    return lambda record: (getattr(record, name),)


RELATED: Mapping[tuple[str, str], Callable[[Any], Iterable[Record]]] = MappingProxyType(
    {
        ("lead", "contact"): attrgetter("contacts"),
        ("lead", "address"): attrgetter("addresses"),
        ("lead", "opportunity"): attrgetter("opportunities"),
        ("contact", "lead"): _owner("lead"),
        ("contact", "contact_email"): attrgetter("emails"),
        ("contact", "contact_phone"): attrgetter("phones"),
        ("contact", "contact_url"): attrgetter("urls"),
        ("contact_email", "contact"): _owner("contact"),
        ("contact_phone", "contact"): _owner("contact"),
        ("contact_url", "contact"): _owner("contact"),
        ("address", "lead"): _owner("lead"),
        ("opportunity", "lead"): _owner("lead"),
    }
)
"""Which objects of the second type belong to one of the first; there are no shorter ways, as from lead to email."""


def read_custom(record: Record, custom_id: str) -> Json:
    """The value of a custom field, which only leads and contacts have; None where there is none."""
    return record.custom.get(custom_id) if isinstance(record, Lead | Contact) else None


def read_texts(record: Record) -> Iterable[str]:
    """All that a search for plain text looks through: of a lead that is also what its contacts and addresses say."""
    for known in FIELDS[record.object_type].values():
        if known.type == "text" and isinstance(text := known.read(record), str):
            yield text
    for related in _PARTS.get(record.object_type, ()):
        for part in RELATED[record.object_type, related](record):
            yield from read_texts(part)


_PARTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"lead": ("contact", "address"), "contact": ("contact_email", "contact_phone", "contact_url")}
)
