"""Owns every start of a client that is under way, until its outcome is known, whoever waits for it."""

from __future__ import annotations

import asyncio
import logging
from weakref import WeakValueDictionary

import attrs

from closebulk_async.creating import Creation, Workshop
from closebulk_async.errors import InvalidRequestError
from closebulk_async.models import BulkAction
from closebulk_async.starting import StartOptions
from closebulk_async.starts import Start
from closebulk_async.tasks import outlast
from closebulk_async.transport import Delivery

logger: logging.Logger = logging.getLogger("closebulk_async")


@attrs.define(eq=False)
class _Attempt:
    """One start, from the call until its outcome is known."""

    start: Start
    options: StartOptions
    delivery: Delivery
    creation: Creation
    task: asyncio.Task[BulkAction]
    is_unclaimed: bool = False
    """Everybody who waited for the outcome was cancelled, and nobody was told of it yet."""

    def __str__(self) -> str:
        return f"the start of a bulk {self.start.kind}"


class Starter:
    """Starts actions, and goes on with a POST that may have left when its caller is cancelled."""

    def __init__(self, workshop: Workshop) -> None:
        """Own nothing yet."""
        self._workshop = workshop
        self._attempts: list[_Attempt] = []
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._ambiguous: set[str] = set()

    async def start(self, start: Start, options: StartOptions) -> BulkAction:
        """Start the action, once, and return it as the service first showed it.

        Raises the APIError of a rejection, TransportError where it was never sent, AmbiguousStartError where it may or
        may not have started, JournalError where it could not be written down before, IdempotencyConflictError,
        BlockedStartError, TooManyMatchesError and UnfencedStartError. When the caller is cancelled after the POST may
        have left, the outcome is awaited, recorded and logged before CancelledError goes on; an equal start that comes
        meanwhile takes that outcome for its own, because a caller that was cancelled and asks again means the same job.
        """
        self._workshop.transport.check_open()
        if options.idempotency_key is not None and not self._workshop.journal.is_durable:
            message = (
                "idempotency_key needs a journal that outlives this process: CloseBulk(journal='closebulk.db'). "
                "Without one nobody would know the key after a restart"
            )
            raise InvalidRequestError(message)
        attempt = self._adopt(start, options) or self._launch(start, options)
        try:
            await asyncio.wait({attempt.task})
        except asyncio.CancelledError:
            await self._abandon(attempt)
            raise
        return attempt.task.result()

    async def drain(self) -> None:
        """Wait until the outcome of every POST is known: each is bounded by the total timeout.

        A cancellation meanwhile is raised at the end: a POST that is cut off leaves nobody knowing what it did.
        """
        if await outlast(attempt.task for attempt in self._attempts):
            raise asyncio.CancelledError

    def _launch(self, start: Start, options: StartOptions) -> _Attempt:
        delivery = Delivery()
        left = {attempt.creation.intent_id for attempt in self._attempts if attempt.is_unclaimed}
        creation = Creation(
            self._workshop, start, options, delivery=delivery, ambiguous_before=frozenset({*self._ambiguous, *left})
        )
        task = asyncio.get_running_loop().create_task(self._run(creation, start, options))
        attempt = _Attempt(start, options, delivery, creation, task)
        self._attempts.append(attempt)
        task.add_done_callback(lambda _: self._attempts.remove(attempt))
        return attempt

    async def _run(self, creation: Creation, start: Start, options: StartOptions) -> BulkAction:
        intent = await self._workshop.write_intent(start, options)
        turn = self._turns.setdefault(intent.fingerprint, asyncio.Lock())
        async with turn:  # what responses cannot tell apart goes one after the other
            try:
                return await creation.run(intent)
            finally:
                if creation.left_open is not None:
                    self._ambiguous.add(creation.left_open)

    def _adopt(self, start: Start, options: StartOptions) -> _Attempt | None:
        """An equal start whose POST may have left and that nobody waits for any more."""
        for attempt in self._attempts:
            is_equal = attempt.start.kind is start.kind and attempt.start.to_json() == start.to_json()
            is_equal = is_equal and attempt.options.idempotency_key == options.idempotency_key
            if is_equal and attempt.is_unclaimed and attempt.delivery.may_have_left:
                logger.info("%s: an equal one was cancelled under way; its outcome serves this one", attempt)
                attempt.is_unclaimed = attempt.delivery.is_withdrawn = False
                return attempt
        return None

    async def _abandon(self, attempt: _Attempt) -> None:
        """For a caller that was cancelled: nothing more is sent, and what may have been sent is waited for."""
        attempt.is_unclaimed = attempt.delivery.is_withdrawn = True
        if not attempt.delivery.may_have_left:
            attempt.task.cancel()
        await outlast([attempt.task])
        if attempt.is_unclaimed:
            attempt.is_unclaimed = False
            _log_unclaimed(attempt)


def _log_unclaimed(attempt: _Attempt) -> None:
    error = None if attempt.task.cancelled() else attempt.task.exception()
    started = attempt.creation.started if attempt.task.cancelled() or error else attempt.task.result().ref
    if started is not None:
        logger.warning("%s: its caller was cancelled, and it started %s", attempt, started)
    elif error is not None:
        logger.warning("%s: its caller was cancelled, and it ended with: %s", attempt, error)
