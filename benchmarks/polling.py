"""Waiting: the same jobs on paper followed by the pollers of other SDKs and by this one, on virtual clocks.

`python -m benchmarks.polling CONTESTANT` reads numbers of jobs from its input and answers each with its figures.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib
import json
import logging
import random
import statistics
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Final

import attrs

from benchmarks.harness import FULL, start_worker
from benchmarks.paper import MODELS, draw_jobs
from benchmarks.polled import Oddity
from benchmarks.virtual_loop import VirtualLoop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from benchmarks.harness import Effort, Round
    from benchmarks.paper import PaperJob
    from benchmarks.polled import Stage

SEED: Final = 77
AWAITERS: Final = 3
AWAITED: Final = 10
"""How many jobs have so many awaiters."""

LEFT_AFTER: Final = 20.0
WATCHED_FOR: Final = 120.0
"""When the consumer leaves, and how long what still runs then is watched; seconds."""

_ROUNDING: Final = 1e-3
"""The simulator spells and reads instants to the microsecond."""


@attrs.frozen
class Contestant:
    """A library that waits, in words, and what it does by default. Its module is `polls_with_<its key>`."""

    title: str
    cadence: str
    starts_to_wait: bool = False


CONTESTANTS: Final = {
    "azure": Contestant("azure-core", "30 s; `AsyncLROPoller`, status monitor, `AsyncRetryPolicy`"),
    "google": Contestant("google-api-core", "1 s doubling to 60 s, full jitter; `AsyncOperation`, its own retry"),
    "openai": Contestant("openai", "1 s, no server's hint; `vector_stores.files.poll`, 2 retries"),
    "aiosalesforce": Contestant("aiosalesforce", "5 s; `bulk_v2.insert`, 3 retries", starts_to_wait=True),
    "sdk": Contestant("this SDK", "adaptive; `wait_until_done`"),
}


def measure(effort: Effort) -> Iterator[Round]:
    """Give one round of `<contestant>.<figure>`, none of which depends on the machine's speed."""
    # Time is virtual in each process, so that they may run side by side.
    with ThreadPoolExecutor(len(CONTESTANTS)) as pool:
        found = pool.map(partial(_ask, n_jobs=effort.jobs), CONTESTANTS)
        yield {
            f"{name}.{figure}": value
            for name, figures in zip(CONTESTANTS, found, strict=True)
            for figure, value in figures.items()
        }


def _ask(name: str, *, n_jobs: int) -> Round:
    with start_worker("polling", name) as ask:
        return ask(str(n_jobs))


def choose_jobs(number: int) -> Sequence[PaperJob]:
    """The first jobs of those that all wait for."""
    return draw_jobs(number, seed=SEED, model=MODELS["plain"])


async def contest(stage: Stage, population: Sequence[PaperJob], *, starts_to_wait: bool = False) -> Round:
    """Give all figures of one contestant.

    `requests` are reads of a status for each job; `late_*` seconds; `awaiters` how many times as many reads it takes
    when three await each job, absent where each wait would start a job of its own.
    """
    figures = await follow(stage, population)
    if not starts_to_wait:
        few = population[:AWAITED]
        alone, together = await follow(stage, few), await follow(stage, few, awaiters=AWAITERS)
        figures["awaiters"] = together["requests"] / alone["requests"]
    long = next(job for job in choose_jobs(100) if 300 <= job.duration <= 600)
    for oddity in Oddity:
        figures |= {f"{oddity.value}.{fate}": value for fate, value in (await meet(stage, long, oddity)).items()}
    return figures | {f"left.{what}": count for what, count in (await leave(stage, long)).items()}


async def follow(stage: Stage, population: Sequence[PaperJob], *, awaiters: int = 1) -> Round:
    """Wait for one job after the other."""
    late, reads = [], stage.reads
    for job in population:
        ends = stage.now() + job.duration
        wait = await stage.begin(job)
        await asyncio.gather(*(wait() for _ in range(awaiters)))
        late.append(stage.now() - ends)
    return {
        "requests": (stage.reads - reads) / len(population),
        "late_mean": statistics.mean(late),
        "late_p95": statistics.quantiles(late, n=20, method="inclusive")[-1],
        "late_max": max(late),
    }


