"""Leads as a file of an export tells of them: those of the simulator, or some that are made up."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from .kinds import JsonObject
    from .records import Contact, Lead, Opportunity

_FIRST_DAY = datetime(2024, 1, 1, 8, 30, tzinfo=UTC)


def write_leads(leads: Iterable[Lead], statuses: Mapping[str, str]) -> Iterator[JsonObject]:
    """Each lead with its contacts, opportunities and addresses, dates as dates; `statuses` has ids by names."""
    labels = {known: name for name, known in statuses.items()}
    for lead in leads:
        yield {
            "id": lead.id,
            "display_name": lead.name,
            "description": lead.description,
            "url": lead.url,
            "status_id": lead.status_id,
            "status_label": labels.get(lead.status_id or ""),
            "date_created": lead.date_created,
            "date_updated": lead.date_updated,
            **{f"custom.{known}": value for known, value in lead.custom.items()},
            "contacts": [_write_contact(contact) for contact in lead.contacts],
            "opportunities": [_write_opportunity(opportunity) for opportunity in lead.opportunities],
            "addresses": [{"address_1": address.address_1, "location": address.location} for address in lead.addresses],
            "num_emails": sum(len(contact.emails) for contact in lead.contacts),
        }


def _write_contact(contact: Contact) -> JsonObject:
    return {
        "id": contact.id,
        "name": contact.name,
        "title": contact.title,
        "email": contact.emails[0].value if contact.emails else None,
        "lead_id": contact.lead.id,
        "lead_name": contact.lead.name,
        "date_created": contact.date_created,
        "date_updated": contact.date_updated,
    }


def _write_opportunity(opportunity: Opportunity) -> JsonObject:
    return {
        "id": opportunity.id,
        "lead_id": opportunity.lead.id,
        "lead_name": opportunity.lead.name,
        "status_id": opportunity.status_id,
        "value": opportunity.value,
        "confidence": opportunity.confidence,
        "date_created": opportunity.date_created,
        "date_updated": opportunity.date_created,
    }


def make_leads() -> Iterator[JsonObject]:
    """Leads without end, each with one to three contacts and none to two opportunities; the same in every run."""
    number = 0
    while True:
        number += 1
        yield _make_lead(number)


def _make_lead(number: int) -> JsonObject:
    made = _FIRST_DAY + timedelta(hours=number, microseconds=number)
    lead_id, name = _make_id("lead", number), f"Company {number}"
    known: JsonObject = {"lead_id": lead_id, "lead_name": name, "date_created": made, "date_updated": made}
    return {
        "id": lead_id,
        "display_name": name,
        # Commas, quotes, line breaks and letters beyond ASCII: what a reader of CSV gets wrong.
        "description": f'They said "yes, {number} times",\nand meant it: naïve ☃',
        "url": f"https://company-{number}.example.com",
        "status_id": _make_id("stat", 2 + number % 3),
        "status_label": ("Potential", "Qualified", "Customer")[number % 3],
        "date_created": made,
        "date_updated": made + timedelta(days=1),
        "contacts": [
            {
                "id": _make_id("cont", number, index),
                "name": f"Person {index} of {name}",
                "title": "CEO" if index == 0 else "Buyer",
                "email": f"person{index}@company-{number}.example.com",
                **known,
            }
            for index in range(1 + number % 3)
        ],
        "opportunities": [
            {
                "id": _make_id("oppo", number, index),
                "status_id": _make_id("stat", 1),
                "value": 100 * number,
                "confidence": 50,
                **known,
            }
            for index in range(number % 3)
        ],
    }


def _make_id(prefix: str, *numbers: int) -> str:
    digest = hashlib.sha256(f"{prefix}{numbers}".encode()).hexdigest()
    return f"{prefix}_{digest[:43]}"
