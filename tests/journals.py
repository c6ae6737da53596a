"""What the tests of journals share: intents, and programs that use a journal in a process of their own."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from closebulk_async.testing.conformance.samples import (
    DONE,
    FENCE,
    NOON,
    REF,
    SCOPE,
    finished,
    new_intent,
    posting,
    ref_of,
    started,
    swapped,
)

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator

__all__ = [
    "DONE",
    "FENCE",
    "NOON",
    "REF",
    "SCOPE",
    "finished",
    "new_intent",
    "posting",
    "ref_of",
    "running",
    "said_by",
    "started",
    "swapped",
]


@asynccontextmanager
async def running(program: str, *arguments: object) -> AsyncIterator[Process]:
    """A Python program in a process of its own, which is killed at the end. It hears and speaks line by line."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
    process = await asyncio.create_subprocess_exec(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def said_by(process: Process) -> str:
    """The next line of a program."""
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().strip()
