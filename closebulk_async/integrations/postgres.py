"""The journal in PostgreSQL, for clients on any number of machines. Extra: `closebulk-async[fleet]`."""

from __future__ import annotations

import asyncio
import logging
import uuid
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

try:
    import psycopg
    from psycopg.rows import DictRow, dict_row
    from psycopg_pool import AsyncConnectionPool, PoolClosed
except ImportError as _exc:
    message = "psycopg is not installed: pip install 'closebulk-async[fleet]'"
    raise ImportError(message, name=_exc.name) from _exc

from closebulk_async.errors import JournalError
from closebulk_async.integrations import postgres_tables as tables
from closebulk_async.integrations.postgres_sessions import (
    OwnerSession,
    advise,
    check_version,
    connected,
    conninfo_of,
    describe,
    migrate,
    unusable,
)
from closebulk_async.integrations.processes import ProcessName
from closebulk_async.intents import State
from closebulk_async.policy import Duration, to_seconds
from closebulk_async.stored_journal import BATCH, Statements, StoredJournal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping

    from closebulk_async.clock import Clock
    from closebulk_async.intents import Intent
    from closebulk_async.models import JobRef

__all__ = ["PostgresJournal", "migrate"]

T = TypeVar("T")

logger: logging.Logger = logging.getLogger("closebulk_async")

ANSWER_SECONDS = 30.0
"""How long a caller waits for one operation: longer than a restart of the server takes."""

PROMPT_SECONDS = 10.0
"""How old the leave to send a POST may be when it arrives. One that is older is given back."""

GRACE = timedelta(seconds=75)
"""How long the last leave to send a POST must be over before a lost session proves a death.

`PROMPT_SECONDS`, and what a POST may take: the 60 seconds of `Timeouts().total`, and some for a busy machine.
"""

POOL_SIZE = 4
"""Connections of a journal that makes its own pool. Each operation is one statement of about a millisecond."""

OWNERS_CLEARED = 100
"""Owners that one clearing tries at most."""


