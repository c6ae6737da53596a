"""`close.recent`: the newest jobs of several kinds, and `close.me`, whose key it is."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from closebulk_async import AuthenticationError, InvalidRequestError, PermissionDeniedError, ServerError
from closebulk_async.models import BULK_KINDS, Kind
from closebulk_async.policy import RetryPolicy
from closebulk_async.simulator import faults

if TYPE_CHECKING:
    from closebulk_async.simulator.listing import ListOrder
    from tests.stage import Stage

ORDERS: tuple[ListOrder, ...] = ("newest", "oldest", "id", "shuffled")


def fill(stage: Stage, kind: Kind, number: int, *, minutes: float) -> list[str]:
    """So many jobs of a kind that have ended, one each so many minutes, the newest first; their refs."""
    jobs = [
        stage.sim.add_job(str(kind), status="done", age=timedelta(minutes=minutes * (place + 1)))  # type: ignore[arg-type]  # one of the four
        for place in reversed(range(number))
    ]
    return [f"{kind}:{job.id}" for job in reversed(jobs)]


@pytest.mark.parametrize("order", ORDERS)
async def test_the_newest_of_all_kinds_come_newest_first(stage: Stage, order: ListOrder) -> None:
    """Whatever the order of the lists, and as many as were asked for."""
    stage.sim.list_order = order
    emails = fill(stage, Kind.EMAIL, 260, minutes=2)
    deletes = fill(stage, Kind.DELETE, 130, minutes=4.1)
    assert {str(job.ref) for job in await stage.close.recent(limit=390)} == {*emails, *deletes}
    newest = await stage.close.recent(limit=9)
    dates: list[Any] = [job.date_created for job in newest]
    assert dates == sorted(dates, reverse=True)
    assert {str(job.ref) for job in newest} == {*emails[:6], *deletes[:3]}


async def test_no_more_pages_are_read_than_are_needed(stage: Stage) -> None:
    """Of a list with the newest first the first page is enough for a few rows; older pages are for older rows."""
    fill(stage, Kind.EMAIL, 350, minutes=1)
    await stage.close.recent(kinds=["email"], limit=20)
    assert len(stage.reads()) == 1
    assert len(await stage.close.recent(kinds=["email"], since=timedelta(minutes=150), limit=1000)) == 150
    assert len(stage.reads()) == 1 + 3  # the third shows nothing but older ones


@pytest.mark.parametrize("order", ORDERS)
async def test_since_leaves_out_what_is_older(stage: Stage, order: ListOrder) -> None:
    """By the date of creation, in timedeltas and in seconds."""
    stage.sim.list_order = order
    refs = fill(stage, Kind.EDIT, 230, minutes=10)
    for since in (timedelta(minutes=125), 125 * 60):
        assert [str(job.ref) for job in await stage.close.recent(since=since)] == refs[:12]


@pytest.mark.parametrize("order", ORDERS)
async def test_active_ones_are_found_however_old_they_are(stage: Stage, order: ListOrder) -> None:
    """Those that run, wait or rest, newest first, from among any number that have ended since."""
    stage.sim.list_order = order
    fill(stage, Kind.EMAIL, 230, minutes=10)
    old, new = (stage.sim.add_job("email", status="processing", age=timedelta(minutes=age)).id for age in (9999, 75))
    paused = stage.sim.add_job("delete", status="paused", age=timedelta(minutes=95)).id
    found = [str(job.ref) for job in await stage.close.recent(active=True, limit=9)]
    assert found == [f"email:{new}", f"delete:{paused}", f"email:{old}"]
    assert [job.id for job in await stage.close.recent(active=True, limit=1)] == [new]
    recent = await stage.close.recent(active=True, kinds=["email"], since=timedelta(minutes=80))
    assert [job.id for job in recent] == [new]


async def test_active_ones_cost_the_pages_of_their_list_once(stage: Stage) -> None:
    """With `since` no more than those down to there, though only one that stands there runs."""
    fill(stage, Kind.EMAIL, 350, minutes=1)
    stage.sim.add_job("email", status="processing", age=timedelta(minutes=99.5))
    assert len(await stage.close.recent(active=True, kinds=["email"])) == 1
    assert len(stage.reads()) == 4
    assert len(await stage.close.recent(active=True, kinds=["email"], since=timedelta(minutes=110), limit=1)) == 1
    assert len(stage.reads()) == 4 + 3


async def test_since_may_be_any_time(stage: Stage) -> None:
    """Also one before the calendar begins."""
    fill(stage, Kind.EMAIL, 1, minutes=1)
    assert len(await stage.close.recent(since=1e300)) == 1


async def test_exports_are_among_them(stage: Stage) -> None:
    """All five kinds are read where none is named, and one alone where it is."""
    stage.sim.add_export(rows=3)
    for kind in BULK_KINDS:
        fill(stage, kind, 1, minutes=1)
    assert {job.kind for job in await stage.close.recent()} == set(Kind)
    assert {job.kind for job in await stage.close.recent(kinds=["export"])} == {Kind.EXPORT}


async def test_a_narrowed_read_has_what_tells_how_far_a_job_is(stage: Stage) -> None:
    """Status, counters and date of creation; nothing else is asked for."""
    fill(stage, Kind.EMAIL, 1, minutes=1)
    (job,) = await stage.close.recent(kinds=["email"], fields=())
    assert "s_query" in job.unset
    assert {"id", "status", "n_objects", "n_objects_processed", "date_created"}.isdisjoint(job.unset)


async def test_a_kind_that_may_not_be_read_is_left_out_unless_it_was_named(stage: Stage) -> None:
    """As with `watch_active`."""
    fill(stage, Kind.EMAIL, 1, minutes=1)
    stage.sim.fail_next(faults.forbidden(), path="/delete/", times=2)
    assert [job.kind for job in await stage.close.recent()] == [Kind.EMAIL]
    with pytest.raises(PermissionDeniedError):
        await stage.close.recent(kinds=["delete"])


async def test_where_nothing_may_be_read_that_is_raised(stage: Stage) -> None:
    """An empty list would say that there is nothing."""
    fill(stage, Kind.EMAIL, 1, minutes=1)
    stage.sim.fail_next(faults.forbidden(), times=len(Kind))
    with pytest.raises(PermissionDeniedError):
        await stage.close.recent()
    assert await stage.close.recent(kinds=[]) == []
    assert len(await stage.close.recent()) == 1


async def test_what_cannot_be_read_raises_its_own_error(stage: Stage) -> None:
    """And no group of errors; nothing goes on behind it."""
    stage.sim.fail_next(faults.server_error(500), path="/edit/", times=50)
    async with stage.client(retry=RetryPolicy(attempts=1)) as close:
        with pytest.raises(ServerError):
            await close.recent()
    assert await stage.nothing_is_left()


@pytest.mark.parametrize("wrong", [{"limit": 0}, {"limit": 1.5}, {"since": -1}, {"kinds": "email"}, {"kinds": ["x"]}])
async def test_what_is_wrong_is_said_before_any_request(stage: Stage, wrong: dict[str, Any]) -> None:
    """A mistake of the caller's is no request."""
    with pytest.raises(InvalidRequestError):
        await stage.close.recent(**wrong)
    assert stage.sim.requests == ()


async def test_a_named_export_is_watched_with_what_runs(stage: Stage) -> None:
    """`watch_active` shows exports where they are asked for."""
    export = stage.sim.add_export(rows=3, duration=5)
    email = stage.run_job(duration=5)
    seen = [str(step.ref) async for step in stage.close.watch_active(kinds=["export", "email"])]
    assert {f"export:{export.id}", str(email)} == set(seen)


async def test_me_tells_user_organization_and_clock(stage: Stage) -> None:
    """The two clocks of a test are one, to the second of the header."""
    me = await stage.close.me()
    assert (me.user_id, list(me.organization_ids)) == (stage.sim.user_id, [stage.sim.organization_id])
    assert me.clock_skew is not None
    assert timedelta(0) <= me.clock_skew < timedelta(seconds=1)


async def test_me_refuses_a_bad_key(stage: Stage) -> None:
    """With the error of the service."""
    stage.sim.fail_next(faults.reply(401, '{"error": "Unauthorized"}'))
    with pytest.raises(AuthenticationError):
        await stage.close.me()
