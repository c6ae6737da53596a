"""A batch: a bulk edit for each of 50 cities, five of them running at once, and one table at the end.

    python examples/batch.py
    python examples/batch.py --live --status-id stat_...    # with CLOSE_API_KEY

The exit code is 1 where an edit failed. To set a status twice does no harm, so the batch may simply be run once more.
For what does harm when it is done twice, give each start a key, as service.py does.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

from _simulator import at_least_one, connect, make_parser, open_folder, whole

from closebulk_async import BulkAction, EditStart, Outcome, Query, address, lead

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

_NAMES = (
    "Albuquerque, Arlington, Atlanta, Aurora, Austin, Bakersfield, Baltimore, Boston, Charlotte, Chicago, Cleveland, "
    "Colorado Springs, Columbus, Dallas, Denver, Detroit, El Paso, Fort Worth, Fresno, Houston, Indianapolis, "
    "Jacksonville, Kansas City, Las Vegas, Long Beach, Los Angeles, Louisville, Memphis, Mesa, Miami, Milwaukee, "
    "Minneapolis, Nashville, New York, Oakland, Oklahoma City, Omaha, Philadelphia, Phoenix, Portland, Raleigh, "
    "Sacramento, San Antonio, San Diego, San Francisco, San Jose, Seattle, Tucson, Tulsa, Washington"
)
CITIES = _NAMES.split(", ")

INTERRUPTED = 130
"""The exit code that shells give to what Ctrl-C has ended."""


def main() -> int:
    """Run the batch; the exit code."""
    parser = make_parser(__doc__)
    parser.add_argument(
        "--edits", type=whole, default=len(CITIES), help="how many of the cities (default: %(default)s)"
    )
    parser.add_argument(
        "--at-once", type=at_least_one, default=5, help="how many edits run at once (default: %(default)s)"
    )
    parser.add_argument("--failing", type=whole, default=0, help="how many edits fail at the simulator")
    parser.add_argument("--status-id", help="the status that the leads get")
    options = parser.parse_args()
    if options.live and not options.status_id:
        parser.error("--live needs --status-id")
    try:
        return asyncio.run(run(options))
    except KeyboardInterrupt:
        begin = "\n" if sys.stderr.isatty() else ""  # the count is on the line
        print(f"{begin}interrupted: edits that run go on; to run the batch once more does no harm", file=sys.stderr)
        return INTERRUPTED


async def run(options: argparse.Namespace) -> int:
    """Start and wait for all edits, and show what became of them."""
    starts = {
        EditStart(type="set_lead_status", lead_status_id=options.status_id or "stat_demo", s_query=in_city(city)): city
        for city in CITIES[: options.edits]
    }
    outcomes: list[Outcome[BulkAction]] = []
    with open_folder(options, live=Path()) as folder:
        # With a journal in a file no start is sent twice, also if this process dies in the middle of one.
        async with (
            connect(options, failing=options.failing, journal=folder / "batch.db") as close,
            aclosing(close.run_many(starts, max_running=options.at_once)) as ended,
        ):
            show_count(outcomes, len(starts))
            async for outcome in ended:
                outcomes.append(outcome)
                show_count(outcomes, len(starts))
    show_table(outcomes, starts)
    return 1 if any(outcome.error for outcome in outcomes) else 0


def in_city(city: str) -> Query:
    """The leads that have an address there."""
    return lead.has(address, address.city.full_words(city))


def show_count(outcomes: Sequence[Outcome[BulkAction]], total: int) -> None:
    """On a terminal one line that is written over, else a line each time."""
    begin, end = ("\r", "") if sys.stderr.isatty() else ("", "\n")
    if len(outcomes) == total:
        end = "\n"
    print(f"{begin}{count(outcomes)} of {total}", end=end, file=sys.stderr, flush=True)


def show_table(outcomes: Sequence[Outcome[BulkAction]], cities: Mapping[EditStart, str]) -> None:
    """A row for each edit, and the sum."""
    print(f"{'city':<18}{'leads':>7}  outcome")
    rows = {cities[outcome.start]: outcome for outcome in outcomes if isinstance(outcome.start, EditStart)}
    for city, outcome in sorted(rows.items()):
        print(f"{city:<18}{leads_of(outcome):>7}  {outcome.error or outcome.ref}")
    print(f"{'all':<18}{sum(map(leads_of, outcomes)):>7}  {count(outcomes)}")


def leads_of(outcome: Outcome[BulkAction]) -> int:
    """How many leads were edited by what is done."""
    return outcome.action.n_leads_processed if outcome.action else 0


def count(outcomes: Sequence[Outcome[BulkAction]]) -> str:
    """How many edits are done, and how many are not going to be."""
    failed = sum(outcome.error is not None for outcome in outcomes)
    return f"{len(outcomes) - failed} done, {failed} failed"


if __name__ == "__main__":
    sys.exit(main())
