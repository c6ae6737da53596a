"""How long to wait: every number is checked, every wait within its bounds, with backoff as it is installed."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from itertools import islice
from statistics import mean, quantiles
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.cadence import steps_of
from benchmarks.paper import MODELS, draw_jobs, watch_job
from closebulk_async.errors import InvalidRequestError
from closebulk_async.models import BulkEmail
from closebulk_async.pace import Pace
from closebulk_async.policy import (
    NO_RETRY,
    PollPolicy,
    RetryPolicy,
    StartPolicy,
    Timeouts,
    after_hint,
    to_seconds,
    to_seconds_or_none,
)
from closebulk_async.progress import Meter, observe

from .strategies import patient

if TYPE_CHECKING:
    from collections.abc import Mapping

NOW = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)
durations = st.floats(0, 1e6)
positive = st.floats(1e-3, 1e6)
factors = st.floats(1.001, 10)
DURATIONS = [
    *((Timeouts, name) for name in ("connect", "total")),
    *((RetryPolicy, name) for name in ("first", "ceiling", "max_wait")),
    *((StartPolicy, name) for name in ("first", "ceiling", "lease")),
    *(
        (PollPolicy, name)
        for name in (
            "floor",
            "ceiling",
            "paused",
            "webhook_beat",
            "beat",
            "discover",
            "remember",
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
    said = "must be seconds, a finite number that is not negative or a timedelta, and is"
    with pytest.raises(InvalidRequestError, match=f"^stall_timeout {said} {re.escape(repr(value))}$"):
        to_seconds(value, name="stall_timeout")
    with pytest.raises(InvalidRequestError, match=f"^duration {said}"):
        to_seconds(value)
    if value is not None:
        with pytest.raises(InvalidRequestError, match=f"^stall_timeout {said}"):
            to_seconds_or_none(value, name="stall_timeout")
        with pytest.raises(InvalidRequestError, match=f"^duration {said}"):
            to_seconds_or_none(value)


@pytest.mark.parametrize(("cls", "name"), DURATIONS)
def test_durations_of_policies_are_checked(cls: type[Any], name: str) -> None:
    """Each duration of each policy takes timedeltas and seconds, and refuses what is none by its own name."""
    assert getattr(cls(**{name: timedelta(minutes=1)}), name) == 60.0
    for value in NO_DURATIONS:
        with pytest.raises(InvalidRequestError, match=f"{name} must be"):
            cls(**{name: value})


@pytest.mark.parametrize(
    ("cls", "name", "bad", "good", "said"),
    [
        (RetryPolicy, "attempts", (0, -1, 1.0, True, "5", None), 1, "must be an integer, at least 1, and is"),
        (
            RetryPolicy,
            "factor",
            (0.9, 0, -1, float("nan"), float("inf"), "2", None),
            1,
            "must be a finite number, at least 1, and is",
        ),
        (StartPolicy, "fence_requests", (0, 2.0, True, None), 1, "must be an integer, at least 1, and is"),
        (StartPolicy, "factor", (0.9, float("nan"), "2"), 1, "must be a finite number, at least 1, and is"),
        (
            PollPolicy,
            "factor",
            (1, 0.5, float("nan"), float("inf"), None),
            1.1,
            "must be a finite number, above 1, and",
        ),
        (PollPolicy, "concurrency", (0, -1, 2.5, True, None), 1, "must be an integer, at least 1, and is"),
        *(
            (cls, name, (0, 0.0, timedelta(0)), 0.1, "must be longer than 0")
            for cls, name in (
                (StartPolicy, "first"),
                (StartPolicy, "ceiling"),
                (StartPolicy, "lease"),
                (PollPolicy, "floor"),
                (PollPolicy, "webhook_beat"),
                (PollPolicy, "discover"),
            )
        ),
    ],
)
def test_numbers_of_policies_are_checked(
    cls: type[Any], name: str, bad: tuple[Any, ...], good: float, said: str
) -> None:
    """A number out of its bounds raises this package's error, which names it and the bound; that one is let in."""
    assert getattr(cls(**{name: good}), name) == good
    for value in bad:
        with pytest.raises(InvalidRequestError, match=f"^{name} {said}"):
            cls(**{name: value})


