"""`close.outcomes(action)`: what a bulk action did to each object, as far as the service's event log tells.

An action itself counts what it has processed, and says neither what that was nor whether it worked. But each event in
the log that an action caused names it (`meta.bulk_action_id`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import MAXYEAR, MINYEAR, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import attrs

from closebulk_async.convert import format_datetime, parse_datetime
from closebulk_async.error_bodies import as_list
from closebulk_async.errors import DecodeError, InvalidRequestError
from closebulk_async.event_wire import EventType, build_events, read_events
from closebulk_async.models import BulkAction, BulkDelete, BulkEdit, JobRef, Kind
from closebulk_async.operations import get_action
from closebulk_async.progress import count_objects

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterable

    from closebulk_async.operations import Engine

KEPT_FOR = timedelta(days=30)
"""How long the service keeps events."""

BEFORE = timedelta(minutes=1)
"""How much earlier than its action an event may be: two machines of the service wrote the dates."""

AFTER = timedelta(minutes=15)
"""How much later than the end of its action an event may be changed. Unconfirmed: the service folds events that come
soon after each other into one, and does not say how soon."""

RESCANNED = timedelta(minutes=5)
"""What the vendor advises to read again: events that are written late, or changed while older pages were read."""

_DELETED: Mapping[str, str] = MappingProxyType(
    {
        "call": "activity.call",
        "custom_activity": "activity.custom_activity",
        "form_submission": "activity.form_submission",
    }
)
"""The word of the event log for what a delete deletes, where it is another one. Unconfirmed but for leads."""

_EDITED: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        "contact": ("contact",),
        "activity": ("activity.custom_activity",),
        "opportunity": ("opportunity",),
        "custom_object": ("custom_object",),
        "global": ("lead", "contact", "opportunity"),
    }
)
"""Whose field an edit changes, by the word in its type, where it is not the lead's. Unconfirmed."""


def events_of(action: BulkAction) -> Sequence[EventType]:
    """The types of events that an action causes.

    That deletes delete leads, edits update leads, emails make email activities and sequences make subscriptions is
    known of the service; the others are inferred from its words.
    """
    if isinstance(action, BulkDelete):
        return [EventType(_DELETED.get(action.bulk_object_type, str(action.bulk_object_type)), "deleted")]
    if isinstance(action, BulkEdit):
        whose = str(action.type).partition("_")[2].removesuffix("_custom_field")
        return [EventType(object_type, "updated") for object_type in _EDITED.get(whose, ("lead",))]
    object_type = "activity.email" if action.kind is Kind.EMAIL else "sequence_subscription"
    return [EventType(object_type, word) for word in ("created", "sent" if action.kind is Kind.EMAIL else "updated")]


@attrs.frozen(kw_only=True)
class ObjectOutcome:
    """One thing that happened to one object, as the event log has it.

    `action` is the event's word (`deleted`), `at` when it happened last (several changes of one object may be folded
    into one). `data` is the object afterwards, `previous_data` what `changed_fields` held before; an hour after the
    event the service shows both to administrators only, and they are None.
    """

    object_type: str
    object_id: str | None
    action: str
    lead_id: str | None
    at: datetime | None
    changed_fields: Sequence[str]
    previous_data: Mapping[str, Any] | None
    data: Mapping[str, Any] | None
    user_id: str | None
    event_id: str

    @property
    def event_type(self) -> str:
        """`lead.deleted`."""
        return f"{self.object_type}.{self.action}"

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        at = None if self.at is None else format_datetime(self.at)
        return {**attrs.asdict(self, recurse=False), "at": at, "changed_fields": [*self.changed_fields]}


@attrs.frozen(kw_only=True)
class OutcomeSummary:
    """What the outcomes come to.

    `n_objects` are the objects that any event tells of, `by_event` the number of events of each type. `n_without_event`
    are objects that the action has processed beyond those: skipped ones, for all that anybody knows; None where the
    action does not say how many it processed. `n_without_data` are events that no longer show their data. Unless
    `is_complete`, more may follow or be lost: the action runs, or began longer ago than the service keeps events, or
    not all of the log was read.
    """

    ref: JobRef[Any]
    n_processed: int | None
    n_objects: int
    n_without_event: int | None
    by_event: Mapping[str, int]
    n_without_data: int
    is_complete: bool

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {**attrs.asdict(self, recurse=False), "ref": str(self.ref), "by_event": dict(self.by_event)}


