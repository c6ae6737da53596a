"""Clients inside the budget of a key, over a real socket: the simulator refuses what is too much."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from closebulk_async import BearerToken, CloseBulk, JobRef, RateLimitedError, RetryPolicy, ServerError, Timeouts
from closebulk_async.auth import ApiKey
from closebulk_async.creating import FRESH
from closebulk_async.errors import ClientClosedError, JournalError
from closebulk_async.journal import MemoryJournal
from closebulk_async.limiter import MemoryLimiter, Priority, Sight
from closebulk_async.models import Kind
from closebulk_async.policy import NO_RETRY
from closebulk_async.settings import Settings
from closebulk_async.simulator import Limits, Simulator, faults
from closebulk_async.telemetry import RequestEnded, RequestRepeated, Throttled
from closebulk_async.transport import Patience, Transport
from closebulk_async.wire import build_get, build_list
from tests.stage import Stage, create

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from closebulk_async import BulkEmail
    from closebulk_async.intents import Intent
    from closebulk_async.limiter import Limiter
    from closebulk_async.simulator.limits import Spelling
    from closebulk_async.telemetry import Event
    from closebulk_async.testing import FakeClock

pytestmark = pytest.mark.unmeasured

LIST = "/bulk_action/email/"
READS = "GET /bulk_action/email/"
POSTS = "POST /bulk_action/email/"


@pytest.fixture
def ref(stage: Stage) -> JobRef[BulkEmail]:
    """An action to read."""
    return stage.show_job(status="processing", n_objects=10, n_objects_processed=1)


@pytest.fixture
async def transport(stage: Stage) -> AsyncIterator[Transport]:
    """One of its own, open."""
    transport = Transport(settings_of(stage))
    transport.open()
    yield transport
    await transport.aclose()


def settings_of(stage: Stage, **changes: Any) -> Settings:
    """The settings of a client of the stage."""
    settings = Settings(
        base_url=stage.sim.base_url,
        auth=ApiKey(stage.sim.api_key),
        timeouts=Timeouts(),
        retry=RetryPolicy(),
        clock=stage.clock,
    )
    return attrs.evolve(settings, **changes)


def refused(stage: Stage) -> int:
    """How many requests the server refused."""
    return sum(request.status == 429 for request in stage.sim.requests)


def per_second(stage: Stage) -> Counter[int]:
    """How many requests came in each second of the test."""
    return Counter(int(at) for at in stage.polls())


async def get_many(close: CloseBulk, ref: JobRef[BulkEmail], number: int) -> None:
    """Read it so many times at once."""
    actions = await asyncio.gather(*(close.get(ref) for _ in range(number)))
    assert {action.id for action in actions} == {ref.id}


# Within the limits --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spelling", ["commas", "semicolons"])
async def test_a_thousand_reads_use_the_whole_budget_and_no_more(
    stage: Stage, ref: JobRef[BulkEmail], spelling: Spelling
) -> None:
    """At 20 a second 50 seconds are needed; no request is refused, and none is sent twice."""
    stage.sim.limits = Limits(rate=20, window=8, spelling=spelling)
    await get_many(stage.close, ref, 1000)
    assert (len(stage.sim.requests), refused(stage)) == (1000, 0)
    assert stage.now <= 50
    assert max(count for second, count in per_second(stage).items() if second >= 1) <= 21


async def test_a_few_reads_do_not_wait(stage: Stage, ref: JobRef[BulkEmail]) -> None:
    """A handful at once goes at once, also right after another handful a second before."""
    stage.sim.limits = Limits(rate=20, window=8)
    for second in range(3):
        await get_many(stage.close, ref, 8)
        assert stage.now == second
        await stage.clock.sleep(1)


async def test_the_budget_is_used_up_to_its_end(stage: Stage, ref: JobRef[BulkEmail]) -> None:
    """A small limit too: two a second, sixteen a window."""
    stage.sim.limits = Limits(rate=2, window=8)
    await get_many(stage.close, ref, 100)
    assert refused(stage) == 0
    assert stage.now <= 50


async def test_two_clients_of_a_key_share_its_budget(stage: Stage, ref: JobRef[BulkEmail]) -> None:
    """Neither knows of the other: what the answers show keeps both from being refused more than now and then."""
    stage.sim.limits = Limits(rate=20, window=8)
    async with stage.client() as other:
        await asyncio.gather(get_many(stage.close, ref, 400), get_many(other, ref, 400))
    assert refused(stage) <= 8
    assert stage.now <= 800 / 20 * 1.1


async def test_clients_may_share_a_limiter(stage: Stage, ref: JobRef[BulkEmail]) -> None:
    """Then none of them is refused at all."""
    stage.sim.limits = Limits(rate=20, window=8)
    limiter = MemoryLimiter(stage.clock)
    async with stage.client(limiter=limiter) as first, stage.client(limiter=limiter) as second:
        await asyncio.gather(get_many(first, ref, 400), get_many(second, ref, 400))
    assert refused(stage) == 0
    assert stage.now <= 40


async def test_the_organization_may_be_the_limit(stage: Stage, ref: JobRef[BulkEmail]) -> None:
    """Headers show whichever limit is closer; the closer one is kept."""
    stage.sim.limits = Limits(rate=20, window=8, organization_factor=0.5)
    await get_many(stage.close, ref, 300)
    assert refused(stage) == 0
    assert stage.now <= 300 / 10 + 1


async def test_another_user_of_the_organization_takes_a_part(clock: FakeClock) -> None:
    """The key's limit shows at first and the organization's later on, and both are kept."""
    limits = Limits(rate=20, window=8, organization_factor=1.2)
    async with Simulator(clock=clock, bearer_tokens=("token",), limits=limits) as sim:
        ref: JobRef[BulkEmail] = JobRef(Kind.EMAIL, sim.add_job("email", {"status": "processing"}).id)
        mine = CloseBulk(sim.api_key, base_url=sim.base_url, clock=clock)
        theirs = CloseBulk(auth=BearerToken("token"), base_url=sim.base_url, clock=clock)
        async with mine, theirs:
            await asyncio.gather(get_many(mine, ref, 300), get_many(theirs, ref, 300))
        assert sum(request.status == 429 for request in sim.requests) <= 8
        assert clock.monotonic() <= 600 / 24 * 1.15


async def test_a_limit_that_does_not_show_is_found(stage: Stage, ref: JobRef[BulkEmail]) -> None:
    """Without headers 429s are needed to find it: one in eight requests, and not all who wait at each reset."""
    stage.sim.limits = Limits(rate=5, window=8, spelling=None)
    await get_many(stage.close, ref, 400)
    assert refused(stage) <= 60
    assert stage.now <= 400 / 5 * 1.2


async def test_without_a_limit_nothing_waits(stage: Stage, ref: JobRef[BulkEmail]) -> None:
    """Four are in flight at first, and soon as many as there are connections."""
    await get_many(stage.close, ref, 1000)
    assert (stage.now, refused(stage), len(stage.sim.requests)) == (0, 0, 1000)


async def test_starts_keep_to_their_limit(stage: Stage) -> None:
    """Sixty at two a second: each is sent once, and those of the same two seconds share a reading of the list."""
    stage.sim.limits = Limits(rate=20, window=8, rates={POSTS: 2})
    await asyncio.gather(*(create(stage.close, Kind.EMAIL, template_id=f"tmpl_{number}") for number in range(60)))
    assert (stage.posts, len(stage.sim.jobs), refused(stage)) == (60, 60, 0)
    assert stage.now <= 30
    assert len(stage.sim.requests) - 60 <= 1 + stage.now / FRESH


# Who goes first -----------------------------------------------------------------------------------------------------


async def test_a_start_does_not_wait_for_polls(stage: Stage, ref: JobRef[BulkEmail]) -> None:
    """Five hundred polls wait, more than the budget of the next minute; a create takes no second, at any time."""
    stage.sim.limits = Limits(rate=5, window=8)
    limiter = MemoryLimiter(stage.clock)
    transport = Transport(settings_of(stage), limiter=limiter).serving(Priority.POLL)
    transport.open()
    polls = [asyncio.ensure_future(transport.send(build_get(ref), retry=NO_RETRY)) for _ in range(500)]
    async with stage.client(limiter=limiter) as close:
        for number in range(12):
            await stage.clock.sleep(3.7)
            asked = stage.now
            await create(close, Kind.EMAIL, template_id=f"tmpl_{number}")
            assert stage.now - asked <= 1
    assert refused(stage) == 0
    assert sum(poll.done() for poll in polls) > 100
    await transport.aclose()
    await asyncio.gather(*polls, return_exceptions=True)


async def test_polls_wait_as_long_as_it_takes(stage: Stage, ref: JobRef[BulkEmail], transport: Transport) -> None:
    """A stop of ten minutes is beyond all patience of a read, and a poll outlasts it."""
    stage.sim.fail_next(faults.too_many_requests(retry_after=600))
    with pytest.raises(RateLimitedError):
        await stage.close.get(ref)
    polls = transport.serving(Priority.POLL)
    stage.sim.fail_next(faults.too_many_requests(retry_after=600))
    await polls.send(build_get(ref), retry=NO_RETRY)
    assert (await polls.send(build_get(ref), retry=NO_RETRY)).status == 200
    assert 600 <= stage.now <= 601


# 429s ---------------------------------------------------------------------------------------------------------------


async def test_a_429_stops_its_group_only(stage: Stage, ref: JobRef[BulkEmail]) -> None:
    """Reads of actions and of their list share one limit; those of another kind, and starts, go on."""
    stage.sim.fail_next(faults.too_many_requests(retry_after=30), path=LIST)
    reads = [asyncio.ensure_future(read) for read in (stage.close.get(ref), stage.close.emails.list())]
    await stage.clock.settle()
    await stage.close.edits.list()
    await stage.close.emails.pause(ref)
    await create(stage.close, Kind.DELETE)
    assert stage.now == 0
    await asyncio.gather(*reads)
    assert 30 <= stage.now <= 31


async def test_all_who_wait_for_a_stop_go_one_by_one(stage: Stage, ref: JobRef[BulkEmail]) -> None:
    """Two hundred reads after a 429: no second after it has more than its share of the seven that are left at least."""
    stage.sim.limits = Limits(rate=20, window=8)
    stage.sim.fail_next(faults.too_many_requests(limit=(160, 0, 8)), skip=10)
    await get_many(stage.close, ref, 200)
    assert refused(stage) == 1
    assert max(count for second, count in per_second(stage).items() if second >= 8) <= 160 / 7 + 1


async def test_what_would_wait_too_long_is_not_sent(stage: Stage, ref: JobRef[BulkEmail]) -> None:
    """The group is stopped for ten minutes: the next read says so at once, and its error that nothing was answered."""
    stage.sim.fail_next(faults.too_many_requests(retry_after=600))
    with pytest.raises(RateLimitedError, match="answered with 429"):
        await stage.close.get(ref)
    with pytest.raises(RateLimitedError, match="not sent: the rate limit of GET /bulk_action/email/") as caught:
        await stage.close.get(ref)
    assert caught.value.status is None
    assert caught.value.retry_after is not None
    assert timedelta(seconds=600) <= caught.value.retry_after <= timedelta(seconds=601)
    assert (stage.now, len(stage.sim.requests)) == (0, 1)


async def test_a_start_that_would_wait_too_long_is_not_sent(stage: Stage) -> None:
    """Nothing is in doubt, and nothing is left in the journal."""
    stage.sim.fail_next(faults.too_many_requests(retry_after=600), method="POST")
    for _ in range(2):
        with pytest.raises(RateLimitedError):
            await create(stage.close, Kind.EMAIL)
    assert stage.posts == 1
    assert await stage.close.journal.unfinished() == []
    await stage.clock.sleep(601)
    await create(stage.close, Kind.EMAIL)
    assert stage.posts == 2


async def test_waits_for_the_budget_and_for_429s_are_bounded_together(stage: Stage, ref: JobRef[BulkEmail]) -> None:
    """Seven seconds of patience: five are spent on one 429, and three more would be too many."""
    stage.sim.fail_next(faults.too_many_requests(retry_after=5))
    stage.sim.fail_next(faults.too_many_requests(retry_after=3))
    async with stage.client(retry=RetryPolicy(max_wait=7)) as close:
        with pytest.raises(RateLimitedError, match="answered with 429"):
            await close.get(ref)
    assert 5 <= stage.now <= 6


async def test_the_jitter_of_a_hint_exhausts_nobodys_patience(stage: Stage, ref: JobRef[BulkEmail]) -> None:
    """Who has just enough for what the server asks for has it for the fraction of a second that is added."""
    stage.sim.fail_next(faults.too_many_requests(retry_after=5))
    async with stage.client(retry=RetryPolicy(max_wait=5)) as close:
        await close.get(ref)
    assert 5 < stage.now <= 6


async def test_a_shorter_hint_shortens_no_stop(stage: Stage, ref: JobRef[BulkEmail]) -> None:
    """Two reads are refused together, for fifty seconds and for three: both wait for fifty, and hooks hear so."""
    events: list[Event] = []
    for seconds in (50, 3):
        stage.sim.fail_next(faults.too_many_requests(retry_after=seconds))
    async with stage.client(hooks=[events.append]) as close:
        await get_many(close, ref, 2)
    assert 50 <= stage.now <= 51
    assert [event.delay.total_seconds() for event in events if isinstance(event, Throttled)] == [
        pytest.approx(stage.polls()[2])
    ] * 2


async def test_a_request_that_finds_no_room_gives_up(stage: Stage, ref: JobRef[BulkEmail]) -> None:
    """Of a hundred reads at one a second, those that would wait longer than three seconds are not sent."""
    stage.sim.limits = Limits(rate=1, window=8)
    async with stage.client(retry=RetryPolicy(max_wait=3)) as close:
        results = await asyncio.gather(*(close.get(ref) for _ in range(100)), return_exceptions=True)
    failures = [result for result in results if isinstance(result, BaseException)]
    assert {type(failure) for failure in failures} == {RateLimitedError}
    assert 4 <= 100 - len(failures) == len(stage.sim.requests) <= 8
    assert stage.now == pytest.approx(3)


async def test_429s_without_a_hint_stop_longer_each_time(stage: Stage, ref: JobRef[BulkEmail]) -> None:
    """One second, two, four, up to a minute; a success ends the row."""
    stage.sim.fail_next(faults.too_many_requests(), times=8)
    async with stage.client(retry=RetryPolicy(attempts=20, max_wait=1000)) as close:
        await close.get(ref)
        gaps = [after - before for before, after in pairwise(stage.polls())]
        for gap, least in zip(gaps, [1, 2, 4, 8, 16, 32, 60, 60], strict=True):
            assert least <= gap <= least + 1
        stage.sim.fail_next(faults.too_many_requests())
        await close.get(ref)
    assert 1 <= stage.polls()[-1] - stage.polls()[-2] <= 2


async def test_429s_that_come_together_are_one(stage: Stage, ref: JobRef[BulkEmail]) -> None:
    """Four reads are refused without a hint in one moment: their group is stopped for a second, and not for eight."""
    stage.sim.fail_next(faults.too_many_requests(), times=4)
    await get_many(stage.close, ref, 4)
    assert stage.polls()[:4] == [0.0] * 4
    assert 1 <= stage.polls()[4] <= 2


# Leaving ------------------------------------------------------------------------------------------------------------


async def test_closing_a_client_ends_its_waits_and_no_others(stage: Stage, ref: JobRef[BulkEmail]) -> None:
    """Two share a limiter whose group is stopped: of the one that closes all raise, the other one's go on."""
    limiter = MemoryLimiter(stage.clock)
    stage.sim.fail_next(faults.too_many_requests(retry_after=50), times=4)
    async with AsyncExitStack() as stack:
        staying = await stack.enter_async_context(stage.client(limiter=limiter))
        kept = [asyncio.ensure_future(staying.get(ref)) for _ in range(3)]
        async with stage.client(limiter=limiter) as leaving:
            lost = [asyncio.ensure_future(leaving.get(ref)) for _ in range(3)]
            await stage.clock.settle()
        assert {type(error) for error in await asyncio.gather(*lost, return_exceptions=True)} == {ClientClosedError}
        assert stage.now == 0
        await asyncio.gather(*kept)
    assert 50 <= stage.now <= 51
    assert await stage.nothing_is_left()


