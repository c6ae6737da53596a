"""How far an action is: counters that never run backwards, numbers only where they are known."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from closebulk_async.errors import BulkActionFailed, CloseBulkError, InvalidRequestError, TransportError, WaitError
from closebulk_async.models import (
    BULK_KINDS,
    MODEL_OF_KIND,
    BulkEmail,
    BulkSequenceSubscription,
    Export,
    Job,
    Kind,
    Status,
)
from closebulk_async.pace import Pace
from closebulk_async.progress import Meter, Progress, count_objects, observe

from .strategies import any_rows, patient

NOW = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)
EmailMeter: TypeAlias = Meter[BulkEmail]


def email(processed: int, total: int | None = 100, status: str | None = "processing", **more: Any) -> BulkEmail:
    """A snapshot with these counters."""
    return BulkEmail.example(n_objects_processed=processed, n_objects=total, status=status, **more)


def meter_of(*polls: tuple[float, BulkEmail]) -> EmailMeter:
    """The meter after these polls; each comes with its instant in seconds."""
    meter: EmailMeter | None = None
    for at, action in polls:
        meter = observe(meter, action, at=at, now=NOW + timedelta(seconds=at))
    assert meter is not None
    return meter


def progress_of(action: Job, **changes: Any) -> Progress[Job]:
    """A progress with some value in every field."""
    made: Progress[Job] = Progress(
        action=action,
        n_objects_processed=40,
        n_objects=100,
        fraction=0.4,
        rate=2.5,
        eta=timedelta(seconds=24),
        elapsed=timedelta(seconds=16.5),
        polls=7,
        next_poll_in=timedelta(seconds=12),
        stalled_for=timedelta(0),
        paused_since=None,
    )
    return attrs.evolve(made, **changes)


counts = st.none() | st.integers(0, 1000)
snapshots = st.builds(
    email,
    st.integers(0, 1000),
    counts,
    st.sampled_from([*(status.value for status in Status), "zapped", None]),
)


@patient
@given(polls=st.lists(st.tuples(st.floats(0, 1000), snapshots), min_size=1, max_size=12))
def test_the_meter_never_runs_backwards(polls: list[tuple[float, BulkEmail]]) -> None:
    """Whatever the snapshots say, the counter only grows, and every number is None or within its bounds."""
    meter: EmailMeter | None = None
    at = 0.0
    for pause, action in polls:
        at += pause
        before, meter = meter, observe(meter, action, at=at, now=NOW + timedelta(seconds=at))
        assert meter.action is action
        assert meter.at == at
        assert meter.processed >= action.n_objects_processed
        assert before is None or meter.processed >= before.processed
        assert before is None or before.total is None or meter.total is not None
        assert meter.fraction is None or 0 <= meter.fraction <= 1
        assert meter.rate is None or meter.rate > 0
        assert meter.eta is None or meter.eta >= 0
        assert 0 <= meter.stalled_for <= at
        assert (meter.paused_since is not None) is action.is_paused
        if action.is_done:
            assert meter.fraction == 1.0
            assert meter.eta == 0.0
        elif action.n_objects is None and before is None:
            assert meter.fraction is None
            assert meter.eta is None


@patient
@given(first=st.integers(0, 500), steps=st.lists(st.integers(0, 200), max_size=10))
def test_the_meter_forgets_what_is_past(first: int, steps: list[int]) -> None:
    """Its state is as large after any number of polls as after one: fields, and no list of what came before."""
    meter = meter_of(*((float(number), email(count)) for number, count in enumerate([first, *steps])))
    assert meter.processed == max([first, *steps])
    for value in (meter, meter.pace):
        plain = attrs.asdict(value, recurse=False) if value else {}
        assert not any(isinstance(part, list | tuple | dict) for part in plain.values())


@pytest.mark.parametrize(
    ("processed", "total", "status", "fraction"),
    [
        (0, 100, "processing", 0.0),
        (25, 100, "processing", 0.25),
        (100, 100, "processing", 1.0),
        (110, 100, "processing", 1.0),
        (25, None, "loading", None),
        (0, None, "created", None),
        (0, 0, "processing", None),
        (0, 0, "done", 1.0),
        (0, None, "done", 1.0),
        (25, 100, "done", 1.0),
        (25, 100, "error", 0.25),
        (0, None, "error", None),
        (25, 100, "paused", 0.25),
        (25, 100, None, 0.25),
    ],
)
def test_a_fraction_is_known_or_none(
    processed: int, total: int | None, status: str | None, fraction: float | None
) -> None:
    """Without a count there is no fraction, done is all of it, also of nothing, and more than all is all."""
    assert meter_of((0.0, email(processed, total, status))).fraction == fraction


def test_a_total_that_was_known_stays_known() -> None:
    """A null after a number does not make the fraction disappear; another number replaces it."""
    assert meter_of((0, email(10)), (1, email(20, None))).fraction == 0.2
    assert meter_of((0, email(10)), (1, email(20, 200))).fraction == 0.1


def test_a_steady_job_has_its_rate_and_its_end() -> None:
    """Ten objects a second are ten objects a second, and the rest takes the rest of the time.

    All but the half of a step: a step is seen some time after it was made.
    """
    meter = meter_of((0, email(0)), (2, email(20)), (5, email(50)))
    assert meter.rate == pytest.approx(10)
    assert meter.eta == pytest.approx(5 - 1)
    late = meter_of((60, email(600, 1000)), (62, email(620, 1000)))
    assert late.rate == pytest.approx(10)
    assert late.eta == pytest.approx(38 - 1)
    more_than_all = meter_of((0, email(90)), (1, email(110)))
    assert (more_than_all.eta, more_than_all.left) == (0, 0)


def test_the_rate_follows_a_change_of_pace() -> None:
    """It lies between the mean since the first movement and that since the last one, at their geometric mean."""
    meter = meter_of((0, email(0, 1000)), (2, email(20, 1000)), (4, email(40, 1000)), (6, email(120, 1000)))
    assert meter.rate == pytest.approx((100 / 4.75 * 80 / 2.75) ** 0.5)
    assert meter.eta == pytest.approx(880 / (100 / 4.75 * 80 / 2.75) ** 0.5 - 0.25)


def test_a_pause_is_no_slowness() -> None:
    """What was measured before a pause and the time that it took are forgotten, from the first sight of it on."""
    running = ((0, email(0)), (2, email(20)))
    paused = meter_of(*running, (4, email(20, status="paused")), (1000, email(30, status="paused")))
    assert paused.rate is None
    assert paused.running_for == 0
    again = ((1000, email(20, status="paused")), (1060, email(20, status="resuming")))
    assert meter_of(*running, *again).rate is None
    assert meter_of(*running, *again).running_for == 0
    resumed = meter_of(*running, *again, (1064, email(60)))
    assert resumed.rate == pytest.approx(10)
    assert resumed.running_for == 4
    assert meter_of(*running).running_for == 2


def test_nothing_is_predicted_from_one_poll() -> None:
    """One snapshot has no rate, however far it is, and neither have two without movement or at one instant."""
    for meter in (
        meter_of((0, email(50))),
        meter_of((0, email(50)), (9, email(50))),
        meter_of((5, email(50)), (5, email(60))),
    ):
        assert meter.rate is None
        assert meter.eta is None


def test_the_end_comes_nearer_while_nothing_is_reported() -> None:
    """Between two movements the predicted end stays where it was: the rest shrinks with the time, down to nothing."""
    moved = ((0, email(0)), (10, email(50)))
    assert meter_of(*moved).eta == pytest.approx(10 - 5)
    assert meter_of(*moved, (14, email(50))).eta == pytest.approx(6 - 5)
    assert meter_of(*moved, (90, email(50))).eta == 0


@pytest.mark.parametrize(
    ("status", "eta"), [("paused", None), ("error", None), ("done", 0.0), ("resuming", 5.0), (None, 5.0)]
)
def test_only_what_runs_has_an_end_in_sight(status: str | None, eta: float | None) -> None:
    """A paused or failed job is predicted nothing; one that is done takes no time; unknown words count as running."""
    assert meter_of((0, email(0)), (10, email(50, status=status))).eta == eta


def test_a_counter_that_falls_changes_nothing() -> None:
    """A snapshot from before, of a slower replica, neither takes back a count nor counts as movement."""
    meter = meter_of((0, email(0)), (10, email(50)), (20, email(30)), (30, email(50)))
    assert meter.processed == 50
    assert meter.stalled_for == 20
    assert meter.rate == pytest.approx(5)


def test_movement_ends_a_stall() -> None:
    """A count, a total or a status that changes is movement; a change of anything else is not."""
    still = meter_of((0, email(10)), (60, email(10, date_updated=NOW)))
    assert still.stalled_for == 60
    assert not still.has_moved
    for moved in (email(11), email(10, 101), email(10, status="resuming"), email(10, status=None)):
        assert observe(still, moved, at=90, now=NOW).stalled_for == 0
        assert observe(still, moved, at=90, now=NOW).has_moved
    assert observe(still, email(10, None), at=90, now=NOW).stalled_for == 90


def test_what_would_take_longer_than_a_century_has_no_eta() -> None:
    """It was not measured but divided by almost nothing."""
    assert meter_of((0, email(0, 2**62)), (100, email(1, 2**62))).eta is None


def test_a_pause_began_when_the_job_was_last_touched() -> None:
    """`paused_since` is `date_updated` at the first sight of the pause, kept through it, and gone with it.

    But a job that was seen running was not paused by then, whenever it was touched.
    """
    touched = NOW - timedelta(hours=3)
    paused = email(10, status="paused", date_updated=touched)
    assert meter_of((0, paused)).paused_since == touched
    assert meter_of((0, email(10)), (5, paused)).paused_since == NOW
    assert meter_of((100, email(10)), (105, paused)).paused_since == NOW + timedelta(seconds=100)
    just_now = email(10, status="paused", date_updated=NOW + timedelta(seconds=3))
    assert meter_of((0, email(10)), (5, just_now)).paused_since == NOW + timedelta(seconds=3)
    assert meter_of((0, paused), (5, attrs.evolve(paused, date_updated=NOW))).paused_since == touched
    assert meter_of((0, paused), (5, email(10, status="resuming"))).paused_since is None
    touched_again = NOW + timedelta(seconds=7)
    again = meter_of((0, paused), (5, email(10)), (9, email(10, status="paused", date_updated=touched_again)))
    assert again.paused_since == touched_again


def test_a_pause_without_a_date_began_now() -> None:
    """Null, missing or in the future: then the pause began no later than it was seen."""
    later = NOW + timedelta(hours=1)
    missing = BulkEmail.from_dict({"id": "x", "status": "paused"})
    for action in (
        email(1, status="paused", date_updated=None),
        email(1, status="paused", date_updated=later),
        missing,
    ):
        assert meter_of((0, action)).paused_since == NOW


def watched(**pace: float) -> EmailMeter:
    """A job that is half done after a hundred seconds, and may be off by a fifth of the hundred that are left."""
    numbers = {"at": 100.0, "rate": 0.5, "doubt": 0.2, **pace}
    return attrs.evolve(meter_of((0.0, email(0)), (100.0, email(50))), pace=Pace(0.0, 0, count=50, step=1, **numbers))


@pytest.mark.parametrize(
    ("at", "chance"),
    [
        (200, 0.5),
        (220, 1 / (1 + math.exp(-1.7))),
        (180, 1 / (1 + math.exp(1.7))),
        (140, 0.3 * 40 / 141),
        (1e9, 1 / (1 + math.exp(-30.0))),
        (100, 1 / (1 + math.exp(1.7 * 5))),
    ],
)
def test_the_chance_of_an_end_is_even_when_it_is_predicted(at: float, chance: float) -> None:
    """It lies around that instant as errors do; long before, it is a part of what it is without a prediction."""
    assert watched().chance_of_end(at) == pytest.approx(chance, rel=1e-12)


def test_the_chance_of_an_end_counts_from_the_last_movement() -> None:
    """Where that is older than the last look; and a rate that was never off may be off by a second."""
    assert watched(at=90.0).chance_of_end(190) == pytest.approx(0.5)
    assert watched(doubt=0.0).chance_of_end(201) == pytest.approx(1 / (1 + math.exp(-1.7)))
    assert watched(doubt=0.0).chance_of_end(101) == pytest.approx(0.3 * 1 / 102)
    assert watched(doubt=0.0).chance_of_end(300) == 1 / (1 + math.exp(-30))


def test_without_a_prediction_the_chance_of_an_end_grows_with_the_time_since_the_last_look() -> None:
    """One in two when it is twice as old; the same where a rate is known, but not how far it has to go."""
    blind = meter_of((0, email(50)), (20, email(50)))
    assert blind.chance_of_end(20) == 0
    assert blind.chance_of_end(30) == 10 / 31
    assert blind.chance_of_end(41) == 0.5
    uncounted = attrs.evolve(watched(), total=None)
    assert uncounted.left is None
    assert uncounted.chance_of_end(200) == 100 / 201


@pytest.mark.parametrize("status", ["paused", "done", "error"])
def test_what_does_not_run_has_no_chance_of_an_end(status: str) -> None:
    """It has ended, or only a person lets it go on."""
    assert meter_of((0, email(50, status=status))).chance_of_end(1000) == 0


@pytest.mark.parametrize(("years", "is_known"), [(100, False), (99.9, True)])
def test_a_century_is_where_predictions_end(years: float, is_known: bool) -> None:  # noqa: FBT001 - of a table
    """A job of 99.9 years is still predicted."""
    seconds = years * 365 * 24 * 3600
    meter = attrs.evolve(watched(rate=1.0), processed=0, total=int(seconds))
    assert (meter.left is not None) is is_known
    assert (meter.eta is not None) is is_known


def test_an_export_counts_its_rows() -> None:
    """They are its objects; one that says nothing of them has processed none."""
    assert count_objects(Export.example(n_docs=9, n_docs_processed=4)) == (4, 9)
    assert count_objects(Export.example(n_docs=None, n_docs_processed=None)) == (0, None)
    assert count_objects(Export.from_dict({"id": "x"})) == (0, None)


def test_older_rows_count_leads() -> None:
    """A row without the counters of objects counts its leads; one without any counts nothing and is no error."""
    row = {"id": "x", "status": "processing", "n_leads": 8, "n_leads_processed": 2}
    old = BulkSequenceSubscription.from_dict(row)
    assert count_objects(old) == (2, 8)
    assert observe(None, old, at=0, now=NOW).fraction == 0.25
    bare = BulkSequenceSubscription.from_dict({"id": "x", "status": "processing"})
    assert count_objects(bare) == (0, None)
    assert observe(None, bare, at=0, now=NOW).fraction is None
    assert count_objects(email(3, None)) == (3, None)
    assert count_objects(BulkEmail.from_dict({"id": "x", "n_objects_processed": 3})) == (3, None)


def test_a_progress_shows_its_action() -> None:
    """Ref, status and end are the action's own."""
    progress = progress_of(email(40, status="done", id="bulkemail_1"))
    assert str(progress.ref) == "email:bulkemail_1"
    assert progress.status is Status.DONE
    assert progress.is_final
    assert not progress_of(email(40, status="paused")).is_final
    assert progress.changed
    assert (progress.last_error, progress.error) == (None, None)


