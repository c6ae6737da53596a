"""The README's examples, executed: what a new user copies works."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from closebulk_async.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

README = Path(__file__).parent.parent / "README.md"


def examples() -> Iterator[str]:
    """The Python blocks of the README, in order."""
    yield from re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


async def test_the_first_example_starts_and_waits() -> None:
    """The example under «Use it» runs as a program of its own and shows a bulk email until it is done."""
    import asyncio

    async with Simulator() as simulator:
        simulator.next_job(duration=0.5, n_objects=10)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            next(examples()),
            env=os.environ | {"CLOSE_API_KEY": simulator.api_key, "CLOSE_BASE_URL": simulator.base_url},
            stdout=subprocess.PIPE,
        )
        printed, _ = await process.communicate()
    lines = printed.decode().splitlines()
    assert process.returncode == 0
    assert lines[0] == f"started email:{simulator.jobs[0].id}"
    assert lines[-2].startswith("done 10 of 10")
    assert lines[-1] == "ended done"


def test_the_testing_example_passes(pytester: pytest.Pytester) -> None:
    """The example under «Test your own code» is a test that passes."""
    example = list(examples())[-1]
    pytester.makepyfile(example)
    pytester.makeini("[pytest]\nasyncio_mode = auto\n")
    pytester.runpytest_subprocess().assert_outcomes(passed=1)
