"""The spans and metrics that OpenTelemetry gets."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiohttp
import attrs
import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from closebulk_async import AmbiguousStartError, BulkActionFailed, PermissionDeniedError
from closebulk_async.integrations.measures import INSTRUMENTS
from closebulk_async.integrations.opentelemetry import MOST_LINKS, MOST_WAITS, OpenTelemetryHook
from closebulk_async.intents import State
from closebulk_async.models import Kind
from closebulk_async.simulator import faults
from closebulk_async.telemetry import StartMoved, WaitBegan
from tests.integrations.examples import EVENTS, GROUP, REF, ended, moved, request
from tests.journals import new_intent, ref_of
from tests.stage import cancel, create

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import Tracer

    from tests.stage import Stage


@attrs.define(eq=False)
class Observatory:
    """Providers of the test's own, and what has come to them."""

    exporter: InMemorySpanExporter = attrs.field(factory=InMemorySpanExporter)
    reader: InMemoryMetricReader = attrs.field(factory=InMemoryMetricReader)
    traces: TracerProvider = attrs.field(factory=TracerProvider)

    def __attrs_post_init__(self) -> None:
        self.traces.add_span_processor(SimpleSpanProcessor(self.exporter))

    def make_hook(self) -> OpenTelemetryHook:
        """A hook that tells these providers."""
        return OpenTelemetryHook(
            tracer_provider=self.traces, meter_provider=MeterProvider([self.reader], shutdown_on_exit=False)
        )

    @property
    def tracer(self) -> Tracer:
        """The application's own."""
        return self.traces.get_tracer("application")

    def spans(self, name: str) -> list[ReadableSpan]:
        """Those of that name that have ended, in that order."""
        return [span for span in self.exporter.get_finished_spans() if span.name == name]

    def span(self, name: str) -> ReadableSpan:
        """The one of that name."""
        (span,) = self.spans(name)
        return span

    def metrics(self) -> dict[str, Any]:
        """All metrics by their names."""
        data = self.reader.get_metrics_data()
        assert data is not None
        found = [metric for of in data.resource_metrics for scope in of.scope_metrics for metric in scope.metrics]
        return {metric.name: metric for metric in found}


@pytest.fixture
def seen() -> Observatory:
    """Nothing has come to it yet."""
    return Observatory()


@pytest.fixture
def hook(seen: Observatory) -> OpenTelemetryHook:
    """It has seen nothing yet."""
    return seen.make_hook()


async def tell_start(hook: OpenTelemetryHook, number: int) -> None:
    """A start that found its action, in a task of its own, as clients do it."""

    async def tell() -> None:
        intent = new_intent(id=str(number))
        hook(StartMoved(intent=intent))
        hook(StartMoved(intent=attrs.evolve(intent, state=State.STARTED, ref=ref_of(number), version=2)))

    await asyncio.create_task(tell())


