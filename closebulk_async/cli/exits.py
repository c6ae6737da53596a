"""Exit codes of the command, and what is written when it ends early."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from enum import IntEnum
from typing import Any

from closebulk_async.cli.texts import cleaned
from closebulk_async.errors import AuthenticationError, CloseBulkError, InvalidRequestError, WaitError, WaitTimeout
from closebulk_async.models import JobRef


class ExitCode(IntEnum):
    """What a script learns from the command."""

    DONE = 0
    FAILED = 1
    """The action failed, or cannot be read: an error of the API, or no answer for too long."""
    USAGE = 2
    """Something that was typed, or no key: nothing was sent."""
    TIMED_OUT = 3
    """`--timeout` passed and the action still runs."""
    INTERRUPTED = 130


_FROM_BEST_TO_WORST = (ExitCode.DONE, ExitCode.TIMED_OUT, ExitCode.FAILED, ExitCode.USAGE)
"""Of several actions the worst counts. One that still runs may yet be done; one that failed will not."""


def worst_of(codes: Iterable[ExitCode]) -> ExitCode:
    """The code of a watch of several actions."""
    return max(codes, key=_FROM_BEST_TO_WORST.index)


def code_of(error: CloseBulkError) -> ExitCode:
    """The exit code that stands for an error."""
    if isinstance(error, WaitTimeout):
        return ExitCode.TIMED_OUT
    return ExitCode.USAGE if is_missing_key(error) or isinstance(error, InvalidRequestError) else ExitCode.FAILED


def is_missing_key(error: CloseBulkError) -> bool:
    """Whether there was no key at all, and not one that was refused."""
    return isinstance(error, AuthenticationError) and error.status is None


def complain(text: object) -> None:
    """One line on standard error, with the name of the command, as shells show what their programs say."""
    print(f"closebulk: {cleaned(str(text))}", file=sys.stderr, flush=True)


def describe_failure(ref: JobRef[Any], error: CloseBulkError) -> str:
    """The error, with the ref in front if its own message does not begin with it."""
    return str(error) if isinstance(error, WaitError) else f"{ref}: {error}"


def watch_command(refs: Iterable[JobRef[Any]]) -> str:
    """What to type to go on with the watch of these actions. A ref needs no quotes in any shell."""
    return f"closebulk watch {' '.join(map(str, refs))}"
