"""The budget of one API key over all processes that share a PostgreSQL. Extra: `closebulk-async[fleet]`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from closebulk_async.clock import Clock, SystemClock
from closebulk_async.shared_budget import check_key_hash, hash_key
from closebulk_async.shared_limiter import Record, SharedLimiter

try:
    import psycopg
    from psycopg_pool import AsyncConnectionPool
except ImportError as exc:
    message = "psycopg is not installed: pip install 'closebulk-async[fleet]'"
    raise ImportError(message, name=exc.name) from exc

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PostgresLimiter", "hash_key"]

SCHEMA = (
    # Not logged: a crash of the server empties it, which costs some requests by which the limits are seen again. So no
    # commit waits for a disk. Half of each page is left free, so that a row that is replaced stays on its page and the
    # index as it is.
    """CREATE UNLOGGED TABLE IF NOT EXISTS closebulk.budgets (
        key_hash text NOT NULL, grp text NOT NULL, token text NOT NULL, state text NOT NULL,
        written_at timestamptz NOT NULL, PRIMARY KEY (key_hash, grp)) WITH (fillfactor = 50)""",
)

# One row comes in any case: it says what time it is.
READ = """SELECT token, state, extract(epoch FROM written_at)::float8, extract(epoch FROM clock_timestamp())::float8
    FROM (SELECT 1) AS once LEFT JOIN closebulk.budgets ON key_hash = %(key_hash)s AND grp = %(group)s"""
# A row that somebody else has replaced «is replaced» by itself, because only a row that is written is returned, and
# then as it is after whoever was waited for.
SWAP = """INSERT INTO closebulk.budgets AS kept (key_hash, grp, token, state, written_at)
    VALUES (%(key_hash)s, %(group)s, %(token)s, %(state)s, clock_timestamp())
    ON CONFLICT (key_hash, grp) DO UPDATE SET
        token = CASE WHEN kept.token = %(seen)s THEN excluded.token ELSE kept.token END,
        state = CASE WHEN kept.token = %(seen)s THEN excluded.state ELSE kept.state END,
        written_at = CASE WHEN kept.token = %(seen)s THEN clock_timestamp() ELSE kept.written_at END
    RETURNING token, state, extract(epoch FROM written_at)::float8, extract(epoch FROM clock_timestamp())::float8"""

ANSWER_SECONDS = 5.0
"""How long a request waits for the database, which answers within milliseconds; time for one to be restarted."""

RECONNECT_SECONDS = 0.1
"""Between two tries within that time."""


class PostgresLimiter(SharedLimiter):
    """A limiter for all clients of one key, in any number of processes that share a database.

    `key_hash` is `hash_key(api_key, base_url=...)`; the key itself is never stored. The tables are made by `closebulk
    fleet init`. `database` is how to connect to it, or a pool of the caller's, which is never closed here. A request
    costs one write and, where several processes share the budget, one read; what answers show is written with the
    next reservation. The database's clock is the one that counts.

    When the database does not answer for five seconds, a request raises TransportError and was not sent (some seconds
    later where a connection to it hangs); polls go on when it is back. `aclose`, or `async with`, writes down what is
    left and lets go of the connections.
    """

    def __init__(self, database: str | AsyncConnectionPool[Any], *, key_hash: str, clock: Clock | None = None) -> None:
        """Nothing is opened yet. Raises InvalidRequestError where `key_hash` is none."""
        clock = SystemClock() if clock is None else clock
        self._budgets = _Budgets(database, check_key_hash(key_hash), clock)
        super().__init__(self._budgets, clock)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Write down what answers have shown, give back what is reserved, and close the connections made here."""
        try:
            await super().aclose()
        finally:
            await self._budgets.aclose()


class _Budgets:
    """The rows of one key, as a Store."""

    def __init__(self, database: str | AsyncConnectionPool[Any], key_hash: str, clock: Clock) -> None:
        self._owns_pool = isinstance(database, str)
        self._pool = _make_pool(database) if isinstance(database, str) else database
        self._key_hash = key_hash
        self._clock = clock

    async def read(self, group: str) -> Record:
        """As `Store.read`."""
        return await self._ask(READ, {"group": group})

    async def swap(self, group: str, text: str, *, seen: str | None, token: str) -> Record:
        """As `Store.swap`."""
        return await self._ask(SWAP, {"group": group, "state": text, "seen": seen, "token": token})

    async def aclose(self) -> None:
        """Close the pool that was made here."""
        if self._owns_pool:
            await self._pool.close()

    async def _ask(self, statement: str, parameters: Mapping[str, object]) -> Record:
        last: Exception | None = None
        try:
            async with self._clock.timeout(ANSWER_SECONDS):
                if self._owns_pool:
                    await self._pool.open()  # nothing where it is open
                while True:
                    try:
                        return await self._run(statement, {**parameters, "key_hash": self._key_hash})
                    except psycopg.OperationalError as exc:
                        # It was restarted, or is not there: each connection that the pool still has shows it once.
                        last = exc
                        await self._clock.sleep(RECONNECT_SECONDS)
        except TimeoutError as exc:
            reason = f"PostgreSQL does not answer: {last or 'nothing came'} ({ANSWER_SECONDS:g} s)"
            raise TimeoutError(reason) from (last or exc)
        except psycopg.errors.UndefinedTable as exc:
            raise LookupError("this database has no budgets: run `closebulk fleet init`") from exc

    async def _run(self, statement: str, parameters: Mapping[str, object]) -> Record:
        async with self._pool.connection(timeout=ANSWER_SECONDS) as connection:
            # By itself: whoever is stopped in the middle of a transaction would keep the row from everybody. Whoever
            # lends the pool may want his connections otherwise.
            was = connection.autocommit
            await connection.set_autocommit(True)
            try:
                cursor = await connection.execute(statement, parameters)
                row = await cursor.fetchone()
            finally:
                if not connection.closed and was is False:
                    await connection.set_autocommit(False)
        token, text, written_at, now = row if row is not None else (None, None, None, 0.0)
        return Record(token=token, text=text, written_at=now if written_at is None else written_at, now=now)


def _make_pool(conninfo: str) -> AsyncConnectionPool[Any]:
    keywords = {"autocommit": True, "application_name": "closebulk limiter"}
    return AsyncConnectionPool(conninfo, min_size=1, max_size=2, open=False, kwargs=keywords)
