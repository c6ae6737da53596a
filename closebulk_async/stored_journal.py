"""What journals in databases have in common: each operation is one statement, and goes to its end."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, TypeVar

from closebulk_async.clock import Clock, SystemClock
from closebulk_async.errors import JournalError
from closebulk_async.journal_rows import dump_sighting, from_row, to_row
from closebulk_async.policy import Duration, to_seconds
from closebulk_async.tasks import result_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from datetime import datetime

    from closebulk_async.intents import Intent, Sighting
    from closebulk_async.models import JobRef

T = TypeVar("T")

BATCH = 1000
"""What one clearing away removes at most, so that it holds up nobody for long."""

CLEAR_EVERY = 100
"""Starts between two clearings: ten times as many rows may go as have come."""

TASK = "closebulk_async journal"


class Statements(Protocol):
    """The statements of one database, by what they do; a module has them."""

    BEGIN: str
    GET: str
    UNFINISHED: str
    UNFINISHED_OF_FINGERPRINT: str
    LEASE: str
    PROGRESS: str
    PRUNE: str


class StoredJournal(ABC):
    """A journal whose intents are rows. A database's own class says how a statement is run and how owners exclude."""

    is_durable = True
    _statements: ClassVar[Statements]
    _if_damaged: ClassVar[str]
    """What to do where a row cannot be read."""

    def __init__(self, *, clock: Clock | None, keep: Duration) -> None:
        """Raises InvalidRequestError where `keep` is no duration."""
        self._clock = SystemClock() if clock is None else clock
        self._keep = to_seconds(keep, name="keep")
        self._opening = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._begun = 0
        self._is_closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def begin(self, intent: Intent) -> Intent:
        """Write it down, or return the one that has its key."""
        self._begun += 1
        if self._begun % CLEAR_EVERY == 0:
            await self._finish(self._clear)
        return self._read(await self._ask(self._statements.BEGIN, self._row(intent)))[0]

    async def get(self, id: str) -> Intent | None:
        """The intent of that id."""
        return next(iter(self._read(await self._ask(self._statements.GET, {"id": id}))), None)

    async def unfinished(self, scope: str | None = None, *, fingerprint: str | None = None) -> Sequence[Intent]:
        """Every open intent, oldest first."""
        all_of = self._statements
        statement = all_of.UNFINISHED if fingerprint is None else all_of.UNFINISHED_OF_FINGERPRINT
        return self._read(await self._ask(statement, {"scope": scope, "fingerprint": fingerprint}))

    async def lease(self, id: str, *, owner: str, until: datetime) -> None:
        """Prolong the lease."""
        await self._ask(self._statements.LEASE, {"id": id, "owner": owner, "until": until.isoformat()})

    async def progress(self, scope: str, ref: JobRef[Any], sighting: Sighting, *, is_final: bool) -> None:
        """Note the last known state."""
        seen = {"sighting": dump_sighting(sighting), "is_final": is_final, "changed_at": self._now()}
        await self._ask(self._statements.PROGRESS, {"scope": scope, "ref": str(ref), **seen})

    async def prune(self, before: datetime) -> int:
        """Remove the final intents that were last changed before then, with or without a key, and say how many.

        A key that was removed starts a new action when it is used again.
        """
        return len(await self._ask(self._statements.PRUNE, {"before": before.timestamp()}))

    async def aclose(self) -> None:
        """Finish what is under way, let go of all owners that entered here, and close. May be repeated."""
        if not self._is_closed:
            self._is_closed = True
            await result_of(asyncio.get_running_loop().create_task(self._end(), name=TASK))

    async def _end(self) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._close()

    async def _ask(self, statement: str, parameters: Mapping[str, Any]) -> Sequence[Any]:
        return await self._finish(lambda: self._run(statement, parameters))

    async def _finish(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do it to its end, also when the caller is cancelled: its effect is then there, and its answer is not."""
        if self._is_closed:
            raise JournalError(f"the journal {self._name()} was closed")
        task = asyncio.get_running_loop().create_task(self._guarded(work), name=TASK)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await result_of(task)

    def _row(self, intent: Intent) -> dict[str, Any]:
        return {**to_row(intent), "changed_at": self._now()}

    def _read(self, rows: Sequence[Any]) -> list[Intent]:
        try:
            return [from_row(row) for row in rows]
        except (ValueError, TypeError, LookupError) as exc:
            raise self._error(f"a row of it cannot be read: {exc}", advice=self._if_damaged) from exc

    def _now(self) -> float:
        return self._clock.now().timestamp()

    @abstractmethod
    async def _run(self, statement: str, parameters: Mapping[str, Any]) -> Sequence[Any]:
        """The rows of one statement, which is one transaction."""

    @abstractmethod
    async def _guarded(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do it in time. Raises JournalError for whatever the database raises."""

    @abstractmethod
    async def _clear(self) -> None:
        """Remove what nobody needs any more."""

    @abstractmethod
    async def _close(self) -> None:
        """Let go of the owners and of the database."""

    @abstractmethod
    def _name(self) -> str:
        """Where it is, for messages."""

    @abstractmethod
    def _error(self, reason: str, *, advice: str) -> JournalError:
        """The error that says so."""
