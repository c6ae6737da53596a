"""Actions with all that the service says of them, for whoever looks at one: lists are read without most of it."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from closebulk_async.client import CloseBulk
    from closebulk_async.dashboard.cards import Card
    from closebulk_async.models import Job, JobRef

MOST_KEPT = 32
"""Actions that are kept after they were read, for those who look again: each may be as large as its query."""

_TELLING = frozenset({"status", "s_query", "download_url"})
"""What a narrowed answer has left out, if it is one: the first of these is in all that a poll has shown."""


class Archive:
    """Reads what a card lacks, and keeps it for as long as its version stays."""

    def __init__(self, close: CloseBulk) -> None:
        """Keep nothing yet."""
        self._close = close
        self._kept: OrderedDict[JobRef[Any], tuple[int, Job]] = OrderedDict()

    async def read(self, ref: JobRef[Any], card: Card | None) -> Job:
        """The action, whole. Raises what reading it raises: NotFoundError where there is none."""
        if card is None:
            return await self._close.get(ref)
        if not card.job.unset & _TELLING:
            return card.job
        version = card.version
        kept_version, job = self._kept.get(ref, (None, None))
        if job is None or kept_version != version:
            job = await self._close.get(ref)
            self._kept[ref] = version, job
            self._kept.move_to_end(ref)
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        return job
