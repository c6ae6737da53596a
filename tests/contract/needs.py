"""What an assertion is about, where the account has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.contract.exchanges import Exchange
    from tests.contract.survey import Record, Seen


def need(record: Record, name: str) -> Exchange:
    """What was read under that name. Skips the test where the account has no such thing, which the simulator's has."""
    if name not in record.plain:
        _skip(record, name)
    return record.plain[name]


def need_seen(record: Record, name: str) -> Seen:
    """The same, of what the client has read."""
    if name not in record.seen:
        _skip(record, name)
    return record.seen[name]


def _skip(record: Record, name: str) -> None:
    assert record.service != "simulator", name
    pytest.skip(f"nothing in this account for «{name}»")
