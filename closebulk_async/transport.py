"""The only module that opens a connection: one request in, one response out, and when to send it again.

How Close's HTTP is spelled stands in `wire`; here is what happens on the way there and back.
"""

from __future__ import annotations

import ipaddress
import logging
import math
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

import aiohttp
import attrs
from aiohttp.payload import BytesPayload

from closebulk_async.auth import Auth
from closebulk_async.clock import Clock
from closebulk_async.errors import ClientClosedError, InvalidRequestError, TransportError
from closebulk_async.policy import RetryPolicy, Timeouts, after_hint
from closebulk_async.version import __version__
from closebulk_async.wire import Request, Response, hint, is_rejection, is_success

if TYPE_CHECKING:
    from aiohttp.abc import AbstractStreamWriter

logger = logging.getLogger("closebulk_async")

MAX_BODY = 32 * 1024 * 1024
"""Bytes of one answer, inflated:
two hundred times a page of 100 actions, so that only a mistake or malice exceeds it."""

MAX_REDIRECTS = 3
"""For reads only, and within one host: a redirected POST may lose its body, and another host must not get the key."""


@attrs.define(eq=False)
class Delivery:
    """Whether a request with a body may have reached the server, as of now. Its sender writes, its owner reads."""

    may_have_left: bool = False
    is_withdrawn: bool = False
    """Its owner wants no byte more to leave. What has left cannot be called back."""

    def begin(self) -> None:
        """Called before the first byte is written."""
        if self.is_withdrawn:
            message = "the request was withdrawn before it was sent"
            raise ConnectionAbortedError(message)
        self.may_have_left = True


class _TrackedBody(BytesPayload):
    """Notes the moment before the first byte of the body is written.

    The headers may have left a little earlier. But a server that has the headers alone has not got the request: their
    Content-Length promises a body.
    """

    def __init__(self, body: bytes, delivery: Delivery) -> None:
        super().__init__(body, content_type="application/json")
        self._delivery = delivery

    async def write(self, writer: AbstractStreamWriter) -> None:
        self._delivery.begin()
        await super().write(writer)

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        self._delivery.begin()
        await super().write_with_length(writer, content_length)


@attrs.frozen(kw_only=True)
class Connection:
    """Where to, as whom, and how patiently: what stays the same from request to request."""

    base_url: str
    auth: Auth
    timeouts: Timeouts
    retry: RetryPolicy
    clock: Clock
    tz_offset: float | None = None
    user_agent: str | None = None

    def headers(self) -> dict[str, str]:
        """The headers of every request."""
        headers = {
            "Accept": "application/json",
            "Authorization": self.auth.header(),
            "User-Agent": self.user_agent or f"closebulk-async/{__version__}",
        }
        if self.tz_offset is not None:  # 0 is a legal offset
            headers["x-tz-offset"] = f"{self.tz_offset:g}"
        return headers


def check_base_url(url: str) -> str:
    """`url` without its trailing slash. Raises InvalidRequestError: a key goes over plain HTTP to this machine only."""
    parts = urlsplit(url) if isinstance(url, str) else urlsplit("")
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        message = f"base_url must be like https://api.close.com/api/v1 and is {url!r}"
        raise InvalidRequestError(message)
    if parts.username or parts.password:
        message = "base_url holds a user or a password: pass api_key or auth instead"
        raise InvalidRequestError(message)
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        message = f"base_url {url!r} is not encrypted: over http:// a key goes to 127.0.0.1, ::1 and localhost only"
        raise InvalidRequestError(message)
    return url.rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_tz_offset(hours: float | None) -> float | None:
    """`hours` itself. Raises InvalidRequestError where it is no finite number."""
    if hours is not None and (
        isinstance(hours, bool) or not isinstance(hours, int | float) or not math.isfinite(hours)
    ):
        message = f"tz_offset must be hours from UTC, such as -4 or 5.5, and is {hours!r}"
        raise InvalidRequestError(message)
    return hours


