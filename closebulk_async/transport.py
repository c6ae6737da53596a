"""The only module that opens a connection: one request in, one response out, and when to send it again.

How Close's HTTP is spelled stands in `wire`; here is what happens on the way there and back.
"""

from __future__ import annotations

import asyncio
import logging
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlencode, urljoin, urlsplit

import aiohttp
import attrs
from aiohttp.payload import Payload
from yarl import URL

from closebulk_async.clock import SystemClock
from closebulk_async.errors import ClientClosedError, DecodeError, TransportError
from closebulk_async.policy import RetryPolicy, after_hint
from closebulk_async.wire import Request, Response, hint, is_rejection, is_success

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aiohttp.abc import AbstractStreamWriter

    from closebulk_async.settings import Settings

logger = logging.getLogger("closebulk_async")

T = TypeVar("T")

MAX_BODY = 32 * 1024 * 1024
"""Bytes of one answer, inflated:
two hundred times a page of 100 actions, so that only a mistake or malice exceeds it."""

MAX_REDIRECTS = 3
"""For reads without a body only, and within one origin: a redirected POST may lose its body, and another host must not
get the key, nor answer in the service's place."""

REDIRECTS = frozenset({301, 302, 303, 307, 308})


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
        if self.may_have_left:
            # aiohttp sends a PUT again by itself when the connection was cut, without a word to its caller.
            message = "the request was sent, and its outcome is not known"
            raise ConnectionAbortedError(message)
        self.may_have_left = True


