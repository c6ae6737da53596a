"""What the processes of a fleet tell each other through PostgreSQL. It only wakes: what the rows say decides."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import attrs
import psycopg

from closebulk_async.integrations import fleet_tables as tables
from closebulk_async.integrations.postgres_sessions import connect, conninfo_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from psycopg_pool import AsyncConnectionPool

logger: logging.Logger = logging.getLogger("closebulk_async")

RECONNECT = 0.5
"""Seconds between two tries to listen again."""

What: TypeAlias = Literal["start", "moved", "due", "missed"]
"""`start`: one is settled. `moved`: polls have shown something. `due`: polls are asked for. `missed`: anything."""


@attrs.frozen(kw_only=True)
class News:
    """One piece of news. `ids` are those of actions, or that of a start."""

    what: What
    account: str = ""
    kind: str = ""
    ids: Sequence[str] = ()

    def to_text(self) -> str:
        """As the database carries it, which is at most 8000 bytes: a page of ids takes half of that."""
        return json.dumps([self.what, self.account, self.kind, *self.ids])

    @classmethod
    def parse(cls, text: str) -> News:
        """The way back. Raises ValueError."""
        what, account, kind, *ids = json.loads(text)
        return cls(what=what, account=account, kind=kind, ids=ids)


class Newsroom:
    """One connection that listens, for all who want to hear in this process."""

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        """Connect nowhere yet."""
        self._pool = pool
        self._readers: dict[object, Callable[[News], None]] = {}
        self._task: asyncio.Task[None] | None = None
        self._connection: psycopg.AsyncConnection[Any] | None = None

    async def open(self) -> None:
        """Listen from now on. Raises psycopg.Error where that cannot be begun."""
        self._connection = await self._listen()
        self._task = asyncio.get_running_loop().create_task(self._run(), name="closebulk_async news")

    async def aclose(self) -> None:
        """Listen no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    @contextmanager
    def reading(self, reader: Callable[[News], None]) -> Iterator[None]:
        """Call `reader` with each piece of news during the block. It must neither block nor raise."""
        key = object()
        self._readers[key] = reader
        try:
            yield
        finally:
            del self._readers[key]

    async def _run(self) -> None:
        while True:
            try:
                if self._connection is None:
                    self._connection = await self._listen()
                    self._tell(News(what="missed"))
                async for notify in self._connection.notifies():
                    self._hear(notify.payload)
            except (psycopg.Error, OSError, TimeoutError) as exc:
                logger.info("news of the fleet do not come, and will again: %s", exc)
            broken, self._connection = self._connection, None
            if broken is not None:
                await broken.close()
            await asyncio.sleep(RECONNECT)

    async def _listen(self) -> psycopg.AsyncConnection[Any]:
        connection = await connect(await conninfo_of(self._pool))
        await connection.execute(f"LISTEN {tables.NEWS}")
        return connection

    def _hear(self, text: str) -> None:
        try:
            self._tell(News.parse(text))
        except (ValueError, TypeError):
            logger.warning("this is no news of a fleet: %s", text[:100])

    def _tell(self, news: News) -> None:
        for reader in list(self._readers.values()):
            reader(news)
