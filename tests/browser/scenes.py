"""A dashboard with a simulator behind it and a page of a browser before it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Unpack

import attrs
import pytest
from aiohttp import web
from playwright.async_api import Browser, expect

from closebulk_async import CloseBulk, JobRef
from closebulk_async.dashboard import make_app
from closebulk_async.models import Kind
from closebulk_async.simulator import Plan, Simulator
from closebulk_async.testing import FakeClock
from tests.stage import EVERY_SECOND

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from playwright.async_api import ConsoleMessage, Page, Request

    from closebulk_async.simulator import Job
    from closebulk_async.simulator.plans import PlanChanges

PATIENCE = 20_000
"""Milliseconds that a page may take to show what it has been told, on however slow a machine."""

expect.set_options(timeout=PATIENCE)

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
"""As root there is no sandbox; the others keep the browser from calling hosts of its maker."""


def find_browser() -> str:
    """Where Chromium is. Without one the test is skipped, but not where CI runs."""
    for name in (os.environ.get("CLOSEBULK_CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome"):
        if name and (found := shutil.which(name)):
            return found
    missing = "there is no Chromium: apt-get install chromium, or say where one is in CLOSEBULK_CHROMIUM"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)


@attrs.define(kw_only=True, slots=False)  # Playwright keeps its own things on whoever it calls back
class Scene:
    """What a test of the page holds: time stands still until it is moved."""

    clock: FakeClock
    sim: Simulator
    close: CloseBulk
    browser: Browser
    options: Mapping[str, Any]
    port: int = 0
    _runner: web.AppRunner | None = None
    _site: web.TCPSite | None = None
    complaints: list[str] = attrs.field(factory=list)
    """What the browser's console has complained of, and what scripts have raised."""
    asked: list[str] = attrs.field(factory=list)
    """The address of each request of a page."""

    @property
    def url(self) -> str:
        """The page's address."""
        return f"http://127.0.0.1:{self.port}/"

    async def serve(self) -> None:
        """Serve the dashboard: at first on any port, later, in another process's place, on the same one."""
        runner = web.AppRunner(make_app(self.close, clock=self.clock, **self.options), shutdown_timeout=0)
        await runner.setup()
        self._runner = runner
        await self.listen()
        await self.clock.settle()

    async def listen(self) -> None:
        """Let connections come."""
        assert self._runner is not None
        self._site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await self._site.start()
        self.port = self._runner.addresses[0][1]

    async def cut(self) -> None:
        """Cut all connections, and let none come before `listen`. The server knows what it knew."""
        assert self._site is not None
        assert self._runner is not None
        await self._site.stop()
        for connection in list(self._runner.server.connections if self._runner.server else ()):
            connection.force_close()

    async def stop(self) -> None:
        """End the server; its connections are cut."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def open(self, address: str = "", **context: Any) -> Page:
        """A page of a browser that knows nothing yet, once it is live."""
        page = await (await self.browser.new_context(**context)).new_page()
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", self._note)
        await page.goto(self.url + address)
        return page

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)

    def _note(self, request: Request) -> None:
        self.asked.append(request.url)

    async def show(self, address: str = "", **context: Any) -> Page:
        """A page that has what the server has."""
        page = await self.open(address, **context)
        await expect(page.locator("#page-state")).to_have_text("live")
        await expect(page.locator("#close-state")).to_have_text("Close: answers")
        return page

    def run_job(self, kind: Kind = Kind.EMAIL, **plan: Unpack[PlanChanges]) -> JobRef[Any]:
        """A job that begins now."""
        return JobRef(kind, self.add_job(kind, plan=Plan(**plan)).id)

    def add_job(self, kind: Kind = Kind.EMAIL, **fields: Any) -> Job:
        """A job as `Simulator.add_job` makes it."""
        return self.sim.add_job(str(kind), **fields)  # type: ignore[arg-type]  # one of the four

    async def pass_time(self, seconds: float) -> None:
        """Let so many seconds pass for jobs, polls and the stream of events; the browser has its own time."""
        for _ in range(int(seconds)):
            await self.clock.advance(1)
        await self.clock.advance(seconds % 1)


@asynccontextmanager
async def staging(browser: Browser, *, journal: Path | None = None, **options: Any) -> AsyncIterator[Scene]:
    """A scene whose dashboard is not served yet; `options` are those of `make_app`."""
    clock = FakeClock(auto=False)
    async with (
        Simulator(clock=clock) as sim,
        CloseBulk(sim.api_key, base_url=sim.base_url, clock=clock, poll=EVERY_SECOND, journal=journal) as close,
    ):
        scene = Scene(clock=clock, sim=sim, close=close, browser=browser, options=options)
        try:
            yield scene
        finally:
            await scene.stop()
