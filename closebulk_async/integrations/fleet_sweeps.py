"""One shift of polls: all actions of a kind and an organization, as one process polls them, from rows and to rows."""

from __future__ import annotations

import asyncio
import logging
import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import attrs
import psycopg

from closebulk_async.client import engine_of
from closebulk_async.errors import AuthenticationError, JournalError, NotFoundError
from closebulk_async.integrations import fleet_tables as tables
from closebulk_async.integrations.fleet_news import News
from closebulk_async.integrations.fleet_rows import action_of, columns_of, poll_of, restore, without_what_it_showed
from closebulk_async.limiter import Priority
from closebulk_async.models import Job, JobRef, Kind
from closebulk_async.polling import open_desks
from closebulk_async.tasks import outlast
from closebulk_async.watching import Watcher

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from psycopg.rows import DictRow

    from closebulk_async.client import CloseBulk
    from closebulk_async.clock import Clock
    from closebulk_async.integrations.fleet_news import Newsroom
    from closebulk_async.integrations.fleet_rows import Offset
    from closebulk_async.integrations.fleet_store import Store
    from closebulk_async.policy import PollPolicy
    from closebulk_async.watches import Watch

logger: logging.Logger = logging.getLogger("closebulk_async")

SHIFT = 300.0
"""Seconds after which another worker may go on, so that no client is followed for ever by the one that came first.

What is known of the places in the list goes with it: to find them again takes a request for each hundred actions."""

LOOK_AGAIN = 5.0
"""Seconds between two looks for actions of which no news came."""

OVERLAP = 10.0
"""Seconds by which looks overlap: what another transaction writes is seen only when that has ended."""

LINGER = 1.0
"""Seconds for which a shift without actions waits for the next one before it ends."""

LAST_ANSWERS = 10.0
"""Seconds for which the end of a shift waits for requests under way."""

A_PAGE = 100
"""Ids in one piece of news."""

LONGEST_NEWS = 7900
"""Characters, all of them ASCII. PostgreSQL carries 7999, and a page of ids has about 6000."""

NEVER_LOST = 10 * 365 * 86_400.0
"""An outage must not end the polls of a fleet: whoever waits gives up by himself."""


class Keeper:
    """The subscriber of one watch: it notes that there is something to be written."""

    def __init__(self, sweep: Sweep, watch: Watch, *, shown: Job | None, urged_at: float) -> None:
        """`shown` is the snapshot of the row."""
        self._sweep = sweep
        self.watch = watch
        self.shown = shown
        self.urged_at = urged_at
        self.next_poll_at: float | None = None
        """As of the latest poll; the watch forgets it when it is left."""
        self.is_awaited = False
        """Somebody has asked for the next poll, and is to be told of it whatever it shows."""

    def on_poll(self) -> None:
        """As `Subscriber.on_poll`."""
        self._sweep.note(self)

    def stall_due_in(self) -> float | None:
        """Nobody waits here: who does asks for a poll."""
        return None


