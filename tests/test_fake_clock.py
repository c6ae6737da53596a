"""The clock that jumps: when it does, when it must not, and in which order it wakes."""

from __future__ import annotations

import asyncio
import gc
import math
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta, timezone

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from closebulk_async.simulator import Simulator, faults
from closebulk_async.testing import FakeClock, StuckClockError
from tests.simulator.api import Api

SECONDS = st.floats(0.001, 1e6)


async def sleep_and_note(clock: FakeClock, seconds: float, notes: list[tuple[float, float]]) -> None:
    """Sleep, then note what was asked for and the instant of waking."""
    await clock.sleep(seconds)
    notes.append((seconds, clock.monotonic()))


async def be_held(clock: FakeClock, seconds: float) -> None:
    """A request that its server never answers."""
    async with clock.timeout(seconds):
        with clock.hold():
            await asyncio.get_running_loop().create_future()


async def test_a_sleep_takes_no_time_and_is_exact() -> None:
    """A year passes at once, and both faces of the clock agree on it."""
    clock = FakeClock()
    start = clock.now()
    await clock.sleep(365 * 86_400.0)
    assert clock.now() - start == timedelta(days=365)
    assert clock.monotonic() == 365 * 86_400.0
    assert clock.now().tzinfo is UTC


def test_the_start_can_be_chosen() -> None:
    """Any aware instant will do, a naive one raises."""
    start = datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=2)))
    assert FakeClock(start).now() == start
    with pytest.raises(ValueError, match="aware"):
        FakeClock(datetime(2026, 1, 1))  # noqa: DTZ001 - the mistake is the subject


@given(st.lists(SECONDS, max_size=30))
def test_sleepers_wake_in_the_order_of_their_deadlines(durations: list[float]) -> None:
    """Whoever has the earlier deadline wakes first and at exactly its instant; of equals the one that came first."""
    clock = FakeClock()
    notes: list[tuple[float, float]] = []

    async def sleep_all() -> None:
        await asyncio.gather(*(sleep_and_note(clock, seconds, notes) for seconds in durations))

    asyncio.run(sleep_all())
    assert notes == [(seconds, seconds) for seconds in sorted(durations)]


@pytest.mark.parametrize("seconds", [0, -1, -math.inf])
async def test_no_time_passes_in_a_sleep_of_nothing(seconds: float) -> None:
    """Zero and less let the others run once."""
    clock = FakeClock()
    other = asyncio.create_task(asyncio.sleep(0, "ran"))
    await clock.sleep(seconds)
    await asyncio.sleep(0)
    assert other.done()
    assert clock.monotonic() == 0


async def test_nan_is_no_duration() -> None:
    """NaN raises instead of sleeping for ever."""
    clock = FakeClock()
    with pytest.raises(ValueError, match="nan"):
        await clock.sleep(math.nan)
    with pytest.raises(ValueError, match="nan"):
        clock.timeout(math.nan)
    for seconds in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="forward"):
            await clock.advance(seconds)


async def test_no_jump_while_something_can_run() -> None:
    """A chain of many turns of the loop is finished before time passes."""
    clock = FakeClock()
    instants = []

    async def be_busy() -> None:
        for _ in range(200):
            await asyncio.sleep(0)
        instants.append(clock.monotonic())

    await asyncio.gather(clock.sleep(1), be_busy())
    assert instants == [0]


async def test_a_task_that_spins_does_not_stop_time() -> None:
    """Who waits by spinning for a thing that needs time gets it."""
    clock = FakeClock()
    sleeping = asyncio.create_task(clock.sleep(5))
    while not sleeping.done():  # noqa: ASYNC110 - what such a loop does to the clock is the subject
        await asyncio.sleep(0)
    assert clock.monotonic() == 5


async def test_a_cancelled_sleeper_is_forgotten() -> None:
    """Its deadline moves nothing any more."""
    clock = FakeClock()
    short, long = asyncio.create_task(clock.sleep(5)), asyncio.create_task(clock.sleep(50))
    await asyncio.sleep(0)
    assert clock.sleepers == 2
    short.cancel()
    with pytest.raises(asyncio.CancelledError):
        await short
    assert clock.sleepers == 1
    seen = []
    await clock.sleep(1)
    seen.append(clock.monotonic())
    await long
    seen.append(clock.monotonic())
    assert seen == [1, 50]
    assert clock.sleepers == 0


