"""The feed: what the board learns of Close, in good times and bad ones."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from closebulk_async import JournalError, PollPolicy
from closebulk_async.dashboard.feed import FORBIDDEN, LOOK_BACK, MOST_RECENT
from closebulk_async.journal import MemoryJournal
from closebulk_async.models import Kind
from closebulk_async.simulator import Limits, Plan, faults
from closebulk_async.testing.fake_clock import START
from tests.journals import new_intent

from .houses import House, living

if TYPE_CHECKING:
    from collections.abc import Sequence

    from closebulk_async.intents import Intent


async def rows(house: House) -> dict[str, Any]:
    """All rows, by their refs."""
    return {row["ref"]: row for row in (await house.ask("/api/actions")).json()["actions"]}


async def link(house: House) -> Any:  # noqa: ANN401 - whatever it holds
    """Whether Close answers."""
    return (await house.ask("/healthz")).json()["close"]


async def test_what_runs_is_found_wherever_it_was_started(house: House) -> None:
    """Of all kinds, exports included, at the start and later."""
    before = [house.run_job(kind) for kind in ("email", "delete", "edit", "sequence_subscription")]
    before.append(f"export:{house.sim.add_export().id}")
    await house.settle(2)
    assert (await rows(house)).keys() == set(before)
    later = house.run_job()
    await house.settle(31)
    assert (await rows(house)).keys() == {*before, later}


async def test_what_has_ended_is_shown_with_its_end(house: House) -> None:
    """As many as are recent; nothing of them is polled."""
    ages = range(60 * (MOST_RECENT + 10), 0, -60)
    refs = [house.run_job(status="done", date_created=START - timedelta(seconds=age)) for age in ages]
    await house.settle(2)
    shown = await rows(house)
    assert shown.keys() == set(refs[-MOST_RECENT:])
    assert {row["phase"] for row in shown.values()} == {"done"}
    assert all(row["ended_at"] for row in shown.values())


async def test_an_export_ends_like_any_other(house: House) -> None:
    """It has counters where the service tells any."""
    export = house.sim.add_export()
    await house.settle(120)
    (row,) = (await rows(house)).values()
    assert (row["ref"], row["kind"], row["phase"]) == (f"export:{export.id}", "export", "done")


async def test_what_the_key_may_not_read_is_named(house: House) -> None:
    """The others are shown; when the right was given, it goes away."""
    ref = house.run_job(plan=Plan(duration=9000, n_objects=600))
    house.sim.fail_next(faults.forbidden(), times=None, path="/delete/")
    await house.settle(5)
    state = (await house.ask("/api/actions")).json()
    assert state["forbidden"] == ["delete"]
    assert [row["ref"] for row in state["actions"]] == [ref]
    house.sim.clear_faults()
    other = house.run_job("delete", plan=Plan(duration=9000, n_objects=600))
    await house.settle(700)
    state = (await house.ask("/api/actions")).json()
    assert state["forbidden"] == []
    assert {row["ref"] for row in state["actions"]} == {ref, other}


async def test_a_key_that_may_read_nothing_is_no_outage(house: House) -> None:
    """Close answers, with no; all kinds are named."""
    house.sim.fail_next(faults.forbidden(), times=None)
    await house.settle(5)
    state = (await house.ask("/api/actions")).json()
    assert state["forbidden"] == sorted(Kind)
    assert state["close"]["status"] == "ok"


async def test_an_outage_is_one_warning_of_each_list(house: House, caplog: pytest.LogCaptureFixture) -> None:
    """However long it lasts: what is tried again each half minute must not fill a log."""
    await house.settle(5)
    house.sim.fail_next(faults.server_error(503), times=None)
    await house.settle(1800)
    told = [record for record in caplog.records if record.levelname == "WARNING" and "could not look" in record.message]
    assert len(told) <= len(Kind)
    house.sim.clear_faults()


async def test_a_failed_action_says_so(house: House) -> None:
    """It is not lost: it is known what became of it."""
    ref = house.run_job(plan=Plan(duration=5, ends="error", n_objects=10))
    await house.settle(20)
    row = (await rows(house))[ref]
    assert (row["phase"], row["status"]) == ("failed", "error")
    assert "failed" in row["error"]


async def test_a_bad_poll_changes_nothing(house: House) -> None:
    """It is noted at the action that was asked for, and Close counts as well."""
    ref = house.run_job(plan=Plan(duration=600, n_objects=600))
    await house.settle(5)
    house.sim.fail_next(faults.server_error(), times=3, path="bulk_action/email")
    await house.settle(40)
    row = (await rows(house))[ref]
    assert row["phase"] == "running"
    assert "502" in row["last_error"]
    assert (await link(house))["status"] == "ok"


async def test_an_outage_is_told_and_ends(house: House) -> None:
    """While nothing is answered the page says so and shows what was known; then it goes on by itself."""
    ref = house.run_job(plan=Plan(duration=300, n_objects=300))
    await house.settle(5)
    house.sim.fail_next(faults.server_error(503), times=None)
    await house.settle(60)
    outage, row = await link(house), (await rows(house))[ref]
    assert (outage["status"], "503" in outage["message"]) == ("error", True)
    assert outage["last_ok_at"] < outage["since"]
    assert row["phase"] == "running"
    house.sim.clear_faults()
    await house.settle(120)
    assert (await link(house))["status"] == "ok"
    assert (await rows(house))[ref]["processed"] > row["processed"]


async def test_an_outage_is_told_once(house: House, caplog: pytest.LogCaptureFixture) -> None:
    """However many requests fail meanwhile; another cause is news."""
    house.run_job()
    await house.settle(5)
    async with house.page() as page:
        house.sim.fail_next(faults.server_error(503), times=None)
        await house.settle(120)
        house.sim.clear_faults()
        house.sim.fail_next(faults.reply(401, b"{}"), times=None)
        await house.settle(120)
        told = []
        while page.close is None or page.close["status"] != "error" or "401" not in page.close["message"]:
            await page.take()
            told.append(page.close["message"])
    assert len({message for message in told if message}) == 2
    warnings = [record for record in caplog.records if "cannot read from Close" in record.message]
    assert len([record for record in warnings if record.levelname == "WARNING"]) == 2


async def test_nothing_to_watch_and_no_answer_is_noticed(house: House) -> None:
    """Though no poll is under way that could fail."""
    await house.settle(5)
    house.sim.fail_next(faults.cut_before(), times=None)
    await house.settle(90)
    assert (await link(house))["status"] == "error"


async def test_what_ended_during_an_outage_is_seen_to_have_ended() -> None:
    """Also where its watch was given up meanwhile, which is no reason to lose it for ever."""
    async with living(client={"poll": PollPolicy(floor=1, ceiling=1, lost_after=60)}) as house:
        ref = house.run_job(plan=Plan(duration=100, n_objects=100))
        other = house.run_job(plan=Plan(duration=1000, n_objects=100))
        await house.settle(5)
        house.sim.fail_next(faults.server_error(503), times=None)
        await house.settle(200)
        lost = await rows(house)
        assert {row["phase"] for row in lost.values()} == {"lost"}
        assert "no poll succeeded" in lost[ref]["error"]
        house.sim.clear_faults()
        await house.settle(150)
        found = await rows(house)
        assert (found[ref]["phase"], found[ref]["error"]) == ("done", None)
        assert found[other]["phase"] == "running"


async def test_an_outage_at_the_start_is_over_sometime() -> None:
    """The lists could not be read, and then they can."""
    async with living() as house:
        house.sim.fail_next(faults.server_error(), times=None)
        await house.settle(120)
        assert await rows(house) == {}
        ref = house.run_job(plan=Plan(duration=600, n_objects=600))
        house.sim.clear_faults()
        await house.settle(150)
        assert (await rows(house))[ref]["processed"] > 0


async def test_a_key_that_is_refused_is_said_and_not_repeated_for_ever(house: House) -> None:
    """Who watches sees why nothing comes; the service is asked rarely."""
    house.run_job()
    await house.settle(2)
    house.sim.fail_next(faults.reply(401, json.dumps({"error": "invalid key"}).encode()), times=None)
    await house.settle(300)
    before = len(house.sim.requests)
    await house.settle(600)
    assert "401" in (await link(house))["message"]
    assert (len(house.sim.requests) - before) / 600 < 0.2


async def test_a_kind_that_may_not_be_read_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    """The others are shown, and nothing is wrong with Close; sometime it is tried again."""
    async with living() as house:
        house.sim.fail_next(faults.forbidden(), times=None, path="export")
        ref = house.run_job(plan=Plan(duration=6000, n_objects=600))
        export = f"export:{house.sim.add_export(status='in_progress').id}"
        await house.settle(60)
        assert (await rows(house)).keys() == {ref}
        assert (await link(house))["status"] == "ok"
        assert "leaves out what may not be read" in caplog.text
        house.sim.clear_faults()
        await house.settle(FORBIDDEN)
        assert (await rows(house)).keys() == {ref, export}


async def test_what_nobody_could_see_begin_is_found_later(house: House) -> None:
    """An action that began and ended between two looks is in the list all the same."""
    await house.settle(40)
    house.sim.list_order = "shuffled"
    ref = house.run_job(plan=Plan(duration=3, n_objects=3))
    await house.settle(LOOK_BACK + 30)
    assert (await rows(house))[ref]["phase"] == "done"


async def test_an_answer_that_is_nonsense_ends_nothing(house: House) -> None:
    """It is an error as others are."""
    house.sim.fail_next(faults.broken_json(), times=20)
    ref = house.run_job(plan=Plan(duration=600, n_objects=600))
    await house.settle(200)
    assert (await rows(house))[ref]["phase"] == "running"


async def test_answers_to_others_are_signs_of_life(house: House) -> None:
    """Where looks for new actions are answered, nobody asks Close whether it is there."""
    house.sim.limits = Limits(rate=20, window=8)
    await house.settle(200)
    assert not [request for request in house.sim.requests if request.path.endswith("/me/")]
    assert (house.clock.now() - datetime.fromisoformat((await link(house))["last_ok_at"])).total_seconds() <= 40


class BrokenJournal(MemoryJournal):
    """It says that it is durable, and cannot be read for a while."""

    is_durable = True

    def __init__(self, *errors: Exception) -> None:
        """Fail with these."""
        super().__init__()
        self.errors = list(errors)

    async def unfinished(self, scope: str | None = None, *, fingerprint: str | None = None) -> Sequence[Intent]:
        """Fail as long as there is an error to fail with."""
        if self.errors:
            raise self.errors.pop()
        return [new_intent(), *await super().unfinished(scope, fingerprint=fingerprint)]


@pytest.mark.parametrize("error", [JournalError("the disk is gone"), RuntimeError("a mistake")])
async def test_a_journal_that_cannot_be_read_is_read_later(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    """It is said in the log; nothing is wrong with Close, and the actions are shown."""
    async with living(client={"journal": BrokenJournal(error)}) as house:
        ref = house.run_job()
        await house.settle(0)
        state = (await house.ask("/api/actions")).json()
        assert (state["starts"], state["close"]["status"]) == (None, "ok")
        assert str(error) in caplog.text
        await house.settle(10)
        assert len((await house.ask("/api/actions")).json()["starts"]) == 1
        assert (await rows(house)).keys() == {ref}


async def test_pages_that_are_open_cost_no_request(house: House) -> None:
    """All see what the dashboard reads for itself."""
    house.run_job(plan=Plan(duration=600, n_objects=600))
    await house.settle(41)
    before = len(house.sim.requests)
    await house.settle(30)
    alone = len(house.sim.requests) - before
    async with house.page() as one, house.page() as other:
        await one.take()
        await other.take()
        before = len(house.sim.requests)
        await house.settle(30)
        assert len(house.sim.requests) - before == alone


async def test_nothing_is_left_of_it(house: House) -> None:
    """When the server ends, no task, no timer and no request remains; the jobs were never touched."""
    house.run_job()
    house.sim.fail_next(faults.server_error(), times=3)
    async with house.page() as page:
        await page.take()
        await house.settle(5)
    await house.runner.cleanup()
    await house.clock.settle()
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("closebulk_async")]
    assert house.clock.sleepers == 0
    before = len(house.sim.requests)
    await house.settle(600)
    assert len(house.sim.requests) == before
    assert {request.method for request in house.sim.requests} == {"GET"}


async def test_a_client_that_is_closed_first_does_no_harm(house: House) -> None:
    """An application may close its client before the dashboard ends; nothing is raised, and nothing is left."""
    house.run_job()
    await house.settle(5)
    await house.close.aclose()
    await house.settle(30)
    assert (await link(house))["status"] == "error"
    await house.runner.cleanup()
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("closebulk_async")]
