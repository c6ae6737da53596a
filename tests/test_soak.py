"""A day of one client: jobs come and end, waits come and go, and much goes wrong; in the end there is nothing left."""

from __future__ import annotations

import asyncio
import gc
import random
import sys
from contextlib import suppress
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from closebulk_async import CloseBulk, CloseBulkError, JobRef, PollPolicy, WebhookEvent
from closebulk_async.models import Kind
from closebulk_async.simulator import CURVES, Limits, Simulator, faults
from closebulk_async.telemetry import PollEnded, WaitBegan, WaitEnded
from tests.stage import Notes, Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from closebulk_async.simulator.listing import ListOrder
    from closebulk_async.testing import FakeClock

pytestmark = pytest.mark.unmeasured

HOUR = 3600.0

FAULTS = [
    faults.hang(),
    faults.delay(5),
    faults.slow_body(2),
    faults.cut_before(),
    faults.cut_after(),
    faults.server_error(500),
    faults.reply(503, headers=(("retry-after", "20"),)),
    faults.broken_json(),
    faults.truncated_body(),
    faults.altered(data=[], has_more=False),
    faults.altered(status="odd"),
    faults.too_many_requests(retry_after=7),
    faults.too_many_requests(),
    faults.reply(400, "{}"),
]


@attrs.frozen
class Size:
    """What can be reached from an object, without the loop, the server and code."""

    objects: int
    n_bytes: int

    @classmethod
    def of(cls, root: object) -> Size:
        """Measured after what can be collected is gone."""
        gc.collect()
        seen: dict[int, object] = {}
        found = [root]
        while found:
            item = found.pop()
            is_foreign = isinstance(
                item, type | ModuleType | FunctionType | asyncio.AbstractEventLoop | asyncio.Task | Simulator
            )
            if id(item) not in seen and not is_foreign:
                seen[id(item)] = item
                found += gc.get_referents(item)
        return cls(len(seen), sum(map(sys.getsizeof, seen.values())))


