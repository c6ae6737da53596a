"""The budget of one group, told the time: what it lets go, and what it learns of each answer."""

from __future__ import annotations

import heapq
import math
from itertools import pairwise
from typing import TYPE_CHECKING

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from closebulk_async.budget import FIRST_WIDTH, MOST_WIDTH, SLOWEST, Budget, Priority, Sight
from closebulk_async.ratelimit import RateLimit

from .strategies import patient

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WINDOW = 8.0
LIMIT = 160
EACH = list(Priority)
NOT_SENT = Sight(was_sent=False)


def shows(remaining: float, *, reset: float = WINDOW, limit: float = LIMIT, stopped_for: float | None = None) -> Sight:
    """An answer with these three numbers."""
    return Sight(window=RateLimit(limit=limit, remaining=remaining, reset=reset), stopped_for=stopped_for)


def knowing(remaining: float = LIMIT, *, now: float = 0.0, reset: float = WINDOW, limit: float = LIMIT) -> Budget:
    """A budget that has seen one answer."""
    budget = Budget()
    budget.take(Priority.START, now=now)
    budget.learn(shows(remaining, reset=reset, limit=limit), now=now)
    return budget


def take_all(budget: Budget, priority: Priority, *, now: float, most: int = 1000) -> int:
    """How many may go in this instant; they all go, and are not answered."""
    for number in range(most):
        if budget.wait(priority, now=now):
            return number
        budget.take(priority, now=now)
    return most


def drain(budget: Budget, priority: Priority, *, start: float, end: float) -> list[float]:
    """The instants until `end` at which requests go when there is always one more, and each is answered nowhere."""
    now, instants = start, []
    while now < end:
        wait = budget.wait(priority, now=now)
        if wait:
            now += wait
        else:
            budget.take(priority, now=now)
            instants.append(now)
    return [instant for instant in instants if instant < end]


# Unknown limits -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("priority", [Priority.CALL, Priority.POLL])
def test_an_unknown_limit_is_probed_with_four(priority: Priority) -> None:
    """The fifth waits for an answer, whatever it is."""
    budget = Budget()
    assert take_all(budget, priority, now=0.0) == FIRST_WIDTH == 4
    assert budget.wait(priority, now=1e6) == math.inf
    budget.learn(None, now=1.0)
    assert budget.wait(priority, now=1.0) == 0.0


@pytest.mark.parametrize("stops", range(4))
def test_a_start_waits_for_no_answer_to_a_poll(stops: int) -> None:
    """Whatever 429s have left of an unknown limit: it has one place that polls and calls cannot take."""
    budget = Budget()
    for now in range(stops):
        budget.take(Priority.POLL, now=now)
        budget.learn(Sight(stopped_for=0.5), now=now)
    polls = take_all(budget, Priority.POLL, now=10.0)
    assert polls == [4, 2, 1, 1][stops]
    assert [budget.wait(priority, now=10.0) for priority in EACH] == [0.0, math.inf, math.inf]
    assert take_all(budget, Priority.START, now=10.0) == 1
    budget.learn(None, now=10.0)
    assert [budget.wait(priority, now=10.0) for priority in EACH] == [0.0, math.inf, math.inf]


def test_each_success_adds_one_in_flight() -> None:
    """Up to a hundred, which is what a pool of connections has room for."""
    budget = Budget()
    for number in range(MOST_WIDTH * 2):
        assert take_all(budget, Priority.CALL, now=0.0) + budget.in_flight >= 1
        assert budget.in_flight == min(FIRST_WIDTH + number, MOST_WIDTH)
        budget.learn(Sight(), now=0.0)
    assert MOST_WIDTH == 100


def test_no_answer_adds_none() -> None:
    """What fails tells nothing."""
    budget = Budget()
    for _ in range(20):
        take_all(budget, Priority.CALL, now=0.0)
        budget.learn(None, now=0.0)
    assert budget.in_flight == FIRST_WIDTH - 1


