"""Keeps the board true: what a `CloseBulk` lists, what it watches, and whether it gets answers at all."""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
from contextlib import aclosing, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from closebulk_async.dashboard.payloads import LABELS
from closebulk_async.errors import (
    BulkActionFailed,
    BulkActionPaused,
    ClientClosedError,
    CloseBulkError,
    JournalError,
    NotFoundError,
    PermissionDeniedError,
)
from closebulk_async.models import Kind
from closebulk_async.policy import PollPolicy

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
    from datetime import datetime

    from closebulk_async.client import CloseBulk
    from closebulk_async.clock import Clock
    from closebulk_async.dashboard.board import Board
    from closebulk_async.dashboard.publishing import Publisher
    from closebulk_async.intents import Intent
    from closebulk_async.models import JobRef
    from closebulk_async.progress import Progress

logger: logging.Logger = logging.getLogger("closebulk_async")

AGAIN = PollPolicy(floor=1.0, ceiling=60.0, lost_after=1800.0)
"""How long to wait before what has failed is tried again: from a second on, growing to a minute."""

HEARTBEAT = 15.0
"""Seconds after which an action tells that it was polled though nothing moved. They cost no request."""

MOST_RECENT = 200
"""Actions that are read at the start, whatever became of them."""

READ = ("date_updated", *LABELS.values())
"""What is read of each: a query may list thousands of leads, and is read when somebody wants to see it."""

LOOK_BACK = 300.0
"""Seconds between looks at what is recent: what began and ended between two other looks is only seen so."""

LOOK_SOON = 30.0
"""The same for the first time: what ended while all lists were read for the first time is only seen so."""

FORBIDDEN = 600.0
"""Seconds before a list is tried again that may not be read: somebody may have given the right to."""

JOURNAL = 5.0
"""Seconds between looks into the journal, in which other processes write."""

SILENCE = 45.0
"""Seconds without an answer after which Close is asked for one: looks for new actions come more often."""

DOUBT = 10.0
"""Seconds between two such questions at the least, where a poll fails again and again and all else is well."""

TASK = "closebulk_async dashboard"

ENDS = (BulkActionFailed, BulkActionPaused, NotFoundError)
"""After these there is nothing more to follow."""


