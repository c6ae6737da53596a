"""Second jobs: the same faulty starts through the vendor's client and through this SDK, counted on the server.

`python -m benchmarks.second_jobs MODULE URL --core N [--calls 2] [--journal FILE] [--resend]` reads numbers of
starts from its input and answers each with what the callers were told.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import attrs

from benchmarks.harness import DISK, choose_cores, start_worker
from benchmarks.simulated import FAULTS, plan_faults

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from benchmarks.harness import Effort, Round

Told: TypeAlias = tuple[str | None, str | None]
"""What the caller of a start learned: the id of its action, and the name of the error."""

AT_ONCE: Final = 200
"""Starts under way at the same time: the vendor's client sleeps for seconds before it sends one again."""


@attrs.frozen
class Contestant:
    """A client that starts jobs, in words and as a module, and how it is used."""

    title: str
    module: str
    calls: int = 1
    has_file: bool = False
    resends: bool = False


CONTESTANTS: Final = {
    "closeio": Contestant("`closeio`", "starts_with_closeio"),
    "closeio_again": Contestant("`closeio`, called again after an error", "starts_with_closeio", calls=2),
    "memory": Contestant("this SDK, journal in memory", "starts_with_sdk"),
    "sqlite": Contestant("this SDK, journal in SQLite", "starts_with_sdk", has_file=True),
    "sqlite_again": Contestant(
        "this SDK, journal in SQLite, called again after an error", "starts_with_sdk", calls=2, has_file=True
    ),
    "sqlite_resend": Contestant(
        'this SDK, journal in SQLite, on_ambiguous="resend"', "starts_with_sdk", has_file=True, resends=True
    ),
}
COLUMNS: Final = ("starts", "jobs", "second", "lost", "errors")


def measure(effort: Effort) -> Iterator[Round]:
    """Give one round of `<contestant>.<fault of the first try>.<column>`, all of them counts."""
    client_core, server_core = choose_cores()
    script = plan_faults(effort.starts)
    counts: Round = {}
    for name, contestant in CONTESTANTS.items():
        with (
            tempfile.TemporaryDirectory(dir=DISK) as folder,
            start_worker("simulated", "--core", str(server_core), "--starts", str(effort.starts)) as ask_server,
        ):
            options = ["--core", str(client_core), "--calls", str(contestant.calls)]
            options += ["--journal", f"{folder}/starts.db"] if contestant.has_file else []
            options += ["--resend"] if contestant.resends else []
            base_url = ask_server("address")["base_url"]
            with start_worker("second_jobs", contestant.module, base_url, *options) as ask_client:
                told = ask_client(str(effort.starts))["told"]
            jobs = {int(number): ids for number, ids in ask_server("jobs").items()}
        counts |= {f"{name}.{figure}": count for figure, count in tally(script, jobs=jobs, told=told).items()}
    yield counts


def tally(script: Sequence[Sequence[str]], *, jobs: Mapping[int, Sequence[str]], told: Sequence[Told]) -> Round:
    """Give `<fault of the first try>.<column>` of all starts.

    `second` are jobs beyond one for a start; `lost` are starts that have a job of which the caller was told nothing, or
    another start's; `errors` are starts whose caller was told of an error.
    """
    counts = {f"{fault}.{column}": 0.0 for fault in FAULTS for column in COLUMNS}
    for number, ((fault, *_), (id_, error)) in enumerate(zip(script, told, strict=True)):
        own = jobs.get(number, ())
        row = (1, len(own), max(0, len(own) - 1), bool(own) and id_ not in own, error is not None)
        for column, count in zip(COLUMNS, row, strict=True):
            counts[f"{fault}.{column}"] += count
    return counts


def render(counts: Round) -> str:
    """Give a round of `measure` as two tables: all clients, and the vendor's client for each fault."""
    totals = "\n".join(_render_total(counts, name) for name in CONTESTANTS)
    columns = [f"{name}.{{fault}}.{column}" for name in ("closeio", "closeio_again") for column in ("second", "lost")]
    columns = ["closeio.{fault}.starts", *columns]
    by_fault = "\n".join(
        _render_row(fault, [f"{counts[column.format(fault=fault)]:,.0f}" for column in columns]) for fault in FAULTS
    )
    return f"""\
| client | starts | jobs | second jobs | lost jobs | errors told | target | met |
|---|---|---|---|---|---|---|---|
{totals}

What the first try of a start met, and what `closeio` made of it:

| first try | starts | second jobs | lost jobs | second, called again | lost, called again |
|---|---|---|---|---|---|
{by_fault}
"""


def _render_total(counts: Round, name: str) -> str:
    total = {column: sum(counts[f"{name}.{fault}.{column}"] for fault in FAULTS) for column in COLUMNS}
    is_met = not total["second"] and not total["lost"]
    judged = ["0 second, 0 lost", "yes" if is_met else "**no**"] if "closeio" not in name else ["", ""]
    return _render_row(CONTESTANTS[name].title, [*(f"{count:,.0f}" for count in total.values()), *judged])


def _render_row(title: str, cells: Sequence[str]) -> str:
    return f"| {' | '.join([title, *cells])} |"


def main() -> None:
    """Serve orders until the input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("module")
    parser.add_argument("base_url")
    parser.add_argument("--core", type=int, required=True)
    parser.add_argument("--calls", type=int, default=1)
    parser.add_argument("--journal", type=Path)
    parser.add_argument("--resend", action="store_true")
    options = parser.parse_args()
    os.sched_setaffinity(0, {options.core})
    logging.disable()  # clients log each 429, and each start that was reconciled
    start_all = importlib.import_module(f"benchmarks.peers.{options.module}").start_all
    for order in sys.stdin:
        told = start_all(
            options.base_url,
            int(order),
            at_once=AT_ONCE,
            calls=options.calls,
            journal=options.journal,
            resends=options.resend,
        )
        print(json.dumps({"told": told}), flush=True)


if __name__ == "__main__":
    main()
