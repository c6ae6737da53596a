"""Deliveries: when events arrive, how often, how they are signed, and what becomes of those that nobody takes."""

from __future__ import annotations

import asyncio
import shutil
import ssl
from asyncio.subprocess import DEVNULL
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from closebulk_async.simulator import Plan, Simulator, WebhookRules
from closebulk_async.testing import FakeClock
from closebulk_async.testing.fake_clock import BUSY_TURNS

from .receivers import NEVER, Post, Receiver, unwell

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from .api import Api, Row

DAY = 86_400.0
ROW: Row = {"id": "bulkemail_1", "status": "done"}


def outcomes(sim: Simulator) -> list[str]:
    """What became of each delivery."""
    return [delivery.outcome for delivery in sim.deliveries]


def instants(receiver: Receiver) -> list[float]:
    """When something came."""
    return [post.at for post in receiver.posts]


async def test_a_delivery_is_signed(sim: Simulator, receiver: Receiver, clock: FakeClock) -> None:
    """The hash is over timestamp and raw body with the key of the subscription; the body is what `deliveries` show."""
    ours, other = sim.add_webhook(receiver.url), sim.add_webhook("http://127.0.0.1:1/")
    sim.send_event("completed", ROW)
    await clock.advance(1)
    (post,) = receiver.posts
    assert post.is_signed_with(ours.signature_key)
    assert not post.is_signed_with(other.signature_key)
    assert post.headers["close-sig-timestamp"] == str(int(clock.now().timestamp()))
    assert post.headers["content-type"] == "application/json"
    delivery = sim.deliveries[0]
    assert (delivery.body, delivery.event, delivery.subscription_id) == (post.body, post.event, ours.id)
    (attempt,) = delivery.attempts
    assert (attempt.at, attempt.status, attempt.error) == (clock.now(), 200, None)


async def test_events_arrive_later(sim: Simulator, receiver: Receiver, clock: FakeClock) -> None:
    """A second after they happened by default, or after the delay of the rule, which may be a `timedelta`."""
    sim.add_webhook(receiver.url)
    sim.send_event("completed", ROW)
    await clock.advance(1)
    sim.webhook_rules = WebhookRules(delay=timedelta(minutes=1))
    sim.send_event("completed", ROW)
    await clock.advance(1)
    sim.webhook_rules = WebhookRules(delay=5)
    sim.send_event("completed", ROW)
    await clock.advance(100)
    assert instants(receiver) == [1.0, 7.0, 61.0]


async def test_a_delivery_is_none_of_the_callers_requests(sim: Simulator, receiver: Receiver, clock: FakeClock) -> None:
    """Time stands still for a request in flight although an event that was told meanwhile is held by its receiver."""
    sim.webhook_rules = WebhookRules(delay=0)
    receiver.seconds = 10
    sim.add_webhook(receiver.url)
    async with clock.timeout(60):
        sim.send_event("completed", ROW)
        # More turns than the clock waits for a task that spins.
        for _ in range(5 * BUSY_TURNS):
            await asyncio.sleep(0)
        assert (len(receiver.posts), clock.monotonic()) == (1, 0.0)


async def test_no_connection_is_kept(sim: Simulator, receiver: Receiver, clock: FakeClock) -> None:
    """A receiver that stops has nothing to wait for."""
    sim.add_webhook(receiver.url)
    sim.send_event("completed", ROW)
    await clock.advance(2)
    assert (len(receiver.posts), receiver.open_connections) == (1, 0)


async def test_events_overtake_each_other(sim: Simulator, receiver: Receiver, clock: FakeClock) -> None:
    """With a spread for a delay each comes within it, in another order than that of the events."""
    sim.webhook_rules = WebhookRules(delay=(10, 60))
    sim.add_webhook(receiver.url)
    for number in range(20):
        sim.send_event("completed", {"id": number})
    await clock.advance(100)
    came = [post.event["object_id"] for post in receiver.posts]
    assert sorted(came) == list(range(20)) != came
    assert all(10 <= at <= 60 for at in instants(receiver))


