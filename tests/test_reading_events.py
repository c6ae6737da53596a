"""What a signed webhook says is read as it was meant, or passed over; nothing of it is a crash."""

from __future__ import annotations

import json
import pickle
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from closebulk_async import BulkEmail, InvalidRequestError, JobRef
from closebulk_async.errors import InvalidWebhookError
from closebulk_async.models import BULK_KINDS, Kind, Status
from closebulk_async.webhook_models import WebhookEvent
from tests.letters import EVENT, OTHER_KEY, sign, write
from tests.test_signing import NOW, receive

NO_EVENTS = [
    b"",
    b"no json",
    b"\xff",
    b"[]",
    b"null",
    b"7",
    b"{}",
    b'{"event":null}',
    b'{"event":[]}',
    b'{"event":"text"}',
    b'{"event":{}}',
    write(id=7),
    write(action=7),
    write(object_type=None),
    write(object_id=["bulkemail_1"]),
    write(id=7, meta=[]),
    *(write({name: value for name, value in EVENT.items() if name != part}) for part in ("id", "action", "object_id")),
    write({name: value for name, value in EVENT.items() if name != "object_type"}),
    b"[" * 100_000,
]


@pytest.mark.parametrize("body", NO_EVENTS, ids=lambda body: body[:20].decode(errors="replace"))
def test_what_is_signed_and_no_event_is_refused(body: bytes) -> None:
    """With the same error, which says that the signature is good, also in another process."""
    with pytest.raises(InvalidWebhookError, match="signed as it should be") as caught:
        receive(body)
    assert caught.value.is_signed
    assert pickle.loads(pickle.dumps(caught.value)).is_signed  # noqa: S301 - made right here


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"event":"text"}', "is not what the service documents"),
        (write({name: value for name, value in EVENT.items() if name != "action"}), "its event has no 'action'"),
        (b'{"event":{}}', "its event has no 'action'"),
    ],
    ids=["text", "without", "empty"],
)
def test_what_cannot_be_read_is_said(body: bytes, said: str) -> None:
    """What is wrong with it, and the first part that is missing."""
    with pytest.raises(InvalidWebhookError) as caught:
        receive(body)
    assert str(caught.value) == f"it is signed as it should be, but {said}"
    assert caught.value.is_signed is True


def test_what_does_not_fit_is_not_called_signed() -> None:
    """Neither a forgery nor what was signed too long ago: those are answered with a refusal."""
    body = write(id=7)
    refused: list[dict[str, Any]] = [
        {"headers": {}},
        {"headers": sign(body, key=OTHER_KEY)},
        {"tolerance": 1, "now": NOW - timedelta(hours=1)},
    ]
    for options in refused:
        with pytest.raises(InvalidWebhookError) as caught:
            receive(body, **options)
        assert not caught.value.is_signed


ODD_PARTS: list[dict[str, Any]] = [
    {"data": []},
    {"data": "done"},
    {"previous_data": 7},
    {"meta": []},
    {"lead_id": 5},
    {"request_id": {}},
    {"changed_fields": {"status": 1}},
    {"date_created": "yesterday"},
    {"date_updated": 1547556503},
    {"data": [], "meta": 1.5, "user_id": False, "mood": "good"},
]


@pytest.mark.parametrize("odd", ODD_PARTS, ids=str)
def test_an_event_with_odd_parts_is_read_without_them(odd: dict[str, Any]) -> None:
    """They are unset, `extra` has them as they came, and nothing that is done with events minds."""
    event = receive(write(**odd))
    assert event.extra == odd
    assert event.unset == odd.keys() - {"mood"}
    assert (event.ref, event.action) == (JobRef(Kind.EMAIL, "bulkemail_1"), "updated")
    assert event.is_rest is ("data" not in odd)
    again = WebhookEvent.from_dict(json.loads(event.to_json()))
    assert [again, pickle.loads(pickle.dumps(event))] == [event] * 2  # noqa: S301 - made right here
    assert len({event, again}) == 1


def test_an_odd_part_of_the_envelope_is_read_without_it() -> None:
    """The subscription is no part of what happened."""
    body = json.dumps({"event": EVENT, "subscription_id": 7}).encode()
    assert receive(body, sign(body)).extra == {"subscription_id": 7}


def test_an_event_keeps_nothing_of_its_callers() -> None:
    """What the caller changes afterwards is not seen in it, odd or not."""
    told = {**EVENT, "meta": [{}], "mood": {}}
    event = WebhookEvent.from_dict(told)
    told["meta"][0]["changed"] = told["mood"]["changed"] = True
    assert event.extra == {"meta": [{}], "mood": {}}


@pytest.mark.parametrize("told", [7, [], {"id": 7}, {**EVENT, "action": None, "meta": []}])
def test_what_is_about_nothing_is_no_event(told: dict[str, Any]) -> None:
    """That is the caller's mistake where it did not come from the service."""
    with pytest.raises(InvalidRequestError):
        WebhookEvent.from_dict(told)


