"""Lists: windows, orders, filters and `_fields`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import pytest

from closebulk_async.simulator import Plan

if TYPE_CHECKING:
    from closebulk_async.simulator import Simulator
    from closebulk_async.testing import FakeClock

    from .api import Api

LIST = "/bulk_action/email/"


def ids(rows: list[dict[str, object]]) -> list[object]:
    """The ids of rows."""
    return [row["id"] for row in rows]


async def test_pages(api: Api) -> None:
    """`_skip` and `_limit` cut the list, `has_more` says whether rows follow."""
    started = [await api.start() for _ in range(5)][::-1]
    first = await api.get(f"{LIST}?_limit=2")
    assert (ids(first.rows()), first.json()["has_more"]) == (started[:2], True)
    last = await api.get(f"{LIST}?_limit=2&_skip=3")
    assert (ids(last.rows()), last.json()["has_more"]) == (started[3:], False)
    beyond = await api.get(f"{LIST}?_skip=9")
    assert beyond.json() == {"data": [], "has_more": False}
    nothing = await api.get(f"{LIST}?_limit=0")
    assert nothing.json() == {"data": [], "has_more": True}


async def test_a_hundred_rows_by_default(api: Api, sim: Simulator) -> None:
    """A list without `_limit` has 100 rows."""
    for _ in range(101):
        sim.add_job("email")
    reply = await api.get(LIST)
    assert (len(reply.rows()), reply.json()["has_more"]) == (100, True)


async def test_short_pages(api: Api, sim: Simulator) -> None:
    """With `short_pages` a page has fewer rows than were asked for, and there are more."""
    sim.short_pages = 2
    started = [await api.start() for _ in range(3)][::-1]
    reply = await api.get(LIST)
    assert (ids(reply.rows()), reply.json()["has_more"]) == (started[:2], True)


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("_limit=x", '_limit must be an integer (got "x" instead).'),
        ("_limit=", '_limit must be an integer (got "" instead).'),
        ("_limit=-1", '_limit must be a non-negative integer (got "-1" instead).'),
        ("_skip=1.5", '_skip must be an integer (got "1.5" instead).'),
        ("_skip=-1", '_skip must be a non-negative integer (got "-1" instead).'),
        (
            "_limit=101",
            "The limit you set is larger than the maximum limit for this resource (max_limit = 100).",
        ),
        (
            "_skip=250001",
            (
                "The skip you set is larger than the maximum skip for this resource (max_skip = 250000). "
                "Please refine your search query."
            ),
        ),
    ],
)
async def test_windows_that_do_not_fit(api: Api, query: str, text: str) -> None:
    """A window that the service does not serve is refused with its sentence."""
    reply = await api.get(f"{LIST}?{query}")
    assert (reply.status, reply.error()) == (400, text)


async def test_the_largest_windows_can_be_set(api: Api, sim: Simulator) -> None:
    """`max_limit` and `max_skip` are settings; a smaller maximum is also the default."""
    sim.max_limit, sim.max_skip = 1, 3
    for _ in range(2):
        await api.start()
    assert len((await api.get(LIST)).rows()) == 1
    assert "max_limit = 1" in str((await api.get(f"{LIST}?_limit=2")).error())
    assert "max_skip = 3" in str((await api.get(f"{LIST}?_skip=4")).error())


@pytest.mark.parametrize("order", ["newest", "oldest", "id", "shuffled"])
async def test_orders(
    api: Api,
    sim: Simulator,
    clock: FakeClock,
    order: Literal["newest", "oldest", "id", "shuffled"],
) -> None:
    """Whatever the order, it does not change between requests and every row is there once."""
    sim.list_order = order
    started: list[object] = []
    for _ in range(6):
        started.append(await api.start())
        await clock.sleep(1)
    listed = ids((await api.get(LIST)).rows())
    assert ids((await api.get(LIST)).rows()) == listed
    expected = {"newest": started[::-1], "oldest": started, "id": sorted(started, key=str)}
    assert listed == expected.get(order, listed)
    assert sorted(listed, key=str) == sorted(started, key=str)


@pytest.mark.parametrize("order", ["newest", "oldest", "id", "shuffled"])
async def test_a_new_job_moves_no_other_one(
    api: Api, sim: Simulator, order: Literal["newest", "oldest", "id", "shuffled"]
) -> None:
    """A row that is added between two requests finds a place of its own, and the others keep their order."""
    sim.list_order = order
    for _ in range(9):
        sim.add_job("email")
    before = ids((await api.get(LIST)).rows())
    added = [sim.add_job("email", age=age).id for age in (0, 5)]
    after = ids((await api.get(LIST)).rows())
    assert [row for row in after if row not in added] == before
    assert order != "id" or after == sorted(after, key=str)
    sim.add_job("delete")
    assert ids((await api.get(LIST)).rows()) == after


async def test_jobs_that_were_put_there_stand_by_their_date(api: Api, sim: Simulator) -> None:
    """An older job comes after a younger one, whichever was added first."""
    younger = sim.add_job("email", age=10)
    older = sim.add_job("email", age=20)
    assert ids((await api.get(LIST)).rows()) == [younger.id, older.id]
    assert sim.jobs == (younger, older)


async def test_filters(api: Api, sim: Simulator) -> None:
    """`template_id` filters emails, an empty one does not, and filters that do not exist are ignored."""
    wanted = [await api.start(template_id="tmpl_a"), sim.add_job("email", template_id="tmpl_a").id]
    other = await api.start(template_id="tmpl_b")
    assert ids((await api.get(f"{LIST}?template_id=tmpl_a")).rows()) == wanted[::-1]
    for query in ("template_id=", "status=done", "template=tmpl_a"):
        assert ids((await api.get(f"{LIST}?{query}")).rows()) == [other, *wanted[::-1]]
    deleted = sim.add_job("delete").id
    assert ids((await api.get("/bulk_action/delete/?template_id=tmpl_a")).rows()) == [deleted]


async def test_fields(api: Api) -> None:
    """`_fields` narrows every answer to the named fields; unknown names are ignored, `_all` means all."""
    posted = await api.call("POST", f"{LIST}?_fields=id", json_body={})
    assert list(posted.json()) == ["id"]
    job_id = posted.json()["id"]
    item = f"{LIST}{job_id}/"
    assert (await api.get(f"{item}?_fields=status, n_objects,nonsense")).json() == {
        "n_objects": None,
        "status": "created",
    }
    assert (await api.get(f"{item}?_fields=nonsense")).json() == {}
    whole = (await api.get(item)).json()
    assert (await api.get(f"{item}?_fields=")).json() == whole
    assert (await api.get(f"{item}?_fields=id,_all")).json() == whole
    assert (await api.get(f"{LIST}?_fields=id")).rows() == [{"id": job_id}]
    assert (await api.call("PUT", f"{item}?_fields=status", json_body={})).json() == {"status": "created"}


async def test_a_new_job_may_stay_unseen(api: Api, sim: Simulator, clock: FakeClock) -> None:
    """For `shown_after` a new job is neither in the list nor found by its id; then it is both."""
    sim.next_job(shown_after=5)
    job_id = await api.start()
    assert not (await api.get(LIST)).rows()
    assert (await api.get(f"{LIST}{job_id}/")).status == 404
    await clock.sleep(5)
    assert ids((await api.get(LIST)).rows()) == [job_id]
    assert (await api.get(f"{LIST}{job_id}/")).status == 200


async def test_an_unseen_job_takes_no_place(api: Api, sim: Simulator, clock: FakeClock) -> None:
    """`_skip` counts only rows that are shown, also beside a job that never will be."""
    older = sim.add_job("email").id
    sim.add_job("email", plan=Plan(shown_after=math.inf))
    late = sim.add_job("email", plan=Plan(shown_after=5)).id
    younger = sim.add_job("email").id
    assert ids((await api.get(f"{LIST}?_skip=1")).rows()) == [older]
    await clock.sleep(5)
    assert ids((await api.get(f"{LIST}?_skip=1")).rows()) == [late, older]
    assert ids((await api.get(LIST)).rows())[0] == younger


async def test_two_jobs_cannot_share_an_id(sim: Simulator) -> None:
    """An id that is taken is refused."""
    sim.add_job("email", id="bulkemail_1")
    with pytest.raises(ValueError, match="bulkemail_1"):
        sim.add_job("delete", id="bulkemail_1")
