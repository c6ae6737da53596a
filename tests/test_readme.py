"""The README's examples, executed: what a new user copies works."""

from __future__ import annotations

from typing import TYPE_CHECKING

from closebulk_async.simulator import Simulator
from tests.docs.blocks import blocks_of
from tests.docs.pages import ROOT
from tests.docs.running import run_example

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


async def test_the_first_example_starts_and_waits(tmp_path: Path) -> None:
    """The example under «Use it» runs as a program of its own and shows a bulk email until it is done."""
    async with Simulator() as simulator:
        simulator.next_job(duration=0.5, n_objects=10)
        lines = await run_example(simulator, "README.md", tmp_path)
    assert lines[0] == f"started email:{simulator.jobs[0].id}"
    assert lines[-2].startswith("done 10 of 10")
    assert lines[-1] == "ended done"


def test_the_testing_example_passes(pytester: pytest.Pytester) -> None:
    """The example under «Test your own code» is a test that passes, with the configuration that stands there alone."""
    (example,) = (block for block in blocks_of(ROOT / "README.md") if block.is_tests)
    pytester.makepyfile(example.text)
    pytester.makeini("[pytest]\nasyncio_mode = auto\n")
    pytester.runpytest_subprocess().assert_outcomes(passed=1)
