"""`/event/`: what happened in the organization, newest first, computed for the moment it is asked for."""

from __future__ import annotations

import base64
import heapq
import json
from bisect import bisect_left
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING

from attrs import evolve, field, frozen

from .job_events import STREAMS, Stream, Turns, Updates, spell_naive
from .listing import narrowed, read_window
from .numbered_ids import make_tag, split_id
from .object_events import Done, Objects, Others, effects
from .refusals import refused, refused_fields

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from .jobs import Job
    from .kinds import JsonObject
    from .knobs import Knobs
    from .messages import Request
    from .store import JobStore

MOST_ROWS = 50
KEPT_FOR = timedelta(days=30)
DATA_SHOWN_FOR = timedelta(hours=1)

_FILTERS = ("action", "lead_id", "object_id", "object_type", "request_id", "user_id")

# A misspelt filter is ignored as elsewhere; a known one counts only in the company that is documented.
_COMBINATIONS = frozenset(
    frozenset(names.split())
    for names in (
        "",
        "object_type object_id",
        "object_type action",
        "object_id action",
        "lead_id",
        "lead_id object_type",
        "lead_id object_type action",
        "lead_id user_id",
        "lead_id user_id object_type",
        "lead_id user_id object_type action",
        "user_id",
        "user_id object_id",
        "user_id object_id action",
        "user_id object_type",
        "user_id object_type action",
        "request_id",
    )
)
_STEP = timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# Instants are exact to the microsecond, so that one that is excluded is the next one included.
_BOUNDS = {
    "date_updated__gt": _STEP,
    "date_updated__gte": timedelta(0),
    "date_updated__lt": -_STEP,
    "date_updated__lte": timedelta(0),
}

# By date, of equals by stream and by number: two events of one instant must not change places between two pages.
Key = tuple[int, int, int]


@frozen(order=True)
class _Place:
    """A number of a stream, in the order of the log."""

    key: Key
    stream: Stream = field(eq=False, order=False)

    @property
    def at(self) -> datetime:
        return _EPOCH + self.key[0] * _STEP

    def event(self) -> JsonObject | None:
        return self.stream.event(self.key[2])


@frozen(kw_only=True)
class _Walk:
    """What a walk through the log asks for; `since` and `until` are inclusive, `after` is where a page goes on."""

    filters: Mapping[str, str]
    since: datetime
    until: datetime
    after: Key | None = None
    is_backwards: bool = False

    def fits(self, event: JsonObject) -> bool:
        return all(event.get(name) == value for name, value in self.filters.items())

    def may_fit(self, stream: Stream) -> bool:
        """Whether a stream can hold what is wanted, as far as its types say."""
        wanted = {name: value for name, value in self.filters.items() if name in ("object_type", "action")}
        return any(
            wanted.get("object_type", object_type) == object_type and wanted.get("action", action) == action
            for object_type, action in stream.types
        )


class _ByHand:
    """Events that a test has told, by their dates."""

    def __init__(self, events: Iterable[tuple[datetime, JsonObject]]) -> None:
        self._events = sorted(events, key=itemgetter(0))
        self.types = {(str(event["object_type"]), str(event["action"])) for _, event in self._events}

    def __len__(self) -> int:
        return len(self._events)

    def at(self, number: int) -> datetime:
        return self._events[number][0]

    def event(self, number: int) -> JsonObject | None:
        return self._events[number][1]

    def number_of(self, serial: int) -> int | None:
        return serial


