"""Intents for tests of journals: new ones, and ones that have come so far."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import attrs

from closebulk_async.intents import Fence, Intent, Sighting, State
from closebulk_async.models import BulkEmail, JobRef, Kind

if TYPE_CHECKING:
    from closebulk_async.journal import Journal

SCOPE = "https://api.close.com/api/v1 orga_1"
NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)
FENCE = Fence(ids=frozenset({"bulkemail_0"}), taken_at=NOON)
DONE = Sighting(status="done", n_objects_processed=5, n_objects=5, at=NOON)
REF: JobRef[BulkEmail] = JobRef(Kind.EMAIL, "bulkemail_1")


def new_intent(**changes: Any) -> Intent:
    """An intent that no journal has yet; each has a fingerprint of its own."""
    fresh = {"id": uuid.uuid4().hex, "fingerprint": uuid.uuid4().hex, "created_at": NOON}
    return Intent(**{"scope": SCOPE, "kind": Kind.EMAIL, "body": b'{"template_id":"tmpl_1"}', **fresh, **changes})


async def swapped(journal: Journal, intent: Intent, **changes: Any) -> Intent:
    """The intent after a swap that succeeds."""
    after = await journal.swap(attrs.evolve(intent, **changes))
    if after is None:
        raise AssertionError(f"the journal did not swap {intent} with {changes}")
    return after


async def posting(journal: Journal, **changes: Any) -> Intent:
    """An intent whose POST may have left."""
    intent = await journal.begin(new_intent(**changes))
    return await swapped(journal, intent, state=State.POSTING, fence=intent.fence or FENCE)


async def started(journal: Journal, ref: JobRef[Any] = REF, **changes: Any) -> Intent:
    """An intent whose action is known."""
    return await swapped(journal, await posting(journal, **changes), state=State.STARTED, ref=ref, fence=None)


async def finished(journal: Journal, ref: JobRef[Any] = REF, **changes: Any) -> Intent:
    """An intent whose action has ended."""
    return await swapped(journal, await started(journal, ref, **changes), state=State.FINAL)


def ref_of(number: int) -> JobRef[BulkEmail]:
    """One of many."""
    return JobRef(Kind.EMAIL, f"bulkemail_{number}")
