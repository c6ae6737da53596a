"""`close.search`: how many objects a query matches, and which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

import attrs

from closebulk_async.clock import Clock
from closebulk_async.errors import APIError, DecodeError, InvalidRequestError, SearchIncompleteError, TransportError
from closebulk_async.query import to_query_dict
from closebulk_async.search_wire import (
    KEY,
    MOST_ROWS,
    Hit,
    Node,
    SearchPage,
    build_count,
    build_search,
    find_object_type,
    list_fields,
    list_sort,
    moment_of,
    name_objects,
    read_count,
    read_search_page,
    since,
)
from closebulk_async.transport import Transport
from closebulk_async.wire import Request, check_count

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable

    from closebulk_async.query import Query
    from closebulk_async.search_wire import SortKey

PAGE_SIZE = 200
"""Rows a page: a number that others use against the service. Its maximum is documented nowhere."""

CURSOR_SECONDS = 25.0
"""For which a cursor is used. It expires after 30, and the way to the service takes some of them."""

EMPTY_PAGES = 10
"""Pages without anything new that a walk puts up with before it takes the cursors to lead in a circle."""

IDLE_WALKS = 5
"""Walks from one place that find nothing new, before the search ends with what went wrong."""


class Search:
    """`close.search`."""

    def __init__(self, transport: Transport, *, clock: Clock) -> None:
        """Made by the client."""
        self._transport = transport
        self._clock = clock

    async def count(self, query: Query | Node, *, object_type: str | None = None) -> int:
        """How many objects the query matches: for leads, what a bulk action with this `s_query` would act on.

        Leads are counted unless the query, or `object_type`, names others. Nothing but the number is read.
        """
        return await self._transport.read(build_count(name_objects(to_query_dict(query), object_type)), read_count)

    def iterate(
        self,
        query: Query | Node,
        *,
        object_type: str | None = None,
        fields: Iterable[str] | Mapping[str, Iterable[str]] | None = None,
        sort: Iterable[SortKey | Node] | None = None,
        page_size: int = PAGE_SIZE,
        max_items: int | None = None,
    ) -> AsyncGenerator[Hit, None]:
        """Every object that the query matches, each once, page by page as it is asked for.

        Objects of one type are found: `object_type`, or the one that the query names, or else leads. `fields` are names
        of fields of that type, or a mapping of types to names; `date_created` always comes. At most `max_items` are
        given.

        **Without `sort`** the oldest come first, and there may be any number of them. The service ends a search after
        10,000 rows and forgets its place after 30 seconds; the walk then goes on by `date_created`, so that a consumer
        may take all the time of the world. What matches from the first to the last page is given once. What is added
        meanwhile is given once or, at the very end, not; what is changed or deleted meanwhile is given as it was read.
        Only the ids of the latest `date_created` are remembered. Where more than 10,000 objects were created at the
        same microsecond there is no way past them (a query can name an id, but not a range of ids):
        SearchIncompleteError.

        **With a `sort`** (`[desc("date_updated"), asc("name")]`, or the service's own JSON) there is no such way on,
        and after 10,000 objects the walk raises SearchIncompleteError, unless `max_items` ends it before. A consumer
        that is too slow for the service's cursors makes it begin anew, and read what is left at once.

        Raises InvalidRequestError here, and, while iterating, what a read raises: BadRequestError also for more fields
        than the service gives.
        """
        plain = to_query_dict(query)
        object_type = find_object_type(plain) if object_type is None else object_type
        order = list_sort(sort, object_type)
        check_count(page_size, name="page_size", least=1)
        if page_size > MOST_ROWS:
            message = f"page_size must be at most {MOST_ROWS} and is {page_size}"
            raise InvalidRequestError(message)
        most = None if max_items is None else check_count(max_items, name="max_items")
        question = _Question(
            query=name_objects(plain, object_type),
            object_type=object_type,
            fields=list_fields(fields, object_type),
            sort=order,
            is_by_key=order == list_sort(None, object_type),
            page_size=min(page_size, most or page_size),
        )
        question.request(None, limit=1)  # what is wrong shows here, not at the first row
        return self._iterate(question, most)

    async def _iterate(self, question: _Question, most: int | None) -> AsyncGenerator[Hit, None]:
        given, idle, border = 0, 0, Border(is_by_key=question.is_by_key)
        is_first = True
        while most is None or given < most:
            walk = _Walk(self._transport, self._clock, question, border)
            # Without a key, each walk reads what all before it have read: so there is no third one for being slow.
            read = walk.next_hits if is_first or question.is_by_key else walk.all_hits
            while (batch := await read()) is not None:
                for hit in batch:
                    given += 1
                    yield hit
                    if given == most:
                        return
            if walk.is_whole:
                return
            is_first, idle = False, 0 if walk.n_new else idle + 1
            _check_progress(question, walk, given=given, idle=idle)


def _check_progress(question: _Question, walk: _Walk, *, given: int, idle: int) -> None:
    """Raise where one more walk would be no use."""
    if walk.is_full and not question.is_by_key:
        message = (
            f"{MOST_ROWS} objects are all that the service gives in an order of the caller's own, and more match: "
            "leave sort out, narrow the query, or set max_items"
        )
    elif walk.is_full and not walk.n_new:
        message = (
            f"more than {MOST_ROWS} objects were created at the same moment, and the service gives no more of them: "
            "narrow the query"
        )
    elif idle < IDLE_WALKS:
        return
    elif walk.error is not None:
        raise walk.error
    else:
        message = "the service gives the same objects over and over"
    raise SearchIncompleteError(f"{message} ({given} were given)", given=given)


@attrs.frozen(kw_only=True)
class _Question:
    """What is searched for, the same for each of its pages."""

    query: Node
    object_type: str
    fields: Mapping[str, Sequence[str]]
    sort: Sequence[Node]
    is_by_key: bool
    page_size: int

    def request(self, begin: str | None, *, limit: int, cursor: str | None = None) -> Request:
        """The request for a page of what was created from `begin` on."""
        query = self.query
        if begin is not None:
            query = {"type": "and", "queries": [query, since(self.object_type, begin)]}
        return build_search(query, fields=self.fields, sort=self.sort, limit=limit, cursor=cursor)


@attrs.define(kw_only=True)
class Border:
    """How far a search has come: the latest `date_created`, and what was given of it.

    Without a key it is all that was given, which are 10,000 at the most.
    """

    is_by_key: bool
    text: str | None = None
    """The moment as the service spells it."""
    ids: set[str] = attrs.field(factory=set)
    _moment: datetime | None = None

    def passes(self, hit: Hit) -> bool:
        """Take a hit in. False for one that was given before."""
        if self.is_by_key:
            moment = moment_of(hit)
            if self._moment is None or moment > self._moment:
                self._moment, self.text, self.ids = moment, hit.fields[KEY], set()
            elif moment < self._moment:
                return False  # a service that compares coarser moments than it shows gives older ones once more
        if hit.id in self.ids:
            return False
        self.ids.add(hit.id)
        return True


@attrs.define
class _Walk:
    """One way through the pages of a search from a border on, for as long as its cursors lead."""

    _transport: Transport
    _clock: Clock
    _question: _Question
    _border: Border
    is_whole: bool = False
    """Whether the service has nothing more."""
    n_rows: int = 0
    n_new: int = 0
    error: Exception | None = None
    """Why a cursor did not lead on, where that was an error."""
    _n_asked: int = 0
    _total: int | None = None
    _begin: str | None = None
    _spare: int = 0
    _page: SearchPage | None = None
    _read_at: float = 0.0

    async def next_hits(self) -> Sequence[Hit] | None:
        """What the next page has that was not given before; None where no cursor leads on."""
        page = await (self._read_first() if self._page is None else self._follow(self._page.cursor))
        if page is None:
            return None
        self._page, self._read_at = page, self._clock.monotonic()
        new = [hit for hit in page.hits if self._border.passes(hit)]
        self.n_new += len(new)
        self.n_rows += len(page.hits)
        self._spare -= len(page.hits) - len(new) if page.hits else 1
        self.is_whole = page.cursor is None and self._has_come_to_the_end()
        return new

    async def all_hits(self) -> Sequence[Hit] | None:
        """What `next_hits` gives in all, with nobody in between; None when asked again."""
        if self._page is not None:
            return None
        found: list[Hit] = []
        while (batch := await self.next_hits()) is not None:
            found += batch
        return found

    @property
    def is_full(self) -> bool:
        """Whether the service gives no more rows in this walk."""
        return self._n_asked >= MOST_ROWS

    async def _read_first(self) -> SearchPage:
        self._begin = self._border.text
        # Each one that was given before may come once more.
        self._spare = len(self._border.ids) + EMPTY_PAGES
        request = self._question.request(self._begin, limit=self._next_limit())
        page = await self._transport.read(request, self._reader)
        self._total = page.total
        return page

    async def _follow(self, cursor: str | None) -> SearchPage | None:
        """The page that a cursor leads to; None where it is better not followed."""
        is_fresh = self._clock.monotonic() - self._read_at < CURSOR_SECONDS
        if cursor is None or self.is_full or self._spare < 0 or not is_fresh:
            return None
        request = self._question.request(self._begin, limit=self._next_limit(), cursor=cursor)
        # Only once: nobody says what a cursor shows that is used a second time, and the page behind it may be gone.
        once = attrs.evolve(self._transport.retry, attempts=1)
        try:
            return self._reader(request, await self._transport.send(request, retry=once))
        except (APIError, DecodeError, TransportError) as exc:
            self.error = exc
            return None

    def _has_come_to_the_end(self) -> bool:
        """Whether a page without a cursor is the last one, and not where the service gives no more of a search."""
        if self._total is not None and self._total <= self.n_rows < MOST_ROWS:
            return True
        # Some may have gone since they were counted, or the service counts what it does not show, or not at all: one
        # more walk tells.
        return not self.is_full and not self.n_new

    def _next_limit(self) -> int:
        limit = min(self._question.page_size, MOST_ROWS - self._n_asked)
        self._n_asked += limit
        return limit

    @property
    def _reader(self) -> partial[SearchPage]:
        return partial(read_search_page, is_by_key=self._question.is_by_key)
