"""A Python without what only POSIX has, as well as one on POSIX can be: `python -m tests.without_posix PROGRAM`.

`PROGRAM` is Python, or `-m MODULE`, and the rest are its arguments. Windows has locks of its own, for which those of
POSIX stand with `--with-locks`, before the program. What the standard library itself needs of
it was imported before; whoever asks later is told that there is no such thing. As on Windows, a file that this process
has open cannot be removed, and loops take no signals. It is a fake: `sys.platform` and `os.name` stay what they are,
because asyncio and pathlib would look for Windows itself.
"""

from __future__ import annotations

import asyncio
import asyncio.unix_events
import multiprocessing.context
import os
import runpy
import signal
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Never

if TYPE_CHECKING:
    from os import PathLike

MODULES = (
    "crypt",
    "fcntl",
    "grp",
    "nis",
    "pty",
    "pwd",
    "readline",
    "resource",
    "spwd",
    "syslog",
    "termios",
    "tty",
)
OF_OS = (
    "O_CLOEXEC",
    "O_DIRECTORY",
    "O_NOFOLLOW",
    "O_NONBLOCK",
    "chown",
    "fchown",
    "fork",
    "forkpty",
    "geteuid",
    "getgid",
    "getpgid",
    "getuid",
    "killpg",
    "mkfifo",
    "nice",
    "setsid",
    "setuid",
    "statvfs",
    "sysconf",
    "uname",
)
OF_SIGNAL = (
    "SIGALRM",
    "SIGCONT",
    "SIGHUP",
    "SIGKILL",
    "SIGPIPE",
    "SIGQUIT",
    "SIGSTOP",
    "SIGTSTP",
    "SIGUSR1",
    "SIGUSR2",
)


def take_away(*, has_locks: bool) -> None:
    """Leave nothing of it in this process, but what locks need where they stand for those of Windows."""
    for name in {*MODULES} - ({"fcntl"} if has_locks else set()):
        sys.modules[name] = None  # type: ignore[assignment]  # which is how a module is said not to be there
    for module, names in ((os, () if has_locks else OF_OS), (signal, OF_SIGNAL)):
        for name in names:
            delattr(module, name)
    _refuse_signals()
    _keep_open_files()
    _forget_fork()


def _refuse_signals() -> None:
    def refuse(*_: Any) -> Never:
        raise NotImplementedError

    for name in ("add_signal_handler", "remove_signal_handler"):
        setattr(asyncio.unix_events._UnixSelectorEventLoop, name, refuse)  # noqa: SLF001 - the one that loops are of


def _keep_open_files() -> None:
    unlink = os.unlink

    def unlink_closed(path: str | PathLike[str], **keywords: Any) -> None:
        with suppress(OSError):
            if os.stat(path).st_ino in _open_files():  # noqa: PTH116 - as what it stands for takes it
                raise PermissionError(13, "The process cannot access the file: it is open", str(path))
        unlink(path, **keywords)

    for name in ("remove", "unlink"):
        setattr(os, name, unlink_closed)


def _open_files() -> set[int]:
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found.add(link.stat().st_ino)
    return found


def _forget_fork() -> None:
    contexts = vars(multiprocessing.context)["_concrete_contexts"]  # where they are found by their names
    for name in ("fork", "forkserver"):
        del contexts[name]


def main(*arguments: str) -> None:
    """Run the program."""
    has_locks = arguments[0] == "--with-locks"
    program, *rest = arguments[has_locks:]
    take_away(has_locks=has_locks)
    # filelock warns of what it has to fall back to.
    warnings.filterwarnings("ignore", "only soft file lock is available")
    if program == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = ["-c", *rest]
        exec(program, {"__name__": "__main__"})  # noqa: S102 - a test's own line


if __name__ == "__main__":
    main(*sys.argv[1:])
