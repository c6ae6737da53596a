"""What the journal in PostgreSQL promises beyond the others: versions, its server's absence, disks, what is cleared."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import attrs
import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool

from closebulk_async.errors import InvalidRequestError, JournalError
from closebulk_async.integrations import postgres_tables as tables
from closebulk_async.integrations.postgres import PostgresJournal, migrate
from closebulk_async.intents import State
from closebulk_async.stored_journal import CLEAR_EVERY
from closebulk_async.testing import FakeClock
from tests.journals import DONE, NOON, SCOPE, finished, new_intent, posting, ref_of, started, swapped

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from closebulk_async.intents import Intent
    from tests.fleet.postgres import PostgresServer

INSTALLED = [(number + 1,) for number in range(tables.SCHEMA_VERSION)]


@pytest.fixture
def clock() -> FakeClock:
    """Time that passes when the test says so."""
    return FakeClock(auto=False)


@pytest.fixture
async def journal(fleet_database: str, clock: FakeClock) -> AsyncIterator[PostgresJournal]:
    """A journal in a database that is ready for it."""
    async with PostgresJournal(fleet_database, clock=clock) as journal:
        yield journal


@pytest.fixture
def sql(fleet_database: str) -> Iterator[psycopg.Connection]:
    """The same database, as any other program may use it."""
    with psycopg.connect(fleet_database, autocommit=True) as connection:
        yield connection


def versions(conninfo: str) -> list[tuple[int, ...]]:
    """Which versions of the tables were made."""
    with psycopg.connect(conninfo) as connection:
        return connection.execute("SELECT version FROM closebulk.schema_version ORDER BY version").fetchall()


class TestMigrating:
    """`migrate` makes the tables, and the journal looks which there are."""

    async def test_it_may_be_repeated(self, database: str) -> None:
        """What is there stays."""
        assert await migrate(database) == tables.SCHEMA_VERSION
        async with PostgresJournal(database) as journal:
            intent = await posting(journal)
            assert await migrate(database) == tables.SCHEMA_VERSION
            assert await journal.get(intent.id) == intent
        assert versions(database) == INSTALLED

    async def test_many_may_do_it_at_once(self, database: str) -> None:
        """One does, and the others find it done."""
        await asyncio.gather(*(migrate(database) for _ in range(8)))
        assert versions(database) == INSTALLED

    async def test_it_may_be_done_by_who_may_only_use_the_tables(self, database: str) -> None:
        """A program that begins with it needs no right to make a schema once there is one."""
        await migrate(database)
        with psycopg.connect(database, autocommit=True) as admin:
            user = f"user_{psycopg.conninfo.conninfo_to_dict(database)['dbname']}"[:60]
            admin.execute(f"CREATE ROLE {user} LOGIN")
            admin.execute(f"GRANT ALL ON SCHEMA closebulk TO {user}")
            admin.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA closebulk TO {user}")
            conninfo = psycopg.conninfo.make_conninfo(database, user=user)
            assert await migrate(conninfo) == tables.SCHEMA_VERSION
            async with PostgresJournal(conninfo) as journal:
                intent = await posting(journal, owner=await journal.enter())
                assert await journal.unfinished() == [intent]
            admin.execute(f"DROP OWNED BY {user}")
            admin.execute(f"DROP ROLE {user}")

    async def test_a_database_without_tables_says_what_makes_them(self, database: str) -> None:
        """Nothing is made in passing; once they are there, the same journal works."""
        async with PostgresJournal(database) as journal:
            for _ in range(2):
                with pytest.raises(JournalError, match="it has no tables of a fleet; run `closebulk fleet init`"):
                    await journal.begin(new_intent())
            await migrate(database)
            await journal.begin(new_intent())

    async def test_an_older_version_is_refused(self, fleet_database: str, sql: psycopg.Connection) -> None:
        """It says what makes it new."""
        sql.execute("DELETE FROM closebulk.schema_version")
        async with PostgresJournal(fleet_database) as journal:
            match = (
                f"of version None, and this package needs version {tables.SCHEMA_VERSION}; run `closebulk fleet init`"
            )
            with pytest.raises(JournalError, match=match):
                await journal.enter()

    async def test_a_newer_version_is_refused(self, fleet_database: str, sql: psycopg.Connection) -> None:
        """By the journal, and by who would make it older."""
        newer = tables.SCHEMA_VERSION + 1
        sql.execute(tables.NOTE_VERSION, {"version": newer})
        match = f"its tables are of version {newer}, and this package knows version {newer - 1}; update closebulk-async"
        async with PostgresJournal(fleet_database) as journal:
            with pytest.raises(JournalError, match=match):
                await journal.get("any")
        with pytest.raises(JournalError, match=match):
            await migrate(fleet_database)
        assert versions(fleet_database) == [*INSTALLED, (newer,)]


class TestReaching:
    """The server, and the way to it."""

    async def test_nothing_is_done_before_the_first_call(self) -> None:
        """A client that starts nothing connects nowhere, not even to a wrong address."""
        async with PostgresJournal("host=127.0.0.1 port=1") as journal:
            assert journal.is_durable

    @pytest.mark.parametrize("wrong", ["keep", "grace"])
    def test_a_duration_is_checked_at_once(self, wrong: str) -> None:
        """Like all of them."""
        with pytest.raises(InvalidRequestError, match=wrong):
            PostgresJournal("", **{wrong: -1})  # type: ignore[arg-type] # names and types as they come

    @pytest.mark.parametrize(
        "conninfo",
        [
            "host=127.0.0.1 port=1 user=me password=very-secret dbname=mine",
            "postgresql://me:very-secret@127.0.0.1:1/mine",
            "host=127.0.0.1 very-secret",
        ],
    )
    async def test_an_address_where_nobody_answers_is_named_without_its_password(self, conninfo: str) -> None:
        """Nor is it in what caused the error."""
        async with PostgresJournal(conninfo) as journal:
            with pytest.raises(JournalError, match=r"127\.0\.0\.1:1/mine|cannot be read") as caught:
                await journal.begin(new_intent())
            with pytest.raises(JournalError):
                await migrate(conninfo)
        error: BaseException | None = caught.value
        while error is not None:
            assert "very-secret" not in str(error)
            error = error.__cause__

    async def test_a_server_that_is_away_is_an_error_and_then_is_not(
        self, fleet_database: str, postgres: PostgresServer
    ) -> None:
        """The journal reconnects by itself, also the sessions of its owners."""
        async with PostgresJournal(fleet_database) as journal:
            owner = await journal.enter()
            intent = await journal.begin(new_intent(owner=owner))
            postgres.restart()
            intent = await swapped(journal, intent, state=State.POSTING)
            assert await journal.unfinished() == [intent]
            postgres.restart(at_once=True)
            assert await journal.unfinished() == [intent]
            await swapped(journal, intent, state=State.POSTING)
            await journal.leave(owner)

    async def test_calls_during_a_restart_fail_or_have_their_effect(
        self, fleet_database: str, postgres: PostgresServer
    ) -> None:
        """None hangs, and none lies."""
        async with PostgresJournal(fleet_database) as journal:
            owner = await journal.enter()
            restart = asyncio.create_task(asyncio.to_thread(postgres.restart))
            told: list[Intent] = []
            while not restart.done():
                try:
                    intent = await posting(journal, owner=owner)
                    told.append(await swapped(journal, intent, state=State.STARTED, ref=ref_of(len(told)), fence=None))
                except JournalError:
                    await asyncio.sleep(0.01)
            await restart
            assert [await journal.get(intent.id) for intent in told] == told

    async def test_it_can_be_closed_while_the_server_is_away(
        self, fleet_database: str, postgres: PostgresServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        """At once; that its owners could not leave is logged, and the end of their sessions says the same."""
        async with PostgresJournal(fleet_database) as journal:
            owner, other = await journal.enter(), await journal.enter()
            postgres.stop()
            with pytest.raises(JournalError):
                await journal.leave(owner)
        assert f"owner {other} could not leave" in caplog.text

    async def test_a_way_without_a_network(self, fleet_database: str, postgres: PostgresServer) -> None:
        """A socket of the host serves as well."""
        async with PostgresJournal(psycopg.conninfo.make_conninfo(fleet_database, host=postgres.socket)) as journal:
            owner = await journal.enter()
            await posting(journal, owner=owner)
            assert not await journal.is_dead(owner)

    async def test_a_pool_of_the_callers_own(self, fleet_database: str) -> None:
        """Of whatever kind; it stays open. One that is closed says what to do."""
        pool: AsyncConnectionPool[psycopg.AsyncConnection[tuple[object, ...]]]
        async with AsyncConnectionPool(fleet_database, min_size=1, open=False) as pool:
            async with PostgresJournal(pool) as journal:
                owner = await journal.enter()
                intent = await posting(journal, owner=owner)
                async with PostgresJournal(pool) as other:
                    assert await other.swap(attrs.evolve(intent, version=0)) is None
                    assert not await other.is_dead(owner)
                assert await journal.unfinished() == [intent]
            async with pool.connection() as connection:
                await connection.execute("SELECT 1")
        async with PostgresJournal(pool) as late:
            with pytest.raises(JournalError, match="open the pool"):
                await late.begin(new_intent())

    async def test_a_pool_that_asks_where_to_connect(self, fleet_database: str) -> None:
        """Sessions of owners ask too, each time."""

        async def conninfo() -> str:
            return fleet_database

        async with AsyncConnectionPool(conninfo, min_size=1, open=False) as pool, PostgresJournal(pool) as journal:
            assert not await journal.is_dead(await journal.enter())

    async def test_no_call_waits_for_ever(
        self, journal: PostgresJournal, clock: FakeClock, sql: psycopg.Connection
    ) -> None:
        """What somebody else keeps locked gives an error after half a minute."""
        intent = await posting(journal)
        with sql.transaction():
            sql.execute("LOCK TABLE closebulk.intents")
            step = asyncio.create_task(journal.lease(intent.id, owner="me", until=NOON))
            await until_it_waits(sql)
            with clock.hold():
                await clock.advance(30)
                with pytest.raises(JournalError, match="no answer in 30 seconds"):
                    await step
        assert await journal.get(intent.id) == intent


async def until_it_waits(sql: psycopg.Connection) -> None:
    """Until a statement of the journal waits for a lock."""
    waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = %s"
    while not sql.execute(waiting, [sql.info.dbname]).fetchall():  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.005)


class TestLeaves:
    """An intent that becomes `posting` is the leave to send a POST."""

    async def test_it_is_on_disk(self, fleet_database: str, sql: psycopg.Connection) -> None:
        """Whatever the database thinks of it. What may be lost for half a second does not wait."""
        sql.execute(f"ALTER DATABASE {sql.info.dbname} SET synchronous_commit = off")
        sql.execute("CREATE TABLE seen (state text, level text)")
        sql.execute("""CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            INSERT INTO seen VALUES (NEW.state, current_setting('synchronous_commit')); RETURN NEW; END $$""")
        sql.execute("""CREATE TRIGGER see BEFORE INSERT OR UPDATE ON closebulk.intents
            FOR EACH ROW EXECUTE FUNCTION see()""")
        async with PostgresJournal(fleet_database) as journal:
            owner = await journal.enter()
            await posting(journal, owner=owner)
            await finished(journal, ref_of(1), owner="of another process")
            await journal.progress(SCOPE, ref_of(1), DONE, is_final=True)
        by_state: dict[str, list[str]] = dict(
            sql.execute("SELECT state, array_agg(DISTINCT level) FROM seen GROUP BY state").fetchall()
        )
        assert by_state == {"new": ["off"], "posting": ["on"], "started": ["off"], "final": ["off"]}

    async def test_what_asks_for_more_stays(self, fleet_database: str, sql: psycopg.Connection) -> None:
        """A database whose commits wait for a standby's is not made to wait for less."""
        sql.execute(f"ALTER DATABASE {sql.info.dbname} SET synchronous_commit = remote_apply")
        async with PostgresJournal(fleet_database) as journal:
            owner = await journal.enter()
            levels = await journal._sessions[owner].run(  # noqa: SLF001 - no other way leads to what it waits for
                "SELECT current_setting('synchronous_commit') AS level", {}
            )
        assert levels == [{"level": "remote_apply"}]

    @pytest.mark.parametrize("is_ours", [True, False])
    async def test_one_that_comes_late_is_not_used(
        self,
        journal: PostgresJournal,
        clock: FakeClock,
        sql: psycopg.Connection,
        is_ours: bool,  # noqa: FBT001 - a parameter of pytest
    ) -> None:
        """Others count from when it was given. The next try is prompt again."""
        owner = await journal.enter() if is_ours else "of another process"
        intent = await journal.begin(new_intent())
        with sql.transaction():
            sql.execute("SELECT 1 FROM closebulk.intents FOR UPDATE")
            step = asyncio.create_task(journal.swap(attrs.evolve(intent, state=State.POSTING, owner=owner)))
            await until_it_waits(sql)
            with clock.hold():
                await clock.advance(10.5)
        with pytest.raises(JournalError, match="came after more than 10 seconds; nothing was sent; try again"):
            await step
        stored = await journal.get(intent.id)
        assert stored is not None
        await swapped(journal, stored, state=State.POSTING)


