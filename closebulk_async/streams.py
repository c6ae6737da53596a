"""Many actions in one stream."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import attrs

from closebulk_async.errors import CloseBulkError
from closebulk_async.operations import to_ref, to_snapshot
from closebulk_async.waiters import Waiter, WaitOptions

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Sequence

    from closebulk_async.models import Job, JobRef
    from closebulk_async.operations import ActionLike, Engine
    from closebulk_async.progress import Progress
    from closebulk_async.watching import Watcher


class Member(Waiter[Any]):
    """One action of a stream."""

    __slots__ = ("_is_told", "_on_news")

    def __init__(
        self,
        watcher: Watcher,
        ref: JobRef[Any],
        options: WaitOptions,
        *,
        known: Job | None,
        on_news: Callable[[Member], None],
    ) -> None:
        """Poll nothing yet. `on_news` is called when `take_step` has something."""
        super().__init__(watcher, ref, options, known=known)
        self._on_news = on_news
        self._is_told = False

    def begin(self) -> None:
        """Begin to poll."""
        self.begin_beat()
        self.attach()

    def take_step(self) -> Progress[Any] | None:
        """What is new, if anything is. The last one is final, and its `error` is why the wait failed, if it did."""
        if self._is_told:
            return None
        if self.end is None:
            progress = self.take()
            if progress is not None:  # a poll that showed nothing new is no step
                self.begin_beat()
            return progress
        self._is_told = True
        error = self.end.error
        if error is not None and not isinstance(error, CloseBulkError):
            raise error.with_traceback(None)  # a mistake of this package's own
        if self.end.last is None:
            return self.describe_unseen(error)
        return attrs.evolve(self.end.last, error=error)

    def _wake(self) -> None:
        self._on_news(self)


class Stream:
    """The steps of all members, in the order in which they came; of one member always the newest."""

    def __init__(self, watcher: Watcher, options: WaitOptions, *, raise_on_failure: bool) -> None:
        """Without members yet."""
        self._watcher = watcher
        self._options = options
        self._raises = raise_on_failure
        self._members: dict[JobRef[Any], Member] = {}
        self._ready: dict[Member, None] = {}
        self._news: asyncio.Future[None] | None = None

    def add(self, ref: JobRef[Any], *, known: Job | None = None) -> None:
        """Follow one action more, from now on; one that is followed already is the same one."""
        if ref not in self._members:
            member = Member(self._watcher, ref, self._options, known=known, on_news=self._on_news)
            self._members[ref] = member
            member.begin()

    async def run(self, feeds: Sequence[asyncio.Task[None]] = ()) -> AsyncGenerator[Progress[Any], None]:
        """Every step, until all members have ended. `feeds` may add members for as long as they run."""
        for feed in feeds:
            feed.add_done_callback(lambda _: self._wake())
        try:
            while (progress := await self._next(feeds)) is not None:
                yield progress
                if self._raises and progress.error is not None:
                    raise progress.error.with_traceback(None)
        finally:
            for member in list(self._members.values()):
                member.leave()
            for feed in feeds:
                feed.cancel()
            await asyncio.gather(*feeds, return_exceptions=True)
            await self._watcher.wait_ended()

    async def _next(self, feeds: Sequence[asyncio.Task[None]]) -> Progress[Any] | None:
        """The next step; None when nothing can follow. Raises what a feed has raised."""
        while (progress := self._take()) is None:
            for feed in feeds:
                if feed.done():
                    feed.result()
            if not self._members and all(feed.done() for feed in feeds):
                return None
            await self._wait_for_news()
        return progress

    def _take(self) -> Progress[Any] | None:
        while self._ready:
            member = next(iter(self._ready))
            del self._ready[member]
            if (progress := member.take_step()) is not None:
                if member.end is not None:  # also where a pause was taken for the end
                    del self._members[member.ref]
                return progress
        return None

    async def _wait_for_news(self) -> None:
        self._news = asyncio.get_running_loop().create_future()
        try:
            await self._news
        finally:
            self._news = None

    def _on_news(self, member: Member) -> None:
        self._ready[member] = None
        self._wake()

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)


def watch(
    engine: Engine, actions: Iterable[ActionLike[Any]], options: WaitOptions, *, raise_on_failure: bool
) -> AsyncGenerator[Progress[Any], None]:
    """The steps of all `actions`. Raises InvalidRequestError for what is none, before anything is asked."""
    known = {to_ref(action): to_snapshot(action) for action in actions}

    async def run() -> AsyncGenerator[Progress[Any], None]:
        stream = Stream(engine.watcher, options, raise_on_failure=raise_on_failure)
        for ref, snapshot in known.items():
            stream.add(ref, known=snapshot)
        async with aclosing(stream.run()) as steps:
            async for progress in steps:
                yield progress

    return run()