def test_what_was_not_sent_adds_none() -> None:
    """A place that is given up shows nothing, and is free again."""
    budget = Budget()
    for _ in range(20):
        assert take_all(budget, Priority.CALL, now=0.0) == FIRST_WIDTH
        for _ in range(FIRST_WIDTH):
            budget.learn(NOT_SENT, now=0.0)


def test_a_429_halves_what_may_be_in_flight_once() -> None:
    """Those that were under way together are refused together; the next 429 halves it again, and one is left."""
    budget = Budget()
    for _ in range(28):
        budget.take(Priority.CALL, now=0.0)
        budget.learn(Sight(), now=0.0)
    widths = []
    for now in (10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0):
        taken = take_all(budget, Priority.CALL, now=now)
        widths.append(taken)
        for _ in range(taken):
            budget.learn(Sight(stopped_for=1.0), now=now)
    assert widths == [32, 1, 1, 1, 1, 1, 1]  # at a measured pace, one at a time
    assert budget.wait(Priority.CALL, now=70.0) == 1.0


def test_a_stop_holds_all_back_and_is_never_shortened() -> None:
    """Of several 429s the longest counts."""
    budget = Budget()
    for seconds in (3.0, 7.0, 5.0):
        budget.take(Priority.CALL, now=0.0)
        budget.learn(Sight(stopped_for=seconds), now=0.0)
    assert [budget.wait(priority, now=1.0) for priority in EACH] == [6.0] * 3
    assert budget.stopped_for(now=1.0) == 6.0
    assert budget.stopped_for(now=8.0) == 0.0
    assert budget.wait(Priority.CALL, now=7.0) == 0.0


def test_a_limit_that_no_answer_shows_is_measured() -> None:
    """Forty succeeded before the 429, which stops for eight seconds: five a second, and then a little more."""
    budget = Budget()
    for _ in range(40):
        budget.take(Priority.CALL, now=0.0)
        budget.learn(Sight(), now=0.0)
    budget.take(Priority.CALL, now=0.0)
    budget.learn(Sight(stopped_for=8.0), now=0.0)
    instants = []
    now = 8.0
    while now < 16.0:
        if wait := budget.wait(Priority.CALL, now=now):
            now += wait
            continue
        budget.take(Priority.CALL, now=now)
        budget.learn(Sight(), now=now)
        instants.append(now)
    gaps = [after - before for before, after in pairwise(instants)]
    assert gaps[0] == pytest.approx(0.2)
    assert gaps == sorted(gaps, reverse=True)
    assert 40 < len(instants) < 52


def test_a_measured_pace_is_given_up_when_it_holds_nobody_up() -> None:
    """After some hundred successes without a 429 there is none."""
    budget = knowing()
    for _ in range(3):
        budget.take(Priority.CALL, now=0.0)
        budget.learn(shows(100, stopped_for=1.0), now=0.0)
    now = 1.0
    for _ in range(1000):
        now += budget.wait(Priority.CALL, now=now)
        budget.take(Priority.CALL, now=now)
        budget.learn(Sight(), now=now)
    assert take_all(budget, Priority.CALL, now=now + 60) == MOST_WIDTH


def test_one_429_does_not_slow_down_for_ever() -> None:
    """After a single success a stop of ten minutes is no pace of one request in ten minutes."""
    budget = Budget()
    budget.take(Priority.CALL, now=0.0)
    budget.learn(Sight(), now=0.0)
    budget.take(Priority.CALL, now=0.0)
    budget.learn(Sight(stopped_for=600.0), now=0.0)
    budget.take(Priority.CALL, now=600.0)
    assert budget.wait(Priority.CALL, now=600.0) == SLOWEST == 5.0


# Known limits -------------------------------------------------------------------------------------------------------


