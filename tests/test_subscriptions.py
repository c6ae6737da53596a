"""Webhook subscriptions: read, made, changed and ended, and never two where one was wanted."""

from __future__ import annotations

import json
import logging
import pickle
from typing import TYPE_CHECKING, Any

import pytest

from closebulk_async import (
    APIError,
    BadRequestError,
    CloseBulk,
    DecodeError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitedError,
    RetryPolicy,
    TransportError,
)
from closebulk_async.errors import DuplicateWebhookError, SignatureKeyNotShown
from closebulk_async.models import BULK_KINDS, Kind
from closebulk_async.signing import read_keys
from closebulk_async.simulator import WebhookRules, faults
from closebulk_async.webhook_models import Webhook, WebhookStatus
from closebulk_async.webhook_wire import IS_FINAL, job_events
from tests.letters import KEY, OTHER_KEY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from closebulk_async.simulator import Fault, Simulator
    from tests.stage import Stage

URL = "http://127.0.0.1:9/close/webhook"
LEADS = [{"object_type": "lead", "action": "created"}]


def sent(sim: Simulator, method: str = "POST") -> list[Any]:
    """The bodies of the requests of that method, in order."""
    return [json.loads(request.body or b"null") for request in sim.requests if request.method == method]


def warnings(caplog: pytest.LogCaptureFixture) -> Sequence[str]:
    """What was warned of."""
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


# One at a time ---------------------------------------------------------------------------------------------------


async def test_the_key_is_shown_when_a_subscription_is_made(stage: Stage) -> None:
    """And then no more: to read it where it is not known raises, and does not pass for None."""
    made = await stage.close.webhooks.create(url=URL, events=LEADS)
    assert len(read_keys(made.signature_key)) == 1
    assert (made.url, made.status, made.is_active, made.verify_ssl) == (URL, WebhookStatus.ACTIVE, True, True)
    for again in (await stage.close.webhooks.get(made.id), *await stage.close.webhooks.list()):
        assert (again.id, hash(again)) == (made.id, hash(made))
        with pytest.raises(SignatureKeyNotShown, match=made.id) as caught:
            _ = again.signature_key
        assert caught.value.id == made.id
        assert getattr(again, "signature_key", None) is None
        assert again.unset == {"signature_key"}


async def test_what_is_given_is_sent(stage: Stage) -> None:
    """With the path and the spelling of the service."""
    event_filter = {"type": "non_null"}
    await stage.close.webhooks.create(url=URL, events=iter(LEADS), verify_ssl=False, event_filter=event_filter)
    assert sent(stage.sim) == [{"url": URL, "events": LEADS, "verify_ssl": False, "event_filter": event_filter}]
    assert [request.path for request in stage.sim.requests] == ["/api/v1/webhook/"]
    await stage.close.webhooks.create(url=f"{URL}/2", events=LEADS)
    assert sent(stage.sim)[1] == {"url": f"{URL}/2", "events": LEADS, "verify_ssl": True}


async def test_an_update_changes_what_it_names(stage: Stage) -> None:
    """And nothing else; the subscription or its id names which."""
    made = await stage.close.webhooks.create(url=URL, events=LEADS)
    paused = await stage.close.webhooks.update(made, status="paused")
    assert (paused.id, paused.is_active, paused.url) == (made.id, False, URL)
    moved = await stage.close.webhooks.update(made.id, url=f"{URL}/2", events=job_events(["email"]), verify_ssl=False)
    assert (moved.url, moved.verify_ssl, moved.status) == (f"{URL}/2", False, "paused")
    assert len(moved.events) == 4
    assert sent(stage.sim, "PUT")[0] == {"status": "paused"}
    assert (await stage.close.webhooks.get(made)).url == f"{URL}/2"


async def test_a_deleted_subscription_is_gone(stage: Stage) -> None:
    """To delete it again is an error, as for any id that is none."""
    made = await stage.close.webhooks.create(url=URL, events=LEADS)
    await stage.close.webhooks.delete(made)
    assert not await stage.close.webhooks.list()
    for call in (
        stage.close.webhooks.delete(made.id),
        stage.close.webhooks.get(made),
        stage.close.webhooks.update(made, status="active"),
    ):
        with pytest.raises(NotFoundError):
            await call


