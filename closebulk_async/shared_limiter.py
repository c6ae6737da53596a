"""A limiter whose budgets are kept where several processes share them: the lines are its own, the counts everybody's.

Each process computes as `MemoryLimiter` does, with the same arithmetic on the same numbers, and then replaces what is
kept if it is still what it computed with. So all processes together behave as one. Nothing is locked meanwhile: a
process that is stopped in the middle of it holds up nobody.
"""

from __future__ import annotations

import itertools
import math
import uuid
from functools import partial
from typing import TYPE_CHECKING, Protocol

import attrs

from closebulk_async.clock import Alarm, Clock
from closebulk_async.far_limiter import LONGEST_PAUSE, FarLimiter, FarLine
from closebulk_async.limiter import Priority, Sight
from closebulk_async.shared_budget import SharedBudget

if TYPE_CHECKING:
    from collections.abc import Sequence

    from closebulk_async.budget import Budget
    from closebulk_async.lines import Waiter

AHEAD = 1.0
"""Seconds by which a place may be reserved before its time, one for each process. So those of several processes take
turns, and nobody has to ask again and again; the only places that a 429 elsewhere comes too late for are these."""

FOLD = 0.1
"""Seconds for which answers wait for more of them, or for the next reservation, to be written down together."""

LOOK_AGAIN = 0.2
"""Seconds between two looks where only an answer to another process can make room, of which nobody tells."""

ALONE_AFTER = 10
"""Times in a row that nobody else had written, after which nothing is read again before something is written: where
that is wrong, it is not taken, and what comes back is as good as if it had been read."""


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
class SharedLine(FarLine):
    """The requests of one group that wait, and what is known here of its budget."""

    record: Record | None = None
    read_at: float = -math.inf
    read_in_vain: int = 0
    """How often in a row it was found that nobody else had written."""
    mine: int = 0
    """Places that this process is known to hold, by what is kept."""
    was_late: bool = False
    """The time of the latest places had passed before the store said that they are taken."""
    slot: Priority | None = None
    """For whom a place is reserved before its time."""
    slot_alarm: Alarm | None = None

    def wanted(self) -> Sequence[tuple[Priority, Waiter]]:
        """Those who need a place, the next one first."""
        waiting = list(self.in_order())
        if waiting and waiting[0][0] == self.slot == waiting[-1][0]:
            waiting.pop()  # equals, and one of them has the slot
        return waiting


class SharedLimiter(FarLimiter[SharedLine]):
    """A `Limiter` for one event loop of each process that shares a store; all clients of a key in it use the same one.

    A START goes before a CALL and that before a POLL within a process; between processes the shares decide that polls
    leave to others. A 429 stops all processes, as soon as the store knows of it: a place that another one had reserved
    before, a second ahead at most, is still used.

    Where the store cannot be reached, who waits gets a TransportError of a request that was not sent. What answers
    have shown meanwhile is written down when it can be reached again.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        """Nothing is asked yet."""
        super().__init__(clock, SharedLine)
        self._store = store
        self._far = _FarClock()
        self._name = uuid.uuid4().hex
        self._numbers = itertools.count()

    async def aclose(self) -> None:
        """Write down what answers have shown, and give back what is reserved. Nobody gets a place any more."""
        for line in self._lines.values():
            if line.slot is not None and line.slot_alarm is not None:
                line.slot_alarm.cancel()
                line.slot = line.slot_alarm = None
                line.news.append((self._now(), Sight(was_sent=False)))
        await super().aclose()

    def _rest(self, line: SharedLine) -> None:
        if line.slot is not None:
            return  # the next look is due when it is used
        if line.waiting:
            self._stir_in(line, LOOK_AGAIN if line.wait == math.inf else min(line.wait, LONGEST_PAUSE))
        if line.news:
            self._stir_in(line, FOLD)

    async def _look_after(self, line: SharedLine) -> None:
        """Write down what is new, reserve what can be had, and let go who may go."""
        first = line.first()
        if line.slot is not None and (first is None or first >= line.slot) and not self._is_due(line.news):
            self._refuse_late(line, [waiter for _, waiter in line.in_order()])
            return  # who has the slot goes first, and then the next look is due
        record = line.record
        if record is None or line.read_in_vain < ALONE_AFTER or self._now() - line.read_at > LONGEST_PAUSE:
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
        is_late = bool(places) and self._now() > began + AHEAD
        # This process was stopped before the answer came. Where that is so twice in a row, it is the store that is
        # slow, and who gave back every place would never have one.
        gives_back = is_late and not line.was_late
        line.was_late = is_late
        for wait, priority in places:
            if gives_back and self._now() > began + wait + AHEAD:
                self._give_back(line)
            else:
                self._hand_out(line, priority, began + wait)
        self._refuse_late(line, [waiter for _, waiter in wanted])

    def _is_due(self, news: Sequence[tuple[float, Sight | None]]) -> bool:
        """Whether it has waited for long enough to be written down with something else, or is what stops everybody."""
        is_old = bool(news) and (self._is_closed or self._now() - news[0][0] >= FOLD)
        return is_old or any(sight is not None and sight.stopped_for is not None for _, sight in news)

    def _open(self, line: SharedLine, record: Record) -> SharedBudget:
        now = self._now() + self._far.earliest
        mine, at = line.mine, record.written_at
        return SharedBudget.load(record.text, name=self._name, mine=mine, written_at=at, now=now)

    def _plan(
        self, line: SharedLine, wanted: Sequence[tuple[Priority, Waiter]], budget: Budget, *, now: float
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

    def _hand_out(self, line: SharedLine, priority: Priority, at: float) -> None:
        """Let the next one go at that time; it may be another one by then, of this rank or before."""
        if (wait := at - self._now()) > 0:
            line.slot, line.slot_alarm = priority, self._alarms.set(wait, partial(self._on_slot, line, priority, at))
        else:
            self._let_go(line, priority)

    def _on_slot(self, line: SharedLine, priority: Priority, at: float) -> None:
        line.slot = line.slot_alarm = None
        if self._now() <= at + AHEAD:
            self._let_go(line, priority)
        else:  # this process was stopped meanwhile
            self._give_back(line)
        if line.waiting or line.news:
            self._stir(line)

    def _give_back(self, line: SharedLine) -> None:
        """A place whose time has passed was another window's: by now others have been told that nobody holds it."""
        self.learn(line.group, Sight(was_sent=False))
        self._stir(line)

    async def _read(self, line: SharedLine) -> Record:
        asked = self._now()
        record = await self._store.read(line.group)
        is_known = line.record is not None and record.token == line.record.token
        line.read_in_vain = line.read_in_vain + 1 if is_known else 0
        return self._note(line, record, asked)

    async def _swap(self, line: SharedLine, record: Record, shared: SharedBudget, token: str) -> Record:
        asked = self._now()
        text = shared.dump(name=self._name, now=asked + self._far.earliest)
        swapped = await self._store.swap(line.group, text, seen=record.token, token=token)
        if swapped.token != token:
            line.read_in_vain = 0
        return self._note(line, swapped, asked)

    def _note(self, line: SharedLine, record: Record, asked: float) -> Record:
        line.record, line.read_at = record, self._now()
        self._far.note(record.now, asked=asked, answered=line.read_at)
        return record
