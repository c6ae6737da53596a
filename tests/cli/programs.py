"""The command as a process of its own, as its users run it."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator, Mapping

    from closebulk_async.simulator import Simulator

PIPE = asyncio.subprocess.PIPE
COMMAND = (sys.executable, "-W", "error", "-m", "closebulk_async.cli")

SHORT = 5.0
"""Seconds for what has already happened when all is well."""

OF_OTHERS = frozenset(
    {"CLOSE_API_KEY", "CLOSE_BASE_URL", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "TERM", "PYTHONUNBUFFERED"}
)
"""What the environment of whoever runs the tests must not decide."""


@attrs.define
class StillClock:
    """A clock for a simulator whose user is another process: it stands still until a test moves it."""

    moment: datetime = datetime(2026, 1, 15, 9, 30, tzinfo=UTC)
    is_waited_for: asyncio.Event = attrs.field(factory=asyncio.Event)

    def now(self) -> datetime:
        """The time of day, in UTC."""
        return self.moment

    async def sleep(self, seconds: float) -> None:  # noqa: ARG002 - however long it is, it does not pass by itself
        """Tell the test that a request is kept waiting, and keep it so until its client leaves."""
        self.is_waited_for.set()
        await asyncio.get_running_loop().create_future()

    def move(self, seconds: float) -> None:
        """Let so much time pass for the simulator's jobs."""
        self.moment += timedelta(seconds=seconds)


@attrs.frozen
class Finished:
    """What a process left behind."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """Standard output, line by line."""
        return self.out.splitlines()


def environment(**changes: str) -> dict[str, str]:
    """The environment of the tests without what decides how the command works, and with `changes`."""
    return {name: value for name, value in os.environ.items() if name not in OF_OTHERS} | changes


def for_simulator(sim: Simulator) -> dict[str, str]:
    """An environment in which the command finds the simulator in the place of Close."""
    return environment(CLOSE_API_KEY=sim.api_key, CLOSE_BASE_URL=sim.base_url)


@asynccontextmanager
async def running(*arguments: str, env: Mapping[str, str]) -> AsyncIterator[Process]:
    """The command while it runs; killed at the end of the block if it has not ended."""
    process = await asyncio.create_subprocess_exec(*COMMAND, *arguments, env=env, stdout=PIPE, stderr=PIPE)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        # A process that it left behind holds the pipes open: that must fail the test and not hang it.
        with suppress(TimeoutError):
            async with asyncio.timeout(SHORT):
                await process.communicate()


async def finish(process: Process) -> Finished:
    """What the process leaves behind, once it has ended. What was read before, or is no pipe, is not in it."""
    out, err = await process.communicate()
    assert process.returncode is not None
    return Finished(process.returncode, (out or b"").decode(), err.decode())


async def run(*arguments: str, env: Mapping[str, str]) -> Finished:
    """Run the command to its end."""
    async with running(*arguments, env=env) as process:
        return await finish(process)


async def read_until(process: Process, text: str) -> str:
    """The first line of standard output that holds `text`."""
    assert process.stdout is not None
    async for line in process.stdout:
        if text in line.decode():
            return line.decode().rstrip("\n")
    message = f"the process ended without saying {text!r}"
    raise AssertionError(message)


def read_terminal(terminal: int, until: str | None = None) -> str:
    """What was written to the other end of a terminal, up to a word or until it was closed."""
    seen = b""
    while until is None or until.encode() not in seen:
        try:
            seen += os.read(terminal, 4096)
        except OSError:  # how Linux tells that nobody has the other end open
            break
    return seen.decode()
