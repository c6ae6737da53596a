"""How an example runs that needs no more than the service: as a program, or as a module of tests."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import attrs

from closebulk_async.simulator import Plan, Simulator

from .blocks import blocks_of
from .pages import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pytest


@attrs.frozen
class Ran:
    """What a program has come to: its exit code, what it wrote, and how many jobs its simulator had then."""

    code: int | None
    printed: str
    complaints: str
    jobs: int

    @property
    def is_well(self) -> bool:
        """It has ended as it should, without a word on standard error."""
        return (self.code, self.complaints) == (0, "")


async def run(program: str, folder: Path, *, times: int = 1) -> list[Ran]:
    """Run a program beside a simulator, so many times, each on what the one before has left behind."""
    async with Simulator(plan=Plan(duration=0.2, n_objects=10)) as simulator:
        return [await run_beside(simulator, program, folder) for _ in range(times)]


async def run_beside(simulator: Simulator, program: str, folder: Path, **more: str) -> Ran:
    """Run a program once, in an environment that leads to this simulator and has what is more."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", program),
        cwd=folder,
        env=os.environ | {"CLOSE_API_KEY": simulator.api_key, "CLOSE_BASE_URL": simulator.base_url, **more},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    printed, complaints = await process.communicate()
    return Ran(process.returncode, printed.decode(), complaints.decode(), len(simulator.jobs))


async def run_example(simulator: Simulator, page: str, folder: Path, **more: str) -> Sequence[str]:
    """What the one program of a page prints, beside this simulator."""
    (example,) = (block for block in blocks_of(ROOT / page) if block.language == "python" and not block.is_tests)
    ran = await run_beside(simulator, example.text, folder, **more)
    assert ran.code == 0, ran.complaints
    return ran.printed.splitlines()


CONFTEST = """
pytest_plugins = ["closebulk_async.testing.plugin"]

def pytest_collection_modifyitems(items):
    del items[{most}:]
"""


def run_tests(module: str, pytester: pytest.Pytester, *, most: int | None = None) -> Mapping[str, int]:
    """Run a module of tests with the plugin, at most so many; how many of them passed, failed and so on."""
    pytester.makeconftest(CONFTEST.format(most=sys.maxsize if most is None else most))
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n")
    pytester.makepyfile(module)
    return pytester.runpytest_subprocess("-W", "error").parseoutcomes()
