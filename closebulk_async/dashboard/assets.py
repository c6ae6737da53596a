"""The files of the page, which come with the package: read once, and then a dict."""

from __future__ import annotations

from hashlib import sha256
from http import HTTPStatus
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING

import attrs
from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from importlib.resources.abc import Traversable

# Not the module `mimetypes`: that asks the machine, which may know nothing or something else.
_TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "md": "text/plain; charset=utf-8",
    "png": "image/png",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
    "woff2": "font/woff2",
}


@attrs.frozen
class Asset:
    """One file."""

    body: bytes
    content_type: str
    etag: str

    def answer(self, request: web.Request, *, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
        """The file, or that it is still the one that the browser has: it asks each time, so that no page is stale."""
        has = {tag.value for tag in request.if_none_match or ()}
        response = web.Response(headers={"Cache-Control": "no-cache"}, status=status)
        response.etag = self.etag
        if status is HTTPStatus.OK and self.etag in has:
            response.set_status(HTTPStatus.NOT_MODIFIED)
            return response
        response.headers["Content-Type"] = self.content_type
        response.body = self.body
        return response

    def filled(self, mark: bytes, text: bytes) -> Asset:
        """The file with a text in the place of a mark."""
        return _make(self.body.replace(mark, text), self.content_type)


def read_assets() -> Mapping[str, Asset]:
    """All files of the folder `static`, by their path in it."""
    return MappingProxyType(dict(_walk(files(__package__) / "static", "")))


def _walk(folder: Traversable, path: str) -> Iterator[tuple[str, Asset]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _walk(entry, f"{path}{entry.name}/")
        else:
            content_type = _TYPES.get(entry.name.rpartition(".")[2], "application/octet-stream")
            yield f"{path}{entry.name}", _make(entry.read_bytes(), content_type)


def _make(body: bytes, content_type: str) -> Asset:
    return Asset(body, content_type, sha256(body).hexdigest()[:32])