async def test_what_is_stopped_may_be_stopped_again(stage: Stage, ref: JobRef[BulkEmail], transport: Transport) -> None:
    """A client stops its transport first, and closes it when all else is closed."""
    stage.sim.fail_next(faults.too_many_requests(retry_after=50))
    read = asyncio.ensure_future(transport.send(build_get(ref)))
    await stage.clock.settle()
    transport.stop()
    await asyncio.sleep(0)
    transport.stop()
    with pytest.raises(ClientClosedError, match="waited for the rate limit of GET /bulk_action/email/"):
        await read


async def test_a_cancelled_start_that_waits_is_not_sent(stage: Stage) -> None:
    """Nobody is in doubt about it, and its place is free for the next."""
    stage.sim.limits = Limits(rate=20, window=8, rates={POSTS: 0.5})
    await asyncio.gather(*(create(stage.close, Kind.EMAIL, template_id=f"tmpl_{number}") for number in range(4)))
    started = stage.now
    waiting = asyncio.ensure_future(create(stage.close, Kind.EMAIL, template_id="tmpl_left"))
    await stage.clock.sleep(0.5)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert stage.posts == 4
    assert len(await stage.close.journal.unfinished()) == 4  # the four that run
    await create(stage.close, Kind.EMAIL)
    assert stage.now - started <= 8


