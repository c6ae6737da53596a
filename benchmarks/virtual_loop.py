"""An event loop whose time passes at once: for code that waits by `asyncio.sleep` and asks nothing real."""

from __future__ import annotations

import asyncio
import selectors


class _SkippingSelector(selectors.SelectSelector):
    """Waits for no file: where a timeout would have run out, `skipped` grows by it."""

    skipped = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        # Without a timer only a file can go on with the loop, such as the one by which other threads wake it.
        ready = super().select(None if timeout is None else 0)
        if not ready and timeout:
            self.skipped += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """Begins at 0.0 and jumps to the next timer as soon as nothing else is ready, so that every instant is exact.

    Whatever a socket or a thread would answer comes too late here: time has gone on before it does.
    """

    def __init__(self) -> None:
        self._skipping = _SkippingSelector()
        super().__init__(self._skipping)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._skipping.skipped

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ARG002 - asyncio's own
        """Wait for its threads, however long: a runner of Python 3.12 waits five minutes, which pass here at once."""
        await super().shutdown_default_executor()
