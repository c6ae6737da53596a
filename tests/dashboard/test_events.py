"""Server-sent events: what a page sees, and what it has missed."""

from __future__ import annotations

import asyncio
import socket
from typing import Any, Literal

import aiohttp
import pytest

from closebulk_async.dashboard.events import WRITE_SECONDS
from closebulk_async.dashboard.publishing import MOST_AT_ONCE, MOST_CLIENTS
from closebulk_async.simulator import Plan

from .houses import TOKEN, House, agree, count_pages, living


async def test_the_first_event_comes_at_once_and_is_everything(house: House) -> None:
    """A page that knows nothing is told to begin anew, with all that there is."""
    ref = house.run_job()
    await house.settle(1)
    async with house.page() as page:
        state = await page.take()
    assert state["reset"]
    assert [row["ref"] for row in state["actions"]] == [ref]
    assert state["close"]["status"] == "ok"
    assert state["starts"] is None
    assert state["removed"] == []


async def test_later_events_are_what_has_changed(house: House) -> None:
    """Of two actions, one rests: only the other one is told, with the samples that came since."""
    resting = house.run_job(status="paused", n_objects=9, n_objects_processed=3)
    moving = house.run_job()
    await house.settle(2)
    async with house.page() as page:
        first = await page.take()
        await house.settle(1)
        later = await page.take()
    assert {row["ref"] for row in first["actions"]} == {resting, moving}
    assert not later["reset"]
    assert [row["ref"] for row in later["actions"]] == [moving]
    assert len(later["actions"][0]["samples"]) == 1


async def test_an_action_is_seen_from_its_start_to_its_end(house: House) -> None:
    """Whoever starts it: it appears, moves and ends on an open page."""
    async with house.page() as page:
        ref = house.run_job(plan=Plan(duration=20, n_objects=50))
        row = await page.until(house, phase="done")
    assert row["ref"] == ref
    assert (row["processed"], row["total"], row["fraction"], row["eta"]) == (50, 50, 1.0, None)
    assert row["ended_at"] is not None
    counts = [processed for _, processed in row["samples"]]
    assert counts == sorted(counts)
    assert counts[-1] == 50


@pytest.mark.parametrize("how", ["last", "since"])
async def test_a_page_that_was_away_gets_what_it_has_missed(house: House, how: Literal["last", "since"]) -> None:
    """By the header that browsers repeat or by the address, the rows then are those of a page that never left."""
    house.run_job(plan=Plan(duration=5, n_objects=10))
    house.run_job(plan=Plan(duration=30, n_objects=10))
    await house.settle(2)
    async with house.page() as stays:
        await stays.take()
        async with house.page() as leaves:
            await leaves.take()
        house.run_job("delete", plan=Plan(duration=5, n_objects=10))
        await house.settle(60)
        known: dict[str, Any] = {how: leaves.version}
        async with house.page(**known) as again:
            missed = await again.take()
        while stays.version != missed["version"]:
            await stays.take()
    leaves.apply(missed)
    assert not missed["reset"]
    assert agree(stays.rows, leaves.rows)
    assert len(leaves.rows) == 3


async def test_much_comes_in_parts_of_which_the_last_has_a_version(house: House) -> None:
    """A page that is cut off before the last one gets all parts anew, with all samples, and no row twice."""
    refs = {house.run_job(status="paused", n_objects=9, n_objects_processed=3) for _ in range(2 * MOST_AT_ONCE + 1)}
    await house.settle(3)
    async with house.page() as page:
        first, second = await page.read(), await page.read()
    assert (first.data["reset"], first.data["more"], first.id) == (True, True, None)
    assert (second.data["reset"], second.data["more"], second.id) == (False, True, None)
    assert len(first.data["actions"]) == len(second.data["actions"]) == MOST_AT_ONCE
    async with house.page() as page:
        *parts, last = [await page.read() for _ in range(3)]
    assert (last.data["more"], last.id) == (False, last.data["version"])
    rows = [row for part in (*parts, last) for row in part.data["actions"]]
    assert len(rows) == len(refs)
    assert {row["ref"] for row in rows} == refs
    assert all(row["samples"] for row in rows)


async def test_the_header_goes_before_the_address(house: House) -> None:
    """A browser that connects again by itself keeps the address, and the version in it is old by then."""
    house.run_job()
    await house.settle(2)
    async with house.page() as page:
        version = (await page.take())["version"]
    async with house.page(since="another:1", last=version) as page:
        assert not (await page.take())["reset"]


