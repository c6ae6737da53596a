"""Exports: what may be asked for, how they go, and what responses say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import pytest

from closebulk_async.simulator import ExportRules, Limits, faults

if TYPE_CHECKING:
    from collections.abc import Mapping

    from closebulk_async.simulator import Simulator
    from closebulk_async.simulator.listing import ListOrder
    from closebulk_async.testing import FakeClock

    from .api import Api, Row

Ending = Literal["done", "error"]
BODIES: Mapping[str, Row] = {"lead": {"format": "csv", "type": "leads"}, "opportunity": {"format": "csv"}}


async def start(api: Api, kind: str = "lead", **fields: Any) -> Row:
    """Ask for an export; its first response."""
    reply = await api.call("POST", f"/export/{kind}/", json_body={**BODIES[kind], **fields})
    assert reply.status == 200, reply
    return reply.json()


async def read(api: Api, row: Row) -> Row:
    """The response of an export by now."""
    return (await api.get(f"/export/{row['id']}/")).json()


@pytest.mark.parametrize("kind", ["lead", "opportunity"])
@pytest.mark.parametrize("ends", ["done", "error"])
async def test_the_life_of_an_export(api: Api, sim: Simulator, clock: FakeClock, kind: str, ends: Ending) -> None:
    """The status follows the clock, and only an export that is done has an address for its file."""
    sim.next_export(duration=20, ends=ends)
    rows = [await start(api, kind)]
    for seconds in (0.4, 0.2, 0.4, 18.9, 0.1, 1000):
        await clock.advance(seconds)
        rows.append(await read(api, rows[0]))
    assert [row["status"] for row in rows] == ["created", "created", "started", *["in_progress"] * 2, ends, ends]
    assert [row["download_url"] is not None for row in rows] == [*[False] * 5, *[ends == "done"] * 2]
    assert {row["id"] for row in rows} == {sim.exports[0].id}
    assert str(rows[0]["id"]).startswith("expo_")
    assert (rows[-1]["date_created"], rows[-1]["date_updated"]) == (
        "2025-06-11T12:00:00.000000+00:00",
        "2025-06-11T12:00:20.000000+00:00",
    )


async def test_the_plainest_response(api: Api) -> None:
    """Beside the three documented fields a response has those of any object, and neither counts nor what was sent."""
    assert sorted(await start(api)) == [
        *("created_by", "date_created", "date_updated", "download_url", "id", "organization_id", "status"),
    ]


async def test_counts(api: Api, sim: Simulator, clock: FakeClock) -> None:
    """Where documents are counted, nobody knows how many before the export is in progress, and all are seen at last."""
    sim.export_rules = ExportRules(shows_counts=True)
    sim.next_export(duration=21, starting=1, rows=200)
    rows = [await start(api)]
    for seconds in (1, 10, 10):
        await clock.advance(seconds)
        rows.append(await read(api, rows[0]))
    assert [(row["n_docs"], row["n_docs_processed"]) for row in rows] == [(None, 0), (200, 0), (200, 100), (200, 200)]


async def test_echoes(api: Api, sim: Simulator) -> None:
    """Where what was sent is told, so are the defaults of what was not."""
    sim.export_rules = ExportRules(echoes=True)
    row = await start(api, fields=["id"])
    assert (row["format"], row["fields"], row["date_format"], row["send_done_email"]) == ("csv", ["id"], None, True)


async def test_plans_queue_up_by_kind(api: Api, sim: Simulator, clock: FakeClock) -> None:
    """Each export takes the first plan in the queue that is meant for its kind, and the general one after the last."""
    sim.export_plan = sim.export_plan.changed({"duration": 100})
    sim.next_export(duration=1, kind="opportunity")
    sim.next_export(duration=2)
    rows = [await start(api), await start(api), await start(api, "opportunity")]
    await clock.advance(2)
    assert [(await read(api, row))["status"] for row in rows] == ["done", "in_progress", "done"]


async def test_a_new_export_may_be_unseen(api: Api, sim: Simulator, clock: FakeClock) -> None:
    """An export can be found neither by its id nor in a list before its time."""
    sim.next_export(shown_after=5)
    row = await start(api)
    assert (await api.get(f"/export/{row['id']}/")).status == 404
    assert (await api.get("/export/")).rows() == []
    await clock.advance(5)
    assert (await read(api, row))["id"] == row["id"]
    assert len((await api.get("/export/")).rows()) == 1


async def test_lists(api: Api, clock: FakeClock) -> None:
    """There are lists of all exports and of each kind, newest first, in pages and with the fields that are named."""
    ids = []
    for kind in ("lead", "opportunity", "lead"):
        ids.append((await start(api, kind))["id"])
        await clock.advance(1)
    assert [row["id"] for row in (await api.get("/export/")).rows()] == ids[::-1]
    assert [row["id"] for row in (await api.get("/export/lead/")).rows()] == [ids[2], ids[0]]
    assert (await api.get("/export/opportunity/?_fields=id,nonsense")).rows() == [{"id": ids[1]}]
    page = (await api.get("/export/?_limit=1&_skip=1&_fields=id")).json()
    assert page == {"data": [{"id": ids[1]}], "has_more": True}
    assert (await api.get("/export/?_skip=2")).json()["has_more"] is False
    assert (await api.get("/export/?_limit=101")).status == 400


@pytest.mark.parametrize("order", ["oldest", "id", "shuffled"])
async def test_other_orders(api: Api, sim: Simulator, order: ListOrder) -> None:
    """The order of lists is a knob, and one that is not of time stays as it is."""
    sim.list_order = order
    ids = [(await start(api))["id"] for _ in range(8)]
    listed = [row["id"] for row in (await api.get("/export/")).rows()]
    assert listed == {"oldest": ids, "id": sorted(map(str, ids))}.get(order, listed)
    assert sorted(map(str, listed)) == sorted(map(str, ids))
    assert [row["id"] for row in (await api.get("/export/")).rows()] == listed
    if order == "shuffled":
        assert listed not in (ids, ids[::-1])


async def test_addresses_by_kind(api: Api) -> None:
    """An export is found below its kind and not below the other, with the fields that are named."""
    row = await start(api)
    assert (await api.get(f"/export/lead/{row['id']}/?_fields=id")).json() == {"id": row["id"]}
    assert (await api.get(f"/export/opportunity/{row['id']}/")).status == 404
    assert (await api.get(f"/export/lead/{row['id']}/x/")).status == 404


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_an_export_cannot_be_changed(api: Api, method: str) -> None:
    """There is nothing but reading: no pause, no deletion."""
    row = await start(api)
    assert (await api.call(method, f"/export/{row['id']}/", json_body={})).status == 405


LEADS_JSON: Row = {"format": "json", "type": "leads"}
REQUIRED = "This field is required."


@pytest.mark.parametrize(
    ("kind", "body", "errors"),
    [
        ("lead", {}, {"format": REQUIRED, "type": REQUIRED}),
        ("opportunity", {}, {"format": REQUIRED}),
        ("lead", {"format": "xml", "type": "tasks"}, dict.fromkeys(("format", "type"), "Not a valid choice.")),
        ("lead", {"format": "csv", "type": "leads", "date_format": "us"}, {"date_format": "Not a valid choice."}),
        ("opportunity", {"format": "csv", "params": []}, {"params": "Value must be of dict type."}),
        ("lead", {"format": "csv", "type": "leads", "fields": "id"}, {"fields": "Value must be of list type."}),
        ("lead", {"format": "csv", "type": "leads", "fields": [1]}, {"fields": "Value must be of str type."}),
        ("lead", {"format": "csv", "type": "leads", "s_query": "x"}, {"s_query": "Value must be of dict type."}),
        (
            "lead",
            {**LEADS_JSON, "include_addresses": 1},
            {"include_addresses": "Value must be of bool type."},
        ),
    ],
)
async def test_fields_are_checked(api: Api, sim: Simulator, kind: str, body: Row, errors: Row) -> None:
    """A value of the wrong type or beyond the choices is a 400 that names its field, and nothing is exported."""
    reply = await api.call("POST", f"/export/{kind}/", json_body=body)
    assert (reply.status, reply.json()) == (400, {"errors": [], "field-errors": errors})
    assert sim.exports == ()


@pytest.mark.parametrize(
    ("kind", "body", "named"),
    [
        ("lead", {"format": "json", "type": "contacts"}, ["type"]),
        ("lead", {"format": "json", "type": "lead_opps"}, ["type"]),
        ("lead", {**LEADS_JSON, "date_format": "original"}, ["date_format"]),
        ("opportunity", {"format": "json", "date_format": "excel"}, ["date_format"]),
        ("opportunity", {"format": "csv", "s_query": {}}, ["s_query"]),
        ("lead", {"format": "csv", "type": "leads", "include_activities": True}, ["include_activities"]),
        ("lead", {"format": "json", "type": "contacts", "include_activities": True}, ["include_activities", "type"]),
        (
            "lead",
            {"format": "json", "type": "contacts", "include_smart_fields": True},
            ["include_smart_fields", "type"],
        ),
        ("lead", {**LEADS_JSON, "include_activities": True, "include_smart_fields": True}, []),
        ("lead", {"format": "csv", "type": "contacts", "include_smart_fields": True}, []),
        ("lead", {"format": "csv", "type": "lead_opps", "include_activities": False}, []),
        ("lead", {"format": "csv", "type": "lead_opps", "date_format": "excel"}, []),
        ("opportunity", {"format": "json", "params": {"status_type": "won"}, "fields": ["id"]}, []),
    ],
)
async def test_fields_that_do_not_go_together(api: Api, kind: str, body: Row, named: list[str]) -> None:
    """What a format or a type does not allow is a 400 that names the field; what it allows is taken."""
    reply = await api.call("POST", f"/export/{kind}/", json_body=body)
    errors = reply.json().get("field-errors", {})
    assert isinstance(errors, dict)
    assert (reply.status, sorted(errors)) == (400 if named else 200, named)


async def test_one_that_is_put_there(api: Api, sim: Simulator, clock: FakeClock) -> None:
    """An export that somebody else asked for is as old as is said, with some fields set and some left out."""
    old = sim.add_export(age=100, without=["date_updated"], n_docs=7)
    row = (await api.get(f"/export/{old.id}/")).json()
    assert (row["status"], row["n_docs"], "date_updated" in row) == ("done", 7, False)
    assert row["date_created"] == "2025-06-11T11:58:20.000000+00:00"
    odd = sim.add_export("opportunity", {"format": "json"}, id="expo_1", status="merging", date_created=clock.now())
    await clock.advance(1000)
    row = (await api.get("/export/opportunity/expo_1/")).json()
    assert (row["status"], row["download_url"]) == ("merging", None)
    assert sim.exports == (old, odd)
    with pytest.raises(ValueError, match="expo_1"):
        sim.add_export(id="expo_1")


async def test_a_row_that_is_set_to_done_has_a_file(api: Api, sim: Simulator) -> None:
    """A status that is set by hand decides whether there is an address; one that is set as well is shown as it is."""
    assert (await read(api, {"id": sim.add_export(status="done").id}))["download_url"] is not None
    fixed = sim.add_export(status="done", download_url="https://files.example.com/x")
    assert (await read(api, {"id": fixed.id}))["download_url"] == "https://files.example.com/x"


async def test_faults_and_limits_hold_for_exports(api: Api, sim: Simulator) -> None:
    """A POST that is cut off after it was carried out leaves an export, and all exports are one endpoint group."""
    sim.limits = Limits(rate=1, window=8)
    sim.fail_next(faults.server_error(acts=True))
    reply = await api.call("POST", "/export/lead/", json_body=BODIES["lead"])
    assert (reply.status, len(sim.exports)) == (502, 1)
    paths = (f"/export/{sim.exports[0].id}/", "/export/", "/export/lead/")
    remaining = [(await api.get(path)).headers["ratelimit"].split(";")[1].strip() for path in paths]
    assert remaining == ["remaining=7", "remaining=6", "remaining=5"]


async def test_ids_do_not_disturb_those_of_jobs(api: Api, sim: Simulator) -> None:
    """A run with exports gives its bulk actions the ids that they have in one without."""
    await start(api)
    job_id = await api.start()
    async with type(sim)() as other:
        assert (other.add_job("email").id, other.add_export().id) == (job_id, sim.exports[0].id)
