"""Webhooks wake and polls decide: what a client makes of events, whatever their order, number and lateness."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from closebulk_async import PollPolicy, WebhookEvent
from closebulk_async.simulator import faults
from closebulk_async.telemetry import WebhookReceived
from tests.stage import Notes

if TYPE_CHECKING:
    from closebulk_async import BulkEmail, CloseBulk, JobRef
    from tests.stage import Stage

SLOW = PollPolicy.fixed(30)
"""A cadence under which what a webhook changes can be seen."""

RARE = PollPolicy.exponential(1, 100, 300)
"""A small floor and, after the second poll, steps of five minutes."""


def tell(close: CloseBulk, ref: JobRef[BulkEmail], action: str = "updated", status: str = "processing") -> None:
    """Hand an event on, as a receiver of webhooks does."""
    close.notify(
        WebhookEvent.example(
            action=action, object_id=ref.id, data={"id": ref.id, "status": status}, object_type="bulk_action.email"
        )
    )


@pytest.mark.parametrize(("action", "status"), [("completed", "done"), ("updated", "done"), ("updated", "error")])
async def test_the_first_word_of_an_end_polls_at_once(stage: Stage, action: str, status: str) -> None:
    """The wait is over that very moment, however rare polls are, and what it returns was read."""
    ref = stage.run_job(duration=12.25)
    async with stage.client(SLOW) as close:
        wait = asyncio.create_task(close.wait_until_done(ref).result())
        await stage.clock.advance(12.25)
        tell(close, ref, action, status)
        assert (await wait).is_done
    assert (stage.now, stage.polls()) == (12.25, [0, 12.25])


async def test_the_first_word_of_a_pause_polls_at_once(stage: Stage) -> None:
    """Who wants to know of pauses knows of this one at once."""
    ref = stage.run_job(duration=1000)
    async with stage.client(SLOW) as close:
        wait = asyncio.create_task(close.wait_until_done(ref, on_paused="return").result())
        await stage.clock.advance(10)
        stage.sim.jobs[0].pause(stage.clock.now())
        tell(close, ref, "paused", "paused")
        assert (await wait).is_paused
    assert stage.now == 10


async def test_an_end_that_is_not_shown_yet_is_polled_in_growing_steps(stage: Stage) -> None:
    """From the floor, doubling, as the service may take its time; a word that was wrong costs a few polls."""
    ref = stage.run_job(duration=1000, counting=0, curve="silent")
    async with stage.client(RARE) as close:
        wait = asyncio.create_task(close.wait_until_done(ref).result())
        await stage.clock.advance(400)
        before = len(stage.polls())
        tell(close, ref, "completed", "done")
        await stage.clock.advance(119)
        assert [at - 400 for at in stage.polls()[before:]] == [0, 1, 2, 4, 8, 16, 32, 64]
        assert (await wait).is_done


async def test_a_late_word_of_an_end_that_is_known_asks_nothing(stage: Stage) -> None:
    """Also where nobody ever asked for the action, and for what is no bulk action at all."""
    ref, other = stage.run_job(duration=2), stage.run_job(duration=2)
    await stage.close.wait_until_done(ref)
    asked = len(stage.sim.requests)
    for known in (ref, other):
        tell(stage.close, known, "completed", "done")
    stage.close.notify(WebhookEvent.example(object_type="lead", object_id="lead_1", action="updated"))
    assert await stage.nothing_is_left()
    assert len(stage.sim.requests) == asked


async def test_words_that_come_twice_cost_a_poll_for_each_floor(stage: Stage) -> None:
    """A hundred times the same word of an end within ten seconds are a dozen polls."""
    ref = stage.run_job(duration=1000, counting=0, curve="silent")
    async with stage.client(RARE) as close:
        wait = asyncio.create_task(close.wait_until_done(ref).result())
        await stage.clock.advance(400)
        before = len(stage.polls())
        for _ in range(100):
            tell(close, ref, "completed", "done")
            tell(close, ref, "completed", "done")
            await stage.clock.advance(0.1)
        gaps = [after - at for at, after in zip(stage.polls()[before:], stage.polls()[before + 1 :], strict=False)]
        assert all(gap >= 1 - 1e-6 for gap in gaps)
        assert len(gaps) <= 11
        wait.cancel()


async def test_while_words_arrive_polls_are_few(stage: Stage) -> None:
    """Four in a safety beat where words come, or one; when the words stop, the cadence is back."""
    ref = stage.run_job(duration=10_000, counting=0, curve="silent")
    async with stage.client(PollPolicy(floor=1, ceiling=1, webhook_beat=100)) as close:
        wait = asyncio.create_task(close.wait_until_done(ref).result())
        await stage.clock.advance(100)
        assert len(stage.polls()) == 101
        for _ in range(60):
            tell(close, ref)
            await stage.clock.advance(10)
        assert [at for at in stage.polls() if 101 < at <= 690] == [float(at) for at in range(126, 700, 25)]
        await stage.clock.advance(200)
        assert [at for at in stage.polls() if at > 690] == [701.0, 801.0, *(float(at) for at in range(802, 901))]
        wait.cancel()


async def test_a_word_of_movement_brings_a_poll(stage: Stage) -> None:
    """Who iterates sees the new counter a quarter of a safety beat after the latest poll, and not at the next beat."""
    ref = stage.run_job(duration=10_000, counting=0, n_objects=10_000)
    async with stage.client(PollPolicy(floor=5, ceiling=5, webhook_beat=100)) as close:
        wait = close.wait_until_done(ref)
        await anext(wait)
        tell(close, ref)
        await anext(wait)
        assert stage.now == 5  # as it was planned before the word came
        following = asyncio.ensure_future(anext(wait))
        await stage.clock.advance(50)
        assert stage.polls() == [0, 5]
        tell(close, ref)
        assert (await following).n_objects_processed == 55
        following = asyncio.ensure_future(anext(wait))
        tell(close, ref)
        assert (await following).n_objects_processed == 80
        await wait.aclose()


async def test_a_lost_word_is_made_good_by_the_beat(stage: Stage) -> None:
    """A service that stops to tell, in the middle, delays an end by no more than the safety beat."""
    ref = stage.run_job(duration=300, counting=0, n_objects=300)
    async with stage.client(PollPolicy(webhook_beat=60)) as close:
        wait = asyncio.create_task(close.wait_until_done(ref).result())
        for _ in range(25):
            await stage.clock.advance(10)
            tell(close, ref)
        assert (await wait).is_done
    assert stage.now <= 360


async def test_words_in_any_order_bring_the_right_end(stage: Stage) -> None:
    """An older word after the end's, and an end's before it has come: the outcome is what was read."""
    ref = stage.run_job(duration=100, counting=0, n_objects=100)
    async with stage.client(SLOW) as close:
        wait = asyncio.create_task(close.wait_until_done(ref).result())
        await stage.clock.advance(50.5)
        tell(close, ref, "completed", "done")
        await stage.clock.advance(50)
        tell(close, ref, "completed", "done")
        tell(close, ref, "updated")
        tell(close, ref, "created", "created")
        assert (await wait).n_objects_processed == 100
    assert stage.now <= 100.5 + 30  # the floor of this cadence


async def test_a_word_that_comes_during_a_poll_is_not_lost(stage: Stage) -> None:
    """The poll may have been answered before the end: another one follows it at once."""
    ref = stage.run_job(duration=11)
    stage.sim.fail_next(faults.delay(3, acts_first=True), skip=1)
    async with stage.client(PollPolicy.fixed(10)) as close:
        wait = asyncio.create_task(close.wait_until_done(ref).result())
        await stage.clock.advance(11.5)  # the poll of 10 s has been read, and its answer is under way
        tell(close, ref, "completed", "done")
        assert (await wait).is_done
    assert (stage.now, stage.polls()) == (13, [0, 10, 13])


async def test_a_word_never_breaks_a_silence(stage: Stage) -> None:
    """A limit that the server has set holds for what a webhook wakes as well."""
    ref = stage.run_job(duration=5)
    stage.sim.fail_next(faults.too_many_requests(retry_after=30), skip=1)
    async with stage.client(PollPolicy.fixed(2)) as close:
        wait = asyncio.create_task(close.wait_until_done(ref).result())
        await stage.clock.advance(10)
        tell(close, ref, "completed", "done")
        assert (await wait).is_done
    assert 32 <= stage.now <= 34
    assert len(stage.polls()) == 3


async def test_hooks_are_told_of_each_word(stage: Stage) -> None:
    """Whatever it says, and whether anybody waits for its action; not of what is no bulk action."""
    notes = Notes()
    async with stage.client(SLOW, hooks=[notes]) as close:
        ref, other = stage.run_job(duration=10), stage.run_job(duration=10)
        wait = asyncio.create_task(close.wait_until_done(ref).result())
        await stage.clock.advance(5)
        tell(close, ref)
        tell(close, other, "completed", "done")
        close.notify(WebhookEvent.example(object_type="lead", object_id="lead_1"))
        await wait
    assert notes.of(WebhookReceived) == [
        WebhookReceived(ref=ref, action="updated", is_watched=True),
        WebhookReceived(ref=other, action="completed", is_watched=False),
    ]


async def test_a_closed_client_takes_words_and_does_nothing(stage: Stage) -> None:
    """A receiver may outlive it for a moment."""
    await stage.close.aclose()
    tell(stage.close, stage.run_job(), "completed", "done")
    assert await stage.nothing_is_left()


async def test_words_do_not_break_the_silence_that_the_server_asked_for(stage: Stage) -> None:
    """While polls fail, no webhook brings one forward."""
    ref = stage.run_job(duration=10_000)
    stage.sim.fail_next(faults.reply(503, headers=(("retry-after", "60"),)), times=None, skip=1)
    async with stage.client(PollPolicy()) as close:
        wait = asyncio.create_task(close.wait_until_done(ref).result())
        for _ in range(600):
            await stage.clock.advance(0.5)
            tell(close, ref)
            tell(close, ref, "completed", "done")
        assert len(stage.polls()) < 10
        wait.cancel()
