"""The floor: what somebody writes with aiohttp and orjson who needs nothing but the decoded answer."""

from __future__ import annotations

import contextlib
from http import HTTPStatus
from typing import TYPE_CHECKING

import aiohttp
import orjson

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from benchmarks.corpus import Operation


@contextlib.asynccontextmanager
async def connect(base_url: str, operation: Operation) -> AsyncIterator[Callable[[], Awaitable[object]]]:
    """Give the call that sends the operation once and returns the answer as dicts."""
    url = f"{base_url}/{operation.path}"
    async with aiohttp.ClientSession(headers={"Authorization": "Basic YXBpX2JlbmNoOg=="}) as session:

        async def call() -> object:
            async with session.get(url, params=operation.params) as response:
                if response.status != HTTPStatus.OK:
                    raise RuntimeError(response.status)
                return orjson.loads(await response.read())

        yield call
