"""A journal that says what is asked of it, so that a test can let something happen between two of its steps."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence
    from datetime import datetime

    from closebulk_async.intents import Intent, Sighting
    from closebulk_async.journal import Journal
    from closebulk_async.models import JobRef

T = TypeVar("T")


class SteppingJournal:
    """Passes everything on to `inner`, and tells of each step: `before begin`, `after swap to posting` and so on.

    What `tell` raises comes to the caller, in the place of the step or of its result.
    """

    def __init__(self, inner: Journal, tell: Callable[[str], None]) -> None:
        self.inner = inner
        self.is_durable: bool = inner.is_durable
        self._tell = tell

    async def enter(self) -> str:
        """As `inner`."""
        return await self._step("enter", self.inner.enter)

    async def leave(self, owner: str) -> None:
        """As `inner`."""
        await self._step("leave", partial(self.inner.leave, owner))

    async def is_dead(self, owner: str) -> bool:
        """As `inner`."""
        return await self._step("is_dead", partial(self.inner.is_dead, owner))

    async def begin(self, intent: Intent) -> Intent:
        """As `inner`."""
        return await self._step("begin", partial(self.inner.begin, intent))

    async def swap(self, intent: Intent) -> Intent | None:
        """As `inner`; the step has the name of the state that is written."""
        return await self._step(f"swap to {intent.state}", partial(self.inner.swap, intent))

    async def get(self, id: str) -> Intent | None:
        """As `inner`."""
        return await self._step("get", partial(self.inner.get, id))

    async def claimed(self, scope: str, refs: Collection[JobRef[Any]]) -> frozenset[JobRef[Any]]:
        """As `inner`."""
        return await self._step("claimed", partial(self.inner.claimed, scope, refs))

    async def unfinished(self, scope: str | None = None, *, fingerprint: str | None = None) -> Sequence[Intent]:
        """As `inner`."""
        return await self._step("unfinished", partial(self.inner.unfinished, scope, fingerprint=fingerprint))

    async def lease(self, id: str, *, owner: str, until: datetime) -> None:
        """As `inner`."""
        await self._step("lease", partial(self.inner.lease, id, owner=owner, until=until))

    async def progress(self, scope: str, ref: JobRef[Any], sighting: Sighting, *, is_final: bool) -> None:
        """As `inner`."""
        await self._step("progress", partial(self.inner.progress, scope, ref, sighting, is_final=is_final))

    async def aclose(self) -> None:
        """As `inner`, and no step: a test may always clear away."""
        await self.inner.aclose()

    async def _step(self, name: str, work: Callable[[], Awaitable[T]]) -> T:
        self._tell(f"before {name}")
        result = await work()
        self._tell(f"after {name}")
        return result
