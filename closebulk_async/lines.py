"""Requests that wait in line for a place in the budget of their endpoint group, in the order of their rank."""

from __future__ import annotations

import asyncio
from collections import deque
from datetime import timedelta
from typing import TYPE_CHECKING

import attrs

from closebulk_async.budget import Priority
from closebulk_async.clock import Alarm
from closebulk_async.errors import RateLimitedError

if TYPE_CHECKING:
    from collections.abc import Iterator


@attrs.define(eq=False)
class Waiter:
    """One request in line; its turn is done when it may go, or is refused."""

    turn: asyncio.Future[None]
    until: float
    refusal: Alarm | None = None

    def leave(self) -> None:
        """It waits no longer, for whatever reason."""
        if self.refusal is not None:
            self.refusal.cancel()


@attrs.define(eq=False)
class Line:
    """The requests of one group that wait."""

    group: str
    waiting: int = 0
    """Those whose turn is still to come; the queues also hold some that have left."""
    queues: tuple[deque[Waiter], ...] = attrs.field(factory=lambda: tuple(deque() for _ in Priority))

    def first(self) -> Priority | None:
        """The priority of whoever is next, and stands at the head of its queue; None where nobody waits."""
        for priority, queue in zip(Priority, self.queues, strict=True):
            while queue and queue[0].turn.done():
                queue.popleft()
            if queue:
                return priority
        return None

    def join(self, waiter: Waiter, priority: Priority) -> None:
        """Stand at the end of its queue."""
        self.queues[priority].append(waiter)
        self.waiting += 1

    def let_go(self, priority: Priority) -> None:
        """Tell the head of that queue, which `first` has named, that it may go."""
        waiter = self.queues[priority].popleft()
        waiter.leave()
        waiter.turn.set_result(None)
        self.waiting -= 1

    def refuse(self, waiter: Waiter, error: Exception) -> None:
        """Tell it that it may not go, unless its turn is done."""
        if not waiter.turn.done():
            self.waiting -= 1
            waiter.leave()
            waiter.turn.set_exception(error)

    def drop(self, waiter: Waiter) -> bool:
        """It was cancelled. Says whether it had its turn in this very moment, so that its place must be given back."""
        if waiter.turn.cancelled():
            waiter.leave()
            self.waiting -= 1
            return False
        return waiter.turn.exception() is None

    def in_order(self) -> Iterator[tuple[Priority, Waiter]]:
        """All who wait, the next one first."""
        for priority, queue in zip(Priority, self.queues, strict=True):
            yield from ((priority, waiter) for waiter in tuple(queue) if not waiter.turn.done())


def refused(group: str, seconds: float) -> RateLimitedError:
    """What a request is told that is not sent, because the limit lets nothing through for so long."""
    said = f"not sent: the rate limit of {group} lets nothing through for {seconds:.1f} s"
    return RateLimitedError(status=None, request=group, errors=(said,), retry_after=timedelta(seconds=seconds))
