"""What a journal promises that several processes share: who is dead, and that each start happens once."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import attrs
import pytest
import pytest_asyncio

from closebulk_async.errors import JournalError
from closebulk_async.intents import State
from closebulk_async.models import BULK_KINDS, Kind
from closebulk_async.simulator import Plan, Simulator, faults
from closebulk_async.testing.chaos.children import running, until
from closebulk_async.testing.chaos.programs import (
    RESCUER,
    enter_and_wait,
    recover_and_die,
    start_and_stop,
    start_and_wait,
    start_when_told,
    try_to_start,
)
from closebulk_async.testing.chaos.rescuing import make_scene, rescue
from closebulk_async.testing.conformance.journals import JournalConformance
from closebulk_async.testing.conformance.samples import new_intent, posting, swapped

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from closebulk_async.journal import Journal
    from closebulk_async.simulator.faults import Fault
    from closebulk_async.testing.chaos.children import Child
    from closebulk_async.testing.chaos.programs import JournalFactory, Scene

KILLED = -9
"""The exit code of SIGKILL, a name that Windows does not have, where this module must still be imported."""

LEASE = 0.2
"""Seconds after which a process that is stopped counts as silent."""

POINTS: dict[str, tuple[Fault | None, str, int]] = {
    "before it has a lock": (None, "before enter", 0),
    "before the intent": (None, "before begin", 0),
    "after the intent": (None, "after begin", 0),
    "before the intent is posting": (None, "before swap to posting", 0),
    "before the POST leaves": (None, "after swap to posting", 0),
    "after the response": (None, "before swap to started", 1),
    "after the ref": (None, "after swap to started", 1),
    "before the first poll is written": (None, "before progress", 1),
    "after the first poll is written": (None, "after progress", 1),
    "while it looks for a lost answer": (faults.cut_after(), "before claimed", 1),
    "before it adopts": (faults.server_error(503, acts=True), "before swap to started", 1),
    "after it has adopted": (faults.cut_after(), "after swap to started", 1),
    "while it looks for what was never received": (faults.cut_before(), "before get", 0),
}
"""The fault of the POST, the step of the journal, and how many jobs the server has made by then."""


class _Shared(JournalConformance):
    """Tests of a store that several processes share."""

    @pytest_asyncio.fixture
    async def real_simulator(self) -> AsyncIterator[Simulator]:
        """A simulator in real time, for other processes."""
        async with Simulator(plan=Plan(duration=0.1, n_objects=3)) as simulator:
            yield simulator


class SharingConformance(_Shared):
    """Several journals on one store."""

    async def test_it_outlives_the_process(self, journal: Journal) -> None:
        """And says so: only then may a start have an idempotency key."""
        assert journal.is_durable

    async def test_what_one_writes_another_reads(self, journal: Journal, journal_factory: JournalFactory) -> None:
        """At once, and also when the first is closed."""
        async with journal_factory() as other:
            intent = await posting(other, idempotency_key="campaign")
            assert await journal.get(intent.id) == intent
        assert await journal.begin(new_intent(idempotency_key="campaign")) == intent
        assert await journal.swap(attrs.evolve(intent, version=0)) is None

    async def test_many_that_are_opened_at_once_have_one_intent_of_a_key(self, journal_factory: JournalFactory) -> None:
        """However new the store is."""
        async with AsyncExitStack() as stack:
            journals = [await stack.enter_async_context(journal_factory()) for _ in range(12)]
            begun = await asyncio.gather(*(each.begin(new_intent(idempotency_key="campaign")) for each in journals))
        assert len({intent.id for intent in begun}) == 1

    async def test_one_of_a_fingerprint_is_posting_over_all_of_them(self, journal_factory: JournalFactory) -> None:
        """Whoever is quicker."""
        async with AsyncExitStack() as stack:
            journals = [await stack.enter_async_context(journal_factory()) for _ in range(8)]
            begun = [await each.begin(new_intent(fingerprint="same")) for each in journals]
            steps = [
                each.swap(attrs.evolve(intent, state=State.POSTING))
                for each, intent in zip(journals, begun, strict=True)
            ]
            assert sum(after is not None for after in await asyncio.gather(*steps)) == 1

    async def test_a_cancelled_call_has_its_effect(self, journal: Journal) -> None:
        """It is cancelled, and what it was to write is there."""
        intent = await journal.begin(new_intent())
        step = asyncio.create_task(journal.swap(attrs.evolve(intent, state=State.POSTING)))
        await asyncio.sleep(0)
        step.cancel()
        with pytest.raises(asyncio.CancelledError):
            await step
        stored = await journal.get(intent.id)
        assert stored is not None
        assert stored.state is State.POSTING

    async def test_a_closed_journal_says_so(self, journal_factory: JournalFactory) -> None:
        """Closing may be repeated; what was under way is finished first."""
        intent = new_intent()
        async with journal_factory() as journal:
            await journal.enter()
            step = asyncio.create_task(journal.begin(intent))
            await asyncio.sleep(0)
            await journal.aclose()
            assert await step == intent
        with pytest.raises(JournalError):
            await journal.get(intent.id)
        async with journal_factory() as another:
            assert await another.get(intent.id) == intent


class DeathConformance(_Shared):
    """What proves that an owner is dead, and what does not."""

    async def test_an_owner_of_another_journal_lives_until_it_leaves(
        self, journal: Journal, journal_factory: JournalFactory
    ) -> None:
        """However many ask at once."""
        owner = await journal.enter()
        async with journal_factory() as one, journal_factory() as two:
            asked = [each.is_dead(owner) for each in (journal, one, two) for _ in range(4)]
            assert not any(await asyncio.gather(*asked))
            await journal.leave(owner)
            assert await one.is_dead(owner)
            assert await two.is_dead(owner)

    async def test_closing_proves_that_the_owners_are_dead(
        self, journal: Journal, journal_factory: JournalFactory
    ) -> None:
        """Those that had not left before."""
        async with journal_factory() as other:
            owner = await other.enter()
            assert not await journal.is_dead(owner)
        assert await journal.is_dead(owner)
        assert await journal.is_dead(owner)

    async def test_nobody_leaves_for_another_one(self, journal: Journal, journal_factory: JournalFactory) -> None:
        """An owner that entered elsewhere lives on."""
        owner = await journal.enter()
        async with journal_factory() as other:
            await other.leave(owner)
            assert not await other.is_dead(owner)

    async def test_a_killed_process_is_dead_and_a_stopped_one_is_not(
        self, journal: Journal, journal_factory: JournalFactory, real_simulator: Simulator
    ) -> None:
        """However long it says nothing. Where it goes on it lives as before."""
        async with running(enter_and_wait, make_scene(real_simulator, journal_factory)) as child:
            owner = await child.hear()
            intent = await posting(journal, owner=owner)
            os.kill(child.pid, signal.SIGSTOP)
            assert not any([await journal.is_dead(owner) for _ in range(20)])
            os.kill(child.pid, signal.SIGCONT)
            child.tell("wake up")
            assert await child.hear() == "awake"
            assert not await journal.is_dead(owner)
            child.process.kill()
            assert await child.ended() == KILLED
            while not await journal.is_dead(owner):  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.1)
        assert await journal.get(intent.id) == intent, "nobody but the next client changes it"
        await swapped(journal, intent, state=State.NEW)
        assert await journal.is_dead(owner), "what is proved stays so"


class RacingConformance(_Shared):
    """Several clients on one store: a key is one job, whoever is quicker, stopped or gone."""

    @pytest.mark.parametrize("fault", ["none", "cut_after", "503", "429"])
    async def test_one_key_in_two_processes(
        self, real_simulator: Simulator, journal_factory: JournalFactory, fault: str
    ) -> None:
        """At the same moment, again and again, also where the answer to the POST is lost: one job each."""
        each_time = {
            "cut_after": faults.cut_after(),
            "503": faults.server_error(503, acts=True),
            "429": faults.too_many_requests(retry_after=0),
        }.get(fault)
        refs = []
        async with AsyncExitStack() as stack:
            children = await _start_together(stack, make_scene(real_simulator, journal_factory), 2)
            for number in range(20 if each_time is None else 3):
                if each_time is not None:
                    real_simulator.fail_next(each_time, method="POST")
                (ref,), (other,) = await _tell_all(children, [f"campaign {number}"])
                assert ref == other
                refs.append(ref)
        assert refs == [f"email:{job.id}" for job in real_simulator.jobs]

    async def test_many_keys_in_four_processes(
        self, real_simulator: Simulator, journal_factory: JournalFactory
    ) -> None:
        """All at once: each key is one job, and all are told of the same."""
        keys = [f"campaign {number}" for number in range(25)]
        async with AsyncExitStack() as stack:
            children = await _start_together(stack, make_scene(real_simulator, journal_factory), 4)
            first, *others = await _tell_all(children, keys)
        assert others == [first] * 3
        assert sorted(first) == sorted(f"email:{job.id}" for job in real_simulator.jobs)
        assert len(set(first)) == len(keys)

    async def test_one_that_is_stopped_before_it_sends(
        self, real_simulator: Simulator, journal_factory: JournalFactory
    ) -> None:
        """It is silent and not dead: another one refuses to send in its place. It goes on to the only job."""
        scene = make_scene(real_simulator, journal_factory, lease=LEASE)
        async with running(start_and_stop, scene, "after swap to posting") as stopped:
            assert await stopped.hear() == "after swap to posting"
            async with running(try_to_start, scene) as other:
                assert await other.hear() == "AmbiguousStartError"
            assert _posts(real_simulator) == 0
            os.kill(stopped.pid, signal.SIGCONT)
            ref = await stopped.hear()
        async with running(try_to_start, scene) as other:
            assert await other.hear() == ref
        assert [f"email:{job.id}" for job in real_simulator.jobs] == [ref]

    async def test_one_that_is_stopped_after_it_has_sent(
        self, real_simulator: Simulator, journal_factory: JournalFactory
    ) -> None:
        """Another one finds its job and takes it for the key's; the first, when it goes on, is told of the same."""
        scene = make_scene(real_simulator, journal_factory, lease=LEASE)
        async with running(start_and_stop, scene, "before swap to started") as stopped:
            assert await stopped.hear() == "before swap to started"
            async with running(try_to_start, scene) as other:
                ref = await other.hear()
            assert [f"email:{job.id}" for job in real_simulator.jobs] == [ref]
            os.kill(stopped.pid, signal.SIGCONT)
            assert await stopped.hear() == ref
        assert len(real_simulator.jobs) == 1

    async def test_one_that_is_stopped_while_it_looks(
        self, real_simulator: Simulator, journal_factory: JournalFactory
    ) -> None:
        """Its answer was lost, and another one adopts its job before it can: it takes that for its own."""
        real_simulator.fail_next(faults.cut_after(), method="POST")
        scene = make_scene(real_simulator, journal_factory, lease=LEASE)
        async with running(start_and_stop, scene, "after claimed") as stopped:
            assert await stopped.hear() == "after claimed"
            async with running(try_to_start, scene) as other:
                ref = await other.hear()
            os.kill(stopped.pid, signal.SIGCONT)
            assert await stopped.hear() == ref
        assert [f"email:{job.id}" for job in real_simulator.jobs] == [ref]

    async def test_one_that_is_killed_while_another_waits_for_it(
        self, real_simulator: Simulator, journal_factory: JournalFactory
    ) -> None:
        """The other one learns at once that it is dead, looks for its job, finds none, and starts the only one."""
        scene = make_scene(real_simulator, journal_factory)
        async with running(start_and_stop, scene, "after swap to posting") as stopped:
            assert await stopped.hear() == "after swap to posting"
            async with running(try_to_start, scene) as other:
                await until(lambda: real_simulator.requests[-1].headers["user-agent"] == RESCUER)
                stopped.process.kill()
                ref = await other.hear()
        assert [f"email:{job.id}" for job in real_simulator.jobs] == [ref]