async def meet(stage: Stage, job: PaperJob, oddity: Oddity) -> Round:
    """Wait for a job whose second read meets that: `raised` is 1 or 0, `early` how many seconds too soon it ended."""
    ends = stage.now() + job.duration
    wait = await stage.begin(job, oddity)
    try:
        await wait()
    except Exception:  # noqa: BLE001 - each library has errors of its own, and any of them ends the wait
        return {"raised": 1.0, "early": 0.0}
    early = ends - stage.now()
    return {"raised": 0.0, "early": early if early > _ROUNDING else 0.0}


async def leave(stage: Stage, job: PaperJob) -> Round:
    """Cancel who awaits a job that runs, and count what goes on: reads and writes, and tasks in the end."""
    before = asyncio.all_tasks()
    wait = await stage.begin(job)
    consumer = asyncio.ensure_future(wait())
    await stage.sleep(LEFT_AFTER)
    reads, writes = stage.reads, stage.writes
    consumer.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await consumer
    await stage.sleep(WATCHED_FOR)
    tasks = asyncio.all_tasks() - before
    return {"tasks": len(tasks), "reads": stage.reads - reads, "writes": stage.writes - writes}


@contextlib.asynccontextmanager
async def open_stage(name: str) -> AsyncIterator[Stage]:
    """The stage of a contestant; that of a peer needs a `VirtualLoop`."""
    module = importlib.import_module(f"benchmarks.peers.polls_with_{name}")
    if name == "sdk":
        async with module.open_stage() as stage:
            yield stage
    else:
        yield module.make_stage()


def render(counts: Round) -> str:
    """Give a round of `measure` as a table, and how to read it."""
    rows = "\n".join(_render(counts, name) for name in CONTESTANTS)
    return f"""\
Each library is the real one, with its defaults, behind a stub of its transport that speaks its own service's words;
this SDK talks to the package's simulator over a socket. Time is virtual. All wait for the same jobs ({FULL.jobs} in a
full run), one after the other. *Requests* are reads of a status: no start, no result. *Requests of {AWAITERS} awaiters*
is how many times as many it takes when so many await each job at once; aiosalesforce has no wait without a start, so
they would start as many jobs. In the next two columns the second read of a job of some minutes is a 503, or has a
status word that the library does not know. Then the consumer is cancelled {LEFT_AFTER:g} s after it began: *tasks left*
are those that are still there {WATCHED_FOR / 60:g} minutes later; *requests after leaving* is what they asked for
meanwhile, *writes* are requests to change the job.

| poller | by default | requests per job | late: mean | 95 % | worst | requests of {AWAITERS} awaiters | one 503 \
| a new status word | tasks left | requests after leaving | writes |
|---|---|---|---|---|---|---|---|---|---|---|---|
{rows}
"""


def _render(counts: Round, name: str) -> str:
    who = CONTESTANTS[name]
    late = (f"{counts[f'{name}.late_{which}']:.1f} s" for which in ("mean", "p95", "max"))
    fates = (_render_fate(counts, f"{name}.{oddity.value}") for oddity in Oddity)
    left = (f"{counts[f'{name}.left.{what}']:.0f}" for what in ("tasks", "reads", "writes"))
    shared = "3 jobs" if who.starts_to_wait else f"{counts[f'{name}.awaiters']:.1f} times"
    cells = [who.title, who.cadence, f"{counts[f'{name}.requests']:.1f}", *late, shared, *fates, *left]
    return f"| {' | '.join(cells)} |"


def _render_fate(counts: Round, figure: str) -> str:
    if counts[f"{figure}.raised"]:
        return "**raises**"
    early = counts[f"{figure}.early"]
    return f"**ends {early:.0f} s early**" if early else "goes on"


def main() -> None:
    """Serve orders until the input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("contestant", choices=CONTESTANTS)
    name = parser.parse_args().contestant
    logging.disable()  # a 503 and an unknown status are what is measured here
    for order in sys.stdin:
        # A socket's answer needs a loop that waits for it; there the time is the clock's.
        with asyncio.Runner(loop_factory=None if name == "sdk" else VirtualLoop) as runner:
            print(json.dumps(runner.run(_contest(name, int(order)))), flush=True)


async def _contest(name: str, n_jobs: int) -> Round:
    random.seed(SEED)  # the jitter of all of them is that of `random`
    async with open_stage(name) as stage:
        return await contest(stage, choose_jobs(n_jobs), starts_to_wait=CONTESTANTS[name].starts_to_wait)


if __name__ == "__main__":
    main()
