"""What children do that need more than a journal: they are killed at any line of the package, or have no disk left."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
import threading
from collections import Counter
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import closebulk_async
from closebulk_async.testing.chaos.programs import VICTIM, Scene, start_and_wait

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from types import CodeType, FrameType

    from _typeshed import TraceFunction

PACKAGE = Path(closebulk_async.__file__).parent
COUNTED_TIMES = 3


def start_and_wait_traced(scene: Scene, last_moment: int | None, line: Connection) -> None:
    """The same, killed at that moment, of which each line of the package that is about to run makes one.

    Says the module before. Without a moment it ends, and says how many there were. A line counts three times at the
    most: the loops of few lines would otherwise be nearly all.
    """
    moments = count(1)
    ours: dict[CodeType, bool] = {}
    times: Counter[tuple[CodeType, int]] = Counter()

    def trace(frame: FrameType, event: str, _: object) -> TraceFunction | None:
        code = frame.f_code
        if code not in ours:
            path = Path(code.co_filename)
            ours[code] = path.is_relative_to(PACKAGE) and not path.is_relative_to(PACKAGE / "testing")
        if not ours[code]:
            return None
        times[code, frame.f_lineno] += event == "line"
        if event == "line" and times[code, frame.f_lineno] <= COUNTED_TIMES and next(moments) == last_moment:
            line.send(("dies", str(Path(code.co_filename).relative_to(PACKAGE).with_suffix(""))))
            os.kill(os.getpid(), signal.SIGKILL)
        return trace

    threading.settrace(trace)
    sys.settrace(trace)
    try:
        start_and_wait(scene, None, line)
    finally:
        sys.settrace(None)
    line.send(("moments", next(moments) - 1))


def start_on_a_full_disk(scene: Scene, room: int, line: Connection) -> None:
    """Start the action where no file may become longer than `room` bytes, and say the error."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

    async def main() -> None:
        async with scene.client(VICTIM) as close:
            try:
                line.send(str((await scene.create(close)).ref))
            except closebulk_async.CloseBulkError as exc:
                line.send(f"{type(exc).__name__}: {exc}")

    asyncio.run(main())
