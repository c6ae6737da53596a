"""A fleet with one worker in the process of the test, and a service that lives by the machine's clock.

The engine knows no other time. So jobs take tenths of seconds here, and what is tested is what comes of them.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from closebulk_async import CloseBulk, JobRef, PollPolicy
from closebulk_async.integrations.procrastinate import Fleet
from closebulk_async.models import Kind
from closebulk_async.simulator import Plan, Simulator
from tests.stage import KEYWORDS, QUERY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

QUICK = PollPolicy(floor=0.05, ceiling=0.5, beat=0.0, settle=2.0)


@attrs.frozen(kw_only=True)
class FleetStage:
    """Where a test plays: a service and a database."""

    sim: Simulator
    database: str

    def client(self, account: str, **wiring: Any) -> CloseBulk:  # noqa: ARG002 - as a fleet calls it
        """As a fleet wants its clients made. One organization is enough for most tests, by whatever name."""
        return CloseBulk(self.sim.api_key, base_url=self.sim.base_url, poll=QUICK, **wiring)

    @asynccontextmanager
    async def fleet(self) -> AsyncIterator[Fleet]:
        """A fleet that is open, without a worker."""
        async with Fleet(self.database, self.client, poll=QUICK) as fleet:
            yield fleet

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[Fleet]:
        """A fleet of its own that works as long as the block lasts."""
        async with self.fleet() as fleet:
            working = asyncio.create_task(fleet.work())
            try:
                yield fleet
            finally:
                fleet.stop()
                await working

    def job(self, **plan: Any) -> JobRef[Any]:
        """A bulk email that somebody else has started."""
        return JobRef(Kind.EMAIL, self.sim.add_job("email", plan=Plan(**plan)).id)

    @property
    def posts(self) -> int:
        """How many POSTs have arrived that start something."""
        return sum(request.method == "POST" and "/bulk_action/" in request.path for request in self.sim.requests)

    @property
    def reads(self) -> int:
        """How many requests for actions have arrived."""
        return sum(request.method == "GET" and "/bulk_action/" in request.path for request in self.sim.requests)


async def start(fleet: Fleet, kind: Kind = Kind.EMAIL, **keywords: Any) -> Any:  # noqa: ANN401 - an action of that kind
    """Start one of that kind through a fleet."""
    return await fleet.start(kind, **{"s_query": QUERY, **KEYWORDS[kind], **keywords})


@pytest.fixture
async def fleet_stage(fleet_database: str) -> AsyncIterator[FleetStage]:
    """A service whose jobs take a third of a second, and an empty database of a fleet."""
    async with AsyncExitStack() as stack:
        sim = await stack.enter_async_context(Simulator())
        sim.plan = Plan(duration=0.3)
        yield FleetStage(sim=sim, database=fleet_database)
