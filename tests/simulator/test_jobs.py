"""How jobs go: phases, counters, pauses."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from closebulk_async.simulator import Plan

if TYPE_CHECKING:
    from closebulk_async.simulator import Simulator
    from closebulk_async.testing import FakeClock

    from .api import Api

DAY = 86_400.0


def counters(row: dict[str, object]) -> tuple[object, ...]:
    """Status and counters of a response."""
    return tuple(row[name] for name in ("status", "n_objects_processed", "n_objects", "n_leads_processed", "n_leads"))


async def test_counts_are_null_first_and_then_grow(api: Api, clock: FakeClock) -> None:
    """Until `counting` the counts are null and nothing is processed; then both counters grow to the end."""
    api.sim.next_job(duration=100, counting=20, n_objects=40, n_leads=8)
    job_id = await api.start()
    seen = []
    for _ in range(7):
        seen.append(counters(await api.read(job_id)))
        await clock.sleep(20)
    assert seen == [
        ("created", 0, None, 0, None),
        ("processing", 0, 40, 0, 8),
        ("processing", 10, 40, 2, 8),
        ("processing", 20, 40, 4, 8),
        ("processing", 30, 40, 6, 8),
        ("done", 40, 40, 8, 8),
        ("done", 40, 40, 8, 8),
    ]


async def test_a_job_of_days(api: Api, clock: FakeClock) -> None:
    """A job may last for days, and is done at the very instant that its plan says."""
    api.sim.next_job(duration=timedelta(days=3))
    job_id = await api.start()
    await clock.sleep(3 * DAY - 0.001)
    assert (await api.read(job_id))["status"] == "processing"
    await clock.sleep(0.001)
    row = await api.read(job_id)
    assert (row["status"], row["date_updated"]) == ("done", "2025-06-14T12:00:00.000000+00:00")
    await clock.sleep(DAY)
    assert await api.read(job_id) == row


async def test_an_error_says_nothing_but_the_status(api: Api, clock: FakeClock) -> None:
    """A job that fails stops with a share of its objects processed."""
    api.sim.next_job(duration=10, ends="error", fails_at=0.25, n_objects=100)
    job_id = await api.start()
    await clock.sleep(10)
    assert counters(await api.read(job_id)) == ("error", 25, 100, 25, 100)


async def test_a_job_may_be_done_at_once(api: Api) -> None:
    """With a duration of zero the POST already answers `done`, also when there was nothing to do."""
    api.sim.next_job(duration=0, n_objects=0)
    assert counters((await api.create()).json()) == ("done", 0, 0, 0, 0)


@pytest.mark.parametrize(("limit", "objects", "leads"), [(None, 90, 30), (30, 90, 30), (7, 21, 7), (0, 0, 0)])
async def test_results_limit_caps_the_leads(api: Api, limit: int | None, objects: int, leads: int) -> None:
    """`results_limit` caps the leads, and the objects with them."""
    api.sim.next_job(duration=0, n_objects=90, n_leads=30)
    row = (await api.create(results_limit=limit)).json()
    assert (row["n_objects"], row["n_leads"], row["results_limit"]) == (objects, leads, limit)


async def test_plans_queue_up(api: Api) -> None:
    """A plan goes to the next job of its kind; without one left the simulator's own plan counts."""
    sim = api.sim
    sim.plan = Plan(n_objects=1, duration=0)
    sim.next_job(kind="edit", n_objects=2)
    sim.next_job(n_objects=3)
    sim.next_job(n_objects=4)
    for kind, n_objects in (("email", 3), ("edit", 2), ("edit", 4), ("edit", 1)):
        assert (await api.create(kind)).json()["n_objects"] == n_objects


