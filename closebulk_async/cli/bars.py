"""Live bars, one for each action, on a terminal of any width."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self

import attrs
from rich.console import Console, ConsoleOptions, RenderableType
from rich.constrain import Constrain
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from closebulk_async.cli.exits import complain, describe_failure
from closebulk_async.cli.texts import (
    cleaned,
    format_percent,
    format_rate,
    format_seconds,
    format_status,
    has_counts,
    shortened,
)
from closebulk_async.errors import BulkActionFailed, CloseBulkError, WaitTimeout
from closebulk_async.models import JobRef
from closebulk_async.progress import Progress

SHARE, RATE, ETA, STATUS = 7, 10, 10, 10
"""Columns: `100%` or a count, `99.9/min`, `ETA 2m 05s`, `processing`."""

ONE_LINE = 70
"""Terminals narrower than this get two lines for each action: else nothing of the ref or the bar would be left."""


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
    def status(self) -> tuple[str, str]:
        """The word for the state, and its style."""
        progress, failure = self.progress, self.failure
        if isinstance(failure, WaitTimeout):
            return "timed out", "yellow"
        if failure is not None and not isinstance(failure, BulkActionFailed):
            return "failed", "red"
        if progress is None:
            return "waiting", "dim"
        if progress.is_final:
            return format_status(progress.status), "red" if progress.action.is_failed else "green"
        return format_status(progress.status), "yellow" if progress.action.is_paused else ""

    @property
    def share(self) -> str:
        """The percentage, or the count while there is no total."""
        if self.progress is None or not has_counts(self.progress.action):
            return ""
        fraction = self.progress.fraction
        return str(self.progress.n_objects_processed) if fraction is None else format_percent(fraction)

    def pace(self, at: float) -> tuple[str, str]:
        """Rate and ETA of an action that moves. The ETA is counted down between polls."""
        progress = self.progress
        if progress is None or progress.is_final or progress.action.is_paused or self.failure is not None:
            return "", ""
        rate = "" if progress.rate is None else format_rate(progress.rate)
        if progress.eta is None:
            return rate, ""
        return rate, f"ETA {format_seconds(max(0.0, progress.eta.total_seconds() - (at - self.polled_at)))}"

    def bar(self, width: int) -> ProgressBar:
        """The bar; it pulses while there is no total and the action may still move."""
        fraction = None if self.progress is None else self.progress.fraction
        rests = self.failure is not None or (self.progress is not None and self.progress.action.is_paused)
        style = self.status[1] or "bar.complete"
        return ProgressBar(
            total=None if fraction is None and not rests else 1.0,
            completed=fraction or 0.0,
            width=width,
            complete_style=style,
            finished_style=style,
        )

    def lines(self, *, width: int, ref_width: int, at: float) -> Iterator[RenderableType]:
        """The action on one line, or on two where the terminal is narrow, and one more for an error."""
        word, style = self.status
        rate, eta = self.pace(at)
        if width >= ONE_LINE:
            bar = width - ref_width - SHARE - RATE - ETA - STATUS - 5
            yield _line(
                (shortened(str(self.ref), ref_width), ref_width, "left"),
                (self.bar(bar), bar, "left"),
                (self.share, SHARE, "right"),
                (rate, RATE, "right"),
                (eta, ETA, "left"),
                (Text(word, style=style), STATUS, "left"),
            )
        else:
            ref_width = max(4, width - STATUS - 1)
            bar = max(4, width - SHARE - RATE - ETA - 3)
            yield _line(
                (shortened(str(self.ref), ref_width), ref_width, "left"), (Text(word, style=style), STATUS, "left")
            )
            yield _line(
                (self.bar(bar), bar, "left"),
                (self.share, SHARE, "right"),
                (rate, RATE, "right"),
                (eta, ETA, "left"),
            )
        if (trouble := self.trouble) is not None:
            yield Text(f"  last error: {trouble}", style="yellow", no_wrap=True, overflow="ellipsis")


def _line(*cells: tuple[RenderableType, int, Any]) -> Table:
    # Versions of rich share out padding differently: the gaps are columns of their own.
    table = Table.grid(padding=0)
    row: list[RenderableType] = []
    for content, width, justify in cells:
        if row:
            table.add_column(width=1)
            row.append("")
        table.add_column(width=width, no_wrap=True, overflow="ellipsis", justify=justify)
        # Not as a plain text: that is read for markup, which a status word of the service's may hold.
        row.append(Text(content) if isinstance(content, str) else content)
    table.add_row(*row)
    return table


class Bars:
    """All rows as something that rich can draw again and again, at any width."""

    def __init__(self, refs: Sequence[JobRef[Any]], *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Rows without an answer yet, in this order."""
        self.rows = {ref: Row(ref) for ref in refs}
        self.monotonic = monotonic

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        # Two columns stay free for the `^C` that a terminal echoes: it would wrap, and shift what is drawn next.
        width, at = options.max_width - 2, self.monotonic()
        longest = max((len(str(ref)) for ref in self.rows), default=0)
        # At least 14 columns for the bar, and of what is left more for the ref, which is cut otherwise.
        ref_width = min(longest, width - SHARE - RATE - ETA - STATUS - 5 - 14)
        for row in self.rows.values():
            for line in row.lines(width=width, ref_width=ref_width, at=at):
                yield Constrain(line, width)


class LiveBars:
    """The view with bars. Reasons of failures are written below them, at the end."""

    def __init__(self, refs: Sequence[JobRef[Any]], *, console: Console | None = None) -> None:
        """Draw nothing yet."""
        self._bars = Bars(refs)
        # Whether there is a terminal was found out before. Standard error stays what it is: it may be a file.
        console = console or Console(force_terminal=True, highlight=False)
        self._live = Live(self._bars, console=console, redirect_stderr=False)
        self._failures: list[tuple[str, CloseBulkError]] = []

    def __enter__(self) -> Self:
        self._live.start(refresh=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()
        for failure, error in self._failures:
            complain(failure, error=error)

    def show(self, progress: Progress[Any]) -> None:
        """Keep the step for the next time that the bars are drawn."""
        self._bars.rows[progress.ref].take(progress, at=self._bars.monotonic())

    def fail(self, ref: JobRef[Any], error: CloseBulkError) -> None:
        """Mark the row, and keep the reason."""
        self._bars.rows[ref].failure = error
        self._failures.append((describe_failure(ref, error), error))

    def note(self, text: str) -> None:
        """Write it above the bars."""
        self._live.console.print(Text(text, style="yellow"))