class Transport:
    """Sends requests, on a session that it opens at the first one, or on the caller's, which it never closes.

    Requests that must not be sent twice go over a connection of their own. A pooled one may just be closing on the
    server's side, and then nobody knows whether what was sent was read. On a caller's session that is not to be had.
    """

    def __init__(self, connection: Connection, *, session: aiohttp.ClientSession | None = None) -> None:
        """Open nothing yet."""
        self._connection = connection
        self._callers_session = session
        self._own_sessions: dict[bool, aiohttp.ClientSession] = {}
        self._headers = connection.headers()
        timeouts = connection.timeouts
        # The bound on the whole goes by the clock; aiohttp's own would go by the loop's time.
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=timeouts.connect)
        self._is_open = False

    def open(self) -> None:
        """Allow requests."""
        self._is_open = True

    async def aclose(self) -> None:
        """Close what was opened here."""
        self._is_open = False
        sessions = list(self._own_sessions.values())
        self._own_sessions.clear()
        for session in sessions:
            await session.close()

    async def send(
        self,
        request: Request,
        *,
        retry: RetryPolicy | None = None,
        timeout: float | None = None,
        delivery: Delivery | None = None,
    ) -> Response:
        """The answer, of whatever status. Raises TransportError where none came, ClientClosedError where not open.

        A request is sent again after a 429, when it is proved never to have been sent, and, where that is safe, after
        anything else that is neither success nor rejection. `timeout` (seconds) bounds each exchange.
        """
        patience = _Patience(retry or self._connection.retry)
        delivery = delivery or Delivery()
        while True:
            delivery.may_have_left = False  # what came before this attempt is proved not to have been processed
            try:
                outcome: Response | TransportError = await self._exchange(request, timeout=timeout, delivery=delivery)
            except TransportError as exc:
                outcome = exc
            delay = patience.delay_before_repeat(request, outcome)
            if delay is not None:
                delivery.may_have_left = False
                logger.info("%s: %s; trying again in %.1f s", request, _describe(outcome), delay)
                await self._connection.clock.sleep(delay)
            elif isinstance(outcome, Response):
                return outcome
            else:
                raise outcome

    async def _exchange(self, request: Request, *, timeout: float | None, delivery: Delivery) -> Response:
        connection = self._connection
        session = self._session(reuse=request.is_safe_to_repeat)
        url = f"{connection.base_url}{request.path}"
        if request.query:
            url = f"{url}?{urlencode(request.query, safe=',')}"
        body = None if request.body is None else _TrackedBody(request.body, delivery)
        seconds = connection.timeouts.total if timeout is None else timeout
        try:
            async with (
                connection.clock.timeout(seconds),
                session.request(
                    request.method,
                    url,
                    headers=self._headers,
                    data=body,
                    timeout=self._timeout,
                    allow_redirects=request.is_safe_to_repeat,
                    max_redirects=MAX_REDIRECTS,
                ) as answer,
            ):
                content = await _read(answer, request)
                return Response(
                    status=answer.status,
                    headers=answer.headers,
                    body=content if is_success(answer.status) else self._redact(content),
                    now=connection.clock.now(),
                )
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as exc:
            raise self._failure(f"no connection: {exc}", request, sent=False) from exc
        except TimeoutError as exc:
            sent = request.body is None or delivery.may_have_left
            raise self._failure(f"no answer within {seconds:g} s", request, sent=sent) from exc
        except (aiohttp.ClientError, OSError) as exc:
            sent = request.body is None or delivery.may_have_left
            raise self._failure(f"no whole answer: {type(exc).__name__}: {exc}", request, sent=sent) from exc

    def _session(self, *, reuse: bool) -> aiohttp.ClientSession:
        if not self._is_open:
            message = "this client is not open: use it inside `async with CloseBulk(...) as close:`"
            raise ClientClosedError(message)
        if self._callers_session is not None:
            return self._callers_session
        session = self._own_sessions.get(reuse)
        if session is None:
            connector = aiohttp.TCPConnector(force_close=not reuse)
            session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
            self._own_sessions[reuse] = session
        return session

    def _redact(self, body: bytes) -> bytes:
        """Error pages of proxies show requests with their headers, and errors show bodies."""
        return self._connection.auth.redact(body.decode(errors="replace")).encode()

    def _failure(self, message: str, request: Request, *, sent: bool) -> TransportError:
        return TransportError(self._connection.auth.redact(message), request=str(request), sent=sent)


async def _read(answer: aiohttp.ClientResponse, request: Request) -> bytes:
    chunks, size = [], 0
    async for chunk in answer.content.iter_any():
        size += len(chunk)
        if size > MAX_BODY:
            answer.close()
            message = f"the answer is larger than {MAX_BODY} bytes"
            raise TransportError(message, request=str(request), sent=True)
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _describe(outcome: Response | TransportError) -> str:
    return f"answered {outcome.status}" if isinstance(outcome, Response) else str(outcome)


class _Patience:
    """What is left of a retry policy during one `send`."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._waits = policy.waits()
        self._attempts_left = policy.attempts
        self._wait_left = policy.max_wait

    def delay_before_repeat(self, request: Request, outcome: Response | TransportError) -> float | None:
        """Seconds to wait before the request is sent again; None where it is not."""
        if isinstance(outcome, TransportError):
            may_repeat, counts, asked = request.is_safe_to_repeat or not outcome.sent, True, None
        elif outcome.status == HTTPStatus.TOO_MANY_REQUESTS:
            # It was not processed, whatever it was. Not counted as a failed attempt: the server works, and said when.
            may_repeat, counts, asked = True, False, hint(outcome)
        else:
            is_answer = is_success(outcome.status) or is_rejection(outcome.status)
            may_repeat, counts, asked = request.is_safe_to_repeat and not is_answer, True, None
            if may_repeat:
                asked = hint(outcome)
        self._attempts_left -= counts
        if not may_repeat or (counts and self._attempts_left <= 0) or self._wait_left <= 0:
            return None
        delay = next(self._waits) if asked is None else after_hint(asked)
        if asked is not None and asked > self._wait_left:
            return None
        self._wait_left -= delay
        return delay