class EventLog:
    """The events of all jobs, of the objects that they act on, and those that were told by hand."""

    def __init__(self, knobs: Knobs, store: JobStore) -> None:
        self._knobs = knobs
        self._store = store
        self._told: dict[str, tuple[datetime, JsonObject]] = {}
        self._by_tag: dict[str, Job] = {}

    def note(self, event: JsonObject, now: datetime) -> None:
        """Keep an event that was told by hand, in place of the one that had its id; one without a date is of now."""
        try:
            at = _read_date(str(event["date_updated"]))
        except ValueError:
            at = now
        self._told[str(event["id"])] = at, event

    def endpoints(self, below: Sequence[str]) -> Mapping[str, Callable[[Request], object]]:
        """What can be asked by which method at a path below `/event/`; nothing where there is no such path."""
        match below:
            case []:
                return {"GET": self.list}
            case [event_id]:
                return {"GET": lambda request: self.read(event_id, request)}
            case _:
                return {}

    def list(self, request: Request) -> JsonObject:
        """A page of the log; raises `RefusedError` for filters, limits and cursors that do not fit."""
        query, now = request.query, request.at
        if "_skip" in query:
            raise refused("_skip is not supported for this resource. Please use _cursor instead.")
        limit = read_window(query, max_limit=MOST_ROWS, max_skip=0).limit
        walk = _read_walk(query, now)
        places = self._walk(walk, now)
        found = list(islice(((place, event) for place in places if (event := self._fitting(place, walk))), limit + 1))
        page, has_more = found[:limit], len(found) > limit
        if walk.is_backwards:
            page.reverse()
        newer, older = has_more, bool(page)
        if not walk.is_backwards:
            newer, older = bool(page) and self._has_newer(page[0][0], walk, now), has_more
        return {
            "cursor_next": _spell_cursor(walk, page[-1][0], is_backwards=False) if older else None,
            "cursor_previous": _spell_cursor(walk, page[0][0], is_backwards=True) if newer else None,
            "data": [narrowed(self._shown(event, place.at, now), query) for place, event in page],
        }

    def read(self, event_id: str, request: Request) -> JsonObject:
        """One event; raises `RefusedError` (404) when there is none of that id, or it is no longer kept."""
        now = request.at
        at, event = self._told.get(event_id) or self._find(event_id, now) or (now, None)
        if event is None or not now - KEPT_FOR <= at <= now:
            raise refused("Object does not exist.", status=404)
        return narrowed(self._shown(event, at, now), request.query)

    def _find(self, event_id: str, now: datetime) -> tuple[datetime, JsonObject] | None:
        tag, number = split_id(event_id) or ("", 0)
        for job in self._store.jobs[len(self._by_tag) :]:
            self._by_tag[make_tag(job.id)] = job
        if tag not in self._by_tag:
            return None
        serial, which = divmod(number, STREAMS)
        streams = self._streams(self._by_tag[tag], now)
        number_in = streams[which].number_of(serial) if which < len(streams) else None
        event = None if number_in is None else streams[which].event(number_in)
        if number_in is None or event is None or event["id"] != event_id:
            return None
        return streams[which].at(number_in), event

    def _shown(self, event: JsonObject, at: datetime, now: datetime) -> JsonObject:
        if self._knobs.event_rules.sees_old_data or now - at < DATA_SHOWN_FOR:
            return event
        return {**event, "data": None, "previous_data": None}

    def _streams(self, job: Job, now: datetime) -> tuple[Stream, ...]:
        """All streams of a job; where one stands is part of the ids of its events."""
        webhook_rules, rules = self._knobs.webhook_rules, self._knobs.event_rules
        objects, (first, *later) = Objects(job, now), effects(job)
        return (
            Turns(job, webhook_rules),
            Updates(job, webhook_rules, now),
            Others(objects, first, share=rules.others, stream=2),
            Done(objects, first, stream=3),
            *(Done(objects, effect, stream=4, after=rules.sent_after) for effect in later),
        )

    def _walk(self, walk: _Walk, now: datetime) -> Iterator[_Place]:
        """All places of a walk from where it goes on, in its direction."""
        below = _first_key(min(walk.until, now) + _STEP)
        above = _first_key(walk.since)
        step = -1
        if walk.after is not None and walk.is_backwards:
            above, step = (*walk.after[:2], walk.after[2] + 1), 1
        elif walk.after is not None:
            below = walk.after
        ways = (
            _cut(rank, stream, above=above, below=below, step=step)
            for rank, stream in self._ranked(walk, now)
            if walk.may_fit(stream)
        )
        return heapq.merge(*ways, reverse=step < 0)

    def _ranked(self, walk: _Walk, now: datetime) -> Iterator[tuple[int, Stream]]:
        yield 0, _ByHand(self._told.values())
        for index, job in enumerate(self._store.jobs, 1):
            if job.created_at <= walk.until:
                yield from enumerate(self._streams(job, now), index * STREAMS)

    def _fitting(self, place: _Place, walk: _Walk) -> JsonObject | None:
        event = place.event()
        return event if event is not None and walk.fits(event) else None

    def _has_newer(self, place: _Place, walk: _Walk, now: datetime) -> bool:
        if walk.after is None:
            return False
        onward = self._walk(evolve(walk, after=place.key, is_backwards=True), now)
        return any(self._fitting(newer, walk) for newer in onward)


