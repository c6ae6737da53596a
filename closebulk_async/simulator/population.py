"""The leads of a simulated organization with their contacts, and who and what they refer to."""

from __future__ import annotations

import base64
import random
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from .records import Address, Contact, Lead, Opportunity, Reach, ReachType

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from .kinds import Json, JsonObject

STATUSES = ("Potential", "Qualified", "Customer", "Lost")
CUSTOM_FIELDS = ("Industry", "Employees", "Customer since", "Account manager", "Is a partner", "Tags")


class Population:
    """All leads and contacts, each in the order in which they came.

    `users`, `statuses` and `custom_fields` are what made-up leads refer to, the latter two as ids by name. `version`
    changes whenever what was there before is no longer as it was; what is new at the end leaves it as it is.
    """

    def __init__(self, *, user_id: str, seed: int) -> None:
        self.leads: list[Lead] = []
        self.contacts: list[Contact] = []
        self.saved_searches: dict[str, JsonObject] = {}
        self.version: int = 0
        # Chance of its own: the ids of jobs are then the same with and without leads.
        self.chance: random.Random = random.Random(f"population {seed}")
        self.users: tuple[str, str, str] = (user_id, self.make_id("user_"), self.make_id("user_"))
        self.statuses: Mapping[str, str] = MappingProxyType({name: self.make_id("stat_") for name in STATUSES})
        self.custom_fields: Mapping[str, str] = MappingProxyType({name: self.make_id("cf_") for name in CUSTOM_FIELDS})
        self._ids: set[str] = set()

    def make_id(self, prefix: str) -> str:
        """A new id, of the prefix and 43 characters as all are; faster than others are made, for there are many."""
        return prefix + base64.b64encode(self.chance.randbytes(32), altchars=b"zZ")[:43].decode()

    def add_lead(self, at: datetime, fields: Mapping[str, Json]) -> Lead:
        """Keep a new lead; names that begin with `cf_` are those of custom fields.

        Raises `ValueError` when its id is taken, and `TypeError` for a field that leads do not have.
        """
        values = {"date_created": at, **_sorted_out(fields)}
        values.setdefault("date_updated", values["date_created"])
        lead = Lead(**{"id": self._new_id("lead_", values.pop("id", None)), **values})
        self.leads.append(lead)
        return lead

    def add_contact(self, lead: Lead, at: datetime, fields: Mapping[str, Json]) -> Contact:
        """Keep a new contact of a lead, as `add_lead` does."""
        values = {"date_created": at, **_sorted_out(fields)}
        values.setdefault("date_updated", values["date_created"])
        contact = Contact(lead=lead, **{"id": self._new_id("cont_", values.pop("id", None)), **values})
        lead.contacts.append(contact)
        self.contacts.append(contact)
        # Leads are sorted by what they have, too.
        self.version += 1
        return contact

    def add_address(self, lead: Lead, fields: Mapping[str, str | None]) -> None:
        """Give a lead one more address."""
        lead.addresses.append(Address(lead=lead, **fields))
        self.version += 1

    def add_opportunity(self, lead: Lead, at: datetime, fields: Mapping[str, Json]) -> None:
        """Give a lead one more opportunity."""
        values: dict[str, Any] = {"date_created": at, **fields}
        lead.opportunities.append(
            Opportunity(lead=lead, **{"id": self._new_id("oppo_", values.pop("id", None)), **values})
        )

    def _new_id(self, prefix: str, wanted: str | None) -> str:
        new = wanted or self.make_id(prefix)
        if new in self._ids:
            raise ValueError(f"there is an object with the id {new!r} already")
        self._ids.add(new)
        return new


def add_reaches(contact: Contact, kind: ReachType, given: Iterable[str | Mapping[str, str]]) -> None:
    """Give a contact email addresses, phone numbers or URLs: texts, or as in a response with a `type` beside them."""
    name = kind.removeprefix("contact_")
    kept = {"email": contact.emails, "phone": contact.phones, "url": contact.urls}[name]
    for one in given:
        value, word = (one, "office") if isinstance(one, str) else (one[name], one.get("type", "office"))
        kept.append(Reach(kind, value, type=word, contact=contact))


def _sorted_out(fields: Mapping[str, Json]) -> dict[str, Any]:
    """The keywords of a record: custom fields by themselves."""
    values: dict[str, Any] = {name: value for name, value in fields.items() if not name.startswith("cf_")}
    custom = {name: value for name, value in fields.items() if name.startswith("cf_")}
    return {**values, "custom": custom} if custom else values
