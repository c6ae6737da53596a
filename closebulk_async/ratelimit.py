"""Rate-limit headers to hints: what the server asks for, read in the order in which it is to be believed."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from datetime import datetime

RESET_HEADERS = ("ratelimit-reset", "x-rate-limit-reset", "x-ratelimit-reset")
"""Deprecated headers that still occur, in the order in which they are believed."""

EPOCH = 1_000_000_000.0
"""A reset above this is an instant (seconds since 1970), below it a duration: no window lasts thirty years."""

LONGEST = 7 * 86_400.0
"""A hint above a week is a mistake, such as an instant in milliseconds, and no hint."""

_PAIR = re.compile(r"\s*([A-Za-z][\w-]*)\s*=\s*\"?([0-9]{1,15}(?:\.[0-9]*)?|\.[0-9]+)\"?\s*", re.ASCII)

_COMMON = re.compile(r"limit=([0-9]{1,15})[,;] remaining=([0-9]{1,15})[,;] reset=([0-9]{1,15}(?:\.[0-9]*)?)")
"""As the documentation and the live service spell it."""


@attrs.define(kw_only=True)  # not frozen: one is made for each answer, and that would cost four times as much
class RateLimit:
    """The `RateLimit` header: requests per window, requests left, seconds until the window ends. None: not said.

    It describes the limit that is closest to being hit, the key's or the organization's.
    """

    limit: float | None = None
    remaining: float | None = None
    reset: float | None = None


def parse_rate_limit(value: str) -> RateLimit:
    """Read `limit=100, remaining=50, reset=5` with commas or semicolons, decimals, any order, any case, unknown keys.

    What cannot be read is left None: a malformed header is ignored, never an error.
    """
    if common := _COMMON.fullmatch(value):  # every answer has one, and the long way takes five times as long
        limit, remaining, reset = common.groups()
        return RateLimit(limit=float(limit), remaining=float(remaining), reset=float(reset))
    read = map(_PAIR.fullmatch, re.split("[,;]", value))
    pairs = {pair[1].lower(): float(pair[2]) for pair in read if pair is not None}
    return RateLimit(limit=pairs.get("limit"), remaining=pairs.get("remaining"), reset=pairs.get("reset"))


def retry_after(
    headers: Mapping[str, str], *, body: object = None, now: datetime, is_throttled: bool = True
) -> float | None:
    """Seconds to wait that an answer asks for, None where it asks for nothing.

    Only a 429 (`is_throttled`) speaks of limits; of any other answer `Retry-After` alone is a wish to wait.

    `headers` are case-insensitive, `body` is parsed JSON. The first of these that is there counts: `RateLimit`,
    `Retry-After`, the older headers, `rate_reset` in the body. But a 429 while requests remain means that another,
    stricter limit was hit, of which the header knows nothing: then the longest of the hints counts.
    """
    if not is_throttled:
        return _retry_after_header(headers, now=now)
    window = parse_rate_limit(headers.get("ratelimit", ""))
    hints = [
        _seconds(window.reset, now=now),
        _retry_after_header(headers, now=now),
        *(_seconds(headers.get(name), now=now) for name in RESET_HEADERS),
        _body_reset(body, now=now),
    ]
    said = [hint for hint in hints if hint is not None]
    if not said:
        return None
    return max(said) if window.remaining else said[0]


def _seconds(text: object, *, now: datetime) -> float | None:
    try:
        number = float(text)  # type: ignore[arg-type]  # what is no number raises, and is no hint
    except (TypeError, ValueError):
        return None
    if not math.isfinite(number) or number < 0:
        return None
    return _plausible(number - now.timestamp() if number > EPOCH else number)


def _plausible(seconds: float) -> float | None:
    return max(0.0, seconds) if seconds <= LONGEST else None


def _retry_after_header(headers: Mapping[str, str], *, now: datetime) -> float | None:
    text = headers.get("retry-after")
    seconds = _seconds(text, now=now)
    if seconds is not None or text is None:
        return seconds
    try:
        moment = parsedate_to_datetime(text)
        # Against the server's own clock where it shows one: the client's may be off by more than the wait.
        return _plausible((moment - (_date_header(headers) or now)).total_seconds())
    except (TypeError, ValueError, OverflowError):  # no date either, or one without a zone against one with
        return None


def _date_header(headers: Mapping[str, str]) -> datetime | None:
    try:
        return parsedate_to_datetime(headers["date"])
    except (KeyError, ValueError, OverflowError):
        return None


def _body_reset(body: object, *, now: datetime) -> float | None:
    if not isinstance(body, Mapping):
        return None
    nested = body.get("error")
    inner = nested.get("rate_reset") if isinstance(nested, Mapping) else None
    return _seconds(body.get("rate_reset") if inner is None else inner, now=now)
