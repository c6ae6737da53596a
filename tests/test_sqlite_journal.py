"""What the journal in a file promises beyond the others: processes, disks, versions, and what is cleared away."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from closebulk_async import journal_tables as tables
from closebulk_async.errors import InvalidRequestError, JournalError
from closebulk_async.intents import Fence, Intent, State
from closebulk_async.journal_rows import COLUMNS, to_row
from closebulk_async.owners import OwnerLocks
from closebulk_async.sqlite_journal import SqliteJournal
from closebulk_async.stored_journal import CLEAR_EVERY
from closebulk_async.testing import FakeClock
from tests.journals import (
    DONE,
    NOON,
    REF,
    SCOPE,
    finished,
    new_intent,
    posting,
    ref_of,
    running,
    said_by,
    started,
    swapped,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from concurrent.futures import Future
    from pathlib import Path

PROGRAM = """
import asyncio, sys
from closebulk_async.errors import JournalError
from closebulk_async.intents import State
from closebulk_async.sqlite_journal import SqliteJournal
from tests.journals import new_intent, posting, ref_of, started, swapped

async def main(path, *arguments):
{body}

asyncio.run(main(*sys.argv[1:]))
"""


def program(body: str) -> str:
    """A program around the body of `async def main(path, *arguments)`."""
    return PROGRAM.format(body=body)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a journal may be made."""
    return tmp_path / "journal.db"


@pytest.fixture
def clock() -> FakeClock:
    """Time that passes when the test says so."""
    return FakeClock(auto=False)


@pytest.fixture
async def journal(path: Path, clock: FakeClock) -> AsyncIterator[SqliteJournal]:
    """A journal on that path."""
    async with SqliteJournal(path, clock=clock) as journal:
        yield journal


@pytest.fixture
def database(path: Path) -> Iterator[sqlite3.Connection]:
    """The same file, as any other program may open it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        yield database


async def turn() -> None:
    """Let everything on the loop run that can."""
    for _ in range(10):
        await asyncio.sleep(0)


class TestSharing:
    """Several journals on one file, in one process and in several."""

    @pytest.mark.parametrize("_", range(10))
    async def test_many_may_open_a_new_file_at_once(self, path: Path, _: int) -> None:
        """Each finds the one schema, and of their starts with one key there is one: whichever thread comes first."""
        journals = [SqliteJournal(path) for _ in range(12)]
        begun = await asyncio.gather(*(each.begin(new_intent(idempotency_key="campaign")) for each in journals))
        assert len({intent.id for intent in begun}) == 1
        for each in journals:
            await each.aclose()

    async def test_many_calls_open_it_once(self, path: Path) -> None:
        """Else one of the connections would be left over when it is closed."""
        async with SqliteJournal(path) as journal:
            await asyncio.gather(*(journal.begin(new_intent()) for _ in range(5)))
        assert names_beside(path) == {"journal.db", "journal.db.owners"}

    async def test_processes_may_open_a_new_file_at_once(self, path: Path) -> None:
        """They race for one key, and all get the same intent."""
        body = """
    print("ready", flush=True)
    sys.stdin.readline()
    async with SqliteJournal(path) as journal:
        print((await journal.begin(new_intent(idempotency_key="campaign"))).id, flush=True)
