"""What hypothesis makes up for requests of a dashboard's stream: any bytes, and any version in any place."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from closebulk_async.dashboard.publishing import TICK
from closebulk_async.simulator import Plan
from tests.dashboard.houses import agree, count_pages, living
from tests.hostile.test_dashboard import is_alive
from tests.hostile.trying import some
from tests.hostile.visitors import FAREWELLS, no_errors, pass_time, reset

if TYPE_CHECKING:
    from tests.dashboard.houses import House

VALID = (
    b"GET /api/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\nCache-Control: no-cache\r\n\r\n",
    b"GET /api/events?since=0123456789abcdef:12 HTTP/1.1\r\nHost: localhost:8080\r\nOrigin: http://[::1]\r\n\r\n",
    b"GET /api/events HTTP/1.1\r\nHost: [::1]\r\nLast-Event-ID: 0123456789abcdef:12\r\nCookie: a=b\r\n\r\n",
    b"GET /api/events HTTP/1.0\r\nHost: 127.0.0.1\r\nSec-Fetch-Site: same-origin\r\n\r\n",
    b"HEAD /api/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 7\r\n\r\ntoken=a",
)
"""Requests of those who mean well."""

TOKENS = (
    *(b"\r\n", b"\r\n\r\n", b"\n", b":", b" ", b"\0", b"\xff", b"%", b"%00", b"%ff", b"?", b"&", b"#", b"//", b".."),
    *(b"GET ", b"PUT ", b"PRI * ", b" HTTP/1.1\r\n", b"HTTP/2.0", b"/api/events", b"http://other.example/api/events"),
    *(b"Host: other.example\r\n", b"Last-Event-ID: ", b"Last-Event-ID: \xff:9\r\n", b"since=", b"since=a:9&since=b:9"),
    *(
        b"Accept: */*\r\n",
        b"Accept-Encoding: gzip\r\n",
        b"Connection: close\r\n",
        b"Connection: Upgrade\r\n",
    ),
    *(b"Upgrade: websocket\r\n", b"Expect: 100-continue\r\n", b"Content-Length: 10\r\n", b"Content-Length: -1\r\n"),
    *(b"Transfer-Encoding: chunked\r\n", b"Content-Encoding: gzip\r\n", b"Authorization: Bearer \xff\r\n", b"9" * 5000),
    *(b"Cookie: a=\xff;;=\r\n", b"Origin: \xff\r\n", b"Sec-Fetch-Site: \0\r\n", b"Range: bytes=0-\r\n"),
)
"""What parsers trip over."""


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Requests one behind the other that mean well, but for some places."""
    data = b"".join(draw(st.lists(st.sampled_from(VALID), min_size=1, max_size=2)))
    for _ in range(draw(st.integers(0, 4))):
        at, cut = draw(st.integers(0, len(data))), draw(st.integers(0, 12))
        data = data[:at] + draw(st.sampled_from(TOKENS) | st.binary(max_size=4)) + data[at + cut :]
    return data


put_together = st.lists(st.sampled_from(VALID + TOKENS), min_size=1, max_size=8).map(b"".join)
calls = st.tuples(mutated() | put_together | st.binary(max_size=200), st.sampled_from(["stay", *FAREWELLS]))


async def call(house: House, data: bytes, farewell: str) -> asyncio.StreamWriter:
    """Send it, and go or not."""
    _, writer = await asyncio.open_connection("127.0.0.1", int(house.url.rpartition(":")[2]))
    writer.write(data)
    with suppress(OSError):
        await writer.drain()
    await pass_time(house.clock)
    match farewell:
        case "close":
            writer.close()
        case "half-close":
            with suppress(OSError):  # the other side may have gone before
                writer.write_eof()
        case "reset":
            reset(writer.transport)
    return writer


@some(20)
@given(made=st.lists(calls, min_size=1, max_size=12))
def test_any_bytes_hold_no_place_and_end_nothing(made: list[tuple[bytes, str]]) -> None:
    """Nothing gets into the log as a mistake, others are told what moves, and all places are free again."""

    async def try_it() -> None:
        async with living() as house:
            house.run_job(plan=Plan(duration=600, n_objects=1000))
            await house.settle(2)
            writers = [await call(house, data, farewell) for data, farewell in made]
            assert await is_alive(house)
            for writer in writers:
                writer.close()
            await pass_time(house.clock, TICK + 1)
            assert count_pages(await house.ask("/metrics")) == 0
            assert await is_alive(house)

    with no_errors():
        asyncio.run(try_it())


plain = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=6)
epochs = st.sampled_from(["EPOCH", "EPOC", "", "0123456789abcdef"]) | plain
odd = st.sampled_from(["", "+1", "1_0", "0x1", "1e1", "9" * 4000, "\u00b2", "\u0661", "1:1", " 1"])
numbers = st.integers(-1, 99).map(str) | odd | plain
versions = st.builds("{}{}{}".format, epochs, st.sampled_from([":", ":", ":", "", "::"]), numbers)
"""What may stand for a version; `EPOCH` is to be that of the dashboard."""


@some(20)
@given(made=st.lists(st.tuples(versions, st.booleans()), min_size=1, max_size=8))
def test_any_version_gets_all_that_there_is_or_what_came_since(made: list[tuple[str, bool]]) -> None:
    """In the header or in the address: none but one of this dashboard's own is taken for what a page has."""

    async def try_it() -> None:
        async with living() as house:
            house.run_job(plan=Plan(duration=600, n_objects=1000))
            await house.settle(3)
            async with house.page() as fresh:
                newest = (await fresh.take())["version"]
            epoch, _, number = newest.partition(":")
            own = {f"{epoch}:{each}" for each in range(int(number) + 1)}
            for text, by_header in made:
                claim = text.replace("EPOCH", epoch)
                async with house.page(last=claim) if by_header else house.page(since=claim) as page:
                    state = await page.take()
                assert state["version"] == newest
                assert agree(page.rows, fresh.rows) if state["reset"] else claim.strip() in own

    with no_errors():
        asyncio.run(try_it())
