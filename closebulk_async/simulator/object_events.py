"""The events of the objects that a job acts on, by number, computed from its plan when they are asked for.

That deletes tell of `lead.deleted`, edits of `lead.updated`, emails of `activity.email.*` and sequences of
`sequence_subscription.*`, each with the job's id in `meta`, is documented. What such an event says beside that, and the
types for contacts, calls and whatever else a job may act on, are guesses.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from attrs import frozen

from .job_events import event_id, fill_event
from .jobs import spell_date
from .kinds import Json
from .numbered_ids import OBJECT, numbered_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from .jobs import Job
    from .kinds import JsonObject

Type = tuple[str, str]

# As in the plans: sums of floats must not lose an object.
_ROUNDING = 1e-9
_MICRO = 1_000_000

# Far behind the leads that any job acts on.
_FOREIGN = 10**12

_DELETED = {
    "lead": ("lead", "lead_"),
    "contact": ("contact", "cont_"),
    "call": ("activity.call", "acti_"),
    "custom_activity": ("activity.custom_activity", "acti_"),
    "form_submission": ("activity.form_submission", "acti_"),
}
_EDITED = {
    "contact": ("contact", "cont_"),
    "activity": ("activity.custom_activity", "acti_"),
    "opportunity": ("opportunity", "oppo_"),
    "custom_object": ("custom_object", "cobj_"),
}
_SUBSCRIPTION_STATUS = {"subscribe": "active", "resume": "active", "resume_finished": "active", "pause": "paused"}


@frozen
class Effect:
    """What a job does to each object: the event's object type and action, how ids begin, and what changes.

    `before` and `after` are the fields that change; what is created has no `before`, what is deleted no `after`.
    """

    type: Type
    id_prefix: str
    before: Mapping[str, Json] | None
    after: Mapping[str, Json] | None


def effects(job: Job) -> tuple[Effect, ...]:
    """What happens to each object of a job, in the order of time."""
    return _EFFECTS[job.kind.name](job)


def _delete(job: Job) -> tuple[Effect, ...]:
    object_type, prefix = _DELETED[str(job.echo("bulk_object_type") or "lead")]
    return (Effect((object_type, "deleted"), prefix, {}, None),)


def _edit(job: Job) -> tuple[Effect, ...]:
    word = str(job.echo("type") or "set_lead_status")
    object_type, prefix = _EDITED.get(word.partition("_")[2].removesuffix("_custom_field"), ("lead", "lead_"))
    name: str
    old: Json
    if word == "set_lead_status":
        name, old, new = "status_id", "stat_before", job.echo("lead_status_id")
    else:
        name = f"custom.{job.echo('custom_field_id') or job.echo('custom_field_name') or 'cf_unknown'}"
        values = job.echo("custom_field_values")
        old, new = "Before", job.echo("custom_field_value") if values is None else values
    after = {name: None if word.startswith("clear_") else new}
    return (Effect((object_type, "updated"), prefix, {name: old}, after),)


def _email(job: Job) -> tuple[Effect, ...]:
    common = {"direction": "outgoing", "sender": job.echo("sender"), "template_id": job.echo("template_id")}
    created = Effect(("activity.email", "created"), "acti_", None, {**common, "status": "outbox"})
    sent = Effect(("activity.email", "sent"), "acti_", {"status": "outbox"}, {**common, "status": "sent"})
    return created, sent


def _subscribe(job: Job) -> tuple[Effect, ...]:
    word = str(job.echo("action_type") or "subscribe")
    after: JsonObject = {"sequence_id": job.echo("sequence_id"), "status": _SUBSCRIPTION_STATUS.get(word, "active")}
    if word == "subscribe":
        return (Effect(("sequence_subscription", "created"), "sub_", None, after),)
    before: JsonObject = {"status": "active" if word == "pause" else "finished" if "finished" in word else "paused"}
    if word == "reassign":
        before, after = {"calls_assigned_to": None}, {**after, "calls_assigned_to": job.echo("calls_assigned_to") or []}
    return (Effect(("sequence_subscription", "updated"), "sub_", before, after),)


_EFFECTS: Mapping[str, Callable[[Job], tuple[Effect, ...]]] = {
    "delete": _delete,
    "edit": _edit,
    "email": _email,
    "sequence_subscription": _subscribe,
}


class Objects:
    """The objects that a job has processed by an instant, each with its number, its lead and the instant of its own.

    A job whose progress was set by hand has none, as nobody can say when that was.
    """

    def __init__(self, job: Job, now: datetime) -> None:
        self.job = job
        active = 0.0 if job.is_set_by_hand else min(job.active_at(now), job.plan.duration)
        # A job that has ended must not fall short of its end by a part of a microsecond.
        self._active = max(0, (math.ceil if active == job.plan.duration else math.floor)(active * _MICRO + _ROUNDING))
        self._n_objects = job.plan.n_objects
        self.n: int = self._processed(self._active)

    def at(self, number: int) -> datetime:
        """The instant at which the job's counter goes beyond that number."""
        return self.job.instant_of(self._active_at(number) / _MICRO)

    def is_skipped(self, number: int) -> bool:
        """Whether the object is processed without any event, as one that has no address to write to."""
        share = self.job.plan.skipped
        return math.floor((number + 1) * share + _ROUNDING) > math.floor(number * share + _ROUNDING)

    def lead_id(self, number: int) -> str:
        """The lead of an object; jobs of no known leads act on the ones that searches without leads find."""
        leads = self.job.plan.leads or 1
        index = number * leads // self._n_objects
        known = self.job.lead_ids
        return known[index] if index < len(known) else made_up_lead(index)

    def _processed(self, active: int) -> int:
        return self.job.plan.processed(self._n_objects, active / _MICRO)

    def _active_at(self, number: int) -> int:
        """The first microsecond of activity at which so many objects and one more are processed."""
        plan, wanted = self.job.plan, number + 1
        whole = self._n_objects * (1.0 if plan.ends == "done" else plan.fails_at)
        # Most plans are linear: then the guess is good to a microsecond, and a search would take thirty steps.
        guess = round(plan.active_at(min(1.0, wanted / whole)) * _MICRO) if math.isfinite(plan.duration) else 0
        for active in range(guess - 1, guess + 2):
            if 0 < active <= self._active and self._processed(active - 1) < wanted <= self._processed(active):
                return active
        return bisect_left(range(self._active), wanted, key=self._processed)


