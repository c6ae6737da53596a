"""Files behind links, from stores that mean harm: nothing of the caller's goes there, and every link has an end."""

from __future__ import annotations

from itertools import chain, repeat
from typing import TYPE_CHECKING

import pytest

from closebulk_async import CloseBulkError, DecodeError, TransportError
from tests.hostile.answers import ABSURD, whole
from tests.hostile.calls import connect, files
from tests.hostile.judging import judge, try_all
from tests.hostile.servers import hostile, response

if TYPE_CHECKING:
    from collections.abc import Iterable

    from closebulk_async.testing import FakeClock
    from tests.hostile.servers import Piece, Script

LOST = (
    "http://a..b/x",
    f"http://{'a' * 64}.example/x",
    "http://./",
    "http://\u2025/",
    "http://[::1",
    "http://127.0.0.1:99999/",
    "http://a b/",
    "http:///x",
    f"http://{'1' * 5000}.5/",
    "//",
    "x",
    "file:///etc/passwd",
    "ftp://127.0.0.1/x",
    "data:text/csv,a",
    "javascript:alert(1)",
)
"""Addresses at which no server of the web can be asked."""


@pytest.mark.parametrize("link", LOST, ids=[link[:30] for link in LOST])
async def test_a_link_that_leads_nowhere(clock: FakeClock, link: str) -> None:
    """Ends as an answer that does not fit, in the export or behind a redirect; at the latest after five redirects."""
    redirect = whole(response(b"", status="302 Found", headers=[f"Location: {link}"]))
    async with hostile(clock, redirect) as server, connect(server, clock) as close:
        for call in (*files(link).values(), *files(f"{server.base_url}/file").values()):
            error = await judge(call, close)
            assert isinstance(error, DecodeError | TransportError)


def parts(total: str, length: str) -> Script:
    """A file that is cut off each time, whose rest is said to be part of one of that size."""
    first = response(b"abc", headers=['ETag: "1"'], length=length)
    range_ = f"Content-Range: bytes 3-{total}/{total}"
    rest = response(b"d", status="206 Partial", headers=['ETag: "1"', range_], length=2)
    answers = chain([first], repeat(rest))

    def pieces() -> Iterable[Piece]:
        return [next(answers)]

    return pieces


@pytest.mark.parametrize("total", [*ABSURD.values(), "9" * 18, "\u0661"], ids=[*ABSURD, "18 digits", "digits"])
async def test_a_size_that_makes_no_sense(total: str) -> None:
    """Is none: progress is told without a size, and the download ends as that of any file that is never whole."""
    verdict = await try_all(parts(total, "4"), only={"download", "stream"}.__contains__)
    assert all(isinstance(error, CloseBulkError) for error in verdict.errors.values())
    await try_all(parts(total, "9" * 18), only={"download"}.__contains__)
