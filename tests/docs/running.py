"""How an example runs that needs no more than the service: as a program, or as a module of tests."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from closebulk_async.simulator import Plan, Simulator

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pytest


async def run(program: str, folder: Path) -> tuple[int | None, str]:
    """Run a program beside a simulator; its exit code and what it said."""
    async with Simulator() as simulator:
        simulator.plan = Plan(duration=0.2, n_objects=10)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "error", "-c", program),
            cwd=folder,
            env=os.environ | {"CLOSE_API_KEY": simulator.api_key, "CLOSE_BASE_URL": simulator.base_url},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        said, _ = await process.communicate()
    return process.returncode, said.decode()


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
