"""`closebulk export`: both phases, a whole file or none, and how to go on."""

from __future__ import annotations

import csv
import gzip
import json
import shlex
import signal
from typing import TYPE_CHECKING

import pytest

from closebulk_async.simulator import ExportPlan, Simulator, download_faults, faults

from .programs import finish, for_simulator, read_until, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from .conftest import Closebulk


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    """A simulator by the time of the machine: an export of a tenth of a second is done after a poll."""
    async with Simulator(export_plan=ExportPlan(duration=0.1, rows=5)) as simulator:
        yield simulator


def names_in(folder: Path) -> list[str]:
    """The names of all files in a folder."""
    return sorted(path.name for path in folder.iterdir())


async def test_leads_are_exported_and_saved(sim: Simulator, closebulk: Closebulk, tmp_path: Path) -> None:
    """What was started, how far it is, and where the file is; the rows are those of the service."""
    out = tmp_path / "leads.csv"
    query = json.dumps({"type": "id", "value": "lead_1"})
    finished = await closebulk(
        "export", "leads", "--format", "csv", "--out", str(out), "--s-query", query, "--fields", "id,display_name"
    )
    (export,) = sim.exports
    assert finished.code == 0
    assert f"started export:{export.id}" in finished.err
    assert any(" done " in f" {line} " and f"export:{export.id}" in line for line in finished.lines)
    assert str(out) in finished.lines[-1]
    with out.open(newline="", encoding="utf-8") as file:
        assert len(list(csv.reader(file))) == 6
    assert export.request["s_query"] == json.loads(query)
    assert export.request["fields"] == ["id", "display_name"]


async def test_opportunities_as_json_lines(sim: Simulator, closebulk: Closebulk, tmp_path: Path) -> None:
    """With --json each step of both phases is an object; with --keep-gz the file stays packed."""
    out = tmp_path / "opportunities.json"
    finished = await closebulk(
        "export", "opportunities", "--format", "json", "--out", str(out), "--keep-gz", "--json", "--params", '{"a": 1}'
    )
    assert finished.code == 0
    steps = [json.loads(line) for line in finished.lines]
    assert steps[-1]["is_final"]
    assert {step["ref"] for step in steps} == {f"export:{sim.exports[0].id}"}
    assert not out.exists()
    assert json.loads(gzip.decompress((tmp_path / "opportunities.json.gz").read_bytes()))


async def test_an_export_that_was_made_before_is_fetched(sim: Simulator, closebulk: Closebulk, tmp_path: Path) -> None:
    """By its ref or its id; another kind is no export."""
    export = sim.add_export(age=1000)
    for number, ref in enumerate([f"export:{export.id}", export.id]):
        finished = await closebulk("export", "download", ref, "--out", str(tmp_path / f"{number}.csv"))
        assert (finished.code, finished.err) == (0, "")
        assert (tmp_path / f"{number}.csv").exists()
    refused = await closebulk("export", "download", "email:bulkemail_1", "--out", str(tmp_path / "x"))
    assert (refused.code, refused.err) == (2, "closebulk: email:bulkemail_1 is no export\n")


async def test_a_damaged_file_is_a_failure(sim: Simulator, closebulk: Closebulk, tmp_path: Path) -> None:
    """In a line, and nothing is saved."""
    export = sim.add_export(plan=ExportPlan(size=50_000), age=1000)
    sim.fail_next_download(download_faults.corrupt(2000), times=None)
    finished = await closebulk("export", "download", export.id, "--out", str(tmp_path / "x.csv"))
    assert finished.code == 1
    assert finished.err.startswith("closebulk: ")
    assert names_in(tmp_path) == []


async def test_a_failed_export_is_a_failure(sim: Simulator, closebulk: Closebulk, tmp_path: Path) -> None:
    """Nothing is fetched."""
    export = sim.add_export(plan=ExportPlan(ends="error"), age=1000)
    finished = await closebulk("export", "download", export.id, "--out", str(tmp_path / "x.csv"))
    assert finished.code == 1
    assert sim.downloads == ()


@pytest.mark.parametrize("name", ["my leads.csv", "leads.csv.gz"])
@pytest.mark.parametrize("keeps", [(), ("--keep-gz",)])
async def test_a_wait_may_be_bounded(
    sim: Simulator, closebulk: Closebulk, tmp_path: Path, name: str, keeps: tuple[str, ...]
) -> None:
    """Then the command says how to go on, to the same file with the same in it."""
    export = sim.add_export(plan=ExportPlan(duration=1000))
    out = tmp_path / name
    finished = await closebulk("export", "download", export.id, "--out", str(out), *keeps, "--timeout", "0.05")
    assert finished.code == 3
    command = ("closebulk", "export", "download", f"export:{export.id}", "--out", shlex.quote(str(out)), *keeps)
    assert finished.err.endswith(f"; to go on: {' '.join(command)}\n")


async def test_where_nothing_can_be_saved_nothing_is_made(sim: Simulator, closebulk: Closebulk, tmp_path: Path) -> None:
    """The target is looked at before anything is sent."""
    finished = await closebulk("export", "leads", "--format", "csv", "--out", str(tmp_path / "no" / "x.csv"))
    assert (finished.code, finished.out) == (2, "")
    assert sim.requests == ()


async def test_an_interrupt_leaves_no_part_of_a_file(sim: Simulator, tmp_path: Path) -> None:
    """While it waits for the export, and while the file comes; the command that goes on is printed."""
    export = sim.add_export(plan=ExportPlan(size=5_000_000, level=1), age=1000)
    sim.fail_next_download(faults.hang())
    out = tmp_path / "leads.csv"
    async with running("export", "download", export.id, "--out", str(out), env=for_simulator(sim)) as process:
        await read_until(process, "done")
        while not sim.downloads:
            await sim.clock.sleep(0.01)
        process.send_signal(signal.SIGINT)
        finished = await finish(process)
    assert finished.code == 130
    assert f"interrupted; nothing was saved; to go on: closebulk export download export:{export.id}" in finished.err
    assert names_in(tmp_path) == []
