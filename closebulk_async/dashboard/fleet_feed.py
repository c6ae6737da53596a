"""Keeps the board true from the rows of a fleet: it asks Close nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from closebulk_async.dashboard.feed import HEARTBEAT, MOST_RECENT, Feed

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

    from closebulk_async.client import CloseBulk
    from closebulk_async.clock import Clock
    from closebulk_async.dashboard.board import Board
    from closebulk_async.dashboard.publishing import Publisher
    from closebulk_async.integrations.procrastinate import Fleet
    from closebulk_async.models import JobRef, Kind
    from closebulk_async.progress import Progress

LOOK_BACK = 30.0
"""Seconds between looks at what has ended: it costs a question to the database."""


class FleetFeed(Feed):
    """As `Feed`, from what the workers of a fleet have polled."""

    def __init__(
        self, close: CloseBulk, board: Board, publisher: Publisher, *, clock: Clock, fleet: Fleet, account: str
    ) -> None:
        """Read nothing yet."""
        super().__init__(close, board, publisher, clock=clock)
        self._fleet = fleet
        self._account = account

    def _works(self) -> Sequence[tuple[Callable[[], Awaitable[None]], Kind | None]]:
        return [(work, None) for work in (self._look_back, self._follow_left, self._follow_all, self._read_journal)]

    async def _look_back(self) -> None:
        while True:
            jobs = await self._fleet.recent(account=self._account, limit=MOST_RECENT)
            now = self._note_answer()
            for job in jobs:
                self._board.note_job(job, now=now)
            self._publisher.note()
            await self._clock.sleep(LOOK_BACK)

    async def _follow_all(self) -> None:
        try:
            await self._take(self._fleet.watch_active(account=self._account, follow=True, heartbeat=HEARTBEAT))
        finally:
            self.follow_again(*(card.ref for card in self._board.cards if card.is_live))

    def _watch(self, refs: Sequence[JobRef[Any]]) -> AsyncGenerator[Progress[Any], None]:
        return self._fleet.watch(*refs, account=self._account, heartbeat=HEARTBEAT)
