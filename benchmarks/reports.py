"""The reports: how fast the client is beside others, safe starts, waits, downloads, and the dashboard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from benchmarks import (
    cadence,
    cost,
    dashboard,
    decoding,
    downloading,
    figures,
    fleet,
    harness,
    imports,
    journaling,
    polling,
    second_jobs,
    simulated,
    traffic,
)
from benchmarks.report import Report

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.harness import Round


def _under(heading: str, render: Callable[[Round], str]) -> Callable[[Round], str]:
    return lambda counts: f"## {heading}\n\n{render(counts)}"


SPEED: Final = Report(
    name="latest",
    title="Benchmarks",
    how_to_read="""\
Client and server stand on different cores; the server is one nginx process with static files. A ratio is taken inside
a round, in which everything has one short slice; the table shows the median of all rounds and the middle half of them.
CPU is user and system time of the client's process for one request.
""",
    suites={"traffic": traffic.measure, "decoding": decoding.measure, "imports": imports.measure},
    comparisons=figures.OF_SPEED,
)

STARTS: Final = Report(
    name="starts",
    title="Safe starts",
    how_to_read=f"""\
The server is the package's simulator, in a process of its own. In the first table each start meets one fault or two,
the same for every client: its POST is refused, or the answer is lost, late, spoiled or replaced, after the job began or
before. Reads are undisturbed. Jobs are counted on the server. *Second jobs* are those beyond one for a start. *Lost
jobs* belong to starts whose caller was told no id, or that of another job. *Errors told* are starts whose caller got an
exception. Those of this SDK have no job: it cannot know that none will come, so it does not send again, unless it is
told to and nothing in the list may be the job. All clients wait {simulated.TRY_SECONDS:g} s for an answer.
The simulator shows a job at once, and so this SDK tells the error after {simulated.SETTLE_SECONDS:g} s and not after 15
(`PollPolicy.settle`).

In the other tables two figures are compared inside a round, in which all of them take turns; the median is that of all
rounds, beside their middle half. The journal's files are in `{harness.DISK}`. `diskless` is SQLite with its file in
memory, `disk.fsync` what it takes to write {journaling.COMMIT_BYTES // 1024} kB and wait for the disk.
`recover` is what a service does when it begins: open the journal and read its {journaling.RUNNING} running actions.
""",
    suites={"second_jobs": second_jobs.measure, "journaling": journaling.measure},
    comparisons=figures.OF_STARTS,
    counts={"second_jobs": second_jobs.render},
)

WAITS: Final = Report(
    name="waits",
    title="Waiting",
    how_to_read="""\
*Late* is how long after its end a job is known to have ended. Where time is virtual it jumps to the next thing that is
due, so that every instant is exact and no figure depends on the machine. Jobs take 5 s to 2 h (log-uniform) unless
said otherwise, their rates change and stall, and their counters move in batches.
""",
    suites={
        "cadence": cadence.measure,
        "polling": polling.measure,
        "fleet": fleet.measure,
        "cost": cost.measure,
    },
    comparisons=(),
    counts={
        "cadence": _under("When to poll: policies over jobs on paper", cadence.render),
        "polling": _under("Beside the pollers of other SDKs", polling.render),
        "fleet": _under("Thousands of actions on one key", fleet.render),
        "cost": _under("What waits cost", cost.render),
    },
)

DOWNLOADS: Final = Report(
    name="downloads",
    title="Downloads",
    how_to_read="""\
The server is the package's simulator, in a process of its own; what it sends comes over loopback.
""",
    suites={"downloading": downloading.measure},
    comparisons=(),
    counts={"downloading": downloading.render},
)

DASHBOARD: Final = Report(
    name="dashboard",
    title="The dashboard",
    how_to_read="""\
The simulator, `closebulk dashboard` and a headless Chromium with one page of it are processes of their own. *Share of
one core* is user and system time of the server's process, polls included, by the clock on the wall. A frame takes all
that the page's main thread does between the frame before and its own commit, as the browser's trace has it: script,
style, layout and paint, not only those of the frame itself. Both are measured at the same time, after a warm-up.
""",
    suites={"dashboard": dashboard.measure},
    comparisons=(),
    counts={"dashboard": dashboard.render},
)

REPORTS: Final = {
    "speed": SPEED,
    "starts": STARTS,
    "waits": WAITS,
    "downloads": DOWNLOADS,
    "dashboard": DASHBOARD,
}
