"""Webhooks wake a wait, polls decide: what is told late, twice, in disorder or never changes no outcome."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from closebulk_async import BulkActionFailed, CloseBulk, JobRef, PollPolicy
from closebulk_async.models import Kind
from closebulk_async.simulator import Plan, Simulator
from closebulk_async.telemetry import Event, WebhookReceived
from closebulk_async.testing import FakeClock
from closebulk_async.webhook_models import WebhookEvent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from closebulk_async import BulkEmail
    from tests.stage import Stage

pytestmark = pytest.mark.unmeasured

HOURLY = PollPolicy.fixed(3600)
"""So rarely that whatever is known sooner came by a webhook."""

Told = tuple[float, str]
"""An instant in seconds, and the word of the event that is told then."""


def event(ref: JobRef[Any], action: str, *, status: str = "processing", number: int = 0) -> WebhookEvent:
    """An event about that action, for a client's `notify`."""
    return WebhookEvent.example(
        id=f"ev_{number}",
        object_type=f"bulk_action.{ref.kind}",
        object_id=ref.id,
        action=action,
        data={"id": ref.id, "status": status},
    )


async def tell(close: CloseBulk, clock: FakeClock, ref: JobRef[Any], told: Iterable[Told]) -> None:
    """Tell a client of events at their instants."""
    for number, (at, action) in enumerate(sorted(told)):
        await clock.sleep(at - clock.monotonic())
        close.notify(event(ref, action, number=number))


async def end_of(stage: Stage, ref: JobRef[BulkEmail], told: Iterable[Told], *, poll: PollPolicy = HOURLY) -> float:
    """The instant at which a wait for `ref` that began at 0.0 knows its end, while a client is told of these events."""
    async with stage.client(poll) as close, asyncio.TaskGroup() as group:
        teller = group.create_task(tell(close, stage.clock, ref, told))
        await close.wait_until_done(ref)
        teller.cancel()
    return stage.now


# Wake ------------------------------------------------------------------------------------------------------------


async def test_a_wait_ends_when_the_webhook_says_so(stage: Stage) -> None:
    """At that instant, for one request beside the first poll."""
    ref = stage.run_job(duration=100)
    assert await end_of(stage, ref, [(100.5, "completed")]) == 100.5
    assert stage.polls(ref) == [0.0, 100.5]


async def test_every_wait_and_stream_of_the_action_is_woken_by_one_poll(stage: Stage) -> None:
    """As they share any poll."""
    ref = stage.run_job(duration=100)
    async with stage.client(HOURLY) as close, asyncio.TaskGroup() as group:
        group.create_task(tell(close, stage.clock, ref, [(101, "completed")]))
        waits = [group.create_task(close.wait_until_done(ref).result()) for _ in range(5)]
        last = [progress async for progress in close.wait_until_done(ref)][-1]
        assert last.is_final
    assert {wait.result().id for wait in waits} == {ref.id}
    assert stage.polls() == [0.0, 101.0]


async def test_a_pause_is_known_when_the_webhook_says_so(stage: Stage) -> None:
    """As an end is."""
    ref = stage.run_job(duration=1000)
    async with stage.client(HOURLY) as close, asyncio.TaskGroup() as group:

        async def pause() -> None:
            await stage.clock.sleep(50)
            await close.pause(ref)
            await stage.clock.sleep(1)
            close.notify(event(ref, "paused", status="paused"))

        group.create_task(pause())
        action = await close.wait_until_done(ref, on_paused="return")
    assert action.is_paused
    assert stage.now == 51.0


async def test_the_final_status_of_an_update_wakes_as_well(stage: Stage) -> None:
    """The only sign of a failure, where there is one at all."""
    ref = stage.run_job(duration=100, ends="error")
    async with stage.client(HOURLY) as close:
        wait = asyncio.ensure_future(close.wait_until_done(ref).result())
        await stage.clock.sleep(101)
        close.notify(event(ref, "updated", status="error"))
        with pytest.raises(BulkActionFailed):
            await wait
    assert stage.now == 101.0


