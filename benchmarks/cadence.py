"""The cadence of polls: requests per job and lateness of three policies, over jobs on paper."""

from __future__ import annotations

import multiprocessing
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
    from collections.abc import Callable, Iterator, Mapping, Sequence

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
STRESSED_JOBS: Final = 400
"""With each seed in the others."""
LATENESS: Final = ("p50", "p95", "p99", "p99_9")
TARGETS: Final = {"requests": 38.0, "p50": 1.1, "p95": 2.0, "p99": 6.0, "p99_9": 40.0}
"""Of the adaptive policy in the plain model: at most so many requests and seconds."""
STRESSED_REQUESTS: Final = 110.0
IN_TIME: Final = 0.95
"""Of the adaptive policy in every model: at most so many requests, at least this share of the jobs known in time."""

_NOW: Final = datetime(2026, 1, 15, tzinfo=UTC)
_SNAPSHOT: Final = BulkEmail.example(status="processing")


def steps_of(policy: PollPolicy, job: PaperJob, *, is_counted: bool = True) -> Callable[[float, int], float]:
    """The policy as `watch_job` asks it: over the package's own meter. Not counted: `n_objects` is null throughout."""
    meter: Meter[Any] | None = None
    snapshot = attrs.evolve(_SNAPSHOT, n_objects=job.n_objects if is_counted else None, n_objects_processed=0)

    def delay(at: float, counter: int) -> float:
        nonlocal meter, snapshot
        if counter != snapshot.n_objects_processed:
            snapshot = attrs.evolve(snapshot, n_objects_processed=counter)
        meter = observe(meter, snapshot, at=at, now=_NOW)
        return policy.delay(meter)

    return delay


def measure(effort: Effort) -> Iterator[Round]:
    """Give one round of `<policy>.<model>.<column>`: requests are means per job, `in_time` is a share."""
    scale = min(1.0, effort.starts / FULL.starts)
    counts: Round = {}
    spawn = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
    with ProcessPoolExecutor(mp_context=spawn) as pool:
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
    """Give the row of a table: requests per job, lateness in seconds, the share of the jobs that were known in time."""
    lateness = [one.lateness for one in watched]
    cuts = statistics.quantiles(lateness, n=1000, method="inclusive")
    late = {name: cuts[per_mille - 1] for name, per_mille in zip(LATENESS, (500, 950, 990, 999), strict=True)}
    in_time = statistics.mean(one.is_in_time for one in watched)
    requests = statistics.mean(one.requests for one in watched)
    return {"requests": requests, **late, "worst": max(lateness), "in_time": in_time}


def render(counts: Round) -> str:
    """Give a round of `measure` as a table."""
    rows = "\n".join(_render(counts, policy, model) for model in MODELS for policy in POLICIES)
    bounds = ", ".join(
        f"{bound:g} s at {name[1:].replace('_', '.')} %" for name, bound in TARGETS.items() if name in LATENESS
    )
    return f"""\
| jobs | polls | requests per job | late: 50 % | 95 % | 99 % | 99.9 % | worst | in time | met |
|---|---|---|---|---|---|---|---|---|---|
{rows}

*In time* is the share of the jobs that were known to have ended within 5 s or a tenth of their duration, whichever is
longer. Targets of this SDK's default: for plain jobs at most {TARGETS["requests"]:g} requests, and late by at most
{bounds}; for all others at most {STRESSED_REQUESTS:g} requests, and {IN_TIME:.0%} of the jobs in time.
"""


def _render(counts: Round, policy: str, model: str) -> str:
    row = {name: counts[f"{policy}.{model}.{name}"] for name in ("requests", *LATENESS, "worst", "in_time")}
    late = (f"{row[name]:.1f} s" for name in (*LATENESS, "worst"))
    met = ("yes" if is_met(row, model) else "**no**") if policy == "adaptive" else ""
    cells = [model, POLICIES[policy][0], f"{row['requests']:.1f}", *late, f"{row['in_time']:.1%}", met]
    return f"| {' | '.join(cells)} |"


def is_met(row: Mapping[str, float], model: str) -> bool:
    """Say whether a row of the adaptive policy keeps what was promised of it."""
    bounds = TARGETS if model == PLAIN else {"requests": STRESSED_REQUESTS}
    return row["in_time"] >= IN_TIME and all(row[name] <= bound for name, bound in bounds.items())
