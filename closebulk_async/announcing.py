"""A journal that tells hooks of the starts that this client moves."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from closebulk_async.errors import JournalError
from closebulk_async.intents import Intent, Sighting, State
from closebulk_async.journal import KEPT_IN_MEMORY
from closebulk_async.telemetry import StartMoved

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from datetime import datetime

    from closebulk_async.journal import Journal
    from closebulk_async.models import JobRef
    from closebulk_async.telemetry import Event


class AnnouncingJournal:
    """Another journal, with StartMoved for each change of an intent's state that is made through this one.

    It is the one place that all of them pass, so that no step of a start has to think of it. A change is told when it
    is written, in the task that asked for it. Where that task was cancelled meanwhile, or the journal broke, the change
    may be there untold; so may be that an action has ended whose intent was never seen here.
    """

    def __init__(self, journal: Journal, tell: Callable[[Event], None]) -> None:
        """Announce what is written to `journal` from now on."""
        self._journal = journal
        self._tell = tell
        self._started: dict[tuple[str, JobRef[Any]], str] = {}
        """Intents by their actions, which is all that `progress` is given."""

    @property
    def is_durable(self) -> bool:
        """Whether what is written outlives the process."""
        return self._journal.is_durable

    async def enter(self) -> str:
        """Make an owner."""
        return await self._journal.enter()

    async def leave(self, owner: str) -> None:
        """From now on the owner counts as dead."""
        await self._journal.leave(owner)

    async def is_dead(self, owner: str) -> bool:
        """Whether it is proved that the owner does nothing any more."""
        return await self._journal.is_dead(owner)

    async def begin(self, intent: Intent) -> Intent:
        """Write it down, or return the one that has its key: that one is not new."""
        begun = self._met(await self._journal.begin(intent))
        if begun.id == intent.id:
            self._tell(StartMoved(intent=begun))
        return begun

    async def swap(self, intent: Intent) -> Intent | None:
        """Write it, if the stored one still has its version."""
        before = None
        with suppress(JournalError):  # the swap may still succeed, and matters more
            # A swap that succeeds found the version that was read here, and with it the state.
            before = await self._journal.get(intent.id)
        after = await self._journal.swap(intent)
        if after is None:
            return None
        if before is None or before.state is not after.state:
            self._tell(StartMoved(intent=after))
        return self._met(after)

    async def get(self, id: str) -> Intent | None:
        """The intent of that id."""
        intent = await self._journal.get(id)
        return None if intent is None else self._met(intent)

    async def claimed(self, scope: str, refs: Collection[JobRef[Any]]) -> frozenset[JobRef[Any]]:
        """Those that belong to an intent."""
        return await self._journal.claimed(scope, refs)

    async def unfinished(self, scope: str | None = None, *, fingerprint: str | None = None) -> Sequence[Intent]:
        """Every open intent, oldest first."""
        return [self._met(intent) for intent in await self._journal.unfinished(scope, fingerprint=fingerprint)]

    async def lease(self, id: str, *, owner: str, until: datetime) -> None:
        """Prolong the lease."""
        await self._journal.lease(id, owner=owner, until=until)

    async def progress(self, scope: str, ref: JobRef[Any], sighting: Sighting, *, is_final: bool) -> None:
        """Note the last known state of an action."""
        await self._journal.progress(scope, ref, sighting, is_final=is_final)
        id_ = self._started.pop((scope, ref), None) if is_final else None
        if id_ is None:
            return
        with suppress(JournalError):  # what had to be written is
            ended = await self._journal.get(id_)
            if ended is not None:
                self._tell(StartMoved(intent=ended))

    async def aclose(self) -> None:
        """Close the other journal."""
        await self._journal.aclose()

    def _met(self, intent: Intent) -> Intent:
        """The intent itself, to be known again by its action as long as that runs."""
        if intent.ref is None:
            return intent
        if intent.state is not State.STARTED:
            self._started.pop((intent.scope, intent.ref), None)
            return intent
        self._started[intent.scope, intent.ref] = intent.id
        if len(self._started) > KEPT_IN_MEMORY:
            del self._started[next(iter(self._started))]
        return intent