class CrashConformance(_Shared):
    """A process is killed at a step of a start or of a wait: another one recovers, and starts once more."""

    @pytest.mark.parametrize("name", POINTS)
    async def test_killed_at_a_step_of_the_journal(
        self, real_simulator: Simulator, journal_factory: JournalFactory, name: str
    ) -> None:
        """The job of the killed one is found and stays the only one; where there is none, it is started."""
        fault, point, jobs = POINTS[name]
        scene = make_scene(real_simulator, journal_factory)
        if fault is not None:
            real_simulator.fail_next(fault, method="POST")
        async with running(start_and_wait, scene, point) as victim:
            heard = dict(await victim.hear_all())
            assert heard["dies"] == point
            assert await victim.ended() == KILLED
        outcome = await rescue(real_simulator, scene, known=0, told=heard.get("started"))
        assert outcome.is_well, outcome
        assert outcome.jobs == jobs

    @pytest.mark.parametrize("kind", BULK_KINDS)
    async def test_killed_after_the_server_has_committed(
        self, real_simulator: Simulator, journal_factory: JournalFactory, kind: Kind
    ) -> None:
        """The answer is still under way: its job is found, although an equal one was there before."""
        real_simulator.fail_next(faults.hang(acts=True), method="POST", skip=1)
        async with running(
            start_and_wait, make_scene(real_simulator, journal_factory, kind, key="another"), None
        ) as earlier:
            assert await earlier.ended() == 0
        scene = make_scene(real_simulator, journal_factory, kind)
        async with running(start_and_wait, scene, None) as victim:
            await until(lambda: len(real_simulator.jobs) == 2)
            victim.process.kill()
            assert await victim.ended() == KILLED
        outcome = await rescue(real_simulator, scene, known=1)
        assert outcome.is_well, outcome
        assert outcome.jobs == 1

    async def test_killed_while_it_polls(self, real_simulator: Simulator, journal_factory: JournalFactory) -> None:
        """The job runs on, and the second process is given it to wait for."""
        real_simulator.next_job(duration=3600)
        scene = make_scene(real_simulator, journal_factory)
        async with running(start_and_wait, scene, None) as victim:
            _, ref = await victim.hear()
            await until(
                lambda: sum(real_simulator.jobs[0].id in request.path for request in real_simulator.requests) > 2
            )
            victim.process.kill()
            assert await victim.ended() == KILLED
        outcome = await rescue(real_simulator, scene, known=0, told=ref)
        assert outcome.is_well, outcome
        assert outcome.jobs == 1

    @pytest.mark.parametrize(
        "point", ["before unfinished", "before claimed", "before swap to started", "after progress"]
    )
    async def test_who_recovers_is_killed_as_well(
        self, real_simulator: Simulator, journal_factory: JournalFactory, point: str
    ) -> None:
        """The third process finds what the first has started."""
        scene = make_scene(real_simulator, journal_factory)
        async with running(start_and_wait, scene, "before swap to started") as victim:
            assert await victim.ended() == KILLED
        async with running(recover_and_die, scene, point) as rescuer:
            assert await rescuer.ended() == KILLED
        outcome = await rescue(real_simulator, scene, known=0)
        assert outcome.is_well, outcome
        assert outcome.jobs == 1

    async def test_killed_when_nothing_was_sent_and_nothing_found(
        self, real_simulator: Simulator, journal_factory: JournalFactory
    ) -> None:
        """The one that recovers is killed before it says so: the next one comes to the same end."""
        scene = make_scene(real_simulator, journal_factory)
        async with running(start_and_wait, scene, "after swap to posting") as victim:
            assert await victim.ended() == KILLED
        async with running(recover_and_die, scene, "before swap to new") as rescuer:
            assert await rescuer.ended() == KILLED
        outcome = await rescue(real_simulator, scene, known=0)
        assert outcome.is_well, outcome
        assert outcome.jobs == 0


class SharedJournalConformance(SharingConformance, DeathConformance, RacingConformance, CrashConformance):
    """What a journal promises besides that several processes share. It holds all of `JournalConformance`.

    What `journal_factory` returns is pickled for other processes: a `functools.partial` of a class, or another function
    that can be imported. Processes are killed and stopped, so that this takes POSIX.
    """


async def _start_together(stack: AsyncExitStack, scene: Scene, n_processes: int) -> list[Child]:
    """Processes that have opened their clients, and wait for a word."""
    children = [await stack.enter_async_context(running(start_when_told, scene)) for _ in range(n_processes)]
    assert [await child.hear() for child in children] == ["ready"] * n_processes
    return children


async def _tell_all(children: list[Child], keys: list[str]) -> list[list[str]]:
    """Let all of them start all of these keys, and give the refs that each was told of."""
    for child in children:
        child.tell(keys)
    return [await child.hear() for child in children]


def _posts(sim: Simulator) -> int:
    return sum(request.method == "POST" for request in sim.requests)
