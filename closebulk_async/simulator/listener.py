"""One open port, and all connections to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

HOST = "127.0.0.1"
# A handler that is kept waiting is cancelled first, so nothing should ever need this long.
_SHUTDOWN_SECONDS = 1.0


class Listener:
    """Serves a handler between `open` and `close`."""

    def __init__(self, handle: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> None:
        self._handle_request = handle
        self._runner: web.ServerRunner | None = None
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def is_open(self) -> bool:
        """Whether it serves."""
        return self._runner is not None

    async def open(self, port: int) -> int:
        """Begin on that port, or on any free one for 0; the port."""
        runner = web.ServerRunner(
            web.Server(self._handle, handler_cancellation=True, access_log=None),
            shutdown_timeout=_SHUTDOWN_SECONDS,
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, HOST, port).start()
        except BaseException:
            await runner.cleanup()
            raise
        self._runner = runner
        return int(runner.addresses[0][1])

    async def close(self) -> None:
        """Stop; requests that are being answered are cancelled."""
        runner, self._runner = self._runner, None
        for connection in self._connections:
            connection.cancel()
        if runner is not None:
            await runner.cleanup()

    def drop_connections(self) -> None:
        """Close every connection now, idle ones and those with an open request."""
        if self._runner is not None and self._runner.server is not None:
            for connection in self._runner.server.connections:
                connection.force_close()

    async def _handle(self, http: web.BaseRequest) -> web.StreamResponse:
        # One connection carries many requests; a callback for each would grow with the length of a test.
        if http.task not in self._connections:
            self._connections.add(http.task)
            http.task.add_done_callback(self._connections.discard)
        return await self._handle_request(http)
