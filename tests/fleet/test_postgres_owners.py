"""Who is proved dead by PostgreSQL, over kills, stops, cuts and restarts, and what becomes of their starts."""

from __future__ import annotations

import asyncio
import os
import signal
from functools import partial
from typing import TYPE_CHECKING

import attrs
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from closebulk_async.errors import JournalError
from closebulk_async.integrations.postgres import PostgresJournal
from closebulk_async.integrations.postgres_sessions import OwnerSession
from closebulk_async.intents import State
from closebulk_async.simulator import Simulator
from closebulk_async.testing.chaos.children import running, until
from closebulk_async.testing.chaos.programs import enter_and_wait, start_and_stop, try_to_start
from closebulk_async.testing.chaos.rescuing import make_scene
from tests.fleet.cables import Cable
from tests.journals import new_intent, posting, swapped
from tests.peers import posts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from closebulk_async.testing.chaos.programs import Scene
    from tests.fleet.postgres import PostgresServer

KILLED = -9
LONG, NONE = 3600.0, 0.0
"""Two kinds of grace: one that lasts longer than any test, and one that is over at once."""
POSTED = "after swap to posting"


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    """A simulator in real time, for other processes."""
    async with Simulator() as simulator:
        yield simulator


@pytest.fixture
def scene(sim: Simulator, fleet_database: str) -> Scene:
    """Where children work."""
    return make_scene(sim, partial(PostgresJournal, fleet_database), lease=0.2)


@pytest.fixture
def sql(fleet_database: str) -> Iterator[psycopg.Connection]:
    """The same database, as an administrator sees it."""
    with psycopg.connect(fleet_database, autocommit=True) as connection:
        yield connection


