"""Exit codes of the command, and what is written when it ends early."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable
from enum import IntEnum
from os import PathLike
from typing import Any

from closebulk_async.cli.texts import cleaned
from closebulk_async.errors import (
    AmbiguousStartError,
    AuthenticationError,
    CloseBulkError,
    IdempotencyConflictError,
    InvalidRequestError,
    TooManyMatchesError,
    UnsafeQueryError,
    WaitError,
    WaitTimeout,
)
from closebulk_async.intents import Intent
from closebulk_async.models import JobRef


class ExitCode(IntEnum):
    """What a script learns from the command."""

    DONE = 0
    FAILED = 1
    """The action failed, or cannot be read: an error of the API, or no answer for too long. Or the question whether to
    start it was answered with no."""
    USAGE = 2
    """Something that was typed, or no key: nothing was started."""
    TIMED_OUT = 3
    """`--timeout` passed and the action still runs."""
    UNKNOWN = 4
    """A start may or may not have happened, and somebody has to find out."""
    INTERRUPTED = 130


_FROM_BEST_TO_WORST = (ExitCode.DONE, ExitCode.TIMED_OUT, ExitCode.FAILED, ExitCode.UNKNOWN, ExitCode.USAGE)
"""Of several actions the worst counts. One that still runs may yet be done; one that failed will not."""

_REFUSED = (InvalidRequestError, UnsafeQueryError, TooManyMatchesError, IdempotencyConflictError)
"""What was asked for cannot be, as long as it is asked for like this."""


def worst_of(codes: Iterable[ExitCode]) -> ExitCode:
    """The code of a watch of several actions, or of none."""
    return max(codes, key=_FROM_BEST_TO_WORST.index, default=ExitCode.DONE)


def code_of(error: CloseBulkError) -> ExitCode:
    """The exit code that stands for an error."""
    if isinstance(error, WaitTimeout):
        return ExitCode.TIMED_OUT
    if isinstance(error, AmbiguousStartError):
        return ExitCode.UNKNOWN
    return ExitCode.USAGE if is_missing_key(error) or isinstance(error, _REFUSED) else ExitCode.FAILED


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


def recover_command(journal: PathLike[str], *options: str) -> str:
    """What to type to settle what is open in a journal."""
    return " ".join(("closebulk recover", *options, "--journal", shlex.quote(str(journal))))


def describe_unknown(error: AmbiguousStartError) -> str:
    """Why it is not known what became of a start."""
    refs = " or ".join(str(action.ref) for action in error.candidates)
    reasons = [str(error.__cause__)] if error.__cause__ else []
    if refs:
        reasons.append(f"it may be {refs}")
    return "; ".join(reasons) or "no such action is in the list"


def explain_unknown(intent: Intent, reason: str, *, journal: PathLike[str] | None) -> None:
    """Say what is not known, and what to type to find it out."""
    complain(f"it is not known whether a bulk {intent.kind} was started: {reason}")
    complain(f"look for it before you start it again: closebulk ls --kind {intent.kind}")
    if journal is not None:
        file = shlex.quote(str(journal))
        complain(f"if it is there: closebulk adopt {intent.id} REF --journal {file}")
        complain(f"if it is not: closebulk abandon {intent.id} --journal {file}")
        complain(f"to let the command look for it: {recover_command(journal)}")
