"""The rows of a fleet: each question one statement, tried again while PostgreSQL is being restarted."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from procrastinate.exceptions import ConnectorException
from psycopg.rows import DictRow, dict_row
from psycopg_pool import PoolClosed, PoolTimeout

from closebulk_async.integrations import fleet_tables as tables
from closebulk_async.integrations.fleet_rows import Offset
from closebulk_async.integrations.postgres_sessions import (
    RUN_INIT,
    advise,
    check_version,
    conninfo_of,
    describe,
    unusable,
)
from closebulk_async.tasks import heeding

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from psycopg import AsyncConnection
    from psycopg_pool import AsyncConnectionPool

    from closebulk_async.clock import Clock

T = TypeVar("T")

ANSWER_SECONDS = 15.0
"""How long a question waits for an answer: a restart of the server takes some seconds."""

AGAIN = 0.2
"""Seconds between two tries within that time."""

PASSING: tuple[type[Exception], ...] = (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout, OSError)
"""What a restart of the server looks like. Each statement here may be sent twice."""


class Store:
    """Asks the database through a pool, which stays its owner's."""

    def __init__(self, pool: AsyncConnectionPool[Any], *, clock: Clock, answer_seconds: float = ANSWER_SECONDS) -> None:
        """Ask nothing yet."""
        self._answer_seconds = answer_seconds
        self.pool = pool
        self._clock = clock

    async def ask(self, statement: str, **parameters: object) -> list[DictRow]:
        """The rows that a statement returns. Raises JournalError where the database cannot be used."""
        return await self.do(_asking(statement, parameters))

    async def ask_patiently(self, statement: str, **parameters: object) -> list[DictRow]:
        """The same, however long the database is away."""
        return await self.do(_asking(statement, parameters), is_patient=True)

    async def do(self, work: Callable[[AsyncConnection[Any]], Awaitable[T]], *, is_patient: bool = False) -> T:
        """Let `work` ask, all of it in one transaction; it may run several times.

        Raises JournalError; where it `is_patient`, for no outage, but only where no answer would ever come.
        """

        async def ask() -> T:
            async with self.pool.connection() as connection, connection.transaction():
                return await work(connection)

        return await self.repeat(ask, is_patient=is_patient)

    async def repeat(self, ask: Callable[[], Awaitable[T]], *, is_patient: bool = False) -> T:
        """The same for what asks by itself, as the engine does on connections that it takes from a pool."""
        tries: list[BaseException] = []
        while True:
            try:
                async with asyncio.timeout(self._answer_seconds):
                    return await heeding(self._insist(ask, tries))
            except (psycopg.Error, PoolClosed) as exc:
                raise await self._error(exc) from exc
            except TimeoutError as exc:
                if not is_patient:
                    last = tries[-1] if tries else None
                    raise await self._error(last or exc) from last
                tries.clear()

    async def offset(self) -> Offset:
        """By how much the database's clock differs from this process's, to half of a round trip."""
        began = self._clock.monotonic()
        (row,) = await self.ask(tables.CLOCK)
        return Offset(row["now"] - (began + self._clock.monotonic()) / 2)

    async def check(self) -> None:
        """Raises JournalError where the tables of a fleet or of its engine are missing, or are of another version."""
        place = describe(await conninfo_of(self.pool))

        async def run(connection: AsyncConnection[Any]) -> tuple[bool, bool]:
            cursor = connection.cursor(row_factory=dict_row)
            await check_version(cursor, place)
            (lacks,) = await (await cursor.execute(tables.LACKS_ENGINE)).fetchall()
            (old,) = await (await cursor.execute(tables.IS_OLD_ENGINE)).fetchall()
            return lacks["lacks"], old["is_old"]

        lacks_engine, is_old = await self.do(run)
        if lacks_engine:
            raise unusable(place, "it has no tables of procrastinate", advice=RUN_INIT)
        if is_old:
            reason = "its tables of procrastinate are older than version 3.0"
            raise unusable(place, reason, advice="update them as the release notes of procrastinate say")

    async def _insist(self, ask: Callable[[], Awaitable[T]], tries: list[BaseException]) -> T:
        while True:
            try:
                with _as_its_cause():
                    return await ask()
            except PoolClosed:  # an OperationalError too, and it does not pass
                raise
            except PASSING as exc:
                tries.append(exc)
                await asyncio.sleep(AGAIN)

    async def _error(self, error: BaseException) -> Exception:
        place = describe(await conninfo_of(self.pool))
        return unusable(place, str(error) or f"no answer in {self._answer_seconds:g} seconds", advice=advise(error))


def _asking(
    statement: str, parameters: Mapping[str, object]
) -> Callable[[AsyncConnection[Any]], Awaitable[list[DictRow]]]:
    async def run(connection: AsyncConnection[Any]) -> list[DictRow]:
        cursor = connection.cursor(row_factory=dict_row)
        await cursor.execute(statement, parameters)
        return list(await cursor.fetchall()) if cursor.description else []

    return run


@contextmanager
def _as_its_cause() -> Iterator[None]:
    """The engine's error of a database says «Database error.»; what it comes from says which, and whether it passes."""
    try:
        yield
    except ConnectorException as exc:
        raise exc.__cause__ or exc from None
