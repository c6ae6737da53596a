"""A file that is there when it is whole, and not before. Every method blocks: call them off the loop, one by one."""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, BinaryIO

from closebulk_async.errors import InvalidRequestError
from closebulk_async.unpacking import DamagedFile, Unpacker

if TYPE_CHECKING:
    from os import PathLike


def check_target(path: str | PathLike[str]) -> Path:
    """`path` itself, where a file can be put into its place. Raises InvalidRequestError."""
    target = Path(path)
    try:
        is_regular = S_ISREG(target.stat().st_mode)
    except FileNotFoundError:
        is_regular = True
    except OSError as exc:
        message = f"no file can be written to {str(target)!r}: {exc.strerror}"
        raise InvalidRequestError(message) from exc
    if not is_regular:
        message = f"no file can be written to {str(target)!r}: what is there is no file"
        raise InvalidRequestError(message)
    if not target.parent.is_dir():
        message = f"no file can be written to {str(target)!r}: there is no such folder"
        raise InvalidRequestError(message)
    return target


class PartFile:
    """A temporary file in the folder of its target, which only its owner may read. Raises OSError."""

    def __init__(self, target: Path, *, unpacks: bool) -> None:
        """Open nothing yet. `unpacks` says whether gzip is inflated; it is checked in any case."""
        self._target = target
        self._unpacks = unpacks
        self._name: str | None = None

    def open(self) -> None:
        """Make it."""
        start = self._target.name[:50]  # all of it may be as long as a name may be
        handle, self._name = tempfile.mkstemp(prefix=f".{start}.", suffix=".part", dir=self._target.parent)
        self._file: BinaryIO = os.fdopen(handle, "wb")
        self._begin()

    def _begin(self) -> None:
        self._unpacker = Unpacker()
        self._md5 = hashlib.md5(usedforsecurity=False)

    def restart(self) -> None:
        """Throw away what was written: the file comes again from its beginning."""
        self._file.seek(0)
        self._file.truncate()
        self._begin()

    def write(self, data: bytes) -> None:
        """Take the next bytes, as they were sent. Raises DamagedFile."""
        self._md5.update(data)
        if not self._unpacks:
            self._file.write(data)
        for piece in self._unpacker.feed(data):
            if self._unpacks:
                self._file.write(piece)

    def finish(self, md5: bytes | None) -> None:
        """Put the file into its place, whole and checked, and on the disk. Raises DamagedFile."""
        rest = self._unpacker.finish()
        if self._unpacks:
            self._file.write(rest)
        if md5 not in {None, self._md5.digest()}:
            message = "its checksum is not the one that the server gave"
            raise DamagedFile(message)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        Path(self._name or "").replace(self._target)
        self._name = None

    def discard(self) -> None:
        """Remove what is not in its place by now. Never raises OSError."""
        if self._name is None:
            return
        with suppress(OSError):  # a full disk may refuse what is still to be written
            self._file.close()
        with suppress(OSError):
            Path(self._name).unlink()
        self._name = None
