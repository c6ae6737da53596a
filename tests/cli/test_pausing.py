"""`closebulk pause` and `closebulk resume`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from closebulk_async.simulator import Simulator

    from .conftest import Closebulk
    from .programs import StillClock


async def test_pause_and_resume(sim: Simulator, clock: StillClock, closebulk: Closebulk) -> None:
    """An action is paused and goes on; it is printed as it is then, with --json as the service's own object."""
    plan = sim.plan.changed({"duration": 1000, "counting": 0.0})
    ref = f"email:{sim.add_job('email', plan=plan, age=250, id='bulkemail_a').id}"
    paused = await closebulk("pause", ref)
    assert (paused.code, paused.err) == (0, "")
    assert paused.lines == [f"paused       25 of 100 (25%)         2026-01-15 09:25 UTC  {ref}"]
    clock.move(60)
    resumed = await closebulk("resume", ref, "--json")
    assert (resumed.code, resumed.err) == (0, "")
    assert json.loads(resumed.out) == {"kind": "email", "ref": ref} | sim.jobs[0].snapshot(clock.now())
    clock.move(1000)
    assert (await closebulk("get", ref)).lines[0].startswith("done ")


async def test_what_cannot_be_paused_is_a_failure(sim: Simulator, closebulk: Closebulk) -> None:
    """The service's own reason is one line."""
    sim.add_job("email", age=1000, id="bulkemail_a")
    refused = await closebulk("pause", "email:bulkemail_a")
    assert (refused.code, refused.out) == (1, "")
    assert refused.err.startswith("closebulk: PUT /bulk_action/email/bulkemail_a/ was answered with 400 Bad Request")
