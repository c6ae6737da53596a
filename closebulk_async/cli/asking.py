"""A question on the terminal, before something that cannot be called back."""

from __future__ import annotations

import sys

from closebulk_async.errors import InvalidRequestError


def check_can_ask() -> None:
    """Raise InvalidRequestError where there is nobody to ask, or no place where the question would be seen."""
    if sys.stdin is None or not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise InvalidRequestError("there is no terminal to ask on: --yes goes on without the question")


def agrees(question: str) -> bool:
    """Whether the answer is yes. Not for coroutines: only Python's own Ctrl-C ends a line that is being read."""
    answer = ""
    try:
        # Standard output is for results, which a shell may be collecting.
        print(f"{question}? [y/N] ", end="", file=sys.stderr, flush=True)
        answer = sys.stdin.readline()
    finally:
        if not answer.endswith("\n"):  # what is said next begins a line
            print(file=sys.stderr)
    return answer.strip().lower() in {"y", "yes"}