class Outcomes:
    """Iterate over it for the outcomes, the latest of each type first; each iteration reads the log anew."""

    def __init__(self, engine: Engine, ref: JobRef[Any], *, events: Iterable[tuple[str, str]] | None = None) -> None:
        """Made by `close.outcomes`. Nothing is read yet."""
        if ref.kind is Kind.EXPORT:
            message = f"{ref} is an export, which does nothing to any object"
            raise InvalidRequestError(message)
        self.ref = ref
        self._engine = engine
        self._events = None if events is None else [EventType(*one) for one in events]
        self._reading: _Reading | None = None

    def __aiter__(self) -> AsyncIterator[ObjectOutcome]:
        return self._read()

    @property
    def summary(self) -> OutcomeSummary:
        """What the latest iteration has come to so far. Raises InvalidRequestError before the first one."""
        if self._reading is None:
            message = "nothing was read yet: iterate over the outcomes, or await summarize()"
            raise InvalidRequestError(message)
        return self._reading.summarize()

    async def summarize(self) -> OutcomeSummary:
        """Read all of it, and say what it comes to."""
        async for _ in self:
            pass
        return self.summary

    async def _read(self) -> AsyncGenerator[ObjectOutcome, None]:
        engine, clock = self._engine, self._engine.watcher.clock
        action = await get_action(engine, self.ref)
        self._reading = reading = _Reading(action, now=clock.now())
        for wanted in self._events or events_of(action):
            began = clock.now()
            async for row in self._walk(wanted, since=reading.since, until=reading.until):
                if (outcome := reading.take(row)) is not None:
                    yield outcome
            if reading.until is None:
                async for row in self._walk(wanted, since=began - RESCANNED, until=None):
                    if (outcome := reading.take(row)) is not None:
                        yield outcome
        reading.is_read = True

    async def _walk(
        self, wanted: EventType, *, since: datetime | None, until: datetime | None
    ) -> AsyncGenerator[Mapping[str, Any], None]:
        """All events of a type, whoever caused them: the log has no filter for that."""
        cursor, seen = None, set[str]()
        while True:
            request = build_events(wanted, since=since, until=until, cursor=cursor)
            page = await self._engine.transport.read(request, read_events)
            for row in page.rows:
                yield row
            cursor = page.cursor
            if cursor is None or (since is not None and _is_older(page.rows, since)):
                return
            if cursor in seen:
                message = "the log of events leads back to a page that was read"
                raise DecodeError(message, status=200, request=str(request), body=cursor)
            seen.add(cursor)


def _is_at_the_edge(moment: datetime) -> bool:
    """Whether a moment is of the first or the last year that there is: no job's, and nothing can be added to it."""
    return moment.year in {MINYEAR, MAXYEAR}


def _is_older(rows: Sequence[Mapping[str, Any]], since: datetime) -> bool:
    """Whether a page ends before that instant: nobody says whether a cursor stands for the instants asked for first."""
    last = _moment(rows[-1].get("date_updated")) if rows else None
    return last is not None and last < since


class _Reading:
    """What one iteration has found."""

    def __init__(self, action: BulkAction, *, now: datetime) -> None:
        """Find nothing yet. `now` is the client's time of day."""
        created = action.date_created
        self.since = None if created is None or _is_at_the_edge(created) else created - BEFORE
        self.until: datetime | None = None
        ended = action.date_updated if action.is_final else None
        if ended is not None and not _is_at_the_edge(ended) and ended + AFTER + RESCANNED < now:
            self.until = ended + AFTER
        self.is_read = False
        self._action = action
        self._is_kept = created is not None and now - created < KEPT_FOR
        self._events: set[str] = set()
        self._objects: set[tuple[str, str | None]] = set()
        self._by_event: Counter[str] = Counter()
        self._n_without_data = 0

    def take(self, row: Mapping[str, Any]) -> ObjectOutcome | None:
        """The outcome of an event; None where another cause made it, or it was taken before."""
        meta = row.get("meta")
        if not isinstance(meta, dict) or meta.get("bulk_action_id") != self._action.id:
            return None
        outcome = _to_outcome(row)
        if outcome.event_id in self._events:
            return None
        self._events.add(outcome.event_id)
        self._objects.add((outcome.object_type, outcome.object_id))
        self._by_event[outcome.event_type] += 1
        self._n_without_data += outcome.data is None and outcome.previous_data is None
        return outcome

    def summarize(self) -> OutcomeSummary:
        processed, _ = count_objects(self._action)
        return OutcomeSummary(
            ref=self._action.ref,
            n_processed=processed,
            n_objects=len(self._objects),
            n_without_event=max(0, processed - len(self._objects)),
            by_event=dict(self._by_event),
            n_without_data=self._n_without_data,
            is_complete=self.is_read and self._is_kept and self._action.is_final,
        )


def _to_outcome(row: Mapping[str, Any]) -> ObjectOutcome:
    event_id, object_type, action = (row.get(name) for name in ("id", "object_type", "action"))
    if not isinstance(event_id, str) or not isinstance(object_type, str) or not isinstance(action, str):
        message = "an event has no 'id', 'object_type' or 'action'"
        raise DecodeError(message, status=200, request="GET /event/", body=repr(row)[:1000])
    return ObjectOutcome(
        object_type=object_type,
        object_id=_text(row.get("object_id")),
        action=action,
        lead_id=_text(row.get("lead_id")),
        at=_moment(row.get("date_updated")),
        changed_fields=tuple(map(str, as_list(row.get("changed_fields")))),
        previous_data=_mapping(row.get("previous_data")),
        data=_mapping(row.get("data")),
        user_id=_text(row.get("user_id")),
        event_id=event_id,
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _mapping(value: object) -> Mapping[str, Any] | None:
    return value if isinstance(value, dict) else None


def _moment(value: object) -> datetime | None:
    try:
        return parse_datetime(value) if isinstance(value, str) else None
    except ValueError:
        return None