def test_some_go_at_once_and_the_rest_at_an_even_pace() -> None:
    """After a time without requests about a quarter of the window goes at once; all of it is used when it ends."""
    budget = knowing(LIMIT)
    instants = drain(budget, Priority.CALL, start=0.0, end=WINDOW)
    at_once = instants.count(0.0)
    assert LIMIT / 5 < at_once < LIMIT / 4 + 1
    assert len(instants) == LIMIT
    gaps = [after - before for before, after in pairwise(instants[at_once:])]
    assert max(gaps) == pytest.approx(min(gaps))


def test_a_reset_is_no_signal_to_burst() -> None:
    """Who had to wait for it sends the next window's requests at its even pace, from its first instant on."""
    budget = knowing(0)
    assert budget.wait(Priority.CALL, now=0.0) == WINDOW
    instants = drain(budget, Priority.CALL, start=WINDOW, end=WINDOW + 1)
    assert instants[0] == WINDOW
    assert 19 <= len(instants) <= 21


def test_whoever_waited_for_a_reset_goes_first_and_alone() -> None:
    """Also a start: the burst that it may have is for a window that nobody waited for."""
    budget = knowing(0, reset=3.0)
    for priority in (Priority.POLL, Priority.START, Priority.CALL):
        assert budget.wait(priority, now=0.0) == 3.0
    assert take_all(budget, Priority.START, now=3.0) == 1
    assert budget.wait(Priority.CALL, now=3.0) > 0.5


def test_a_start_goes_ahead_of_what_has_used_the_pace_up() -> None:
    """Twenty of them at once, while calls and polls would have to wait."""
    budget = knowing(LIMIT)
    take_all(budget, Priority.CALL, now=0.0)
    assert budget.wait(Priority.POLL, now=0.0) > 0
    assert 10 < take_all(budget, Priority.START, now=0.0) < 30


@pytest.mark.parametrize(("limit", "kept"), [(160, 8), (40, 2), (16, 2), (5, 2), (4, 2), (3, 1), (2, 1), (1, 0)])
def test_polls_leave_a_share(limit: int, kept: int) -> None:
    """A tenth of each window, of small ones two requests or half, and of one request nothing."""
    budget = knowing(limit, limit=limit)
    assert len(drain(budget, Priority.POLL, start=0.0, end=WINDOW)) == limit - kept
    assert take_all(budget, Priority.START, now=WINDOW - 1e-3) == kept


def test_requests_that_are_under_way_count_as_spent() -> None:
    """Until their answers show that they were counted."""
    budget = knowing(10, limit=10)
    for _ in range(4):
        budget.take(Priority.START, now=0.0)
    budget.learn(shows(9, limit=10), now=1.0)
    assert len(drain(budget, Priority.START, start=7.9, end=WINDOW)) == 6


def test_answers_may_come_in_any_order() -> None:
    """The fewest that an answer has shown is what is left: a later one that shows more was written before it."""
    budget = knowing(100)
    for _ in range(10):
        budget.take(Priority.START, now=1.0)
    for remaining in (90, 95, 92, 99, 91, 97, 98, 93, 96, 94):
        budget.learn(shows(remaining, reset=7.0), now=1.0)
    assert len(drain(budget, Priority.START, start=1.0, end=WINDOW)) == 90


def test_a_failure_counts_as_spent() -> None:
    """Nobody knows whether the server counted it, and a 503 without a header was counted."""
    budget = knowing(10, limit=10)
    for sight in (None, Sight()):
        budget.take(Priority.START, now=0.0)
        budget.learn(sight, now=0.0)
    assert len(drain(budget, Priority.START, start=0.0, end=WINDOW)) == 8


def test_a_429_was_not_counted() -> None:
    """A request that the organization's limit refuses has used nothing up of the key's."""
    budget = knowing(10, limit=10)
    budget.take(Priority.START, now=0.0)
    budget.learn(shows(0, limit=480, reset=1.0, stopped_for=1.0), now=0.0)
    assert len(drain(budget, Priority.START, start=1.0, end=WINDOW)) == 10


def test_a_slow_answer_puts_no_reset_off() -> None:
    """It was written earlier than it came, and the earliest end that was named stays."""
    budget = knowing(1)
    budget.take(Priority.START, now=0.0)
    budget.learn(shows(0), now=1.5)
    assert budget.wait(Priority.START, now=2.0) == 6.0