class BrokenJournal(MemoryJournal):
    """Cannot write that an intent is being sent."""

    async def swap(self, intent: Intent) -> Intent | None:
        """Fail where it would become `posting`."""
        if intent.state == "posting":
            message = "disk full"
            raise JournalError(message)
        return await super().swap(intent)


async def test_a_start_that_fails_before_it_is_sent_gives_its_place_back(stage: Stage) -> None:
    """Ten fail one after the other; of four places in flight none is lost."""
    async with stage.client(journal=BrokenJournal()) as close:
        for _ in range(10):
            with pytest.raises(JournalError):
                await asyncio.wait_for(create(close, Kind.EMAIL), 1)
    assert stage.posts == 0
    assert stage.now == 0


# The transport itself -----------------------------------------------------------------------------------------------


async def test_who_was_admitted_does_not_wait_again(stage: Stage, ref: JobRef[BulkEmail], transport: Transport) -> None:
    """The last place of a window is one request's; the same request without it waits for the reset."""
    stage.sim.limits = Limits(rate=0.25, window=8)
    await transport.send(build_get(ref))
    await transport.admit(READS)
    await transport.send(build_get(ref), is_admitted=True)
    assert stage.now < 8
    await transport.send(build_get(ref))
    assert stage.now >= 8


async def test_a_place_may_be_given_up(stage: Stage, ref: JobRef[BulkEmail], transport: Transport) -> None:
    """Four places in flight are taken and given up again, as often as one likes."""
    for _ in range(20):
        await transport.admit(READS)
        transport.dismiss(READS)
    await transport.send(build_get(ref))
    assert stage.now == 0


