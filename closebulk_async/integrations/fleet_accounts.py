"""The clients of a fleet's process: one for each organization, made when it is first needed."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Protocol

from closebulk_async.client import engine_of
from closebulk_async.errors import InvalidRequestError
from closebulk_async.integrations.postgres import GRACE, PostgresJournal
from closebulk_async.integrations.postgres_limiter import PostgresLimiter, hash_key
from closebulk_async.policy import Duration, to_seconds

if TYPE_CHECKING:
    from psycopg_pool import AsyncConnectionPool

    from closebulk_async.client import CloseBulk
    from closebulk_async.clock import Clock


logger = logging.getLogger("closebulk_async")

MARGIN = 15.0
"""Seconds by which `grace` is longer than a POST may take: for the age of its leave, and for a busy machine."""


class ClientFactory(Protocol):
    """Makes the client of an organization, and knows its key: `lambda account, **wiring: CloseBulk(key, **wiring)`."""

    def __call__(self, account: str, **wiring: Any) -> CloseBulk:
        """The client, not open yet. `wiring` is what the fleet decides: `journal` and `limiter`."""


class Accounts:
    """Clients by the names of their organizations, and the journal and budgets that they share with the fleet."""

    def __init__(
        self, factory: ClientFactory, pool: AsyncConnectionPool[Any], *, clock: Clock, grace: Duration = GRACE
    ) -> None:
        """Make none yet. `grace` is the journal's."""
        self._factory = factory
        self._pool = pool
        self._clock = clock
        self._opening = asyncio.Lock()
        self._clients: dict[str, CloseBulk] = {}
        self._last_first = AsyncExitStack()
        self._longest = to_seconds(grace, name="grace") - MARGIN
        self.journal = PostgresJournal(pool, grace=grace)

    async def client(self, account: str) -> CloseBulk:
        """The open client of an organization. Raises what the factory raises.

        InvalidRequestError where its requests may take longer than the journal's `grace` allows.
        """
        async with self._opening:
            if account not in self._clients:
                # All processes of the fleet know the key by this name, whatever makes it.
                name = hash_key(account, base_url="account")
                limiter = PostgresLimiter(self._pool, key_hash=name, clock=self._clock)
                client = self._factory(account, journal=self.journal, limiter=limiter)
                self.check_timeout(engine_of(client).transport.longest)
                self._last_first.push_async_callback(limiter.aclose)
                self._clients[account] = await self._last_first.enter_async_context(client)
            return self._clients[account]

    async def scope(self, account: str) -> str:
        """The base URL and the organization of the key by that name. Asks Close once, and raises what that raises."""
        client = await self.client(account)
        return await engine_of(client).bookkeeper.scope()

    async def scope_here(self, account: str) -> str | None:
        """The same. None where this process has no key by that name, as one that only asks workers may."""
        try:
            await self.client(account)
        except InvalidRequestError:
            raise
        except Exception as exc:  # noqa: BLE001 - of whatever the user's function raises
            logger.info("there is no client for %s here, so that its organization is the workers': %s", account, exc)
            return None
        return await self.scope(account)

    def check_timeout(self, seconds: float | None) -> None:
        """Raises InvalidRequestError for a POST that might still be under way when its sender is proved dead."""
        if seconds is not None and seconds > self._longest:
            message = (
                f"a POST of {seconds:g} seconds may last longer than the fleet waits before it takes a worker for "
                f"dead: at most {self._longest:g}, or give all processes Fleet(grace={seconds + MARGIN:g}) or more"
            )
            raise InvalidRequestError(message)

    async def aclose(self) -> None:
        """Close the clients, and the journal after them."""
        self._clients.clear()
        try:
            await self._last_first.aclose()
        finally:
            await self.journal.aclose()
