"""Events of jobs: what is told, when, and in which words."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import pytest

from closebulk_async.simulator import Job, Plan, Simulator, WebhookRules
from closebulk_async.testing.fake_clock import START

if TYPE_CHECKING:
    from collections.abc import Iterable

    from closebulk_async.testing import FakeClock

    from .api import Api, Row
    from .receivers import Receiver

AT_ONCE = WebhookRules(delay=0)


def told(sim: Simulator, *actions: str) -> list[tuple[float, object]]:
    """Since when each delivery of these actions (of all) was to be told, in seconds, and its action."""
    return [
        (seconds(delivery.event["date_updated"]), delivery.event["action"])
        for delivery in sim.deliveries
        if not actions or delivery.event["action"] in actions
    ]


def seconds(date: object) -> float:
    """Seconds from the beginning of the test to a naive date."""
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}", str(date))
    return (type(START).fromisoformat(f"{date}+00:00") - START).total_seconds()


def wanted(actions: Iterable[str], kind: str = "email") -> list[Row]:
    """The events of a subscription to these actions."""
    return [{"object_type": f"bulk_action.{kind}", "action": action} for action in actions]


FINAL = wanted(["created", "completed", "paused"])


async def test_the_life_of_a_job(api: Api, receiver: Receiver, clock: FakeClock) -> None:
    """It is created, updated at the beat of the rule while it changes, and completed at its very end."""
    api.sim.webhook_rules = WebhookRules(delay=0, updated_every=4)
    api.sim.add_webhook(receiver.url)
    api.sim.next_job(duration=10)
    await api.start()
    await clock.advance(100)
    assert receiver.told == [(0.0, "created"), (4.0, "updated"), (8.0, "updated"), (10.0, "completed")]
    assert told(api.sim) == receiver.told


async def test_the_words_of_a_payload(api: Api, receiver: Receiver, clock: FakeClock) -> None:
    """Dates of the event are naive, those in its data are not; the data is the row; what has changed stands beside."""
    api.sim.webhook_rules = WebhookRules(delay=0, updated_every=60)
    subscription = api.sim.add_webhook(receiver.url, events=FINAL)
    api.sim.next_job(duration=10, n_objects=7)
    job_id = await api.start()
    row = await api.read(job_id)
    await clock.advance(10)
    created, completed = receiver.posts
    event = completed.event
    assert event["data"] == await api.read(job_id)
    assert {name: event["previous_data"][name] for name in ("status", "n_objects", "n_objects_processed")} == {
        "status": "created",
        "n_objects": None,
        "n_objects_processed": 0,
    }
    assert event["changed_fields"] == sorted(event["previous_data"])
    assert "date_updated" in event["changed_fields"]
    assert "id" not in event["changed_fields"]
    assert {
        name: value for name, value in event.items() if name not in ("data", "previous_data", "changed_fields")
    } == {
        "action": "completed",
        "api_key_id": None,
        "date_created": "2025-06-11T12:00:10.000000",
        "date_updated": "2025-06-11T12:00:10.000000",
        "id": event["id"],
        "lead_id": None,
        "meta": {},
        "object_id": job_id,
        "object_type": "bulk_action.email",
        "organization_id": api.sim.organization_id,
        "request_id": None,
        "user_id": api.sim.user_id,
    }
    assert created.event["data"] == row
    assert (created.event["changed_fields"], created.event["previous_data"]) == ([], {})
    assert created.event["meta"] == {"request_method": "POST", "request_path": "/api/v1/bulk_action/email/"}
    assert re.fullmatch("req_[0-9A-Za-z]{22}", created.event["request_id"])
    assert re.fullmatch("ev_[0-9A-Za-z]{22}", event["id"])
    assert f'"subscription_id":"{subscription.id}"' in completed.body.decode()


@pytest.mark.parametrize("tells", [False, True])
async def test_a_failure(api: Api, receiver: Receiver, clock: FakeClock, *, tells: bool) -> None:
    """A job that fails is told about only where the rule says so, and then as an update."""
    api.sim.webhook_rules = WebhookRules(delay=0, updated_every=4, tells_errors=tells)
    api.sim.add_webhook(receiver.url)
    api.sim.add_job("email", plan=Plan(duration=10, ends="error"))
    await clock.advance(100)
    ending = [(10.0, "updated")] if tells else []
    assert receiver.told == [(0.0, "created"), (4.0, "updated"), (8.0, "updated"), *ending]
    assert {post.event["data"]["status"] for post in receiver.posts[3:]} == ({"error"} if tells else set())


async def test_a_pause_moves_what_comes_later(api: Api, receiver: Receiver, clock: FakeClock) -> None:
    """A job is told to be paused when it is, nothing is told meanwhile, and its end comes later by as much."""
    api.sim.webhook_rules = WebhookRules(delay=0, updated_every=4)
    api.sim.add_webhook(receiver.url)
    api.sim.next_job(duration=10, pausing=2, resuming=3)
    job_id = await api.start()
    await clock.advance(5)
    await api.change(job_id, "paused")
    await clock.advance(95)
    await api.change(job_id, "resuming")
    await clock.advance(100)
    assert receiver.told == [
        (0.0, "created"),
        (4.0, "updated"),
        (7.0, "paused"),
        (104.0, "updated"),
        (106.0, "completed"),
    ]
    assert receiver.posts[2].event["previous_data"]["status"] == "processing"


async def test_each_pause_is_told(api: Api, receiver: Receiver, clock: FakeClock) -> None:
    """The second pause of a job too, also when nobody asks for updates between them."""
    api.sim.webhook_rules = AT_ONCE
    api.sim.add_webhook(receiver.url, events=FINAL)
    job = api.sim.add_job("email", plan=Plan(duration=10, resuming=0))
    for _ in range(2):
        await clock.advance(1)
        job.pause(clock.now())
        await clock.advance(1)
        job.resume(clock.now())
    await clock.advance(10)
    assert receiver.told == [(0.0, "created"), (1.0, "paused"), (3.0, "paused"), (12.0, "completed")]


async def test_a_pause_that_comes_too_late(api: Api, receiver: Receiver, clock: FakeClock) -> None:
    """A pause that would take effect after the end is never told."""
    api.sim.webhook_rules = AT_ONCE
    api.sim.add_webhook(receiver.url, events=FINAL)
    job = api.sim.add_job("email", plan=Plan(duration=10, pausing=7))
    await clock.advance(5)
    job.pause(clock.now())
    await clock.advance(100)
    assert receiver.told == [(0.0, "created"), (10.0, "completed")]


@pytest.mark.parametrize("duration", [1 / 3, 0.1 + 0.2, 1e-7, 12.3456789])
async def test_an_end_between_two_microseconds(api: Api, receiver: Receiver, clock: FakeClock, duration: float) -> None:
    """An end that no clock can say exactly is told at the first instant at which a reader sees it."""
    api.sim.webhook_rules = AT_ONCE
    api.sim.add_webhook(receiver.url, events=FINAL)
    api.sim.add_job("email", plan=Plan(duration=duration))
    await clock.advance(100)
    _, (at, action) = receiver.told
    assert action == "completed"
    assert 0 <= at - duration < 2e-6
    assert receiver.posts[1].event["data"]["status"] == "done"


@pytest.mark.parametrize("duration", [math.inf, 1e300])
async def test_a_job_without_an_end(api: Api, receiver: Receiver, clock: FakeClock, duration: float) -> None:
    """What a plan puts beyond all dates is never told, and time does not pass for it."""
    api.sim.webhook_rules = AT_ONCE
    api.sim.add_webhook(receiver.url)
    api.sim.add_job("email", plan=Plan(duration=duration, curve="silent"))
    await clock.settle()
    assert (receiver.told, clock.sleepers) == ([(0.0, "created")], 0)


async def test_updates_are_consolidated(api: Api, receiver: Receiver, clock: FakeClock) -> None:
    """Within the time of the rule an update is the same event, changed again since its first; then a new one begins."""
    api.sim.webhook_rules = WebhookRules(delay=0, updated_every=5, consolidated_for=10)
    api.sim.add_webhook(receiver.url, events=wanted(["updated"]))
    api.sim.add_job("email", plan=Plan(duration=100, counting=0))
    await clock.advance(20)
    events = [post.event for post in receiver.posts]
    assert [seconds(event["date_updated"]) for event in events] == [5, 10, 15, 20]
    assert [seconds(event["date_created"]) for event in events] == [5, 5, 15, 15]
    assert events[0]["id"] == events[1]["id"] != events[2]["id"] == events[3]["id"]
    assert [event["previous_data"]["n_leads_processed"] for event in events] == [0, 0, 10, 10]
    assert [event["data"]["n_leads_processed"] for event in events] == [5, 10, 15, 20]


async def test_beats_between_two_microseconds(api: Api, receiver: Receiver, clock: FakeClock) -> None:
    """A beat that no clock can say exactly is not looked at for ever."""
    api.sim.webhook_rules = WebhookRules(delay=0, updated_every=1 / 3)
    api.sim.add_webhook(receiver.url, events=wanted(["updated", "completed"]))
    api.sim.add_job("email", plan=Plan(duration=1, counting=0))
    await clock.advance(10)
    assert receiver.told == [(0.333333, "updated"), (0.666667, "updated"), (1.0, "completed")]


async def test_a_pause_ends_the_consolidation(api: Api, receiver: Receiver, clock: FakeClock) -> None:
    """An update after a pause is another event than those before."""
    api.sim.webhook_rules = WebhookRules(delay=0, updated_every=5)
    api.sim.add_webhook(receiver.url, events=wanted(["updated", "paused"]))
    job = api.sim.add_job("email", plan=Plan(duration=100, counting=0, resuming=0))
    await clock.advance(6)
    job.pause(clock.now())
    await clock.advance(1)
    job.resume(clock.now())
    await clock.advance(3)
    assert [action for _, action in receiver.told] == ["updated", "paused", "updated"]
    assert len({post.event["id"] for post in receiver.posts}) == 3


async def test_nothing_new_is_not_told(api: Api, receiver: Receiver, clock: FakeClock) -> None:
    """A job whose row stands still, its date apart, is not told about."""
    api.sim.webhook_rules = WebhookRules(delay=0, updated_every=5)
    api.sim.add_webhook(receiver.url, events=wanted(["updated", "completed"]))
    api.sim.add_job("email", plan=Plan(duration=100, counting=0, curve="four_steps"))
    await clock.advance(200)
    assert [at for at, _ in receiver.told] == [25.0, 50.0, 75.0, 100.0]


async def test_only_what_is_asked_for(api: Api, receiver: Receiver, clock: FakeClock) -> None:
    """An event of another kind or action, or one that a filter holds back, is not delivered."""
    api.sim.webhook_rules = AT_ONCE
    done: Row = {
        "type": "field_accessor",
        "field": "data",
        "filter": {"type": "field_accessor", "field": "n_objects", "filter": {"type": "equals", "value": 7}},
    }
    (event,) = wanted(["completed"])
    api.sim.add_webhook(receiver.url, events=[{**event, "extra_filter": done}])
    api.sim.add_webhook(f"{receiver.url}/2", events=[event], event_filter=done)
    api.sim.add_webhook(f"{receiver.url}/3", events=wanted(["completed"], kind="edit"))
    for n_objects in (7, 8):
        api.sim.add_job("email", plan=Plan(duration=10, n_objects=n_objects))
    api.sim.add_job("delete", plan=Plan(duration=10, n_objects=7))
    await clock.advance(10)
    assert [post.event["data"]["n_objects"] for post in receiver.posts] == [7, 7]
    first, second, _ = api.sim.webhooks
    assert [delivery.subscription_id for delivery in api.sim.deliveries] == [first.id, second.id]


async def test_a_job_that_was_there_before(api: Api, receiver: Receiver, clock: FakeClock) -> None:
    """A subscription is told what happens from then on, not that a job was created before."""
    api.sim.webhook_rules = AT_ONCE
    api.sim.add_job("email", plan=Plan(duration=10))
    api.sim.add_job("email", plan=Plan(duration=2), age=5)
    subscription = api.sim.add_webhook(receiver.url, events=FINAL)
    api.sim.add_job("email", plan=Plan(duration=10), age=4)
    await clock.advance(5)
    assert api.sim.webhooks == (subscription,)
    await clock.advance(5)
    assert receiver.told == [(6.0, "completed"), (10.0, "completed")]


async def test_a_row_that_was_set_by_hand(api: Api, receiver: Receiver, clock: FakeClock) -> None:
    """It stays as it is, so nothing is told after its creation, until it is paused and goes on by its plan."""
    api.sim.webhook_rules = WebhookRules(delay=0, updated_every=5)
    api.sim.add_webhook(receiver.url)
    job = api.sim.add_job("email", {"status": "processing", "n_objects_processed": 0}, plan=Plan(duration=10))
    await clock.advance(100)
    assert receiver.told == [(0.0, "created")]
    job.pause(clock.now())
    await clock.settle()
    assert receiver.told[1:] == [(100.0, "paused")]


async def test_without_a_subscription_nothing_runs(api: Api, receiver: Receiver, clock: FakeClock) -> None:
    """No instant of a job is waited for before the first subscription, after the last, or for other objects' events."""
    api.sim.add_job("email")
    assert clock.sleepers == 0
    lead = api.sim.add_webhook(receiver.url, events=[{"object_type": "lead", "action": "deleted"}])
    await clock.settle()
    assert (clock.sleepers, clock.monotonic()) == (0, 0.0)
    subscription = api.sim.add_webhook(f"{receiver.url}/2")
    await api.call("PUT", f"/webhook/{subscription.id}/", json_body={"status": "paused"})
    await clock.settle()
    assert (clock.sleepers, clock.monotonic()) == (0, 0.0)
    await api.call("DELETE", f"/webhook/{lead.id}/")
    assert api.sim.deliveries == ()


