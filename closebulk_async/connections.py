"""The only module that opens a connection: one request in, one response out.

How Close's HTTP is spelled stands in `wire`; what is done when an exchange fails stands in `transport`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urljoin, urlsplit

import aiohttp
import attrs
from aiohttp.payload import Payload
from yarl import URL

from closebulk_async.clock import SystemClock
from closebulk_async.errors import SHOWN_REASON_LENGTH, ClientClosedError, TransportError, shorten
from closebulk_async.incoming import Fetcher
from closebulk_async.wire import Request, Response

if TYPE_CHECKING:
    from aiohttp.abc import AbstractStreamWriter

    from closebulk_async.auth import RenewableAuth
    from closebulk_async.settings import Settings

MAX_BODY = 32 * 1024 * 1024
"""Bytes of one answer, inflated:
two hundred times a page of 100 actions, so that only a mistake or malice exceeds it."""

MAX_REDIRECTS = 3
"""For reads without a body only, and within one origin: a redirected POST may lose its body, and another host must not
get the key, nor answer in the service's place."""

_PLAIN = {"Accept": "application/json", "Accept-Encoding": "identity"}
"""For the session that inflates nothing."""

REDIRECTS = frozenset({301, 302, 303, 307, 308})


@attrs.define(eq=False)
class Delivery:
    """Whether a request with a body may have reached the server, as of now. Its sender writes, its owner reads."""

    may_have_left: bool = False
    is_withdrawn: bool = False
    """Its owner wants no byte more to leave. What has left cannot be called back."""
    has_place: bool = False
    """A place in the budget is reserved for it, which it has not used yet."""
    failed: int = 0
    """How many attempts its owner has made before it was sent."""
    generation: int = 0
    """That of the header that it was sent with, of an auth whose header changes."""

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


