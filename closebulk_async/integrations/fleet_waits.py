"""Waits that cost no request: a desk that answers from rows what a fleet's workers have polled."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from psycopg.types.json import Json

from closebulk_async.errors import CloseBulkError
from closebulk_async.integrations import fleet_tables as tables
from closebulk_async.integrations.fleet_errors import error_from_json
from closebulk_async.integrations.fleet_news import News
from closebulk_async.integrations.fleet_rows import action_of
from closebulk_async.models import Kind
from closebulk_async.watches import Watch
from closebulk_async.watching import Watcher

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from psycopg.rows import DictRow

    from closebulk_async.choosing import Target
    from closebulk_async.clock import Clock
    from closebulk_async.integrations.fleet_rows import Offset
    from closebulk_async.integrations.fleet_store import Store
    from closebulk_async.policy import PollPolicy

logger: logging.Logger = logging.getLogger("closebulk_async")

LOOK_AGAIN = 5.0
"""Seconds between two looks at rows of which no news came: what was polled and has not moved is told to nobody."""


class RowDesk:
    """As a Desk, from rows. A row that was not polled since the last look is no answer: so silence is noticed."""

    def __init__(
        self,
        kind: Kind,
        *,
        account: str,
        store: Store,
        offset: Offset,
        clock: Clock,
        follow: Callable[[str, Kind], Awaitable[None]],
    ) -> None:
        """Look at nothing yet. `follow` sees that somebody polls the kind."""
        self.watched: dict[str, Target] = {}
        self._kind = kind
        self._account = account
        self._place = {"account": account, "kind": str(kind)}
        self._store = store
        self._offset = offset
        self._clock = clock
        self._follow = follow
        self._due: dict[Target, None] = {}
        self._urgent: set[Target] = set()
        self._urged: dict[Target, float] = {}
        """When its poll was last asked for."""
        self._seen: dict[str, float] = {}
        """When the polls were sent that were handed out, by the database's clock."""
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def ask(self, target: Target, *, urgent: bool = False) -> None:
        """Answer it with the next poll of its row, or with what the row shows already and was not handed out."""
        if target.due_since is None or urgent:
            target.due_since = self._clock.monotonic()
        if urgent:
            self._urgent.add(target)
        self._due[target] = None
        self.look()

    def look(self) -> None:
        """Look at the rows now."""
        self._news.set()
        if self._due and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="closebulk_async rows")

    def recall(self, target: Target) -> None:
        """Nothing is under way for one alone."""

    def withdraw(self, target: Target) -> None:
        """Look for it no more."""
        if self.watched.get(target.ref.id) is target:
            del self.watched[target.ref.id]
            self._seen.pop(target.ref.id, None)
            self._urged.pop(target, None)
        self._settle(target)
        if not self._due:
            self._news.set()

    async def wait_ended(self) -> None:
        """Until it looks at nothing any more that nobody wants to know."""
        if not self._due and self._task is not None:
            await asyncio.wait({self._task})

    def _settle(self, target: Target) -> None:
        target.due_since = None
        self._due.pop(target, None)
        self._urgent.discard(target)

    async def _run(self) -> None:
        try:
            while self._due:
                self._news.clear()
                await self._look_safely()
                if self._due:
                    await self._wait()
        except Exception as exc:
            # A mistake of this package's own must end the waits, not leave them hanging.
            logger.exception("rows of %s actions", self._kind)
            for target in list(self._due):
                self._settle(target)
                target.fail(exc)
        finally:
            self._task = None

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(LOOK_AGAIN):
                await self._news.wait()
        except TimeoutError:
            pass

    async def _look_safely(self) -> None:
        try:
            await self._look()
        except CloseBulkError as exc:
            for target in list(self._due):
                target.blame(exc)

    async def _look(self) -> None:
        due = list(self._due)
        asked = self._clock.monotonic()
        rows = await self._store.ask(tables.GET_ACTIONS, **self._place, ids=[target.ref.id for target in due])
        if rows:
            self._offset = self._offset.renewed(rows[0]["now"], asked=asked, answered=self._clock.monotonic())
        by_id = {row["id"]: row for row in rows}
        unknown = [target for target in due if target in self._due and target.ref.id not in by_id]
        for target in due:
            if target in self._due and (row := by_id.get(target.ref.id)) is not None:
                self._hand_out(target, row)
        if unknown:
            await self._register(unknown)
        if late := [target for target in self._due if target not in unknown and self._is_late(target)]:
            await self._urge(late)

    def _hand_out(self, target: Target, row: DictRow) -> None:
        seen = self._seen.get(row["id"])
        if row["failure"] is not None:
            asked = target.due_since
            if seen is None and asked is not None and (self._offset.here(row["failed_at"]) or 0.0) < asked:
                self._urgent.add(target)  # of an earlier question: it is polled once more
                self._seen[row["id"]] = row["failed_at"] or 0.0
                return
            self._settle(target)
            target.fail(error_from_json(row["failure"]))
            return
        if row["failures"] and row["last_error"] is not None:
            target.blame(error_from_json(row["last_error"]))
        action = action_of(self._kind, row)
        polled_at = row["polled_at"] if row["polled_at"] is not None else row["registered_at"]
        if action is None or row["failures"] or (seen == polled_at and not action.is_final):
            return
        self._seen[row["id"]] = polled_at
        asked_at = self._offset.here(polled_at) or 0.0
        if seen is None and action.is_paused and asked_at < (target.due_since or 0.0):
            self._urgent.add(target)  # it may have been resumed since, and is polled rarely
            return
        if seen is not None and isinstance(target, Watch):
            asked_at = max(asked_at, target.polled_at)  # another poll is a later one, also where a clock was set back
        self._settle(target)
        target.on_answer(action, asked_at=asked_at)

    def _is_late(self, target: Target) -> bool:
        """Whether the workers may poll it later than whoever waits wants to know. Their cadence is the same as here."""
        now = self._clock.monotonic()
        if target in self._urgent:
            return True
        return isinstance(target, Watch) and target.is_wanted(now) and now - self._urged.get(target, 0.0) >= LOOK_AGAIN

    async def _register(self, targets: Sequence[Target]) -> None:
        for target in targets:
            snapshot = target.whole
            await self._store.ask(
                tables.REGISTER,
                **self._place,
                action=target.ref.id,
                snapshot=None if snapshot is None else Json(snapshot.to_dict()),
                is_started=False,
            )
        await self._urge(targets)
        await self._follow(self._account, self._kind)

    async def _urge(self, targets: Sequence[Target]) -> None:
        self._urgent.difference_update(targets)
        self._urged.update(dict.fromkeys(targets, self._clock.monotonic()))
        news = News(what="due", **self._place).to_text()
        await self._store.ask(tables.URGE, **self._place, ids=[target.ref.id for target in targets], news=news)


class RowWatcher(Watcher):
    """The watches of one organization that are fed from rows."""

    def __init__(
        self,
        account: str,
        *,
        store: Store,
        offset: Offset,
        clock: Clock,
        policy: PollPolicy,
        follow: Callable[[str, Kind], Awaitable[None]],
    ) -> None:
        """Watch nothing yet."""
        self.account = account
        self._rows = {
            kind: RowDesk(
                kind,
                account=account,
                store=store,
                offset=offset,
                clock=clock,
                follow=follow,
            )
            for kind in Kind
        }
        super().__init__(self._rows, clock=clock, policy=policy)

    def read(self, news: News) -> None:
        """Wake those whom a piece of news concerns."""
        if news.what == "missed":
            for desk in self._rows.values():
                self._wake(list(desk.watched.values()))
        elif news.what == "moved" and news.account == self.account:
            watched = self._rows[Kind(news.kind)].watched
            self._wake([watched[id_] for id_ in news.ids if id_ in watched])

    def _wake(self, targets: Sequence[Target]) -> None:
        for target in targets:
            watch: Watch | None = self._find(target.ref)
            if watch is not None:
                watch.poll_now()
