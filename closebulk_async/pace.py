"""How fast a counter moves, and how far that is to be trusted: a fixed handful of numbers however often it is read.

Pure: times are a monotonic clock's seconds. Nothing depends on how many polls there were, only on when they were and
what they showed: one may always come earlier than planned.
"""

from __future__ import annotations

import math
from typing import Final

import attrs

FULL_DOUBT: Final = 1.0
"""Of the first rate: it may be off by a factor of e. Who has seen one movement knows hardly more."""

_SHORTEST: Final = 1e-3
"""Seconds. Whatever moved within less was divided by a clock's error."""

_LEARNED: Final = 0.3
"""What one more movement adds to the doubt: an error is half forgotten after two of them.

Less, and a job that stalled once is asked too often to its end; more, and one good guess counts for certainty.
"""


@attrs.frozen(weakref_slot=False)  # there is one for each wait
class Pace:
    """What the movements of a counter tell.

    The counter moves in steps, and a poll sees one only some time after it was made: `at` is where the latest lies by
    all likelihood, `first_at` where the first one does. The time before the first belongs to nobody: a job that waited
    in a queue was not slow. `rate` is in objects per second, `doubt` the natural logarithm of the factor by which it
    changed from one movement to the next, averaged with the latest counting most.
    """

    first_at: float
    first_count: int
    at: float
    count: int
    step: int
    rate: float
    doubt: float = FULL_DOUBT

    @classmethod
    def begin(cls, count: int, *, gained: int, since: float, before: float, at: float) -> Pace | None:
        """The pace after the first movement, by `gained` to `count`, seen at `at` and not yet at `before`.

        The rate is that since `since`. None where no time has passed.
        """
        if at - since < _SHORTEST:
            return None
        placed = _place(gained, step=gained, before=before, at=at)
        return cls(placed, count, placed, count, gained, gained / (at - since))

    def move(self, count: int, *, before: float, at: float) -> Pace:
        """The pace after one more movement, to `count`, seen at `at` and not yet at `before`.

        The rate is the geometric mean of that since the first movement and that since the latest. The one is steady
        and slow to notice a change, the other the reverse; both are off by factors, not by amounts, which is what a
        geometric mean evens out.
        """
        gained = count - self.count
        step = min(self.step, gained)
        placed = _place(gained, step=step, before=before, at=at)
        if placed - self.at < _SHORTEST:
            return attrs.evolve(self, count=count)
        life = (count - self.first_count) / (placed - self.first_at)
        rate = math.sqrt(life * gained / (placed - self.at))
        doubt = self.doubt + _LEARNED * (abs(math.log(rate / self.rate)) - self.doubt)
        return Pace(self.first_at, self.first_count, placed, count, step, rate, doubt)


def _place(gained: int, *, step: int, before: float, at: float) -> float:
    """When the latest step was made: the steps between two polls lie evenly, and `at` is anywhere after the last."""
    return at - (at - before) * step / (2 * gained)
