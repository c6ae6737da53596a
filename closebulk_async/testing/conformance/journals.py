"""What every journal promises: how starts are written, and how they exclude each other."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import pytest_asyncio

from closebulk_async.intents import Fence, Sighting, State
from closebulk_async.journal import MemoryJournal
from closebulk_async.models import BulkEdit, JobRef, Kind
from closebulk_async.testing.conformance.samples import (
    DONE,
    NOON,
    REF,
    SCOPE,
    finished,
    new_intent,
    posting,
    ref_of,
    started,
    swapped,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from closebulk_async.journal import Journal
    from closebulk_async.testing.chaos.programs import JournalFactory


class _OneJournal:
    """Tests of one journal that is empty at first."""

    pytestmark: pytest.MarkDecorator = pytest.mark.asyncio

    @pytest.fixture
    def journal_factory(self) -> JournalFactory:
        """Opens a journal on a store of this test's own."""
        raise NotImplementedError("give this fixture in the class of your tests")

    @pytest_asyncio.fixture
    async def journal(self, journal_factory: JournalFactory) -> AsyncIterator[Journal]:
        """The journal under test."""
        async with journal_factory() as journal:
            yield journal


class BeginConformance(_OneJournal):
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


class SwapConformance(_OneJournal):
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


class LookingConformance(_OneJournal):
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


class LeaseConformance(_OneJournal):
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


class ProgressConformance(_OneJournal):
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


class OwnersConformance(_OneJournal):
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


FAR_EAST, FAR_WEST = timezone(timedelta(hours=14)), timezone(-timedelta(hours=11, minutes=59))
ODD_VALUES: tuple[dict[str, Any], ...] = (
    {"body": b"", "fingerprint": " ", "scope": "\n"},
    {"body": bytes(range(256)), "idempotency_key": "a'b\"c\\d%s:e{}", "created_by": ""},
    {"idempotency_key": "\u00e9\u0301 \U0001f600 \u200b \uffff", "owner": "\x01\x7f"},
    {"idempotency_key": "k" * 5000, "body": b"x" * 1_000_000},
    {"created_at": datetime(1, 1, 2, tzinfo=FAR_EAST), "leased_until": datetime(9999, 12, 30, tzinfo=FAR_WEST)},
    {"created_at": datetime(2026, 1, 15, 12, 0, 0, 123_456, tzinfo=UTC)},
    {"fence": Fence(ids=frozenset()), "state": State.POSTING},
    {"fence": Fence(ids=frozenset(f"bulkemail_{number}" for number in range(500)), taken_at=NOON)},
    {"sighting": Sighting(status=None, n_objects_processed=None, n_objects=None, at=NOON), "ref": REF},
    {"sighting": Sighting(status="\x00\u2028", n_objects_processed=2**63 - 1, n_objects=-(2**63), at=NOON)},
    {"ref": JobRef(Kind.SEQUENCE_SUBSCRIPTION, "a"), "state": State.FINAL, "version": 2**31},
)


class ContentConformance(_OneJournal):
    """Whatever stands in an intent comes back."""

    @pytest.mark.parametrize("odd", ODD_VALUES, ids=range(len(ODD_VALUES)))
    async def test_it_comes_back_as_it_was_written(self, journal: Journal, odd: dict[str, Any]) -> None:
        """Field for field, after a begin and after a swap."""
        begun = new_intent(**odd)
        assert await journal.begin(begun) == begun
        assert await journal.get(begun.id) == begun
        plain = await swapped(journal, new_intent(id=begun.id, version=begun.version))
        changed = await swapped(journal, attrs.evolve(begun, version=plain.version))
        assert changed == attrs.evolve(begun, version=begun.version + 2)
        assert await journal.get(begun.id) == changed


class OrderConformance(_OneJournal):
    """In whatever order its methods are called."""

    @pytest.mark.parametrize("seed", range(20))
    async def test_it_answers_as_the_journal_in_memory(self, journal: Journal, seed: int) -> None:
        """Step by step, whatever is begun, swapped, leased and noted."""
        chance, memory = Random(seed), MemoryJournal()
        for number in range(30):
            step = _step(chance)
            assert await _take(step, number, journal) == await _take(step, number, memory), step
        assert await _look(journal) == await _look(memory)


class JournalConformance(
    BeginConformance,
    SwapConformance,
    LookingConformance,
    LeaseConformance,
    ProgressConformance,
    OwnersConformance,
    ContentConformance,
    OrderConformance,
):
    """What every journal promises.

    Subclass it, and give it the fixture `journal_factory`::

        import functools

        import pytest

        from closebulk_async import SqliteJournal
        from closebulk_async.testing.conformance import JournalConformance


        class TestSqliteJournal(JournalConformance):
            @pytest.fixture
            def journal_factory(self, tmp_path):
                return functools.partial(SqliteJournal, tmp_path / "journal")

    Each test opens it once. What is opened must be empty at first, and closed at the end of the block.
    """


def _step(chance: Random) -> tuple[Any, ...]:
    """One call of a journal that holds few names, so that they meet."""
    name = partial(chance.choice, "ab")
    match chance.choice(("begin", "begin", "swap", "swap", "swap", "lease", "progress")):
        case "begin":
            key = chance.choice((None, name()))
            return "begin", {"scope": name(), "fingerprint": name(), "idempotency_key": key}
        case "swap":
            odds = {
                "ref": chance.choice((None, ref_of(chance.randrange(3)))),
                "idempotency_key": chance.choice((None, name())),
                "owner": name(),
                "scope": name(),
                "fingerprint": name(),
            }
            changes = {field: value for field, value in odds.items() if chance.random() < 1 / 3}
            return "swap", chance.randrange(10), chance.random() < 0.8, {"state": chance.choice([*State]), **changes}
        case "lease":
            return "lease", chance.randrange(10), name()
        case _:
            return "progress", name(), chance.randrange(3), chance.random() < 0.5


async def _take(step: tuple[Any, ...], number: int, journal: Journal) -> object:
    """One step on one journal, and its answer."""
    match step:
        case "begin", changes:
            return await journal.begin(new_intent(id=str(number), **changes))
        case "swap", which, is_fresh, changes:
            stored = await journal.get(str(which))
            version = stored.version if stored and is_fresh else 1
            return stored and await journal.swap(attrs.evolve(stored, **changes, version=version))
        case "lease", which, owner:
            await journal.lease(str(which), owner=owner, until=NOON)
        case _, scope, which, is_final:
            await journal.progress(scope, ref_of(which), DONE, is_final=is_final)
    return None


async def _look(journal: Journal) -> list[object]:
    """All that can be read of a journal whose names are known."""
    refs = [ref_of(number) for number in range(3)]
    return [
        [await journal.get(str(number)) for number in range(30)],
        await journal.unfinished(),
        [await journal.unfinished(scope, fingerprint=name) for scope in ("a", "b", None) for name in ("a", "b")],
        [await journal.claimed(scope, refs) for scope in ("a", "b")],
    ]
