"""Clients with the keys that Airflow holds: of a worker, and one for all triggers of a triggerer."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol, Self

import attrs

from closebulk_async.client import CloseBulk
from closebulk_async.oauth_wire import BASE_URL

try:
    from airflow.sdk import BaseHook
except ImportError as _exc:
    message = "Airflow 3.3 or newer is not installed: pip install 'closebulk-async[airflow]'"
    raise ImportError(message, name=_exc.name) from _exc

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from closebulk_async.integrations.task_state import TaskStateJournal


@attrs.frozen
class Access:
    """A key, and where it goes. None: as the environment says."""

    key: str | None = attrs.field(default=None, repr=False)
    base_url: str | None = None

    def open(self, journal: TaskStateJournal | None = None) -> CloseBulk:
        """A client with it. Raises AuthenticationError and InvalidRequestError."""
        if self.key is None:
            return CloseBulk.from_env(journal=journal)
        return CloseBulk(self.key, base_url=self.base_url or BASE_URL, journal=journal)

    @classmethod
    def of(cls, connection: ConnectionLike) -> Self:
        """That of a connection of Airflow's."""
        return cls(connection.password or "", connection.host or None)


class ConnectionLike(Protocol):
    """What is read of a connection."""

    password: str | None
    host: str | None


def read_access(conn_id: str | None) -> Access:
    """What a worker is to use; None: as its environment says. Blocks, and raises what Airflow does."""
    return Access() if conn_id is None else Access.of(BaseHook.get_connection(conn_id))


@attrs.define(eq=False)
class _Shared:
    client: CloseBulk | None = None
    users: int = 0
    opening: asyncio.Lock = attrs.field(factory=asyncio.Lock)


class Clients:
    """The clients of a triggerer: one for each connection, as long as a trigger needs it."""

    def __init__(self) -> None:
        """Open nothing yet."""
        self._shared: dict[tuple[asyncio.AbstractEventLoop, str | None], _Shared] = {}

    @asynccontextmanager
    async def share(self, conn_id: str | None) -> AsyncGenerator[CloseBulk, None]:
        """The client of a connection; the last one to leave closes it."""
        key = asyncio.get_running_loop(), conn_id
        shared = self._shared.setdefault(key, _Shared())
        shared.users += 1
        try:
            async with shared.opening:
                if shared.client is None:
                    access = Access() if conn_id is None else Access.of(await BaseHook.aget_connection(conn_id))
                    shared.client = await access.open().__aenter__()
            yield shared.client
        finally:
            shared.users -= 1
            if not shared.users:
                del self._shared[key]
                if shared.client is not None:
                    await shared.client.aclose()


CLIENTS = Clients()
"""Of this process. Nothing else is common to the triggers that Airflow makes in it."""