class TestStarts:
    """The span of a start."""

    async def test_it_begins_and_ends_with_the_create(
        self, stage: Stage, seen: Observatory, hook: OpenTelemetryHook
    ) -> None:
        """Its parent is the caller's span, which stays the current one; it knows the intent and the action."""
        async with stage.client(hooks=[hook]) as close:
            with seen.tracer.start_as_current_span("campaign") as campaign:
                action = await create(close, Kind.EMAIL)
                assert trace.get_current_span() is campaign
                span = seen.span("closebulk start email")
        assert span.parent is not None
        assert span.parent.span_id == campaign.get_span_context().span_id
        assert span.kind is SpanKind.INTERNAL
        assert span.status.status_code is StatusCode.UNSET
        assert span.attributes is not None
        assert span.attributes["closebulk.kind"] == "email"
        assert span.attributes["closebulk.ref"] == str(action.ref)
        assert span.attributes["closebulk.intent"]

    async def test_it_shows_states_and_requests(self, stage: Stage, seen: Observatory, hook: OpenTelemetryHook) -> None:
        """In their order: the fence is read before the POST; what others ask for meanwhile is not its own."""
        async with stage.client(hooks=[hook]) as close:
            await create(close, Kind.DELETE)
            await close.wait_until_done(stage.run_job(duration=3))
        shown = [(event.name, dict(event.attributes or {})) for event in seen.span("closebulk start delete").events]
        told = [
            attributes.get("closebulk.intent_state")
            or f"{attributes['closebulk.method']} {attributes['closebulk.status']}"
            for _, attributes in shown
        ]
        assert told == ["new", "GET 200", "posting", "POST 200", "started"]
        assert {name for name, _ in shown} == {"closebulk.StartMoved", "closebulk.RequestEnded"}

    async def test_it_shows_what_was_throttled_repeated_and_looked_for(
        self, stage: Stage, seen: Observatory, hook: OpenTelemetryHook
    ) -> None:
        """The log of a start that met everything, in one place."""
        stage.sim.fail_next(faults.server_error(503), method="GET")
        stage.sim.fail_next(faults.too_many_requests(retry_after=1), method="POST")
        stage.sim.fail_next(faults.cut_after(), method="POST")
        async with stage.client(hooks=[hook]) as close:
            await create(close, Kind.EMAIL)
        names = {event.name.removeprefix("closebulk.") for event in seen.span("closebulk start email").events}
        assert names == {"StartMoved", "RequestEnded", "RequestRepeated", "Throttled", "StartReconciled"}

    async def test_one_in_doubt_ends_with_its_error(
        self, stage: Stage, seen: Observatory, hook: OpenTelemetryHook
    ) -> None:
        """Its intent stays open, and the span does not; what is found of it later does not harm."""
        stage.sim.fail_next(faults.cut_after(), method="POST")
        async with stage.client(hooks=[hook]) as close:
            with pytest.raises(AmbiguousStartError) as caught:
                await create(close, Kind.EMAIL, on_ambiguous="raise")
            span = seen.span("closebulk start email")
            await caught.value.reconcile()
        assert span.status.status_code is StatusCode.ERROR
        assert span.status.description
        assert "may or may not have started" in span.status.description
        assert span.attributes is not None
        assert span.attributes["error.type"] == "AmbiguousStartError"
        assert "closebulk.ref" not in span.attributes
        assert len(seen.spans("closebulk start email")) == 1

    async def test_a_rejected_one_ends_with_its_error(
        self, stage: Stage, seen: Observatory, hook: OpenTelemetryHook
    ) -> None:
        """Although its intent is given up before the caller hears of it."""
        stage.sim.fail_next(faults.forbidden(), method="POST")
        async with stage.client(hooks=[hook]) as close:
            with pytest.raises(PermissionDeniedError):
                await create(close, Kind.EMAIL)
        span = seen.span("closebulk start email")
        assert span.attributes is not None
        assert (span.status.status_code, span.attributes["error.type"]) == (StatusCode.ERROR, "PermissionDeniedError")

    async def test_one_that_was_written_down_before_begins_when_it_is_sent(
        self, stage: Stage, seen: Observatory, hook: OpenTelemetryHook, tmp_path: Path
    ) -> None:
        """Its key has an intent already, which was never started: that one is not new."""
        stage.sim.fail_next(faults.forbidden(), method="POST")
        async with stage.client(hooks=[hook], journal=tmp_path / "journal.db") as close:
            with pytest.raises(PermissionDeniedError):
                await create(close, Kind.EMAIL, idempotency_key="campaign")
            action = await create(close, Kind.EMAIL, idempotency_key="campaign")
        rejected, sent = seen.spans("closebulk start email")
        assert rejected.attributes is not None
        assert sent.attributes is not None
        assert rejected.attributes["closebulk.intent"] == sent.attributes["closebulk.intent"]
        assert sent.attributes["closebulk.ref"] == str(action.ref)

    async def test_one_that_is_cancelled_is_no_error(
        self, stage: Stage, seen: Observatory, hook: OpenTelemetryHook
    ) -> None:
        """The caller wanted that."""
        stage.sim.fail_next(faults.delay(30), method="GET")
        async with stage.client(hooks=[hook]) as close:
            task = asyncio.create_task(create(close, Kind.EMAIL))
            await stage.clock.sleep(1)
            await cancel(task)
        assert stage.posts == 0
        assert seen.span("closebulk start email").status.status_code is StatusCode.UNSET

    async def test_what_an_instrumented_session_draws_is_its_child(
        self, stage: Stage, seen: Observatory, hook: OpenTelemetryHook
    ) -> None:
        """The requests of a start are made with its span as the current one; polls are not."""
        traced = aiohttp.TraceConfig()

        async def draw(*_: object) -> None:
            seen.tracer.start_span("HTTP").end()

        traced.on_request_start.append(draw)
        async with (
            aiohttp.ClientSession(trace_configs=[traced]) as session,
            stage.client(hooks=[hook], session=session) as close,
        ):
            await create(close, Kind.EMAIL)
            await close.wait_until_done(stage.run_job(duration=3))
        start = seen.span("closebulk start email").context
        assert start is not None
        parents = [span.parent and span.parent.span_id for span in seen.spans("HTTP")]
        assert parents[:2] == [start.span_id] * 2
        assert len(parents) > 2
        assert start.span_id not in parents[2:]

    async def test_two_hooks_do_not_meddle(self, stage: Stage, seen: Observatory) -> None:
        """Each draws its own spans."""
        other = Observatory()
        async with stage.client(hooks=[seen.make_hook(), other.make_hook()]) as close:
            await create(close, Kind.EMAIL)
        for each in (seen, other):
            assert len(each.span("closebulk start email").events) == 5

    def test_outside_of_a_task_there_is_none(self, seen: Observatory, hook: OpenTelemetryHook) -> None:
        """Nobody would end it; the numbers are kept all the same."""
        hook(StartMoved(intent=new_intent()))
        assert seen.exporter.get_finished_spans() == ()
        assert not trace.get_current_span().is_recording()
        assert "closebulk.starts" in seen.metrics()


