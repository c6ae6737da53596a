"""Polls: what bad ones do to a wait, and what many waits of one client share."""

from __future__ import annotations

import asyncio
import logging
import random
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from closebulk_async import (
    APIError,
    AuthenticationError,
    CloseBulk,
    CloseBulkError,
    DecodeError,
    JobRef,
    NotFoundError,
    PermissionDeniedError,
    PlanLimitError,
    PollPolicy,
    RateLimitedError,
    ServerError,
    TransportError,
    WatchLostError,
)
from closebulk_async.models import Kind
from closebulk_async.simulator import CURVES, faults
from closebulk_async.testing import FakeClock
from tests.stage import NO_LISTS, QUERY, cancel, follow

if TYPE_CHECKING:
    from datetime import datetime

    from closebulk_async import Wait
    from closebulk_async.simulator import Fault
    from tests.stage import Stage

EVERY_TEN = PollPolicy(floor=10, ceiling=10)
TOO_MANY = 200
"""Bad polls, more than are borne; and not without an end, so that a wait that bore them would end, and not hang."""

BAD_POLLS: dict[str, tuple[Fault, type[CloseBulkError]]] = {
    "429 with a hint": (faults.too_many_requests(retry_after=2), RateLimitedError),
    "429 without": (faults.too_many_requests(), RateLimitedError),
    "500": (faults.server_error(500), ServerError),
    "502": (faults.server_error(502), ServerError),
    "504": (faults.server_error(504), ServerError),
    "402": (faults.reply(402, "{}"), PlanLimitError),
    "400": (faults.invalid_fields({"id": "no"}), APIError),
    "cut before": (faults.cut_before(), TransportError),
    "cut after": (faults.cut_after(), TransportError),
    "no answer": (faults.hang(), TransportError),
    "broken JSON": (faults.broken_json(), DecodeError),
    "truncated": (faults.truncated_body(), CloseBulkError),
    "HTML with 200": (faults.reply(200, "<html>", content_type="text/html"), DecodeError),
    "empty": (faults.no_content(), DecodeError),
    "no id": (faults.altered(without=["id"]), DecodeError),
    "a text for a number": (faults.altered(n_objects_processed="many"), DecodeError),
    "a redirect": (faults.redirect("https://example.com/"), CloseBulkError),
}


@pytest.mark.parametrize("name", BAD_POLLS)
async def test_a_wait_goes_on_after_bad_polls(stage: Stage, name: str) -> None:
    """Three in a row end nothing; the latest is the progress's last_error, and the job's end is found as ever."""
    fault, error = BAD_POLLS[name]
    ref = stage.run_job(duration=300, counting=0, n_objects=300)
    stage.sim.fail_next(fault, times=3, skip=2)
    wait = stage.close.wait_until_done(ref)
    seen = await follow(wait, stage.clock)
    assert (await wait).is_done
    assert [progress.last_error for _, progress in seen[:2]] == [None, None]
    assert {type(progress.last_error) for _, progress in seen[2:]} == {type(seen[2][1].last_error)}
    assert isinstance(seen[2][1].last_error, error)
    assert seen[2][1].polls - seen[1][1].polls > 1
    assert stage.now == pytest.approx(300, abs=1.01)
    assert len(stage.polls()) >= seen[-1][1].polls  # aiohttp repeats a read on a connection that was just closed


async def test_a_bad_poll_shows_in_the_heartbeat(stage: Stage) -> None:
    """Also while nothing moves one can see that the server does not answer."""
    ref = stage.run_job(duration=10, counting=0, curve="silent")
    stage.sim.fail_next(faults.server_error(503), times=3, skip=1)
    seen = await follow(stage.close.wait_until_done(ref, heartbeat=2.5), stage.clock)
    beat = seen[1][1]
    assert (beat.changed, type(beat.last_error)) == (False, ServerError)


async def test_nothing_is_yielded_before_a_good_poll(stage: Stage) -> None:
    """There is no progress without an action, heartbeat or not."""
    ref = stage.run_job(duration=100, counting=0)
    stage.sim.fail_next(faults.server_error(503), times=7)
    wait = stage.close.wait_until_done(ref, heartbeat=2)
    progress = await anext(wait)
    assert (stage.now, progress.polls, progress.changed) == (7, 8, True)
    await wait.aclose()


