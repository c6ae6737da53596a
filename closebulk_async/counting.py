"""How many leads a start would act on, asked before it is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from closebulk_async.errors import InvalidRequestError, TooManyMatchesError
from closebulk_async.fingerprints import fingerprint_of
from closebulk_async.models import Kind
from closebulk_async.search_wire import build_count, name_objects, read_count

if TYPE_CHECKING:
    from closebulk_async.starts import Start
    from closebulk_async.transport import Transport


@attrs.frozen(kw_only=True)
class Preview:
    """What a `create` with the same keywords would do.

    `count` is how many leads the query matches now, at most `results_limit` of them; None where the service counts no
    such query (the legacy search text). `fingerprint` is a digest of those fields of the request that an action shows
    again: starts that no response can tell apart have the same. `request` is the JSON body of the POST.
    """

    kind: Kind
    count: int | None
    fingerprint: str
    request: dict[str, Any]


async def preview_start(transport: Transport, start: Start, *, timeout: float | None = None) -> Preview:
    """The preview of a start. Nothing is sent but the count."""
    count = await count_matches(transport, start, timeout=timeout)
    body = start.body()
    return Preview(kind=start.kind, count=count, fingerprint=fingerprint_of(start.kind, body), request=body)


async def count_matches(transport: Transport, start: Start, *, timeout: float | None = None) -> int | None:
    """How many leads the start would act on; None, without a request, where the service cannot count its query.

    `timeout` (seconds) bounds each exchange. Raises APIError, TransportError or DecodeError where nobody could tell.
    """
    if start.query is not None:
        return None
    total = await transport.read(build_count(name_objects(start.s_query)), read_count, timeout=timeout)
    return total if start.results_limit is None else min(total, start.results_limit)


async def check_matches(transport: Transport, start: Start, *, most: int, timeout: float | None = None) -> None:
    """Raise TooManyMatchesError where the start would act on more than `most` leads, and as `count_matches` does."""
    check_countable(start)
    count = await count_matches(transport, start, timeout=timeout)
    if count is not None and count > most:
        message = (
            f"{start.kind}: the query matches {count} leads, and max_matches allows {most}. "
            "Narrow the query, or cap it with results_limit"
        )
        raise TooManyMatchesError(message, count=count)


def check_countable(start: Start) -> None:
    """Raise InvalidRequestError for a start whose matches the service cannot count."""
    if start.query is not None:
        message = (
            f"{start.kind}: max_matches needs a count, and the service counts an s_query only, not the search text "
            f"{start.query!r}: say it as an s_query, or leave max_matches out"
        )
        raise InvalidRequestError(message)