@pytest.mark.parametrize("give_back", [Budget.give_back, lambda budget: budget.learn(NOT_SENT, now=0.0)])
def test_what_was_given_back_does_not(give_back: Callable[[Budget], None]) -> None:
    """It never left."""
    budget = knowing(10, limit=10)
    budget.take(Priority.START, now=0.0)
    give_back(budget)
    assert len(drain(budget, Priority.START, start=0.0, end=WINDOW)) == 10


def test_others_use_the_same_limit() -> None:
    """Where an answer shows fewer than were counted here, it is right."""
    budget = knowing(LIMIT)
    budget.take(Priority.CALL, now=1.0)
    budget.learn(shows(20, reset=7.0), now=1.0)
    assert len(drain(budget, Priority.CALL, start=1.0, end=WINDOW)) == 20


def test_the_next_window_is_believed_before_it_is_seen() -> None:
    """It is whole after the reset; and what the first answer of it shows replaces what was assumed."""
    budget = knowing(0)
    assert budget.wait(Priority.CALL, now=0.0) == WINDOW
    assert budget.wait(Priority.CALL, now=WINDOW) == 0.0
    budget.take(Priority.CALL, now=WINDOW)
    budget.learn(shows(3, reset=2.0), now=WINDOW)
    assert len(drain(budget, Priority.CALL, start=WINDOW, end=WINDOW + 2.0)) == 3


def test_a_window_that_began_earlier_than_expected_is_believed() -> None:
    """A slow answer had put its end too late."""
    budget = knowing(1, reset=6.0)
    budget.take(Priority.CALL, now=5.0)
    budget.learn(shows(159, reset=8.0), now=5.5)
    assert len(drain(budget, Priority.CALL, start=5.5, end=13.5)) == 159


def test_a_late_answer_of_the_last_window_says_nothing_of_this_one() -> None:
    """It was written before the reset."""
    budget = knowing(LIMIT)
    budget.take(Priority.CALL, now=7.0)
    budget.take(Priority.CALL, now=7.0)
    budget.wait(Priority.CALL, now=8.0)
    budget.learn(shows(159), now=8.0)
    budget.learn(shows(0, reset=0.1), now=8.1)
    assert len(drain(budget, Priority.CALL, start=8.1, end=16.0)) == 159


def test_key_and_organization_take_turns() -> None:
    """Each limit counts every request, whichever of them an answer shows."""
    budget = knowing(100, limit=160)
    budget.take(Priority.START, now=0.0)
    budget.learn(shows(50, limit=480, reset=5.0), now=0.0)
    assert len(drain(budget, Priority.START, start=0.0, end=5.0)) == 50
    assert len(drain(budget, Priority.START, start=5.0, end=WINDOW)) == 99 - 50


def test_a_limit_that_is_shown_no_more_is_forgotten() -> None:
    """After two windows in which answers show another one, or none."""
    budget = knowing(5, limit=5)
    for now in (8.0, 16.5):
        budget.take(Priority.CALL, now=now)
        budget.learn(shows(480, limit=480), now=now)
    assert take_all(budget, Priority.START, now=16.5) > 100
    for now in (30.0, 40.0):
        budget.take(Priority.CALL, now=now)
        budget.learn(Sight(), now=now)
    assert budget.wait(Priority.CALL, now=40.0) == math.inf
    assert budget.in_flight > MOST_WIDTH


@pytest.mark.parametrize(
    "window",
    [
        RateLimit(remaining=0.0, reset=5.0),
        RateLimit(limit=0.0, remaining=0.0, reset=5.0),
        RateLimit(limit=160.0, reset=5.0),
        RateLimit(limit=160.0, remaining=0.0),
        RateLimit(limit=160.0, remaining=0.0, reset=1.7e9),
    ],
)
def test_half_a_header_is_none(window: RateLimit) -> None:
    """Also one whose reset is an instant, which would stop everything for decades."""
    budget = Budget()
    budget.take(Priority.CALL, now=0.0)
    budget.learn(Sight(window=window), now=0.0)
    assert take_all(budget, Priority.CALL, now=0.0) == FIRST_WIDTH + 1


