"""The benchmark of waiting counts what it says, and what it says of other pollers is still so."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks.peers import polls_with_sdk
from benchmarks.polled import Oddity, PaperStage, Word
from benchmarks.polling import CONTESTANTS, choose_jobs, contest, follow, leave, meet, render
from benchmarks.virtual_loop import VirtualLoop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.polled import HandOver, Wait

pytestmark = pytest.mark.unmeasured

ROOT = Path(__file__).parent.parent
JOBS = choose_jobs(3)
BEAT = 10.0


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    """Runs coroutines in virtual time, and cancels in the end what they left."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        yield runner


async def beat(stage: PaperStage, *, trusting: bool = False) -> None:
    """A poller of a fixed beat; a trusting one takes whatever is not `running` for the end."""
    while (word := stage.read()) is not Word.ENDED:
        if word is None:
            raise ConnectionError
        if trusting and word is Word.NEW:
            return
        await asyncio.sleep(BEAT)


async def careful(stage: PaperStage) -> Wait:
    """Each awaiter polls for itself."""
    return lambda: beat(stage)


async def trusting(stage: PaperStage) -> Wait:
    """The same, and believes a word that it does not know."""
    return lambda: beat(stage, trusting=True)


async def detached(stage: PaperStage) -> Wait:
    """The poller is a task that nobody ends, and asks for a change of the job when its consumer leaves."""
    poller = asyncio.ensure_future(beat(stage))

    async def wait() -> None:
        try:
            await asyncio.shield(poller)
        except asyncio.CancelledError:
            stage.writes += 1
            raise

    return wait


def test_time_passes_at_once_and_exactly(runner: asyncio.Runner) -> None:
    """Timers ring in order at their own instants, a day among them."""
    rang: list[float] = []

    async def ring(seconds: float) -> None:
        await asyncio.sleep(seconds)
        rang.append(asyncio.get_running_loop().time())

    async def ring_all() -> None:
        await asyncio.gather(ring(86_400), ring(0.1), ring(3), ring(0))

    runner.run(ring_all())
    assert rang == [0.0, pytest.approx(0.1), pytest.approx(3.0), pytest.approx(86_400.0)]


def test_another_thread_can_wake_a_loop_that_has_no_timer(runner: asyncio.Runner) -> None:
    """Its answer arrives, and no time has passed."""

    async def ask_a_thread() -> float:
        assert await asyncio.to_thread(sum, (1, 2)) == 3
        return asyncio.get_running_loop().time()

    assert runner.run(ask_a_thread()) == 0.0


def test_reads_and_lateness_are_those_of_the_jobs(runner: asyncio.Runner) -> None:
    """A fixed beat reads once at the begin and once a beat, and is late by what is left of the last one."""
    found = runner.run(follow(PaperStage(careful), JOBS))
    beats = [math.ceil(job.duration / BEAT) for job in JOBS]
    late = [n * BEAT - job.duration for n, job in zip(beats, JOBS, strict=True)]
    assert found["requests"] == pytest.approx(sum(n + 1 for n in beats) / len(JOBS))
    assert found["late_mean"] == pytest.approx(sum(late) / len(JOBS))
    assert found["late_max"] == pytest.approx(max(late))
    middle, worst = sorted(late)[1:]
    assert found["late_p95"] == pytest.approx(middle + 0.9 * (worst - middle))


def test_each_awaiter_that_polls_for_itself_is_counted(runner: asyncio.Runner) -> None:
    """Three of them take three times the reads; a wait that starts its own job has no such figure."""
    assert runner.run(contest(PaperStage(careful), JOBS))["awaiters"] == pytest.approx(3.0)
    assert "awaiters" not in runner.run(contest(PaperStage(careful), JOBS, starts_to_wait=True))


@pytest.mark.parametrize(
    ("hand_over", "oddity", "raised", "early"),
    [
        (careful, Oddity.UNAVAILABLE, 1.0, False),
        (careful, Oddity.NEW_WORD, 0.0, False),
        (trusting, Oddity.NEW_WORD, 0.0, True),
    ],
)
def test_what_becomes_of_a_wait_that_meets_something_odd(
    runner: asyncio.Runner, hand_over: HandOver, oddity: Oddity, raised: float, *, early: bool
) -> None:
    """The second read meets it: the wait raises, ends early by all that was left then, or goes on to the end."""
    job = max(JOBS, key=lambda job: job.duration)
    found = runner.run(meet(PaperStage(hand_over), job, oddity))
    assert found == {"raised": raised, "early": pytest.approx(job.duration - BEAT) if early else 0.0}


def test_what_goes_on_after_the_consumer_has_left_is_counted(runner: asyncio.Runner) -> None:
    """A poller that nobody ends: its task, its reads of two minutes and its request; nothing of one that ends."""
    job = max(JOBS, key=lambda job: job.duration)
    assert runner.run(leave(PaperStage(detached), job)) == {"tasks": 1, "reads": 12, "writes": 1}
    assert runner.run(leave(PaperStage(careful), job)) == {"tasks": 0, "reads": 0, "writes": 0}


async def test_the_simulator_runs_the_job_on_paper() -> None:
    """At each instant it shows the counter of the paper, and the end at its end."""
    async with polls_with_sdk.open_stage() as stage:
        for job in JOBS:
            began, ref = stage.now(), stage.show(job)
            for share in (0.0, 0.2, 0.5, 0.9, 0.999, 1.0):
                await stage.sleep(max(0.0, began + share * job.duration - stage.now()))
                action = await stage.close.emails.get(ref)
                # The simulator's dates are read to the microsecond, in which a counter may step.
                seen = {job.look(stage.now() - began + off) for off in (-1e-5, 0.0, 1e-5)}
                assert (action.n_objects_processed, action.is_final) in seen
                assert action.n_objects == job.n_objects


@pytest.mark.parametrize("oddity", Oddity)
async def test_the_wait_of_this_sdk_meets_the_oddity_too(oddity: Oddity) -> None:
    """The second request of the job has the fault, and no other one."""
    async with polls_with_sdk.open_stage() as stage:
        await meet(stage, JOBS[0], oddity)
        met = [request.fault for request in stage.sim.requests]
        assert met[1]
        assert not any(met[:1] + met[2:])


def test_what_the_table_says_of_each_poller(tmp_path: Path) -> None:
    """Ours asks no more for three awaiters, is stopped by nothing and leaves nothing; each peer fails in one."""
    command = [sys.executable, "-m", "benchmarks", "waits", "--quick", "--only", "polling", "--output", str(tmp_path)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    (found,) = json.loads((tmp_path / "waits.json").read_text(encoding="utf-8"))["counts"]["polling"]
    fates = [f"{oddity.value}.{fate}" for oddity, fate in itertools.product(Oddity, ("raised", "early"))]
    left = [f"left.{what}" for what in ("tasks", "reads", "writes")]
    assert not any(found[f"sdk.{figure}"] for figure in [*fates, *left])
    assert found["sdk.awaiters"] == 1.0
    assert found["azure.awaiters"] == 3.0
    assert found["azure.late_mean"] > 5
    assert found["google.503.raised"]
    assert found["openai.status.early"] > 60
    assert found["openai.requests"] > 5 * found["sdk.requests"]
    assert found["aiosalesforce.status.early"] > 60
    assert found["aiosalesforce.left.tasks"] == 1
    assert found["aiosalesforce.left.reads"] == 24
    assert render(found) in (tmp_path / "waits.md").read_text(encoding="utf-8")
    assert render(found).count("**") == 2 * 3
    assert all(contestant.title in render(found) for contestant in CONTESTANTS.values())
