"""An example as a process of its own."""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.cli.programs import finish, running_program

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from tests.cli.programs import Finished

EXAMPLES = Path(__file__).parents[2] / "examples"


def command(name: str, *options: str) -> Sequence[str]:
    """What starts it; a warning is an error."""
    return (sys.executable, "-W", "error", str(EXAMPLES / name), *options)


@asynccontextmanager
async def example(name: str, *options: str, env: Mapping[str, str]) -> AsyncIterator[Process]:
    """The program while it runs; killed at the end of the block if it has not ended."""
    async with running_program(*command(name, *options), env=env) as process:
        yield process


async def run(name: str, *options: str, env: Mapping[str, str]) -> Finished:
    """Run the program to its end."""
    async with example(name, *options, env=env) as process:
        return await finish(process)


async def until(is_so: Callable[[], bool]) -> None:
    """Return once it is so."""
    while not is_so():  # noqa: ASYNC110 - what another process has asked of a simulator is no event here
        await asyncio.sleep(0.01)
