"""The subscriptions of an organization to events, and the rules of `/webhook/`."""

from __future__ import annotations

import json
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from attrs import evolve, field, frozen

from .bodies import check_fields
from .export_kinds import EXPORT_ACTIONS, EXPORT_KINDS
from .filters import judge_filter, passes
from .ids import make_event_id
from .job_events import JOB_ACTIONS
from .jobs import spell_date
from .kinds import KINDS, Field, JsonObject
from .refusals import NOT_A_CHOICE, REQUIRED, refused, refused_fields

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable, Mapping

    from .kinds import Json
    from .knobs import Knobs

_ACTIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        **{f"{kind.family}.{kind.name}": JOB_ACTIONS for kind in KINDS.values()},
        **{f"{kind.family}.{kind.name}": EXPORT_ACTIONS for kind in EXPORT_KINDS.values()},
    },
)
_FAMILIES = tuple({name.partition(".")[0] + "." for name in _ACTIONS})

JOB_EVENTS: tuple[JsonObject, ...] = tuple(
    {"object_type": name, "action": action} for name, actions in _ACTIONS.items() for action in actions
)
"""All events of all jobs, exports among them, as a subscription names them."""

_FIELDS = (
    Field("url"),
    Field("events", types=(list,)),
    Field("verify_ssl", types=(bool,)),
    Field("event_filter", types=(dict,)),
    Field("status", choices=("active", "paused")),
)


@frozen(kw_only=True)
class Subscription:
    """Who is told of what, at which address; `events` are the objects that were sent, with all their keys."""

    id: str
    url: str
    events: tuple[JsonObject, ...]
    signature_key: str = field(repr=False)
    created_at: datetime
    organization_id: str
    user_id: str
    updated_at: datetime
    verify_ssl: bool = True
    event_filter: JsonObject | None = None
    status: str = "active"

    @property
    def is_active(self) -> bool:
        """Whether events are delivered to it."""
        return self.status == "active"

    def wants(self, event: JsonObject) -> bool:
        """Whether that event is one of those that it asks for."""
        return passes(self.event_filter, event) and any(
            wanted["object_type"] == event["object_type"]
            and wanted["action"] == event["action"]
            and passes(wanted["extra_filter"], event)
            for wanted in self.events
        )

    def names(self, action: str | None = None) -> bool:
        """Whether it asks for that action (for any when None) on jobs of whatever kind."""
        return any(
            action in (None, wanted["action"]) and str(wanted["object_type"]).startswith(_FAMILIES)
            for wanted in self.events
        )

    def repeats(self, other: Subscription) -> bool:
        """Whether it tells the same address of the same events."""
        return self.url == other.url and _compared(self) == _compared(other)

    def row(self, *, with_key: bool) -> JsonObject:
        """The response object."""
        row: JsonObject = {
            "created_by": self.user_id,
            "date_created": spell_date(self.created_at),
            "date_updated": spell_date(self.updated_at),
            "event_filter": self.event_filter,
            "events": [dict(event) for event in self.events],
            "id": self.id,
            "organization_id": self.organization_id,
            "status": self.status,
            "updated_by": self.user_id,
            "url": self.url,
            "verify_ssl": self.verify_ssl,
        }
        return {**row, "signature_key": self.signature_key} if with_key else row


