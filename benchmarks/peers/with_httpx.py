"""httpx as its documentation shows it: one AsyncClient, and the response's own `json()`."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from benchmarks.corpus import Operation


@contextlib.asynccontextmanager
async def connect(base_url: str, operation: Operation) -> AsyncIterator[Callable[[], Awaitable[object]]]:
    """Give the call that sends the operation once and returns the answer as dicts."""
    async with httpx.AsyncClient(base_url=base_url, auth=("api_bench", "")) as client:

        async def call() -> object:
            response = await client.get(operation.path, params=operation.params)
            return response.raise_for_status().json()

        yield call
