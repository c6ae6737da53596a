"""Exports: what may be asked for, how they go, and what responses say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from closebulk_async.simulator import Simulator
    from closebulk_async.testing import FakeClock

    from .api import Api, Row

LEADS: Row = {"format": "csv", "type": "leads"}
OPPORTUNITIES: Row = {"format": "csv"}


async def start(api: Api, kind: str = "lead", **fields: Any) -> Row:
    """Ask for an export; its first response."""
    body = {**(LEADS if kind == "lead" else OPPORTUNITIES), **fields}
    reply = await api.call("POST", f"/export/{kind}/", json_body=body)
    assert reply.status == 200, reply
    return reply.json()


@pytest.mark.parametrize("kind", ["lead", "opportunity"])
@pytest.mark.parametrize("ends", ["done", "error"])
async def test_the_life_of_an_export(api: Api, sim: Simulator, clock: FakeClock, kind: str, ends: str) -> None:
    """The status follows the clock, and only an export that is done has an address for its file."""
    sim.next_export(duration=20, ends=ends)  # type: ignore[arg-type]  # one of the two
    rows = [await start(api, kind)]
    for seconds in (0.5, 0.5, 18, 1):
        await clock.advance(seconds)
        rows.append((await api.get(f"/export/{rows[0]['id']}/")).json())
    assert [row["status"] for row in rows] == ["created", "started", "in_progress", "in_progress", ends]
    assert [row["download_url"] is not None for row in rows] == [False] * 4 + [ends == "done"]
    assert rows[0]["id"] == sim.exports[0].id
    assert str(rows[0]["id"]).startswith("expo_")
