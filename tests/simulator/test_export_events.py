"""Events of exports, told to those who subscribed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from closebulk_async.simulator import ExportRules, WebhookRules

from .test_exports import start

if TYPE_CHECKING:
    from closebulk_async.testing import FakeClock

    from .api import Api
    from .receivers import Receiver


@pytest.mark.parametrize("kind", ["lead", "opportunity"])
async def test_the_events_of_an_export(api: Api, receiver: Receiver, clock: FakeClock, kind: str) -> None:
    """It is created, updated when its status or a count moves, and completed with the address of its file."""
    api.sim.webhook_rules = WebhookRules(delay=0, updated_every=4)
    api.sim.export_rules = ExportRules(shows_counts=True)
    api.sim.add_webhook(receiver.url)
    row = await start(api, kind)
    await clock.advance(100)
    assert receiver.told == [(0.0, "created"), (4.0, "updated"), (8.0, "updated"), (10.0, "completed")]
    created, *_, completed = (post.event for post in receiver.posts)
    assert {(post.event["object_type"], post.event["object_id"]) for post in receiver.posts} == {
        (f"export.{kind}", row["id"])
    }
    assert created["meta"]["request_path"] == f"/api/v1/export/{kind}/"
    assert (created["data"]["status"], completed["previous_data"]["status"]) == ("created", "in_progress")
    assert completed["data"]["status"] == "done"
    async with clock.timeout(60), api.session.get(completed["data"]["download_url"]) as response:
        assert response.status == 200


async def test_the_status_alone(api: Api, receiver: Receiver, clock: FakeClock) -> None:
    """Where documents are not counted, an export is updated only when its status is another; a failure is not told."""
    api.sim.webhook_rules = WebhookRules(delay=0, updated_every=1)
    api.sim.add_webhook(receiver.url)
    api.sim.next_export(duration=20, starting=5, ends="error")
    await start(api)
    await clock.advance(100)
    assert receiver.told == [(0.0, "created"), (3.0, "updated"), (5.0, "updated")]
    assert [post.event["data"]["status"] for post in receiver.posts] == ["created", "started", "in_progress"]


async def test_one_that_was_there_before(api: Api, receiver: Receiver, clock: FakeClock) -> None:
    """An export that runs when somebody subscribes is told about from then on."""
    api.sim.add_export(age=5)
    api.sim.add_webhook(receiver.url, events=[{"object_type": "export.lead", "action": "completed"}])
    await clock.advance(100)
    assert receiver.told == [(6.0, "completed")]


@pytest.mark.parametrize(
    ("object_type", "action", "status"),
    [
        ("export.lead", "updated", 201),
        ("export.opportunity", "completed", 201),
        ("export.lead", "paused", 400),
        ("export.contact", "created", 400),
    ],
)
async def test_what_may_be_subscribed_to(api: Api, object_type: str, action: str, status: int) -> None:
    """An export is never paused, and there are exports of leads and opportunities only."""
    events = [{"object_type": object_type, "action": action}]
    reply = await api.call("POST", "/webhook/", json_body={"url": "https://example.com/hook", "events": events})
    assert reply.status == status
