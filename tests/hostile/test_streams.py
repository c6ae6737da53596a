"""The dashboard's streams among clients that hypothesis makes up: none is lied to, and nothing is left of any."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import aiohttp
import attrs
import pytest
from aiohttp import web
from hypothesis import example, given
from hypothesis import strategies as st

from closebulk_async.dashboard.board import Board
from closebulk_async.dashboard.events import EventStream
from closebulk_async.dashboard.publishing import MOST_AT_ONCE, TICK, Publisher
from closebulk_async.simulator import Plan, faults
from closebulk_async.simulator.refusals import RefusedError
from closebulk_async.testing import FakeClock
from tests.dashboard.houses import House, Page, count_pages, living, open_page, serving
from tests.dashboard.test_board import action, step
from tests.hostile.trying import some
from tests.hostile.visitors import Step, check_agreement, no_errors, pass_time, visit, visiting, visits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

pytestmark = pytest.mark.unmeasured

# Of a whole dashboard -------------------------------------------------------------------------------------------------

jobs: st.SearchStrategy[Step] = st.one_of(
    st.tuples(st.just("start"), st.sampled_from(["email", "delete"]), st.sampled_from([2, 30, 400])),
    st.tuples(st.just("pause"), st.integers(0, 3)),
    st.tuples(st.just("resume"), st.integers(0, 3)),
    st.tuples(st.just("fail"), st.integers(1, 5)),
)
"""What happens to jobs at Close, and to Close."""

EVENTS = frozenset({"start", "pause", "resume", "fail"})


def happen(house: House, event: Step) -> None:
    """Take a step of `jobs`."""
    match event:
        case ["start", kind, seconds]:
            house.run_job(kind, plan=Plan(duration=seconds, n_objects=50))
        case ["pause" | "resume", number] if number < len(house.sim.jobs):
            with suppress(RefusedError):
                getattr(house.sim.jobs[number], event[0])(house.clock.now())
        case ["fail", times]:
            house.sim.fail_next(faults.server_error(503), times=times)
        case _:
            pass


@some(20)
@given(steps=st.lists(jobs | visits, min_size=10, max_size=30))
def test_in_any_order_of_visits_nobody_misses_anything(steps: list[Step]) -> None:
    """Of jobs that appear, move and end; and no place is held by those who have gone."""

    async def try_it() -> None:
        async with living() as house, visiting(house) as visitors:
            for each in steps:
                happen(house, each) if each[0] in EVENTS else await visit(visitors, each)
            await pass_time(house.clock, TICK + 1)
            assert count_pages(await house.ask("/metrics")) <= sum(visitor.is_open for visitor in visitors)
            for visitor in visitors:
                await visitor.go("close")
            await pass_time(house.clock, TICK + 1)
            assert count_pages(await house.ask("/metrics")) == 0
            await check_agreement(visitors, house)

    with no_errors():
        asyncio.run(try_it())


# Of a small board, whose cards go again and which comes in parts ------------------------------------------------------


@attrs.define(kw_only=True, eq=False)
class Stand:
    """A board that is served without all else."""

    clock: FakeClock
    board: Board
    publisher: Publisher
    http: aiohttp.ClientSession
    url: str = ""

    def page(self, *, since: str | None = None, last: str | None = None) -> AbstractAsyncContextManager[Page]:
        """An open page."""
        return open_page(self.http, self.url, since=since, last=last)

    async def events(self, request: web.Request) -> web.StreamResponse:
        """As the route of the dashboard does."""
        return await EventStream(publisher=self.publisher, may_go_on=lambda: True).run(request)

    def note(self, id: str, status: str, *, done: int = 0) -> None:
        """Take in a step of a job."""
        job = attrs.evolve(action(id, status=status, done=done), template_id=LABEL)
        self.board.note_progress(step(job), now=self.clock.now())
        self.publisher.note()


def hold_little(address: Any) -> socket.socket:  # noqa: ANN401 - as the library hands it over
    """A socket for which the system keeps few bytes that nobody has read."""
    family, type_, number, *_ = address
    made = socket.socket(family, type_, number)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    return made


@asynccontextmanager
async def showing() -> AsyncIterator[Stand]:
    """A board that keeps little."""
    clock = FakeClock(auto=False)
    board = Board(now=clock.now(), most_ended=3, most_removed=4)
    publisher = Publisher(board, clock=clock, beat=1, limits=dict)
    app = web.Application()
    connector = aiohttp.TCPConnector(socket_factory=hold_little)
    async with aiohttp.ClientSession(connector=connector) as http:
        stand = Stand(clock=clock, board=board, publisher=publisher, http=http)
        app.router.add_get("/api/events", stand.events)

        async def end_streams(_: web.Application) -> None:
            await publisher.aclose()

        app.on_shutdown.append(end_streams)
        async with serving(app, buffer=BUFFER) as (stand.url, _):
            yield stand


changes: st.SearchStrategy[Step] = st.one_of(
    st.tuples(st.just("move"), st.integers(0, 3)),
    st.tuples(st.just("end"), st.sampled_from([1, 2, 2, 3, 9])),
    st.just(("crowd",)),
)
"""What happens to cards: `end` appends so many that have ended, of which only some stay, and
a `crowd` is more than come at once."""

CHANGES = frozenset({"move", "end", "crowd"})

BUFFER = 16 * 1024

LABEL = "x" * 1500
"""So long that a crowd of such cards fills the buffers of who reads nothing."""


async def change(stand: Stand, event: Step, number: int) -> None:
    """Take a step of `changes`, the so manieth of all. No two are at one instant: a chart has one point for each."""
    await pass_time(stand.clock, 0.01)
    match event:
        case ["move", which]:
            stand.note(f"bulkemail_{which}", "processing", done=number)
        case ["end", many]:
            for each in range(many):
                stand.note(f"bulkemail_{number}_{each}", "done")
        case ["crowd"]:
            for each in range(MOST_AT_ONCE + 1):
                stand.note(f"bulkemail_crowd_{each}", "processing", done=number)


@some(30)
@example(steps=[*(("crowd",), ("wait", 3)) * 4, ("wait", 70)])
@given(steps=st.lists(changes | visits, min_size=10, max_size=30))
def test_in_any_order_of_visits_what_goes_is_gone_for_all(steps: list[Step]) -> None:
    """Also for who was cut off between two parts, or was away for longer than what goes is remembered."""

    async def try_it() -> None:
        async with showing() as stand, visiting(stand) as visitors:
            for number, each in enumerate(steps):
                await (change(stand, each, number) if each[0] in CHANGES else visit(visitors, each))
            for visitor in visitors:
                await visitor.go("close")
            await pass_time(stand.clock, TICK + 1)
            assert stand.publisher.n_clients == 0
            await check_agreement(visitors, stand)

    with no_errors():
        asyncio.run(try_it())
