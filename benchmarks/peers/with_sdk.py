"""The SDK under test, as its README shows it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from benchmarks.corpus import FIELDS, ITEM_ID, OPERATIONS, PAGE_SIZE
from closebulk_async import CloseBulk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from benchmarks.corpus import Operation


@contextlib.asynccontextmanager
async def connect(base_url: str, operation: Operation) -> AsyncIterator[Callable[[], Awaitable[object]]]:
    """Give the call that makes the operation's request once and returns models."""
    async with CloseBulk(api_key="api_bench", base_url=base_url) as close:
        if operation is OPERATIONS["get"]:
            yield lambda: close.emails.get(ITEM_ID)
        elif operation is OPERATIONS["list"]:
            yield lambda: close.emails.list(limit=PAGE_SIZE)
        else:
            yield lambda: close.emails.list(limit=PAGE_SIZE, fields=FIELDS)
