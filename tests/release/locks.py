"""What requirements/*.txt pin."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent.parent

_PIN = re.compile(r"(?P<name>[a-z0-9-]+)(?:\[[a-z0-9,-]+\])?==(?P<version>[^ ;\\]+)(?: ;[^\\]*)? \\")
_HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}(?: \\)?")


class LockError(ValueError):
    """A lock has a line that is neither a pin nor a hash of one."""


def find_locks(root: Path) -> list[Path]:
    """The locks of a checkout."""
    return sorted((root / "requirements").glob("*.txt"))


def read_pins(lock: Path) -> Iterator[tuple[str, str]]:
    """Names and versions of all that a lock pins, for whatever Python and platform."""
    lines = lock.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, start=1):
        if pin := _PIN.fullmatch(line):
            yield pin["name"], pin["version"]
        elif not _HASH.fullmatch(line):
            raise LockError(f"{lock.name}:{number} is neither a pin nor a hash: {line!r}")
