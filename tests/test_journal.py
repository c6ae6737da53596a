"""What every journal promises, asked of the one in memory and the one in a file; and what the one in memory forgets."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from closebulk_async.intents import Fence, Intent, Sighting, State
from closebulk_async.journal import KEPT_IN_MEMORY, MemoryJournal
from closebulk_async.models import BULK_KINDS, JobRef
from closebulk_async.sqlite_journal import SqliteJournal
from closebulk_async.testing import FakeClock
from closebulk_async.testing.conformance import JournalConformance, SharedJournalConformance
from tests import strategies
from tests.journals import SCOPE, finished, posting, ref_of, started, swapped

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from closebulk_async.journal import Journal
    from closebulk_async.testing.chaos.programs import JournalFactory


class TestMemory(JournalConformance):
    """The journal in memory."""

    @pytest.fixture
    def journal_factory(self) -> JournalFactory:
        """One for the test: each has a store of its own."""
        return partial(nullcontext, MemoryJournal())


class TestFile(SharedJournalConformance):
    """The journal in a file."""

    @pytest.fixture
    def journal_factory(self, tmp_path: Path) -> JournalFactory:
        """One after the other, or several at once, on one path."""
        return partial(SqliteJournal, tmp_path / "journal.db")


@pytest.mark.parametrize(("journal", "is_durable"), [(MemoryJournal(), False), (SqliteJournal("journal.db"), True)])
def test_a_journal_says_whether_it_outlives_the_process(journal: Journal, is_durable: bool) -> None:  # noqa: FBT001 - a parameter of pytest
    """Only the one in a file does."""
    assert journal.is_durable is is_durable


MOMENTS = st.datetimes(timezones=strategies.zones)
TEXTS = strategies.texts.filter(bool)
FENCES = st.builds(Fence, ids=st.frozensets(strategies.ids, max_size=3), taken_at=st.none() | MOMENTS)
SIGHTINGS = st.builds(
    Sighting,
    status=st.none() | strategies.texts,
    n_objects_processed=st.none() | strategies.integers,
    n_objects=st.none() | strategies.integers,
    at=MOMENTS,
)
REFS: st.SearchStrategy[JobRef[Any]] = st.builds(JobRef, st.sampled_from(BULK_KINDS), strategies.ids)
INTENTS = st.builds(
    Intent,
    id=TEXTS,
    scope=TEXTS,
    kind=st.sampled_from(BULK_KINDS),
    body=st.binary(),
    fingerprint=TEXTS,
    created_at=MOMENTS,
    idempotency_key=st.none() | TEXTS,
    created_by=st.none() | TEXTS,
    state=st.sampled_from(State),
    owner=st.none() | TEXTS,
    leased_until=st.none() | MOMENTS,
    fence=st.none() | FENCES,
    ref=st.none() | REFS,
    sighting=st.none() | SIGHTINGS,
    version=st.integers(0, 2**31),
)


@settings(deadline=None)
@given(begun=INTENTS, after=INTENTS)
def test_every_intent_comes_back_from_a_file_as_it_was_written(begun: Intent, after: Intent) -> None:
    """Field for field, after a begin and after a swap, whatever stands in it."""

    async def write_and_read(folder: str) -> None:
        async with SqliteJournal(Path(folder, "journal.db"), clock=FakeClock()) as journal:
            assert await journal.begin(begun) == begun
            assert await journal.get(begun.id) == begun
            changed = await swapped(journal, attrs.evolve(after, id=begun.id, version=begun.version))
            assert changed == attrs.evolve(after, id=begun.id, version=begun.version + 1)
            assert await journal.get(begun.id) == changed

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(write_and_read(folder))


@pytest.mark.parametrize("settle", [started, finished])
async def test_memory_keeps_a_bounded_number_of_settled_intents(
    settle: Callable[[MemoryJournal, JobRef[Any]], Awaitable[Intent]],
) -> None:
    """Started or ended, the oldest goes, with its ref; one whose outcome is unknown never does."""
    journal = MemoryJournal()
    still_open = await posting(journal)
    oldest = await settle(journal, ref_of(1))
    for number in range(2, KEPT_IN_MEMORY + 2):
        await settle(journal, ref_of(number))
    assert await journal.get(oldest.id) is None
    assert await journal.claimed(SCOPE, [ref_of(1), ref_of(2)]) == {ref_of(2)}
    assert (await journal.unfinished())[0] == still_open


async def test_memory_keeps_what_was_final_and_is_open_again() -> None:
    """However many end after it."""
    journal = MemoryJournal()
    given_up = await finished(journal, ref_of(0))
    reopened = await swapped(journal, given_up, state=State.POSTING, ref=None)
    for number in range(1, KEPT_IN_MEMORY + 2):
        await finished(journal, ref_of(number))
    assert await journal.unfinished() == [reopened]


async def test_owners_of_a_closed_memory_are_dead() -> None:
    """Nobody else could ask, and nothing runs on."""
    journal = MemoryJournal()
    owner = await journal.enter()
    await journal.aclose()
    assert await journal.is_dead(owner)


async def test_memory_keeps_a_bounded_number_of_dead_owners() -> None:
    """Of the oldest nothing is proved any more."""
    journal = MemoryJournal()
    owners = [await journal.enter() for _ in range(KEPT_IN_MEMORY + 1)]
    for owner in owners:
        await journal.leave(owner)
    assert [await journal.is_dead(owner) for owner in (owners[0], owners[1], owners[-1])] == [False, True, True]
