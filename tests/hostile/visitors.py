"""Those who look at a dashboard as they please: they read or not, go in any manner, and come again with any version."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Literal, Protocol

import aiohttp
import attrs
from aiohttp.http_exceptions import HttpProcessingError
from hypothesis import strategies as st

from tests.dashboard.houses import Page, agree
from tests.hostile.judging import NET_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from contextlib import AbstractAsyncContextManager

    from closebulk_async.testing import FakeClock

Farewell = Literal["close", "half-close", "reset", "say nothing"]
Claim = Literal["nothing", "the newest", "an older one", "another's", "too much", "rubbish"]

CLAIMS: tuple[Claim, ...] = ("nothing", "the newest", "the newest", "an older one", "another's", "too much", "rubbish")
FAREWELLS: tuple[Farewell, ...] = ("close", "half-close", "reset")
GONE = (EOFError, OSError, aiohttp.ClientError)
"""What reading ends with where the other side has ended the stream."""

NO_LINGER = struct.pack("ii", 1, 0)
"""With this a socket that is closed is reset."""


MOST_PARTS = 20
"""More than any board here comes in."""


class Shown(Protocol):
    """What can be looked at."""

    clock: FakeClock

    def page(self, *, since: str | None = None, last: str | None = None) -> AbstractAsyncContextManager[Page]:
        """An open page."""


async def pass_time(clock: FakeClock, seconds: float = 0.0) -> None:
    """Let time pass though streams wait for readers who do not read, which no server of the test's says."""
    with ExitStack() as holds:
        passing = asyncio.create_task(clock.advance(seconds))
        while not passing.done():
            await asyncio.wait([passing], timeout=0.05)
            holds.enter_context(clock.hold())  # once too often does no harm: what is under way keeps the loop busy
        await passing


def reset(transport: asyncio.BaseTransport) -> None:
    """End a connection so that the other side loses it, and is told nothing in order."""
    made = transport.get_extra_info("socket")
    if made is not None and made.fileno() >= 0:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
    assert isinstance(transport, asyncio.WriteTransport)
    transport.abort()


class Records(logging.Handler):
    """Keeps what is logged."""

    def __init__(self, level: int) -> None:
        """Keep nothing yet."""
        super().__init__(level)
        self.seen: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self.seen.append(record)


@contextmanager
def no_errors() -> Iterator[None]:
    """Nothing below is logged as an error, by anybody, but what aiohttp says of bytes that are no request."""
    records = Records(logging.ERROR)
    records.addFilter(lambda record: record.exc_info is None or not isinstance(record.exc_info[1], HttpProcessingError))
    logging.getLogger().addHandler(records)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(records)
    assert [record.getMessage() for record in records.seen] == []


