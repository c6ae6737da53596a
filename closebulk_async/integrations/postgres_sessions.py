"""Connections to PostgreSQL that a fleet makes itself: errors with advice, and the sessions that prove who is alive."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import AsyncConnection, AsyncCursor, errors
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from closebulk_async.errors import JournalError
from closebulk_async.integrations import postgres_tables as tables
from closebulk_async.integrations.processes import this_process

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

logger: logging.Logger = logging.getLogger("closebulk_async")

CONNECT_SECONDS = 10
"""For one try. A server that is there answers in milliseconds."""

PING_EVERY = 5.0
"""Seconds between two looks whether a session still lives: a cut is mended long before it could prove a death."""

RETRY_EVERY = 0.5
"""Seconds between two tries to make a session that was lost: a restart of the server takes about one."""

KEEPALIVES: Mapping[str, Any] = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}
"""The client's side of what SESSION_SETTINGS asks of the server."""

RUN_INIT = "run `closebulk fleet init`"

ADVICE: tuple[tuple[type[Exception], str], ...] = (
    (errors.UndefinedTable, RUN_INIT),
    (errors.InvalidSchemaName, RUN_INIT),
    (errors.UndefinedColumn, RUN_INIT),
    (errors.DiskFull, "its disk is full"),
    (errors.InsufficientPrivilege, "grant this user what it lacks, or run `closebulk fleet init` as the owner"),
    (errors.InvalidAuthorizationSpecification, "check the user and the password"),
    (errors.ReadOnlySqlTransaction, "it is a standby: connect to the primary"),
    (UnicodeError, "take a text that is Unicode"),
    (psycopg.DataError, "take a text without the character NUL"),
    (PoolClosed, "open the pool, and keep it open as long as the journal"),
    (PoolTimeout, "see that PostgreSQL runs and can be reached, and that the pool is large enough"),
)
"""What to do about an error."""

ELSE = "see that PostgreSQL runs and can be reached, and that this user may connect"


def advise(error: BaseException) -> str:
    """What to do about an error of PostgreSQL, of the way to it, or of what was written."""
    return next((advice for kind, advice in ADVICE if isinstance(error, kind)), ELSE)


def describe(conninfo: str) -> str:
    """Which database it leads to, without a password. Raises JournalError where it cannot be read."""
    try:
        fields = conninfo_to_dict(conninfo)
    except psycopg.ProgrammingError:
        message = "the connection string of a journal cannot be read: take a URI or `key=value` pairs, as libpq does"
        raise JournalError(message) from None  # its text may quote a part of the password
    return f"{fields.get('host', 'the default host')}:{fields.get('port', 5432)}/{fields.get('dbname', '')}"


async def conninfo_of(source: str | AsyncConnectionPool[Any]) -> str:
    """How to connect beside a pool as the pool does."""
    if isinstance(source, str):
        return source
    conninfo: Any = source.conninfo
    if callable(conninfo):
        conninfo = conninfo()
        if isawaitable(conninfo):
            conninfo = await conninfo
    return str(conninfo or "")


async def connect(conninfo: str) -> AsyncConnection[DictRow]:
    """A connection of its own, on which each statement is one transaction."""
    return await AsyncConnection.connect(
        conninfo,
        autocommit=True,
        row_factory=dict_row,
        connect_timeout=CONNECT_SECONDS,
        **KEEPALIVES,
    )


@asynccontextmanager
async def connected(conninfo: str) -> AsyncGenerator[AsyncConnection[DictRow], None]:
    """The same for one block."""
    connection = await connect(conninfo)
    try:
        yield connection
    finally:
        await connection.close()


async def migrate(conninfo: str) -> int:
    """Make the tables of a fleet, or those of this version from those of an earlier one, and return the version.

    May be repeated, and may run in many processes at once. All is done, or nothing. Raises JournalError.
    """
    place = describe(conninfo)
    try:
        async with connected(conninfo) as connection, connection.transaction():
            await _migrate(connection, place)
    except (psycopg.Error, OSError) as exc:
        raise unusable(place, str(exc), advice=advise(exc)) from exc
    return tables.SCHEMA_VERSION


async def _migrate(connection: AsyncConnection[DictRow], place: str) -> None:
    await connection.execute(tables.ONE_MIGRATION_AT_A_TIME)
    # Asked before: who may only use a schema may not even say «if not exists».
    if await _value(connection, tables.LACKS_SCHEMA):
        await connection.execute(f"CREATE SCHEMA {tables.SCHEMA}")
    await connection.execute(tables.VERSION_TABLE)
    version = await _value(connection, tables.VERSION) or 0
    check_not_newer(version, place)
    for number in range(version, tables.SCHEMA_VERSION):
        for statement in tables.MIGRATIONS[number]:
            await connection.execute(statement)
        await connection.execute(tables.NOTE_VERSION, {"version": number + 1})


