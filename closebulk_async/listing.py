"""Where the actions of one kind stand in their list, as far as the pages that were read have shown. Pure.

Nobody documents the order of the lists, and new rows push others further down. So an action has a *place*: a number
that stays the same while rows come, if the list grows as it did so far. Two ways of growing are known, and the one that
predicts better is believed: new rows come at one end (every row moves by the same number, which is 0 where they come
last), or anywhere (a row moves in proportion to its index).
"""

from __future__ import annotations

from http import HTTPStatus
from statistics import median
from typing import TYPE_CHECKING, Any

import attrs

from closebulk_async.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from closebulk_async.models import Page
    from closebulk_async.wire import Request

LARGEST_MARGIN = 30.0
"""Rows on either side of what is looked for, at the most: beyond that, half of a page would be wasted."""

TRUSTED_ERROR = 60.0
"""Rows by which a way of growing may be wrong on average before the other one is tried."""

WEIGHT = 0.2
"""Of the latest page in what is learned: it remembers about five."""

BELIEVED = 0.3
"""Of what one page says about the movement of all, once the pace at which rows come is known.

Actions that were given their places while little was known may be off by some rows. Moved by that alone, all others
would be off instead, and these for ever; so they meet.
"""

PACED_EVERY = 5.0
"""Seconds over which the pace at which rows come is measured: less, and it is chance."""

PLACES_THAT_SCALE = 300
"""Rows below which a row's movement says nothing about growth in proportion: one new row is too large a part of it."""


class Listing:
    """The way in which one list grows."""

    def __init__(self) -> None:
        """Believe that new rows come at one end, and that none has come."""
        self.grows_anywhere: bool = False
        self._shift = 0.0
        self._growth = 1.0
        self._error = 0.0
        self._pace: float | None = None
        """Rows that come at the end in a second."""
        self._at: float | None = None
        self._learned_at = 0.0
        self._mark = (0.0, 0.0)

    @property
    def margins(self) -> tuple[float, float]:
        """Rows before and after a predicted row between which an action stands, as a rule.

        More after it than before: what has come since the latest page has moved it down.
        """
        return min(LARGEST_MARGIN, 2.0 + 2.0 * self._error), min(LARGEST_MARGIN, 3.0 + 2.0 * self._error)

    def advance(self, now: float) -> None:
        """Let time pass: rows come at the pace at which they came of late, whether a page shows it or not."""
        if self._at is None:
            self._mark = now, self._shift
        elif self._pace is not None:
            self._shift += self._pace * (now - self._at)
        self._at = now
        began, shift = self._mark
        if now - began >= PACED_EVERY:
            pace = (self._shift - shift) / (now - began)
            self._pace = pace if self._pace is None else (self._pace + pace) / 2
            self._mark = now, self._shift

    def index_of(self, place: float) -> float:
        """The row at which an action with this place should stand now."""
        return place * self._growth if self.grows_anywhere else place + self._shift

    def place_of(self, index: float) -> float:
        """The place of the action that stands at a row now."""
        return index / self._growth if self.grows_anywhere else index - self._shift

    def learn(self, seen: Sequence[tuple[float, int]]) -> bool:
        """Take in where actions stood whose place was known: place and row of each.

        Says whether the list is now believed to grow in the other way: then no place means anything any more.
        """
        if not seen:
            return False
        error = median(abs(self.index_of(place) - index) for place, index in seen)
        self._error += WEIGHT * (min(error, 10 * TRUSTED_ERROR) - self._error)
        if self._error > TRUSTED_ERROR:
            self.grows_anywhere = not self.grows_anywhere
            self._shift, self._growth, self._error = 0.0, 1.0, 0.0
            self._pace = self._at = None
            return True
        if not self.grows_anywhere:
            is_paced = self._pace is not None and self._at is not None and self._at - self._learned_at < PACED_EVERY
            moved = median(index - place for place, index in seen) - self._shift
            self._shift += moved * BELIEVED if is_paced else moved
            self._learned_at = self._at or 0.0
        elif ratios := [index / place for place, index in seen if place >= PLACES_THAT_SCALE]:
            self._growth += WEIGHT * (median(ratios) - self._growth)
        return False


REPEATED_PAGES = 10
"""Pages in a row without a new row, after which a list is taken to lead in a circle. A page of a hundred rows shows
nothing new where as many came since the one before; ten such pages in a row are no list that grows."""

MOST_ROWS = 2**40
"""Rows beyond which no list goes on: one that says it does has no end."""


@attrs.define
class Repeats:
    """Sees to it that a list is not read for ever that shows the same rows on each page."""

    _n: int = 0

    def note(self, page: Page[Any], request: Request, *, is_new: bool) -> None:
        """Take in a page, and whether any of its rows was new. Raises DecodeError where it is one of too many."""
        self._n = 0 if is_new or not page.has_more else self._n + 1
        if self._n >= REPEATED_PAGES:
            message = "the list shows the same rows on page after page, and says that there are more"
            raise DecodeError(message, status=HTTPStatus.OK, request=str(request), body="")


class TailFinder:
    """Finds where a list ends, whose length nobody tells: by doubling, then by halving."""

    def __init__(self, *, known: int, page_size: int) -> None:
        """So many rows were seen, and there are more."""
        self.length: int | None = None
        """Rows of the list, once that is found."""
        self._page_size = page_size
        self._low = known
        self._high: int | None = None

    @property
    def probe(self) -> int:
        """The first row of the page that is to be read next."""
        if self._high is None:
            return 2 * self._low
        return self._low if self._high - self._low <= self._page_size else (self._low + self._high) // 2

    def learn(self, *, began_at: int, n_rows: int, has_more: bool) -> None:
        """Take in what a page has shown that began at that row."""
        if not n_rows:
            self._high = began_at
        elif has_more:
            self._low = began_at + n_rows
            if self._low > MOST_ROWS:
                self.length = self._low
        else:
            self.length = began_at + n_rows
        if self.length is None and self._high is not None and self._low >= self._high:
            self.length = self._low
