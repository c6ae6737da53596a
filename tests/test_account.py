"""Which organization a journal's starts belong to, where the key's user is in several."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from closebulk_async import StartError
from closebulk_async.simulator import faults
from tests.peers import connect, posts, start_email

if TYPE_CHECKING:
    from pathlib import Path

    from closebulk_async.simulator import Simulator
    from closebulk_async.testing import FakeClock

SEVERAL = faults.altered(organizations=[{"id": "orga_1"}, {"id": "orga_2"}])


async def test_the_rows_of_any_list_tell(sim: Simulator, clock: FakeClock, tmp_path: Path) -> None:
    """A key is of one organization, which `/me/` does not say: every action does."""
    sim.fail_next(SEVERAL, path="/me/", times=None)
    sim.add_job("edit", {"type": "set_lead_status"}, age=1000)
    async with connect(sim, clock, journal=tmp_path / "journal.db") as close:
        action = await start_email(close)
        claimed = await close.journal.claimed(f"{sim.base_url} {sim.organization_id}", [action.ref])
    assert claimed == {action.ref}


async def test_nothing_is_started_where_nothing_tells(sim: Simulator, clock: FakeClock, tmp_path: Path) -> None:
    """A start that is written down under another organization would be looked for in the wrong place."""
    sim.fail_next(SEVERAL, path="/me/", times=None)
    async with connect(sim, clock, journal=tmp_path / "journal.db") as close:
        with pytest.raises(StartError, match="several organizations"):
            await start_email(close)
    assert posts(sim) == 0