def check_not_newer(version: int, place: str) -> None:
    """Raises JournalError for tables that a later package has made."""
    if version > tables.SCHEMA_VERSION:
        reason = f"its tables are of version {version}, and this package knows version {tables.SCHEMA_VERSION}"
        raise unusable(place, reason, advice="update closebulk-async, or take another database")


async def check_version(connection: AsyncConnection[DictRow] | AsyncCursor[DictRow], place: str) -> None:
    """Raises JournalError where the tables are not those of this version."""
    try:
        version = await _value(connection, tables.VERSION)
    except (errors.UndefinedTable, errors.InvalidSchemaName) as exc:
        raise unusable(place, "it has no tables of a fleet", advice=RUN_INIT) from exc
    check_not_newer(version or 0, place)
    if (version or 0) < tables.SCHEMA_VERSION:
        reason = f"its tables are of version {version}, and this package needs version {tables.SCHEMA_VERSION}"
        raise unusable(place, reason, advice=RUN_INIT)


def unusable(place: str, reason: str, *, advice: str) -> JournalError:
    """The error of a database that is not as it must be."""
    return JournalError(f"the journal in PostgreSQL at {place} cannot be used: {reason}; {advice}")


async def _value(connection: AsyncConnection[DictRow] | AsyncCursor[DictRow], statement: str) -> Any:  # noqa: ANN401 - of whatever type it is
    row = await (await connection.execute(statement)).fetchone()
    return None if row is None else next(iter(row.values()))


class OwnerSession:
    """One connection for one owner, with the lock that says that it lives. What is lost is made again.

    The lock is the session's: PostgreSQL lets go of it when the connection ends, and never before.
    """

    def __init__(
        self,
        owner: str,
        source: str | AsyncConnectionPool[Any],
        *,
        ping_every: float = PING_EVERY,
        retry_every: float = RETRY_EVERY,
    ) -> None:
        """Connect nowhere yet."""
        self._ping_every = ping_every
        self._retry_every = retry_every
        self.owner = owner
        self._source = source
        self._connection: AsyncConnection[DictRow] | None = None
        self._using = asyncio.Lock()
        self._keeper: asyncio.Task[None] | None = None

    async def enter(self) -> None:
        """Take the lock, and keep it until `close`. Raises JournalError, psycopg.Error."""
        async with self._using:
            await self._held()
        self._keeper = asyncio.get_running_loop().create_task(self._keep(), name=f"closebulk_async owner {self.owner}")

    async def run(self, statement: str, parameters: Mapping[str, Any]) -> list[DictRow]:
        """One statement, on disk when it returns, in a moment in which the lock is held.

        Raises JournalError where others have taken this owner for dead meanwhile.
        """
        async with self._using:
            connection = await self._held()
            return await (await connection.execute(statement, parameters)).fetchall()

    async def close(self) -> None:
        """Let go of the lock."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait({self._keeper})
        async with self._using:
            await self._drop()

    async def _keep(self) -> None:
        """Look after the session. In real time, whatever the client's clock: the server has no other."""
        is_lost = False
        while True:
            await asyncio.sleep(self._retry_every if is_lost else self._ping_every)
            try:
                async with self._using:
                    await self._held()
                is_lost = False
            except (psycopg.Error, OSError, TimeoutError) as exc:
                if not is_lost:
                    logger.warning("the session of owner %s in PostgreSQL was lost: %s", self.owner, exc)
                is_lost = True
            except JournalError as exc:
                logger.error("owner %s can start nothing any more: %s", self.owner, exc)  # noqa: TRY400 - no defect
                return

    async def _held(self) -> AsyncConnection[DictRow]:
        """The connection, which has answered just now: the one that there was, or another one."""
        if self._connection is not None:
            try:
                await self._connection.execute("SELECT 1")
            except (psycopg.OperationalError, psycopg.InterfaceError):
                await self._drop()
        if self._connection is None:
            self._connection = await self._take()
        return self._connection

    async def _take(self) -> AsyncConnection[DictRow]:
        connection = await connect(await conninfo_of(self._source))
        try:
            await self._enter_on(connection)
        except BaseException:
            await connection.close()
            raise
        return connection

    async def _enter_on(self, connection: AsyncConnection[DictRow]) -> None:
        await connection.execute(tables.SESSION_SETTINGS)
        await connection.execute(tables.ON_DISK, {"is_local": False})
        # Waits for the end of the lost session, and for whoever just tries whether the lock is free.
        await connection.execute(tables.WAIT_SHORTLY)
        await connection.execute(tables.LOCK_OWNER, {"owner": self.owner})
        await connection.execute(tables.WAIT_AS_BEFORE)
        process = this_process()
        known = {"host": process and process.host, "process": process and process.process}
        entered = await connection.execute(tables.ENTER, {"owner": self.owner, **known})
        if await entered.fetchone() is None:
            message = (
                f"owner {self.owner} was cut off from PostgreSQL, and others have taken it for dead: "
                "open a new client, which enters as another owner"
            )
            raise JournalError(message)

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()
