"""Exit codes of the command, and what is written when it ends early."""

from __future__ import annotations

import shlex
import sys
import traceback
from collections.abc import Iterable
from enum import IntEnum
from os import PathLike
from typing import Any

from closebulk_async.cli.calls import current
from closebulk_async.cli.texts import cleaned, printable
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


def complain(text: object, *, error: BaseException | None = None) -> None:
    """One line on standard error, with the name of the command, as shells show what their programs say.

    With --debug the traceback of the error follows, if it is about one. No secret of this call is in either.
    """
    call = current()
    print(f"closebulk: {cleaned(call.redact(str(text)))}", file=sys.stderr, flush=True)
    error = text if isinstance(text, BaseException) else error
    if call.shows_tracebacks and error is not None:
        shown = call.redact("".join(traceback.format_exception(error)))
        print("\n".join(map(printable, shown.splitlines())), file=sys.stderr, flush=True)


def describe_crash(error: Exception) -> str:
    """An error that nobody expected, and how to learn more of it."""
    if isinstance(error, OSError) and error.strerror:
        what = ": ".join(map(str, filter(None, (error.filename, error.strerror))))
    else:
        what = f"{type(error).__name__}: {error}"
    return what if current().shows_tracebacks else f"{what} (closebulk --debug shows where)"


def describe_failure(ref: JobRef[Any], error: CloseBulkError) -> str:
    """The error, with the ref in front if its own message does not begin with it."""
    return str(error) if isinstance(error, WaitError) else f"{ref}: {error}"


def command(*words: str) -> str:
    """What to type to go on as whom this call is."""
    profile = current().profile
    return " ".join(("closebulk", *(() if profile is None else ("--profile", shlex.quote(profile))), *words))


def watch_command(refs: Iterable[JobRef[Any]]) -> str:
    """What to type to go on with the watch of these actions. A ref needs no quotes in any shell."""
    return command("watch", *map(str, refs))


def login_command() -> str:
    """What to type to keep a key as whom this call is."""
    return command("login", "--api-key")


def recover_command(journal: PathLike[str], *options: str) -> str:
    """What to type to settle what is open in a journal."""
    return command("recover", *options, "--journal", shlex.quote(str(journal)))


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
    complain(f"look for it before you start it again: {command('ls', '--kind', intent.kind)}")
    if journal is not None:
        file = shlex.quote(str(journal))
        complain(f"if it is there: {command('adopt', intent.id, 'REF', '--journal', file)}")
        complain(f"if it is not: {command('abandon', intent.id, '--journal', file)}")
        complain(f"to let the command look for it: {recover_command(journal)}")
