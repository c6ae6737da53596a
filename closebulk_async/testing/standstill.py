"""Why the time of a `FakeClock` does not pass: when to say so, and in which words."""

from __future__ import annotations

import asyncio
import inspect
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 10.0
"""Real seconds for which time may stand still without anything happening. The simulator answers within milliseconds; a
server in a process of its own may have to be started first."""

PARTS = 10
"""In so many parts they are counted, each of them at least a turn of the loop: a stop in a debugger is one of them."""


class StuckClockError(RuntimeError):
    """Time would never have passed: a request was neither answered nor held.

    No `TimeoutError`, and none of the client's errors, because code under test has an answer to those.
    """


class Guard:
    """Calls back once when nothing has happened for so many real seconds since `watch`."""

    def __init__(self, give_up: Callable[[], None], *, patience: float | None) -> None:
        if patience is not None and not patience > 0:
            raise ValueError(f"patience must be a positive number of seconds, or None, got {patience!r}")
        self._give_up = give_up
        self._seconds = None if patience is None else patience / PARTS
        self._parts = 0
        self._is_needed = False
        self._loop: asyncio.AbstractEventLoop | None = None

    def watch(self) -> None:
        """Time stands still from now on."""
        loop = asyncio.get_running_loop()
        self._parts, self._is_needed = 0, True
        if self._seconds is not None and self._loop is not loop:
            self._loop = loop
            loop.call_later(self._seconds, self._count)

    def rest(self) -> None:
        """Something has happened."""
        self._is_needed = False

    def _count(self) -> None:
        # One timer that goes on is cheaper than one that is set and cancelled with each request.
        self._loop = None
        if not self._is_needed:
            return
        parts = self._parts + 1
        if parts >= PARTS:
            self._give_up()
            return
        self.watch()
        self._parts = parts


def describe_task(task: asyncio.Task[object]) -> str:
    """The name of a task, and what it was doing, from the outside in: `Task-3, in test_it > get > send (api.py:7)`."""
    names, place = [], ""
    awaited: object = task.get_coro()
    while inspect.iscoroutine(awaited):  # what they wait for in the end is a future, which has no code
        names.append(awaited.cr_code.co_qualname)
        if awaited.cr_frame is not None:
            place = f" ({Path(awaited.cr_code.co_filename).name}:{awaited.cr_frame.f_lineno})"
        awaited = awaited.cr_await
    return f"{task.get_name()}, in {' > '.join(names)}{place}"
