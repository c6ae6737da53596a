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
LONG_REF = "sequence_subscription:bulksequencesubscription_4pYIQaBpsS0DPVnKVFUA5i4N6oFGz"

JOBS = (
    BulkEmail.example(date_created="2026-01-15T09:10:00Z", date_updated="2026-01-15T11:30:00Z"),
    BulkDelete.example(status="done", n_objects_processed=100, date_created="2026-01-06T09:10:00Z"),
    BulkSequenceSubscription.example(id=LONG_REF.partition(":")[2], status="loading", n_objects=None),
    Export.example(n_docs=None, n_docs_processed=None, date_created=None),
)


def draw(*jobs: Job, width: int, now: datetime = NOW) -> Sequence[str]:
    """The lines that a terminal of that width without colours shows."""
    console = Console(width=width, file=io.StringIO(), color_system=None, legacy_windows=False)
    console.print(Table(jobs, now=now), crop=False)
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_a_line_for_each_where_there_is_room() -> None:
    """At 120 columns: bar, share, guessed time left, status, age and the whole ref."""
    assert draw(*JOBS, width=120) == [
        "                       ETA status       age ref",
        "━━━━╸            40%   ~4h processing    2h email:bulkemail_example",
        "━━━━━━━━━━━━    100%       done          9d delete:bulkdelete_example",
        f"                  40       loading       2h {LONG_REF}",
        "                           in_progress      export:expo_example",
    ]


def test_short_refs_leave_room_for_the_bar() -> None:
    """Up to 30 columns of it."""
    head, line = draw(JOBS[0], width=200)
    assert line == "━━━━━━━━━━━━                       40%   ~4h processing    2h email:bulkemail_example"
    assert head.endswith(" ETA status       age ref")


def test_a_ref_that_does_not_fit_beside_a_bar_has_its_own_line() -> None:
    """It is there to be copied: it is whole, alone, and at the beginning of the line; all rows then look the same."""
    assert draw(JOBS[0], JOBS[2], width=80) == [
        "email:bulkemail_example",
        "━━━━━━━━━━━━                       40%   ~4h processing    2h ago",
        LONG_REF,
        "                                    40       loading       2h ago",
    ]


def test_two_lines_where_it_is_narrow() -> None:
    """At 40 columns the ref stands above the bar and all else."""
    assert draw(*JOBS[:2], width=40) == [
        "email:bulkemail_example",
        "━━        40%   ~4h processing    2h ago",
        "delete:bulkdelete_example",
        "━━━━━    100%       done          9d ago",
    ]


def test_it_is_legible_at_24_columns() -> None:
    """Without a bar and a guess, for which there is no room; the ref is whole, for the terminal to break."""
    assert draw(*JOBS[:1], JOBS[3], JOBS[2], width=24) == [
        "email:bulkemail_example",
        "    40% processing    2h",
        "export:expo_example",
        "        in_progress",
        LONG_REF,
        "     40 loading       2h",
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
    """But for refs, whatever a job says; and it is never more than its one or two lines."""
    created = datetime.fromtimestamp(NOW.timestamp() - age, UTC)
    job = BulkEmail.example(
        n_objects_processed=processed, n_objects=total, status=status, date_created=created, date_updated=NOW
    )
    lines = draw(job, *JOBS, width=width)
    refs = {str(each.ref) for each in (job, *JOBS)}
    assert max(cell_len(line) for line in lines if line not in refs) <= width
    assert len(lines) == (6 if any(line.endswith(f" {LONG_REF}") for line in lines) else 10)
    assert {line.split(" ")[-1] for line in lines} >= refs
