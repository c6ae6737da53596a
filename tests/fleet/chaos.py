"""`python -m tests.fleet.chaos`: a fleet whose workers are killed and stopped at random, and whose database restarts.

Three workers run starts of all kinds that one process asks for and waits for. Each start has a key, and whoever gets an
error asks again with it, as a user would. The exit code is 1 where one job is there twice, is lost, or is not known to
have ended a minute after the last disturbance.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

import attrs

from closebulk_async import CloseBulk, PollPolicy, StartPolicy
from closebulk_async.errors import CloseBulkError
from closebulk_async.integrations.fleet_setup import prepare
from closebulk_async.integrations.procrastinate import Fleet
from closebulk_async.models import BULK_KINDS, JobRef
from closebulk_async.simulator import Plan, Request, Simulator, faults
from tests.fleet.postgres import PostgresServer, find_binaries
from tests.stage import KEYWORDS, QUERY

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

N_WORKERS = 3
AT_ONCE = 12
"""Starts that are asked for and waited for at the same time."""
POST_SECONDS = 0.2
"""What the answer to a POST takes, so that some kills come between."""
JOB_SECONDS = 3.0
STUCK_AFTER = 60.0
"""Seconds after the last disturbance."""
LONGEST_STOP = 12.0
"""Seconds. A worker counts as dead after six, and its start as silent after twenty."""
POLL = PollPolicy(floor=0.5, ceiling=5.0)


def make_fleet(options: argparse.Namespace, *, lease: float = StartPolicy().lease) -> Fleet:
    """The same for each process of a run."""

    def make_client(account: str, **wiring: Any) -> CloseBulk:
        policy = StartPolicy(lease=lease)
        return CloseBulk(options.key, base_url=options.base_url, poll=POLL, start=policy, **wiring)

    return Fleet(options.database, make_client, poll=POLL)


async def work(options: argparse.Namespace) -> None:
    """Be a worker until it is told to end."""
    async with make_fleet(options, lease=options.lease) as fleet:
        await fleet.work(handles_signals=True)


class Workers:
    """Processes, of which the dead are replaced."""

    def __init__(self, options: Sequence[str]) -> None:
        self._command = [sys.executable, "-m", "tests.fleet.chaos", "--role", "worker", *options]
        self._stack = ExitStack()
        self.processes: list[subprocess.Popen[bytes]] = []

    def add(self) -> subprocess.Popen[bytes]:
        """One more."""
        process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        self._stack.callback(self._end, process)
        self.processes.append(process)
        return process

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """Without notice."""
        process.kill()
        process.wait()
        self.processes.remove(process)

    def close(self) -> None:
        """End all."""
        self._stack.close()

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()


@attrs.define
class Run:
    """What has come of the starts so far."""

    numbers: dict[int, JobRef[Any]] = attrs.field(factory=dict)
    ended: set[int] = attrs.field(factory=set)
    errors: Counter[str] = attrs.field(factory=Counter)
    kills: int = 0
    stops: int = 0


def keywords_of(number: int) -> dict[str, Any]:
    """Those of a start that differs from all others in what responses show: how many leads it may act on."""
    kind = BULK_KINDS[number % len(BULK_KINDS)]
    return {"s_query": QUERY, **KEYWORDS[kind], "results_limit": 1000 + number}


async def start_and_wait(fleet: Fleet, number: int, run: Run) -> None:
    """Ask until there is an answer, and wait until there is an end."""
    kind = BULK_KINDS[number % len(BULK_KINDS)]
    while number not in run.ended:
        try:
            action = await fleet.start(kind, idempotency_key=f"start {number}", **keywords_of(number))
            if run.numbers.setdefault(number, action.ref) != action.ref:
                run.errors["another action"] += 1
            done = await fleet.wait_until_done(action)
            run.ended.add(number)
            if not done.is_done:
                run.errors["not done"] += 1
        except CloseBulkError as exc:
            run.errors[type(exc).__name__] += 1
            await asyncio.sleep(0.5)


async def disturb(
    workers: Workers, server: PostgresServer, run: Run, *, disturbances: int, pause: float, longest_stop: float
) -> None:
    """Kill or stop a worker, at random moments; in the middle of it, restart the database."""
    stopped: set[asyncio.Task[None]] = set()
    loop = asyncio.get_running_loop()
    for number in range(disturbances):
        await asyncio.sleep(random.uniform(0.3, 1.7) * pause)
        if number == disturbances // 2:
            await asyncio.to_thread(server.restart, at_once=random.random() < 0.5)  # half of them as by a crash
        victim = random.choice(workers.processes)
        if number % 3 == 2:
            run.stops += 1
            stopped.add(loop.create_task(stop_for(victim, random.uniform(1.0, longest_stop))))
        else:
            run.kills += 1
            workers.kill(victim)
            await asyncio.sleep(random.uniform(0, 1.5))
            workers.add()
    await asyncio.gather(*stopped)


async def stop_for(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Let it stand still for a while."""
    process.send_signal(signal.SIGSTOP)
    await asyncio.sleep(seconds)
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGCONT)


