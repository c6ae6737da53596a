"""The event log: what happened, newest first, by its filters and cursors, for as long as it is kept."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest

from closebulk_async.simulator import EventRules, Job, Plan

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .api import Api, Reply, Row


async def ask(api: Api, **query: object) -> Reply:
    """A page of the log."""
    return await api.get(f"/event/?{urlencode(query)}")


async def walk(api: Api, **query: object) -> list[Row]:
    """All events, page after page, the filters sent again and the dates not."""
    page = (await ask(api, **query)).json()
    rows = list(page["data"]) if isinstance(page["data"], list) else []
    kept = {name: value for name, value in query.items() if not name.startswith("date_updated")}
    while page["cursor_next"] is not None:
        page = (await ask(api, **kept, _cursor=page["cursor_next"])).json()
        assert isinstance(page["data"], list)
        rows += page["data"]
    return rows


def deletion(api: Api, *, n: int = 120, age: float = 1000, **plan: Any) -> Job:
    """A deletion that has run for a hundred seconds."""
    return api.sim.add_job(
        "delete", {"bulk_object_type": "lead"}, plan=Plan(duration=100, n_objects=n, **plan), age=age
    )


def is_of(job: Job, row: Row) -> bool:
    """Whether that job has caused it."""
    meta = row["meta"]
    return isinstance(meta, dict) and meta.get("bulk_action_id") == job.id


async def test_each_object_has_its_event_newest_first(api: Api) -> None:
    """Among those that others have caused; pages of fifty, none twice."""
    job = deletion(api)
    rows = await walk(api, object_type="lead", action="deleted")
    own = [row for row in rows if is_of(job, row)]
    assert len({str(row["object_id"]) for row in own}) == len(own) == 120
    assert len(rows) > 120
    dates = [str(row["date_updated"]) for row in rows]
    assert dates == sorted(dates, reverse=True)
    assert len({str(row["id"]) for row in rows}) == len(rows)
    assert len((await ask(api)).rows()) == 50


async def test_a_page_leads_back(api: Api) -> None:
    """From the second page to the first one, which has no newer one."""
    deletion(api)
    filters: Mapping[str, object] = {"object_type": "lead", "action": "deleted"}
    first = (await ask(api, **filters)).json()
    assert first["cursor_previous"] is None
    second = (await ask(api, **filters, _cursor=first["cursor_next"])).json()
    back = (await ask(api, **filters, _cursor=second["cursor_previous"])).json()
    assert back["data"] == first["data"]
    other = await ask(api, object_type="lead", action="updated", _cursor=first["cursor_next"])
    assert other.status == 400
    dated = await ask(api, **filters, _cursor=first["cursor_next"], date_updated__gt="2025-01-01T00:00:00")
    assert dated.status == 400


async def test_dates_bound_a_walk(api: Api) -> None:
    """Both ends, with or without the instant itself."""
    job = deletion(api)
    middle = job.created_at + timedelta(seconds=50)
    spelled = middle.replace(tzinfo=None).isoformat()
    everything = await walk(api, object_type="lead", action="deleted")
    late = await walk(api, object_type="lead", action="deleted", date_updated__gte=spelled)
    early = await walk(api, object_type="lead", action="deleted", date_updated__lt=middle.isoformat())
    assert (len(late), len(early)) != (0, 0)
    assert late + early == everything
    odd = await ask(api, date_updated__gt="yesterday")
    assert odd.status == 400


@pytest.mark.parametrize(
    "query",
    [
        {"object_type": "lead"},
        {"action": "deleted"},
        {"object_type": "lead", "user_id": "user_1", "object_id": "lead_1", "action": "x"},
        {"_limit": 51},
        {"_skip": 0},
        {"_cursor": "nonsense"},
    ],
)
async def test_what_cannot_be_asked_is_refused(api: Api, query: Mapping[str, object]) -> None:
    """Filters in combinations that are not documented, larger pages, offsets, and cursors that are none."""
    assert (await ask(api, **query)).status == 400


async def test_one_event_is_read_by_its_id(api: Api) -> None:
    """For as long as it is kept; another id is none."""
    job = deletion(api)
    row = next(row for row in await walk(api, object_type="lead", action="deleted") if is_of(job, row))
    assert (await api.get(f"/event/{row['id']}/")).json() == row
    assert (await api.get("/event/ev_unknown/")).status == 404
    assert (await api.get("/event/ev_1/more/")).status == 404
    await api.clock.advance(31 * 86_400)
    assert (await api.get(f"/event/{row['id']}/")).status == 404
    assert await walk(api, object_type="lead", action="deleted") == []


async def test_the_history_of_a_job_is_there(api: Api) -> None:
    """By its type and id: it was created, moved, and has ended."""
    job = deletion(api)
    rows = await walk(api, object_type="bulk_action.delete", object_id=job.id)
    assert {row["action"] for row in rows} >= {"created", "completed"}
    assert {row["object_id"] for row in rows} == {job.id}


async def test_data_is_shown_for_an_hour_to_those_who_are_no_admins(api: Api) -> None:
    """And to admins for as long as the event is kept."""
    deletion(api, age=200)
    rows = await walk(api, object_type="lead", action="deleted")
    assert all(row["previous_data"] for row in rows)
    await api.clock.advance(2 * 3600)
    api.sim.event_rules = EventRules(sees_old_data=False)
    rows = await walk(api, object_type="lead", action="deleted")
    assert rows
    assert not any(row["data"] or row["previous_data"] for row in rows)


async def test_objects_may_be_skipped(api: Api) -> None:
    """They are processed and have no event."""
    job = deletion(api, skipped=0.5)
    own = [row for row in await walk(api, object_type="lead", action="deleted") if is_of(job, row)]
    assert 20 < len(own) < 100


async def test_an_event_that_was_told_by_hand_is_in_the_log(api: Api) -> None:
    """Once, in its latest state, however often it was told; also with a date that has an offset or is none."""
    at = api.clock.now().isoformat()
    for word in ("first", "second"):
        api.sim.send_event("created", {"id": "lead_9", "name": word}, object_type="lead", id="ev_hand", date_updated=at)
    api.sim.send_event("created", {"id": "lead_8"}, object_type="lead", id="ev_odd", date_updated="some day")
    rows = await walk(api, object_type="lead", action="created")
    assert sorted(str(row["id"]) for row in rows) == ["ev_hand", "ev_odd"]
    (hand,) = (row for row in rows if row["id"] == "ev_hand")
    assert hand["data"] == {"id": "lead_9", "name": "second"}
    assert (await api.get("/event/ev_hand/")).json() == hand
