"""Whose intent it is: one client's part in a journal that others may share."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING

from closebulk_async.errors import JournalError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from datetime import datetime

    from closebulk_async.clock import Clock
    from closebulk_async.intents import Intent
    from closebulk_async.journal import Journal

logger: logging.Logger = logging.getLogger("closebulk_async")


class Standing(Enum):
    """What is known of the owner of an intent that was found in `posting`."""

    BUSY = "works on it"
    """Its lease has not run out; it may be this client itself."""
    OURS = "this client, which has given it up"
    SILENT = "gives no sign of life"
    """It may be stopped, or on another machine, and go on at any time."""
    DEAD = "proved dead"


class Ownership:
    """A client as an owner of intents. `lease` (seconds) is how long it may be silent before others ask."""

    def __init__(self, journal: Journal, *, clock: Clock, lease: float) -> None:
        """Enter nothing before the first start."""
        self._journal = journal
        self._clock = clock
        self._lease = lease
        self._lock = asyncio.Lock()
        self._owner: str | None = None

    async def name(self) -> str:
        """The name of this owner. Raises JournalError."""
        if self._owner is None:
            async with self._lock:
                if self._owner is None:
                    self._owner = await self._journal.enter()
        return self._owner

    def lease_end(self) -> datetime:
        """Until when a lease that is taken now holds."""
        return self._clock.now() + timedelta(seconds=self._lease)

    async def standing(self, intent: Intent) -> Standing:
        """What is known of the intent's owner; what has none is as good as dead."""
        if intent.owner is None or (intent.owner != self._owner and await self._journal.is_dead(intent.owner)):
            return Standing.DEAD
        now = self._clock.now()
        # A lease that ends later than one taken now is of a clock that was ahead: nobody can wait for that one.
        if intent.leased_until is not None and now < intent.leased_until <= now + timedelta(seconds=self._lease):
            return Standing.BUSY
        return Standing.OURS if intent.owner == self._owner else Standing.SILENT

    @asynccontextmanager
    async def renewing(self, id: str) -> AsyncGenerator[None, None]:
        """Keep the lease of an intent of this owner alive during the block."""
        renewal = asyncio.get_running_loop().create_task(self._renew(id), name=f"closebulk_async lease of {id}")
        try:
            yield
        finally:
            renewal.cancel()
            await asyncio.wait({renewal})

    async def _renew(self, id: str) -> None:
        while True:
            await self._clock.sleep(self._lease / 3)
            try:
                await self._journal.lease(id, owner=await self.name(), until=self.lease_end())
            except JournalError as exc:
                # Others may now take it for silent, and ask what became of it; nobody sends it again for that.
                logger.warning("the lease of intent %s could not be renewed: %s", id, exc)

    async def aclose(self) -> None:
        """Leave the journal: what is still open counts as given up, its owner as dead."""
        owner, self._owner = self._owner, None
        if owner is not None:
            try:
                await self._journal.leave(owner)
            except JournalError as exc:
                # No reason to fail what its caller has done: closing the journal, or the end of the process, frees the
                # lock as well.
                logger.warning("the journal could not be left: %s", exc)
