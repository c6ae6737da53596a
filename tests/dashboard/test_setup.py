"""The dashboard in an application of somebody's own, and what it needs to be there."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web

from closebulk_async import CloseBulk, InvalidRequestError, dashboard
from closebulk_async.dashboard.guards import HEADERS
from closebulk_async.simulator import Simulator
from closebulk_async.testing import FakeClock

from .houses import TOKEN, House, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def mounted(**keywords: Any) -> AsyncIterator[House]:
    """An application with a page of its own, which opens and closes the client."""
    clock = FakeClock(auto=False)
    async with Simulator(clock=clock) as sim, aiohttp.ClientSession() as http:
        close = CloseBulk(sim.api_key, base_url=sim.base_url, clock=clock)

        async def own_page(_: web.Request) -> web.Response:
            return web.Response(text="its own")

        async def open_client(_: web.Application) -> AsyncIterator[None]:
            async with close:
                yield

        app = web.Application()
        app.router.add_get("/", own_page)
        app.cleanup_ctx.append(open_client)
        dashboard.setup(app, close, clock=clock, **keywords)
        async with serving(app) as (url, runner):
            yield House(clock=clock, sim=sim, close=close, http=http, url=url, runner=runner)


async def test_it_is_served_below_a_path() -> None:
    """With all that belongs to it, and nothing else of the application is changed by that."""
    async with mounted() as house:
        ref = house.run_job()
        await house.settle(2)
        assert (await house.ask("/closebulk/")).status == 200
        assert (await house.ask("/closebulk/static/index.html")).status == 200
        assert [row["ref"] for row in (await house.ask("/closebulk/api/actions")).json()["actions"]] == [ref]
        own = await house.ask("/", headers={"Host": "www.example.com"})
        assert (own.status, own.text) == (200, "its own")
        assert not HEADERS.keys() & own.headers.keys()


async def test_without_the_last_slash_the_page_is_found_as_well() -> None:
    """It is sent there, because below the path its parts would not be found."""
    async with mounted(prefix="/admin/bulk/") as house:
        answer = await house.ask("/admin/bulk")
        assert (answer.status, answer.headers["Location"]) == (308, "bulk/")
        assert (await house.ask("/admin/bulk/")).status == 200


@pytest.mark.parametrize("path", ["/closebulk/", "/closebulk/nothing", "/closebulk/api/actions", "/closebulk"])
async def test_below_its_path_its_rules_hold(path: str) -> None:
    """Also for what is not there."""
    async with mounted() as house:
        answer = await house.ask(path, headers={"Host": "www.example.com"})
        assert answer.status == 421
        assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS


async def test_its_session_is_sent_to_no_other_page_of_the_application() -> None:
    """And it needs a token where one is given."""
    async with mounted(token=TOKEN) as house:
        assert (await house.ask("/closebulk/api/actions")).status == 401
        assert (await house.ask("/")).status == 200
        entered = await house.ask("/closebulk/login", method="POST", data={"token": TOKEN})
        assert (entered.status, entered.headers["Location"]) == (303, "./")
        assert "; Path=/closebulk;" in entered.headers["Set-Cookie"]


async def test_a_stream_ends_with_the_application() -> None:
    """Although its client is closed before the dashboard is told to end; no task is left."""
    async with mounted() as house:
        async with house.http.get(house.url + "/closebulk/api/events") as response:
            assert await response.content.readline()
            await house.runner.cleanup()
            await response.content.read()
        assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("closebulk_async")]


@pytest.mark.parametrize("prefix", ["", "/", "closebulk", None])
async def test_a_path_that_is_none_is_refused(prefix: str) -> None:
    """At the root there would be no room for the application itself."""
    with pytest.raises(InvalidRequestError, match="prefix"):
        dashboard.setup(web.Application(), CloseBulk("api_1"), prefix=prefix)


@pytest.mark.parametrize("keywords", [{"token": "short"}, {"allowed_hosts": "name"}, {"beat": -1}])
async def test_what_cannot_be_is_refused_at_once(keywords: Any) -> None:  # noqa: ANN401 - each of its own type
    """Before anything is served."""
    with pytest.raises(InvalidRequestError):
        dashboard.make_app(CloseBulk("api_1"), **keywords)


def test_the_error_names_the_extra() -> None:
    """It is an ImportError of the library that is missing."""
    program = (
        "import sys\n"
        "sys.modules['prometheus_client'] = None\n"
        "try:\n"
        "    import closebulk_async.dashboard\n"
        "except ImportError as exc:\n"
        "    print(exc)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("pip install 'closebulk-async[dashboard]'")
