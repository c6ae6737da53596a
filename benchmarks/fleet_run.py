"""One fleet of running actions, followed by one client on one key, in virtual time.

`python -m benchmarks.fleet_run --concurrent 1000 [--foreign 1] [--order oldest] [--no-pages]` prints a line of JSON.
The client is the package's own, over a real socket; the service is its simulator, whose list holds what ran before and
keeps what has ended.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import math
import random
import time
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, get_args

import attrs

from benchmarks.paper import SHORTEST, Model, draw_jobs
from closebulk_async import BulkEmail, CloseBulk, JobRef
from closebulk_async.models import Kind
from closebulk_async.simulator import Limits, Plan, Simulator
from closebulk_async.simulator.listing import ListOrder
from closebulk_async.testing import FakeClock
from closebulk_async.testing.fake_clock import START

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.harness import Round
    from closebulk_async.simulator import Request

LONGEST: Final = 4019.0
"""Seconds; log-uniform durations from 5 s to this have a mean of 600 s."""

MEAN: Final = (LONGEST - SHORTEST) / math.log(LONGEST / SHORTEST)
_MODEL: Final = Model(longest=LONGEST)
RATE: Final = 20.0
"""Requests per second that the service allows one key for reading actions of one kind."""

TAIL: Final = 120.0
"""Seconds after what is measured, for those that are known late. What is not known then counts as known then."""


@attrs.frozen(kw_only=True)
class Case:
    """So many running actions on average, and for each of them so many of somebody else's in the same list.

    They begin at random (Poisson), all of one kind. `order` is that of the list. A service without `shows_pages`
    refuses every list of more than one row, so that each action has to be read alone. Durations in seconds.
    """

    concurrent: int
    foreign: int = 0
    order: ListOrder = "newest"
    shows_pages: bool = True
    warm_up: float = 600.0
    measured: float = 900.0
    seed: int = 1

    @property
    def ends_at(self) -> float:
        """Until when ends are measured."""
        return self.warm_up + self.measured


@attrs.frozen
class Arrival:
    """An action that begins at `at` (seconds, negative before the client began). Number and seed make its course."""

    at: float
    seed: int
    is_foreign: bool

    @property
    def ends_at(self) -> float:
        """When it is done."""
        # The first thing that a job draws is its duration: most of the past need not be worked out further.
        luck = random.Random(self.seed)  # noqa: S311 - jobs that are the same in every run
        return self.at + math.exp(luck.uniform(math.log(SHORTEST), math.log(LONGEST)))

    def plan(self) -> Plan:
        """How it goes."""
        (job,) = draw_jobs(1, seed=self.seed, model=_MODEL)
        counted = Plan(duration=job.duration).counted_after

        def find_share(share: float) -> float:
            processed, _ = job.look(counted + share * (job.duration - counted))
            return processed / job.n_objects

        return Plan(duration=job.duration, n_objects=job.n_objects, curve=find_share)


def arrive(case: Case) -> Iterator[Arrival]:
    """All arrivals, in their order, from so long ago that what began before has ended."""
    chance = random.Random(case.seed)  # noqa: S311 - as above
    rate = case.concurrent * (1 + case.foreign) / MEAN
    at, number = -LONGEST, 0
    while (at := at + chance.expovariate(rate)) < case.ends_at + TAIL:
        number += 1
        yield Arrival(at, case.seed * 10**9 + number, is_foreign=chance.randrange(1 + case.foreign) > 0)


@attrs.frozen
class Known:
    """An action of ours that has ended, and when its waiter knew."""

    began: float
    ended: float
    known: float


class Fleet:
    """The actions of one case, and what became known of them."""

    def __init__(self, case: Case, clock: FakeClock, sim: Simulator, close: CloseBulk) -> None:
        self.known: list[Known] = []
        self._case = case
        self._clock = clock
        self._sim = sim
        self._close = close
        self._arrivals = arrive(case)
        self._followed: dict[JobRef[BulkEmail], tuple[Arrival, asyncio.Task[None]]] = {}

    async def run(self) -> None:
        """Let everything happen, from the first wait to the end of the tail."""
        case, coming = self._case, self._put_past()
        gc.freeze()  # a past of 100,000 jobs stays as it is: looking for garbage in it would be most of the work
        while coming is not None:
            await self._clock.sleep(coming.at - self._clock.monotonic())
            self._begin(coming)
            coming = next(self._arrivals, None)
        await self._clock.sleep(case.ends_at + TAIL - self._clock.monotonic())
        for ref, (arrival, task) in list(self._followed.items()):
            task.cancel()
            self._note(ref, arrival)

    def _put_past(self) -> Arrival | None:
        """Begin what began before the client; gives what begins first after it."""
        for arrival in self._arrivals:
            if arrival.at >= 0:
                return arrival
            if arrival.ends_at > 0:
                self._begin(arrival)
            else:
                self._sim.add_job("email", plan=Plan(duration=arrival.ends_at - arrival.at), age=-arrival.at)
        return None

    def _begin(self, arrival: Arrival) -> None:
        job = self._sim.add_job("email", plan=arrival.plan(), age=self._clock.monotonic() - arrival.at)
        if not arrival.is_foreign:
            ref: JobRef[BulkEmail] = JobRef(Kind.EMAIL, job.id)
            self._followed[ref] = arrival, asyncio.create_task(self._follow(ref, arrival))

    async def _follow(self, ref: JobRef[BulkEmail], arrival: Arrival) -> None:
        await self._close.wait_until_done(ref).result()
        self._note(ref, arrival)

    def _note(self, ref: JobRef[BulkEmail], arrival: Arrival) -> None:
        del self._followed[ref]
        self.known.append(Known(arrival.at, arrival.ends_at, self._clock.monotonic()))


async def measure(case: Case) -> Round:
    """Run one case, and give its figures. Raises what a wait raises."""
    clock = FakeClock()
    # Every request is kept: the server is the one to ask how many there were.
    sim = Simulator(clock=clock, limits=Limits(rate=RATE), list_order=case.order, keep_requests=10**6)
    sim.max_limit = 100 if case.shows_pages else 1
    began = time.process_time()
    async with sim, CloseBulk(sim.api_key, base_url=sim.base_url, clock=clock) as close:
        fleet = Fleet(case, clock, sim, close)
        await fleet.run()
    return {
        **count_requests(case, sim.requests),
        **judge(case, fleet.known),
        "cpu_seconds": time.process_time() - began,
    }


def count_requests(case: Case, requests: Sequence[Request]) -> Round:
    """What arrived at the server while it was measured; refusals are those of the whole run."""
    begins, ends = (START + timedelta(seconds=at) for at in (case.warm_up, case.ends_at))
    measured = [request for request in requests if begins <= request.at < ends]
    pages = sum(request.path.endswith("/bulk_action/email/") for request in measured)
    return {
        "requests_per_second": len(measured) / case.measured,
        "pages_per_second": pages / case.measured,
        "refused": sum(request.status == HTTPStatus.TOO_MANY_REQUESTS for request in requests),
    }


def find_quantile(values: Sequence[float], share: float) -> float:
    """The value that this share of them does not exceed; 0.0 of none."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)] if values else 0.0


