"""How this suite sends what it asks by plain HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from tests.contract.exchanges import Ask, Exchange, basic
from tests.contract.gate import TOO_MANY

if TYPE_CHECKING:
    from tests.contract.gate import Gate

ATTEMPTS = 4
"""Of a request that meets a 429; of any other failure there is no second one."""


async def send(gate: Gate, ask: Ask, key: str) -> Exchange:
    """One request as the owner of the key, or as whoever its headers say; after a 429 it is sent again."""
    ask = attrs.evolve(ask, headers={"accept": "application/json", "authorization": basic(key), **ask.headers})
    for _ in range(ATTEMPTS - 1):
        if (exchange := await gate.send(ask)).status != TOO_MANY:
            return exchange
    return await gate.send(ask)
