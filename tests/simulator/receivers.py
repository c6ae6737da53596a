"""A receiver of webhooks of a few lines, so that these tests do not depend on the one of the package."""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import ssl
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any, Self

from aiohttp import web
from attrs import define, field, frozen

from closebulk_async.testing import FakeClock
from closebulk_async.testing.fake_clock import START


@frozen
class Post:
    """One delivery as it arrived, `at` so many seconds after the test began."""

    at: float
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        """The event in the body."""
        event = json.loads(self.body)["event"]
        assert isinstance(event, dict)
        return event

    def is_signed_with(self, key: str) -> bool:
        """Whether the hash is right for the body as it came."""
        signed = self.headers["close-sig-timestamp"].encode() + self.body
        return hmac.new(bytes.fromhex(key), signed, hashlib.sha256).hexdigest() == self.headers["close-sig-hash"]


@define(eq=False)
class Receiver:
    """Serves on 127.0.0.1 and notes what comes; `answer` says with which status, `seconds` after how long."""

    clock: FakeClock
    answer: Callable[[Post], int] = field(default=lambda _: 200)
    seconds: float = 0.0
    posts: list[Post] = field(factory=list)
    tls: ssl.SSLContext | None = None
    most_at_once: int = 0
    port: int = 0
    _at_once: int = 0
    _server: web.Server = field(init=False)
    _stack: AsyncExitStack = field(factory=AsyncExitStack, init=False)

    async def __aenter__(self) -> Self:
        self._server = web.Server(self._handle, handler_cancellation=True, access_log=None)
        runner = web.ServerRunner(self._server, shutdown_timeout=0.01)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", self.port, ssl_context=self.tls).start()
        self.port = runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}/hook"

    @property
    def open_connections(self) -> int:
        """Connections that neither side has closed."""
        return len(self._server.connections)

    @property
    def told(self) -> list[tuple[float, str]]:
        """The instants and actions of what came."""
        return [(post.at, post.event["action"]) for post in self.posts]

    async def _handle(self, request: web.BaseRequest) -> web.Response:
        at = (self.clock.now() - START).total_seconds()
        post = Post(at, {name.lower(): value for name, value in request.headers.items()}, await request.read())
        self.posts.append(post)
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            if self.seconds:
                with self.clock.hold():
                    await self.clock.sleep(self.seconds)
        finally:
            self._at_once -= 1
        status = self.answer(post)
        return web.Response(status=status, headers={"location": self.url} if status // 100 == 3 else {})


NEVER = math.inf
"""The seconds of a receiver that does not answer."""


def unwell(times: int) -> Callable[[Post], int]:
    """Answers 500 so often, then 200."""
    left = [500] * times
    return lambda _: left.pop() if left else 200