def judge(case: Case, known: Sequence[Known]) -> Round:
    """How late the ends became known that lie in the time that is measured.

    `fresh` are those of actions that began in it as well, and so are short ones more often than not.
    """
    ended = [one for one in known if case.warm_up <= one.ended < case.ends_at]
    late = [one.known - one.ended for one in ended]
    fresh = [one.known - one.ended for one in ended if one.began >= case.warm_up]
    running = sum(
        min(one.ended, case.ends_at) - max(one.began, case.warm_up)
        for one in known
        if one.ended > case.warm_up and one.began < case.ends_at
    )
    return {
        "ended": len(ended),
        "running": running / case.measured,
        **{f"late_p{share}": find_quantile(late, share / 100) for share in (50, 95, 99)},
        "late_max": max(late, default=0.0),
        **{f"fresh_p{share}": find_quantile(fresh, share / 100) for share in (50, 95)},
    }


def main() -> None:
    """Run the case that the arguments name."""
    parser = argparse.ArgumentParser(description="Follow a fleet of running actions in virtual time.")
    parser.add_argument("--concurrent", type=int, required=True, help="how many of ours run on average")
    parser.add_argument("--foreign", type=int, default=0, help="how many others in the same list for each of them")
    parser.add_argument("--order", choices=get_args(ListOrder), default="newest")
    parser.add_argument("--no-pages", dest="shows_pages", action="store_false", help="refuse lists of several rows")
    parser.add_argument("--warm-up", type=float, default=600.0, metavar="SECONDS")
    parser.add_argument("--measured", type=float, default=900.0, metavar="SECONDS")
    parser.add_argument("--seed", type=int, default=1)
    case = Case(**vars(parser.parse_args()))
    logging.disable()  # a client logs each change
    print(json.dumps(asyncio.run(measure(case))))


if __name__ == "__main__":
    main()