async def test_a_sleeper_cancelled_in_the_turn_of_its_waking() -> None:
    """Two things that happen at once do not meet."""
    clock = FakeClock()
    victim: asyncio.Task[None] | None = None

    async def sleep_and_cancel() -> None:
        await clock.sleep(5)
        assert victim is not None
        victim.cancel()

    killer = asyncio.create_task(sleep_and_cancel())
    await asyncio.sleep(0)
    victim = asyncio.create_task(clock.sleep(5))
    await asyncio.wait([killer, victim])
    assert victim.cancelled()
    assert clock.monotonic() == 5


async def test_a_sleep_without_an_end() -> None:
    """An infinite sleep never wakes, and lets others' time pass."""
    clock = FakeClock()
    endless = asyncio.create_task(clock.sleep(math.inf))
    await clock.sleep(10)
    await clock.settle()
    assert not endless.done()
    endless.cancel()


async def test_many_jumps_leave_no_task_behind() -> None:
    """The clock is no task of the loop, neither while it works nor after."""
    clock = FakeClock()
    for _ in range(1000):
        await clock.sleep(1)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert clock.monotonic() == 1000


# -- timeouts ----------------------------------------------------------------------------------------------------------


async def test_a_held_request_times_out_at_its_instant() -> None:
    """While the server holds it, time passes to the timeout's end."""
    clock = FakeClock()
    with pytest.raises(TimeoutError):
        await be_held(clock, 5)
    assert clock.monotonic() == 5


async def test_time_stands_still_while_a_request_is_in_flight() -> None:
    """Neither a sleeper nor a timeout moves the clock before the request ends."""
    clock = FakeClock()
    answer = asyncio.get_running_loop().create_future()

    async def request() -> float:
        async with clock.timeout(1):
            await answer
        return clock.monotonic()

    sleeper = asyncio.create_task(clock.sleep(0.5))
    requesting = asyncio.create_task(request())
    # Real time, and little of it: nothing else can show that a clock does not move.
    await asyncio.sleep(0.01)
    assert (clock.monotonic(), sleeper.done(), requesting.done()) == (0, False, False)
    answer.set_result(None)
    assert await requesting == 0
    await sleeper
    assert clock.monotonic() == 0.5


@pytest.mark.parametrize("seconds", [0, -1])
async def test_a_timeout_of_nothing_expires_at_once(seconds: float) -> None:
    """As with `asyncio.timeout`, the block is cancelled at its first wait."""
    clock = FakeClock()
    with pytest.raises(TimeoutError):
        await be_held(clock, seconds)
    assert clock.monotonic() == 0


async def test_timeouts_nest() -> None:
    """The earlier of two nested deadlines ends its own block, and only the innermost block is a request."""
    clock = FakeClock()
    instants = []

    async def nest() -> None:
        async with clock.timeout(10):
            with pytest.raises(TimeoutError):
                await be_held(clock, 4)
            instants.append(clock.monotonic())
            await be_held(clock, 20)

    with pytest.raises(TimeoutError):
        await nest()
    instants.append(clock.monotonic())
    assert instants == [4, 10]


