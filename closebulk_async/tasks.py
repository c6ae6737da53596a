"""What asyncio lacks for work that must come to its end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable

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