BAD_IDS: list[Any] = ["", "a/b", "../me", None, 7]
BAD_URLS: list[Any] = ["", "example.com/hook", "ftp://example.com/", "https://", "http://[", None, 7]
BAD_EVENTS: list[Any] = [[], ["lead"], [{"object_type": "lead"}], [{"object_type": "lead", "action": None}]]


@pytest.mark.parametrize("id_", BAD_IDS)
async def test_what_is_no_id_is_asked_for_nowhere(stage: Stage, id_: str) -> None:
    """Before any request."""
    webhooks = stage.close.webhooks
    for call in (webhooks.get(id_), webhooks.delete(id_), webhooks.update(id_, status="active")):
        with pytest.raises(InvalidRequestError, match="no id of a subscription"):
            await call
    assert stage.sim.requests == ()


@pytest.mark.parametrize("url", BAD_URLS)
async def test_what_is_no_address_is_not_sent(stage: Stage, url: str) -> None:
    """Nor shown: addresses of webhooks may hold secrets."""
    webhooks = stage.close.webhooks
    calls = [webhooks.create(url=url, events=LEADS), webhooks.ensure(url)]
    for call in calls if url is None else [*calls, webhooks.update("whsub_1", url=url)]:
        with pytest.raises(InvalidRequestError, match="url must be the address of a receiver, like"):
            await call
    assert stage.sim.requests == ()


@pytest.mark.parametrize("events", BAD_EVENTS)
async def test_what_are_no_events_is_not_sent(stage: Stage, events: list[dict[str, Any]]) -> None:
    """A subscription to nothing tells nothing."""
    for call in (
        stage.close.webhooks.create(url=URL, events=events),
        stage.close.webhooks.update("whsub_1", events=events),
    ):
        with pytest.raises(InvalidRequestError, match="events"):
            await call
    assert stage.sim.requests == ()


async def test_more_that_cannot_be_sent(stage: Stage) -> None:
    """No change, no JSON, no kind, no key: each is the caller's mistake, before any request."""
    webhooks = stage.close.webhooks
    for call, said in (
        (webhooks.update("whsub_1"), "nothing to change"),
        (webhooks.create(url=URL, events=LEADS, event_filter={"value": object()}), "cannot be sent as JSON"),
        (webhooks.ensure(URL, kinds="email"), r"write \['email'\]"),
        (webhooks.ensure(URL, kinds=["mail"]), "'mail' is no kind"),
        (webhooks.ensure(URL, kinds=[]), "events must hold"),
        (webhooks.ensure(URL, signature_key="no key"), "signature_key must be hexadecimal"),
        (webhooks.ensure(URL, signature_key=""), "signature_key must be hexadecimal"),
    ):
        with pytest.raises(InvalidRequestError, match=said):
            await call
    assert stage.sim.requests == ()


async def test_refusals_are_the_errors_of_their_statuses(stage: Stage) -> None:
    """A 400 that tells of no duplicate is no duplicate."""
    stage.sim.fail_next(faults.forbidden())
    with pytest.raises(PermissionDeniedError):
        await stage.close.webhooks.list()
    stage.sim.fail_next(faults.invalid_fields({"url": "Invalid URL."}), method="POST")
    with pytest.raises(BadRequestError, match="Invalid URL") as caught:
        await stage.close.webhooks.create(url=URL, events=LEADS)
    assert type(caught.value) is BadRequestError
    assert len(sent(stage.sim)) == 1


@pytest.mark.parametrize("body", ["[]", '{"data":7}', '{"data":[7]}', '{"data":[{}]}', "no json"])
async def test_a_list_that_is_none_is_no_empty_list(stage: Stage, body: str) -> None:
    """It would have `ensure` make a second subscription."""
    stage.sim.fail_next(faults.reply(200, body, content_type="application/json"), times=None)
    with pytest.raises(DecodeError):
        await stage.close.webhooks.ensure(URL)
    assert sent(stage.sim) == []


# Which events ----------------------------------------------------------------------------------------------------