class _TrackedBody(Payload):
    """Notes the moment before the first byte of the body is written.

    The headers may have left a little earlier. But a server that has the headers alone has not got the request: their
    Content-Length promises a body. Not aiohttp's own payload for bytes, which warns from a megabyte on.
    """

    _autoclose = True  # there is nothing to close

    def __init__(self, body: bytes, delivery: Delivery) -> None:
        super().__init__(body, content_type="application/json")
        self._size = len(body)
        self._delivery = delivery

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return str(self._value, encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        self._delivery.begin()
        await writer.write(self._value)

    async def write_with_length(
        self,
        writer: AbstractStreamWriter,
        content_length: int | None,  # noqa: ARG002 - it is that of this very body, which aiohttp took from `size`
    ) -> None:
        await self.write(writer)


class Transport:
    """Sends requests, on a session that it opens at the first one, or on the caller's, which it never closes.

    Requests that must not be sent twice go over a connection of their own. A pooled one may just be closing on the
    server's side, and then nobody knows whether what was sent was read. On a caller's session that is not to be had.
    """

    def __init__(self, settings: Settings, *, session: aiohttp.ClientSession | None = None) -> None:
        """Open nothing yet."""
        self._settings = settings
        self._callers_session = session
        self._own_sessions: dict[bool, aiohttp.ClientSession] = {}
        self._headers = settings.headers()
        # aiohttp bounds an exchange by the loop's time, for less than any other bound would cost; a clock that is not
        # the loop's has to do it itself.
        self._is_loops_time = isinstance(settings.clock, SystemClock)
        self._timeout = self._bound(settings.timeouts.total)
        self._is_open = self._is_closed = False
        self._naps: set[asyncio.Future[None]] = set()

    @property
    def retry(self) -> RetryPolicy:
        """The policy of all requests that are given none of their own."""
        return self._settings.retry

    @property
    def base_url(self) -> str:
        """Where all requests go, without a slash at the end."""
        return self._settings.base_url

    @property
    def is_open(self) -> bool:
        """Whether requests may be sent."""
        return self._is_open

    def check_open(self) -> None:
        """Raise ClientClosedError where no request may be sent, not yet or no more."""
        if not self._is_open:
            message = "this client is not open: use it inside `async with CloseBulk(...) as close:`"
            raise ClientClosedError(message)

    def open(self) -> None:
        """Allow requests. Raises ClientClosedError where they were allowed once and are over."""
        if self._is_closed:
            message = "this client was closed: make a new one"
            raise ClientClosedError(message)
        self._is_open = True

    def stop(self) -> None:
        """Begin no request any more, and wait for no repeat; what is under way may end."""
        self._is_closed, self._is_open = True, False
        for nap in self._naps:
            nap.cancel()

    async def aclose(self) -> None:
        """Close what was opened here."""
        self.stop()
        sessions = list(self._own_sessions.values())
        self._own_sessions.clear()
        for session in sessions:
            await session.close()

    async def sleep(self, seconds: float) -> None:
        """Wait before a repeat. Ends early when the client is closed: the repeat then raises."""
        if not self._is_open:
            return
        nap = asyncio.ensure_future(self._settings.clock.sleep(seconds))
        self._naps.add(nap)
        try:
            await asyncio.wait({nap})
        finally:
            self._naps.discard(nap)
            nap.cancel()

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
        return await self._send(request, Patience(retry or self.retry), delivery or Delivery(), timeout=timeout)

    async def read(
        self, request: Request, reader: Callable[[Request, Response], T], *, timeout: float | None = None
    ) -> T:
        """What `reader` makes of the answer to a request that is safe to repeat.

        An answer that it cannot read (DecodeError) is asked for again, as often as the policy allows in all. `timeout`
        (seconds) bounds each exchange.
        """
        patience = Patience(self.retry)
        while True:
            response = await self._send(request, patience, Delivery(), timeout=timeout)
            try:
                return reader(request, response)
            except DecodeError as exc:
                delay = patience.delay(asked=None)
                if delay is None:
                    raise
                logger.info("%s; trying again in %.1f s", exc, delay)
            await self.sleep(delay)

    async def _send(
        self, request: Request, patience: Patience, delivery: Delivery, *, timeout: float | None
    ) -> Response:
        fetch = self._fetch if self._is_loops_time else self._fetch_in_time
        seconds = self._settings.timeouts.total if timeout is None else timeout
        while True:
            delivery.may_have_left = False  # what came before this attempt is proved not to have been processed
            try:
                outcome: Response | TransportError = await fetch(request, delivery, seconds)
            except TransportError as exc:
                outcome = exc
            except (aiohttp.ClientError, OSError) as exc:
                # Raised below, where it has no context: `exc` itself may hold the headers of the request.
                outcome = self._explain(exc, request, delivery, seconds=seconds)
            if isinstance(outcome, Response) and is_success(outcome.status):
                return outcome
            # Whoever withdrew it wants to know what became of it, and no second try.
            delay = None if delivery.is_withdrawn else _delay_before_repeat(request, outcome, patience)
            if delay is None or not self._is_open:
                return self._conclude(request, outcome)
            delivery.may_have_left = False
            logger.info("%s: %s; trying again in %.1f s", request, _describe(outcome), delay)
            await self.sleep(delay)

    def _conclude(self, request: Request, outcome: Response | TransportError) -> Response:
        if isinstance(outcome, Response):
            return outcome
        if request.is_safe_to_repeat and not self._is_open:
            message = f"{request}: this client was closed meanwhile"
            raise ClientClosedError(message) from outcome
        raise outcome

    def _bound(self, seconds: float) -> aiohttp.ClientTimeout:
        total = max(seconds, 0.001) if self._is_loops_time else None  # by 0 aiohttp means no bound at all
        return aiohttp.ClientTimeout(total=total, sock_connect=self._settings.timeouts.connect)

    async def _fetch_in_time(self, request: Request, delivery: Delivery, seconds: float) -> Response:
        async with self._settings.clock.timeout(seconds):
            return await self._fetch(request, delivery, seconds)

    async def _fetch(self, request: Request, delivery: Delivery, seconds: float) -> Response:
        """Send it once, and follow redirects where that is harmless."""
        bound = self._timeout if seconds == self._settings.timeouts.total else self._bound(seconds)
        url = _make_url(self._settings.base_url, request.path, request.query)
        hops_left = MAX_REDIRECTS if request.is_safe_to_repeat and request.body is None else 0
        while True:
            async with self._session(reuse=request.is_safe_to_repeat).request(
                request.method,
                url,
                headers=None if self._callers_session is None else self._headers,
                data=None if request.body is None else _TrackedBody(request.body, delivery),
                timeout=bound,
                allow_redirects=False,
                raise_for_status=False,  # whatever a caller's session does: statuses are judged in `wire`
            ) as answer:
                target = _redirect_target(answer) if hops_left and answer.status in REDIRECTS else None
                if target is None:
                    return Response(
                        status=answer.status,
                        headers=answer.headers,
                        body=self._redact(await _read(answer, request)),
                        now=self._settings.clock.now(),
                    )
                url, hops_left = target, hops_left - 1

    def _explain(
        self, exc: aiohttp.ClientError | OSError, request: Request, delivery: Delivery, *, seconds: float
    ) -> TransportError:
        never_connected = isinstance(exc, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)
        if never_connected:
            message = f"no connection: {exc}"
        elif isinstance(exc, TimeoutError):
            message = f"no answer within {seconds:g} s"
        else:
            message = f"no whole answer: {type(exc).__name__}: {exc}"
        # Not by the kind of error where there is a body: aiohttp may have connected again after the body had left.
        sent = not never_connected if request.body is None else delivery.may_have_left
        failure = TransportError(self._settings.auth.redact(message), request=str(request), sent=sent)
        failure.__cause__ = self._without_secrets(exc)
        return failure

    def _without_secrets(self, exc: aiohttp.ClientError | OSError) -> BaseException:
        """`exc`, or its text where it would show the key.

        A ClientResponseError holds the headers of the request; a parser's error quotes what the server sent.
        """
        redact, text = self._settings.auth.redact, f"{exc} {exc!r} {exc.__cause__!r} {exc.__context__!r}"
        if isinstance(exc, aiohttp.ClientResponseError) or redact(text) != text:
            return aiohttp.ClientError(redact(str(exc)))
        return exc

    def _session(self, *, reuse: bool) -> aiohttp.ClientSession:
        self.check_open()
        if self._callers_session is not None:
            if self._callers_session.closed:
                message = "the session that this client was given is closed"
                raise ClientClosedError(message)
            return self._callers_session
        session = self._own_sessions.get(reuse)
        if session is None:
            connector = aiohttp.TCPConnector(force_close=not reuse)
            session = aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar(), headers=self._headers
            )
            self._own_sessions[reuse] = session
        return session

    def _redact(self, body: bytes) -> bytes:
        """Error pages of proxies show requests with their headers, and errors and logs show what bodies hold."""
        text = body.decode(errors="replace")
        shown = self._settings.auth.redact(text)
        return body if shown == text else shown.encode()