def test_a_429_of_a_known_limit_is_no_stricter_one() -> None:
    """It shows that nothing is left: the reset is waited for, and the pace afterwards is the limit's own."""
    budget = knowing(0)
    budget.take(Priority.CALL, now=1.0)
    budget.learn(shows(0, reset=7.0, stopped_for=7.5), now=1.0)
    assert budget.wait(Priority.CALL, now=1.0) == 7.5
    instants = drain(budget, Priority.CALL, start=8.5, end=9.5)
    assert 18 <= len(instants) <= 22


def test_a_stricter_limit_slows_down() -> None:
    """A 429 while requests are left: so many succeeded in so much time, whatever the header allows."""
    budget = knowing(LIMIT)
    for number in range(10):
        budget.take(Priority.CALL, now=0.0)
        budget.learn(shows(LIMIT - number), now=0.0)
    budget.take(Priority.CALL, now=0.0)
    budget.learn(shows(140, stopped_for=10.0), now=0.0)
    assert 9 <= len(drain(budget, Priority.CALL, start=10.0, end=20.0)) <= 12


# Against a server ---------------------------------------------------------------------------------------------------


@attrs.define
class Server:
    """Counts as the service does: whole windows, whole again at each reset."""

    limit: int
    window: float
    left: int = 0
    number: int = -1
    refused: int = 0

    def count(self, now: float) -> Sight:
        """Take one request."""
        if math.floor(now / self.window) > self.number:
            self.number, self.left = math.floor(now / self.window), self.limit
        reset = (self.number + 1) * self.window - now
        if not self.left:
            self.refused += 1
            return shows(0, limit=self.limit, reset=reset, stopped_for=reset)
        self.left -= 1
        return shows(self.left, limit=self.limit, reset=reset)


@attrs.frozen(order=True)
class Flight:
    """A request under way: when it is counted, and when its answer is there."""

    at: float
    number: int
    answered_at: float = attrs.field(eq=False, order=False)
    sight: Sight | None = attrs.field(default=None, eq=False, order=False)


def play(server: Server, moves: Sequence[tuple[float, int, float]], priority: Priority) -> int:
    """Send as many as the moves say, each waiting for its time; how many went."""
    budget, now, sent, flights = Budget(), 0.0, 0, list[Flight]()

    def land(until: float) -> None:
        while flights and flights[0].at <= until:
            flight = heapq.heappop(flights)
            if flight.sight is None:
                landed = attrs.evolve(flight, at=flight.answered_at, sight=server.count(flight.at))
                heapq.heappush(flights, landed)
            else:
                budget.learn(flight.sight, now=flight.at)

    for pause, requests, latency in moves:
        now += pause
        land(now)
        left = requests
        while left:
            wait = budget.wait(priority, now=now)
            if wait:
                now = min(now + wait, flights[0].at if flights else math.inf)
                land(now)
                continue
            budget.take(priority, now=now)
            sent, left = sent + 1, left - 1
            heapq.heappush(flights, Flight(now + latency / 2, sent, now + latency))
    return sent


@patient
@given(
    limit=st.integers(4, 200),
    window=st.sampled_from([5.0, 8.0]),
    moves=st.lists(st.tuples(st.floats(0, 12), st.integers(0, 150), st.floats(0, 2)), min_size=1, max_size=12),
    priority=st.sampled_from(EACH),
)
def test_who_is_alone_is_never_refused(
    limit: int, window: float, moves: list[tuple[float, int, float]], priority: Priority
) -> None:
    """However the requests come and however long their answers take: they all go, and the server has room for each."""
    server = Server(limit, window)
    assert play(server, moves, priority) == sum(requests for _, requests, _ in moves)
    assert server.refused == 0