@pytest.mark.parametrize("good_polls", [0, 1])
async def test_a_quarter_of_an_hour_of_bad_polls_is_a_lost_watch(stage: Stage, good_polls: int) -> None:
    """Exactly 15 minutes after the first of them WatchLostError is raised, with what was known and what went wrong."""
    ref = stage.run_job(duration=3000, counting=0, n_objects=3000)
    stage.sim.fail_next(faults.server_error(502), times=TOO_MANY, skip=good_polls)
    async with stage.client(EVERY_TEN) as close:
        wait = close.wait_until_done(ref)
        with pytest.raises(WatchLostError) as lost:
            await follow(wait, stage.clock)
        assert stage.now == 900 + 10 * good_polls
        assert isinstance(lost.value.__cause__, ServerError)
        assert lost.value.ref == ref
        assert (lost.value.action is None, lost.value.progress is None) == (not good_polls, not good_polls)
        with pytest.raises(WatchLostError):
            await wait


async def test_one_bad_poll_alone_loses_nothing(stage: Stage) -> None:
    """Also where polls are rarer than the quarter of an hour, the next one comes before it is over."""
    ref = stage.run_job(duration=7300, counting=0, curve="silent")
    stage.sim.fail_next(faults.server_error(502), skip=1)
    async with stage.client(PollPolicy(floor=3600, ceiling=3600)) as close:
        assert (await close.wait_until_done(ref)).is_done
    assert stage.polls()[:3] == [0, 3600, 4050]


async def test_one_good_poll_ends_the_silence(stage: Stage) -> None:
    """The quarter of an hour begins again with the next bad poll."""
    ref = stage.run_job(duration=9000, counting=0, n_objects=9000)
    stage.sim.fail_next(faults.server_error(502), times=80, skip=1)
    stage.sim.fail_next(faults.server_error(502), times=TOO_MANY, skip=2)  # polls 0 and 81 are good, 82 is at 820 s
    async with stage.client(EVERY_TEN) as close:
        with pytest.raises(WatchLostError):
            await close.wait_until_done(ref)
    assert stage.now == 820 + 900


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (faults.reply(401, '{"error": "Unauthorized"}'), AuthenticationError),
        (faults.forbidden(), PermissionDeniedError),
        (faults.reply(404, '{"error": "Object does not exist."}'), NotFoundError),
    ],
)
async def test_what_the_next_poll_would_get_again_is_raised_at_once(
    stage: Stage, fault: Fault, error: type[CloseBulkError]
) -> None:
    """401, 403 and 404 end the wait at that poll, iterated or awaited."""
    ref = stage.run_job(duration=100, counting=0, n_objects=100)
    stage.sim.fail_next(fault, times=None, skip=2)
    wait = stage.close.wait_until_done(ref)
    seen = []
    with pytest.raises(error):
        async for progress in wait:
            seen.append(progress.n_objects_processed)  # noqa: PERF401 - what came before the error counts
    assert (stage.now, seen) == (2, [0, 1])
    with pytest.raises(error):
        await wait
    assert await stage.nothing_is_left()


@pytest.mark.parametrize("begin", [0, 1000])
async def test_ones_own_new_action_may_be_missing_for_a_while(stage: Stage, begin: int) -> None:
    """Within `settle` of the create a 404 is a bad poll like any other, whatever the clock says."""
    await stage.clock.advance(begin)
    stage.sim.next_job(duration=20, shown_after=14.5)
    action = await stage.close.emails.create(template_id="tmpl_1", email_account_id="emailacct_1", s_query=QUERY)
    wait = stage.close.wait_until_done(action)
    first = await anext(wait)
    assert stage.now == begin + 15
    assert isinstance(first.last_error, NotFoundError)
    assert (await wait).is_done


async def test_an_action_that_stays_missing_is_raised(stage: Stage) -> None:
    """The first 404 after `settle` ends the wait."""
    stage.sim.next_job(duration=20, shown_after=1000)
    action = await stage.close.emails.create(template_id="tmpl_1", email_account_id="emailacct_1", s_query=QUERY)
    with pytest.raises(NotFoundError):
        await stage.close.wait_until_done(action)
    assert stage.polls(action.ref) == [float(second) for second in range(17)]