def test_what_is_too_deep_is_no_crash() -> None:
    """It is genuine, and cannot be read."""
    body = write().replace(b'"status": "done"', b'"status": ' + b"[" * 1000 + b"]" * 1000)
    with pytest.raises(InvalidWebhookError) as caught:
        receive(body)
    assert caught.value.is_signed


def test_an_event_has_the_fields_of_the_payload() -> None:
    """Under their own names, with the subscription beside them and what is unknown in `extra`."""
    event = receive(write(mood="good"))
    assert {name: value for name, value in event.to_dict().items() if "date" not in name} == {
        **{name: value for name, value in EVENT.items() if "date" not in name},
        "subscription_id": "whsub_1",
        "mood": "good",
    }
    assert event.extra == {"mood": "good"}
    assert WebhookEvent.from_dict(event.to_dict()) == event


def test_dates_without_an_offset_are_utc() -> None:
    """Those of an event have none."""
    event = receive(write())
    assert event.date_created == datetime(2019, 1, 15, 12, 48, 20, tzinfo=UTC)
    assert event.date_updated == datetime(2019, 1, 15, 12, 48, 23, 395000, tzinfo=UTC)


def test_an_event_that_lacks_what_is_not_needed_is_read() -> None:
    """Only what it is about must be there."""
    needed = {name: EVENT[name] for name in ("id", "action", "object_type", "object_id")}
    event = receive(write(needed))
    assert event.ref == JobRef(Kind.EMAIL, "bulkemail_1")
    assert not event.is_rest
    assert isinstance(hash(event), int)


@pytest.mark.parametrize("kind", BULK_KINDS)
def test_an_event_of_an_action_has_its_ref(kind: Kind) -> None:
    """Of each kind."""
    assert receive(write(object_type=f"bulk_action.{kind}", object_id="x_1")).ref == JobRef(kind, "x_1")


@pytest.mark.parametrize("what", ["lead", "opportunity"])
def test_an_event_of_an_export_has_its_ref(what: str) -> None:
    """Of either kind, and its own words for a status mean to it what they mean elsewhere."""
    event = receive(write(object_type=f"export.{what}", object_id="x_1", data={"status": "in_progress"}))
    assert event.ref == JobRef(Kind.EXPORT, "x_1")
    assert not event.is_rest
    assert receive(write(object_type=f"export.{what}", action="updated", data={"status": "error"})).is_rest


@pytest.mark.parametrize(
    ("object_type", "object_id"),
    [
        ("lead", "lead_1"),
        ("email", "bulkemail_1"),
        ("export.contact", "expo_1"),
        ("bulk_action.export", "expo_1"),
        ("bulk_action.merge", "bulkmerge_1"),
        ("bulk_action.", "x"),
        ("bulk_action", "x"),
        ("bulk_action.email", None),
        ("bulk_action.email", ""),
        ("bulk_action.email", "a/../b"),
    ],
)
def test_other_events_have_no_ref(object_type: str, object_id: str | None) -> None:
    """Nor does one whose id cannot stand in a path."""
    assert receive(write(object_type=object_type, object_id=object_id)).ref is None


@pytest.mark.parametrize(
    ("action", "status", "is_rest"),
    [
        ("completed", "done", True),
        ("completed", None, True),
        ("completed", "processing", True),
        ("paused", "paused", True),
        ("paused", "processing", True),
        ("created", "created", False),
        ("updated", Status.PROCESSING, False),
        ("updated", Status.RESUMING, False),
        ("updated", Status.DONE, True),
        ("updated", Status.ERROR, True),
        ("updated", Status.PAUSED, True),
        ("updated", "unheard of", False),
        ("updated", None, False),
        ("updated", 7, False),
        ("updated", ["done"], False),
    ],
)
def test_an_event_says_whether_the_action_rests(action: str, status: object, is_rest: bool) -> None:  # noqa: FBT001 - a column
    """By its own word or by the status; a failure has no word of its own."""
    assert receive(write(action=action, data={"status": status})).is_rest is is_rest


@pytest.mark.parametrize("data", [None, {}])
def test_an_event_without_data_says_what_its_word_says(data: object) -> None:
    """Whoever is no admin gets none."""
    assert receive(write(action="completed", data=data)).is_rest
    assert not receive(write(action="updated", data=data)).is_rest


def test_a_delivery_that_is_repeated_is_the_same_event() -> None:
    """A set keeps one of them; a later version of the event is another one."""
    assert len({receive(write()), receive(write())}) == 1
    assert len({receive(write()), receive(write(date_updated="2019-01-15T12:48:24"))}) == 2


def test_examples_stand_for_events() -> None:
    """As those of the actions do, for the tests of users."""
    event = WebhookEvent.example(action="paused", object_id="bulkemail_9")
    assert (event.ref, event.is_rest) == (BulkEmail.example(id="bulkemail_9").ref, True)
    assert pickle.loads(pickle.dumps(event)) == event  # noqa: S301 - made right here
