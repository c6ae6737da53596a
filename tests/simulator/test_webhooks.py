"""Subscriptions: what `/webhook/` takes, answers and refuses."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from attrs import evolve

from closebulk_async.simulator import Limits, Simulator, WebhookRules

if TYPE_CHECKING:
    from closebulk_async.testing import FakeClock

    from .api import Api, Reply, Row

URL = "http://127.0.0.1:1/hook"
COMPLETED: Row = {"object_type": "bulk_action.email", "action": "completed"}
PAUSED: Row = {"object_type": "bulk_action.email", "action": "paused"}


async def post(api: Api, **fields: object) -> Reply:
    """A POST of a subscription, of a usual one where nothing else is said."""
    body = {"url": URL, "events": [COMPLETED], **fields}
    return await api.call("POST", "/webhook/", json_body=body)


async def put(api: Api, webhook_id: object, **fields: object) -> Reply:
    """A PUT of these fields."""
    return await api.call("PUT", f"/webhook/{webhook_id}/", json_body=fields)


async def test_a_new_subscription(api: Api, clock: FakeClock) -> None:
    """A POST is a 201 with the address of the item, and with the key that signs: 32 bytes in hex."""
    reply = await post(api)
    row = reply.json()
    assert reply.status == 201
    assert reply.headers["location"] == f"/api/v1/webhook/{row['id']}/"
    assert re.fullmatch("whsub_[0-9A-Za-z]{22}", str(row["id"]))
    assert re.fullmatch("[0-9a-f]{64}", str(row.pop("signature_key")))
    assert row == {
        "created_by": api.sim.user_id,
        "date_created": clock.now().isoformat(timespec="microseconds"),
        "date_updated": clock.now().isoformat(timespec="microseconds"),
        "event_filter": None,
        "events": [{**COMPLETED, "extra_filter": None}],
        "id": row["id"],
        "organization_id": api.sim.organization_id,
        "status": "active",
        "updated_by": api.sim.user_id,
        "url": URL,
        "verify_ssl": True,
    }


async def test_no_two_keys_are_the_same(api: Api) -> None:
    """Each subscription has an id and a key of its own."""
    rows = [(await post(api, url=f"{URL}/{number}")).json() for number in range(3)]
    assert len({row["id"] for row in rows}) == len({row["signature_key"] for row in rows}) == 3


async def test_the_key_is_shown_once(api: Api) -> None:
    """Lists, GETs and PUTs leave the key out, unless the rule says that they show it; `_fields` narrows them."""
    new = (await post(api)).json()
    path = f"/webhook/{new['id']}/"
    kept = {name: value for name, value in new.items() if name != "signature_key"}
    assert (await api.get(path)).json() == kept
    assert (await api.get("/webhook/")).json() == {"data": [kept], "has_more": False}
    assert (await put(api, new["id"])).json() == kept
    api.sim.webhook_rules = WebhookRules(shows_key=True)
    assert (await api.get(path)).json() == new
    assert (await api.get("/webhook/?_fields=url,signature_key")).rows() == [
        {"signature_key": new["signature_key"], "url": URL},
    ]


async def test_a_subscription_is_changed(api: Api, clock: FakeClock) -> None:
    """A PUT changes what it names and the date, and nothing else; null names nothing."""
    row = (await post(api, event_filter={"type": "non_null"})).json()
    await clock.advance(5)
    other = f"{URL}/other"
    reply = await put(api, row["id"], url=other, events=[PAUSED], verify_ssl=False, status=None)
    assert reply.status == 200
    assert reply.json() == {
        **{name: value for name, value in row.items() if name != "signature_key"},
        "url": other,
        "events": [{**PAUSED, "extra_filter": None}],
        "verify_ssl": False,
        "date_updated": clock.now().isoformat(timespec="microseconds"),
    }
    assert (await put(api, row["id"], event_filter=None)).json()["event_filter"] is None
    (subscription,) = api.sim.webhooks
    assert (subscription.url, subscription.verify_ssl) == (other, False)


async def test_a_subscription_is_deleted(api: Api) -> None:
    """A DELETE is a 200 with an empty object, and then there is none."""
    row = (await post(api)).json()
    reply = await api.call("DELETE", f"/webhook/{row['id']}/")
    assert (reply.status, reply.json()) == (200, {})
    assert api.sim.webhooks == ()
    for method in ("GET", "PUT", "DELETE"):
        assert (await api.call(method, f"/webhook/{row['id']}/", json_body={})).status == 404


async def test_duplicates_are_refused(api: Api) -> None:
    """The same events for the same address, in any order, are refused with the id of what is there, also in a PUT."""
    first = (await post(api, events=[COMPLETED, PAUSED])).json()
    reply = await post(api, events=[PAUSED, {**COMPLETED, "extra_filter": None}])
    assert (reply.status, reply.error()) == (400, f"Duplicate active subscription: {first['id']}")
    other = (await post(api, events=[PAUSED])).json()
    assert (await put(api, other["id"], events=[COMPLETED, PAUSED])).status == 400
    assert (await api.get(f"/webhook/{other['id']}/")).json()["events"] == [{**PAUSED, "extra_filter": None}]
    assert (await put(api, first["id"], events=[COMPLETED, PAUSED])).status == 200


async def test_a_paused_subscription_is_no_duplicate(api: Api) -> None:
    """Another may take the place of a paused one, which then cannot be activated any more."""
    first = (await post(api)).json()
    assert (await put(api, first["id"], status="paused")).json()["status"] == "paused"
    assert (await post(api)).status == 201
    assert (await put(api, first["id"], verify_ssl=False)).status == 200
    assert (await put(api, first["id"], status="active")).status == 400
    assert (await put(api, first["id"], url=f"{URL}/other", status="active")).json()["status"] == "active"


async def test_the_limit_of_an_organization(api: Api) -> None:
    """There are as many subscriptions as the rule says and not one more, paused ones counted."""
    assert WebhookRules().at_most == 40
    api.sim.webhook_rules = WebhookRules(at_most=2)
    first = (await post(api)).json()
    await put(api, first["id"], status="paused")
    assert (await post(api, url=f"{URL}/1")).status == 201
    assert (await post(api, url=f"{URL}/2")).status == 400
    assert len(api.sim.webhooks) == 2


@pytest.mark.parametrize(
    ("fields", "errors"),
    [
        ({"url": None, "events": None}, {"url": "This field is required.", "events": "This field is required."}),
        ({"url": 1}, {"url": "Value must be of str type."}),
        ({"url": "ftp://127.0.0.1/"}, {"url": "Invalid URL."}),
        ({"url": "http:///hook"}, {"url": "Invalid URL."}),
        ({"url": "http://[1/"}, {"url": "Invalid URL."}),
        ({"events": COMPLETED}, {"events": "Value must be of list type."}),
        ({"events": []}, {"events": "List must not be empty."}),
        ({"verify_ssl": "yes"}, {"verify_ssl": "Value must be of bool type."}),
        ({"event_filter": {"type": "like"}}, {"event_filter": "Not a valid choice."}),
    ],
)
async def test_fields_that_are_refused(api: Api, fields: Row, errors: Row) -> None:
    """A body that does not fit is a 400 that names each field, and leaves nothing behind."""
    reply = await post(api, **fields)
    assert (reply.status, reply.json()) == (400, {"errors": [], "field-errors": errors})
    assert api.sim.webhooks == ()


@pytest.mark.parametrize(
    ("event", "error"),
    [
        ("completed", "Value must be of dict type."),
        ({"action": "created"}, {"field-errors": {"object_type": "This field is required."}}),
        ({"object_type": "lead"}, {"field-errors": {"action": "This field is required."}}),
        (
            {"object_type": "bulk_action.mail", "action": "created"},
            {"field-errors": {"object_type": "Not a valid choice."}},
        ),
        ({"object_type": "bulk_action.email", "action": "failed"}, {"field-errors": {"action": "Not a valid choice."}}),
        ({"object_type": "bulk_action.email"}, {"field-errors": {"action": "This field is required."}}),
        ({**COMPLETED, "extra_filter": {"type": "like"}}, {"field-errors": {"extra_filter": "Not a valid choice."}}),
    ],
)
async def test_events_that_are_refused(api: Api, event: object, error: object) -> None:
    """What is wrong with one event of the list stands at its index."""
    reply = await post(api, events=[COMPLETED, {"object_type": "lead", "action": "deleted"}, event])
    assert (reply.status, reply.json()) == (
        400,
        {"errors": [], "field-errors": {"events": {"errors": {"2": error}}}},
    )


async def test_an_unknown_status_is_refused(api: Api) -> None:
    """A subscription is active or paused; a POST makes an active one, whatever it says."""
    row = (await post(api, status="paused")).json()
    assert row["status"] == "active"
    reply = await put(api, row["id"], status="stopped")
    assert reply.json()["field-errors"] == {"status": "Not a valid choice."}


async def test_items_share_the_limit_of_the_list(api: Api) -> None:
    """A GET of a subscription and a GET of the list count for one endpoint group."""
    row = (await post(api)).json()
    api.sim.limits = Limits(rate=1, window=2, rates={"GET /me/": 9})
    statuses = [(await api.get(path)).status for path in ("/webhook/", f"/webhook/{row['id']}/", "/webhook/")]
    assert statuses == [200, 200, 429]


async def test_ids_of_jobs_are_the_same_with_webhooks(api: Api) -> None:
    """Subscriptions and events draw from chance of their own."""
    first = await api.start()
    await post(api)
    await post(api, url=f"{URL}/1")
    second = await api.start()
    async with Simulator(clock=api.clock) as sim:
        other = evolve(api, sim=sim)
        assert [await other.start(), await other.start()] == [first, second]


async def test_a_subscription_without_a_request(api: Api) -> None:
    """`add_webhook` subscribes to all events of all kinds of jobs, and a GET shows it like any other."""
    subscription = api.sim.add_webhook(URL)
    assert len(subscription.events) == 22
    row = (await api.get(f"/webhook/{subscription.id}/")).json()
    assert row["events"] == list(subscription.events)
    assert subscription.signature_key not in repr(subscription)
