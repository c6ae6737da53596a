"""A limiter whose budgets are kept where several processes share them: the lines are its own, the counts everybody's.

Each process computes as `MemoryLimiter` does, with the same arithmetic on the same numbers, and then replaces what is
kept if it is still what it computed with. So all processes together behave as one. Nothing is locked meanwhile: a
process that is stopped in the middle of it holds up nobody.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import uuid
from functools import partial
from typing import TYPE_CHECKING, Protocol

import attrs

from closebulk_async.clock import Alarm, Alarms, Clock
from closebulk_async.errors import TransportError
from closebulk_async.limiter import Priority, Sight
from closebulk_async.lines import Line, Waiter, refused
from closebulk_async.shared_budget import SharedBudget
from closebulk_async.tasks import outlast

if TYPE_CHECKING:
    from collections.abc import Sequence

    from closebulk_async.budget import Budget

logger = logging.getLogger("closebulk_async")

AHEAD = 1.0
"""Seconds by which a place may be reserved before its time, one for each process. So those of several processes take
turns, and nobody has to ask again and again; the only places that a 429 elsewhere comes too late for are these."""

FOLD = 0.1
"""Seconds for which answers wait for more of them, or for the next reservation, to be written down together."""

LOOK_AGAIN = 0.2
"""Seconds between two looks where only an answer to another process can make room, of which nobody tells."""

LONGEST_PAUSE = 5.0
"""Seconds between two looks at most: what others learned may have made room."""


@attrs.frozen(kw_only=True)
class Record:
    """What is kept of a group; `token` and `text` are None where nothing is. Instants are those of the keeper's clock.

    `now` is when it was read.
    """

    token: str | None = None
    text: str | None = None
    written_at: float = 0.0
    now: float


class Store(Protocol):
    """Where budgets are kept. Its clock is the one that counts."""

    async def read(self, group: str) -> Record:
        """What is kept of the group."""

    async def swap(self, group: str, text: str, *, seen: str | None, token: str) -> Record:
        """Replace what is kept under the token `seen` (None: nothing is), at once or not at all.

        Returns what is kept now: its token is `token` if it was replaced, else that of somebody else.
        """


@attrs.define
class _FarClock:
    """What the clock of the store shows, as nearly as its answers tell: each was read between question and answer."""

    earliest: float = -math.inf
    latest: float = math.inf
    """What has to be added to an instant here, at least and at most."""

    def note(self, now: float, *, asked: float, answered: float) -> None:
        """An answer says that it is `now` there."""
        self.earliest, self.latest = max(self.earliest, now - answered), min(self.latest, now - asked)
        if self.earliest > self.latest:  # it was set, or the clocks have drifted apart since
            self.earliest, self.latest = now - answered, now - asked


@attrs.define(eq=False)
class _Line(Line):
    """The requests of one group that wait, and what is known here of its budget."""

    record: Record | None = None
    read_at: float = -math.inf
    is_alone: bool = False
    """Whether nobody else seems to write. Nothing is read again then: where that is wrong, no write succeeds."""
    mine: int = 0
    """Places that this process is known to hold, by what is kept."""
    news: list[tuple[float, Sight | None]] = attrs.field(factory=list)
    """What became of places, and when, that is not written down yet."""
    slot: Priority | None = None
    """For whom a place is reserved before its time."""
    slot_alarm: Alarm | None = None
    wait: float = math.inf
    """Seconds until the next may go, as of the last look."""
    stopped_until: float = -math.inf
    work: asyncio.Task[None] | None = None
    is_stirred: bool = False
    alarm: Alarm | None = None
    alarm_at: float = math.inf

    def cancel_alarm(self) -> None:
        """Nothing is to be looked after at that time any more."""
        if self.alarm is not None:
            self.alarm.cancel()
        self.alarm, self.alarm_at = None, math.inf

    def wanted(self) -> Sequence[tuple[Priority, Waiter]]:
        """Those who need a place, the next one first."""
        waiting = list(self.in_order())
        if waiting and waiting[0][0] == self.slot == waiting[-1][0]:
            waiting.pop()  # equals, and one of them has the slot
        return waiting


class SharedLimiter:
    """A `Limiter` for one event loop of each process that shares a store; all clients of a key in it use the same one.

    A START goes before a CALL and that before a POLL within a process; between processes the shares decide that polls
    leave to others. A 429 stops all processes, as soon as the store knows of it: a place that another one had reserved
    before, a second ahead at most, is still used.

    Where the store cannot be reached, who waits gets a TransportError of a request that was not sent. What answers
    have shown meanwhile is written down when it can be reached again.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        """Nothing is asked yet."""
        self._store = store
        self._now = clock.monotonic
        self._alarms = Alarms(clock)
        self._lines: dict[str, _Line] = {}
        self._far = _FarClock()
        self._name = uuid.uuid4().hex
        self._numbers = itertools.count()

    async def acquire(self, group: str, *, priority: Priority, most: float = math.inf) -> None:
        """As `Limiter.acquire`. Among those of one priority in one process nobody is overtaken."""
        line = self._lines.setdefault(group, _Line(group))
        waiter = Waiter(asyncio.get_running_loop().create_future(), self._now() + most)
        line.join(waiter, priority)
        if line.slot is None or priority < line.slot:
            self._stir(line)
        else:  # whoever has the slot goes before it, and then the next look is due
            self._refuse_in_time(line, waiter)
        try:
            await waiter.turn
        except asyncio.CancelledError:
            if line.drop(waiter):
                self.learn(group, Sight(was_sent=False))
            raise

    def learn(self, group: str, sight: Sight | None) -> None:
        """As `Limiter.learn`."""
        line, now = self._lines[group], self._now()
        line.news.append((now, sight))
        if sight is not None and sight.stopped_for is not None:
            line.stopped_until = max(line.stopped_until, now + sight.stopped_for)
            self._stir(line)
        elif line.waiting and line.wait == math.inf:
            self._stir(line)  # it may be what made room
        elif line.slot is None and line.work is None:
            self._stir_in(line, FOLD)

    async def aclose(self) -> None:
        """Write down what answers have shown, and give back what is reserved. Nobody may wait for a place any more."""
        for line in self._lines.values():
            line.cancel_alarm()
            if line.slot is not None and line.slot_alarm is not None:
                line.slot_alarm.cancel()
                line.slot = line.slot_alarm = None
                line.news.append((self._now(), Sight(was_sent=False)))
            if line.news:
                self._stir(line)
        if await outlast([line.work for line in self._lines.values() if line.work is not None]):
            raise asyncio.CancelledError

    def _stir(self, line: _Line) -> None:
        """Look after it: now, or again when that ends which is under way."""
        line.is_stirred = True
        if line.work is None:
            line.work = asyncio.get_running_loop().create_task(self._work(line), name="closebulk_async limiter")

    def _stir_in(self, line: _Line, seconds: float) -> None:
        """Look after it after so many seconds, or earlier."""
        if (at := self._now() + seconds) < line.alarm_at:
            line.cancel_alarm()
            line.alarm, line.alarm_at = self._alarms.set(seconds, partial(self._on_alarm, line)), at

    def _on_alarm(self, line: _Line) -> None:
        line.cancel_alarm()
        self._stir(line)

    async def _work(self, line: _Line) -> None:
        try:
            while line.is_stirred:
                line.is_stirred = False
                line.cancel_alarm()
                try:
                    await self._look_after(line)
                except Exception as exc:  # noqa: BLE001 - whatever a store raises, nobody may wait for ever
                    self._fail(line, exc)
        finally:
            line.work = None
        if line.slot is None and line.waiting:
            self._stir_in(line, LOOK_AGAIN if line.wait == math.inf else min(line.wait, LONGEST_PAUSE))
        if line.slot is None and line.news and line.record is not None:
            self._stir_in(line, FOLD)

    async def _look_after(self, line: _Line) -> None:
        """Write down what is new, reserve what can be had, and let go who may go."""
        record = line.record
        if record is None or not line.is_alone or self._now() - line.read_at > LONGEST_PAUSE:
            record = await self._read(line)
        while True:
            shared, news = self._open(line, record), len(line.news)
            for at, sight in line.news:
                shared.budget.learn(sight, now=at + self._far.latest)
            began, wanted = self._now(), line.wanted()
            places = self._plan(line, wanted, shared.budget, now=began + self._far.earliest)
            if not (places or self._is_due(line.news) or (shared.has_changed and not line.news)):
                break
            token = f"{self._name}-{next(self._numbers)}"
            record = await self._swap(line, record, shared, token)
            if record.token == token:
                line.mine = shared.mine
                del line.news[:news]
                break
        for wait, priority in places:
            self._hand_out(line, priority, began + wait)
        self._refuse_late(line, wanted)

    def _is_due(self, news: Sequence[tuple[float, Sight | None]]) -> bool:
        """Whether it has waited for long enough to be written down with something else, or is what stops everybody."""
        is_old = bool(news) and self._now() - news[0][0] >= FOLD
        return is_old or any(sight is not None and sight.stopped_for is not None for _, sight in news)

    def _open(self, line: _Line, record: Record) -> SharedBudget:
        # The keeper's clock goes on unless somebody sets it back, or another machine takes over.
        moved = min(0.0, record.now - record.written_at)
        now = self._now() + self._far.earliest
        return SharedBudget.load(record.text, name=self._name, mine=line.mine, now=now, moved=moved)

    def _plan(
        self, line: _Line, wanted: Sequence[tuple[Priority, Waiter]], budget: Budget, *, now: float
    ) -> Sequence[tuple[float, Priority]]:
        """Take what can be had for those who wait, each with the seconds until its time; keeps how long others wait."""
        places: list[tuple[float, Priority]] = []
        has_slot, line.wait = line.slot is not None, 0.0
        line.stopped_until = max(line.stopped_until, self._now() + budget.stopped_for(now=now))
        for priority, _ in wanted:
            line.wait = budget.wait(priority, now=now)
            if line.wait and (has_slot or line.wait > AHEAD or budget.resets_within(line.wait, now=now)):
                break
            budget.take(priority, now=now + line.wait)
            places.append((line.wait, priority))
            has_slot = has_slot or line.wait > 0
        return places

    def _hand_out(self, line: _Line, priority: Priority, at: float) -> None:
        """Let the next one go at that time; it may be another one by then, of this rank or before."""
        now = self._now()
        if at > now:
            on_slot = partial(self._on_slot, line, priority, at)
            line.slot, line.slot_alarm = priority, self._alarms.set(at - now, on_slot)
        elif (
            line.stopped_until <= now <= at + AHEAD  # not if this process was stopped meanwhile
            and (first := line.first()) is not None
            and first <= priority
        ):
            line.let_go(first)
        else:
            self.learn(line.group, Sight(was_sent=False))

    def _on_slot(self, line: _Line, priority: Priority, at: float) -> None:
        line.slot = line.slot_alarm = None
        self._hand_out(line, priority, min(at, self._now()))
        if line.waiting or line.news:
            self._stir(line)

    def _refuse_late(self, line: _Line, wanted: Sequence[tuple[Priority, Waiter]]) -> None:
        """Refuse those who would wait longer than they may, and let an alarm refuse the others in time."""
        now = self._now()
        for _, waiter in wanted:
            if waiter.until <= now or waiter.until < line.stopped_until:
                self._refuse(line, waiter)
            else:
                self._refuse_in_time(line, waiter)

    def _refuse_in_time(self, line: _Line, waiter: Waiter) -> None:
        if waiter.until < math.inf and waiter.refusal is None:
            seconds = waiter.until - self._now()
            waiter.refusal = self._alarms.set(seconds, partial(self._refuse, line, waiter))

    def _refuse(self, line: _Line, waiter: Waiter) -> None:
        stopped_for = max(0.0, line.stopped_until - self._now())
        line.refuse(waiter, refused(line.group, max(stopped_for, line.wait if line.wait < math.inf else 0.0)))

    def _fail(self, line: _Line, exc: Exception) -> None:
        reason = f"the shared budget is out of reach: {str(exc) or type(exc).__name__}"
        if not line.waiting:
            logger.warning("%s: %s; what its answers showed is told to other processes later", line.group, reason)
        for _, waiter in list(line.in_order()):
            error = TransportError(reason, request=line.group, sent=False)
            error.__cause__ = exc
            line.refuse(waiter, error)
        line.record = None

    async def _read(self, line: _Line) -> Record:
        asked = self._now()
        record = await self._store.read(line.group)
        line.is_alone = line.record is not None and record.token == line.record.token
        return self._note(line, record, asked)

    async def _swap(self, line: _Line, record: Record, shared: SharedBudget, token: str) -> Record:
        asked = self._now()
        text = shared.dump(name=self._name, now=asked + self._far.earliest)
        swapped = await self._store.swap(line.group, text, seen=record.token, token=token)
        line.is_alone = line.is_alone and swapped.token == token
        return self._note(line, swapped, asked)

    def _note(self, line: _Line, record: Record, asked: float) -> Record:
        line.record, line.read_at = record, self._now()
        self._far.note(record.now, asked=asked, answered=line.read_at)
        return record