def test_all_events_of_all_actions() -> None:
    """Four kinds with four actions each, and no filter."""
    events = job_events()
    assert len(events) == 16
    assert {event["object_type"] for event in events} == {f"bulk_action.{kind}" for kind in BULK_KINDS}
    assert {event["action"] for event in events} == {"created", "updated", "completed", "paused"}
    assert {event["extra_filter"] for event in events} == {None}


def test_final_events_are_those_after_which_nothing_moves() -> None:
    """Completed and paused, and updates to a status that is final: a failure shows in nothing else."""
    events = job_events([Kind.EDIT, "edit"], final_only=True)
    assert {event["action"]: event["extra_filter"] for event in events} == {
        "updated": {
            "type": "field_accessor",
            "field": "data",
            "filter": {
                "type": "field_accessor",
                "field": "status",
                "filter": {
                    "type": "or",
                    "filters": [{"type": "equals", "value": "done"}, {"type": "equals", "value": "error"}],
                },
            },
        },
        "completed": None,
        "paused": None,
    }
    assert len(events) == 3


# Ensure ----------------------------------------------------------------------------------------------------------


async def test_a_subscription_is_made_once(stage: Stage) -> None:
    """Who kept the key of the first call gets it back from all that follow, in other processes too."""
    made = await stage.close.webhooks.ensure(URL)
    again = await stage.close.webhooks.ensure(URL, signature_key=made.signature_key)
    async with stage.client() as other:
        later = await other.webhooks.ensure(URL, signature_key=made.signature_key)
    assert {(row.id, row.signature_key) for row in (made, again, later)} == {(made.id, made.signature_key)}
    assert len(sent(stage.sim)) == 1
    assert len(await stage.close.webhooks.list()) == 1


async def test_nobody_listens_without_a_key(stage: Stage) -> None:
    """A subscription whose key was lost is named: it can be deleted, and made anew."""
    made = await stage.close.webhooks.ensure(URL)
    with pytest.raises(SignatureKeyNotShown) as caught:
        await stage.close.webhooks.ensure(URL)
    assert caught.value.id == made.id
    await stage.close.webhooks.delete(caught.value.id)
    anew = await stage.close.webhooks.ensure(URL)
    assert anew.id != made.id
    assert anew.signature_key != made.signature_key


async def test_a_service_that_shows_the_key_needs_none(stage: Stage) -> None:
    """Whether it does is unconfirmed."""
    stage.sim.webhook_rules = WebhookRules(shows_key=True)
    made = await stage.close.webhooks.ensure(URL)
    assert (await stage.close.webhooks.ensure(URL)).signature_key == made.signature_key


