"""Events: hooks are told what became of starts in doubt, and can spoil nothing."""

from __future__ import annotations

import json
import logging
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from closebulk_async import AmbiguousStartError, CloseBulk
from closebulk_async.models import BulkEmail, JobRef, Kind
from closebulk_async.simulator import Plan, faults
from closebulk_async.telemetry import (
    ActionMoved,
    Event,
    LogHook,
    PollEnded,
    StartMoved,
    StartReconciled,
    Telling,
    describe,
)
from tests.integrations.examples import EVENTS, LOST, REF, moved, request
from tests.journals import new_intent
from tests.stage import KEYWORDS, QUERY, create

if TYPE_CHECKING:
    from collections.abc import Iterator

    from closebulk_async.telemetry import Hook
    from tests.stage import Stage


async def lose(close: CloseBulk) -> AmbiguousStartError:
    """A start whose outcome stays unknown."""
    with pytest.raises(AmbiguousStartError) as caught:
        await create(close, Kind.EMAIL)
    return caught.value


def looks_of(events: list[Event]) -> list[StartReconciled]:
    """Those of looks for the action of a start in doubt: hooks are told of requests and more besides."""
    return [event for event in events if isinstance(event, StartReconciled)]


async def test_hooks_are_told_of_each_outcome_in_doubt(stage: Stage) -> None:
    """Found, none, several, unreadable: with the intent as it is then; a plain start tells nothing."""
    events: list[Event] = []
    async with stage.client(hooks=[events.append]) as close:
        await create(close, Kind.EMAIL)
        assert looks_of(events) == []
        stage.sim.fail_next(faults.cut_after(), method="POST")
        action = await create(close, Kind.EMAIL)
        stage.sim.fail_next(faults.cut_before(), method="POST")
        missing = await lose(close)
        await close.abandon(missing.intent.id)
        for _ in range(2):
            equal = {"s_query": QUERY, **KEYWORDS[Kind.EMAIL]}
            stage.sim.add_job("email", equal, plan=Plan(shown_after=0.2))
        stage.sim.fail_next(faults.cut_before(), method="POST")
        several = await lose(close)
        await close.abandon(several.intent.id)
        stage.sim.fail_next(faults.cut_before(), method="POST")
        stage.sim.fail_next(faults.forbidden(), method="GET", skip=1, times=None)
        unknown = await lose(close)
    looks = looks_of(events)
    assert [look.outcome for look in looks] == ["adopted", "missing", "several", "unknown"]
    assert [look.ref for look in looks] == [action.ref, None, None, None]
    assert [look.intent.id for look in looks[1:]] == [error.intent.id for error in (missing, several, unknown)]
    assert looks[0].intent.ref == action.ref


async def test_each_look_is_told(stage: Stage) -> None:
    """One that is asked for once more is another event; what it finds is the last."""
    events: list[Event] = []
    async with stage.client(hooks=[events.append]) as close:
        stage.sim.next_job(shown_after=40, duration=600)
        stage.sim.fail_next(faults.cut_after(), method="POST")
        error = await lose(close)
        with pytest.raises(AmbiguousStartError):
            await error.reconcile()
        await stage.clock.sleep(10)
        action = await error.reconcile()
        assert (await error.reconcile()).ref == action.ref
    assert [look.outcome for look in looks_of(events)] == ["missing", "missing", "adopted"]