@attrs.define
class Day:
    """What happens in it, drawn from a seed."""

    stage: Stage
    close: CloseBulk
    rng: random.Random
    refs: list[JobRef[Any]] = attrs.field(factory=list)
    tasks: set[asyncio.Task[None]] = attrs.field(factory=set)
    n_ended: int = 0

    async def live_until(self, at: float) -> None:
        """Something happens every few minutes until then; what was begun is waited for after it."""
        happenings: list[Callable[[], Coroutine[Any, Any, None]]] = [
            self.wait, self.wait, self.iterate, self.iterate, self.watch, self.wait_all, self.follow,
            self.spoil, self.spoil, self.pause, self.resume, self.tell, self.drop,
        ]  # fmt: skip
        while self.stage.now < at:
            await self.stage.clock.sleep(self.rng.expovariate(1 / 240))
            task = self.begin(self.bear(self.rng.choice(happenings)()))
            if self.rng.random() < 0.3:
                after = self.rng.choice([0.0, self.rng.uniform(0, 5), self.rng.uniform(0, HOUR)])
                self.begin(self.cancel_later(task, after=after))
        while self.tasks:
            await asyncio.wait(self.tasks)

    async def bear(self, happening: Coroutine[Any, Any, None]) -> None:
        """Whatever the API or a wait makes of it is fine, and a mistake of the package's own is not."""
        with suppress(CloseBulkError):
            await happening

    def begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """As a task that the day waits for."""
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    async def cancel_later(self, task: asyncio.Task[None], *, after: float) -> None:
        """Cancel it, also before it has begun."""
        await self.stage.clock.sleep(after)
        task.cancel()

    def pick(self) -> JobRef[Any]:
        """A job that begins now, or a recent one."""
        if self.refs and self.rng.random() < 0.4:
            return self.rng.choice(self.refs[-20:])
        ref = self.stage.run_other_job(
            self.rng.choice([Kind.EMAIL, Kind.EMAIL, Kind.EDIT]),
            duration=5 * 400 ** self.rng.random(),
            n_objects=self.rng.randrange(10_000),
            curve=self.rng.choice(list(CURVES)),
            ends=self.rng.choice(["done", "done", "done", "error"]),
        )
        self.refs.append(ref)
        return ref

    def options(self) -> dict[str, Any]:
        """Some of the options of a wait; it ends within two hours."""
        drawn: dict[str, Any] = {
            "heartbeat": self.rng.uniform(1, 600),
            "stall_timeout": self.rng.uniform(60, HOUR),
            "on_paused": self.rng.choice(["wait", "raise", "return"]),
        }
        kept = {name: value for name, value in drawn.items() if self.rng.random() < 0.3}
        return {"timeout": self.rng.choice([0, 30.0, HOUR]), **kept}

    async def wait(self) -> None:
        """Await one."""
        await self.close.wait_until_done(self.pick(), **self.options())
        self.n_ended += 1

    async def iterate(self) -> None:
        """Take some steps of one, slowly, and leave it in one way or another."""
        wait = self.close.wait_until_done(self.pick(), **self.options())
        n_steps = self.rng.randrange(1, 30)
        async for _ in wait:
            n_steps -= 1
            if not n_steps:
                break
            await self.stage.clock.sleep(self.rng.choice([0, 0, 0, 3, 100]))
        if self.rng.random() < 0.5:
            await wait.aclose()

    async def watch(self) -> None:
        """Some in one stream."""
        async for progress in self.close.watch(*(self.pick() for _ in range(6)), **self.options()):
            self.n_ended += progress.is_final

    async def wait_all(self) -> None:
        """Some at once."""
        self.n_ended += len(await self.close.wait_all([self.pick() for _ in range(10)], **self.options()))

    async def follow(self) -> None:
        """Look at what runs and what begins, until it is cancelled."""
        following = asyncio.current_task()
        assert following is not None
        self.begin(self.cancel_later(following, after=self.rng.uniform(60, 900)))
        async for progress in self.close.watch_active(follow=True, timeout=HOUR, kinds=["email"]):
            self.n_ended += progress.is_final

    async def spoil(self) -> None:
        """Some of the next requests go wrong."""
        self.stage.sim.fail_next(self.rng.choice(FAULTS), times=self.rng.randrange(1, 6), skip=self.rng.randrange(20))

    async def pause(self) -> None:
        """Pause one."""
        await self.close.pause(self.pick())

    async def resume(self) -> None:
        """Resume one, that may not be paused."""
        await self.close.resume(self.pick())

    async def tell(self) -> None:
        """Words about one arrive for a while, true or not."""
        ref = self.pick()
        for _ in range(self.rng.randrange(1, 8)):
            action = self.rng.choice(["updated", "updated", "completed", "paused"])
            self.close.notify(
                WebhookEvent.example(action=action, object_id=ref.id, object_type=f"bulk_action.{ref.kind}", data=None)
            )
            await self.stage.clock.sleep(self.rng.uniform(0, 60))

    async def drop(self) -> None:
        """The server closes all connections."""
        self.stage.sim.drop_connections()


@pytest.mark.parametrize(("seed", "order"), [(1, "newest"), (2, "shuffled")])
async def test_a_day_leaves_nothing(close_clock: FakeClock, seed: int, order: ListOrder) -> None:
    """No task, no alarm, no open connection, and a client that is no larger in the evening than in the morning.

    Its requests never met a limit but those that were scripted, and each wait that was told to begin ended.
    """
    notes = Notes()
    limits = Limits(rate=20, window=8)
    sim = Simulator(clock=close_clock, limits=limits, list_order=order, keep_requests=10**6)
    async with sim:
        stage = Stage(clock=close_clock, sim=sim, close=None)  # type: ignore[arg-type]  # each client is opened below
        async with stage.client(PollPolicy(), hooks=[notes]) as close:
            day = Day(stage, close, random.Random(seed))
            await day.live_until(6 * HOUR)
            sim.clear_faults()
            assert await stage.nothing_is_left()
            notes.events.clear()
            early = Size.of(close)
            await day.live_until(24 * HOUR)
            sim.clear_faults()
            assert await stage.nothing_is_left()
            polls, began, ended = notes.of(PollEnded), notes.of(WaitBegan), notes.of(WaitEnded)
            notes.events.clear()
            late = Size.of(close)
        await close_clock.settle()
        assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []
    assert len(polls) > 1000
    assert day.n_ended > 100
    assert sorted(event.number for event in began) == sorted(event.number for event in ended)
    assert [request for request in sim.requests if request.status == 429 and request.fault is None] == []
    # Idle connections of the pool are in it. Less than an object in three polls, and less than a small list in ten.
    assert late.objects - early.objects < len(polls) / 3
    assert late.n_bytes - early.n_bytes < len(polls) * 20
