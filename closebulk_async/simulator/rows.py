"""What a row of a search shows of a record: its type, its id, and the fields that were asked for."""

from __future__ import annotations

from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from .jobs import spell_date
from .records import FIELDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from .kinds import Json, JsonObject
    from .records import Address, Found, Opportunity, Reach


def show_row(record: Found, names: Iterable[str]) -> JsonObject:
    """The row of a record with those fields as well; names that nobody knows are passed over in silence."""
    return {"__object_type": record.object_type, "id": record.id, **_show(record, names)}


def _show(record: Found, names: Iterable[str]) -> JsonObject:
    row: JsonObject = {}
    for name in names:
        if name in FIELDS[record.object_type]:
            row[name] = _spell(FIELDS[record.object_type][name].read(record))
        elif name in _PARTS[record.object_type]:
            row[name] = _PARTS[record.object_type][name](record)
        elif name == "custom":
            # That this one name stands for all custom fields is a guess.
            row |= {f"custom.{custom_id}": _spell(value) for custom_id, value in record.custom.items()}
        elif name.removeprefix("custom.") in record.custom:
            row[name] = _spell(record.custom[name.removeprefix("custom.")])
    return row


def _spell(value: Json) -> Json:
    return spell_date(value) if isinstance(value, datetime) else value


def _show_reaches(reaches: Iterable[Reach]) -> list[JsonObject]:
    return [{reach.object_type.removeprefix("contact_"): reach.value, "type": reach.type} for reach in reaches]


def _show_address(address: Address) -> JsonObject:
    return {name: known.read(address) for name, known in FIELDS["address"].items() if name != "location"}


def _show_opportunity(opportunity: Opportunity) -> JsonObject:
    return {name: _spell(known.read(opportunity)) for name, known in FIELDS["opportunity"].items()}


_CONTACT: tuple[str, ...] = (
    "lead_id",
    "name",
    "title",
    "emails",
    "phones",
    "urls",
    "date_created",
    "date_updated",
    "custom",
)

_PARTS: Mapping[str, Mapping[str, Callable[[Any], Json]]] = MappingProxyType(
    {
        "lead": MappingProxyType(
            {
                "addresses": lambda lead: list(map(_show_address, lead.addresses)),
                "contacts": lambda lead: [{"id": contact.id, **_show(contact, _CONTACT)} for contact in lead.contacts],
                "opportunities": lambda lead: list(map(_show_opportunity, lead.opportunities)),
            }
        ),
        "contact": MappingProxyType(
            {
                "emails": lambda contact: _show_reaches(contact.emails),
                "phones": lambda contact: _show_reaches(contact.phones),
                "urls": lambda contact: _show_reaches(contact.urls),
            }
        ),
    }
)
