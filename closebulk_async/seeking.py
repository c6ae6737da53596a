"""Where in a list to look for actions that stand nobody knows where. Pure: instants are a monotonic clock's seconds."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from closebulk_async.listing import TailFinder
from closebulk_async.wire import MAX_PAGE

if TYPE_CHECKING:
    from closebulk_async.listing import Listing

LOST_WORTH_SEEKING = 4
"""Due actions that stand nobody knows where, from which on pages are read to find them."""

LOST_WORTH_THE_END = 32
"""From which on a search that was in vain at the beginning of the list goes to its end: to find that takes some twenty
requests where the list is long, and without it each of them takes one for each poll."""

SEARCHED_IN_VAIN = 4
"""Pages in a row that find fewer lost actions than they are, after which a search rests.

A page that finds one saves more than it costs: without a place, an action takes a request of its own for each poll. One
in vain says little where every other row is somebody else's, nor do the first ones, which may have been read before.
"""


class Pause:
    """When something may be tried again that did not work: after a minute, and then twice as late each time."""

    FIRST, MOST = 60.0, 3600.0

    def __init__(self) -> None:
        """It may be tried."""
        self._until = -1.0
        self._next = self.FIRST

    def begin(self, now: float) -> None:
        """It did not work."""
        self._until = now + self._next
        self._next = min(self.MOST, 2 * self._next)

    def end(self) -> None:
        """It worked: the next pause is as short as the first."""
        self._next = self.FIRST

    def is_over(self, now: float) -> bool:
        """Whether it may be tried."""
        return now >= self._until


class Search:
    """Reads page after page for lost actions, as long as that finds enough of them.

    It goes from the first row on. Where that is in vain and many are lost, it goes back from the last one: nobody
    documents at which end new rows appear. It gets every other request while it lasts: what it finds is cheaper to poll
    ever after, and the others go on.
    """

    def __init__(self, listing: Listing) -> None:
        """Begin at the first row."""
        self.tail: int | None = None
        """How many rows the list has, where lost actions were found at its end: new ones appear there."""
        self._listing = listing
        self._place: float | None = None
        self._found: deque[int] = deque(maxlen=SEARCHED_IN_VAIN)
        """Lost actions on each of the latest pages."""
        self._pause = Pause()
        self._finder: TailFinder | None = None
        self._length = 0
        """What the finder has found."""
        self._goes_back = False
        self._end_pause = Pause()
        """Until the end of the list is worth another look."""
        self._n_lost = 0
        self._is_under_way = False
        self.is_its_turn: bool = True
        """Its page goes first."""

    def propose(self, n_lost: int, now: float) -> float | None:
        """Where the next page begins, for so many; None where they are too few, or reading on would not find them."""
        if n_lost < LOST_WORTH_SEEKING or self._is_under_way or not self._pause.is_over(now):
            return None
        self._n_lost = n_lost
        if self._finder is not None:
            return self._listing.place_of(self._finder.probe)
        if self._place is None:
            self._place = self._listing.place_of(0)
        return self._place

    def begin(self) -> None:
        """The page that was proposed is being read."""
        self._is_under_way, self.is_its_turn = True, False

    def end(self) -> None:
        """It is read no longer, well or not."""
        self._is_under_way = False

    def learn(self, *, found: int, began_at: int, n_rows: int, has_more: bool, now: float) -> None:
        """Take in how many a page has found that began at that row."""
        if found:
            self._pause.end()
        if self._finder is not None:
            self._find_end(self._finder, began_at=began_at, n_rows=n_rows, has_more=has_more)
            return
        self._found.append(found)
        is_in_vain = len(self._found) == SEARCHED_IN_VAIN and sum(self._found) < SEARCHED_IN_VAIN
        if self._goes_back:
            if found:
                self._end_pause.end()
                self.tail = self._length
            self._place = self._listing.place_of(max(0, began_at - MAX_PAGE))
            if is_in_vain or not began_at:
                self._rest(now)
            return
        self._place = self._listing.place_of(began_at + n_rows) if has_more else None
        if is_in_vain and has_more and self._n_lost >= LOST_WORTH_THE_END and self._end_pause.is_over(now):
            self._finder = TailFinder(known=began_at + n_rows, page_size=MAX_PAGE)
            self._end_pause.begin(now)
        elif is_in_vain or not has_more:
            self._rest(now)

    def refuse(self, now: float) -> bool:
        """Take in that a page was refused. Says whether that was because the list cannot be read from so far on."""
        if self._finder is None:
            return False
        self._rest(now)
        return True

    def restart(self) -> None:
        """Begin at the first row again: where it had come to means nothing any more."""
        self._place, self._finder, self._goes_back, self.tail = None, None, False, None
        self._found.clear()

    def _find_end(self, finder: TailFinder, *, began_at: int, n_rows: int, has_more: bool) -> None:
        finder.learn(began_at=began_at, n_rows=n_rows, has_more=has_more)
        if finder.length is not None:
            self._finder, self._goes_back, self._length = None, True, finder.length
            self._place = self._listing.place_of(max(0, finder.length - MAX_PAGE))
            self._found.clear()

    def _rest(self, now: float) -> None:
        self._pause.begin(now)
        self._found.clear()
        if self._goes_back or self._finder is not None:
            self._place, self._finder, self._goes_back = None, None, False
