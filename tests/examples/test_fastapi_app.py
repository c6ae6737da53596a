"""The FastAPI app: its pages, and the steps that it streams to them."""

from __future__ import annotations

import json
import re
import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx

from closebulk_async.simulator import Plan, Simulator
from tests.cli.programs import StillClock, finish, for_simulator, read_until

from .programs import example

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator

    from tests.traps import Trap

BAD = "<img src=x onerror=alert(1)>"


@asynccontextmanager
async def serving(*options: str, env: dict[str, str]) -> AsyncIterator[tuple[Process, httpx.AsyncClient]]:
    """The app as a process, and a client that knows no other host."""
    async with example("fastapi_app.py", "--port", "0", *options, env=env) as process:
        line = await read_until(process, "Uvicorn running on", stream="stderr")
        url = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert url
        async with httpx.AsyncClient(base_url=url[0], trust_env=False, timeout=60) as http:
            yield process, http


async def read_steps(http: httpx.AsyncClient, path: str) -> list[dict[str, Any]]:
    """What a page is told until the stream ends."""
    async with http.stream("GET", f"{path}/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        return [json.loads(line.removeprefix("data: ")) async for line in answer.aiter_lines() if line]


async def test_a_page_shows_an_action_until_it_is_done(trap: Trap) -> None:
    """By itself it starts an action at its own simulator, lists it, and streams its steps to the end."""
    async with serving("--seconds", "0.5", "--leads", "7", env=trap.env) as (process, http):
        (path,) = re.findall(r'href="(/actions/delete:bulkdelete_\w+)"', (await http.get("/")).text)
        page = await http.get(path)
        steps = await read_steps(http, path)
        process.send_signal(signal.SIGINT)
        ended = await finish(process)
    assert path.removeprefix("/actions/") in page.text
    assert "<progress>" in page.text
    last = steps[-1]
    assert (last["status"], last["n_objects_processed"], last["fraction"], last["is_final"]) == ("done", 7, 1.0, True)
    assert not any(step["is_final"] for step in steps[:-1])
    assert "Finished server process" in ended.err
    assert "Traceback" not in ended.err
    assert trap.caught == []


async def test_what_comes_from_close_is_escaped_and_no_other_host_is_asked() -> None:
    """Words of a query and of a status are text in the page, and the page may load nothing from elsewhere."""
    async with Simulator(clock=StillClock()) as sim:
        query = {"type": "text", "mode": "full_words", "value": BAD}
        job = sim.add_job("email", status=BAD, s_query=query)
        async with serving("--live", env=for_simulator(sim)) as (_, http):
            pages = [await http.get("/"), await http.get(f"/actions/email:{job.id}"), await http.get("/live.js")]
    for page in pages:
        assert page.status_code == 200
        assert BAD not in page.text
        assert not re.search(r"https?://", page.text)
    assert all("&lt;img src=x onerror=alert(1)&gt;" in page.text for page in pages[:2])
    assert all("default-src 'none'; script-src 'self'" in page.headers["content-security-policy"] for page in pages[:2])


async def test_a_page_says_whether_it_connects_again() -> None:
    """A browser gives up where the answer is no stream; then the page does not say that it goes on trying."""
    async with Simulator(clock=StillClock()) as sim, serving("--live", env=for_simulator(sim)) as (_, http):
        script = (await http.get("/live.js")).text
    given_up, goes_on = re.findall(r"EventSource\.CLOSED \? \"(.+?)\" : \"(.+?)\"", script)[0]
    assert "reload" in given_up
    assert goes_on == "connecting again"


async def test_an_action_that_fails_says_so() -> None:
    """The last step has the error, and the stream ends."""
    async with Simulator(clock=StillClock()) as sim:
        job = sim.add_job("email", plan=Plan(duration=10, ends="error", n_objects=8), age=20)
        async with serving("--live", env=for_simulator(sim)) as (_, http):
            *_, last = await read_steps(http, f"/actions/email:{job.id}")
            assert not [request for request in sim.requests if request.method != "GET"]
    assert last["is_final"]
    assert last["error"].endswith("the action failed; the API gives no reason")


async def test_what_is_not_there_is_404_and_another_host_gets_nothing() -> None:
    """A text that is no ref, an action that nobody knows, and a name that somebody made lead here."""
    async with Simulator(clock=StillClock()) as sim, serving("--live", env=for_simulator(sim)) as (_, http):
        for path in ("/actions/foo", "/actions/foo/events", "/actions/email:bulkemail_unknown"):
            assert (await http.get(path)).status_code == 404
        assert (await http.get("/", headers={"host": "attacker.example"})).status_code == 400
        assert (await http.get("/docs")).status_code == 404
