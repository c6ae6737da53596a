"""Events to feed hooks with: one of each class, and makers of those that tests vary."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from closebulk_async.errors import TransportError
from closebulk_async.models import BulkEmail, JobRef, Kind
from closebulk_async.telemetry import (
    ActionMoved,
    PollEnded,
    RequestEnded,
    RequestRepeated,
    StartMoved,
    StartReconciled,
    Throttled,
    WaitBegan,
    WaitEnded,
    WebhookReceived,
)
from tests.journals import new_intent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from closebulk_async.telemetry import Event

REF: JobRef[BulkEmail] = JobRef(Kind.EMAIL, "bulkemail_1")
GROUP = "GET /bulk_action/email/"
LOST = TransportError("the connection\nwas cut", request="GET /bulk_action/email/bulkemail_1/", sent=True)


def request(**changes: Any) -> RequestEnded:
    """A poll of one action that was answered."""
    usual: dict[str, Any] = {"method": "GET", "path": f"/bulk_action/email/{REF.id}/", "group": GROUP, "attempt": 1}
    return RequestEnded(**usual | {"status": 200, "duration": timedelta(seconds=0.25)} | changes)


def moved(before: int | None, after: int, **changes: Any) -> ActionMoved:
    """An action that has processed so many of its objects."""
    now = BulkEmail.example(id=REF.id, n_objects_processed=after, **changes)
    then = None if before is None else BulkEmail.example(id=REF.id, n_objects_processed=before)
    return ActionMoved(before=then, action=now, rate=None, eta=None)


def ended(number: int = 1, *, error: BaseException | None = None) -> WaitEnded:
    """The end of a wait after a minute and a half."""
    return WaitEnded(number=number, ref=REF, elapsed=timedelta(seconds=90), polls=7, error=error)


EVENTS: Sequence[Event] = (
    request(status=None, error=LOST),
    RequestRepeated(
        method="GET", path="/me/", group="GET /me/", attempt=2, delay=timedelta(seconds=1), reason="answered with 503"
    ),
    Throttled(group=GROUP, delay=timedelta(seconds=2)),
    PollEnded(refs=(REF, JobRef(Kind.EMAIL, "bulkemail_2")), how="page", found=1),
    moved(10, 40),
    WaitBegan(number=1, ref=REF),
    ended(),
    StartMoved(intent=new_intent(id="intent_1")),
    StartReconciled(intent=new_intent(id="intent_1"), outcome="adopted", ref=REF),
    WebhookReceived(ref=REF, action="updated", is_watched=True),
)
"""One of each."""
