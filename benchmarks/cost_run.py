"""One process that waits, measured from inside: what it holds, and how long it computes.

`python -m benchmarks.cost_run ROLE --core N --beat SECONDS` reads a line of JSON with the address and the ids of the
jobs, and answers with a line of JSON. Roles: `futures`, `waits` and `snapshots` (memory), `polls` (computing time).
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import os
import sys
import time
import tracemalloc
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import attrs

from benchmarks.cost_server import API_KEY
from closebulk_async import BulkEmail, CloseBulk, JobRef, PollPolicy
from closebulk_async.models import Kind
from closebulk_async.telemetry import PollEnded

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping

    from benchmarks.harness import Round
    from closebulk_async.telemetry import Hook


@attrs.frozen
class Work:
    """Where the API is, its jobs, and the seconds from one poll of a job to the next."""

    base_url: str
    ids: Sequence[str]
    beat: float

    def open_client(self, *hooks: Hook) -> CloseBulk:
        """A client of that service, to be entered."""
        return CloseBulk(API_KEY, base_url=self.base_url, poll=PollPolicy.fixed(self.beat), hooks=hooks)

    def await_all(self, close: CloseBulk) -> list[asyncio.Task[BulkEmail]]:
        """A task for each job that awaits its end; nothing else holds its wait."""
        refs = (JobRef[BulkEmail](Kind.EMAIL, id_) for id_ in self.ids)
        return [asyncio.create_task(close.wait_until_done(ref).result()) for ref in refs]

    async def settle(self) -> None:
        """Until each was polled twice, so that its rate is known, and none is being polled."""
        await asyncio.sleep(1.5 * self.beat)


async def hold_futures(work: Work) -> Round:
    """So many tasks that await a plain future: what waiting costs at least."""
    loop = asyncio.get_running_loop()

    async def wait(future: asyncio.Future[None]) -> None:
        await future

    before = _measure_bytes()
    tasks = [loop.create_task(wait(loop.create_future())) for _ in work.ids]
    await asyncio.sleep(0)
    return {"bytes": (_measure_bytes() - before) / len(tasks)}


async def hold_snapshots(work: Work) -> Round:
    """The actions themselves, each as it was last read."""
    async with work.open_client() as close:
        await close.emails.list(limit=1)  # what the first request sets up is no action's
        before = _measure_bytes()
        actions = [action async for action in close.emails.iterate()]
        return {"bytes": (_measure_bytes() - before) / len(actions)}


async def hold_waits(work: Work) -> Round:
    """So many tasks that await the end of an action; nothing else holds their waits."""
    async with work.open_client() as close:
        await close.emails.list(limit=1)
        before = _measure_bytes()
        tasks = work.await_all(close)
        await work.settle()
        figures = {
            "bytes": (_measure_bytes() - before) / len(tasks),
            "timers": _count_timers(),
            "tasks": len(asyncio.all_tasks() - {*tasks, asyncio.current_task()}),
        }
        await _cancel(tasks)
    return figures


async def count_cpu(work: Work) -> Round:
    """The computing time of this process for some polls of each action, and how many that were."""
    polls: list[PollEnded] = []

    def note(event: object) -> None:
        if isinstance(event, PollEnded):
            polls.append(event)

    async with work.open_client(note) as close:
        tasks = work.await_all(close)
        await work.settle()
        polls.clear()
        before = time.process_time()
        await asyncio.sleep(2 * work.beat)
        spent = time.process_time() - before
        figures = {"cpu_seconds": spent, "requests": len(polls), "observations": sum(poll.found for poll in polls)}
        await _cancel(tasks)
    return figures


async def _cancel(tasks: Iterable[asyncio.Task[BulkEmail]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _measure_bytes() -> int:
    """What this process has allocated and not freed since `tracemalloc` was started."""
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def _count_timers() -> int:
    """The timers of the running loop that are still to ring."""
    # asyncio has no public way to ask.
    timers: list[asyncio.TimerHandle] = vars(asyncio.get_running_loop())["_scheduled"]
    return sum(not timer.cancelled() for timer in timers)


ROLES: Final[Mapping[str, Callable[[Work], Coroutine[None, None, Round]]]] = {
    "futures": hold_futures,
    "snapshots": hold_snapshots,
    "waits": hold_waits,
    "polls": count_cpu,
}


def main() -> None:
    """Measure what the arguments name, once."""
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=ROLES)
    parser.add_argument("--core", type=int, required=True)
    parser.add_argument("--beat", type=float, required=True)
    options = parser.parse_args()
    os.sched_setaffinity(0, {options.core})
    logging.disable()
    told = json.loads(sys.stdin.readline())
    work = Work(told["base_url"], told["ids"], options.beat)
    if options.role != "polls":
        tracemalloc.start()
    print(json.dumps(asyncio.run(ROLES[options.role](work))), flush=True)


if __name__ == "__main__":
    main()
