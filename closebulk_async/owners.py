"""Which clients of a journal are alive: one file each, locked by the operating system as long as its process lives."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager, suppress
from itertools import islice
from typing import TYPE_CHECKING

from filelock import BaseFileLock, FileLock, SoftFileLock

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

BUSY_SECONDS = 0.05
"""How long a lock is tried that another tester may hold for an instant. That of a living owner costs this wait."""

SUFFIX = ".lock"

KIND: type[BaseFileLock] = FileLock
"""The best lock that filelock has for this system: of the C library of Unix, or of Windows."""

HAS_LOCKS = not issubclass(KIND, SoftFileLock)
"""Whether the system frees a lock when its process ends, however it ends. Where Python has no `fcntl`, filelock takes
the mere existence of a file for a lock, and breaks it by the number of a process: that proves nothing."""


class OwnerLocks:
    """The files of one folder, `NAME.owners` beside the journal. Every method blocks, and may raise OSError.

    On a system without such locks there are no files, and no owner is ever proved dead here: one that was killed is
    merely silent.
    """

    def __init__(self, journal: Path) -> None:
        """Touch nothing yet."""
        self._folder = journal.with_name(f"{journal.name}.owners")
        self._journal = journal
        self._held: dict[str, BaseFileLock | None] = {}

    def make_folder(self) -> None:
        """Make the folder, for its user alone, where it is missing."""
        if not HAS_LOCKS:
            return
        journal = self._journal.resolve()  # a lock proves something only to those who look for it in the same place
        self._folder = journal.with_name(f"{journal.name}.owners")
        try:
            self._folder.mkdir(mode=0o700)
        except FileExistsError:
            return
        self._folder.chmod(0o700)  # whatever the umask

    def hold(self, owner: str) -> None:
        """Lock the file of a new owner until it is released or this process ends."""
        if not HAS_LOCKS:
            self._held[owner] = None
            return
        lock = self._lock(owner)
        lock.acquire(timeout=BUSY_SECONDS)
        if issubclass(type(lock), SoftFileLock):  # what filelock turns it into where there is nothing better
            lock.release()
            raise OSError(f"{self._folder} is on a disk without locks that end with their process")
        self._held[owner] = lock

    def release(self, owner: str) -> bool:
        """Unlock the file of an owner that is held here, and leave it there: that it is free is the proof of its end.

        Says whether it was held here.
        """
        is_held = owner in self._held
        lock = self._held.pop(owner, None)
        if lock is not None:
            lock.release()
        return is_held

    def release_all(self) -> list[str]:
        """Unlock every file that is held here. Gives the owners whose end no file proves then."""
        released = [owner for owner in list(self._held) if self.release(owner)]
        return [] if HAS_LOCKS else released

    def is_free(self, owner: str) -> bool:
        """Whether it is proved that nobody holds the file. One that is missing or cannot be tried proves nothing."""
        if not HAS_LOCKS:
            return False
        with ExitStack() as stack:
            return self._path(owner).exists() and self._is_taken(owner, stack, patience=BUSY_SECONDS)

    @contextmanager
    def taking_free(self, *, limit: int) -> Iterator[frozenset[str]]:
        """Hold the locks of up to `limit` files that nobody else holds, and give the names of their owners."""
        owners = [path.stem for path in islice(self._folder.glob(f"*{SUFFIX}"), limit)] if HAS_LOCKS else []
        with ExitStack() as stack:
            yield frozenset(owner for owner in owners if self._is_taken(owner, stack, patience=0))

    def find_held(self) -> frozenset[str] | None:
        """The owners whose files somebody holds, here or in another process. None where nobody can know."""
        if not HAS_LOCKS:
            return None
        owners = frozenset(path.stem for path in self._folder.glob(f"*{SUFFIX}"))
        with self.taking_free(limit=len(owners)) as free:
            return owners - free

    def remove(self, owners: Iterable[str]) -> None:
        """Remove the files of owners that are dead."""
        for owner in owners:
            with suppress(PermissionError):  # on Windows somebody tries it just now: it stays until the next time
                self._path(owner).unlink(missing_ok=True)

    def _is_taken(self, owner: str, stack: ExitStack, *, patience: float) -> bool:
        """Take the lock until the stack is left, if it is free or becomes so within `patience` seconds."""
        try:
            stack.enter_context(self._lock(owner).acquire(timeout=patience, poll_interval=BUSY_SECONDS / 5))
        except OSError:  # filelock's Timeout is one
            return False
        return True

    def _lock(self, owner: str) -> BaseFileLock:
        # Not of one thread alone: the thread that unlocks is any of a pool. `mode` is set whatever the umask.
        return KIND(self._path(owner), mode=0o600, thread_local=False)

    def _path(self, owner: str) -> Path:
        return self._folder / f"{owner}{SUFFIX}"
