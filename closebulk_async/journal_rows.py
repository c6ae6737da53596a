"""An intent as a row of a database, in values that each of them keeps as they are."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import orjson

from closebulk_async.intents import Fence, Intent, Sighting, State
from closebulk_async.models import JobRef, Kind

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping

T = TypeVar("T")


def to_row(intent: Intent) -> dict[str, Any]:
    """An intent as texts, numbers and bytes, by the names of their columns."""
    values = {name: getattr(intent, name) for name in COLUMNS}
    return {name: None if value is None else COLUMNS[name][0](value) for name, value in values.items()}


def from_row(row: sqlite3.Row | Mapping[str, Any]) -> Intent:
    """The intent that `to_row` took apart. Raises ValueError, TypeError or LookupError where it was changed since."""
    fields: dict[str, Any] = {
        name: None if row[name] is None else read(row[name]) for name, (_, read) in COLUMNS.items()
    }
    return Intent(**fields)


def dump_sighting(sighting: Sighting) -> str:
    """As JSON."""
    return orjson.dumps(attrs.asdict(sighting)).decode()


def _load_sighting(text: str) -> Sighting:
    fields = orjson.loads(text)
    return Sighting(**{**fields, "at": datetime.fromisoformat(fields["at"])})


def _dump_fence(fence: Fence) -> str:
    return orjson.dumps({"ids": sorted(fence.ids), "taken_at": fence.taken_at}).decode()


def _load_fence(text: str) -> Fence:
    fields = orjson.loads(text)
    taken_at = fields["taken_at"] and datetime.fromisoformat(fields["taken_at"])
    return Fence(ids=frozenset(fields["ids"]), taken_at=taken_at)


def _same(value: T) -> T:
    return value


_PLAIN = (_same, _same)
_MOMENT = (datetime.isoformat, datetime.fromisoformat)

COLUMNS: Mapping[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    **dict.fromkeys(
        ("id", "scope", "body", "fingerprint", "idempotency_key", "created_by", "owner", "version"), _PLAIN
    ),
    **dict.fromkeys(("created_at", "leased_until"), _MOMENT),
    "kind": (str, Kind),
    "state": (str, State),
    "ref": (str, JobRef.parse),
    "fence": (_dump_fence, _load_fence),
    "sighting": (dump_sighting, _load_sighting),
}
"""How each field of an intent is written and read. None is NULL."""
