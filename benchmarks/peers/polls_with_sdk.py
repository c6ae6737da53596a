"""Waiting with the SDK under test, as its README shows it: over a socket to the simulator, both on a virtual clock."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

import attrs

from benchmarks.polled import Oddity
from benchmarks.simulated import API_KEY
from closebulk_async import BulkEmail, CloseBulk, JobRef
from closebulk_async.models import Kind
from closebulk_async.simulator import Plan, Simulator, faults
from closebulk_async.testing import FakeClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from benchmarks.paper import PaperJob
    from benchmarks.polled import Wait

_FAULTS = {Oddity.UNAVAILABLE: faults.server_error(503), Oddity.NEW_WORD: faults.altered(status="reindexing")}


@attrs.frozen
class SimulatedStage:
    """The stage of this SDK: what the simulator was asked is what its client sent."""

    clock: FakeClock
    sim: Simulator
    close: CloseBulk

    @property
    def reads(self) -> int:
        """All requests that read, pages of the list included."""
        return sum(request.method == "GET" for request in self.sim.requests)

    @property
    def writes(self) -> int:
        """All others: the jobs here are started without a request."""
        return len(self.sim.requests) - self.reads

    def now(self) -> float:
        """The clock's time."""
        return self.clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Return after so many seconds of the clock."""
        await self.clock.sleep(seconds)

    async def begin(self, job: PaperJob, oddity: Oddity | None = None) -> Wait:
        """Let the job begin now; all awaiters have a wait of their own, of one client."""
        if oddity:
            self.sim.fail_next(_FAULTS[oddity], skip=1)
        ref = self.show(job)

        def wait() -> Coroutine[object, object, object]:
            return self.close.wait_until_done(ref).result()

        return wait

    def show(self, job: PaperJob) -> JobRef[BulkEmail]:
        """The job on paper as one that begins now in the simulator; its counts are known from the first moment on."""
        plan = Plan(
            duration=job.duration,
            n_objects=job.n_objects,
            counting=0,
            curve=lambda share: job.look(share * job.duration)[0] / job.n_objects,
        )
        return JobRef(Kind.EMAIL, self.sim.add_job("email", plan=plan).id)


@contextlib.asynccontextmanager
async def open_stage() -> AsyncIterator[SimulatedStage]:
    """A stage on which this SDK waits by its default policy."""
    clock = FakeClock()
    async with (
        Simulator(api_key=API_KEY, clock=clock, keep_requests=sys.maxsize) as sim,
        CloseBulk(API_KEY, base_url=sim.base_url, clock=clock) as close,
    ):
        yield SimulatedStage(clock, sim, close)
