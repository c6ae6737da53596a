"""The budget of one endpoint group as several processes keep it together: as text, with the places of each. Pure.

Instants are seconds of the clock of wherever the text is kept; the caller passes `now`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Self

import attrs
import orjson

from closebulk_async.budget import Budget, Priority, Window
from closebulk_async.errors import InvalidRequestError

SET_BY = 10.0
"""Seconds by which a clock was set, and did not merely answer late. What is less holds nobody up for longer."""

_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)


def hash_key(api_key: str, *, base_url: str) -> str:
    """What stands for an API key, or a token, at a service, wherever budgets are kept: the key cannot be read from it.

    Who uses several tokens of one key, as OAuth does, takes a name of his own for them instead of a token.
    """
    return hashlib.sha256(f"{base_url.rstrip('/')}\0{api_key}".encode()).hexdigest()


def check_key_hash(value: object) -> str:
    """A hash as `hash_key` makes it. Raises InvalidRequestError for anything else, which may be the key itself."""
    if not isinstance(value, str) or not _HASH.fullmatch(value):
        raise InvalidRequestError("key_hash must be what hash_key(api_key, base_url=...) returns, and never the key")
    return value


@attrs.define(eq=False)
class SharedBudget:
    """The budget, and what other processes hold of it.

    A place is a request that was let through and whose end is not known here yet. Nobody can give back those of a
    process that was killed: they are given up when it has said nothing for as long as the longest window lasts. What
    it sent has been counted by then, and a process that lives says anew what it holds.
    """

    budget: Budget = attrs.field(factory=Budget)
    _others: Mapping[str, tuple[int, float]] = attrs.field(factory=dict)
    """By the name of each process, how many places it holds, and when it said so."""
    _loaded: bytes = b""

    @classmethod
    def load(cls, text: str | None, *, name: str, mine: int, written_at: float, now: float) -> Self:
        """What `dump` wrote, for the process of that name, which holds `mine` places. None: nothing is known.

        A text that cannot be read, such as one of another version, is as good as none: answers tell everything anew.
        `written_at` is what the clock showed when the text was put where it is: where whoever wrote it took it to be
        another time, or it is earlier now, the clock was set, and all instants move with it.
        """
        moved = 0.0
        try:
            raw = orjson.loads(text or "{}")
            budget = _load_budget(raw.get("budget", {}))
            moved = _set_by(written_at - float(raw.get("at", written_at))) + min(0.0, _set_by(now - written_at))
            held = {str(one): (int(count), float(at) + moved) for one, (count, at) in raw.get("places", {}).items()}
        except (ValueError, TypeError, LookupError, AttributeError):
            budget, held = Budget(), {}
        loaded = _dump_budget(budget)
        budget.shift(moved)
        silent_since = now - budget.longest_window()
        others = {one: place for one, place in held.items() if one != name and place[1] > silent_since}
        budget.in_flight = mine + sum(count for count, _ in others.values())
        return cls(budget, others, loaded)

    @property
    def mine(self) -> int:
        """Places that this process holds."""
        return self.budget.in_flight - sum(count for count, _ in self._others.values())

    @property
    def has_changed(self) -> bool:
        """Whether anything beside the places is not as it was loaded."""
        return _dump_budget(self.budget) != self._loaded

    def dump(self, *, name: str, now: float) -> str:
        """As text, for the process of that name."""
        places = {**self._others, name: (self.mine, now)} if self.mine else self._others
        budget = _dump_budget(self.budget).decode()
        return f'{{"at":{now},"budget":{budget},"places":{orjson.dumps(places).decode()}}}'


def _set_by(seconds: float) -> float:
    return seconds if abs(seconds) > SET_BY else 0.0


def _dump_budget(budget: Budget) -> bytes:
    # What is infinite becomes null, and null is left out when it is read: every default is an infinity, or None.
    fields: dict[str, Any] = {field.alias or "": getattr(budget, field.name) for field in attrs.fields(Budget)}
    del fields["in_flight"]
    return orjson.dumps({**fields, "windows": [attrs.asdict(window) for window in fields["windows"].values()]})


def _load_budget(raw: Mapping[str, Any]) -> Budget:
    windows = [_load_window(window) for window in raw.get("windows", ())]
    fields = {name: value for name, value in raw.items() if value is not None}
    return Budget(**{**fields, "windows": {window.limit: window for window in windows}})


def _load_window(raw: Mapping[str, Any]) -> Window:
    fields = {name: value for name, value in raw.items() if value is not None}
    if "awaited_by" in fields:
        fields["awaited_by"] = Priority(fields["awaited_by"])
    return Window(**fields)
