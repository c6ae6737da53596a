"""The event log as HTTP: what to send for a page of it, and what an answer means. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import orjson

from closebulk_async.convert import format_datetime
from closebulk_async.errors import DecodeError
from closebulk_async.wire import Request, Response, check_status

if TYPE_CHECKING:
    from datetime import datetime

PATH = "/event/"

MOST_EVENTS = 50
"""Events on a page, at the most and unless fewer are asked for."""


@attrs.frozen
class EventType:
    """Which events: of what, and what happened to it (`lead`, `deleted`). One of the few filters that the log has."""

    object_type: str
    action: str

    def __str__(self) -> str:
        return f"{self.object_type}.{self.action}"


@attrs.frozen
class EventPage:
    """The events of a page, the latest first, and where the older ones are; None where there are none."""

    rows: Sequence[Mapping[str, Any]]
    cursor: str | None


def build_events(
    wanted: EventType, *, since: datetime | None, until: datetime | None = None, cursor: str | None = None
) -> Request:
    """Read a page of the events of one type, changed between two instants, or the page that `cursor` names.

    A cursor stands for the instants too, which must then not be sent, and for none of the other filters.
    """
    query = [("object_type", wanted.object_type), ("action", wanted.action), ("_limit", str(MOST_EVENTS))]
    if cursor is not None:
        query.append(("_cursor", cursor))
    else:
        bounds = {"date_updated__gte": since, "date_updated__lte": until}
        query += [(name, format_datetime(moment)) for name, moment in bounds.items() if moment is not None]
    return Request(method="GET", path=PATH, query=tuple(query))


def read_events(request: Request, response: Response) -> EventPage:
    """The page of an answer. Raises the APIError of its status, or DecodeError."""
    check_status(request, response)
    try:
        body = orjson.loads(response.body)
    except ValueError as exc:
        raise _misfit(f"it is no JSON: {exc}", request, response) from exc
    rows = body.get("data") if isinstance(body, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        message = "there is no list of events under 'data'"
        raise _misfit(message, request, response)
    cursor = body.get("cursor_next")
    if cursor is not None and (not isinstance(cursor, str) or not cursor):
        message = f"'cursor_next' holds {cursor!r}, which is no cursor"
        raise _misfit(message, request, response)
    return EventPage(rows, cursor)


def _misfit(message: str, request: Request, response: Response) -> DecodeError:
    text = response.body.decode(errors="replace")
    return DecodeError(message, status=response.status, request=str(request), body=text)
