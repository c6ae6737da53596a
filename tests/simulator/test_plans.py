"""Plans and curves as pure functions."""

from __future__ import annotations

import math
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from closebulk_async.simulator import CURVES, Plan

POSITIONS = st.floats(0, 200)


@given(
    curve=st.sampled_from(sorted(CURVES)),
    total=st.integers(0, 10**6),
    counting=st.floats(0, 120),
    instants=st.lists(POSITIONS, max_size=20),
)
def test_counters_never_run_backwards(curve: str, total: int, counting: float, instants: list[float]) -> None:
    """Along every named curve the counter grows from zero to the total, and never beyond."""
    plan = Plan(duration=100, counting=counting, curve=curve)
    processed = [plan.processed(total, active) for active in sorted(instants)]
    assert processed == sorted(processed)
    assert all(0 <= count <= total for count in processed)
    assert plan.processed(total, 100) == total


@given(active=POSITIONS, counting=st.floats(0, 120), duration=st.floats(0, 120))
def test_a_status_for_every_instant(active: float, counting: float, duration: float) -> None:
    """Statuses follow one another in the documented order, and counts are known from `processing` on."""
    plan = Plan(duration=duration, counting=counting)
    order = ["created", "loading", "processing", "done"]
    status = plan.status(active)
    assert order.index(plan.status(active / 2)) <= order.index(status)
    assert plan.is_counted(active) == (status in ("processing", "done"))


@pytest.mark.parametrize(
    ("curve", "expected"),
    [
        ("linear", [0, 25, 50, 75, 100]),
        ("four_steps", [0, 25, 50, 75, 100]),
        ("silent", [0, 0, 0, 0, 100]),
        ("finalising", [0, 27, 55, 83, 100]),
        (((0.5, 0.1), (1.0, 0.9)), [0, 5, 10, 50, 100]),
        (((0.0, 0.5),), [50, 50, 50, 50, 100]),
        ((), [0, 0, 0, 0, 100]),
        (lambda share: share**2, [0, 6, 25, 56, 100]),
        (lambda share: 9 * share - 1, [0, 100, 100, 100, 100]),
    ],
)
def test_curves(curve: object, expected: list[int]) -> None:
    """A curve is a name, points or a function; what it says is kept between nothing and everything."""
    plan = Plan(duration=4, counting=0, curve=curve)  # type: ignore[arg-type]  # one of the forms that it takes
    assert [plan.processed(100, active) for active in range(5)] == expected


def test_counts_are_known_after_a_tenth_of_the_job_but_at_most_a_second() -> None:
    """The default of `counting`."""
    assert (Plan(duration=5).counted_after, Plan(duration=500).counted_after) == (0.5, 1.0)


def test_rounding_does_not_lose_an_object() -> None:
    """57 of 100 is 57 although 0.57 * 100 is less in binary."""
    assert Plan(duration=1, ends="error", fails_at=0.57).processed(100, 1) == 57


@pytest.mark.parametrize("duration", [-1, math.nan, timedelta(seconds=-1)])
def test_durations_that_make_no_sense(duration: float) -> None:
    """A negative duration raises."""
    with pytest.raises(ValueError, match="zero or more seconds"):
        Plan(duration=duration)


def test_a_curve_that_does_not_exist() -> None:
    """An unknown name raises, and says which there are."""
    with pytest.raises(ValueError, match="unknown curve 'steep', there are: linear"):
        Plan(curve="steep")
