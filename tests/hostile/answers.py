"""What a hostile server says, each thing by its name: HTTP that no service means."""

from __future__ import annotations

import gzip
import zlib
from functools import partial
from itertools import chain, repeat
from typing import TYPE_CHECKING

from closebulk_async import BulkEmail
from tests.hostile.servers import BLOCK, Piece, Script, response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

GOOD = BulkEmail.example(id="bulkemail_1", status="processing").to_json().encode()
PAGE = b'{"data":[' + GOOD + b'],"has_more":false}'
SILENCE = 7.0
"""Seconds between two bytes of a drip: a request bears eight of them."""

ZEROS = bytes(BLOCK)
HUGE = 2**62


def _head(*headers: str, status: str = "200 OK") -> bytes:
    return response(b"", status=status, headers=headers, length="")


def whole(data: bytes) -> Script:
    """An answer that is sent at once."""
    return lambda: [data]


def _drip(before: bytes, slowly: bytes) -> Script:
    """`slowly` comes byte by byte, and then over and over."""

    def pieces() -> Iterator[Piece]:
        yield before
        for byte in chain.from_iterable(repeat(slowly)):
            yield SILENCE
            yield bytes([byte])

    return pieces


def _endless(head: bytes, block: bytes) -> Script:
    return lambda: chain([head], repeat(block))


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


