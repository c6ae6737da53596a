"""Many actions in one stream: `watch` for those that are named, `watch_active` for those that are found."""

from __future__ import annotations

import asyncio
import gc
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest

from closebulk_async import (
    AuthenticationError,
    BulkActionFailed,
    BulkActionPaused,
    BulkActionStalled,
    ClientClosedError,
    InvalidRequestError,
    NotFoundError,
    PollPolicy,
    WaitTimeout,
    WatchLostError,
)
from closebulk_async.models import BULK_KINDS, Kind
from closebulk_async.simulator import Plan, faults
from tests.stage import cancel

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from closebulk_async import JobRef, Progress
    from closebulk_async.simulator.listing import ListOrder
    from tests.stage import Stage

    Steps = AsyncGenerator[Progress[Any], None]

pytestmark = pytest.mark.unmeasured

NOBODY = "email:bulkemail_of_nobody"


async def collect(stage: Stage, steps: Steps) -> list[tuple[float, Progress[Any]]]:
    """All steps, each with the instant at which it came."""
    return [(stage.now, progress) async for progress in steps]


async def take(steps: Steps) -> Progress[Any]:
    """The next step, as a coroutine that a task can run."""
    return await anext(steps)


def finals(seen: list[tuple[float, Progress[Any]]]) -> list[tuple[float, JobRef[Any]]]:
    """When each action's last step came."""
    return [(at, progress.ref) for at, progress in seen if progress.is_final]


# watch ------------------------------------------------------------------------------------------------------------


async def test_every_step_of_every_action_comes_and_then_the_end(stage: Stage) -> None:
    """The stream ends with the last action's end; of each action each movement is a step, and its end the last one."""
    quick = stage.run_job(duration=3, counting=0, n_objects=3)
    slow = stage.run_other_job(Kind.EDIT, duration=5, counting=0, n_objects=5)
    seen = await collect(stage, stage.close.watch(quick, str(slow)))
    assert stage.now == 5
    for ref, n_objects in ((quick, 3), (slow, 5)):
        steps = [(at, progress.n_objects_processed) for at, progress in seen if progress.ref == ref]
        assert steps == [(float(n), n) for n in range(n_objects + 1)]
    assert finals(seen) == [(3, quick), (5, slow)]
    assert [at for at, _ in seen] == sorted(at for at, _ in seen)


async def test_failures_are_last_steps_and_the_others_go_on(stage: Stage) -> None:
    """What would end a wait with an exception is the `error` of that action's last step, whatever it is."""
    fine = stage.run_job(duration=30)
    failing = stage.run_job(duration=5, ends="error")
    seen = await collect(stage, stage.close.watch(failing, NOBODY, fine))
    last = {progress.ref: (at, progress) for at, progress in seen if progress.is_final}
    assert [at for at, _ in last.values()] == [0, 5, 30]
    (missing,) = (progress for _, progress in last.values() if str(progress.ref) == NOBODY)
    assert isinstance(missing.error, NotFoundError)
    assert (missing.status, missing.polls, missing.fraction) == (None, 1, None)
    assert isinstance(last[failing][1].error, BulkActionFailed)
    assert last[failing][1].action.is_failed
    assert last[fine][1].error is None
    assert sum(progress.is_final for _, progress in seen) == 3


async def test_a_failure_is_raised_where_that_is_asked_for(stage: Stage) -> None:
    """After the step that shows it; nothing is left of the others' polls."""
    failing, other = stage.run_job(duration=5, ends="error"), stage.run_job(duration=500)
    seen = []
    with pytest.raises(BulkActionFailed) as raised:
        async for progress in stage.close.watch(failing, other, raise_on_failure=True):
            seen.append(progress)  # noqa: PERF401 - what came before the error counts
    assert seen[-1].error is raised.value
    assert (seen[-1].ref, stage.now) == (failing, 5)
    assert await stage.nothing_is_left()
    assert stage.was_never_touched()


@pytest.mark.parametrize("raise_on_failure", [False, True])
async def test_what_goes_well_is_the_same_either_way(stage: Stage, *, raise_on_failure: bool) -> None:
    """Only a failure is raised."""
    refs = [stage.run_job(duration=2), stage.run_job(duration=3)]
    seen = await collect(stage, stage.close.watch(*refs, raise_on_failure=raise_on_failure))
    assert finals(seen) == [(2, refs[0]), (3, refs[1])]