def test_every_number_of_the_policies_is_tested() -> None:
    """The tables above miss no field."""
    tested = {*DURATIONS, (RetryPolicy, "attempts"), (RetryPolicy, "factor")}
    tested |= {(StartPolicy, name) for name in ("fence_requests", "factor")}
    tested |= {(PollPolicy, name) for name in ("factor", "is_adaptive", "concurrency")}
    policies = (Timeouts, RetryPolicy, StartPolicy, PollPolicy)
    assert tested == {(cls, f.name) for cls in policies for f in attrs.fields(cls)}


def test_policies_are_frozen_values() -> None:
    """Equal numbers are equal policies, and none can be changed."""
    policy: Any = RetryPolicy(first=timedelta(seconds=1))
    assert policy == RetryPolicy(first=1.0)
    assert hash(policy) == hash(RetryPolicy(first=1.0))
    with pytest.raises(AttributeError):
        policy.first = 2.0


def test_the_numbers_that_are_promised() -> None:
    """What the documentation says of waits: minutes, hours and days after which something is given up."""
    assert attrs.asdict(PollPolicy()) == {
        "floor": 1,
        "factor": 1.5,
        "ceiling": 120,
        "is_adaptive": True,
        "paused": 60,
        "webhook_beat": 120,
        "beat": 0.5,
        "discover": 30,
        "remember": 60,
        "lost_after": timedelta(minutes=15).total_seconds(),
        "settle": 15,
        "unknown_stall": timedelta(hours=24).total_seconds(),
        "resumable": timedelta(days=7).total_seconds(),
        "last_look": 1,
        "concurrency": 16,
    }


def test_the_numbers_of_requests_and_starts() -> None:
    """A request gives up after a minute or five attempts, a start looks for its job after half a second at first."""
    assert attrs.asdict(Timeouts()) == {"connect": 10, "total": 60}
    assert attrs.asdict(RetryPolicy()) == {"attempts": 5, "first": 0.5, "factor": 2, "ceiling": 20, "max_wait": 120}
    assert attrs.asdict(StartPolicy()) == {"fence_requests": 20, "first": 0.5, "factor": 2, "ceiling": 4, "lease": 20}


def test_a_start_looks_again_after_longer_and_longer() -> None:
    """The waits between looks are exact: they grow by the factor up to the ceiling, or stay where they began above."""
    assert list(islice(StartPolicy().waits(), 6)) == [0.5, 1, 2, 4, 4, 4]
    assert list(islice(StartPolicy(first=3, factor=1.5, ceiling=5).waits(), 4)) == [3, 4.5, 5, 5]
    assert list(islice(StartPolicy(first=7, ceiling=4).waits(), 3)) == [7, 7, 7]


@pytest.mark.parametrize("value", [1, "yes", None])
def test_a_policy_adapts_or_does_not(value: Any) -> None:  # noqa: ANN401 - what untyped callers pass
    """A word or a number in place of the truth value is a mistake, and one of this package's errors."""
    with pytest.raises(InvalidRequestError, match="is_adaptive must be"):
        PollPolicy(is_adaptive=value)


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
@given(floor=positive, factor=factors, ceiling=durations, lost_after=durations, failures=st.integers(1, 10**6))
def test_delays_after_failures_grow_and_end(
    floor: float, factor: float, ceiling: float, lost_after: float, failures: int
) -> None:
    """From the floor by the factor, up to the ceiling or a thirtieth of the longest silence, whichever is shorter.

    And never longer than half of that silence, or one bad poll would lose the watch.
    """
    policy = PollPolicy(floor=floor, factor=factor, ceiling=ceiling, lost_after=lost_after)
    top = max(floor, min(ceiling, lost_after / 30))
    grown = floor * factor ** (failures - 1) if (failures - 1) * math.log(factor) < 500 else math.inf
    assert policy.delay_after_failure(failures) == pytest.approx(min(top, grown, lost_after / 2))