async def test_each_of_ones_own_new_actions_may_be_missing_for_a_while(stage: Stage) -> None:
    """Those that were started since do not shorten that."""
    await stage.clock.advance(1000)
    stage.sim.next_job(duration=20, shown_after=14.5)
    first = await stage.close.emails.create(template_id="tmpl_1", email_account_id="emailacct_1", s_query=QUERY)
    for number in range(2, 5):
        await stage.clock.advance(4)
        await stage.close.emails.create(template_id=f"tmpl_{number}", email_account_id="emailacct_1", s_query=QUERY)
    assert (await stage.close.wait_until_done(first)).is_done


async def test_an_action_of_others_is_not_waited_for_while_it_is_missing(stage: Stage) -> None:
    """Only the client that started it knows that it must appear."""
    with pytest.raises(NotFoundError):
        await stage.close.wait_until_done(JobRef(Kind.EMAIL, "bulkemail_of_nobody"))
    assert stage.polls() == [0]


# What the waits of one client share -------------------------------------------------------------------------------


async def test_any_number_of_waits_on_one_action_cost_the_requests_of_one(stage: Stage) -> None:
    """Whatever their options, and also where they begin at different instants."""
    ref = stage.run_job(duration=20, counting=0, n_objects=20)
    every: list[Wait[Any]] = [
        stage.close.wait_until_done(ref),
        stage.close.wait_until_done(str(ref), heartbeat=0.3),
        stage.close.emails.wait_until_done(ref.id, timeout=50),
        stage.close.wait_until_done(ref, stall_timeout=40, on_paused="raise"),
    ]
    iterations = [asyncio.create_task(follow(wait, stage.clock)) for wait in every[:2]]
    await stage.clock.advance(7.5)
    iterations += [asyncio.create_task(follow(wait, stage.clock)) for wait in every[2:]]
    seen = await asyncio.gather(*iterations)
    assert stage.polls() == [float(second) for second in range(21)]
    assert [progress.n_objects_processed for _, progress in seen[0]] == list(range(21))
    at, first = seen[2][0]
    assert (at, first.n_objects_processed, first.polls, first.elapsed) == (7.5, 7, 0, timedelta(0))
    assert {id(await wait) for wait in every} == {id(await every[0])}


async def test_a_later_wait_begins_with_a_poll_of_its_own(stage: Stage) -> None:
    """Where nobody waits any more, nothing is remembered for those who come later."""
    ref = stage.run_job(duration=100, counting=0, n_objects=100)
    for at in (0, 50):
        async with stage.close.wait_until_done(ref) as wait:
            assert (await anext(wait)).n_objects_processed == at
        await stage.clock.advance(50)
    assert stage.polls() == [0, 50]


async def test_a_429_silences_all_polls_of_its_kind_and_no_other(stage: Stage) -> None:
    """No request for an email is sent before the server's instant; an edit has a limit of its own, and is polled on."""
    refs = [stage.run_job(duration=100, counting=0) for _ in range(20)]
    edit = stage.run_other_job(Kind.EDIT, duration=100)
    stage.sim.fail_next(faults.too_many_requests(retry_after=30), path="/email/", skip=10)
    outcomes = await stage.close.wait_all([*refs, edit])
    asked = [read.at for read in stage.reads(Kind.EMAIL)]
    assert asked[:11] == [float(second) for second in range(11)]
    assert 40 <= asked[11] <= 41
    assert stage.polls(edit) == [float(second) for second in range(101)]
    assert all(outcome.action is not None and outcome.action.is_done for outcome in outcomes)


async def test_a_wait_that_begins_in_the_silence_waits_for_its_end(stage: Stage) -> None:
    """Polling at once is meant for who is allowed to."""
    first, second = stage.run_job(duration=10), stage.run_job(duration=10)
    stage.sim.fail_next(faults.too_many_requests(retry_after=30))
    waits = [asyncio.create_task(stage.close.wait_until_done(first).result())]
    await stage.clock.advance(5)
    waits.append(asyncio.create_task(stage.close.wait_until_done(second).result()))
    assert all(action.is_done for action in await asyncio.gather(*waits))
    before, *after = stage.polls()
    assert before == 0
    assert after
    assert all(30 <= at <= 32 for at in after)