async def test_pause_and_resume(api: Api, clock: FakeClock) -> None:
    """A paused job stands still; after `resuming` it goes on from where it was, and ends that much later."""
    api.sim.next_job(duration=100, counting=0, n_objects=100, resuming=5)
    job_id = await api.start()
    await clock.sleep(30)
    assert (await api.change(job_id, "paused")).json()["status"] == "paused"
    await clock.sleep(1000)
    row = await api.read(job_id)
    assert (row["status"], row["n_objects_processed"], row["date_updated"]) == (
        "paused",
        30,
        "2025-06-11T12:00:30.000000+00:00",
    )
    assert (await api.change(job_id, "resuming")).json()["status"] == "resuming"
    await clock.sleep(4)
    row = await api.read(job_id)
    assert (row["status"], row["n_objects_processed"], row["date_updated"]) == (
        "resuming",
        30,
        "2025-06-11T12:17:10.000000+00:00",
    )
    await clock.sleep(11)
    assert counters(await api.read(job_id))[:2] == ("processing", 40)
    await clock.sleep(59)
    assert counters(await api.read(job_id))[:2] == ("processing", 99)
    await clock.sleep(1)
    assert counters(await api.read(job_id))[:2] == ("done", 100)
    assert (await api.read(job_id))["date_updated"] == "2025-06-11T12:18:25.000000+00:00"


async def test_a_job_can_be_paused_more_than_once(api: Api, clock: FakeClock) -> None:
    """The time of all pauses is added to the job's."""
    api.sim.next_job(duration=30, counting=0, resuming=0)
    job_id = await api.start()
    for _ in range(2):
        await clock.sleep(10)
        await api.change(job_id, "paused")
        await clock.sleep(50)
        await api.change(job_id, "resuming")
    assert (await api.read(job_id))["status"] == "processing"
    await clock.sleep(10)
    row = await api.read(job_id)
    assert (row["status"], row["date_updated"]) == ("done", "2025-06-11T12:02:10.000000+00:00")


async def test_a_pause_may_take_effect_later(api: Api, clock: FakeClock) -> None:
    """With `pausing` the objects under way are still processed, and `paused` comes when they are."""
    api.sim.next_job(duration=100, counting=0, n_objects=100, pausing=5)
    job_id = await api.start()
    await clock.sleep(10)
    assert (await api.change(job_id, "paused")).json()["status"] == "processing"
    await clock.sleep(5)
    assert counters(await api.read(job_id))[:2] == ("paused", 15)


async def test_a_pause_may_come_too_late(api: Api, clock: FakeClock) -> None:
    """A job that ends before its pause takes effect is done."""
    api.sim.next_job(duration=10, pausing=5)
    job_id = await api.start()
    await clock.sleep(8)
    await api.change(job_id, "paused")
    await clock.sleep(20)
    row = await api.read(job_id)
    assert (row["status"], row["date_updated"]) == ("done", "2025-06-11T12:00:10.000000+00:00")


async def test_pauses_that_are_refused(api: Api, clock: FakeClock) -> None:
    """Pausing what is paused or has ended, and resuming what is not paused, is a 400 and changes nothing."""
    api.sim.next_job(duration=10)
    job_id = await api.start()
    assert (await api.change(job_id, "resuming")).status == 400
    assert (await api.change(job_id, "paused")).status == 200
    assert (await api.change(job_id, "paused")).status == 400
    assert (await api.change(job_id, "resuming")).status == 200
    await clock.sleep(20)
    for status in ("paused", "resuming"):
        reply = await api.change(job_id, status)
        assert reply.status == 400
        assert "this one is done" in str(reply.error())


@pytest.mark.parametrize(("seconds", "status"), [(7 * DAY, 200), (7 * DAY + 1, 400)])
async def test_a_pause_of_seven_days_is_the_longest(api: Api, clock: FakeClock, seconds: float, status: int) -> None:
    """Resuming works until seven days after the pause."""
    job_id = await api.start()
    await api.change(job_id, "paused")
    await clock.sleep(seconds)
    assert (await api.change(job_id, "resuming")).status == status


@pytest.mark.parametrize("status", ["processing", "done", 5])
async def test_other_words_for_the_status(api: Api, status: object) -> None:
    """Only `paused` and `resuming` may be sent."""
    job_id = await api.start()
    reply = await api.change(job_id, status)
    assert reply.json() == {"errors": [], "field-errors": {"status": "Not a valid choice."}}