def test_the_default_delays_after_failures() -> None:
    """From a second to half a minute."""
    delays = [PollPolicy().delay_after_failure(failures) for failures in range(1, 12)]
    assert delays[:4] == [1, 1.5, 2.25, 3.375]
    assert delays[-3:] == pytest.approx([25.63, 30, 30], abs=0.01)
    assert PollPolicy.fixed(7).delay_after_failure(9) == 7


FAST = 2.0**30
"""Objects per second, so many that a time is a whole number of them."""


def running(age: float, *, stalled: float = 0.0, status: str | None = "loading") -> Meter[BulkEmail]:
    """A meter `age` seconds after its first poll, without a pace, `stalled` seconds after a change of the status."""
    return Meter(
        action=BulkEmail.example(status=status, n_objects=None, n_objects_processed=0),
        at=1000.0 + age,
        processed=0,
        total=None,
        since=1000.0,
        moved_at=1000.0 + age - stalled,
        pace=None,
        paused_since=None,
    )


def predicted(rest: float, *, doubt: float, age: float = 1000.0, left: float | None = None) -> Meter[BulkEmail]:
    """A meter `age` seconds after its first poll whose counter, as its rate says, is complete in `rest` seconds.

    At its latest movement that was `left` seconds away; without it, it was seen to move at once.
    """
    left = max(0.0, rest) if left is None else left
    meter = running(age)
    pace = Pace(meter.since, 0, meter.at + rest - left, 0, step=1, rate=FAST, doubt=doubt)
    return attrs.evolve(meter, total=round(left * FAST), pace=pace)


def follow(policy: PollPolicy, meter: Meter[BulkEmail], *, polls: int) -> list[float]:
    """The delays of so many polls in a row that show the same."""
    delays = []
    for _ in range(polls):
        delays.append(policy.delay(meter))
        meter = observe(meter, meter.action, at=meter.at + delays[-1], now=NOW)
    return delays


@patient
@given(seconds=positive, age=durations, rest=st.floats(-1e4, 1e4), doubt=st.floats(0, 3))
def test_a_fixed_beat_is_kept_whatever_is_known(seconds: float, age: float, rest: float, doubt: float) -> None:
    """Blind, predicted, overdue or paused: every delay is the one that was asked for."""
    policy = PollPolicy.fixed(timedelta(seconds=seconds))
    meters = (running(age), predicted(rest, doubt=doubt, age=age), running(age, status="paused"))
    for meter in meters:
        assert policy.delay(meter) == timedelta(seconds=seconds).total_seconds()
    assert PollPolicy(floor=seconds, ceiling=seconds).delay(meters[1]) == seconds


def test_a_fixed_beat_is_a_policy_like_others() -> None:
    """Each poll when it is due and no later, and all else as it is by default or as it is asked for."""
    assert PollPolicy.fixed(7) == PollPolicy(floor=7, ceiling=7, paused=7, beat=0)
    assert PollPolicy.fixed(7, paused=70, settle=1) == PollPolicy(floor=7, ceiling=7, paused=70, beat=0, settle=1)


def test_exponential_steps_grow_whatever_is_known() -> None:
    """By the factor from poll to poll up to the ceiling, moving or not; a poll that comes early changes nothing."""
    policy = PollPolicy.exponential()
    delays = follow(policy, running(0), polls=10)
    assert delays == pytest.approx([1, 1.5, 2.25, 3.375, 5.0625, 7.59375, 11.390625, 17.0859375, 25.62890625, 30])
    assert policy.delay(predicted(3, doubt=0, age=13.1875)) == pytest.approx(7.59375)
    assert policy.delay(predicted(-300, doubt=0, age=900)) == 30
    early = observe(running(0), running(0).action, at=1000.25, now=NOW)
    assert policy.delay(early) == pytest.approx(1.125)
    assert PollPolicy.exponential(2, 3, timedelta(minutes=1), lost_after=60) == PollPolicy(
        floor=2, factor=3, ceiling=60, beat=0, is_adaptive=False, lost_after=60
    )