async def test_an_action_that_is_named_twice_is_one(stage: Stage) -> None:
    """As a ref, a text and an action: its steps come once."""
    ref = stage.run_job(duration=3, counting=0, n_objects=3)
    seen = await collect(stage, stage.close.watch(ref, str(ref), await stage.close.get(ref)))
    assert [progress.n_objects_processed for _, progress in seen] == [0, 1, 2, 3]


async def test_a_stream_of_nothing_ends_at_once(stage: Stage) -> None:
    """No action, no step, no request."""
    assert await collect(stage, stage.close.watch()) == []
    assert stage.sim.requests == ()


@pytest.mark.parametrize("strange", [None, 7, "bulkemail_without_kind", "email:", ["email:bulkemail_1"]])
async def test_what_is_no_action_raises_at_the_call(stage: Stage, strange: object) -> None:
    """Before the first step is asked for, and also where the others are fine."""
    with pytest.raises(InvalidRequestError):
        stage.close.watch(stage.run_job(), strange)  # type: ignore[call-overload]  # no action, on purpose
    with pytest.raises(InvalidRequestError, match="heartbeat"):
        stage.close.watch(stage.run_job(), heartbeat=0)
    with pytest.raises(TypeError, match="patience"):
        stage.close.watch(stage.run_job(), patience=3)  # type: ignore[call-overload]  # wrong on purpose
    assert stage.sim.requests == ()


async def test_each_action_has_its_own_limits(stage: Stage) -> None:
    """Timeouts, stalls and pauses end what they are about, each at its instant."""
    running = stage.run_job(duration=100, counting=0, n_objects=100)
    silent = stage.run_job(duration=100, counting=0, curve="silent")
    paused = stage.show_job(status="paused", date_updated=stage.clock.now())
    steps = stage.close.watch(running, silent, paused, timeout=20, stall_timeout=10, on_paused="raise")
    last = {progress.ref: (at, type(progress.error)) for at, progress in await collect(stage, steps) if progress.error}
    assert last == {paused: (0, BulkActionPaused), silent: (10, BulkActionStalled), running: (20, WaitTimeout)}


async def test_a_pause_that_is_taken_for_the_end_is_one(stage: Stage) -> None:
    """With `on_paused="return"` the paused action is the last step, and nobody waits for it any more."""
    paused, running = stage.show_job(status="paused", date_updated=stage.clock.now()), stage.run_job(duration=3)
    seen = await asyncio.wait_for(collect(stage, stage.close.watch(paused, running, on_paused="return")), 30)
    assert stage.now == 3
    assert [progress.error for _, progress in seen if progress.ref == paused] == [None]


async def test_a_heartbeat_of_each_action(stage: Stage) -> None:
    """While one does not move it has a step each heartbeat, however busy the others are."""
    silent = stage.run_job(duration=10, counting=0, curve="silent")
    busy = stage.run_job(duration=10, counting=0, n_objects=10)
    seen = await collect(stage, stage.close.watch(silent, busy, heartbeat=3.5))
    assert [(at, progress.changed) for at, progress in seen if progress.ref == silent] == [
        (0, True), (3.5, False), (7, False), (10, True),
    ]  # fmt: skip
    assert [at for at, progress in seen if progress.ref == busy] == [float(second) for second in range(11)]


async def test_a_slow_consumer_gets_the_newest_of_each_and_every_end(stage: Stage) -> None:
    """What it sleeps through folds into the newest step, so that no queue grows; no final one is lost."""
    refs = [stage.run_job(duration=10.0 * (n + 1), counting=0, n_objects=1000) for n in range(5)]
    seen: list[Progress[Any]] = []
    async for progress in stage.close.watch(*refs):
        seen.append(progress)
        await stage.clock.sleep(7.3)
    assert sorted(str(progress.ref) for progress in seen if progress.is_final) == sorted(map(str, refs))
    assert len(seen) <= 5 * 8
    for ref in refs:
        counts = [progress.n_objects_processed for progress in seen if progress.ref == ref]
        assert counts == sorted(set(counts))
        assert counts[-1] == 1000


