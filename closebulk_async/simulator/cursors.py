"""Cursors: opaque words that stand for a place in a walk, for a while."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from attrs import frozen

from .ids import make_id
from .ordering import Key
from .refusals import refused

if TYPE_CHECKING:
    import random


@frozen(kw_only=True)
class Place:
    """How far a walk has come: behind the record of that key, after so many rows. `asked` is what it searches for."""

    asked: str
    salt: int
    after: Key | None = None
    n_given: int = 0


class Cursors:
    """The cursors that were given and have not expired. One may be used again, as after an answer that was lost."""

    def __init__(self, source: random.Random) -> None:
        self._source = source
        self._places: dict[str, tuple[datetime, Place]] = {}

    def give(self, place: Place, now: datetime) -> str:
        """A new cursor for that place."""
        cursor = make_id("", self._source)
        self._places[cursor] = (now, place)
        return cursor

    def open(self, cursor: str, *, asked: str, now: datetime, lifetime: float) -> Place:
        """The place of a cursor that is younger than so many seconds.

        Raises `RefusedError` (400) for all others. That is also so for one of another search, where nobody knows what
        the service does: it shows a client's slip.
        """
        self._forget(now - timedelta(seconds=lifetime))
        if cursor not in self._places:
            raise refused("The cursor has expired or is invalid. Please start the search again.")
        _, place = self._places[cursor]
        if place.asked != asked:
            raise refused("The cursor belongs to another search.")
        return place

    def _forget(self, until: datetime) -> None:
        # They stand in the order in which they were given.
        while self._places:
            cursor, (given_at, _) = next(iter(self._places.items()))
            if given_at > until:
                return
            del self._places[cursor]
