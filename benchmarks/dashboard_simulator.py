"""What the dashboard of the benchmark looks at: the simulator, in its own process, with actions that run for an hour.

`python -m benchmarks.dashboard_simulator --jobs 1000` answers each order with a line of JSON: where the API is, how
many requests have come so far, and how many of them were answered with 429.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
from typing import Final

from closebulk_async.simulator import Limits, Plan, Simulator

API_KEY: Final = "api_bench"
_HOUR: Final = 3600.0

_LIMITS: Final = Limits(rate=20, burst=1)
"""Requests per second in each group of endpoints: what the service shows."""

_KINDS: Final = ("email", "delete", "edit", "sequence_subscription")


def main() -> None:
    """Serve until the input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, required=True)
    asyncio.run(_serve(parser.parse_args().jobs))


async def _serve(jobs: int) -> None:
    sim = Simulator(api_key=API_KEY, limits=_LIMITS, keep_requests=10**6)
    _add_jobs(sim, jobs)
    async with sim:
        while (await asyncio.to_thread(sys.stdin.readline)).strip():
            refused = sum(request.status == 429 for request in sim.requests)
            print(json.dumps({"base_url": sim.base_url, "requests": len(sim.requests), "refused": refused}), flush=True)


def _add_jobs(sim: Simulator, jobs: int) -> None:
    """Jobs of all kinds in turn, begun within the last half an hour, so that each is somewhere else in its course.

    Thousands of objects: a counter has moved whenever it is read, which is what makes a dashboard work most.
    """
    chance = random.Random(1)  # noqa: S311 - jobs that are the same in every run
    for number in range(jobs):
        plan = Plan(duration=_HOUR, n_objects=chance.randrange(5_000, 100_000))
        sim.add_job(_KINDS[number % len(_KINDS)], plan=plan, age=chance.uniform(0, _HOUR / 2))


if __name__ == "__main__":
    main()