@pytest.mark.parametrize(
    "version", ["0123456789abcdef:1", "nonsense", ":", "{epoch}:x", "{epoch}:999999", "{epoch}:-1"]
)
async def test_a_version_of_another_process_begins_anew(house: House, version: str) -> None:
    """A page that was open while the server was started again gets everything."""
    house.run_job()
    await house.settle(1)
    async with house.page() as page:
        await page.take()
    epoch = str(page.version).partition(":")[0]
    async with house.page(last=version.format(epoch=epoch)) as page:
        state = await page.take()
    assert state["reset"]
    assert len(state["actions"]) == 1


async def test_a_tick_tells_that_the_connection_lives(house: House) -> None:
    """Every ten seconds, though nothing happens."""
    await house.settle(1)
    async with house.page() as page:
        await page.take()
        await house.settle(10)
        tick = await page.take("tick")
    assert tick["close"]["status"] == "ok"
    assert tick.keys() == {"now", "close", "limits"}


async def test_changes_are_told_once_a_beat() -> None:
    """However many there are, and the first one after a quiet time at once."""
    async with living(beat=5) as house:
        await house.settle(20)
        async with house.page() as page:
            await page.take()
            for _ in range(3):
                house.run_job()
            await house.settle(40)
            seen = []
            while len(page.rows) < 3:
                seen.append(await page.take())
    assert len(seen) == 1
    assert len(seen[0]["actions"]) == 3


async def test_the_stream_says_how_it_is_to_be_treated(house: House) -> None:
    """As a stream that is not to be kept nor held back, and when to come again."""
    async with house.http.get(house.url + "/api/events") as response:
        assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["X-Accel-Buffering"] == "no"
        assert await response.content.readline() == b"retry: 2000\n"


async def test_one_page_too_many_is_refused(house: House) -> None:
    """And the places of those who leave are free again."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as http:
        streams = [await http.get(house.url + "/api/events") for _ in range(MOST_CLIENTS)]
        refused = await house.ask("/api/events")
        assert (refused.status, refused.json()) == (503, {"error": "too many pages are open"})
        for stream in streams:
            stream.close()
        await house.settle(10)  # that they have gone shows at the next tick
        async with house.page() as page:
            assert (await page.take())["reset"]


async def test_whoever_is_slow_gets_the_newest_and_holds_up_nobody(house: House) -> None:
    """A page that reads nothing for a while is then told what is, not all that was."""
    house.run_job(plan=Plan(duration=600, n_objects=600))
    await house.settle(2)
    async with house.page() as slow, house.page() as quick:
        await quick.take()
        for _ in range(30):
            await house.settle(1)
            await quick.take()
        while slow.version != quick.version:
            await slow.take()
    assert slow.rows == quick.rows


async def test_a_page_that_reads_nothing_loses_its_place(house: House) -> None:
    """Its connection is full, and stays so: nobody waits for it for ever."""
    for _ in range(300):
        house.run_job(status="done", template_id="x" * 30_000)
    await house.settle(1)
    with socket.socket() as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.setblocking(False)  # noqa: FBT003 - as the standard library has it
        loop = asyncio.get_running_loop()
        await loop.sock_connect(reader, ("127.0.0.1", int(house.url.rpartition(":")[2])))
        await loop.sock_sendall(reader, b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await loop.sock_recv(reader, 100)
        assert count_pages(await house.ask("/metrics")) == 1
        with house.clock.hold():
            await house.settle(WRITE_SECONDS + 1)
        assert count_pages(await house.ask("/metrics")) == 0


async def test_the_end_of_the_server_ends_the_streams(house: House) -> None:
    """It does not wait for pages that would stay for ever."""
    async with house.page() as page:
        await page.take()
        await house.runner.cleanup()
        with pytest.raises((EOFError, aiohttp.ClientError)):
            while True:  # what was sent before still comes
                await page.take()


async def test_a_session_that_ends_takes_its_streams_with_it(locked: House) -> None:
    """Who has logged out sees nothing more, at the latest from the next tick on."""
    house = locked
    entered = await house.ask("/login", method="POST", data={"token": TOKEN})
    cookie = entered.headers["Set-Cookie"].partition(";")[0]
    async with house.page(headers={"Cookie": cookie}) as page:
        await page.take()
        await house.ask("/logout", method="POST", headers={"Cookie": cookie})
        await house.settle(10)
        with pytest.raises(EOFError):
            await page.take("tick")


async def test_head_opens_no_stream(house: House) -> None:
    """Whoever asks for headers alone would hold a place without ever reading."""
    assert (await house.ask("/api/events", method="HEAD")).status == 405
