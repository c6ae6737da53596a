"""What is counted and measured of events, whichever library keeps the numbers: one table of instruments."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import attrs

from closebulk_async.errors import (
    BulkActionFailed,
    BulkActionPaused,
    BulkActionStalled,
    ClientClosedError,
    WaitClosedError,
    WaitTimeout,
)
from closebulk_async.telemetry import (
    ActionMoved,
    PollEnded,
    RequestEnded,
    RequestRepeated,
    StartMoved,
    StartReconciled,
    Throttled,
    WaitBegan,
    WaitEnded,
    WebhookReceived,
)
from closebulk_async.webhook_wire import JOB_ACTIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from closebulk_async.models import Job
    from closebulk_async.telemetry import Event


@attrs.frozen(eq=False)
class Instrument:
    """One number. `name` has dots between its parts; a histogram is of seconds. Each label has few values."""

    name: str
    form: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    meaning: str
    unit: str = ""
    """The one that is counted, in the singular."""
    buckets: tuple[float, ...] = ()


REQUESTS = Instrument("requests", "counter", ("group", "status"), "Requests that ended", "request")
DURATION = Instrument(
    "request.duration",
    "histogram",
    ("group",),
    "Time from sending a request to its answer",
    # What OpenTelemetry advises for HTTP up to 10 s, and on to the longest that a request may take by default.
    buckets=(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 30, 60),
)
REPEATS = Instrument("request.repeats", "counter", ("group",), "Requests that are sent again", "request")
THROTTLED = Instrument("throttled", "counter", ("group",), "Answers 429 that stopped an endpoint group", "stop")
POLLS = Instrument("polls", "counter", ("kind", "how", "outcome"), "Requests that asked how far actions are", "poll")
WAITS = Instrument("waits.running", "gauge", (), "Waits that have begun and not ended", "wait")
WAIT_DURATION = Instrument(
    "wait.duration",
    "histogram",
    ("kind", "outcome"),
    "Time from the beginning of a wait to its end",
    # An action takes from seconds to the days over which sending limits spread it.
    buckets=(1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 12 * 3600, 24 * 3600, 3 * 24 * 3600, 7 * 24 * 3600),
)
STARTS = Instrument("starts", "counter", ("kind", "state"), "Intents that came to a state", "start")
RECONCILIATIONS = Instrument(
    "start.reconciliations", "counter", ("kind", "outcome"), "Ambiguous starts whose action was looked for", "start"
)
OBJECTS = Instrument("objects.processed", "counter", ("kind",), "Objects that polls saw being processed", "object")
ENDED = Instrument("actions.ended", "counter", ("kind", "status"), "Actions that polls saw at their end", "action")
WEBHOOKS = Instrument("webhooks", "counter", ("kind", "action", "watched"), "Webhooks that told of an action", "event")

INSTRUMENTS = (
    REQUESTS,
    DURATION,
    REPEATS,
    THROTTLED,
    POLLS,
    WAITS,
    WAIT_DURATION,
    STARTS,
    RECONCILIATIONS,
    OBJECTS,
    ENDED,
    WEBHOOKS,
)
"""All of them, for whoever has to make them beforehand."""

OTHER = "other"
"""Stands for words of the service that nobody knows yet: each new value of a label is a new time series."""

WEBHOOK_ACTIONS = frozenset(JOB_ACTIONS)
_HTTP_STATUSES = frozenset(HTTPStatus)

OUTCOME_OF_ERROR: Mapping[type[BaseException], str] = MappingProxyType(
    {
        BulkActionFailed: "failed",
        BulkActionPaused: "paused",
        BulkActionStalled: "stalled",
        WaitTimeout: "timeout",
        ClientClosedError: "closed",
        WaitClosedError: "left",
        asyncio.CancelledError: "left",
        GeneratorExit: "left",
    }
)
"""How a wait has ended, by what it raises: `returned` where that is nothing, `error` where it is anything else."""

Measured: TypeAlias = tuple[Instrument, float, tuple[str, ...]]
"""What is added to a counter or a gauge, or observed by a histogram, with the values of its labels."""


def measure(event: Event) -> Iterable[Measured]:
    """What an event adds to the numbers."""
    return _MEASURES[type(event)](event)


def outcome_of_wait(error: BaseException | None) -> str:
    """How a wait has ended, in a word: see OUTCOME_OF_ERROR."""
    if error is None:
        return "returned"
    return next((word for kind, word in OUTCOME_OF_ERROR.items() if isinstance(error, kind)), "error")


def _request_ended(event: RequestEnded) -> Iterable[Measured]:
    status = "none" if event.status is None else str(event.status) if event.status in _HTTP_STATUSES else OTHER
    yield REQUESTS, 1, (event.group, status)
    yield DURATION, event.duration.total_seconds(), (event.group,)


def _request_repeated(event: RequestRepeated) -> Iterable[Measured]:
    yield REPEATS, 1, (event.group,)


def _throttled(event: Throttled) -> Iterable[Measured]:
    yield THROTTLED, 1, (event.group,)


def _poll_ended(event: PollEnded) -> Iterable[Measured]:
    kind = event.refs[0].kind if event.refs else "none"  # one request asks for one kind
    outcome = "error" if event.error is not None else "found" if event.found else "missing"
    yield POLLS, 1, (kind, event.how, outcome)


def _action_moved(event: ActionMoved) -> Iterable[Measured]:
    action, before = event.action, event.before
    # Nothing where it is seen for the first time: what was done by then may have been counted elsewhere.
    done_before, done = _count_processed(before), _count_processed(action)
    if done_before is not None and done is not None and done > done_before:
        yield OBJECTS, done - done_before, (action.kind,)
    if action.is_final and not (before is not None and before.is_final):
        yield ENDED, 1, (action.kind, str(action.status))


def _count_processed(action: Job | None) -> int | None:
    """None where it was not read: a narrowed action raises for that."""
    return getattr(action, "n_objects_processed", None)


def _wait_began(_: WaitBegan) -> Iterable[Measured]:
    yield WAITS, 1, ()


def _wait_ended(event: WaitEnded) -> Iterable[Measured]:
    yield WAITS, -1, ()
    yield WAIT_DURATION, event.elapsed.total_seconds(), (event.ref.kind, outcome_of_wait(event.error))


def _start_moved(event: StartMoved) -> Iterable[Measured]:
    yield STARTS, 1, (event.intent.kind, event.intent.state)


def _start_reconciled(event: StartReconciled) -> Iterable[Measured]:
    yield RECONCILIATIONS, 1, (event.intent.kind, event.outcome)


def _webhook_received(event: WebhookReceived) -> Iterable[Measured]:
    action = event.action if event.action in WEBHOOK_ACTIONS else OTHER
    yield WEBHOOKS, 1, (event.ref.kind, action, "true" if event.is_watched else "false")


_MEASURES: Mapping[type, Callable[[Any], Iterable[Measured]]] = MappingProxyType(
    {
        RequestEnded: _request_ended,
        RequestRepeated: _request_repeated,
        Throttled: _throttled,
        PollEnded: _poll_ended,
        ActionMoved: _action_moved,
        WaitBegan: _wait_began,
        WaitEnded: _wait_ended,
        StartMoved: _start_moved,
        StartReconciled: _start_reconciled,
        WebhookReceived: _webhook_received,
    }
)