async def test_a_place_that_is_given_up_costs_nothing(
    stage: Stage, ref: JobRef[BulkEmail], transport: Transport
) -> None:
    """Of a window of sixteen, all but the first request are still there after as many places were given up."""
    stage.sim.limits = Limits(rate=2, window=8)
    await transport.send(build_get(ref))
    for _ in range(15):
        await transport.admit(READS)
        transport.dismiss(READS)
    await asyncio.gather(*(transport.send(build_get(ref)) for _ in range(15)))
    assert (stage.now < 8, len(stage.sim.requests)) == (True, 16)


async def test_nothing_is_admitted_where_nothing_may_be_sent(stage: Stage) -> None:
    """Neither before the client is open nor after it was closed."""
    transport = Transport(settings_of(stage))
    with pytest.raises(ClientClosedError):
        await transport.admit(READS)
    transport.open()
    await transport.aclose()
    with pytest.raises(ClientClosedError):
        await transport.admit(READS, Patience(RetryPolicy()))


# Somebody else's limiter --------------------------------------------------------------------------------------------


@attrs.define
class OneAtATime:
    """The least that a limiter has to do, written without this package: one request of a group at a time."""

    sleep: Callable[[float], Any]
    seen: list[tuple[str, Priority, Sight | None]] = attrs.field(factory=list)
    _locks: dict[str, asyncio.Lock] = attrs.field(factory=dict)
    _priorities: dict[str, Priority] = attrs.field(factory=dict)
    _stops: dict[str, float] = attrs.field(factory=dict)

    async def acquire(self, group: str, *, priority: Priority, most: float) -> None:
        """Wait for the one before, and for what it was told."""
        await self._locks.setdefault(group, asyncio.Lock()).acquire()
        self._priorities[group] = priority
        seconds = self._stops.pop(group, 0.0)
        if seconds > most:
            self._locks[group].release()
            raise RateLimitedError(status=None, request=group, retry_after=timedelta(seconds=seconds))
        if seconds:
            await self.sleep(seconds)

    def learn(self, group: str, sight: Sight | None) -> None:
        """Let the next one go."""
        self.seen.append((group, self._priorities[group], sight))
        if sight is not None and sight.stopped_for is not None:
            self._stops[group] = sight.stopped_for
        self._locks[group].release()