async def test_the_same_seed_is_the_same_disorder(clock: FakeClock, receiver: Receiver) -> None:
    """Another seed is another one."""
    orders = []
    for seed in (1, 1, 2):
        async with Simulator(clock=clock, seed=seed, webhook_rules=WebhookRules(delay=(10, 60), drop=0.3)) as sim:
            sim.add_webhook(receiver.url)
            for number in range(20):
                sim.send_event("completed", {"id": number})
            receiver.posts.clear()
            await clock.advance(100)
            orders.append([post.event["object_id"] for post in receiver.posts])
    assert orders[0] == orders[1] != orders[2]


async def test_events_come_twice(sim: Simulator, receiver: Receiver, clock: FakeClock) -> None:
    """What `repeat` says comes once more, to the byte, so much later."""
    sim.webhook_rules = WebhookRules(delay=1, repeat=lambda event: event["action"] == "completed", repeated_after=30)
    sim.add_webhook(receiver.url)
    sim.send_event("completed", ROW)
    sim.send_event("paused", ROW)
    await clock.advance(100)
    assert receiver.told == [(1.0, "completed"), (1.0, "paused"), (31.0, "completed")]
    assert receiver.posts[0].body == receiver.posts[2].body
    assert outcomes(sim) == ["delivered"] * 3


async def test_events_are_lost(sim: Simulator, receiver: Receiver, clock: FakeClock) -> None:
    """What `drop` says never comes, not even twice, and is not tried."""
    sim.webhook_rules = WebhookRules(drop=lambda event: event["action"] == "completed", repeat=1.0)
    sim.add_webhook(receiver.url)
    sim.send_event("completed", ROW)
    sim.send_event("paused", ROW)
    await clock.advance(100)
    assert [action for _, action in receiver.told] == ["paused", "paused"]
    assert outcomes(sim) == ["lost", "delivered", "delivered"]
    assert sim.deliveries[0].attempts == ()


@pytest.mark.parametrize(("share", "least", "most"), [(0.0, 200, 200), (0.25, 120, 180), (1.0, 0, 0)])
async def test_a_share_is_lost(sim: Simulator, clock: FakeClock, share: float, least: int, most: int) -> None:
    """A number is the share of all deliveries."""
    sim.webhook_rules = WebhookRules(delay=1e9, drop=share)
    sim.add_webhook("http://127.0.0.1:1/")
    for number in range(200):
        sim.send_event("completed", {"id": number})
    assert least <= outcomes(sim).count("waiting") <= most
    assert clock.monotonic() == 0.0


async def test_retries(sim: Simulator, receiver: Receiver, clock: FakeClock) -> None:
    """What is not taken is sent again at intervals that double, until it is taken."""
    receiver.answer = unwell(4)
    sim.webhook_rules = WebhookRules(delay=0, retried_after=10)
    sim.add_webhook(receiver.url)
    sim.send_event("completed", ROW)
    await clock.advance(1000)
    assert instants(receiver) == [0, 10, 30, 70, 150]
    (delivery,) = sim.deliveries
    assert [attempt.status for attempt in delivery.attempts] == [500, 500, 500, 500, 200]
    assert (delivery.outcome, sim.webhooks[0].status) == ("delivered", "active")
    assert clock.sleepers == 0


@pytest.mark.parametrize("status", [200, 204, 299])
async def test_any_success_is_one(sim: Simulator, receiver: Receiver, clock: FakeClock, status: int) -> None:
    """Any 2xx takes the event."""
    receiver.answer = lambda _: status
    sim.add_webhook(receiver.url)
    sim.send_event("completed", ROW)
    await clock.advance(100)
    assert (outcomes(sim), len(receiver.posts)) == (["delivered"], 1)


@pytest.mark.parametrize("status", [307, 400, 404, 410, 500])
async def test_anything_else_is_none(sim: Simulator, receiver: Receiver, clock: FakeClock, status: int) -> None:
    """Also a redirect, which is not followed, and an answer that says to stop."""
    receiver.answer = lambda _: status
    sim.add_webhook(receiver.url)
    sim.send_event("completed", ROW)
    await clock.advance(10)
    assert (outcomes(sim), len(receiver.posts)) == (["waiting"], 1)
    await clock.advance(10)
    assert len(receiver.posts) == 2