"""
        async with running(program(body), path) as first, running(program(body), path) as second:
            for process in (first, second):
                assert await said_by(process) == "ready"
            for process in (first, second):
                assert process.stdin is not None
                process.stdin.write(b"go\n")
            ids = {await said_by(first), await said_by(second)}
        assert len(ids) == 1
        async with SqliteJournal(path) as journal:
            assert [intent.id for intent in await journal.unfinished()] == list(ids)

    async def test_symbolic_links_lead_to_the_same_journal(self, path: Path, journal: SqliteJournal) -> None:
        """Its owners too are known under either name."""
        owner = await journal.enter()
        link = path.with_name("link.db")
        link.symlink_to(path)
        async with SqliteJournal(link) as other:
            assert await other.enter()
            assert {file.name for file in path.parent.glob("*.owners")} == {"journal.db.owners"}
            await journal.leave(owner)
            assert await other.is_dead(owner)


class CountingThreads(ThreadPoolExecutor):
    """Threads that count what they are given to do."""

    calls = 0

    def submit(self, *args: Any, **kwargs: Any) -> Future[Any]:
        """Count it, and do it."""
        self.calls += 1
        return super().submit(*args, **kwargs)


class TestOwners:
    """A lock proves what lives and what is dead."""

    async def test_an_owner_of_another_journal_lives_until_it_leaves(self, path: Path, journal: SqliteJournal) -> None:
        """However many ask at once; then its file is gone."""
        owner = await journal.enter()
        async with SqliteJournal(path) as one, SqliteJournal(path) as two:
            asked = [each.is_dead(owner) for each in (journal, one, two) for _ in range(4)]
            assert not any(await asyncio.gather(*asked))
            await journal.leave(owner)
            assert await one.is_dead(owner)
        assert list(path.parent.glob("*.owners/*")) == []

    async def test_a_killed_process_is_dead(self, path: Path, journal: SqliteJournal) -> None:
        """While it lives it is not, however long it says nothing; what it wrote is there."""
        body = """
    journal = SqliteJournal(path)
    owner = await journal.enter()
    await posting(journal, owner=owner)
    print(owner, flush=True)
    sys.stdin.readline()
"""
        async with running(program(body), path) as process:
            owner = await said_by(process)
            (intent,) = await journal.unfinished()
            assert (intent.owner, intent.state) == (owner, State.POSTING)
            assert not await journal.is_dead(owner)
            os.kill(process.pid, signal.SIGKILL)
            await process.wait()
            assert await journal.is_dead(owner)
            next(path.parent.glob("*.owners/*")).unlink()
            assert await journal.is_dead(owner), "what is proved stays so"

    async def test_who_asks_at_the_same_moment_tries_the_lock_once(self, path: Path) -> None:
        """However many there are: two who try a lock that is free are in each other's way."""
        async with SqliteJournal(path) as journal, SqliteJournal(path) as other:
            owner = await journal.enter()
            assert not await other.is_dead(owner)
            threads = CountingThreads()  # the loop ends them
            asyncio.get_running_loop().set_default_executor(threads)
            assert not any(await asyncio.gather(*(other.is_dead(owner) for _ in range(50))))
            assert threads.calls == 1
            assert not await other.is_dead(owner)
            assert threads.calls == 2

    async def test_a_missing_file_proves_nothing(self, path: Path, journal: SqliteJournal) -> None:
        """A journal that was copied to another machine has none of them."""
        owner = await journal.enter()
        (file,) = path.parent.glob("*.owners/*")
        file.unlink()
        async with SqliteJournal(path) as other:
            assert not await other.is_dead(owner)

    def test_any_thread_may_unlock(self, path: Path) -> None:
        """The one that locked may be busy or gone by then."""
        locks = OwnerLocks(path)
        locks.make_folder()
        with ThreadPoolExecutor(1) as thread:
            thread.submit(locks.hold, "owner").result()
            assert not locks.is_free("owner")
            assert locks.release("owner")
            assert locks.is_free("owner")
            assert not locks.release("owner")

    async def test_files_of_the_dead_are_cleared_away(self, path: Path) -> None:
        """At the next opening; the living keep theirs, and so does who is needed to judge an open intent."""
        async with SqliteJournal(path) as journal:
            needed, _ = await journal.enter(), await journal.enter()
            await posting(journal, owner=needed)
        assert len(list(path.parent.glob("*.owners/*"))) == 2
        async with SqliteJournal(path) as living, SqliteJournal(path) as other:
            lives = await living.enter()
            assert await other.is_dead(needed)
            assert {file.stem for file in path.parent.glob("*.owners/*")} == {needed, lives}
            assert not await other.is_dead(lives)

    async def test_the_dead_are_forgotten_when_nothing_of_theirs_is_open(
        self, path: Path, database: sqlite3.Connection
    ) -> None:
        """Until then their death is known without their file."""
        async with SqliteJournal(path) as journal:
            needed, other = await journal.enter(), await journal.enter()
            intent = await posting(journal, owner=needed)
            await journal.leave(needed)
            await journal.leave(other)
        async with SqliteJournal(path) as journal:
            assert await journal.is_dead(needed)
            assert database.execute("SELECT owner FROM dead_owners").fetchall() == [(needed,)]
            await swapped(journal, intent, state=State.FINAL)
        async with SqliteJournal(path) as journal:
            assert not await journal.is_dead(needed)


