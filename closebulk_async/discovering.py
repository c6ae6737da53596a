"""Find actions: what is recent, what runs, and with `follow` what begins later."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import attrs

from closebulk_async.errors import (
    AuthenticationError,
    ClientClosedError,
    CloseBulkError,
    PermissionDeniedError,
    UnfencedStartError,
)
from closebulk_async.fencing import NewEnd
from closebulk_async.models import BulkAction, Job, Kind, parse_kinds
from closebulk_async.operations import iterate_actions
from closebulk_async.policy import Duration, to_seconds_or_none
from closebulk_async.streams import Stream
from closebulk_async.wire import check_count

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable

    from closebulk_async.operations import Engine
    from closebulk_async.progress import Progress
    from closebulk_async.waiters import WaitOptions

logger: logging.Logger = logging.getLogger("closebulk_async")

NEW_END_REQUESTS = 20
"""Pages that are read at the most to see what is new in a list: beyond that its order says nothing."""

FIELDS = ("date_created", "date_updated")
"""What is read of each row beside its status and counters: where new rows appear, and since when one is paused."""

A_CENTURY = 100 * 365 * 86_400.0
"""Seconds before which nothing was created; calendars end not long before it."""

UNORDERED_BEATS = 10
"""How many times rarer a list is looked through of which every page has to be read."""


async def find_recent(
    engine: Engine,
    kinds: Iterable[Kind | str] | None,
    *,
    since: Duration | None,
    limit: int,
    fields: Iterable[str] | None,
    active: bool,
) -> list[Job]:
    """The newest jobs of these kinds, newest first."""
    wanted = parse_kinds(kinds, default=tuple(Kind))
    check_count(limit, name="limit", least=1)
    age = to_seconds_or_none(since, name="since")
    search = _Search(
        oldest=None if age is None else engine.watcher.clock.now() - timedelta(seconds=min(age, A_CENTURY)),
        enough=limit,
        fields=None if fields is None else ("date_created", *fields),
        active=active,
        was_named=kinds is not None,
    )
    readings = [asyncio.create_task(_read_recent(engine, kind, search), name="closebulk_async list") for kind in wanted]
    try:
        answers = await asyncio.gather(*readings)
    finally:  # where one list cannot be read, the others are of no use: not a group of errors but that one is raised
        for reading in readings:
            reading.cancel()
        await asyncio.gather(*readings, return_exceptions=True)
    refusals = [answer for answer in answers if isinstance(answer, PermissionDeniedError)]
    if refusals and len(refusals) == len(answers):  # an empty list would say that there is nothing
        raise refusals[-1]
    found = [row for rows in answers if not isinstance(rows, PermissionDeniedError) for row in rows]
    return sorted(found, key=_created, reverse=True)[:limit]


_LONG_AGO = datetime.min.replace(tzinfo=UTC)


def _created(job: Job) -> datetime:
    """For sorting: what does not say when it was created comes last."""
    return getattr(job, "date_created", None) or _LONG_AGO


@attrs.frozen(kw_only=True)
class _Search:
    """Which jobs are looked for in each list."""

    oldest: datetime | None
    enough: int
    fields: Sequence[str] | None
    active: bool
    was_named: bool

    def wants(self, job: Job) -> bool:
        """Whether it is one of those."""
        return not (self.predates(job) or (self.active and job.is_final))

    def predates(self, job: Job) -> bool:
        """Whether it was created too long ago."""
        return self.oldest is not None and _created(job) < self.oldest


async def _read_recent(engine: Engine, kind: Kind, search: _Search) -> Sequence[Job] | PermissionDeniedError:
    try:
        return await _read_list(engine, kind, search)
    except PermissionDeniedError as exc:
        if search.was_named:
            raise
        logger.warning("%s actions are left out: %s", kind, exc)
        return exc


async def _read_list(engine: Engine, kind: Kind, search: _Search) -> Sequence[Job]:
    if search.active and search.oldest is None:  # one that began long ago may still run, and stands anywhere
        return [row async for row in iterate_actions(engine, kind, fields=search.fields) if search.wants(row)]
    end = NewEnd(engine.transport, kind, most_requests=math.inf)
    enough = math.inf if search.active else search.enough  # any number of those that have ended may stand before one
    pages = await end.read(fields=search.fields, is_old=search.predates, enough=enough)
    return [row for row in pages.rows if search.wants(row)]


def watch_active(
    engine: Engine, kinds: Iterable[Kind | str] | None, options: WaitOptions, *, follow: bool, raise_on_failure: bool
) -> AsyncGenerator[Progress[Any], None]:
    """The steps of all actions that have not ended, and with `follow` of those that begin later."""
    wanted = parse_kinds(kinds)

    async def run() -> AsyncGenerator[Progress[Any], None]:
        stream = Stream(engine.watcher, options, raise_on_failure=raise_on_failure)
        feeds = [
            asyncio.create_task(
                _feed(engine, kind, stream, follow=follow, was_named=kinds is not None), name="closebulk_async list"
            )
            for kind in wanted
        ]
        async with aclosing(stream.run(feeds)) as steps:
            async for progress in steps:
                yield progress

    return run()


async def _feed(engine: Engine, kind: Kind, stream: Stream, *, follow: bool, was_named: bool) -> None:
    """Add what runs of one kind, and then what begins. A kind that nobody named may be forbidden."""
    try:
        await _add_active(engine, kind, stream, follow=follow)
    except PermissionDeniedError as exc:
        if was_named:
            raise
        logger.warning("%s actions are left out: %s", kind, exc)


async def _add_active(engine: Engine, kind: Kind, stream: Stream, *, follow: bool) -> None:
    end = NewEnd(engine.transport, kind, most_requests=NEW_END_REQUESTS)
    rows = await _read_new_end(end, known=None) if follow else []
    await _add_what_runs(engine, kind, stream)
    beat, level = engine.watcher.policy.discover, logging.WARNING
    while follow:
        await engine.transport.sleep(UNORDERED_BEATS * beat if rows is None else beat)
        try:
            rows = await _look_for_new(engine, kind, stream, end, rows)
        except (ClientClosedError, AuthenticationError, PermissionDeniedError):
            raise
        except CloseBulkError as exc:
            logger.log(level, "could not look for new %s actions, and will again: %s", kind, exc)
            level = logging.INFO  # an outage of hours is one warning
        else:
            level = logging.WARNING


async def _add_what_runs(engine: Engine, kind: Kind, stream: Stream) -> None:
    """Read the whole list."""
    async for row in iterate_actions(engine, kind, fields=FIELDS):
        if not row.is_final:
            stream.add(row.ref)


async def _look_for_new(
    engine: Engine, kind: Kind, stream: Stream, end: NewEnd, before: Sequence[BulkAction] | None
) -> Sequence[BulkAction] | None:
    """Add what came since `before` was read; None stands for a list without an end where new rows appear."""
    if before is None:
        await _add_what_runs(engine, kind, stream)
        return None
    known = frozenset(row.id for row in before)
    rows = await _read_new_end(end, known=known)
    for row in rows or ():
        if row.id not in known:  # also one that has ended since: it began later
            stream.add(row.ref)
    return before if rows is not None and not rows else rows  # an empty answer is no list from which all has gone


async def _read_new_end(end: NewEnd, *, known: frozenset[str] | None) -> Sequence[BulkAction] | None:
    """What the list shows where new rows appear, down to what is known; None where that is nowhere."""
    try:
        pages = await end.read(fields=FIELDS, is_old=lambda row: known is None or row.id in known)
    except UnfencedStartError:
        return None
    return pages.rows