class Feed:
    """The tasks that read. `run` is all of them; it never ends by itself, whatever Close answers."""

    def __init__(self, close: CloseBulk, board: Board, publisher: Publisher, *, clock: Clock) -> None:
        """Read nothing yet."""
        self._close = close
        self._board = board
        self._publisher = publisher
        self._clock = clock
        self._left: dict[JobRef[Any], None] = {}
        """Actions that nobody follows any more and that have not ended."""
        self._is_left = asyncio.Event()
        self._followed_again: set[JobRef[Any]] = set()
        self._is_in_doubt = False
        self._heard_at = -math.inf
        self._cause: tuple[type[CloseBulkError], object] | None = None
        self.intents: Mapping[JobRef[Any], Intent] = {}
        """Open starts of the journal that have an action."""

    async def run(self) -> None:
        """Read until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            for work, kind in self._works():
                group.create_task(self._go_on(work, kind=kind), name=TASK)

    def _works(self) -> Sequence[tuple[Callable[[], Awaitable[None]], Kind | None]]:
        """What is done all the time, and the kind that it is about, if it is about one."""
        works: list[Callable[[], Awaitable[None]]] = [self._look_back, self._follow_left, self._listen]
        if self._close.journal.is_durable:
            works.append(self._read_journal)
        return [*((work, None) for work in works), *((partial(self._follow_kind, kind), kind) for kind in Kind)]

    def follow_again(self, *refs: JobRef[Any]) -> None:
        """Follow what nobody follows any more."""
        self._left.update(dict.fromkeys(ref for ref in refs if ref not in self._followed_again))
        if self._left:
            self._is_left.set()

    async def _go_on(self, work: Callable[[], Awaitable[None]], *, kind: Kind | None = None) -> None:
        """Do it again and again. What fails is tried later, and later still if it fails at once.

        `kind` is the one that it is about.
        """
        failures = 0
        while True:
            began = self._clock.monotonic()
            if kind is not None:
                self._note_forbidden(kind, is_forbidden=False)  # as far as is known, until it is refused
            try:
                await work()
            except PermissionDeniedError as exc:
                logger.warning("the dashboard leaves out what may not be read: %s", exc)
                self._note_answer()  # it is one
                if kind is not None:
                    self._note_forbidden(kind, is_forbidden=True)
                await self._clock.sleep(FORBIDDEN)
                continue
            except JournalError as exc:  # that says nothing of Close
                logger.warning("the dashboard cannot read the journal, and will again: %s", exc)
            except CloseBulkError as exc:
                self._note_failure(exc)
            except Exception:
                logger.exception("a mistake in the dashboard; it goes on")
            failures = 1 if self._clock.monotonic() - began > AGAIN.ceiling else failures + 1
            await self._clock.sleep(AGAIN.delay_after_failure(failures))

    # What is read ---------------------------------------------------------------------------------------------------

    async def _look_back(self) -> None:
        """What is recent, now and then."""
        waits = itertools.chain((LOOK_SOON,), itertools.repeat(LOOK_BACK))
        while True:
            jobs = await self._close.recent(limit=MOST_RECENT, fields=READ)
            now = self._note_answer()
            for job in jobs:
                self._board.note_job(job, now=now)
            self._publisher.note()
            await self._clock.sleep(next(waits))

    async def _follow_kind(self, kind: Kind) -> None:
        """All that runs of one kind, and what begins. The kinds one by one: where one may not be read, others can."""
        try:
            await self._take(self._close.watch_active(kinds=[kind], follow=True, heartbeat=HEARTBEAT))
        finally:  # what has ended by the time at which it begins anew, it would not show
            self.follow_again(*(card.ref for card in self._board.cards if card.ref.kind is kind and card.is_live))

    async def _follow_left(self) -> None:
        """What is left, together, after a while that grows as long as there is no answer."""
        failures = 0
        async with asyncio.TaskGroup() as group:
            while True:
                await self._is_left.wait()
                before, failures = self._heard_at, failures + 1
                await self._clock.sleep(AGAIN.delay_after_failure(failures))
                if self._board.link.status == "error":
                    continue
                if self._heard_at > before:
                    failures = 0
                refs = list(self._left)
                self._left.clear()
                self._is_left.clear()
                group.create_task(self._follow(refs), name=TASK)

    async def _follow(self, refs: Sequence[JobRef[Any]]) -> None:
        self._followed_again.update(refs)
        try:
            with suppress(ClientClosedError):  # it stays closed, and the others say so
                await self._take(self._watch(refs))
        finally:
            self._followed_again.difference_update(refs)

    def _watch(self, refs: Sequence[JobRef[Any]]) -> AsyncGenerator[Progress[Any], None]:
        return self._close.watch(*refs, heartbeat=HEARTBEAT)

    async def _read_journal(self) -> None:
        """What is open in the journal."""
        while True:
            intents = await self._close.journal.unfinished()
            self.intents = {intent.ref: intent for intent in intents if intent.ref is not None}
            self._board.note_starts([intent for intent in intents if intent.ref is None])
            self._publisher.note()
            await self._clock.sleep(JOURNAL)

    async def _listen(self) -> None:
        """Ask Close for a sign of life where there was none for a while, or where polls fail."""
        failures = 0
        while True:
            await self._clock.sleep(AGAIN.delay_after_failure(failures) if failures else DOUBT)
            if not failures and not self._is_in_doubt and self._was_heard():
                continue
            self._is_in_doubt = False
            try:
                await self._close.me()
            except CloseBulkError as exc:
                failures += 1
                self._note_failure(exc)
            else:
                failures = 0
                self._note_answer()

    def _was_heard(self) -> bool:
        """Whether there was an answer lately, also one that nobody here has asked for, or that showed nothing new."""
        shown = (limit.seen_at for group in self._close.limits.values() for limit in group.shown)
        newest = max(shown, default=None)
        if newest is not None and self._board.link.status == "ok" and newest > (self._board.link.last_ok_at or newest):
            self._note_answer()
        return self._clock.monotonic() - self._heard_at < SILENCE

    # What it says ---------------------------------------------------------------------------------------------------

    async def _take(self, steps: AsyncGenerator[Progress[Any], None]) -> None:
        async with aclosing(steps) as taken:
            async for progress in taken:
                answered = self._board.note_progress(progress, now=self._clock.now())
                if answered:
                    self._note_answer()
                elif answered is False:
                    self._is_in_doubt = True
                if progress.error is not None and not isinstance(progress.error, ENDS):
                    self._followed_again.discard(progress.ref)
                    self.follow_again(progress.ref)
                self._publisher.note()

    def _note_answer(self) -> datetime:
        now, self._heard_at = self._clock.now(), self._clock.monotonic()
        self._board.note_answer(now=now)
        self._publisher.note()
        return now

    def _note_forbidden(self, kind: Kind, *, is_forbidden: bool) -> None:
        self._board.note_forbidden(str(kind), is_forbidden=is_forbidden)
        self._publisher.note()

    def _note_failure(self, error: CloseBulkError) -> None:
        cause = (type(error), getattr(error, "status", None))
        is_known = self._board.link.status == "error" and cause == self._cause
        logger.log(
            logging.INFO if is_known else logging.WARNING,
            "the dashboard cannot read from Close, and will again: %s",
            error,
        )
        if not is_known:  # the same of another list is no news
            self._cause = cause
            self._board.note_failure(str(error), now=self._clock.now())
            self._publisher.note()
