"""Carries out errands over HTTP, a few at once, and leaves nothing behind when it is closed."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine

import aiohttp

Errand = Callable[[aiohttp.ClientSession], Coroutine[object, object, None]]

# Enough that one slow receiver does not hold up the rest, few enough that a burst needs no more sockets than that.
_AT_ONCE = 20


class Couriers:
    """Runs errands while it is open; one that `close` interrupts is begun again by the next `open`."""

    def __init__(self) -> None:
        self._errands: deque[Errand] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._session: aiohttp.ClientSession | None = None
        self._is_open = False

    def hand(self, errand: Errand) -> None:
        """Have the errand run as soon as a courier is free."""
        self._errands.append(errand)
        self._set_out()

    def open(self) -> None:
        """Begin, with the errands that are there."""
        self._is_open = True
        self._set_out()

    async def close(self) -> None:
        """Stop; returns when no task and no connection is left."""
        self._is_open = False
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _set_out(self) -> None:
        while self._is_open and self._errands and len(self._tasks) < _AT_ONCE:
            if self._session is None:
                # Without connections that are kept: a receiver that stops would otherwise wait for ours. And without
                # any limit in the machine's time: errands have their own, in the simulator's.
                self._session = aiohttp.ClientSession(
                    connector=aiohttp.TCPConnector(force_close=True), timeout=aiohttp.ClientTimeout(total=None)
                )
            run = self._run(self._session, self._errands.popleft())
            task = asyncio.create_task(run, name="simulator courier")
            self._tasks.add(task)
            task.add_done_callback(self._come_back)

    async def _run(self, session: aiohttp.ClientSession, errand: Errand) -> None:
        try:
            await errand(session)
        except asyncio.CancelledError:
            self._errands.appendleft(errand)
            raise

    def _come_back(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._set_out()