class Webhooks:
    """All subscriptions by their ids; `listeners` are called after each change."""

    def __init__(self, knobs: Knobs, *, organization_id: str, user_id: str, source: random.Random) -> None:
        self.listeners: list[Callable[[], None]] = []
        self._knobs = knobs
        self._organization_id = organization_id
        self._user_id = user_id
        self._source = source
        self._by_id: dict[str, Subscription] = {}

    @property
    def all(self) -> tuple[Subscription, ...]:
        """Every subscription, oldest first, paused ones too."""
        return tuple(self._by_id.values())

    def active(self) -> tuple[Subscription, ...]:
        """Those that events are delivered to."""
        return tuple(subscription for subscription in self._by_id.values() if subscription.is_active)

    def find(self, webhook_id: str) -> Subscription:
        """The subscription of that id; raises `RefusedError` (404) without one."""
        if webhook_id not in self._by_id:
            raise refused("Object does not exist.", status=404)
        return self._by_id[webhook_id]

    def show(self, subscription: Subscription, *, is_new: bool = False) -> JsonObject:
        """The response object; that of the POST has the key."""
        return subscription.row(with_key=is_new or self._knobs.webhook_rules.shows_key)

    def create(self, body: Mapping[str, Json], now: datetime) -> Subscription:
        """Carry out a POST; raises `RefusedError` (400) when the service would not. A `status` is ignored."""
        _check(body, needed=("url", "events"))
        most = self._knobs.webhook_rules.at_most
        if len(self._by_id) >= most:
            raise refused(f"The organization has reached its limit of {most} webhook subscriptions.")
        subscription = Subscription(
            id=make_event_id("whsub_", self._source),
            signature_key=f"{self._source.getrandbits(256):064x}",
            created_at=now,
            updated_at=now,
            organization_id=self._organization_id,
            user_id=self._user_id,
            **{name: value for name, value in _read(body).items() if name != "status"},
        )
        return self._keep(subscription)

    def change(self, webhook_id: str, body: Mapping[str, Json], now: datetime) -> Subscription:
        """Carry out a PUT of some fields; raises `RefusedError` when the service would not."""
        subscription = self.find(webhook_id)
        _check(body)
        return self._keep(evolve(subscription, updated_at=now, **_read(body)))

    def delete(self, webhook_id: str) -> None:
        """Carry out a DELETE; raises `RefusedError` (404) without such a subscription."""
        del self._by_id[self.find(webhook_id).id]
        self._changed()

    def _keep(self, subscription: Subscription) -> Subscription:
        others = (other for other in self.active() if other.id != subscription.id)
        if subscription.is_active and (same := [other.id for other in others if other.repeats(subscription)]):
            raise refused(f"Duplicate active subscription: {', '.join(same)}")
        self._by_id[subscription.id] = subscription
        self._changed()
        return subscription

    def _changed(self) -> None:
        for listen in self.listeners:
            listen()


def _check(body: Mapping[str, Json], *, needed: Iterable[str] = ()) -> None:
    """Raise `RefusedError` that names what does not fit, in lists by the index of the item."""
    if missing := [name for name in needed if body.get(name) is None]:
        raise refused_fields(dict.fromkeys(missing, REQUIRED))
    check_fields(_FIELDS, body)
    errors: dict[str, object] = {}
    if isinstance(url := body.get("url"), str) and not _is_address(url):
        errors["url"] = "Invalid URL."
    if isinstance(events := body.get("events"), list):
        wrong = {str(index): found for index, event in enumerate(events) if (found := _judge_event(event))}
        if wrong:
            errors["events"] = {"errors": wrong}
        elif not events:
            errors["events"] = "List must not be empty."
    if text := judge_filter(body.get("event_filter")):
        errors["event_filter"] = text
    if errors:
        raise refused_fields(errors)


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def _judge_event(event: Json) -> object:
    """What is wrong with one wanted event, in the shape of nested errors; empty when nothing is.

    Of the many types of object only those of jobs are known here, and others are taken as they are.
    """
    if not isinstance(event, dict):
        return "Value must be of dict type."
    errors = {name: REQUIRED for name in ("object_type", "action") if not isinstance(event.get(name), str)}
    name = str(event.get("object_type"))
    if name.startswith(_FAMILIES) and name not in _ACTIONS:
        errors["object_type"] = NOT_A_CHOICE
    elif event.get("action") not in _ACTIONS.get(name, (event.get("action"),)):
        errors.setdefault("action", NOT_A_CHOICE)
    if text := judge_filter(event.get("extra_filter")):
        errors["extra_filter"] = text
    return {"field-errors": errors} if errors else ""


def _read(body: Mapping[str, Json]) -> dict[str, Any]:
    """The fields of a body that was checked; null is for those that were not sent, except that it clears a filter."""
    fields = {known.name: body[known.name] for known in _FIELDS if body.get(known.name) is not None}
    if "event_filter" in body:
        fields["event_filter"] = body["event_filter"]
    if isinstance(events := fields.get("events"), list):
        fields["events"] = tuple({"extra_filter": None, **event} for event in events)
    return fields


def _compared(subscription: Subscription) -> tuple[str, ...]:
    return tuple(sorted(json.dumps(event, sort_keys=True) for event in subscription.events))
