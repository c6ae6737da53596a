"""The budget that several processes keep together: what survives as text, and who still holds places of it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from closebulk_async.budget import Budget, Priority, Sight
from closebulk_async.errors import InvalidRequestError
from closebulk_async.ratelimit import RateLimit
from closebulk_async.shared_budget import SharedBudget, check_key_hash, hash_key

STEPS = st.lists(
    st.tuples(
        st.floats(min_value=0, max_value=3),
        st.sampled_from(Priority),
        st.sampled_from([None, Sight(), Sight(was_sent=False), Sight(stopped_for=4.0), "shown", "shown to many"]),
    ),
    max_size=40,
)


def show(remaining: float, *, limit: float = 160, reset: float = 8) -> Sight:
    """An answer with these numbers."""
    return Sight(window=RateLimit(limit=limit, remaining=remaining, reset=reset))


def load(
    text: str | None, *, now: float, name: str = "me", mine: int = 0, written_at: float | None = None
) -> SharedBudget:
    """What was written at that time, or just now."""
    return SharedBudget.load(text, name=name, mine=mine, written_at=now if written_at is None else written_at, now=now)


def learned(*sights: Sight, now: float = 0.0) -> Budget:
    """A budget of which requests have shown this."""
    budget = Budget()
    for sight in sights:
        budget.take(Priority.CALL, now=now)
        budget.learn(sight, now=now)
    return budget


@given(STEPS)
def test_a_budget_goes_on_as_if_it_had_never_been_text(steps: list[tuple[float, Priority, Sight | str | None]]) -> None:
    """Whatever happened to it: of two that go on alike, one is written down and read after each step."""
    whole, now, text = Budget(), 0.0, ""
    for seconds, priority, what in steps:
        now += seconds
        sight = what if not isinstance(what, str) else show(100, limit=480 if "many" in what else 160)
        kept = load(text, name="me", mine=whole.in_flight, now=now)
        assert kept.budget.wait(priority, now=now) == whole.wait(priority, now=now)
        for budget in (kept.budget, whole):
            budget.take(priority, now=now)
            budget.learn(sight, now=now)
        text = kept.dump(name="me", now=now)
    assert load(text, name="me", mine=0, now=now).budget.in_flight == 0


def test_all_places_count_whoever_holds_them() -> None:
    """Each process says how many are its own."""
    first = load(None, name="first", mine=0, now=0)
    for _ in range(3):
        first.budget.take(Priority.CALL, now=0)
    second = load(first.dump(name="first", now=0), name="second", mine=0, now=1)
    second.budget.take(Priority.CALL, now=1)
    assert (second.mine, second.budget.in_flight) == (1, 4)
    again = load(second.dump(name="second", now=1), name="first", mine=3, now=1)
    again.budget.learn(Sight(), now=1)
    assert (again.mine, again.budget.in_flight) == (2, 3)


@pytest.mark.parametrize(("window", "silence"), [(None, 5), (8, 8), (30, 30)])
def test_places_of_a_process_that_says_nothing_are_given_up(window: float | None, silence: float) -> None:
    """After the longest window that is known; one that lives after all says anew what it holds."""
    dead = load(None, name="dead", mine=0, now=0)
    if window is not None:
        dead.budget.take(Priority.CALL, now=0)
        dead.budget.learn(show(100, reset=window), now=0)
    dead.budget.take(Priority.CALL, now=0)
    text = dead.dump(name="dead", now=0)
    assert load(text, name="me", mine=0, now=silence - 0.1, written_at=0).budget.in_flight == 1
    late = load(text, name="me", mine=0, now=silence, written_at=0)
    assert late.budget.in_flight == 0
    back = load(late.dump(name="me", now=silence), name="dead", mine=1, now=silence)
    assert back.mine == back.budget.in_flight == 1


def test_a_clock_that_is_set_back_holds_nobody_up() -> None:
    """All instants move with it: a stop of ten seconds lasts ten seconds."""
    budget = SharedBudget(learned(show(100), Sight(stopped_for=10.0), now=5000.0))
    budget.budget.take(Priority.CALL, now=5000.0)
    text = budget.dump(name="other", now=5000.0)
    moved = load(text, written_at=5000.0, now=1400.0)
    assert moved.budget.wait(Priority.CALL, now=1400.0) == 10
    assert moved.budget.resets_within(8.1, now=1400.0)
    assert not moved.budget.resets_within(7.9, now=1400.0)
    assert moved.budget.in_flight == 1


def test_a_clock_that_was_set_while_somebody_wrote_holds_nobody_up() -> None:
    """What he took for now says by how much, in both directions; that he was slow says nothing."""
    text = SharedBudget(learned(Sight(stopped_for=20.0), now=5000.0)).dump(name="other", now=5000.0)
    for now, left in ((1400.0, 20), (8600.0, 20), (5005.0, 15)):
        assert load(text, now=now).budget.wait(Priority.CALL, now=now) == left


@pytest.mark.parametrize(
    "text", ["", "no JSON", "[]", "7", '{"budget": 1}', '{"budget": {"colour": 1}}', '{"places": {"a": 1}}', "\udcff"]
)
def test_what_cannot_be_read_is_not_known(text: str) -> None:
    """Another version wrote it: answers tell everything anew."""
    shared = load(text, name="me", mine=2, now=0)
    assert (shared.mine, shared.budget.wait(Priority.CALL, now=0)) == (2, 0)
    assert not shared.has_changed
    shared.budget.in_flight = 100
    assert shared.budget.wait(Priority.CALL, now=0) == math.inf


def test_waiting_for_a_window_is_a_change() -> None:
    """Others have to know it, or they would burst when the window ends."""
    shared = load(SharedBudget(learned(show(0))).dump(name="me", now=0), name="me", mine=0, now=1)
    assert not shared.has_changed
    assert shared.budget.wait(Priority.CALL, now=1) == 7
    assert shared.has_changed


def test_a_key_is_hashed_with_its_service() -> None:
    """Neither can be read from it, and a slash at the end makes no other service."""
    hashed = hash_key("api_1", base_url="https://api.close.com/api/v1")
    assert hashed == hash_key("api_1", base_url="https://api.close.com/api/v1/") == check_key_hash(hashed)
    assert hashed != hash_key("api_2", base_url="https://api.close.com/api/v1")
    assert hashed != hash_key("api_1", base_url="http://127.0.0.1:1")
    assert "api_1" not in hashed


@pytest.mark.parametrize("value", ["api_1abc", "", None, "F" * 64, 7])
def test_a_key_is_never_taken_for_its_hash(value: object) -> None:
    """Nor is it shown in the message."""
    with pytest.raises(InvalidRequestError, match="hash_key") as caught:
        check_key_hash(value)
    assert not value or str(value) not in str(caught.value)
