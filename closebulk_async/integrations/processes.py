"""Whether a process of this machine has ended, judged by another one of it. Linux only: elsewhere nothing is proved."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import attrs

PROC = Path("/proc")

START_TIME = 19
"""The place of `starttime` in `/proc/PID/stat`, counted from the state, which follows the name (proc_pid_stat(5))."""

ENDED = frozenset("ZX")
"""States of a process that runs no more, and whose parent has not asked for its exit code yet."""


@attrs.frozen
class ProcessName:
    """A process, as others of its host can look for it.

    `host` is one boot of one kernel, and the namespace in which `process` counts: a container has its own numbers.
    `process` is the number and the moment of its start, because numbers are used again.
    """

    host: str
    process: str

    def is_gone(self) -> bool:
        """Whether it is proved that it has ended: it was one of this very host, and is not there. Reads a file."""
        return self.host == _host() and not _lives(self.process)


def this_process() -> ProcessName | None:
    """The name of this process; None where it has none. Reads a file."""
    host, state = _host(), _stat(os.getpid())
    if not host or not state:
        return None
    return ProcessName(host=host, process=f"{os.getpid()} {state[START_TIME]}")


def _lives(process: str) -> bool:
    number, _, start = process.partition(" ")
    try:
        os.kill(int(number), 0)  # /proc may hide the processes of other users; this never does
    except ProcessLookupError:
        return False
    except OSError:
        pass  # it is there, and not ours
    state = _stat(int(number))
    return not state or (state[START_TIME] == start and state[0] not in ENDED)


def _host() -> str:
    """Empty where the kernel does not say it."""
    with suppress(OSError):
        boot = (PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {(PROC / 'self/ns/pid').readlink()}"
    return ""


def _stat(number: int) -> list[str]:
    """What the kernel says of a process, from its state on. Empty where it says nothing."""
    with suppress(OSError):
        text = (PROC / str(number) / "stat").read_text(encoding="utf-8", errors="replace")
        return text.rpartition(")")[2].split()  # the name before it may hold anything
    return []
