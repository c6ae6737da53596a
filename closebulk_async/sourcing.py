"""The bytes of an export's file, however often the connection is cut or the link expires."""

from __future__ import annotations

import logging
from contextlib import aclosing
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import attrs

from closebulk_async.errors import (
    BulkActionFailed,
    ClientClosedError,
    CloseBulkError,
    DecodeError,
    InvalidRequestError,
    TransportError,
    asked_wait,
)
from closebulk_async.file_wire import EXPIRED, FileState, error_of_file
from closebulk_async.models import Export, JobRef
from closebulk_async.operations import Engine, get_action
from closebulk_async.transport import Patience
from closebulk_async.wire import is_rejection

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from closebulk_async.clock import Clock
    from closebulk_async.incoming import Incoming

logger: logging.Logger = logging.getLogger("closebulk_async")

BLOCK: Final = 256 * 1024
"""Bytes that are collected before they are written: a thread is asked for each such piece."""

SECONDS: Final = 0.5
"""After so long what has come is written all the same, so that a slow download shows that it moves."""

FRESH_LINKS: Final = 3
"""How often a fresh link is asked for before anything has come by one."""


@attrs.frozen
class Block:
    """Some bytes of a file, and where they stand in it. Those of a file that is sent anew begin at 0 again."""

    start: int
    data: bytes


@attrs.define(eq=False)
class Source:
    """The bytes of an export's file as they are sent, however often the connection is cut or the link expires."""

    engine: Engine
    ref: JobRef[Export]
    known: Export | None
    """What the caller has of it, whose link is tried first."""
    state: FileState = attrs.field(factory=FileState)
    last_error: CloseBulkError | None = None
    _farthest: int = 0
    _fresh_links: int = 0
    _link: str | None = None
    _patience: Patience = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._patience = Patience(self.engine.transport.retry)

    @property
    def name(self) -> str:
        """What errors and logs call the request. The link itself lets anybody have the file."""
        return f"GET the file of {self.ref}"

    @property
    def clock(self) -> Clock:
        """The client's."""
        return self.engine.watcher.clock

    async def blocks(self) -> AsyncGenerator[Block, None]:
        """All of it, from the first byte to the last; close it when you leave early.

        Raises APIError, TransportError, DecodeError, BulkActionFailed, InvalidRequestError and ClientClosedError.
        """
        is_whole = False
        while not is_whole:
            failure: CloseBulkError | None = None
            link = self._link or await self._find_link()
            fetcher = self.engine.transport.download(self.name)
            try:
                async with fetcher.open(link, self.state.headers()) as incoming:
                    if self.state.accept(incoming.status, incoming.headers):
                        self._check_encoding()
                        async with aclosing(self._receive(incoming)) as received:
                            async for block in received:
                                yield block
                        is_whole = True
                    else:
                        failure = self._judge(incoming)
            except TransportError as exc:
                failure = exc
            if failure is not None:
                await self._bear(failure)

    async def _find_link(self) -> str:
        """Where the file is, by what is known, else by a read."""
        export, self.known = self.known, None
        if export is None or export.unset or not export.is_done:
            export = await get_action(self.engine, self.ref)
        if export.is_failed:
            message = "the export failed, so that there is no file; the API gives no reason"
            raise BulkActionFailed(message, ref=self.ref, action=export)
        if not export.is_done:
            message = f"{self.ref} is not done yet ({export.status}): await close.exports.wait_until_done(...) first"
            raise InvalidRequestError(message)
        if not (link := getattr(export, "download_url", None)):
            raise self.misfit("the export is done, and it has no download_url")
        self._link = str(link)
        return self._link

    def _check_encoding(self) -> None:
        if self.state.encoding not in {"", "identity", "gzip", "x-gzip"}:
            # Bytes that are no text come as halves of surrogate pairs, which no log and no page can hold.
            message = f"it is compressed in a way that was not asked for ({self.state.encoding!a})"
            raise self.misfit(message)

    async def _receive(self, incoming: Incoming) -> AsyncGenerator[Block, None]:
        """The body, in blocks; what came before a cut as well. Raises TransportError."""
        pieces, size, since = [], 0, self.clock.monotonic()
        failure: TransportError | None = None
        while True:
            try:
                data = await incoming.read()
            except TransportError as exc:
                data, failure = b"", exc
            if data:
                pieces.append(data)
                size += len(data)
            now = self.clock.monotonic()
            if size and (not data or size >= BLOCK or now - since >= SECONDS):
                yield self._take(b"".join(pieces))
                pieces, size, since = [], 0, now
            if failure is not None:
                raise failure
            if not data:
                return

    def _take(self, data: bytes) -> Block:
        start = self.state.position
        self.state.position += len(data)
        if self.state.position > self._farthest:  # what comes again because there are no parts is no progress
            self._farthest, self._fresh_links = self.state.position, 0
            self._patience = Patience(self.engine.transport.retry)
        return Block(start, data)

    def _judge(self, incoming: Incoming) -> CloseBulkError | None:
        """What to bear before the next attempt; None where a fresh link is worth one at once."""
        status = incoming.status
        if status in {HTTPStatus.PARTIAL_CONTENT, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE}:
            message = "another part of the file than was asked for"
            return TransportError(message, request=self.name, sent=True)
        error = error_of_file(status, incoming.headers, name=self.name, now=self.clock.now())
        if status in EXPIRED and self._fresh_links < FRESH_LINKS:
            self._fresh_links += 1
            self._link, self.last_error = None, error
            logger.info("%s; asking for a fresh link", error)
            return None
        if is_rejection(status) and status != HTTPStatus.TOO_MANY_REQUESTS:
            raise error
        return error

    async def _bear(self, failure: CloseBulkError) -> None:
        """Wait before the next attempt. Raises the failure where there is none."""
        self.last_error = failure
        if not self.engine.transport.is_open:
            message = f"{self.name}: this client was closed meanwhile"
            raise ClientClosedError(message) from failure
        delay = self._patience.delay(asked=asked_wait(failure))
        if delay is None:
            raise failure
        logger.info("%s; going on in %.1f s", failure, delay)
        await self.engine.transport.sleep(delay)

    def misfit(self, message: str) -> DecodeError:
        """An error of what came, without any of it."""
        return DecodeError(message, status=HTTPStatus.OK, request=self.name, body="")