class Done:
    """One effect of a job on each of its objects, some seconds after each was processed."""

    def __init__(self, objects: Objects, effect: Effect, *, stream: int, after: float = 0.0) -> None:
        self.types: tuple[Type] = (effect.type,)
        self._objects = objects
        self._effect = effect
        self._stream = stream
        self._after = timedelta(seconds=after)

    def __len__(self) -> int:
        """How many objects were processed."""
        return self._objects.n

    def at(self, number: int) -> datetime:
        """When it happened to that object."""
        return self._objects.at(number) + self._after

    def number_of(self, serial: int) -> int | None:
        """The same number, if that object was processed."""
        return serial if serial < len(self) else None

    def event(self, number: int) -> JsonObject | None:
        """What happened; None for an object that was skipped."""
        if self._objects.is_skipped(number):
            return None
        job, effect = self._objects.job, self._effect
        lead_id = self._objects.lead_id(number)
        is_lead = effect.type[0] == "lead"
        object_id = lead_id if is_lead else numbered_id(effect.id_prefix, job.id, number, length=OBJECT)
        return tell_effect(
            effect,
            row=_row(job, object_id, None if is_lead else lead_id),
            at=self.at(number),
            before=job.created_at,
            id=event_id(job, self._stream, number),
            lead_id=lead_id,
            meta={"bulk_action_id": job.id},
            user_id=job.user_id,
        )


