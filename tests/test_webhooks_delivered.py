"""From the service over HTTP to the receiver and into a wait, however unreliable the way is."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal

import attrs
import pytest
from aiohttp import web

from closebulk_async import CloseBulk, PollPolicy, Status, webhooks
from closebulk_async.simulator import WebhookRules
from closebulk_async.webhook_models import WebhookEvent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.stage import Stage

pytestmark = pytest.mark.unmeasured

HOURLY = PollPolicy.fixed(3600)


@attrs.frozen
class Service:
    """A client whose events arrive at a receiver, and what has arrived."""

    close: CloseBulk
    told: list[WebhookEvent]


@asynccontextmanager
async def serving(stage: Stage, *, poll: PollPolicy = HOURLY, **ensure: Any) -> AsyncIterator[Service]:
    """A service as the page about webhooks shows one: a subscription, a receiver, a client."""
    told: list[WebhookEvent] = []

    async def on_event(event: WebhookEvent) -> None:
        told.append(event)

    async with AsyncExitStack() as stack:
        close = await stack.enter_async_context(stage.client(poll))
        app = web.Application()
        keys: list[str] = ["00"]  # the port, and so the URL, is known only when the receiver listens
        webhooks.setup(app, close, signature_key=keys, on_event=on_event, clock=stage.clock)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.01)
        stack.push_async_callback(runner.cleanup)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/close/webhook"
        webhook = await close.webhooks.ensure(url, **ensure)
        keys[:] = [webhook.signature_key]
        yield Service(close, told)


async def test_a_wait_ends_by_the_services_own_webhook(stage: Stage) -> None:
    """As late as the delivery takes, and without a poll between the first and the last."""
    stage.sim.webhook_rules = WebhookRules(delay=2)
    ref = stage.run_job(duration=100)
    async with serving(stage, final_only=True) as service:
        await service.close.wait_until_done(ref)
        assert [(event.ref, event.action) for event in service.told] == [(ref, "completed")]
    assert stage.now == 102.0
    assert stage.polls(ref) == [0.0, 102.0]


async def test_updates_arrive_while_the_action_runs(stage: Stage) -> None:
    """Each is the action's own, signed as the service signs, and wakes polls that show how far it is."""
    ref = stage.run_job(duration=100)
    async with serving(stage, poll=PollPolicy(), kinds=["email"]) as service:
        seen = [progress.n_objects_processed async for progress in service.close.wait_until_done(ref)]
    assert len(seen) > 5
    assert {event.ref for event in service.told} == {ref}
    assert [event.action for event in service.told].count("updated") > 5


async def test_a_failure_that_the_service_tells_is_known_at_once(stage: Stage) -> None:
    """By the filter of a subscription to final events only."""
    stage.sim.webhook_rules = WebhookRules(delay=1, tells_errors=True)
    ref = stage.run_job(duration=100, ends="error")
    async with serving(stage, final_only=True) as service:
        (outcome,) = await service.close.wait_all([ref])
    assert outcome.error is not None
    assert [event.action for event in service.told] == ["updated"]
    assert stage.now <= 110.0


RULES = {
    "shuffled": WebhookRules(delay=(0, 60)),
    "repeated": WebhookRules(repeat=0.8, repeated_after=(0, 30)),
    "lost": WebhookRules(drop=0.7),
    "all lost": WebhookRules(drop=1.0),
    "all at once": WebhookRules(delay=(0, 60), repeat=0.5, repeated_after=(0, 60), drop=0.3, tells_errors=True),
}


@pytest.mark.parametrize("final_only", [False, True], ids=["all", "final only"])
@pytest.mark.parametrize("rules", RULES.values(), ids=RULES)
async def test_no_way_of_delivery_changes_an_outcome(stage: Stage, rules: WebhookRules, *, final_only: bool) -> None:
    """Fifteen actions, some of which fail: each has its own end, known a safety beat after it at the latest."""
    stage.sim.webhook_rules = rules
    ends = {}
    for number in range(15):
        how: Literal["done", "error"] = "error" if number % 3 == 0 else "done"
        ends[stage.run_job(duration=20 + 50 * number, ends=how)] = (20 + 50 * number, how)
    async with serving(stage, poll=PollPolicy(), final_only=final_only) as service:
        async for progress in service.close.watch(*ends):
            if progress.is_final:
                at, expected = ends.pop(progress.ref)
                assert progress.status == Status(expected)
                assert at <= stage.now <= at + 125
        assert not ends
        if rules.drop == 1.0:
            assert service.told == []
    asked = len(stage.sim.requests)
    await stage.clock.advance(3600)  # in which the simulator still knocks at the receiver that has gone
    assert len(stage.sim.requests) == asked