policies = st.builds(PollPolicy, floor=positive, ceiling=durations, factor=factors, is_adaptive=st.booleans())
blind = st.builds(lambda age, part: running(age, stalled=part * age), durations, st.floats(0, 1))
foreseen = st.builds(predicted, st.floats(-1e6, 1e6), doubt=st.floats(0, 1e3), age=durations, left=durations)


@patient
@given(policy=policies, meter=blind | foreseen)
def test_delays_stay_within_their_bounds(policy: PollPolicy, meter: Meter[BulkEmail]) -> None:
    """Never below the floor and never above the ceiling (or a higher floor), blind or predicted."""
    assert policy.floor <= policy.delay(meter) <= max(policy.floor, policy.ceiling)


@patient
@given(paused=durations, floor=positive, is_adaptive=st.booleans())
def test_a_paused_action_is_polled_slowly(paused: float, floor: float, is_adaptive: bool) -> None:  # noqa: FBT001 - hypothesis draws it
    """While an action rests, its own interval counts, whatever the ceiling, and never less than the floor."""
    policy = PollPolicy(paused=paused, floor=floor, ceiling=0, is_adaptive=is_adaptive)
    assert policy.delay(running(50, status="paused")) == max(paused, floor)


def test_blind_steps_grow_with_the_age() -> None:
    """From the floor by the factor to five seconds, then a tenth of the age, up to the ceiling."""
    delays = follow(PollPolicy(), running(0), polls=9)
    assert delays == pytest.approx([1, 1.5, 2.25, 3.375, 5, 5, 5, 5, 5])
    ages = {49: 5, 70: 7, 1000: 100, 1200: 120, 90_000: 120}
    assert {age: PollPolicy().delay(running(age, stalled=age)) for age in ages} == pytest.approx(ages)
    assert PollPolicy(floor=2).delay(running(49, stalled=49)) == 10


def test_a_change_of_status_is_followed_by_early_looks() -> None:
    """From the floor again, or a twentieth of the age where that is longer, back to a tenth."""
    assert follow(PollPolicy(), running(20), polls=3) == pytest.approx([1, 1.5, 2.25])
    assert follow(PollPolicy(), running(400), polls=4) == pytest.approx([20, 21, 22.05, 32.525])
    growing = attrs.evolve(running(400), total=500, moved_at=1400.0)
    assert PollPolicy().delay(growing) == 20


def test_a_counter_without_a_total_predicts_nothing() -> None:
    """It moves, and nobody knows how far it has to go: then the age counts, as if it did not."""
    moving = attrs.evolve(predicted(30, doubt=0.1, age=600), total=None)
    assert PollPolicy().delay(attrs.evolve(moving, moved_at=1500.0)) == 51
    assert PollPolicy().delay(attrs.evolve(moving, moved_at=1000.0)) == 60


@pytest.mark.parametrize(
    ("rest", "doubt", "delay"), [(100, 0, 50), (40, 0, 20), (100, 0.5, 20), (100, 1, 12.5), (4, 0, 2), (3, 0, 1.9)]
)
def test_a_share_of_the_predicted_rest_is_slept(rest: float, doubt: float, delay: float) -> None:
    """Half of it where nothing was ever off, less by three times the doubt, and near the end nearly two floors."""
    assert PollPolicy().delay(predicted(rest, doubt=doubt)) == pytest.approx(delay)


def test_what_is_left_of_a_doubtful_rest_is_doubted_more() -> None:
    """The end may be off by a share of the whole stretch, also when most of it has passed without a movement."""
    assert PollPolicy().delay(predicted(50, left=100, doubt=0.1)) == pytest.approx(50 / 2 / (1 + 3 * 10 / 50))
    assert PollPolicy().delay(predicted(10, left=100, doubt=0.2)) == pytest.approx(2)
    assert PollPolicy().delay(predicted(10, left=500, doubt=0.2)) == pytest.approx(10)


