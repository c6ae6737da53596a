"""The one way to a service: forwards what a guard lets through, one at a time and in no hurry, and keeps all of it."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web
from aiohttp.payload import BytesPayload
from yarl import URL

from closebulk_async.ratelimit import parse_rate_limit, retry_after
from tests.contract.exchanges import Ask, Exchange
from tests.contract.guards import judge_read

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from aiohttp.abc import AbstractStreamWriter

    from closebulk_async.clock import Clock

TOO_MANY = 429

MOST_REQUESTS = 130
"""More than a run needs, so that a slip cannot become a stream of requests."""

ATTEMPTS = 4
"""Of a request that meets a 429, which says that it was not processed; of any other failure there is no second one."""

LONGEST_WAIT = 60.0
"""Seconds that are waited for a limit at the most."""

# The method override would make a read of what the guard takes for one, or the other way round: it is not among them.
_FORWARDED = frozenset({"accept", "authorization", "content-type", "user-agent", "x-tz-offset"})

_OF_THE_CONNECTION = frozenset({"connection", "keep-alive", "transfer-encoding", "content-encoding", "content-length"})


class _Once(BytesPayload):
    """A body that leaves once: aiohttp sends a PUT again by itself when its connection was cut."""

    has_left = False

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        if self.has_left:
            raise ConnectionAbortedError("the request was sent, and its outcome is not known")
        self.has_left = True
        await super().write_with_length(writer, content_length)


class GateError(Exception):
    """A request that is not let through."""


class Gate:
    """Lets requests to `upstream` (a base URL) through, in two ways: `send`, and as a server at `base_url`.

    `judge` says why a request is refused, `note` is told of each answer. Between two requests are `gap` seconds, and as
    many as the service's limits ask for; what meets a 429 is sent again.
    """

    def __init__(
        self,
        upstream: str,
        *,
        clock: Clock,
        gap: float = 0.0,
        judge: Callable[[Ask], str | None] = judge_read,
        note: Callable[[Exchange], None] = lambda _: None,
        most: int = MOST_REQUESTS,
    ) -> None:
        self.exchanges: list[Exchange] = []
        self.refusals: list[str] = []
        self._upstream = upstream.rstrip("/")
        self._prefix = urlsplit(self._upstream).path
        self._clock = clock
        self._gap = gap
        self._judge = judge
        self._note = note
        self._most = most
        self._turn = asyncio.Lock()
        self._next_at = -math.inf
        self._session: aiohttp.ClientSession | None = None
        self._runner = web.ServerRunner(web.Server(self._serve, access_log=None), shutdown_timeout=1.0)
        self._port = 0

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self._port = int(self._runner.addresses[0][1])
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()

    @property
    def base_url(self) -> str:
        """Where a client of the package finds the service, behind this gate."""
        return f"http://127.0.0.1:{self._port}{self._prefix}"

    async def send(self, ask: Ask) -> Exchange:
        """Let one request through. Raises GateError for one that is refused, and has then sent nothing."""
        async with self._turn:
            self._check(self._judge(ask), ask)
            exchange = await self._exchange(ask)
            for _ in range(ATTEMPTS - 1):
                # What changes something is sent once: that a 429 was not processed is one of the open questions.
                if exchange.status != TOO_MANY or judge_read(ask) is not None:
                    break
                exchange = await self._exchange(ask)
            self._note(exchange)
            return exchange

    def _check(self, reason: str | None, ask: Ask) -> None:
        if reason is not None:
            self.refusals.append(f"{ask}: {reason}")
            raise GateError(self.refusals[-1])

    async def _exchange(self, ask: Ask) -> Exchange:
        """One exchange, when its time has come."""
        if len(self.exchanges) >= self._most:
            self._check(f"these were {self._most} requests already", ask)
        await self._clock.sleep(max(0.0, self._next_at - self._clock.monotonic()))
        exchange = await self._ask(ask)
        self.exchanges.append(exchange)
        self._next_at = self._clock.monotonic() + max(self._gap, min(_asked_wait(exchange), LONGEST_WAIT))
        return exchange

    async def _ask(self, ask: Ask) -> Exchange:
        if self._session is None:
            raise GateError("the gate is not open")
        async with self._session.request(
            ask.method,
            URL(f"{self._upstream}{ask.path}{'?' if ask.query else ''}{ask.query}", encoded=True),
            data=_Once(ask.body, content_type="application/json") if ask.body else None,
            headers=dict(ask.headers),
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=60),
        ) as response:
            body = await response.read()
            headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in response.raw_headers)
            return Exchange(ask=ask, status=response.status, headers=headers, body=body, at=self._clock.now())

    async def _serve(self, http: web.BaseRequest) -> web.StreamResponse:
        ask = Ask(
            method=http.method,
            path=http.rel_url.raw_path.removeprefix(self._prefix),
            query=http.rel_url.raw_query_string,
            body=await http.read(),
            headers={name.lower(): value for name, value in http.headers.items() if name.lower() in _FORWARDED},
        )
        try:
            exchange = await self.send(ask)
        except GateError as error:
            return web.json_response({"error": str(error)}, status=403)
        headers = [(name, value) for name, value in exchange.headers if name.lower() not in _OF_THE_CONNECTION]
        return web.Response(status=exchange.status, headers=headers, body=exchange.body)


def _asked_wait(exchange: Exchange) -> float:
    """Seconds for which the service wants nothing: until its window ends where nothing is left, or as a 429 says."""
    headers = {name.lower(): value for name, value in exchange.headers}
    if exchange.status == TOO_MANY:
        return retry_after(headers, body=exchange.json, now=exchange.at) or 1.0
    window = parse_rate_limit(headers.get("ratelimit", ""))
    return window.reset or 1.0 if window.remaining is not None and window.remaining < 1 else 0.0
