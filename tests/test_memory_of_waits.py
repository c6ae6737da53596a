"""A wait of a week holds as much memory as a wait of a minute."""

from __future__ import annotations

import gc
import sys
from collections import deque
from datetime import timedelta
from typing import TYPE_CHECKING

import attrs
import pytest

from closebulk_async import EmailStart, JobRef, PollPolicy
from closebulk_async.simulator import faults
from tests.stage import QUERY

if TYPE_CHECKING:
    from pathlib import Path

    from closebulk_async import BulkEmail, Wait
    from tests.stage import Stage

pytestmark = pytest.mark.unmeasured

EVERY_TWENTY_MINUTES = PollPolicy(floor=1200, ceiling=1200)
"""504 polls in a week, and more where some fail: enough to see what each poll leaves, few enough for a quick test."""

POLLS = 252
"""Polls between the two measurements, which lie half a week apart: by the first, every cache has its size."""

GROWING = frozenset({list, dict, set, deque, tuple})


@attrs.frozen
class Footprint:
    """What the process holds: objects that the collector knows, and the bytes of those that can grow.

    Not what `tracemalloc` says: that moves by some bytes for each poll of the server in this process.
    """

    objects: int
    n_bytes: int

    @classmethod
    def take(cls) -> Footprint:
        """Of what cannot be collected."""
        gc.collect()
        known = gc.get_objects()
        return cls(len(known), sum(sys.getsizeof(item) for item in known if type(item) in GROWING))


async def follow_until(wait: Wait[BulkEmail], stage: Stage, at: float) -> None:
    """Consume steps until the instant has come."""
    while stage.now < at:
        await anext(wait)


@pytest.mark.parametrize("server", ["well", "with faults", "without movement"])
async def test_a_wait_of_a_week_is_as_large_as_one_of_a_minute(stage: Stage, server: str) -> None:
    """Neither polls, nor steps, nor heartbeats, nor errors pile up."""
    stage.sim.keep_requests = 4
    week = timedelta(days=7).total_seconds()
    ref = stage.run_job(
        duration=2 * week, n_objects=10**6, curve="silent" if server == "without movement" else "linear"
    )
    if server == "with faults":
        for number in range(POLLS):  # every third poll is a bad one
            stage.sim.fail_next(faults.server_error(502), skip=2 * number + 2)
    async with stage.client(EVERY_TWENTY_MINUTES) as close:
        wait = close.wait_until_done(ref, timeout=2 * week, stall_timeout=2 * week, heartbeat=600)
        await follow_until(wait, stage, week / 2)
        early = Footprint.take()
        await follow_until(wait, stage, week)
        late = Footprint.take()
        await wait.aclose()
    # Less than an object in three polls, and less than an entry of a list in each.
    assert late.objects - early.objects < POLLS / 3
    assert late.n_bytes - early.n_bytes < POLLS * 8


async def test_starts_are_not_remembered_for_ever(stage: Stage, tmp_path: Path) -> None:
    """A client that starts actions all day knows only those by name that the service may not show yet.

    Its journal keeps the others in a file. One in memory has a bound of its own.
    """
    of_tests_before = [item for item in gc.get_objects() if isinstance(item, JobRef)]  # held: no id comes again
    others = set(map(id, of_tests_before))
    async with stage.client(journal=tmp_path / "journal.db") as close:
        for number in range(60):
            start = EmailStart(template_id=f"tmpl_{number}", email_account_id="emailacct_1", s_query=QUERY)
            async for _ in close.run_many([start], max_running=1):
                pass
        gc.collect()
        assert stage.now >= 600
        assert sum(isinstance(item, JobRef) and id(item) not in others for item in gc.get_objects()) < 30
