"""The machine's clock, and many alarms on one sleeping task."""

from __future__ import annotations

import asyncio
import random
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from closebulk_async.clock import Alarm, Alarms, SystemClock
from closebulk_async.testing import FakeClock


def alarm_tasks() -> int:
    """How many tasks ring or rang for alarms and have not ended."""
    return sum(task.get_name() == "closebulk_async alarms" for task in asyncio.all_tasks())


async def test_the_machines_clock_is_the_machines() -> None:
    """Its time of day is aware and in UTC, its seconds are those of time.monotonic."""
    clock = SystemClock()
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(minutes=1)
    assert clock.now().tzinfo is UTC
    before = time.monotonic()
    assert before <= clock.monotonic() <= time.monotonic()
    await clock.sleep(0)


async def test_the_machines_clock_bounds_an_exchange() -> None:
    """A block that is not over in time ends with TimeoutError."""
    with pytest.raises(TimeoutError):
        async with SystemClock().timeout(0.0):
            await asyncio.get_running_loop().create_future()


async def test_alarms_ring_at_their_instants_and_in_the_order_of_their_setting() -> None:
    """Each rings exactly when it is due; of one instant, the one that was set first rings first."""
    clock, rung = FakeClock(), list[tuple[str, float]]()
    alarms = Alarms(clock)

    def note(name: str) -> None:
        rung.append((name, clock.monotonic()))

    for name, seconds in (("late", 9.0), ("early", 1.0), ("first", 5.0), ("second", 5.0), ("now", 0.0)):
        alarms.set(seconds, partial(note, name))
    await clock.advance(60)
    assert rung == [("now", 0.0), ("early", 1.0), ("first", 5.0), ("second", 5.0), ("late", 9.0)]
    assert alarm_tasks() == 0


async def test_an_earlier_alarm_wakes_the_sleeping_task() -> None:
    """It rings in time although the task slept for a later one, and the later one still rings."""
    clock, rung = FakeClock(auto=False), list[float]()
    alarms = Alarms(clock)
    alarms.set(100, lambda: rung.append(clock.monotonic()))
    await clock.advance(10)
    alarms.set(5, lambda: rung.append(clock.monotonic()))
    await clock.advance(200)
    assert rung == [15.0, 100.0]


async def test_a_thousand_alarms_share_one_task() -> None:
    """Setting them in any order, and half of them before others rang, never takes a second sleeper."""
    clock, rung = FakeClock(auto=False), list[int]()
    alarms = Alarms(clock)
    order = random.Random(7).sample(range(1, 1001), 1000)
    for seconds in order:
        alarms.set(seconds, partial(rung.append, seconds))
        if not seconds % 100:
            await clock.settle()
            assert alarm_tasks() == clock.sleepers == 1
    await clock.advance(1000)
    assert rung == sorted(order)
    assert alarm_tasks() == clock.sleepers == 0


async def test_a_cancelled_alarm_does_not_ring() -> None:
    """The others do, cancelling twice or after the ring is harmless, and the last cancelled one ends the task."""
    clock, rung = FakeClock(auto=False), list[str]()
    alarms = Alarms(clock)
    first = alarms.set(1, lambda: rung.append("first"))
    second = alarms.set(2, lambda: rung.append("second"))
    third = alarms.set(3, lambda: rung.append("third"))
    second.cancel()
    second.cancel()
    await clock.advance(1)
    first.cancel()
    assert alarm_tasks() == 1
    third.cancel()
    await alarms.wait_ended()
    assert alarm_tasks() == clock.sleepers == 0
    await clock.advance(10)
    assert rung == ["first"]


async def test_an_alarm_can_be_cancelled_at_the_instant_at_which_it_is_due() -> None:
    """Whoever leaves in that very moment is not called back any more, although the alarm was taken from the heap."""
    clock, rung = FakeClock(auto=False), list[str]()
    alarms = Alarms(clock)
    alarm = alarms.set(5, lambda: rung.append("too late"))
    await clock.settle()
    leaver = asyncio.create_task(_cancel_at(clock, 5, alarm))  # wakes in the turn of the loop in which the alarm rings
    await clock.advance(5)
    await leaver
    assert rung == []
    await alarms.wait_ended()
    assert alarm_tasks() == 0


async def _cancel_at(clock: FakeClock, seconds: float, alarm: Alarm) -> None:
    """Sleep and cancel."""
    await clock.sleep(seconds)
    alarm.cancel()


