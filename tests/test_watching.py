"""Polls: what bad ones do to a wait, and what many waits of one client share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from closebulk_async import (
    APIError,
    AuthenticationError,
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
from closebulk_async.simulator import faults
from tests.stage import QUERY, follow

if TYPE_CHECKING:
    from closebulk_async.simulator import Fault
    from tests.stage import Stage

EVERY_TEN = PollPolicy(floor=10, ceiling=10)

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
    stage.sim.fail_next(faults.server_error(502), times=None, skip=good_polls)
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


async def test_one_good_poll_ends_the_silence(stage: Stage) -> None:
    """The quarter of an hour begins again with the next bad poll."""
    ref = stage.run_job(duration=9000, counting=0, n_objects=9000)
    stage.sim.fail_next(faults.server_error(502), times=80, skip=1)
    stage.sim.fail_next(faults.server_error(502), times=None, skip=2)  # polls 0 and 81 are good, 82 is at 820 s
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


async def test_ones_own_new_action_may_be_missing_for_a_while(stage: Stage) -> None:
    """Within `settle` of the create a 404 is a bad poll like any other."""
    stage.sim.next_job(duration=20, shown_after=14.5)
    action = await stage.close.emails.create(template_id="tmpl_1", email_account_id="emailacct_1", s_query=QUERY)
    wait = stage.close.wait_until_done(action)
    first = await anext(wait)
    assert stage.now == 15
    assert isinstance(first.last_error, NotFoundError)
    assert (await wait).is_done


async def test_an_action_that_stays_missing_is_raised(stage: Stage) -> None:
    """The first 404 after `settle` ends the wait."""
    stage.sim.next_job(duration=20, shown_after=1000)
    action = await stage.close.emails.create(template_id="tmpl_1", email_account_id="emailacct_1", s_query=QUERY)
    with pytest.raises(NotFoundError):
        await stage.close.wait_until_done(action)
    assert stage.polls() == [float(second) for second in range(17)]


async def test_an_action_of_others_is_not_waited_for_while_it_is_missing(stage: Stage) -> None:
    """Only the client that started it knows that it must appear."""
    with pytest.raises(NotFoundError):
        await stage.close.wait_until_done(JobRef(Kind.EMAIL, "bulkemail_of_nobody"))
    assert stage.polls() == [0]