async def test_two_timeouts_at_once() -> None:
    """Requests that began together and are held both time out at the same instant."""
    clock = FakeClock()
    outcomes = await asyncio.gather(be_held(clock, 3), be_held(clock, 3), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [TimeoutError, TimeoutError]
    assert clock.monotonic() == 3


async def test_one_held_request_is_not_enough() -> None:
    """Of two requests in flight both must be held before time passes."""
    clock = FakeClock()
    answer = asyncio.get_running_loop().create_future()

    async def open_request() -> None:
        async with clock.timeout(10):
            await answer

    tasks = [asyncio.create_task(open_request()), asyncio.create_task(be_held(clock, 3))]
    await asyncio.sleep(0.01)
    assert clock.monotonic() == 0
    answer.set_result(None)
    await tasks[0]
    with pytest.raises(TimeoutError):
        await tasks[1]
    assert clock.monotonic() == 3


async def test_a_hold_of_a_client_that_left_does_not_count() -> None:
    """A hold that is older than a request cannot be about it."""
    clock = FakeClock()
    answer = asyncio.get_running_loop().create_future()

    async def request() -> None:
        async with clock.timeout(3):
            await answer

    with clock.hold():
        requesting = asyncio.create_task(request())
        await asyncio.sleep(0.01)
        assert clock.monotonic() == 0
        answer.set_result(None)
        await requesting


async def test_a_task_that_sleeps_in_its_own_timeout_is_no_request() -> None:
    """A pause between two tries under one timeout takes virtual time."""
    clock = FakeClock()
    async with clock.timeout(10):
        await clock.sleep(2)
        async with clock.timeout(1):
            await asyncio.sleep(0)
        await clock.sleep(3)
    assert clock.monotonic() == 5


async def test_a_timeout_ends_a_sleep() -> None:
    """A sleep that is longer than the timeout around it is cut off."""
    clock = FakeClock()

    async def sleep_too_long() -> None:
        async with clock.timeout(2):
            await clock.sleep(3)

    with pytest.raises(TimeoutError):
        await sleep_too_long()
    assert (clock.monotonic(), clock.sleepers) == (2, 0)


async def test_an_infinite_timeout_only_says_that_something_is_under_way() -> None:
    """Time stands still in the block, which never expires."""
    clock = FakeClock()
    sleeper = asyncio.create_task(clock.sleep(1))
    async with clock.timeout(math.inf):
        await asyncio.to_thread(lambda: None)
        assert clock.monotonic() == 0
    await sleeper


async def test_a_task_that_outlives_the_block_it_was_started_in() -> None:
    """Its own requests and sleeps are judged as if it had been started outside."""
    clock = FakeClock()

    async def live_on() -> float:
        await clock.sleep(5)
        async with clock.timeout(3):
            await asyncio.sleep(0)
        await clock.sleep(1)
        return clock.monotonic()

    async with clock.timeout(1):
        child = asyncio.create_task(live_on())
        await asyncio.sleep(0)
    assert await child == 6


async def test_a_cancelled_request_stays_cancelled() -> None:
    """A cancellation from outside is not turned into a timeout."""
    clock = FakeClock()

    async def request() -> None:
        async with clock.timeout(3):
            await asyncio.get_running_loop().create_future()

    task = asyncio.create_task(request())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await clock.sleep(10)
    assert clock.monotonic() == 10


# -- by hand -----------------------------------------------------------------------------------------------------------


async def test_without_auto_only_advance_moves_time() -> None:
    """Everything due on the way runs in order and can react; what is not yet due waits."""
    clock = FakeClock(auto=False)
    notes: list[tuple[float, float]] = []

    async def tick() -> None:
        while True:
            await sleep_and_note(clock, 2, notes)

    ticking = asyncio.create_task(tick())
    await clock.settle()
    assert (clock.monotonic(), clock.sleepers) == (0, 1)
    await clock.advance(5)
    assert (clock.monotonic(), notes) == (5, [(2, 2), (2, 4)])
    await clock.advance(1)
    assert (clock.monotonic(), notes[2:]) == (6, [(2, 6)])
    await clock.advance(0)
    assert clock.monotonic() == 6
    ticking.cancel()


async def test_advance_stops_where_it_was_told_also_with_auto() -> None:
    """When `advance` returns the clock stands at its instant, whatever else sleeps."""
    clock = FakeClock()
    notes: list[tuple[float, float]] = []
    later = asyncio.create_task(sleep_and_note(clock, 11, notes))
    sooner = asyncio.create_task(sleep_and_note(clock, 10, notes))
    await clock.advance(10)
    assert (clock.monotonic(), notes) == (10, [(10, 10)])
    await asyncio.gather(sooner, later)
    assert clock.monotonic() == 11


async def test_a_cancelled_advance_takes_its_target_with_it() -> None:
    """Time stands where it stood."""
    clock = FakeClock(auto=False)
    sleeper = asyncio.create_task(clock.sleep(5))
    advancing = asyncio.create_task(clock.advance(10))
    await asyncio.sleep(0)
    advancing.cancel()
    settling = asyncio.create_task(clock.settle())
    await asyncio.sleep(0)
    settling.cancel()
    await clock.settle()
    assert (clock.monotonic(), sleeper.done()) == (0, False)
    sleeper.cancel()


def test_a_clock_can_move_to_another_loop() -> None:
    """What a loop that ended left behind does not keep the clock from working in the next."""
    clock = FakeClock()

    async def leave_something() -> None:
        await clock.sleep(3)
        asyncio.get_running_loop().call_soon(asyncio.get_running_loop().stop)
        await clock.sleep(3)

    loop = asyncio.new_event_loop()
    task = loop.create_task(leave_something())
    loop.run_forever()
    task.cancel()
    loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
    loop.close()
    asyncio.run(clock.sleep(4))
    assert clock.monotonic() == 7


def test_a_handler_that_is_finalised_without_a_loop() -> None:
    """A coroutine that holds and is collected after its loop has ended leaves its hold quietly."""
    clock = FakeClock()

    async def hold() -> None:
        with clock.hold():
            await asyncio.get_running_loop().create_future()

    loop = asyncio.new_event_loop()
    coroutine = hold()
    loop.call_soon(lambda: coroutine.send(None))
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    coroutine.close()
    gc.collect()
    asyncio.run(clock.sleep(1))
    assert clock.monotonic() == 1


# -- when time cannot pass ---------------------------------------------------------------------------------------------


async def test_who_waits_for_the_clock_in_his_own_block_asks_for_no_answer() -> None:
    """`settle` and `advance` return there, as `sleep` does, and the block is a request again afterwards."""
    clock = FakeClock()
    answer = asyncio.get_running_loop().create_future()

    async def ask() -> None:
        async with clock.timeout(10):
            await clock.settle()
            await clock.advance(2)
            await answer

    asking, sleeper = asyncio.create_task(ask()), asyncio.create_task(clock.sleep(3))
    await asyncio.sleep(0.01)
    assert (clock.monotonic(), asking.done(), sleeper.done()) == (2, False, False)
    answer.set_result(None)
    await asyncio.gather(asking, sleeper)
    assert clock.monotonic() == 3


async def ask_in_vain(clock: FakeClock) -> None:
    """A request that nobody answers, and nobody holds."""
    async with clock.timeout(5):
        await asyncio.get_running_loop().create_future()


async def test_a_request_that_nobody_answers_ends_with_the_reason() -> None:
    """After real seconds, of which there are few here, and with who it was; then time goes on."""
    clock = FakeClock(patience=0.02)
    sleeper = asyncio.create_task(clock.sleep(3))
    with pytest.raises(
        StuckClockError, match=r"in flight: 1, held by a server: 0\n- the asker, .*ask_in_vain \(test_fa"
    ):
        await asyncio.create_task(ask_in_vain(clock), name="the asker")
    assert not sleeper.done()
    await sleeper
    assert clock.monotonic() == 3


async def test_who_waits_until_all_is_quiet_is_told_that_it_never_is() -> None:
    """`settle` ends like the request that it waited for, and works again."""
    clock = FakeClock(patience=0.02)
    asking = asyncio.create_task(ask_in_vain(clock))
    with pytest.raises(StuckClockError, match=r"`clock.hold\(\)`"):
        await clock.settle()
    with pytest.raises(StuckClockError):
        await asking
    await clock.settle()


async def test_a_settle_that_was_cancelled_is_not_told() -> None:
    """Others are, also those that came later."""
    clock = FakeClock(patience=0.02)
    asking = asyncio.create_task(ask_in_vain(clock))
    gone, there = asyncio.create_task(clock.settle()), asyncio.create_task(clock.settle())
    await asyncio.sleep(0)
    gone.cancel()
    outcomes = await asyncio.gather(asking, gone, there, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [StuckClockError, asyncio.CancelledError, StuckClockError]


async def test_a_request_that_came_to_be_held_is_left_alone() -> None:
    """Time may pass then, and whoever moves it by hand takes as long as he likes."""
    clock = FakeClock(auto=False, patience=0.02)

    async def ask() -> None:
        async with clock.timeout(5):
            await asyncio.sleep(0.005)
            with clock.hold():
                await asyncio.get_running_loop().create_future()

    asking = asyncio.create_task(ask())
    await asyncio.sleep(0.06)
    assert not asking.done()
    asking.cancel()


async def test_patience_is_counted_from_the_last_thing_that_happened() -> None:
    """Requests of which each is answered in time may take longer together."""
    clock = FakeClock(patience=0.05)
    loop = asyncio.get_running_loop()
    began = loop.time()
    while loop.time() - began < 0.15:
        async with clock.timeout(5):
            await asyncio.sleep(0.001)


async def test_a_loop_that_stood_still_itself_takes_little_patience() -> None:
    """As when somebody looks around in a debugger."""
    clock = FakeClock(patience=0.1)
    asking = asyncio.create_task(ask_in_vain(clock))
    await asyncio.sleep(0)
    time.sleep(0.2)  # noqa: ASYNC251 - that the loop stands still is the subject
    for _ in range(6):
        await asyncio.sleep(0)
    assert not asking.done()
    with pytest.raises(StuckClockError):
        await asking


async def test_without_end_of_patience_time_may_stand_still() -> None:
    """For those who wait for what takes long."""
    clock = FakeClock(patience=None)
    asking = asyncio.create_task(ask_in_vain(clock))
    await asyncio.sleep(0.05)
    assert not asking.done()
    asking.cancel()


@pytest.mark.parametrize("patience", [0, -1, math.nan])
def test_patience_is_a_positive_number(patience: float) -> None:
    """Anything else raises."""
    with pytest.raises(ValueError, match="patience"):
        FakeClock(patience=patience)


async def test_a_clock_says_what_it_waits_for() -> None:
    """The time, those who sleep, and whoever is asked for an answer, from the outside in."""
    clock = FakeClock(datetime(2026, 1, 1, tzinfo=UTC))
    assert clock.describe() == (
        "it is 2026-01-01 00:00:00+00:00, 0 s after the start\n"
        "sleepers: 0, nothing is due\n"
        "requests in flight: 0, held by a server: 0"
    )
    await clock.sleep(1.5)
    asking = asyncio.create_task(ask_in_vain(clock), name="the asker")
    sleeper = asyncio.create_task(clock.sleep(60))
    await asyncio.sleep(0)
    first, second, third, fourth = clock.describe().splitlines()
    assert first == "it is 2026-01-01 00:00:01.500000+00:00, 1.5 s after the start"
    assert (second, third) == ("sleepers: 1, the next is due in 5 s", "requests in flight: 1, held by a server: 0")
    assert fourth.startswith("- the asker, in ask_in_vain (test_fake_clock.py:")
    asking.cancel()
    sleeper.cancel()


# -- over a real socket ------------------------------------------------------------------------------------------------


async def test_an_answer_that_never_comes_over_a_socket() -> None:
    """The request times out at exactly its virtual instant, with other requests going on meanwhile."""
    clock = FakeClock()
    async with Simulator(clock=clock) as sim, aiohttp.ClientSession() as session:
        api = Api(sim=sim, clock=clock, session=session)
        sim.fail_next(faults.hang(), path="email")

        async def poll() -> list[float]:
            instants = []
            for _ in range(20):
                await api.get("/me/")
                instants.append(clock.monotonic())
                await clock.sleep(2)
            return instants

        polling = asyncio.create_task(poll())
        with pytest.raises(TimeoutError):
            await api.call("POST", "/bulk_action/email/", json_body={}, seconds=15)
        assert clock.monotonic() == 15
        assert await polling == [2.0 * step for step in range(20)]


@pytest.mark.parametrize("n_clients", [1, 8])
async def test_no_jump_while_bytes_are_under_way(n_clients: int) -> None:
    """However many clients ask over real sockets, no request takes virtual time and each pause exactly its own."""
    clock = FakeClock()
    async with AsyncExitStack() as stack:
        sim = await stack.enter_async_context(Simulator(clock=clock))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        api = Api(sim=sim, clock=clock, session=session)

        async def ask(pause: float) -> None:
            for step in range(25):
                assert clock.monotonic() == step * pause
                await api.get("/bulk_action/email/")
                assert clock.monotonic() == step * pause
                await clock.sleep(pause)

        # Powers of two, so that sums of pauses are exact.
        await asyncio.gather(*(ask(2.0**client) for client in range(n_clients)))
    assert {request.status for request in sim.requests} == {200}
    assert len(sim.requests) == 25 * n_clients


async def test_a_retry_right_after_a_timeout() -> None:
    """The server may not yet know that the first client has left; the second request still takes no time."""
    clock = FakeClock()
    async with Simulator(clock=clock) as sim, aiohttp.ClientSession() as session:
        api = Api(sim=sim, clock=clock, session=session)
        sleeper = asyncio.create_task(clock.sleep(1000))
        for turn in range(1, 20):
            sim.fail_next(faults.hang())
            with pytest.raises(TimeoutError):
                await api.get("/me/", seconds=5)
            assert (await api.get("/me/", seconds=5)).status == 200
            assert clock.monotonic() == 5 * turn
        await sleeper
