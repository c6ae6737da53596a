"""The values of webhooks: a subscription, and an event that the service sends to it."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from datetime import datetime  # the converter reads annotations at run time
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

import attrs

from closebulk_async.convert import NOTHING_EXTRA, JSONValue, to_json_value
from closebulk_async.errors import InvalidRequestError, SignatureKeyNotShown
from closebulk_async.models import BULK_KINDS, ID_PATTERN, Job, JobRef, Kind, Phase, phase_of

BULK_ACTION = "bulk_action."
"""What the `object_type` of an event begins with where a kind follows."""

_KIND_OF_OBJECT: Mapping[str, Kind] = MappingProxyType(
    {
        **{f"{BULK_ACTION}{kind}": kind for kind in BULK_KINDS},
        "export.lead": Kind.EXPORT,
        "export.opportunity": Kind.EXPORT,
    }
)


NEEDED = frozenset({"id", "action", "object_type", "object_id"})
"""The fields that say what an event is about, and without which nobody can do anything with it."""


class WebhookStatus(StrEnum):
    """The two words that a subscription's `status` has in the documentation."""

    ACTIVE = "active"
    PAUSED = "paused"


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Webhook(JSONValue):
    """A subscription: which events the service sends to which URL.

    The service shows `signature_key` when it creates a subscription; whether later reads show it too is unconfirmed.
    Where it was not shown, reading it raises SignatureKeyNotShown. It is left out of the repr, but not of `to_dict()`.
    """

    id: str
    url: str
    status: WebhookStatus | str
    events: list[dict[str, Any]]
    verify_ssl: bool
    event_filter: dict[str, Any] | None
    signature_key: str
    extra: Mapping[str, Any] = NOTHING_EXTRA

    @property
    def is_active(self) -> bool:
        """Whether events are sent: the service pauses a subscription whose URL fails for days."""
        return self.status == WebhookStatus.ACTIVE

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        key = getattr(self, "signature_key", None)
        return super().__repr__().replace(repr(key), "'***'") if key else super().__repr__()

    # As in the base class, a type checker must not see it.
    if not TYPE_CHECKING:  # pragma: no branch - the other one is never run

        def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - as attributes are
            if name == "signature_key":
                raise SignatureKeyNotShown(self.id)
            return super().__getattr__(name)

    @classmethod
    def example(cls, **changes: Any) -> Self:
        """A plausible subscription for tests; `changes` are fields, as the API's JSON or the attributes spell them."""
        return cls.from_dict({**_WEBHOOK, **_plain(changes)})


@attrs.frozen(kw_only=True, eq=False, repr=False)
class WebhookEvent(JSONValue):
    """Something that happened, as a webhook tells it. `action` is the event's word: `updated`, `completed`.

    The service may deliver an event several times and out of order, and may fold a later change into an event that it
    has delivered: `id` and `date_updated` together say whether it was seen before. `data` is the object afterwards,
    `previous_data` what `changed_fields` held before. Dates without an offset, as the service sends them, are UTC.
    """

    id: str
    action: str
    object_type: str
    object_id: str | None
    date_created: datetime | None
    date_updated: datetime | None
    changed_fields: list[Any] | None
    previous_data: dict[str, Any] | None
    data: dict[str, Any] | None
    organization_id: str | None
    user_id: str | None
    request_id: str | None
    lead_id: str | None
    api_key_id: str | None
    meta: dict[str, Any] | None
    subscription_id: str | None
    extra: Mapping[str, Any] = NOTHING_EXTRA

    @property
    def ref(self) -> JobRef[Job] | None:
        """The job that the event is about; None where it is about something else, or of an unknown kind."""
        kind, id_ = _KIND_OF_OBJECT.get(self.object_type), self.object_id
        return None if kind is None or id_ is None or not ID_PATTERN.fullmatch(id_) else JobRef(kind, id_)

    @property
    def is_rest(self) -> bool:
        """Whether it says that the object does not move any more: completed, paused, or a status that means so.

        No event has a word of its own for an action that failed: only `data` may show its status.
        """
        status = (getattr(self, "data", None) or {}).get("status")
        said = status if isinstance(status, str) else None
        return self.action in {"completed", "paused"} or phase_of(said) is not Phase.RUNNING

    def __hash__(self) -> int:
        return hash((self.id, getattr(self, "date_updated", None)))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """As of any value; only `id`, `action`, `object_type` and `object_id` raise where they hold a wrong type."""
        try:
            return super().from_dict(data)
        except InvalidRequestError:
            if not isinstance(data, Mapping):
                raise
            odd = {name: item for name, item in data.items() if not cls._reads(name, item)}
            if odd.keys() & NEEDED:
                raise
        # The service sends what was refused again for days, and what it is about can be used without the rest.
        event = super().from_dict({name: item for name, item in data.items() if name not in odd})
        object.__setattr__(event, "extra", MappingProxyType({**event.extra, **deepcopy(odd)}))
        return event

    @classmethod
    def _reads(cls, name: str, item: object) -> bool:
        try:
            super().from_dict({name: item})
        except InvalidRequestError:
            return False
        return True

    @classmethod
    def example(cls, **changes: Any) -> Self:
        """A plausible event for tests; `changes` are fields as the API's JSON or as the attributes spell them."""
        return cls.from_dict({**_EVENT, **_plain(changes)})


def _plain(changes: Mapping[str, Any]) -> Mapping[str, Any]:
    return {name: to_json_value(value) for name, value in changes.items()}


_WEBHOOK: Mapping[str, Any] = MappingProxyType(
    {
        "id": "whsub_example",
        "url": "https://example.com/close/webhook",
        "status": "active",
        "events": [{"object_type": "bulk_action.email", "action": "completed", "extra_filter": None}],
        "verify_ssl": True,
        "event_filter": None,
    }
)

_EVENT: Mapping[str, Any] = MappingProxyType(
    {
        "id": "ev_example",
        "action": "completed",
        "object_type": "bulk_action.email",
        "object_id": "bulkemail_example",
        "date_created": "2026-01-15T09:30:00.000000",
        "date_updated": "2026-01-15T09:30:00.000000",
        "changed_fields": ["status"],
        "previous_data": {"status": "processing"},
        "data": {"id": "bulkemail_example", "status": "done"},
        "organization_id": "orga_example",
        "user_id": "user_example",
        "request_id": None,
        "lead_id": None,
        "api_key_id": None,
        "meta": {},
        "subscription_id": "whsub_example",
    }
)