async def test_a_limiter_may_be_somebody_elses(stage: Stage, ref: JobRef[BulkEmail]) -> None:
    """Every request has a place, and tells once what came of it: headers, a 429, nothing at all."""
    own = OneAtATime(stage.clock.sleep)
    limiter: Limiter = own
    stage.sim.limits = Limits(rate=20, window=8)
    stage.sim.fail_next(faults.too_many_requests(retry_after=5), method="POST")
    stage.sim.fail_next(faults.truncated_body(), method="GET", path=ref.id)
    async with stage.client(limiter=limiter) as close:
        await get_many(close, ref, 10)
        action = await create(close, Kind.EMAIL)
        await close.wait_until_done(action)
    assert len(own.seen) == len(stage.sim.requests)
    assert {(group, priority) for group, priority, _ in own.seen} == {
        (READS, Priority.CALL),
        (READS, Priority.START),
        (POSTS, Priority.START),
        (READS, Priority.POLL),
    }
    sights = [sight for _, _, sight in own.seen]
    assert sights.count(None) == 1
    stops = [sight.stopped_for for sight in sights if sight is not None and sight.stopped_for is not None]
    assert len(stops) == 1
    assert 5 <= stops[0] <= 6
    windows = [sight.window for sight in sights if sight is not None]
    assert [window is None for window in windows].count(True) == 1
    assert {window.limit for window in windows if window is not None} == {160}