class Connections:
    """The sessions: opened at the first request, or the caller's, which is never closed here.

    Requests that must not be sent twice go over a connection of their own. A pooled one may just be closing on the
    server's side, and then nobody knows whether what was sent was read. On a caller's session that is not to be had.
    """

    def __init__(self, settings: Settings, *, session: aiohttp.ClientSession | None) -> None:
        """Open nothing yet."""
        self._settings = settings
        self._callers_session = session
        self._own_sessions: dict[bool | None, aiohttp.ClientSession] = {}
        """By whether they use connections again; that for files, which holds no key, under None."""
        self._headers = settings.headers()
        self._renewable = settings.renewable
        self._own_headers = None if session is None else self._headers
        # aiohttp bounds an exchange by the loop's time, for less than any other bound would cost; a clock that is not
        # the loop's has to do it itself.
        self._is_loops_time = isinstance(settings.clock, SystemClock)
        self._timeout = self._bound(settings.timeouts.total)
        self._is_closed = False
        self.is_open: bool = False
        """Whether requests may be sent."""

    def check_open(self) -> None:
        """Raise ClientClosedError where no request may be sent, not yet or no more."""
        if not self.is_open:
            message = "this client is not open: use it inside `async with CloseBulk(...) as close:`"
            raise ClientClosedError(message)

    def open(self) -> None:
        """Allow requests. Raises ClientClosedError where they were allowed once and are over."""
        if self._is_closed:
            message = "this client was closed: make a new one"
            raise ClientClosedError(message)
        self.is_open = True

    def stop(self) -> None:
        """Begin no request any more; what is under way may end."""
        self._is_closed, self.is_open = True, False

    async def aclose(self) -> None:
        """Close what was opened here."""
        self.stop()
        sessions = list(self._own_sessions.values())
        self._own_sessions.clear()
        for session in sessions:
            await session.close()

    async def exchange(self, request: Request, delivery: Delivery, *, seconds: float) -> Response | TransportError:
        """The answer of whatever status, or why there is none. Raises ClientClosedError where not open.

        Harmless redirects are followed. `seconds` bounds all of it.
        """
        fetch = self._fetch if self._is_loops_time else self._fetch_in_time
        try:
            return await fetch(request, delivery, seconds)
        except TransportError as exc:
            return exc
        except (aiohttp.ClientError, OSError) as exc:
            # Not raised here, where `exc` would be its context: that may hold the headers of the request.
            return self._explain(exc, request, delivery, seconds=seconds)

    async def send_form(self, url: str, form: bytes) -> Response | TransportError:
        """The answer of whatever status to a POST of a form, or why there is none. Raises ClientClosedError.

        Nothing of the auth is sent along, and nothing of the answer hidden: it is a secret itself.
        """
        request = Request(method="POST", path=urlsplit(url).path)
        bound = self._settings.timeouts.total
        try:
            async with (
                self._settings.clock.timeout(bound),
                self._bare_session().post(
                    URL(url),
                    data=form,
                    headers={"Content-Type": "application/x-www-form-urlencoded", **_PLAIN},
                    timeout=self._timeout,
                    allow_redirects=False,
                ) as answer,
            ):
                body = await _read(answer, request)
                return Response(status=answer.status, headers=answer.headers, body=body, now=self._settings.clock.now())
        except TransportError as exc:
            return exc
        except (aiohttp.ClientError, OSError) as exc:
            return self._explain(exc, request, Delivery(), seconds=bound)

    def _current_headers(self, auth: RenewableAuth, delivery: Delivery) -> dict[str, str]:
        delivery.generation = auth.generation
        return {**(self._own_headers or {}), "Authorization": auth.header()}

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
        headers = self._own_headers if self._renewable is None else self._current_headers(self._renewable, delivery)
        hops_left = MAX_REDIRECTS if request.is_safe_to_repeat and request.body is None else 0
        while True:
            async with self._session(reuse=request.is_safe_to_repeat).request(
                request.method,
                url,
                headers=headers,
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
        said = shorten(
            self._settings.auth.redact(message), limit=SHOWN_REASON_LENGTH
        )  # not the other way round: half a key
        failure = TransportError(said, request=str(request), sent=sent)
        failure.__cause__ = self._without_secrets(exc)
        return failure

    def _without_secrets(self, exc: aiohttp.ClientError | OSError) -> BaseException:
        """`exc`, or its text where it would show the key.

        A ClientResponseError holds the headers of the request; a parser's error quotes what the server sent.
        """
        redact, text = self._settings.auth.redact, f"{exc} {exc!r} {exc.__cause__!r} {exc.__context__!r}"
        if isinstance(exc, aiohttp.ClientResponseError) or redact(text) != text:
            return aiohttp.ClientError(shorten(redact(str(exc)), limit=SHOWN_REASON_LENGTH))
        return exc

    def _session(self, *, reuse: bool) -> aiohttp.ClientSession:
        self.check_open()
        if self._callers_session is not None:
            if self._callers_session.closed:
                message = "the session that this client was given is closed"
                raise ClientClosedError(message)
            return self._callers_session
        if reuse not in self._own_sessions:
            self._open_session(reuse, aiohttp.TCPConnector(force_close=not reuse), headers=self._headers)
        return self._own_sessions[reuse]

    def download(self, name: str) -> Fetcher:
        """For the file behind a link, which `name` names: nothing of the key or the caller's session is sent along.

        A caller's session lends its connections. Raises ClientClosedError where not open.
        """
        return Fetcher(session=self._bare_session(), settings=self._settings, name=name)

    def _bare_session(self) -> aiohttp.ClientSession:
        """One that sends nothing of the key or of the caller's session."""
        self.check_open()
        lent = None if self._callers_session is None else self._session(reuse=True).connector
        if None not in self._own_sessions:
            self._open_session(
                None,
                lent or aiohttp.TCPConnector(),
                headers={"User-Agent": self._headers["User-Agent"]},
                connector_owner=lent is None,
                auto_decompress=False,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._settings.timeouts.connect),
            )
        return self._own_sessions[None]

    def _open_session(self, reuse: bool | None, connector: aiohttp.BaseConnector, **options: Any) -> None:  # noqa: FBT001 - a key
        jar = aiohttp.DummyCookieJar()
        self._own_sessions[reuse] = aiohttp.ClientSession(connector=connector, cookie_jar=jar, **options)

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
        return URL(target) if (here.scheme, here.netloc) == (there.scheme, there.netloc) else None
    except ValueError:
        return None


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
