"""One download of an export by a client in a process of its own.

`python -m benchmarks.download_run [--keep-gz]` reads what `download_server` answered, and prints a line of JSON: the
bytes of memory before the download and the most during it, those that were saved, and the seconds that it took.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.download_server import API_KEY
from benchmarks.harness import DISK
from closebulk_async import CloseBulk

if TYPE_CHECKING:
    from benchmarks.harness import Round


def main() -> None:
    """Do it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--keep-gz", action="store_true", help="save what is sent, as it is")
    options = parser.parse_args()
    print(json.dumps(asyncio.run(_download(json.loads(sys.stdin.readline()), decompress=not options.keep_gz))))


async def _download(told: dict[str, Any], *, decompress: bool) -> Round:
    async with CloseBulk(API_KEY, base_url=told["base_url"]) as close:
        export = await close.exports.get(told["ref"])  # what is imported and opened for the first request is idle
        gc.collect()
        forget_peak()
        idle, began = read_memory("VmRSS"), time.monotonic()
        with tempfile.TemporaryDirectory(dir=DISK) as folder:
            path = await close.exports.download(export, Path(folder) / "export", decompress=decompress)
            seconds, saved = time.monotonic() - began, path.stat().st_size
        return {"idle": idle, "peak": read_memory("VmHWM"), "saved": saved, "seconds": seconds}


def forget_peak() -> None:
    """Let the most memory of this process so far be what it has now (Linux)."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def read_memory(name: str) -> int:
    """A figure of this process's memory in bytes: resident now (`VmRSS`), or at the most (`VmHWM`)."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (line,) = (line for line in status.splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