class TestFiles:
    """What lies on the disk, who may read it, and what is refused."""

    @pytest.mark.parametrize("umask", [0o000, 0o022, 0o277])
    async def test_only_the_user_may_read(self, path: Path, umask: int) -> None:
        """The journal, what SQLite puts beside it, and the locks, whatever the umask."""
        before = os.umask(umask)
        try:
            async with SqliteJournal(path) as journal:
                await journal.enter()
                await posting(journal)
                modes = {file.name: oct(file.stat().st_mode & 0o777) for file in path.parent.rglob("*")}
        finally:
            os.umask(before)
        folder = modes.pop("journal.db.owners")
        assert folder == oct(0o700)
        assert {"journal.db", "journal.db-wal", "journal.db-shm"} < set(modes)
        assert len(modes) == 4
        assert set(modes.values()) == {oct(0o600)}

    async def test_nothing_is_made_before_the_first_call(self, path: Path) -> None:
        """A client that starts nothing leaves nothing."""
        async with SqliteJournal(path):
            assert names_beside(path) == set()

    async def test_a_change_of_the_working_directory_changes_nothing(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A relative path is that of the moment when the journal was made."""
        monkeypatch.chdir(path.parent)
        async with SqliteJournal("journal.db") as journal:
            monkeypatch.chdir("/")
            await journal.enter()
        assert names_beside(path) == {"journal.db", "journal.db.owners"}

    async def test_a_newer_version_is_refused(self, path: Path) -> None:
        """The error names both versions, and nothing is written."""
        async with SqliteJournal(path) as journal:
            await posting(journal)
        with closing(sqlite3.connect(path)) as database:
            database.execute(f"PRAGMA user_version = {tables.SCHEMA_VERSION + 1}")
        await refused(path, match=r"it is of version 2, and this package knows version 1; update closebulk-async")

    async def test_the_database_of_another_application_is_refused(self, path: Path) -> None:
        """It has tables that are not ours."""
        with closing(sqlite3.connect(path)) as database:
            database.execute("CREATE TABLE songs (title TEXT)")
        await refused(path, match="another application; take another path")

    async def test_the_empty_database_of_another_application_is_refused(self, path: Path) -> None:
        """It says whose it is."""
        with closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA application_id = 7")
            database.execute("VACUUM")
        await refused(path, match="another application; take another path")

    async def test_a_file_that_is_no_database_is_refused(self, path: Path) -> None:
        """Whatever it is, it stays."""
        write(path, b"Dear diary, " * 1000)
        await refused(path, match="not a database; it is no journal, or damaged")

    async def test_a_damaged_file_is_refused(self, path: Path) -> None:
        """The pages behind the first are those that hold the rows."""
        async with SqliteJournal(path) as journal:
            await posting(journal)
        whole = read(path)
        write(path, whole[:4096] + b"\xff" * (len(whole) - 4096))
        await refused(path, match="malformed; it is damaged: restore it from a backup")

    async def test_a_row_that_was_changed_is_refused(
        self, journal: SqliteJournal, database: sqlite3.Connection
    ) -> None:
        """An intent that cannot be read is an error, not a guess."""
        intent = await posting(journal)
        sighting = '{"at":"2026-01-15"}'
        odd_values = {"state": "odd", "created_at": "yesterday", "fence": "{}", "sighting": sighting, "ref": "?"}
        for name, odd in odd_values.items():
            broken = {**to_row(intent), name: odd, "version": 0, "changed_at": 0}
            database.execute("UPDATE intents SET version = 0")
            database.execute(tables.SWAP, broken).fetchall()
            with pytest.raises(JournalError, match="a row of it cannot be read"):
                await journal.get(intent.id)

    @pytest.mark.parametrize("wrong", ["missing/journal.db", "."])
    async def test_a_path_where_no_file_can_be_is_refused(self, path: Path, wrong: str) -> None:
        """A directory is neither made nor overwritten."""
        async with SqliteJournal(path.parent / wrong) as journal:
            with pytest.raises(JournalError, match="see that its directory exists") as caught:
                await journal.begin(new_intent())
        assert isinstance(caught.value.__cause__, (OSError, sqlite3.Error))
        assert names_beside(path) == set()
        assert not path.parent.with_name(f"{path.parent.name}.owners").exists()

    async def test_a_journal_that_could_not_be_opened_may_be_later(self, path: Path) -> None:
        """The next call tries again."""
        async with SqliteJournal(path.parent / "later" / "journal.db") as journal:
            with pytest.raises(JournalError):
                await journal.enter()
            (path.parent / "later").mkdir()
            assert not await journal.is_dead(await journal.enter())

    async def test_a_text_that_is_no_unicode_is_refused(self, journal: SqliteJournal) -> None:
        """As half of a pair of surrogates."""
        with pytest.raises(JournalError, match="surrogates not allowed; take a text that is Unicode"):
            await journal.begin(new_intent(idempotency_key="\ud800"))

    async def test_a_full_disk_fails_the_step_and_spoils_nothing(self, path: Path) -> None:
        """The intent is not posting, neither for the one who tried nor for the next one who reads."""
        body = """
    import resource
    from pathlib import Path
    journal = SqliteJournal(path)
    intent = await journal.begin(new_intent(body=b"x" * 100_000))
    size = Path(path + "-wal").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    try:
        await swapped(journal, intent, state=State.POSTING)
    except JournalError as exc:
        print(exc, flush=True)
    print((await journal.get(intent.id)).state, flush=True)
"""
        async with running(program(body), path) as process:
            assert "full" in await said_by(process)
            assert await said_by(process) == "new"
        async with SqliteJournal(path) as journal:
            assert [intent.state for intent in await journal.unfinished()] == [State.NEW]

    def test_a_journal_that_nobody_closed_keeps_no_program_from_ending(self, path: Path) -> None:
        """Its thread ends with the program."""
        code = program("""
    global journal
    journal = SqliteJournal(path)
    await journal.enter()
""")
        ran = subprocess.run([sys.executable, "-c", code, path], timeout=30, capture_output=True, check=False)
        assert ran.returncode == 0


async def refused(path: Path, *, match: str) -> None:
    """A journal on that file raises JournalError each time, and does not change the file."""
    before = read(path)
    async with SqliteJournal(path) as journal:
        for _ in range(2):
            with pytest.raises(JournalError, match=match) as caught:
                await journal.begin(new_intent())
            assert str(path) in str(caught.value)
    assert read(path) == before
    assert names_beside(path) <= {"journal.db", "journal.db.owners"}


class TestSafety:
    """What is on disk when, and what is left when a caller goes."""

    async def test_an_intent_is_synced_when_it_becomes_posting(self, journal: SqliteJournal) -> None:
        """Each such write is made while SQLite waits for the disk, also among others; those others do not wait."""
        begun = [await journal.begin(new_intent()) for _ in range(8)]
        connection = await journal._opened()  # noqa: SLF001 - no other way leads to what it waits for
        for pragma, value in {"synchronous": 1, "fullfsync": 1}.items():
            (row,) = await connection.execute_fetchall(f"PRAGMA {pragma}")
            assert tuple(row) == (value,)
        said = await traced(journal)
        steps = [journal.swap(attrs.evolve(intent, state=State.POSTING)) for intent in begun]
        others = [journal.begin(new_intent()) for _ in range(8)]
        await asyncio.gather(*(step for pair in zip(steps, others, strict=True) for step in pair))
        assert levels(said, "'posting'") == ["FULL"] * 8
        said.clear()
        await journal.begin(new_intent())
        after = await swapped(journal, begun[0], version=1, state=State.STARTED, ref=REF)
        await journal.lease(after.id, owner="me", until=NOON)
        await journal.progress(SCOPE, REF, DONE, is_final=True)
        assert [statement for statement in said if "synchronous" in statement] == []

    async def test_one_that_was_synced_takes_nothing_from_the_next(
        self, journal: SqliteJournal, database: sqlite3.Connection
    ) -> None:
        """Also where the first had to wait for another program, and the second came meanwhile."""
        first, second = [await journal.begin(new_intent()) for _ in range(2)]
        said = await traced(journal)
        database.execute("BEGIN IMMEDIATE")
        steps = [asyncio.create_task(journal.swap(attrs.evolve(first, state=State.POSTING)))]
        while not said or not said[-1].startswith("UPDATE"):
            await turn()
        steps.append(asyncio.create_task(journal.swap(attrs.evolve(second, state=State.POSTING))))
        await turn()
        database.execute("COMMIT")
        await asyncio.gather(*steps)
        assert levels(said, "'posting'") == ["FULL", "FULL"]

    async def test_the_level_is_back_after_a_step_that_writes_nothing(self, journal: SqliteJournal) -> None:
        """A stale one costs the next ones nothing."""
        said = await traced(journal)
        assert await journal.swap(new_intent(state=State.POSTING)) is None
        assert said[-1] == "PRAGMA synchronous = NORMAL"

    async def test_it_writes_ahead(self, journal: SqliteJournal, database: sqlite3.Connection) -> None:
        """Readers and the one writer do not wait for each other."""
        await posting(journal)
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        database.execute("BEGIN")
        database.execute("SELECT * FROM intents").fetchall()
        await posting(journal)
        database.execute("COMMIT")

    async def test_a_cancelled_call_has_its_effect(self, path: Path, database: sqlite3.Connection) -> None:
        """The caller learns of the cancellation when the write is done, not before, however often it is cancelled."""
        async with SqliteJournal(path) as journal:
            intent = await journal.begin(new_intent())
            database.execute("BEGIN IMMEDIATE")
            step = asyncio.create_task(journal.swap(attrs.evolve(intent, state=State.POSTING)))
            for _ in range(3):
                await turn()
                step.cancel()
            await turn()
            assert not step.done()
            database.execute("COMMIT")
            with pytest.raises(asyncio.CancelledError):
                await step
            stored = await journal.get(intent.id)
            assert stored is not None
            assert stored.state is State.POSTING

    async def test_a_failure_that_nobody_waits_for_is_silent(
        self, journal: SqliteJournal, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A cancelled caller gets its cancellation, and asyncio does not complain of an error that nobody saw."""
        step = asyncio.create_task(journal.begin(new_intent(idempotency_key="\ud800")))
        await asyncio.sleep(0)
        step.cancel()
        with pytest.raises(asyncio.CancelledError):
            await step
        del step
        await journal.unfinished()  # until the next statement the thread keeps the last error
        gc.collect()
        assert [record for record in caplog.records if record.name == "asyncio"] == []

    async def test_no_call_waits_for_ever(
        self, journal: SqliteJournal, clock: FakeClock, database: sqlite3.Connection
    ) -> None:
        """A file that somebody else keeps locked gives an error after half a minute."""
        await journal.enter()
        database.execute("BEGIN IMMEDIATE")
        began = clock.monotonic()
        step = asyncio.create_task(journal.begin(new_intent()))
        await turn()
        with clock.hold():
            await clock.advance(30)
            with pytest.raises(JournalError, match="no answer in 30 seconds"):
                await step
        assert clock.monotonic() == began + 30
        database.execute("COMMIT")

    async def test_time_stands_still_while_the_file_is_written(self, path: Path) -> None:
        """A clock of a test takes a step as something that is under way."""
        clock = FakeClock()
        async with SqliteJournal(path, clock=clock) as journal:
            sleeping = asyncio.create_task(clock.sleep(3600))
            await posting(journal)
            assert clock.monotonic() == 0
            await sleeping

    async def test_the_loop_runs_while_the_file_is_locked(self, path: Path, database: sqlite3.Connection) -> None:
        """Opening waits in a thread too."""
        async with SqliteJournal(path) as journal:
            database.execute("BEGIN IMMEDIATE")
            step = asyncio.create_task(journal.begin(new_intent()))
            await turn()
            assert not step.done()
            database.execute("COMMIT")
            assert (await step).state is State.NEW

    async def test_a_closed_journal_says_so(self, path: Path) -> None:
        """Closing may be repeated; what was under way is finished first."""
        journal = SqliteJournal(path)
        intent = new_intent()
        step = asyncio.create_task(journal.begin(intent))
        await asyncio.sleep(0)
        await journal.aclose()
        await journal.aclose()
        assert await step == intent
        assert names_beside(path) == {"journal.db", "journal.db.owners"}, "SQLite removes its own when it is closed"
        with pytest.raises(JournalError, match="was closed"):
            await journal.get(intent.id)
        assert [task for task in asyncio.all_tasks() if "journal" in task.get_name()] == []


async def traced(journal: SqliteJournal) -> list[str]:
    """What the journal's connection does from now on, statement by statement."""
    said: list[str] = []
    connection = await journal._opened()  # noqa: SLF001 - no other way leads to what it waits for
    await connection.set_trace_callback(said.append)
    return said


def levels(said: list[str], mark: str) -> list[str]:
    """The level of `synchronous` that was in force at each statement with that mark."""
    level, found = "NORMAL", []
    for statement in said:
        if statement.startswith("PRAGMA synchronous = "):
            level = statement.rpartition(" ")[2]
        elif mark in statement.partition("WHERE")[0]:
            found.append(level)
    return found


class TestSize:
    """What goes, what stays, and what many intents cost."""

    async def test_what_has_no_key_is_forgotten_after_its_time(self, path: Path, clock: FakeClock) -> None:
        """At the next opening: started and final ones. Keys stay, and so does what may have been sent or not."""
        async with SqliteJournal(path, clock=clock, keep=timedelta(days=30)) as journal:
            await finished(journal, ref_of(1))
            await started(journal, ref_of(2))
            stays = [
                await finished(journal, ref_of(3), idempotency_key="final"),
                await started(journal, ref_of(4), idempotency_key="started"),
                await posting(journal),
                await journal.begin(new_intent()),
            ]
            await clock.advance(86400)
            stays.append(await finished(journal, ref_of(5)))
            seen = await started(journal, ref_of(6))
        await clock.advance(29.5 * 86400)
        async with SqliteJournal(path, clock=clock, keep=timedelta(days=30)) as journal:
            assert await journal.unfinished()
            assert ids_in(path) == {intent.id for intent in [*stays, seen]}
            await journal.progress(SCOPE, ref_of(6), DONE, is_final=False)
        await clock.advance(86400)
        async with SqliteJournal(path, clock=clock, keep=timedelta(days=30)) as journal:
            assert await journal.unfinished()
            assert ids_in(path) == {intent.id for intent in [*stays[:4], seen]}

    async def test_what_is_not_closed_forgets_too(self, path: Path, journal: SqliteJournal, clock: FakeClock) -> None:
        """Now and then, when something is begun."""
        for number in range(3):
            await finished(journal, ref_of(number))
        await clock.advance(91 * 86400)
        for _ in range(CLEAR_EVERY):
            await journal.begin(new_intent())
        assert len(ids_in(path)) == CLEAR_EVERY

    async def test_the_user_may_remove_keys(self, journal: SqliteJournal, clock: FakeClock) -> None:
        """Those of actions that ended before then, and no open one; how many is said."""
        old = await finished(journal, ref_of(1), idempotency_key="old")
        still_open = await started(journal, ref_of(2), idempotency_key="open")
        await finished(journal, ref_of(3))
        await clock.advance(60)
        new = await finished(journal, ref_of(4), idempotency_key="new")
        assert await journal.prune(clock.now() - timedelta(seconds=30)) == 2
        assert await journal.get(old.id) is None
        assert await journal.get(still_open.id) == still_open
        assert await journal.get(new.id) == new

    @pytest.mark.parametrize("keep", [-1, float("nan"), "90 days"])
    def test_keep_is_a_duration(self, path: Path, keep: float) -> None:
        """What is none raises before anything is made."""
        with pytest.raises(InvalidRequestError, match="keep must be seconds"):
            SqliteJournal(path, keep=keep)

    @pytest.mark.parametrize("n_bytes", [100, 1000, 3000])
    async def test_a_start_takes_what_is_documented(self, path: Path, n_bytes: int) -> None:
        """Up to 4 kB and its body, of which the fence leaves nothing but room."""
        n_starts, fence = 300, Fence(ids=frozenset(f"bulkemail_{number:043}" for number in range(100)))
        async with SqliteJournal(path) as journal:
            for number in range(n_starts):
                intent = await posting(journal, body=b"x" * n_bytes, idempotency_key=f"key {number}", fence=fence)
                intent = await swapped(journal, intent, state=State.STARTED, ref=ref_of(number), fence=None)
                await journal.progress(SCOPE, ref_of(number), DONE, is_final=True)
        assert len(read(path)) / n_starts < 4096 + n_bytes

    async def test_room_that_becomes_free_is_used_again(self, path: Path, clock: FakeClock) -> None:
        """A file of years is as large as what is kept."""
        sizes = []
        for _ in range(4):
            async with SqliteJournal(path, clock=clock, keep=timedelta(days=1)) as journal:
                for number in range(200):
                    await finished(journal, ref_of(number), body=b"x" * 1000)
            sizes.append(len(read(path)))
            await clock.advance(2 * 86400)
        assert sizes[3] == sizes[1]

    async def test_ten_thousand_final_intents_are_never_walked_through(
        self, journal: SqliteJournal, database: sqlite3.Connection
    ) -> None:
        """Each statement finds its rows by an index, and of the index of open ones only those are read."""
        await finished(journal, ref_of(0), idempotency_key="0")
        fill(database, 10_000)
        plans = {name: plan(database, getattr(tables, name)) for name in STATEMENTS}
        walked = {name: steps for name, steps in plans.items() for step in steps if walks(step)}
        assert walked == {}
        assert plans["GET"] == ["SEARCH intents USING INDEX sqlite_autoindex_intents_1 (id=?)"]
        assert plans["PROGRESS"] == ["SEARCH intents USING INDEX one_of_a_ref (scope=? AND ref=?)"]
        assert "SEARCH intents USING COVERING INDEX one_of_a_ref (scope=? AND ref=?)" in plans["CLAIMED"]
        assert "SEARCH intents USING INDEX open (fingerprint=?)" in plans["UNFINISHED_OF_FINGERPRINT"]


STATEMENTS = (
    "SWAP",
    "GET",
    "CLAIMED",
    "UNFINISHED",
    "UNFINISHED_OF_FINGERPRINT",
    "LEASE",
    "PROGRESS",
    "FORGET",
    "OWNERS_OF_OPEN",
    "FORGET_OWNERS",
)
"""All but `BEGIN`, whose plan says nothing: an insert looks its conflicts up in the unique indexes."""

PARAMETERS = to_row(new_intent()) | dict.fromkeys(("is_final", "before", "batch", "changed_at"), 0)
PARAMETERS |= {"refs": "[]", "until": ""}


def fill(database: sqlite3.Connection, n_intents: int) -> None:
    """Copy the one intent that is there until there are so many, all of them final, with keys and refs of their own."""
    database.execute(
        """INSERT INTO intents (id, scope, kind, body, fingerprint, created_at, idempotency_key, state, ref, version,
            changed_at) WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?)
        SELECT n, scope, kind, body, n, created_at, n, 'final', 'email:bulkemail_' || n, 5, changed_at
        FROM intents, numbers""",
        (n_intents,),
    )


def plan(database: sqlite3.Connection, statement: str) -> list[str]:
    """How SQLite would go about it."""
    return [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {statement}", PARAMETERS)]


def walks(step: str) -> bool:
    """Whether it reads each row of a table, or each entry of an index that holds final intents."""
    return step.startswith("SCAN intents") and not step.endswith("INDEX open")


def read(path: Path) -> bytes:
    """The whole file."""
    return path.read_bytes()


def write(path: Path, content: bytes) -> None:
    """Make it this."""
    path.write_bytes(content)


def names_beside(path: Path) -> set[str]:
    """What lies where the journal is, or would be."""
    return {file.name for file in path.parent.iterdir()}


def ids_in(path: Path) -> set[str]:
    """The ids of all intents in the file."""
    with closing(sqlite3.connect(path)) as database:
        return {id_ for (id_,) in database.execute("SELECT id FROM intents")}


def test_every_field_of_an_intent_has_a_column() -> None:
    """A field that is added to the one and not to the other would be lost in silence."""
    assert set(COLUMNS) == {field.name for field in attrs.fields(Intent)}
