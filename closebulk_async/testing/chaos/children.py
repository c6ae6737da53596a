"""Processes that cost some milliseconds each: forked from a server that has imported the package already."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
from contextlib import asynccontextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

PRELOADED = [
    "closebulk_async.testing.chaos.programs",
    "closebulk_async.sqlite_journal",
    "closebulk_async.integrations.postgres",
]
"""What the server imports, once; what is not installed is left out."""


@attrs.frozen
class Child:
    """A process that runs one function, and the line to it."""

    process: BaseProcess
    line: Connection

    @property
    def pid(self) -> int:
        """Its number, for signals."""
        return self.process.pid or 0

    async def hear(self) -> Any:  # noqa: ANN401 - whatever the program sends
        """The next value that it sends. Raises EOFError where it has ended."""
        await _readable(self.line.fileno())
        return self.line.recv()

    async def hear_all(self) -> list[Any]:
        """What it sends until it ends."""
        heard = []
        while True:
            try:
                heard.append(await self.hear())
            except (EOFError, ConnectionResetError):
                return heard

    def tell(self, value: object) -> None:
        """Send it a value."""
        self.line.send(value)

    async def ended(self) -> int:
        """Its exit code, once it has ended: -9 where it was killed."""
        await _readable(self.process.sentinel)
        self.process.join()
        code = self.process.exitcode
        return 0 if code is None else code  # it is not None: the process was joined


@asynccontextmanager
async def running(program: Callable[..., None], *arguments: object) -> AsyncIterator[Child]:
    """A child that runs `program(*arguments, line)`. It is killed at the end of the block, if it has not ended."""
    server = multiprocessing.get_context("forkserver")  # not when this is imported: Windows has none
    server.set_forkserver_preload(PRELOADED)
    ours, theirs = server.Pipe()
    process = server.Process(target=_run, args=(program, arguments, theirs), daemon=True)
    process.start()
    theirs.close()
    child = Child(process, ours)
    try:
        yield child
    finally:
        process.kill()
        await child.ended()
        ours.close()
        process.close()


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for something that another process does."""
    while not is_so():  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.002)


def _run(program: Callable[..., None], arguments: tuple[object, ...], line: Connection) -> None:
    logging.disable()  # what it says is the concern of the test that asks for it
    program(*arguments, line)


async def _readable(fd: int) -> None:
    """Until there is something to read, or the other end is closed."""
    loop = asyncio.get_running_loop()
    is_readable = asyncio.Event()
    loop.add_reader(fd, is_readable.set)
    try:
        await is_readable.wait()
    finally:
        loop.remove_reader(fd)
