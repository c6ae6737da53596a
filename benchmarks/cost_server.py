"""The server of the benchmarks of cost: the simulator, in its own process, with jobs that outlast them.

`python -m benchmarks.cost_server --core N --jobs 10000 [--no-pages]` answers each order with a line of JSON: where the
API is, the ids of its jobs, and how many requests have come so far.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from typing import Final

from closebulk_async.simulator import Limits, Plan, Simulator

API_KEY: Final = "api_bench"

# More than any of these benchmarks asks for, and shown: a client that is told of no limit feels its way.
_LIMITS: Final = Limits(rate=1000)

# Every poll finds that the counter has moved, which is what makes a client work most.
_PLAN: Final = Plan(duration=86_400.0, n_objects=10**9, counting=0.0)


def main() -> None:
    """Serve until the input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--core", type=int, required=True)
    parser.add_argument("--jobs", type=int, required=True)
    parser.add_argument("--no-pages", action="store_true", help="refuse lists of more than one row")
    options = parser.parse_args()
    os.sched_setaffinity(0, {options.core})
    asyncio.run(_serve(options.jobs, max_limit=1 if options.no_pages else 100))


async def _serve(jobs: int, *, max_limit: int) -> None:
    sim = Simulator(api_key=API_KEY, limits=_LIMITS, max_limit=max_limit, keep_requests=10**6)
    ids = [sim.add_job("email", plan=_PLAN).id for _ in range(jobs)]
    async with sim:
        while (await asyncio.to_thread(sys.stdin.readline)).strip():
            told = {"base_url": sim.base_url, "ids": ids, "requests": len(sim.requests)}
            print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
