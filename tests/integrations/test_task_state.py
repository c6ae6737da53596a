"""A journal in the state of a task: what one try has written, the next one reads."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from closebulk_async import CloseBulk
from closebulk_async.errors import JournalError
from closebulk_async.integrations.processes import this_process
from closebulk_async.integrations.task_state import TaskStateJournal
from closebulk_async.intents import State
from closebulk_async.simulator import Simulator, faults
from tests.journals import DONE, REF, SCOPE, new_intent, posting, started, swapped

if TYPE_CHECKING:
    from closebulk_async.testing import FakeClock

LEAD = {"type": "id", "value": "lead_1"}


@attrs.define
class Store:
    """Where an engine keeps the state of a task: as text, so that only what is JSON gets there."""

    text: str | None = None
    writes: int = 0
    error: Exception | None = None

    def read(self) -> Any:  # noqa: ANN401 - JSON
        """The state, None before there is any."""
        if self.error is not None:
            raise self.error
        return None if self.text is None else json.loads(self.text)

    def write(self, state: Any) -> None:  # noqa: ANN401 - JSON
        """Keep it."""
        if self.error is not None:
            raise self.error
        self.text = json.dumps(state)
        self.writes += 1

    def open(self) -> TaskStateJournal:
        """The journal of another try."""
        return TaskStateJournal(read=self.read, write=self.write)


@pytest.fixture
def store() -> Store:
    """Of a task that was never tried."""
    return Store()


async def test_the_next_try_reads_what_the_last_one_wrote(store: Store) -> None:
    """Every field of an intent, and what excludes another: its key, its fingerprint and its ref."""
    first = store.open()
    under_way = await posting(first, idempotency_key="campaign", fingerprint="same", body='{"a":"ä"}'.encode())
    done = await started(first, REF)
    second = store.open()
    assert await second.get(under_way.id) == under_way
    assert await second.unfinished() == [under_way, done]
    assert await second.begin(new_intent(idempotency_key="campaign")) == under_way
    other = await second.begin(new_intent(fingerprint="same"))
    assert await second.swap(attrs.evolve(other, state=State.POSTING)) is None
    assert await second.claimed(SCOPE, [REF]) == {REF}


async def test_what_is_returned_is_written(store: Store) -> None:
    """Each change is one write, and what changes nothing is none."""
    journal = store.open()
    intent = await journal.begin(new_intent())
    assert store.writes == 1
    await journal.get(intent.id)
    assert await journal.swap(attrs.evolve(intent, version=7)) is None
    assert store.writes == 1
    await swapped(journal, intent, state=State.POSTING)
    assert store.writes == 2
    assert '"state": "posting"' in str(store.text)


async def test_a_store_that_fails_keeps_a_start_from_being_sent(store: Store) -> None:
    """The error is a JournalError; when the store works again, what it holds is what counts."""
    journal = store.open()
    intent = await journal.begin(new_intent())
    store.error = OSError("the API server is gone")
    with pytest.raises(JournalError, match="cannot be written: the API server is gone"):
        await journal.swap(attrs.evolve(intent, state=State.POSTING))
    with pytest.raises(JournalError, match="cannot be read"):
        await journal.get(intent.id)
    store.error = None
    assert await journal.get(intent.id) == intent


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"version": 2}', "of version 2"),
        ('{"version": 1, "intents": [{}], "left": []}', "changed by somebody else"),
        ('["by hand"]', "changed by somebody else"),
    ],
)
async def test_a_state_that_others_have_changed_is_refused(store: Store, text: str, reason: str) -> None:
    """Nothing is sent on the word of a state that cannot be read."""
    store.text = text
    with pytest.raises(JournalError, match=reason):
        await store.open().begin(new_intent())
    assert store.text == text


class TestOwners:
    """Who is dead is proved by his word, or by his process."""

    async def test_this_process_lives(self, store: Store) -> None:
        """For itself and for other journals, until it leaves; only then is it dead, for others too."""
        first = store.open()
        owner = await first.enter()
        await posting(first, owner=owner)
        assert not await store.open().is_dead(owner)
        await first.leave(owner)
        assert await first.is_dead(owner)
        assert await store.open().is_dead(owner)

    def test_a_process_that_was_killed_is_dead(self, store: Store) -> None:
        """On its own host."""
        program = (
            "import asyncio, os, signal\n"
            "from closebulk_async.integrations.task_state import TaskStateJournal\n"
            "print(asyncio.run(TaskStateJournal(read=dict, write=print).enter()), flush=True)\n"
            "os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        killed = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=False)
        assert killed.returncode < 0
        assert asyncio.run(store.open().is_dead(killed.stdout.strip()))

    async def test_of_others_nothing_is_proved(self, store: Store) -> None:
        """Not of another host, not of what has no process, and not because somebody else says so."""
        journal = store.open()
        process = this_process()
        assert process is not None
        for stranger in ("a stranger", f"1|another boot|{process.process}"):
            await journal.leave(stranger)
            assert not await journal.is_dead(stranger)

    async def test_who_has_left_is_forgotten_with_what_he_owned(self, store: Store) -> None:
        """The state does not grow with the tries."""
        journal = store.open()
        owner = await journal.enter()
        intent = await posting(journal, owner=owner)
        await journal.leave(owner)
        assert owner in str(store.text)
        await swapped(journal, intent, state=State.STARTED, ref=REF, owner=await journal.enter())
        assert owner not in str(store.text)


async def test_the_last_known_state_of_an_action_is_noted(store: Store) -> None:
    """For whoever looks at the task, and for the next try."""
    intent = await started(store.open(), REF)
    await store.open().progress(SCOPE, REF, DONE, is_final=True)
    noted = await store.open().get(intent.id)
    assert noted is not None
    assert (noted.sighting, noted.state) == (DONE, State.FINAL)


async def test_a_cancelled_call_has_its_effect(store: Store) -> None:
    """It is cancelled, and what it was to write is there; closing waits for it, and ends the journal."""
    journal = store.open()
    intent = await journal.begin(new_intent())
    step = asyncio.create_task(journal.swap(attrs.evolve(intent, state=State.POSTING)))
    await asyncio.sleep(0)
    step.cancel()
    await journal.aclose()
    with pytest.raises(asyncio.CancelledError):
        await step
    assert '"state": "posting"' in str(store.text)
    await journal.aclose()
    with pytest.raises(JournalError, match="closed"):
        await journal.get(intent.id)


async def test_a_start_in_doubt_is_found_by_the_next_try(sim: Simulator, clock: FakeClock, store: Store) -> None:
    """The list hides its action until the first try has given up: the second adopts it, and sends no POST."""
    sim.next_job(shown_after=30, duration=3600)
    sim.fail_next(faults.cut_after(), method="POST")
    for doubtful in (True, False):
        journal = store.open()
        async with CloseBulk(sim.api_key, base_url=sim.base_url, clock=clock, journal=journal) as close:
            create = close.deletes.create(s_query=LEAD, idempotency_key="airflow/dag/run/task/-1")
            if doubtful:
                with pytest.raises(Exception, match="may or may not have started"):
                    await create
                await clock.sleep(30)
            else:
                assert (await create).id == sim.jobs[0].id
    assert len(sim.jobs) == 1
