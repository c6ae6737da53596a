"""`python -m tests.fleet.figures`: what a fleet costs and how quickly it takes over, measured on this machine.

The exit code is 1 where a target is missed. Figures that are compared are of one run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

from closebulk_async import CloseBulk, PollPolicy
from closebulk_async.integrations.fleet_setup import prepare
from closebulk_async.integrations.procrastinate import Fleet
from closebulk_async.models import JobRef, Kind
from closebulk_async.simulator import Limits, Plan, Simulator
from tests.fleet.chaos import POLL, Workers, make_fleet
from tests.fleet.postgres import PostgresServer, find_binaries
from tests.stage import KEYWORDS, QUERY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from closebulk_async import Wait

WRITES = """SELECT xact_commit, tup_inserted, tup_updated, tup_deleted,
    pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint AS wal
    FROM pg_stat_database WHERE datname = current_database()"""


@asynccontextmanager
async def scene(server: PostgresServer, *, workers: int, sim: Simulator) -> AsyncIterator[tuple[Fleet, Workers, str]]:
    """A database, workers and a fleet that asks."""
    database = server.conninfo(server.create_database())
    await prepare(database)
    place = ["--base-url", sim.base_url, "--key", sim.api_key, "--database", database]
    crew = Workers(place)
    try:
        for _ in range(workers):
            crew.add()
        options = argparse.Namespace(base_url=sim.base_url, key=sim.api_key, database=database)
        async with make_fleet(options) as fleet:
            while len((await fleet.status())["workers"]) < 2 * workers:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.1)
            yield fleet, crew, database
    finally:
        crew.close()


async def measure_starts(server: PostgresServer, *, times: int) -> dict[str, float]:
    """A start through a worker, beside one with a journal in a file; by turns, in seconds."""
    keywords = {"s_query": QUERY, **KEYWORDS[Kind.EMAIL]}
    lasted: dict[str, list[float]] = {"local": [], "fleet": []}
    with tempfile.TemporaryDirectory() as folder:
        async with (
            Simulator(plan=Plan(duration=0.1)) as sim,
            CloseBulk(sim.api_key, base_url=sim.base_url, journal=Path(folder, "journal.db")) as close,
            scene(server, workers=1, sim=sim) as (fleet, _, _),
        ):
            for number in range(times + 5):
                more: dict[str, Any] = {**keywords, "results_limit": 1 + number}
                began = time.perf_counter()
                await close.emails.create(**more, idempotency_key=f"local {number}")
                between = time.perf_counter()
                await fleet.start("email", **{**more, "results_limit": 10_000 + number}, idempotency_key=f"{number}")
                if number >= 5:
                    lasted["local"].append(between - began)
                    lasted["fleet"].append(time.perf_counter() - between)
    medians = {name: statistics.median(seconds) for name, seconds in lasted.items()}
    return {**medians, "above": medians["fleet"] - medians["local"]}


async def measure_take_over(server: PostgresServer, *, kills: int, actions: int) -> dict[str, float]:
    """From the kill of the worker that polls, to the moment by which another one has polled every action."""
    lasted = []
    async with Simulator() as sim, scene(server, workers=2, sim=sim) as (fleet, crew, database):
        for _ in range(actions):
            ref: JobRef[Any] = JobRef(Kind.EMAIL, sim.add_job("email", plan=Plan(duration=10_000)).id)
            wait = fleet.wait_until_done(ref)
            await anext(wait)
            await wait.aclose()
        for _ in range(kills):
            await asyncio.sleep(3)
            began, victims = time.time(), list(crew.processes)
            # Whoever polls is one of the two: both go, and one comes.
            for victim in victims:
                crew.kill(victim)
            crew.add()
            crew.add()
            while await _behind(database, began):  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.1)
            lasted.append(time.time() - began)
    return {"median": statistics.median(lasted), "longest": max(lasted)}


async def _behind(database: str, since: float) -> int:
    async with await psycopg.AsyncConnection.connect(database) as connection:
        asked = await connection.execute("SELECT count(*) FROM closebulk.actions WHERE polled_at < %s", [since])
        row = await asked.fetchone()
    return 0 if row is None else int(row[0])


async def measure_cost(server: PostgresServer, *, actions: int, seconds: float) -> dict[str, float]:
    """What one worker writes, for each action and hour; the cadence is the default one."""
    async with Simulator(keep_requests=10**6) as sim:
        database = server.conninfo(server.create_database())
        await prepare(database)

        def make_client(account: str, **wiring: Any) -> CloseBulk:
            return CloseBulk(sim.api_key, base_url=sim.base_url, poll=PollPolicy(), **wiring)

        async with Fleet(database, make_client) as fleet:
            idle = await _written(database, fleet, sim, seconds=seconds)
            for _ in range(actions):
                ref: JobRef[Any] = JobRef(Kind.EMAIL, sim.add_job("email", plan=Plan(duration=600)).id)
                asyncio.get_running_loop().create_task(_touch(fleet, ref))
            await asyncio.sleep(1)
            busy = await _written(database, fleet, sim, seconds=seconds)
    hour = 3600 / seconds
    return {
        **{f"idle {name} an hour": round(value * hour) for name, value in idle.items()},
        **{f"{name} an action and hour": round((busy[name] - idle[name]) * hour / actions, 1) for name in busy},
    }


async def _touch(fleet: Fleet, ref: JobRef[Any]) -> None:
    wait = fleet.wait_until_done(ref)
    await anext(wait)
    await wait.aclose()


async def _written(database: str, fleet: Fleet, sim: Simulator, *, seconds: float) -> dict[str, float]:
    working = asyncio.create_task(fleet.work())
    await asyncio.sleep(5)
    before, asked = await _count(database), len(sim.requests)
    await asyncio.sleep(seconds)
    after, asked = await _count(database), len(sim.requests) - asked
    fleet.stop()
    await working
    return {**{name: after[name] - before[name] for name in after}, "requests": float(asked)}


async def _count(database: str) -> dict[str, float]:
    await asyncio.sleep(1.1)  # statistics come late, by a second
    async with await psycopg.AsyncConnection.connect(database, row_factory=psycopg.rows.dict_row) as connection:
        row = await (await connection.execute(WRITES)).fetchone()
    assert row is not None
    return {name: float(value) for name, value in row.items()}


RATE, WINDOW = 20, 8
"""Requests a second that the service allows in each group, in windows that do not forgive."""


async def measure_budget(server: PostgresServer, *, actions: int) -> dict[str, Any]:
    """Three workers and two who wait for all, beside one process that waits: refusals, and how late an end is known."""
    found: dict[str, Any] = {}
    limits = Limits(rate=RATE, window=WINDOW)
    async with Simulator(limits=limits, keep_requests=10**6) as sim:
        ends = _add_jobs(sim, actions)
        async with CloseBulk(sim.api_key, base_url=sim.base_url, poll=POLL) as close:
            late = await asyncio.gather(*(_wait_late(close.wait_until_done(ref), end) for ref, end in ends.items()))
        found["one process"] = _judge_budget(sim, late)
    async with Simulator(limits=limits, keep_requests=10**6) as sim, scene(server, workers=3, sim=sim) as parts:
        fleet, _, database = parts
        options = argparse.Namespace(base_url=sim.base_url, key=sim.api_key, database=database)
        async with make_fleet(options) as other:
            ends = _add_jobs(sim, actions)
            waits = [(each.wait_until_done(ref), end) for each in (fleet, other) for ref, end in ends.items()]
            late = await asyncio.gather(*(_wait_late(wait, end) for wait, end in waits))
        found["fleet"] = _judge_budget(sim, late)
    return found


def _add_jobs(sim: Simulator, number: int) -> dict[JobRef[Any], float]:
    """Jobs that end one after the other, and when."""
    began = time.time()
    ends: dict[JobRef[Any], float] = {}
    for n in range(number):
        seconds = 15 + 60 * n / number
        job = sim.add_job("email", plan=Plan(duration=seconds, n_objects=1000))
        ends[JobRef(Kind.EMAIL, job.id)] = began + seconds
    return ends


async def _wait_late(wait: Wait[Any], end: float) -> float:
    await wait
    return time.time() - end


def _judge_budget(sim: Simulator, late: list[float]) -> dict[str, float]:
    asked = [request for request in sim.requests if request.method == "GET"]
    seconds = (asked[-1].at - asked[0].at).total_seconds()
    return {
        "refused": sum(request.status == HTTPStatus.TOO_MANY_REQUESTS for request in asked),
        "requests a second": round(len(asked) / seconds, 2),
        "late by, median": round(statistics.median(late), 2),
        "late by, 95 %": round(statistics.quantiles(late, n=20)[-1], 2),
    }


ABOVE = 0.025
"""Seconds that a start through the fleet may take longer than a local one with a journal."""

TAKE_OVER = 15.0
"""Seconds from a kill to the moment by which others have polled every action."""

LATER = 1.5
"""How many times later than one process a fleet may know of 95 % of the ends."""


def find_misses(found: dict[str, dict[str, Any]]) -> list[str]:
    """The targets that were missed, of what was measured."""
    misses = []
    if "starts" in found and found["starts"]["above"] > ABOVE:
        misses.append(f"a start takes more than {ABOVE} s longer")
    if "take-over" in found and found["take-over"]["longest"] > TAKE_OVER:
        misses.append(f"a take-over takes more than {TAKE_OVER} s")
    if "budget" in found:
        fleet, alone = found["budget"]["fleet"], found["budget"]["one process"]
        if fleet["refused"]:
            misses.append("requests were refused")
        if fleet["late by, 95 %"] > LATER * alone["late by, 95 %"]:
            misses.append(f"95 % of the ends are known more than {LATER} times as late as by one process")
    return misses


def main() -> int:
    """Measure all of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.fleet.figures", description=__doc__)
    parser.add_argument("--only", choices=["starts", "take-over", "cost", "budget"], help="measure this alone")
    options = parser.parse_args()
    binaries = find_binaries()
    if binaries is None:
        parser.error("there is no PostgreSQL on this machine")
    server = PostgresServer(binaries)
    found: dict[str, dict[str, Any]] = {}
    try:
        server.start()
        if options.only in {None, "starts"}:
            found["starts"] = asyncio.run(measure_starts(server, times=100))
        if options.only in {None, "take-over"}:
            found["take-over"] = asyncio.run(measure_take_over(server, kills=10, actions=30))
        if options.only in {None, "cost"}:
            found["cost"] = asyncio.run(measure_cost(server, actions=100, seconds=60))
        if options.only in {None, "budget"}:
            found["budget"] = asyncio.run(measure_budget(server, actions=1000))
    finally:
        server.remove()
    found["missed"] = {"targets": find_misses(found)}
    sys.stdout.write(f"{json.dumps(found, indent=1)}\n")
    return bool(found["missed"]["targets"])


if __name__ == "__main__":
    sys.exit(main())