async def test_a_hook_that_raises_harms_nothing(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """The start has its action, the other hooks are told, and the log shows what went wrong."""
    told: list[tuple[str, Event]] = []

    def fail(event: Event) -> None:
        told.append(("first", event))
        raise ZeroDivisionError(type(event))

    hooks: list[Hook] = [fail, lambda event: told.append(("second", event))]
    async with stage.client(hooks=hooks) as close:
        stage.sim.fail_next(faults.cut_after(), method="POST")
        action = await create(close, Kind.EMAIL)
    assert [action.id] == [job.id for job in stage.sim.jobs]
    assert [who for who, event in told if isinstance(event, StartReconciled)] == ["first", "second"]
    assert [event for who, event in told if who == "first"] == [event for who, event in told if who == "second"]
    record = next(record for record in caplog.records if record.levelno == logging.ERROR)
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError
    assert repr(fail) in record.getMessage()


async def test_hooks_may_come_from_a_generator(stage: Stage) -> None:
    """They are kept, and told every time."""
    events: list[Event] = []

    def hooks() -> Iterator[Hook]:
        yield events.append

    async with stage.client(hooks=hooks()) as close:
        stage.sim.fail_next(faults.cut_after(), method="POST", times=2)
        for _ in range(2):
            await create(close, Kind.EMAIL)
    assert len(looks_of(events)) == 2


async def test_an_event_has_no_secret(stage: Stage) -> None:
    """It can be printed: neither the key nor the body of the request is in it."""
    events: list[Event] = []
    async with stage.client(hooks=[events.append]) as close:
        stage.sim.fail_next(faults.cut_after(), method="POST")
        await create(close, Kind.EMAIL)
    assert stage.sim.api_key not in repr(events)
    assert "tmpl_1" not in repr(events)


async def test_hooks_are_told_in_their_order(stage: Stage) -> None:
    """As they were given, each with the same event."""
    seen: list[tuple[int, Event]] = []
    async with stage.client(hooks=[lambda event, n=n: seen.append((n, event)) for n in range(3)]) as close:
        stage.sim.fail_next(faults.cut_after(), method="POST")
        await create(close, Kind.EMAIL)
    assert [number for number, _ in seen] == [0, 1, 2] * (len(seen) // 3)
    assert len({id(event) for _, event in seen}) == len(seen) // 3 > 1


def test_nobody_need_listen() -> None:
    """Without a hook there is nothing to do."""
    Telling(())(StartReconciled(intent=None, outcome="missing", ref=JobRef(Kind.EMAIL, "x")))  # type: ignore[arg-type]  # not looked at


class TestLogHook:
    """A line for each event, for whoever wants all of them in the log."""

    @pytest.mark.parametrize(
        ("event", "line"),
        [
            (
                request(attempt=2, status=None, error=LOST),
                (
                    "RequestEnded method=GET path=/bulk_action/email/bulkemail_1/ group=GET /bulk_action/email/ "
                    "attempt=2 duration_seconds=0.25 "
                    "error=TransportError: GET /bulk_action/email/bulkemail_1/: the connection was cut"
                ),
            ),
            (
                PollEnded(refs=(REF, JobRef(Kind.EMAIL, "bulkemail_2")), how="page", found=1),
                "PollEnded refs=email:bulkemail_1 email:bulkemail_2 how=page found=1",
            ),
            (
                StartMoved(intent=new_intent(id="intent_1")),
                "StartMoved intent=intent_1 intent_kind=email intent_state=new",
            ),
            (
                StartReconciled(intent=new_intent(id="intent_1"), outcome="adopted", ref=REF),
                (
                    "StartReconciled intent=intent_1 intent_kind=email intent_state=new outcome=adopted "
                    "ref=email:bulkemail_1"
                ),
            ),
            (
                moved(None, 40),
                (
                    "ActionMoved action=email:bulkemail_1 action_status=processing action_n_objects=100 "
                    "action_n_objects_processed=40"
                ),
            ),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_a_line_says_all_that_is_known(self, event: Event, line: str, caplog: pytest.LogCaptureFixture) -> None:
        """By the names of the event's fields, durations in seconds, a text of several lines on one."""
        with caplog.at_level(logging.DEBUG, logger="closebulk_async"):
            LogHook()(event)
        (record,) = caplog.records
        assert (record.name, record.levelno) == ("closebulk_async.events", logging.DEBUG)
        assert record.getMessage() == line

    @pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
    def test_its_values_are_fields_of_the_record(self, event: Event, caplog: pytest.LogCaptureFixture) -> None:
        """Plain ones, for formatters that write JSON."""
        with caplog.at_level(logging.DEBUG, logger="closebulk_async"):
            LogHook()(event)
        values = {
            name.removeprefix("closebulk."): value
            for name, value in vars(caplog.records[0]).items()
            if name.startswith("closebulk.")
        }
        assert values.pop("event") == type(event).__name__
        assert values == describe(event)
        assert values
        assert {type(value) for value in json.loads(json.dumps(values)).values()} <= {str, int, float, bool}

    def test_of_what_was_not_read_nothing_is_said(self) -> None:
        """A narrowed action has a ref at least."""
        event = ActionMoved(before=None, action=BulkEmail.from_dict({"id": REF.id}), rate=0.5, eta=timedelta(minutes=2))
        assert describe(event) == {"action": str(REF), "rate": 0.5, "eta_seconds": 120.0}

    def test_another_logger_and_another_level(self, caplog: pytest.LogCaptureFixture) -> None:
        """As they are given; what the logger does not want is not written."""
        hook = LogHook(logging.getLogger("application"), level=logging.INFO)
        for level in (logging.INFO, logging.WARNING):
            with caplog.at_level(level, logger="application"):
                hook(request())
        assert [(record.name, record.levelno) for record in caplog.records] == [("application", logging.INFO)]

    async def test_a_client_logs_its_events(self, stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
        """Without a secret, and beside the lines that are there anyway."""
        stage.sim.fail_next(faults.cut_after(), method="POST")
        with caplog.at_level(logging.DEBUG, logger="closebulk_async"):
            async with stage.client(hooks=[LogHook()]) as close:
                await create(close, Kind.EMAIL)
        told = [record.getMessage() for record in caplog.records if record.name == "closebulk_async.events"]
        assert {line.partition(" ")[0] for line in told} >= {"RequestEnded", "StartReconciled"}
        assert stage.sim.api_key not in caplog.text
        assert any("was reconciled" in record.getMessage() for record in caplog.records)
