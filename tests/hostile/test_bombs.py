"""Little that stands for much: what is inflated or parsed has a cap, in bytes and in memory."""

from __future__ import annotations

import tracemalloc
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from closebulk_async import CloseBulkError, RetryPolicy, Timeouts, TransportError
from closebulk_async.connections import MAX_BODY
from tests.hostile.answers import ENDLESS, THROWN_AWAY, bombs
from tests.hostile.calls import connect, files, grants
from tests.hostile.judging import IN_BUFFERS, judge
from tests.hostile.servers import hostile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from closebulk_async.testing import FakeClock

BOMBS = bombs()
MEMORY = 4 * MAX_BODY
"""Bytes of memory at the peak: the pieces of a body and the whole, and what a text of it takes at the most."""


@contextmanager
def measured() -> Iterator[None]:
    """See that what happens inside takes no more memory than that."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", list(BOMBS))
async def test_a_bomb_is_not_inflated_beyond_the_cap(clock: FakeClock, name: str) -> None:
    """An answer that would be a gigabyte fails, whatever its status; so does one that is packed several times."""
    async with (
        hostile(clock, BOMBS[name]) as server,
        connect(server, clock, retry=RetryPolicy(attempts=1)) as close,
    ):
        with measured():
            error = await judge(lambda close: close.emails.get("bulkemail_1"), close)
            assert isinstance(error, CloseBulkError)
            assert isinstance(await judge(grants(clock)["exchange a code"], close), CloseBulkError)


async def test_a_file_is_inflated_in_small_pieces(clock: FakeClock) -> None:
    """Of whatever size it is: there is no cap on files, and what is held of one is small."""
    async with (
        hostile(clock, bombs(members=2)["a bomb of gzip"]) as server,
        connect(server, clock, retry=RetryPolicy(attempts=1)) as close,
    ):
        with measured():
            assert await judge(files(server.base_url)["stream"], close) is None


@pytest.mark.parametrize("name", ["an endless body", "an endless error"])
async def test_an_endless_body_is_given_up_at_the_cap(clock: FakeClock, name: str) -> None:
    """Within a bounded memory, also where its text is looked at for what an error says."""
    async with (
        hostile(clock, ENDLESS[name]) as server,
        connect(server, clock, retry=RetryPolicy(attempts=1)) as close,
    ):
        with measured():
            assert await judge(lambda close: close.emails.get("bulkemail_1"), close) is not None
        assert server.most_sent <= MAX_BODY + IN_BUFFERS


@pytest.mark.parametrize("name", list(THROWN_AWAY))
async def test_what_a_parser_throws_away_is_read_until_the_timeout(clock: FakeClock, name: str) -> None:
    """Nothing of it is kept, and the request ends when its time is up."""
    async with (
        hostile(clock, THROWN_AWAY[name]) as server,
        connect(server, clock, retry=RetryPolicy(attempts=1)) as close,
    ):
        with measured():
            error = await judge(lambda close: close.emails.get("bulkemail_1"), close)
        assert isinstance(error, TransportError)
        assert clock.monotonic() == Timeouts().total
