"""A POST whose answer is lost."""

import pytest

from closebulk_async import AmbiguousStartError, CloseBulk, by_id
from closebulk_async.simulator import Simulator, faults


async def clean_up(close: CloseBulk, lead_id: str) -> str:
    """Start the deletion of a lead; what to tell the user."""
    try:
        action = await close.deletes.create(s_query=by_id(lead_id))
    except AmbiguousStartError as exc:
        return f"nobody knows whether it was started: intent {exc.intent.id}"
    return f"started {action.ref}"


async def test_an_accepted_post_whose_connection_dropped(close_client: CloseBulk, close_simulator: Simulator) -> None:
    """The service made a job and its answer never came: there is one job, not two."""
    close_simulator.fail_next(faults.cut_after(), method="POST")
    told = await clean_up(close_client, "lead_1")
    (job,) = close_simulator.jobs
    assert told == f"started delete:{job.id}"


@pytest.mark.parametrize("fault", [faults.cut_before(), faults.hang(), faults.server_error(502)], ids=lambda f: f.name)
async def test_a_post_that_made_no_job(
    close_client: CloseBulk, close_simulator: Simulator, fault: faults.Fault
) -> None:
    """To the client it looks the same: it does not send again, and the user is told."""
    close_simulator.fail_next(fault, method="POST")
    assert "nobody knows" in await clean_up(close_client, "lead_1")
    assert close_simulator.jobs == ()
