"""`Wait`: what `wait_until_done` returns, an async generator of progress that can also be awaited."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncGenerator, Coroutine, Generator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, cast

from closebulk_async.errors import InvalidRequestError, WaitClosedError
from closebulk_async.models import Job, JobRef
from closebulk_async.progress import Progress
from closebulk_async.waiters import End, Waiter, WaitOptions

if TYPE_CHECKING:
    from types import TracebackType

    from closebulk_async.watching import Watcher

A_co = TypeVar("A_co", bound=Job, covariant=True)


class Wait(AsyncGenerator[Progress[A_co], None], Generic[A_co]):
    """A wait for the end of one action. Iterate over it for progress, await it for the action, or do both.

    Polling begins with the first step or await and is shared with every other wait on the same action. Both ways give
    one outcome: `await` returns the action, or raises BulkActionFailed, BulkActionPaused, BulkActionStalled,
    WaitTimeout, WatchLostError, the API's error where the action cannot be read (401, 403, 404), or
    ClientClosedError. Iterating yields the last progress first, and then ends or raises the same.

    A consumer that is slower than the polls gets the newest progress; the final one is never lost. Leaving (`aclose`,
    `async with`, a cancelled task, the last reference) ends the polls and never touches the action itself.
    """

    __slots__ = ("__weakref__", "_has_raised", "_is_iterating", "_is_used", "_loop", "_waiter")

    def __init__(self, watcher: Watcher, ref: JobRef[A_co], options: WaitOptions, *, known: A_co | None = None) -> None:
        """Made by `wait_until_done`. Nothing is polled yet."""
        # The watcher holds the waiter, and nobody but the consumer this: so it can be noticed that no consumer is left.
        self._waiter: Waiter[A_co] = Waiter(watcher, ref, options, known=known)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_used = False
        self._has_raised = False
        self._is_iterating = False

    @property
    def ref(self) -> JobRef[A_co]:
        """Kind and id of the action that is waited for."""
        return self._waiter.ref

    # What a consumer calls ------------------------------------------------------------------------------------------

    def __await__(self) -> Generator[Any, None, A_co]:
        return self.result().__await__()

    def result(self) -> Coroutine[Any, Any, A_co]:
        """The action once it is done; what else may happen stands at the class. A coroutine, for `create_task`."""
        self._is_used = True  # also where its task is cancelled before it has begun
        return self._wait_for_end()

    async def _wait_for_end(self) -> A_co:
        waiter = self._begin()
        while (end := waiter.end) is None:
            news = waiter.listen()
            try:
                await news
            except BaseException:  # whatever breaks it off, a cancellation say, is this task's leaving
                waiter.unlisten(news, leaves=True)
                raise
            waiter.unlisten(news)
        if end.error is not None:
            raise end.error.with_traceback(None)
        return cast("A_co", end.action)

    def _begin(self) -> Waiter[A_co]:
        self._is_used, self._loop = True, asyncio.get_running_loop()
        self._waiter.attach()
        return self._waiter

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Progress[A_co]:
        if self._is_iterating:
            message = "two consumers iterate over this wait: give each its own, they share the polls"
            raise WaitClosedError(message, ref=self.ref)
        self._is_iterating = True
        try:
            waiter = self._begin()
            waiter.begin_beat()
            while (progress := waiter.take()) is None:
                if waiter.end is not None:
                    return self._raise_end(waiter.end)
                news = waiter.listen()
                try:
                    await news
                except BaseException:
                    waiter.unlisten(news, leaves=True)
                    raise
                waiter.unlisten(news)
            return progress
        finally:
            self._is_iterating = False
            self._waiter.end_beat()

    async def asend(self, value: object) -> Progress[A_co]:
        """The next progress. There is nothing to send: any other value raises InvalidRequestError."""
        if value is not None:
            message = f"a wait takes nothing, and was sent {value!r}"
            raise InvalidRequestError(message)
        return await self.__anext__()

    async def athrow(
        self,
        typ: type[BaseException] | BaseException,
        val: BaseException | object = None,
        tb: TracebackType | None = None,
    ) -> Progress[A_co]:
        """Close the wait and raise what was thrown."""
        await self.aclose()
        error = typ if isinstance(typ, BaseException) else val if isinstance(val, BaseException) else typ()
        raise error.with_traceback(tb)

    async def aclose(self) -> None:
        """Leave. Whoever awaits the outcome after this gets it if it was known, else WaitClosedError."""
        self._is_used = True
        if self._waiter.end is None:
            self._has_raised = True  # an iteration just ends
        self._waiter.leave()
        await self._waiter.wait_ended()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __del__(self) -> None:
        if not self._is_used:
            warnings.warn(
                f"wait_until_done() of {self.ref} was never awaited nor iterated",
                RuntimeWarning,
                stacklevel=1,
                source=self,
            )
        if self._waiter.is_attached and self._loop is not None:
            # The collector may run in any thread, and alarms and tasks belong to the loop's.
            with suppress(RuntimeError):  # the loop is closed, and with it all that could be left
                self._loop.call_soon_threadsafe(self._waiter.detach)

    def _raise_end(self, end: End[A_co]) -> Progress[A_co]:
        if end.error is None or self._has_raised:
            raise StopAsyncIteration
        self._has_raised = True
        raise end.error.with_traceback(None)