# No harm ---------------------------------------------------------------------------------------------------------


async def test_a_webhook_is_no_proof(stage: Stage) -> None:
    """It says that a job has ended which runs on: the service is asked, and is right."""
    ref = stage.run_job(duration=5000)
    assert await end_of(stage, ref, [(10, "completed")], poll=PollPolicy()) >= 5000.0


async def test_one_end_told_a_hundred_times_costs_one_request(stage: Stage) -> None:
    """Whether the copies come at once or are spread."""
    ref = stage.run_job(duration=100)
    copies = [(101.0, "completed")] * 50
    assert await end_of(stage, ref, [*copies, *[(101.0, "updated")] * 50]) == 101.0
    assert stage.polls(ref) == [0.0, 101.0]


async def test_a_false_end_that_is_told_a_hundred_times_does_not_storm(stage: Stage) -> None:
    """The first one is looked after, soon and then ever less often."""
    ref = stage.run_job(duration=7000)
    told = [(10 + number / 10, "completed") for number in range(1000)]
    await end_of(stage, ref, told)
    assert len([at for at in stage.polls(ref) if 10 <= at <= 130]) < 20


async def test_events_of_others_cost_nothing(stage: Stage) -> None:
    """Actions that nobody waits for, other objects, kinds that are unknown: no request, and no error."""
    ref = stage.run_job(duration=100)
    async with stage.client(HOURLY) as close:
        wait = asyncio.ensure_future(close.wait_until_done(ref).result())
        await stage.clock.sleep(50)
        for strange in (
            event(JobRef(Kind.EMAIL, "bulkemail_of_others"), "completed"),
            event(JobRef(Kind.DELETE, ref.id), "completed"),
            WebhookEvent.example(object_type="lead", object_id=ref.id),
            WebhookEvent.example(object_type="bulk_action.merge", object_id=ref.id),
            WebhookEvent.example(object_id=None),
        ):
            close.notify(strange)
        await stage.clock.sleep(10)
        assert stage.polls() == [0.0]
        wait.cancel()
    assert await stage.nothing_is_left()


async def test_a_client_may_be_told_at_any_time(stage: Stage) -> None:
    """Before it is opened, without a wait, and after it was closed: a receiver may outlive it."""
    ref = stage.run_job(duration=10)
    close = stage.client()
    close.notify(event(ref, "completed"))
    async with close:
        close.notify(event(ref, "completed"))
    close.notify(event(ref, "completed"))
    assert await stage.nothing_is_left()
    assert stage.polls() == []


async def test_what_was_told_before_a_wait_does_not_slow_it(stage: Stage) -> None:
    """Nobody listened."""
    ref = stage.run_job(duration=100)
    async with stage.client(PollPolicy()) as close:
        for _ in range(20):
            close.notify(event(ref, "updated"))
            await stage.clock.sleep(1)
        await close.wait_until_done(ref)
    assert stage.now < 105.0


# Slower, and faster again ----------------------------------------------------------------------------------------


def every(seconds: float, *, until: float) -> list[Told]:
    """An update each so many seconds."""
    return [(seconds * number, "updated") for number in range(1, int(until / seconds) + 1)]


async def test_polls_come_when_webhooks_say_so_and_at_a_safety_beat(stage: Stage) -> None:
    """An hour of updates costs at most a poll for each and one each two minutes; the end is known when it is told."""
    ref = stage.run_job(duration=3600)
    told = [*every(60, until=3599), (3601.0, "completed")]
    assert await end_of(stage, ref, told, poll=PollPolicy(ceiling=10)) == 3601.0
    assert len(stage.polls(ref)) <= 3600 / 60 + 3600 / 120 + 10


async def test_more_webhooks_than_polls_cause_no_more_polls(stage: Stage) -> None:
    """Ten updates a second are no reason to ask more often than without any."""
    ref = stage.run_job(duration=600)
    await end_of(stage, ref, every(0.1, until=600), poll=PollPolicy(ceiling=10))
    assert len(stage.polls(ref)) <= 600 / 10 + 15


