"""An export, whose file is cut off on its way."""

import csv
from pathlib import Path

from closebulk_async import CloseBulk
from closebulk_async.simulator import Simulator, download_faults


async def lead_names(close: CloseBulk, folder: Path) -> set[str]:
    """The names of all leads, by an export that is left in the folder."""
    export = await close.exports.create_leads(format="csv")
    await close.exports.wait_until_done(export)
    path = await close.exports.download(export, folder / "leads.csv")
    with path.open(encoding="utf-8", newline="") as file:
        return {row["display_name"] for row in csv.DictReader(file)}


async def test_a_download_that_is_cut_off(close_client: CloseBulk, close_simulator: Simulator, tmp_path: Path) -> None:
    """The export takes two hours, the connection is lost after 100 bytes, and all names are there."""
    leads = close_simulator.add_leads(50)
    close_simulator.next_export(duration=7200)
    close_simulator.fail_next_download(download_faults.cut(after=100))
    assert await lead_names(close_client, tmp_path) == {lead.name for lead in leads}
    assert len(close_simulator.downloads) == 2
