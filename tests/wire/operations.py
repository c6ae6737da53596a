"""What is done in these tests, and what may go wrong with it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import pytest

from closebulk_async import (
    APIError,
    BulkEmail,
    CloseBulk,
    CloseBulkError,
    DecodeError,
    ServerError,
    StartPolicy,
    TransportError,
)
from closebulk_async.simulator import Fault, Request, Simulator, faults
from tests.peers import ACME, NotingClock

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


async def start(close: CloseBulk, *, template: str = "tmpl_1", timeout: float | None = None) -> BulkEmail:
    """Start a bulk email, and raise at once where its outcome is in doubt."""
    return await close.emails.create(
        template_id=template, email_account_id="emailacct_1", s_query=ACME, timeout=timeout, on_ambiguous="raise"
    )


READS = (get, list_)
ALL = (get, list_, start, pause)
METHODS: Mapping[Operation, str] = {get: "GET", list_: "GET", start: "POST", pause: "PUT"}
"""What an operation is about: a start reads the list before it."""

EMPTY_LIST = b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{"data":[],"has_more":false}'
"""An answer that lets a start go on to its POST, for servers that speak bytes."""


def requests_of(sim: Simulator, operation: Operation) -> list[Request]:
    """The requests that the operation is about, without the reading before a start."""
    return [request for request in sim.requests if request.method == METHODS[operation]]


def waits(clock: NotingClock) -> list[float]:
    """The seconds that were slept before a repeat: not those between renewals of a lease."""
    return [seconds for seconds in clock.slept if seconds != StartPolicy().lease / 3]


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
