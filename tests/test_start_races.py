"""Moments at which a start could be sent twice, or its outcome told wrongly: each was found once, and is held here."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from closebulk_async import (
    AmbiguousStartError,
    BulkEmail,
    CloseBulk,
    InvalidRequestError,
    JournalError,
    StartError,
    StartPolicy,
)
from closebulk_async.intents import Intent, State
from closebulk_async.models import Kind
from closebulk_async.simulator import Simulator, faults
from closebulk_async.sqlite_journal import SqliteJournal
from closebulk_async.testing import FakeClock
from tests.stage import KEYWORDS, QUERY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime
    from pathlib import Path


@attrs.define
class OtherMachine:
    """The clock of another machine, whose time of day is another one."""

    clock: FakeClock
    ahead: timedelta = timedelta(0)

    def now(self) -> datetime:
        """The time of day there."""
        return self.clock.now() + self.ahead

    def monotonic(self) -> float:
        """Seconds."""
        return self.clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Return after so many seconds."""
        await self.clock.sleep(seconds)

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[object]:
        """Bound an exchange."""
        return self.clock.timeout(seconds)


class TouchyJournal(SqliteJournal):
    """Calls back before a swap, a read or a renewal; what that raises is what the journal raises."""

    before_swap: Callable[[Intent], Awaitable[None]] | None = None
    before_get: Callable[[], None] | None = None
    renews = True

    async def swap(self, intent: Intent) -> Intent | None:
        """Swap, after the callback."""
        if self.before_swap is not None:
            await self.before_swap(intent)
        return await super().swap(intent)

    async def get(self, id: str) -> Intent | None:
        """Read, after the callback."""
        if self.before_get is not None:
            self.before_get()
        return await super().get(id)

    async def lease(self, id: str, *, owner: str, until: datetime) -> None:
        """Prolong a lease, if it is let."""
        if not self.renews:
            raise JournalError("locked")
        await super().lease(id, owner=owner, until=until)


@pytest.fixture
async def journal(tmp_path: Path, clock: FakeClock) -> AsyncIterator[TouchyJournal]:
    """On the file that `connect` opens too."""
    async with TouchyJournal(tmp_path / "journal.db", clock=clock) as touchy:
        yield touchy


@asynccontextmanager
async def connect(sim: Simulator, journal: SqliteJournal | Path, **options: Any) -> AsyncIterator[CloseBulk]:
    """A client."""
    given = {"clock": sim.clock, **options}
    async with CloseBulk(sim.api_key, base_url=sim.base_url, journal=journal, **given) as close:
        yield close


async def start(close: CloseBulk, key: str | None = "key", **options: Any) -> BulkEmail:
    """The start of every test here."""
    return await close.emails.create(s_query=QUERY, **KEYWORDS[Kind.EMAIL], idempotency_key=key, **options)


def posts(sim: Simulator) -> int:
    """How many starts the service was asked for."""
    return sum(request.method == "POST" for request in sim.requests)


@pytest.mark.parametrize("how", ["the write fails", "the caller is cancelled"])
async def test_nobody_takes_back_what_another_sends(
    sim: Simulator, journal: TouchyJournal, tmp_path: Path, how: str
) -> None:
    """A start that could not become `posting` leaves the same key alone that another process is sending."""
    sim.fail_next(faults.delay(5, acts_first=True), method="POST")
    tasks: list[asyncio.Task[BulkEmail]] = []

    async def let_the_other_go_first(intent: Intent) -> None:
        if intent.state is State.POSTING and len(tasks) == 1:
            tasks.append(asyncio.create_task(start(second)))
            while not posts(sim):  # noqa: ASYNC110 - the simulator has no event for it, and time stands still
                await asyncio.sleep(0)
            if how == "the write fails":
                raise JournalError("no room, for a moment")
            tasks[0].cancel()

    journal.before_swap = let_the_other_go_first
    async with connect(sim, journal) as first, connect(sim, tmp_path / "journal.db") as second:
        tasks.append(asyncio.create_task(start(first)))
        with pytest.raises((JournalError, asyncio.CancelledError)):
            await tasks[0]
        repeated = await start(first)
        assert (await tasks[1]).ref == repeated.ref
    assert (len(sim.jobs), posts(sim)) == (1, 1)


async def test_a_key_of_another_organization_settles_nothing(sim: Simulator, tmp_path: Path) -> None:
    """Its lists lack the action: to take it for missing would be to start it twice."""
    path = tmp_path / "journal.db"
    async with connect(sim, path) as close:
        sim.fail_next(faults.cut_after(), method="POST")
        with pytest.raises(AmbiguousStartError) as caught:
            await start(close, on_ambiguous="raise")
    async with Simulator(clock=sim.clock, seed=1) as elsewhere, connect(elsewhere, path) as operator:
        foreign = elsewhere.add_job("email").id
        (intent,) = await operator.journal.unfinished()
        with pytest.raises(InvalidRequestError, match="belongs to"):
            await operator.reconcile(intent.id)
        with pytest.raises(InvalidRequestError, match="belongs to"):
            await operator.adopt(intent.id, foreign)
        assert await operator.journal.get(intent.id) == intent
    async with connect(sim, path) as close:
        assert (await start(close)).id == sim.jobs[0].id
    assert caught.value.intent.id == intent.id
    assert len(sim.jobs) == 1


