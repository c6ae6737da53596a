"""The account that the simulator has in this suite: some of everything, so that no assertion is without its object."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import attrs

from closebulk_async.simulator import Limits, Plan, Simulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from closebulk_async.simulator.server import KindName

STATUS_ID = "stat_of_the_suite"

_QUERY = {
    "type": "and",
    "queries": [
        {"type": "object_type", "object_type": "lead"},
        {
            "type": "field_condition",
            "field": {"type": "regular_field", "object_type": "lead", "field_name": "name"},
            "condition": {"type": "text", "mode": "full_words", "value": "Wayne"},
        },
    ],
}

_OF_A_KIND: dict[KindName, dict[str, object]] = {
    "email": {
        "template_id": "tmpl_1",
        "email_account_id": "emailacct_1",
        "sender": "ada@example.com",
        "contact_preference": "lead",
    },
    "edit": {"type": "set_lead_status", "lead_status_id": STATUS_ID},
    "delete": {"bulk_object_type": "lead"},
    "sequence_subscription": {"action_type": "pause", "sequence_id": "seq_1"},
}


def fill(simulator: Simulator) -> None:
    """Give it leads, four actions of each kind, exports and a webhook, and limits."""
    simulator.limits = Limits()
    simulator.add_leads(20, seed=1)
    for kind, fields in _OF_A_KIND.items():
        row = {**fields, "s_query": _QUERY}
        simulator.add_job(kind, row, plan=Plan(duration=60), age=7200)
        simulator.add_job(kind, row, plan=Plan(duration=60, ends="error"), age=5400)
        simulator.add_job(kind, row, plan=Plan(duration=86_400), age=3600).pause(simulator.clock.now())
        simulator.add_job(kind, row, plan=Plan(duration=86_400), age=1800)
        simulator.add_job(kind, row, plan=Plan(duration=86_400, counting=43_200), age=60)
    simulator.add_export("lead", age=3600)
    simulator.add_export("opportunity", {"format": "csv"}, age=1800)
    simulator.add_webhook("http://127.0.0.1:9/close")


@attrs.define
class PatientClock:
    """A clock for a simulator whose user is a real one: nothing goes on until an action was resumed, then all is over.

    So an action is not done before it was paused, however slow the machine, and nobody waits for its end.
    """

    simulator: Simulator | None = None
    began: datetime = attrs.field(factory=lambda: datetime.now(UTC))

    def now(self) -> datetime:
        """The time of day, in UTC."""
        requests = () if self.simulator is None else self.simulator.requests
        is_resumed = any(b"resuming" in request.body and request.status == OK for request in requests)
        return self.began + timedelta(days=is_resumed)

    async def sleep(self, seconds: float) -> None:  # noqa: ARG002 - however long it is, it does not pass by itself
        """For ever: all that sleeps by this clock are the deliveries of webhooks, and nobody waits for those."""
        await asyncio.Event().wait()


OK = 200


@asynccontextmanager
async def serve() -> AsyncIterator[Simulator]:
    """A simulator with that account, on that clock."""
    clock = PatientClock()
    async with Simulator(clock=clock) as simulator:
        clock.simulator = simulator
        fill(simulator)
        yield simulator