async def test_a_receiver_that_is_down(sim: Simulator, clock: FakeClock) -> None:
    """An attempt that finds nobody has an error in place of a status, and the next one succeeds when there is one."""
    receiver = Receiver(clock)
    async with receiver:
        sim.add_webhook(receiver.url)
    sim.send_event("completed", ROW)
    await clock.advance(10)
    async with receiver:
        await clock.advance(10)
        (delivery,) = sim.deliveries
    first, second = delivery.attempts
    assert first.status is None
    assert "ClientConnector" in str(first.error)
    assert (second.status, second.error) == (200, None)


async def test_a_receiver_that_does_not_answer(sim: Simulator, receiver: Receiver, clock: FakeClock) -> None:
    """It is left after the time of the rule, and tried again."""
    receiver.seconds = NEVER
    sim.webhook_rules = WebhookRules(delay=0, timeout=30, retried_after=10)
    sim.add_webhook(receiver.url)
    sim.send_event("completed", ROW)
    await clock.advance(35)
    receiver.seconds = 29
    await clock.advance(100)
    assert instants(receiver) == [0.0, 40.0]
    (delivery,) = sim.deliveries
    assert [attempt.status for attempt in delivery.attempts] == [None, 200]
    assert "TimeoutError" in str(delivery.attempts[0].error)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate")
