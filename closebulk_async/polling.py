"""Sends the polls of one kind, each request when the budget has room for it."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Protocol

from closebulk_async.choosing import Chooser, Errand, Target
from closebulk_async.convert import lay_over
from closebulk_async.errors import (
    AuthenticationError,
    BadRequestError,
    ClientClosedError,
    CloseBulkError,
    DecodeError,
    NotFoundError,
    PermissionDeniedError,
    PlanLimitError,
    RateLimitedError,
)
from closebulk_async.models import Kind
from closebulk_async.policy import NO_RETRY
from closebulk_async.progress import count_objects
from closebulk_async.telemetry import PollEnded, Telling
from closebulk_async.wire import KINDS, build_get, build_list, read_action, read_page

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from closebulk_async.clock import Clock
    from closebulk_async.models import Job, JobRef, Page
    from closebulk_async.policy import PollPolicy
    from closebulk_async.transport import Transport

logger: logging.Logger = logging.getLogger("closebulk_async")

REFUSED = (BadRequestError, DecodeError, NotFoundError, PermissionDeniedError, PlanLimitError)
"""What a page gets where the list cannot be read at all, from there or because of a row: single reads still may."""

SHARED = (AuthenticationError, ClientClosedError, RateLimitedError)
"""What a single read would get as well: it says nothing of pages."""


async def poll_once(transport: Transport, ref: JobRef[Any]) -> Job:
    """Read the action, without a repeat: for whoever polls, the next poll is the repeat. The caller was admitted."""
    request = build_get(ref)
    return read_action(ref.kind, request, await transport.send(request, retry=NO_RETRY, is_admitted=True))


def what_moves(action: Job) -> tuple[object, ...]:
    """What of an action a wait follows."""
    return action.status, *count_objects(action)


class AnyDesk(Protocol):
    """Where the polls of the actions of one kind are asked for, however they are answered."""

    @property
    def watched(self) -> dict[str, Target]:
        """By id, all that may be asked for."""

    def ask(self, target: Target, *, urgent: bool = False) -> None:
        """Poll it as soon as may be. `Target.due_since` says since when, until there was an answer."""

    def recall(self, target: Target) -> None:
        """Wait no longer for what is under way for it."""

    def withdraw(self, target: Target) -> None:
        """Poll it no more."""

    async def wait_ended(self) -> None:
        """Until nothing is left of what was given up."""


def open_desks(
    transport: Transport,
    *,
    clock: Clock,
    policy: PollPolicy,
    note: Callable[[Job], Awaitable[None]],
    tell: Telling,
) -> Mapping[Kind, Desk]:
    """One for each kind, which share their places. `note` is told what a poll has read when something has changed.

    It must not raise. The requests of `transport` are those of polls: others go first where the budget is short.
    """
    slots = asyncio.Semaphore(policy.concurrency)
    return {kind: Desk(kind, transport=transport, clock=clock, slots=slots, note=note, tell=tell) for kind in Kind}


class Desk:
    """Polls the actions of one kind. One request at a time waits for its turn, and chooses then what it asks for."""

    def __init__(
        self,
        kind: Kind,
        *,
        transport: Transport,
        clock: Clock,
        slots: asyncio.Semaphore,
        note: Callable[[Job], Awaitable[None]],
        tell: Telling,
    ) -> None:
        """Poll nothing yet. `slots` bounds the requests under way; `note` hears of what has moved before all others."""
        self.watched: dict[str, Target] = {}
        """By id: a page may show any of them."""
        self._kind = kind
        self._transport = transport
        self._clock = clock
        self._slots = slots
        self._note = note
        self._tell = tell
        self._group = build_list(kind).group
        self._due: dict[Target, None] = {}
        self._queued: asyncio.Task[None] | None = None
        self._tasks: dict[asyncio.Task[None], Errand | None] = {}
        self._chooser = Chooser()

    def ask(self, target: Target, *, urgent: bool = False) -> None:
        """Poll it, as soon as the budget has room."""
        target.is_urgent = target.is_urgent or urgent
        if target.due_since is None or urgent:
            target.due_since = self._clock.monotonic()
        if target.is_waiting:
            self._due[target] = None
        self._queue()

    def recall(self, target: Target) -> None:
        """Wait no longer for a request that was sent for it. One that was sent for it alone is given up."""
        if target.errand is not None:
            self._drop(target, target.errand)

    def withdraw(self, target: Target) -> None:
        """Poll it no more. A request that was sent for it alone is given up."""
        if self.watched.get(target.ref.id) is target:
            del self.watched[target.ref.id]
        self._settle(target)
        if target.errand is not None:
            self._drop(target, target.errand)
        if not self._due and self._queued is not None:
            self._queued.cancel()
            self._queued = None

    async def wait_ended(self) -> None:
        """Until every request that was given up has let go of its connection."""
        if ending := [task for task in self._tasks if task.cancelling()]:
            await asyncio.wait(ending)

    def _settle(self, target: Target) -> None:
        target.due_since, target.is_urgent = None, False
        self._due.pop(target, None)

    def _drop(self, target: Target, errand: Errand) -> None:
        target.errand = None
        errand.targets.remove(target)
        if not errand.targets:
            for task, its in self._tasks.items():
                if its is errand and task is not asyncio.current_task():
                    task.cancel()

    def _queue(self) -> None:
        if self._due and self._queued is None:
            task = asyncio.get_running_loop().create_task(self._run(), name=f"closebulk_async poll {self._kind}")
            self._queued, self._tasks[task] = task, None
            task.add_done_callback(self._tasks.pop)

    async def _run(self) -> None:
        """Wait for a turn, choose one request, send it, and hand out what it brought."""
        errand: Errand | None = None
        asked_at = self._clock.monotonic()
        try:
            async with self._slots:
                await self._transport.admit(self._group)
                if not self._due:  # what others had asked for has shown them
                    self._transport.dismiss(self._group)
                    return
                asked_at = self._clock.monotonic()
                errand = self._choose(asked_at)
                await self._send(errand, asked_at)
        except CloseBulkError as exc:
            if isinstance(exc, RateLimitedError):
                for target in self.watched.values():  # they share the limit that one of them has hit
                    target.blame(exc)
            for target in list(self._due if errand is None else errand.targets):
                self._settle(target)
                target.errand = None
                target.on_no_answer(exc, asked_at=asked_at)
        except Exception as exc:
            # A mistake of this package's own must end the waits, not leave them hanging on a dead poller.
            logger.exception("polls of %s actions", self._kind)
            for target in list(self._due if errand is None else errand.targets):
                target.fail(exc)
        finally:
            if errand is not None:
                self._chooser.end(errand)
            if self._queued is asyncio.current_task():
                self._queued = None
                self._queue()

    def _choose(self, now: float) -> Errand:
        errand = self._chooser.choose(list(self._due), now=now)
        for target in errand.targets:
            del self._due[target]
            target.errand = errand
        task = asyncio.current_task()
        if task is not None:
            self._tasks[task] = errand
        self._queued = None
        self._queue()  # what is left waits for the next turn
        return errand

    async def _send(self, errand: Errand, asked_at: float) -> None:
        try:
            if errand.skip is None:
                shown = [(errand.targets[0], await poll_once(self._transport, errand.targets[0].ref))]
                self._chooser.note_single()
            else:
                shown = await self._read_page(errand, errand.skip)
        except CloseBulkError as exc:
            self._report(errand, found=0, error=exc)
            if errand.skip is not None and not isinstance(exc, (*REFUSED, *SHARED)):
                self._chooser.note_failure(self._clock.monotonic())
            if errand.skip is None or not isinstance(exc, REFUSED):
                raise
            logger.info("%s actions are polled one by one for a while: %s", self._kind, exc)
            self._chooser.note_refusal(errand, self._clock.monotonic())
            shown = []
        else:
            self._report(errand, found=len(shown))
        for target, action in shown:
            try:
                await self._hand_out(target, action, errand, asked_at)
            except Exception as exc:
                # A mistake of this package's own must end the wait, not leave it hanging, and no other one.
                logger.exception("poll of %s", target.ref)
                target.fail(exc)
        for target in list(errand.targets):  # whom the page did not show
            target.errand = None
            if target.due_since is not None:
                self.ask(target)

    async def _read_page(self, errand: Errand, skip: int) -> list[tuple[Target, Job]]:
        """Every watched action that the page shows, with all fields."""
        is_whole = errand.wants_whole
        request = build_list(self._kind, skip=skip, fields=None if is_whole else KINDS[self._kind].polled)
        response = await self._transport.send(request, retry=NO_RETRY, is_admitted=True)
        page: Page[Any] = read_page(self._kind, request, response)
        rows = [(target, n, row) for n, row in enumerate(page.data) if (target := self.watched.get(row.id)) is not None]
        self._chooser.learn(
            errand,
            [(target, skip + n) for target, n, _ in rows],
            n_rows=len(page.data),
            has_more=page.has_more,
            watched=self.watched.values(),
            now=self._clock.monotonic(),
        )
        if is_whole:
            return [(target, row) for target, _, row in rows]
        return [(target, lay_over(whole, row)) for target, _, row in rows if (whole := target.whole) is not None]

    async def _hand_out(self, target: Target, action: Job, errand: Errand, asked_at: float) -> None:
        before = target.whole
        if before is None or what_moves(before) != what_moves(action):
            await self._note(action)
        if self.watched.get(target.ref.id) is not target:
            return  # left meanwhile
        if target.errand is errand:
            target.errand = None
            errand.targets.remove(target)
            self._settle(target)
        elif target.due_since is None or asked_at >= target.due_since:
            self._settle(target)
        # Else its poll became due after this was asked, and stays so: what it is to show may be newer.
        target.on_answer(action, asked_at=asked_at)

    def _report(self, errand: Errand, *, found: int, error: CloseBulkError | None = None) -> None:
        if self._tell:
            refs = tuple(target.ref for target in errand.targets)
            self._tell(PollEnded(refs=refs, how="item" if errand.skip is None else "page", found=found, error=error))
