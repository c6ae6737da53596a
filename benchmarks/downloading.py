"""What it takes to fetch the file of an export: memory above idle, beside a small file's."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Final

from benchmarks.cost import Row
from benchmarks.harness import FULL, clean_environment, start_worker

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from benchmarks.harness import Effort, Round

MOST_MEGABYTES: Final = 32.0
"""Above idle, whatever the size of the file."""

_MEGABYTE: Final = 1024 * 1024

_WAYS: Final[Mapping[str, tuple[str, ...]]] = {"unpacked": (), "kept": ("--keep-gz",)}


def measure(effort: Effort) -> Iterator[Round]:
    """Give one round of `<file>.<way>.<figure>`. A quick run fetches small files only."""
    sizes = {"small": 1_000_000, "large": 1_000_000_000 if effort == FULL else 2_000_000}
    yield {
        f"{name}.{way}.{figure}": value
        for name, size in sizes.items()
        for way, arguments in _WAYS.items()
        for figure, value in _run(size, arguments).items()
    } | {f"{name}.size": size for name, size in sizes.items()}


def _run(size: int, arguments: tuple[str, ...]) -> Round:
    command = [sys.executable, "-m", "benchmarks.download_run", *arguments]
    with start_worker("download_server", "--size", str(size)) as ask_server:
        told = json.dumps(ask_server("address"))
        ran = subprocess.run(
            command, input=told, stdout=subprocess.PIPE, text=True, check=True, env=clean_environment()
        )
    figures: Round = json.loads(ran.stdout)
    return figures


def above_idle(counts: Round, name: str) -> float:
    """Megabytes that a download takes at the most, above what the client took before it."""
    return (counts[f"{name}.peak"] - counts[f"{name}.idle"]) / _MEGABYTE


def render(counts: Round) -> str:
    """Give a round of `measure` as a table."""
    rows = []
    for name in ("small", "large"):
        size = counts[f"{name}.size"]
        for way, words in {"unpacked": "saved unpacked", "kept": "saved as it is sent"}.items():
            what = f"a file of {size / 1e6:,.0f} MB, {words}"
            found = above_idle(counts, f"{name}.{way}")
            rows.append(Row(f"{what}: memory above idle", found, "{:.1f} MB", MOST_MEGABYTES))
            rows.append(Row(f"{what}: time", counts[f"{name}.{way}.seconds"], "{:.1f} s"))
    table = "\n".join(row.render() for row in rows)
    return f"""\
| what | found | target | met |
|---|---|---|---|
{table}

Size is that of the unpacked file; it is sent as gzip. Memory is what Linux counts as resident (`VmRSS`, and `VmHWM` as
the most of it), of a client in a process of its own that had read the export before.
"""
