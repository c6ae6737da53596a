"""Where the simulator's time comes from: the machine, or the clock of a test."""

from __future__ import annotations

import asyncio
import math
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager, AbstractContextManager


class Clock(Protocol):
    """The two things that the simulator asks of time.

    A clock may also have `hold()`, a context manager. The simulator wraps it around every wait that it makes while a
    request is open, so that a virtual clock knows that this request is kept waiting on purpose. And it may have
    `timeout(seconds)`, which the simulator wraps around every webhook that it sends, in place of `asyncio.timeout`.
    """

    def now(self) -> datetime:
        """The present instant, aware, in UTC."""

    async def sleep(self, seconds: float) -> None:
        """Return when so many seconds have passed."""


class SystemClock:
    """The machine's time."""

    def now(self) -> datetime:
        """The present instant, aware, in UTC."""
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        """Return when so many seconds have passed."""
        await asyncio.sleep(seconds)


async def keep_waiting(clock: Clock, seconds: float) -> None:
    """Keep the request that is being answered waiting; `math.inf` waits until the client leaves."""
    hold: AbstractContextManager[object] = getattr(clock, "hold", nullcontext)()
    with hold:
        if seconds == math.inf:
            await asyncio.get_running_loop().create_future()
        await clock.sleep(seconds)


def bounded(clock: Clock, seconds: float) -> AbstractAsyncContextManager[object]:
    """Bound an exchange that the simulator begins itself: TimeoutError comes out of the block after so many seconds."""
    exchange: AbstractAsyncContextManager[object] = getattr(clock, "timeout", asyncio.timeout)(seconds)
    return exchange
