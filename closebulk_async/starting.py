"""How an action is started: its options, and the one step that sends a POST and records what became of it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Literal, Self, TypeAlias, get_args

import attrs

from closebulk_async.errors import (
    AmbiguousStartError,
    CloseBulkError,
    DecodeError,
    InvalidRequestError,
    JournalError,
    TransportError,
    shorten,
)
from closebulk_async.intents import Fence, Intent, State
from closebulk_async.policy import NO_RETRY, Duration, to_seconds_or_none
from closebulk_async.transport import Delivery, Transport
from closebulk_async.wire import (
    KINDS,
    Request,
    Response,
    build_create,
    check_count,
    is_rejection,
    read_action,
    salvage_action,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from closebulk_async.journal import Journal
    from closebulk_async.models import BulkAction

logger: logging.Logger = logging.getLogger("closebulk_async")

OnAmbiguous: TypeAlias = Literal["reconcile", "raise", "resend"]
"""What a start does when its POST may or may not have started an action.

`reconcile`: look for the action and take it for its own, or raise; `raise`: raise at once; `resend`: look for it, and
send the POST once more where it is not found, for those who prefer a second action to none.
"""


@attrs.frozen(kw_only=True)
class StartOptions:
    """How an action is started. `timeout` (seconds) bounds the answer to the POST and to the count."""

    timeout: float | None = None
    idempotency_key: str | None = None
    on_ambiguous: OnAmbiguous = "reconcile"
    max_matches: int | None = None

    @classmethod
    def from_keywords(
        cls,
        *,
        timeout: Duration | None = None,
        idempotency_key: str | None = None,
        on_ambiguous: OnAmbiguous = "reconcile",
        max_matches: int | None = None,
    ) -> Self:
        """Take the keywords of `create`. Raises InvalidRequestError."""
        return cls(
            timeout=to_seconds_or_none(timeout, name="timeout"),
            idempotency_key=idempotency_key,
            on_ambiguous=on_ambiguous,
            max_matches=max_matches,
        )

    def __attrs_post_init__(self) -> None:
        if self.on_ambiguous not in get_args(OnAmbiguous):
            message = f"on_ambiguous must be one of {', '.join(get_args(OnAmbiguous))} and is {self.on_ambiguous!r}"
            raise InvalidRequestError(message)
        key = self.idempotency_key
        if key is not None and not (isinstance(key, str) and key.strip()):
            message = f"idempotency_key must be a text that is not empty and is {key!r}"
            raise InvalidRequestError(message)
        if self.max_matches is not None:
            check_count(self.max_matches, name="max_matches")


async def start_once(
    transport: Transport,
    journal: Journal,
    intent: Intent,
    *,
    fence: Fence,
    owner: str,
    leased_until: datetime,
    delivery: Delivery | None = None,
    timeout: float | None = None,
) -> BulkAction | None:
    """Send the POST of a `new` intent once, and record what became of it. One request, no loop, no sleep.

    Returns the action, the intent being `started`. None where the journal did not let the intent become `posting`:
    somebody else has changed it, or has an open one of its fingerprint; nothing was sent. Where it is proved that
    nothing ran, the intent is `new` again, and the APIError of the rejection (RateLimitedError too) or the
    TransportError is raised; JournalError where the intent could not be written before. AmbiguousStartError: it stays
    `posting`.
    """
    delivery = delivery or Delivery()
    try:
        posting = await journal.swap(
            attrs.evolve(intent, state=State.POSTING, fence=fence, owner=owner, leased_until=leased_until)
        )
    except BaseException:  # a broken journal, or cancelled: it may be written all the same, and nothing was sent
        await _take_back(journal, intent, owner=owner)
        raise
    if posting is None:
        return None
    request = build_create(intent.kind, intent.body)
    try:
        response = await transport.send(request, retry=NO_RETRY, delivery=delivery, timeout=timeout)
        action = _read_outcome(request, posting, response)
    except AmbiguousStartError:
        raise
    except TransportError as exc:
        if exc.sent:
            raise ambiguous(posting, str(exc)) from exc
        await _record(journal, posting.unsent())
        raise
    except CloseBulkError:  # a rejection, or a client that was closed before anything was sent
        await _record(journal, posting.unsent())
        raise
    except BaseException:  # cancelled
        if delivery.may_have_left:  # the loop itself is ended, and takes every task with it
            logger.warning("%s was cut off after it may have been received: intent %s", request, intent.id)
        else:
            await _record(journal, posting.unsent())
        raise
    else:
        await _record(journal, posting.started_as(action, at=response.now))
        return action
    finally:
        delivery.may_have_left = False  # nothing is under way any more


def ambiguous(intent: Intent, reason: str, *, candidates: Sequence[BulkAction] = ()) -> AmbiguousStartError:
    """The error for an intent whose outcome is unknown, in words for whoever has to find it out."""
    since = f" since {intent.fence.taken_at:%Y-%m-%d %H:%M:%S %Z}" if intent.fence and intent.fence.taken_at else ""
    user = f" by {intent.created_by}" if intent.created_by else ""
    message = (
        f"POST {KINDS[intent.kind].path} may or may not have started an action, and is not sent again: {reason}. "
        f"Look in the list of {intent.kind} actions for one that was created{since}{user} and shows "
        f"{shorten(intent.body.decode(), limit=150)}. Then close.adopt({intent.id!r}, ref), or "
        f"close.abandon({intent.id!r}) if there is none; close.reconcile({intent.id!r}) looks for it once more"
    )
    return AmbiguousStartError(message, intent=intent, candidates=candidates)


async def _take_back(journal: Journal, intent: Intent, *, owner: str) -> None:
    """Make an intent `new` again that this owner may have made `posting` just now; another one's is being sent."""
    try:
        stored = await journal.get(intent.id)
        if stored is not None and stored.state is State.POSTING and stored.owner == owner:
            await journal.swap(stored.unsent())
    except JournalError as exc:
        logger.warning("intent %s was not sent; whether the journal says so is unknown: %s", intent.id, exc)


async def _record(journal: Journal, intent: Intent) -> None:
    """Write down what is known. Where that fails, the intent stays `posting`, and reconciling finds out once more."""
    try:
        stored = await journal.swap(intent) or await journal.get(intent.id)
    except JournalError:
        logger.exception("intent %s is %s (%s), which could not be written down", intent.id, intent.state, intent.ref)
        return
    if stored is None or stored.ref != intent.ref:
        logger.error("intent %s is %s (%s), but the journal says %s", intent.id, intent.state, intent.ref, stored)


def _read_outcome(request: Request, intent: Intent, response: Response) -> BulkAction:
    try:
        return read_action(intent.kind, request, response)
    except DecodeError as exc:
        started = salvage_action(intent.kind, response)
        if started is None:
            raise ambiguous(intent, str(exc)) from exc
        logger.warning("%s started %s, whose other fields could not be read: %s", request, started.ref, exc)
        return started
    except CloseBulkError as exc:
        if is_rejection(response.status):
            raise
        raise ambiguous(intent, str(exc)) from exc
