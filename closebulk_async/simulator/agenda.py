"""What is due when, on one timer that exists only while something is due."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from contextvars import Context
from datetime import datetime
from itertools import count
from typing import TYPE_CHECKING

from attrs import define, field

if TYPE_CHECKING:
    from .clock import Clock

_serials = count()


@define(order=True)
class Entry:
    """One thing to do at an instant; of equal instants what was entered first comes first."""

    at: datetime
    _serial: int = field(init=False, factory=_serials.__next__)
    act: Callable[[datetime], None] = field(order=False)
    is_over: bool = field(default=False, init=False, order=False)


class Agenda:
    """Calls functions at their instants. While it is closed, all that falls due waits until it is opened.

    The functions are given the instant for which they were entered. They must not wait, and what one raises comes out
    of `close`.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._entries: list[Entry] = []
        self._alarm: asyncio.Task[None] | None = None
        self._set_off: set[asyncio.Task[None]] = set()
        self._is_open = False
        self._is_acting = False

    def enter(self, at: datetime, act: Callable[[datetime], None]) -> Entry:
        """Have the function called at that instant, as soon as possible when it has passed."""
        entry = Entry(at, act)
        heapq.heappush(self._entries, entry)
        if self._entries[0] is entry:
            self._set_alarm()
        return entry

    def strike(self, entry: Entry | None) -> None:
        """Take something off the agenda; what has happened or is None is ignored."""
        if entry is None or entry.is_over:
            return
        entry.is_over = True
        self._forget_struck()
        # Else a sleeper would be left, and with it a jump of a virtual clock to an instant at which nothing happens.
        if not self._entries:
            self._set_alarm()

    def open(self) -> None:
        """Begin, with what fell due in the meantime."""
        self._is_open = True
        self._set_alarm()

    async def close(self) -> None:
        """Stop; returns when no task is left. Raises what a function raised."""
        self._is_open = False
        self._set_alarm()
        for ended in await asyncio.gather(*self._set_off, return_exceptions=True):
            if isinstance(ended, Exception):
                raise ended

    def _set_alarm(self) -> None:
        if self._is_acting:
            return  # the task that acts looks at the entries again
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if self._is_open and self._entries:
            # A context of its own: the caller may be inside a request of a virtual clock's, and this task is not.
            self._alarm = asyncio.create_task(self._run(), name="simulator agenda", context=Context())
            self._set_off.add(self._alarm)
            self._alarm.add_done_callback(self._forget)

    async def _run(self) -> None:
        while self._entries:
            seconds = (self._entries[0].at - self._clock.now()).total_seconds()
            if seconds > 0:
                await self._clock.sleep(seconds)
                continue
            self._is_acting = True
            try:
                entry = heapq.heappop(self._entries)
                entry.is_over = True
                entry.act(entry.at)
                self._forget_struck()
            finally:
                self._is_acting = False
        self._alarm = None

    def _forget_struck(self) -> None:
        while self._entries and self._entries[0].is_over:
            heapq.heappop(self._entries)

    def _forget(self, task: asyncio.Task[None]) -> None:
        # One that failed is kept for `close`.
        if task.cancelled() or task.exception() is None:
            self._set_off.discard(task)
