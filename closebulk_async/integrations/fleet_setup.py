"""What `closebulk fleet init` makes in a database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
from procrastinate.schema import SchemaManager

from closebulk_async.integrations import fleet_tables, postgres_tables
from closebulk_async.integrations.postgres_sessions import advise, connected, describe, migrate, unusable

if TYPE_CHECKING:
    from psycopg import AsyncConnection
    from psycopg.rows import DictRow


async def prepare(conninfo: str) -> int:
    """Make the tables of a fleet and of its engine where they are missing, and return the version of ours.

    May be repeated, and may run in many processes at once. The engine's tables that are there already stay as they are:
    procrastinate tells with its releases what changes in them, and how. Raises JournalError.
    """
    version = await migrate(conninfo)
    try:
        async with connected(conninfo) as connection, connection.transaction():
            await _prepare(connection)
    except (psycopg.Error, OSError) as exc:
        raise unusable(describe(conninfo), str(exc), advice=advise(exc)) from exc
    return version


async def _prepare(connection: AsyncConnection[DictRow]) -> None:
    await connection.execute(postgres_tables.ONE_MIGRATION_AT_A_TIME)
    (lacks,) = await (await connection.execute(fleet_tables.LACKS_ENGINE)).fetchall()
    if lacks["lacks"]:
        await connection.execute(SchemaManager.get_schema())
