"""How a test gives the simulator leads, and sees those that are there."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import TYPE_CHECKING

from .inventing import invent_lead, spread
from .population import add_reaches

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from .clock import Clock
    from .kinds import JsonObject
    from .population import Population
    from .records import Contact, Lead
    from .service import Service

# How far back leads reach that are made up without a word about when.
_A_YEAR = timedelta(days=365)


class Populating:
    """The leads of a simulator. While it has none, counts come from plans, and searches find what `matches` says."""

    __slots__ = ()

    if TYPE_CHECKING:
        clock: Clock
        _service: Service

    @property
    def leads(self) -> tuple[Lead, ...]:
        """All leads, in the order in which they came."""
        return tuple(self._service.population.leads)

    @property
    def contacts(self) -> tuple[Contact, ...]:
        """The contacts of all leads."""
        return tuple(self._service.population.contacts)

    @property
    def population(self) -> Population:
        """Leads and contacts, and what those refer to that were made up: users, statuses, custom fields."""
        return self._service.population

    @property
    def saved_searches(self) -> dict[str, JsonObject]:
        """The queries that a `saved_search` may name, by id; put yours here."""
        return self._service.population.saved_searches

    def add_leads(
        self,
        n: int,
        *,
        seed: int | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        per_instant: int = 4,
        with_opportunities: bool = False,
    ) -> tuple[Lead, ...]:
        """Make up `n` leads with contacts, created between two instants (by default in the year before now).

        Of one instant are `per_instant` leads on average, as imports leave them. The same calls make the same leads,
        ids included; leads of one `seed` are alike whatever was made up before them, but for ids and numbers in names.
        """
        chance = self.population.chance if seed is None else random.Random(f"leads {seed}")
        until = until or max(self.clock.now(), since or self.clock.now())
        instants = spread(n, since=since or until - _A_YEAR, until=until, per_instant=per_instant, chance=chance)
        return tuple(
            invent_lead(self.population, at, chance, with_opportunities=with_opportunities) for at in tuple(instants)
        )

    def add_lead(
        self,
        *,
        addresses: Iterable[Mapping[str, str]] = (),
        opportunities: Iterable[Mapping[str, object]] = (),
        **fields: object,
    ) -> Lead:
        """Put one lead there with these response fields and nothing else; a name like `cf_...` is a custom field.

        It is of now unless `date_created` says otherwise. Raises `ValueError` when its `id` is taken, and `TypeError`
        for a field that leads do not have.
        """
        lead = self.population.add_lead(self.clock.now(), fields)
        for address in addresses:
            self.population.add_address(lead, address)
        for opportunity in opportunities:
            self.population.add_opportunity(lead, lead.date_created, opportunity)
        return lead

    def add_contact(
        self,
        lead: Lead,
        *,
        emails: Iterable[str | Mapping[str, str]] = (),
        phones: Iterable[str | Mapping[str, str]] = (),
        urls: Iterable[str | Mapping[str, str]] = (),
        **fields: object,
    ) -> Contact:
        """Put one contact of a lead there, as `add_lead` does; its addresses are texts, or mappings with a `type`."""
        contact = self.population.add_contact(lead, self.clock.now(), fields)
        add_reaches(contact, "contact_email", emails)
        add_reaches(contact, "contact_phone", phones)
        add_reaches(contact, "contact_url", urls)
        return contact
