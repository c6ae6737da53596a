"""Gzip, inflated bit by bit as it comes, and checked; what is not gzip passes. Pure."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

MAGIC: Final = b"\x1f\x8b"
"""How gzip begins, and no text does: what the server says of it is not needed."""

LARGEST: Final = 256 * 1024
"""Bytes of one piece, inflated: little data may stand for much."""

_GZIP: Final = 16 + zlib.MAX_WBITS


class DamagedFile(ValueError):
    """What came is not the whole file. Whoever knows where it came from says so."""


class Unpacker:
    """The state between two pieces. Members that follow each other are one text, as in any gzip file."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._head = b""
        self._is_gzip: bool | None = None
        self._member: zlib._Decompress | None = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What the next bytes inflate to, in pieces; to be taken to the end. Raises DamagedFile."""
        if self._is_gzip is None:
            self._head += data
            if len(self._head) < len(MAGIC) and MAGIC.startswith(self._head):
                return
            self._is_gzip, data, self._head = self._head.startswith(MAGIC), self._head, b""
        if not self._is_gzip:
            yield data
            return
        try:
            yield from self._inflate(data)
        except zlib.error as exc:
            message = f"the gzip data is damaged: {exc}"
            raise DamagedFile(message) from exc

    def _inflate(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._member is None:
                data = data.lstrip(b"\0")  # padding, which may follow a member
                if not data:
                    return
                self._member = zlib.decompressobj(_GZIP)
            if piece := self._member.decompress(data, LARGEST):
                yield piece
            data = self._member.unconsumed_tail
            if self._member.eof:  # its length and checksum fit
                data, self._member = self._member.unused_data, None

    def finish(self) -> bytes:
        """What is left at the end: the beginning of a file too short to be judged. Raises DamagedFile."""
        if self._member is not None:
            message = "the gzip data ends in the middle"
            raise DamagedFile(message)
        head, self._head = self._head, b""
        return head
