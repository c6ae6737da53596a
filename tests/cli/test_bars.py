"""Live bars: what stands on the screen, at which width."""

from __future__ import annotations

import io
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from rich.progress_bar import ProgressBar

from closebulk_async import BulkActionFailed, BulkEmail, JobRef, NotFoundError, Progress, ServerError, WaitTimeout
from closebulk_async.cli.bars import Bars, LiveBars

from .steps import REF, make_step

if TYPE_CHECKING:
    from closebulk_async import CloseBulkError

LONG: JobRef[Any] = JobRef.parse("sequence_subscription:bulksequencesubscription_4pYIQaBpsS0DPVnKVFUA5i4N6oFGz")
FAILED = BulkActionFailed("the action failed", ref=REF)
BAD_GATEWAY = ServerError(status=502, request="GET /x/")


def draw(bars: Bars, *, width: int, height: int = 25) -> list[str]:
    """The lines that a terminal of that size without colours shows."""
    console = Console(width=width, height=height, file=io.StringIO(), color_system=None, legacy_windows=False)
    console.print(bars)
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def bars_with(*steps: Progress[Any], failure: CloseBulkError | None = None, at: float = 0.0) -> Bars:
    """The bar of one action that took these steps at the instant 0 and is looked at `at` a later one."""
    bars = Bars([REF], monotonic=lambda: at)
    for step in steps:
        bars.rows[REF].take(step, at=0.0)
    bars.rows[REF].failure = failure
    return bars


def words(bars: Bars) -> list[str]:
    """What the only line says behind the bar."""
    (line,) = draw(bars, width=80)
    return line[20:].strip("━╸╺ ").split()


def test_one_line_where_there_is_room() -> None:
    """At 80 columns an action is one line: ref, bar, percentage, rate, time left, status."""
    assert draw(bars_with(make_step()), width=80) == [
        "email:bulkema…xample ━━━━━╸             40%      8.0/s ETA 8s      processing",
    ]


def test_wide_terminals_show_the_whole_ref() -> None:
    """At 120 columns a ref is not cut, and the bar gets the rest."""
    (line,) = draw(bars_with(make_step()), width=120)
    assert line.startswith("email:bulkemail_example ━━━━━━━━━━━━━━━━━━━━ ")
    assert line.endswith(" 40%      8.0/s ETA 8s      processing")


def test_two_lines_where_it_is_narrow() -> None:
    """At 40 columns the ref and the status stand above the bar."""
    assert draw(bars_with(make_step()), width=40) == [
        "email:bulkemail_example    processing",
        "━━╸         40%      8.0/s ETA 8s",
    ]


@given(
    width=st.integers(24, 200),
    processed=st.integers(0, 10**9),
    fraction=st.none() | st.floats(0, 1),
    rate=st.none() | st.floats(0, 10**6),
    eta=st.none() | st.floats(0, 10**8),
    status=st.none() | st.text(),
    error=st.none() | st.text(),
)
def test_lines_leave_two_columns_free(
    *,
    width: int,
    processed: int,
    fraction: float | None,
    rate: float | None,
    eta: float | None,
    status: str | None,
    error: str | None,
) -> None:
    """Whatever an action says, no line reaches the last two columns, in which a terminal echoes `^C`."""
    step = make_step(
        BulkEmail.example(status=status),
        n_objects_processed=processed,
        fraction=fraction,
        rate=rate,
        eta=None if eta is None else timedelta(seconds=eta),
        changed=False,
        last_error=None if error is None else ServerError(status=502, request=error),
    )
    bars = Bars([REF, LONG], monotonic=lambda: 0.0)
    bars.rows[REF].take(step, at=0.0)
    lines = draw(bars, width=width)
    assert max(map(cell_len, lines)) <= width - 2
    assert len(lines) == (2 if width >= 72 else 4) + (error is not None)


@pytest.mark.parametrize(
    ("step", "shown"),
    [
        (None, ["waiting"]),
        (make_step(n_objects=None, fraction=None, rate=None, eta=None), ["40", "processing"]),
        (make_step(rate=None, eta=None), ["40%", "processing"]),
        (make_step(eta=None), ["40%", "8.0/s", "processing"]),
        (make_step(BulkEmail.example(status="paused")), ["40%", "paused"]),
        (make_step(BulkEmail.example(status="done"), fraction=1.0), ["100%", "done"]),
        (make_step(BulkEmail.example(status=None)), ["40%", "8.0/s", "ETA", "8s", "unknown"]),
        (make_step(BulkEmail.example(status="[red]odd")), ["40%", "8.0/s", "ETA", "8s", "[red]odd"]),
    ],
)
def test_states(step: Progress[Any] | None, shown: list[str]) -> None:
    """An action shows what is known of it and no more: a count without a total, no rate when it rests."""
    assert words(bars_with(*([] if step is None else [step]))) == shown


