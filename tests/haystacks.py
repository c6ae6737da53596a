"""A search service of a few lines, whose oddities are data: objects with a `date_created`, cursors, a cap."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

import attrs
from aiohttp import web

from closebulk_async import CloseBulk
from closebulk_async.testing import FakeClock
from tests.peers import Peer, connect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from closebulk_async import Hit

BEGIN = datetime(2024, 3, 1, tzinfo=UTC)
QUERY = {"type": "text", "mode": "full_words", "value": "hay"}
SEARCH = "/data/search/"

Answer = dict[str, Any] | web.Response


def refuse(text: str, status: int = 400) -> web.Response:
    """An error as the service words it."""
    return web.json_response({"error": text}, status=status)


@attrs.define
class Haystack:
    """Finds all that it has, whatever is asked, by `date_created`; `odd` may answer in its place or change a page."""

    clock: FakeClock
    close: CloseBulk = attrs.field(init=False)
    """A client of it, which is open while the service is."""
    created: dict[str, datetime] = attrs.field(factory=dict)
    cursor_seconds: float = 30.0
    most_rows: int = 10_000
    precision: Callable[[datetime], datetime] = lambda moment: moment
    """How exactly moments of a query are taken."""
    odd: Callable[[dict[str, Any], Answer], Answer] = lambda _, page: page
    before: Callable[[dict[str, Any]], object] = lambda _: None
    """Called with each body before it is answered."""
    aside: dict[str, Answer] = attrs.field(factory=dict)
    """Pages by cursors that `odd` has made up."""
    asked: list[dict[str, Any]] = attrs.field(factory=list)
    expired: list[str] = attrs.field(factory=list)
    """Cursors that were sent too late."""
    cursors: dict[str, tuple[int, int, float]] = attrs.field(factory=dict)
    """By their text: the walk, the rows before, and when it was made."""
    _walks: list[tuple[list[str], int]] = attrs.field(factory=list)
    _peer: Peer = attrs.field(factory=Peer)

    def add(self, *seconds: float) -> Self:
        """Objects that were created so many seconds after the beginning."""
        for offset in seconds:
            self.created[f"lead_{len(self.created)}"] = BEGIN + timedelta(seconds=offset)
        return self

    async def __aenter__(self) -> Self:
        self._peer.answer = self._answer
        await self._peer.__aenter__()
        self.close = await connect(self._peer, self.clock).__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close.aclose()
        await self._peer.__aexit__()

    @property
    def by_cursor(self) -> list[str]:
        """The cursors that were sent."""
        return [body["cursor"] for body in self.asked if "cursor" in body]

    @property
    def begun(self) -> list[dict[str, Any]]:
        """The bodies without a cursor."""
        return [body for body in self.asked if "cursor" not in body]

    def _answer(self, _: web.BaseRequest) -> web.Response:
        body = json.loads(self._peer.seen[-1].body)
        self.asked.append(body)
        self.before(body)
        answer = self.aside.get(body.get("cursor", "")) or self.odd(body, self._page(body) if "sort" in body else {})
        return web.json_response(answer) if isinstance(answer, dict) else answer

    def _page(self, body: dict[str, Any]) -> Answer:
        if "cursor" in body:
            walk, skip, made = self.cursors.get(body["cursor"], (0, 0, -math.inf))
            if self.clock.monotonic() - made > self.cursor_seconds:
                self.expired.append(body["cursor"])
                return refuse("Invalid or expired cursor.")
        else:
            walk, skip = len(self._walks), 0
            self._walks.append(self._find(body))
        found, total = self._walks[walk]
        limit = body["_limit"]
        if skip + limit > self.most_rows:
            return refuse("The cursor has reached the maximum of results.")
        rows, end = found[skip : skip + limit], skip + limit
        cursor = None
        if end < len(found):
            cursor = f"cursor_{len(self.cursors)}"
            self.cursors[cursor] = walk, end, self.clock.monotonic()
        counts = {"count": {"limited": total, "total": total}} if body.get("include_counts") else {}
        return {"data": [self.row(id_) for id_ in rows], "cursor": cursor, **counts}

    def row(self, id_: str) -> dict[str, Any]:
        """An object as a page shows it."""
        return {"__object_type": "lead", "id": id_, "date_created": self.created[id_].isoformat(), "name": id_.upper()}

    def _find(self, body: dict[str, Any]) -> tuple[list[str], int]:
        since = [self.precision(datetime.fromisoformat(text)) for text in _bounds(body["query"])]
        found = [id_ for id_, moment in self.created.items() if all(moment >= bound for bound in since)]
        (key,) = body["sort"]
        found.sort(key=self.created.__getitem__, reverse=key["direction"] == "desc")
        return found, len(found)


def _bounds(node: object) -> Iterable[str]:
    """The beginnings of all ranges of moments in a query."""
    if isinstance(node, dict):
        if node.get("type") == "moment_range":
            yield node["on_or_after"]["value"]
        for value in node.values():
            yield from _bounds(value)
    elif isinstance(node, list):
        for item in node:
            yield from _bounds(item)


async def ids_of(hay: Haystack, **options: Any) -> Sequence[str]:
    """The ids of all hits, in their order."""
    return [hit.id async for hit in hay.close.search.iterate(QUERY, **options)]


async def collect(walk: AsyncIterator[Hit], ids: list[str]) -> None:
    """Put the ids of all hits into a list, which keeps them where the walk ends with an error."""
    async for hit in walk:
        ids.append(hit.id)  # noqa: PERF401 - a comprehension would lose them then


def in_order(haystack: Haystack) -> list[str]:
    """All ids, oldest first."""
    return sorted(haystack.created, key=haystack.created.__getitem__)


def on_cursors(answer: Callable[[], Answer], *, every: int = 1) -> Callable[[dict[str, Any], Answer], Answer]:
    """Answers so where a cursor is sent; each time, or each so many times."""
    n_sent = 0

    def odd(body: dict[str, Any], page: Answer) -> Answer:
        nonlocal n_sent
        n_sent += "cursor" in body
        return answer() if "cursor" in body and n_sent % every == 0 else page

    return odd
