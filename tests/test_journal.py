"""What every journal promises, asked of each: the one in memory and the one in a file."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from closebulk_async.intents import Fence, Intent, Sighting, State
from closebulk_async.journal import KEPT_IN_MEMORY, Journal, MemoryJournal
from closebulk_async.models import BULK_KINDS, BulkEdit, JobRef, Kind
from closebulk_async.sqlite_journal import SqliteJournal
from closebulk_async.testing import FakeClock
from tests import strategies
from tests.journals import DONE, NOON, REF, SCOPE, finished, new_intent, posting, ref_of, started, swapped

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

STORES = ("memory", "sqlite")


@asynccontextmanager
async def opened(store: str, folder: Path) -> AsyncIterator[Journal]:
    """A journal of that name, in a folder of its own."""
    journal: Journal = MemoryJournal() if store == "memory" else SqliteJournal(folder / "journal.db", clock=FakeClock())
    try:
        yield journal
    finally:
        await journal.aclose()


@pytest.fixture(params=STORES)
async def journal(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Journal]:
    """Each of the journals, empty."""
    async with opened(request.param, tmp_path) as journal:
        yield journal


@pytest.mark.parametrize(("store", "is_durable"), [("memory", False), ("sqlite", True)])
async def test_a_journal_says_whether_it_outlives_the_process(store: str, is_durable: bool, tmp_path: Path) -> None:  # noqa: FBT001 - a parameter of pytest
    """Only the one in a file does."""
    async with opened(store, tmp_path) as journal:
        assert journal.is_durable is is_durable


class TestBegin:
    """`begin` writes an intent down, once for each key."""

    async def test_what_is_begun_can_be_read(self, journal: Journal) -> None:
        """By its id, as it was written; another id has none."""
        intent = new_intent(idempotency_key="campaign", created_by="user_1")
        assert await journal.begin(intent) == intent
        assert await journal.get(intent.id) == intent
        assert await journal.get("another") is None

    async def test_a_key_has_one_intent(self, journal: Journal) -> None:
        """A second begin returns the first intent, as it is now, and writes nothing."""
        first = await journal.begin(new_intent(idempotency_key="campaign"))
        now = await swapped(journal, first, state=State.POSTING)
        second = new_intent(idempotency_key="campaign")
        assert await journal.begin(second) == now
        assert await journal.get(second.id) is None
        assert await journal.get(first.id) == now

    async def test_a_key_counts_in_its_scope_alone(self, journal: Journal) -> None:
        """Another organization may use the same."""
        first = await journal.begin(new_intent(idempotency_key="campaign"))
        other = new_intent(idempotency_key="campaign", scope="elsewhere")
        assert await journal.begin(other) == other
        assert await journal.get(first.id) == first

    async def test_intents_without_a_key_are_many(self, journal: Journal) -> None:
        """Also where they ask for the same."""
        intents = [new_intent(fingerprint="same") for _ in range(3)]
        assert [await journal.begin(intent) for intent in intents] == intents
        assert await journal.unfinished() == intents

    async def test_a_key_stays_when_its_action_has_ended(self, journal: Journal) -> None:
        """A repeat finds the action that there was."""
        ended = await finished(journal, idempotency_key="campaign")
        assert await journal.begin(new_intent(idempotency_key="campaign")) == ended

    async def test_fifty_at_once_with_one_key_have_one_intent(self, journal: Journal) -> None:
        """All get the same one."""
        begun = await asyncio.gather(*(journal.begin(new_intent(idempotency_key="campaign")) for _ in range(50)))
        assert len({intent.id for intent in begun}) == 1
        assert await journal.unfinished() == begun[:1]


class TestSwap:
    """`swap` writes all of an intent, or nothing."""

    async def test_it_counts_the_version_and_writes(self, journal: Journal) -> None:
        """What is returned is what is stored: the values that were given, and the next version."""
        intent = await journal.begin(new_intent())
        changed = attrs.evolve(intent, state=State.POSTING, owner="somebody", leased_until=NOON, body=b"{}")
        after = await journal.swap(changed)
        assert after == attrs.evolve(changed, version=1)
        assert await journal.get(intent.id) == after

    async def test_a_stale_version_changes_nothing(self, journal: Journal) -> None:
        """Of two that read the same, one writes."""
        intent = await journal.begin(new_intent())
        after = await swapped(journal, intent, owner="first")
        assert await journal.swap(attrs.evolve(intent, owner="second")) is None
        assert await journal.swap(attrs.evolve(intent, owner="second", version=2)) is None
        assert await journal.get(intent.id) == after

    async def test_one_of_many_at_once_writes(self, journal: Journal) -> None:
        """The others are told so."""
        intent = await journal.begin(new_intent())
        tries = [journal.swap(attrs.evolve(intent, owner=str(number), state=State.POSTING)) for number in range(20)]
        (won,) = [after for after in await asyncio.gather(*tries) if after is not None]
        assert await journal.get(intent.id) == won

    async def test_an_intent_that_was_never_begun_is_not_written(self, journal: Journal) -> None:
        """Swap is no way to begin."""
        intent = new_intent()
        assert await journal.swap(intent) is None
        assert await journal.get(intent.id) is None

    async def test_one_of_a_fingerprint_is_posting(self, journal: Journal) -> None:
        """The next one may when the first is settled; until then nothing of it is written."""
        first = await posting(journal, fingerprint="same")
        second = await journal.begin(new_intent(fingerprint="same"))
        assert await journal.swap(attrs.evolve(second, state=State.POSTING)) is None
        assert await journal.get(second.id) == second
        await swapped(journal, first, owner="the same one, again")
        assert await journal.swap(attrs.evolve(second, state=State.POSTING)) is None
        now = await journal.get(first.id)
        assert now is not None
        await swapped(journal, now, state=State.NEW)
        await swapped(journal, second, state=State.POSTING)

    async def test_other_fingerprints_and_scopes_post_meanwhile(self, journal: Journal) -> None:
        """Only equal starts of one organization wait for each other."""
        await posting(journal, fingerprint="same")
        await posting(journal, fingerprint="other")
        await posting(journal, fingerprint="same", scope="elsewhere")

    async def test_a_ref_belongs_to_one_intent_of_its_scope(self, journal: Journal) -> None:
        """An action that another intent started cannot be adopted, not even when it has ended."""
        await finished(journal, REF)
        second = await posting(journal)
        assert await journal.swap(attrs.evolve(second, state=State.STARTED, ref=REF)) is None
        assert await journal.get(second.id) == second
        same_id: JobRef[BulkEdit] = JobRef(Kind.EDIT, REF.id)
        await swapped(journal, second, state=State.STARTED, ref=same_id)
        await started(journal, REF, scope="elsewhere")

    async def test_a_ref_that_was_given_up_is_free(self, journal: Journal) -> None:
        """The next intent may have it."""
        first = await started(journal, REF)
        await swapped(journal, first, state=State.FINAL, ref=None)
        await started(journal, REF)

    async def test_a_key_of_another_intent_is_not_taken(self, journal: Journal) -> None:
        """Nor does a key change hands in silence; one that was given up is free."""
        first = await journal.begin(new_intent(idempotency_key="campaign"))
        second = await journal.begin(new_intent())
        assert await journal.swap(attrs.evolve(second, idempotency_key="campaign")) is None
        assert await journal.get(second.id) == second
        await swapped(journal, first, idempotency_key=None)
        await swapped(journal, second, idempotency_key="campaign")


class TestLooking:
    """`claimed` and `unfinished` read many intents."""

    async def test_refs_of_intents_are_claimed(self, journal: Journal) -> None:
        """Those of any state, in their scope, among thousands that were asked for."""
        await started(journal, ref_of(1))
        await finished(journal, ref_of(2))
        await started(journal, ref_of(3), scope="elsewhere")
        asked = [ref_of(number) for number in range(40_000)]
        assert await journal.claimed(SCOPE, asked) == {ref_of(1), ref_of(2)}
        assert await journal.claimed(SCOPE, [ref_of(2), JobRef(Kind.EDIT, "bulkemail_1")]) == {ref_of(2)}
        assert await journal.claimed(SCOPE, []) == frozenset()

    async def test_open_intents_are_unfinished_oldest_first(self, journal: Journal) -> None:
        """In the order in which they were begun, whatever was done with them since."""
        first = await journal.begin(new_intent())
        await finished(journal)
        second, third = await posting(journal), await started(journal, ref_of(3))
        first = await swapped(journal, first, owner="somebody")
        assert await journal.unfinished() == [first, second, third]

    async def test_unfinished_of_a_scope_or_a_fingerprint(self, journal: Journal) -> None:
        """Both narrow what is returned, alone and together."""
        here = await journal.begin(new_intent(fingerprint="same"))
        other = await journal.begin(new_intent(fingerprint="other"))
        there = await journal.begin(new_intent(fingerprint="same", scope="elsewhere"))
        assert await journal.unfinished(SCOPE) == [here, other]
        assert await journal.unfinished(fingerprint="same") == [here, there]
        assert await journal.unfinished("elsewhere", fingerprint="same") == [there]
        assert await journal.unfinished("elsewhere", fingerprint="other") == []


class TestLease:
    """`lease` prolongs what an owner has."""

    async def test_the_owner_prolongs_and_the_version_stays(self, journal: Journal) -> None:
        """So that a renewal meanwhile spoils no step."""
        intent = await posting(journal, owner="me", leased_until=NOON)
        later = NOON.replace(hour=13)
        await journal.lease(intent.id, owner="me", until=later)
        assert await journal.get(intent.id) == attrs.evolve(intent, leased_until=later)
        await swapped(journal, intent, state=State.NEW)

    async def test_nobody_else_does(self, journal: Journal) -> None:
        """Nor does an intent that is not there matter."""
        intent = await posting(journal, owner="me", leased_until=NOON)
        await journal.lease(intent.id, owner="you", until=NOON.replace(hour=13))
        await journal.lease("another", owner="me", until=NOON.replace(hour=13))
        assert await journal.get(intent.id) == intent


class TestProgress:
    """`progress` notes what a poll read."""

    async def test_the_last_known_state_is_kept(self, journal: Journal) -> None:
        """With the next version; the intent stays started."""
        intent = await started(journal)
        await journal.progress(SCOPE, REF, DONE, is_final=False)
        assert await journal.get(intent.id) == attrs.evolve(intent, sighting=DONE, version=intent.version + 1)

    async def test_the_last_one_makes_it_final(self, journal: Journal) -> None:
        """It is unfinished no more, and a step that was read before is stale."""
        intent = await started(journal)
        await journal.progress(SCOPE, REF, DONE, is_final=True)
        assert await journal.unfinished() == []
        assert await journal.swap(intent) is None
        await journal.progress(SCOPE, REF, DONE, is_final=False)
        now = await journal.get(intent.id)
        assert now is not None
        assert (now.state, now.ref, now.sighting) == (State.FINAL, REF, DONE)

    async def test_actions_of_others_are_not_noted(self, journal: Journal) -> None:
        """Another scope, another kind or another id is somebody else's."""
        intent = await started(journal)
        await journal.progress("elsewhere", REF, DONE, is_final=True)
        await journal.progress(SCOPE, JobRef(Kind.EDIT, REF.id), DONE, is_final=True)
        await journal.progress(SCOPE, ref_of(2), DONE, is_final=True)
        assert await journal.get(intent.id) == intent


