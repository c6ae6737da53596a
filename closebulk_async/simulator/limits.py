"""Rate limits: token buckets per endpoint group for each key and for the organization.

The algorithm is that of the service's published limiter: a bucket is refilled in whole windows, windows begin on whole
seconds, it holds `ceil(rate * burst * window)` tokens, and a denial says how many seconds of the window are left.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from attrs import define, field, frozen, validators

Spelling = Literal["commas", "semicolons"]
Headers = tuple[tuple[str, str], ...]


@frozen(kw_only=True)
class Limits:
    """What a test sets: so many requests per second and key in each endpoint group.

    `rates` has the groups with a rate of their own; a group is spelled `"GET /bulk_action/email/"`. The organization
    may send `organization_factor` times as much as one key. With `spelling=None` no answer shows its limit, 429s
    excepted, which then only have `retry-after`. `with_body` adds the JSON body that 429s once had.
    The window of 8 s and the semicolons are what was seen at the live service; the documentation shows commas.
    """

    rate: float = field(default=20.0, validator=validators.gt(0))
    burst: float = field(default=1.0, validator=validators.gt(0))
    window: int = field(default=8, validator=validators.ge(1))
    spelling: Spelling | None = "semicolons"
    organization_factor: float = field(default=3.0, validator=validators.gt(0))
    rates: Mapping[str, float] = MappingProxyType({})
    with_body: bool = False


@frozen(kw_only=True)
class Verdict:
    """What the limiter says about one request: go on or not, and the headers that any answer to it carries."""

    allowed: bool
    headers: Headers = ()
    body: bytes = b""


@define(kw_only=True)
class Bucket:
    """The tokens of one owner in one endpoint group; instants are Unix seconds."""

    rate: float
    burst: float
    window: int
    since: float
    tokens: float = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.tokens = self.capacity

    @property
    def capacity(self) -> int:
        """The most tokens it holds."""
        return math.ceil(self.rate * self.burst * self.window)

    def refill(self, now: float) -> None:
        """Add the tokens of all windows that have passed."""
        windows = math.floor((now - self.since) / self.window)
        self.tokens = min(self.capacity, self.tokens + windows * self.rate * self.window)
        self.since += windows * self.window

    def left(self, now: float) -> float:
        """Seconds until the window ends, rounded up to a millisecond so that a client that obeys is never too early."""
        # Unix seconds as a float are good to a quarter of a microsecond; unrounded that would count as a millisecond.
        return math.ceil(round((self.since + self.window - now) * 1000, 3)) / 1000


class Limiter:
    """The buckets of all keys and groups."""

    def __init__(self) -> None:
        self._limits: Limits | None = None
        self._buckets: dict[tuple[str, str], Bucket] = {}

    def admit(self, limits: Limits | None, *, key: str, is_known: bool, group: str, now: float) -> Verdict:
        """Take one token of the key and one of its organization, or none when either is out of them.

        A key that is not known has no organization, but is counted like any other. The buckets start full whenever
        `limits` is another value than before. `now` is in Unix seconds.
        """
        if limits is None:
            return Verdict(allowed=True)
        if limits != self._limits:
            self._limits = limits
            self._buckets.clear()
        buckets = [self._bucket(limits, f"key {key}", group, now, factor=1.0)]
        if is_known:
            buckets.append(self._bucket(limits, "organization", group, now, factor=limits.organization_factor))
        allowed = all(bucket.tokens >= 1 for bucket in buckets)
        for bucket in buckets if allowed else ():
            bucket.tokens -= 1
        # The header shows the limit that is closest to being hit; of equals the key's.
        closest = min(buckets, key=lambda bucket: bucket.tokens)
        return _allowance(limits, closest, now) if allowed else _denial(limits, closest, now)

    def _bucket(self, limits: Limits, owner: str, group: str, now: float, *, factor: float) -> Bucket:
        rate = limits.rates.get(group, limits.rate) * factor
        bucket = self._buckets.setdefault(
            (owner, group),
            Bucket(rate=rate, burst=limits.burst, window=limits.window, since=math.floor(now)),
        )
        bucket.refill(now)
        return bucket


def spell_limit(*, limit: int, remaining: int, reset: float, spelling: Spelling) -> str:
    """The value of a `RateLimit` header: the documented one has commas, the live one semicolons."""
    separator = ", " if spelling == "commas" else "; "
    return separator.join((f"limit={limit}", f"remaining={remaining}", f"reset={_decimal(reset)}"))


def _allowance(limits: Limits, bucket: Bucket, now: float) -> Verdict:
    return Verdict(allowed=True, headers=_limit_headers(limits, bucket, now))


def _denial(limits: Limits, bucket: Bucket, now: float) -> Verdict:
    left = bucket.left(now)
    retry_after = ("retry-after", str(math.ceil(left)))
    old_body = {"error": {"message": "API call count exceeded for this window", "rate_reset": left}}
    return Verdict(
        allowed=False,
        headers=(*_limit_headers(limits, bucket, now), retry_after),
        body=json.dumps(old_body).encode() if limits.with_body else b"",
    )


def _limit_headers(limits: Limits, bucket: Bucket, now: float) -> Headers:
    if limits.spelling is None:
        return ()
    value = spell_limit(
        limit=math.ceil(bucket.rate * bucket.window),
        remaining=math.floor(bucket.tokens),
        reset=bucket.left(now),
        spelling=limits.spelling,
    )
    return (("ratelimit", value),)


def _decimal(seconds: float) -> str:
    return f"{seconds:.3f}".rstrip("0").rstrip(".")
