"""What `docs/differences.md` says of the suite, of the open questions and of the simulator."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest

from closebulk_async.simulator import Simulator
from closebulk_async.simulator.knobs import Knobs
from closebulk_async.simulator.limits import Limits
from closebulk_async.simulator.plans import Plan
from tests.contract.exchanges import Ask
from tests.contract.gate import MOST_REQUESTS, Gate
from tests.contract.options import GAP
from tests.contract.sending import send
from tests.contract.unknowns import UNKNOWNS, Unknown
from tests.simulator.api import BODIES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from closebulk_async.testing import FakeClock
    from tests.contract.exchanges import Exchange
    from tests.contract.survey import Record

PAGE = (Path(__file__).parents[2] / "docs" / "differences.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("unknown", UNKNOWNS, ids=lambda unknown: unknown.name)
def test_the_page_has_each_question(unknown: Unknown) -> None:
    """With what is taken to be so, by the package and by the simulator."""
    cells = (unknown.name, unknown.question, unknown.assumption, unknown.simulated, f"`{unknown.place}`")
    assert f"| {' | '.join(cells)} |\n" in PAGE


def test_the_page_has_no_other_question() -> None:
    """One row for each, and no more."""
    (table,) = re.findall(r"\| \| question \|.*?\n((?:\|.*\n)+)", PAGE)
    assert len(table.splitlines()) == len(UNKNOWNS) + 1


def test_the_page_says_what_is_sent(record: Record) -> None:
    """Each kind of request with how often the simulator gets it, their number, and the most that there are."""
    counts = Counter(str(exchange.ask) for exchange in record.exchanges)
    (table,) = re.findall(r"\| request \| times \|\n.*\n((?:\|.*\n)+)", PAGE)
    assert [ask for ask in counts if f"| `{ask}` | " not in table] == []
    if record.service == "simulator":
        assert table.splitlines() == [f"| `{ask}` | {times} |" for ask, times in sorted(counts.items())]
        assert f"these are {record.n_requests}:" in PAGE
    assert f"shut after {MOST_REQUESTS} requests" in PAGE
    assert GAP == 0.25
    assert "a quarter of a second for each request" in PAGE


def test_the_page_names_each_setting_of_the_simulator() -> None:
    """Those of `Knobs`; where one holds several, at least one of them."""
    for field in attrs.fields(Knobs):
        assert re.search(rf"`{field.name}[.`]", PAGE), field.name


def test_settings_on_the_page_exist() -> None:
    """`name`, or `name.field`, of a simulator."""
    (table,) = re.findall(r"\| \| by default \| settings \|\n((?:\|.*\n)+)", PAGE)
    simulator = Simulator()
    named = [name for row in table.splitlines()[1:] for name in re.findall(r"`([a-z_.]+)`", row.split("|")[3])]
    assert len(named) > 30
    for name in named:
        holder, _, field = name.partition(".")
        value = getattr(simulator, holder)
        assert not field or hasattr(value, field), name


def test_defaults_on_the_page_are_the_simulators() -> None:
    """The numbers and words of the table."""
    simulator, plan = Simulator(), Plan()
    assert (simulator.list_order, simulator.max_limit, simulator.max_skip) == ("newest", 100, 250_000)
    assert (simulator.short_pages, simulator.slash_redirect, simulator.change_method) == (None, 301, "PUT")
    assert (plan.duration, plan.n_objects, plan.shown_after, plan.pausing, plan.fails_at) == (10, 100, 0, 0, 0.5)
    assert simulator.limits is None
    assert (Limits().window, Limits().spelling) == (8, "semicolons")
    searches, webhooks = simulator.search_rules, simulator.webhook_rules
    assert (searches.cursor_seconds, searches.max_walk, searches.walk_ends) == (30, 10_000, "silent")
    assert (simulator.export_plan.duration, simulator.export_rules.link_lifetime) == (10, 3600)
    assert (simulator.export_rules.shows_counts, simulator.export_rules.echoes) == (False, False)
    assert (webhooks.updated_every, webhooks.consolidated_for, webhooks.retried_after) == (5, 60, 15)
    assert (webhooks.delay, webhooks.tells_errors, webhooks.resigns_retries) == ((1, 1), False, False)
    assert (simulator.event_rules.sees_old_data, simulator.event_rules.sent_after) == (True, 1)
    assert (simulator.oauth_rules.code_lives_for, simulator.oauth_rules.reuse_revokes_grant) == (600, False)


# What the simulator does not have ---------------------------------------------------------------------------------


@attrs.frozen
class Asker:
    """Asks the simulator what the page says of it."""

    sim: Simulator
    gate: Gate

    async def get(self, path: str, **query: object) -> Exchange:
        """A read."""
        return await send(self.gate, Ask.get(path, **query), self.sim.api_key)

    async def post(self, path: str, body: bytes) -> Exchange:
        """A request that writes."""
        headers = {"content-type": "application/json"}
        return await send(self.gate, Ask(method="POST", path=path, body=body, headers=headers), self.sim.api_key)


@pytest.fixture
async def asker(sim: Simulator, clock: FakeClock) -> AsyncIterator[Asker]:
    """One that may write too."""
    async with Gate(sim.base_url, clock=clock, judge=lambda _: None) as gate:
        yield Asker(sim, gate)


async def test_no_action_changes_a_lead(asker: Asker, clock: FakeClock) -> None:
    """They are all there after a bulk delete of them, as they were."""
    before = asker.sim.add_leads(3, seed=1)
    answer = await asker.post("/bulk_action/delete/", b'{"s_query": {"type": "object_type", "object_type": "lead"}}')
    await clock.advance(3600)
    item = await asker.get(f"/bulk_action/delete/{answer.row['id']}/")
    assert (item.row["status"], item.row["n_objects_processed"]) == ("done", 3)
    assert asker.sim.leads == before


async def test_ids_are_not_looked_up(asker: Asker) -> None:
    """A template that nobody has made is taken."""
    answer = await asker.post("/bulk_action/email/", b'{"template_id": "tmpl_of_nobody"}')
    assert (answer.status, answer.row["template_id"]) == (200, "tmpl_of_nobody")


async def test_the_old_search_language_is_not_evaluated(asker: Asker, clock: FakeClock) -> None:
    """A text that nothing fits has as many leads as the plan says."""
    asker.sim.add_leads(3, seed=1)
    answer = await asker.post("/bulk_action/delete/", b'{"query": "name:nobody"}')
    await clock.advance(5)
    assert answer.row["query"] == "name:nobody"
    assert (await asker.get(f"/bulk_action/delete/{answer.row['id']}/")).row["n_leads"] == 100


@pytest.mark.parametrize("path", ["/lead/", "/contact/", "/report/", "/saved_search/", "/sequence/", "/status/lead/"])
async def test_nothing_else_is_served(asker: Asker, path: str) -> None:
    """404."""
    assert (await asker.get(path)).status == 404


async def test_the_event_log_has_no_exports(asker: Asker, clock: FakeClock) -> None:
    """An export that is done has left no event."""
    asker.sim.add_export("lead")
    await clock.advance(60)
    assert (await asker.get("/export/")).rows[0]["status"] == "done"
    assert (await asker.get("/event/")).rows == []


async def test_there_is_one_organization(asker: Asker) -> None:
    """Of which all that is read is."""
    (only,) = (await asker.get("/me/")).row["organizations"]
    for kind in BODIES:
        asker.sim.add_job("edit")
        assert {row["organization_id"] for row in (await asker.get(f"/bulk_action/{kind}/")).rows} <= {only["id"]}


async def test_there_are_no_limits_unless_a_test_sets_some(asker: Asker) -> None:
    """And no header that shows any."""
    assert (await asker.get("/me/")).header("ratelimit") is None