class Sweep:
    """Polls what is active until `stopping` is set, nothing is left, or the shift is over."""

    def __init__(
        self,
        client: CloseBulk,
        store: Store,
        newsroom: Newsroom,
        *,
        account: str,
        kind: Kind,
        clock: Clock,
        stopping: asyncio.Event,
    ) -> None:
        """Read nothing yet."""
        self._client = client
        self._store = store
        self._newsroom = newsroom
        self._place = {"account": account, "kind": str(kind)}
        self._kind = kind
        self._clock = clock
        self._stopping = stopping
        self._watcher = self._make_watcher(client)
        self._keepers: dict[str, Keeper] = {}
        self._ended: dict[str, float] = {}
        """What has ended in this shift: an action for good, following it until it is asked for after that instant."""
        self._dirty: dict[str, Keeper] = {}
        self._is_dirty = asyncio.Event()
        self._is_due = asyncio.Event()
        self._is_answered = asyncio.Event()
        self._is_ending = False
        self._is_over = False
        self._is_replaced = False
        self.is_refused: bool = False
        """The service does not know the key: the shift ends, for another worker may have another one."""
        self._epoch = 0
        self._looked_at = 0.0

    async def run(self) -> bool:
        """Says whether anything is left to be polled. Raises JournalError where the database cannot be used."""
        (begun,) = await self._store.ask(tables.BEGIN_SWEEP, **self._place)
        self._epoch = begun["epoch"]
        self._offset: Offset = await self._store.offset()
        writer = asyncio.get_running_loop().create_task(self._write(), name="closebulk_async sweep")
        looker = asyncio.get_running_loop().create_task(self._look(), name="closebulk_async sweep")
        try:
            with self._newsroom.reading(self._read):
                await asyncio.wait({writer, looker}, return_when=asyncio.FIRST_COMPLETED)
                if not writer.done():
                    await self._wind_up()
                    await asyncio.wait({writer})
        finally:
            self._is_over = True
            writer.cancel()
            looker.cancel()
            await outlast([writer, looker])
            await self._watcher.aclose()
        for task in (writer, looker):
            if not task.cancelled():
                task.result()
        return bool(self._keepers) and not self._is_replaced

    def _make_watcher(self, client: CloseBulk) -> Watcher:
        engine = engine_of(client)
        watcher = engine.watcher
        policy: PollPolicy = attrs.evolve(watcher.policy, lost_after=NEVER_LOST)
        transport = engine.transport.serving(Priority.POLL)
        desks = open_desks(transport, clock=watcher.clock, policy=policy, note=self._note_end, tell=watcher.tell)
        # Another worker may have a key that serves, or this one's may serve again: only what is gone is gone for all.
        return Watcher(desks, clock=watcher.clock, policy=policy, tell=watcher.tell, hopeless=(NotFoundError,))

    async def _note_end(self, action: Job) -> None:
        """What moves is in the rows here; the journal is told what it must know, so that a page is one write."""
        if action.is_final:
            await engine_of(self._client).bookkeeper.note(action)

    # What to poll ---------------------------------------------------------------------------------------------------

    async def _look(self) -> None:
        """Take up what is active, until the shift is over."""
        ends_at, idle_since = self._clock.monotonic() + SHIFT, self._clock.monotonic()
        while not (self._stopping.is_set() or self.is_refused) and (now := self._clock.monotonic()) < ends_at:
            self._is_due.clear()
            await self._take_up()
            if self._keepers:
                idle_since = now
            elif now - idle_since >= LINGER:
                return
            await self._wait(LOOK_AGAIN if self._keepers else LINGER / 4)

    async def _take_up(self) -> None:
        rows = await self._store.ask(tables.ACTIVE, **self._place, since=self._looked_at - OVERLAP)
        for row in rows:
            self._looked_at = max(self._looked_at, row["urged_at"])
            if row["urged_at"] <= self._ended.get(row["id"], 0.0):
                continue  # that is about to be written, or was when this was read
            keeper = self._keepers.get(row["id"])
            if keeper is None:
                self._follow(row)
            elif row["urged_at"] > keeper.urged_at:
                self._urge(keeper, row["urged_at"])

    def _follow(self, row: DictRow) -> None:
        ref: JobRef[Any] = JobRef(self._kind, row["id"])
        if row["is_started"] and row["now"] - row["registered_at"] <= self._watcher.policy.settle:
            self._watcher.note_start(ref)
        shown = action_of(self._kind, row)
        watch = self._watcher.watch(ref, known=shown if row["meter"] is None else None)
        keeper = Keeper(self, watch, shown=shown, urged_at=row["urged_at"])
        self._keepers[ref.id] = keeper
        restore(watch, row, self._offset)
        is_asked = row["polled_at"] is None or row["urged_at"] > row["polled_at"]
        keeper.is_awaited = is_asked
        due = None if is_asked else self._offset.here(row["next_poll_at"])
        watch.resume(keeper, at=self._clock.monotonic() if due is None else due)

    def _urge(self, keeper: Keeper, urged_at: float) -> None:
        watch, policy = keeper.watch, self._watcher.policy
        keeper.urged_at = urged_at
        keeper.is_awaited = True
        if not watch.failures:  # where polls fail, asking brings none forward
            watch.poll_by(watch.polled_at + policy.floor)

    def _read(self, news: News) -> None:
        is_ours = news.what == "due" and (news.account, news.kind) == (self._place["account"], self._place["kind"])
        if is_ours or news.what == "missed":
            self._is_due.set()

    async def _wait(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        tasks = {loop.create_task(event.wait()) for event in (self._is_due, self._stopping)}
        try:
            await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()

    # What polls bring -----------------------------------------------------------------------------------------------

    def note(self, keeper: Keeper) -> None:
        """Write down what a watch knows, soon."""
        if self._is_over:
            return
        keeper.next_poll_at = keeper.watch.next_poll_at
        self._dirty[keeper.watch.ref.id] = keeper
        self._is_dirty.set()
        if keeper.watch.failures and isinstance(keeper.watch.last_error, AuthenticationError):
            self.is_refused = True
            self._is_due.set()
        if self._is_ending:
            keeper.watch.leave(keeper)
            self._is_answered.set()

    async def _write(self) -> None:
        """Write what polls have brought, page by page, to the end of the shift or where another one has begun."""
        while await self._write_once() and not (self._is_over and not self._dirty):
            await self._is_dirty.wait()
            self._is_dirty.clear()
            await asyncio.sleep(0)  # the rest of the page

    async def _write_once(self) -> bool:
        dirty, self._dirty = self._dirty, {}
        keepers = list(dirty.values())
        for first in range(0, len(keepers), A_PAGE):
            if not await self._write_page(keepers[first : first + A_PAGE]):
                logger.info("another worker polls the %s actions of %s", self._kind, self._place["account"])
                self._is_replaced = True
                return False
        return True

    async def _write_page(self, keepers: Sequence[Keeper]) -> bool:
        polls, told = [], []
        for keeper in keepers:
            poll = poll_of(keeper.watch, self._offset, shown=keeper.shown, next_poll_at=keeper.next_poll_at)
            polls.append(poll)
            if keeper.is_awaited or poll["snapshot"] is not None or poll["failure"] is not None or poll["is_final"]:
                told.append(keeper.watch.ref.id)
            keeper.is_awaited = False
            if keeper.watch.meter is not None:
                keeper.shown = keeper.watch.meter.action
            if poll["is_final"] or poll["failure"] is not None:
                self._ended[keeper.watch.ref.id] = math.inf if poll["is_final"] else poll["failed_at"]
                self._keepers.pop(keeper.watch.ref.id, None)
        news = News(what="moved", ids=told, **self._place).to_text() if told else None
        if news is not None and len(news) >= LONGEST_NEWS:
            news = News(what="missed").to_text()  # everybody looks
        return await self._write_rows(polls, news)

    async def _write_rows(self, polls: Sequence[Mapping[str, Any]], news: str | None) -> bool:
        try:
            written = await self._store.ask(
                tables.WRITE_POLLS, **self._place, epoch=self._epoch, news=news, **columns_of(polls)
            )
        except JournalError as exc:
            if not isinstance(exc.__cause__, psycopg.DataError):
                raise
            # It speaks of one row, and does not say of which: each by itself, so that it spoils no other one.
            if len(polls) == 1:
                logger.warning("the poll of %s cannot be written down: %s", polls[0]["id"], exc)
                return await self._write_rows([without_what_it_showed(polls[0], exc)], news)
            return all([await self._write_rows([poll], news) for poll in polls])
        return bool(written)

    async def _wind_up(self) -> None:
        """Begin no poll any more, and take in what those under way bring."""
        self._is_ending = True
        for keeper in list(self._keepers.values()):
            if keeper.watch.errand is None:
                keeper.watch.leave(keeper)
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_ANSWERS):
                while any(keeper.watch.errand for keeper in self._keepers.values()):
                    self._is_answered.clear()
                    await self._is_answered.wait()
        self._is_over = True
        self._is_dirty.set()