@lru_cache(maxsize=1024)
def _make_url(base_url: str, path: str, query: tuple[tuple[str, str], ...]) -> URL:
    """What polls ask for again and again; aiohttp would parse the text anew each time."""
    text = f"{base_url}{path}"
    return URL(f"{text}?{urlencode(query, safe=',')}" if query else text)


def _redirect_target(answer: aiohttp.ClientResponse) -> URL | None:
    """Where a redirect leads; None where there is none, or it leads to another origin."""
    location = answer.headers.get("location")
    if not location:
        return None
    try:
        target = urljoin(str(answer.url), location)
        here, there = urlsplit(str(answer.url)), urlsplit(target)
    except ValueError:
        return None
    return URL(target) if (here.scheme, here.netloc) == (there.scheme, there.netloc) else None


async def _read(answer: aiohttp.ClientResponse, request: Request) -> bytes:
    if (answer.content_length or MAX_BODY) < MAX_BODY and "content-encoding" not in answer.headers:
        return await answer.read()  # it says itself that it is no larger
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


class Patience:
    """What is left of a retry policy during one operation."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._waits: Iterator[float] | None = None
        self._attempts_left = policy.attempts
        self._wait_left = policy.max_wait

    def delay(self, *, asked: float | None, counts: bool = True) -> float | None:
        """Seconds to wait before the next attempt, None where there is none. `asked` is the server's own hint.

        `counts` says whether the attempt that was made is one of those that the policy allows.
        """
        self._attempts_left -= counts
        if (counts and self._attempts_left <= 0) or self._wait_left <= 0:
            return None
        if asked is not None and asked > self._wait_left:
            return None
        if self._waits is None:
            self._waits = self._policy.waits()
        delay = next(self._waits) if asked is None else after_hint(asked)
        self._wait_left -= delay
        return delay


def _delay_before_repeat(request: Request, outcome: Response | TransportError, patience: Patience) -> float | None:
    """Seconds to wait before the request is sent again; None where it is not."""
    if isinstance(outcome, TransportError):
        return patience.delay(asked=None) if request.is_safe_to_repeat or not outcome.sent else None
    if outcome.status == HTTPStatus.TOO_MANY_REQUESTS:
        # It was not processed, whatever it was. Where the server said when, it is not counted as a failed attempt.
        asked = hint(outcome)
        return patience.delay(asked=asked, counts=asked is None)
    if is_success(outcome.status) or is_rejection(outcome.status) or not request.is_safe_to_repeat:
        return None
    return patience.delay(asked=hint(outcome))
