"""The port at which the files of exports are to be had: another origin than the API's."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from datetime import datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING

from aiohttp import web
from attrs import define, field

from .clock import keep_waiting
from .delivery import deliver, hang_up
from .download_faults import DownloadFault
from .faults import NO_FAULT
from .file_store import FileStore, Stretch
from .listener import HOST, Listener
from .messages import Request
from .scripts import FaultScript

if TYPE_CHECKING:
    from .clock import Clock
    from .exporting import Exports
    from .knobs import Knobs

_SOUND = DownloadFault(name="none")


@define(kw_only=True, eq=False)
class Download:
    """One request for a file, as it stands: `status` is None until it is answered, `n_bytes` of the body were sent.

    `headers` have lower-case names, `range` is the part that was asked for, `at` the simulator's time of arrival,
    `fault` the name of the scripted fault that it met.
    """

    path: str
    headers: Mapping[str, str] = field(repr=False)
    at: datetime
    status: int | None = None
    n_bytes: int = 0
    fault: str | None = None

    @property
    def range(self) -> str | None:
        """The header of that name."""
        return self.headers.get("range")


class DownloadHost:
    """Serves files between `open` and `close`; `log` has the latest requests in the order of their arrival."""

    def __init__(self, knobs: Knobs, exports: Exports, clock: Clock, *, keep: int) -> None:
        self.log: deque[Download] = deque(maxlen=keep)
        self.script: FaultScript[DownloadFault] = FaultScript()
        self._links = exports.links
        self._knobs = knobs
        self._store = FileStore(knobs, exports)
        self._clock = clock
        self._listener = Listener(self._handle)

    async def open(self, port: int) -> int:
        """Begin on that port, or on any free one for 0; the port."""
        port = await self._listener.open(port)
        self._links.origin = f"http://{HOST}:{port}"
        return port

    async def close(self) -> None:
        """Stop; requests that are being answered are cancelled."""
        await self._listener.close()

    def drop_connections(self) -> None:
        """Close every connection now."""
        self._listener.drop_connections()

    async def _handle(self, http: web.BaseRequest) -> web.StreamResponse:
        fault = self.script.take(http.method, http.path) or _SOUND
        headers = {name.lower(): value for name, value in http.headers.items()}
        download = Download(
            path=http.path, headers=headers, at=self._clock.now(), fault=None if fault is _SOUND else fault.name
        )
        self.log.append(download)
        if fault.wait:
            await keep_waiting(self._clock, fault.wait)
        if fault.cuts:
            return hang_up(http)
        answer = fault.answer or self._store.answer(
            Request(
                method=http.method,
                path=http.path,
                query=dict(http.query),
                headers=headers,
                body=b"",
                at=self._clock.now(),
            ),
            ignores_range=fault.ignores_range,
            shift=fault.shifts,
        )
        download.status = answer.status
        if isinstance(answer, Stretch):
            return await self._send(http, answer, fault, download)
        download.n_bytes = len(answer.body)
        return await deliver(http, answer, NO_FAULT, self._clock)

    async def _send(
        self, http: web.BaseRequest, stretch: Stretch, fault: DownloadFault, download: Download
    ) -> web.StreamResponse:
        date = ("date", format_datetime(self._clock.now(), usegmt=True))
        response = web.StreamResponse(status=stretch.status, headers=(*stretch.headers, date))
        whole = stretch.stop - stretch.start
        if self._knobs.export_rules.announces_length:
            whole = response.content_length = max(0, whole + fault.lengthens)
        await response.prepare(http)
        n_sent = min(whole, stretch.stop - stretch.start)
        if fault.stops_after is not None:
            n_sent = min(n_sent, fault.stops_after)
        step = max(1, math.ceil(n_sent / fault.pieces))
        for begins in range(stretch.start, stretch.start + n_sent, step):
            if fault.seconds_between:
                await keep_waiting(self._clock, fault.seconds_between)
            at = begins
            for piece in stretch.file.packed(begins, min(begins + step, stretch.start + n_sent)):
                await response.write(_corrupted(piece, at, fault.corrupts))
                download.n_bytes += len(piece)
                at += len(piece)
        if fault.hangs:
            await keep_waiting(self._clock, math.inf)
        return hang_up(http, response) if n_sent < whole else response


def _corrupted(piece: bytes, at: int, corrupts: int | None) -> bytes:
    """The piece that begins at `at`, with another byte at `corrupts` of the file."""
    if corrupts is None or not at <= corrupts < at + len(piece):
        return piece
    spoilt = bytearray(piece)
    spoilt[corrupts - at] ^= 0xFF
    return bytes(spoilt)
