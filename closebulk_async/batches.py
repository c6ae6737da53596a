"""Many actions at once: wait for all of them, or start and wait with a bound on how many run."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import attrs

from closebulk_async.endpoints import ActionLike, Engine, WaitKeywords, start_action, to_ref, wait_for
from closebulk_async.errors import CloseBulkError
from closebulk_async.models import BulkAction, JobRef
from closebulk_async.starts import Start
from closebulk_async.wire import check_count

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Iterable

A_co = TypeVar("A_co", bound=BulkAction, covariant=True)


@attrs.frozen(kw_only=True)
class Outcome(Generic[A_co]):
    """What became of one action of many: `action` when it is done, else `error`.

    `start` is the request value that `run_many` was given, `ref` is None where the action was never started.
    """

    start: Start | None = None
    ref: JobRef[A_co] | None = None
    action: A_co | None = None
    error: CloseBulkError | None = None


async def wait_all(engine: Engine, actions: Iterable[ActionLike[Any]], options: WaitKeywords) -> list[Outcome[Any]]:
    """Wait for all; outcomes come in the order of `actions`, a failure of one being its `error`."""
    refs = [to_ref(action) for action in actions]
    waits = [wait_for(engine, ref, options) for ref in refs]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_outcome_of(ref, wait.result())) for ref, wait in zip(refs, waits, strict=True)]
    return [task.result() for task in tasks]


async def run_many(
    engine: Engine, starts: Iterable[Start], *, max_running: int, stop_on_error: bool, options: WaitKeywords
) -> AsyncIterator[Outcome[Any]]:
    """Start each of `starts` and wait for it, at most `max_running` at a time; outcomes come as they are known.

    `starts` is read one by one as places become free, so that it may be a generator of any length. With `stop_on_error`
    no start follows the first failure; what runs by then is still waited for.
    """
    check_count(max_running, name="max_running", least=1)
    waiting = iter(starts)
    running: set[asyncio.Task[Outcome[Any]]] = set()
    is_exhausted = False
    try:
        while True:
            while not is_exhausted and len(running) < max_running:
                start = next(waiting, None)
                if start is None:
                    is_exhausted = True
                else:
                    running.add(asyncio.create_task(_run_one(engine, start, options)))
            if not running:
                return
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            outcomes = [task.result() for task in done]
            is_exhausted |= stop_on_error and any(outcome.error is not None for outcome in outcomes)
            for outcome in outcomes:
                yield outcome
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _run_one(engine: Engine, start: Start, options: WaitKeywords) -> Outcome[Any]:
    try:
        action = await start_action(engine, start)
    except CloseBulkError as exc:
        return Outcome(start=start, error=exc)
    ref: JobRef[Any] = action.ref
    outcome = await _outcome_of(ref, wait_for(engine, ref, options).result())
    return attrs.evolve(outcome, start=start)


async def _outcome_of(ref: JobRef[Any], result: Awaitable[Any]) -> Outcome[Any]:
    try:
        return Outcome(ref=ref, action=await result)
    except CloseBulkError as exc:
        return Outcome(ref=ref, error=exc)
