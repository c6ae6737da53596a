"""Snapshots of jobs as a table on a terminal of any width."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import attrs
from rich.console import Console, ConsoleOptions, RenderableType
from rich.text import Text

from closebulk_async.cli.columns import ONE_LINE, SHARE, SHORTEST_BAR, STATUS, Cell, make_bar, make_line, style_of
from closebulk_async.cli.texts import (
    estimate_left,
    format_roughly,
    format_share,
    format_status,
    fraction_of,
)
from closebulk_async.models import Job
from closebulk_async.progress import count_objects

ETA, AGE, AGO = 5, 4, 8
"""Columns: `~119m`, `119m`, `119m ago`."""

BAR, LONGEST_BAR = 10, 30
"""Columns of a bar beside a ref: the least, below which each has a line of its own, and the most that it needs."""


def print_table(jobs: Sequence[Job]) -> None:
    """Print the table, in colours where they are wanted. Standard output is a terminal."""
    if jobs:
        # Nothing is cut off: a ref that is longer than a line is broken by the terminal, which copies it as one word.
        Console(force_terminal=True, highlight=False).print(Table(jobs, now=datetime.now(UTC)), crop=False)


@attrs.frozen
class Table:
    """What rich can draw, refs always whole. `now` is for ages, and for the time left."""

    jobs: Sequence[Job]
    now: datetime = attrs.field(kw_only=True)

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        width = options.max_width
        ref_width = max(len(str(job.ref)) for job in self.jobs)
        room = width - SHARE - ETA - STATUS - AGE - 5 - ref_width
        if width < ONE_LINE or room < BAR:
            for job in self.jobs:
                yield from self._make_two_lines(job, width)
            return
        bar = min(room, LONGEST_BAR)
        yield _make_head(bar, ref_width)
        for job in self.jobs:
            yield make_line(
                _make_bar(job, bar),
                (_share(job), SHARE, "right"),
                (self._eta(job), ETA, "right"),
                _make_status(job),
                (Text(self._age(job), style="dim"), AGE, "right"),
                (str(job.ref), ref_width, "left"),
            )

    def _make_two_lines(self, job: Job, width: int) -> Iterator[RenderableType]:
        yield Text(str(job.ref), no_wrap=True, overflow="ignore")
        bar = width - SHARE - ETA - STATUS - AGO - 4
        age = f"{self._age(job)} ago".removeprefix(" ago")
        if bar < -1:  # the status is worth more than a guess, and than a word
            yield make_line(
                (_share(job), SHARE, "right"), _make_status(job), (Text(self._age(job), style="dim"), AGE, "right")
            )
            return
        yield make_line(
            _make_bar(job, min(bar, LONGEST_BAR)),
            (_share(job), SHARE, "right"),
            (self._eta(job), ETA, "right"),
            _make_status(job),
            (Text(age, style="dim"), AGO, "right"),
        )

    def _age(self, job: Job) -> str:
        created = getattr(job, "date_created", None)  # rows of older servers may lack it
        # The clocks of two machines differ: what has just been created may be of the future.
        return "" if created is None else format_roughly(max(0.0, (self.now - created).total_seconds()))

    def _eta(self, job: Job) -> str:
        left = estimate_left(job, now=self.now)
        return "" if left is None else f"~{format_roughly(left)}"


def _make_head(bar: int, ref_width: int) -> RenderableType:
    head = ("", bar), ("", SHARE), ("ETA", ETA), ("status", STATUS), ("age", AGE), ("ref", ref_width)
    return make_line(
        *((Text(word, style="dim"), width, "right" if word in {"ETA", "age"} else "left") for word, width in head)
    )


def _make_bar(job: Job, width: int) -> Cell | None:
    fraction = fraction_of(job)
    if fraction is None:  # an empty bar would say that nothing was done
        return ("", width, "left") if width >= SHORTEST_BAR else None
    return make_bar(fraction, width=width, style=style_of(job), pulses=False)


def _make_status(job: Job) -> Cell:
    return Text(format_status(job.status), style=style_of(job)), STATUS, "left"


def _share(job: Job) -> str:
    return format_share(job, count_objects(job)[0], fraction_of(job))
