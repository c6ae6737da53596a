"""How long to wait: every number is checked, every wait within its bounds, with backoff as it is installed."""

from __future__ import annotations

from datetime import timedelta
from itertools import islice, pairwise
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from closebulk_async.errors import InvalidRequestError
from closebulk_async.policy import (
    NO_RETRY,
    PollPolicy,
    RetryPolicy,
    Timeouts,
    after_hint,
    to_seconds,
    to_seconds_or_none,
)

from .strategies import patient

durations = st.floats(0, 1e6)
positive = st.floats(1e-3, 1e6)
factors = st.floats(1.001, 10)
DURATIONS = [
    *((Timeouts, name) for name in ("connect", "total")),
    *((RetryPolicy, name) for name in ("first", "ceiling", "max_wait")),
    *(
        (PollPolicy, name)
        for name in (
            "floor",
            "ceiling",
            "paused",
            "lost_after",
            "settle",
            "unknown_stall",
            "resumable",
            "last_look",
        )
    ),
]
NO_DURATIONS = [-1, -0.001, float("nan"), float("inf"), 10**400, True, "5", None, timedelta(seconds=-1)]


@pytest.mark.parametrize(("given_", "seconds"), [(5, 5.0), (0, 0.0), (0.5, 0.5), (timedelta(minutes=2), 120.0)])
def test_a_duration_is_seconds_or_a_timedelta(given_: float | timedelta, seconds: float) -> None:
    """Both spellings give the same float of seconds."""
    found = to_seconds(given_)
    assert found == seconds
    assert type(found) is float
    assert to_seconds_or_none(given_) == seconds
    assert to_seconds_or_none(None) is None


@pytest.mark.parametrize("value", NO_DURATIONS)
def test_what_is_no_duration_is_refused_by_its_name(value: Any) -> None:  # noqa: ANN401 - what untyped callers pass
    """Negative, not finite, or no number: the error names the parameter."""
    with pytest.raises(InvalidRequestError, match="stall_timeout must be"):
        to_seconds(value, name="stall_timeout")
    if value is not None:
        with pytest.raises(InvalidRequestError, match="stall_timeout must be"):
            to_seconds_or_none(value, name="stall_timeout")


@pytest.mark.parametrize(("cls", "name"), DURATIONS)
def test_durations_of_policies_are_checked(cls: type[Any], name: str) -> None:
    """Each duration of each policy takes timedeltas and seconds, and refuses what is none by its own name."""
    assert getattr(cls(**{name: timedelta(minutes=1)}), name) == 60.0
    for value in NO_DURATIONS:
        with pytest.raises(InvalidRequestError, match=f"{name} must be"):
            cls(**{name: value})


@pytest.mark.parametrize(
    ("cls", "name", "bad", "good"),
    [
        (RetryPolicy, "attempts", (0, -1, 1.0, True, "5", None), 1),
        (RetryPolicy, "factor", (0.9, 0, -1, float("nan"), float("inf"), "2", None), 1),
        (PollPolicy, "factor", (1, 0.5, float("nan"), float("inf"), None), 1.1),
        (PollPolicy, "share_of_rest", (0, 1.1, -0.5, float("nan"), "0.5"), 1),
        (PollPolicy, "concurrency", (0, -1, 2.5, True, None), 1),
        (PollPolicy, "floor", (0, 0.0, timedelta(0)), 0.1),
    ],
)
def test_numbers_of_policies_are_checked(cls: type[Any], name: str, bad: tuple[Any, ...], good: float) -> None:
    """A number out of its bounds raises this package's error, and names itself; the bound itself is let in."""
    assert getattr(cls(**{name: good}), name) == good
    for value in bad:
        with pytest.raises(InvalidRequestError, match=f"{name} must be"):
            cls(**{name: value})


def test_every_number_of_the_policies_is_tested() -> None:
    """The tables above miss no field."""
    tested = {*DURATIONS, (RetryPolicy, "attempts"), (RetryPolicy, "factor")}
    tested |= {(PollPolicy, name) for name in ("factor", "share_of_rest", "concurrency")}
    assert tested == {(cls, f.name) for cls in (Timeouts, RetryPolicy, PollPolicy) for f in attrs.fields(cls)}


def test_policies_are_frozen_values() -> None:
    """Equal numbers are equal policies, and none can be changed."""
    policy: Any = RetryPolicy(first=timedelta(seconds=1))
    assert policy == RetryPolicy(first=1.0)
    assert hash(policy) == hash(RetryPolicy(first=1.0))
    with pytest.raises(AttributeError):
        policy.first = 2.0


