"""Jobs on paper: their progress is a function of time, and a policy is driven over them without a network or a clock.

A job takes 5 seconds to 2 hours and has 20 to 20,000 objects, both spread evenly over the logarithm. It begins without
progress; then its rate is noisy, drifts and sometimes stalls; its counter moves in batches; at the end all objects are
counted and it is not done yet.
"""

from __future__ import annotations

import bisect
import math
import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SHORTEST: Final = 5.0
LONGEST: Final = 7200.0
STRETCHES: Final = 60
"""Of equal length, each with its own rate."""


@attrs.frozen(kw_only=True)
class Model:
    """What kind of jobs. The defaults are the plain ones."""

    noise: float = 0.5
    """Standard deviation of the logarithm of the rate."""
    stall: float = 0.03
    """Share of the stretches in which next to nothing happens."""
    drift: float = 0.5
    """Standard deviation of what the logarithm of the rate gains from begin to end."""
    longest: float = LONGEST
    queued: float | None = None
    """The longest wait before the first progress, as a share of the duration; None: ten seconds or a tenth."""
    steps: int | None = None
    """In how many steps the counter moves; None: in batches of at most 50."""
    at_the_end: float = 1.0
    """By what the rate is multiplied in the last tenth."""


@attrs.frozen
class PaperJob:
    """A job, and its share of counted objects at the ends of its stretches, straight between them."""

    duration: float
    n_objects: int
    batch: int
    times: Sequence[float]
    shares: Sequence[float]

    def look(self, at: float) -> tuple[int, bool]:
        """What a poll sees `at` seconds after the begin: the counter, and whether the job is done."""
        if at >= self.duration:
            return self.n_objects, True
        if at <= self.times[0]:
            return 0, False
        stretch = bisect.bisect_right(self.times, at) - 1
        if stretch >= STRETCHES:
            return self.n_objects, False
        since, until = self.times[stretch : stretch + 2]
        before, after = self.shares[stretch : stretch + 2]
        part = (at - since) / (until - since) if until > since else 1.0
        counted = int((before + (after - before) * part) * self.n_objects)
        return counted - counted % self.batch, False


def draw_jobs(number: int, *, seed: int, model: Model) -> list[PaperJob]:
    """So many jobs of the model, the same for the same seed."""
    luck = random.Random(seed)  # noqa: S311 - a reproducible workload
    return [_draw_job(luck, model) for _ in range(number)]


def _draw_job(luck: random.Random, model: Model) -> PaperJob:
    duration = math.exp(luck.uniform(math.log(SHORTEST), math.log(model.longest)))
    n_objects = max(1, round(math.exp(luck.uniform(math.log(20), math.log(20_000)))))
    batch = max(1, n_objects // model.steps if model.steps else min(luck.choice((1, 10, 50)), n_objects // 10))
    begin = luck.uniform(0, model.queued * duration if model.queued else min(10.0, 0.1 * duration))
    closing = luck.uniform(0, min(3.0, 0.05 * duration))
    rates = list(_draw_rates(luck, model))
    whole, active, done = sum(rates), duration - begin - closing, 0.0
    times, shares = [begin], [0.0]
    for number, rate in enumerate(rates, start=1):
        done += rate
        times.append(begin + active * number / STRETCHES)
        shares.append(done / whole)
    return PaperJob(duration, n_objects, batch, times, shares)


def _draw_rates(luck: random.Random, model: Model) -> Iterator[float]:
    trend, noise = luck.gauss(0, model.drift), luck.gauss(0, 1)
    for number in range(STRETCHES):
        noise = 0.9 * noise + math.sqrt(1 - 0.81) * luck.gauss(0, 1)
        rate = math.exp(model.noise * noise + trend * (number / STRETCHES - 0.5))
        rate *= 0.02 if luck.random() < model.stall else 1.0
        yield rate * (model.at_the_end if number >= 0.9 * STRETCHES else 1.0)


MODELS: Final[Mapping[str, Model]] = {
    "plain": Model(),
    "quiet": Model(noise=0.2, stall=0.0, drift=0.2),
    "noisy": Model(noise=1.0, stall=0.08, drift=1.0),
    "queued up to half of its life": Model(queued=0.5),
    "counter moves in 4 steps": Model(steps=4),
    "counter never moves before the end": Model(steps=1),
    "ten times faster at the end": Model(at_the_end=10.0),
    "ten times slower at the end": Model(at_the_end=0.1),
}


@attrs.frozen
class Watched:
    """How a job was watched: so many requests, the seconds between its end and the poll that saw it, its duration."""

    requests: int
    lateness: float
    duration: float

    @property
    def is_in_time(self) -> bool:
        """The end was known within 5 seconds or a tenth of the duration, whichever is longer."""
        return self.lateness <= max(5.0, 0.1 * self.duration)


def watch_job(job: PaperJob, delay: Callable[[float, int], float]) -> Watched:
    """Poll the job until it is done. `delay` takes the instant of a poll and the counter, and gives the next pause."""
    at, requests = 0.0, 1
    counter, is_done = job.look(at)
    while not is_done:
        at += delay(at, counter)
        requests += 1
        counter, is_done = job.look(at)
    return Watched(requests, at - job.duration, job.duration)