async def test_three_hundred_actions(stage: Stage) -> None:
    """Each has its first step, its steps and its end, for fewer requests than actions."""
    refs = [stage.run_job(duration=5 + n % 7) for n in range(300)]
    seen = await collect(stage, stage.close.watch(*refs))
    assert {ref: at for at, ref in finals(seen)} == {ref: 5 + n % 7 for n, ref in enumerate(refs)}
    assert len(finals(seen)) == 300
    assert len(stage.reads()) < 150


async def test_streams_and_waits_share_their_polls(stage: Stage) -> None:
    """Three who await, two streams and an iteration of one action cost the requests of one."""
    ref = stage.run_job(duration=10, counting=0, n_objects=10)
    streams = [asyncio.create_task(collect(stage, stage.close.watch(ref))) for _ in range(2)]
    waits = [asyncio.create_task(stage.close.wait_until_done(ref).result()) for _ in range(3)]
    seen = await collect(stage, stage.close.watch(str(ref)))
    assert [progress.n_objects_processed for _, progress in seen] == list(range(11))
    assert all(action.is_done for action in await asyncio.gather(*waits))
    assert [len(await stream) for stream in streams] == [11, 11]
    assert stage.polls() == [float(second) for second in range(11)]


async def test_a_lost_watch_is_a_last_step(stage: Stage) -> None:
    """An action that nobody can read any more ends with that, and the others end well."""
    lost, fine = stage.run_job(duration=10**6), stage.run_other_job(Kind.EDIT, duration=2000)
    stage.sim.fail_next(faults.server_error(502), times=None, path=lost.id, skip=1)
    async with stage.client(PollPolicy.fixed(10)) as close:
        seen = await collect(stage, close.watch(lost, fine))
    assert [(at, type(progress.error)) for at, progress in seen if progress.is_final] == [
        (910, WatchLostError), (2000, type(None)),
    ]  # fmt: skip


# Leaving ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("poll_under_way", [False, True])
@pytest.mark.parametrize("method", ["watch", "watch_active", "follow"])
async def test_who_leaves_in_order_finds_nothing_left(stage: Stage, method: str, *, poll_under_way: bool) -> None:
    """At the end of the block there is no task, no alarm and no request, and no job was touched."""
    refs = [stage.run_job(duration=1000, counting=0, n_objects=1000) for _ in range(5)]
    steps = open_stream(stage, method, refs)
    async with aclosing(steps):
        await anext(steps)
        if poll_under_way:
            stage.sim.fail_next(faults.hang(), times=None)
        await stage.clock.advance(40)
    assert [task for task in asyncio.all_tasks() if task.get_name().startswith("closebulk_async")] == []
    assert await stage.nothing_is_left()
    assert stage.was_never_touched()


@pytest.mark.parametrize("method", ["watch", "watch_active", "follow"])
async def test_a_cancelled_stream_leaves_nothing(stage: Stage, method: str) -> None:
    """Cancelled while it waits for the next step."""
    refs = [stage.run_job(duration=1000, counting=0, curve="silent") for _ in range(5)]
    task = asyncio.create_task(collect(stage, open_stream(stage, method, refs)))
    await stage.clock.advance(5.5)
    await cancel(task)
    assert await stage.nothing_is_left()


@pytest.mark.parametrize("method", ["watch", "watch_active", "follow"])
async def test_a_stream_that_is_dropped_leaves_nothing(stage: Stage, method: str) -> None:
    """Who breaks out of the loop and forgets the rest is not polled for, once the generator is collected."""
    refs = [stage.run_job(duration=1000, counting=0, n_objects=1000) for _ in range(5)]

    async def consume() -> None:
        async for _ in open_stream(stage, method, refs):
            break

    await consume()
    gc.collect()
    assert await stage.nothing_is_left()


@pytest.mark.parametrize("method", ["watch", "watch_active", "follow"])
async def test_a_stream_that_was_never_begun_asks_nothing(stage: Stage, method: str) -> None:
    """Making it is free."""
    steps = open_stream(stage, method, [stage.run_job()])
    await stage.clock.advance(10)
    await steps.aclose()
    assert stage.sim.requests == ()


async def test_others_go_on_when_a_stream_is_left(stage: Stage) -> None:
    """The polls of an action end with the last who wants them."""
    ref = stage.run_job(duration=10)
    wait = asyncio.create_task(stage.close.wait_until_done(ref).result())
    async with aclosing(stage.close.watch(ref)) as steps:
        await anext(steps)
    assert (await wait).is_done
    assert stage.polls() == [float(second) for second in range(11)]


