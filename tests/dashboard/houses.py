"""A dashboard that is being served on this machine, and those who look at it: with a browser's stream, or with curl."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Self

import aiohttp
import attrs
from aiohttp import web

from closebulk_async import CloseBulk
from closebulk_async.dashboard import make_app
from closebulk_async.simulator import Plan, Simulator
from closebulk_async.testing import FakeClock
from tests.stage import EVERY_SECOND

if TYPE_CHECKING:
    from closebulk_async.simulator.jobs import Job

TOKEN = "a-token-that-nobody-guesses"


@attrs.frozen
class Answer:
    """One answer that was read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()

    def json(self) -> Any:  # noqa: ANN401 - whatever it holds
        """The body as JSON."""
        return json.loads(self.body)


@attrs.frozen
class Event:
    """One event of a stream."""

    name: str
    id: str | None
    data: Any


@attrs.define
class Page:
    """What an open page does: it applies what the stream says, as the page's own script."""

    response: aiohttp.ClientResponse
    rows: dict[str, Any] = attrs.field(factory=dict)
    version: str | None = None
    """The one that it would go on from."""
    close: Any = None
    unconfirmed: set[str] | None = None
    """While everything comes anew in parts: the rows of before that may be gone."""

    async def read(self) -> Event:
        """The next event."""
        fields: dict[str, str] = {}
        while line := (await self.response.content.readline()).decode().rstrip("\n"):
            name, _, value = line.partition(": ")
            fields[name] = value
        if "event" not in fields:
            if self.response.content.at_eof():
                raise EOFError
            return await self.read()
        return Event(fields["event"], fields.get("id"), json.loads(fields["data"]))

    async def take(self, name: str = "state") -> Any:  # noqa: ANN401 - whatever it holds
        """The data of the next event of a name; what comes before is applied as well."""
        while True:
            event = await self.read()
            if event.name == "state":
                self.apply(event.data)
            if event.name == name:
                return event.data

    def apply(self, state: Mapping[str, Any]) -> None:
        """Take in a state, or a part of one."""
        if state["reset"]:
            self.unconfirmed = set(self.rows)
        gone = set(state["removed"])
        if self.unconfirmed is not None:
            self.unconfirmed.difference_update(row["ref"] for row in state["actions"])
            if not state["more"]:
                gone, self.unconfirmed = gone | self.unconfirmed, None
        for ref in gone:
            self.rows.pop(ref, None)
        for row in state["actions"]:
            before = self.rows.get(row["ref"], {"samples": []})["samples"]
            later = [sample for sample in row["samples"] if not before or sample[0] > before[-1][0]]
            self.rows[row["ref"]] = {**row, "samples": before + later}
        self.version = self.version if state["more"] else state["version"]
        self.close = state["close"]

    async def until(self, house: House, **wanted: object) -> Any:  # noqa: ANN401 - the row
        """The row of which all that is `wanted` holds, after as many seconds as that takes."""
        for _ in range(100):
            for row in self.rows.values():
                if all(row[name] == value for name, value in wanted.items()):
                    return row
            reading = asyncio.create_task(self.read())
            while not reading.done():
                await house.clock.advance(1)
                await asyncio.wait([reading], timeout=0.01)
            event = await reading
            if event.name == "state":
                self.apply(event.data)
        raise AssertionError((wanted, self.rows))


