"""The durable record of intents: the protocol that a store implements, and the store in memory.

`closebulk_async.sqlite_journal` keeps one in a file, `closebulk_async.integrations.postgres` one in PostgreSQL.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from closebulk_async.intents import Intent, Sighting, State

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from closebulk_async.models import JobRef


class Journal(Protocol):
    """Keeps intents. Every method is atomic, also when its caller is cancelled, and may raise JournalError.

    Any number of clients, in any number of processes, may share one. A client is an *owner*: it enters the journal and
    leaves it, and a store holds a lock for it meanwhile that ends with its process. Only a lock that is free proves
    that an owner is dead; one that does not renew its leases may merely be slow.
    """

    @property
    def is_durable(self) -> bool:
        """Whether what is written outlives the process."""

    async def enter(self) -> str:
        """Make an owner, hold its lock, and return its name."""

    async def leave(self, owner: str) -> None:
        """Give up the lock of an owner that entered here: from now on it counts as dead."""

    async def is_dead(self, owner: str) -> bool:
        """Whether it is proved that the owner does nothing any more."""

    async def begin(self, intent: Intent) -> Intent:
        """Write a new intent down and return it; where its scope has its idempotency key already, return that one."""

    async def swap(self, intent: Intent) -> Intent | None:
        """Write all of `intent`, if the stored one still has its `version`; return it with the next version.

        None, and nothing written, where somebody else has changed it; where it would be the second `posting` one of its
        scope and fingerprint; or where its ref or its idempotency key belongs to another intent of its scope. When an
        intent that becomes `posting` is returned, it is on disk.
        """

    async def get(self, id: str) -> Intent | None:
        """The intent of that id."""

    async def claimed(self, scope: str, refs: Collection[JobRef[Any]]) -> frozenset[JobRef[Any]]:
        """Those of `refs` that belong to an intent of the scope."""

    async def unfinished(self, scope: str | None = None, *, fingerprint: str | None = None) -> Sequence[Intent]:
        """Every open intent, oldest first: of all scopes, of one, or of one fingerprint."""

    async def lease(self, id: str, *, owner: str, until: datetime) -> None:
        """Prolong the lease of an intent that `owner` still owns; the version stays."""

    async def progress(self, scope: str, ref: JobRef[Any], sighting: Sighting, *, is_final: bool) -> None:
        """Note the last known state of an action, if an intent of the scope has it; `is_final` makes that one final."""

    async def aclose(self) -> None:
        """Let go of files and threads. Owners that have not left are dead."""


KEPT_IN_MEMORY = 10_000
"""Intents with an action, or given up, that a MemoryJournal keeps. An older one could matter only to a start that is
ambiguous since before so many others."""


class MemoryJournal:
    """A journal for the life of one process: it survives every fault but the end of the process."""

    is_durable = False

    def __init__(self) -> None:
        """Hold nothing yet."""
        self._intents: dict[str, Intent] = {}
        self._owners: set[str] = set()
        self._dead: dict[str, None] = {}
        self._keys: dict[tuple[str, str], str] = {}
        self._posting: dict[tuple[str, str], str] = {}
        self._refs: dict[tuple[str, JobRef[Any]], str] = {}
        self._settled: dict[str, None] = {}

    async def enter(self) -> str:
        """Make an owner."""
        owner = uuid.uuid4().hex
        self._owners.add(owner)
        return owner

    async def leave(self, owner: str) -> None:
        """From now on the owner counts as dead."""
        if owner in self._owners:
            self._owners.remove(owner)
            self._dead[owner] = None
            if len(self._dead) > KEPT_IN_MEMORY:
                del self._dead[next(iter(self._dead))]

    async def is_dead(self, owner: str) -> bool:
        """Whether the owner has left."""
        return owner in self._dead

    async def begin(self, intent: Intent) -> Intent:
        """Keep it, or return the one that has its key."""
        taken = self._keys.get((intent.scope, intent.idempotency_key)) if intent.idempotency_key else None
        if taken is not None:
            return self._intents[taken]
        self._put(intent)
        return intent

    async def swap(self, intent: Intent) -> Intent | None:
        """Replace the stored one, if it is still the one that was read."""
        stored = self._intents.get(intent.id)
        if stored is None or stored.version != intent.version or self._is_in_the_way(intent):
            return None
        self._take_out(stored)
        swapped = attrs.evolve(intent, version=intent.version + 1)
        self._put(swapped)
        return swapped

    async def get(self, id: str) -> Intent | None:
        """The intent of that id."""
        return self._intents.get(id)

    async def claimed(self, scope: str, refs: Collection[JobRef[Any]]) -> frozenset[JobRef[Any]]:
        """Those that belong to an intent."""
        return frozenset(ref for ref in refs if (scope, ref) in self._refs)

    async def unfinished(self, scope: str | None = None, *, fingerprint: str | None = None) -> Sequence[Intent]:
        """Every open intent, oldest first."""
        return [
            intent
            for intent in self._intents.values()
            if intent.is_open and scope in {None, intent.scope} and fingerprint in {None, intent.fingerprint}
        ]

    async def lease(self, id: str, *, owner: str, until: datetime) -> None:
        """Prolong the lease."""
        stored = self._intents.get(id)
        if stored is not None and stored.owner == owner:
            self._intents[id] = attrs.evolve(stored, leased_until=until)

    async def progress(self, scope: str, ref: JobRef[Any], sighting: Sighting, *, is_final: bool) -> None:
        """Note the last known state."""
        id_ = self._refs.get((scope, ref))
        if id_ is not None:
            stored = self._intents[id_]
            state = State.FINAL if is_final else stored.state
            await self.swap(attrs.evolve(stored, sighting=sighting, state=state))

    async def aclose(self) -> None:
        """Owners that have not left are dead."""
        for owner in list(self._owners):
            await self.leave(owner)

    def _is_in_the_way(self, intent: Intent) -> bool:
        others = [self._refs.get((intent.scope, intent.ref))] if intent.ref else []
        if intent.state is State.POSTING:
            others.append(self._posting.get((intent.scope, intent.fingerprint)))
        if intent.idempotency_key:
            others.append(self._keys.get((intent.scope, intent.idempotency_key)))
        return any(other not in {None, intent.id} for other in others)

    def _take_out(self, intent: Intent) -> None:
        self._keys.pop((intent.scope, intent.idempotency_key or ""), None)
        if intent.state is State.POSTING:
            del self._posting[intent.scope, intent.fingerprint]
        if intent.ref is not None:
            del self._refs[intent.scope, intent.ref]
        self._settled.pop(intent.id, None)

    def _put(self, intent: Intent) -> None:
        self._intents[intent.id] = intent  # in its old place, where it is there already: oldest first
        if intent.idempotency_key:
            self._keys[intent.scope, intent.idempotency_key] = intent.id
        if intent.state is State.POSTING:
            self._posting[intent.scope, intent.fingerprint] = intent.id
        if intent.ref is not None:
            self._refs[intent.scope, intent.ref] = intent.id
        if intent.state in {State.STARTED, State.FINAL}:
            self._settled[intent.id] = None
            if len(self._settled) > KEPT_IN_MEMORY:
                oldest = self._intents.pop(next(iter(self._settled)))
                self._take_out(oldest)
