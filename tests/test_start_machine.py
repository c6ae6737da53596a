"""Creates, faults, crashes, recoveries and two processes in any order: no job twice, and none that nobody knows."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import tempfile
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import orjson
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from closebulk_async import CloseBulkError, IdempotencyConflictError, PollPolicy, StartPolicy, Timeouts
from closebulk_async.simulator import Plan, Simulator, faults
from closebulk_async.sqlite_journal import SqliteJournal
from closebulk_async.testing import FakeClock
from closebulk_async.testing.chaos.stepping import SteppingJournal
from tests.peers import connect

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from closebulk_async.intents import Intent
    from closebulk_async.simulator.faults import Fault
    from closebulk_async.simulator.jobs import Job

pytestmark = [
    pytest.mark.unmeasured,
    pytest.mark.timeout(900),  # what fails is made as short as it can be, which takes minutes
]

FAULTS: dict[str, Fault] = {
    "cut before it acted": faults.cut_before(),
    "cut after it acted": faults.cut_after(),
    "503, and acted": faults.server_error(503, acts=True),
    "502": faults.server_error(502),
    "429": faults.too_many_requests(retry_after=3),
    "refused": faults.reply(400, '{"error": "no"}', content_type="application/json"),
    "no answer, and acted": faults.hang(acts=True),
    "no answer": faults.hang(),
    "half a body": faults.truncated_body(),
    "no id": faults.altered(without=["id"]),
}
STEPS = [
    f"{when} {step}"
    for step in ("begin", "swap to posting", "swap to started", "swap to new", "claimed", "get", "unfinished", "leave")
    for when in ("before", "after")
]
PROCESSES = ("A", "B")
BRISK: dict[str, Any] = {
    "poll": PollPolicy(settle=2),
    "start": StartPolicy(lease=1),
    "timeouts": Timeouts(total=3),
}
"""Virtual time costs real time where one waits for another: each look at the lock of a living one takes its moment."""


class Crash(BaseException):
    """Everything that runs in a process ends here."""


class Process:
    """A client, whose journal lets it do nothing any more from the step on at which it crashes."""

    def __init__(self, sim: Simulator, clock: FakeClock, path: Path) -> None:
        self.journal = SteppingJournal(SqliteJournal(path, clock=clock), self._crash_at)
        self.close = connect(sim, clock, journal=self.journal, **BRISK)
        self.crashes_at: str | None = None
        self.is_dead = False

    def _crash_at(self, step: str) -> None:
        self.is_dead = self.is_dead or step == self.crashes_at
        if self.is_dead:
            raise Crash

    async def end(self) -> None:
        """Let go of all that a process has. A dead one does not leave the journal, its lock is merely free then."""
        with suppress(Crash):
            await self.close.aclose()
        await self.journal.aclose()


@attrs.frozen(kw_only=True)
class Row:
    """An intent as the journal's file holds it."""

    id: str
    key: str | None
    state: str
    ref: str | None
    request: str