async def run_chaos(
    server: PostgresServer, *, starts: int, disturbances: int, pause: float, longest_stop: float = LONGEST_STOP
) -> dict[str, Any]:
    """One run, and its figures."""
    database = server.conninfo(server.create_database())
    await prepare(database)
    run, began = Run(), time.monotonic()
    async with Simulator(plan=Plan(duration=JOB_SECONDS, n_objects=10), keep_requests=10**6) as sim:
        sim.fail_next(faults.delay(POST_SECONDS, acts_first=True), method="POST", times=None)
        place = ["--base-url", sim.base_url, "--key", sim.api_key, "--database", database]
        workers = Workers(place)
        try:
            for _ in range(N_WORKERS):
                workers.add()
            options = argparse.Namespace(base_url=sim.base_url, key=sim.api_key, database=database)
            async with make_fleet(options) as fleet:
                disturbing = disturb(
                    workers, server, run, disturbances=disturbances, pause=pause, longest_stop=longest_stop
                )
                await ask_all(fleet, run, disturbing, starts=starts)
        finally:
            workers.close()
        return {**judge(run, sim, starts=starts), "seconds": round(time.monotonic() - began, 1)}


async def ask_all(fleet: Fleet, run: Run, disturbing: Coroutine[Any, Any, None], *, starts: int) -> None:
    """Ask for all starts while the workers are disturbed, and for as long afterwards as nothing may be stuck."""
    places = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> None:
        async with places:
            await start_and_wait(fleet, number, run)

    tasks = [asyncio.create_task(one(number)) for number in range(starts)]
    try:
        await disturbing
        # A start that has not had its turn yet is not stuck: the minute begins when the last one is under way.
        while len(run.ended) < starts - AT_ONCE:  # noqa: ASYNC110 - a program, which has time
            await asyncio.sleep(0.1)
        await asyncio.wait(tasks, timeout=STUCK_AFTER)
    finally:
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome


def judge(run: Run, sim: Simulator, *, starts: int) -> dict[str, Any]:
    """How many jobs there are of each start."""
    jobs = Counter(job.request["results_limit"] for job in sim.jobs)
    there = [jobs[1000 + number] for number in range(starts)]
    return {
        "starts": starts,
        "kills": run.kills,
        "stops": run.stops,
        "second": sum(max(0, count - 1) for count in there),
        "lost": sum(count == 0 for count in there),
        "stuck": starts - len(run.ended),
        "errors": dict(run.errors),
        "requests": dict(Counter(describe(request) for request in sim.requests)),
    }


def describe(request: Request) -> str:
    """What kind of request it is."""
    if request.method == "POST":
        return "starts"
    if "/bulk_action/" not in request.path:
        return "others"
    return "pages" if request.path.rstrip("/").count("/") <= request.path.count("bulk_action/") + 3 else "items"


def is_well(figures: dict[str, Any]) -> bool:
    """Whether nothing is there twice, lost, stuck or wrong."""
    wrong = [figures[name] for name in ("second", "lost", "stuck")]
    return not any([*wrong, *(figures["errors"].get(name) for name in ("another action", "not done"))])


def main() -> int:
    """Run it against a PostgreSQL of its own, or be one of its processes."""
    parser = argparse.ArgumentParser(prog="python -m tests.fleet.chaos", description=__doc__)
    parser.add_argument("--starts", type=int, default=300, help="(default: %(default)s)")
    parser.add_argument("--disturbances", type=int, default=18, help="two thirds kills (default: %(default)s)")
    parser.add_argument("--pause", type=float, default=4.0, help="seconds between two (default: %(default)s)")
    parser.add_argument("--longest-stop", type=float, default=25.0, help="seconds (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=5, help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    parser.add_argument("--lease", type=float, default=StartPolicy().lease, help=argparse.SUPPRESS)
    for name in ("--role", "--base-url", "--key", "--database"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role:
        asyncio.run(work(options))
        return 0
    binaries = find_binaries()
    if binaries is None:
        parser.error("there is no PostgreSQL on this machine")
    server, are_well = PostgresServer(binaries), True
    try:
        server.start()
        for number in range(options.runs):
            random.seed(options.seed + number)
            chosen = {name: vars(options)[name] for name in ("starts", "disturbances", "pause", "longest_stop")}
            figures = asyncio.run(run_chaos(server, **chosen))
            sys.stdout.write(f"{json.dumps(figures)}\n")
            sys.stdout.flush()
            are_well = are_well and is_well(figures)
    finally:
        server.remove()
    return 0 if are_well else 1


if __name__ == "__main__":
    os.environ.setdefault("PYTHONWARNINGS", "default")
    sys.exit(main())
