"""OpenTelemetry: spans of starts and waits, and the package's numbers. Extra: `closebulk-async[opentelemetry]`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from closebulk_async.errors import shorten
from closebulk_async.integrations.measures import INSTRUMENTS, measure, outcome_of_wait
from closebulk_async.intents import State
from closebulk_async.telemetry import (
    RequestEnded,
    RequestRepeated,
    StartMoved,
    StartReconciled,
    Throttled,
    WaitBegan,
    WaitEnded,
    describe,
)
from closebulk_async.version import __version__

try:
    from opentelemetry import context, metrics, trace
except ImportError as _exc:
    message = "opentelemetry is not installed: pip install 'closebulk-async[opentelemetry]'"
    raise ImportError(message, name=_exc.name) from _exc

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.metrics import Meter, MeterProvider
    from opentelemetry.trace import Span, SpanContext, TracerProvider

    from closebulk_async.integrations.measures import Instrument
    from closebulk_async.intents import Intent
    from closebulk_async.models import JobRef
    from closebulk_async.telemetry import Event

MOST_LINKS = 10_000
"""Started actions whose spans are remembered. One that is waited for after so many others have started has no link."""

MOST_WAITS = 20_000
"""Spans of waits that are kept open: twice as many as one API key can follow. Then the oldest is ended early."""


class OpenTelemetryHook:
    """Spans `closebulk start {kind}` and `closebulk wait {kind}`, and the metrics `closebulk.…`.

    A start's span ends with its `create`, and has as events its states and the requests that were sent for it. A wait's
    span is linked to that of the start. Both have the caller's span as parent.
    """

    def __init__(
        self, *, tracer_provider: TracerProvider | None = None, meter_provider: MeterProvider | None = None
    ) -> None:
        """Use the providers that are set globally, where none are given."""
        self._tracer = trace.get_tracer("closebulk_async", __version__, tracer_provider)
        meter = metrics.get_meter("closebulk_async", __version__, meter_provider)
        self._record = {instrument: _make(instrument, meter) for instrument in INSTRUMENTS}
        self._start_key = context.create_key("closebulk_async start")
        self._started: dict[JobRef[Any], SpanContext] = {}
        self._waits: dict[int, Span] = {}

    def __call__(self, event: Event) -> None:
        """Count an event, and draw it."""
        for instrument, amount, labels in measure(event):
            pairs = zip(instrument.labels, labels, strict=True)
            self._record[instrument](amount, {f"closebulk.{label}": str(value) for label, value in pairs})
        match event:
            case WaitBegan():
                self._begin_wait(event)
            case WaitEnded():
                self._end_wait(event)
            case StartMoved():
                self._move_start(event.intent)
                self._add_to_start(event)
            case RequestEnded() | RequestRepeated() | Throttled() | StartReconciled():
                self._add_to_start(event)

    def _start(self) -> Span | None:
        """The span of the start that is under way here."""
        return cast("Span | None", context.get_value(self._start_key))

    def _move_start(self, intent: Intent) -> None:
        if self._start() is None and (intent.version == 0 or intent.state is State.POSTING):
            self._begin_start(intent)
        span = self._start()
        if span is not None and intent.state is State.STARTED and intent.ref is not None:
            span.set_attribute("closebulk.ref", str(intent.ref))
            self._started[intent.ref] = span.get_span_context()
            if len(self._started) > MOST_LINKS:
                del self._started[next(iter(self._started))]

    def _begin_start(self, intent: Intent) -> None:
        try:
            task = asyncio.current_task()
        except RuntimeError:
            task = None
        if task is None:
            return  # nobody would say when it ends
        attributes = {"closebulk.kind": str(intent.kind), "closebulk.intent": intent.id}
        span = self._tracer.start_span(f"closebulk start {intent.kind}", attributes=attributes)
        # Never detached: the task is the start's own, and so is its context. What is sent in it, by an instrumented
        # HTTP client for example, belongs to this span.
        context.attach(trace.set_span_in_context(span, context.set_value(self._start_key, span)))
        # Events alone would not do: an ambiguous start stays `posting`, and one with a key `new`, for as long as nobody
        # asks for it again.
        task.add_done_callback(lambda task: _end(span, error=None if task.cancelled() else task.exception()))

    def _add_to_start(self, event: Event) -> None:
        if (span := self._start()) is not None:
            span.add_event(
                f"closebulk.{type(event).__name__}",
                {f"closebulk.{name}": value for name, value in describe(event).items()},
            )

    def _begin_wait(self, event: WaitBegan) -> None:
        started = self._started.get(event.ref)
        self._waits[event.number] = self._tracer.start_span(
            f"closebulk wait {event.ref.kind}",
            links=[] if started is None else [trace.Link(started)],
            attributes={"closebulk.kind": str(event.ref.kind), "closebulk.ref": str(event.ref)},
        )
        if len(self._waits) > MOST_WAITS:
            self._waits.pop(next(iter(self._waits))).end()

    def _end_wait(self, event: WaitEnded) -> None:
        span = self._waits.pop(event.number, None)
        if span is None:
            return
        outcome = outcome_of_wait(event.error)
        span.set_attributes({"closebulk.outcome": outcome, "closebulk.polls": event.polls})
        _end(span, error=None if outcome == "left" else event.error)


def _end(span: Span, *, error: BaseException | None) -> None:
    if error is not None:
        span.set_attribute("error.type", type(error).__name__)
        span.set_status(trace.StatusCode.ERROR, shorten(str(error)))
    span.end()


def _make(instrument: Instrument, meter: Meter) -> Callable[[float, dict[str, str]], None]:
    """The metric of an instrument, as what records a value of it."""
    name, unit, meaning = f"closebulk.{instrument.name}", f"{{{instrument.unit}}}", instrument.meaning
    match instrument.form:
        case "counter":
            return meter.create_counter(name, unit, meaning).add
        case "gauge":
            return meter.create_up_down_counter(name, unit, meaning).add
        case "histogram":
            return meter.create_histogram(
                name, "s", meaning, explicit_bucket_boundaries_advisory=instrument.buckets
            ).record
