"""What tests of recovering have in common: a service, a journal in a file, and clients on it that may crash."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import attrs

from closebulk_async import AmbiguousStartError, BulkEmail, CloseBulk, JobRef, PollPolicy
from closebulk_async.models import Kind
from closebulk_async.simulator import Simulator, faults
from closebulk_async.sqlite_journal import SqliteJournal
from closebulk_async.testing import FakeClock
from closebulk_async.testing.chaos.stepping import SteppingJournal
from tests.peers import connect

if TYPE_CHECKING:
    from collections.abc import Callable

    from closebulk_async.intents import Intent
    from closebulk_async.recovering import Recovered
    from closebulk_async.simulator.jobs import Job

ACTED = faults.cut_after()
"""The job is started, and the answer is lost."""
NOT_ACTED = faults.cut_before()
"""Nothing is started, and the client cannot tell that from `ACTED`."""
LATE = faults.delay(3, acts_first=True)
"""The job is started at once, and the answer comes after three seconds."""
KEY = "campaign"


@attrs.define(eq=False)
class Office:
    """Clients of one service that share a journal. Time begins at 0.0 and passes by itself."""

    path: Path
    clock: FakeClock = attrs.field(factory=FakeClock)
    sim: Simulator = attrs.field(init=False)
    _stack: AsyncExitStack = attrs.field(factory=AsyncExitStack, init=False)

    async def __aenter__(self) -> Self:
        self.sim = await self._stack.enter_async_context(Simulator(clock=self.clock))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def client(self, **options: Any) -> CloseBulk:
        """Another client; it stands for a process of its own."""
        close = connect(
            self.sim, self.clock, **{"journal": self.path, "poll": PollPolicy(floor=1, ceiling=1), **options}
        )
        self._stack.push_async_callback(close.aclose)
        return await close.__aenter__()

    async def telling(self, tell: Callable[[str], None], **options: Any) -> CloseBulk:
        """Another client, whose journal says each step."""
        journal = SteppingJournal(SqliteJournal(self.path, clock=self.clock), tell)
        self._stack.push_async_callback(journal.aclose)
        return await self.client(journal=journal, **options)

    async def crash(self, close: CloseBulk) -> None:
        """End the process of a client: it does not leave the journal, only its lock is free then."""
        await close.journal.aclose()
        await close.aclose()

    @property
    def posts(self) -> int:
        """How many POSTs have arrived."""
        return sum(request.method == "POST" for request in self.sim.requests)

    @property
    def refs(self) -> list[JobRef[BulkEmail]]:
        """Those of all jobs."""
        return [ref_of(job) for job in self.sim.jobs]


def ref_of(job: Job) -> JobRef[BulkEmail]:
    """The ref of a bulk email."""
    return JobRef(Kind.EMAIL, job.id)


async def start(
    close: CloseBulk,
    key: str | None = KEY,
    *,
    template: str = "tmpl_1",
    **options: Any,
) -> BulkEmail:
    """Start a bulk email; those of one template are equal."""
    query = {"type": "id", "value": "lead_1"}
    return await close.emails.create(
        template_id=template, email_account_id="emailacct_1", s_query=query, idempotency_key=key, **options
    )


async def start_in_doubt(close: CloseBulk, key: str | None = KEY, **options: Any) -> Intent:
    """The intent of a start whose answer is lost, and that looks for nothing; the test has scripted the fault."""
    try:
        await start(close, key, on_ambiguous="raise", **options)
    except AmbiguousStartError as exc:
        return exc.intent
    raise AssertionError("the answer was not lost")


async def recover(close: CloseBulk) -> list[Recovered]:
    """All that `recover` yields."""
    return [each async for each in close.recover()]
