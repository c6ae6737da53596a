"""What hooks are told of waits and of the actions that they are for."""

from __future__ import annotations

import asyncio
import gc
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest

from closebulk_async import (
    BulkActionFailed,
    ClientClosedError,
    NotFoundError,
    PollPolicy,
    WaitClosedError,
    WaitTimeout,
    WatchLostError,
)
from closebulk_async.progress import count_objects
from closebulk_async.simulator import faults
from closebulk_async.telemetry import ActionMoved, PollEnded, WaitBegan, WaitEnded
from tests.stage import EVERY_SECOND, Notes, cancel

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from closebulk_async import CloseBulk
    from tests.stage import Stage

    Way = Callable[[Stage, CloseBulk], Awaitable[None]]


async def until_done(stage: Stage, close: CloseBulk) -> None:
    """The action ends well."""
    await close.wait_until_done(stage.run_job(duration=5))


async def until_failed(stage: Stage, close: CloseBulk) -> None:
    """The action fails."""
    with pytest.raises(BulkActionFailed):
        await close.wait_until_done(stage.run_job(duration=5, ends="error"))


async def until_a_timeout(stage: Stage, close: CloseBulk) -> None:
    """The wait is too long."""
    with pytest.raises(WaitTimeout):
        await close.wait_until_done(stage.run_job(duration=500), timeout=5)


async def of_nobody(_: Stage, close: CloseBulk) -> None:
    """There is no such action."""
    with pytest.raises(NotFoundError):
        await close.wait_until_done("email:bulkemail_of_nobody")


async def until_lost(stage: Stage, close: CloseBulk) -> None:
    """Nobody answers."""
    stage.sim.fail_next(faults.server_error(), times=None)
    with pytest.raises(WatchLostError):
        await close.wait_until_done(stage.run_job(duration=5))


async def until_cancelled(stage: Stage, close: CloseBulk) -> None:
    """The task is cancelled."""
    task = asyncio.create_task(close.wait_until_done(stage.run_job(duration=500)).result())
    await stage.clock.advance(5)
    await cancel(task)


async def until_closed(stage: Stage, close: CloseBulk) -> None:
    """The wait is left."""
    async with close.wait_until_done(stage.run_job(duration=500)) as wait:
        await anext(wait)


async def until_collected(stage: Stage, close: CloseBulk) -> None:
    """The wait is forgotten."""
    wait = close.wait_until_done(stage.run_job(duration=500))
    await anext(wait)
    del wait
    gc.collect()
    await stage.clock.settle()


async def until_the_client_is_closed(stage: Stage, close: CloseBulk) -> None:
    """The client is closed under it."""
    task = asyncio.create_task(close.wait_until_done(stage.run_job(duration=500)).result())
    await stage.clock.advance(5)
    await close.aclose()
    with pytest.raises(ClientClosedError):
        await task


async def as_a_stream(stage: Stage, close: CloseBulk) -> None:
    """One of a stream."""
    async for _ in close.watch(stage.run_job(duration=5)):
        pass


async def as_a_stream_that_is_left(stage: Stage, close: CloseBulk) -> None:
    """One of a stream that is left early."""
    async with aclosing(close.watch(stage.run_job(duration=500))) as steps:
        await anext(steps)


WAYS: dict[Any, type[BaseException]] = {
    until_done: type(None),  # type: ignore[dict-item]  # no error
    until_failed: BulkActionFailed,
    until_a_timeout: WaitTimeout,
    of_nobody: NotFoundError,
    until_lost: WatchLostError,
    until_cancelled: asyncio.CancelledError,
    until_closed: WaitClosedError,
    until_collected: asyncio.CancelledError,
    until_the_client_is_closed: ClientClosedError,
    as_a_stream: type(None),  # type: ignore[dict-item]  # no error
    as_a_stream_that_is_left: WaitClosedError,
}


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
async def test_each_wait_that_begins_is_told_to_have_ended(stage: Stage, way: Way) -> None:
    """Once each, with the same number and ref, how long it took, how many polls told of it, and why it ended."""
    notes = Notes()
    async with stage.client(EVERY_SECOND, hooks=[notes]) as close:
        await way(stage, close)
        (began,), (ended,) = notes.of(WaitBegan), notes.of(WaitEnded)
        assert notes.events.index(began) == 0
        assert (began.number, began.ref) == (ended.number, ended.ref)
        assert type(ended.error) is WAYS[way]
        assert ended.polls == len([event for event in notes.of(PollEnded) if began.ref in event.refs])
        assert ended.elapsed.total_seconds() == pytest.approx(stage.now, abs=0.1)
    assert len(notes.of(WaitEnded)) == 1


