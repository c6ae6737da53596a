"""A file behind a link, as it comes in: over a session that holds no key, piece by piece."""

from __future__ import annotations

from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

import aiohttp
import attrs
from yarl import URL

from closebulk_async.errors import SHOWN_REASON_LENGTH, DecodeError, TransportError, shorten
from closebulk_async.file_wire import resolve_link
from closebulk_async.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Mapping

T = TypeVar("T")

MAX_HOPS = 5
"""Redirects that are followed: to any host, as nothing is sent along that is meant for one."""

REDIRECTS = frozenset({301, 302, 303, 307, 308})


@attrs.frozen(kw_only=True, eq=False)
class Incoming:
    """An answer whose headers are there."""

    answer: aiohttp.ClientResponse
    fetcher: Fetcher

    @property
    def status(self) -> int:
        """That of the answer."""
        return self.answer.status

    @property
    def headers(self) -> Mapping[str, str]:
        """Case-insensitive."""
        return self.answer.headers

    async def read(self) -> bytes:
        """The bytes that have come, as they were sent; at the end, none. Raises TransportError."""
        return await self.fetcher.bounded(self.answer.content.readany())


@attrs.frozen(kw_only=True, eq=False)
class Fetcher:
    """Asks for the file behind a link, without a key. `name` is what errors call it: a link lets anybody have it."""

    session: aiohttp.ClientSession
    settings: Settings
    name: str

    @asynccontextmanager
    async def open(self, link: str, headers: Mapping[str, str]) -> AsyncGenerator[Incoming, None]:
        """The answer to a GET, of whatever status but a redirect. Raises TransportError and DecodeError."""
        is_plain_allowed = self.settings.base_url.startswith("http:")  # which it is on this machine only
        base = ""
        for _ in range(MAX_HOPS + 1):
            found = resolve_link(link, base=base, is_plain_allowed=is_plain_allowed)
            if found is None:
                raise self._nowhere()
            base = found
            try:
                answer = await self.bounded(self._get(found, headers))
            except UnicodeError:  # of a name that no resolver takes, such as one with two dots in a row
                raise self._nowhere() from None
            try:
                if answer.status not in REDIRECTS or "location" not in answer.headers:
                    yield Incoming(answer=answer, fetcher=self)
                    return
                link = answer.headers["location"]
            finally:
                answer.close()  # the rest of a body that nobody wants
        message = f"more than {MAX_HOPS} redirects"
        raise TransportError(message, request=self.name, sent=True)

    async def _get(self, url: str, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        # Quoted anew, a link might not be the one that was signed.
        is_encoded = url.isascii() and url.isprintable() and " " not in url
        return await self.session.get(URL(url, encoded=is_encoded), headers=headers, allow_redirects=False)

    async def bounded(self, coming: Awaitable[T]) -> T:
        """What comes, if anything comes before the bound of a request has passed. Raises TransportError."""
        seconds = self.settings.timeouts.total
        try:
            async with self.settings.clock.timeout(seconds):
                return await coming
        except (aiohttp.ClientError, OSError) as exc:
            failure = self._explain(exc, seconds=seconds)
        raise failure  # not in the block, where `exc` would be its context: that may hold the link

    def _nowhere(self) -> DecodeError:
        message = "the link leads nowhere that may be asked: expected an https:// address"
        return DecodeError(message, status=HTTPStatus.OK, request=self.name, body="")

    def _explain(self, exc: aiohttp.ClientError | OSError, *, seconds: float) -> TransportError:
        if isinstance(exc, aiohttp.ClientConnectorError):
            return TransportError(f"no connection: {exc}", request=self.name, sent=False)
        if isinstance(exc, TimeoutError):
            return TransportError(f"nothing came for {seconds:g} s", request=self.name, sent=True)
        # A response's error shows the link in its text, and a few others in theirs.
        said = exc.message if isinstance(exc, aiohttp.ClientResponseError) else _without_links(str(exc))
        said = shorten(said, limit=SHOWN_REASON_LENGTH)
        return TransportError(f"the connection broke: {type(exc).__name__}: {said}", request=self.name, sent=True)


def _without_links(text: str) -> str:
    return " ".join(urlsplit(word)._replace(query="").geturl() if "://" in word else word for word in text.split())