class Others:
    """What somebody else does meanwhile: to other leads the same as the job does, and notes on the job's leads."""

    def __init__(self, objects: Objects, effect: Effect, *, share: float, stream: int) -> None:
        self.types: tuple[Type, tuple[str, str]] = (effect.type, ("activity.note", "created"))
        self._objects = objects
        self._effect = effect
        self._share = share
        self._stream = stream

    def __len__(self) -> int:
        """How many there were, in proportion to the objects that were processed."""
        return math.floor(self._objects.n * self._share + _ROUNDING)

    def at(self, number: int) -> datetime:
        """An instant just before that at which one of the objects was processed."""
        return self._objects.at(self._beside(number)) - timedelta(milliseconds=1)

    def number_of(self, serial: int) -> int | None:
        """The same number, if it has happened."""
        return serial if serial < len(self) else None

    def event(self, number: int) -> JsonObject | None:
        """What happened."""
        job, effect = self._objects.job, self._effect
        user_id = numbered_id("user_", "somebody else", number % 3, length=OBJECT)
        lead_id = made_up_lead(_FOREIGN + number)
        if number % 2:
            lead_id = self._objects.lead_id(self._beside(number))
            effect = Effect(("activity.note", "created"), "acti_", None, {"note": "Called back."})
        is_lead = effect.type[0] == "lead"
        object_id = lead_id if is_lead else numbered_id(effect.id_prefix, f"others {job.id}", number, length=OBJECT)
        return tell_effect(
            effect,
            row={**_row(job, object_id, None if is_lead else lead_id), "created_by": user_id, "updated_by": user_id},
            at=self.at(number),
            before=job.created_at,
            id=event_id(job, self._stream, number),
            lead_id=lead_id,
            meta=_meta(effect, object_id) if number % 4 < 2 else {},  # noqa: PLR2004 - every other of each type
            request_id=numbered_id("req_", f"others {job.id}", number),
            user_id=user_id,
        )

    def _beside(self, number: int) -> int:
        return min(self._objects.n - 1, math.ceil((number + 1) / self._share - _ROUNDING) - 1)


def tell_effect(effect: Effect, *, row: JsonObject, at: datetime, before: datetime, **fields: object) -> JsonObject:
    """The event of an effect on one object, whose other fields are in `row`; it last changed `before`."""
    object_type, action = effect.type
    created = {**row, "date_created": spell_date(before), "date_updated": spell_date(at)}
    old: JsonObject = {}
    data: JsonObject = {}
    if effect.after is None:
        # Nothing is left of it, so all of it is what it was.
        old = {**row, "date_created": spell_date(before), "date_updated": spell_date(before)}
    else:
        data = dict(sorted({**created, **effect.after}.items()))
        if effect.before is None:
            data["date_created"] = spell_date(at)
        else:
            old = {**effect.before, "date_updated": spell_date(before)}
    return fill_event(
        action,
        data,
        at=at,
        **{
            "changed_fields": sorted(old) if effect.after is not None else [],
            "object_id": row["id"],
            "object_type": object_type,
            "organization_id": row["organization_id"],
            "previous_data": dict(sorted(old.items())),
            **fields,
        },
    )


def made_up_lead(index: int) -> str:
    """The id of a lead where none were put there."""
    return f"lead_{index:043}"


def _row(job: Job, object_id: str, lead_id: str | None) -> JsonObject:
    row: JsonObject = {
        "created_by": job.user_id,
        "id": object_id,
        "organization_id": job.organization_id,
        "updated_by": job.user_id,
    }
    return row if lead_id is None else {**row, "lead_id": lead_id}


def _meta(effect: Effect, object_id: str) -> JsonObject:
    object_type, action = effect.type
    path = f"/api/v1/{object_type.replace('.', '/')}/"
    method = {"created": "POST", "deleted": "DELETE"}.get(action, "PUT")
    return {"request_method": method, "request_path": path if action == "created" else f"{path}{object_id}/"}
