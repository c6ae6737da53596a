"""Many actions in one stream: `watch` for those that are named, `watch_active` for those that are found."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import attrs

from closebulk_async.errors import (
    AuthenticationError,
    ClientClosedError,
    CloseBulkError,
    InvalidRequestError,
    PermissionDeniedError,
    UnfencedStartError,
)
from closebulk_async.fencing import NewEnd
from closebulk_async.models import BulkAction, JobRef, Kind
from closebulk_async.operations import iterate_actions, to_ref, to_snapshot
from closebulk_async.polling import NARROW
from closebulk_async.waiters import Waiter, WaitOptions

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Sequence

    from closebulk_async.operations import ActionLike, Engine
    from closebulk_async.progress import Progress
    from closebulk_async.watching import Watcher

logger = logging.getLogger("closebulk_async")

NEW_END_REQUESTS = 20
"""Pages that are read at the most to see what is new in a list: beyond that its order says nothing."""

UNORDERED_BEATS = 10
"""How many times rarer a list is looked through of which every page has to be read."""


class Member(Waiter[Any]):
    """One action of a stream."""

    __slots__ = ("_is_told", "_on_news")

    def __init__(
        self,
        watcher: Watcher,
        ref: JobRef[Any],
        options: WaitOptions,
        *,
        known: BulkAction | None,
        on_news: Callable[[Member], None],
    ) -> None:
        """Poll nothing yet. `on_news` is called when `take_step` has something."""
        super().__init__(watcher, ref, options, known=known)
        self._on_news = on_news
        self._is_told = False

    def begin(self) -> None:
        """Begin to poll."""
        self.begin_beat()
        self.attach()

    def take_step(self) -> Progress[Any] | None:
        """What is new, if anything is. The last one is final, and its `error` is why the wait failed, if it did."""
        if self._is_told:
            return None
        if self.end is None:
            progress = self.take()
            if progress is not None:  # a poll that showed nothing new is no step
                self.begin_beat()
            return progress
        self._is_told = True
        error = self.end.error
        if error is not None and not isinstance(error, CloseBulkError):
            raise error.with_traceback(None)  # a mistake of this package's own
        if self.end.last is None:
            return self.describe_unseen(error)
        return attrs.evolve(self.end.last, error=error)

    def _wake(self) -> None:
        self._on_news(self)


class Stream:
    """The steps of all members, in the order in which they came; of one member always the newest."""

    def __init__(self, watcher: Watcher, options: WaitOptions, *, raise_on_failure: bool) -> None:
        """Without members yet."""
        self._watcher = watcher
        self._options = options
        self._raises = raise_on_failure
        self._members: dict[JobRef[Any], Member] = {}
        self._ready: dict[Member, None] = {}
        self._news: asyncio.Future[None] | None = None

    def add(self, ref: JobRef[Any], *, known: BulkAction | None = None) -> None:
        """Follow one action more, from now on; one that is followed already is the same one."""
        if ref not in self._members:
            member = Member(self._watcher, ref, self._options, known=known, on_news=self._on_news)
            self._members[ref] = member
            member.begin()

    async def run(self, feeds: Sequence[asyncio.Task[None]] = ()) -> AsyncGenerator[Progress[Any], None]:
        """Every step, until all members have ended. `feeds` may add members for as long as they run."""
        for feed in feeds:
            feed.add_done_callback(lambda _: self._wake())
        try:
            while (progress := await self._next(feeds)) is not None:
                yield progress
                if self._raises and progress.error is not None:
                    raise progress.error.with_traceback(None)
        finally:
            for member in list(self._members.values()):
                member.leave()
            for feed in feeds:
                feed.cancel()
            await asyncio.gather(*feeds, return_exceptions=True)
            await self._watcher.wait_ended()

    async def _next(self, feeds: Sequence[asyncio.Task[None]]) -> Progress[Any] | None:
        """The next step; None when nothing can follow. Raises what a feed has raised."""
        while (progress := self._take()) is None:
            for feed in feeds:
                if feed.done():
                    feed.result()
            if not self._members and all(feed.done() for feed in feeds):
                return None
            await self._wait_for_news()
        return progress

    def _take(self) -> Progress[Any] | None:
        while self._ready:
            member = next(iter(self._ready))
            del self._ready[member]
            if (progress := member.take_step()) is not None:
                if member.end is not None:  # also where a pause was taken for the end
                    del self._members[member.ref]
                return progress
        return None

    async def _wait_for_news(self) -> None:
        self._news = asyncio.get_running_loop().create_future()
        try:
            await self._news
        finally:
            self._news = None

    def _on_news(self, member: Member) -> None:
        self._ready[member] = None
        self._wake()

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)


def watch(
    engine: Engine, actions: Iterable[ActionLike[Any]], options: WaitOptions, *, raise_on_failure: bool
) -> AsyncGenerator[Progress[Any], None]:
    """The steps of all `actions`. Raises InvalidRequestError for what is none, before anything is asked."""
    known = {to_ref(action): to_snapshot(action) for action in actions}

    async def run() -> AsyncGenerator[Progress[Any], None]:
        stream = Stream(engine.watcher, options, raise_on_failure=raise_on_failure)
        for ref, snapshot in known.items():
            stream.add(ref, known=snapshot)
        async with aclosing(stream.run()) as steps:
            async for progress in steps:
                yield progress

    return run()


def watch_active(
    engine: Engine, kinds: Iterable[Kind | str] | None, options: WaitOptions, *, follow: bool, raise_on_failure: bool
) -> AsyncGenerator[Progress[Any], None]:
    """The steps of all actions that have not ended, and with `follow` of those that begin later."""
    wanted = _read_kinds(kinds)

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


def _read_kinds(kinds: Iterable[Kind | str] | None) -> Sequence[Kind]:
    if isinstance(kinds, str):
        message = f"kinds must be several and is the one text {kinds!r}: write [{kinds!r}]"
        raise InvalidRequestError(message)
    try:
        return list(dict.fromkeys(map(Kind, Kind if kinds is None else kinds)))
    except ValueError as exc:
        message = f"{exc}: the kinds are {', '.join(Kind)}"
        raise InvalidRequestError(message) from exc


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
    async for row in iterate_actions(engine, kind, fields=NARROW):
        if not row.is_final:
            stream.add(row.ref)
    beat = engine.watcher.policy.discover
    while follow:
        await engine.transport.sleep(UNORDERED_BEATS * beat if rows is None else beat)
        try:
            rows = await _look_for_new(engine, kind, stream, end, rows)
        except (ClientClosedError, AuthenticationError, PermissionDeniedError):
            raise
        except CloseBulkError as exc:
            logger.warning("could not look for new %s actions, and will again: %s", kind, exc)


async def _look_for_new(
    engine: Engine, kind: Kind, stream: Stream, end: NewEnd, before: Sequence[BulkAction] | None
) -> Sequence[BulkAction] | None:
    """Add what came since `before` was read; None stands for a list without an end where new rows appear."""
    if before is None:
        async for row in iterate_actions(engine, kind, fields=NARROW):
            if not row.is_final:
                stream.add(row.ref)
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
        pages = await end.read(fields=("date_created", *NARROW), is_old=lambda row: known is None or row.id in known)
    except UnfencedStartError:
        return None
    return pages.rows
