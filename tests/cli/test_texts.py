"""Numbers, times and steps in words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from closebulk_async import BulkDelete, BulkEmail, Export
from closebulk_async.cli.texts import (
    cleaned,
    describe_row,
    describe_step,
    estimate_left,
    format_moment,
    format_percent,
    format_rate,
    format_roughly,
    format_seconds,
    shortened,
)

from .steps import make_step

if TYPE_CHECKING:
    from closebulk_async import Progress
    from closebulk_async.models import Job


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "<1s"),
        (0.4, "<1s"),
        (1.4, "1s"),
        (59.4, "59s"),
        (59.6, "1m 00s"),
        (125, "2m 05s"),
        (3599, "59m 59s"),
        (3 * 3600 + 7 * 60 + 59, "3h 07m"),
        (86400, "1d 00h"),
        (4 * 86400 + 3600, "4d 01h"),
        (400 * 86400, "400d 00h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    """A duration shows its two largest units, and one below half a second is not called nothing."""
    assert format_seconds(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "0s"),
        (119.4, "119s"),
        (120, "2m"),
        (200, "3m"),
        (7199, "120m"),
        (7200, "2h"),
        (47 * 3600, "47h"),
        (400 * 86400, "400d"),
    ],
)
def test_rough_durations(seconds: float, text: str) -> None:
    """A rough duration is one number, of a unit of which it has at least two."""
    assert format_roughly(seconds) == text


DATES = {"date_created": "2026-01-15T09:00:00Z", "date_updated": "2026-01-15T09:08:00Z"}


@pytest.mark.parametrize(
    ("changes", "left"),
    [
        ({}, 720.0),
        ({"status": "resuming"}, 720.0),
        ({"n_objects_processed": 130}, 0.0),
        ({"n_objects_processed": 0}, None),
        ({"n_objects": None}, None),
        ({"status": "paused"}, None),
        ({"status": "done"}, None),
        ({"date_updated": None}, None),
        ({"date_created": None}, None),
        ({"date_updated": DATES["date_created"]}, None),
    ],
)
def test_what_is_left_is_estimated_by_the_dates_of_the_service(changes: dict[str, object], left: float | None) -> None:
    """40 of 100 in eight minutes leaves twelve; where anything for that is missing, nothing is made up."""
    now = datetime(2026, 1, 15, 9, 8, tzinfo=UTC)
    assert estimate_left(BulkEmail.example(**{**DATES, **changes}), now=now) == left


@pytest.mark.parametrize(("minutes", "left"), [(-5, 720.0), (2, 600.0), (12, 0.0), (12.1, None), (9999, None)])
def test_what_is_left_gets_less_while_the_service_says_nothing_new(minutes: float, left: float | None) -> None:
    """By what has passed since; and once it should have ended, the guess was wrong, and there is none."""
    now = datetime(2026, 1, 15, 9, 8, tzinfo=UTC) + timedelta(minutes=minutes)
    assert estimate_left(BulkEmail.example(**DATES), now=now) == left


@pytest.mark.parametrize(
    ("per_second", "text"),
    [(1234.5, "1234/s"), (99.94, "99.9/s"), (1, "1.0/s"), (0.5, "30.0/min"), (0.01, "36.0/h"), (0.0, "0.0/h")],
)
def test_rates(per_second: float, text: str) -> None:
    """A rate is told in the unit that makes it at least 1, so that a job of days does not seem to stand still."""
    assert format_rate(per_second) == text


@pytest.mark.parametrize(
    ("fraction", "text"), [(0, "0%"), (0.29, "29%"), (0.57, "57%"), (0.9999, "99%"), (1.0, "100%")]
)
def test_percentages(fraction: float, text: str) -> None:
    """A percentage is rounded down: 100% means all, and a whole one is not one short."""
    assert format_percent(fraction) == text


def test_moments_are_in_utc() -> None:
    """A moment of another zone is shown in UTC, and says so."""
    moment = datetime(2026, 1, 15, 0, 30, tzinfo=timezone(timedelta(hours=2)))
    assert format_moment(moment) == "2026-01-14 22:30 UTC"


@given(st.text(), st.integers(4, 80))
def test_shortened_texts(text: str, width: int) -> None:
    """A shortened text keeps its beginning and end and is as wide as allowed; one that fits is left alone."""
    short = shortened(text, width)
    assert short == text if len(text) <= width else len(short) == width
    head, _, tail = short.partition("…") if short != text else (text, "", text)
    assert text.startswith(head)
    assert text.endswith(tail)


@given(st.text())
def test_cleaned_texts(text: str) -> None:
    """Nothing of a cleaned text can move a cursor or start a line."""
    assert cleaned(text).isprintable()


def test_cleaned_keeps_what_can_be_read() -> None:
    """A control code becomes a question mark and a line end a space; letters of any script stay."""
    assert cleaned("a\x1b[31mb\n ü日") == "a?[31mb ü日"


@pytest.mark.parametrize(
    ("step", "text"),
    [
        (make_step(), "processing, 40 of 100 (40%), 8.0/s, 8s left"),
        (make_step(rate=None, eta=None), "processing, 40 of 100 (40%)"),
        (
            make_step(BulkEmail.example(status="created"), n_objects=None, fraction=None, rate=None, eta=None),
            "created, 40 processed",
        ),
        (make_step(BulkEmail.example(status=None)), "unknown, 40 of 100 (40%), 8.0/s, 8s left"),
        (make_step(BulkEmail.example(status="odd\x1b[0m")), "odd?[0m, 40 of 100 (40%), 8.0/s, 8s left"),
        (
            make_step(BulkEmail.example(status="paused"), paused_since=datetime(2026, 1, 2, 3, 4, tzinfo=UTC)),
            "paused since 2026-01-02 03:04 UTC, 40 of 100 (40%)",
        ),
        (
            make_step(BulkEmail.example(status="done"), n_objects_processed=100, fraction=1.0, eta=timedelta(0)),
            "done, 100 of 100 (100%)",
        ),
    ],
)
def test_steps(step: Progress[BulkEmail], text: str) -> None:
    """A step names the ref, the status and how far it is, and how fast only while that means something."""
    assert describe_step(step) == f"email:bulkemail_example: {text}"


@pytest.mark.parametrize(
    ("action", "text"),
    [
        (BulkEmail.example(), "processing   40 of 100 (40%)         2026-01-15 09:30 UTC  email:bulkemail_example"),
        (
            Export.example(n_docs=None, n_docs_processed=None),
            "in_progress                          2026-01-15 09:30 UTC  export:expo_example",
        ),
        (
            BulkDelete.example(status="done", n_objects=0, n_objects_processed=0, date_created=None),
            "done         0 of 0 (100%)                                 delete:bulkdelete_example",
        ),
        (
            BulkDelete.example(status="loading", n_objects=None, n_objects_processed=0),
            "loading      0 processed             2026-01-15 09:30 UTC  delete:bulkdelete_example",
        ),
    ],
)
def test_rows(action: Job, text: str) -> None:
    """Rows of a list have columns of one width, the ref last and whole."""
    assert describe_row(action) == text
