"""Forks of this process, each of which tries one thing, is ended where it falls silent, and leaves nothing behind."""

from __future__ import annotations

import gc
import os
import resource
import selectors
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

import attrs

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

MOST_MEMORY = 3 << 30
"""Bytes of address space of a trial: a loop that a change has made endless may fill a list."""

TO_END = 5.0
"""Seconds that a trial has to end by itself once it is told to."""

READ_AT_ONCE = 1 << 16


class Verdict(StrEnum):
    """What a trial ended with."""

    KILLED = "killed"
    TIMED_OUT = "timed out"
    SURVIVED = "survived"


class Tell(Protocol):
    """How a trial says what it does now, in one line, and for how many seconds it may then be silent."""

    def __call__(self, doing: str, *, limit: float) -> None:
        """Say it."""


@attrs.frozen
class Trial:
    """Something to try in a fork: `body` is True where it went well. `limit` is how long it may be silent at first."""

    number: int
    body: Callable[[Tell], bool]
    limit: float


@attrs.frozen(kw_only=True)
class Result:
    """How a trial ended, and what it said last."""

    number: int
    verdict: Verdict
    last: str


@attrs.mutable(kw_only=True)
class _Running:
    trial: Trial
    pid: int
    deadline: float
    heard: bytes = b""
    last: str = ""


def run_trials(trials: Iterable[Trial], *, at_once: int) -> Generator[Result, None, None]:
    """Run all of them, so many at the same time, and give their results as they come.

    Whatever a trial has started ends with it: each is a process group of its own.
    """
    waiting = iter(trials)
    running: dict[int, _Running] = {}
    try:
        with selectors.DefaultSelector() as selector:
            while True:
                while len(running) < at_once and (trial := next(waiting, None)) is not None:
                    pipe, one = _start(trial)
                    running[pipe] = one
                    selector.register(pipe, selectors.EVENT_READ)
                if not running:
                    return
                earliest = min(one.deadline for one in running.values())
                ready = {key.fd for key, _ in selector.select(max(0.0, earliest - time.monotonic()))}
                for pipe, one in list(running.items()):
                    goes_on = _listen(pipe, one) if pipe in ready else True
                    is_late = time.monotonic() > one.deadline
                    if not goes_on or is_late:
                        selector.unregister(pipe)
                        del running[pipe]
                        os.close(pipe)
                        has_passed = _end(one.pid)
                        passed_or_not = Verdict.SURVIVED if has_passed else Verdict.KILLED
                        verdict = Verdict.TIMED_OUT if goes_on else passed_or_not
                        yield Result(number=one.trial.number, verdict=verdict, last=one.last)
    finally:
        for one in running.values():
            _end(one.pid)


def _start(trial: Trial) -> tuple[int, _Running]:
    ours, its = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(ours)
            code = _run_here(trial, its)
        finally:
            os._exit(code)  # nothing of the process that this is a copy of is to end twice
    os.close(its)
    return ours, _Running(trial=trial, pid=pid, deadline=time.monotonic() + trial.limit)


def _run_here(trial: Trial, pipe: int) -> int:
    os.setpgid(0, 0)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    gc.enable()

    def tell(doing: str, *, limit: float) -> None:
        os.write(pipe, f"{limit} {doing}\n".encode())

    return 0 if trial.body(tell) else 1


def _listen(pipe: int, one: _Running) -> bool:
    """Take in what a trial says; False where it has ended."""
    heard = os.read(pipe, READ_AT_ONCE)
    *lines, one.heard = (one.heard + heard).split(b"\n")
    if lines:
        limit, _, one.last = lines[-1].decode().partition(" ")
        one.deadline = time.monotonic() + float(limit)
    return bool(heard)


def _end(pid: int) -> bool:
    """End a trial with all that it has started; True where it had ended by itself and passed."""
    for send in (os.killpg, os.kill):  # it may not have come to make its group
        with suppress(ProcessLookupError):
            send(pid, signal.SIGTERM)  # one that runs trials itself has those to end
    ended, status = 0, 0
    deadline = time.monotonic() + TO_END
    while not ended and time.monotonic() < deadline:
        ended, status = os.waitpid(pid, os.WNOHANG)
        time.sleep(0 if ended else 0.005)
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    if not ended:
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status) == 0
