"""How a job will go, decided when it starts: a frozen plan and the pure functions of time that follow from it."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from datetime import timedelta
from operator import itemgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, TypedDict

from attrs import evolve, field, frozen
from attrs.converters import optional

if TYPE_CHECKING:
    from collections.abc import Mapping

Duration = float | timedelta
Point = tuple[float, float]
# The share of the objects that is processed after a share of the processing time, both from 0 to 1.
Curve = Callable[[float], float]

# 0.1 * 30 is 3.0000000000000004 and 0.57 * 100 is 56.99999999999999: a counter must not stop one short.
_ROUNDING = 1e-9

CURVES: Mapping[str, tuple[Point, ...]] = MappingProxyType(
    {
        "linear": ((0, 0), (1, 1)),
        # Slow, then ten times as fast: what an estimate from the whole life of the job gets wrong.
        "accelerating": ((0, 0), (0.9, 0.474), (1, 1)),
        "slowing": ((0, 0), (0.1, 0.526), (1, 1)),
        "four_steps": ((0, 0), (0.25, 0), (0.25, 0.25), (0.5, 0.25), (0.5, 0.5), (0.75, 0.5), (0.75, 0.75), (1, 0.75)),
        # The counter never moves before the job ends.
        "silent": ((0, 0), (1, 0)),
        # All objects are processed, and the job still needs a tenth of its time to finish.
        "finalising": ((0, 0), (0.9, 1), (1, 1)),
    },
)


def to_seconds(duration: Duration) -> float:
    """A duration in seconds, however it was given; raises `ValueError` when it is negative or not a number."""
    seconds = duration.total_seconds() if isinstance(duration, timedelta) else float(duration)
    if not seconds >= 0:
        raise ValueError(f"a duration must be zero or more seconds, got {duration!r}")
    return seconds


def to_curve(curve: str | Sequence[Point] | Curve) -> Curve:
    """The curve of that name in `CURVES`, through those points (straight lines between them), or as given."""
    if isinstance(curve, str):
        if curve not in CURVES:
            raise ValueError(f"unknown curve {curve!r}, there are: {', '.join(CURVES)}")
        curve = CURVES[curve]
    if callable(curve):
        return curve
    points = tuple(curve)
    return lambda share: _interpolate(points, share)


def _interpolate(points: Sequence[Point], x: float) -> float:
    # Of two points at the same place the later one counts, which is how a step is written.
    following = bisect_right(points, x, key=itemgetter(0))
    x0, y0 = points[following - 1] if following else (0.0, 0.0)
    x1, y1 = points[following] if following < len(points) else (math.inf, y0)
    return y0 + (y1 - y0) * (x - x0) / (x1 - x0)


class Unsaid(int):
    """The count of a plan that does not say one; it counts as any number does."""


class PlanChanges(TypedDict, total=False):
    """The keywords of `Plan`, each optional."""

    duration: Duration
    ends: Literal["done", "error"]
    n_objects: int
    n_leads: int | None
    curve: str | Sequence[Point] | Curve
    counting: Duration | None
    fails_at: float
    pausing: Duration
    resuming: Duration
    shown_after: Duration
    skipped: float


@frozen(kw_only=True)
class Plan:
    """What becomes of a job; every duration is in seconds or a `timedelta`, and kept in seconds.

    The job ends as `ends` after `duration` of not being paused. Until `counting` (a tenth of the duration, at most a
    second) its counts are null: the first half of that is `created`, the second `loading`. Then it is `processing`
    along `curve`. A job that ends in error has by then processed `fails_at` of its objects.
    A pause takes effect `pausing` after it was asked for, a job is `resuming` for that long before it goes on, and
    `shown_after` is how long a new job is found neither by its id nor in the list. `skipped` is the share of the
    objects that are processed without any event in the log, as those that have no address to write to.
    """

    duration: float = field(default=10.0, converter=to_seconds)
    ends: Literal["done", "error"] = "done"
    n_objects: int = Unsaid(100)
    n_leads: int | None = None
    curve: Curve = field(default=to_curve("linear"), converter=to_curve)
    counting: float | None = field(default=None, converter=optional(to_seconds))
    fails_at: float = 0.5
    pausing: float = field(default=0.0, converter=to_seconds)
    resuming: float = field(default=1.0, converter=to_seconds)
    shown_after: float = field(default=0.0, converter=to_seconds)
    skipped: float = 0.0

    @property
    def leads(self) -> int:
        """How many leads there are; as many as objects when the plan does not say."""
        return self.n_objects if self.n_leads is None else self.n_leads

    @property
    def says_counts(self) -> bool:
        """Whether the plan was told how many objects or leads there are."""
        return self.n_leads is not None or not isinstance(self.n_objects, Unsaid)

    @property
    def counted_after(self) -> float:
        """Seconds of activity after which the counts are known and processing begins."""
        return min(1.0, self.duration / 10) if self.counting is None else min(self.counting, self.duration)

    def changed(self, changes: PlanChanges) -> Plan:
        """The plan with other values."""
        return evolve(self, **changes)

    def limited(self, results_limit: int | None) -> Plan:
        """The plan for a request with a `results_limit`, which caps the leads; objects shrink in proportion."""
        if results_limit is None or results_limit >= self.leads:
            return self
        return evolve(self, n_leads=results_limit, n_objects=math.ceil(self.n_objects * results_limit / self.leads))

    def status(self, active: float) -> str:
        """The status of a job that is not paused after so many seconds of activity."""
        if active >= self.duration:
            return self.ends
        begins = self.counted_after
        if active >= begins:
            return "processing"
        return "created" if active < begins / 2 else "loading"

    def is_counted(self, active: float) -> bool:
        """Whether `n_leads` and `n_objects` are known."""
        return active >= self.counted_after

    def processed(self, total: int, active: float) -> int:
        """How many of `total` are processed after so many seconds of activity."""
        begins = self.counted_after
        if active < begins:
            return 0
        whole = self.ends == "done" or self.fails_at
        if active >= self.duration:
            return math.floor(total * whole + _ROUNDING)
        share = (active - begins) / (self.duration - begins)
        return math.floor(total * whole * min(max(self.curve(share), 0.0), 1.0) + _ROUNDING)

    def active_at(self, share: float) -> float:
        """The seconds of activity after which a linear job has processed that share of its objects."""
        return self.counted_after + share * (self.duration - self.counted_after)
