"""What importing costs, in fresh interpreters, this SDK and aiohttp in turn."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, Final

from benchmarks.harness import WARM_UP_ROUNDS, choose_cores, clean_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.harness import Effort, Round

STATEMENTS: Final = {
    "aiohttp": "import aiohttp",
    "closebulk_async": "from closebulk_async import CloseBulk",
    "closebulk_async.models": "import closebulk_async.models",
}
# The interpreter's own start is left out: counted on both sides it would only draw the ratio towards one.
_PROGRAM: Final = """
import os, time
os.sched_setaffinity(0, {{{core}}})
start = time.process_time()
{statement}
print((time.process_time() - start) * 1e3)
"""


def measure(effort: Effort) -> Iterator[Round]:
    """Give rounds of `<module>.import.ms`: milliseconds of CPU for one statement, compiled files at hand."""
    core, _ = choose_cores()
    with tempfile.TemporaryDirectory() as folder:
        environment = clean_environment(PYTHONPYCACHEPREFIX=folder)
        for number in range(WARM_UP_ROUNDS + effort.sessions * effort.rounds):
            figures = {
                f"{name}.import.ms": _run(_PROGRAM.format(core=core, statement=statement), environment)
                for name, statement in STATEMENTS.items()
            }
            if number >= WARM_UP_ROUNDS:
                yield figures


def _run(program: str, environment: dict[str, str]) -> float:
    command = [sys.executable, "-c", program]
    return float(subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE).stdout)
