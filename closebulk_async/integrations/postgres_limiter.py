"""The budget of one API key over all processes that share a PostgreSQL. Extra: `closebulk-async[fleet]`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

try:
    import psycopg
    from psycopg_pool import AsyncConnectionPool
except ImportError as _exc:
    message = "psycopg is not installed: pip install 'closebulk-async[fleet]'"
    raise ImportError(message, name=_exc.name) from _exc

from closebulk_async.clock import Clock, SystemClock
from closebulk_async.integrations import postgres_budgets as budgets
from closebulk_async.integrations.postgres_sessions import KEEPALIVES, advise
from closebulk_async.shared_budget import check_key_hash, hash_key
from closebulk_async.shared_limiter import Record, SharedLimiter
from closebulk_async.tasks import heeding

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PostgresLimiter", "hash_key"]

ANSWER_SECONDS = 5.0
"""How long a request waits for the database, which answers within milliseconds; time for one to be restarted."""

RECONNECT_SECONDS = 0.1
"""Between two tries within that time."""


class PostgresLimiter(SharedLimiter):
    """A limiter for all clients of one key, in any number of processes that share a database.

    `key_hash` is `hash_key(api_key, base_url=...)`; the key itself is never stored. The tables are made by `closebulk
    fleet init`. `database` is how to connect to it, or a pool of the caller's, which is never closed here. A request
    costs one write and, where several processes share the budget, one read; what answers show is written with the
    next reservation, or by itself where there is none. When two write at once, one of them writes again. The database's
    clock is the one that counts.

    When the database does not answer for five seconds, a request raises TransportError and was not sent (some seconds
    later where a connection to it hangs); polls go on when it is back. `aclose`, or `async with`, writes down what is
    left and lets go of the connections.
    """

    def __init__(self, database: str | AsyncConnectionPool[Any], *, key_hash: str, clock: Clock | None = None) -> None:
        """Nothing is opened yet. Raises InvalidRequestError where `key_hash` is none."""
        clock = SystemClock() if clock is None else clock
        self._budgets = _Budgets(database, check_key_hash(key_hash), clock)
        super().__init__(self._budgets, clock)

    def serve(self, key_hash: str) -> None:
        """Count for this key. For a limiter that is made before its client's key is known; not after the first request.

        Raises InvalidRequestError where `key_hash` is none.
        """
        self._budgets.key_hash = check_key_hash(key_hash)

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
        self.key_hash = key_hash
        self._clock = clock

    async def read(self, group: str) -> Record:
        """As `Store.read`."""
        return await self._ask(budgets.READ, {"group": group})

    async def swap(self, group: str, text: str, *, seen: str | None, token: str) -> Record:
        """As `Store.swap`."""
        return await self._ask(budgets.SWAP, {"group": group, "state": text, "seen": seen, "token": token})

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
                        return await heeding(self._run(statement, {**parameters, "key_hash": self.key_hash}))
                    except psycopg.OperationalError as exc:
                        # It was restarted, or is not there: each connection that the pool still has shows it once.
                        last = exc
                        await self._clock.sleep(RECONNECT_SECONDS)
        except (TimeoutError, psycopg.Error) as exc:
            cause = last or exc
            said = str(cause) or f"no answer in {ANSWER_SECONDS:g} seconds"
            raise OSError(f"PostgreSQL: {said}; {advise(cause)}") from cause

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
    keywords = {"autocommit": True, **KEEPALIVES}
    return AsyncConnectionPool(
        conninfo, open=False, min_size=1, max_size=2, kwargs=keywords, name="closebulk_async limiter"
    )
