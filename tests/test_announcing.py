"""A journal that announces: it keeps every promise of a journal, and tells of each change of a state, once."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from closebulk_async import JournalError, PermissionDeniedError, RetryPolicy
from closebulk_async.announcing import AnnouncingJournal
from closebulk_async.intents import Intent, State
from closebulk_async.journal import KEPT_IN_MEMORY, MemoryJournal
from closebulk_async.simulator import faults
from closebulk_async.sqlite_journal import SqliteJournal
from closebulk_async.telemetry import StartMoved
from closebulk_async.testing.conformance import JournalConformance
from tests.journals import DONE, SCOPE, finished, new_intent, posting, ref_of, started, swapped
from tests.offices import ACTED, KEY, NOT_ACTED, recover, start, start_in_doubt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from closebulk_async import CloseBulk
    from closebulk_async.journal import Journal
    from closebulk_async.telemetry import Event
    from closebulk_async.testing.chaos.programs import JournalFactory
    from tests.offices import Office

NEW, POSTING, STARTED, FINAL = State.NEW, State.POSTING, State.STARTED, State.FINAL


@attrs.define(eq=False)
class Ear:
    """Hears of intents that move."""

    heard: list[Intent] = attrs.field(factory=list)

    def __call__(self, event: Event) -> None:
        """Note it."""
        assert isinstance(event, StartMoved)
        self.heard.append(event.intent)

    @property
    def states(self) -> list[State]:
        """To which states intents have moved since they were last asked for."""
        states = [intent.state for intent in self.heard]
        self.heard.clear()
        return states


@pytest.fixture
def ear() -> Ear:
    """It has heard nothing yet."""
    return Ear()


@pytest.fixture
def journal(ear: Ear) -> Journal:
    """One in memory, announced."""
    return AnnouncingJournal(MemoryJournal(), ear)


class TestAnnounced(JournalConformance):
    """Whoever announces a journal keeps what it promises."""

    @pytest.fixture
    def journal_factory(self, ear: Ear) -> JournalFactory:
        """One in memory."""
        return partial(nullcontext, AnnouncingJournal(MemoryJournal(), ear))


async def open_client(office: Office, ear: Ear, **options: Any) -> CloseBulk:
    """A client on the journal of the office, which announces what this client does."""
    return await office.client(
        journal=AnnouncingJournal(SqliteJournal(office.path, clock=office.clock), ear), **options
    )


class TestStarts:
    """What a client tells of the starts that it makes."""

    async def test_a_start_and_its_end(self, office: Office, ear: Ear) -> None:
        """Each state once, with the intent as it is then."""
        close = await open_client(office, ear)
        office.sim.next_job(duration=5)
        action = await start(close)
        assert len({intent.id for intent in ear.heard}) == 1
        assert [intent.ref for intent in ear.heard] == [None, None, action.ref]
        assert [intent.version for intent in ear.heard] == [0, 1, 2]
        assert ear.states == [NEW, POSTING, STARTED]
        await close.wait_until_done(action)
        assert [intent.ref for intent in ear.heard] == [action.ref]
        assert ear.states == [FINAL]

    async def test_a_key_that_has_its_action(self, office: Office, ear: Ear) -> None:
        """Nothing moves."""
        close = await open_client(office, ear)
        await start(close)
        assert ear.states
        await start(close)
        assert ear.states == []

    async def test_a_429_sends_it_back(self, office: Office, ear: Ear) -> None:
        """It is new once more, and posted once more."""
        close = await open_client(office, ear, retry=RetryPolicy(attempts=3))
        office.sim.fail_next(faults.too_many_requests(), method="POST")
        await start(close)
        assert ear.states == [NEW, POSTING, NEW, POSTING, STARTED]

    @pytest.mark.parametrize(("key", "last"), [(KEY, []), (None, [FINAL])])
    async def test_a_rejection(self, office: Office, ear: Ear, *, key: str | None, last: Sequence[State]) -> None:
        """Nothing ran: with a key it can be asked for again, without one it is over."""
        close = await open_client(office, ear)
        office.sim.fail_next(faults.forbidden(), method="POST")
        with pytest.raises(PermissionDeniedError):
            await start(close, key)
        assert ear.states == [NEW, POSTING, NEW, *last]

    async def test_a_lost_answer(self, office: Office, ear: Ear) -> None:
        """The start finds its action by itself: that it looks for it is no change."""
        close = await open_client(office, ear)
        office.sim.fail_next(ACTED, method="POST")
        await start(close)
        assert ear.states == [NEW, POSTING, STARTED]

    async def test_a_start_that_is_sent_again(self, office: Office, ear: Ear) -> None:
        """Between the two it is new."""
        close = await open_client(office, ear)
        office.sim.fail_next(NOT_ACTED, method="POST")
        await start(close, on_ambiguous="resend")
        assert ear.states == [NEW, POSTING, NEW, POSTING, STARTED]

    async def test_an_equal_start_after_one_in_doubt(self, office: Office, ear: Ear) -> None:
        """Its own intent is over, and the first one is started."""
        close = await open_client(office, ear)
        office.sim.fail_next(ACTED, method="POST")
        first = await start_in_doubt(close, None)
        assert ear.states == [NEW, POSTING]
        await start(close, None)
        assert [intent.id == first.id for intent in ear.heard] == [False, False, True]
        assert ear.states == [NEW, FINAL, STARTED]

    async def test_a_start_that_is_cancelled_before_it_is_sent(self, office: Office, ear: Ear) -> None:
        """It is over."""
        close = await open_client(office, ear)
        office.sim.fail_next(faults.delay(3), method="GET", skip=1)  # the fence, after the account
        task = asyncio.create_task(start(close, None))
        await office.clock.sleep(1)
        task.cancel()
        await asyncio.wait({task})
        assert office.posts == 0
        assert ear.states == [NEW, FINAL]


class TestSettling:
    """What a client tells when it settles what was left open, by itself or another one."""

    @pytest.mark.parametrize(
        ("fault", "key", "states"),
        [(ACTED, KEY, [STARTED]), (NOT_ACTED, KEY, [NEW]), (NOT_ACTED, None, [NEW, FINAL])],
    )
    async def test_recover(
        self, office: Office, ear: Ear, *, fault: faults.Fault, key: str | None, states: Sequence[State]
    ) -> None:
        """It tells what it finds out of the intents of a dead process, and nothing the second time."""
        office.sim.next_job(duration=600)
        office.sim.fail_next(fault, method="POST")
        close = await office.client()
        await start_in_doubt(close, key)
        await office.crash(close)
        close = await open_client(office, ear)
        await recover(close)
        assert ear.states == states
        await recover(close)
        assert ear.states == []

    async def test_recover_of_an_action_that_has_ended(self, office: Office, ear: Ear) -> None:
        """That it has ended is told as well."""
        close = await office.client()
        action = await start(close)
        await office.crash(close)
        await office.clock.sleep(3600)
        await recover(await open_client(office, ear))
        assert [intent.ref for intent in ear.heard] == [action.ref]
        assert ear.states == [FINAL]

    async def test_reconcile(self, office: Office, ear: Ear) -> None:
        """By hand."""
        close = await open_client(office, ear)
        office.sim.fail_next(ACTED, method="POST")
        intent = await start_in_doubt(close)
        assert ear.states == [NEW, POSTING]
        for _ in range(2):
            await close.reconcile(intent.id)
        assert ear.states == [STARTED]

    async def test_adopt_and_abandon(self, office: Office, ear: Ear) -> None:
        """What an operator says moves them too; that it is said once more does not."""
        close = await open_client(office, ear)
        office.sim.fail_next(ACTED, method="POST")
        intent = await start_in_doubt(close)
        assert ear.states == [NEW, POSTING]
        for _ in range(2):
            await close.adopt(intent.id, office.refs[0])
        assert ear.states == [STARTED]
        for _ in range(2):
            await close.abandon(intent.id)
        assert ear.states == [FINAL]


class TestTelling:
    """When it is told, and when not."""

    async def test_a_change_of_something_else(self, journal: Journal, ear: Ear) -> None:
        """An owner, a lease, another body: the state is as it was."""
        intent = await journal.begin(new_intent())
        assert ear.states == [NEW]
        await swapped(journal, intent, owner="another", body=b"{}")
        await journal.lease(intent.id, owner="another", until=intent.created_at)
        assert ear.states == []

    async def test_a_swap_that_fails(self, journal: Journal, ear: Ear) -> None:
        """Nothing has changed."""
        intent = await posting(journal)
        assert ear.states == [NEW, POSTING]
        assert await journal.swap(attrs.evolve(intent, version=7).given_up()) is None
        assert ear.states == []

    async def test_the_end_of_an_action(self, journal: Journal, ear: Ear) -> None:
        """Once, and only of one that an intent has."""
        intent = await started(journal, ref_of(1))
        await finished(journal, ref_of(2))
        assert ear.states == [NEW, POSTING, STARTED, NEW, POSTING, STARTED, FINAL]
        await journal.progress(SCOPE, ref_of(1), DONE, is_final=False)
        await journal.progress("another scope", ref_of(1), DONE, is_final=True)
        await journal.progress(SCOPE, ref_of(3), DONE, is_final=True)
        assert ear.states == []
        for number in (1, 1, 2):
            await journal.progress(SCOPE, ref_of(number), DONE, is_final=True)
        assert [(each.id, each.sighting) for each in ear.heard] == [(intent.id, DONE)]
        assert ear.states == [FINAL]

    @pytest.mark.parametrize("by", ["get", "unfinished", "begin"])
    async def test_the_end_of_an_action_that_was_started_elsewhere(self, ear: Ear, by: str) -> None:
        """It is told when the intent was read here, by whichever method."""
        elsewhere = MemoryJournal()
        intent = await started(elsewhere, idempotency_key=KEY)
        assert intent.ref is not None
        here = AnnouncingJournal(elsewhere, ear)
        if by == "get":
            await here.get(intent.id)
        elif by == "unfinished":
            await here.unfinished(SCOPE)
        else:
            await here.begin(new_intent(idempotency_key=KEY))
        await here.progress(SCOPE, intent.ref, DONE, is_final=True)
        assert ear.states == [FINAL]

    async def test_an_intent_that_cannot_be_read_first(self, ear: Ear) -> None:
        """It moves all the same, and that is told."""
        broken = Unreadable()
        journal = AnnouncingJournal(broken, ear)
        intent = await journal.begin(new_intent())
        assert await journal.swap(intent.given_up()) is not None
        assert ear.states == [NEW, FINAL]

    async def test_an_end_that_cannot_be_read(self, ear: Ear) -> None:
        """It is written all the same, and nobody hears of it."""
        broken = Unreadable()
        journal = AnnouncingJournal(broken, ear)
        await started(journal, ref_of(1))
        assert ear.states == [NEW, POSTING, STARTED]
        await journal.progress(SCOPE, ref_of(1), DONE, is_final=True)
        assert ear.states == []
        assert await broken.unfinished() == []

    async def test_a_bounded_number_of_running_actions_is_known(self, ear: Ear) -> None:
        """The one that was met first is forgotten: its end is not told; that of the next one is."""
        elsewhere = Crowded()
        here = AnnouncingJournal(elsewhere, ear)
        assert len(await here.unfinished()) == KEPT_IN_MEMORY + 1
        for number in (0, 1):
            await here.progress(SCOPE, ref_of(number), DONE, is_final=True)
        assert [intent.ref for intent in ear.heard] == [ref_of(1)]

    async def test_it_closes_and_is_as_durable_as_the_other_one(self, office: Office, ear: Ear) -> None:
        """A closed journal answers nothing."""
        inner = SqliteJournal(office.path, clock=office.clock)
        journal = AnnouncingJournal(inner, ear)
        assert journal.is_durable
        assert not AnnouncingJournal(MemoryJournal(), ear).is_durable
        await journal.aclose()
        with pytest.raises(JournalError):
            await inner.get("any")


class Unreadable(MemoryJournal):
    """It can be written, and no single intent read."""

    async def get(self, id: str) -> Intent | None:
        """Fail."""
        raise JournalError(f"{id} cannot be read")


class Crowded(MemoryJournal):
    """It has one running action more than are known again, and all have ended when they are read one by one."""

    async def unfinished(self, scope: str | None = None, *, fingerprint: str | None = None) -> Sequence[Intent]:
        """All of them, whatever was asked for."""
        assert (scope, fingerprint) == (None, None)
        return [new_intent(id=str(number), state=STARTED, ref=ref_of(number)) for number in range(KEPT_IN_MEMORY + 1)]

    async def get(self, id: str) -> Intent | None:
        """One that has ended."""
        return new_intent(id=id, state=FINAL, ref=ref_of(int(id)))