async def test_a_429_without_a_hint_is_a_silence_too(stage: Stage) -> None:
    """It lasts for a second or two, also for who comes later; who met it waits as after any bad poll."""
    first, second = stage.run_job(duration=3), stage.show_job(status="done")
    stage.sim.fail_next(faults.too_many_requests())
    async with stage.client(EVERY_TEN) as close:
        waits = [asyncio.create_task(close.wait_until_done(first).result())]
        await stage.clock.advance(0.5)
        waits.append(asyncio.create_task(close.wait_until_done(second).result()))
        await asyncio.gather(*waits)
    assert stage.polls(first) == [0, 10]
    (at,) = stage.polls(second)
    assert 1 <= at <= 2


async def test_a_poll_in_the_queue_keeps_the_silence(stage: Stage) -> None:
    """A poll that waited for its slot while another one met a 429 is not sent."""
    refs = [stage.run_job(duration=10) for _ in range(3)]
    stage.sim.fail_next(faults.too_many_requests(retry_after=20), skip=1)
    stage.sim.fail_next(NO_LISTS, times=None)
    async with stage.client(PollPolicy(floor=1, ceiling=1, concurrency=1)) as close:
        await asyncio.gather(*(close.wait_until_done(ref) for ref in refs))
    page, first, *others = stage.reads(Kind.EMAIL)
    assert (page.how, first.how, first.at) == ("page", "item", 0)
    assert len(others) == 3
    assert all(read.at >= 20 for read in others)


async def test_no_more_polls_are_open_than_the_policy_allows(stage: Stage) -> None:
    """Behind a server that takes half a second and has no lists, six actions are read two at a time."""
    refs = [stage.show_job(status="done") for _ in range(6)]
    stage.sim.fail_next(attrs.evolve(NO_LISTS, wait_before=0.5), times=None)
    async with stage.client(PollPolicy(concurrency=2)) as close:
        await asyncio.gather(*(close.wait_until_done(ref) for ref in refs))
    assert stage.polls() == [0, 0.5, 0.5, 1, 1, 1.5, 1.5]
    assert stage.now == 2


async def test_a_cancelled_poll_gives_its_slot_back(stage: Stage) -> None:
    """Whether it was under way or in the queue."""
    refs = [stage.run_job(duration=5) for _ in range(3)]
    stage.sim.fail_next(faults.hang(), times=2)
    async with stage.client(PollPolicy(floor=1, ceiling=1, concurrency=1)) as close:
        tasks = [asyncio.create_task(close.wait_until_done(ref).result()) for ref in refs[:2]]
        await stage.clock.advance(1)
        for task in tasks:
            await cancel(task)
        stage.sim.clear_faults()
        assert (await close.wait_until_done(refs[2])).is_done
        assert stage.now < 7


async def test_the_end_of_a_steady_job_is_known_in_time(stage: Stage, close_client: CloseBulk) -> None:
    """A job of an hour that was predicted well is known to be done about a second after it is, for few requests."""
    ref = stage.run_job(duration=3600, n_objects=36_000)
    await close_client.wait_until_done(ref)
    assert 3600 <= stage.now <= 3602
    assert len(stage.polls()) < 150


class BrokenClock(FakeClock):
    """A clock of the caller's that cannot say the time of day."""

    def now(self) -> datetime:
        """Raise."""
        raise ZeroDivisionError


