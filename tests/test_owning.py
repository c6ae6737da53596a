"""Whose an intent is: what can be known of its owner, and how a client shows that it lives."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from closebulk_async import JournalError
from closebulk_async.owning import Ownership, Standing
from closebulk_async.sqlite_journal import SqliteJournal
from closebulk_async.testing.chaos.stepping import SteppingJournal
from tests.journals import new_intent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from closebulk_async.journal import Journal
    from closebulk_async.testing import FakeClock

LEASE = 20.0


@pytest.fixture
async def journal(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Journal]:
    """A journal in a file."""
    async with SqliteJournal(tmp_path / "journal.db", clock=clock) as journal:
        yield journal


def owning(journal: Journal, clock: FakeClock) -> Ownership:
    """A client's part in it."""
    return Ownership(journal, clock=clock, lease=LEASE)


class TestStanding:
    """`standing`: what is known of an owner."""

    async def test_of_an_intent_that_has_no_owner(self, journal: Journal, clock: FakeClock) -> None:
        """It is as good as dead."""
        assert await owning(journal, clock).standing(new_intent(owner=None)) is Standing.DEAD

    async def test_of_ones_own(self, journal: Journal, clock: FakeClock) -> None:
        """Busy while the lease lasts, and given up from its very end on."""
        ours = owning(journal, clock)
        intent = new_intent(owner=await ours.name(), leased_until=ours.lease_end())
        assert await ours.standing(intent) is Standing.BUSY
        await clock.sleep(LEASE)
        assert await ours.standing(intent) is Standing.OURS
        assert await ours.standing(new_intent(owner=await ours.name())) is Standing.OURS

    async def test_of_another_ones(self, journal: Journal, clock: FakeClock) -> None:
        """Busy while the lease lasts, and then silent, for however long."""
        ours, theirs = owning(journal, clock), owning(journal, clock)
        intent = new_intent(owner=await theirs.name(), leased_until=theirs.lease_end())
        assert await ours.standing(intent) is Standing.BUSY
        await clock.sleep(LEASE)
        assert await ours.standing(intent) is Standing.SILENT
        await clock.sleep(365 * 86_400)
        assert await ours.standing(intent) is Standing.SILENT

    async def test_of_one_that_has_left(self, journal: Journal, clock: FakeClock) -> None:
        """Dead at once, however long its lease would have lasted."""
        ours, theirs = owning(journal, clock), owning(journal, clock)
        intent = new_intent(owner=await theirs.name(), leased_until=theirs.lease_end())
        await theirs.aclose()
        assert await ours.standing(intent) is Standing.DEAD

    async def test_of_one_whose_process_has_ended(self, tmp_path: Path, journal: Journal, clock: FakeClock) -> None:
        """Dead: its lock is free, although it has not left."""
        async with SqliteJournal(tmp_path / "journal.db", clock=clock) as its_own:
            theirs = owning(its_own, clock)
            intent = new_intent(owner=await theirs.name(), leased_until=theirs.lease_end())
            assert await owning(journal, clock).standing(intent) is Standing.BUSY
        assert await owning(journal, clock).standing(intent) is Standing.DEAD

    async def test_of_one_that_nobody_knows(self, journal: Journal, clock: FakeClock) -> None:
        """Silent: that there is no lock proves nothing."""
        assert await owning(journal, clock).standing(new_intent(owner="nobody")) is Standing.SILENT


class TestNames:
    """`name`: one for each client."""

    async def test_it_stays_the_same(self, journal: Journal, clock: FakeClock) -> None:
        """Also for those that ask at the same time, for the first time."""
        ours = owning(journal, clock)
        assert len(set(await asyncio.gather(*[ours.name() for _ in range(5)], ours.name()))) == 1

    async def test_two_clients(self, journal: Journal, clock: FakeClock) -> None:
        """Have two."""
        assert await owning(journal, clock).name() != await owning(journal, clock).name()

    async def test_one_that_never_asked_leaves_nothing(self, tmp_path: Path, clock: FakeClock) -> None:
        """A client that only reads does not even make the file."""
        path = tmp_path / "journal.db"
        async with SqliteJournal(path, clock=clock) as journal:
            await owning(journal, clock).aclose()
        assert not path.exists()

    async def test_a_journal_that_cannot_be_left(
        self, journal: Journal, clock: FakeClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It is said, and nothing is raised: whoever closes a client has done what he wanted."""

        def fail(step: str) -> None:
            if step == "before leave":
                raise JournalError("no room")

        ours = owning(SteppingJournal(journal, fail), clock)
        await ours.name()
        await ours.aclose()
        assert "could not be left: no room" in caplog.text


class TestRenewing:
    """`renewing`: the lease lasts as long as the block."""

    async def test_during_the_block(self, journal: Journal, clock: FakeClock) -> None:
        """At no moment is there less than two thirds of it left; after the block it runs out."""
        ours = owning(journal, clock)
        intent = await journal.begin(new_intent(owner=await ours.name(), leased_until=ours.lease_end()))
        async with ours.renewing(intent.id):
            for _ in range(100):
                await clock.sleep(1)
                stored = await journal.get(intent.id)
                assert stored is not None
                assert stored.leased_until is not None
                assert stored.leased_until - clock.now() >= timedelta(seconds=LEASE * 2 / 3 - 0.001)
        assert clock.sleepers == 0
        await clock.sleep(LEASE)
        stored = await journal.get(intent.id)
        assert stored is not None
        assert await ours.standing(stored) is Standing.OURS

    async def test_an_intent_of_another_owner(self, journal: Journal, clock: FakeClock) -> None:
        """Its lease is left as it was."""
        ours, theirs = owning(journal, clock), owning(journal, clock)
        intent = await journal.begin(new_intent(owner=await theirs.name(), leased_until=theirs.lease_end()))
        async with ours.renewing(intent.id):
            await clock.sleep(LEASE)
        assert await journal.get(intent.id) == intent

    async def test_a_journal_that_fails(
        self, journal: Journal, clock: FakeClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It is said, and tried again: what is done in the block goes on."""
        broken = True

        def fail(step: str) -> None:
            if broken and step == "before lease":
                raise JournalError("no room")

        ours = owning(SteppingJournal(journal, fail), clock)
        intent = await journal.begin(new_intent(owner=await ours.name(), leased_until=ours.lease_end()))
        async with ours.renewing(intent.id):
            await clock.sleep(LEASE / 2)
            broken = False
            await clock.sleep(LEASE)
            assert await ours.standing(await journal.get(intent.id) or intent) is Standing.BUSY
        warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
        assert warnings == [f"the lease of intent {intent.id} could not be renewed: no room"]

    async def test_what_the_block_raises(self, journal: Journal, clock: FakeClock) -> None:
        """Comes out of it, and nothing goes on behind it."""
        with pytest.raises(ZeroDivisionError):
            async with owning(journal, clock).renewing("1"):
                raise ZeroDivisionError
        assert len(asyncio.all_tasks()) == 1
