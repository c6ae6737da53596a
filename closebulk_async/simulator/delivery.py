"""Brings an answer onto the socket, as well as a fault allows."""

from __future__ import annotations

import gzip
import math
from email.utils import format_datetime
from typing import TYPE_CHECKING

from aiohttp import web
from attrs import evolve

from .clock import keep_waiting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .clock import Clock
    from .faults import Fault
    from .messages import Answer

# Below this a proxy does not compress either: the answer would hardly get smaller.
_WORTH_COMPRESSING = 512


def compressed(answer: Answer, *, accepted: str) -> Answer:
    """The answer with a gzip body when the client's `accept-encoding` allows it and the body is not tiny."""
    if len(answer.body) < _WORTH_COMPRESSING or "gzip" not in accepted.lower():
        return answer
    body = gzip.compress(answer.body, compresslevel=1, mtime=0)
    return evolve(answer, body=body).with_headers((("content-encoding", "gzip"),))


async def deliver(http: web.BaseRequest, answer: Answer, fault: Fault, clock: Clock) -> web.StreamResponse:
    """Send the answer the way that the fault says; what is returned is what aiohttp has to finish."""
    # aiohttp would take the date from the machine, and clients judge the age of a job by it.
    headers = (*answer.headers, ("date", format_datetime(clock.now(), usegmt=True)))
    if fault.pieces == 1 and not fault.announces_whole:
        return web.Response(status=answer.status, headers=headers, body=answer.body)
    response = web.StreamResponse(status=answer.status, headers=headers)
    response.content_length = len(answer.body)
    await response.prepare(http)
    sent = math.floor(len(answer.body) * fault.kept)
    for piece in _cut_up(answer.body[:sent], fault.pieces):
        if fault.seconds_between:
            await keep_waiting(clock, fault.seconds_between)
        await response.write(piece)
    return hang_up(http, response) if fault.announces_whole else response


def hang_up(http: web.BaseRequest, response: web.StreamResponse | None = None) -> web.StreamResponse:
    """Close the connection; aiohttp then finds that it cannot send what is returned."""
    if http.transport is not None:
        http.transport.close()
    return web.Response() if response is None else response


def _cut_up(body: bytes, pieces: int) -> Iterator[bytes]:
    size = max(1, math.ceil(len(body) / pieces))
    return (body[start : start + size] for start in range(0, len(body), size))
