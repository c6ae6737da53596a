"""The benchmark of the cadence: what it counts, and what it says of it."""

from __future__ import annotations

import pytest

from benchmarks.cadence import POLICIES, is_met, measure, render, steps_of, summarize
from benchmarks.harness import QUICK
from benchmarks.paper import MODELS, PaperJob, Watched, draw_jobs, watch_job
from closebulk_async.policy import PollPolicy

pytestmark = pytest.mark.unmeasured


def test_a_job_on_paper_ends_when_its_time_has_come() -> None:
    """It counts in batches between its begin and its end, has counted all a little earlier, and only then is done."""
    times = [10.0, *(10.0 + 1.5 * number for number in range(1, 61))]
    job = PaperJob(102.0, 65, 10, times, [number / 60 for number in range(61)])
    seen = [job.look(at) for at in (0, 10, 55, 99, 100, 101.9, 102, 500)]
    assert seen == [*((count, False) for count in (0, 0, 30, 60, 65, 65)), (65, True), (65, True)]
    watched = watch_job(job, steps_of(PollPolicy.fixed(5), job))
    assert watched == Watched(requests=22, lateness=3.0, duration=102.0)
    assert watched.is_in_time


def test_the_same_seed_draws_the_same_jobs() -> None:
    """And another seed others, in every model."""
    for model in MODELS.values():
        jobs = draw_jobs(3, seed=1, model=model)
        assert jobs == draw_jobs(3, seed=1, model=model)
        assert jobs != draw_jobs(3, seed=2, model=model)
        assert all(5 <= job.duration <= 7200 and 20 <= job.n_objects <= 20_000 for job in jobs)


def test_a_row_sums_up_how_jobs_were_watched() -> None:
    """Means of requests, quantiles of lateness, and a share in time: within 5 seconds or a tenth of the duration."""
    row = summarize([Watched(10, 1.0, 5.0), Watched(20, 6.0, 50.0), Watched(60, 90.0, 1000.0)])
    assert row["requests"] == 30
    assert (row["p50"], row["worst"]) == (6.0, 90.0)
    assert row["p95"] == pytest.approx(81.6)
    assert row["in_time"] == pytest.approx(2 / 3)


@pytest.mark.parametrize("figure", ["requests", "p50", "p95", "p99", "p99_9", "in_time"])
def test_a_bound_that_is_broken_is_shown(figure: str) -> None:
    """Each bound by itself; the lateness at a quantile counts for plain jobs only."""
    kept = {"requests": 38.0, "p50": 1.1, "p95": 2.0, "p99": 6.0, "p99_9": 40.0, "worst": 500.0, "in_time": 0.95}
    assert is_met(kept, "plain")
    broken = kept | {figure: 0.94 if figure == "in_time" else 111.0}
    assert not is_met(broken, "plain")
    assert is_met(broken, "noisy") is (figure not in {"requests", "in_time"})


def test_a_quick_run_has_a_row_for_every_policy_and_model() -> None:
    """In the order of the models, with the verdict on the default policy only."""
    (counts,) = measure(QUICK)
    rows = [line for line in render(counts).splitlines() if line.startswith(tuple(f"| {model} |" for model in MODELS))]
    assert len(rows) == len(POLICIES) * len(MODELS)
    assert [row.endswith(("| yes |", "| **no** |")) for row in rows] == [False, False, True] * len(MODELS)
    assert counts["fixed.plain.requests"] > 5 * counts["adaptive.plain.requests"]