class TestContents:
    """What may be written, and what is refused."""

    @pytest.mark.parametrize(("text", "advice"), [("\x00", "without the character NUL"), ("\ud800", "that is Unicode")])
    async def test_a_text_that_it_cannot_keep_is_refused(
        self, journal: PostgresJournal, text: str, advice: str
    ) -> None:
        """It is not kept as another one."""
        with pytest.raises(JournalError, match=advice):
            await journal.begin(new_intent(idempotency_key=text))
        assert await journal.unfinished() == []

    @pytest.mark.parametrize(
        ("name", "odd"),
        {"state": "odd", "created_at": "yesterday", "fence": "{}", "sighting": "{}", "ref": "?"}.items(),
    )
    async def test_a_row_that_was_changed_is_refused(
        self, journal: PostgresJournal, sql: psycopg.Connection, name: str, odd: str
    ) -> None:
        """An intent that cannot be read is an error, not a guess."""
        intent = await posting(journal)
        sql.execute(f"UPDATE closebulk.intents SET {name} = %s", [odd])  # noqa: S608 - one of five literals
        with pytest.raises(JournalError, match="a row of it cannot be read"):
            await journal.get(intent.id)

    async def test_who_may_not_write_is_told(self, fleet_database: str, sql: psycopg.Connection) -> None:
        """As on a standby."""
        sql.execute(f"ALTER DATABASE {sql.info.dbname} SET default_transaction_read_only = on")
        async with PostgresJournal(fleet_database) as journal:
            with pytest.raises(JournalError, match="connect to the primary"):
                await journal.begin(new_intent())