async def test_a_certificate_that_nobody_signed(api: Api, clock: FakeClock, tmp_path: Path) -> None:
    """A delivery over TLS fails on it, unless the subscription says not to look."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subject = ("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1")
    made = ("-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(certificate))
    openssl = await asyncio.create_subprocess_exec("openssl", "req", "-x509", *made, *subject, stderr=DEVNULL)
    assert await openssl.wait() == 0
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    async with Receiver(clock, tls=tls) as receiver:
        subscription = api.sim.add_webhook(receiver.url)
        api.sim.send_event("completed", ROW)
        await clock.advance(10)
        assert receiver.posts == []
        await api.call("PUT", f"/webhook/{subscription.id}/", json_body={"verify_ssl": False})
        await clock.advance(10)
    first, second = api.sim.deliveries[0].attempts
    assert "CERTIFICATE_VERIFY_FAILED" in str(first.error)
    assert second.status == 200


@pytest.mark.parametrize(("resigns", "timestamps"), [(False, [0, 0]), (True, [0, 10])])
async def test_the_timestamp_of_a_retry(
    sim: Simulator, receiver: Receiver, clock: FakeClock, *, resigns: bool, timestamps: list[int]
) -> None:
    """It is that of the first attempt, or its own where the rule says so; the signature is right either way."""
    began = int(clock.now().timestamp())
    receiver.answer = unwell(1)
    sim.webhook_rules = WebhookRules(delay=0, retried_after=10, resigns_retries=resigns)
    subscription = sim.add_webhook(receiver.url)
    sim.send_event("completed", ROW)
    await clock.advance(100)
    assert [int(post.headers["close-sig-timestamp"]) - began for post in receiver.posts] == timestamps
    assert all(post.is_signed_with(subscription.signature_key) for post in receiver.posts)
    assert [attempt.timestamp - began for attempt in sim.deliveries[0].attempts] == timestamps


async def test_three_days_of_failure(sim: Simulator, receiver: Receiver, clock: FakeClock) -> None:
    """Retries come every 20 minutes at least; after three days the subscription is paused and its queue is empty."""
    receiver.answer = lambda _: 500
    subscription = sim.add_webhook(receiver.url)
    sim.send_event("completed", ROW)
    await clock.advance(2 * DAY)
    sim.send_event("paused", ROW)
    await clock.advance(DAY)
    assert sim.webhooks[0].is_active
    await clock.advance(1201)
    gaps = [later - sooner for sooner, later in zip(instants(receiver), instants(receiver)[1:], strict=False)]
    assert max(gaps) <= 1200
    assert gaps[:3] == [15, 30, 60]
    assert [(webhook.id, webhook.status) for webhook in sim.webhooks] == [(subscription.id, "paused")]
    assert outcomes(sim) == ["cleared", "cleared"]
    assert (clock.sleepers, len(receiver.posts)) == (0, len(sim.deliveries[0].attempts + sim.deliveries[1].attempts))
    sim.send_event("completed", ROW)
    assert len(sim.deliveries) == 2


async def test_an_event_is_given_up(sim: Simulator, receiver: Receiver, clock: FakeClock) -> None:
    """After 72 hours of retries an event is given up, with a last attempt at that time; others go on."""
    receiver.answer = lambda post: 500 if post.event["action"] == "completed" else 200
    sim.webhook_rules = WebhookRules(delay=0)
    sim.add_webhook(receiver.url)
    sim.send_event("completed", ROW)
    for _ in range(4):
        await clock.advance(DAY)
        sim.send_event("paused", ROW)
    await clock.settle()
    assert outcomes(sim) == ["given up", *["delivered"] * 4]
    attempts = sim.deliveries[0].attempts
    assert (attempts[-1].at - attempts[0].at).total_seconds() == 3 * DAY
    assert (sim.webhooks[0].status, clock.sleepers) == ("active", 0)


async def test_a_success_begins_the_three_days_anew(sim: Simulator, receiver: Receiver, clock: FakeClock) -> None:
    """Only failure without any success between pauses a subscription."""
    receiver.answer = lambda post: 500 if post.event["action"] == "completed" else 200
    sim.webhook_rules = WebhookRules(delay=0, paused_after=100, dropped_after=1e6)
    sim.add_webhook(receiver.url)
    sim.send_event("completed", ROW)
    await clock.advance(90)
    sim.send_event("paused", ROW)
    await clock.advance(60)
    assert sim.webhooks[0].is_active
    await clock.advance(1000)
    assert not sim.webhooks[0].is_active


async def test_a_backlog_pauses(sim: Simulator, receiver: Receiver, clock: FakeClock) -> None:
    """One delivery too many in the queue pauses the subscription and clears it; another goes on."""
    assert WebhookRules().backlog == 100_000
    receiver.answer = lambda post: 500 if b"bulk_action.edit" in post.body else 200
    sim.webhook_rules = WebhookRules(delay=0, backlog=3)
    sim.add_webhook(receiver.url)
    for _ in range(3):
        sim.send_event("completed", ROW, object_type="bulk_action.edit")
        await clock.settle()
    assert sim.webhooks[0].is_active
    sim.send_event("completed", ROW)
    await clock.settle()
    assert (sim.webhooks[0].status, outcomes(sim)) == ("paused", ["cleared"] * 4)


@pytest.mark.parametrize("method", ["DELETE", "PUT"])
async def test_a_queue_is_cleared(api: Api, receiver: Receiver, clock: FakeClock, method: str) -> None:
    """Deleting or pausing a subscription takes back what it has not got, the copies and retries too."""
    api.sim.webhook_rules = WebhookRules(delay=5, repeat=1.0)
    subscription = api.sim.add_webhook(receiver.url)
    api.sim.send_event("completed", ROW)
    await clock.advance(3)
    await api.call(method, f"/webhook/{subscription.id}/", json_body={"status": "paused"})
    await clock.settle()
    assert (clock.sleepers, receiver.posts, outcomes(api.sim)) == (0, [], ["cleared"] * 2)


@pytest.mark.parametrize(("answer", "outcome"), [(200, "delivered"), (500, "cleared")])
async def test_a_delivery_that_is_under_way(
    api: Api, receiver: Receiver, clock: FakeClock, answer: int, outcome: str
) -> None:
    """A delivery that is out when its subscription goes is finished, and not tried again."""
    receiver.seconds = 10
    receiver.answer = lambda _: answer
    subscription = api.sim.add_webhook(receiver.url)
    api.sim.send_event("completed", ROW)
    await clock.advance(5)
    await api.call("DELETE", f"/webhook/{subscription.id}/")
    await clock.advance(7)
    assert (len(receiver.posts), outcomes(api.sim), clock.sleepers) == (1, [outcome], 0)
    assert api.sim.deliveries[0].attempts[0].status == answer


async def test_those_that_wait_for_a_courier_are_cleared(api: Api, receiver: Receiver, clock: FakeClock) -> None:
    """A few deliveries are out at once; the rest is still in the queue, and goes with it."""
    receiver.seconds = 10
    subscription = api.sim.add_webhook(receiver.url)
    for number in range(50):
        api.sim.send_event("completed", {"id": number})
    await clock.advance(5)
    assert len(receiver.posts) == receiver.most_at_once == 20
    await api.call("PUT", f"/webhook/{subscription.id}/", json_body={"status": "paused"})
    await clock.advance(1000)
    assert len(receiver.posts) == 20
    assert sorted(outcomes(api.sim)) == ["cleared"] * 30 + ["delivered"] * 20


async def test_a_burst_gets_through(sim: Simulator, receiver: Receiver, clock: FakeClock) -> None:
    """All of a burst arrive, each once, by a few couriers."""
    receiver.seconds = 1
    sim.add_webhook(receiver.url)
    for number in range(100):
        sim.send_event("completed", {"id": number})
    await clock.advance(10)
    assert sorted(post.event["object_id"] for post in receiver.posts) == list(range(100))
    assert receiver.most_at_once == 20
    assert instants(receiver)[-1] == 5.0


async def test_a_changed_address(api: Api, receiver: Receiver, clock: FakeClock) -> None:
    """What waits goes where the subscription points when it is sent."""
    subscription = api.sim.add_webhook("http://127.0.0.1:1/")
    api.sim.send_event("completed", ROW)
    await clock.advance(5)
    await api.call("PUT", f"/webhook/{subscription.id}/", json_body={"url": receiver.url})
    await clock.advance(100)
    assert outcomes(api.sim) == ["delivered"]


@pytest.mark.parametrize(
    ("url", "outcome"),
    [
        ("https://example.com/hook", "elsewhere"),
        ("http://10.0.0.1/hook", "elsewhere"),
        ("http://localhost.example.com/hook", "elsewhere"),
        ("http://127.0.0.1.example.com/hook", "elsewhere"),
        ("http://localhost:1/hook", "waiting"),
        ("http://127.0.0.2:1/hook", "waiting"),
        ("http://[::1]:1/hook", "waiting"),
    ],
)
async def test_nothing_leaves_this_machine(sim: Simulator, clock: FakeClock, url: str, outcome: str) -> None:
    """An address that is not the machine's own is subscribed like any other, and never called."""
    sim.add_webhook(url)
    sim.send_event("completed", ROW)
    await clock.advance(10)
    (delivery,) = sim.deliveries
    assert (delivery.outcome, len(delivery.attempts)) == (outcome, int(outcome == "waiting"))


