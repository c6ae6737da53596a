"""The command on a real pseudo-terminal, and the screen that its user would see."""

from __future__ import annotations

import asyncio
import os
import re
import select
import sys
import termios
from asyncio.subprocess import Process
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import attrs
import pyte

from .programs import COMMAND

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from pyte.screens import Char

BOUND = 30.0
"""Seconds after which a test fails that waits for something on the screen. No test that passes is decided by it."""

CTRL_C = "\x03"

ON_THIS_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)
"""Makes the terminal the one whose Ctrl-C and whose changes of size the process is told of."""

_SGR = re.compile(rb"\x1b\[([0-9;]*)m")
_COLOURS = frozenset({*range(30, 50), *range(90, 108)})


@attrs.define
class Terminal:
    """A terminal of a certain size in which the command runs."""

    process: Process
    screen: pyte.Screen
    _end: int
    breaks_lines: bool
    written: bytes = b""
    """All that came to the terminal."""
    _stream: pyte.ByteStream = attrs.field(init=False)
    _news: asyncio.Event = attrs.field(factory=asyncio.Event)
    _is_closed: bool = False

    def __attrs_post_init__(self) -> None:
        self._stream = pyte.ByteStream(self.screen)
        asyncio.get_running_loop().add_reader(self._end, self._read)

    @property
    def shown(self) -> Sequence[str]:
        """The lines of the screen down to the last one that is not empty, without the spaces at their ends."""
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip().splitlines()

    @property
    def has_colours(self) -> bool:
        """Whether any colour was asked for. Bold and dim are none."""
        codes = [code for codes in _SGR.findall(self.written) for code in codes.split(b";") if code]
        return any(int(code) in _COLOURS for code in codes)

    @property
    def widest(self) -> int:
        """The columns that the longest line takes, had the terminal so many."""
        wide = pyte.Screen(1000, 1000)
        pyte.ByteStream(wide).feed(self.written)
        return 1 + max(x for row in wide.buffer.values() for x, char in row.items() if char.data != " ")

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._end, text.encode())

    def resize(self, columns: int, lines: int) -> None:
        """Change the size of the window, as somebody does who pulls at its corner; the command is told by a signal.

        Lines that are too long are broken over several, as most terminals do, or else cut off, as xterm does. What no
        longer fits goes away at the top.
        """
        while not self._is_closed and select.select([self._end], [], [], 0)[0]:
            self._read()  # what was written for the old size is on the screen before it changes
        _resize(self.screen, columns, lines, breaks=self.breaks_lines)
        termios.tcsetwinsize(self._end, (lines, columns))

    async def until(self, holds: Callable[[Sequence[str]], bool]) -> Sequence[str]:
        """Wait until something holds of the lines that are shown; those lines."""
        with suppress(TimeoutError):
            async with asyncio.timeout(BOUND):
                while not holds(self.shown) and not self._is_closed:
                    self._news.clear()
                    await self._news.wait()
        if not holds(self.shown):
            raise AssertionError("this is on the screen:\n" + "\n".join(self.shown))
        return self.shown

    async def until_text(self, text: str) -> Sequence[str]:
        """Wait until some line has this text."""
        return await self.until(lambda lines: any(text in line for line in lines))

    async def finish(self) -> int:
        """Wait until the command has ended, and all that it wrote is shown; its exit code."""
        async with asyncio.timeout(BOUND):
            while not self._is_closed:
                self._news.clear()
                await self._news.wait()
            return await self.process.wait()

    def close(self) -> None:
        """Look no more."""
        asyncio.get_running_loop().remove_reader(self._end)
        os.close(self._end)

    def _read(self) -> None:
        try:
            text = os.read(self._end, 65536)
        except OSError:  # how Linux tells that nobody has the other end open
            text = b""
        if not text:
            self._is_closed = True
            asyncio.get_running_loop().remove_reader(self._end)
        self.written += text
        self._stream.feed(text)
        self._news.set()


@asynccontextmanager
async def on_terminal(
    *arguments: str, env: Mapping[str, str], columns: int = 80, lines: int = 24, breaks_lines: bool = True
) -> AsyncIterator[Terminal]:
    """The command, its three streams being a terminal of this size; killed at the end if it has not ended."""
    end, its_end = os.openpty()
    termios.tcsetwinsize(its_end, (lines, columns))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", ON_THIS_TERMINAL, *COMMAND, *arguments),
        env={"TERM": "xterm-256color", **env},
        stdin=its_end,
        stdout=its_end,
        stderr=its_end,
        start_new_session=True,
    )
    os.close(its_end)
    terminal = Terminal(process, pyte.Screen(columns, lines), end, breaks_lines)
    try:
        yield terminal
    finally:
        terminal.close()
        if process.returncode is None:
            process.kill()
        await process.wait()


def _resize(screen: pyte.Screen, columns: int, lines: int, *, breaks: bool) -> None:
    """What pyte's own method lacks: it cuts lines off, and loses those at the top whatever stands at the bottom."""
    rows: list[Sequence[Char]] = []
    cursor = 0
    for y in range(screen.lines):
        cells = [screen.buffer[y][x] for x in range(screen.columns)]
        while cells and cells[-1].data == " ":
            cells.pop()
        pieces = [cells[at : at + columns] for at in range(0, max(1, len(cells)), columns)] if breaks else [cells]
        if y == screen.cursor.y:
            cursor = len(rows) + min(len(pieces) - 1, max(0, screen.cursor.x - 1) // columns)
        rows += pieces
    gone = max(0, cursor + 1 - lines)
    screen.resize(lines, columns)
    screen.buffer.clear()
    for y, row in enumerate(rows[gone : gone + lines]):
        for x, char in enumerate(row[:columns]):
            screen.buffer[y][x] = char
    screen.cursor.y, screen.cursor.x = cursor - gone, min(screen.cursor.x, columns - 1)