class TestOwners:
    """An owner lives until it leaves."""

    async def test_an_owner_is_dead_when_it_has_left(self, journal: Journal) -> None:
        """Others live on; who leaves twice is no less dead."""
        first, second = await journal.enter(), await journal.enter()
        assert first != second
        assert not await journal.is_dead(first)
        await journal.leave(first)
        await journal.leave(first)
        assert await journal.is_dead(first)
        assert not await journal.is_dead(second)

    async def test_of_a_stranger_nothing_is_proved(self, journal: Journal) -> None:
        """Also when somebody said for it that it left."""
        await journal.leave("a stranger")
        assert not await journal.is_dead("a stranger")


NAMES = st.sampled_from(["a", "b"])
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


@pytest.mark.parametrize("store", STORES)
@settings(deadline=None)
@given(begun=INTENTS, after=INTENTS)
def test_every_intent_comes_back_as_it_was_written(store: str, begun: Intent, after: Intent) -> None:
    """Field for field, after a begin and after a swap, whatever stands in it."""

    async def write_and_read(folder: str) -> None:
        async with opened(store, Path(folder)) as journal:
            assert await journal.begin(begun) == begun
            assert await journal.get(begun.id) == begun
            changed = await swapped(journal, attrs.evolve(after, id=begun.id, version=begun.version))
            assert changed == attrs.evolve(after, id=begun.id, version=begun.version + 1)
            assert await journal.get(begun.id) == changed

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(write_and_read(folder))


