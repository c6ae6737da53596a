"""Hooks are called with one of the events, and a `match` that names all of them is known to be whole."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any, Literal, assert_never, assert_type

from closebulk_async import (
    ActionMoved,
    CloseBulk,
    CloseBulkError,
    Event,
    Hook,
    Intent,
    Job,
    JobRef,
    LogHook,
    PollEnded,
    RequestEnded,
    RequestRepeated,
    StartMoved,
    StartReconciled,
    State,
    Throttled,
    WaitBegan,
    WaitEnded,
    WebhookReceived,
)


def tell_all(event: Event) -> str:  # noqa: C901 - a case for each event
    """Every event has a case; nothing is left over."""
    match event:
        case RequestEnded(status=status, error=error):
            assert_type(status, int | None)
            assert_type(error, CloseBulkError | None)
        case RequestRepeated(delay=delay, reason=reason):
            assert_type(delay, timedelta)
            assert_type(reason, str)
        case Throttled(group=group):
            assert_type(group, str)
        case PollEnded(how=how):
            assert_type(how, Literal["item", "page"])
        case ActionMoved(before=before, action=action):
            assert_type(before, Job | None)
            assert_type(action, Job)
        case WaitBegan(number=number):
            assert_type(number, int)
        case WaitEnded(error=failure):
            assert_type(failure, BaseException | None)
        case StartMoved(intent=intent):
            assert_type(intent, Intent)
            assert_type(intent.state, State)
        case StartReconciled(outcome=outcome, ref=ref):
            assert_type(outcome, Literal["adopted", "missing", "several", "unknown"])
            assert_type(ref, JobRef[Any] | None)
        case WebhookReceived(is_watched=is_watched):
            assert_type(is_watched, bool)
        case _:
            assert_never(event)
    return type(event).__name__


def tell_some(event: Event) -> None:
    """A case that was forgotten is an error."""
    match event:
        case RequestEnded() | RequestRepeated() | Throttled() | PollEnded() | ActionMoved() | WaitBegan() | WaitEnded():
            return
        case StartMoved() | StartReconciled():
            return
        case _:
            assert_never(event)  # type: ignore[arg-type]


class Counter:
    """A hook may be an object."""

    def __init__(self) -> None:
        self.n_events = 0

    def __call__(self, event: Event) -> None:
        """Count it, but for waits."""
        self.n_events += not isinstance(event, WaitBegan | WaitEnded)


def tell_less(event: RequestEnded) -> None:
    """Hears of one event alone."""


async def tell_later(event: Event) -> None:
    """Would be forgotten: nobody awaits it."""


def listen() -> CloseBulk:
    """What takes every event is a hook; what takes some, or must be awaited, is none."""
    hook: Hook = Counter()
    CloseBulk("api_x", hooks=[tell_less])  # type: ignore[list-item]
    CloseBulk("api_x", hooks=[tell_later])  # type: ignore[list-item]
    CloseBulk("api_x", hooks=tell_all)  # type: ignore[arg-type]
    WaitBegan(number=1)  # type: ignore[call-arg]
    return CloseBulk("api_x", hooks=[hook, LogHook(logging.getLogger("mine"), level=logging.INFO), print])