async def test_a_mistake_ends_the_waits(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """No wait hangs on a poller that died: what was raised reaches whoever waits, and the log has its traceback."""
    sim = stage.sim
    async with CloseBulk(sim.api_key, base_url=sim.base_url, clock=BrokenClock()) as close:
        with pytest.raises(ZeroDivisionError):
            await close.wait_until_done(stage.run_job(duration=100))
    assert [record.exc_info is not None for record in caplog.records if record.levelno == logging.ERROR] == [True]


FAULTS: list[tuple[Fault, float]] = [
    (faults.hang(), 60.0),
    (faults.delay(0.7), 0.7),
    (faults.slow_body(2), 2.0),
    (faults.cut_before(), 0.0),
    (faults.cut_after(), 0.0),
    (faults.server_error(500), 0.0),
    (faults.broken_json(), 0.0),
    (faults.truncated_body(), 0.0),
    (faults.no_content(), 0.0),
    (faults.too_many_requests(retry_after=3), 0.0),
    (faults.too_many_requests(), 0.0),
    (faults.altered(status="odd"), 0.0),
    (faults.altered(n_objects=None, n_objects_processed=0), 0.0),
]
"""What may become of a poll, and how many seconds it is open then."""


@pytest.mark.parametrize("seed", range(25))
async def test_random_faults_keep_no_wait_from_its_end(stage: Stage, close_client: CloseBulk, seed: int) -> None:
    """Whatever goes wrong in whatever order: one poll at a time, counters that only grow, and an end found in time."""
    rng = random.Random(seed)
    duration = rng.uniform(1, 300)
    ref = stage.run_job(duration=duration, n_objects=rng.randrange(1000), curve=rng.choice(list(CURVES)))
    for _ in range(rng.randrange(1, 25)):
        stage.sim.fail_next(rng.choice(FAULTS)[0], skip=rng.randrange(4))
    seen = await follow(close_client.wait_until_done(ref, heartbeat=rng.choice([None, 0.9])), stage.clock)

    open_for = {fault.name: seconds for fault, seconds in FAULTS}
    names = [request.fault for request in stage.sim.requests]
    ends = [at + open_for.get(name or "", 0.0) for at, name in zip(stage.polls(), names, strict=True)]
    assert all(next_at >= end - 1e-3 for end, next_at in zip(ends, stage.polls()[1:], strict=False))

    counters = [progress.n_objects_processed for _, progress in seen]
    assert counters == sorted(counters)
    at, last = seen[-1]
    assert (last.is_final, last.fraction) == (True, 1.0)
    last_fault = max((end for end, name in zip(ends, names, strict=True) if name), default=0.0)
    assert at <= max(duration, last_fault) + 31  # the longest interval, or the longest hint and its jitter


async def test_a_silence_that_the_server_asked_for_counts_for_all(stage: Stage) -> None:
    """Who waits for another action than the one that was told to wait sees why, and is not left hanging for a day.

    Actions of other kinds have another limit, and are followed on.
    """
    first, second = stage.run_job(duration=10**6), stage.run_job(duration=10**6)
    edit = stage.run_other_job(Kind.EDIT, duration=1000)
    stage.sim.fail_next(faults.too_many_requests(retry_after=86_400), path=first.id, skip=3)
    unaware = asyncio.create_task(follow(stage.close.wait_until_done(edit, heartbeat=60), stage.clock))
    outcomes = asyncio.gather(stage.close.wait_until_done(first).result(), return_exceptions=True)
    await stage.clock.advance(0.5)  # from now on each is due at instants of its own, and asked for alone
    steps = []
    with pytest.raises(WatchLostError) as raised:
        async for progress in stage.close.wait_until_done(second, heartbeat=60):
            steps.append(progress)  # noqa: PERF401 - what came before the error counts
    (lost,) = await outcomes
    assert isinstance(lost, WatchLostError)
    assert isinstance(raised.value.__cause__, RateLimitedError)
    assert isinstance(steps[-1].last_error, RateLimitedError)
    assert 900 <= stage.now <= 910
    assert {progress.last_error for _, progress in await unaware} == {None}


async def test_a_poll_waits_as_long_as_a_503_asks(stage: Stage) -> None:
    """Its action alone: a limit would be shared, a failure is not."""
    first, second = stage.run_job(duration=700), stage.run_job(duration=700)
    busy = faults.reply(503, headers=(("retry-after", "300"),))
    stage.sim.fail_next(busy, path=first.id, skip=1)
    slow = asyncio.create_task(stage.close.wait_until_done(first).result())
    await stage.clock.advance(0.5)  # from now on each is due at instants of its own, and asked for alone
    await asyncio.gather(slow, stage.close.wait_until_done(second))
    assert stage.polls(first)[:2] == [0, 1]
    assert 301 <= stage.polls(first)[2] <= 302
    assert stage.polls(second)[:5] == [0.5, 1.5, 2.5, 3.5, 4.5]
