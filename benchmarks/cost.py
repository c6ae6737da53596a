"""What waits cost: bytes of an idle one, computing time of polls, and requests of several on one action."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Final

import attrs

from benchmarks.harness import FULL, choose_cores, clean_environment, start_worker
from closebulk_async import BulkEmail, CloseBulk, JobRef, Wait
from closebulk_async.models import Kind
from closebulk_async.simulator import Plan, Simulator
from closebulk_async.testing import FakeClock

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from benchmarks.harness import Effort, Round

OWN_BYTES: Final = 600
"""What one wait may hold beside its task and its action."""

A_MINUTE: Final = 5_000
CORE: Final = 0.10
"""The share of a core that the client's process may take while so many polls a minute come in."""

_ROLES: Final[Mapping[str, tuple[str, Sequence[str]]]] = {
    "futures": ("futures", ()),
    "snapshots": ("snapshots", ()),
    "waits": ("waits", ()),
    "pages": ("polls", ()),
    "items": ("polls", ("--no-pages",)),
}
"""What is measured: the role of the client, and the arguments of the server."""


def measure(effort: Effort) -> Iterator[Round]:
    """Give one round of `<what>.<figure>`. A quick run is that of some waits, for seconds."""
    jobs, beat = (10_000, 20.0) if effort == FULL else (100, 1.0)
    figures = {
        f"{name}.{figure}": value
        for name, (role, server) in _ROLES.items()
        for figure, value in run(role, server, jobs=jobs, beat=beat).items()
    }
    figures |= {f"flights.{name}": asyncio.run(count_requests(*many)) for name, many in _FLIGHTS.items()}
    yield figures | {"waits.number": jobs}


def run(role: str, server: Sequence[str] = (), *, jobs: int, beat: float) -> Round:
    """What a client of that role finds of itself, beside a server with those arguments."""
    client_core, server_core = choose_cores()
    command = [sys.executable, "-m", "benchmarks.cost_run", role, "--core", str(client_core), "--beat", str(beat)]
    with start_worker("cost_server", "--core", str(server_core), "--jobs", str(jobs), *server) as ask_server:
        told = json.dumps(ask_server("address"))
        ran = subprocess.run(
            command, input=told, stdout=subprocess.PIPE, text=True, check=True, env=clean_environment()
        )
    figures: Round = json.loads(ran.stdout)
    return figures


_FLIGHTS: Final = {"one": (1, 0), "five": (3, 2)}
"""Tasks that await one action, and tasks that iterate over its progress."""


async def count_requests(awaiters: int, iterators: int) -> int:
    """The requests of a client with so many waits on one action of ten minutes, from begin to end."""
    clock = FakeClock()

    async def exhaust(wait: Wait[BulkEmail]) -> None:
        async for _ in wait:
            pass

    async with Simulator(clock=clock) as sim, CloseBulk(sim.api_key, base_url=sim.base_url, clock=clock) as close:
        ref: JobRef[BulkEmail] = JobRef(Kind.EMAIL, sim.add_job("email", plan=Plan(duration=600)).id)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(awaiters):
                tasks.create_task(close.wait_until_done(ref).result())
            for _ in range(iterators):
                tasks.create_task(exhaust(close.wait_until_done(ref)))
        return len(sim.requests)


def weigh(counts: Round) -> Round:
    """What one wait holds: beyond a task that awaits a future, and beyond the action as well."""
    with_action = counts["waits.bytes"] - counts["futures.bytes"]
    return {"with_action": with_action, "own": with_action - counts["snapshots.bytes"]}


def share(counts: Round, name: str, unit: str) -> float:
    """The share of a core that so many requests or observations a minute take."""
    return counts[f"{name}.cpu_seconds"] / counts[f"{name}.{unit}"] * A_MINUTE / 60


@attrs.frozen
class Row:
    """A figure in words, and the most it may be where something was promised."""

    what: str
    value: float
    spelling: str
    at_most: float | None = None

    def render(self) -> str:
        """A row of the table."""
        found = self.spelling.format(self.value)
        if self.at_most is None:
            return f"| {self.what} | {found} | | |"
        met = "yes" if self.value <= self.at_most else "**no**"
        return f"| {self.what} | {found} | ≤ {self.spelling.format(self.at_most)} | {met} |"


def render(counts: Round) -> str:
    """Give a round of `measure` as a table."""
    held = weigh(counts)
    items, pages = share(counts, "items", "requests"), share(counts, "pages", "observations")
    full = share(counts, "pages", "requests")
    rows = (
        Row("a task that awaits a plain future", counts["futures.bytes"], "{:,.0f} B"),
        Row("one action, as it was last read", counts["snapshots.bytes"], "{:,.0f} B"),
        Row("an idle wait beside its task", held["with_action"], "{:,.0f} B"),
        Row("an idle wait beside its task and its action", held["own"], "{:,.0f} B", OWN_BYTES),
        Row("tasks of the client's own", counts["waits.tasks"], "{:g}", 1),
        Row("timers of the loop, aiohttp's for idle connections among them", counts["waits.timers"], "{:g}", 2),
        Row(f"{A_MINUTE:,} actions a minute read one by one", items, "{:.1%} of a core", CORE),
        Row(f"{A_MINUTE:,} actions a minute read by pages", pages, "{:.1%} of a core", CORE),
        Row(f"{A_MINUTE:,} pages a minute of up to 100 actions each", full, "{:.1%} of a core"),
        Row("requests of one who awaits an action of ten minutes", counts["flights.one"], "{:g}"),
        Row(
            "requests of three who await it and two who iterate", counts["flights.five"], "{:g}", counts["flights.one"]
        ),
    )
    table = "\n".join(row.render() for row in rows)
    return f"""\
| what | found | target | met |
|---|---|---|---|
{table}

{counts["waits.number"]:,.0f} waits, each awaited by a task of its own; every poll finds that its action has moved.
Memory is what `tracemalloc` counts. Computing time is user and system time of the client's process.
"""
