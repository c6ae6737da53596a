"""Where the actions of one kind stand in their list, as far as the pages that were read have shown. Pure.

Nobody documents the order of the lists, and new rows push others further down. So an action has a *place*: a number
that stays the same while rows come, if the list grows as it did so far. Two ways of growing are known, and the one that
predicts better is believed: new rows come at one end (every row moves by the same number, which is 0 where they come
last), or anywhere (a row moves in proportion to its index).
"""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

LARGEST_MARGIN = 30.0
"""Rows on either side of what is looked for, at the most: beyond that, half of a page would be wasted."""

TRUSTED_ERROR = 60.0
"""Rows by which a way of growing may be wrong on average before the other one is tried."""

WEIGHT = 0.2
"""Of the latest page in what is learned: it remembers about five."""

PLACES_THAT_SCALE = 300
"""Rows below which a row's movement says nothing about growth in proportion: one new row is too large a part of it."""


class Listing:
    """The way in which one list grows."""

    def __init__(self) -> None:
        """Believe that new rows come at one end, and that none has come."""
        self.grows_anywhere = False
        self._shift = 0.0
        self._growth = 1.0
        self._error = 0.0

    @property
    def margins(self) -> tuple[float, float]:
        """Rows before and after a predicted row between which an action stands, as a rule.

        More after it than before: what has come since the latest page has moved it down.
        """
        return min(LARGEST_MARGIN, 2.0 + 2.0 * self._error), min(LARGEST_MARGIN, 3.0 + 2.0 * self._error)

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
            return True
        if not self.grows_anywhere:
            self._shift = median(index - place for place, index in seen)
        elif ratios := [index / place for place, index in seen if place >= PLACES_THAT_SCALE]:
            self._growth += WEIGHT * (median(ratios) - self._growth)
        return False
