"""Fleets: what it costs one client to follow thousands of actions inside the rate limit of one key, and how late it is.

Each fleet runs in virtual time in a process of its own, several at once: no figure depends on the machine's speed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import attrs

from benchmarks.harness import FULL, clean_environment

if TYPE_CHECKING:
    from benchmarks.harness import Effort, Round


@attrs.frozen
class Fleet:
    """A row of the table: the arguments of `fleet_run` beside the number of actions, and what was promised.

    `at_most` are bounds of figures. `alone` is the row of the same actions read one by one, which this one must not be
    worse than.
    """

    title: str
    concurrent: int
    arguments: Sequence[str] = ()
    at_most: Mapping[str, float] = attrs.field(factory=dict)
    alone: str | None = None

    @property
    def target(self) -> str:
        """What was promised, in words."""
        said = {"requests_per_second": "{:g} requests/s", "refused": "{:g} refused"}
        bounds = [
            said.get(name, f"{name.removeprefix('late_p')} %: {{:g}} s").format(bound)
            for name, bound in self.at_most.items()
        ]
        return ", ".join([*(f"≤ {bound}" for bound in bounds), *(["not worse than one by one"] if self.alone else [])])

    def is_met(self, counts: Round, name: str) -> bool | None:
        """Whether the promises were kept by the row of that name; None where there are none."""
        if not self.at_most and not self.alone:
            return None
        is_within = all(counts[f"{name}.{figure}"] <= bound for figure, bound in self.at_most.items())
        return is_within and all(
            counts[f"{name}.{figure}"] <= TOLERANCE * counts[f"{self.alone}.{figure}"] + slack
            for figure, slack in COMPARED.items()
            if self.alone
        )


COMPARED: Final[Mapping[str, float]] = {"requests_per_second": 0.0, "late_p50": 0.25, "late_p95": 0.25}
"""In which a fleet must not be worse than the same one read one by one, and by how much it may be.

Polls that are to share a page wait up to half a second for each other (`PollPolicy.beat`).
"""

TOLERANCE: Final = 1.02
"""To find out that pages are of no use takes some requests, and which of two equals is asked for first is chance."""


def _make_fleets() -> Iterator[tuple[str, Fleet]]:
    whole: Mapping[int, Mapping[str, float]] = {
        100: {"requests_per_second": 1.5},
        1_000: {"requests_per_second": 12, "late_p50": 1.2, "late_p95": 2.5},
        10_000: {"refused": 0, "late_p50": 4, "late_p95": 25},
    }
    mixed: Mapping[int, Mapping[str, float]] = {
        1_000: {"requests_per_second": 16, "late_p95": 3.5},
        10_000: {"refused": 0, "late_p95": 50},
    }
    for number, bounds in whole.items():
        yield f"{number}", Fleet(f"{number:,}", number, at_most=bounds)
    for number, bounds in mixed.items():
        yield (
            f"{number}.foreign",
            Fleet(f"{number:,}, and as many of somebody else's", number, ["--foreign", "1"], at_most=bounds),
        )
    for number in whole:
        alone = f"{number}.alone"
        for order, words in {"oldest": "oldest first", "shuffled": "in no order"}.items():
            title = f"{number:,}, list {words}"
            yield f"{number}.{order}", Fleet(title, number, ["--order", order], at_most={"refused": 0}, alone=alone)
        yield alone, Fleet(f"{number:,}, one by one: the service refuses pages", number, ["--no-pages"])


FLEETS: Final = dict(_make_fleets())

COLUMNS: Final = {
    "running": "{:,.0f}",
    "requests_per_second": "{:.2f}",
    "pages_per_second": "{:.2f}",
    "refused": "{:.0f}",
    "ended": "{:,.0f}",
    "late_p50": "{:.2f} s",
    "late_p95": "{:.2f} s",
    "late_p99": "{:.1f} s",
    "late_max": "{:.0f} s",
}


def measure(effort: Effort) -> Iterator[Round]:
    """Give one round of `<fleet>.<figure>`. A quick run is a minute of the smallest fleet."""
    is_full = effort == FULL
    names = list(FLEETS) if is_full else ["100", "100.alone"]
    span = [] if is_full else ["--warm-up", "30", "--measured", "60"]
    # The largest first, or the last one would run alone at the end.
    names.sort(key=lambda name: FLEETS[name].concurrent, reverse=True)
    with ThreadPoolExecutor(max_workers=max(1, len(os.sched_getaffinity(0)) - 1)) as pool:
        found = pool.map(lambda name: _run(FLEETS[name], span), names)
        yield {
            f"{name}.{figure}": value
            for name, figures in zip(names, found, strict=True)
            for figure, value in figures.items()
        }


def _run(fleet: Fleet, span: Sequence[str]) -> Round:
    command = [sys.executable, "-m", "benchmarks.fleet_run", "--concurrent", str(fleet.concurrent)]
    ran = subprocess.run(
        [*command, *fleet.arguments, *span], stdout=subprocess.PIPE, text=True, check=True, env=clean_environment()
    )
    figures: Round = json.loads(ran.stdout)
    return figures


def render(counts: Round) -> str:
    """Give a round of `measure` as a table."""
    rows = "\n".join(_render_row(counts, name, fleet) for name, fleet in FLEETS.items() if f"{name}.ended" in counts)
    return f"""\
| running actions | on average | requests/s | pages/s | refused | ended | late: 50 % | 95 % | 99 % | worst | target |\
 met |
|---|---|---|---|---|---|---|---|---|---|---|---|
{rows}

One client on one key that may send 20 requests/s waits for each of the actions. They take 5 s to 4,019 s (log-uniform,
600 s on average), begin at random, and stay in the list, which is newest first unless said otherwise, as those do that
ended before. Ends are counted for 15 minutes, after 10 minutes in which the client gets to know what it follows.
"""


def _render_row(counts: Round, name: str, fleet: Fleet) -> str:
    met = {True: "yes", False: "**no**", None: ""}[fleet.is_met(counts, name)]
    cells = [spelling.format(counts[f"{name}.{figure}"]) for figure, spelling in COLUMNS.items()]
    return f"| {' | '.join([fleet.title, *cells, fleet.target, met])} |"