@pytest.mark.parametrize(
    ("step", "failure", "shown"),
    [
        (make_step(BulkEmail.example(status="error")), FAILED, ["40%", "error"]),
        (make_step(), WaitTimeout("still running", ref=REF), ["40%", "timed", "out"]),
        (None, NotFoundError(status=404, request="GET /x/"), ["failed"]),
    ],
)
def test_failures(step: Progress[Any] | None, failure: CloseBulkError, shown: list[str]) -> None:
    """A wait that ended without the action being done says how, and no longer how fast it is."""
    assert words(bars_with(*([] if step is None else [step]), failure=failure)) == shown


def test_time_left_goes_down_between_polls() -> None:
    """The time left is counted down from the poll that told it, over steps without news too, and not below 0."""
    steps = (make_step(eta=timedelta(seconds=90)), make_step(eta=timedelta(seconds=90), changed=False))
    assert " ETA 1m 30s " in draw(bars_with(*steps), width=80)[0]
    assert " ETA 1m 10s " in draw(bars_with(*steps, at=20.0), width=80)[0]
    assert " ETA <1s " in draw(bars_with(*steps, at=200.0), width=80)[0]
    bars = bars_with(*steps, at=20.0)
    bars.rows[REF].take(make_step(eta=timedelta(seconds=80), polls=4), at=20.0)
    assert " ETA 1m 20s " in draw(bars, width=80)[0]


def test_bars_of_finished_and_resting_actions_stand_still() -> None:
    """A bar pulses while no total is known, but not when the action rests or the wait has failed."""
    uncounted = {"n_objects": None, "fraction": None, "rate": None, "eta": None}

    def is_pulsing(bars: Bars) -> bool:
        cell = bars.rows[REF].bar(10)
        assert cell is not None
        assert isinstance(cell[0], ProgressBar)
        return cell[0].total is None

    assert is_pulsing(bars_with())
    assert is_pulsing(bars_with(make_step(**uncounted)))
    assert not is_pulsing(bars_with(make_step()))
    assert not is_pulsing(bars_with(make_step(BulkEmail.example(status="paused"), **uncounted)))
    assert not is_pulsing(bars_with(make_step(**uncounted), failure=FAILED))


def test_red_is_for_failures() -> None:
    """A bar that moves, or waits for a first answer, is of another colour, though it pulses."""
    for steps, failure in (((), None), ((make_step(),), None), ((make_step(),), BAD_GATEWAY)):
        cell = bars_with(*steps, failure=failure).rows[REF].bar(10)
        assert cell is not None
        console = Console(file=io.StringIO(), color_system="truecolor", force_terminal=True, legacy_windows=False)
        seen = {segment.style.color.get_truecolor() for segment in console.render(cell[0]) if segment.style}  # type: ignore[union-attr]  # or it fails
        reds = [color for color in seen if color.red > color.green]
        assert bool(reds) is (failure is not None)


def test_errors_are_shown_until_a_poll_succeeds() -> None:
    """A failed poll is told below its bar, for as long as no poll has succeeded since."""
    failing = make_step(polls=4, changed=False, last_error=BAD_GATEWAY)
    line = "  last error: GET /x/ was answered with 502 Bad Gateway"
    assert draw(bars_with(make_step(), failing), width=80)[1:] == [line]
    assert draw(bars_with(make_step(), failing, failing), width=80)[1:] == [line]
    # Steps go on carrying the error after good polls, with news and without.
    assert draw(bars_with(failing, make_step(polls=5, changed=False, last_error=BAD_GATEWAY)), width=80)[1:] == []
    assert draw(bars_with(failing, make_step(polls=5, last_error=BAD_GATEWAY)), width=80)[1:] == []
    assert draw(bars_with(make_step(last_error=BAD_GATEWAY)), width=80)[1:] == []
    assert draw(bars_with(failing, failure=FAILED), width=80)[1:] == []


def test_each_action_has_its_bar_in_the_order_given() -> None:
    """Refs of different lengths share their columns; one that is too long keeps its beginning and end."""
    bars = Bars([LONG, REF], monotonic=lambda: 0.0)
    for row in bars.rows.values():
        row.take(make_step(), at=0.0)
    assert draw(bars, width=80) == [
        "sequence_subs…N6oFGz ━━━━━╸             40%      8.0/s ETA 8s      processing",
        "email:bulkema…xample ━━━━━╸             40%      8.0/s ETA 8s      processing",
    ]


def many(*states: str) -> Bars:
    """Actions in these states, in this order."""
    bars = Bars([JobRef.parse(f"email:bulkemail_{place}") for place in range(len(states))], monotonic=lambda: 0.0)
    for row, state in zip(bars.rows.values(), states, strict=True):
        if state == "timed out":
            row.failure = WaitTimeout("still running", ref=row.ref)
        elif state != "waiting":
            row.take(make_step(BulkEmail.example(status=state)), at=0.0)
    return bars


