"""Tasks that are cancelled: none is taken for one that was not."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from closebulk_async.tasks import heeding


async def lose_cancellations(done: asyncio.Event) -> str:
    """As `asyncio.wait_for` of Python 3.11 may do."""
    with suppress(asyncio.CancelledError):
        await done.wait()
    return "done"


async def test_a_cancellation_that_was_lost_is_heeded() -> None:
    """Whoever was cancelled ends so."""
    task = asyncio.create_task(heeding(lose_cancellations(asyncio.Event())))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_was_not_cancelled_gives_its_result() -> None:
    """Whatever became of the task before."""

    async def twice() -> str:
        await lose_cancellations(asyncio.Event())
        done.set()
        return await heeding(lose_cancellations(done))

    done = asyncio.Event()
    task = asyncio.create_task(twice())
    await asyncio.sleep(0)
    task.cancel()
    assert await task == "done"


async def test_a_timeout_that_was_lost_is_one() -> None:
    """A block that ends late ends with TimeoutError."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await heeding(lose_cancellations(asyncio.Event()))
