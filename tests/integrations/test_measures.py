"""What events add to the numbers, whichever library keeps them."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from closebulk_async import BulkActionFailed, CloseBulkError, WaitTimeout
from closebulk_async.errors import BulkActionPaused, BulkActionStalled, ClientClosedError, NotFoundError
from closebulk_async.integrations import measures
from closebulk_async.integrations.measures import INSTRUMENTS, OUTCOME_OF_ERROR, measure, outcome_of_wait
from closebulk_async.models import BulkEmail, Kind
from closebulk_async.telemetry import ActionMoved, Event, PollEnded, StartMoved, StartReconciled, WebhookReceived
from tests.integrations.examples import EVENTS, GROUP, LOST, REF, ended, moved, request
from tests.journals import new_intent

if TYPE_CHECKING:
    from closebulk_async.integrations.measures import Instrument


def added(event: Event, instrument: Instrument) -> list[tuple[float, tuple[str, ...]]]:
    """What an event adds to one instrument."""
    return [(amount, labels) for each, amount, labels in measure(event) if each is instrument]


def test_there_is_an_example_of_each_event() -> None:
    """So that what is asked of all examples is asked of all classes."""
    assert {type(event) for event in EVENTS} == set(get_args(Event))


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_every_event_counts(event: Event) -> None:
    """It adds to instruments of the table, with a value for each of their labels."""
    measured = list(measure(event))
    assert measured
    for instrument, _, labels in measured:
        assert instrument in INSTRUMENTS
        assert len(labels) == len(instrument.labels)


def test_every_instrument_is_used() -> None:
    """None of the table stays zero for ever."""
    used = {instrument.name for event in [*EVENTS, moved(0, 5, status="done")] for instrument, _, _ in measure(event)}
    assert used == {instrument.name for instrument in INSTRUMENTS}


@pytest.mark.parametrize(
    ("status", "word"), [(200, "200"), (429, "429"), (503, "503"), (599, "other"), (299, "other"), (None, "none")]
)
def test_a_request_counts_by_its_status(status: int | None, word: str) -> None:
    """By the code itself, as long as it is one that HTTP knows: there is no end of others."""
    event = request(status=status, error=LOST if status is None else None)
    assert added(event, measures.REQUESTS) == [(1, (GROUP, word))]
    assert added(event, measures.DURATION) == [(0.25, (GROUP,))]


@pytest.mark.parametrize(("found", "error", "word"), [(2, None, "found"), (0, None, "missing"), (0, LOST, "error")])
def test_a_poll_counts_by_what_it_showed(found: int, error: CloseBulkError | None, word: str) -> None:
    """Watched actions, none of them, or nothing at all."""
    event = PollEnded(refs=(REF,), how="item", found=found, error=error)
    assert added(event, measures.POLLS) == [(1, ("email", "item", word))]


def test_a_poll_that_asks_for_nobody_counts_too() -> None:
    """As one of no kind."""
    event = PollEnded(refs=(), how="page", found=0)
    assert added(event, measures.POLLS) == [(1, ("none", "page", "missing"))]


@pytest.mark.parametrize(("before", "after", "objects"), [(10, 40, [30]), (10, 10, []), (40, 10, []), (None, 40, [])])
def test_objects_count_as_they_are_seen_to_be_processed(before: int | None, after: int, objects: list[int]) -> None:
    """What was done before anybody looked is not known to be new, and a counter never goes back."""
    assert added(moved(before, after), measures.OBJECTS) == [(count, ("email",)) for count in objects]


def test_what_was_not_read_is_not_counted() -> None:
    """A narrowed action shows no number of objects."""
    narrowed = BulkEmail.from_dict({"id": REF.id, "status": "processing"})
    whole = BulkEmail.example(id=REF.id, n_objects_processed=40)
    for before, action in ((narrowed, whole), (whole, narrowed)):
        assert list(measure(ActionMoved(before=before, action=action, rate=None, eta=None))) == []


@given(st.lists(st.integers(min_value=0, max_value=1000), min_size=1, max_size=20))
def test_counted_objects_are_at_least_how_far_it_came(counts: list[int]) -> None:
    """Whatever the order of the answers, and exactly that where the number never falls."""
    steps = [moved(before, after) for before, after in zip([None, *counts], counts, strict=False)]
    total = sum(amount for step in steps for amount, _ in added(step, measures.OBJECTS))
    assert total >= counts[-1] - counts[0]
    if counts == sorted(counts):
        assert total == counts[-1] - counts[0]


@pytest.mark.parametrize(
    ("before", "status", "word"),
    [
        ("processing", "done", ["done"]),
        ("processing", "error", ["error"]),
        (None, "done", ["done"]),
        ("processing", "paused", []),
        ("done", "done", []),
        ("error", "error", []),
    ],
)
def test_an_action_ends_once(before: str | None, status: str, word: list[str]) -> None:
    """When it is seen at its end for the first time."""
    then = None if before is None else BulkEmail.example(id=REF.id, status=before)
    event = ActionMoved(before=then, action=BulkEmail.example(id=REF.id, status=status), rate=None, eta=None)
    assert added(event, measures.ENDED) == [(1, ("email", each)) for each in word]


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (None, "returned"),
        (asyncio.CancelledError(), "left"),
        (GeneratorExit(), "left"),
        (ClientClosedError(), "closed"),
        (NotFoundError(status=404, request="GET /"), "error"),
        (KeyboardInterrupt(), "error"),
    ],
)
def test_a_wait_counts_by_its_end(error: BaseException | None, word: str) -> None:
    """It runs no more, and its duration has the word for its end."""
    event = ended(error=error)
    assert added(event, measures.WAITS) == [(-1, ())]
    assert added(event, measures.WAIT_DURATION) == [(90, ("email", word))]


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        (BulkActionFailed, "failed"),
        (BulkActionPaused, "paused"),
        (BulkActionStalled, "stalled"),
        (WaitTimeout, "timeout"),
    ],
)
def test_what_a_wait_raises_has_a_word(kind: type[BaseException], word: str) -> None:
    """Each outcome that a caller treats differently."""
    assert OUTCOME_OF_ERROR[kind] == word
    assert outcome_of_wait(kind.__new__(kind)) == word


def test_starts_count_by_kind_and_state() -> None:
    """And what looking for a lost one came to."""
    intent = new_intent(kind=Kind.DELETE)
    assert added(StartMoved(intent=intent), measures.STARTS) == [(1, ("delete", "new"))]
    event = StartReconciled(intent=intent, outcome="missing")
    assert added(event, measures.RECONCILIATIONS) == [(1, ("delete", "missing"))]


@pytest.mark.parametrize(("action", "word"), [("completed", "completed"), ("exploded", "other")])
@pytest.mark.parametrize(("is_watched", "watched"), [(True, "true"), (False, "false")])
def test_webhooks_count_by_what_they_say(*, action: str, word: str, is_watched: bool, watched: str) -> None:
    """A word that nobody knows makes no label of its own."""
    event = WebhookReceived(ref=REF, action=action, is_watched=is_watched)
    assert list(measure(event)) == [(measures.WEBHOOKS, 1, ("email", word, watched))]


def test_an_unknown_status_makes_no_label() -> None:
    """It is no end: labels have the words of ends only."""
    assert all(word != "frozen" for _, _, labels in measure(moved(0, 1, status="frozen")) for word in labels)


def test_buckets_rise() -> None:
    """Only histograms have some."""
    for instrument in INSTRUMENTS:
        assert bool(instrument.buckets) is (instrument.form == "histogram")
        assert list(instrument.buckets) == sorted(set(instrument.buckets))
        assert all(timedelta(seconds=each) for each in instrument.buckets)
