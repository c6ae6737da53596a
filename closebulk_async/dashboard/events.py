"""Server-sent events: one stream for each open page, which goes on without a gap from the version that the page has."""

from __future__ import annotations

import logging
from collections.abc import Callable
from http import HTTPStatus

import attrs
from aiohttp import web

from closebulk_async.dashboard.publishing import Publisher
from closebulk_async.dashboard.refusals import Refusal

logger: logging.Logger = logging.getLogger("closebulk_async")

RETRY = b"retry: 2000\n\n"
"""Milliseconds after which a browser connects again."""

WRITE_SECONDS = 60.0
"""How long a page may take no byte of what it is sent. Who takes longer is gone, or keeps a place from others."""


@attrs.define(kw_only=True)
class EventStream:
    """One stream: the state at once, then what has changed at each beat, and a tick where nothing else is said."""

    publisher: Publisher
    may_go_on: Callable[[], bool]
    """Asked at each tick: a session may have ended."""

    async def run(self, request: web.Request) -> web.StreamResponse:
        """Answer until one of the two sides ends it. Refuses where there are too many streams."""
        if not self.publisher.join():
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "too many pages are open")
        response = web.StreamResponse(
            headers={
                "Content-Type": "text/event-stream; charset=utf-8",
                "Cache-Control": "no-store",
                "X-Accel-Buffering": "no",  # nginx passes events on at once then, however it is configured
            }
        )
        try:
            await response.prepare(request)
            await self._follow(request, response)
        except (ConnectionError, TimeoutError) as exc:
            logger.debug("a page of the dashboard has gone: %r", exc)
            if request.transport is not None:
                request.transport.abort()  # what could not be sent would be waited for once more
        finally:
            self.publisher.leave()
        return response

    async def _follow(self, request: web.Request, response: web.StreamResponse) -> None:
        publisher = self.publisher
        board, ticks = publisher.board, publisher.ticks
        # What a browser repeats after a cut is newer than the address, which it does not change.
        has = board.parse_version(request.headers.get("Last-Event-ID") or request.query.get("since"))
        await self._write(response, RETRY)
        after, is_whole = None, False
        while not publisher.is_closed:
            if not is_whole or (has is not None and publisher.published > has):
                part = publisher.read_part(has, after=after)
                is_whole = part.is_whole
                # Who is cut off in the middle begins again where all parts began: the others have earlier samples.
                id_ = board.name_version(part.place.cards) if is_whole else None
                await self._write(response, _event("state", part.data, id=id_))
                has, after = (part.place.cards, None) if is_whole else (has, part.place)
            elif publisher.ticks > ticks:
                ticks = publisher.ticks
                if not self.may_go_on():
                    break
                await self._write(response, _event("tick", publisher.read_tick()))
            else:
                await publisher.wait()

    async def _write(self, response: web.StreamResponse, data: bytes) -> None:
        async with self.publisher.clock.timeout(WRITE_SECONDS):
            await response.write(data)


def _event(name: str, data: bytes, *, id: str | None = None) -> bytes:
    head = f"event: {name}\n" if id is None else f"id: {id}\nevent: {name}\n"
    return b"%bdata: %b\n\n" % (head.encode(), data)  # JSON as orjson writes it has no line breaks
