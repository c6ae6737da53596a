"""The benchmark of the dashboard: what a frame is charged with, and that the whole of it runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks.dashboard import CORE, FRAME, render
from benchmarks.dashboard_frames import PARTS, UPDATE, after_updates, read_frames, summarize
from tests.browser.scenes import find_browser

if TYPE_CHECKING:
    from benchmarks.dashboard_frames import Event

ROOT = Path(__file__).parent.parent


def spent(name: str, began: float, milliseconds: float, *, computed: float | None = None, thread: int = 1) -> Event:
    """An event of a trace that takes some time; instants are in milliseconds."""
    more = {} if computed is None else {"tdur": computed * 1000}
    return {
        "name": name,
        "ph": "X",
        "ts": began * 1000,
        "dur": milliseconds * 1000,
        "pid": 7,
        "tid": thread,
        "args": {},
        **more,
    }


def mark(name: str, at: float) -> Event:
    """An event of a trace that takes no time."""
    return {"name": name, "ph": "I", "ts": at * 1000, "pid": 7, "tid": 1, "args": {}}


FIRST = [spent("RunTask", 0, 5), spent("Commit", 4, 1)]
TAKING = [
    spent("RunTask", 20, 6, computed=4),
    mark(UPDATE, 21),
    spent("FunctionCall", 21, 5),
    spent("MinorGC", 22, 2),
    spent("RunTask", 30, 10, computed=9),
    spent("FireAnimationFrame", 30, 3),
    spent("FunctionCall", 30, 3),
    spent("Layout", 34, 2),
    spent("Paint", 36, 2),
    spent("Commit", 38, 1),
]
DRAWING = [spent("RunTask", 47, 2), spent("FireAnimationFrame", 47, 1), spent("Commit", 48, 1)]
IDLE = [spent("RunTask", 90, 1), spent("Commit", 90, 1)]
ELSEWHERE = [spent("RunTask", 21, 500, thread=2), spent("Commit", 22, 100, thread=2)]


def test_a_frame_is_charged_with_all_tasks_since_the_one_before() -> None:
    """What came in is part of the frame that shows it, though another task took it; other threads are not."""
    taking, drawing, idle = read_frames([*IDLE, *ELSEWHERE, *TAKING, *FIRST, *DRAWING])
    assert (taking.wall, taking.computed, taking.n_updates, taking.draws) == (16, 13, 1, True)
    assert (drawing.wall, drawing.n_updates, drawing.draws) == (2, 0, True)
    assert (idle.wall, idle.n_updates, idle.draws) == (1, 0, False)
    assert list(after_updates([taking, drawing, idle])) == [taking, drawing]


def test_time_inside_time_is_counted_once() -> None:
    """A collection of garbage inside a script is none of the script's time, and a script inside one no second one."""
    taking, *_ = read_frames([*FIRST, *TAKING])
    assert taking.parts == {"script": 6, "garbage": 2, "layout": 2, "paint": 2, "commit": 1}


def test_frames_are_summed_up() -> None:
    """The quantile is a frame that there was, and a part that no frame has is nothing."""
    figures = summarize(read_frames([*FIRST, *TAKING, *DRAWING, *IDLE]))
    assert (figures["number"], figures["median"], figures["p95"], figures["longest"]) == (3, 2, 16, 16)
    assert figures["style"] == 0


def test_a_trace_without_an_update_says_nothing() -> None:
    """Frames of a page that was sent nothing are no answer, and neither is none at all."""
    with pytest.raises(ValueError, match="no update"):
        read_frames([*FIRST, *DRAWING])
    with pytest.raises(ValueError, match="no frame"):
        summarize([])


@pytest.mark.parametrize(("core", "median", "n_missed"), [(CORE, FRAME, 0), (CORE + 0.01, FRAME + 0.1, 3)])
def test_the_table_judges_by_the_targets(core: float, median: float, n_missed: int) -> None:
    """The share of a core and both medians have one."""
    frames = dict.fromkeys(("number", "median", "p95", "longest", "computed", *PARTS.values()), median)
    counts = {f"{name}.{figure}": value for name in ("taking", "drawing") for figure, value in frames.items()}
    others = ("page.updates", "server.requests_per_second", "server.refused", "chromium.version")
    counts |= dict.fromkeys((*others, "actions.number", "observed.seconds"), 1.0) | {"server.core": core}
    table = render(counts)
    assert (table.count("**no**"), table.count("| yes |")) == (n_missed, 3 - n_missed)


@pytest.mark.timeout(300)  # three programs start, one of them a browser, on however busy a machine
def test_a_quick_run_measures_server_and_page(tmp_path: Path) -> None:
    """Simulator, command and browser start, and what they find is written."""
    find_browser()
    command = [sys.executable, "-m", "benchmarks", "dashboard", "--quick", "--output", str(tmp_path)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    (counts,) = json.loads((tmp_path / "dashboard.json").read_text(encoding="utf-8"))["counts"]["dashboard"]
    assert counts["actions.number"] == 20
    assert counts["page.updates"] >= 1
    assert counts["server.refused"] == 0
    assert counts["taking.computed"] > 0
    assert "share of one core" in (tmp_path / "dashboard.md").read_text(encoding="utf-8")
