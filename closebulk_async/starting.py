"""Start an action once: write the intent down, send the POST, and know what became of it."""

from __future__ import annotations

import asyncio
import logging
import uuid
from typing import TypeVar

import attrs

from closebulk_async.errors import AmbiguousStartError, CloseBulkError, DecodeError, TransportError
from closebulk_async.models import BulkAction
from closebulk_async.starts import Intent, Start
from closebulk_async.transport import Delivery, Transport
from closebulk_async.wire import Request, Response, build_create, is_rejection, read_action, salvage_action

logger = logging.getLogger("closebulk_async")

A = TypeVar("A", bound=BulkAction)


@attrs.define(eq=False)
class _Post:
    """One POST, from before it is sent until its outcome is known."""

    request: Request
    delivery: Delivery
    task: asyncio.Task[BulkAction]
    is_unclaimed: bool = False
    """Everybody who waited for the outcome was cancelled, and nobody was told of it yet."""


class Starter:
    """Owns every POST of a client that may have reached the server, until its outcome is known."""

    def __init__(self, transport: Transport) -> None:
        """Own nothing yet."""
        self._transport = transport
        self._posts: list[_Post] = []

    async def start_once(self, start: Start, *, timeout: float | None = None) -> BulkAction:
        """Send the POST of `start` and return the action, as the service first showed it.

        Raises the APIError of a rejection, TransportError where it was never sent, and AmbiguousStartError where it may
        or may not have started a job: such a POST is not sent again. When the caller is cancelled after the POST may
        have left, the outcome is awaited and logged before CancelledError goes on; an equal start that comes
        meanwhile takes that outcome for its own, because a caller that was cancelled and asks again means the same job.
        """
        request = build_create(start)
        post = self._adopt(request) or self._launch(request, start, timeout=timeout)
        try:
            await asyncio.wait({post.task})
        except asyncio.CancelledError:
            await self._abandon(post)
            raise
        return post.task.result()

    async def drain(self) -> None:
        """Wait until the outcome of every POST is known: each is bounded by the total timeout.

        A cancellation meanwhile is raised at the end: a POST that is cut off leaves nobody knowing what it did.
        """
        if await _outlast({post.task for post in self._posts}):
            raise asyncio.CancelledError

    def _launch(self, request: Request, start: Start, *, timeout: float | None) -> _Post:
        delivery = Delivery()
        sending = self._send(request, Intent(uuid.uuid4().hex, start), delivery, timeout=timeout)
        post = _Post(request, delivery, asyncio.get_running_loop().create_task(sending))
        self._posts.append(post)
        post.task.add_done_callback(lambda _: self._posts.remove(post))
        return post

    def _adopt(self, request: Request) -> _Post | None:
        """An equal POST that may have left and that nobody waits for any more."""
        for post in self._posts:
            if post.is_unclaimed and post.delivery.may_have_left and post.request == request:
                logger.info("%s: an equal start was cancelled under way; its outcome serves this one", request)
                post.is_unclaimed = post.delivery.is_withdrawn = False
                return post
        return None

    async def _abandon(self, post: _Post) -> None:
        """For a caller that was cancelled: nothing more is sent, and what may have been sent is waited for."""
        post.is_unclaimed = post.delivery.is_withdrawn = True
        if not post.delivery.may_have_left:
            post.task.cancel()
        await _outlast({post.task})
        if post.is_unclaimed:
            post.is_unclaimed = False
            _log_unclaimed(post)

    async def _send(self, request: Request, intent: Intent, delivery: Delivery, *, timeout: float | None) -> BulkAction:
        try:
            response = await self._transport.send(request, delivery=delivery, timeout=timeout)
        except TransportError as exc:
            if not exc.sent:
                raise
            raise _ambiguous(request, intent, str(exc)) from exc
        except asyncio.CancelledError:
            if delivery.may_have_left:  # the loop itself is ended, and takes every task with it
                logger.warning("%s was cut off after it may have been received: intent %s", request, intent.id)
            raise
        return _read_outcome(request, intent, response)


def _read_outcome(request: Request, intent: Intent, response: Response) -> BulkAction:
    kind = intent.start.kind
    try:
        return read_action(kind, request, response)
    except DecodeError as exc:
        started = salvage_action(kind, response)
        if started is None:
            raise _ambiguous(request, intent, str(exc)) from exc
        logger.warning("%s started %s, whose other fields could not be read: %s", request, started.ref, exc)
        return started
    except CloseBulkError as exc:
        if is_rejection(response.status):
            raise
        raise _ambiguous(request, intent, str(exc)) from exc


def _ambiguous(request: Request, intent: Intent, reason: str) -> AmbiguousStartError:
    message = (
        f"{request} may or may not have started a job, and was not sent again: {reason}. "
        f"Look for it in the list of {intent.start.kind} actions before you start it once more (intent {intent.id})"
    )
    return AmbiguousStartError(message, intent=intent)


async def _outlast(tasks: set[asyncio.Task[BulkAction]]) -> bool:
    """Until all are done, however often the caller is cancelled meanwhile; says whether it was."""
    was_cancelled = False
    while pending := {task for task in tasks if not task.done()}:
        try:
            await asyncio.wait(pending)
        except asyncio.CancelledError:
            was_cancelled = True
    return was_cancelled


def _log_unclaimed(post: _Post) -> None:
    if post.task.cancelled():
        return
    error = post.task.exception()
    if error is None:
        logger.warning("%s: its caller was cancelled, and it started %s", post.request, post.task.result().ref)
    else:
        logger.warning("%s: its caller was cancelled, and it ended with: %s", post.request, error)