class TestWaits:
    """The span of a wait."""

    async def test_it_is_linked_to_the_start(self, stage: Stage, seen: Observatory, hook: OpenTelemetryHook) -> None:
        """And belongs to the span of whoever waits, in whichever task that is."""
        stage.sim.next_job(duration=10)
        async with stage.client(hooks=[hook]) as close:
            action = await create(close, Kind.EMAIL)
            with seen.tracer.start_as_current_span("follow-up") as parent:
                await asyncio.gather(close.wait_until_done(action), close.wait_until_done(action))
        start = seen.span("closebulk start email").context
        spans = seen.spans("closebulk wait email")
        assert len(spans) == 2
        for span in spans:
            assert [link.context for link in span.links] == [start]
            assert span.parent == parent.get_span_context()
            assert span.status.status_code is StatusCode.UNSET
            assert span.attributes is not None
            assert span.attributes["closebulk.ref"] == str(action.ref)
            assert span.attributes["closebulk.outcome"] == "returned"
            assert isinstance(span.attributes["closebulk.polls"], int)
            assert span.attributes["closebulk.polls"] > 0

    async def test_without_a_start_it_stands_alone(
        self, stage: Stage, seen: Observatory, hook: OpenTelemetryHook
    ) -> None:
        """Somebody else started the action."""
        async with stage.client(hooks=[hook]) as close:
            await close.wait_until_done(stage.run_job(duration=3))
        span = seen.span("closebulk wait email")
        assert not span.links
        assert span.parent is None

    async def test_one_that_fails_says_why(self, stage: Stage, seen: Observatory, hook: OpenTelemetryHook) -> None:
        """With the class of the error and its first words."""
        async with stage.client(hooks=[hook]) as close:
            with pytest.raises(BulkActionFailed):
                await close.wait_until_done(stage.show_job(status="error"))
        span = seen.span("closebulk wait email")
        assert span.status.status_code is StatusCode.ERROR
        assert span.attributes is not None
        assert (span.attributes["closebulk.outcome"], span.attributes["error.type"]) == ("failed", "BulkActionFailed")

    async def test_one_that_is_left_is_no_error(self, stage: Stage, seen: Observatory, hook: OpenTelemetryHook) -> None:
        """Whoever waited has ended it."""
        async with stage.client(hooks=[hook]) as close:
            task = asyncio.ensure_future(close.wait_until_done(stage.run_job(duration=600)))
            await stage.clock.sleep(2)
            await cancel(task)
        span = seen.span("closebulk wait email")
        assert span.status.status_code is StatusCode.UNSET
        assert span.attributes is not None
        assert span.attributes["closebulk.outcome"] == "left"

    def test_an_end_without_a_beginning_draws_nothing(self, seen: Observatory, hook: OpenTelemetryHook) -> None:
        """A hook may come later than the wait."""
        hook(ended())
        assert seen.exporter.get_finished_spans() == ()


