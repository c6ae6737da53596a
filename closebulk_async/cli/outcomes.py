"""`closebulk outcomes`: what an action did to each object, as a summary, as JSON lines, or in a CSV file."""

from __future__ import annotations

import asyncio
import csv
import json
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from closebulk_async.cli.exits import ExitCode, complain
from closebulk_async.cli.options import Json
from closebulk_async.cli.texts import cleaned
from closebulk_async.cli.views import print_json
from closebulk_async.models import JobRef

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from closebulk_async.outcomes import ObjectOutcome, OutcomeSummary

COLUMNS = ("event_type", "object_id", "lead_id", "at", "changed_fields", "user_id", "event_id", "previous_data", "data")
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")


def outcomes(
    ref: Annotated[str, typer.Argument(metavar="REF", help="The action to ask about.")],
    *,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write a row for each event to this file; - is stdout.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Say what an action did to each object, by Close's log of events, which goes back thirty days.

    With --json a line for each event, and the summary as the last one. The exit code is 0 when the log could be read.
    """
    return asyncio.run(_tell(JobRef.parse(ref), csv_file=csv_file, as_json=as_json))


async def _tell(ref: JobRef[Any], *, csv_file: Path | None, as_json: bool) -> int:
    from closebulk_async.cli.clients import connect

    async with connect() as close:
        found = close.outcomes(ref)
        with _open(csv_file) as write:
            async for outcome in found:
                if as_json:
                    print_json({"event_type": outcome.event_type, **outcome.to_dict()})
                write(outcome)
        if as_json:
            print_json({"summary": found.summary.to_dict()})
        elif str(csv_file) != "-":
            _print_summary(found.summary)
    return ExitCode.DONE


@contextmanager
def _open(csv_file: Path | None) -> Iterator[Callable[[ObjectOutcome], object]]:
    """Where the rows go to. Raises typer's error of usage where that cannot be written."""
    if csv_file is None:
        yield lambda _: None
        return
    if str(csv_file) == "-":
        yield _begin(sys.stdout)
        return
    try:
        opened = csv_file.open("w", newline="", encoding="utf-8")
    except OSError as exc:
        message = f"--csv {csv_file}: {exc.strerror or exc}"
        raise typer.BadParameter(message) from exc
    with opened:
        yield _begin(opened)


def _begin(file: IO[str]) -> Callable[[ObjectOutcome], object]:
    writer = csv.writer(file)
    writer.writerow(COLUMNS)

    def write(outcome: ObjectOutcome) -> None:
        row = {"event_type": outcome.event_type, **outcome.to_dict()}
        writer.writerow([_to_cell(row[name]) for name in COLUMNS])

    return write


def _to_cell(value: object) -> str:
    """Text as it is, a list of words with spaces, other JSON as JSON; a formula as text, since names are anybody's."""
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_FORMULAS) else value
    if value is None:
        return ""
    return " ".join(value) if isinstance(value, list) else json.dumps(value)


def _print_summary(summary: OutcomeSummary) -> None:
    print(f"{summary.ref}: {summary.n_processed} objects processed, events of {summary.n_objects}")
    for event_type, number in sorted(summary.by_event.items()):
        print(f"  {cleaned(event_type)}: {number}")
    if summary.n_without_event:
        print(f"  without any event: {summary.n_without_event}")
    if not summary.is_complete:
        complain("this may not be all: the action runs, or it began before the thirty days that Close keeps events")