# What is told -------------------------------------------------------------------------------------------------------


async def test_requests_are_told(stage: Stage, ref: JobRef[BulkEmail]) -> None:
    """Each attempt, each repeat with its delay and reason, and each stop of a group."""
    events: list[Event] = []
    stage.sim.fail_next(faults.too_many_requests(retry_after=5))
    stage.sim.fail_next(faults.truncated_body())
    stage.sim.fail_next(faults.broken_json())
    stage.sim.fail_next(faults.delay(2))
    async with stage.client(hooks=[events.append]) as close:
        await close.get(ref)
    ended = [event for event in events if isinstance(event, RequestEnded)]
    assert [event.status for event in ended] == [429, None, 200, 200]
    assert [type(event.error).__name__ for event in ended] == ["NoneType", "TransportError", "NoneType", "NoneType"]
    assert [event.attempt for event in ended] == [1, 2, 3, 4]
    assert [event.duration for event in ended] == [timedelta(0)] * 3 + [timedelta(seconds=2)]
    assert {(event.method, event.path, event.group) for event in ended} == {("GET", f"{LIST}{ref.id}/", READS)}
    repeated = [event for event in events if isinstance(event, RequestRepeated)]
    assert [event.attempt for event in repeated] == [2, 3, 4]
    assert {(event.method, event.path, event.group) for event in repeated} == {("GET", f"{LIST}{ref.id}/", READS)}
    assert repeated[0].reason == "answered 429"
    assert "no whole answer" in repeated[1].reason
    assert "does not fit" in repeated[2].reason
    instants = stage.polls()
    assert [event.delay.total_seconds() for event in repeated] == [
        pytest.approx(after - before, abs=1e-5) for before, after in pairwise(instants)
    ]
    throttled = [event for event in events if isinstance(event, Throttled)]
    assert [(event.group, event.delay) for event in throttled] == [(READS, repeated[0].delay)]
    assert [type(event) for event in events[:3]] == [Throttled, RequestEnded, RequestRepeated]


async def test_repeats_of_a_start_are_told(stage: Stage) -> None:
    """As those of any request: the second POST is the second attempt."""
    events: list[Event] = []
    stage.sim.fail_next(faults.too_many_requests(retry_after=5), method="POST")
    async with stage.client(hooks=[events.append]) as close:
        await create(close, Kind.EMAIL)
    ended = [event for event in events if isinstance(event, RequestEnded) and event.method == "POST"]
    assert [(event.attempt, event.status) for event in ended] == [(1, 429), (2, 201 if ended[1].status == 201 else 200)]
    repeated = [event for event in events if isinstance(event, RequestRepeated)]
    assert [(event.group, event.attempt) for event in repeated] == [(POSTS, 2)]


async def test_what_fails_for_good_is_told(stage: Stage) -> None:
    """Five attempts, four repeats."""
    events: list[Event] = []
    stage.sim.fail_next(faults.server_error(), times=None)
    async with stage.client(hooks=[events.append]) as close:
        with pytest.raises(ServerError):
            await close.emails.list()
    told = Counter(type(event).__name__ for event in events)
    assert told == {"RequestEnded": 5, "RequestRepeated": 4}


async def test_a_page_and_an_item_share_a_group(stage: Stage, ref: JobRef[BulkEmail], transport: Transport) -> None:
    """The limiter sees one group for both."""
    assert build_get(ref).group == build_list(Kind.EMAIL).group == READS
    stage.sim.fail_next(faults.too_many_requests(retry_after=600))
    assert (await transport.send(build_get(ref))).status == 429
    with pytest.raises(RateLimitedError):
        await transport.send(build_list(Kind.EMAIL))