async def test_a_new_key_is_returned_and_warned_of(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """Where the subscription of the kept key is gone, the new one has another; the log shows neither."""
    made = await stage.close.webhooks.ensure(URL, signature_key=KEY)
    assert made.signature_key != KEY
    assert [text for text in warnings(caplog) if made.id in text and "keep the new one" in text]
    assert KEY not in caplog.text
    assert made.signature_key not in caplog.text


async def test_a_paused_subscription_is_activated(stage: Stage) -> None:
    """As the service asks for when it has paused one that failed for days."""
    made = await stage.close.webhooks.ensure(URL)
    await stage.close.webhooks.update(made, status="paused")
    again = await stage.close.webhooks.ensure(URL, signature_key=made.signature_key)
    assert (again.id, again.is_active, again.signature_key) == (made.id, True, made.signature_key)
    assert (await stage.close.webhooks.get(made)).is_active
    assert len(sent(stage.sim)) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"kinds": ["email"]},
        {"final_only": True},
    ],
)
async def test_another_choice_of_events_is_another_subscription(
    stage: Stage, other: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Then events come twice, which the log tells."""
    first = await stage.close.webhooks.ensure(URL)
    assert not warnings(caplog)
    second = await stage.close.webhooks.ensure(URL, **other)
    assert second.id != first.id
    (warning,) = warnings(caplog)
    assert first.id in warning
    assert second.id in warning
    assert URL not in warning
    assert (await stage.close.webhooks.ensure(URL, signature_key=first.signature_key)).id == first.id
    assert (await stage.close.webhooks.ensure(URL, signature_key=KEY, **other)).id == second.id


async def test_subscriptions_elsewhere_or_paused_are_nobodys_business(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """Another URL is another receiver, and what is paused sends nothing."""
    await stage.close.webhooks.ensure(f"{URL}/other")
    paused = await stage.close.webhooks.create(url=URL, events=LEADS)
    await stage.close.webhooks.update(paused, status="paused")
    made = await stage.close.webhooks.ensure(URL)
    assert made.id != paused.id
    assert not warnings(caplog)
    assert not (await stage.close.webhooks.get(paused)).is_active


async def test_a_filter_makes_another_subscription(stage: Stage) -> None:
    """One that keeps events back is not used for those that want all."""
    filtered = await stage.close.webhooks.create(url=URL, events=job_events(), event_filter=dict(IS_FINAL))
    await stage.close.webhooks.update(filtered, status="paused")
    assert (await stage.close.webhooks.ensure(URL)).id != filtered.id


async def test_the_order_and_the_spelling_of_events_do_not_matter(stage: Stage) -> None:
    """A filter that is left out is as one that is null."""
    events = [{"action": event["action"], "object_type": event["object_type"]} for event in reversed(job_events())]
    made = await stage.close.webhooks.create(url=URL, events=events)
    assert (await stage.close.webhooks.ensure(URL, signature_key=made.signature_key)).id == made.id


async def test_of_several_alike_it_is_always_the_same(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """An active one before a paused one, whichever comes first in the list; the key that was kept belongs to it."""
    ids = []
    for _ in range(3):
        made = await stage.close.webhooks.create(url=URL, events=job_events())
        ids.append((await stage.close.webhooks.update(made, status="paused")).id)
    assert (await stage.close.webhooks.ensure(URL, signature_key=KEY)).id == min(ids)
    active = max(ids)
    await stage.close.webhooks.update(min(ids), status="paused")
    await stage.close.webhooks.update(active, status="active")
    assert (await stage.close.webhooks.ensure(URL, signature_key=KEY)).id == active
    assert not warnings(caplog)


# Duplicates ------------------------------------------------------------------------------------------------------


async def test_a_duplicate_names_the_subscription_that_is_there(stage: Stage) -> None:
    """By the text of the service's refusal."""
    made = await stage.close.webhooks.create(url=URL, events=LEADS)
    with pytest.raises(DuplicateWebhookError) as caught:
        await stage.close.webhooks.create(url=URL, events=LEADS)
    assert isinstance(caught.value, BadRequestError)
    assert caught.value.ids == (made.id,)
    assert pickle.loads(pickle.dumps(caught.value)).ids == (made.id,)  # noqa: S301 - made right here


NOTHING = faults.reply(200, '{"data":[]}', content_type="application/json")


async def test_a_subscription_that_the_list_did_not_show_is_used(stage: Stage) -> None:
    """Made by somebody else between the look and the POST: the service's refusal says which one it is."""
    made = await stage.close.webhooks.ensure(URL)
    stage.sim.fail_next(NOTHING, path="/webhook/", method="GET")
    again = await stage.close.webhooks.ensure(URL, signature_key=made.signature_key)
    assert (again.id, again.signature_key) == (made.id, made.signature_key)
    assert len(await stage.close.webhooks.list()) == 1


@pytest.mark.parametrize("said", ["whsub_gone", "none at all"])
async def test_a_duplicate_that_cannot_be_read_stays_an_error(stage: Stage, said: str) -> None:
    """It may be another user's, which this key does not see, or one that has no id in the text."""
    text = json.dumps({"error": f"Duplicate active subscription found: {said}"})
    stage.sim.fail_next(faults.reply(400, text, content_type="application/json"), method="POST")
    with pytest.raises(DuplicateWebhookError, match="Duplicate active subscription"):
        await stage.close.webhooks.ensure(URL)


async def test_a_duplicate_of_another_url_is_not_taken_for_ones_own(stage: Stage) -> None:
    """What it names is looked at."""
    other = await stage.close.webhooks.ensure(f"{URL}/other")
    text = json.dumps({"error": f"Duplicate active subscription found: {other.id}"})
    stage.sim.fail_next(faults.reply(400, text, content_type="application/json"), method="POST")
    with pytest.raises(DuplicateWebhookError):
        await stage.close.webhooks.ensure(URL)


# Doubt -----------------------------------------------------------------------------------------------------------

DONE = [
    faults.cut_after(),
    faults.hang(acts=True),
    faults.server_error(acts=True),
    faults.truncated_body(),
    faults.broken_json(),
    faults.altered(without=["id"]),
    faults.altered(events="none"),
    faults.no_content(),
]
"""The service has done what was asked, and its answer does not look like it."""

NOT_DONE = [faults.cut_before(), faults.hang(), faults.server_error(), faults.redirect("/elsewhere")]
"""The service has done nothing, and nobody can know."""


def by_name(fault: Fault) -> str:
    """What the fault is called, and whether the service acts."""
    return f"{fault.name} {'done' if fault.acts else 'not done'}"


each_fault = pytest.mark.parametrize("fault", [*DONE, *NOT_DONE], ids=by_name)


@each_fault
async def test_a_lost_answer_makes_no_second_subscription(stage: Stage, fault: Fault) -> None:
    """One that was made is found, without its key; one that was not is made."""
    stage.sim.fail_next(fault, method="POST")
    made = await stage.close.webhooks.create(url=URL, events=LEADS)
    assert [row.id for row in await stage.close.webhooks.list()] == [made.id]
    assert len(sent(stage.sim)) == (1 if fault.acts else 2)
    assert ("signature_key" in made.unset) is fault.acts


@each_fault
async def test_ensure_after_a_lost_answer_has_a_key_or_says_so(stage: Stage, fault: Fault) -> None:
    """It never returns a subscription without one, and leaves one subscription behind."""
    stage.sim.fail_next(fault, method="POST")
    if fault.acts:
        with pytest.raises(SignatureKeyNotShown):
            await stage.close.webhooks.ensure(URL)
    else:
        assert (await stage.close.webhooks.ensure(URL)).signature_key
    assert len(await stage.close.webhooks.list()) == 1


@each_fault
async def test_a_lost_answer_loses_no_change(stage: Stage, fault: Fault) -> None:
    """The change is there afterwards, and the answer says so."""
    made = await stage.close.webhooks.create(url=URL, events=LEADS)
    stage.sim.fail_next(fault, method="PUT")
    changed = await stage.close.webhooks.update(made, status="paused", events=job_events())
    for row in (changed, await stage.close.webhooks.get(made)):
        assert (row.status, len(row.events)) == ("paused", 16)


@pytest.mark.parametrize(
    "fault",
    [faults.cut_after(), faults.hang(acts=True), faults.server_error(acts=True), faults.no_content(), *NOT_DONE],
    ids=by_name,
)
async def test_a_lost_answer_ends_a_subscription_all_the_same(stage: Stage, fault: Fault) -> None:
    """That it is gone already is then no error."""
    made = await stage.close.webhooks.create(url=URL, events=LEADS)
    stage.sim.fail_next(fault, method="DELETE")
    await stage.close.webhooks.delete(made)
    assert not await stage.close.webhooks.list()


async def test_a_refusal_after_a_lost_answer_is_judged_by_a_look(stage: Stage) -> None:
    """The list is late; the second POST is refused as a duplicate of the first, which is then found."""
    stage.sim.fail_next(faults.cut_after(), method="POST")
    stage.sim.fail_next(NOTHING, path="/webhook/", method="GET")
    made = await stage.close.webhooks.create(url=URL, events=LEADS)
    assert [row.id for row in await stage.close.webhooks.list()] == [made.id]
    assert len(sent(stage.sim)) == 2


async def test_patience_ends(stage: Stage) -> None:
    """As often as the policy allows, with a look after each; then the error is raised."""
    stage.sim.fail_next(faults.server_error(), method="POST", times=None)
    async with stage.client(retry=RetryPolicy(attempts=3)) as close:
        with pytest.raises(APIError, match="502"):
            await close.webhooks.create(url=URL, events=LEADS)
    assert [request.method for request in stage.sim.requests] == ["POST", "GET"] * 3


async def test_what_was_never_sent_leaves_no_doubt(stage: Stage) -> None:
    """Nothing is looked for."""
    base_url = "http://127.0.0.1:9/api/v1"  # the port of «discard», where nobody listens
    async with CloseBulk(stage.sim.api_key, base_url=base_url, clock=stage.clock) as close:
        with pytest.raises(TransportError) as caught:
            await close.webhooks.create(url=URL, events=LEADS)
    assert (caught.value.request, caught.value.sent) == ("POST /webhook/", False)


async def test_what_the_budget_has_no_place_for_leaves_no_doubt(stage: Stage) -> None:
    """A 429 stops the group for longer than the policy waits: nothing is sent, and nothing is looked for."""
    stage.sim.fail_next(faults.too_many_requests(retry_after=600), method="POST")
    async with stage.client(retry=RetryPolicy(max_wait=10)) as close:
        for _ in range(2):
            with pytest.raises(RateLimitedError):
                await close.webhooks.create(url=URL, events=LEADS)
    assert [request.method for request in stage.sim.requests] == ["POST"]


async def test_what_is_looked_for_is_what_was_made(stage: Stage) -> None:
    """Not one that is alike and paused, nor one of another URL, both of which were there before."""
    paused = await stage.close.webhooks.create(url=URL, events=LEADS)
    await stage.close.webhooks.update(paused, status="paused")
    other = await stage.close.webhooks.create(url=f"{URL}/other", events=LEADS)
    stage.sim.fail_next(faults.server_error(), method="POST")
    made = await stage.close.webhooks.create(url=URL, events=LEADS)
    assert made.id not in {paused.id, other.id}


async def test_a_change_that_is_seen_is_not_sent_again(stage: Stage) -> None:
    """Which a look tells after a lost answer."""
    made = await stage.close.webhooks.create(url=URL, events=LEADS)
    stage.sim.fail_next(faults.server_error(acts=True), method="PUT")
    await stage.close.webhooks.update(made, status="paused", events=job_events())
    assert len(sent(stage.sim, "PUT")) == 1


# Secrets ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "row",
    [
        {"signature_key": KEY},
        {"signature_key": [KEY], "id": "whsub_1", "url": URL, "status": "active", "events": []},
        {"signature_key": KEY, "id": KEY * 9 + "/", "url": URL, "status": "active", "events": []},
        {"signature_key": KEY, "id": "whsub_1", "url": 7, "status": "active", "events": []},
        {"signature_key": KEY, "id": "whsub_1", "url": URL, "events": []},
        {"signature_key": KEY, "id": "whsub_1", "url": URL, "status": "active"},
        [KEY],
    ],
)
async def test_no_error_shows_the_key_of_an_odd_answer(
    stage: Stage, row: object, caplog: pytest.LogCaptureFixture
) -> None:
    """The error of any other answer shows its beginning."""
    caplog.set_level(logging.DEBUG)
    odd = faults.reply(200, json.dumps(row), content_type="application/json")
    stage.sim.fail_next(odd, times=None)
    with pytest.raises(DecodeError) as caught:
        await stage.close.webhooks.get("whsub_1")
    shown = f"{caught.value} {caught.value!r} {vars(caught.value)} {caught.value.__context__!r}"
    assert KEY not in shown
    assert KEY not in caplog.text


async def test_a_key_that_is_null_was_not_shown(stage: Stage) -> None:
    """Another way in which the service may keep it to itself."""
    row = {**Webhook.example().to_dict(), "signature_key": None}
    stage.sim.fail_next(faults.reply(200, json.dumps(row), content_type="application/json"))
    with pytest.raises(SignatureKeyNotShown):
        _ = (await stage.close.webhooks.get("whsub_example")).signature_key


def test_the_repr_of_a_subscription_hides_its_key() -> None:
    """Which is what logs and test reports show; who wants it reads the attribute, or keeps the JSON."""
    webhook = Webhook.example(signature_key=KEY)
    assert KEY not in repr(webhook)
    assert "signature_key='***'" in repr(webhook)
    assert webhook.signature_key == KEY
    assert Webhook.from_dict(webhook.to_dict()) == webhook == pickle.loads(pickle.dumps(webhook))  # noqa: S301 - ours
    assert webhook != Webhook.example(signature_key=OTHER_KEY)
    assert "signature_key" not in repr(Webhook.example())
    with pytest.raises(AttributeError, match="no attribute 'signing_key'"):
        getattr(webhook, "signing_key")  # noqa: B009 - a type checker would refuse it
