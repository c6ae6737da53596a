"""How much is measured, where, and the processes that are measured."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Round = dict[str, float]
    """What one round found: the name of a figure (`<who>.<what>.<unit>`) and its value."""


@attrs.frozen
class Effort:
    """How long to measure: fresh processes in each session, and in each of its rounds one slice for everything."""

    sessions: int
    rounds: int
    slice_seconds: float


# The speed of a shared machine drifts by a third within seconds. Slices this short that follow each other see the same
# machine, so the ratio inside a round is what counts. One process differs from the next by some per cent, whatever the
# rounds say, by luck with its memory layout and hash seeds: more sessions tell more than more rounds.
FULL: Final = Effort(sessions=6, rounds=12, slice_seconds=0.1)
QUICK: Final = Effort(sessions=1, rounds=1, slice_seconds=0.02)
WARM_UP_ROUNDS: Final = 2


def choose_cores() -> tuple[int, int]:
    """Give one core for the clients and one for the server; they are the same where there is only one."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[0], allowed[-1]


def clean_environment(**more: str) -> dict[str, str]:
    """Give the environment without what bends a client: keys, other addresses, proxies, Python's switches."""
    bending = ("CLOSE_", "PYTHON")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(bending)}
    return kept | {"NO_PROXY": "*", "no_proxy": "*"} | more


@contextlib.contextmanager
def start_worker(module: str, *arguments: str) -> Iterator[Callable[[str], Round]]:
    """Run a module of this package in its own process; give the function that sends it an order and returns the answer.

    Raises RuntimeError from that function where the worker died; what it said is on the standard error stream.
    """
    command = [sys.executable, "-m", f"benchmarks.{module}", *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=clean_environment()) as process:

        def ask(order: str) -> Round:
            if process.stdin is None or process.stdout is None:
                raise RuntimeError(module)
            print(order, file=process.stdin, flush=True)
            answer = process.stdout.readline()
            if not answer:
                message = f"{' '.join(command)} ended"
                raise RuntimeError(message)
            round_: Round = json.loads(answer)
            return round_

        yield ask
