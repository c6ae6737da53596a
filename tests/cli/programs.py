"""The command as a process of its own, as its users run it."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

import attrs

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator, Mapping

    from closebulk_async.simulator import Simulator

PIPE, DEVNULL = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
COMMAND = (sys.executable, "-W", "error", "-m", "closebulk_async.cli")

SHORT = 5.0
"""Seconds for what has already happened when all is well."""

OF_OTHERS = frozenset(
    {
        "CLOSE_API_KEY",
        "CLOSE_BASE_URL",
        "CLOSEBULK_DEBUG",
        "CLOSEBULK_JOURNAL",
        "CLOSEBULK_DASHBOARD_TOKEN",
        "CLOSEBULK_PROFILE",
        "NO_COLOR",
        "FORCE_COLOR",
        "COLUMNS",
        "LINES",
        "TERM",
        "PYTHONUNBUFFERED",
    }
)
"""What the environment of whoever runs the tests must not decide."""


@attrs.define
class StillClock:
    """A clock for a simulator whose user is another process: it stands still until a test moves it."""

    moment: datetime = datetime(2026, 1, 15, 9, 30, tzinfo=UTC)
    is_waited_for: asyncio.Event = attrs.field(factory=asyncio.Event)
    may_go_on: asyncio.Event = attrs.field(factory=asyncio.Event)

    def now(self) -> datetime:
        """The time of day, in UTC."""
        return self.moment

    async def sleep(self, seconds: float) -> None:  # noqa: ARG002 - however long it is, it does not pass by itself
        """Tell the test that a request is kept waiting, and keep it so until the test says otherwise."""
        self.is_waited_for.set()
        await self.may_go_on.wait()

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


NO_KEYRING = {"PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"}
"""So that no test looks into the keyring of whoever runs it."""


def environment(**changes: str) -> dict[str, str]:
    """The environment of the tests without what decides how the command works, and with `changes`."""
    return {name: value for name, value in os.environ.items() if name not in OF_OTHERS} | NO_KEYRING | changes


def for_simulator(sim: Simulator) -> dict[str, str]:
    """An environment in which the command finds the simulator in the place of Close."""
    return environment(CLOSE_API_KEY=sim.api_key, CLOSE_BASE_URL=sim.base_url)


@asynccontextmanager
async def running(
    *arguments: str, env: Mapping[str, str], stdin: int = DEVNULL, stderr: int = PIPE
) -> AsyncIterator[Process]:
    """The command while it runs; killed at the end of the block if it has not ended."""
    async with running_program(*COMMAND, *arguments, env=env, stdin=stdin, stderr=stderr) as process:
        yield process


@asynccontextmanager
async def running_program(
    *command: str, env: Mapping[str, str], stdin: int = DEVNULL, stderr: int = PIPE
) -> AsyncIterator[Process]:
    """As `running`, of any program."""
    process = await asyncio.create_subprocess_exec(*command, env=env, stdin=stdin, stdout=PIPE, stderr=stderr)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        # A process that it left behind holds the pipes open: that must fail the test and not hang it.
        with suppress(TimeoutError):
            async with asyncio.timeout(SHORT):
                await process.communicate()


async def finish(process: Process, *, typed: str | None = None) -> Finished:
    """What the process leaves behind, once it has ended. What was read before, or is no pipe, is not in it."""
    out, err = await process.communicate(None if typed is None else typed.encode())
    assert process.returncode is not None
    return Finished(process.returncode, (out or b"").decode(), (err or b"").decode())


async def run(*arguments: str, env: Mapping[str, str], typed: str | None = None) -> Finished:
    """Run the command to its end; `typed` comes through a pipe."""
    async with running(*arguments, env=env, stdin=DEVNULL if typed is None else PIPE) as process:
        return await finish(process, typed=typed)


async def read_until(process: Process, text: str, *, stream: Literal["stdout", "stderr"] = "stdout") -> str:
    """The first line of a stream that holds `text`."""
    pipe = process.stdout if stream == "stdout" else process.stderr
    assert pipe is not None
    async for line in pipe:
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


@asynccontextmanager
async def asked(*arguments: str, env: Mapping[str, str]) -> AsyncIterator[tuple[Process, int, str]]:
    """The command on a terminal, once it asks; the other end of the terminal, and what was shown on it by then.

    Standard output is a pipe.
    """
    terminal, its_end = os.openpty()
    try:
        async with running(*arguments, env=env, stdin=its_end, stderr=its_end) as process:
            os.close(its_end)
            yield process, terminal, await asyncio.to_thread(read_terminal, terminal, "[y/N]")
    finally:
        os.close(terminal)


async def answer(answered: str, *arguments: str, env: Mapping[str, str]) -> Finished:
    """Run the command on a terminal, and type this line when it asks. What the terminal showed stands for `err`."""
    async with asked(*arguments, env=env) as (process, terminal, shown):
        os.write(terminal, f"{answered}\n".encode())
        rest = asyncio.create_task(asyncio.to_thread(read_terminal, terminal))  # first, lest the terminal be full
        done = await finish(process)
        return attrs.evolve(done, err=(shown + await rest).replace("\r\n", "\n"))
