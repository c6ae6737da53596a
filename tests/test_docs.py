"""The examples of the documentation, executed; and that its links lead somewhere."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from closebulk_async import OAuthToken
from closebulk_async.simulator import Simulator
from tests.docs.blocks import PAGES, ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


async def run_example(simulator: Simulator, page: str, *, cwd: Path, **more: str) -> Sequence[str]:
    """What the Python block of a page prints, run as a program of its own."""
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(encoding="utf-8"), re.DOTALL)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        example,
        cwd=cwd,
        env=os.environ | {"CLOSE_API_KEY": simulator.api_key, "CLOSE_BASE_URL": simulator.base_url, **more},
        stdout=subprocess.PIPE,
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0
    return printed.decode().splitlines()


async def test_the_journal_example_starts_once_however_often_it_runs(tmp_path: Path) -> None:
    """The example of «Start once» run twice starts one action, and the second run shows it as done."""
    async with Simulator() as simulator:
        simulator.next_job(duration=0.2, n_objects=1)
        runs = [await run_example(simulator, "starting-once.md", cwd=tmp_path) for _ in range(2)]
        (job,) = simulator.jobs
    assert [run[-1] for run in runs] == [f"done: delete:{job.id}"] * 2


async def test_the_search_example_counts_and_walks(tmp_path: Path) -> None:
    """The example of «Search» counts leads, shows each of them, oldest first, and then the newest."""
    async with Simulator() as simulator:
        leads = simulator.add_leads(250, seed=5, per_instant=1)
        counted, *shown, newest = await run_example(simulator, "search.md", cwd=tmp_path)
    assert counted == "250 leads match"
    assert [line.split()[0] for line in shown] == [each.id for each in leads]
    assert newest == f"the newest is {leads[-1].id}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_of_a_page_lead_to_files(page: Path) -> None:
    """Every relative link of a page names a file of the repository."""
    targets = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_rows_of_tables_have_as_many_cells_as_their_heads(page: Path) -> None:
    """A pipe begins a cell in code as well, unless a backslash stands before it: renderers drop what is too much."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for table in re.findall(r"(?:^ *\|.*\n)+", text, re.MULTILINE):
        assert {len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()} == {
            len(re.findall(r"(?<!\\)\|", table.splitlines()[0]))
        }


async def test_the_example_of_outcomes_tells_of_each_lead(tmp_path: Path) -> None:
    """One line for each event, and how many objects have any."""
    async with Simulator() as simulator:
        simulator.next_job(duration=0.2, n_objects=3)
        *events, last = await run_example(simulator, "outcomes.md", cwd=tmp_path)
    assert [event.split()[0] for event in events] == ["lead.deleted"] * 3
    assert last == "3 of 3 objects have events: {'lead.deleted': 3}"


async def test_the_example_of_exports_saves_a_file(tmp_path: Path) -> None:
    """Both phases are shown, and the file is there."""
    async with Simulator() as simulator:
        simulator.next_export(duration=0.2, rows=3)
        *steps, last = await run_example(simulator, "exports.md", cwd=tmp_path)
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
            assert await run_example(simulator, "oauth.md", cwd=tmp_path, **more) == ["actions: 0"]
        assert app.refreshes == 2
        assert OAuthToken.from_dict(json.loads(kept.read_text())).refresh_token == app.tokens[-1].refresh_token
