"""The dashboard among clients that mean harm: it answers the others, and nothing gets into its log as a mistake."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest

from closebulk_async.dashboard.publishing import MOST_CLIENTS
from closebulk_async.simulator import Plan
from tests.dashboard.houses import TOKEN, House, living

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def busy(caplog: pytest.LogCaptureFixture) -> AsyncIterator[House]:
    """A dashboard with a job that runs, whose log has no error in the end."""
    async with living(allow_control=True) as house:
        house.run_job(plan=Plan(duration=600, n_objects=1000))
        await house.settle(2)
        yield house
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def is_alive(house: House) -> bool:
    """Whether it answers, and tells a page what moves."""
    async with house.page() as page:
        await page.take()
        await house.settle(2)
        return bool((await page.take())["actions"]) and (await house.ask("/api/actions")).status == 200


async def connect(house: House, stack: AsyncExitStack) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection that is closed in the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(house.url.rpartition(":")[2]))
    stack.callback(writer.close)
    return reader, writer


@pytest.mark.parametrize("since", ["", ":", "a:b", "1:-5", "x:" + "9" * 4000, "x:9e9", "\u00ff", "a:\u00b2", "0:0:0"])
async def test_versions_that_are_none(busy: House, since: str) -> None:
    """A page that claims to have any version gets all that there is."""
    choices: tuple[dict[str, Any], ...] = ({"last": since}, {"since": since})
    for known in choices:
        async with busy.page(**known) as page:
            assert (await page.take())["reset"]


async def test_a_login_that_is_not_packed_as_it_says() -> None:
    """Is refused as one, and not answered as a mistake of the dashboard's."""
    async with living(token=TOKEN) as house:
        headers = {"Content-Encoding": "gzip", "Connection": "close"}
        answer = await house.ask("/login", method="POST", data=b"token=x", headers=headers)
    assert (answer.status, "not compressed" in answer.text) == (400, True)


async def test_half_requests_and_readers_who_never_read(busy: House) -> None:
    """Take no place from the others beyond those of streams, of which there are so many at the most."""
    async with AsyncExitStack() as stack:
        for _ in range(200):
            _, writer = await connect(busy, stack)
            writer.write(b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\ntoken=")
        for _ in range(MOST_CLIENTS - 4):
            _, writer = await connect(busy, stack)
            writer.write(b"GET /api/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert await is_alive(busy)
        assert (await busy.ask("/healthz")).status == 200