def test_the_numbers_that_are_promised() -> None:
    """What the documentation says of waits: minutes, hours and days after which something is given up."""
    policy = PollPolicy()
    assert policy.lost_after == timedelta(minutes=15).total_seconds()
    assert policy.unknown_stall == timedelta(hours=24).total_seconds()
    assert policy.resumable == timedelta(days=7).total_seconds()
    assert policy.settle == 15
    assert policy.last_look == 1


def test_no_retry_is_one_attempt_that_waits_for_nothing() -> None:
    """The watcher's polls are not repeated by the transport."""
    assert (NO_RETRY.attempts, NO_RETRY.max_wait) == (1, 0.0)


@patient
@given(first=durations, factor=st.floats(1, 10), ceiling=durations)
def test_waits_stay_below_the_growing_step_and_the_ceiling(first: float, factor: float, ceiling: float) -> None:
    """Each wait lies between 0 and first, first * factor, first * factor² ..., and never above the ceiling."""
    waits = RetryPolicy(first=first, factor=factor, ceiling=ceiling).waits()
    for number, wait in enumerate(islice(waits, 40)):
        assert 0 <= wait <= min(ceiling, first * factor**number) * (1 + 1e-9)


def test_waits_are_spread_over_the_whole_step() -> None:
    """Full jitter: neither always short nor always long, in every step."""
    steps = [list(islice(RetryPolicy(first=1, factor=2, ceiling=8).waits(), 6)) for _ in range(300)]
    for column, step in zip(zip(*steps, strict=True), (1, 2, 4, 8, 8, 8), strict=True):
        assert min(column) < 0.25 * step
        assert max(column) > 0.75 * step


@pytest.mark.parametrize("first", [0, 1e-300])
def test_tiny_first_waits_never_overflow(first: float) -> None:
    """A first wait of (nearly) nothing goes on for as long as somebody asks."""
    waits = RetryPolicy(first=first, attempts=10_000).waits()
    assert all(0 <= wait <= 20 for wait in islice(waits, 5000))


@patient
@given(seconds=durations)
def test_jitter_only_adds_to_a_hint(seconds: float) -> None:
    """A wait that the server asked for is never shortened, and at most a second longer."""
    assert seconds <= after_hint(seconds) <= seconds + 1


def test_hints_are_spread() -> None:
    """Clients that got the same hint do not come back at one instant."""
    waits = [after_hint(5.0) for _ in range(300)]
    assert min(waits) < 5.25
    assert max(waits) > 5.75


@patient
@given(floor=positive, factor=factors, ceiling=durations)
def test_intervals_grow_to_the_ceiling(floor: float, factor: float, ceiling: float) -> None:
    """Polls begin at the floor, become rarer by the factor, and stay at the ceiling (or a higher floor)."""
    top = max(floor, ceiling)
    intervals = list(islice(PollPolicy(floor=floor, factor=factor, ceiling=ceiling).intervals(), 60))
    assert intervals[0] == floor
    for before, after in pairwise(intervals):
        assert after == pytest.approx(min(top, before * factor))
        assert floor <= before <= after <= top


def test_intervals_reach_the_ceiling_and_stay() -> None:
    """With the default numbers the ceiling is reached within ten polls, and kept for a wait of any length."""
    intervals = PollPolicy().intervals()
    assert list(islice(intervals, 10))[-1] == 30.0
    assert set(islice(intervals, 5000)) == {30.0}


@patient
@given(interval=durations, eta=st.none() | durations, floor=positive, ceiling=durations, share=st.floats(0.01, 1))
def test_delays_stay_within_their_bounds(
    interval: float, eta: float | None, floor: float, ceiling: float, share: float
) -> None:
    """Without a prediction the interval counts; with one a share of the rest, between floor and ceiling."""
    policy = PollPolicy(floor=floor, ceiling=ceiling, share_of_rest=share)
    delay = policy.delay(interval=interval, eta=eta, is_paused=False)
    if eta is None:
        assert delay == interval
    else:
        assert floor <= delay <= max(floor, ceiling)
        assert delay in {floor, share * eta, max(floor, ceiling)}


@pytest.mark.parametrize(("eta", "delay"), [(0, 1), (1, 1), (10, 5), (50, 25), (60, 30), (1e6, 30)])
def test_half_of_the_predicted_rest_is_slept(eta: float, delay: float) -> None:
    """The default policy sleeps half of what is left, a second at the least and half a minute at the most."""
    assert PollPolicy().delay(interval=7.0, eta=eta, is_paused=False) == delay


@patient
@given(eta=st.none() | durations, paused=durations, floor=positive)
def test_a_paused_action_is_polled_slowly(eta: float | None, paused: float, floor: float) -> None:
    """While an action rests, its own interval counts, whatever was predicted, and never less than the floor."""
    policy = PollPolicy(paused=paused, floor=floor)
    assert policy.delay(interval=floor, eta=eta, is_paused=True) == max(paused, floor)
