"""One browser for each test, and a scene with a dashboard that is served."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.async_api import async_playwright

from .scenes import FLAGS, Scene, find_browser, staging

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Browser


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """The machine's own Chromium, without a window."""
    path = find_browser()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        await browser.close()


@pytest.fixture
async def scene(browser: Browser) -> AsyncIterator[Scene]:
    """A dashboard that may not change anything. Jobs are added first, then it is served."""
    async with staging(browser) as scene:
        yield scene