class PostgresJournal(StoredJournal):
    """A journal in PostgreSQL 13 or later, which any number of processes on any number of machines may share.

    `source` says how to connect, as libpq does, or is an open pool, which stays the caller's (with
    `check=AsyncConnectionPool.check_connection`, else a call fails for each connection that a restart of the server has
    ended). `migrate`, or `closebulk fleet init`, makes its tables before. What `Intent` holds is all that is written:
    no key and no token. A text with the character NUL is refused.

    A start is final when its action has ended or it was given up. One that is final, or started, and has no idempotency
    key is forgotten when nothing was learned of it for `keep`. Every other one stays, until `prune` removes those that
    are final.

    An owner has a connection of its own, outside the pool and not through a pooler of transactions, with a lock that
    ends with its session. Another one is *proved dead* when it has left; when its process is one of the same host
    (Linux) and is gone; or when its lock is free, under the same run of the server, and its last leave to send a POST
    is `grace` old. Under another run nothing is proved by a free lock: a restart ends the sessions of the living too.
    They make new ones within seconds, as after every cut.

    The leave to send a POST is given on that very connection, so that the lock was held then. What is sent with it has
    ended before `grace` is over, even if the session is lost the next moment: `grace` is to be longer than
    `Timeouts.total`, and than every `timeout` of a `create`, by 15 seconds. One case is left. A process that is stopped
    (SIGSTOP, a frozen machine) between the leave and the POST, loses its session while it is stopped, and goes on after
    `grace` sends a POST that others may have sent by then. Being stopped alone is harmless, for the kernel keeps the
    session, and so is a cut alone.

    Every method raises JournalError where the database cannot be used; one that had no answer in time may still have
    its effect. One event loop uses a journal. `aclose`, or `async with`, leaves for all owners that entered here, and
    closes the connections that it has made.
    """

    _statements: ClassVar[Statements] = tables
    _if_damaged = "restore it from a backup"

    def __init__(
        self,
        source: str | AsyncConnectionPool[Any],
        *,
        clock: Clock | None = None,
        keep: Duration = timedelta(days=90),
        grace: Duration = GRACE,
    ) -> None:
        """Connect nowhere yet. Raises InvalidRequestError where `keep` or `grace` is no duration."""
        super().__init__(clock=clock, keep=keep)
        self._source = source
        self._grace = to_seconds(grace, name="grace")
        self._place = "an address not read yet"
        self._pool: AsyncConnectionPool[Any] | None = None
        self._sessions: dict[str, OwnerSession] = {}

    async def enter(self) -> str:
        """Make an owner, and hold its lock in a session of its own until it leaves or this process ends."""
        session = OwnerSession(uuid.uuid4().hex, self._source)

        async def enter() -> str:
            await self._opened()
            await session.enter()
            self._sessions[session.owner] = session
            return session.owner

        return await self._finish(enter)

    async def leave(self, owner: str) -> None:
        """Note that an owner that entered here is dead, and end its session."""
        await self._finish(lambda: self._leave(owner))

    async def is_dead(self, owner: str) -> bool:
        """Whether it is proved that the owner does nothing any more; the class says how."""
        return await self._finish(lambda: self._judge(owner))

    async def swap(self, intent: Intent) -> Intent | None:
        """Replace the stored one, if it is still the one that was read and nobody else has what it takes."""

        async def swap() -> list[DictRow]:
            with suppress(psycopg.errors.UniqueViolation):
                if intent.state is State.POSTING:
                    return await self._permit(intent)
                return await self._run(tables.SWAP, self._row(intent))
            return []

        return next(iter(self._read(await self._finish(swap))), None)

    async def claimed(self, scope: str, refs: Collection[JobRef[Any]]) -> frozenset[JobRef[Any]]:
        """Those that belong to an intent."""
        by_text = {str(ref): ref for ref in refs}
        rows = await self._ask(tables.CLAIMED, {"scope": scope, "refs": list(by_text)})
        return frozenset(by_text[row["ref"]] for row in rows)

    async def _close(self) -> None:
        for owner in list(self._sessions):
            try:
                await self._guarded(partial(self._leave, owner))
            except JournalError as exc:
                logger.warning("owner %s could not leave: %s", owner, exc)
        if self._pool is not None and self._pool is not self._source:
            await self._pool.close()

    async def _leave(self, owner: str) -> None:
        session = self._sessions.pop(owner, None)
        if session is not None:  # nobody may bury the owner of another process
            try:  # on its own connection: where that is lost and the server is away, nobody waits for a pool
                await session.run(tables.BURY, {"owner": owner})
            finally:
                await session.close()

    async def _judge(self, owner: str) -> bool:
        if owner in self._sessions:
            return False  # also while its session is lost: this process lives
        (known,) = await self._run(tables.KNOWN_OF_OWNER, {"owner": owner})
        if known["is_buried"]:
            return True
        if known["process"] and await asyncio.to_thread(ProcessName(known["host"], known["process"]).is_gone):
            await self._run(tables.BURY, {"owner": owner})  # what is proved once stays so
            return True
        pool = await self._opened()
        async with pool.connection() as connection, connection.transaction():
            cursor = connection.cursor(row_factory=dict_row)
            # Until the transaction ends. Two statements, because the second one must see all that was committed while
            # the lock was held by another one.
            await cursor.execute(tables.TRY_LOCK_OWNER, {"owner": owner})
            (tried,) = await cursor.fetchall()
            if not tried["is_free"]:
                return False
            await cursor.execute(tables.BURY_IF_PROVED, {"owner": owner, "grace": self._grace})
            return bool(await cursor.fetchall())

    async def _permit(self, intent: Intent) -> list[DictRow]:
        """The swap that is the leave to send a POST: on disk, and while the owner's lock is held."""
        session = self._sessions.get(intent.owner or "")
        began = self._clock.monotonic()
        if session is not None:
            rows = await session.run(tables.SWAP, self._row(intent))
        else:  # of an owner that did not enter here: whoever sends a POST for it has its own reasons
            rows = await self._run_on_disk(tables.SWAP, self._row(intent))
        if self._clock.monotonic() - began > PROMPT_SECONDS:
            # This process was stopped, or the server was. Others may count from when it was given.
            reason = f"the leave to send a POST came after more than {PROMPT_SECONDS:g} seconds"
            raise self._error(reason, advice="nothing was sent; try again")
        return rows

    async def _guarded(self, work: Callable[[], Awaitable[T]]) -> T:
        try:
            async with self._clock.timeout(ANSWER_SECONDS):
                return await work()
        except (psycopg.Error, PoolClosed, OSError, UnicodeError) as exc:
            raise self._error(str(exc) or f"no answer in {ANSWER_SECONDS:g} seconds", advice=advise(exc)) from exc

    async def _run(self, statement: str, parameters: Mapping[str, Any]) -> list[DictRow]:
        pool = await self._opened()
        async with pool.connection() as connection:
            cursor = connection.cursor(row_factory=dict_row)
            await cursor.execute(statement, parameters)
            return list(await cursor.fetchall()) if cursor.description else []

    async def _run_on_disk(self, statement: str, parameters: Mapping[str, Any]) -> list[DictRow]:
        pool = await self._opened()
        async with pool.connection() as connection, connection.transaction():
            await connection.execute(tables.ON_DISK, {"is_local": True})
            cursor = connection.cursor(row_factory=dict_row)
            await cursor.execute(statement, parameters)
            return list(await cursor.fetchall())

    async def _opened(self) -> AsyncConnectionPool[Any]:
        async with self._opening:
            if self._pool is None:
                conninfo = await conninfo_of(self._source)
                self._place = describe(conninfo)
                async with connected(conninfo) as connection:  # not of a pool, which would keep its error to itself
                    await check_version(connection, self._place)
                self._pool = await _own_pool(conninfo) if isinstance(self._source, str) else self._source
            return self._pool

    async def _clear(self) -> None:
        """Remove what nobody needs any more."""
        for row in await self._run(tables.FORGET, {"before": self._now() - self._keep, "batch": BATCH}):
            if row["state"] == State.STARTED:  # nobody waited for its end, so that somebody may still want to know
                logger.info(
                    "the journal at %s forgets %s, of which nothing was learned for long", self._place, row["ref"]
                )
        await self._run(tables.CLEAR_OWNERS, {"limit": OWNERS_CLEARED})

    def _name(self) -> str:
        return f"in PostgreSQL at {self._place}"

    def _error(self, reason: str, *, advice: str) -> JournalError:
        return unusable(self._place, reason, advice=advice)


async def _own_pool(conninfo: str) -> AsyncConnectionPool[Any]:
    async def configure(connection: psycopg.AsyncConnection[Any]) -> None:
        await connection.execute(tables.MAY_BE_LOST)

    pool = AsyncConnectionPool(
        conninfo,
        open=False,
        min_size=1,
        max_size=POOL_SIZE,
        timeout=ANSWER_SECONDS,
        kwargs={"autocommit": True},
        configure=configure,
        check=AsyncConnectionPool.check_connection,
        name="closebulk_async journal",
    )
    await pool.open()
    return pool