async def test_waits_are_told_apart(stage: Stage) -> None:
    """Those of one action have numbers of their own; each counts the polls that came in its own time."""
    notes = Notes()
    async with stage.client(EVERY_SECOND, hooks=[notes]) as close:
        ref = stage.run_job(duration=10)
        first = asyncio.create_task(close.wait_until_done(ref).result())
        await stage.clock.advance(4.5)
        await close.wait_until_done(ref)
        await first
    assert len({event.number for event in notes.of(WaitBegan)}) == 2
    ended = {event.number: event for event in notes.of(WaitEnded)}
    polls = [ended[event.number].polls for event in notes.of(WaitBegan)]
    assert polls == [11, 6]
    assert [ended[event.number].elapsed.total_seconds() for event in notes.of(WaitBegan)] == [10, 5.5]


async def test_a_wait_that_is_left_and_taken_up_again_is_told_twice(stage: Stage) -> None:
    """Each time that it begins to poll, and each time that it leaves: spans do not stay open."""
    notes = Notes()
    async with stage.client(EVERY_SECOND, hooks=[notes]) as close:
        wait = close.wait_until_done(stage.run_job(duration=10))
        task = asyncio.create_task(wait.result())
        await stage.clock.advance(3)
        await cancel(task)
        assert (len(notes.of(WaitBegan)), len(notes.of(WaitEnded))) == (1, 1)
        await wait
    began, ended = notes.of(WaitBegan), notes.of(WaitEnded)
    assert [event.number for event in began] == [event.number for event in ended] == [began[0].number] * 2
    assert [type(event.error) for event in ended] == [asyncio.CancelledError, type(None)]


async def test_each_movement_is_told_once(stage: Stage) -> None:
    """However many wait: from the first look, `before` being None, over each new count to the end."""
    notes = Notes()
    async with stage.client(EVERY_SECOND, hooks=[notes]) as close:
        ref = stage.run_job(duration=4, counting=0, n_objects=2)
        await asyncio.gather(*(close.wait_until_done(ref) for _ in range(3)))
    moves = notes.of(ActionMoved)
    assert [count_objects(event.action)[0] for event in moves] == [0, 1, 2]
    assert [event.before and count_objects(event.before)[0] for event in moves] == [None, 0, 1]
    assert moves[-1].action.is_done
    assert [event.rate is None for event in moves[:2]] == [True, False]
    assert moves[1].eta is not None
    assert 0 < moves[1].eta.total_seconds() <= 4


async def test_polls_that_fail_are_told_with_their_error(stage: Stage) -> None:
    """And nothing is said to have moved."""
    notes = Notes()
    async with stage.client(PollPolicy.fixed(1), hooks=[notes]) as close:
        ref = stage.run_job(duration=3, counting=0, curve="silent")
        stage.sim.fail_next(faults.server_error(503), skip=1)
        await close.wait_until_done(ref)
    polls = notes.of(PollEnded)
    assert [(poll.how, poll.refs, poll.found) for poll in polls] == [("item", (ref,), n) for n in (1, 0, 1, 1)]
    assert [type(poll.error).__name__ for poll in polls] == ["NoneType", "ServerError", "NoneType", "NoneType"]
    assert [event.action.status for event in notes.of(ActionMoved)] == ["processing", "done"]


async def test_a_hook_that_raises_disturbs_no_wait(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """The wait ends as its job does, and the log says which hook failed."""

    def fail(_: object) -> None:
        raise ZeroDivisionError

    async with stage.client(EVERY_SECOND, hooks=[fail]) as close:
        assert (await close.wait_until_done(stage.run_job(duration=3))).is_done
    assert stage.now == 3
    assert any("failed on" in record.message for record in caplog.records)