def test_following_that_has_failed_is_final() -> None:
    """Nothing comes after it, whatever the action does."""
    action = email(40)
    assert progress_of(action, error=WaitError("given up", ref=action.ref, action=action)).is_final
    assert not progress_of(action, last_error=CloseBulkError("cut")).is_final


def test_a_progress_of_an_action_that_nobody_has_read() -> None:
    """Where no poll has shown the action, its status is None, in words too."""
    progress = progress_of(BulkEmail.from_dict({"id": "bulkemail_1"}))
    assert progress.status is None
    assert progress.to_dict()["status"] is None


def test_a_progress_is_json_of_seconds_and_texts() -> None:
    """`to_dict` has every field, durations in seconds, dates as text, errors as their messages."""
    action = email(40, status="paused", id="bulkemail_1")
    progress = progress_of(
        action,
        paused_since=NOW,
        last_error=TransportError("cut", request="GET /x/", sent=True),
        error=BulkActionFailed("failed", ref=action.ref),
        changed=False,
    )
    assert progress.to_dict() == {
        "ref": "email:bulkemail_1",
        "status": "paused",
        "action": action.to_dict(),
        "n_objects_processed": 40,
        "n_objects": 100,
        "fraction": 0.4,
        "rate": 2.5,
        "eta": 24.0,
        "elapsed": 16.5,
        "polls": 7,
        "next_poll_in": 12.0,
        "stalled_for": 0.0,
        "paused_since": "2026-01-15T12:00:00.000000+00:00",
        "last_error": "GET /x/: cut",
        "error": "email:bulkemail_1: failed",
        "changed": False,
    }
    assert json.loads(progress.to_json()) == progress.to_dict() == json.loads(json.dumps(progress.to_dict()))


