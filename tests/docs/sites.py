"""A folder of HTML in a browser: what a reader on a telephone, in the dark, would stumble over."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urldefrag, urljoin

import attrs
from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Browser, ConsoleMessage, Page, Route

WIDTH = 360

FACTS = """async () => {
    for (const image of document.images) image.loading = 'eager';
    await Promise.all([...document.images].map(image => image.decode().catch(() => null)));
    return {
        ids: [...document.querySelectorAll('[id]')].map(element => element.id),
        links: [...document.querySelectorAll('a[href]')].map(link => link.href),
        images: [...document.images].filter(image => !image.naturalWidth).map(image => image.src),
        width: document.documentElement.scrollWidth,
        ground: getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number),
    };
}"""

REFRESH = re.compile(r'http-equiv="refresh" content="0; url=([^"]+)"')
"""What leads on to another page by itself."""

BLACK_ENOUGH = 60
"""Of a ground in the dark, from 0 to 255."""


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[str]:
    """The folder at an address of this machine."""
    app = web.Application()
    app.router.add_static("/", folder)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


@attrs.define(slots=False)  # Playwright keeps its own things on whoever it calls back
class Visit:
    """One look at each page of a site."""

    folder: Path
    url: str
    complaints: list[str] = attrs.field(factory=list)
    _facts: dict[str, Mapping[str, Any]] = attrs.field(factory=dict)
    _now: str = ""

    async def look_at_all(self, page: Page) -> None:
        """Open each page, and then follow its links to what was seen."""
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self._complain(f"raises {error}"))
        await page.route("**/*", self._let_through)
        for path in sorted(self.folder.rglob("*.html")):
            self._now = path.relative_to(self.folder).as_posix()
            if found := REFRESH.search(path.read_text(encoding="utf-8")):  # it would leave while it is looked at
                self._facts[self._now] = {"ids": [], "links": [urljoin(self.url + self._now, found[1])]}
                continue
            await page.goto(self.url + self._now)
            self._judge(await page.evaluate(FACTS))
        for self._now, facts in self._facts.items():  # noqa: B020 - whose complaints these are
            for link in dict.fromkeys(facts["links"]):
                self._follow(link)

    def _judge(self, facts: Mapping[str, Any]) -> None:
        self._facts[self._now] = facts
        for image in facts["images"]:
            self._complain(f"shows nothing for {self._short(image)}")
        if facts["width"] > WIDTH:
            self._complain(f"is {facts['width']} wide on a screen of {WIDTH}")
        if sum(facts["ground"][:3]) / 3 > BLACK_ENOUGH:
            self._complain("is not dark in the dark")

    def _follow(self, link: str) -> None:
        address, fragment = urldefrag(link)
        if not address.startswith(self.url):
            return
        path = unquote(address.removeprefix(self.url))
        if not (self.folder / path).is_file():
            self._complain(f"leads to {path or '/'}, which is not there")
        elif fragment and path in self._facts and unquote(fragment) not in self._facts[path]["ids"]:
            self._complain(f"leads to {path}#{fragment}, which is not there")

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self._complain(f"says on the console: {message.text}")

    async def _let_through(self, route: Route) -> None:
        if route.request.url.startswith((self.url, "data:")):
            await route.continue_()
        else:
            self._complain(f"asks for {route.request.url}")
            await route.abort("aborted")

    def _short(self, address: str) -> str:
        return address.removeprefix(self.url)

    def _complain(self, what: str) -> None:
        self.complaints.append(f"{self._now} {what}")


async def complaints_of(browser: Browser, folder: Path) -> list[str]:
    """What is wrong with a site, page by page; no request of it has left the machine."""
    context = await browser.new_context(viewport={"width": WIDTH, "height": 740}, color_scheme="dark")
    async with serving(folder) as url:
        visit = Visit(folder, url)
        await visit.look_at_all(await context.new_page())
    await context.close()
    return visit.complaints
