"""The clients of a fleet's process: one for each organization, made when it is first needed."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from closebulk_async.auth import ApiKey, BearerToken
from closebulk_async.client import CloseBulk, engine_of
from closebulk_async.errors import AuthenticationError, CloseBulkError, InvalidRequestError
from closebulk_async.integrations.postgres import GRACE, PostgresJournal
from closebulk_async.integrations.postgres_limiter import PostgresLimiter, hash_key
from closebulk_async.policy import Duration, to_seconds

if TYPE_CHECKING:
    from psycopg_pool import AsyncConnectionPool

    from closebulk_async.clock import Clock


logger: logging.Logger = logging.getLogger("closebulk_async")

MARGIN = 15.0
"""Seconds by which `grace` is longer than a POST may take: for the age of its leave, and for a busy machine."""


@attrs.frozen
class _Known:
    """A client, and by what it was known to the service when it was made."""

    client: CloseBulk
    credential: str | None = attrs.field(repr=False)


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
        self._clients: dict[str, _Known] = {}
        self._doubted: set[str] = set()
        self._last_first = AsyncExitStack()
        self._longest = to_seconds(grace, name="grace") - MARGIN
        self.journal: PostgresJournal = PostgresJournal(pool, grace=grace)

    async def client(self, account: str) -> CloseBulk:
        """The open client of an organization. Raises what the factory raises.

        InvalidRequestError where its requests may take longer than the journal's `grace` allows.
        """
        async with self._opening:
            known = self._clients.get(account)
            if known is None or account in self._doubted:
                known = self._clients[account] = await self._make(account, known)
                self._doubted.discard(account)
            return known.client

    def doubt(self, account: str) -> None:
        """The service has refused the key: let the factory be asked again when the client is needed next."""
        self._doubted.add(account)

    async def _make(self, account: str, known: _Known | None) -> _Known:
        limiter = PostgresLimiter(self._pool, key_hash=hash_key(account, base_url="account"), clock=self._clock)
        client = self._factory(account, journal=self.journal, limiter=limiter)
        self.check_timeout(engine_of(client).transport.longest)
        limiter.serve(_name_of_budget(client, account))
        made = _Known(client, _credential_of(client))
        if known is not None and made.credential == known.credential:
            return known  # it was never opened: the one before goes on
        self._last_first.push_async_callback(limiter.aclose)
        # The one before, if there was one, stays open: somebody may be about to use it.
        await self._last_first.enter_async_context(client)
        return made

    async def scope(self, account: str) -> str:
        """The base URL and the organization of the key by that name. Asks Close once, and raises what that raises."""
        client = await self.client(account)
        try:
            return await engine_of(client).bookkeeper.scope()
        except AuthenticationError:
            self.doubt(account)
            raise

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


def _name_of_budget(client: CloseBulk, account: str) -> str:
    """Of a key its hash, so that whoever else has the key shares its budget; tokens of a grant change, and have a name.

    All processes of a fleet know the grant by the account; others use `hash_key(f"account {account}", base_url=...)`.
    """
    transport = engine_of(client).transport
    match transport.auth:
        case ApiKey(key=secret) | BearerToken(token=secret):
            return hash_key(secret, base_url=transport.base_url)
    return hash_key(f"account {account}", base_url=transport.base_url)


def _credential_of(client: CloseBulk) -> str | None:
    with suppress(CloseBulkError):  # of a grant that has no token yet
        return engine_of(client).transport.auth.header()
    return None
