"""A server that means harm: it says whatever bytes a script holds, and counts what it got rid of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from typing import TypeAlias

import attrs

from closebulk_async import BulkEmail
from closebulk_async.models import BULK_KINDS, MODEL_OF_KIND
from closebulk_async.testing import FakeClock

Piece: TypeAlias = bytes | float
"""Bytes that are sent, or seconds in which nothing comes."""

Script: TypeAlias = Callable[[], Iterable[Piece]]
"""One answer, from its first byte on. After the last piece the connection is closed."""

TLS = b"\x16"
"""With which a handshake begins, of which nobody here knows the answer."""

BLOCK = 64 * 1024
"""Bytes of an endless script that are sent at once."""


@attrs.frozen
class Asked:
    """A request as it arrived."""

    method: str
    path: str
    head: bytes
    body: bytes


def response(body: bytes, *, status: str = "200 OK", headers: Iterable[str] = (), length: object = None) -> bytes:
    """An answer as bytes. `length` is what it says that its body has, `""` for nothing said; the truth by default."""
    said = len(body) if length is None else length
    lines = [f"HTTP/1.1 {status}", *headers, *([] if said == "" else [f"Content-Length: {said}"])]
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + body


def honest(asked: Asked) -> bytes:
    """What a service says that has done nothing yet: lists with nothing in them, and actions that run."""
    path = asked.path.partition("?")[0]
    if path.endswith("/me/"):
        return response(b'{"id":"user_1","organizations":[{"id":"orga_1"}]}')
    if path.startswith("/oauth2/"):
        return response(b'{"access_token":"at_12345678","refresh_token":"rt_12345678","expires_in":3600}')
    if asked.method == "GET" and path.strip("/").count("/") <= 1:
        return response(b'{"data":[],"has_more":false}')
    models = [MODEL_OF_KIND[kind] for kind in BULK_KINDS if f"/{kind}/" in path]
    model, id_ = models[0] if models else BulkEmail, path.strip("/").rpartition("/")[2]
    return response(model.example(id=id_).to_json().encode())


@attrs.define(eq=False, kw_only=True)
class Hostile:
    """What one server was asked, and what it could say."""

    clock: FakeClock
    script: Script
    spares: Callable[[Asked], bool] = lambda _: False
    """Which requests are answered honestly all the same."""
    asked: list[Asked] = attrs.field(factory=list)
    heard: bytearray = attrs.field(factory=bytearray)
    """Every byte that came."""
    most_sent: int = 0
    """The bytes of the longest answer that went out before the client hung up."""
    base_url: str = ""

    def count(self, method: str) -> int:
        """Requests of this method."""
        return sum(one.method == method for one in self.asked)

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        try:
            while True:
                asked = await self._read(reader)
                if not self.spares(asked):
                    await self._send(self.script(), writer)
                    return
                writer.write(honest(asked))
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            return  # the client has hung up
        finally:
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> Asked:
        first = await reader.readexactly(1)
        if first == TLS:
            raise ConnectionError
        head = first + await reader.readuntil(b"\r\n\r\n")
        self.heard += head
        line, *headers = head.decode("latin-1").split("\r\n")
        lengths = [line.partition(":")[2] for line in headers if line.lower().startswith("content-length:")]
        body = await reader.readexactly(int(lengths[0])) if lengths else b""
        self.heard += body
        method, path, _ = line.split(" ", 2)
        self.asked.append(Asked(method, path, head, body))
        return self.asked[-1]

    async def _send(self, pieces: Iterable[Piece], writer: asyncio.StreamWriter) -> None:
        sent = 0
        for piece in pieces:
            if isinstance(piece, bytes):
                writer.write(piece)
                await writer.drain()
                sent += len(piece)
                self.most_sent = max(self.most_sent, sent)
            else:
                with self.clock.hold():
                    await self.clock.sleep(piece)
            if writer.is_closing():
                return


@asynccontextmanager
async def hostile(
    clock: FakeClock, script: Script, *, spares: Callable[[Asked], bool] = lambda _: False
) -> AsyncIterator[Hostile]:
    """A server with this script on a port of this machine."""
    it = Hostile(clock=clock, script=script, spares=spares)
    talks: set[asyncio.Task[None]] = set()

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(it.talk(reader, writer))
        talks.add(task)
        task.add_done_callback(talks.discard)

    server = await asyncio.start_server(begin, "127.0.0.1", 0)
    it.base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield it
    finally:
        server.close()
        for task in list(talks):
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*talks, return_exceptions=True)
