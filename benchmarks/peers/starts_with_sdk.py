"""Starts with the SDK under test, as its README shows it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from benchmarks.simulated import API_KEY, SETTLE_SECONDS, TRY_SECONDS, make_body
from closebulk_async import CloseBulk, CloseBulkError, PollPolicy

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.second_jobs import Told
    from closebulk_async.clock import Clock


def start_all(
    base_url: str, starts: int, *, at_once: int, calls: int, journal: Path | None, resends: bool
) -> list[Told]:
    """Make all starts, each in a task and up to `calls` times as long as it raises; say what the callers were told."""
    return asyncio.run(run(base_url, starts, at_once=at_once, calls=calls, journal=journal, resends=resends))


async def run(
    base_url: str,
    starts: int,
    *,
    at_once: int,
    calls: int = 1,
    journal: Path | None = None,
    resends: bool = False,
    clock: Clock | None = None,
) -> list[Told]:
    """The same, in a running loop. A start has an idempotency key where there is a file that keeps it."""
    slots = asyncio.Semaphore(at_once)

    async def start(number: int) -> Told:
        key = None if journal is None else f"start {number}"
        error = None
        async with slots:
            for _ in range(calls):
                try:
                    action = await close.emails.create(
                        **make_body(number),
                        idempotency_key=key,
                        on_ambiguous="resend" if resends else "reconcile",
                        timeout=TRY_SECONDS,
                    )
                except CloseBulkError as exc:
                    error = type(exc).__name__
                else:
                    return action.id, None
        return None, error

    poll = PollPolicy(settle=SETTLE_SECONDS)
    async with CloseBulk(API_KEY, base_url=base_url, journal=journal, poll=poll, clock=clock) as close:
        return await asyncio.gather(*map(start, range(starts)))
