"""Intents: starts that are written down before they are sent, as values. Where they are kept stands in `journal`."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self

import attrs
import orjson

from closebulk_async.models import JobRef, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from closebulk_async.models import BulkAction


class State(StrEnum):
    """How far an intent is. Each step is one compare-and-set of the journal."""

    NEW = "new"
    """Written down; proved not to have been sent."""
    POSTING = "posting"
    """Its POST may have reached the server. Found in this state after a restart, its outcome is unknown."""
    STARTED = "started"
    """Its action is known: `Intent.ref`."""
    FINAL = "final"
    """Its action has ended, or, without a ref, it was given up."""


@attrs.frozen(kw_only=True)
class Fence:
    """What the list of a kind showed just before a POST: actions that cannot be the POST's own.

    `ids` are those at the end of the list where new rows appear, all of them where the list has no order. `taken_at` is
    the server's time then, in whole seconds, as its `Date` header said; None where it sent none.
    """

    ids: frozenset[str]
    taken_at: datetime | None = None


@attrs.frozen(kw_only=True)
class Sighting:
    """The last known state of an action: what was read `at` (the client's time); None for what was not read."""

    status: str | None
    n_objects_processed: int | None
    n_objects: int | None
    at: datetime

    @classmethod
    def of(cls, action: BulkAction, *, at: datetime) -> Self:
        """What a snapshot shows; it may be a narrowed one."""
        return cls(
            status=getattr(action, "status", None),
            n_objects_processed=getattr(action, "n_objects_processed", None),
            n_objects=getattr(action, "n_objects", None),
            at=at,
        )


@attrs.frozen(kw_only=True)
class Intent:
    """A start that was written down before it was sent, and what is known of it. No key and no token is in it.

    `id` is the client's own; the service never sees it. `scope` is the base URL and the organization. `body` is the
    canonical JSON of the POST, `fingerprint` a digest of those of its fields that responses echo. `created_by` is the
    user whose key sends it. While a client works on it, `owner` names that client and `leased_until` (the client's
    time) is in the future. `version` counts the changes.
    """

    id: str
    scope: str
    kind: Kind
    body: bytes = attrs.field(repr=False)
    fingerprint: str
    created_at: datetime
    idempotency_key: str | None = None
    created_by: str | None = None
    state: State = State.NEW
    owner: str | None = None
    leased_until: datetime | None = None
    fence: Fence | None = attrs.field(default=None, repr=False)
    ref: JobRef[Any] | None = None
    sighting: Sighting | None = None
    version: int = 0

    @property
    def is_open(self) -> bool:
        """Whether something is still to be learned of it."""
        return self.state is not State.FINAL

    @property
    def request(self) -> Mapping[str, Any]:
        """The body of the POST, as the caller's own copy."""
        body: dict[str, Any] = orjson.loads(self.body)
        return body

    def started_as(self, action: BulkAction, *, at: datetime) -> Self:
        """The intent, with `action` as the one that it started, as it was seen `at`."""
        return attrs.evolve(
            self,
            state=State.STARTED,
            ref=action.ref,
            fence=None,
            leased_until=None,
            sighting=Sighting.of(action, at=at),
        )

    def unsent(self) -> Self:
        """The intent, of which it is proved that nothing ran."""
        return attrs.evolve(self, state=State.NEW, fence=None, leased_until=None)

    def given_up(self) -> Self:
        """The intent, of which nothing more will be learned. Without an action its key is free again."""
        key = self.idempotency_key if self.ref else None
        return attrs.evolve(self, state=State.FINAL, idempotency_key=key, fence=None, owner=None, leased_until=None)

    def asks_the_same_as(self, other: Intent) -> bool:
        """Whether both would send the same POST."""
        return self.kind is other.kind and self.body == other.body