def ids(lines: list[str]) -> list[int]:
    """Which actions are shown."""
    return [int(line.split()[0].removeprefix("email:bulkemail_")) for line in lines if line.startswith("email:")]


STATES = ("done", "waiting", "paused", "timed out", "processing", "error", "loading", "done")


@pytest.mark.parametrize(
    ("height", "shown", "rest"),
    [
        (8, [0, 1, 2, 3, 4, 5, 6, 7], ""),
        (7, [1, 2, 3, 4, 5, 6], "… 2 more: 2 done"),
        (6, [2, 3, 4, 5, 6], "… 3 more: 1 waiting, 2 done"),
        (5, [3, 4, 5, 6], "… 4 more: 1 paused, 1 waiting, 2 done"),
        (4, [4, 5, 6], "… 5 more: 1 timed out, 1 paused, 1 waiting, 2 done"),
        (3, [4, 5], "… 6 more: 1 running, 1 timed out, 1 paused, 1 waiting, 2 done"),
        (2, [5], "… 7 more: 2 running, 1 timed out, 1 paused, 1 waiting, 2 done"),
        (1, [], "… 8 more: 1 failed, 2 running, 1 timed out, 1 paused, 1 waiting, 2 done"),
    ],
)
def test_those_that_matter_are_shown_where_there_is_no_room_for_all(height: int, shown: list[int], rest: str) -> None:
    """Those that failed, then those that run, each in its place; a last line says what the others are."""
    lines = draw(many(*STATES), width=80, height=height)
    assert ids(lines) == shown
    assert len(lines) <= height
    assert "".join(line for line in lines if line.startswith("…")) == rest


def test_two_lines_of_one_action_stay_together() -> None:
    """On a narrow terminal there is room for half as many."""
    bars = many(*["processing"] * 4)
    assert len(draw(bars, width=40, height=8)) == 8
    assert ids(draw(bars, width=40, height=7)) == [0, 1, 2]
    assert ids(draw(bars, width=40, height=6)) == [0, 1]
    assert draw(bars, width=40, height=2) == ["… 4 more: 4 running"]


def test_all_are_shown_at_the_end() -> None:
    """Whoever has waited for all of them sees all of them, above the screen if need be."""
    bars = many(*STATES)
    bars.shows_all = True
    assert ids(draw(bars, width=80, height=4)) == [*range(8)]


def test_something_is_shown_while_nothing_is_known() -> None:
    """Long lists take a while; once they are read, there is nothing to say."""
    bars = Bars([])
    assert draw(bars, width=80) == ["looking for what runs"]
    bars.is_over = True
    assert draw(bars, width=80) == []


def test_little_room_is_for_what_matters_most() -> None:
    """At 24 columns there is neither bar nor rate, and at 34 no rate."""
    assert draw(bars_with(make_step()), width=24) == ["email:…ple processing", "    40% ETA 8s"]
    long = make_step(eta=timedelta(minutes=59, seconds=59))
    assert draw(bars_with(long), width=24) == ["email:…ple processing", "    40% ETA 59m 59s"]
    assert draw(bars_with(make_step()), width=34) == ["email:bulkema…xample processing", "━━━━╸            40% ETA 8s"]


def test_the_view_takes_actions_that_it_was_not_told_of() -> None:
    """In the order in which they come, also those of which nothing was read."""
    console = Console(width=80, file=io.StringIO(), force_terminal=True, color_system=None, legacy_windows=False)
    with LiveBars([], console=console) as view:
        view.show(make_step())
        view.fail(LONG, NotFoundError(status=404, request="GET /x/"))
    assert isinstance(console.file, io.StringIO)
    last = console.file.getvalue().rpartition("\x1b[2K")[2]
    assert last.index("bulkema") < last.index("N6oFGz") < last.index("failed")


def test_the_view_writes_reasons_below_the_bars(capsys: pytest.CaptureFixture[str]) -> None:
    """Notes go above the bars; why a wait failed goes to standard error, once the bars are done."""
    console = Console(width=80, file=io.StringIO(), force_terminal=True, color_system=None, legacy_windows=False)
    with LiveBars([REF], console=console) as view:
        view.show(make_step())
        view.note("[b]a status that is not documented")
        view.fail(REF, WaitTimeout("still running", ref=REF))
        assert capsys.readouterr().err == ""
    assert capsys.readouterr().err == "closebulk: email:bulkemail_example: still running\n"
    assert isinstance(console.file, io.StringIO)
    screen = console.file.getvalue()
    assert "[b]a status that is not documented" in screen
    assert screen.rindex("not documented") < screen.rindex("timed out")
    assert screen.count("\x1b[?25l") == screen.count("\x1b[?25h") == 1  # the cursor, hidden and shown again
