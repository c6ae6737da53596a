"""Files as an object store keeps them: gzip of any length, made of few bytes."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from functools import cached_property, reduce
from operator import xor
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_CHUNK = 1 << 16
# Deflate, no flags, no time of change, no system: the same bytes in every run.
_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"


@frozen
class Part:
    """So many times the same bytes."""

    data: bytes
    times: int = 1


class StoredFile:
    """A file that is kept packed.

    `parts` is what it says, one after the other; a file of 1 GB is one part many times. It is one gzip stream, or with
    `in_members` one gzip member for each part and time, which is as good a file. `level` is zlib's, 0 packs nothing.
    """

    def __init__(self, parts: Sequence[Part], *, n_rows: int, level: int = 6, in_members: bool = False) -> None:
        self.n_rows = n_rows
        self._parts = tuple(part for part in parts if part.data and part.times)
        self._packed = tuple(_pack_members(self._parts, level) if in_members else _pack(self._parts, level))
        self.size: int = _length(self._parts)
        self.length: int = _length(self._packed)

    @cached_property
    def md5(self) -> bytes:
        """The MD5 of the packed bytes, which are read for it once."""
        digest = hashlib.md5(usedforsecurity=False)
        for chunk in self.packed():
            digest.update(chunk)
        return digest.digest()

    def packed(self, start: int = 0, stop: int | None = None, *, chunk: int = _CHUNK) -> Iterator[bytes]:
        """The bytes from `start` to before `stop`, in pieces of at most `chunk`."""
        stop = self.length if stop is None else min(stop, self.length)
        at = 0
        for part in self._packed:
            length = len(part.data)
            skipped = min(part.times, max(0, start - at) // length)
            at += skipped * length
            for _ in range(part.times - skipped):
                for begins in range(max(0, start - at), min(length, stop - at), chunk):
                    yield part.data[begins : min(begins + chunk, stop - at)]
                at += length
                if at >= stop:
                    return

    def unpacked(self) -> Iterator[bytes]:
        """What the file says, in pieces."""
        for part in self._parts:
            for _ in range(part.times):
                yield part.data


def _length(parts: Sequence[Part]) -> int:
    return sum(len(part.data) * part.times for part in parts)


def _pack_members(parts: Sequence[Part], level: int) -> Iterator[Part]:
    for part in parts:
        yield Part(gzip.compress(part.data, level, mtime=0), part.times)


def _pack(parts: Sequence[Part], level: int) -> Iterator[Part]:
    packer = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
    yield Part(_GZIP_HEADER)
    crc = 0
    for part in parts:
        # After a full flush nothing refers to what came before, so that the same bytes are packed the same again.
        yield Part(packer.compress(part.data) + packer.flush(zlib.Z_FULL_FLUSH), part.times)
        crc = crc_of_repeated(part.data, part.times, crc)
    size = _length(parts) % (1 << 32)
    yield Part(packer.flush(zlib.Z_FINISH) + crc.to_bytes(4, "little") + size.to_bytes(4, "little"))


def crc_of_repeated(data: bytes, times: int, crc: int = 0) -> int:
    """`zlib.crc32(data * times, crc)`, for which the bytes are read some thirty times at most."""
    if times == 1:
        return zlib.crc32(data, crc)
    # One more time maps the checksum to a linear function of its bits and a constant, over the field of two elements;
    # twice as many times is that function of itself.
    constant = zlib.crc32(data)
    columns = [zlib.crc32(data, 1 << bit) ^ constant for bit in range(32)]
    while times:
        if times & 1:
            crc = _map(columns, crc) ^ constant
        constant ^= _map(columns, constant)
        columns = [_map(columns, column) for column in columns]
        times >>= 1
    return crc


def _map(columns: Sequence[int], bits: int) -> int:
    return reduce(xor, (column for bit, column in enumerate(columns) if bits >> bit & 1), 0)
