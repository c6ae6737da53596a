"""What a line on a terminal is made of: cells of a certain width, bars among them. For lists and for live bars."""

from __future__ import annotations

from typing import Literal

from rich.console import RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from closebulk_async.models import Job

SHARE, STATUS = 7, 11
"""Columns: `100%` or a count, `in_progress`."""

ONE_LINE = 70
"""Terminals narrower than this get two lines for each action: else nothing of the ref or the bar would be left."""

SHORTEST_BAR = 4
"""Columns below which a bar shows nothing that the percentage beside it does not show better."""

MOVING = "cyan"
"""The colour of a bar that moves. That of rich's own is a red, which here is for failures."""

Cell = tuple[RenderableType, int, Literal["left", "right"]]


def make_line(*cells: Cell | None) -> Table:
    """Cells beside each other, a column apart. None is a cell that is left out; what is too long is cut."""
    # Versions of rich share out padding differently: the gaps are columns of their own.
    table = Table.grid(padding=0)
    row: list[RenderableType] = []
    for content, width, justify in filter(None, cells):
        if row:
            table.add_column(width=1)
            row.append("")
        table.add_column(width=width, no_wrap=True, overflow="ellipsis", justify=justify)
        # Not as a plain text: that is read for markup, which a status word of the service's may hold.
        row.append(Text(content) if isinstance(content, str) else content)
    table.add_row(*row)
    return table


def make_bar(fraction: float | None, *, width: int, style: str, pulses: bool) -> Cell | None:
    """A bar, which may pulse while no fraction is known; None where there is no room for one."""
    if width < SHORTEST_BAR:
        return None
    style = style or MOVING
    bar = ProgressBar(
        total=None if fraction is None and pulses else 1.0,
        completed=fraction or 0.0,
        width=width,
        complete_style=style,
        finished_style=style,
        pulse_style=MOVING,
    )
    return bar, width, "left"


def style_of(job: Job) -> str:
    """The colour for the state of a job."""
    if job.is_final:
        return "red" if job.is_failed else "green"
    return "yellow" if job.is_paused else ""
