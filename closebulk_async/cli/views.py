"""What the user sees of a watch: plain lines, JSON lines, or live bars where there is a terminal."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any, Protocol, Self

import attrs

from closebulk_async.cli.exits import complain, describe_failure
from closebulk_async.cli.notes import Noting
from closebulk_async.cli.texts import describe_step
from closebulk_async.errors import BulkActionFailed, CloseBulkError, WaitError
from closebulk_async.models import Job, JobRef
from closebulk_async.progress import Progress


class View(Noting, Protocol):
    """Shows the steps of a watch of one or more actions, inside a `with` block."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(self, *_: object) -> None:
        """Leave the terminal as it was."""

    def show(self, progress: Progress[Any]) -> None:
        """One step of one action. Steps without any change come too, about each second."""

    def fail(self, ref: JobRef[Any], error: CloseBulkError) -> None:
        """The wait for one action has ended without the action being done."""


@attrs.define
class _Errors:
    """Which failed polls were told. An outage is one line, not one for each poll that says the same."""

    _told: dict[JobRef[Any], tuple[CloseBulkError | None, str | None]] = attrs.field(factory=dict)

    def take_new(self, progress: Progress[Any]) -> str | None:
        """What the latest failed poll said, if that is news."""
        error = progress.last_error
        # What failed before the first step was told when it was logged.
        told, text = self._told.get(progress.ref, (error, None))
        if progress.changed:
            text = None  # it works again: the next failure is news whatever it says
        is_new = error is not None and error is not told and str(error) != text
        self._told[progress.ref] = (error, str(error) if is_new else text)
        return str(error) if is_new else None


@attrs.define
class Lines:
    """A line for each step, flushed, without control codes: for logs and pipes. What goes wrong is on stderr."""

    _errors: _Errors = attrs.field(factory=_Errors)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, progress: Progress[Any]) -> None:
        """Print the step if something moved, and an error once."""
        error = self._errors.take_new(progress)
        if progress.changed:
            print(describe_step(progress), flush=True)
        if error is not None:
            complain(f"{progress.ref}: a poll failed, going on: {error}")

    def fail(self, ref: JobRef[Any], error: CloseBulkError) -> None:
        """Print the reason."""
        complain(describe_failure(ref, error), error=error)

    def note(self, text: str) -> None:
        """Print it."""
        complain(text)


@attrs.define
class JsonLines(Lines):
    """A JSON object for each step: `Progress.to_dict()`. The last one of an action that was not done has an `error`.

    Where there was no step at all, because the first answer was an error, it has the keys `ref` and `error` only.
    """

    def show(self, progress: Progress[Any]) -> None:
        """Print the step if something moved, or a poll failed otherwise than before."""
        if self._errors.take_new(progress) is not None or progress.changed:
            print_json(progress.to_dict())

    def fail(self, ref: JobRef[Any], error: CloseBulkError) -> None:
        """Print the error as an object, and for people as a line."""
        last = error.progress if isinstance(error, WaitError) else None
        if last is None or not isinstance(error, WaitError):
            print_json({"ref": str(ref), "error": str(error)})
        elif not isinstance(error, BulkActionFailed):  # its last step has the error already
            print_json(attrs.evolve(last, error=error).to_dict())
        Lines.fail(self, ref, error)


def print_json(value: object) -> None:
    """One JSON object as one line of ASCII, flushed."""
    print(json.dumps(value), flush=True)


def action_to_dict(action: Job) -> dict[str, Any]:
    """The service's own object, with kind and ref added."""
    return {"kind": str(action.kind), "ref": str(action.ref), **action.to_dict()}


def has_terminal() -> bool:
    """Whether standard output is a terminal that can move its cursor. Settings that only force colours do not count."""
    return sys.stdout.isatty() and os.environ.get("TERM", "").lower() not in {"dumb", "unknown"}


def choose_view(refs: Sequence[JobRef[Any]], *, as_json: bool) -> View:
    """The view that fits where standard output goes to."""
    if as_json:
        return JsonLines()
    if not has_terminal():
        return Lines()
    from closebulk_async.cli.bars import LiveBars

    return LiveBars(refs)
