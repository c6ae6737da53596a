"""Exports: what is sent for one, the wait for it, and how it is named."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import orjson
import pytest

from closebulk_async import (
    BulkActionFailed,
    Export,
    ExportStatus,
    InvalidRequestError,
    JobRef,
    Kind,
    NotFoundError,
    ServerError,
    WebhookEvent,
    job_events,
    lead,
)
from closebulk_async.simulator import ExportPlan, ExportRules, faults

if TYPE_CHECKING:
    from tests.stage import Stage

ACME = lead.name.full_words("ACME")


def last_body(stage: Stage) -> dict[str, Any]:
    """What the latest POST has sent."""
    request = [request for request in stage.sim.requests if request.method == "POST"][-1]
    return cast("dict[str, Any]", orjson.loads(request.body))


async def test_every_parameter_of_leads_is_sent(stage: Stage) -> None:
    """By its own name, a query as JSON; what is left out is not sent."""
    await stage.close.exports.create_leads(format="csv")
    assert last_body(stage) == {"format": "csv", "type": "leads"}
    keywords: dict[str, Any] = {
        "results_limit": 10,
        "sort": [{"direction": "asc", "field": {"type": "regular_field", "object_type": "lead", "field_name": "name"}}],
        "fields": ["id", "display_name"],
        "date_format": "iso8601",
        "include_smart_fields": True,
        "include_addresses": False,
        "include_custom_objects": True,
        "send_done_email": False,
    }
    export = await stage.close.exports.create_leads(
        format="csv", type="contacts", s_query=ACME, extra={"later": 1}, **keywords
    )
    assert last_body(stage) == {"format": "csv", "type": "contacts", "s_query": ACME.to_dict(), "later": 1, **keywords}
    assert export.status is ExportStatus.CREATED
    assert stage.sim.requests[-1].path == "/api/v1/export/lead/"


async def test_opportunities_take_filters(stage: Stage) -> None:
    """And no query."""
    export = await stage.close.exports.create_opportunities(format="json", params={"status_type": "won"})
    assert last_body(stage) == {"format": "json", "params": {"status_type": "won"}}
    assert (export.ref.kind, stage.sim.requests[-1].path) == (Kind.EXPORT, "/api/v1/export/opportunity/")


@pytest.mark.parametrize(
    "keywords",
    [
        {"format": "xml"},
        {"format": "csv", "type": "people"},
        {"format": "json", "type": "contacts"},
        {"format": "json", "date_format": "excel"},
        {"format": "csv", "date_format": "roman"},
        {"format": "csv", "include_activities": True},
        {"format": "csv", "results_limit": 0},
        {"format": "csv", "results_limit": True},
        {"format": "csv", "fields": []},
        {"format": "csv", "fields": "id"},
        {"format": "csv", "fields": [""]},
        {"format": "csv", "sort": "name"},
        {"format": "csv", "s_query": "all"},
        {"format": "csv", "query": 7},
        {"format": "csv", "send_done_email": "no"},
        {"format": "csv", "extra": {"type": "leads"}},
        {"format": "csv", "extra": {"later": float("nan")}},
        {"format": "csv", "extra": {"later": object()}},
    ],
)
async def test_what_does_not_fit_is_never_sent(stage: Stage, keywords: dict[str, Any]) -> None:
    """A wrong word, a wrong type, or parameters that exclude each other."""
    with pytest.raises(InvalidRequestError):
        await stage.close.exports.create_leads(**keywords)
    assert stage.sim.requests == ()


async def test_a_lost_answer_starts_no_second_export(stage: Stage) -> None:
    """There is one that nobody waits for, and no other."""
    stage.sim.fail_next(faults.server_error(502, acts=True), method="POST")
    with pytest.raises(ServerError):
        await stage.close.exports.create_leads(format="csv")
    assert len(stage.sim.exports) == 1
    assert [export.id async for export in stage.close.exports.iterate()] == [stage.sim.exports[0].id]


async def test_a_wait_is_as_any_other(stage: Stage) -> None:
    """Progress, shared polls, the outcome; by the export, its ref and its text."""
    stage.sim.export_rules = ExportRules(shows_counts=True)
    stage.sim.next_export(duration=100, rows=50)
    export = await stage.close.exports.create_leads(format="csv")
    wait = stage.close.exports.wait_until_done(export)
    steps = [progress async for progress in wait]
    assert [step.fraction for step in steps if step.fraction is not None][-1] == 1.0
    assert any(0 < (step.fraction or 0) < 1 and step.n_objects == 50 for step in steps)
    assert steps[-1].status is ExportStatus.DONE
    done = await wait
    assert done.download_url is not None
    before = len(stage.sim.requests)
    texts = [str(export.ref), export.id]
    others = await asyncio.gather(stage.close.wait_until_done(texts[0]), stage.close.exports.wait_until_done(texts[1]))
    assert {other.ref for other in others} == {export.ref}
    assert len(stage.sim.requests) == before


async def test_bad_polls_do_not_end_a_wait(stage: Stage) -> None:
    """Nor does a lost one, or one that cannot be read."""
    export = stage.sim.add_export(plan=ExportPlan(duration=30))
    ref: JobRef[Export] = JobRef(Kind.EXPORT, export.id)
    for fault in (faults.server_error(503), faults.cut_after(), faults.broken_json()):
        stage.sim.fail_next(fault, method="GET")
    assert (await stage.close.wait_until_done(ref)).is_done


async def test_a_failed_export_raises(stage: Stage) -> None:
    """As a failed action does."""
    export = stage.sim.add_export(plan=ExportPlan(duration=5, ends="error"))
    with pytest.raises(BulkActionFailed) as caught:
        await stage.close.exports.wait_until_done(export.id)
    assert caught.value.action is not None
    assert caught.value.action.status is ExportStatus.ERROR


async def test_many_exports_and_actions_share_a_stream(stage: Stage) -> None:
    """And pages answer for several exports."""
    refs = [JobRef[Any](Kind.EXPORT, stage.sim.add_export(plan=ExportPlan(duration=20)).id) for _ in range(5)]
    email = stage.run_job(duration=10)
    ended = [step.ref async for step in stage.close.watch(*refs, email) if step.is_final]
    assert set(ended) == {*refs, email}


async def test_exports_are_read_listed_and_iterated(stage: Stage) -> None:
    """Each once, with the fields that were asked for and those that say how far it is."""
    for _ in range(7):
        stage.sim.add_export(age=100)
    page = await stage.close.exports.list(limit=3, skip=1)
    assert (len(page.data), page.has_more) == (3, True)
    ids = [export.id async for export in stage.close.exports.iterate(page_size=2)]
    assert sorted(ids) == sorted(export.id for export in stage.sim.exports)
    narrowed = await stage.close.exports.get(ids[0], fields=["download_url"])
    assert stage.sim.requests[-1].query["_fields"] == "id,status,n_docs,n_docs_processed,download_url"
    assert narrowed.is_done
    assert str((await stage.close.get(f"export:{ids[0]}")).ref) == str(narrowed.ref)
    with pytest.raises(NotFoundError):
        await stage.close.exports.get("expo_unknown")


async def test_an_export_is_neither_paused_nor_taken_for_an_action(stage: Stage) -> None:
    """Nor an action for an export; nothing is sent."""
    with pytest.raises(InvalidRequestError, match="neither paused"):
        await stage.close.pause("export:expo_1")
    with pytest.raises(InvalidRequestError, match="is of the kind"):
        await stage.close.emails.get("export:expo_1")
    with pytest.raises(InvalidRequestError, match="is of the kind"):
        await stage.close.exports.get("email:bulkemail_1")
    with pytest.raises(InvalidRequestError, match="no bulk action"):
        job_events(["export"])
    assert stage.sim.requests == ()


def test_an_example_is_whole_and_survives() -> None:
    """All fields are set; written and read again it is equal to itself."""
    example = Export.example(status="done", download_url="https://files.example.com/1")
    assert example.unset == frozenset()
    assert (example.status, example.is_final) == (ExportStatus.DONE, True)
    assert Export.from_dict(example.to_dict()) == example


@pytest.mark.parametrize(("status", "is_rest"), [("in_progress", False), ("done", True), ("error", True)])
def test_webhooks_name_exports(status: str, *, is_rest: bool) -> None:
    """By the kind of what is exported, and say when it rests."""
    event = WebhookEvent.example(
        object_type="export.lead", object_id="expo_1", action="updated", data={"id": "expo_1", "status": status}
    )
    assert (event.ref, event.is_rest) == (JobRef(Kind.EXPORT, "expo_1"), is_rest)
