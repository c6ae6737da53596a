"""The end of a list where new rows appear: fences before a POST, and what came since.

The service does not say how it orders lists. Whether newest or oldest come first shows in the rows themselves; where
they are in no order at all, the whole list is read. BulkActions are never deleted.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import Enum
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from closebulk_async.errors import BadRequestError, ClientClosedError, UnfencedStartError
from closebulk_async.intents import Fence
from closebulk_async.listing import Repeats, TailFinder
from closebulk_async.models import BULK_KINDS, BulkAction, Kind, Page
from closebulk_async.wire import Request, Response, build_list, read_page, server_time

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from closebulk_async.transport import Transport

T = TypeVar("T")

CLOCK_SLACK = timedelta(seconds=2)
"""How far `date_created` may be before the `Date` header of an earlier answer.

Different machines of the service write the two.
"""

CLOCK_DOUBT = timedelta(seconds=60)
"""How far before it an action that the fence lacks is out of the question: no clocks of one service differ by that."""

ENOUGH_DATES = 10
"""Different dates from which on a list that looks ordered is: by chance it would be one time in two million."""


class Order(Enum):
    """How the rows of a list follow each other."""

    NEWEST_FIRST = "newest first"
    OLDEST_FIRST = "oldest first"
    NONE = "none"


def find_order(rows: Sequence[BulkAction]) -> Order | None:
    """The order of these rows; None where there are too few to tell."""
    dates = [date for row in rows if (date := _date_of(row)) is not None]
    if len(set(dates)) < ENOUGH_DATES:
        return None
    if all(one >= other for one, other in pairwise(dates)):
        return Order.NEWEST_FIRST
    return Order.OLDEST_FIRST if all(one <= other for one, other in pairwise(dates)) else Order.NONE


def is_older(row: BulkAction, fence: Fence) -> bool:
    """Whether an action cannot come from a POST after this fence."""
    return row.id in fence.ids or _predates(row, fence, by=CLOCK_DOUBT)


def seems_older(row: BulkAction, fence: Fence) -> bool:
    """Whether an action does not come from a POST after this fence, if the clocks of the service agree."""
    return _predates(row, fence, by=CLOCK_SLACK)


def _predates(row: BulkAction, fence: Fence, *, by: timedelta) -> bool:
    date = _date_of(row)
    return date is not None and fence.taken_at is not None and fence.taken_at - date > by


def _date_of(row: BulkAction) -> datetime | None:
    """None also where the service left it out."""
    return getattr(row, "date_created", None)


class NewEnd:
    """The end of one list where new rows appear."""

    def __init__(self, transport: Transport, kind: Kind, *, most_requests: float) -> None:
        """Know nothing of its order yet. `most_requests` may be infinite."""
        self._transport = transport
        self._kind = kind
        self._most_requests = most_requests
        self._tail: _Tail | None = None
        """Once it is known that the list grows at its end."""

    async def read(
        self, *, fields: Sequence[str] | None, is_old: Callable[[BulkAction], bool], enough: float = math.inf
    ) -> _Pages:
        """Read from the new end on until a page holds nothing but old rows, or the whole list where it has no order.

        `enough` rows from the new end are all that is wanted. Raises UnfencedStartError where that takes more than
        `most_requests`.
        """
        pages = _Pages(self._transport, self._kind, fields=fields, requests_left=self._most_requests)
        if self._tail is None or not await self._read_tail(self._tail, pages, is_old, enough):
            await self._read_head(pages, is_old, enough)
        return pages

    async def _read_head(self, pages: _Pages, is_old: Callable[[BulkAction], bool], enough: float) -> None:
        skip = 0
        while True:
            page = await pages.fetch(skip)
            if not page.has_more:
                return
            order = find_order(pages.rows)
            if order is Order.OLDEST_FIRST:
                tail = await _find_tail(pages, known=skip + len(page.data), page_size=len(page.data))
                await self._read_tail(tail, pages, is_old, enough)
                return
            if order is Order.NEWEST_FIRST and (len(pages.rows) >= enough or all(map(is_old, page.data))):
                return
            skip += len(page.data)

    async def _read_tail(self, tail: _Tail, pages: _Pages, is_old: Callable[[BulkAction], bool], enough: float) -> bool:
        """Whether the rows at the end are in the order that was learned, oldest first."""
        # Half a page is left for what has come since: with none, each start would need a second one for the last's row.
        start = skip = max(0, tail.length - tail.page_size // 2)
        rows: list[BulkAction] = []
        while True:
            page = await pages.fetch(skip)
            rows += page.data
            skip += len(page.data)
            if not page.has_more:
                break
        front = rows
        while start > 0 and len(rows) < enough and not (front and all(map(is_old, front))):
            start = max(0, start - tail.page_size)
            front = list((await pages.fetch(start)).data)
            rows = front + rows
        is_in_order = find_order(list({row.id: row for row in rows}.values())) in {Order.OLDEST_FIRST, None}
        self._tail = attrs.evolve(tail, length=skip) if is_in_order else None
        return is_in_order


@attrs.frozen
class _Tail:
    """Where a list that grows at its end was last seen to end, and how many rows the service gives at once."""

    length: int
    page_size: int


class _Pages:
    """The pages of one reading, at most so many, and all their rows."""

    def __init__(self, transport: Transport, kind: Kind, *, fields: Sequence[str] | None, requests_left: float) -> None:
        self.began_at: datetime | None = None
        """The server's time at the first page."""
        self._transport = transport
        self._kind = kind
        self._fields = fields
        self._requests_left = requests_left
        self._is_first = True
        self._repeats = Repeats()
        self._rows: dict[str, BulkAction] = {}

    @property
    def rows(self) -> Sequence[BulkAction]:
        """In the order in which they were first seen, each once."""
        return list(self._rows.values())

    async def fetch(self, skip: int) -> Page[BulkAction]:
        if self._requests_left == 0:
            message = (
                f"the list of {self._kind} actions is too long and in no order that would say where new ones appear: "
                "a start could not be told from earlier ones. StartPolicy(fence_requests=...) allows more pages"
            )
            raise UnfencedStartError(message)
        self._requests_left -= 1
        request = build_list(self._kind, skip=skip, fields=self._fields)
        page, at = await self._transport.read(request, self._read)
        if self._is_first:
            self.began_at, self._is_first = at, False
        before = len(self._rows)
        for row in page.data:
            self._rows.setdefault(row.id, row)
        self._repeats.note(page, request, is_new=len(self._rows) > before)
        return page

    def _read(self, request: Request, response: Response) -> tuple[Page[BulkAction], datetime | None]:
        return read_page(self._kind, request, response), server_time(response)


