"""What the dashboard answers to machines."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from closebulk_async.dashboard.archive import MOST_KEPT
from closebulk_async.models import JobRef
from closebulk_async.simulator import Plan, faults
from tests.journals import new_intent, started

from .houses import House, living

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


async def test_a_group_of_which_only_429s_tell_is_in_the_budget(house: House) -> None:
    """Without numbers, and for how long it is stopped."""
    house.sim.fail_next(faults.too_many_requests(retry_after=20), path="/edit/")
    await house.settle(2)
    shown = {limit["group"]: limit for limit in (await house.ask("/api/actions")).json()["limits"]}
    limit = shown["GET /bulk_action/edit/"]
    assert (limit["limit"], limit["remaining"], limit["n_throttled"]) == (None, None, 1)
    assert limit["stopped_until"] is not None


async def test_all_actions_newest_first(house: House) -> None:
    """Those that run and those that have ended, of whatever kind."""
    old = house.run_job("delete", status="done", date_created="2025-06-01T00:00:00+00:00")
    new = house.run_job()
    export = house.sim.add_export(age=60)
    await house.settle(2)
    state = (await house.ask("/api/actions")).json()
    assert [row["ref"] for row in state["actions"]] == [new, f"export:{export.id}", old]
    assert state["reset"] is True


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("kind=email", ["email"]),
        ("kind=email&kind=delete", ["delete", "email"]),
        ("phase=paused", ["delete"]),
        ("phase=running&kind=delete", []),
        ("status=paused", ["delete"]),
        ("phase=done&phase=paused", ["delete", "edit"]),
    ],
)
async def test_filters_choose_actions(house: House, query: str, wanted: list[str]) -> None:
    """Several words of one name are alternatives, several names must all fit."""
    house.run_job("email")
    house.run_job("delete", status="paused")
    house.run_job("edit", status="done")
    await house.settle(2)
    rows = (await house.ask(f"/api/actions?{query}")).json()["actions"]
    assert sorted(row["kind"] for row in rows) == wanted


@pytest.mark.parametrize("query", ["kind=emails", "phase=over"])
async def test_a_word_that_is_none_is_refused(house: House, query: str) -> None:
    """An empty list would be taken for an answer."""
    answer = await house.ask(f"/api/actions?{query}")
    assert answer.status == 400
    assert "may be" in answer.json()["error"]


async def test_the_detail_of_an_action(house: House) -> None:
    """Its row, all that the service says, its query, and when it was in which status."""
    query = {"type": "id", "value": "lead_1"}
    ref = house.run_job(s_query=query, query="name:ACME", plan=Plan(duration=20, n_objects=10))
    await house.settle(30)
    detail = (await house.ask(f"/api/actions/{ref}")).json()
    assert detail.keys() == {"row", "action", "query", "timeline", "intent"}
    assert detail["row"]["phase"] == "done"
    assert (detail["action"]["s_query"], detail["action"]["n_objects_processed"]) == (query, 10)
    assert (detail["query"]["json"], detail["query"]["legacy"]) == (query, "name:ACME")
    assert [moment["status"] for moment in detail["timeline"]] == ["created", "processing", "done"]
    assert detail["intent"] is None


async def test_the_query_in_words(house: House) -> None:
    """For whoever does not read JSON."""
    ref = house.run_job(s_query={"type": "id", "value": "lead_1"})
    await house.settle(1)
    assert "lead_1" in (await house.ask(f"/api/actions/{ref}")).json()["query"]["words"]


async def test_the_detail_of_an_action_that_is_too_old_for_the_board(house: House) -> None:
    """Whoever has its ref can ask for it: it is read then."""
    await house.settle(1)
    ref = house.run_job(status="done", n_objects=9, n_objects_processed=9)
    detail = (await house.ask(f"/api/actions/{ref}")).json()
    assert (detail["row"]["phase"], detail["row"]["processed"]) == ("done", 9)


async def test_what_a_list_left_out_is_read_once(house: House) -> None:
    """Of what has ended, a query is read when somebody looks; who looks again costs no request."""
    query = {"type": "id", "value": "lead_1"}
    ref = house.run_job(status="done", s_query=query)
    await house.settle(2)
    before = len(house.sim.requests)
    details = [(await house.ask(f"/api/actions/{ref}")).json() for _ in range(3)]
    assert len(house.sim.requests) == before + 1
    assert {json.dumps(detail) for detail in details} == {json.dumps(details[0])}
    assert details[0]["query"]["json"] == query


async def test_what_runs_is_read_by_nobody_who_looks(house: House) -> None:
    """Whoever follows it has read all of it."""
    ref = house.run_job(s_query={"type": "id", "value": "lead_1"})
    await house.settle(2)
    before = len(house.sim.requests)
    assert (await house.ask(f"/api/actions/{ref}")).json()["query"]["json"]
    assert len(house.sim.requests) == before


async def test_what_was_read_is_not_kept_for_ever(house: House) -> None:
    """After many others it is read again."""
    refs = [house.run_job(status="done") for _ in range(MOST_KEPT + 1)]
    await house.settle(2)
    before = len(house.sim.requests)
    for ref in (*refs, refs[0], refs[0]):
        assert (await house.ask(f"/api/actions/{ref}")).status == 200
    assert len(house.sim.requests) == before + len(refs) + 1


@pytest.mark.parametrize(
    ("ref", "status"), [("email:none", 404), ("letter:x", 400), ("nonsense", 400), ("email:a%2Fb", 400)]
)
async def test_what_is_no_action_has_no_detail(house: House, ref: str, status: int) -> None:
    """No ref at all, or one of nothing."""
    answer = await house.ask(f"/api/actions/{ref}")
    assert answer.status == status
    assert answer.json().keys() == {"error"}


async def test_an_error_of_close_is_told(control: House) -> None:
    """What it refuses is a conflict, what it fails at is its own failure."""
    ref, headers = control.run_job(status="done"), {"X-CSRF-Token": await control.csrf()}
    await control.settle(1)
    refused = await control.ask(f"/api/actions/{ref}/pause", method="POST", headers=headers)
    assert refused.status == 409
    assert "400" in refused.json()["error"]
    missing = await control.ask("/api/actions/email:none/pause", method="POST", headers=headers)
    assert missing.status == 404
    control.sim.fail_next(faults.forbidden(), times=None, path="bulk_action")
    failed = await control.ask(f"/api/actions/{ref}/resume", method="POST", headers=headers)
    assert failed.status == 502
    export = control.sim.add_export()
    never = await control.ask(f"/api/actions/export:{export.id}/pause", method="POST", headers=headers)
    assert never.status == 400


async def test_a_changed_action_is_followed_at_once(control: House) -> None:
    """Also one that the dashboard has not found yet: it need not wait for the next look at the lists."""
    await control.settle(2)
    ref = control.run_job(plan=Plan(duration=20, n_objects=20))
    headers = {"X-CSRF-Token": await control.csrf()}
    for what, phase in (("pause", "paused"), ("resume", "running")):
        answer = await control.ask(f"/api/actions/{ref}/{what}", method="POST", headers=headers)
        assert (answer.status, answer.json()["row"]["phase"]) == (200, phase)
    await control.settle(10)
    (row,) = (await control.ask("/api/actions")).json()["actions"]
    assert row["processed"] > 0


async def test_health_is_a_success_whatever_close_does(house: House) -> None:
    """A probe that restarts what is unwell would restart the dashboard because Close is down."""
    house.sim.fail_next(faults.server_error(), times=None)
    before = await house.ask("/healthz")
    await house.settle(60)
    ill = await house.ask("/healthz")
    house.sim.clear_faults()
    await house.settle(120)
    well = await house.ask("/healthz")
    assert [answer.status for answer in (before, ill, well)] == [200] * 3
    assert [answer.json()["status"] for answer in (before, ill, well)] == ["degraded", "degraded", "ok"]
    assert "502" in ill.json()["close"]["message"]


async def test_health_tells_strangers_nothing_more(locked: House) -> None:
    """A probe has no token, and needs no reasons."""
    await locked.settle(1)
    assert (await locked.ask("/healthz")).json() == {"status": "ok"}


async def test_a_file_that_a_browser_has_is_not_sent_again(house: House) -> None:
    """It asks each time, so that a new version of the package is never met by an old page."""
    first = await house.ask("/static/index.html")
    assert (first.status, first.headers["Cache-Control"]) == (200, "no-cache")
    assert first.headers["Content-Type"] == "text/html; charset=utf-8"
    again = await house.ask("/static/index.html", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status, again.body) == (304, b"")
    other = await house.ask("/static/index.html", headers={"If-None-Match": '"another"'})
    assert other.body == first.body


async def test_the_page_is_served_at_the_root(house: House) -> None:
    """It is the file, and nothing of Close's is in it."""
    assert (await house.ask("/")).body == (await house.ask("/static/index.html")).body


async def test_open_starts_of_the_journal_are_shown(tmp_path: Path) -> None:
    """Those whose action is not known stand for themselves, the others at their action."""
    async with living(client={"journal": tmp_path / "journal.db"}) as house:
        ref = house.run_job()
        await until(house, lambda state: state["starts"] == [] and state["actions"])
        open_one = await house.close.journal.begin(new_intent(idempotency_key="campaign"))
        known = await started(house.close.journal, JobRef.parse(ref))
        await until(house, lambda state: state["starts"])
        (start,) = (await house.ask("/api/actions")).json()["starts"]
        detail = (await house.ask(f"/api/actions/{ref}")).json()
    assert (start["intent"], start["state"], start["idempotency_key"]) == (open_one.id, "new", "campaign")
    assert (start["kind"], start["ref"]) == ("email", None)
    assert (detail["intent"]["intent"], detail["intent"]["ref"]) == (known.id, ref)


async def until(house: House, is_so: Callable[[Any], object]) -> None:
    """Let time pass until something holds of the state: a journal is read in a thread, for which no clock waits."""
    while not is_so((await house.ask("/api/actions")).json()):
        await house.settle(1)
