"""The board: what it takes from polls and lists, versions, and what it lets go."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from closebulk_async import BulkActionPaused, BulkEmail, CloseBulkError, NotFoundError, Progress, WatchLostError
from closebulk_async.dashboard.board import (
    MOST_ENDED,
    MOST_REMOVED,
    UNSEEN_FOR,
    Board,
    Place,
)
from closebulk_async.dashboard.cards import MOST_MOMENTS, MOST_SAMPLES
from closebulk_async.dashboard.payloads import describe_state
from closebulk_async.models import JobRef, Kind
from closebulk_async.testing.fake_clock import START
from closebulk_async.wire import bare_action
from tests.journals import new_intent

from .houses import agree

if TYPE_CHECKING:
    from collections.abc import Mapping

NOTHING = timedelta(0)


def action(
    id: str = "bulkemail_1", *, status: str | None = "processing", done: int = 0, total: int | None = 100
) -> BulkEmail:
    """A bulk email."""
    return BulkEmail.example(
        id=id, status=status, n_objects_processed=done, n_objects=total, date_created=START, date_updated=START
    )


def step(job: Any, *, polls: int = 1, **more: Any) -> Progress[Any]:  # noqa: ANN401 - any kind
    """What a watch says of it."""
    plain: dict[str, Any] = {
        "action": job,
        "n_objects_processed": getattr(job, "n_objects_processed", 0),
        "n_objects": getattr(job, "n_objects", None),
        "fraction": None,
        "rate": 2.0,
        "eta": timedelta(seconds=30),
        "elapsed": NOTHING,
        "polls": polls,
        "next_poll_in": None,
        "stalled_for": NOTHING,
        "paused_since": None,
    }
    return Progress(**{**plain, **more})


def at(seconds: float) -> datetime:
    """So long after the beginning."""
    return START + timedelta(seconds=seconds)


def state(board: Board, since: str | None = None) -> dict[str, Any]:
    """What a page gets that has this version."""
    changes = board.changes_since(board.parse_version(since))
    return describe_state(board, changes, now=START, limits={})


@pytest.fixture
def board() -> Board:
    """It knows nothing."""
    return Board(now=START)


@attrs.define
class Viewer:
    """A page, which applies what it is told."""

    most: int | None = None
    """Cards that it takes at once: more come in parts, and something may happen between two of them."""
    version: str | None = None
    after: Place | None = None
    rows: dict[str, Any] = attrs.field(factory=dict)

    def look(self, board: Board) -> bool:
        """Apply what has changed since the last look, or a part of it; whether that is all."""
        changes = board.changes_since(board.parse_version(self.version), after=self.after, most=self.most)
        told = describe_state(board, changes, now=START, limits={})
        assert told["more"] is not changes.is_whole
        assert self.most is None or len(told["actions"]) <= self.most
        if told["reset"]:
            self.rows = {}
        assert not set(told["removed"]) & {row["ref"] for row in told["actions"]}
        for ref in told["removed"]:
            self.rows.pop(ref, None)
        for row in told["actions"]:
            samples = self.rows.get(row["ref"], {}).get("samples", [])
            last = samples[-1][0] if samples else 0
            later = [sample for sample in row["samples"] if sample[0] > last]
            self.rows[row["ref"]] = {**row, "samples": samples + later}
        self.after = None if changes.is_whole else changes.place
        self.version = told["version"] if changes.is_whole else self.version
        return changes.is_whole

    def agrees_with(self, snapshot: Mapping[str, Any]) -> bool:
        """Whether it shows what somebody sees who comes now."""
        shown = {row["ref"]: row for row in snapshot["actions"]}
        return self.version == snapshot["version"] and agree(self.rows, shown)


statuses = st.sampled_from(["created", "processing", "paused", "done", "error", "strange", None])
jobs = st.builds(
    action,
    st.sampled_from([f"bulkemail_{number}" for number in range(5)]),
    status=statuses,
    done=st.integers(0, 100),
    total=st.none() | st.integers(1, 100),
)
lost = st.none() | st.just(WatchLostError("lost", ref=JobRef(Kind.EMAIL, "bulkemail_1")))
events = st.one_of(
    st.tuples(st.just("step"), st.builds(step, jobs, changed=st.booleans(), error=lost, polls=st.integers(0, 3))),
    st.tuples(st.just("row"), jobs),
    st.tuples(st.just("change"), jobs),
    st.tuples(st.just("answer"), st.none()),
    st.tuples(st.just("failure"), st.sampled_from(["down", "gone"])),
    st.tuples(st.just("many"), st.integers(1, 12)),
    st.tuples(st.just("look"), st.integers(0, 2)),
)


def apply(board: Board, event: str, value: Any, now: datetime) -> None:  # noqa: ANN401 - of each event its own
    """Let something happen."""
    match event:
        case "step":
            board.note_progress(value, now=now)
        case "row":
            board.note_job(value, now=now)
        case "change":
            board.note_change(value, now=now)
        case "answer":
            board.note_answer(now=now)
        case "failure":
            board.note_failure(value, now=now)
        case "many":
            for number in range(value):
                board.note_progress(step(action(f"bulkemail_{now.timestamp():.0f}_{number}", status="done")), now=now)


@given(st.lists(events, max_size=40))
def test_changes_since_any_version_lead_to_what_is(happened: list[tuple[str, Any]]) -> None:
    """Whoever looks, however rarely and in however small parts, sees in the end what somebody sees who comes then.

    And all stays bounded.
    """
    board = Board(now=START, most_ended=8, most_removed=10)
    viewers = [Viewer(), Viewer(most=3), Viewer(most=1)]
    for number, (event, value) in enumerate(happened):
        before = board.version
        if event == "look":
            viewers[value].look(board)
        else:
            apply(board, event, value, at(number))
        assert board.version >= before
        ended = [card for card in board.cards if not card.is_live]
        assert len(ended) <= 8
        assert all(len(card.samples) <= MOST_SAMPLES for card in board.cards)
    for viewer in viewers:
        while not viewer.look(board):
            pass
        assert viewer.agrees_with(state(board))


@given(st.lists(st.integers(0, 5), min_size=1, max_size=600))
def test_a_chart_keeps_its_beginning_and_its_end(gains: list[int]) -> None:
    """However long an action runs, its points are bounded, in order, and span all the time since the first."""
    board, done = Board(now=START), 0
    for number, gained in enumerate(gains):
        done += gained
        board.note_progress(step(action(done=done, total=10_000)), now=at(number))
    (card,) = board.cards
    assert len(card.samples) <= MOST_SAMPLES
    assert card.samples[0].at == START.timestamp()
    assert card.samples[-1][:2] == (at(len(gains) - 1).timestamp(), done)
    assert list(card.samples) == sorted(card.samples)


@pytest.mark.parametrize("seconds", [100, 3600, 50_000])
def test_a_chart_is_even_over_all_of_its_time(seconds: int) -> None:
    """Nowhere is there less than elsewhere: who comes after an hour sees the first minutes too."""
    board = Board(now=START)
    for second in range(0, seconds, 1 if seconds < 10_000 else 7):
        board.note_progress(step(action(done=second, total=100_000)), now=at(second))
    (card,) = board.cards
    gaps = [later.at - earlier.at for earlier, later in itertools.pairwise(card.samples)]
    assert len(card.samples) >= min(seconds, MOST_SAMPLES // 2)
    assert max(gaps) <= 3 * max(1.0, seconds / MOST_SAMPLES)


def test_a_step_makes_a_row(board: Board) -> None:
    """It has the counts, the pace, and what the service says of it."""
    board.note_progress(step(action(done=25)), now=at(5))
    (row,) = state(board)["actions"]
    assert row == {
        "ref": "email:bulkemail_1",
        "kind": "email",
        "id": "bulkemail_1",
        "status": "processing",
        "phase": "running",
        "label": "tmpl_example",
        "processed": 25,
        "total": 100,
        "fraction": 0.25,
        "rate": 2.0,
        "eta": 30.0,
        "created_at": "2025-06-11T12:00:00.000000+00:00",
        "updated_at": "2025-06-11T12:00:00.000000+00:00",
        "ended_at": None,
        "paused_since": None,
        "seen_at": "2025-06-11T12:00:05.000000+00:00",
        "last_error": None,
        "failed_at": None,
        "error": None,
        "samples": [[at(5).timestamp(), 25]],
    }


def test_a_pause_that_is_too_long_is_still_a_pause(board: Board) -> None:
    """It is known what became of the action, other than where polls failed."""
    error = BulkActionPaused("too long", ref=action().ref)
    board.note_progress(step(action(status="paused"), error=error), now=START)
    (card,) = board.cards
    assert (card.phase, card.error, card.is_live) == ("paused", str(error), False)


def test_what_cannot_be_followed_is_lost_and_keeps_what_was_known(board: Board) -> None:
    """Nobody knows whether it still runs; the counts are those of the last good poll."""
    board.note_progress(step(action(done=40)), now=START)
    gone = NotFoundError(status=404, request="GET /x")
    board.note_progress(step(bare_action(action().ref), error=gone), now=at(1))
    (card,) = board.cards
    assert (card.phase, card.status, card.processed, card.eta) == ("lost", "processing", 40, None)


def test_what_was_never_seen_is_shown_by_its_ref_alone(board: Board) -> None:
    """Without a status or a count that nobody has read."""
    gone = NotFoundError(status=404, request="GET /x")
    board.note_progress(step(bare_action(action().ref), error=gone), now=START)
    (row,) = state(board)["actions"]
    assert (row["ref"], row["status"], row["phase"], row["total"]) == ("email:bulkemail_1", None, "lost", None)


def test_what_was_lost_is_found_again(board: Board) -> None:
    """A good poll is worth more than the failures before it."""
    board.note_progress(step(action(), error=WatchLostError("lost", ref=action().ref)), now=START)
    board.note_progress(step(action(done=50)), now=at(60))
    (card,) = board.cards
    assert (card.phase, card.error, card.processed) == ("running", None, 50)


def test_counters_never_run_back(board: Board) -> None:
    """Also where a watch began anew, and read an answer that was older."""
    board.note_progress(step(action(done=50)), now=START)
    board.note_progress(step(action(done=40)), now=at(1))
    (card,) = board.cards
    assert card.processed == 50


def test_a_list_tells_nothing_of_what_is_followed(board: Board) -> None:
    """Its rows may be older than the latest poll."""
    board.note_progress(step(action(done=50)), now=START)
    version = board.version
    board.note_job(action(done=10, status="done"), now=at(1))
    assert board.version == version


def test_a_list_tells_the_end_of_what_nobody_follows(board: Board) -> None:
    """What ended before a watch could begin to follow it, or what was lost."""
    board.note_job(action("bulkemail_1"), now=START)
    other = action("bulkemail_2")
    board.note_progress(step(other, error=WatchLostError("lost", ref=other.ref)), now=START)
    for id_ in ("bulkemail_1", "bulkemail_2"):
        board.note_job(action(id_, status="done", done=100), now=at(9))
    assert [(card.phase, card.processed, card.ended_at) for card in board.cards] == [("done", 100, START)] * 2


def test_the_answer_to_a_pause_shows_at_once(board: Board) -> None:
    """Whoever pressed the button need not wait for a poll."""
    board.note_progress(step(action(done=50)), now=START)
    board.note_change(action(done=50, status="paused"), now=at(1))
    (card,) = board.cards
    assert (card.phase, card.rate, card.paused_since) == ("paused", None, START)


def test_a_poll_that_showed_nothing_new_is_told_now_and_then(board: Board) -> None:
    """That it was answered is worth a version each minute, not each heartbeat."""
    told = []
    for beat in range(1, 30):
        before = board.version
        board.note_progress(step(action(), polls=beat, changed=False), now=at(beat * 15))
        if board.version > before:
            told.append(beat * 15)
    assert told == [15, *range(15 + int(UNSEEN_FOR.total_seconds()), 450, int(UNSEEN_FOR.total_seconds()))]


def test_steps_tell_whether_there_was_an_answer(board: Board) -> None:
    """A new error is a failed poll, one more poll without one is a good one, and a heartbeat alone is neither."""
    error = CloseBulkError("no answer")
    assert board.note_progress(step(action(), polls=1), now=START) is True
    assert board.note_progress(step(action(), polls=1, changed=False), now=at(1)) is None
    assert board.note_progress(step(action(), polls=2, changed=False, last_error=error), now=at(2)) is False
    assert board.note_progress(step(action(), polls=3, changed=False, last_error=error), now=at(3)) is True
    again = CloseBulkError("no answer")
    assert board.note_progress(step(action(), polls=4, changed=False, last_error=again), now=at(4)) is False
    (card,) = board.cards
    assert (card.seen_at, card.last_error) == (at(3), "no answer")


def test_a_timeline_is_bounded_and_keeps_its_beginning(board: Board) -> None:
    """Somebody may pause and resume an action all day."""
    for number in range(200):
        board.note_progress(step(action(status="paused" if number % 2 else "processing")), now=at(number))
    (card,) = board.cards
    assert len(card.timeline) == MOST_MOMENTS
    assert card.timeline[0] == ("processing", START)
    assert card.timeline[-1] == ("paused", at(199))


def test_the_one_that_ended_first_goes(board: Board) -> None:
    """Where too many have ended; a list that still has it does not bring it back."""
    for number in range(MOST_ENDED + 2):
        board.note_progress(step(action(f"bulkemail_{number}", status="done")), now=at(number))
    refs = {card.ref.id for card in board.cards}
    assert len(refs) == MOST_ENDED
    assert not refs & {"bulkemail_0", "bulkemail_1"}
    version = board.version
    board.note_job(action("bulkemail_0", status="done"), now=at(999))
    assert board.version == version


def test_who_was_away_for_too_long_begins_anew(board: Board) -> None:
    """Not all removals are remembered for ever."""
    board.note_progress(step(action("bulkemail_first", status="done")), now=START)
    old = board.name_version(board.version)
    for number in range(MOST_ENDED + MOST_REMOVED - 1):
        board.note_progress(step(action(f"bulkemail_{number}", status="done")), now=at(number + 1))
    assert not state(board, old)["reset"]
    board.note_progress(step(action("bulkemail_last", status="done")), now=at(9999))
    assert state(board, old)["reset"]


def test_cards_older_than_what_is_remembered_come_in_parts_all_the_same() -> None:
    """Whoever begins anew was told of nothing that was removed before; what is removed between two parts is told."""
    board = Board(now=START, most_ended=2, most_removed=3)
    for number in range(4):
        board.note_change(action(f"bulkemail_old_{number}"), now=START)
    for number in range(9):
        board.note_change(action(f"bulkemail_{number}", status="done"), now=at(number))
    viewer = Viewer(most=3)
    assert not viewer.look(board)
    board.note_change(action("bulkemail_9", status="done"), now=at(9))
    assert viewer.look(board)
    assert viewer.agrees_with(state(board))
    assert len(viewer.rows) == 6


def test_starts_are_told_where_they_have_changed(board: Board) -> None:
    """The journal is read every few seconds, and says the same most of the time."""
    intent = new_intent()
    for starts, version in (([], 1), ([], 1), ([intent], 2), ([intent], 2), ([], 3)):
        board.note_starts(starts)
        assert board.version == version


def test_a_pause_that_was_known_keeps_its_beginning(board: Board) -> None:
    """Whoever pauses what is paused changes nothing of it."""
    board.note_progress(step(action(status="paused"), paused_since=at(5)), now=at(6))
    board.note_change(action(status="paused"), now=at(9))
    (card,) = board.cards
    assert card.paused_since == at(5)


def test_a_connection_that_goes_on_is_no_news(board: Board) -> None:
    """Each answer moves the time of the latest one, and only a change between well and ill makes a version."""
    board.note_answer(now=at(1))
    version = board.version
    board.note_answer(now=at(2))
    assert (board.version, board.link.last_ok_at, board.link.since) == (version, at(2), at(1))
    board.note_failure("down", now=at(3))
    board.note_failure("down", now=at(4))
    assert (board.version, board.link.since, board.link.last_ok_at) == (version + 1, at(3), at(2))
    board.note_failure("still down", now=at(5))
    assert (board.link.since, board.link.message) == (at(3), "still down")


def test_a_huge_number_is_no_version(board: Board) -> None:
    """And costs no time, which a number of a million digits would."""
    assert board.parse_version(f"{board.epoch}:{'9' * 1_000_000}") is None
