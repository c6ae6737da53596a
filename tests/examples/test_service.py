"""The service: jobs over HTTP, ends by webhook, and what is left of it after a crash."""

from __future__ import annotations

import signal
from asyncio.subprocess import Process
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import attrs
import pytest

from closebulk_async.simulator import Simulator, WebhookRules
from closebulk_async.testing import FakeClock
from tests.cli.programs import environment, finish, for_simulator, read_until
from tests.test_webhook_docs import free_port

from .programs import example, run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.traps import Trap

ACME = {"company": "ACME Inc."}


@attrs.frozen
class Service:
    """A running service, and a way to talk to it."""

    process: Process
    url: str
    http: aiohttp.ClientSession

    async def put(self, key: str, body: object = ACME) -> tuple[int, str]:
        """Ask for a campaign: the status and the body of the answer."""
        async with self.http.put(f"{self.url}/campaigns/{key}", json=body) as answer:
            return answer.status, await answer.text()

    async def start(self, key: str) -> str:
        """Ask for a campaign, and get the ref of its action."""
        async with self.http.put(f"{self.url}/campaigns/{key}", json=ACME) as answer:
            assert answer.status == 202
            ref: str = (await answer.json())["ref"]
            return ref

    async def progress(self, key: str) -> dict[str, Any] | None:
        """How far a campaign is, if the service knows."""
        async with self.http.get(f"{self.url}/campaigns/{key}") as answer:
            if answer.status == 404:
                return None
            told: dict[str, Any] = await answer.json()
            return told

    async def says(self, text: str) -> str:
        """The first line of its log from now on that holds `text`."""
        return await read_until(self.process, text, stream="stderr")


@asynccontextmanager
async def serving(*options: str, env: dict[str, str]) -> AsyncIterator[Service]:
    """The service, once it serves."""
    async with example("service.py", *options, env=env) as process, aiohttp.ClientSession() as http:
        url = (await read_until(process, "serving on", stream="stderr")).rpartition(" ")[2]
        yield Service(process, url, http)


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    """In the place of Close; its time passes when a test says so."""
    async with Simulator(clock=FakeClock(auto=False), webhook_rules=WebhookRules(delay=0)) as simulator:
        yield simulator


@pytest.fixture
def options(tmp_path: Path) -> tuple[str, ...]:
    """A service that asks so rarely by itself that whatever it learns in a test it learns by webhooks."""
    port = str(free_port())
    names = ("--template-id", "tmpl_1", "--email-account-id", "emailacct_1")
    where = ("--port", port, "--public-url", f"http://127.0.0.1:{port}", "--folder", str(tmp_path / "kept"))
    return ("--live", "--poll-every", "3600", *names, *where)


async def test_it_starts_hears_crashes_recovers_and_starts_nothing_twice(
    sim: Simulator, options: tuple[str, ...]
) -> None:
    """A job ends by a webhook; a second one outlives a killed service, and the next process goes on with it."""
    clock = sim.clock
    assert isinstance(clock, FakeClock)
    sim.next_job(duration=60, n_objects=40)
    sim.next_job(duration=3600, n_objects=40)
    async with serving(*options, env=for_simulator(sim)) as service:
        first = await service.start("first")
        assert await service.progress("unknown") is None
        await clock.advance(60)
        await service.says("first: done")
        done = await service.progress("first")
        assert done is not None
        assert (done["ref"], done["status"], done["n_objects_processed"]) == (first, "done", 40)
        second = await service.start("second")
        await clock.advance(60)
        service.process.send_signal(signal.SIGKILL)
        assert await service.process.wait() == -signal.SIGKILL
    async with serving(*options, env=for_simulator(sim)) as service:
        assert second in await service.says("second goes on")
        assert await service.start("second") == second
        assert await service.start("first") == first
        await clock.advance(3600)
        await service.says("second: done")
        service.process.send_signal(signal.SIGTERM)
        ended = await finish(service.process)
    assert ended.code == 0
    assert "service:stopped" in ended.err
    assert [f"email:{job.id}" for job in sim.jobs] == [first, second]
    assert [job.request["template_id"] for job in sim.jobs] == ["tmpl_1"] * 2
    assert len(sim.webhooks) == 1
    assert {delivery.outcome for delivery in sim.deliveries if delivery.event["action"] == "completed"} == {"delivered"}


async def test_it_refuses_what_cannot_be_started(sim: Simulator, options: tuple[str, ...]) -> None:
    """What is wrong with a request is the caller's, and says so; a key belongs to one request."""
    async with serving(*options, env=for_simulator(sim)) as service:
        assert (await service.put("a", ["ACME"]))[0] == 400
        assert (await service.put("a", {"company": ""}))[0] == 400
        assert (await service.put("a"))[0] == 202
        status, text = await service.put("a", {"company": "Another Inc."})
    assert status == 409
    assert "belongs to another request" in text
    assert len(sim.jobs) == 1


async def test_a_job_outlives_a_service_that_is_stopped(trap: Trap) -> None:
    """By itself it starts a job of its own simulator's; stopped in the middle, it ends well."""
    async with serving("--port", "0", "--seconds", "1000", env=trap.env) as service:
        await service.start("long")
        while await service.progress("long") is None:
            pass
        service.process.send_signal(signal.SIGTERM)
        ended = await finish(service.process)
    assert ended.code == 0
    assert "the job goes on" in ended.err
    assert "Traceback" not in ended.err
    assert trap.caught == []


async def test_to_be_live_it_needs_a_key_and_names(options: tuple[str, ...]) -> None:
    """With --live it never falls back to a simulator, and never to names of the simulator's."""
    keyless = await run("service.py", *options, env=environment())
    assert keyless.code == 1
    assert "set CLOSE_API_KEY" in keyless.err
    nameless = await run("service.py", "--live", env=environment(CLOSE_API_KEY="api_real"))
    assert nameless.code == 2
    assert "--live needs --public-url, --template-id and --email-account-id" in nameless.err