async def test_a_client_that_is_closed_ends_its_streams(stage: Stage) -> None:
    """Each action has its last step, with ClientClosedError; looking for new ones raises it."""
    refs = [stage.run_job(duration=1000, counting=0, curve="silent") for _ in range(3)]
    watching = asyncio.create_task(collect(stage, stage.close.watch(*refs)))
    following = asyncio.create_task(collect(stage, stage.close.watch_active(follow=True)))
    await stage.clock.advance(5.5)
    await stage.close.aclose()
    assert [type(progress.error) for _, progress in await watching][-3:] == [ClientClosedError] * 3
    with pytest.raises(ClientClosedError):
        await following
    assert await stage.nothing_is_left()


def open_stream(stage: Stage, method: str, refs: list[Any]) -> Steps:
    """A stream of these actions, which nobody has asked for a step yet."""
    if method == "watch":
        return stage.close.watch(*refs)
    return stage.close.watch_active(follow=method == "follow")


# watch_active -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["newest", "oldest", "id", "shuffled"])
async def test_what_runs_is_found_in_all_kinds(stage: Stage, order: ListOrder) -> None:
    """Also behind hundreds that have ended, and whoever started it; what has ended has no step."""
    stage.sim.list_order = order
    running: list[JobRef[Any]] = []
    for number in range(250):
        if number % 60 == 3:
            running.append(stage.run_job(duration=20))
        stage.show_job(status="done" if number % 2 else "error")
    running += [stage.run_other_job(kind, duration=30) for kind in BULK_KINDS if kind is not Kind.EMAIL]
    running.append(stage.show_job(status="paused", date_updated=stage.clock.now()))
    seen = await collect(stage, stage.close.watch_active(timeout=60))
    assert {progress.ref for _, progress in seen} == set(running)
    assert len(finals(seen)) == len(running)
    assert stage.now == 60  # the paused one is waited for as long as that


async def test_only_the_kinds_that_are_asked_for(stage: Stage) -> None:
    """By their names or as members; one that is named twice is read once."""
    email, edit = stage.run_job(duration=5), stage.run_other_job(Kind.EDIT, duration=5)
    stage.run_other_job(Kind.DELETE, duration=5)
    seen = await collect(stage, stage.close.watch_active(kinds=["email", Kind.EDIT, "email"]))
    assert {progress.ref for _, progress in seen} == {email, edit}
    assert stage.reads(Kind.DELETE) == []
    assert [read.at for read in stage.reads()].count(0) <= 2


@pytest.mark.parametrize("kinds", ["email", ["mail"], [None], [Kind.EMAIL, 3]])
async def test_what_is_no_kind_raises_at_the_call(stage: Stage, kinds: object) -> None:
    """Before anything is asked, and one text is not several."""
    with pytest.raises(InvalidRequestError):
        stage.close.watch_active(kinds=kinds)  # type: ignore[call-overload]  # wrong on purpose
    with pytest.raises(TypeError, match="patience"):
        stage.close.watch_active(patience=3)  # type: ignore[call-overload]  # wrong on purpose
    assert stage.sim.requests == ()


async def test_nothing_that_runs_is_the_end(stage: Stage) -> None:
    """Each list was read once, no action polled; no kinds are no lists."""
    stage.show_job(status="done")
    assert await collect(stage, stage.close.watch_active()) == []
    assert len(stage.sim.requests) == 4
    assert await collect(stage, stage.close.watch_active(kinds=[])) == []
    assert len(stage.sim.requests) == 4


@pytest.mark.parametrize("order", ["newest", "oldest", "id", "shuffled"])
@pytest.mark.parametrize("n_old", [0, 250])
async def test_what_starts_later_is_followed(stage: Stage, order: ListOrder, n_old: int) -> None:
    """Found at the next look, also what has ended by then; what ended before the stream began never shows."""
    stage.sim.list_order = order
    for _ in range(n_old):
        stage.sim.add_job("email", plan=Plan(duration=1), age=10**6)
    first = stage.run_job(duration=100)
    steps = stage.close.watch_active(kinds=["email"], follow=True)
    task = asyncio.create_task(take_until(stage, steps, 1300))
    await stage.clock.advance(100)
    short, long = stage.run_job(duration=1), stage.run_job(duration=600)
    seen = await task
    assert {progress.ref for _, progress in seen} == {first, short, long}
    known = {ref: at for at, ref in finals(seen)}
    beat = 30 if order in {"newest", "oldest"} or not n_old else 300
    assert known[first] == 100
    assert known[short] <= 100 + beat + 1
    assert known[long] == 700
    assert await stage.nothing_is_left()


