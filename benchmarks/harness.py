"""How much is measured, where, and the processes that are measured."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Round: TypeAlias = dict[str, float]
"""What one round found: the name of a figure (`<who>.<what>.<unit>`) and its value."""


@attrs.frozen
class Effort:
    """How long to measure: fresh processes in each session, and in each of its rounds one slice for everything.

    `starts` is how many meet faults, `intents` how many make a journal a full one, `jobs`
    how many a poller waits for.
    """

    sessions: int
    rounds: int
    slice_seconds: float
    starts: int
    intents: int
    jobs: int


# The speed of a shared machine drifts by a third within seconds. Slices this short that follow each other see the same
# machine, so the ratio inside a round is what counts. One process differs from the next by some per cent, whatever the
# rounds say, by luck with its memory layout and hash seeds: more sessions tell more than more rounds.
FULL: Final = Effort(sessions=6, rounds=12, slice_seconds=0.1, starts=1000, intents=10_000, jobs=200)
QUICK: Final = Effort(sessions=1, rounds=1, slice_seconds=0.02, starts=22, intents=100, jobs=2)
WARM_UP_ROUNDS: Final = 2
DISK: Final = Path("/var/tmp")  # noqa: S108 - `/tmp` may be memory, where a promise about a disk would be cheap


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
def start_worker(module: str, *arguments: str) -> Iterator[Callable[[str], dict[str, Any]]]:
    """Run a module of this package in its own process; give the function that sends it an order and returns the answer.

    Raises RuntimeError from that function where the worker died; what it said is on the standard error stream.
    """
    command = [sys.executable, "-m", f"benchmarks.{module}", *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=clean_environment()) as process:

        def ask(order: str) -> dict[str, Any]:
            if process.stdin is None or process.stdout is None:
                raise RuntimeError(module)
            print(order, file=process.stdin, flush=True)
            answer = process.stdout.readline()
            if not answer:
                message = f"{' '.join(command)} ended"
                raise RuntimeError(message)
            figures: dict[str, Any] = json.loads(answer)
            return figures

        yield ask
