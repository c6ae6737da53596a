"""A way to a server that a test can cut: a proxy of TCP connections."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Self

import attrs

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter


@attrs.define(eq=False)
class Cable:
    """Passes bytes on between its own port of 127.0.0.1 and another one, as long as it is not cut."""

    to_port: int
    is_cut: bool = False
    _server: asyncio.Server | None = None
    _open: set[asyncio.StreamWriter] = attrs.field(factory=set)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cut()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self._server.sockets[0].getsockname()[1] if self._server else 0
        return port

    def cut(self) -> None:
        """End all connections, on both sides, and let nobody connect."""
        self.is_cut = True
        for writer in self._open:
            writer.transport.abort()

    def mend(self) -> None:
        """Let them connect again."""
        self.is_cut = False

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        if self.is_cut:
            writer.transport.abort()
            return
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self.to_port)
        ends = {writer, there_writer}
        self._open |= ends
        await asyncio.gather(_pass_on(reader, there_writer), _pass_on(there_reader, writer))
        self._open -= ends


async def _pass_on(reader: StreamReader, writer: StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