async def test_an_address_that_moves_away(api: Api, receiver: Receiver, clock: FakeClock) -> None:
    """What waits for an address on this machine does not follow it to another."""
    subscription = api.sim.add_webhook(receiver.url)
    api.sim.send_event("completed", ROW)
    await api.call("PUT", f"/webhook/{subscription.id}/", json_body={"url": "http://10.0.0.1/"})
    await clock.advance(100)
    assert (outcomes(api.sim), api.sim.deliveries[0].attempts, clock.sleepers) == (["elsewhere"], (), 0)


def leftovers() -> list[str]:
    """The tasks of the simulator's that have not ended."""
    return [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("simulator")]


async def test_leaving_leaves_nothing(clock: FakeClock, receiver: Receiver) -> None:
    """With deliveries out, due and to come, the end of the block ends all tasks and connections."""
    receiver.seconds = 100
    async with Simulator(clock=clock, webhook_rules=WebhookRules(delay=(0, 50))) as sim:
        sim.add_webhook(receiver.url)
        sim.add_job("email", plan=Plan(duration=1000))
        for number in range(60):
            sim.send_event("completed", {"id": number})
        await clock.advance(40)
        assert set(leftovers()) == {"simulator agenda", "simulator courier"}
        assert receiver.most_at_once == 20
    assert leftovers() == []
    await clock.settle()
    assert clock.sleepers == 0
    came = len(receiver.posts)
    await clock.advance(1000)
    assert len(receiver.posts) == came