async def test_the_verb_of_a_change_is_a_setting(api: Api, sim: Simulator) -> None:
    """With another `change_method` PUT is not allowed."""
    sim.change_method = "PATCH"
    job_id = await api.start()
    assert (await api.change(job_id, "paused")).status == 405
    patched = await api.call("PATCH", f"/bulk_action/email/{job_id}/", json_body={"status": "paused"})
    assert patched.json()["status"] == "paused"


async def test_a_job_that_was_put_there_goes_on_by_its_plan(api: Api, sim: Simulator, clock: FakeClock) -> None:
    """`add_job` with an age puts a job there that was started before."""
    job = sim.add_job("edit", plan=Plan(duration=100, counting=0), age=timedelta(seconds=40), type="set_lead_status")
    row = await api.read(job.id, "edit")
    assert counters(row)[:2] == ("processing", 40)
    assert (row["type"], row["date_created"]) == ("set_lead_status", "2025-06-11T11:59:20.000000+00:00")
    await clock.sleep(60)
    assert (await api.read(job.id, "edit"))["status"] == "done"
    assert job.snapshot(clock.now())["status"] == "done"


@pytest.mark.parametrize("status", ["loading", None, "melting"])
async def test_a_status_that_was_set_stays(api: Api, sim: Simulator, clock: FakeClock, status: str | None) -> None:
    """A job whose status is given keeps it, also one that the service would not say; and so for every other field."""
    job = sim.add_job("email", status=status, date_created=clock.now(), colour="red", without=["n_objects", "n_leads"])
    await clock.sleep(DAY)
    row = await api.read(job.id)
    assert (row["status"], row["colour"], row["date_created"]) == (status, "red", "2025-06-11T12:00:00.000000+00:00")
    assert not {"n_objects", "n_leads"} & row.keys()


async def test_a_job_that_was_put_there_paused_can_be_resumed(api: Api, sim: Simulator, clock: FakeClock) -> None:
    """It then goes on from the share that was given."""
    job = sim.add_job(
        "email",
        plan=Plan(duration=100, counting=0, resuming=1),
        status="paused",
        n_objects=200,
        n_leads=200,
        n_objects_processed=50,
        date_updated=clock.now() - timedelta(days=6),
    )
    await clock.sleep(10)
    assert counters(await api.read(job.id))[:3] == ("paused", 50, 200)
    assert (await api.change(job.id, "resuming")).json()["status"] == "resuming"
    assert counters(await api.read(job.id))[:3] == ("resuming", 50, 200)
    await clock.sleep(2)
    assert counters(await api.read(job.id))[:3] == ("processing", 52, 200)
    await clock.sleep(74)
    assert counters(await api.read(job.id))[:3] == ("done", 200, 200)
    assert (await api.read(job.id))["date_updated"] == "2025-06-11T12:01:26.000000+00:00"


@pytest.mark.parametrize("paused_at", ["2025-06-04T11:59:59.000000+00:00", "yesterday", "2025-06-04T11:59:59", 5])
async def test_a_job_that_was_put_there_paused_too_long(api: Api, sim: Simulator, paused_at: object) -> None:
    """The seven days count from its `date_updated`, and from its start when that is no date."""
    job = sim.add_job("email", age=timedelta(days=8), status="paused", date_updated=paused_at)
    assert (await api.change(job.id, "resuming")).status == 400


async def test_a_sample_that_is_processing_can_be_paused(api: Api, sim: Simulator, clock: FakeClock) -> None:
    """A job whose progress was given keeps it while it is paused and goes on from there."""
    job = sim.add_job("email", status="processing", n_objects=100, n_leads=100, n_objects_processed=30)
    assert (await api.change(job.id, "paused")).json()["status"] == "paused"
    await clock.sleep(DAY)
    assert counters(await api.read(job.id))[:3] == ("paused", 30, 100)
