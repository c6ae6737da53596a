"""What a start in a real account leaves behind where something fails in the middle of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp
import pytest

from closebulk_async.simulator import faults
from closebulk_async.starts import EditStart
from tests.contract.account import STATUS_ID, fill
from tests.contract.options import ToStart
from tests.contract.starting import LeftPausedError, start

if TYPE_CHECKING:
    from closebulk_async.simulator import Simulator
    from closebulk_async.testing import FakeClock


def long_edit(sim: Simulator) -> ToStart:
    """One of a lead, which takes an hour."""
    fill(sim)
    sim.next_job(duration=3600, n_objects=1)
    query = {"type": "id", "value": sim.leads[0].id}
    edit = EditStart(
        type="set_lead_status", lead_status_id=STATUS_ID, s_query=query, results_limit=1, send_done_email=False
    )
    return ToStart(edit=edit, most=1)


async def test_a_pause_whose_answer_is_lost_is_resumed(sim: Simulator, clock: FakeClock) -> None:
    """The trial fails, and its one action runs."""
    wanted = long_edit(sim)
    n_before = len(sim.jobs)
    sim.fail_next(faults.cut_after(), method="PUT")
    with pytest.raises(aiohttp.ClientError):
        await start(sim.base_url, sim.api_key, wanted, clock=clock)
    changes = [request for request in sim.requests if request.method == "PUT"]
    assert [request.json() for request in changes] == [{"status": "paused"}, {"status": "resuming"}]
    assert changes[-1].status == 200
    assert len(sim.jobs) == n_before + 1


async def test_a_resume_whose_answer_is_lost_names_the_action(sim: Simulator, clock: FakeClock) -> None:
    """Somebody can look what became of it."""
    wanted = long_edit(sim)
    sim.fail_next(faults.cut_before(), method="PUT", skip=1)
    with pytest.raises(LeftPausedError) as caught:
        await start(sim.base_url, sim.api_key, wanted, clock=clock)
    assert f"closebulk resume edit:{sim.jobs[-1].id}" in str(caught.value)