async def test_a_start_that_was_given_up_is_not_sent_again_by_itself(
    sim: Simulator, journal: TouchyJournal, tmp_path: Path
) -> None:
    """An operator gave it up while its client still looked for the action: the caller is told of the doubt."""
    sim.next_job(shown_after=12, duration=600)
    sim.fail_next(faults.cut_after(), method="POST")
    journal.renews = False
    async with (
        connect(sim, journal, start=StartPolicy(lease=3)) as close,
        connect(sim, tmp_path / "journal.db") as operator,
    ):
        task = asyncio.create_task(start(close))
        await sim.clock.sleep(5)
        (intent,) = await operator.journal.unfinished()
        await operator.abandon(intent.id)
        with pytest.raises(AmbiguousStartError):
            await task
    assert (len(sim.jobs), posts(sim)) == (1, 1)


async def test_nobody_adopts_for_a_start_that_is_being_sent(sim: Simulator, tmp_path: Path) -> None:
    """Its own action will be known in a moment, and would then be nobody's."""
    async with connect(sim, tmp_path / "journal.db") as close:
        other = sim.add_job("email")
        sim.fail_next(faults.delay(5, acts_first=True), method="POST")
        task = asyncio.create_task(start(close))
        await sim.clock.sleep(1)
        (intent,) = await close.journal.unfinished()
        with pytest.raises(StartError, match="being sent right now"):
            await close.adopt(intent.id, other.id)
        action = await task
        stored = await close.journal.get(intent.id)
    assert stored is not None
    assert stored.ref == action.ref


async def test_a_clock_that_is_set_back_makes_nobody_wait(sim: Simulator, clock: FakeClock, tmp_path: Path) -> None:
    """A lease that seems to end in an hour has ended."""
    here = OtherMachine(clock)
    async with connect(sim, tmp_path / "journal.db", clock=here) as close:
        sim.fail_next(faults.cut_after(), method="POST")
        with pytest.raises(AmbiguousStartError):
            await start(close, on_ambiguous="raise")
        here.ahead = timedelta(hours=-1)
        began = clock.monotonic()
        await start(close)
    assert clock.monotonic() - began < 1
    assert len(sim.jobs) == 1


async def test_a_clock_that_leaps_ahead_frees_nothing_early(sim: Simulator, clock: FakeClock, tmp_path: Path) -> None:
    """However long ago the start seems to be, its action gets the time that it may need to be shown."""
    sim.next_job(shown_after=5, duration=600)
    sim.fail_next(faults.cut_after(), method="POST")
    async with connect(sim, tmp_path / "journal.db") as close:
        with pytest.raises(AmbiguousStartError):
            await start(close, on_ambiguous="raise")
    async with connect(sim, tmp_path / "journal.db", clock=OtherMachine(clock, timedelta(days=1))) as close:
        assert (await start(close)).id == sim.jobs[0].id
    assert posts(sim) == 1


async def test_an_action_is_told_whatever_the_journal_comes_to(
    sim: Simulator, journal: TouchyJournal, tmp_path: Path
) -> None:
    """The intent was changed by somebody in the moment of the answer, and the journal cannot be read after that."""
    async with connect(sim, journal) as close, connect(sim, tmp_path / "journal.db") as other:

        def fail() -> None:
            raise JournalError("broken")

        async def meddle(intent: Intent) -> None:
            if intent.state is State.STARTED:
                journal.before_swap, journal.before_get = None, fail
                stored = await other.journal.get(intent.id)
                assert stored is not None
                await other.journal.swap(stored)

        journal.before_swap = meddle
        assert (await start(close)).id == sim.jobs[0].id


async def test_a_key_gives_the_id_of_an_action_that_cannot_be_read(sim: Simulator, tmp_path: Path) -> None:
    """That it was started, and as what, is known; how far it is can be asked again."""
    async with connect(sim, tmp_path / "journal.db") as close:
        action = await start(close)
        sim.fail_next(faults.forbidden(), method="GET", path=action.id)
        again = await start(close)
    assert again.ref == action.ref
    assert "status" in again.unset


@pytest.mark.parametrize("what", ["reconcile", "the error's reconcile", "recover"])
async def test_closing_is_told_to_those_who_look(sim: Simulator, tmp_path: Path, what: str) -> None:
    """The client is closed while the list is read: they are told of the doubt, and not that they were cancelled."""
    async with connect(sim, tmp_path / "journal.db") as close:
        sim.fail_next(faults.cut_after(), method="POST")
        with pytest.raises(AmbiguousStartError) as caught:
            await start(close, on_ambiguous="raise")
        sim.fail_next(faults.hang(), method="GET", path="/bulk_action/")

        async def recover() -> None:
            async for found in close.recover():
                assert found.error is not None
                raise found.error

        looks: dict[str, Callable[[], Awaitable[object]]] = {
            "reconcile": lambda: close.reconcile(caught.value.intent.id),
            "the error's reconcile": caught.value.reconcile,
            "recover": recover,
        }
        looking = asyncio.ensure_future(looks[what]())
        await sim.clock.sleep(1)
    with pytest.raises(AmbiguousStartError, match="closed"):
        await looking
