"""The client of a command."""

from __future__ import annotations

import os
from collections.abc import Sequence
from os import PathLike
from typing import Any

from closebulk_async.cli.logins import find_auth
from closebulk_async.cli.views import has_terminal
from closebulk_async.client import CloseBulk
from closebulk_async.models import Kind
from closebulk_async.policy import PollPolicy, Timeouts
from closebulk_async.telemetry import Hook

LOOKED_AT = PollPolicy(ceiling=5.0)
"""For live bars: somebody looks at them, and takes one that rests for half a minute for a dead one."""


def connect(
    *,
    as_json: bool = False,
    journal: PathLike[str] | None = None,
    timeout: float | None = None,
    hooks: Sequence[Hook] = (),
    poll: PollPolicy | None = None,
) -> CloseBulk:
    """A client as the environment says, to be opened. `timeout` bounds each answer, in seconds.

    CLOSE_API_KEY goes before a login that is kept. Raises AuthenticationError without either.
    """
    has_bars = has_terminal() and not as_json
    timeouts = Timeouts() if timeout is None else Timeouts(total=timeout)
    auth = None if os.environ.get("CLOSE_API_KEY", "").strip() else find_auth()
    return CloseBulk.from_env(
        auth=auth,
        poll=poll or (LOOKED_AT if has_bars else PollPolicy()),
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
