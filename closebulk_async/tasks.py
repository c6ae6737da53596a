"""What asyncio lacks for work that must come to its end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable

T = TypeVar("T")


async def outlast(tasks: Iterable[asyncio.Task[Any]]) -> bool:
    """Wait until all are done, however often the caller is cancelled meanwhile; says whether it was."""
    was_cancelled, pending = False, set(tasks)
    while pending := {task for task in pending if not task.done()}:
        try:
            await asyncio.wait(pending)
        except asyncio.CancelledError:
            was_cancelled = True
    return was_cancelled


async def result_of(task: asyncio.Task[T]) -> T:
    """The result of the task, which comes to its end also when the caller is cancelled."""
    if await outlast([task]):
        if not task.cancelled():
            task.exception()  # looked at, so that nobody warns of it
        raise asyncio.CancelledError
    return task.result()


async def heeding(waiting: Awaitable[T]) -> T:
    """What `waiting` gives, or CancelledError where the caller was cancelled meanwhile and that got lost.

    Python 3.11's `asyncio.wait_for` loses a cancellation that comes in the same moment as what it waits for, and so
    does all that waits by it, such as psycopg's pool.
    """
    task = asyncio.current_task()
    before = 0 if task is None else task.cancelling()
    result = await waiting
    if task is not None and task.cancelling() > before:
        raise asyncio.CancelledError
    return result
