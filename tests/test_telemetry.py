"""Events: hooks are told what became of starts in doubt, and can spoil nothing."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from closebulk_async import AmbiguousStartError, CloseBulk
from closebulk_async.models import JobRef, Kind
from closebulk_async.simulator import Plan, faults
from closebulk_async.telemetry import Event, StartReconciled, Telling
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
