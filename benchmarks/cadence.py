"""The cadence of polls: requests per job and lateness of three policies, over jobs on paper."""

from __future__ import annotations

import statistics
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import attrs

from benchmarks.harness import FULL
from benchmarks.paper import MODELS, Watched, draw_jobs, watch_job
from closebulk_async.models import BulkEmail
from closebulk_async.policy import PollPolicy
from closebulk_async.progress import Meter, observe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from benchmarks.harness import Effort, Round
    from benchmarks.paper import PaperJob

POLICIES: Final = {
    "fixed": ("every 2 s", PollPolicy.fixed(2)),
    "exponential": ("1 s, growing by 1.5 to 30 s", PollPolicy.exponential()),
    "adaptive": ("this SDK's default", PollPolicy()),
}
SEEDS: Final = (1, 2, 3, 4, 5)
PLAIN: Final = "plain"
JOBS: Final = 4000
"""With each seed in the plain model."""
STRESSED_JOBS: Final = 800
"""With each seed in the others."""
COLUMNS: Final = ("requests", "p50", "p95", "p99", "p99_9", "worst", "in_time")

_NOW: Final = datetime(2026, 1, 15, tzinfo=UTC)
_SNAPSHOT: Final = BulkEmail.example(status="processing")


def steps_of(policy: PollPolicy, job: PaperJob, *, is_counted: bool = True) -> Callable[[float, int], float]:
    """The policy as `watch_job` asks it: over the package's own meter. Not counted: `n_objects` is null throughout."""
    meter: Meter[Any] | None = None
    snapshot = attrs.evolve(_SNAPSHOT, n_objects=job.n_objects if is_counted else None)

    def delay(at: float, counter: int) -> float:
        nonlocal meter
        meter = observe(meter, attrs.evolve(snapshot, n_objects_processed=counter), at=at, now=_NOW)
        return policy.delay(meter)

    return delay


def measure(effort: Effort) -> Iterator[Round]:
    """Give one round of `<policy>.<model>.<column>`: requests are means per job, `in_time` is a share."""
    scale = min(1.0, effort.starts / FULL.starts)
    counts: Round = {}
    with ProcessPoolExecutor() as pool:
        tasks = {
            (policy, model): [pool.submit(_watch, policy, model, seed, scale) for seed in SEEDS]
            for policy in POLICIES
            for model in MODELS
        }
        for (policy, model), futures in tasks.items():
            row = summarize([watched for future in futures for watched in future.result()])
            counts |= {f"{policy}.{model}.{column}": value for column, value in row.items()}
    yield counts


def _watch(policy: str, model: str, seed: int, scale: float) -> list[Watched]:
    number = max(10, round((JOBS if model == PLAIN else STRESSED_JOBS) * scale))
    jobs = draw_jobs(number, seed=seed, model=MODELS[model])
    return [watch_job(job, steps_of(POLICIES[policy][1], job)) for job in jobs]


def summarize(watched: Sequence[Watched]) -> dict[str, float]:
    """Give the row of a table, by `COLUMNS`."""
    lateness = sorted(one.lateness for one in watched)
    cuts = statistics.quantiles(lateness, n=1000, method="inclusive")
    return {
        "requests": statistics.mean(one.requests for one in watched),
        "p50": cuts[499],
        "p95": cuts[949],
        "p99": cuts[989],
        "p99_9": cuts[998],
        "worst": lateness[-1],
        "in_time": statistics.mean(one.is_in_time for one in watched),
    }