def _cut(rank: int, stream: Stream, *, above: Key, below: Key, step: int) -> Iterator[_Place]:
    """The places of a stream from `above`, included, to `below`, excluded, in either direction."""

    def key(number: int) -> Key:
        return (stream.at(number) - _EPOCH) // _STEP, rank, number

    numbers = range(len(stream))
    if step < 0:
        for number in reversed(numbers[: bisect_left(numbers, below, key=key)]):
            if (place := key(number)) < above:
                return
            yield _Place(place, stream)
    else:
        for number in numbers[bisect_left(numbers, above, key=key) :]:
            if (place := key(number)) >= below:
                return
            yield _Place(place, stream)


def _first_key(at: datetime) -> Key:
    return (at - _EPOCH) // _STEP, 0, 0


def _read_date(text: str) -> datetime:
    """The instant of a date, which is in UTC where it does not say."""
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _read_walk(query: Mapping[str, str], now: datetime) -> _Walk:
    filters = {name: query[name] for name in _FILTERS if query.get(name)}
    if frozenset(filters) not in _COMBINATIONS:
        raise refused(f"These filters cannot be combined: {', '.join(filters)}.")
    bounds = {name: query[name] for name in _BOUNDS if query.get(name)}
    if query.get("_cursor"):
        return _read_cursor(query["_cursor"], filters, bounds, now)
    since, until = now - KEPT_FOR, datetime.max.replace(tzinfo=UTC) - _STEP
    for name, text in bounds.items():
        at = _read_bound(name, text) + _BOUNDS[name]
        since, until = (max(since, at), until) if "__g" in name else (since, min(until, at))
    return _Walk(filters=filters, since=since, until=until)


def _read_bound(name: str, text: str) -> datetime:
    try:
        return _read_date(text)
    except ValueError:
        raise refused_fields({name: "Invalid ISO 8601 datetime."}) from None


def _spell_cursor(walk: _Walk, place: _Place, *, is_backwards: bool) -> str:
    bounds = [spell_naive(walk.since), spell_naive(walk.until)]
    content = [dict(walk.filters), bounds, place.key, is_backwards]
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode()


def _read_cursor(cursor: str, filters: Mapping[str, str], bounds: Mapping[str, str], now: datetime) -> _Walk:
    try:
        known, (since, until), after, is_backwards = json.loads(base64.urlsafe_b64decode(cursor))
    except ValueError:
        raise refused("Invalid cursor.") from None
    if bounds:
        raise refused(f"A cursor cannot be combined with {', '.join(bounds)}: it has the dates that it was made with.")
    if known != filters:
        raise refused("A cursor can only be used with the filters that it was made with.")
    return _Walk(
        filters=filters,
        since=max(_read_date(since), now - KEPT_FOR),
        until=_read_date(until),
        after=tuple(after),
        is_backwards=is_backwards,
    )