class TestMemory:
    """What is kept is bounded."""

    async def test_a_bounded_number_of_starts_can_be_linked(self, seen: Observatory, hook: OpenTelemetryHook) -> None:
        """The oldest is forgotten, the next one is not."""
        for number in range(MOST_LINKS + 1):
            await tell_start(hook, number)
        for number in (0, 1):
            hook(WaitBegan(number=number, ref=ref_of(number)))
            hook(ended(number))
        assert [len(span.links) for span in seen.spans("closebulk wait email")] == [0, 1]

    def test_a_bounded_number_of_waits_is_open(self, seen: Observatory, hook: OpenTelemetryHook) -> None:
        """One too many ends the oldest."""
        for number in range(MOST_WAITS):
            hook(WaitBegan(number=number, ref=ref_of(number)))
        assert seen.exporter.get_finished_spans() == ()
        hook(WaitBegan(number=MOST_WAITS, ref=REF))
        (span,) = seen.exporter.get_finished_spans()
        assert span.attributes is not None
        assert span.attributes["closebulk.ref"] == str(ref_of(0))


class TestMetrics:
    """The numbers."""

    def test_they_have_these_names_and_units(self, seen: Observatory, hook: OpenTelemetryHook) -> None:
        """Dashboards are built on them: a name that changes is a breaking change."""
        for event in [*EVENTS, moved(0, 5, status="done")]:
            hook(event)
        assert {name: metric.unit for name, metric in seen.metrics().items()} == {
            "closebulk.requests": "{request}",
            "closebulk.request.duration": "s",
            "closebulk.request.repeats": "{request}",
            "closebulk.throttled": "{stop}",
            "closebulk.polls": "{poll}",
            "closebulk.waits.running": "{wait}",
            "closebulk.wait.duration": "s",
            "closebulk.starts": "{start}",
            "closebulk.start.reconciliations": "{start}",
            "closebulk.objects.processed": "{object}",
            "closebulk.actions.ended": "{action}",
            "closebulk.webhooks": "{event}",
        }
        assert {metric.description for metric in seen.metrics().values()} == {each.meaning for each in INSTRUMENTS}

    def test_they_add_up(self, seen: Observatory, hook: OpenTelemetryHook) -> None:
        """With the labels as attributes; a gauge comes down again."""
        for event in (request(), request(), request(status=503), WaitBegan(number=1, ref=REF), ended()):
            hook(event)
        metrics = seen.metrics()
        requests = {
            tuple(point.attributes.items()): point.value for point in metrics["closebulk.requests"].data.data_points
        }
        group = ("closebulk.group", GROUP)
        assert requests == {(group, ("closebulk.status", "200")): 2, (group, ("closebulk.status", "503")): 1}
        assert metrics["closebulk.requests"].data.is_monotonic
        (running,) = metrics["closebulk.waits.running"].data.data_points
        assert running.value == 0
        assert not metrics["closebulk.waits.running"].data.is_monotonic
        (duration,) = metrics["closebulk.request.duration"].data.data_points
        assert (duration.count, duration.sum) == (3, 0.75)
        assert duration.explicit_bounds[:3] == (0.005, 0.01, 0.025)

    def test_without_providers_nothing_is_needed(self) -> None:
        """As long as the application sets none, the global ones do nothing."""
        hook = OpenTelemetryHook()
        for event in EVENTS:
            hook(event)