def test_nobody_sleeps_much_longer_than_was_watched() -> None:
    """However far the end seems: a bit more than a fifth of the age, and the ceiling."""
    assert PollPolicy().delay(predicted(1000, doubt=0, age=100)) == pytest.approx(22)
    assert PollPolicy().delay(predicted(1e6, doubt=1, age=100)) == pytest.approx(22)
    assert PollPolicy().delay(predicted(1000, doubt=0, age=5)) == 1.9
    assert PollPolicy().delay(predicted(1e6, doubt=0, age=1e5)) == 120


@pytest.mark.parametrize(
    ("overdue", "delay"), [(0, 1.9), (1, 1.9), (15, 3), (25, 5), (250, 5), (1000, 20), (9000, 120)]
)
def test_an_overdue_action_is_looked_at_soon(overdue: float, delay: float) -> None:
    """After a fifth of what it is late, up to five seconds; what is late by minutes after a fiftieth of that."""
    assert PollPolicy().delay(predicted(-overdue, left=0, doubt=0.5, age=1e5)) == pytest.approx(delay)
    assert PollPolicy().delay(predicted(-overdue, left=1, doubt=0.5, age=1e5)) == pytest.approx(delay)


def test_what_is_said_in_floors_scales_with_the_floor() -> None:
    """How near an end is approached, how long a silence is where nothing is known, and how late one is looked for."""
    slow, quick = PollPolicy(floor=2), PollPolicy(floor=0.1)
    assert slow.delay(predicted(3, doubt=0)) == pytest.approx(3.8)
    assert quick.delay(predicted(0.5, doubt=0)) == pytest.approx(0.25)
    assert quick.delay(predicted(0.3, doubt=0)) == pytest.approx(0.19)
    assert slow.delay(predicted(-250, left=0, doubt=0, age=1e5)) == pytest.approx(10)
    assert quick.delay(predicted(-20, left=0, doubt=0, age=1e5)) == pytest.approx(0.5)


def test_a_doubtful_end_is_no_more_overdue_than_it_was_sure() -> None:
    """Where the end may be off by minutes, a tenth of that is soon enough."""
    assert PollPolicy().delay(predicted(-100, left=400, doubt=0.3)) == pytest.approx(12)
    assert PollPolicy().delay(predicted(-10, left=400, doubt=0.3)) == pytest.approx(2)


BOUNDS: Mapping[str, tuple[float, float, float, float]] = {
    "plain": (40, 1.15, 2.0, 0.99),
    "noisy": (50, 1.3, 4.5, 0.99),
    "counter moves in 4 steps": (48, 1.6, 35, 0.99),
    "counter never moves before the end": (35, 8, 125, 0.99),
    "ten times faster at the end": (32, 1.8, 35, 0.97),
}
"""Of each model: requests per job, lateness at 50 and 95 %, the share that is known in time; loose, for few jobs."""


@pytest.mark.parametrize("model", BOUNDS)
def test_jobs_on_paper_are_known_in_time_for_few_requests(model: str) -> None:
    """A poll when the policy says so and no other: what comes of it in a population of noisy jobs."""
    watched = [watch_job(job, steps_of(PollPolicy(), job)) for job in draw_jobs(400, seed=8, model=MODELS[model])]
    requests, half, most, in_time = BOUNDS[model]
    lateness = quantiles([one.lateness for one in watched], n=20)
    assert mean(one.requests for one in watched) <= requests
    assert lateness[9] <= half
    assert lateness[18] <= most
    assert mean(one.is_in_time for one in watched) >= in_time


def test_polls_that_come_early_make_no_others_due() -> None:
    """Somebody else's page shows the action every two seconds: what the policy itself asks for stays the same.

    Each delay counts as the share of it that passed before the next look.
    """
    asked = 0.0
    alone = 0
    for job in draw_jobs(60, seed=9, model=MODELS["plain"]):
        alone += watch_job(job, steps_of(PollPolicy(), job)).requests
        step, at = steps_of(PollPolicy(), job), 0.0
        counter, is_done = job.look(at)
        while not is_done:
            delay = step(at, counter)
            passed = min(2.0, delay)
            asked += passed / delay
            at += passed
            counter, is_done = job.look(at)
        asked += 1
    assert asked == pytest.approx(alone, rel=0.1)