def move_away(conninfo: str, owner: str) -> None:
    """Let the process of an owner seem to be on another host: nothing is known of it here."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("UPDATE closebulk.owners SET host = 'elsewhere' WHERE owner = %s", [owner])


async def verdict(conninfo: str, owner: str, *, grace: float) -> bool:
    """Whether a client that has this grace takes it for dead."""
    async with PostgresJournal(conninfo, grace=grace) as judge:
        return await judge.is_dead(owner)


def holders(sql: psycopg.Connection) -> int:
    """How many sessions hold the lock of an owner."""
    return len(sql.execute("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted").fetchall())


async def until_it_is_free(sql: psycopg.Connection) -> None:
    """Until no session holds the lock of an owner."""
    await until(lambda: holders(sql) == 0)


async def until_it_answers(conninfo: str) -> None:
    """Until the server has come to itself."""
    while True:
        try:
            psycopg.connect(conninfo).close()
        except psycopg.OperationalError:
            await asyncio.sleep(0.02)
        else:
            return


class TestOnAnotherHost:
    """Of the process of an owner nothing is known but its session."""

    async def test_one_that_was_killed_is_dead_when_its_last_leave_is_over(
        self, scene: Scene, fleet_database: str, sql: psycopg.Connection
    ) -> None:
        """And not before: what looks like a kill may have been a cut."""
        async with running(enter_and_wait, scene) as child, scene.make_journal() as journal:
            owner = await child.hear()
            move_away(fleet_database, owner)
            await posting(journal, owner=owner)
            assert not await verdict(fleet_database, owner, grace=NONE)
            child.process.kill()
            assert await child.ended() == KILLED
            await until_it_is_free(sql)
            assert not await verdict(fleet_database, owner, grace=LONG)
            assert await verdict(fleet_database, owner, grace=NONE)
            assert await verdict(fleet_database, owner, grace=LONG), "what is proved stays so"

    async def test_one_that_sends_nothing_is_dead_at_once(
        self, scene: Scene, fleet_database: str, sql: psycopg.Connection
    ) -> None:
        """There is no leave that it could use."""
        async with running(enter_and_wait, scene) as child, scene.make_journal() as journal:
            owner = await child.hear()
            move_away(fleet_database, owner)
            await swapped(journal, await posting(journal, owner=owner), state=State.NEW)
            child.process.kill()
            await until_it_is_free(sql)
            assert await verdict(fleet_database, owner, grace=LONG)

    @pytest.mark.parametrize("at_once", [False, True])
    async def test_a_restart_proves_nothing(
        self,
        scene: Scene,
        fleet_database: str,
        postgres: PostgresServer,
        at_once: bool,  # noqa: FBT001 - a parameter of pytest
    ) -> None:
        """It ended the sessions of the living as well, whether in good order or by a crash."""
        async with running(enter_and_wait, scene) as child:
            owner = await child.hear()
            move_away(fleet_database, owner)
            child.process.kill()
            assert await child.ended() == KILLED
            postgres.restart(at_once=at_once)
            assert not await verdict(fleet_database, owner, grace=NONE)

    async def test_a_crash_that_the_server_survives_proves_nothing(
        self, scene: Scene, fleet_database: str, sql: psycopg.Connection
    ) -> None:
        """Where one backend is killed all sessions end, and the first process of the server stays the same."""
        async with running(enter_and_wait, scene) as child:
            owner = await child.hear()
            move_away(fleet_database, owner)
            os.kill(child.pid, signal.SIGSTOP)
            began = sql.execute("SELECT pg_postmaster_start_time()").fetchone()
            os.kill(sql.info.backend_pid, signal.SIGKILL)
            await asyncio.sleep(0.05)
            await until_it_answers(fleet_database)
            with psycopg.connect(fleet_database) as after:
                assert after.execute("SELECT pg_postmaster_start_time()").fetchone() == began
                assert after.execute("SELECT 1 FROM pg_locks WHERE locktype = 'advisory'").fetchall() == []
            assert not await verdict(fleet_database, owner, grace=NONE)


class TestOnThisHost:
    """The process of an owner is known as well."""

    async def test_one_that_was_killed_is_dead_at_once_over_a_restart(
        self, scene: Scene, fleet_database: str, postgres: PostgresServer
    ) -> None:
        """However young its leave is, and whatever became of the server."""
        async with running(enter_and_wait, scene) as child, scene.make_journal() as journal:
            owner = await child.hear()
            await posting(journal, owner=owner)
            postgres.restart(at_once=True)
            child.process.kill()
            assert await child.ended() == KILLED
            assert await verdict(fleet_database, owner, grace=LONG)

    async def test_one_that_is_stopped_lives_over_a_restart(
        self, scene: Scene, fleet_database: str, postgres: PostgresServer
    ) -> None:
        """Its session is gone and cannot be made again, and it may go on all the same."""
        async with running(enter_and_wait, scene) as child:
            owner = await child.hear()
            os.kill(child.pid, signal.SIGSTOP)
            postgres.restart()
            assert not await verdict(fleet_database, owner, grace=NONE)


class TestSessions:
    """An owner keeps its session, and gets another one where it was lost."""

    async def test_it_goes_on_after_a_restart(self, fleet_database: str, postgres: PostgresServer) -> None:
        """Its new session proves its life, and its death, under the new run of the server."""
        async with PostgresJournal(fleet_database) as journal:
            owner = await journal.enter()
            move_away(fleet_database, owner)
            postgres.restart()
            intent = await swapped(journal, await journal.begin(new_intent()), state=State.POSTING, owner=owner)
            assert not await verdict(fleet_database, owner, grace=NONE)
            await journal._sessions[owner].close()  # noqa: SLF001 - what the end of its process would do
            assert not await verdict(fleet_database, owner, grace=LONG)
            assert await verdict(fleet_database, owner, grace=NONE)
            assert await journal.get(intent.id) == intent

    async def test_it_is_made_again_although_nothing_is_asked_of_it(
        self, fleet_database: str, postgres: PostgresServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Who waits for an answer to a POST writes nothing meanwhile, and is to be seen alive. The cut is logged."""
        async with Cable(postgres.port) as cable:
            far = make_conninfo(fleet_database, port=cable.port)
            session = OwnerSession("owner", far, ping_every=0.01, retry_every=0.01)
            await session.enter()
            with psycopg.connect(fleet_database, autocommit=True) as sql:
                assert holders(sql) == 1
                cable.cut()
                await until(lambda: "the session of owner owner in PostgreSQL was lost" in caplog.text)
                await until(lambda: holders(sql) == 0)
                cable.mend()
                await until(lambda: holders(sql) == 1)
                await session.close()
                await until(lambda: holders(sql) == 0)

    async def test_it_is_made_no_more_for_one_that_was_taken_for_dead(
        self, fleet_database: str, sql: psycopg.Connection, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Which is logged, once, as what its program has to know."""
        session = OwnerSession("owner", fleet_database, ping_every=0.01, retry_every=0.01)
        await session.enter()
        sql.execute("INSERT INTO closebulk.dead_owners (owner) VALUES ('owner')")
        sql.execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
        await until(lambda: "owner owner can start nothing any more" in caplog.text)
        await until(lambda: holders(sql) == 0)
        await session.close()

    async def test_one_that_was_taken_for_dead_gets_no_leave(
        self, fleet_database: str, postgres: PostgresServer
    ) -> None:
        """It was cut off for long, and others may have sent what it had begun. Another owner starts afresh."""
        async with Cable(postgres.port) as cable:
            far = make_conninfo(fleet_database, port=cable.port)
            async with PostgresJournal(far) as journal:
                owner = await journal.enter()
                move_away(fleet_database, owner)
                intent = await posting(journal, owner=owner)
                cable.cut()
                async with PostgresJournal(fleet_database, grace=LONG) as careful:
                    assert not await careful.is_dead(owner)
                while not await verdict(fleet_database, owner, grace=NONE):  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.01)
                cable.mend()
                with pytest.raises(JournalError, match="others have taken it for dead: open a new client"):
                    await journal.swap(attrs.evolve(intent, owner=owner))
                again = await journal.enter()
                assert not await verdict(fleet_database, again, grace=NONE)
                await swapped(journal, intent, owner=again)

    async def test_a_cut_that_is_short_is_forgotten(self, fleet_database: str, postgres: PostgresServer) -> None:
        """The same owner goes on, and nobody could take it for dead."""
        async with (
            Cable(postgres.port) as cable,
            PostgresJournal(make_conninfo(fleet_database, port=cable.port)) as journal,
        ):
            owner = await journal.enter()
            intent = await posting(journal, owner=owner)
            cable.cut()
            cable.mend()
            await swapped(journal, intent, owner=owner)
            assert not await verdict(fleet_database, owner, grace=NONE)


class TestStarts:
    """A client that starts something is stopped or killed while the server restarts."""

    async def test_one_that_was_killed_while_the_server_was_away(
        self, scene: Scene, sim: Simulator, postgres: PostgresServer
    ) -> None:
        """Another one finds no job of its, and starts the only one."""
        async with running(start_and_stop, scene, POSTED) as victim:
            assert await victim.hear() == POSTED
            postgres.stop()
            victim.process.kill()
            assert await victim.ended() == KILLED
            postgres.start()
            async with running(try_to_start, scene) as other:
                ref = await other.hear()
        assert [f"email:{job.id}" for job in sim.jobs] == [ref]

    async def test_one_that_was_stopped_while_the_server_was_away(
        self, scene: Scene, sim: Simulator, postgres: PostgresServer
    ) -> None:
        """Another one refuses to send in its place. It goes on to the only job, and writes it down."""
        async with running(start_and_stop, scene, POSTED) as stopped:
            assert await stopped.hear() == POSTED
            postgres.restart()
            async with running(try_to_start, scene) as other:
                assert await other.hear() == "AmbiguousStartError"
            assert posts(sim) == 0
            os.kill(stopped.pid, signal.SIGCONT)
            ref = await stopped.hear()
            async with running(try_to_start, scene) as other:
                assert await other.hear() == ref
        assert [f"email:{job.id}" for job in sim.jobs] == [ref]