async def take_until(stage: Stage, steps: Steps, at: float) -> list[tuple[float, Progress[Any]]]:
    """All steps until that instant; then the stream is left."""
    seen: list[tuple[float, Progress[Any]]] = []
    async with aclosing(steps):
        while True:
            following = asyncio.ensure_future(take(steps))
            waiting = asyncio.ensure_future(stage.clock.sleep(at - stage.now))
            await asyncio.wait([following, waiting], return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            if not following.done():
                await cancel(following)
                return seen
            seen.append((stage.now, following.result()))


async def test_looks_cost_what_the_policy_says(stage: Stage) -> None:
    """One page of each list every `discover` seconds while nothing runs."""
    async with stage.client(PollPolicy(discover=50)) as close:
        task = asyncio.create_task(collect(stage, close.watch_active(kinds=["email", "edit"], follow=True)))
        await stage.clock.advance(5)
        asked = len(stage.sim.requests)
        await stage.clock.advance(500)
        assert len(stage.sim.requests) - asked == 2 * 10
        await cancel(task)


async def test_looks_are_rarer_where_they_cost_more(stage: Stage) -> None:
    """A long list without an order has to be read to its end each time: every five minutes, not every half."""
    stage.sim.list_order = "shuffled"
    for _ in range(2100):
        stage.sim.add_job("email", status="done")
    async with stage.client(PollPolicy()) as close:
        task = asyncio.create_task(take_until(stage, close.watch_active(kinds=["email"], follow=True), 1000))
        await stage.clock.advance(10)
        asked = len(stage.sim.requests)
        await stage.clock.advance(290)
        late = stage.run_job(duration=400)
        assert {progress.ref for _, progress in await task} == {late}
    assert len(stage.sim.requests) - asked <= 4 * 22 + 60


async def test_a_look_that_fails_is_tried_again(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """A server that does not answer for a while ends nothing; it is said in the log."""
    task = asyncio.create_task(take_until(stage, stage.close.watch_active(kinds=["email"], follow=True), 400))
    await stage.clock.advance(10)
    stage.sim.fail_next(faults.server_error(502), times=None)
    await stage.clock.advance(100)
    stage.sim.clear_faults()
    ref = stage.run_job(duration=5)
    assert {progress.ref for _, progress in await task} == {ref}
    assert any("could not look for new email actions" in record.message for record in caplog.records)


@pytest.mark.parametrize("at", [0, 10])
async def test_a_key_that_is_refused_ends_the_stream(stage: Stage, at: float) -> None:
    """The next look would be refused as well, be it the first or a later one; nothing is left."""
    task = asyncio.create_task(collect(stage, stage.close.watch_active(follow=True)))
    if at:
        await stage.clock.advance(at)
    stage.sim.fail_next(faults.reply(401, '{"error": "Unauthorized"}'), times=None)
    with pytest.raises(AuthenticationError):
        await task
    assert await stage.nothing_is_left()


async def test_a_list_that_cannot_be_read_at_first_raises(stage: Stage) -> None:
    """Nobody could say what runs."""
    stage.sim.fail_next(faults.reply(403, "Forbidden"), times=None, path="/edit/")
    with pytest.raises(Exception, match="403"):
        await collect(stage, stage.close.watch_active(kinds=list(BULK_KINDS)))
    assert await stage.nothing_is_left()


async def test_a_failure_among_those_that_run_is_raised_where_that_is_asked_for(stage: Stage) -> None:
    """As in `watch`, also while new ones are looked for."""
    failing = stage.run_job(duration=5, ends="error")
    stage.run_job(duration=500)
    with pytest.raises(BulkActionFailed) as raised:
        await collect(stage, stage.close.watch_active(follow=True, raise_on_failure=True))
    assert raised.value.ref == failing
    assert await stage.nothing_is_left()
