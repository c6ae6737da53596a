"""`closebulk limits`: what the answers say of rate limits, as a table, on narrow terminals, and as JSON."""

from __future__ import annotations

import asyncio
import json
import os
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from closebulk_async.cli.limits import describe_group, group_to_dict, lay_out
from closebulk_async.limits import GroupLimits, ShownLimit
from closebulk_async.simulator import Limits, faults

from .programs import COMMAND, PIPE, Finished, finish, for_simulator, read_terminal

if TYPE_CHECKING:
    from closebulk_async.simulator import Simulator

    from .conftest import Closebulk

NOW = datetime(2026, 1, 15, 9, 30, tzinfo=UTC)
KINDS = ("delete", "edit", "email", "sequence_subscription")
GROUPS = [*(f"GET /bulk_action/{kind}/" for kind in KINDS), "GET /export/"]


def make_group(*limits: float, n_throttled: int = 0, resets_in: float = 7.5) -> GroupLimits:
    """A group that has shown these limits, of each of which one request is gone."""
    shown = tuple(
        ShownLimit(
            limit=limit,
            remaining=limit - 1,
            resets_at=NOW + timedelta(seconds=resets_in),
            seen_at=NOW,
            scope=("key" if limit == min(limits) else "organization") if len(limits) > 1 else None,
        )
        for limit in limits
    )
    return GroupLimits(group="GET /export/", shown=shown, n_throttled=n_throttled)


async def test_each_list_is_read_once(sim: Simulator, closebulk: Closebulk) -> None:
    """One row of each; a line tells group, limit, what is left of it, when it is reset, whose it is, and 429s."""
    sim.limits = Limits(rate=20.0, window=8)
    finished = await closebulk("limits")
    assert (finished.code, finished.err) == (0, "")
    head, *rows = finished.lines
    assert head.split() == ["group", "limit", "left", "resets", "in", "whose", "429s"]
    assert [row.rsplit(maxsplit=5)[0] for row in rows] == GROUPS
    assert [row for row in rows if not re.search(r" 160   159 +(<1|\d)s  unknown     0$", row)] == []
    asked = [(request.method, request.query["_limit"]) for request in sim.requests]
    assert asked == [("GET", "1")] * len(GROUPS)


async def test_json(sim: Simulator, closebulk: Closebulk) -> None:
    """An object for each group, with what is not known as null."""
    sim.limits = Limits(rate=20.0, window=8)
    finished = await closebulk("limits", "--json")
    found = [json.loads(line) for line in finished.lines]
    assert [each["group"] for each in found] == GROUPS
    (limit,) = found[0]["limits"]
    assert (limit["limit"], limit["remaining"], limit["scope"]) == (160, 159, None)
    assert 0 < limit["resets_in"] <= 8
    assert datetime.fromisoformat(limit["resets_at"]).tzinfo is not None
    assert (found[0]["n_throttled"], found[0]["stopped_until"]) == (0, None)


async def test_requests_that_are_turned_away_are_counted(sim: Simulator, closebulk: Closebulk) -> None:
    """A 429 is waited for, and is in the last column of its group."""
    sim.limits = Limits()
    sim.fail_next(faults.too_many_requests(retry_after=0.01), path="/export/")
    finished = await closebulk("limits")
    assert finished.code == 0
    assert [row.split()[-1] for row in finished.lines[1:]] == ["0", "0", "0", "0", "1"]


async def test_answers_without_limits(closebulk: Closebulk) -> None:
    """Nothing is made up."""
    said = "closebulk: the answers say nothing of rate limits\n"
    assert await closebulk("limits") == Finished(0, "", said)


async def test_a_list_that_may_not_be_read(sim: Simulator, closebulk: Closebulk) -> None:
    """The others are shown all the same; the exit code says that something failed."""
    sim.limits = Limits()
    sim.fail_next(faults.forbidden(), path="/bulk_action/edit/")
    finished = await closebulk("limits")
    assert (finished.code, len(finished.lines)) == (1, len(GROUPS))
    assert finished.err.startswith("closebulk: GET /bulk_action/edit/ was answered with 403")
    assert finished.err.count("\n") == 1


async def test_a_narrow_terminal(sim: Simulator) -> None:
    """It gets two lines for each group, none of them wider than it is."""
    sim.limits = Limits(rate=20.0, window=8)
    terminal, its_end = os.openpty()
    env = for_simulator(sim) | {"TERM": "xterm", "COLUMNS": "50"}
    process = await asyncio.create_subprocess_exec(*COMMAND, "limits", env=env, stdout=its_end, stderr=PIPE)
    os.close(its_end)
    seen = (await asyncio.to_thread(read_terminal, terminal)).splitlines()
    os.close(terminal)
    assert (await finish(process)).code == 0
    assert seen[::2] == GROUPS
    told = r"  159 of 160 left, resets in (<1|\d)s, unknown, 0 x 429"
    assert [line for line in seen[1::2] if not re.fullmatch(told, line)] == []
    assert max(map(len, seen)) <= 50


def test_each_limit_of_a_group_is_a_row() -> None:
    """Once both were seen, it is known whose they are."""
    rows = describe_group(make_group(160, 480, n_throttled=3), now=NOW)
    assert rows == [
        ("GET /export/", "160", "159", "8s", "key", "3"),
        ("GET /export/", "480", "479", "8s", "organization", "3"),
    ]


def test_a_window_that_has_ended_does_not_end_in_the_past() -> None:
    """It may have been read some time ago."""
    group = make_group(160, resets_in=-5)
    assert describe_group(group, now=NOW)[0][3] == "<1s"
    assert group_to_dict(group, now=NOW)["limits"][0]["resets_in"] == 0


def test_a_group_of_which_only_429s_are_known() -> None:
    """It has a row as well."""
    rows = describe_group(make_group(n_throttled=2), now=NOW)
    assert lay_out(rows, width=None) == [
        "group         limit  left  resets in  whose  429s",
        "GET /export/      -     -          -  -         2",
    ]
    stopped = GroupLimits(group="GET /export/", n_throttled=2, stopped_until=NOW)
    assert group_to_dict(stopped, now=NOW) == {
        "group": "GET /export/",
        "limits": [],
        "n_throttled": 2,
        "stopped_until": "2026-01-15T09:30:00+00:00",
    }


@pytest.mark.parametrize("width", [20, 40, 60, 80])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    """Whatever the width is, nothing wraps."""
    rows = [row for group in (make_group(160), make_group(160, 480)) for row in describe_group(group, now=NOW)]
    assert max(map(len, lay_out(rows, width=width))) <= width
