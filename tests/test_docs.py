"""The examples of pages of docs/, executed: what they print, start and keep."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING

from closebulk_async import OAuthToken
from closebulk_async.simulator import Simulator
from tests.docs.running import run_example

if TYPE_CHECKING:
    from pathlib import Path


async def test_the_journal_example_starts_once_however_often_it_runs(tmp_path: Path) -> None:
    """The example of «Start once» run twice starts one action, and the second run shows it as done."""
    async with Simulator() as simulator:
        simulator.next_job(duration=0.2, n_objects=1)
        runs = [await run_example(simulator, "docs/starting-once.md", tmp_path) for _ in range(2)]
        (job,) = simulator.jobs
    assert [run[-1] for run in runs] == [f"done: delete:{job.id}"] * 2


async def test_the_search_example_counts_and_walks(tmp_path: Path) -> None:
    """The example of «Search» counts leads, shows each of them, oldest first, and then the newest."""
    async with Simulator() as simulator:
        leads = simulator.add_leads(250, seed=5, per_instant=1)
        counted, *shown, newest = await run_example(simulator, "docs/search.md", tmp_path)
    assert counted == "250 leads match"
    assert [line.split()[0] for line in shown] == [each.id for each in leads]
    assert newest == f"the newest is {leads[-1].id}"


async def test_the_example_of_outcomes_tells_of_each_lead(tmp_path: Path) -> None:
    """One line for each event, and how many objects have any."""
    async with Simulator() as simulator:
        simulator.next_job(duration=0.2, n_objects=3)
        *events, last = await run_example(simulator, "docs/outcomes.md", tmp_path)
    assert [event.split()[0] for event in events] == ["lead.deleted"] * 3
    assert last == "3 of 3 objects have events: {'lead.deleted': 3}"


async def test_the_example_of_exports_saves_a_file(tmp_path: Path) -> None:
    """Both phases are shown, and the file is there."""
    async with Simulator() as simulator:
        simulator.next_export(duration=0.2, rows=3)
        *steps, last = await run_example(simulator, "docs/exports.md", tmp_path)
    assert "done" in steps
    assert any(step.endswith("bytes") for step in steps)
    assert last == "saved: leads.csv"
    with (tmp_path / "leads.csv").open(encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == 3


async def test_the_example_of_oauth_keeps_what_it_is_given(tmp_path: Path) -> None:
    """The token is renewed, because it has expired, and the new one is what the next run reads."""
    kept = tmp_path / "close-token.json"
    async with Simulator() as simulator:
        app = simulator.oauth
        kept.write_text(OAuthToken(access_token="old_token", refresh_token=app.grant()).to_json())
        more = {"CLOSE_CLIENT_ID": app.client_id, "CLOSE_CLIENT_SECRET": app.client_secret}
        for _ in range(2):
            app.expire_tokens()
            assert await run_example(simulator, "docs/oauth.md", tmp_path, **more) == ["actions: 0"]
        assert app.refreshes == 2
        assert OAuthToken.from_dict(json.loads(kept.read_text())).refresh_token == app.tokens[-1].refresh_token
