"""How this suite sends what it asks by plain HTTP, and opens the package's client."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from closebulk_async import CloseBulk, RetryPolicy, Timeouts
from tests.contract.exchanges import Ask, Exchange, basic

if TYPE_CHECKING:
    from tests.contract.gate import Gate

PATIENT = Timeouts(total=600)
"""The gate may hold a request back for as long as the limits of the service want."""

ONCE = RetryPolicy(attempts=1)
"""What meets a 429 is sent again by the gate, and an answer that cannot be read would be no other one."""


async def send(gate: Gate, ask: Ask, key: str) -> Exchange:
    """One request as the owner of the key, or as whoever its headers say."""
    headers = {"accept": "application/json", "authorization": basic(key), **ask.headers}
    return await gate.send(attrs.evolve(ask, headers=headers))


def client(gate: Gate, key: str) -> CloseBulk:
    """A client of the service behind the gate, to be opened."""
    return CloseBulk(key, base_url=gate.base_url, timeouts=PATIENT, retry=ONCE)
