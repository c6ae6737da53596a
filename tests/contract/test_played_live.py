"""The suite as its users run it, in a process of its own; a simulator plays Close."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from closebulk_async.simulator import Limits, Simulator, faults
from tests.cli.programs import environment, finish, running_program
from tests.contract.account import STATUS_ID, PatientClock, serve
from tests.contract.gate import MOST_REQUESTS
from tests.contract.unknowns import UNKNOWNS

if TYPE_CHECKING:
    from pathlib import Path

    from closebulk_async.simulator.faults import Fault
    from tests.cli.programs import Finished

USAGE_ERROR, SOME_FAILED = 4, 1

# Nothing but what these tests need: to load the other plugins takes longer than the suite takes to run.
PLUGINS = ("pytest_asyncio.plugin", "pytest_timeout", "tests.contract.plugin", "tests.contract.conftest")
PYTEST = (sys.executable, "-m", "pytest", "--noconftest", "-p", "no:cacheprovider", *(f"-p{name}" for name in PLUGINS))

CLOSE_ALONE = ("-k", "[close")
READING = [f"tests/contract/test_{name}.py" for name in ("lists", "other_lists", "searches", "answers", "client")]


async def run(sim: Simulator, *arguments: str) -> Finished:
    """Run it on these arguments, with a key that counts there."""
    own = {
        "CLOSE_CONTRACT_KEY": sim.api_key,
        "CLOSE_CONTRACT_BASE_URL": sim.base_url,
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    async with running_program(*PYTEST, "--contract-gap=0", *arguments, env=environment(**own)) as process:
        return await finish(process)


def start_of(path: Path, query: object, *more: str) -> tuple[str, ...]:
    """The arguments of a start with that query."""
    path.write_text(json.dumps(query))
    return (
        "--contract-live",
        "--contract-start",
        f"--contract-query={path}",
        "--contract-kind=edit",
        "--contract-param=type=set_lead_status",
        f"--contract-param=lead_status_id={STATUS_ID}",
        *more,
        *CLOSE_ALONE,
        "tests/contract/test_starting.py",
    )


def written(sim: Simulator) -> list[str]:
    """What arrived that was no read."""
    return [
        f"{request.method} {request.path}"
        for request in sim.requests
        if request.method != "GET" and not request.path.endswith("/data/search/")
    ]


def passed(done: Finished) -> bool:
    """Whether all of it passed; the output is shown where not."""
    assert done.code == 0, done.out + done.err
    return True


async def test_close_is_read_and_nothing_of_it_is_shown(tmp_path: Path) -> None:
    """All assertions hold of both services; the report names each question, and no key, id or name of the account."""
    async with serve() as sim:
        report = tmp_path / "report.md"
        done = await run(sim, "--contract-live", f"--contract-report={report}", *READING)
        assert passed(done)
        assert " skipped" not in done.out
        assert written(sim) == []
        assert 50 < len(sim.requests) <= MOST_REQUESTS
        values = {
            sim.api_key,
            sim.organization_id,
            sim.user_id,
            *(job.id for job in sim.jobs),
            *(lead.id for lead in sim.leads),
        }
        shown = done.out + done.err + report.read_text()
    assert {value for value in values if value in shown} == set()
    for unknown in UNKNOWNS:
        assert f"  {unknown.name} (" in done.out
        assert f"| **{unknown.name}**: " in report.read_text()
    assert "| simulator | close |" in report.read_text()


async def test_an_empty_account_fails_nothing(tmp_path: Path) -> None:
    """What it has nothing of is skipped, and the questions about that stay open."""
    async with Simulator(clock=PatientClock()) as sim:
        sim.limits = Limits()
        sim.add_leads(1)
        report = tmp_path / "report.md"
        done = await run(sim, "--contract-live", f"--contract-report={report}", *READING, *CLOSE_ALONE)
        assert passed(done)
    assert " skipped" in done.out
    assert "signature key (not settled): the account has no webhook that this key may see" in done.out


async def test_a_failure_shows_no_value(tmp_path: Path) -> None:
    """It names the sentence that does not hold and its line; a log or a value of the account is not printed."""
    async with serve() as sim:
        sim.add_job("edit", date_created="Bruce Wayne", n_objects="Bruce Wayne", status="done")
        done = await run(
            sim, "--contract-live", "tests/contract/test_lists.py", "-k", "[close-edit] and (schema or dates)"
        )
    assert done.code == SOME_FAILED
    assert "does not hold: A list is `data` and `has_more`, and each row has every field" in done.out
    assert "test_lists.py" in done.out
    assert "Bruce Wayne" not in done.out + done.err


async def test_one_action_is_started_paused_and_resumed(tmp_path: Path) -> None:
    """On the one lead that the query matches; the report says by which verb it was paused."""
    async with serve() as sim:
        before = len(sim.jobs)
        query = {"type": "id", "value": sim.leads[3].id}
        report = tmp_path / "report.md"
        done = await run(sim, *start_of(tmp_path / "query.json", query, f"--contract-report={report}"))
        assert passed(done)
        (job,) = sim.jobs[before:]
        assert job.request == {
            "type": "set_lead_status",
            "lead_status_id": STATUS_ID,
            "s_query": query,
            "results_limit": 1,
            "send_done_email": False,
        }
        item = f"/api/v1/bulk_action/edit/{job.id}/"
        assert written(sim) == ["POST /api/v1/bulk_action/edit/", *[f"PUT {item}"] * 3]
    assert "pause (settled): PUT on the item: 200, an action that is paused (as the package does)" in done.out
    assert job.id not in done.out + report.read_text()


async def test_another_verb_is_found(tmp_path: Path) -> None:
    """Where PUT is not known, PATCH is tried: the assumption fails, and the report says what holds."""
    async with serve() as sim:
        sim.change_method = "PATCH"
        done = await run(sim, *start_of(tmp_path / "query.json", {"type": "id", "value": sim.leads[0].id}))
    assert done.code == SOME_FAILED
    assert "does not hold: The first verb that was tried is the package's" in done.out
    assert "PATCH on the item: 200, an action that is paused (not PUT, as the package does)" in done.out


@pytest.mark.parametrize(
    "fault", [faults.cut_before(), faults.server_error(503), faults.reply(404, "{}")], ids=lambda fault: fault.name
)
async def test_an_action_that_is_left_paused_is_named(tmp_path: Path, fault: Fault) -> None:
    """Where it could not be resumed, whether that was answered or not."""
    async with serve() as sim:
        sim.fail_next(fault, method="PUT", skip=1, times=None)
        done = await run(sim, *start_of(tmp_path / "query.json", {"type": "id", "value": sim.leads[0].id}))
        job = sim.jobs[-1]
        assert job.snapshot(sim.clock.now())["status"] == "paused"
    assert done.code == SOME_FAILED
    assert f"edit:{job.id}" in done.out


async def test_more_leads_than_allowed_start_nothing(tmp_path: Path) -> None:
    """They are counted, and that is all; fewer than one are no better."""
    two: dict[str, Any] = {"type": "or", "queries": []}
    async with serve() as sim:
        before = len(sim.jobs)
        two["queries"] = [{"type": "id", "value": lead.id} for lead in sim.leads[:2]]
        done = await run(sim, *start_of(tmp_path / "query.json", two))
        assert done.code == SOME_FAILED
        assert "the query matches 2 leads, and --contract-most allows 1 to 1" in done.out
        assert (written(sim), len(sim.jobs)) == ([], before)


@pytest.mark.parametrize("what", ["no flag", "no query", "everything"])
async def test_a_start_that_is_not_plainly_meant_sends_nothing(tmp_path: Path, what: str) -> None:
    """Not one request."""
    async with serve() as sim:
        query = (
            {"type": "object_type", "object_type": "lead"}
            if what == "everything"
            else {"type": "id", "value": "lead_1"}
        )
        dropped = {"no flag": "--contract-start", "no query": "--contract-query"}.get(what, "nothing")
        given = [each for each in start_of(tmp_path / "query.json", query) if not each.startswith(dropped)]
        done = await run(sim, *given)
        assert done.code == USAGE_ERROR
        assert "contract" in done.err.lower()
        assert sim.requests == ()


async def test_a_key_without_the_flag_reads_nothing() -> None:
    """What would be read at Close is skipped, and it is said which flag is missing."""
    async with serve() as sim:
        done = await run(sim, "tests/contract/test_searches.py", *CLOSE_ALONE)
        assert passed(done)
        assert sim.requests == ()
    assert "CLOSE_CONTRACT_KEY is set and --contract-live is not given: nothing is sent to Close" in done.out
    assert " skipped" in done.out