async def test_what_was_missed_is_not_told_later(api: Api, receiver: Receiver, clock: FakeClock) -> None:
    """Events during a pause of the subscription are gone; after it the job's own end is told again."""
    api.sim.webhook_rules = AT_ONCE
    subscription = api.sim.add_webhook(receiver.url, events=FINAL)
    path = f"/webhook/{subscription.id}/"
    for duration in (10, 20):
        api.sim.add_job("email", plan=Plan(duration=duration))
    await clock.advance(5)
    await api.call("PUT", path, json_body={"status": "paused"})
    await clock.advance(10)
    await api.call("PUT", path, json_body={"status": "active"})
    await clock.advance(10)
    assert receiver.told == [(0.0, "created"), (0.0, "created"), (20.0, "completed")]


async def test_updates_that_are_asked_for_later(api: Api, receiver: Receiver, clock: FakeClock) -> None:
    """A subscription to updates beside one without them is told of jobs that are already followed."""
    api.sim.webhook_rules = WebhookRules(delay=0, updated_every=5)
    api.sim.add_webhook(receiver.url, events=FINAL)
    api.sim.add_job("email", plan=Plan(duration=12))
    await clock.advance(6)
    api.sim.add_webhook(receiver.url, events=wanted(["updated"]))
    await clock.advance(10)
    assert receiver.told == [(0.0, "created"), (10.0, "updated"), (12.0, "completed")]


async def test_an_event_by_hand(api: Api, receiver: Receiver, clock: FakeClock) -> None:
    """Any event can be told, about a job or any data, with fields of its own in place of what is made up."""
    api.sim.webhook_rules = AT_ONCE
    job: Job = api.sim.add_job("delete", plan=Plan(duration=10))
    api.sim.add_webhook(receiver.url, events=[*wanted(["completed"], "delete"), *wanted(["paused"])])
    event = api.sim.send_event("completed", job, id="ev_1", request_id="req_1")
    api.sim.send_event("paused", {"id": "bulkemail_1", "status": "paused"})
    api.sim.send_event("deleted", {"id": "lead_1"}, object_type="lead")
    await clock.settle()
    first, second = (post.event for post in receiver.posts)
    assert first == event
    assert first["object_type"] == "bulk_action.delete"
    assert (first["id"], first["request_id"], first["object_id"]) == ("ev_1", "req_1", job.id)
    assert first["data"] == job.snapshot(clock.now())
    assert (second["object_id"], second["object_type"]) == ("bulkemail_1", "bulk_action.email")
    assert sorted(second) == sorted(first)