class TestSize:
    """What goes and what stays."""

    async def test_what_has_no_key_is_forgotten_after_its_time(
        self, fleet_database: str, clock: FakeClock, sql: psycopg.Connection, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Started and final ones, now and then, when something is begun. Keys stay, and so does what is open.

        One that was never seen to end is named.
        """
        caplog.set_level("INFO", "closebulk_async")
        async with PostgresJournal(fleet_database, clock=clock, keep=timedelta(days=30)) as journal:
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
            await clock.advance(29.5 * 86400)
            stays += [await journal.begin(new_intent()) for _ in range(CLEAR_EVERY)]
        assert {id_ for (id_,) in sql.execute("SELECT id FROM closebulk.intents")} == {each.id for each in stays}
        (said,) = caplog.messages
        assert f"forgets {ref_of(2)}, of which nothing was learned for long" in said

    async def test_owners_that_nobody_needs_are_forgotten(
        self, fleet_database: str, journal: PostgresJournal, sql: psycopg.Connection
    ) -> None:
        """Not the living, nor who is needed to judge an open intent, dead or alive."""
        sql.execute("INSERT INTO closebulk.owners (owner) VALUES ('killed'), ('needed')")
        sql.execute("INSERT INTO closebulk.dead_owners (owner) VALUES ('dead'), ('dead and needed')")
        await posting(journal, owner="needed")
        await posting(journal, owner="dead and needed")
        async with PostgresJournal(fleet_database) as other:
            lives = await other.enter()
            for _ in range(CLEAR_EVERY):
                await journal.begin(new_intent())
            assert {owner for (owner,) in sql.execute("SELECT owner FROM closebulk.owners")} == {lives, "needed"}
            assert not await journal.is_dead(lives)
        dead = {owner for (owner,) in sql.execute("SELECT owner FROM closebulk.dead_owners")}
        assert dead == {"dead and needed", lives}

    async def test_the_user_may_remove_keys(self, journal: PostgresJournal, clock: FakeClock) -> None:
        """Those of actions that ended before then, and no open one; how many is said."""
        old = await finished(journal, ref_of(1), idempotency_key="old")
        still_open = await started(journal, ref_of(2), idempotency_key="open")
        await finished(journal, ref_of(3))
        await clock.advance(60)
        new = await finished(journal, ref_of(4), idempotency_key="new")
        assert await journal.prune(clock.now() - timedelta(seconds=30)) == 2
        assert await journal.get(old.id) is None
        assert [await journal.get(each.id) for each in (still_open, new)] == [still_open, new]

    async def test_what_many_ask_is_found_by_an_index(self, journal: PostgresJournal, sql: psycopg.Connection) -> None:
        """Among thousands that have ended."""
        await asyncio.gather(*(journal.begin(new_intent(idempotency_key=str(number))) for number in range(20)))
        sql.execute("""INSERT INTO closebulk.intents
            (id, scope, kind, body, fingerprint, created_at, state, ref, version, changed_at)
            SELECT 'many' || n, 'scope', 'email', '', 'print' || n, '', 'final', 'email:' || n, 1, n
            FROM generate_series(1, 5000) AS n""")
        sql.execute("ANALYZE closebulk.intents")
        values = dict.fromkeys(("id", "scope", "fingerprint", "owner", "until", "sighting", "ref"), "many7")
        given = {**values, "refs": [f"email:{n}" for n in range(50)], "version": 1, "is_final": True, "before": 9.0}
        given |= {"changed_at": 1.0, "batch": 10}
        for name in ("GET", "CLAIMED", "UNFINISHED", "UNFINISHED_OF_FINGERPRINT", "LEASE", "PROGRESS", "FORGET"):
            plan = sql.execute(f"EXPLAIN {getattr(tables, name)}", given).fetchall()
            assert not any("Seq Scan" in line for (line,) in plan), (name, plan)
