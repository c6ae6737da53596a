"""The notifier: what it tells a channel, and that no channel can harm the client."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import attrs
import pytest
from aiohttp import web

from closebulk_async import AmbiguousStartError, StartReconciled
from closebulk_async.models import Kind
from closebulk_async.simulator import Plan, Simulator, faults
from tests.cli.programs import StillClock, environment, finish, for_simulator
from tests.integrations.examples import EVENTS, moved
from tests.journals import new_intent
from tests.stage import create

from .programs import example, run, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.stage import Stage
    from tests.traps import Trap

pytestmark = pytest.mark.usefixtures("on_path")

SECRET = "T0000SECRET"


@attrs.define
class Channel:
    """A chat channel in the place of Slack: what it got, and where it is."""

    url: str = ""
    texts: list[str] = attrs.field(factory=list)


@asynccontextmanager
async def channel(status: int = 200, *, hold: asyncio.Event | None = None) -> AsyncIterator[Channel]:
    """It answers with that status, once `hold` is set."""
    opened = Channel()

    async def receive(request: web.BaseRequest) -> web.Response:
        body = await request.json()
        assert body.keys() == {"text"}
        opened.texts.append(body["text"])
        if hold is not None:
            await hold.wait()
        return web.Response(status=status, headers={"Location": "/elsewhere"})

    runner = web.ServerRunner(web.Server(receive, access_log=None), shutdown_timeout=0.01)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        opened.url = f"http://127.0.0.1:{runner.addresses[0][1]}/services/{SECRET}"
        yield opened
    finally:
        await runner.cleanup()


async def test_by_itself_it_shows_one_that_ends_well_and_one_that_fails(trap: Trap) -> None:
    """At its own simulator, with a channel of its own."""
    env = {**trap.env, "SLACK_WEBHOOK_URL": trap.env["http_proxy"]}
    ended = await run("notifier.py", "--seconds", "0.2", env=env)
    assert ended.code == 0
    assert sorted(line.split(maxsplit=3)[3] for line in ended.lines) == ["has failed", "is done"]
    assert trap.caught == []


async def test_it_posts_to_the_channel_of_the_environment() -> None:
    """With --live it tells of what runs at Close, and starts nothing."""
    clock = StillClock()
    async with channel() as slack, Simulator(clock=clock) as sim:
        job = sim.add_job("email", plan=Plan(duration=10, n_objects=8), age=5)
        env = for_simulator(sim) | {"SLACK_WEBHOOK_URL": slack.url}
        async with example("notifier.py", "--live", env=env) as process:
            await until(lambda: any(job.id in request.path for request in sim.requests))
            clock.move(5)
            ended = await finish(process)
        assert {request.method for request in sim.requests} == {"GET"}
    assert ended.code == 0
    assert slack.texts == [f"email:{job.id} is done"]
    assert SECRET not in ended.out + ended.err


async def test_it_needs_a_channel_to_be_live() -> None:
    """Before anything is asked."""
    ended = await run("notifier.py", "--live", env=environment(CLOSE_API_KEY="api_real"))
    assert ended.code == 2
    assert "--live needs SLACK_WEBHOOK_URL" in ended.err


async def test_a_client_tells_of_ends_failures_and_doubts(stage: Stage) -> None:
    """One message for each, in their order; the last one names the intent that an operator has to look at."""
    from notifier import Notifier

    async with channel() as slack, Notifier(slack.url) as notifier, stage.client(hooks=[notifier]) as close:
        stage.sim.next_job(duration=5)
        stage.sim.next_job(duration=5, ends="error")
        done, failed = [await create(close, Kind.EMAIL, template_id=f"tmpl_{n}") for n in range(2)]
        for action in (done, failed):
            await close.wait_all([action])
        stage.sim.fail_next(faults.cut_before(), method="POST")
        with pytest.raises(AmbiguousStartError) as raised:
            await create(close, Kind.DELETE)
    doubt = (
        f"the start of a bulk delete is in doubt, no action of it was found: look at intent {raised.value.intent.id}"
    )
    assert slack.texts == [f"{done.ref} is done", f"{failed.ref} has failed", doubt]


async def test_it_is_silent_about_everything_else() -> None:
    """Of all events only the three are told; an end that was known before is no news."""
    from notifier import describe

    assert [describe(event) for event in EVENTS] == [None] * len(EVENTS)
    assert describe(moved(10, 40, status="done")) == "email:bulkemail_1 is done"
    ended = moved(10, 40, status="done")
    assert describe(attrs.evolve(ended, before=ended.action)) is None
    adopted = StartReconciled(intent=new_intent(), outcome="adopted")
    assert describe(adopted) is None
    assert describe(attrs.evolve(adopted, outcome="several")) is not None


DONE = moved(10, 40, status="done")


@pytest.mark.parametrize("status", [302, 404, 500])
async def test_what_the_channel_refuses_is_dropped(status: int, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, each once, without the URL; the next message is tried all the same."""
    from notifier import Notifier

    async with channel(status) as slack, Notifier(slack.url) as notifier:
        notifier(DONE)
        notifier(DONE)
    assert slack.texts == ["email:bulkemail_1 is done"] * 2
    said = f"the channel answered with {status}, dropped: email:bulkemail_1 is done"
    assert [record.getMessage() for record in caplog.records if record.name == "notifier"] == [said] * 2
    assert SECRET not in caplog.text


@pytest.mark.parametrize("url", [f"http://127.0.0.1:1/{SECRET}", f"no url {SECRET}", f"http://[{SECRET}"])
async def test_a_channel_that_cannot_be_reached_raises_nothing(url: str, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody listens there, or it is no URL at all."""
    from notifier import Notifier

    async with Notifier(url) as notifier:
        notifier(DONE)
    (said,) = [record.getMessage() for record in caplog.records if record.name == "notifier"]
    assert said.startswith("the channel cannot be reached (")
    assert said.endswith("), dropped: email:bulkemail_1 is done")
    assert SECRET not in caplog.text


async def test_a_channel_that_hangs_keeps_nobody_waiting(caplog: pytest.LogCaptureFixture) -> None:
    """The hook returns at once; beyond the bound of the queue messages are dropped, and at the end the rest is."""
    from notifier import Notifier

    hold = asyncio.Event()
    async with channel(hold=hold) as slack:
        async with Notifier(slack.url, size=2, patience=0) as notifier:
            for _ in range(5):
                notifier(DONE)
        hold.set()
    dropped = [record.getMessage().partition(",")[0] for record in caplog.records if record.name == "notifier"]
    assert dropped[:3] == ["the queue is full"] * 3
    assert dropped[3:] == ["no time was left"] * 2
    assert all(record.levelno == logging.WARNING for record in caplog.records if record.name == "notifier")
