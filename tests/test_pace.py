"""How fast a counter moves: steps that are seen late, a rate that follows, a doubt that grows and fades."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from closebulk_async.pace import FULL_DOUBT, Pace

from .strategies import patient

if TYPE_CHECKING:
    from collections.abc import Iterable


def pace_of(*polls: tuple[float, int]) -> Pace | None:
    """The pace after these polls, the first of which begins it; each is its instant in seconds and the counter."""
    pace: Pace | None = None
    since = polls[0][0]
    for (before, earlier), (at, count) in pairwise(polls):
        if count <= earlier:
            continue
        if pace is None:
            pace = Pace.begin(count, gained=count - earlier, since=since, before=before, at=at)
        else:
            pace = pace.move(count, before=before, at=at)
    return pace


def poll_steadily(at: Iterable[float], *, rate: float, batch: int) -> Pace:
    """The pace of a counter that moves in batches at this rate."""
    pace = pace_of(*((instant, int(rate * instant) // batch * batch) for instant in at))
    assert pace is not None
    return pace


def test_the_first_movement_has_the_rate_since_the_begin() -> None:
    """Its instant lies halfway between the poll before it and the poll that saw it, and nobody trusts it yet."""
    assert pace_of((0, 0), (8, 0), (10, 100)) == Pace(9, 100, 9, 100, step=100, rate=10, doubt=1.0)
    assert pace_of((50, 0), (58, 0), (60, 100)) == Pace(59, 100, 59, 100, step=100, rate=10, doubt=1.0)


def test_a_movement_of_several_steps_is_placed_by_the_smallest() -> None:
    """Four steps between two polls: the last of them was made in the last quarter, halfway."""
    pace = pace_of((0, 0), (8, 0), (10, 50), (16, 50), (20, 250))
    assert pace is not None
    assert (pace.at, pace.count, pace.step) == (19.5, 250, 50)
    smaller = pace_of((0, 0), (8, 0), (10, 100), (12, 150), (14, 250))
    assert smaller is not None
    assert (smaller.at, smaller.count, smaller.step) == (13.5, 250, 50)
    assert (pace.first_at, pace.first_count, smaller.first_at, smaller.first_count) == (9, 50, 9, 100)


def test_the_rate_lies_between_that_of_the_life_and_the_latest() -> None:
    """At their geometric mean, both between the instants at which steps were made, not those of polls."""
    pace = pace_of((0, 0), (8, 0), (10, 50), (12, 100), (16, 100), (20, 300))
    assert pace is not None
    life, latest = (300 - 50) / (19.5 - 9), (300 - 100) / (19.5 - 11)
    assert pace.rate == pytest.approx(math.sqrt(life * latest))


def test_the_time_before_the_first_movement_is_no_slowness() -> None:
    """A job that waited an hour in a queue has the rate of its work from its second movement on."""
    pace = pace_of((0, 0), (3600, 0), (3602, 20), (3604, 40))
    assert pace is not None
    assert pace.rate == pytest.approx(10)


def test_a_doubt_is_what_the_rate_changed_by() -> None:
    """Three tenths of the newest change, seven tenths of what was doubted before; a change is a factor either way."""
    pace = pace_of((0, 0), (8, 0), (10, 100), (12, 150))
    assert pace is not None
    assert pace.rate == pytest.approx(25)
    assert pace.doubt == pytest.approx(0.7 * FULL_DOUBT + 0.3 * math.log(2.5))
    slower = Pace(0, 0, 10, 100, step=10, rate=20, doubt=0.2).move(200, before=19, at=20)
    assert slower.rate == pytest.approx(200 / 19.95, rel=0.01)
    assert slower.doubt == pytest.approx(0.7 * 0.2 + 0.3 * math.log(20 / slower.rate))


def test_a_steady_job_is_trusted_more_and_more() -> None:
    """After ten movements hardly any doubt is left; one stall brings it back."""
    steady = [(float(at), 10 * at) for at in range(0, 44, 4)]
    trusted = pace_of(*steady)
    assert trusted is not None
    assert trusted.doubt < 0.1
    stalled = pace_of(*steady, (80, 400), (84, 404))
    assert stalled is not None
    assert stalled.doubt > 0.3


def test_what_moves_at_one_instant_has_no_pace() -> None:
    """Two reads within a millisecond measure the clock; once there is a rate, they add to the counter only."""
    assert pace_of((5, 50), (5, 60)) is None
    assert pace_of((5, 50), (5.0005, 60)) is None
    assert pace_of((0, 50), (0.001, 60)) is not None
    first = Pace(-1.0, 0, 0.0, 10, step=10, rate=10)
    assert first.move(20, before=0.0009, at=0.0009).rate == first.rate
    assert first.move(20, before=0.001, at=0.001).rate > first.rate
    pace = pace_of((0, 0), (10, 100), (15, 150))
    assert pace is not None
    more = pace.move(160, before=15, at=15)
    assert (more.count, more.at) == (160, 15)
    again = more.move(170, before=15, at=15)
    assert (again.count, again.at, again.rate, again.doubt) == (170, 15, more.rate, more.doubt)


@pytest.mark.parametrize("batch", [1, 10, 50])
def test_more_polls_are_no_other_pace(batch: int) -> None:
    """A poll that comes early, or ten of them, teach what the planned ones do: the rate, and that it is steady."""
    planned = [0, 1, 2.5, 5, 9, 15, 24, 38, 60, 90, 120, 150]
    early = sorted({*planned, *(half / 2 for half in range(300))})
    for polls in (planned, early):
        pace = poll_steadily(polls, rate=40, batch=batch)
        assert pace.rate == pytest.approx(40, rel=0.15)
        assert pace.at == pytest.approx(150, abs=15)
        assert pace.doubt < 0.25


@patient
@given(polls=st.lists(st.tuples(st.floats(0, 1e5), st.integers(0, 2**40)), min_size=2, max_size=30))
def test_whatever_moves_has_a_rate_that_can_be_reckoned_with(polls: list[tuple[float, int]]) -> None:
    """Its numbers are finite, the rate above zero, the doubt not below it; the last step lies between two polls."""
    pace: Pace | None = None
    before, count = 0.0, 0
    for pause, gained in polls:
        at = before + pause
        if gained:
            count += gained
            if pace is None:
                pace = Pace.begin(count, gained=gained, since=0.0, before=before, at=at)
            else:
                moved = pace.move(count, before=before, at=at)
                assert moved.at == pace.at or before <= moved.at <= at
                pace = moved
        if pace is not None:
            assert pace.count == count
            assert 0 < pace.rate < math.inf
            assert 0 <= pace.doubt < math.inf
            assert pace.first_at <= pace.at <= at
            assert pace.step >= 1
        before = at
