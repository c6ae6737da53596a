"""The clients of a fleet's process: one for each organization, made when it is first needed."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Protocol

from closebulk_async.integrations.postgres import PostgresJournal
from closebulk_async.integrations.postgres_limiter import PostgresLimiter, hash_key

if TYPE_CHECKING:
    from psycopg_pool import AsyncConnectionPool

    from closebulk_async.client import CloseBulk
    from closebulk_async.clock import Clock


class ClientFactory(Protocol):
    """Makes the client of an organization, and knows its key: `lambda account, **wiring: CloseBulk(key, **wiring)`."""

    def __call__(self, account: str, **wiring: Any) -> CloseBulk:
        """The client, not open yet. `wiring` is what the fleet decides: `journal` and `limiter`."""


class Accounts:
    """Clients by the names of their organizations, and the journal and budgets that they share with the fleet."""

    def __init__(self, factory: ClientFactory, pool: AsyncConnectionPool[Any], *, clock: Clock) -> None:
        """Make none yet."""
        self._factory = factory
        self._pool = pool
        self._clock = clock
        self._opening = asyncio.Lock()
        self._clients: dict[str, CloseBulk] = {}
        self._last_first = AsyncExitStack()
        self.journal = PostgresJournal(pool)

    async def client(self, account: str) -> CloseBulk:
        """The open client of an organization. Raises what the factory raises."""
        async with self._opening:
            if account not in self._clients:
                # All processes of the fleet know the key by this name, whatever makes it.
                name = hash_key(account, base_url="account")
                limiter = PostgresLimiter(self._pool, key_hash=name, clock=self._clock)
                client = self._factory(account, journal=self.journal, limiter=limiter)
                self._last_first.push_async_callback(limiter.aclose)
                self._clients[account] = await self._last_first.enter_async_context(client)
            return self._clients[account]

    async def aclose(self) -> None:
        """Close the clients, and the journal after them."""
        self._clients.clear()
        try:
            await self._last_first.aclose()
        finally:
            await self.journal.aclose()
