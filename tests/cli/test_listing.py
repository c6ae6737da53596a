"""`closebulk ls` without a terminal: which jobs it finds, as lines and as JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from closebulk_async.models import BULK_KINDS, Kind
from closebulk_async.simulator import faults

from .programs import Finished

if TYPE_CHECKING:
    from closebulk_async.simulator import Simulator

    from .conftest import Closebulk
    from .programs import StillClock


def add(sim: Simulator, kind: str = "email", *, age: timedelta = timedelta(0), status: str = "done") -> str:
    """Put a job there that stays as it is; the ref of it."""
    return f"{kind}:{sim.add_job(kind, status=status, n_objects_processed=40, age=age).id}"  # type: ignore[arg-type]  # one of the four


def refs(listed: Finished) -> list[str]:
    """What `awk '{print $NF}'` makes of it."""
    return [line.split()[-1] for line in listed.lines]


async def test_jobs_of_all_kinds_come_newest_first(sim: Simulator, closebulk: Closebulk) -> None:
    """Exports among them; on standard error it is said that there are more."""
    added = [add(sim, kind, age=timedelta(minutes=minutes)) for minutes, kind in enumerate(BULK_KINDS, 2)]
    added.insert(0, f"export:{sim.add_export(rows=3, age=timedelta(minutes=1)).id}")
    listed = await closebulk("ls", "--limit", "4")
    assert (listed.code, refs(listed)) == (0, added[:4])
    assert listed.err == "closebulk: there are more than these 4: --limit shows more\n"
    assert listed.lines[1] == f"done         40 of 100 (100%)        2026-01-15 09:28 UTC  {added[1]}"
    assert await closebulk("ls", "--limit", "5") == await closebulk("ls")
    assert "\x1b" not in listed.out


async def test_no_more_than_twenty_are_shown_unless_more_are_asked_for(sim: Simulator, closebulk: Closebulk) -> None:
    """What a screen holds."""
    added = [add(sim, age=timedelta(minutes=minutes)) for minutes in range(22)]
    listed = await closebulk("ls")
    assert refs(listed) == added[:20]
    assert listed.err == "closebulk: there are more than these 20: --limit shows more\n"
    assert refs(await closebulk("ls", "--limit", "50")) == added


async def test_kinds_narrow_it(sim: Simulator, closebulk: Closebulk) -> None:
    """One or several; only their lists are read."""
    email, _, edit = add(sim), add(sim, "delete", age=timedelta(1)), add(sim, "edit", age=timedelta(2))
    assert refs(await closebulk("ls", "--kind", "email", "--kind", "edit")) == [email, edit]
    assert {request.path.split("/")[-2] for request in sim.requests} == {"email", "edit"}


async def test_active_ones_are_found_however_old_they_are(sim: Simulator, closebulk: Closebulk) -> None:
    """What has not ended, though a hundred have that are newer."""
    for minutes in range(105):
        add(sim, age=timedelta(minutes=minutes))
    paused, old = add(sim, status="paused", age=timedelta(1)), add(sim, status="processing", age=timedelta(40))
    assert refs(await closebulk("ls", "--active")) == [paused, old]


@pytest.mark.parametrize(("since", "shown"), [("90m", 1), ("3h", 2), (" 2d", 3), ("1w", 3), ("2w", 4), ("9999w", 5)])
async def test_since_takes_a_length_of_time(
    sim: Simulator, closebulk: Closebulk, clock: StillClock, since: str, shown: int
) -> None:
    """In minutes, hours, days or weeks, up to now."""
    clock.moment = datetime.now(UTC)  # the command has no other clock than that of its machine
    ages = [timedelta(hours=1), timedelta(hours=2), timedelta(days=1), timedelta(days=10), timedelta(days=9000)]
    added = [add(sim, age=age) for age in ages]
    assert refs(await closebulk("ls", "--since", since)) == added[:shown]


async def test_json_is_the_whole_object(sim: Simulator, closebulk: Closebulk) -> None:
    """The service's own, with kind and ref added, one a line."""
    job = sim.add_job("sequence_subscription", action_type="pause", status="odd\x1b[31m", unheard="of")
    older = add(sim, age=timedelta(1))
    listed = await closebulk("ls", "--json", "--limit", "1")
    (row,) = map(json.loads, listed.lines)
    added = {"kind": "sequence_subscription", "ref": f"sequence_subscription:{job.id}"}
    assert row == added | job.snapshot(sim.clock.now())
    assert listed.err == "closebulk: there are more than these 1: --limit shows more\n"
    assert [json.loads(line)["ref"] for line in (await closebulk("ls", "--json")).lines] == [row["ref"], older]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "no actions"),
        (("--kind", "email"), "no email actions"),
        (("--kind", "email", "--kind", "edit", "--active"), "no email or edit actions that run"),
        (("--since", "7d"), "no actions in this time"),
    ],
)
async def test_empty_lists_say_so(closebulk: Closebulk, options: tuple[str, ...], said: str) -> None:
    """An empty list is no failure, and prints nothing where rows would be."""
    assert await closebulk("ls", *options) == Finished(0, "", f"closebulk: {said}\n")


async def test_a_kind_that_may_not_be_read_is_left_out_unless_it_was_named(
    sim: Simulator, closebulk: Closebulk
) -> None:
    """A key may lack the right to see one kind: the others are shown all the same."""
    email = add(sim)
    sim.fail_next(faults.forbidden(), path="/delete/", times=2)
    assert refs(await closebulk("ls")) == [email]
    refused = await closebulk("ls", "--kind", "delete")
    assert (refused.code, refused.out) == (1, "")
    assert "403 Forbidden" in refused.err


async def test_where_no_list_may_be_read_that_is_no_empty_list(sim: Simulator, closebulk: Closebulk) -> None:
    """It fails, for the reason that is given of each."""
    sim.fail_next(faults.forbidden(), times=None)
    refused = await closebulk("ls")
    *reasons, last = refused.err.splitlines()
    assert (refused.code, refused.out, last) == (1, "", "closebulk: none of the lists may be read")
    assert {line.split(" actions are left out: ")[0] for line in reasons} == {f"closebulk: {kind}" for kind in Kind}


async def test_what_a_server_says_of_a_kind_that_is_left_out_cannot_reach_the_terminal(
    sim: Simulator, closebulk: Closebulk
) -> None:
    """Warnings outside a watch are lines of the command as all others are: no control code, and no key."""
    email = add(sim)
    body = f"no\x1b[31m red for {sim.api_key}"
    sim.fail_next(faults.reply(403, body, content_type="text/plain"), path="/delete/")
    listed = await closebulk("ls")
    assert (listed.code, refs(listed)) == (0, [email])
    assert listed.err.startswith("closebulk: delete actions are left out: ")
    assert "no?[31m red for ***" in listed.err
    assert len(listed.err.splitlines()) == 1
