"""The file of an export: fetched however often the connection is cut, and checked before anybody takes it for whole."""

from __future__ import annotations

import asyncio
import hashlib
import warnings
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import aclosing
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import attrs

from closebulk_async.errors import (
    CloseBulkError,
    InvalidRequestError,
    WaitClosedError,
)
from closebulk_async.models import Export, JobRef
from closebulk_async.pace import Pace
from closebulk_async.partfile import PartFile
from closebulk_async.progress import LONGEST_ETA
from closebulk_async.tasks import outlast
from closebulk_async.unpacking import DamagedFile, Unpacker

if TYPE_CHECKING:
    from types import TracebackType

    from closebulk_async.sourcing import Source

T = TypeVar("T")

MEASURED_EVERY: Final = 0.1
"""Seconds over which the rate is measured at least: less, and it is the luck of buffers."""


@attrs.frozen(kw_only=True)
class DownloadProgress:
    """One step of a download.

    `bytes_done` and `bytes_total` count what is sent, which is compressed as a rule; `bytes_total` is None where the
    server does not say. `rate` (bytes per second) and `eta` are None where they are not known. `bytes_done` begins
    anew where a connection was cut and the server gives no parts of files. `last_error` is what the latest attempt
    failed with. After the step that `is_final` the file is in its place.
    """

    ref: JobRef[Export]
    path: Path
    bytes_done: int
    bytes_total: int | None
    rate: float | None
    eta: timedelta | None
    elapsed: timedelta
    last_error: CloseBulkError | None = None
    is_final: bool = False

    @property
    def fraction(self) -> float | None:
        """Between 0.0 and 1.0; None where the server does not say how large the file is."""
        if self.is_final:
            return 1.0
        return min(1.0, self.bytes_done / self.bytes_total) if self.bytes_total else None


async def stream(source: Source, *, decompress: bool) -> AsyncGenerator[bytes, None]:
    """The file piece by piece. A piece that was given is not taken back: a file that changes meanwhile is an error."""
    unpacker, position = Unpacker(), 0
    seen = again = hashlib.md5(usedforsecurity=False)
    try:
        async with aclosing(source.blocks()) as blocks:
            async for block in blocks:
                if block.start == 0 and position:  # there are no parts: what was given comes again
                    again = hashlib.md5(usedforsecurity=False)
                known = min(len(block.data), position - block.start)
                again.update(block.data[:known])
                if known and block.start + known == position and again.digest() != seen.digest():
                    raise source.misfit("the file is another one than before the connection was cut")
                data = block.data[known:]
                seen.update(data)
                position += len(data)
                pieces = unpacker.feed(data)
                while piece := await _off_the_loop(next, pieces, b""):
                    if decompress:
                        yield piece
                if data and not decompress:
                    yield data
        rest = unpacker.finish()
    except DamagedFile as exc:
        raise source.misfit(str(exc)) from exc
    if source.state.md5 not in {None, seen.digest()}:
        raise source.misfit("its checksum is not the one that the server gave")
    if rest and decompress:
        yield rest


async def download(source: Source, path: Path, *, decompress: bool) -> AsyncGenerator[DownloadProgress, None]:
    """Write the file, step by step; it is in its place after the last one, which is final."""
    part, gauge = PartFile(path, unpacks=decompress), _Gauge(source, path)
    try:
        await _off_the_loop(part.open)
        async with aclosing(source.blocks()) as blocks:
            async for block in blocks:
                if block.start == 0:
                    await _off_the_loop(part.restart)
                await _off_the_loop(part.write, block.data)
                yield gauge.read()
        await _off_the_loop(part.finish, source.state.md5)
    except DamagedFile as exc:
        raise source.misfit(str(exc)) from exc
    finally:
        await _off_the_loop(part.discard)
    yield gauge.read(is_final=True)


async def _off_the_loop(function: Callable[..., T], *arguments: object) -> T:
    """Call it in a thread, and leave only when it has ended: two must not work on one file."""
    task = asyncio.ensure_future(asyncio.to_thread(function, *arguments))
    if await outlast([task]):
        task.exception()  # nobody is there to hear of it
        raise asyncio.CancelledError
    return task.result()


