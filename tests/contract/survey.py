"""Reads a service once, by plain HTTP and by the package's client, both through one gate, into a `Record`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from closebulk_async import CloseBulk, CloseBulkError
from tests.contract.exchanges import Exchange
from tests.contract.reads import KINDS, LEADS, NOBODY, further_reads, last_reads, plain_reads
from tests.contract.sending import client, send
from tests.contract.starting import Started

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

    from closebulk_async.endpoints import BulkActions
    from tests.contract.gate import Gate


@attrs.frozen(kw_only=True)
class Seen:
    """What the package's client made of an answer: `found` is what it returned, or the error that it raised."""

    found: Any = attrs.field(repr=False)
    exchange: Exchange = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class Record:
    """All that was read of one service."""

    service: str
    plain: Mapping[str, Exchange] = attrs.field(repr=False)
    seen: Mapping[str, Seen] = attrs.field(repr=False)
    exchanges: Sequence[Exchange] = attrs.field(repr=False)
    """Every exchange, in order."""
    started: Started | None = None
    """The action that was started, where one was."""

    @property
    def n_requests(self) -> int:
        """How many requests it took."""
        return len(self.exchanges)

    def rows(self, kind: str) -> list[dict[str, Any]]:
        """The actions of a kind that the first page shows."""
        return self.plain[f"{kind}: list"].rows

    @property
    def all_rows(self) -> list[dict[str, Any]]:
        """Those of all kinds."""
        return [row for kind in KINDS for row in self.rows(kind)]


async def survey(gate: Gate, key: str, *, service: str) -> Record:
    """Read all that `reads` names, one after the other."""
    plain: dict[str, Exchange] = {}
    for name, ask in plain_reads():
        plain[name] = await send(gate, ask, key)
    for name, ask in list(further_reads(plain)):
        plain[name] = await send(gate, ask, key)
    async with client(gate, key) as close:
        seen = {name: found async for name, found in _read_with_client(gate, close, plain)}
    for name, ask in last_reads():
        plain[name] = await send(gate, ask, key)
    return Record(service=service, plain=plain, seen=seen, exchanges=tuple(gate.exchanges))


def endpoint_of(close: CloseBulk, kind: str) -> BulkActions[Any]:
    """The endpoint of a kind by its name."""
    endpoints: Mapping[str, BulkActions[Any]] = {
        "email": close.emails,
        "edit": close.edits,
        "delete": close.deletes,
        "sequence_subscription": close.sequence_subscriptions,
    }
    return endpoints[kind]


async def _read_with_client(
    gate: Gate, close: CloseBulk, plain: Mapping[str, Exchange]
) -> AsyncIterator[tuple[str, Seen]]:
    async def see(call: Awaitable[Any]) -> Seen:
        try:
            found = await call
        except CloseBulkError as error:
            found = error
        return Seen(found=found, exchange=gate.exchanges[-1])

    for kind in KINDS:
        endpoint: Any = endpoint_of(close, kind)
        yield f"{kind}: list", await see(endpoint.list())
        yield f"{kind}: narrowed", await see(endpoint.list(limit=2, fields=["date_created"]))
        for row in plain[f"{kind}: list"].rows[:1]:
            yield f"{kind}: item", await see(endpoint.get(row["id"]))
    yield "missing", await see(close.emails.get(f"bulkemail_{NOBODY}"))
    yield "large", await see(close.emails.list(limit=100_000))
    yield "export: list", await see(close.exports.list(limit=10))
    for row in plain["export: list"].rows[:1]:
        yield "export: item", await see(close.exports.get(row["id"]))
    yield "webhook: list", await see(close.webhooks.list())
    for row in plain["webhook: list"].rows[:1]:
        yield "webhook: item", await see(close.webhooks.get(row["id"]))
    yield "me", await see(close.me())
    yield "search: leads", await see(close.search.count(LEADS))
    yield "search: walk", await see(_walk(close))


async def _walk(close: CloseBulk) -> list[Any]:
    return [hit async for hit in close.search.iterate(LEADS, page_size=2, max_items=3)]
