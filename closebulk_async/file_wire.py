"""What the server of an export's file says of it, and what to ask it for. Pure.

It is not Close's API: a link leads to some store of files, which needs no key.
"""

from __future__ import annotations

import base64
import binascii
import re
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit, urlunsplit

import attrs

from closebulk_async.errors import APIError, error_of_status
from closebulk_async.wire import Response, hint

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

EXPIRED = frozenset({400, 401, 403, 404, 410})
"""What stores answer to a link whose time has passed: a fresh one may help. How long one lives is
documented nowhere."""

# No file has more bytes than eighteen digits say, and thousands of digits are no number to Python.
_PART = re.compile(r"bytes (?P<first>\d{1,18})-\d{1,18}/(?P<total>\d{1,18}|\*)", re.IGNORECASE | re.ASCII)
_LENGTH = re.compile(r"[0-9]{1,18}")


@attrs.define(kw_only=True)
class FileState:
    """What is known of the file behind a link, in bytes as they are sent: compressed, as a rule."""

    position: int = 0
    """How many have come, without a gap."""
    total: int | None = None
    md5: bytes | None = None
    """Its checksum where the server gave one. An ETag is none: that of an encrypted object only looks like it."""
    encoding: str = ""
    """How the server says that it is compressed."""
    etag: str | None = None
    date: str | None = None
    """When it was last modified, in the server's spelling."""

    @property
    def validator(self) -> str | None:
        """What tells the server which file the first bytes were of; a weak tag may stand for several."""
        return self.etag if self.etag is not None and self.etag.startswith('"') else self.date

    def headers(self) -> dict[str, str]:
        """Those of the next request: for the rest of the same file, where that can be asked for, else for all."""
        # As it is stored, which is gzip: without this, some servers inflate it on the way and know no length then.
        headers = {"Accept": "*/*", "Accept-Encoding": "gzip"}
        if self.position and self.validator is not None:
            headers |= {"Range": f"bytes={self.position}-", "If-Range": self.validator}
        return headers

    def accept(self, status: int, headers: Mapping[str, str]) -> bool:
        """Take in the answer to that request; says whether its body begins at `position`.

        A server that gives no parts sends the whole file again, and `position` is 0 again. So it is where the answer is
        of no use, because it is another part than was asked for, or one of another file.
        """
        if status == HTTPStatus.PARTIAL_CONTENT:
            part = _PART.fullmatch(headers.get("content-range", "").strip())
            is_same = headers.get("etag", self.etag) == self.etag
            if part is not None and is_same and self.position and int(part["first"]) == self.position:
                self.total = self.total if part["total"] == "*" else int(part["total"])
                return True
        if status not in {HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE}:
            return False  # it says nothing of the file
        self.forget()
        if status != HTTPStatus.OK:
            return False
        length = headers.get("content-length", "")
        self.total = int(length) if _LENGTH.fullmatch(length) else None
        self.md5 = _read_md5(headers.get("content-md5", ""))
        self.encoding = headers.get("content-encoding", "").strip().lower()
        self.etag, self.date = headers.get("etag"), headers.get("last-modified")
        return True

    def forget(self) -> None:
        """Begin anew."""
        self.position, self.total, self.md5, self.encoding, self.etag, self.date = 0, None, None, "", None, None


def _read_md5(text: str) -> bytes | None:
    try:
        digest = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return digest if len(digest) == 16 else None  # noqa: PLR2004 - bytes of an MD5


def resolve_link(link: str, *, base: str, is_plain_allowed: bool) -> str | None:
    """Where a link or a redirect from `base` leads, without user and password, which are credentials as well.

    None where it leads nowhere that may be asked: to no web server, or over plain HTTP unless that is allowed.
    """
    try:
        parts = urlsplit(urljoin(base, link))
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if parts.scheme not in ({"http", "https"} if is_plain_allowed else {"https"}) or not host:
        return None
    netloc = f"[{host}]" if ":" in host else host
    return urlunsplit(parts._replace(netloc=netloc if port is None else f"{netloc}:{port}", fragment=""))


def error_of_file(status: int, headers: Mapping[str, str], *, name: str, now: datetime) -> APIError:
    """The error of an answer without a file. Its body is left out: stores repeat in it what a link is signed with."""
    seconds = hint(Response(status=status, headers=headers, body=b"", now=now))
    return error_of_status(status)(
        status=status, request=name, retry_after=None if seconds is None else timedelta(seconds=seconds)
    )
