"""Start an action once: write the intent down, send the POST, and know what became of it."""

from __future__ import annotations

import asyncio
import logging
import uuid
from typing import Any, TypeVar, cast

from closebulk_async.errors import AmbiguousStartError, CloseBulkError, DecodeError, TransportError
from closebulk_async.models import BulkAction
from closebulk_async.starts import Intent, Start
from closebulk_async.transport import Delivery, Transport
from closebulk_async.wire import Request, Response, build_create, is_rejection, read_action, salvage_action

logger = logging.getLogger("closebulk_async")

A = TypeVar("A", bound=BulkAction)


class Starter:
    """Owns every POST of a client that may have reached the server, until its outcome is known."""

    def __init__(self, transport: Transport) -> None:
        """Own nothing yet."""
        self._transport = transport
        self._posts: set[asyncio.Task[BulkAction]] = set()
        self._abandoned: dict[Request, asyncio.Task[BulkAction]] = {}

    async def start_once(self, start: Start, *, timeout: float | None = None) -> BulkAction:
        """Send the POST of `start` and return the action, as the service first showed it.

        Raises the APIError of a rejection, TransportError where it was never sent, and AmbiguousStartError where it may
        or may not have started a job: such a POST is not sent again. When the caller is cancelled after the POST may
        have left, the outcome is awaited and logged before CancelledError goes on; an equal start that comes
        meanwhile takes that outcome for its own, because a caller that was cancelled and asks again means the same job.
        """
        request = build_create(start)
        delivery = Delivery()
        post = self._abandoned.pop(request, None)
        if post is None:
            post = asyncio.get_running_loop().create_task(
                self._post(request, Intent(uuid.uuid4().hex, start), delivery, timeout=timeout)
            )
            self._posts.add(post)
            post.add_done_callback(self._posts.discard)
        else:
            delivery.may_have_left = True
            logger.info("%s: an equal start was cancelled while it was under way; its outcome serves this one", request)
        try:
            return await asyncio.shield(post)
        except asyncio.CancelledError:
            if not delivery.may_have_left:
                delivery.is_withdrawn = True
                post.cancel()
            self._abandoned.setdefault(request, post)
            await _settle(post)
            if self._abandoned.get(request) is post:
                del self._abandoned[request]
                _log_unclaimed(request, post)
            raise

    async def drain(self) -> None:
        """Wait until the outcome of every POST is known: each is bounded by the total timeout."""
        while self._posts:
            await asyncio.wait(self._posts)

    async def _post(self, request: Request, intent: Intent, delivery: Delivery, *, timeout: float | None) -> BulkAction:
        try:
            response = await self._transport.send(request, delivery=delivery, timeout=timeout)
        except TransportError as exc:
            if not exc.sent:
                raise
            raise _ambiguous(request, intent, str(exc)) from exc
        except asyncio.CancelledError:
            if delivery.may_have_left:
                logger.exception("%s was cut off after it may have been received: intent %s", request, intent.id)
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


async def _settle(post: asyncio.Task[Any]) -> None:
    """Until `post` is done, however often the caller is cancelled meanwhile."""
    while not post.done():
        try:
            await asyncio.wait({post})
        except asyncio.CancelledError:
            continue


def _log_unclaimed(request: Request, post: asyncio.Task[BulkAction]) -> None:
    if post.cancelled():
        return
    error = post.exception()
    if error is None:
        logger.warning("%s: its caller was cancelled, and it started %s", request, cast("Any", post.result()).ref)
    else:
        logger.warning("%s: its caller was cancelled, and it ended with: %s", request, error)
