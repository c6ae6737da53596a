"""What the package logs, where the user sees it: as lines on standard error, or in the view of a watch."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator, Sized
from contextlib import contextmanager
from typing import Protocol

from closebulk_async.cli.exits import complain, describe_crash
from closebulk_async.cli.texts import cleaned

_logger = logging.getLogger("closebulk_async")


class Noting(Protocol):
    """Whatever can show a note."""

    def note(self, text: str) -> None:
        """Something that the user should know, such as a status that is not documented."""


class _Complaining(logging.Handler):
    """Says what the package warns of. Without a handler Python writes it raw, with whatever a server put into it."""

    def emit(self, record: logging.LogRecord) -> None:
        """One record, as one line; with --debug the traceback of its error follows."""
        text, error = record.getMessage(), record.exc_info[1] if record.exc_info else None
        complain(f"{text}: {describe_crash(error)}" if isinstance(error, Exception) else text, error=error)


class _Noting(logging.Handler):
    """Hands what the package logs to a view: written past it, a record would tear the bars."""

    def __init__(self, view: Noting, unanswered: Sized) -> None:
        super().__init__(logging.INFO)
        self._view = view
        self._unanswered = unanswered
        self._told: deque[str] = deque(maxlen=100)

    def emit(self, record: logging.LogRecord) -> None:
        """One record, as one line and without a traceback; one that repeats another is left out."""
        text = cleaned(record.getMessage())
        if (record.levelno >= logging.WARNING or self._unanswered) and text not in self._told:
            self._told.append(text)
            self._view.note(text)


@contextmanager
def warnings_told() -> Iterator[None]:
    """Say the package's warnings on standard error for as long as the block runs."""
    with _handled_by(_Complaining(logging.WARNING), level=_logger.level):
        yield


@contextmanager
def notes_in(view: Noting, *, unanswered: Sized) -> Iterator[None]:
    """Show the package's warnings in `view`, and nowhere else, for as long as the block runs.

    While something is `unanswered`, what is logged as information is shown as well: a poll that failed is part of a
    step only after a poll that did not.
    """
    with _handled_by(_Noting(view, unanswered), level=logging.INFO):
        yield


@contextmanager
def _handled_by(handler: logging.Handler, *, level: int) -> Iterator[None]:
    """One handler of the command's in the place of the one that was there. Those of others stay."""
    before = _logger.level, [each for each in _logger.handlers if isinstance(each, _Complaining | _Noting)]
    for replaced in before[1]:
        _logger.removeHandler(replaced)
    _logger.addHandler(handler)
    _logger.setLevel(level)
    try:
        yield
    finally:
        _logger.removeHandler(handler)
        _logger.setLevel(before[0])
        for replaced in before[1]:
            _logger.addHandler(replaced)
