"""What is done in these tests, and what may go wrong with it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from closebulk_async import (
    APIError,
    CloseBulk,
    CloseBulkError,
    DecodeError,
    ServerError,
    TransportError,
)
from closebulk_async.simulator import Fault, faults
from tests.peers import start_email

Operation = Callable[[CloseBulk], Awaitable[object]]
ELSEWHERE = "http://127.0.0.1:9/"


async def get(close: CloseBulk) -> object:
    """Read one action."""
    return await close.emails.get("bulkemail_1")


async def list_(close: CloseBulk) -> object:
    """Read a page."""
    return await close.emails.list()


async def pause(close: CloseBulk) -> object:
    """Pause the action."""
    return await close.emails.pause("bulkemail_1")


READS = (get, list_)
ALL = (get, list_, start_email, pause)

# Anything that proves neither «not sent» nor «rejected», and what a read raises when it goes on for ever.
DOUBTFUL: dict[str, tuple[Fault, type[CloseBulkError]]] = {
    **{f"{status} as HTML": (faults.server_error(status), ServerError) for status in (500, 502, 503, 504, 599)},
    "500 as JSON": (faults.reply(500, '{"error": "x"}', content_type="application/json"), ServerError),
    "408": (faults.reply(408), APIError),
    **{f"{status} elsewhere": (faults.redirect(ELSEWHERE, status=status), APIError) for status in (301, 302, 303, 307)},
    "308 without a place": (faults.reply(308), APIError),
    "304": (faults.reply(304), APIError),
    "cut": (faults.cut_before(), TransportError),
    "truncated": (faults.truncated_body(), TransportError),
    "nothing of the body": (faults.truncated_body(kept=0), TransportError),
    "broken JSON": (faults.broken_json(), DecodeError),
    "204": (faults.no_content(), DecodeError),
    "a success as HTML": (faults.reply(200, "<html>", content_type="text/html"), DecodeError),
}
each_doubt = pytest.mark.parametrize(("fault", "error"), DOUBTFUL.values(), ids=list(DOUBTFUL))