async def test_coming_back_goes_on(clock: FakeClock, receiver: Receiver) -> None:
    """What fell due in the meantime, or was interrupted, is sent when the simulator serves again."""
    receiver.seconds = 10
    sim = Simulator(clock=clock)
    async with sim:
        sim.add_webhook(receiver.url)
        sim.send_event("completed", ROW)
        await clock.advance(5)
        sim.send_event("paused", ROW)
    sim.add_job("email", plan=Plan(duration=20))
    await clock.advance(100)
    assert receiver.told == [(1.0, "completed")]
    async with sim:
        receiver.seconds = 0
        await clock.advance(10)
    assert sorted(action for _, action in receiver.told[1:4]) == ["completed", "created", "paused"]
    assert receiver.told[-1] == (106.0, "completed")
    assert set(outcomes(sim)) == {"delivered"}


async def test_a_fault_of_a_rule_is_not_lost(clock: FakeClock, receiver: Receiver) -> None:
    """What a function of a test's rules raises comes out of the block, and nothing is left."""

    def fail(_: object) -> bool:
        raise LookupError("of the test's own")

    with pytest.raises(LookupError, match="own"):
        async with Simulator(clock=clock, webhook_rules=WebhookRules(drop=fail)) as sim:
            job = sim.add_job("email", plan=Plan(duration=5))
            sim.add_webhook(receiver.url)
            await clock.advance(10)
            assert job.snapshot(clock.now())["status"] == "done"
    assert leftovers() == []
    assert (clock.sleepers, receiver.posts) == (0, [])


async def test_the_log_of_deliveries_is_bounded(clock: FakeClock) -> None:
    """It keeps the latest, as many as it keeps of requests."""
    sim = Simulator(clock=clock, keep_requests=3)
    sim.add_webhook("http://10.0.0.1/")
    for number in range(5):
        sim.send_event("completed", {"id": number})
    assert [delivery.event["object_id"] for delivery in sim.deliveries] == [2, 3, 4]


@pytest.fixture
async def on_the_machines_time() -> AsyncIterator[Simulator]:
    """A simulator without a clock of a test."""
    rules = WebhookRules(delay=0, retried_after=0.01, updated_every=0.01)
    async with Simulator(plan=Plan(duration=0.05), webhook_rules=rules) as sim:
        yield sim


async def test_the_machines_time(on_the_machines_time: Simulator) -> None:
    """Without a clock of a test a job is told from its creation to its end as well, retries included."""
    sim = on_the_machines_time
    done = asyncio.Event()
    answer = unwell(1)

    def take(post: Post) -> int:
        bodies = [other.body for other in receiver.posts]
        if len(set(bodies)) < len(bodies) and any(action == "completed" for _, action in receiver.told):
            done.set()
        return answer(post)

    async with Receiver(FakeClock(), take) as receiver:
        sim.add_webhook(receiver.url)
        sim.add_job("email")
        async with asyncio.timeout(30):
            await done.wait()
    assert {"created", "completed"} <= {action for _, action in receiver.told}


@pytest.mark.parametrize(
    "wrong",
    [
        {"updated_every": 0},
        {"retried_after": 0},
        {"retried_at_most": 0},
        {"delay": -1},
        {"delay": (1, -1)},
        {"timeout": -1},
    ],
)
def test_rules_that_are_refused(wrong: dict[str, float]) -> None:
    """A duration that is negative, or an interval of nothing that would never let time pass, is a `ValueError`."""
    with pytest.raises(ValueError, match=r"zero or more|> 0"):
        WebhookRules(**wrong)  # type: ignore[arg-type]  # the mistake
