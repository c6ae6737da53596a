"""Services that answer less than the schema promises, and parts of the caller's that fail."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest

from closebulk_async import (
    CloseBulk,
    InvalidRequestError,
    MemoryLimiter,
    PermissionDeniedError,
    PollPolicy,
    ServerError,
    TransportError,
    WaitTimeout,
)
from closebulk_async.models import Kind
from closebulk_async.simulator import Plan, faults

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from closebulk_async import Event, JobRef, Priority
    from tests.stage import Stage

COUNTERS = ("n_objects", "n_objects_processed")


def run_older_job(stage: Stage, *, duration: float) -> JobRef[Any]:
    """One of which the service shows no counts of objects."""
    job = stage.sim.add_job("email", plan=Plan(duration=duration), without=COUNTERS)
    return type(stage.run_job(duration=1))(Kind.EMAIL, job.id)


@pytest.mark.parametrize("n_others", [0, 7])
async def test_rows_without_counts_of_objects_are_followed(stage: Stage, n_others: int) -> None:
    """Alone, or on a page with others: leads stand in for objects, and every wait has its end."""
    refs = [run_older_job(stage, duration=20), *(stage.run_job(duration=20) for _ in range(n_others))]
    async with stage.client(PollPolicy()) as close:
        outcomes = await close.wait_all(refs)
    assert all(outcome.error is None and outcome.action is not None for outcome in outcomes)
    assert stage.now < 25


async def test_an_action_that_no_poll_has_shown_says_what_is_known(stage: Stage) -> None:
    """How long and how often it was asked for, and what went wrong: nothing is made up."""
    ref = stage.run_job(duration=1000)
    stage.sim.fail_next(faults.server_error(503), times=None)
    async with aclosing(stage.close.watch(ref, timeout=10)) as steps:
        (last,) = [step async for step in steps]
    assert (type(last.error), type(last.last_error)) == (WaitTimeout, ServerError)
    assert last.is_final
    assert last.status is None
    assert last.polls > 2
    assert last.elapsed.total_seconds() == pytest.approx(10)


class Unreliable(MemoryLimiter):
    """One whose counts cannot be reached now and then, and that has nobody in line."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage.clock)
        self.calls = 0
        self.failing = True

    def __len__(self) -> int:
        return 0

    def acquire(self, group: str, *, priority: Priority, most: float = 0.0) -> Awaitable[None] | None:
        """Fail each other time."""
        self.calls += 1
        if self.failing and self.calls % 2:
            message = "the store of the counts is away"
            raise ConnectionError(message)
        return super().acquire(group, priority=priority, most=most)

    def learn(self, group: str, sight: Any) -> None:  # noqa: ANN401 - of another module than the protocol
        """Fail as well."""
        super().learn(group, sight)
        if self.failing:
            raise ConnectionError


async def test_a_limiter_that_fails_ends_no_wait(stage: Stage) -> None:
    """For a poll that is one bad poll, for a call a request that was not sent; a limiter may also be falsy."""
    limiter = Unreliable(stage)
    ref = stage.run_job(duration=10)
    async with stage.client(limiter=limiter) as close:
        with pytest.raises(TransportError, match="store of the counts is away") as raised:
            await close.get(ref)
        assert not raised.value.sent
        assert stage.sim.requests == ()
        assert (await close.wait_until_done(ref)).is_done
    assert limiter.calls > 5


async def test_a_kind_that_may_not_be_read_is_left_out(stage: Stage) -> None:
    """Where all kinds are meant; who names it is told."""
    stage.run_job(duration=5)
    stage.sim.fail_next(faults.forbidden(), times=None, path="/bulk_action/edit/")
    async with aclosing(stage.close.watch_active()) as steps:
        assert [step.is_final async for step in steps][-1]
    with pytest.raises(PermissionDeniedError):
        async for _ in stage.close.watch_active(kinds=["edit"]):
            pass


@pytest.mark.parametrize(
    ("name", "value"),
    [("limiter", MemoryLimiter), ("limiter", 5), ("hooks", [3]), ("hooks", print), ("hooks", [Exception])],
)
def test_what_is_no_part_of_a_client_is_refused_at_once(name: str, value: Any) -> None:  # noqa: ANN401 - mistakes
    """And not where it is first used."""
    with pytest.raises(InvalidRequestError, match=name):
        CloseBulk("api_key", **{name: value})


async def test_hooks_may_be_of_any_kind_that_can_be_called(stage: Stage) -> None:
    """Objects and functions alike."""
    told: list[Event] = []
    async with stage.client(hooks=(hook for hook in [told.append])) as close:
        await asyncio.gather(close.get(stage.run_job(duration=1)))
    assert told