async def test_what_was_cancelled_takes_no_room() -> None:
    """A heartbeat that is set and cancelled at each of many steps leaves the memory as it was."""
    clock = FakeClock(auto=False)
    alarms = Alarms(clock)
    rung = list[str]()
    alarms.set(1e9, lambda: rung.append("last"))
    for _ in range(10_000):
        alarms.set(1e6, lambda: rung.append("never")).cancel()
    assert _entries(alarms) < 200
    await clock.advance(2e9)
    assert rung == ["last"]


def _entries(alarms: Alarms) -> int:
    """Entries of the heap, which no public name counts."""
    heap: list[Any] = vars(alarms)["_heap"]
    return len(heap)


async def test_a_callback_may_set_the_next_alarm() -> None:
    """A chain of alarms is rung by one task from its begin to its end."""
    clock, rung, tasks = FakeClock(), list[float](), set[asyncio.Task[Any]]()
    alarms = Alarms(clock)

    def ring() -> None:
        tasks.update(task for task in asyncio.all_tasks() if task.get_name() == "closebulk_async alarms")
        rung.append(clock.monotonic())
        if len(rung) < 5:
            alarms.set(2, ring)

    alarms.set(2, ring)
    await clock.advance(60)
    assert rung == [2.0, 4.0, 6.0, 8.0, 10.0]
    assert len(tasks) == 1


async def test_a_callback_that_raises_stops_nobody() -> None:
    """What it raised goes to the loop's exception handler, and the next alarm rings."""
    clock, rung, told = FakeClock(), list[str](), list[object]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))
    alarms = Alarms(clock)
    mistake = ValueError("a mistake")

    def fail() -> None:
        raise mistake

    alarms.set(1, fail)
    alarms.set(1, lambda: rung.append("same instant"))
    alarms.set(2, lambda: rung.append("later"))
    await clock.advance(10)
    assert told == [mistake]
    assert rung == ["same instant", "later"]


async def test_waiting_for_the_end_does_not_wait_for_new_alarms() -> None:
    """Whoever leaves as the last one is not held up by the next one who comes in the same moment."""
    clock, rung = FakeClock(auto=False), list[float]()
    alarms = Alarms(clock)
    alarms.set(100, lambda: rung.append(-1.0)).cancel()
    new = alarms.set(1000, lambda: rung.append(clock.monotonic()))
    await alarms.wait_ended()
    assert clock.monotonic() == 0
    assert alarm_tasks() == 1
    await clock.advance(1000)
    assert rung == [1000.0]
    new.cancel()


async def test_waiting_for_the_end_of_alarms_that_have_rung() -> None:
    """Also right after the last one rang no task is left, and new alarms ring all the same."""
    clock, rung = FakeClock(), list[int]()
    alarms = Alarms(clock)
    last = asyncio.Event()
    alarms.set(5, last.set)
    await last.wait()
    await alarms.wait_ended()
    assert alarm_tasks() == 0
    alarms.set(1, lambda: rung.append(1))
    await clock.advance(1)
    assert rung == [1]


async def test_alarms_outlive_the_cancelling_of_all_tasks() -> None:
    """Where somebody cancelled the sleeping task, the next alarm that is set gets a new one."""
    clock, rung = FakeClock(auto=False), list[str]()
    alarms = Alarms(clock)
    alarms.set(5, lambda: rung.append("old"))
    await clock.settle()
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    await clock.settle()
    alarms.set(1, lambda: rung.append("new"))
    await clock.advance(5)
    assert rung == ["new", "old"]


async def test_random_alarms_ring_exactly_once_and_in_time() -> None:
    """Whatever is set and cancelled, and when: what was not cancelled rings at its instant, and nothing else does."""
    rng = random.Random(11)
    clock, rung = FakeClock(auto=False), list[tuple[float, int]]()
    alarms, expected = Alarms(clock), dict[int, tuple[float, Alarm]]()

    def ring(number: int) -> None:
        rung.append((clock.monotonic(), number))

    for number in range(500):
        seconds = rng.choice([0, 1, 2, 3, 5, 8, 50, 400])
        expected[number] = (clock.monotonic() + seconds, alarms.set(seconds, partial(ring, number)))
        victim = rng.randrange(2 * number + 2)
        if victim in expected and victim not in {number for _, number in rung}:
            expected.pop(victim)[1].cancel()
        if rng.random() < 0.2:
            await clock.advance(rng.choice([0, 1, 4, 30]))
    await clock.advance(1000)
    assert rung == sorted((due, number) for number, (due, _) in expected.items())