CHUNKED = "Transfer-Encoding: chunked"
ENDLESS: Mapping[str, Script] = {
    "an endless body": _endless(_head(), ZEROS),
    "an endless body of a length": _endless(_head(f"Content-Length: {HUGE}"), ZEROS),
    "an endless body in chunks": _endless(_head(CHUNKED), _chunk(ZEROS)),
    "an endless body of spaces": _endless(_head(CHUNKED), _chunk(b" " * BLOCK)),
    "an endless error": _endless(_head(status="400 Bad Request"), b'["' * (BLOCK // 2)),
    "an endless redirect": _endless(_head("Location: /me/", status="302 Found"), ZEROS),
    "an endless rate limit": _endless(_head("Retry-After: 1", status="429 Too Many Requests"), ZEROS),
}
"""Bodies that the cap alone ends."""


def _bomb(name: str, data: bytes, *, times: int = 1) -> bytes:
    for _ in range(times):
        data = _PACK[name](data)
    return data


def _deflate(data: bytes) -> bytes:
    return zlib.compress(data, 9)


_PACK: Mapping[str, Callable[[bytes], bytes]] = {
    "gzip": partial(gzip.compress, compresslevel=9, mtime=0),
    "deflate": _deflate,
}
BOMBED = 64 * 1024 * 1024
"""Bytes of one member of a bomb: twice as many as the cap, of which there are as many as anybody reads."""


def bombs(*, members: int = 16) -> Mapping[str, Script]:
    """Bodies that inflate to a gigabyte."""
    zeros = bytes(BOMBED)
    packed = _bomb("gzip", zeros)
    return {
        "a bomb of gzip": whole(response(packed * members, headers=["Content-Encoding: gzip"])),
        "a bomb of deflate": whole(response(_deflate(zeros), headers=["Content-Encoding: deflate"])),
        "a bomb in a bomb": whole(response(_bomb("gzip", packed), headers=["Content-Encoding: gzip, gzip"])),
        "a bomb that is said twice": whole(
            response(_bomb("gzip", packed), headers=["Content-Encoding: gzip", "Content-Encoding: gzip"])
        ),
        "an endless bomb": lambda: chain([_head("Content-Encoding: gzip", CHUNKED)], repeat(_chunk(packed))),
        "a bomb with an error": whole(response(packed * members, status="500 Oh", headers=["Content-Encoding: gzip"])),
    }


PACKED: Mapping[str, Script] = {
    f"{name} that is none": whole(response(GOOD, headers=[f"Content-Encoding: {name}"]))
    for name in ("gzip", "deflate", "br", "zstd", "compress", "identity", "rot13", "\udcff", "gzip, br", "x" * 8000)
} | {
    "gzip, cut": whole(response(gzip.compress(GOOD)[:-9], headers=["Content-Encoding: gzip"])),
    "gzip, with rubbish behind it": whole(
        response(gzip.compress(GOOD) + b"rubbish", headers=["Content-Encoding: gzip"])
    ),
    "gzip of nothing": whole(response(b"", headers=["Content-Encoding: gzip"])),
}

DRIPS: Mapping[str, Script] = {
    "silence": _drip(b"", b""),
    "a status line that drips": _drip(b"", b"HTTP/1.1 200 OOOOOOOOOOOOOOOOOOOOOO"),
    "headers that drip": _drip(b"HTTP/1.1 200 OK\r\n", b"X-A: 1\r\n"),
    "a header that drips": _drip(b"HTTP/1.1 200 OK\r\nX-A: ", b"a"),
    "a body that drips": _drip(_head("Content-Length: 1000000"), b" "),
    "a body without a length that drips": _drip(_head(), b" "),
    "chunks that drip": _drip(_head(CHUNKED), b"1\r\n \r\n"),
    "the length of a chunk that drips": _drip(_head(CHUNKED), b"0"),
    "trailers that drip": _drip(_head(CHUNKED) + b"0\r\n", b"X-A: 1\r\n"),
    "gzip that drips": _drip(_head("Content-Encoding: gzip"), gzip.compress(GOOD * 100)),
    "an error that drips": _drip(_head("Content-Length: 1000000", status="503 Oh"), b" "),
    "100 over and over, slowly": _drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
}
# An endless loop over no byte would not be a drip.
DRIPS = {**DRIPS, "silence": lambda: chain.from_iterable(repeat([SILENCE]))}


def _storm(head: bytes, block: bytes) -> Script:
    """What is read and thrown away, for as long as a request may take."""
    return lambda: chain([head], chain.from_iterable(repeat([block, SILENCE])))


THROWN_AWAY: Mapping[str, Script] = {
    "endless line ends": _storm(b"", b"\r\n" * (BLOCK // 2)),
    "an endless extension of a chunk": _storm(_head(CHUNKED) + b"1;", b"a" * BLOCK),
    "an endless length of a chunk": _storm(_head(CHUNKED), b"0" * BLOCK),
}
"""What counts for no byte of a body, so that only time bounds it."""

HEADS: Mapping[str, Script] = {
    "an endless header": _endless(b"HTTP/1.1 200 OK\r\nX-A: ", b"a" * BLOCK),
    "an endless name of a header": _endless(b"HTTP/1.1 200 OK\r\n", b"a" * BLOCK),
    "endless headers": _endless(b"HTTP/1.1 200 OK\r\n", b"X-A: 1\r\n" * (BLOCK // 8)),
    "endless long headers": _endless(b"HTTP/1.1 200 OK\r\n", b"X-A: " + b"a" * 8000 + b"\r\n"),
    "an endless reason": _endless(b"HTTP/1.1 200 ", b"a" * BLOCK),
    "endless trailers": _endless(_head(CHUNKED) + _chunk(GOOD) + b"0\r\n", b"X-A: 1\r\n" * (BLOCK // 8)),
    "an endless folded header": _endless(b"HTTP/1.1 200 OK\r\nX-A: 1\r\n", b" a\r\n" * (BLOCK // 4)),
    "thousands of headers": whole(response(GOOD, headers=[f"X-{n}: {n}" for n in range(5000)])),
    "thousands of cookies": whole(response(GOOD, headers=[f"Set-Cookie: a{n}=b" for n in range(100)])),
    "100 over and over": _storm(b"", _head(status="100 Continue") * 100),
    "103 over and over": _storm(b"", _head("Link: </a>", status="103 Early Hints") * 100),
    "101": whole(response(GOOD, status="101 Switching Protocols", headers=["Upgrade: x", "Connection: upgrade"])),
    "101, and no end": _endless(
        _head("Upgrade: websocket", "Connection: upgrade", status="101 Switching Protocols"), ZEROS
    ),
    "a header of no name": whole(response(GOOD, headers=[": 1"])),
    "a header without a colon": whole(response(GOOD, headers=["nothing"])),
    "a header of bytes": whole(response(GOOD, headers=["X-A: \udcff\udc80\udcc0"])),
    "a header of NUL": whole(response(GOOD, headers=["X-A: \0"])),
    "a header that begins with a space": whole(response(GOOD, headers=[" X-A: 1"])),
    "a header that a line end splits": whole(response(GOOD, headers=["X-A: 1\nSet-Cookie: a=b\rX: 2"])),
    "HTTP/0.9": whole(GOOD),
    "HTTP/2": whole(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(64)),
    "HTTP/9.9": whole(response(GOOD).replace(b"HTTP/1.1", b"HTTP/9.9")),
    "HTTP/1.0": whole(response(GOOD, length="").replace(b"HTTP/1.1", b"HTTP/1.0")),
    "TLS": whole(b"\x15\x03\x01\x00\x02\x02\x28" * 10),
    "rubbish": whole(bytes(range(256)) * 10),
    "nothing": whole(b""),
    "a status of four digits": whole(response(GOOD, status="2000 OK")),
    "a status of no digits": whole(response(GOOD, status="abc OK")),
    "a negative status": whole(response(GOOD, status="-200 OK")),
    "a reason of bytes": whole(response(b"{}", status="500 \udcff\udcfe")),
    "two answers in one": whole(response(GOOD) * 2),
    "an answer and a half": whole(response(GOOD) + response(GOOD)[:70]),
    "an answer and rubbish": whole(response(GOOD) + bytes(range(256))),
    "an answer and no end": _endless(response(GOOD), ZEROS),
}

LENGTHS: Mapping[str, Script] = {
    f"a length of {name}": whole(response(GOOD, length=said))
    for name, said in {
        "less": len(GOOD) - 10,
        "more": len(GOOD) + 10,
        "nothing": 0,
        "a negative number": -1,
        "2**62": HUGE,
        "2**64": 2**64,
        "a thousand digits": "9" * 1000,
        "five thousand digits": "9" * 5000,
        "no number": "x",
        "a sum": "1+1",
        "a sign": "+10",
        "spaces": "1 0",
        "hexadecimal": "0x10",
        "another script": "\u0661",
        "no text": " ",
    }.items()
} | {
    "two lengths": whole(response(GOOD, headers=["Content-Length: 5"])),
    "a length and chunks": whole(response(_chunk(GOOD) + b"0\r\n\r\n", headers=[CHUNKED], length=5)),
    "chunks and a length": whole(
        response(_chunk(GOOD) + b"0\r\n\r\n", headers=["Content-Length: 5", CHUNKED], length="")
    ),
    "a coding that is none": whole(response(GOOD, headers=["Transfer-Encoding: rubbish"])),
    "chunks that are gzip": whole(
        response(_chunk(GOOD) + b"0\r\n\r\n", headers=["Transfer-Encoding: gzip, chunked"], length="")
    ),
    "chunks that are none": whole(response(GOOD, headers=[CHUNKED], length="")),
    "a chunk of a negative length": whole(response(b"-5\r\nabc\r\n0\r\n\r\n", headers=[CHUNKED], length="")),
    "a chunk of a huge length": whole(response(b"f" * 40 + b"\r\nabc", headers=[CHUNKED], length="")),
    "204 with a body": whole(response(GOOD, status="204 No Content")),
    "204 with chunks": whole(
        response(_chunk(GOOD) + b"0\r\n\r\n", status="204 No Content", headers=[CHUNKED], length="")
    ),
    "205 with a body": whole(response(GOOD, status="205 Reset Content")),
    "206": whole(response(GOOD, status="206 Partial Content", headers=["Content-Range: bytes 0-1/2"])),
    "304 with a body": whole(response(GOOD, status="304 Not Modified")),
    "304": whole(response(b"", status="304 Not Modified", length="")),
    "a body of another type": whole(response(GOOD, headers=["Content-Type: image/png"])),
    "a charset that is none": whole(response(GOOD, headers=["Content-Type: application/json; charset=rubbish"])),
    "a charset that packs": whole(response(GOOD, headers=["Content-Type: text/html; charset=zlib_codec"])),
    "an error in UTF-16": whole(
        response("Grüße".encode("utf-16"), status="400 No", headers=["Content-Type: text/plain; charset=utf-7"])
    ),
}

STATUSES: Mapping[str, Script] = {
    f"{status}, {name}": whole(response(body, status=f"{status} X"))
    for status in (199, 299, 300, 399, 400, 401, 402, 403, 404, 408, 418, 429, 499, 500, 503, 599, 600, 999)
    for name, body in {"with an action": GOOD, "empty": b""}.items()
}

ABSURD: Mapping[str, str] = {
    "1e308": "1e308",
    "1e999": "1e999",
    "negative": "-1",
    "NaN": "nan",
    "infinite": "inf",
    "a huge number": "9" * 400,
    "five thousand digits": "9" * 5000,
    "fifteen digits": "9" * 15,
    "a date": "Wed, 21 Oct 2015 07:28:00 GMT",
    "a date of 9999": "Fri, 31 Dec 9999 23:59:59 GMT",
    "a date of year 20 digits": f"Fri, 31 Dec {'9' * 20} 23:59:59 GMT",
    "a date of year 5 digits": "Fri, 31 Dec 99999 23:59:59 GMT",
    "a date of year 100": "Fri, 31 Dec 100 00:00:00 +2359",
    "a zone": "Fri, 31 Dec 2025 23:59:59 +999999999999",
    "a negative zone": "Fri, 31 Dec 9999 23:59:59 -9999",
    "five thousand commas": "," * 5000,
    "bytes": "\udcff\udcfe",
    "nothing": "",
    "a space": " ",
    "another script": "\u0665",
    "a list": "1, 2, 3",
    "eight thousand spaces": "1" + " " * 8000 + "1",
}
"""What a header that holds a number or a date may hold instead."""

_LIMITS = ("Retry-After", "RateLimit-Reset", "X-Rate-Limit-Reset", "Date")


def _limited(value: str) -> Iterable[str]:
    window = f"RateLimit: limit={value}, remaining={value}, reset={value}"
    return [*(f"{name}: {value}" for name in _LIMITS), window]


LIMITS: Mapping[str, Script] = {
    f"{status} and a limit of {name}": whole(response(GOOD, status=f"{status} X", headers=_limited(value)))
    for name, value in ABSURD.items()
    for status in (200, 429, 503)
} | {
    f"a window that ends in {name}": whole(
        response(GOOD, headers=[f"RateLimit: limit=100, remaining=0, reset={value}"])
    )
    for name, value in ABSURD.items()
}

CUT = response(GOOD)
CUTS: Mapping[str, Script] = {f"cut at {n}": whole(CUT[:n]) for n in range(0, len(CUT), 23)}
