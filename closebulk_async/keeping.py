"""Keeps the journal's last known state of actions up to date while somebody waits for them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from closebulk_async.errors import CloseBulkError
from closebulk_async.intents import Sighting
from closebulk_async.models import Export

if TYPE_CHECKING:
    from closebulk_async.account import Account
    from closebulk_async.clock import Clock
    from closebulk_async.journal import Journal
    from closebulk_async.models import Job

logger: logging.Logger = logging.getLogger("closebulk_async")


class Bookkeeper:
    """Writes down what polls have read."""

    def __init__(self, journal: Journal, *, account: Account, clock: Clock) -> None:
        """Write nothing yet."""
        self._journal = journal
        self._account = account
        self._clock = clock

    async def scope(self) -> str:
        """The base URL and organization to which all that is written down belongs. Raises what reading it raises."""
        return await self._account.scope()

    async def note(self, action: Job) -> None:
        """Write down how far an action is. No wait fails because that fails: what runs goes on without it."""
        if isinstance(action, Export):
            return  # nothing of it is in the journal: one too many does no harm
        try:
            scope = await self._account.scope()
            sighting = Sighting.of(action, at=self._clock.now())
            await self._journal.progress(scope, action.ref, sighting, is_final=action.is_final)
        except CloseBulkError as exc:
            logger.warning("%s is %s, which could not be written into the journal: %s", action.ref, action.status, exc)
