"""`python -m tests.fleet.sharing`: processes that share the budget of one key, by PostgreSQL or Redis, in real time.

Three workers poll a thousand actions, page by page, as often as they may; two clients read actions besides, and one of
them starts others. The service allows 20 requests a second, and its windows do not forgive. The exit code is 1 where
any request was refused, or less than four fifths of the budget was used.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
from redis.asyncio import Redis

from closebulk_async import BulkEmail, CloseBulk, JobRef, PollPolicy
from closebulk_async.integrations.postgres import migrate
from closebulk_async.integrations.postgres_limiter import PostgresLimiter, hash_key
from closebulk_async.integrations.redis import RedisLimiter
from closebulk_async.models import Kind
from closebulk_async.simulator import Limits, Plan, Simulator
from tests.fleet.postgres import PostgresServer, find_binaries
from tests.fleet.redis_server import RedisServer
from tests.stage import create

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from closebulk_async.limiter import Limiter
    from closebulk_async.simulator import Request

RATE, WINDOW = 20.0, 8
N_ACTIONS, N_WORKERS, N_CLIENTS = 1000, 3, 2
POLLED_EVERY = 0.2
"""Seconds: each worker finds ten pages of a hundred actions due so often, and would send 50 requests a second."""
READERS = 4
"""Reads that each client keeps under way."""
STOPPED_SECONDS = 10.0
"""Longer than a window: what the process holds is given up meanwhile."""
AT_LEAST = 0.8


async def work(close: CloseBulk, refs: Sequence[JobRef[BulkEmail]]) -> None:
    """Wait for all of them, none of which ends."""
    await asyncio.gather(*(close.wait_until_done(ref).result() for ref in refs))


async def read(close: CloseBulk, refs: Sequence[JobRef[BulkEmail]], *, starts: bool) -> None:
    """Read them again and again; the one that starts says how long each start took."""

    async def reread() -> None:
        while True:
            for ref in refs:
                await close.get(ref)

    async def start() -> None:
        for number in range(10**6):
            began = time.monotonic()
            await create(close, Kind.EMAIL, template_id=f"tmpl_{number}")
            sys.stdout.write(f"{time.monotonic() - began}\n")
            sys.stdout.flush()
            await asyncio.sleep(2)

    await asyncio.gather(*(reread() for _ in range(READERS)), *([start()] if starts else []))


@asynccontextmanager
async def open_limiter(options: argparse.Namespace) -> AsyncIterator[Limiter]:
    """The one of this process."""
    key_hash = hash_key(options.key, base_url=options.base_url)
    if options.database.startswith("redis:"):
        async with Redis.from_url(options.database) as redis, RedisLimiter(redis, key_hash=key_hash) as far:
            yield far
    else:
        async with PostgresLimiter(options.database, key_hash=key_hash) as shared:
            yield shared


async def run_role(options: argparse.Namespace) -> None:
    """Be one of the processes, until it is killed."""
    refs: list[JobRef[BulkEmail]] = [JobRef(Kind.EMAIL, text) for text in json.loads(sys.stdin.readline())]
    async with (
        open_limiter(options) as limiter,
        CloseBulk(
            options.key,
            base_url=options.base_url,
            limiter=limiter,
            poll=PollPolicy(floor=POLLED_EVERY, ceiling=POLLED_EVERY, beat=0),
            user_agent=options.role,
        ) as close,
    ):
        await (work(close, refs) if options.role == "worker" else read(close, refs, starts=options.starts))


@contextmanager
def process(role: str, options: Sequence[str], refs: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    """One of them, killed at the end."""
    command = [sys.executable, "-m", "tests.fleet.sharing", "--role", role, *options]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as child:
        try:
            if child.stdin is None:
                raise RuntimeError(role)
            child.stdin.write(f"{json.dumps(refs)}\n")
            child.stdin.flush()
            yield child
        finally:
            child.kill()


def judge(requests: Sequence[Request], *, begins: datetime, seconds: float) -> dict[str, Any]:
    """What the service saw of reads within that time; refusals are those of the whole run, of starts as well."""
    ends = begins + timedelta(seconds=seconds)
    reads = [request for request in requests if request.method == "GET" and begins <= request.at < ends]
    by_role = {role: sum(_who(one) == role for one in reads) for role in ("worker", "client")}
    return {
        "requests": len(reads),
        "refused": sum(request.status == 429 for request in requests),
        "used": len(reads) / (RATE * seconds),
        **by_role,
    }


def _who(request: Request) -> str:
    return request.headers.get("user-agent", "").split(" ")[0]


def _count_writes(conninfo: str) -> dict[str, int]:
    if conninfo.startswith("redis:"):
        return {}
    with psycopg.connect(conninfo) as connection:
        row = connection.execute(
            """SELECT (SELECT n_tup_ins + n_tup_upd FROM pg_stat_user_tables WHERE relname = 'budgets'),
            xact_commit FROM pg_stat_database WHERE datname = current_database()"""
        ).fetchone()
    return dict(zip(("writes", "statements"), row or (0, 0), strict=True))


async def run(conninfo: str, *, seconds: float, kills: bool) -> dict[str, Any]:
    """Let them all run, and give the figures of so many seconds."""
    if not conninfo.startswith("redis:"):
        await migrate(conninfo)
    limits = Limits(rate=RATE, window=WINDOW)
    async with AsyncExitStack() as outer:
        sim = await outer.enter_async_context(Simulator(limits=limits, keep_requests=10**6))
        ids = [sim.add_job("email", plan=Plan(duration=10**6)).id for _ in range(N_ACTIONS)]
        options = ["--base-url", sim.base_url, "--key", sim.api_key, "--database", conninfo]
        stack = outer.enter_context(ExitStack())
        shares = [ids[number::N_WORKERS] for number in range(N_WORKERS)]
        workers = [stack.enter_context(process("worker", options, share)) for share in shares]
        starts = [["--starts"], *([[]] * (N_CLIENTS - 1))]
        clients = [stack.enter_context(process("client", [*options, *more], ids[:50])) for more in starts]
        while len(sim.requests) < 2 * WINDOW * RATE:  # until all are there and the limit is known
            await asyncio.sleep(0.1)
            if any(child.poll() is not None for child in (*workers, *clients)):
                raise RuntimeError("one of the processes has ended")
        begins, before = datetime.now(UTC), _count_writes(conninfo)
        if kills:
            await asyncio.sleep(seconds / 4)
            workers[0].kill()
            stack.enter_context(process("worker", options, shares[0]))
            await asyncio.sleep(seconds / 4)
            os.kill(workers[1].pid, signal.SIGSTOP)
            await asyncio.sleep(STOPPED_SECONDS)
            os.kill(workers[1].pid, signal.SIGCONT)
        await asyncio.sleep(seconds - (datetime.now(UTC) - begins).total_seconds())
        after = _count_writes(conninfo)
        figures = judge(sim.requests, begins=begins, seconds=seconds)
        figures |= {f"{name}_per_request": (after[name] - before[name]) / figures["requests"] for name in after}
        clients[0].kill()
        lasted = [float(line) for line in clients[0].stdout or ()]
        return figures | {"starts": len(lasted), "slowest_start": max(lasted, default=0.0)}


@contextmanager
def serve_postgres() -> Iterator[str]:
    """One of its own, and how to connect to it."""
    binaries = find_binaries()
    if binaries is None:
        raise SystemExit("there is no PostgreSQL on this machine")
    server = PostgresServer(binaries)
    try:
        server.start()
        yield server.conninfo()
    finally:
        server.remove()


@contextmanager
def serve_redis() -> Iterator[str]:
    """The same with Redis."""
    server = RedisServer()
    try:
        server.start()
        yield server.url
    finally:
        server.stop()


def main() -> int:
    """Run it against a server of its own, or be one of its processes."""
    parser = argparse.ArgumentParser(prog="python -m tests.fleet.sharing", description=__doc__)
    parser.add_argument("--seconds", type=float, default=48.0, help="measured (default: %(default)s)")
    parser.add_argument("--kills", action="store_true", help="kill one worker on the way, and stop another for a while")
    parser.add_argument("--redis", action="store_true", help="share by a Redis")
    for name in ("--role", "--base-url", "--key", "--database"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    parser.add_argument("--starts", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role:
        asyncio.run(run_role(options))
    with serve_redis() if options.redis else serve_postgres() as place:
        figures = asyncio.run(run(place, seconds=options.seconds, kills=options.kills))
    sys.stdout.write(f"{json.dumps(figures, indent=1)}\n")
    return 0 if figures["refused"] == 0 and figures["used"] >= AT_LEAST else 1


if __name__ == "__main__":
    sys.exit(main())
