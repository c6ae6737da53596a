"""The orders in which a search walks through records, and where in them a cursor stands.

An order is a key for each record, so that a place in it stays what it is while other records come. Records that `sort`
does not tell apart, or all without `sort`, are in an order that is another one in the next walk: that the service keeps
them in any is said nowhere.
"""

from __future__ import annotations

import json
import zlib
from bisect import bisect_right, insort
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import total_ordering
from itertools import islice
from typing import TYPE_CHECKING, Any

from attrs import define, field, frozen

from .conditions import choose, take, within
from .records import FIELDS, Found, read_custom

if TYPE_CHECKING:
    from .kinds import Json, JsonObject
    from .population import Population

Key = tuple[Any, ...]

# So many orders are kept sorted; each is a list of the population's size.
_KEPT = 8
# So many records are put in their places one by one; for more it is quicker to sort once.
_FEW = 1000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@total_ordering
@frozen
class _Backwards:
    """A text among texts that are sorted from Z to A."""

    text: str

    def __lt__(self, other: _Backwards) -> bool:
        return other.text < self.text


@frozen(kw_only=True, eq=False)
class Order:
    """Where each record stands: by `ranks`, and those that these do not tell apart by chance, which `salt` decides.

    Orders of the same `name` are the same. `moves` says whether a record's place depends on what else there is.
    """

    name: tuple[str, ...]
    types: tuple[str, ...]
    ranks: tuple[Callable[[Found], Key], ...]
    salt: int
    moves: bool

    def place(self, record: Found) -> Key:
        """The key of a record that may be found."""
        return (*(rank(record) for rank in self.ranks), zlib.crc32(record.id.encode(), self.salt), record.id)


def read_order(sort: Sequence[JsonObject], types: tuple[str, ...], *, salt: int) -> Order:
    """The order that `sort` asks for among objects of those types; what has no value comes last in either direction.

    Raises `MalformedError` for what is no number, date or text of the objects that are searched for, or for objects of
    more than one type.
    """
    entries = [_read_entry(entry, index, types) for index, entry in enumerate(sort)]
    return Order(
        name=(json.dumps(sort, sort_keys=True), *types, str(salt)),
        types=types,
        ranks=tuple(rank for rank, _ in entries),
        salt=salt,
        moves=any(moves for _, moves in entries),
    )


def _read_entry(entry: JsonObject, index: int, types: Sequence[str]) -> tuple[Callable[[Found], Key], bool]:
    with within("sort", index):
        sign = choose(entry, "direction", {"asc": 1, "desc": -1})
        named = take(entry, "field", dict)
        with within("field"):
            if choose(named, "type", {"regular_field": False, "custom_field": True}):
                custom_id = take(named, "custom_field_id", str)
                return lambda record: _rank(read_custom(record, custom_id), sign), False
            fields = choose(named, "object_type", {only: FIELDS[only] for only in types if len(types) == 1})
            sortable = {name: known for name, known in fields.items() if known.type in _SORTABLE}
            known = choose(named, "field_name", sortable)
    # All numbers that leads and contacts have by themselves are counts of what belongs to them.
    return lambda record: _rank(known.read(record), sign), known.type == "number"


_SORTABLE = frozenset({"number", "date", "text"})


def _rank(value: Json, sign: int) -> Key:
    if isinstance(value, datetime):
        since = value - _EPOCH
        return (0, sign * (since.days * 86_400_000_000 + since.seconds * 1_000_000 + since.microseconds))
    if isinstance(value, int | float):
        return (0, sign * value)
    if isinstance(value, str):
        return (1, value.casefold() if sign > 0 else _Backwards(value.casefold()))
    return (2,)


@define
class _Sorted:
    """The records of one order; of each type so many of the population's are among them."""

    records: list[Found] = field(factory=list)
    n_seen: dict[str, int] = field(factory=dict)


class Orders:
    """The population's records in any order, each order sorted once and kept so while records come."""

    def __init__(self, population: Population) -> None:
        self._population = population
        self._sorted: dict[tuple[object, ...], _Sorted] = {}

    def walk(self, order: Order, *, after: Key | None = None) -> Iterator[Found]:
        """The records of that order behind a place, or all."""
        records = self._sort(order)
        start = 0 if after is None else bisect_right(records, after, key=order.place)
        return islice(records, start, None)

    def _sort(self, order: Order) -> list[Found]:
        name = (*order.name, self._population.version if order.moves else 0)
        kept = self._sorted.pop(name, None) or _Sorted()
        new = [record for kind in order.types for record in self._unseen(kind, kept)]
        if len(new) < _FEW:
            for record in new:
                insort(kept.records, record, key=order.place)
        else:
            kept.records.extend(new)
            kept.records.sort(key=order.place)
        # The one that was used last stands last.
        self._sorted[name] = kept
        if len(self._sorted) > _KEPT:
            del self._sorted[next(iter(self._sorted))]
        return kept.records

    def _unseen(self, kind: str, kept: _Sorted) -> Sequence[Found]:
        everything: Sequence[Found] = self._population.leads if kind == "lead" else self._population.contacts
        seen = kept.n_seen.get(kind, 0)
        kept.n_seen[kind] = len(everything)
        return everything[seen:]
