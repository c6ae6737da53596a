"""The examples of the page about webhooks, executed."""

from __future__ import annotations

import itertools
import os
import socket
import sys
import types
from contextlib import suppress
from typing import TYPE_CHECKING

import httpx

from closebulk_async.simulator import Simulator, WebhookRules
from tests.docs.blocks import blocks_of
from tests.docs.pages import ROOT
from tests.docs.running import run_beside
from tests.letters import EVENT, KEY, OTHER_KEY, sign, write

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from closebulk_async.webhook_models import WebhookEvent

PAGE = ROOT / "docs" / "webhooks.md"
WITH_AIOHTTP, WITH_FASTAPI = (block.text for block in blocks_of(PAGE) if block.language == "python")


N_PORTS = 16
FIRST_PORT = 12_000 + os.getpid() % 1000 * N_PORTS
PORTS = itertools.cycle(range(FIRST_PORT, FIRST_PORT + N_PORTS))
"""Ports of this process alone: tests that run beside it have others, and systems give out only higher ones."""


def free_port() -> int:
    """A port of this machine that nobody listens on, nor is about to."""
    for port in itertools.islice(PORTS, N_PORTS):
        with socket.socket() as found, suppress(OSError):
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as those do that are going to listen there
            found.bind(("127.0.0.1", port))
            return port
    message = f"no port from {FIRST_PORT} on is free"
    raise AssertionError(message)


async def test_the_aiohttp_example_ends_by_a_webhook_and_keeps_its_key(tmp_path: Path) -> None:
    """Run twice, it subscribes once, and takes what the service delivers."""
    port = free_port()
    async with Simulator(webhook_rules=WebhookRules(delay=0)) as simulator:
        printed = []
        for _ in range(2):
            simulator.next_job(duration=0.5, n_objects=1)
            url = f"http://127.0.0.1:{port}/close/webhook"
            ran = await run_beside(simulator, WITH_AIOHTTP, tmp_path, PUBLIC_URL=url, PORT=str(port))
            assert ran.code == 0, ran.complaints
            printed += ran.printed.splitlines()
        delivered = {delivery.event["action"] for delivery in simulator.deliveries if delivery.outcome == "delivered"}
        made = [
            request for request in simulator.requests if (request.method, request.path[-9:]) == ("POST", "/webhook/")
        ]
    assert printed == [f"done: delete:{job.id}" for job in simulator.jobs]
    assert len(made) == 1
    assert "created" in delivered
    assert (tmp_path / "close-webhook.key").stat().st_mode & 0o777 == 0o600


async def test_the_fastapi_example_takes_what_is_genuine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signed event goes to the client, another one gets a 401, and the client is open while the application is."""
    async with Simulator() as simulator:
        monkeypatch.setenv("CLOSE_WEBHOOK_KEY", KEY)
        monkeypatch.setenv("CLOSE_API_KEY", simulator.api_key)
        monkeypatch.setenv("CLOSE_BASE_URL", simulator.base_url)
        # Under a name at which FastAPI finds the annotations of its functions.
        example = types.ModuleType("webhook_example")
        monkeypatch.setitem(sys.modules, "webhook_example", example)
        exec(WITH_FASTAPI, vars(example))  # noqa: S102 - our own page
        ears: list[WebhookEvent] = []
        transport = httpx.ASGITransport(app=example.app)
        async with example.lifespan(example.app), httpx.AsyncClient(transport=transport, base_url="http://x") as http:
            assert (await example.app.state.close.emails.list()).data == []

            async def post(key: str) -> int:
                body = write()
                return (await http.post("/close/webhook", content=body, headers=sign(body, key=key))).status_code

            assert await post(KEY) == 200
            example.app.state.close = types.SimpleNamespace(notify=ears.append)
            assert (await post(KEY), await post(OTHER_KEY)) == (200, 401)
    assert [event.id for event in ears] == [EVENT["id"]]
