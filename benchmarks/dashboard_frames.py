"""What a page costs its browser for one frame, read from the browser's own trace.

A page cannot time this itself: what it sees ends where its scripts end, and style, layout and paint come after them. A
trace has each task of the page's main thread as the browser's scheduler ran it (`RunTask`), and the one that renders is
the one in which the frame is committed to the compositor (`Commit`). A frame is charged with that task and with all
others since the frame before, whatever they were for: parsing and taking in what the server sent, timers, the
collection of garbage. Frames that a page skips are charged to the next one, so that it cannot become fast by being
late. Rasterising is left out, as it happens on other threads.

The time is that of a clock on the wall, so that a busy machine makes a page slower than it is; what the thread itself
computed stands beside it. Tracing takes time as well, which counts against the page.
"""

from __future__ import annotations

import math
import statistics
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

Event: TypeAlias = Mapping[str, Any]

PARTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "EventDispatch": "script",
        "FunctionCall": "script",
        "FireAnimationFrame": "script",
        "TimerFire": "script",
        "RunMicrotasks": "script",
        "MinorGC": "garbage",
        "MajorGC": "garbage",
        "UpdateLayoutTree": "style",
        "Layout": "layout",
        "IntersectionObserverController::computeIntersections": "intersections",
        "PrePaint": "paint",
        "Paint": "paint",
        "Layerize": "paint",
        "Commit": "commit",
    }
)
"""Events of the trace, and the part of a frame's work that each is. One inside another is taken out of that one."""

CATEGORIES: Final = ("devtools.timeline", "disabled-by-default-devtools.timeline", "blink.user_timing")
"""What the browser has to trace."""

UPDATE: Final = "closebulk.update"
"""The mark of `performance.mark` that says: here something came that the page takes in."""


@attrs.frozen(kw_only=True)
class Frame:
    """The tasks of the main thread that led to one frame, in milliseconds: on the wall, and computed by the thread.

    `n_updates` is how many updates of the server's it took in, `draws` whether an animation callback of the page's ran.
    `parts` is what the time on the wall went into, by the names of `PARTS`, without what stands in none of them.
    """

    wall: float
    computed: float
    n_updates: int
    draws: bool
    parts: Mapping[str, float]


@attrs.frozen(kw_only=True)
class _Task:
    began: float
    wall: float
    computed: float

    @property
    def ended(self) -> float:
        return self.began + self.wall


def read_frames(events: Sequence[Event]) -> Sequence[Frame]:
    """The whole frames of the page that has marks of updates.

    The first frame that the trace has is left out: part of its work may lie before. Raises ValueError without a mark.
    """
    thread = next((_thread_of(event) for event in events if event["name"] == UPDATE), None)
    if thread is None:
        raise ValueError("no update came while the browser was traced")
    ours = sorted((event for event in events if _thread_of(event) == thread), key=lambda event: event["ts"])
    tasks = [_read_task(event) for event in ours if event["name"] == "RunTask" and event["ph"] == "X"]
    commits = {_find_task(tasks, event["ts"]) for event in ours if event["name"] == "Commit"} - {None}
    bounds = sorted(index for index in commits if index is not None)
    return [
        _read_frame(tasks[before + 1 : last + 1], ours, since=tasks[before].ended) for before, last in pairwise(bounds)
    ]


def _thread_of(event: Event) -> tuple[int, int]:
    return event["pid"], event["tid"]


def _read_task(event: Event) -> _Task:
    return _Task(began=event["ts"], wall=event["dur"], computed=event.get("tdur", event["dur"]))


def _find_task(tasks: Sequence[_Task], instant: float) -> int | None:
    """The task in which something happened."""
    at = bisect_right(tasks, instant, key=lambda task: task.began) - 1
    return at if at >= 0 and instant <= tasks[at].ended else None


def _read_frame(tasks: Sequence[_Task], events: Sequence[Event], *, since: float) -> Frame:
    inside = _between(events, since, tasks[-1].ended)
    return Frame(
        wall=sum(task.wall for task in tasks) / 1000,
        computed=sum(task.computed for task in tasks) / 1000,
        n_updates=sum(event["name"] == UPDATE for event in inside),
        draws=any(event["name"] == "FireAnimationFrame" for event in inside),
        parts=_read_parts(inside),
    )


def _read_parts(events: Sequence[Event]) -> Mapping[str, float]:
    """What each part took by itself."""
    parts: defaultdict[str, float] = defaultdict(float)
    open_: list[tuple[float, str]] = []  # ends and parts of those around, the innermost last
    for event in events:
        part = PARTS.get(event["name"])
        if part is None or event["ph"] != "X":
            continue
        while open_ and event["ts"] >= open_[-1][0]:
            open_.pop()
        if open_:
            parts[open_[-1][1]] -= event["dur"] / 1000
        parts[part] += event["dur"] / 1000
        open_.append((event["ts"] + event["dur"], part))
    return parts


def _between(events: Sequence[Event], since: float, until: float) -> Sequence[Event]:
    first, last = (bisect_right(events, instant, key=lambda event: event["ts"]) for instant in (since, until))
    return events[first:last]


def summarize(frames: Iterable[Frame]) -> dict[str, float]:
    """Number, median, 95 % quantile and longest of some frames, and medians of their parts and of the computing."""
    chosen = list(frames)
    if not chosen:
        raise ValueError("no frame was drawn while the browser was traced")
    walls = sorted(frame.wall for frame in chosen)
    return {
        "number": len(walls),
        "median": statistics.median(walls),
        "p95": walls[math.ceil(0.95 * len(walls)) - 1],
        "longest": walls[-1],
        "computed": statistics.median(frame.computed for frame in chosen),
        **{
            part: statistics.median(frame.parts.get(part, 0.0) for frame in chosen)
            for part in sorted({*PARTS.values()})
        },
    }


def after_updates(frames: Sequence[Frame]) -> Iterator[Frame]:
    """The frames that worked on an update: those that took one in, and those in which the page went on drawing."""
    return (frame for frame in frames if frame.n_updates or frame.draws)