@attrs.define(kw_only=True, eq=False)
class House:
    """Clock, simulator, client and dashboard. Time passes only when it is told to."""

    clock: FakeClock
    sim: Simulator
    close: CloseBulk
    http: aiohttp.ClientSession
    url: str
    runner: web.AppRunner

    def run_job(self, kind: str = "email", **fields: Any) -> str:
        """A job that runs for a minute, and its ref."""
        plan = fields.pop("plan", Plan(duration=60, n_objects=100))
        job: Job = self.sim.add_job(kind, fields, plan=plan)  # type: ignore[arg-type]  # one of the four
        return f"{kind}:{job.id}"

    async def ask(
        self, path: str, *, method: str = "GET", headers: Mapping[str, str] | None = None, **more: Any
    ) -> Answer:
        """Send a request. What the dashboard does for it may take no time but that of the network."""
        async with self.http.request(
            method, self.url + path, headers=headers, allow_redirects=False, **more
        ) as response:
            return Answer(response.status, response.headers, await response.read())

    @asynccontextmanager
    async def page(
        self, *, since: str | None = None, last: str | None = None, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[Page]:
        """An open page."""
        async with open_page(self.http, self.url, since=since, last=last, headers=headers) as page:
            yield page

    async def settle(self, seconds: float = 0.0) -> Self:
        """Let time pass, and what falls due with it, requests to the simulator included."""
        await self.clock.advance(seconds)
        return self

    async def sleeping(self, *asking: asyncio.Task[Any]) -> None:
        """Return when each of these requests is made to wait by the dashboard, or is answered."""
        before = self.clock.sleepers
        while self.clock.sleepers < before + sum(not task.done() for task in asking):
            await asyncio.wait(asking, timeout=0.01)  # however often: no moment of the machine decides

    async def csrf(self, headers: Mapping[str, str] | None = None) -> str:
        """What a page sends along with a change."""
        value: str = (await self.ask("/api/session", headers=headers)).json()["csrf"]
        return value


OWN: Mapping[str, Any] = {"samples": [], "seen_at": None}
"""What pages may have each of their own."""


def agree(mine: Mapping[str, Any], shown: Mapping[str, Any]) -> bool:
    """Whether the rows of a page are those that somebody sees who comes now.

    They may have points of a chart that others have not, and not know yet that a poll has shown nothing new.
    """
    return mine.keys() == shown.keys() and all(
        {**row, **OWN} == {**shown[ref], **OWN}
        and row["seen_at"] <= shown[ref]["seen_at"]
        and row["samples"][-1] == shown[ref]["samples"][-1]
        and all(sample in row["samples"] for sample in shown[ref]["samples"])
        for ref, row in mine.items()
    )


@asynccontextmanager
async def open_page(
    http: aiohttp.ClientSession,
    url: str,
    *,
    since: str | None = None,
    last: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> AsyncIterator[Page]:
    """An open page of a dashboard."""
    params = {} if since is None else {"since": since}
    sent = {**({} if last is None else {"Last-Event-ID": last}), **(headers or {})}
    async with http.get(url + "/api/events", params=params, headers=sent) as response:
        assert response.status == 200, await response.text()
        yield Page(response)


def count_pages(metrics: Answer) -> int:
    """How many pages are open, as the metrics say."""
    line = next(line for line in metrics.text.splitlines() if line.startswith("closebulk_dashboard_clients "))
    return int(float(line.rpartition(" ")[2]))


@asynccontextmanager
async def living(*, client: Mapping[str, Any] | None = None, **keywords: Any) -> AsyncIterator[House]:
    """A house whose dashboard has these keywords, and whose client has those of `client`."""
    clock = FakeClock(auto=False)
    options = {"clock": clock, "poll": EVERY_SECOND, **(client or {})}
    async with (
        Simulator(clock=clock) as sim,
        aiohttp.ClientSession() as http,
        CloseBulk(sim.api_key, base_url=sim.base_url, **options) as close,
        serving(make_app(close, clock=clock, **keywords)) as (url, runner),
    ):
        yield House(clock=clock, sim=sim, close=close, http=http, url=url, runner=runner)


@asynccontextmanager
async def serving(app: web.Application, *, buffer: int | None = None) -> AsyncIterator[tuple[str, web.AppRunner]]:
    """An application on this machine, and its address. `buffer` is how many bytes its system keeps for each reader."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        listener = socket.create_server(("127.0.0.1", 0))
        if buffer is not None:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
        await web.SockSite(runner, listener).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", runner
    finally:
        await runner.cleanup()
