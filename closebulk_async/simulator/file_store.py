"""The store of the files of exports as a function from requests to answers: it wants its links and no key.

It speaks as object stores do, whose errors are XML.
"""

from __future__ import annotations

import base64
import hashlib
import re
from email.utils import format_datetime
from typing import TYPE_CHECKING

from attrs import frozen

from .export_files import StoredFile
from .export_links import named_file
from .messages import Answer, Headers, Request

if TYPE_CHECKING:
    from .export_rules import ExportRules
    from .exporting import Export, Exports
    from .knobs import Knobs

_CONTENT_TYPES = {"csv": "text/csv", "json": "application/json"}
_RANGE = re.compile(r"bytes=(\d*)-(\d*)", re.ASCII)


@frozen(kw_only=True)
class Stretch:
    """An answer that is a file, or the part of one from `start` to before `stop`."""

    status: int
    headers: Headers
    file: StoredFile
    start: int
    stop: int


class FileStore:
    """Answers requests for the files of exports."""

    def __init__(self, knobs: Knobs, exports: Exports) -> None:
        self._knobs = knobs
        self._exports = exports

    def answer(self, request: Request, *, ignores_range: bool = False, shift: int = 0) -> Answer | Stretch:
        """Carry out one request; a part of a file begins `shift` bytes after the place that was asked for."""
        if refusal := self._refuse(request):
            return refusal
        export = self._exports.find_file(named_file(request.path), request.at)
        if export is None:
            return _error(404, "NoSuchKey", "The specified key does not exist.")
        rules, file = self._knobs.export_rules, export.file
        headers = _describe(export, rules)
        span = None if ignores_range or not rules.accepts_ranges else _read_range(request, file, _etag(export, rules))
        if span is None:
            md5 = (("content-md5", base64.b64encode(file.md5).decode()),) if rules.content_md5 else ()
            return Stretch(status=200, headers=(*headers, *md5), file=file, start=0, stop=file.length)
        start, stop = min(max(0, span[0] + shift), file.length), span[1]
        if start >= stop:
            error = _error(416, "InvalidRange", "The requested range is not satisfiable")
            return error.with_headers((("content-range", f"bytes */{file.length}"),))
        where = ("content-range", f"bytes {start}-{stop - 1}/{file.length}")
        return Stretch(status=206, headers=(*headers, where), file=file, start=start, stop=stop)

    def _refuse(self, request: Request) -> Answer | None:
        links = self._exports.links
        if "authorization" in request.headers:
            return _error(400, "InvalidArgument", "Only one auth mechanism allowed")
        # A link is signed for one method as well.
        if request.method != "GET" or not links.is_signed(request.path, request.query):
            return _error(403, "SignatureDoesNotMatch", "The request signature does not match the signature provided.")
        if links.has_expired(request.query, request.at):
            return _error(403, "AccessDenied", "Request has expired")
        return None


def _describe(export: Export, rules: ExportRules) -> Headers:
    content_type = _CONTENT_TYPES[export.file_name.rpartition(".")[2]]
    headers: Headers = (
        ("content-type", content_type),
        ("content-encoding", "gzip"),
        ("last-modified", format_datetime(export.ended_at, usegmt=True)),
    )
    if rules.accepts_ranges:
        headers = (*headers, ("accept-ranges", "bytes"))
    tag = _etag(export, rules)
    return (*headers, ("etag", tag)) if tag else headers


def _etag(export: Export, rules: ExportRules) -> str:
    """A strong one; empty where there is none."""
    if rules.etag == "md5":
        return f'"{export.file.md5.hex()}"'
    # As of a file that was stored in two parts: as long as an MD5, and the MD5 of nothing that is sent.
    digest = hashlib.md5(export.id.encode(), usedforsecurity=False).hexdigest()
    return f'"{digest}-2"' if rules.etag else ""


def _read_range(request: Request, file: StoredFile, etag: str) -> tuple[int, int] | None:
    """The part that is asked for, the end of the file at most; None for the whole of it.

    A part is given only of the file that `If-Range` names, and a range of any other form is ignored.
    """
    found = _RANGE.fullmatch(request.headers.get("range", "").strip())
    condition = request.headers.get("if-range")
    if found is None or not any(found.groups()) or condition not in (None, etag):
        return None
    first, last = found.groups()
    if not first:
        return max(0, file.length - int(last)), file.length
    stop = min(int(last) + 1, file.length) if last else file.length
    return None if last and int(last) < int(first) else (int(first), stop)


def _error(status: int, code: str, message: str) -> Answer:
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return Answer(status, text.encode(), (("content-type", "application/xml"),))
