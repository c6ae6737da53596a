"""The client of a command."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

from closebulk_async.cli.credentials import Credentials, find_credentials
from closebulk_async.cli.views import has_terminal
from closebulk_async.client import CloseBulk
from closebulk_async.errors import CloseBulkError
from closebulk_async.models import Kind
from closebulk_async.policy import PollPolicy, RetryPolicy, Timeouts
from closebulk_async.telemetry import Hook

LOOKED_AT = PollPolicy(ceiling=5.0)
"""For live bars: somebody looks at them, and takes one that rests for half a minute for a dead one."""


def connect(
    *,
    as_json: bool = False,
    journal: PathLike[str] | None = None,
    timeout: float | None = None,
    retry: RetryPolicy = RetryPolicy(),  # noqa: B008 - frozen
    hooks: Sequence[Hook] = (),
    poll: PollPolicy | None = None,
    credentials: Credentials | None = None,
) -> CloseBulk:
    """A client of whom this call is (`find_credentials`), to be opened. `timeout` bounds each answer, in seconds.

    Raises AuthenticationError where there is no key, and InvalidRequestError where there is no such profile.
    """
    has_bars = has_terminal() and not as_json
    timeouts = Timeouts() if timeout is None else Timeouts(total=timeout)
    credentials = credentials or find_credentials()
    return CloseBulk(
        auth=credentials.auth,
        base_url=credentials.base_url,
        poll=poll or (LOOKED_AT if has_bars else PollPolicy()),
        retry=retry,
        timeouts=timeouts,
        journal=journal,
        hooks=hooks,
    )


def endpoint_of(close: CloseBulk, kind: Kind) -> Any:  # noqa: ANN401 - its keywords are those of any kind
    """The endpoint of a kind, with keywords that nobody checks before it runs."""
    return {
        Kind.EMAIL: close.emails,
        Kind.DELETE: close.deletes,
        Kind.EDIT: close.edits,
        Kind.SEQUENCE_SUBSCRIPTION: close.sequence_subscriptions,
        Kind.EXPORT: close.exports,
    }[kind]


async def read_lists(close: CloseBulk) -> Mapping[Kind, CloseBulkError | None]:
    """Read one row of each list, once; the error of each that could not be read."""
    outcomes = await asyncio.gather(*(endpoint_of(close, kind).list(limit=1) for kind in Kind), return_exceptions=True)
    found: dict[Kind, CloseBulkError | None] = {}
    for kind, outcome in zip(Kind, outcomes, strict=True):
        if isinstance(outcome, BaseException) and not isinstance(outcome, CloseBulkError):
            raise outcome
        found[kind] = outcome if isinstance(outcome, CloseBulkError) else None
    return found
