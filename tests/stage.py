"""What tests of waits have in common: jobs in a simulator, and a look at what a wait leaves behind."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Unpack

import attrs
import pytest

from closebulk_async import BulkEmail, CloseBulk, JobRef, PollPolicy
from closebulk_async.models import Kind
from closebulk_async.simulator import Plan, Simulator, faults
from closebulk_async.telemetry import Event
from closebulk_async.testing import FakeClock
from closebulk_async.testing.fake_clock import START

if TYPE_CHECKING:
    from collections.abc import Mapping

    from closebulk_async import Progress, Wait
    from closebulk_async.simulator.plans import PlanChanges

E = TypeVar("E")

QUERY = {
    "type": "field_condition",
    "field": {"type": "regular_field", "object_type": "lead", "field_name": "name"},
    "condition": {"type": "text", "mode": "full_words", "value": "ACME"},
}
"""A query that excludes leads."""


KEYWORDS: Mapping[Kind, Mapping[str, Any]] = {
    Kind.EMAIL: {"template_id": "tmpl_1", "email_account_id": "emailacct_1", "contact_preference": "lead"},
    Kind.DELETE: {"bulk_object_type": "contact"},
    Kind.EDIT: {"type": "set_lead_status", "lead_status_id": "stat_1"},
    Kind.SEQUENCE_SUBSCRIPTION: {"action_type": "pause", "sequence_id": "seq_1"},
}
"""What a start of each kind needs beside its query."""


async def create(close: CloseBulk, kind: Kind, **keywords: Any) -> Any:  # noqa: ANN401 - an action of that kind
    """Start an action of that kind; those of the same keywords are equal."""
    endpoints: Mapping[Kind, Any] = {
        Kind.EMAIL: close.emails,
        Kind.DELETE: close.deletes,
        Kind.EDIT: close.edits,
        Kind.SEQUENCE_SUBSCRIPTION: close.sequence_subscriptions,
    }
    return await endpoints[kind].create(**{"s_query": QUERY, **KEYWORDS[kind], **keywords})


EVERY_SECOND = PollPolicy(floor=1, ceiling=1)
"""A cadence under which every poll, and so every outcome, has an instant that can be said beforehand."""


NO_LISTS = faults.altered(without=["data"])
"""Spoils pages and leaves single actions as they are, so that actions are polled one by one."""


async def follow(wait: Wait[BulkEmail], clock: FakeClock) -> list[tuple[float, Progress[BulkEmail]]]:
    """All that an iteration yields, each with the instant at which it came."""
    return [(clock.monotonic(), progress) async for progress in wait]


async def step(wait: Wait[BulkEmail]) -> Progress[BulkEmail]:
    """The next progress, as a coroutine that a task can run."""
    return await anext(wait)


async def cancel(task: asyncio.Task[object]) -> None:
    """Cancel a task and see it end so."""
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@attrs.frozen(kw_only=True)
class Read:
    """One GET of an action or of a page of its list, as it arrived; `skip` is a page's first row."""

    at: float
    how: Literal["item", "page"]
    skip: int = 0


@attrs.frozen
class Notes:
    """A hook that keeps what it is told."""

    events: list[Event] = attrs.field(factory=list)

    def __call__(self, event: Event) -> None:
        """Keep one."""
        self.events.append(event)

    def of(self, kind: type[E]) -> list[E]:
        """Those of one kind, in their order."""
        return [event for event in self.events if isinstance(event, kind)]


@attrs.frozen(kw_only=True)
class Stage:
    """Clock, simulator and client of one test. Time begins at 0.0."""

    clock: FakeClock
    sim: Simulator
    close: CloseBulk

    @property
    def now(self) -> float:
        """Seconds since the test began."""
        return self.clock.monotonic()

    def client(self, poll: PollPolicy = EVERY_SECOND, **options: Any) -> CloseBulk:
        """Another client of the same simulator, to be opened, that polls by this policy."""
        return CloseBulk(self.sim.api_key, base_url=self.sim.base_url, clock=self.clock, poll=poll, **options)

    def run_job(self, **plan: Unpack[PlanChanges]) -> JobRef[BulkEmail]:
        """A bulk email that somebody else starts at this instant, without a request."""
        return JobRef(Kind.EMAIL, self.sim.add_job("email", plan=Plan(**plan)).id)

    def run_other_job(self, kind: Kind, **plan: Unpack[PlanChanges]) -> JobRef[Any]:
        """As `run_job`, of another kind."""
        return JobRef(kind, self.sim.add_job(str(kind), plan=Plan(**plan)).id)  # type: ignore[arg-type]  # one of the four

    def show_job(self, **fields: object) -> JobRef[BulkEmail]:
        """A bulk email that stays as these response fields say."""
        return JobRef(Kind.EMAIL, self.sim.add_job("email", fields).id)

    def polls(self, ref: JobRef[Any] | None = None) -> list[float]:
        """The instants at which the server was asked for an action (that of `ref`), in seconds."""
        wanted = "" if ref is None else ref.id
        return [
            (request.at - START).total_seconds()
            for request in self.sim.requests
            if request.method == "GET" and wanted in request.path
        ]

    def reads(self, kind: Kind = Kind.EMAIL) -> list[Read]:
        """The requests for actions of that kind, in the order of their arrival."""
        asked = [request for request in self.sim.requests if request.method == "GET"]
        whole = f"/bulk_action/{kind}/"
        return [
            Read(
                at=(request.at - START).total_seconds(),
                how="page" if request.path.endswith(whole) else "item",
                skip=int(request.query.get("_skip", 0)),
            )
            for request in asked
            if whole in request.path
        ]

    @property
    def posts(self) -> int:
        """How many POSTs have arrived."""
        return sum(request.method == "POST" for request in self.sim.requests)

    async def nothing_is_left(self) -> bool:
        """No task, no alarm and no open request of this package, and no request comes in the next hour."""
        await self.clock.settle()
        left = [task for task in asyncio.all_tasks() if task.get_name().startswith("closebulk_async")]
        sleepers, asked = self.clock.sleepers, len(self.sim.requests)
        await self.clock.advance(3600)
        return not left and not sleepers and len(self.sim.requests) == asked

    def was_never_touched(self) -> bool:
        """The server was asked to read and nothing else."""
        return {request.method for request in self.sim.requests} <= {"GET"}