class Starts(RuleBasedStateMachine):
    """Two processes that share a journal, the service, and what is known of keys and refs."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name, "journal.db")
        self.clock = FakeClock()
        self.sim = Simulator(clock=self.clock, plan=Plan(duration=60))
        self.run(self.sim.__aenter__())
        self.processes: dict[str, Process] = {}
        for name in PROCESSES:
            self.run(self.begin(name))
        self.asked: Counter[str] = Counter()
        self.told: set[str] = set()
        self.of_key: dict[str, tuple[str, str]] = {}

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:  # noqa: ANN401 - whatever it returns
        """Run it on the loop of this machine, on which clients and the simulator live."""
        return self.runner.run(coroutine)

    async def begin(self, name: str) -> None:
        """A new process of that name."""
        process = self.processes[name] = Process(self.sim, self.clock, self.path)
        await process.close.__aenter__()

    async def replace_dead(self) -> None:
        """What has crashed ends, and is started again."""
        for name, process in self.processes.items():
            if process.is_dead:
                await process.end()
                await self.begin(name)

    async def create(self, name: str, key: str | None, request: str) -> None:
        """Start an action, and hold what comes of it against what is known."""
        self.asked[request] += 1
        query = {"type": "id", "value": request}
        create = self.processes[name].close.emails.create
        try:
            action = await create(
                template_id="tmpl_1", email_account_id="emailacct_1", s_query=query, idempotency_key=key
            )
        except IdempotencyConflictError as exc:
            holder: Intent | None = exc.intent
        except (CloseBulkError, Crash):
            return
        else:
            holder = None
            self.note(str(action.ref), key, request)
        assert holder is None or (holder.idempotency_key == key and holder.request["s_query"] != query)

    def note(self, ref: str, key: str | None, request: str) -> None:
        """A create has returned this ref."""
        assert self.request_of(ref) == request
        if key is None:
            assert ref not in self.told, "a job was given to two starts"
        else:
            assert self.of_key.setdefault(key, (request, ref)) == (request, ref), "a key has two jobs"
        self.told.add(ref)

    def request_of(self, ref: str) -> str:
        """What the job was started with."""
        (job,) = [job for job in self.sim.jobs if f"email:{job.id}" == ref]
        return _request(job)

    def rows(self) -> list[Row]:
        """Every intent in the file, however it ended."""
        if not self.path.exists():
            return []
        with closing(sqlite3.connect(self.path)) as db:
            rows = db.execute("SELECT id, idempotency_key, state, ref, body FROM intents").fetchall()
        return [
            Row(id=id_, key=key, state=state, ref=ref, request=orjson.loads(body)["s_query"]["value"])
            for id_, key, state, ref, body in rows
        ]

    def unclaimed(self, request: str) -> list[str]:
        """Jobs of that request that no intent has."""
        claimed = {row.ref for row in self.rows()}
        refs = [f"email:{job.id}" for job in self.sim.jobs]
        return [ref for ref in refs if ref not in claimed and self.request_of(ref) == request]

    @rule(
        name=st.sampled_from(PROCESSES),
        key=st.sampled_from([None, None, "k1", "k2"]),
        request=st.sampled_from(["r1", "r2"]),
        fault=st.sampled_from([None, *FAULTS]),
        crash=st.none() | st.sampled_from(STEPS),
    )
    def start(self, name: str, key: str | None, request: str, fault: str | None, crash: str | None) -> None:
        """One create, whose POST may meet a fault, and whose process may crash at a step of the journal."""
        self.fail_post(fault)
        self.processes[name].crashes_at = crash
        self.run(self.create(name, key, request))
        self.tidy()

    @rule(
        keys=st.tuples(*[st.sampled_from([None, "k1", "k2"])] * 2),
        requests=st.tuples(*[st.sampled_from(["r1", "r2"])] * 2),
        fault=st.sampled_from([None, *FAULTS]),
        crash=st.none() | st.sampled_from(STEPS),
        together=st.booleans(),
    )
    def start_two(
        self,
        keys: tuple[str | None, ...],
        requests: tuple[str, ...],
        fault: str | None,
        crash: str | None,
        *,
        together: bool,
    ) -> None:
        """Two creates at the same time, in one process or in both, the first of which may crash."""
        self.fail_post(fault)
        self.processes["A"].crashes_at = crash

        async def both() -> None:
            names = ("A", "A" if together else "B")
            async with asyncio.TaskGroup() as group:
                for name, key, request in zip(names, keys, requests, strict=True):
                    group.create_task(self.create(name, key, request))

        self.run(both())
        self.tidy()

    @rule(name=st.sampled_from(PROCESSES), times=st.integers(1, 8), key=st.sampled_from([None, "k1"]))
    def start_while_the_list_fails(self, name: str, times: int, key: str | None) -> None:
        """The answer to the POST is lost, and the list cannot be read for a while."""
        self.sim.fail_next(faults.cut_after(), method="POST")
        self.sim.fail_next(faults.server_error(500), method="GET", path="/bulk_action/email/", skip=1, times=times)
        self.run(self.create(name, key, "r1"))
        self.tidy()

    @rule(name=st.sampled_from(PROCESSES), crash=st.none() | st.sampled_from(STEPS))
    def recover(self, name: str, crash: str | None) -> None:
        """What is given is as the journal says; no POST is sent."""
        process = self.processes[name]
        process.crashes_at = crash
        n_posts = self.n_posts()

        async def recover() -> None:
            with suppress(Crash):
                async for each in process.close.recover():
                    assert (each.action is None) == (each.ref is None or each.error is not None)
                    if each.ref is None and each.error is None:
                        assert each.intent.state == ("final" if each.intent.idempotency_key is None else "new")

        self.run(recover())
        assert self.n_posts() == n_posts
        self.tidy()

    @rule(name=st.sampled_from(PROCESSES))
    def crash(self, name: str) -> None:
        """A process ends without a word."""
        self.processes[name].is_dead = True
        self.tidy()

    @rule(name=st.sampled_from(PROCESSES))
    def restart(self, name: str) -> None:
        """A process ends as it should, and another one begins."""

        async def restart() -> None:
            await self.processes[name].end()
            await self.begin(name)

        self.run(restart())

    @rule(seconds=st.sampled_from([1, 30, 300]))
    def pass_time(self, seconds: int) -> None:
        """Leases run out, and jobs end."""
        self.run(self.clock.sleep(seconds))

    @rule(name=st.sampled_from(PROCESSES), number=st.integers(0, 3), word=st.sampled_from(["pause", "resume", "wait"]))
    def use(self, name: str, number: int, word: str) -> None:
        """Pause, resume or wait for one of the last jobs. Whatever its state: what it says is not the question here."""
        close = self.processes[name].close

        async def use() -> None:
            ref = f"email:{self.sim.jobs[-1 - number].id}"
            with suppress(CloseBulkError):
                if word == "wait":
                    await close.wait_until_done(ref, timeout=100)
                else:
                    await (close.pause(ref) if word == "pause" else close.resume(ref))

        if number < len(self.sim.jobs):
            self.run(use())

    @rule(name=st.sampled_from(PROCESSES))
    def decide(self, name: str) -> None:
        """An operator looks into the service for an ambiguous start: adopts its job, or gives it up."""
        posting = [row for row in self.rows() if row.state == "posting"]

        async def decide() -> None:
            close = self.processes[name].close
            for row in posting:
                with suppress(CloseBulkError):
                    if refs := self.unclaimed(row.request):
                        await close.adopt(row.id, refs[0])
                    else:
                        await close.abandon(row.id)

        self.run(decide())

    def fail_post(self, fault: str | None) -> None:
        """Let the next POST meet the fault of that name."""
        if fault is not None:
            self.sim.fail_next(FAULTS[fault], method="POST")

    def n_posts(self) -> int:
        """How many POSTs were sent."""
        return sum(request.method == "POST" for request in self.sim.requests)

    def tidy(self) -> None:
        """After a rule: no fault is left for the next, and what crashed is there again."""
        self.sim.clear_faults()
        for process in self.processes.values():
            process.crashes_at = None
        self.run(self.replace_dead())

    @invariant()
    def no_job_is_twice_or_lost(self) -> None:
        """Each job belongs to one intent, or the one intent of its request that is posting may still find it."""
        rows = self.rows()
        refs = [row.ref for row in rows if row.ref is not None]
        assert len(refs) == len(set(refs))
        assert self.told <= set(refs) <= {f"email:{job.id}" for job in self.sim.jobs}
        posting = Counter(row.request for row in rows if row.state == "posting")
        for request in ("r1", "r2"):
            assert posting[request] <= 1
            assert len(self.unclaimed(request)) <= posting[request]
            assert sum(_request(job) == request for job in self.sim.jobs) <= self.asked[request]
        assert max(Counter(row.key for row in rows if row.key is not None).values(), default=1) == 1

    def teardown(self) -> None:
        """After all have crashed, one that recovers leaves nothing in doubt, and sends nothing."""
        for process in self.processes.values():
            process.is_dead = True
        self.tidy()
        n_posts = self.n_posts()

        async def recover() -> None:
            errors = [each.error async for each in self.processes["A"].close.recover() if each.error is not None]
            assert errors == []

        try:
            self.run(recover())
            assert self.n_posts() == n_posts
            assert "posting" not in {row.state for row in self.rows()}
            self.no_job_is_twice_or_lost()
        finally:
            self.run(self.clear_away())
            self.runner.close()
            self.folder.cleanup()

    async def clear_away(self) -> None:
        """Close everything."""
        for process in self.processes.values():
            await process.end()
        await self.sim.__aexit__(None, None, None)


def _request(job: Job) -> str:
    query: Any = job.request["s_query"]
    text: str = query["value"]
    return text


# More of them with the environment variable: each takes about half a second.
TestStarts = Starts.TestCase
TestStarts.settings = settings(
    max_examples=int(os.environ.get("STARTS_TRIED", "30")), stateful_step_count=25, deadline=None
)
