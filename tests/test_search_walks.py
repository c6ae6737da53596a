"""Long walks over generated leads, in a service that evaluates queries: each one once, whatever happens."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Literal

import pytest

from closebulk_async import BadRequestError, SearchIncompleteError, contact, desc, lead
from closebulk_async.simulator import Limits, SearchRules, faults
from closebulk_async.testing.fake_clock import START

if TYPE_CHECKING:
    from closebulk_async import SortKey
    from closebulk_async.simulator import Fault
    from tests.stage import Stage

pytestmark = pytest.mark.unmeasured

DATED = lead.date_created.exists()
"""A query that every lead matches."""


@pytest.mark.parametrize("walk_ends", ["silent", "refused"])
async def test_25_000_leads_come_once_while_others_are_added(
    stage: Stage, walk_ends: Literal["silent", "refused"]
) -> None:
    """The walk gives each lead that was there once, and of those that are added with each hundredth hit none twice."""
    stage.sim.search_rules = SearchRules(walk_ends=walk_ends)
    there = {each.id for each in stage.sim.add_leads(25_000, seed=5)}
    added, given = set(), []
    async for hit in stage.close.search.iterate(DATED):
        given.append(hit.id)
        if len(given) % 100 == 0 and len(given) <= 25_000:
            added |= {each.id for each in stage.sim.add_leads(2, since=stage.clock.now(), until=stage.clock.now())}
    assert len(set(given)) == len(given)
    assert there <= set(given) <= there | added
    assert set(given[:25_000]) == there
    assert {request.path for request in stage.sim.requests} == {"/api/v1/data/search/"}


async def test_leads_of_few_instants_come_once(stage: Stage) -> None:
    """Of imports that left a thousand leads at each instant, in no order among themselves, each one comes once."""
    leads = stage.sim.add_leads(12_000, seed=5, per_instant=1_000)
    given = [hit.id async for hit in stage.close.search.iterate(DATED)]
    assert len(given) == 12_000
    assert set(given) == {each.id for each in leads}


async def test_too_many_leads_of_one_instant_end_the_walk(stage: Stage) -> None:
    """More than the service gives of one instant are an error, after as many as there were."""
    stage.sim.search_rules = SearchRules(max_walk=10_000)
    stage.sim.add_leads(10_300, seed=5, since=START, until=START)
    given = set()
    with pytest.raises(SearchIncompleteError, match="at the same moment"):
        async for hit in stage.close.search.iterate(DATED):
            assert hit.id not in given
            given.add(hit.id)
    assert len(given) >= 10_000


@pytest.mark.parametrize("sort", [None, [desc(lead.date_created)]])
async def test_a_consumer_of_hours_loses_nothing(stage: Stage, sort: list[SortKey] | None) -> None:
    """Where each hit takes seconds, every cursor expires, and each lead comes once."""
    leads = stage.sim.add_leads(700, seed=5)
    given = []
    async for hit in stage.close.search.iterate(DATED, sort=sort, page_size=100):
        given.append(hit.fields["date_created"])
        await stage.clock.sleep(10)
    assert len(given) == len(leads)
    assert given == sorted(given, reverse=sort is not None)
    assert stage.now >= 7000
    assert len(stage.sim.requests) <= 20


async def test_a_walk_keeps_to_the_rate_limit(stage: Stage) -> None:
    """Where two requests a second are allowed it takes so long, and no request is refused."""
    stage.sim.limits = Limits(rate=2)
    leads = stage.sim.add_leads(6_000, seed=5)
    given = [hit.id async for hit in stage.close.search.iterate(DATED, page_size=100)]
    assert len(set(given)) == len(given) == len(leads)
    assert 60 / 2 - 16 <= stage.now < 60
    assert len(stage.sim.requests) == 60


@pytest.mark.parametrize(
    "fault", [faults.server_error(503), faults.cut_after(), faults.too_many_requests(), faults.broken_json()]
)
async def test_a_bad_page_in_the_middle_is_no_gap(stage: Stage, fault: Fault) -> None:
    """Whichever page fails, each lead comes once."""
    leads = stage.sim.add_leads(1_000, seed=5, per_instant=30)
    given = []
    async for hit in stage.close.search.iterate(DATED, page_size=50):
        given.append(hit.id)
        if len(given) % 170 == 0:
            stage.sim.fail_next(fault)
    assert len(set(given)) == len(given) == len(leads)


async def test_only_what_matches_comes(stage: Stage) -> None:
    """The rest of a walk has the condition of the query as its beginning has, also where the service ends it early."""
    stage.sim.search_rules = SearchRules(max_walk=100)
    leads = stage.sim.add_leads(2_000, seed=5)
    few = lead.date_created.on_or_after(START - timedelta(days=30)) & ~lead.has(
        contact, contact.title.full_words("CEO")
    )
    given = [hit.id async for hit in stage.close.search.iterate(few, page_size=50)]
    assert len(given) == await stage.close.search.count(few) < len(leads)


async def test_contacts_come_once_as_well(stage: Stage) -> None:
    """A query that names contacts walks through them, by their own creation."""
    stage.sim.add_leads(300, seed=5)
    hits = [hit async for hit in stage.close.search.iterate(contact.every(), fields=["title"], page_size=50)]
    assert {hit.object_type for hit in hits} == {"contact"}
    assert len(set(hits)) == len(hits) == await stage.close.search.count(contact.every())
    assert all(hit.fields.keys() <= {"date_created", "title"} for hit in hits)


async def test_more_fields_than_the_service_gives_are_told(stage: Stage) -> None:
    """The service's limit on the list of fields is an error that says how many there were."""
    stage.sim.add_leads(1)
    with pytest.raises(BadRequestError, match="102 fields were asked for: ask for fewer"):
        await anext(stage.close.search.iterate(DATED, fields=[f"custom.cf_{n}" for n in range(100)]))