class _Gauge:
    """How far a download is, and how fast."""

    def __init__(self, source: Source, path: Path) -> None:
        self._source = source
        self._path = path
        self._began = self._seen_at = source.clock.monotonic()
        self._seen = 0
        self._pace: Pace | None = None

    def read(self, *, is_final: bool = False) -> DownloadProgress:
        source, now = self._source, self._source.clock.monotonic()
        done, total = source.state.position, source.state.total
        self._measure(done, now)
        rate = None if self._pace is None else self._pace.rate
        left = None if total is None or rate is None else max(0, total - done) / rate
        return DownloadProgress(
            ref=source.ref,
            path=self._path,
            bytes_done=done,
            bytes_total=total,
            rate=rate,
            eta=None if left is None or left > LONGEST_ETA else timedelta(seconds=left),
            elapsed=timedelta(seconds=now - self._began),
            last_error=source.last_error,
            is_final=is_final,
        )

    def _measure(self, done: int, now: float) -> None:
        if done < self._seen:
            self._pace, self._seen, self._seen_at = None, done, now
        if done == self._seen or now - self._seen_at < MEASURED_EVERY:
            return
        if self._pace is None:
            gained = done - self._seen
            self._pace = Pace.begin(done, gained=gained, since=self._seen_at, before=self._seen_at, at=now)
        else:
            self._pace = self._pace.move(done, before=self._seen_at, at=now)
        self._seen, self._seen_at = done, now


class Download(AsyncGenerator[DownloadProgress, None]):
    """A download. Iterate over it for progress, await it for the path of the file, or do both.

    It goes on while somebody iterates or awaits, and only then: a consumer that is slow slows it down. Both ways give
    one outcome: `await` returns the path or raises what went wrong; iterating yields the final step first, and then
    ends or raises the same. Leaving (`aclose`, `async with`, a cancelled task, the last reference) removes what was
    written so far; the export stays, and can be downloaded again.
    """

    __slots__ = ("_end", "_has_raised", "_is_used", "_source", "_steps", "_turn", "path")

    def __init__(self, source: Source, path: Path, *, decompress: bool) -> None:
        """Made by `close.exports.download`. Nothing is asked for yet."""
        self.path: Path = path
        """Where the file will be."""
        self._source = source
        self._steps = download(source, path, decompress=decompress)
        self._turn = asyncio.Lock()
        self._end: Path | Exception | None = None
        self._is_used = False
        self._has_raised = False

    def __await__(self) -> Generator[Any, None, Path]:
        return self.result().__await__()

    def result(self) -> Coroutine[Any, Any, Path]:
        """The path once the file is there; what else may happen stands at the class. A coroutine, for `create_task`."""
        self._is_used = True  # also where its task is cancelled before it has begun
        return self._run_to_end()

    async def _run_to_end(self) -> Path:
        while await self._step() is not None:
            pass
        if isinstance(self._end, Path):
            return self._end
        raise (self._end or self._left()).with_traceback(None)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> DownloadProgress:
        progress = await self._step()
        if progress is not None:
            return progress
        if self._has_raised or not isinstance(self._end, Exception):
            raise StopAsyncIteration
        self._has_raised = True
        raise self._end.with_traceback(None)

    async def _step(self) -> DownloadProgress | None:
        """The next step, of those who want one one after the other; None at the end."""
        self._is_used = True
        async with self._turn:
            if self._end is not None:
                return None
            try:
                return await anext(self._steps)
            except StopAsyncIteration:
                self._end = self.path
            except Exception as exc:  # noqa: BLE001 - whatever it is, it is kept for those who ask
                self._end = exc
            except BaseException:
                self._end = self._left()
                raise
            return None

    def _left(self) -> WaitClosedError:
        return WaitClosedError("the download was closed before its end", ref=self._source.ref)

    async def asend(self, value: object) -> DownloadProgress:
        """The next step. There is nothing to send: any other value raises InvalidRequestError."""
        if value is not None:
            message = f"a download takes nothing, and was sent {value!r}"
            raise InvalidRequestError(message)
        return await self.__anext__()

    async def athrow(
        self,
        typ: type[BaseException] | BaseException,
        val: BaseException | object = None,
        tb: TracebackType | None = None,
    ) -> DownloadProgress:
        """Close the download and raise what was thrown."""
        await self.aclose()
        error = typ if isinstance(typ, BaseException) else val if isinstance(val, BaseException) else typ()
        raise error.with_traceback(tb)

    async def aclose(self) -> None:
        """Leave. Whoever awaits the outcome after this gets it if it was known, else WaitClosedError."""
        self._is_used = True
        async with self._turn:
            await self._steps.aclose()
            if self._end is None:
                self._end, self._has_raised = self._left(), True  # an iteration just ends

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __del__(self) -> None:
        if not self._is_used:
            message = f"download() of {self._source.ref} was never awaited nor iterated"
            warnings.warn(message, RuntimeWarning, stacklevel=1, source=self)