@attrs.define(kw_only=True, eq=False)
class Visitor:
    """One browser, whose page keeps what it knew when it connects again."""

    shown: Shown
    page: Page | None = None
    """None until it has connected for the first time."""
    versions: list[str] = attrs.field(factory=list)
    """Those it has had, the newest last."""
    is_open: bool = False
    _stack: AsyncExitStack = attrs.field(factory=AsyncExitStack)
    _reading: asyncio.Task[Any] | None = None

    async def come(self, claim: Claim, *, by_header: bool = True) -> None:
        """Connect, saying that it has this version."""
        await self.go("close")
        version = self._claim(claim)
        opened = self.shown.page(last=version) if by_header else self.shown.page(since=version)
        page = await self._stack.enter_async_context(opened)
        if self.page is not None:
            page.rows, page.version, page.unconfirmed = self.page.rows, self.page.version, self.page.unconfirmed
        self.page, self.is_open = page, True

    def _claim(self, claim: Claim) -> str | None:
        newest = self.versions[-1] if self.versions else None
        match claim:
            case "the newest":
                return newest
            case "an older one" if self.versions:
                return self.versions[len(self.versions) // 2]
            case "another's":
                return "0123456789abcdef:1"
            case "too much" if newest is not None:
                return newest.partition(":")[0] + ":" + "9" * 9
            case "rubbish":
                return ":9e9:"
            case _:
                return None

    async def read(self, most: int) -> None:
        """Take in what is there, at most so many events."""
        for _ in range(most if self.is_open else 0):
            if self._reading is None:
                assert self.page is not None
                self._reading = asyncio.create_task(self.page.read())
            await pass_time(self.shown.clock)
            if not self._reading.done():
                return  # it stays under way: an event that was read in half would be lost
            try:
                self._take_in(await self._reading)
            except GONE:
                await self.go("say nothing")
            else:
                self._reading = None

    async def read_all(self) -> None:
        """Take in all up to the first version from which it could go on, which is not many events away."""
        known = len(self.versions)
        for _ in range(MOST_PARTS):
            assert self.page is not None
            async with asyncio.timeout(NET_SECONDS):
                self._take_in(await self.page.read())
            if len(self.versions) > known:
                return
        raise AssertionError("the parts have no end")

    def _take_in(self, event: Any) -> None:  # noqa: ANN401 - the stage's event
        assert self.page is not None
        if event.name == "state":
            self.page.apply(event.data)
            assert event.id == (None if event.data["more"] else event.data["version"])
        if event.id is not None:
            self.versions.append(event.id)

    async def go(self, farewell: Farewell) -> None:
        """Leave, by whatever way; who has left already stays away."""
        if self.page is not None and self.is_open:
            connection = self.page.response.connection
            transport = None if connection is None else connection.transport
            if transport is not None and farewell == "reset":
                reset(transport)
            if transport is not None and farewell == "half-close":
                assert isinstance(transport, asyncio.Transport)
                transport.write_eof()
                await pass_time(self.shown.clock)
        self.is_open = False
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])
            self._reading = None
        await self._stack.aclose()


async def check_agreement(visitors: list[Visitor], shown: Shown) -> None:
    """Whoever comes again with the newest version they have shows what somebody shows who comes now."""
    async with AsyncExitStack() as stack:
        fresh = Visitor(shown=shown)
        stack.push_async_callback(fresh.go, "close")
        await fresh.come("nothing")
        await fresh.read_all()
        assert fresh.page is not None
        for visitor in visitors:
            stack.push_async_callback(visitor.go, "close")
            await visitor.come("the newest")
            await visitor.read_all()
            assert visitor.page is not None
            assert visitor.page.version == fresh.page.version
            assert visitor.page.close == fresh.page.close
            assert agree(visitor.page.rows, fresh.page.rows)


# Steps ---------------------------------------------------------------------------------------------------------------

Step = tuple[Any, ...]
"""A name, and what it is with."""

N_VISITORS = 3

who = st.integers(0, N_VISITORS - 1)
visits: st.SearchStrategy[Step] = st.one_of(
    st.tuples(st.just("come"), who, st.sampled_from(CLAIMS), st.booleans()),
    st.tuples(st.just("read"), who, st.integers(1, 8)),
    st.tuples(st.just("go"), who, st.sampled_from(FAREWELLS)),
    st.tuples(st.just("wait"), st.sampled_from([0, 1, 3, 11, 70])),
)
"""What those who look do; `wait` lets so many seconds pass."""


@asynccontextmanager
async def visiting(shown: Shown) -> AsyncIterator[list[Visitor]]:
    """Visitors, of whom one has come; in the end they all have gone."""
    async with AsyncExitStack() as stack:
        visitors = [Visitor(shown=shown) for _ in range(N_VISITORS)]
        for visitor in visitors:
            stack.push_async_callback(visitor.go, "close")
        await visitors[0].come("nothing")
        await visitors[0].read_all()
        yield visitors


async def visit(visitors: list[Visitor], step: Step) -> None:
    """Take a step of `visits`."""
    match step:
        case ["come", who, claim, by_header]:
            await visitors[who].come(claim, by_header=by_header)
        case ["read", who, most]:
            await visitors[who].read(most)
        case ["go", who, farewell]:
            await visitors[who].go(farewell)
        case ["wait", seconds]:
            await pass_time(visitors[0].shown.clock, seconds)
        case _:
            raise ValueError(step)
