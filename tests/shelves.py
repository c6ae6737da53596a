"""A store of budgets in memory, which several limiters of a test share as processes share a database."""

from __future__ import annotations

import attrs

from closebulk_async.shared_limiter import Record, SharedLimiter
from closebulk_async.testing import FakeClock


@attrs.define(eq=False)
class Shelf:
    """Answers after `latency` seconds, and shows another time than the clock; breaks while `failure` is set."""

    clock: FakeClock
    latency: float = 0.0
    ahead: float = 1_000_000.0
    failure: Exception | None = None
    rows: dict[str, Record] = attrs.field(factory=dict)
    reads: int = 0
    writes: int = 0

    async def read(self, group: str) -> Record:
        """As `Store.read`."""
        await self._work()
        self.reads += 1
        return self._show(group)

    async def swap(self, group: str, text: str, *, seen: str | None, token: str) -> Record:
        """As `Store.swap`."""
        await self._work()
        self.writes += 1
        kept = self.rows.get(group)
        if (None if kept is None else kept.token) == seen:
            now = self._now()
            self.rows[group] = Record(token=token, text=text, written_at=now, now=now)
        return self._show(group)

    def limiter(self) -> SharedLimiter:
        """One more process."""
        return SharedLimiter(self, self.clock)

    async def _work(self) -> None:
        await self.clock.sleep(self.latency)
        if self.failure is not None:
            raise self.failure

    def _show(self, group: str) -> Record:
        kept = self.rows.get(group)
        return Record(now=self._now()) if kept is None else attrs.evolve(kept, now=self._now())

    def _now(self) -> float:
        return self.clock.monotonic() + self.ahead
