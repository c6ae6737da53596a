"""What the user sees of a download: plain lines, JSON lines, or a live bar where there is a terminal."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol, Self

import attrs

from closebulk_async.cli.bars import LiveBars, Row
from closebulk_async.cli.columns import Cell, make_bar
from closebulk_async.cli.exits import complain
from closebulk_async.cli.notes import Noting
from closebulk_async.cli.texts import cleaned, format_bytes, format_percent, format_seconds
from closebulk_async.cli.views import has_terminal, print_json
from closebulk_async.downloads import DownloadProgress
from closebulk_async.models import JobRef

EVERY = 2.0
"""Seconds between two lines: a file of a gigabyte comes in thousands of steps."""


class FileView(Noting, Protocol):
    """Shows the steps of a download, inside a `with` block."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(self, *_: object) -> None:
        """Leave the terminal as it was."""

    def step(self, progress: DownloadProgress) -> None:
        """One step; there are many."""


@attrs.define
class FileLines:
    """A line now and then, and one at the end."""

    monotonic: Callable[[], float] = time.monotonic
    _told_at: float | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def step(self, progress: DownloadProgress) -> None:
        """Tell it, if the last one was told some time ago."""
        now = self.monotonic()
        if progress.is_final or (self._told_at is not None and now - self._told_at >= EVERY):
            self.tell(progress)
            self._told_at = now
        self._told_at = now if self._told_at is None else self._told_at

    def tell(self, progress: DownloadProgress) -> None:
        """Print it."""
        print(describe_download(progress), flush=True)

    def note(self, text: str) -> None:
        """Print it."""
        complain(text)


@attrs.define
class FileJson(FileLines):
    """The same as JSON objects."""

    def tell(self, progress: DownloadProgress) -> None:
        """Print it."""
        print_json(progress_to_dict(progress))


@attrs.define
class FileRow(Row):
    """What is known of one download, in the columns of a row of a watch."""

    step: DownloadProgress | None = None

    @property
    def trouble(self) -> str | None:
        """What the latest attempt failed with, until the file is there."""
        step = self.step
        return None if step is None or step.is_final or step.last_error is None else cleaned(str(step.last_error))

    @property
    def status(self) -> tuple[str, str]:
        """The word for the state, and its style."""
        return ("saved", "green") if self.step is not None and self.step.is_final else ("download", "")

    @property
    def share(self) -> str:
        """The percentage, or what has come where the server does not say how large the file is."""
        if self.step is None:
            return ""
        return format_bytes(self.step.bytes_done) if self.step.fraction is None else format_percent(self.step.fraction)

    def pace(self, at: float) -> tuple[str, str]:
        """Rate and ETA."""
        step = self.step
        if step is None or step.is_final or step.rate is None:
            return "", ""
        left = None if step.eta is None else max(0.0, step.eta.total_seconds() - (at - self.polled_at))
        return f"{format_bytes(step.rate)}/s", "" if left is None else f"ETA {format_seconds(left)}"

    def bar(self, width: int) -> Cell | None:
        """The bar; it pulses while nobody knows how large the file is."""
        fraction = None if self.step is None else self.step.fraction
        return make_bar(fraction, width=width, style=self.status[1], pulses=True)


class FileBar(LiveBars):
    """The view with a bar."""

    def __init__(self, ref: JobRef[Any]) -> None:
        """Draw nothing yet."""
        super().__init__([ref])
        self._row = FileRow(ref)
        self._bars.rows[ref] = self._row

    def step(self, progress: DownloadProgress) -> None:
        """Keep the step for the next time that the bar is drawn."""
        self._row.step, self._row.polled_at = progress, self._bars.monotonic()


def choose_file_view(ref: JobRef[Any], *, as_json: bool) -> FileView:
    """The view that fits where standard output goes to."""
    if as_json:
        return FileJson()
    return FileBar(ref) if has_terminal() else FileLines()


def describe_download(progress: DownloadProgress) -> str:
    """One step as one line."""
    done = format_bytes(progress.bytes_done)
    if progress.is_final:
        return f"{progress.ref}: saved as {cleaned(str(progress.path))}, {done} sent"
    if progress.bytes_total is not None and progress.fraction is not None:
        done = f"{done} of {format_bytes(progress.bytes_total)} ({format_percent(progress.fraction)})"
    parts = [f"downloading, {done}"]
    if progress.rate is not None:
        parts.append(f"{format_bytes(progress.rate)}/s")
    if progress.eta is not None:
        parts.append(f"{format_seconds(progress.eta.total_seconds())} left")
    return f"{progress.ref}: {', '.join(parts)}"


def progress_to_dict(progress: DownloadProgress) -> dict[str, object]:
    """JSON values: durations in seconds, the error as its message."""
    return {
        "ref": str(progress.ref),
        "path": str(progress.path),
        "bytes_done": progress.bytes_done,
        "bytes_total": progress.bytes_total,
        "fraction": progress.fraction,
        "rate": progress.rate,
        "eta": None if progress.eta is None else progress.eta.total_seconds(),
        "elapsed": progress.elapsed.total_seconds(),
        "last_error": None if progress.last_error is None else str(progress.last_error),
        "is_final": progress.is_final,
    }
