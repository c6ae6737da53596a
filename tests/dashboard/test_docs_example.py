"""The example of docs/dashboard.md: the dashboard in an application of one's own."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

import aiohttp

from closebulk_async.simulator import Simulator
from tests.cli.programs import environment, read_until, running_program
from tests.docs.blocks import blocks_of
from tests.docs.pages import ROOT
from tests.test_webhook_docs import free_port

if TYPE_CHECKING:
    from pathlib import Path


async def test_it_serves_the_page_below_its_prefix(tmp_path: Path) -> None:
    """The program serves the page and what it shows, and ends well when it is told to."""
    (example,) = (block for block in blocks_of(ROOT / "docs" / "dashboard.md") if block.language == "python")
    port = free_port()
    async with Simulator() as simulator:
        simulator.add_job("email", status="done", age=60)
        env = environment(CLOSE_API_KEY=simulator.api_key, CLOSE_BASE_URL=simulator.base_url, PORT=str(port))
        command = (sys.executable, "-W", "error", "-u", "-c", example.text)
        async with running_program(*command, env=env) as program, aiohttp.ClientSession() as browser:
            await read_until(program, f"http://127.0.0.1:{port}")
            async with browser.get(f"http://127.0.0.1:{port}/closebulk/") as page:
                assert (page.status, page.content_type) == (200, "text/html")
            program.send_signal(signal.SIGINT)
            assert await program.wait() == 0
