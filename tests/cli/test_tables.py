"""The table of `closebulk ls`: what stands on the screen, at which width."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from closebulk_async import BulkDelete, BulkEmail, BulkSequenceSubscription, Export
from closebulk_async.cli.tables import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from closebulk_async.models import Job

NOW = datetime(2026, 1, 15, 11, 30, tzinfo=UTC)

JOBS = (
    BulkEmail.example(date_created="2026-01-15T09:10:00Z", date_updated="2026-01-15T09:18:00Z"),
    BulkDelete.example(status="done", n_objects_processed=100, date_created="2026-01-06T09:10:00Z"),
    BulkSequenceSubscription.example(
        id="bulksequencesubscription_4pYIQaBpsS0DPVnKVFUA5i4N6oFGz", status="loading", n_objects=None
    ),
    Export.example(n_docs=None, n_docs_processed=None, date_created=None),
)


def draw(*jobs: Job, width: int, now: datetime = NOW) -> Sequence[str]:
    """The lines that a terminal of that width without colours shows."""
    console = Console(width=width, file=io.StringIO(), color_system=None, legacy_windows=False)
    console.print(Table(jobs, now=now))
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_a_line_for_each_where_there_is_room() -> None:
    """At 120 columns: bar, share, guessed time left, status, age and the whole ref."""
    assert draw(*JOBS, width=120) == [
        "                       ETA status       age ref",
        "━━━━╸            40%  ~12m processing    2h email:bulkemail_example",
        "━━━━━━━━━━━━    100%       done          9d delete:bulkdelete_example",
        f"                  40       loading       2h {JOBS[2].ref}",
        "                           in_progress      export:expo_example",
    ]


def test_short_refs_leave_room_for_the_bar() -> None:
    """Up to 30 columns of it."""
    head, line = draw(JOBS[0], width=200)
    assert line == "━━━━━━━━━━━━                       40%  ~12m processing    2h email:bulkemail_example"
    assert head.endswith(" ETA status       age ref")


def test_refs_are_cut_in_the_middle_where_there_is_less() -> None:
    """At 80 columns a long ref keeps its kind and the end of its id."""
    assert draw(JOBS[2], width=80)[1] == (
        "                40       loading       2h sequence_subscription:bulkseque…N6oFGz"
    )


def test_two_lines_where_it_is_narrow() -> None:
    """At 40 columns the ref and the status stand above the bar."""
    assert draw(*JOBS[:2], width=40) == [
        "email:bulkemail_example      processing",
        "━━━━━━╸               40%  ~12m   2h ago",
        "delete:bulkdelete_example    done",
        "━━━━━━━━━━━━━━━━━    100%         9d ago",
    ]


def test_it_is_legible_at_24_columns() -> None:
    """Without a bar, for which there is no room; all else is there."""
    assert draw(*JOBS[:1], JOBS[3], width=24) == [
        "email:b…mple processing",
        "    40%  ~12m   2h ago",
        "export:…mple in_progress",
        "",
    ]


def test_clocks_that_differ_make_no_age_below_nothing() -> None:
    """What the service has created in our future is new."""
    (_, line) = draw(JOBS[0], width=80, now=datetime(2026, 1, 15, 9, tzinfo=UTC))
    assert " 0s email:" in line


@given(
    width=st.integers(24, 200),
    processed=st.integers(0, 10**9),
    total=st.none() | st.integers(0, 10**9),
    status=st.none() | st.text(),
    age=st.integers(0, 10**9),
)
def test_no_line_is_wider_than_the_terminal(
    *, width: int, processed: int, total: int | None, status: str | None, age: int
) -> None:
    """Whatever a job says, and it is never more than its one or two lines."""
    created = datetime.fromtimestamp(NOW.timestamp() - age, UTC)
    job = BulkEmail.example(
        n_objects_processed=processed, n_objects=total, status=status, date_created=created, date_updated=NOW
    )
    lines = draw(job, *JOBS, width=width)
    assert max(map(cell_len, lines)) <= width
    assert len(lines) == (6 if width >= 70 else 10)
