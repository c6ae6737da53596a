"""When those who watch are told, and the bytes that they get: made once for all who have the same version."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any

import attrs
import orjson

from closebulk_async.clock import Alarm, Alarms, Clock
from closebulk_async.dashboard.board import Place
from closebulk_async.dashboard.payloads import describe_state, describe_tick

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from closebulk_async.dashboard.board import Board, Changes
    from closebulk_async.limits import GroupLimits

TICK = 10.0
"""Seconds between two signs of life: a page that hears nothing for longer has lost its connection."""

MOST_CLIENTS = 64
"""Streams at the same time. A browser holds one for each open page."""

MOST_AT_ONCE = 150
"""Cards of one event. A thousand at once would take a browser longer than a frame lasts; between events it draws."""

FRESH_FOR = 0.25
"""Seconds for which one who asks gets what was made for another: it says what time it is, by which pages count down."""


@attrs.frozen
class Part:
    """An event: its JSON, the place up to which it goes, and whether nothing is missing by then."""

    data: bytes
    place: Place
    is_whole: bool = attrs.field(kw_only=True)


class Publisher:
    """Gathers changes of the board into beats, and wakes the streams at each."""

    def __init__(
        self, board: Board, *, clock: Clock, beat: float, limits: Callable[[], Mapping[str, GroupLimits]]
    ) -> None:
        """Wake nobody yet. `beat` is how many seconds lie between two beats at the least."""
        self.board = board
        self.clock = clock
        self.n_clients: int = 0
        self.published: int = 0
        """The version of the latest beat."""
        self.ticks: int = 0
        self.is_closed: bool = False
        self._limits = limits
        self._beat = beat
        self._beat_at = -math.inf
        self._alarms = Alarms(clock)
        self._due: Alarm | None = None
        self._tick: Alarm | None = None
        self._turn = asyncio.Event()
        self._made: dict[tuple[int | None, Place | None, int], Part] = {}
        self._made_at = -math.inf

    def join(self) -> bool:
        """Take a place, if there is one; `leave` gives it back."""
        if self.is_closed or self.n_clients >= MOST_CLIENTS:
            return False
        self.n_clients += 1
        if self._tick is None:
            self._tick = self._alarms.set(TICK, self._on_tick)
        self.published = self.board.version if self.n_clients == 1 else self.published
        return True

    def leave(self) -> None:
        """For each `join`."""
        self.n_clients -= 1
        if not self.n_clients:
            self._rest()

    def note(self) -> None:
        """The board may have changed: at the next beat, which may be now, it is told."""
        if not self.n_clients or self._due is not None or self.board.version == self.published:
            return
        wait = max(0.0, self._beat_at + self._beat - self.clock.monotonic())
        self._due = self._alarms.set(wait, self._on_beat)

    async def wait(self) -> None:
        """Until the next beat or tick, or the end."""
        await self._turn.wait()

    def read_part(self, since: int | None, *, after: Place | None = None) -> Part:
        """What has changed since a version, or the next part of that, `after` the place of the one before."""
        now, key = self.clock.monotonic(), (since, after, self.board.version)
        if now - self._made_at > FRESH_FOR:
            self._made.clear()
            self._made_at = now
        made = self._made.get(key)
        if made is None:
            changes = self.board.changes_since(since, after=after, most=MOST_AT_ONCE)
            made = Part(orjson.dumps(self._describe(changes)), changes.place, is_whole=changes.is_whole)
            self._made[key] = made
        return made

    def describe_all(self) -> dict[str, Any]:
        """Everything there is."""
        return self._describe(self.board.changes_since(None))

    def _describe(self, changes: Changes) -> dict[str, Any]:
        return describe_state(self.board, changes, now=self.clock.now(), limits=self._limits())

    def read_tick(self) -> bytes:
        """A sign of life, as JSON."""
        return orjson.dumps(describe_tick(self.board, now=self.clock.now(), limits=self._limits()))

    async def aclose(self) -> None:
        """End every stream. Returns when no timer is left."""
        self.is_closed = True
        self._rest()
        self._wake()
        await self._alarms.wait_ended()

    def _rest(self) -> None:
        for alarm in (self._due, self._tick):
            if alarm is not None:
                alarm.cancel()
        self._due = self._tick = None
        self._made.clear()

    def _on_beat(self) -> None:
        self._due = None
        self._beat_at = self.clock.monotonic()
        self.published = self.board.version
        self._wake()

    def _on_tick(self) -> None:
        self.ticks += 1
        self._tick = self._alarms.set(TICK, self._on_tick)
        self._wake()

    def _wake(self) -> None:
        turn, self._turn = self._turn, asyncio.Event()
        turn.set()
