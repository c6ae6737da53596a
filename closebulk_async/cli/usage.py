"""Help that fits the terminal, and what is said of arguments that cannot be understood."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from typing import Any

from closebulk_async.cli.exits import complain

_NARROW, _NARROWEST = 52, 24
"""Columns: below the first click writes help as if there were so many, and the terminal breaks words."""

_NAMES_PART = 3
"""The part of a narrow help, one of so many, that names of options may take; longer ones get lines of their own."""


def find_help_width() -> int | None:
    """The width of a help text on a terminal that is narrower than click believes; None leaves it to click."""
    columns = shutil.get_terminal_size().columns
    return max(columns, _NARROWEST) - 2 if columns < _NARROW else None


def narrow_help(command: Any) -> None:  # noqa: ANN401 - click's, or that of typer's copy of it
    """Let the help of a command, and of all below it, give descriptions most of the room.

    Names of options get up to 30 columns otherwise, which on a terminal of 40 leaves too little.
    """
    formatter = command.context_class.formatter_class

    def write_dl(self: Any, rows: Sequence[tuple[str, str]]) -> None:  # noqa: ANN401 - a formatter
        formatter.write_dl(self, rows, col_max=self.width // _NAMES_PART)

    narrow = type("NarrowFormatter", (formatter,), {"write_dl": write_dl})
    command.context_class = type("NarrowContext", (command.context_class,), {"formatter_class": narrow})
    for below in getattr(command, "commands", {}).values():
        narrow_help(below)


def explain_usage(error: Any) -> None:  # noqa: ANN401 - click's UsageError, or that of typer's copy of it
    """Say what is wrong in one line, and whose help tells more; the help itself where nothing was typed."""
    context = error.ctx
    if context is not None and error.message == context.get_help():
        print(error.message, file=sys.stderr, flush=True)
        return
    path = "closebulk" if context is None else context.command_path
    # Some versions of typer have numbers checked by pydantic, which says whose complaint it is.
    complain(f"{error.format_message().replace('Value error, ', '')} ({path} --help)", error=error)