async def test_without_webhooks_polls_keep_their_pace(stage: Stage) -> None:
    """The same job costs a multiple."""
    ref = stage.run_job(duration=3600)
    await end_of(stage, ref, [], poll=PollPolicy(ceiling=10))
    assert len(stage.polls(ref)) > 200


async def test_a_lost_end_is_found_by_the_safety_beat(stage: Stage) -> None:
    """Updates came until the last moment, and the word of the end is lost."""
    ref = stage.run_job(duration=3600)
    known = await end_of(stage, ref, every(5, until=3600), poll=PollPolicy(ceiling=10))
    assert known <= 3600 + 120 + 1


async def test_polls_speed_up_when_webhooks_stop(stage: Stage) -> None:
    """Two safety beats after the last one, they have their own pace again."""
    ref = stage.run_job(duration=3600)
    await end_of(stage, ref, every(60, until=600), poll=PollPolicy(ceiling=10))
    polls = stage.polls(ref)
    assert len([at for at in polls if at < 600]) <= 600 / 60 + 600 / 120 + 10
    late = [at for at in polls if at > 600 + 2 * 120]
    assert max(after - before for before, after in pairwise(late)) <= 11.0


async def test_a_failure_that_nobody_tells_is_found_by_the_safety_beat(stage: Stage) -> None:
    """The event log has no event for it."""
    ref = stage.run_job(duration=600, ends="error")
    async with stage.client(PollPolicy()) as close, asyncio.TaskGroup() as group:
        teller = group.create_task(tell(close, stage.clock, ref, every(5, until=600)))
        with pytest.raises(BulkActionFailed):
            await close.wait_until_done(ref)
        teller.cancel()
    assert stage.now <= 600 + 120 + 1


# Any disorder ----------------------------------------------------------------------------------------------------

tellings = st.lists(
    st.tuples(st.floats(0, 400), st.sampled_from(["created", "updated", "completed", "paused"])), max_size=60
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(tellings, st.sampled_from([3.0, 60.0, 300.0]))
def test_whatever_is_told_the_outcome_is_that_of_the_service(told: list[Told], duration: float) -> None:
    """It is known a safety beat after the end at the latest, and no webhook costs more than two requests."""

    async def run() -> tuple[float, int]:
        clock = FakeClock()
        async with Simulator(clock=clock) as sim:
            ref: JobRef[Any] = JobRef(Kind.EMAIL, sim.add_job("email", plan=Plan(duration=duration)).id)
            async with (
                CloseBulk(sim.api_key, base_url=sim.base_url, clock=clock) as close,
                asyncio.TaskGroup() as group,
            ):
                teller = group.create_task(tell(close, clock, ref, told))
                action = await close.wait_until_done(ref)
                known, asked = clock.monotonic(), len(sim.requests)
                teller.cancel()
            assert action.is_done
            await clock.advance(1000)
            assert len(sim.requests) == asked
            return known, asked

    known, asked = asyncio.run(run())
    assert duration <= known <= duration + 125
    assert asked <= 60 + 2 * len(told)


# Told ------------------------------------------------------------------------------------------------------------


async def test_hooks_are_told_of_webhooks(stage: Stage) -> None:
    """With the action, the event's word, and whether somebody waits."""
    seen: list[Event] = []
    ref = stage.run_job(duration=10)
    other: JobRef[Any] = JobRef(Kind.EDIT, "bulkedit_1")
    async with stage.client(hooks=[seen.append]) as close:
        wait = asyncio.ensure_future(close.wait_until_done(ref).result())
        await stage.clock.sleep(1)
        close.notify(event(ref, "updated"))
        close.notify(event(other, "completed"))
        close.notify(WebhookEvent.example(object_type="lead"))
        await wait
    assert [one for one in seen if isinstance(one, WebhookReceived)] == [
        WebhookReceived(ref=ref, action="updated", is_watched=True),
        WebhookReceived(ref=other, action="completed", is_watched=False),
    ]
