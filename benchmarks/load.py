"""One client under load, in its own process: no other client's modules, garbage or threads cost it anything.

`python -m benchmarks.load CLIENT OPERATION URL --core N` reads orders from its input, each a line with a concurrency
and a number of seconds, and answers each with a line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib
import json
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Final

import attrs

from benchmarks.corpus import OPERATIONS, Operation

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    Run = Callable[[int, float], dict[str, float]]

THREADED: Final = frozenset({"with_closeio"})
"""The clients whose calls block: they get a thread where the others get a task."""


@attrs.define
class Meter:
    """Counts requests until its time is over, and what this process paid for them."""

    seconds: float
    requests: int = 0
    _wall: float = attrs.field(factory=time.perf_counter)
    _cpu: float = attrs.field(factory=time.process_time)

    def is_running(self) -> bool:
        """Say whether there is time for another request."""
        return time.perf_counter() - self._wall < self.seconds

    def read(self) -> dict[str, float]:
        """Give microseconds of CPU (user and system, all threads) for each request, and requests per second."""
        cpu, wall = time.process_time() - self._cpu, time.perf_counter() - self._wall
        return {"cpu_us": cpu / self.requests * 1e6, "per_second": self.requests / wall}


async def run_tasks(call: Callable[[], Awaitable[object]], *, concurrency: int, seconds: float) -> dict[str, float]:
    """Keep `concurrency` requests in flight, one a task, until the time is over."""
    meter = Meter(seconds)

    async def repeat() -> None:
        while meter.is_running():
            await call()
            meter.requests += 1

    await asyncio.gather(*(repeat() for _ in range(concurrency)))
    return meter.read()


def run_threads(calls: list[Callable[[], object]], *, seconds: float) -> dict[str, float]:
    """Keep one request in flight in a thread for each of the calls until the time is over."""
    counts = [0] * len(calls)
    meter = Meter(seconds)

    def repeat(number: int) -> None:
        while meter.is_running():
            calls[number]()
            counts[number] += 1

    threads = [threading.Thread(target=repeat, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    meter.requests = sum(counts)
    return meter.read()


def check_rows(answer: object, operation: Operation) -> None:
    """Raise RuntimeError unless the answer (dicts or models) has all rows: an error page would be fast to read."""
    rows = answer["data"] if isinstance(answer, dict) and "data" in answer else getattr(answer, "data", [answer])
    if len(rows) != operation.rows:
        message = f"{operation.path} brought {len(rows)} rows and not {operation.rows}"
        raise RuntimeError(message)


@contextlib.contextmanager
def open_async(client: str, base_url: str, operation: Operation) -> Iterator[Run]:
    """Open a client with `async def` calls; its connections live from one order to the next."""
    connection = importlib.import_module(f"benchmarks.peers.{client}").connect(base_url, operation)
    with asyncio.Runner() as runner:
        call = runner.run(connection.__aenter__())
        check_rows(runner.run(call()), operation)
        yield lambda concurrency, seconds: runner.run(run_tasks(call, concurrency=concurrency, seconds=seconds))
        runner.run(connection.__aexit__(None, None, None))


@contextlib.contextmanager
def open_threaded(client: str, base_url: str, operation: Operation) -> Iterator[Run]:
    """Open a blocking client.

    Each thread has one of its own: a shared one drops connections above ten and would look worse than it must.
    """
    connect = importlib.import_module(f"benchmarks.peers.{client}").connect
    calls: list[Callable[[], object]] = []

    def run(concurrency: int, seconds: float) -> dict[str, float]:
        calls.extend(connect(base_url, operation) for _ in range(concurrency - len(calls)))
        return run_threads(calls[:concurrency], seconds=seconds)

    check_rows(connect(base_url, operation)(), operation)
    yield run


def main() -> None:
    """Serve orders until the input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("client")
    parser.add_argument("operation", choices=OPERATIONS)
    parser.add_argument("base_url")
    parser.add_argument("--core", type=int, required=True)
    options = parser.parse_args()
    os.sched_setaffinity(0, {options.core})
    opened = open_threaded if options.client in THREADED else open_async
    with opened(options.client, options.base_url, OPERATIONS[options.operation]) as run:
        for order in sys.stdin:
            concurrency, seconds = order.split()
            print(json.dumps(run(int(concurrency), float(seconds))), flush=True)


if __name__ == "__main__":
    main()
