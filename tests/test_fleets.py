"""The benchmarks of fleets and of what waits cost: what they count, and that they run."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from benchmarks import cost, fleet
from benchmarks.fleet import FLEETS, Fleet
from benchmarks.fleet_run import MEAN, RATE, Case, Known, arrive, judge, measure

pytestmark = pytest.mark.unmeasured

SHORT = Case(concurrent=20, warm_up=30, measured=60)


def test_a_fleet_is_as_large_as_it_is_called() -> None:
    """At the begin as many run as were asked for, each beside as many others, and the past has none that is older."""
    arrivals = list(arrive(Case(concurrent=1000, foreign=1, warm_up=10, measured=10)))
    running = [one for one in arrivals if one.at <= 0 < one.ends_at]
    assert sum(not one.is_foreign for one in running) == pytest.approx(1000, rel=0.1)
    assert sum(one.is_foreign for one in running) == pytest.approx(1000, rel=0.1)
    assert pytest.approx(600, abs=1) == MEAN
    assert all(before.at < after.at for before, after in pairwise(arrivals))
    assert not any(one.is_foreign for one in arrive(SHORT))


def test_an_arrival_ends_when_its_plan_does() -> None:
    """So that the past can be laid out without working out how each job went; a counter never runs back."""
    one = next(arrive(SHORT))
    plan = one.plan()
    assert plan.duration == pytest.approx(one.ends_at - one.at)
    counts = [plan.processed(plan.n_objects, plan.duration * step / 50) for step in range(51)]
    assert counts == sorted(counts)
    assert counts[-1] == plan.n_objects
    assert len(set(counts)) > 5


def test_what_counts_as_late() -> None:
    """Ends before and after the time that is measured say nothing, and who began before it is not fresh."""
    case = Case(concurrent=2, warm_up=100, measured=100)
    known = [Known(0, 99, 150), Known(50, 150, 152), Known(110, 160, 161), Known(120, 190, 191), Known(120, 200, 300)]
    figures = judge(case, known)
    assert [figures[name] for name in ("ended", "late_p50", "late_p95", "late_max", "fresh_p95")] == [3, 1, 2, 2, 1]
    assert figures["running"] == pytest.approx((50 + 50 + 70 + 80) / 100)
    assert judge(case, known[:1])["late_max"] == 0


@pytest.mark.parametrize("shows_pages", [True, False])
async def test_a_fleet_is_followed_to_its_ends(*, shows_pages: bool) -> None:
    """The client knows every end, is never refused, and asks for pages where there are any."""
    figures = await measure(Case(concurrent=20, warm_up=30, measured=60, shows_pages=shows_pages))
    assert figures["running"] == pytest.approx(20, abs=10)
    assert figures["ended"] > 0
    assert figures["refused"] == 0
    assert figures["late_max"] < 30
    assert 0 < figures["requests_per_second"] < RATE
    # Where pages are refused it tries one now and then.
    assert (figures["pages_per_second"] > 0.1) is shows_pages


def test_a_fleet_is_held_to_its_bounds_and_to_being_read_one_by_one() -> None:
    """One figure above its bound is enough, and so is one that is worse than without pages."""
    mine = Fleet("mine", 10, at_most={"late_p95": 2}, alone="alone")
    good = {f"{name}.{figure}": 1.0 for name in ("mine", "alone") for figure in fleet.COMPARED}
    assert mine.target == "≤ 95 %: 2 s, not worse than one by one"
    assert mine.is_met(good, "mine") is True
    assert mine.is_met({**good, "mine.late_p95": 2.1, "alone.late_p95": 3}, "mine") is False
    for figure, slack in fleet.COMPARED.items():
        assert mine.is_met({**good, f"mine.{figure}": 1.03 + slack}, "mine") is False
        assert mine.is_met({**good, f"mine.{figure}": 1.01 + slack}, "mine") is True
    assert Fleet("free", 10).is_met(good, "free") is None


def test_every_fleet_that_was_measured_has_a_row() -> None:
    """Those of a quick run only have theirs."""
    counts = {f"{name}.{figure}": 1.0 for name in ("1000", "1000.alone") for figure in fleet.COLUMNS}
    lines = fleet.render(counts).splitlines()
    assert [line.count("|") for line in lines[:4]] == [13] * 4
    assert lines[2].endswith("| ≤ 12 requests/s, ≤ 50 %: 1.2 s, ≤ 95 %: 2.5 s | yes |")
    assert lines[3].startswith("| 1,000, one by one")
    assert not lines[4]
    assert {one.alone for one in FLEETS.values()} - {None} <= FLEETS.keys()


async def test_several_waits_on_one_action_cost_the_requests_of_one() -> None:
    """Three who await it and two who iterate over its progress."""
    assert await cost.count_requests(3, 2) == await cost.count_requests(1, 0) > 1


@pytest.mark.parametrize(("role", "figure"), [("futures", "bytes"), ("snapshots", "bytes"), ("waits", "bytes")])
def test_memory_is_measured(role: str, figure: str) -> None:
    """Some hundred bytes at least, whatever is held."""
    assert 100 < cost.run(role, jobs=20, beat=0.2)[figure] < math.inf


def test_computing_time_is_measured() -> None:
    """Some polls come in, each of one action, and take some time."""
    figures = cost.run("polls", ["--no-pages"], jobs=5, beat=0.2)
    assert figures["cpu_seconds"] > 0
    assert figures["requests"] == figures["observations"] > 0


def test_what_cost_says() -> None:
    """A wait is weighed without its task and its action, and polls are taken to a minute's number."""
    counts = {"futures.bytes": 900.0, "snapshots.bytes": 950.0, "waits.bytes": 2400.0, "waits.number": 10.0}
    counts |= {"waits.tasks": 1.0, "waits.timers": 3.0, "flights.one": 7.0, "flights.five": 7.0}
    for name, observed in {"items": 100.0, "pages": 10_000.0}.items():
        counts |= {f"{name}.cpu_seconds": 1.0, f"{name}.requests": 100.0, f"{name}.observations": observed}
    assert cost.weigh(counts) == {"with_action": 1500, "own": 550}
    assert cost.share(counts, "items", "requests") == pytest.approx(5000 / 60 / 100)
    table = cost.render(counts)
    assert "| 550 B | ≤ 600 B | yes |" in table
    assert "| 3 | ≤ 2 | **no** |" in table
    assert "| 83.3% of a core | ≤ 10.0% of a core | **no** |" in table
