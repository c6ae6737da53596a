"""What is asked of every call, whatever comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import attrs

from closebulk_async import CloseBulkError, RetryPolicy
from closebulk_async.connections import MAX_BODY
from closebulk_async.testing import FakeClock
from tests.hostile.calls import all_calls, connect
from tests.hostile.servers import Asked, hostile

if TYPE_CHECKING:
    from collections.abc import Callable

    from closebulk_async import CloseBulk
    from tests.hostile.calls import Call
    from tests.hostile.servers import Script

NET_SECONDS = 30.0
"""Only a net under a call that hangs."""

LONGEST = 4 * 3600.0
"""Virtual seconds that all calls may take together: their policies allow each some minutes."""

IN_BUFFERS = 16 * 1024 * 1024
"""Bytes that may have left the server and never come to the client: those in the buffers of both."""


@attrs.frozen
class Verdict:
    """What became of the calls: the error of each, None where it returned; and what the server saw of them."""

    errors: Mapping[str, CloseBulkError | None]
    asked: Collection[Asked]
    posts: Mapping[str, int]


async def judge(call: Call, close: CloseBulk) -> CloseBulkError | None:
    """The error of one call. Raises whatever is none of this package's."""
    try:
        async with asyncio.timeout(NET_SECONDS):
            repr(await call(close))
    except CloseBulkError as exc:
        f"{exc} {exc!r}".encode()  # half of a surrogate pair would end whoever writes it into a log or a page
        return exc
    return None


async def try_all(
    script: Script,
    *,
    only: Callable[[str], bool] = lambda _: True,
    spares: Callable[[Asked], bool] = lambda _: False,
    attempts: int = 2,
    clock: FakeClock | None = None,
) -> Verdict:
    """Every call that `only` chooses by its name, each of a client of its own, against a server with this script.

    What none may do is asserted here: raise anything else, hang, or take more than the cap of a body allows.
    """
    clock = clock or FakeClock()
    errors, posts = {}, {}
    async with hostile(clock, script, spares=spares) as server:
        for name, call in all_calls(server, clock).items():
            if not only(name):
                continue
            before = server.count("POST")
            async with connect(server, clock, retry=RetryPolicy(attempts=attempts)) as close:
                try:
                    errors[name] = await judge(call, close)
                    repr(close.limits)
                except Exception as exc:
                    exc.add_note(f"by the call {name!r}")
                    raise
            posts[name] = server.count("POST") - before
        assert server.most_sent <= MAX_BODY + IN_BUFFERS
        assert clock.monotonic() < LONGEST
        return Verdict(errors, server.asked, posts)
