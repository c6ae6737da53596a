"""Many actions at once: wait for all of them, or start and wait with a bound on how many run."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import attrs

from closebulk_async.errors import CloseBulkError, InvalidRequestError
from closebulk_async.models import Job, JobRef
from closebulk_async.operations import ActionLike, Engine, WaitKeywords, start_action, to_ref, to_snapshot, wait_for
from closebulk_async.starts import Start
from closebulk_async.waiters import WaitOptions
from closebulk_async.wire import check_count

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Iterable, Iterator

A_co = TypeVar("A_co", bound=Job, covariant=True)


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
    if isinstance(actions, str):
        message = f"actions must be several and is the one text {actions!r}: write [{actions!r}]"
        raise InvalidRequestError(message)
    actions = list(actions)
    refs = [to_ref(action) for action in actions]
    waits = [
        wait_for(engine, ref, options, known=to_snapshot(action)) for ref, action in zip(refs, actions, strict=True)
    ]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_outcome_of(ref, wait.result())) for ref, wait in zip(refs, waits, strict=True)]
    return [task.result() for task in tasks]


async def run_many(
    engine: Engine, starts: Iterable[Start], *, max_running: int, stop_on_error: bool, options: WaitKeywords
) -> AsyncGenerator[Outcome[Any], None]:
    """Start each of `starts` and wait for it, at most `max_running` at a time; outcomes come as they are known.

    `starts` is read one by one as places become free, so that it may be a generator of any length. With `stop_on_error`
    no start follows the first failure; what runs by then is still waited for. So it is when `starts` itself raises,
    which goes on to the caller after the last outcome. A wait that ends before its job (a timeout, an ambiguous start)
    frees the place all the same.
    """
    check_count(max_running, name="max_running", least=1)
    WaitOptions.from_keywords(**options)  # what is wrong shows before anything is started
    source = _Source(iter(starts))
    running: list[asyncio.Task[Outcome[Any]]] = []
    try:
        while True:
            while len(running) < max_running and (start := source.take()) is not None:
                running.append(asyncio.create_task(_run_one(engine, start, options)))
            if not running:
                break
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            outcomes = [task.result() for task in running if task in done]  # of one instant, in the order of starts
            running = [task for task in running if task not in done]
            if stop_on_error and any(outcome.error is not None for outcome in outcomes):
                source.close()
            for outcome in outcomes:
                yield outcome
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    if source.error is not None:
        raise source.error


class _Source:
    """The caller's starts. What reading them raises is kept for later: by then other starts run."""

    def __init__(self, starts: Iterator[object]) -> None:
        self.error: Exception | None = None
        self._starts: Iterator[object] | None = starts

    def close(self) -> None:
        self._starts = None

    def take(self) -> Start | None:
        """The next start; None once there is none any more."""
        if self._starts is None:
            return None
        try:
            start = next(self._starts)
            if not isinstance(start, Start):
                message = f"run_many takes EmailStart, DeleteStart, EditStart and SequenceStart, not {start!r}"
                raise InvalidRequestError(message)  # noqa: TRY301 - ends the reading as what the iterator raises does
        except StopIteration:
            self.close()
        except Exception as exc:  # noqa: BLE001 - the caller's own iterator, raised again after the last outcome
            self.close()
            self.error = exc
        else:
            return start
        return None


async def _run_one(engine: Engine, start: Start, options: WaitKeywords) -> Outcome[Any]:
    try:
        action = await start_action(engine, start)
    except CloseBulkError as exc:
        return Outcome(start=start, error=exc)
    ref: JobRef[Any] = action.ref
    outcome = await _outcome_of(ref, wait_for(engine, ref, options, known=to_snapshot(action)).result())
    return attrs.evolve(outcome, start=start)


async def _outcome_of(ref: JobRef[Any], result: Awaitable[Any]) -> Outcome[Any]:
    try:
        return Outcome(ref=ref, action=await result)
    except CloseBulkError as exc:
        return Outcome(ref=ref, error=exc)
