"""What the tests of the wire share: a clock that keeps what was slept, and a server of a few lines."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Self

import attrs
from aiohttp import web

from closebulk_async import BulkEmail, CloseBulk
from closebulk_async.testing import FakeClock

if TYPE_CHECKING:
    from closebulk_async.simulator import Simulator

ACME: dict[str, Any] = {
    "type": "field_condition",
    "field": {"type": "regular_field", "object_type": "lead", "field_name": "name"},
    "condition": {"type": "text", "mode": "full_words", "value": "ACME"},
}
"""A query that can exclude a lead."""

KEY = "api_1wire1wire.2wire2wire"


class NotingClock(FakeClock):
    """Keeps the seconds of each sleep."""

    def __init__(self, *, auto: bool = True) -> None:
        super().__init__(auto=auto)
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        """Note it, and sleep."""
        self.slept.append(seconds)
        await super().sleep(seconds)


def connect(server: Simulator | Peer, clock: FakeClock, **options: Any) -> CloseBulk:
    """A client of that server, still to be entered."""
    return CloseBulk(**{"api_key": server.api_key, "base_url": server.base_url, "clock": clock, **options})


async def start_email(close: CloseBulk, *, template: str = "tmpl_1", timeout: float | None = None) -> BulkEmail:
    """Start a bulk email; those of one template are equal."""
    return await close.emails.create(
        template_id=template, email_account_id="emailacct_1", s_query=ACME, timeout=timeout
    )


def posts(sim: Simulator) -> int:
    """How many POSTs have arrived."""
    return methods(sim).count("POST")


def methods(sim: Simulator) -> list[str]:
    """The methods of the requests that have arrived."""
    return [request.method for request in sim.requests]


@attrs.frozen
class Seen:
    """A request as it arrived; `connection` is the client's end of it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: object


def answer_well(request: web.BaseRequest) -> web.Response:
    """A list with nothing in it for the path of a kind, else an action."""
    if request.method == "GET" and request.path.strip("/").count("/") <= 1:
        return web.Response(text='{"data":[],"has_more":false}', content_type="application/json")
    return web.Response(body=BulkEmail.example().to_json(), content_type="application/json")


@attrs.define(eq=False)
class Peer:
    """A server on 127.0.0.1 that answers what it is told, and notes what arrives over which connection."""

    answer: Callable[[web.BaseRequest], web.Response] = answer_well
    seen: list[Seen] = attrs.field(factory=list)
    api_key: str = KEY
    _server: web.Server = attrs.field(init=False)
    _stack: AsyncExitStack = attrs.field(factory=AsyncExitStack, init=False)
    _port: int = 0

    async def __aenter__(self) -> Self:
        self._server = web.Server(self._handle, access_log=None)
        runner = web.ServerRunner(self._server, shutdown_timeout=0.01)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self._port = runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def base_url(self) -> str:
        """Where it is, without any path."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def open_connections(self) -> int:
        """Connections that neither side has closed."""
        return len(self._server.connections)

    async def _handle(self, request: web.BaseRequest) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        connection = request.transport and request.transport.get_extra_info("peername")
        self.seen.append(Seen(request.method, request.path, headers, await request.content.read(), connection))
        return self.answer(request)