async def _find_tail(pages: _Pages, *, known: int, page_size: int) -> _Tail:
    """Where the list ends, of which `known` rows were seen: by doubling, then by halving."""
    finder = TailFinder(known=known, page_size=page_size)
    while finder.length is None:
        probe = finder.probe
        try:
            page = await pages.fetch(probe)
        except BadRequestError as exc:
            message = f"the service does not let the list be read from row {probe} on: {exc}"
            raise UnfencedStartError(message) from exc
        finder.learn(began_at=probe, n_rows=len(page.data), has_more=page.has_more)
    return _Tail(finder.length, page_size)


@attrs.define(eq=False)
class _Batch:
    """One reading of what came after fences, for all who asked before it began."""

    fences: list[Fence]
    reading: asyncio.Task[Sequence[BulkAction]] | None = None


class Fences:
    """Takes the fences of a client, and reads what came after them. `most_requests` bounds each reading."""

    def __init__(self, transport: Transport, *, most_requests: int) -> None:
        """Read nothing yet."""
        self._ends = {kind: NewEnd(transport, kind, most_requests=most_requests) for kind in BULK_KINDS}
        self._taking: dict[Kind, asyncio.Task[Fence]] = {}
        self._batches: dict[Kind, _Batch] = {}
        self._turns = {kind: asyncio.Lock() for kind in BULK_KINDS}
        self._readings: set[asyncio.Task[Any]] = set()

    async def take(self, kind: Kind) -> Fence:
        """What the list of a kind shows now. Starts of the same moment share one reading.

        Raises UnfencedStartError, and what reading raises.
        """
        reading = self._taking.get(kind)
        if reading is None:
            reading = self._taking[kind] = self._spawn(self._take(kind))
            reading.add_done_callback(lambda _: self._taking.pop(kind))
        return await _join(reading)

    async def read_since(self, kind: Kind, fence: Fence, *, fields: Sequence[str]) -> Sequence[BulkAction]:
        """Every action that may have come after the fence, as the list shows it from now on. Raises as `take`.

        All who ask while one reading is under way share the next one: when many answers are lost at once, the list is
        not read for each. `fields` are the same for all who ask for a kind.
        """
        batch = self._batches.setdefault(kind, _Batch([]))
        batch.fences.append(fence)
        if batch.reading is None:
            batch.reading = self._spawn(self._read_since(kind, batch, fields))
        rows = await _join(batch.reading)
        return [row for row in rows if not is_older(row, fence)]

    async def aclose(self) -> None:
        """End every reading."""
        for reading in self._readings:
            reading.cancel()
        if self._readings:
            await asyncio.wait(self._readings)

    async def _take(self, kind: Kind) -> Fence:
        pages = await self._ends[kind].read(fields=("date_created",), is_old=lambda _: True)
        dates = [date for row in pages.rows if (date := _date_of(row)) is not None]
        return Fence(ids=frozenset(row.id for row in pages.rows), taken_at=pages.began_at or max(dates, default=None))

    async def _read_since(self, kind: Kind, batch: _Batch, fields: Sequence[str]) -> Sequence[BulkAction]:
        async with self._turns[kind]:
            del self._batches[kind]  # who asks from now on wants to know what is listed from now on
            fences = batch.fences
            pages = await self._ends[kind].read(
                fields=("date_created", *fields), is_old=lambda row: all(is_older(row, fence) for fence in fences)
            )
            return pages.rows

    def _spawn(self, reading: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(reading, name="closebulk_async list")
        self._readings.add(task)
        task.add_done_callback(self._forget)
        return task

    def _forget(self, reading: asyncio.Task[Any]) -> None:
        self._readings.discard(reading)
        if not reading.cancelled():
            reading.exception()  # where nobody is left to see it, it is no concern of the loop's either


async def _join(reading: asyncio.Task[T]) -> T:
    """What a reading gives that others wait for too: whoever leaves does not end it."""
    try:
        return await asyncio.shield(reading)
    except asyncio.CancelledError:
        caller = asyncio.current_task()
        if reading.cancelled() and not (caller and caller.cancelling()):
            message = "this client was closed while the list was read"
            raise ClientClosedError(message) from None
        raise
