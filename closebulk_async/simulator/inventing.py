"""Leads that nobody has to write: plausible names, contacts, addresses, custom fields, and instants as imports have."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from .population import add_reaches

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator
    from datetime import datetime

    from .kinds import JsonObject
    from .population import Population
    from .records import Lead

_FIRST = ("Ada", "Bea", "Carl", "Dana", "Emil", "Fay", "Gus", "Hana", "Ivo", "June", "Kofi", "Lena", "Max", "Nora")
_LAST = ("Abel", "Brook", "Costa", "Dahl", "Engel", "Ferro", "Gray", "Holm", "Ito", "Jones", "Kern", "Lund", "Mora")
_FIRMS = ("Acorn", "Birch", "Copper", "Delta", "Ember", "Flint", "Granite", "Harbor", "Indigo", "Juniper", "Kestrel")
_TRADES = ("Foods", "Labs", "Logistics", "Media", "Motors", "Optics", "Partners", "Power", "Software", "Tools")
_ENDINGS = ("Inc.", "LLC", "GmbH", "Ltd.", "& Sons")
_TITLES = ("CEO", "CTO", "Head of Sales", "Founder & CEO", "Office Manager", "Vice President, Marketing", None)
_CITIES = (
    ("San Francisco", "CA", "94105", "US"),
    ("Austin", "TX", "73301", "US"),
    ("Toronto", "ON", "M5H 2N2", "CA"),
    ("Berlin", None, "10115", "DE"),
    ("Lyon", None, "69001", "FR"),
)
_INDUSTRIES = ("Software as a service", "Manufacturing", "Retail", "Health care", "Education")
_TAGS = ("newsletter", "trade fair", "partner", "do not call")

# Each number as often as it is to come up.
_HOW_MANY_CONTACTS = (0, 1, 1, 1, 2, 2, 3)
_HOW_MANY_EMAILS = (0, 1, 1, 1, 2)
_HOW_MANY_OTHERS = (0, 0, 1)
_OFTEN, _SOMETIMES = 0.7, 0.3


def spread(n: int, *, since: datetime, until: datetime, per_instant: int, chance: random.Random) -> Iterator[datetime]:
    """`n` instants in their order, one and the same for a whole import of 1 to `2 * per_instant - 1` leads."""
    sizes = []
    while n > 0:
        sizes.append(min(n, chance.randint(1, 2 * per_instant - 1)))
        n -= sizes[-1]
    span = (until - since).total_seconds()
    for size, seconds in zip(sizes, sorted(chance.uniform(0, span) for _ in sizes), strict=True):
        at = since + timedelta(seconds=seconds)
        yield from (at for _ in range(size))


def invent_lead(population: Population, at: datetime, chance: random.Random, *, with_opportunities: bool) -> Lead:
    """Keep one more lead, which was created at that instant."""
    choice, maybe = chance.choice, chance.random
    firm, trade, number = choice(_FIRMS), choice(_TRADES), len(population.leads) + 1
    domain = f"{firm}-{trade}-{number}.example.com".lower()
    user = choice(population.users)
    fields: JsonObject = {
        "name": f"{firm} {trade} {number} {choice(_ENDINGS)}",
        "description": f"Met at a fair in {choice(_CITIES)[0]}." if maybe() < _SOMETIMES else None,
        "url": f"https://{domain}" if maybe() < _OFTEN else None,
        "status_id": choice(tuple(population.statuses.values())),
        "created_by": user,
        "updated_by": user,
        "date_updated": at + timedelta(seconds=chance.randrange(86_400)),
        **_invent_custom(population, at, chance),
    }
    lead = population.add_lead(at, fields)
    for _ in range(choice(_HOW_MANY_CONTACTS)):
        _invent_contact(population, lead, domain, chance)
    if maybe() < _OFTEN:
        street = f"{chance.randrange(1, 1000)} Main Street"
        city = dict(zip(("city", "state", "zipcode", "country"), choice(_CITIES), strict=True))
        population.add_address(lead, {"address_1": street, **city})
    if with_opportunities and maybe() < _OFTEN:
        value, confidence = chance.randrange(1, 500) * 10_000, chance.randrange(0, 101, 10)
        population.add_opportunity(lead, at, {"value": value, "confidence": confidence})
    return lead


def _invent_custom(population: Population, at: datetime, chance: random.Random) -> JsonObject:
    fields: JsonObject = {
        "Industry": chance.choice(_INDUSTRIES),
        "Employees": chance.randrange(1, 5000),
        "Is a partner": chance.random() < _SOMETIMES,
        "Customer since": at.date().isoformat(),
        "Account manager": chance.choice(population.users),
        "Tags": chance.sample(_TAGS, k=2),
    }
    # Few of the fields that exist are filled in.
    return {population.custom_fields[name]: value for name, value in fields.items() if chance.random() < _SOMETIMES}


def _invent_contact(population: Population, lead: Lead, domain: str, chance: random.Random) -> None:
    choice = chance.choice
    first, last = choice(_FIRST), choice(_LAST)
    stamps = {"date_updated": lead.date_updated, "created_by": lead.created_by, "updated_by": lead.updated_by}
    contact = population.add_contact(
        lead, lead.date_created, {"name": f"{first} {last}", "title": choice(_TITLES), **stamps}
    )
    addresses = (f"{first}.{last}@{domain}".lower(), f"{first}@home.example.org".lower())
    add_reaches(contact, "contact_email", addresses[: choice(_HOW_MANY_EMAILS)])
    for _ in range(choice(_HOW_MANY_OTHERS)):
        add_reaches(contact, "contact_phone", [{"phone": f"+1415555{chance.randrange(10_000):04}", "type": "mobile"}])
    for _ in range(choice(_HOW_MANY_OTHERS)):
        add_reaches(contact, "contact_url", [f"https://{domain}/{last}".lower()])