STEPS: st.SearchStrategy[tuple[Any, ...]] = st.one_of(
    st.tuples(st.just("begin"), st.builds(dict, scope=NAMES, fingerprint=NAMES, idempotency_key=st.none() | NAMES)),
    st.tuples(
        st.just("swap"),
        st.integers(0, 5),
        st.integers(0, 3),
        st.fixed_dictionaries(
            {"state": st.sampled_from(State)},
            optional={
                "ref": st.none() | st.builds(ref_of, st.integers(0, 2)),
                "idempotency_key": st.none() | NAMES,
                "owner": NAMES,
                "scope": NAMES,
                "fingerprint": NAMES,
            },
        ),
    ),
    st.tuples(st.just("lease"), st.integers(0, 5), NAMES),
    st.tuples(st.just("progress"), NAMES, st.integers(0, 2), st.booleans()),
)


async def take(step: tuple[Any, ...], number: int, journal: Journal) -> object:
    """One step on one journal, and its answer."""
    match step:
        case "begin", changes:
            return await journal.begin(new_intent(id=str(number), **changes))
        case "swap", which, version, changes:
            stored = await journal.get(str(which))
            return stored and await journal.swap(attrs.evolve(stored, **changes, version=version))
        case "lease", which, owner:
            await journal.lease(str(which), owner=owner, until=NOON)
        case _, scope, which, is_final:
            await journal.progress(scope, ref_of(which), DONE, is_final=is_final)
    return None


async def look(journal: Journal) -> list[object]:
    """All that can be read of a journal whose names are known."""
    refs = [ref_of(number) for number in range(3)]
    return [
        [await journal.get(str(number)) for number in range(12)],
        await journal.unfinished(),
        [await journal.unfinished(scope, fingerprint=name) for scope in ("a", "b", None) for name in ("a", "b")],
        [await journal.claimed(scope, refs) for scope in ("a", "b")],
    ]


@settings(deadline=None)
@given(st.lists(STEPS, max_size=12))
def test_both_journals_give_the_same_answers(steps: list[tuple[Any, ...]]) -> None:
    """Step by step, whatever is begun, swapped, leased and noted, and in what order."""

    async def compare(folder: str) -> None:
        async with opened("memory", Path()) as memory, opened("sqlite", Path(folder)) as file:
            for number, step in enumerate(steps):
                assert await take(step, number, memory) == await take(step, number, file)
            assert await look(memory) == await look(file)

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(compare(folder))


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
