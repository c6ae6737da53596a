"""Live bars, one for each action, on a terminal of any size."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Self

import attrs
from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderableType
from rich.constrain import Constrain
from rich.control import Control
from rich.live import Live
from rich.segment import ControlType, Segment, Segments
from rich.text import Text

from closebulk_async.cli.columns import ONE_LINE, SHARE, SHORTEST_BAR, STATUS, Cell, make_bar, make_line, style_of
from closebulk_async.cli.exits import complain, describe_failure
from closebulk_async.cli.texts import cleaned, format_rate, format_seconds, format_share, format_status, shortened
from closebulk_async.errors import BulkActionFailed, CloseBulkError, WaitTimeout
from closebulk_async.models import JobRef
from closebulk_async.progress import Progress

RATE, ETA = 10, 11
"""Columns: `99.9/min`, `ETA 12m 05s`."""

FREE = 2
"""Columns that stay free for the `^C` that a terminal echoes: it would wrap, and shift what is drawn next."""

STATES = MappingProxyType(
    {name: place for place, name in enumerate(("failed", "running", "timed out", "paused", "waiting", "done"))}
)
"""Where there is no room for all actions, those of the first states are shown."""


@attrs.define
class Row:
    """What is known of one action."""

    ref: JobRef[Any]
    progress: Progress[Any] | None = None
    failure: CloseBulkError | None = None
    polled_at: float = 0.0
    _bad_poll: int = 0
    _error: CloseBulkError | None = None

    def take(self, progress: Progress[Any], *, at: float) -> None:
        """The next step. `at` is a monotonic instant."""
        if self.progress is None or progress.polls != self.progress.polls:
            self.polled_at = at
        if progress.last_error is not self._error:
            self._error = progress.last_error
            # A step that moved comes from a good poll: the error that it brings along is over already.
            self._bad_poll = 0 if progress.changed else progress.polls
        self.progress = progress

    @property
    def trouble(self) -> str | None:
        """What the latest poll failed with; None when it was a good one, or the wait has ended."""
        if self.failure is not None or self.progress is None or self._error is None:
            return None
        return cleaned(str(self._error)) if self.progress.polls == self._bad_poll else None

    @property
    def state(self) -> str:
        """One of `STATES`."""
        if self.failure is not None:
            return "timed out" if isinstance(self.failure, WaitTimeout) else "failed"
        if self.progress is None:
            return "waiting"
        action = self.progress.action
        if action.is_final:
            return "failed" if action.is_failed else "done"
        return "paused" if action.is_paused else "running"

    @property
    def status(self) -> tuple[str, str]:
        """The word for the state, and its style."""
        if isinstance(self.failure, WaitTimeout):
            return "timed out", "yellow"
        if self.failure is not None and not isinstance(self.failure, BulkActionFailed):
            return "failed", "red"
        if self.progress is None:
            return "waiting", "dim"
        return format_status(self.progress.status), style_of(self.progress.action)

    @property
    def share(self) -> str:
        """The percentage, or the count while there is no total."""
        progress = self.progress
        return (
            "" if progress is None else format_share(progress.action, progress.n_objects_processed, progress.fraction)
        )

    def pace(self, at: float) -> tuple[str, str]:
        """Rate and ETA of an action that moves. The ETA is counted down between polls."""
        progress = self.progress
        if progress is None or progress.is_final or progress.action.is_paused or self.failure is not None:
            return "", ""
        rate = "" if progress.rate is None else format_rate(progress.rate)
        if progress.eta is None:
            return rate, ""
        return rate, f"ETA {format_seconds(max(0.0, progress.eta.total_seconds() - (at - self.polled_at)))}"

    def bar(self, width: int) -> Cell | None:
        """The bar; it pulses while there is no total and the action may still move."""
        fraction = None if self.progress is None else self.progress.fraction
        rests = self.failure is not None or (self.progress is not None and self.progress.action.is_paused)
        return make_bar(fraction, width=width, style=self.status[1], pulses=not rests)

    def lines(self, *, width: int, ref_width: int, at: float) -> Iterator[RenderableType]:
        """The action on one line, or on two where the terminal is narrow, and one more for an error."""
        word, style = self.status
        rate, eta = self.pace(at)
        ref_width = ref_width if width >= ONE_LINE else max(4, width - STATUS - 1)
        ref: Cell = shortened(str(self.ref), ref_width), ref_width, "left"
        status: Cell = Text(word, style=style), STATUS, "left"
        share: Cell = self.share, SHARE, "right"
        pace: Sequence[Cell] = ((rate, RATE, "right"), (eta, ETA, "left"))
        if width >= ONE_LINE:
            bar = self.bar(width - ref_width - SHARE - RATE - ETA - STATUS - 5)
            yield make_line(ref, bar, share, *pace, status)
        else:
            room = width - SHARE - RATE - ETA - 3
            if room < SHORTEST_BAR:  # when it ends is worth more than how fast it is
                room, pace = room + RATE + 1, pace[1:]
            yield make_line(ref, status)
            yield make_line(self.bar(room), share, *pace)
        if (trouble := self.trouble) is not None:
            yield Text(f"  last error: {trouble}", style="yellow", no_wrap=True, overflow="ellipsis")


class Bars:
    """All rows as something that rich can draw again and again, at any size."""

    def __init__(self, refs: Sequence[JobRef[Any]], *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Rows without an answer yet, in this order."""
        self.rows: dict[JobRef[Any], Row] = {ref: Row(ref) for ref in refs}
        self.monotonic = monotonic
        self.is_over = False
        """Nothing is looked for any more."""
        self.shows_all = False
        """Also those for which the screen has no room."""
        self._drawn: Sequence[int] = []

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        width = options.max_width - FREE
        self._drawn = drawn = list[int]()
        for line in self._choose(width=width, height=options.size.height):
            for segments in console.render_lines(Constrain(line, width), options, pad=False):
                # Without spaces at the end, so that it can be said how a narrower terminal breaks the line.
                kept = _strip(segments)
                drawn.append(Segment.get_line_length(kept))
                yield Segments([*kept, Segment.line()])

    def _choose(self, *, width: int, height: int) -> Sequence[RenderableType]:
        """The lines of all rows, or of those that matter most, and one that says how many more there are."""
        rows, at = list(self.rows.values()), self.monotonic()  # a list, as rows are added by another thread
        if not rows and not self.is_over:
            return [Text("looking for what runs", style="dim", no_wrap=True, overflow="ellipsis")]
        # At least 14 columns for the bar, and of what is left more for the ref, which is cut otherwise.
        ref_width = min(
            max((len(str(row.ref)) for row in rows), default=0), width - SHARE - RATE - ETA - STATUS - 5 - 14
        )
        lines_of: dict[int, Sequence[RenderableType]] = {}
        left = height
        for place in sorted(range(len(rows)), key=lambda place: STATES[rows[place].state]):
            lines = list(rows[place].lines(width=width, ref_width=ref_width, at=at))
            left -= len(lines)
            if left < 0 and not self.shows_all:
                break
            lines_of[place] = lines
        if len(lines_of) < len(rows):
            return _with_rest(lines_of, rows, height=height)
        return [line for place in range(len(rows)) for line in lines_of[place]]

    def overflow(self, width: int) -> int:
        """How many lines more the latest drawing takes in a terminal that has been made so narrow since.

        Most terminals break what they show anew. One that cuts it off loses as many lines above the drawing; to clear
        the screen would lose more in all of them.
        """
        return sum(max(0, length - 1) // width for length in self._drawn)


def _with_rest(
    lines_of: Mapping[int, Sequence[RenderableType]], rows: Sequence[Row], *, height: int
) -> Sequence[RenderableType]:
    """As many of these lines as leave room for one that tells about the other rows; in the order of the rows."""
    fitting: dict[int, Sequence[RenderableType]] = {}
    for place, lines in lines_of.items():
        if sum(map(len, fitting.values())) + len(lines) >= height:
            break
        fitting[place] = lines
    counts = Counter(row.state for place, row in enumerate(rows) if place not in fitting)
    states = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
    rest = Text(f"… {counts.total()} more: {states}", style="dim", no_wrap=True, overflow="ellipsis")
    return [*(line for place in sorted(fitting) for line in fitting[place]), rest]


def _strip(segments: Sequence[Segment]) -> list[Segment]:
    """A line without the spaces at its end."""
    kept = list(segments)
    while kept and not kept[-1].text.rstrip(" "):
        kept.pop()
    return [*kept[:-1], kept[-1]._replace(text=kept[-1].text.rstrip(" "))] if kept else []


class _Live(Live):
    """Bars that leave nothing behind when the terminal is made narrower."""

    def __init__(self, bars: Bars, *, console: Console) -> None:
        # Standard error stays what it is: it may be a file.
        super().__init__(bars, console=console, redirect_stderr=False)
        self._bars = bars

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """Go up over lines that were broken since, too: rich itself goes up by those that it has drawn."""
        broken = self._bars.overflow(self.console.width)
        over = Control(*((ControlType.ERASE_IN_LINE, 2), (ControlType.CURSOR_UP, 1)) * broken)
        return [over, *super().process_renderables(renderables)]


class LiveBars:
    """The view with bars. Reasons of failures are written below them, at the end."""

    def __init__(self, refs: Sequence[JobRef[Any]], *, console: Console | None = None) -> None:
        """Draw nothing yet."""
        self._bars = Bars(refs)
        # Whether there is a terminal was found out before.
        self._live = _Live(self._bars, console=console or Console(force_terminal=True, highlight=False))
        self._failures: list[tuple[str, CloseBulkError]] = []

    def __enter__(self) -> Self:
        self._live.start(refresh=True)
        return self

    def __exit__(self, *raised: object) -> None:
        self._bars.is_over = True
        self._bars.shows_all = not any(raised)  # whoever has waited for the end sees all of it
        self._live.stop()
        for failure, error in self._failures:
            complain(failure, error=error)

    def show(self, progress: Progress[Any]) -> None:
        """Keep the step for the next time that the bars are drawn."""
        self._row_of(progress.ref).take(progress, at=self._bars.monotonic())

    def fail(self, ref: JobRef[Any], error: CloseBulkError) -> None:
        """Mark the row, and keep the reason."""
        self._row_of(ref).failure = error
        self._failures.append((describe_failure(ref, error), error))

    def _row_of(self, ref: JobRef[Any]) -> Row:
        return self._bars.rows.setdefault(ref, Row(ref))

    def note(self, text: str) -> None:
        """Write it above the bars."""
        self._live.console.print(Text(text, style="yellow"))