durations = st.timedeltas(timedelta(0), timedelta(days=30))


@patient
@given(kind=st.sampled_from(BULK_KINDS), data=st.data())
def test_a_progress_survives_the_round_trip(kind: Kind, data: st.DataObject) -> None:
    """Written and read again, a progress is equal to itself, its action included, whatever that lacks."""
    row = data.draw(any_rows(kind).filter(lambda row: "status" in row))
    progress = progress_of(
        MODEL_OF_KIND[kind].from_dict(row),
        n_objects=data.draw(counts),
        fraction=data.draw(st.none() | st.floats(0, 1)),
        rate=data.draw(st.none() | st.floats(0, 1e9)),
        eta=data.draw(st.none() | durations),
        elapsed=data.draw(durations),
        next_poll_in=data.draw(st.none() | durations),
        paused_since=data.draw(st.none() | st.datetimes(timezones=st.just(UTC))),
        changed=data.draw(st.booleans()),
    )
    assert Progress.from_dict(json.loads(progress.to_json())) == progress


def test_a_progress_that_was_read_keeps_the_messages_of_its_errors() -> None:
    """The classes of the errors are gone, their words and the job are not."""
    action = email(40, id="bulkemail_1")
    error = BulkActionFailed("failed", ref=action.ref, action=action)
    read = Progress.from_dict(progress_of(action, last_error=CloseBulkError("cut"), error=error).to_dict())
    assert (type(read.last_error), str(read.last_error)) == (CloseBulkError, "cut")
    assert (type(read.error), str(read.error)) == (WaitError, "email:bulkemail_1: failed")
    assert isinstance(read.error, WaitError)
    assert (read.error.ref, read.error.action) == (action.ref, action)


@pytest.mark.parametrize(
    "changes",
    [
        {"ref": None},
        {"ref": "email"},
        {"action": None},
        {"action": {"n_objects": "x"}},
        {"eta": "soon"},
        {"paused_since": "soon"},
        {"paused_since": 5},
        {"polls": ...},
    ],
)
def test_what_is_no_progress_is_refused(changes: dict[str, Any]) -> None:
    """A value that does not fit, or that is missing, is an error of this package."""
    data = {key: value for key, value in {**progress_of(email(1)).to_dict(), **changes}.items() if value is not ...}
    with pytest.raises(InvalidRequestError, match=r"^this is not a Progress: [A-Za-z]+: ") as caught:
        Progress.from_dict(data)
    assert caught.value.__cause__ is not None
    assert str(caught.value).endswith(f"{type(caught.value.__cause__).__name__}: {caught.value.__cause__}")
