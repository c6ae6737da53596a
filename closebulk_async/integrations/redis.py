"""The budget of one API key over all processes that share a Redis. Extra: `closebulk-async[redis]`.

For those who need no engine. Counting is pyrate-limiter's: a log of requests for each group, in a sorted set.
"""

from __future__ import annotations

import math
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Self

try:
    from pyrate_limiter import Rate, RateItem, RedisBucket
    from redis.exceptions import NoScriptError
except ImportError as _exc:
    message = "pyrate-limiter or redis is not installed: pip install 'closebulk-async[redis]'"
    raise ImportError(message, name=_exc.name) from _exc

import attrs

from closebulk_async.budget import BURST, KEPT, KEPT_AT_LEAST
from closebulk_async.clock import Clock, SystemClock
from closebulk_async.errors import InvalidRequestError
from closebulk_async.far_limiter import LONGEST_PAUSE, FarLimiter, FarLine
from closebulk_async.limiter import Priority
from closebulk_async.shared_budget import check_key_hash, hash_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from redis.asyncio import Redis

    from closebulk_async.limiter import Sight

__all__ = ["RedisLimiter", "hash_key"]

SHARE = 0.97
"""How much of a limit is used. A request is counted here before it is sent, and at the service when it arrives: of two
windows that follow each other, one may get some of the other's."""

LEAST_LEFT = 0.02
"""The share of a window that is left at least, unless somebody uses the key who does not ask here: then all stop."""

USUAL_WINDOW = 8.0
"""Seconds. How long a window lasts is seen only at its beginning, and this long is what was seen at the service."""

UNSHOWN = 5.0
"""Requests per second of a group whose limit no answer has shown, as none has at first."""

FORGOTTEN_AFTER = 60.0
"""Seconds after which a limit that no answer shows any more is none."""

TOLD_EVERY = 10.0
"""Seconds between two times at which one process says that a limit still shows."""

KEPT_SECONDS = 600
"""For which anything is kept of a group that nobody uses."""

FOLD = 0.1
"""Seconds for which what answers show waits for more of it."""

LEAK_EVERY = 50
"""Places between two clearings of a log."""

ANSWER_SECONDS = 5.0
"""How long a request waits for Redis, which answers within a millisecond."""


@attrs.define(eq=False)
class RedisLine(FarLine):
    """The requests of one group that wait, and what this process has told of it."""

    told: dict[float, tuple[float, float]] = attrs.field(factory=dict)
    """By each limit the length of its window, and when that was told."""
    places: int = 0


class RedisLimiter(FarLimiter[RedisLine]):
    """A limiter for all clients of one key, in any number of processes that share a Redis (7.0 or later).

    `redis` is a `redis.asyncio.Redis` of the caller's, which is never closed here; `key_hash` is `hash_key(api_key,
    base_url=...)`, and the key itself is never stored. `unshown` is how many requests a second a group may send whose
    answers show no limit.

    Within a process a START goes before a CALL and that before a POLL. Limits are those that answers show, and 97 % of
    them are used, as a sliding window: at most a quarter of it at once. A twentieth of that is left to starts. A 429,
    or a window that somebody else has used up, stops all processes. A place that is not used, also that of a process
    that was killed, is lost until its window is over. Redis' clock is the one that counts. Where it does not answer, a
    request raises TransportError after five seconds and was not sent.
    """

    def __init__(self, redis: Redis, *, key_hash: str, clock: Clock | None = None, unshown: float = UNSHOWN) -> None:
        """Nothing is asked yet. Raises InvalidRequestError where `key_hash` is none, or `unshown` is not above 0."""
        self._clock = SystemClock() if clock is None else clock
        super().__init__(self._clock, RedisLine)
        self._redis: Any = redis  # its types say of each answer that it may be awaitable, or not
        # Braces: a cluster keeps all of a key on one node.
        self._prefix = f"closebulk:{{{check_key_hash(key_hash)}}}"
        if not (math.isfinite(unshown) and unshown > 0):
            message = f"unshown must be a number of requests a second above 0, and is {unshown!r}"
            raise InvalidRequestError(message)
        self._unshown = unshown
        self._script = ""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _look_after(self, line: RedisLine) -> None:
        async with self._clock.timeout(ANSWER_SECONDS):
            await self._tell(line)
        waiters = [waiter for _, waiter in line.in_order()]
        line.wait = 0.0
        while (priority := line.first()) is not None and not line.wait:
            async with self._clock.timeout(ANSWER_SECONDS):
                line.wait = await self._reserve(line, priority)
            if not line.wait:
                self._let_go(line, priority)
        self._refuse_late(line, waiters)

    def _rest(self, line: RedisLine) -> None:
        if line.waiting:
            self._stir_in(line, min(line.wait, LONGEST_PAUSE))
        if line.news:
            self._stir_in(line, FOLD)

    async def _tell(self, line: RedisLine) -> None:
        """Let the others know which limits show, and until when all have to stop."""
        news = list(line.news)
        shown = _find_new(line, news)
        stop = max((_stops_for(sight, self._now() - at) for at, sight in news if sight is not None), default=0.0)
        if shown or stop > 0:
            pipe = self._redis.pipeline(transaction=False)
            seconds, micros = await self._redis.time()
            for limit, length in shown.items():
                pipe.hset(self._key(line, "limits"), limit, f"{length} {seconds + micros / 1e6}")
            pipe.expire(self._key(line, "limits"), KEPT_SECONDS)
            if stop > 0:
                line.stopped_until = max(line.stopped_until, self._now() + stop)
                pipe.set(self._key(line, "stop"), 1, px=math.ceil(stop * 1000), nx=True)
                pipe.pexpire(self._key(line, "stop"), math.ceil(stop * 1000), gt=True)
            await pipe.execute()
        line.told |= {limit: (length, self._now()) for limit, length in shown.items()}
        del line.news[: len(news)]

    async def _reserve(self, line: RedisLine, priority: Priority) -> float:
        """Seconds to wait before asking again; 0.0 where a place was had."""
        log = self._key(line, "log")
        pipe = self._redis.pipeline(transaction=False)
        pipe.time()
        pipe.pttl(self._key(line, "stop"))
        pipe.hgetall(self._key(line, "limits"))
        pipe.expire(log, KEPT_SECONDS)
        (seconds, micros), stop, limits, _ = await pipe.execute()
        if stop > 0:
            line.stopped_until = max(line.stopped_until, self._now() + stop / 1000)
            return float(stop / 1000)
        rates = to_rates(_read_limits(limits, now=seconds + micros / 1e6), priority, unshown=self._unshown)
        item = RateItem("place", int(seconds * 1000 + micros // 1000))
        try:
            return await self._put(log, rates, item, line)
        except NoScriptError:  # Redis was restarted
            self._script = ""
            return await self._put(log, rates, item, line)

    async def _put(self, log: str, rates: list[Rate], item: RateItem, line: RedisLine) -> float:
        if not self._script:
            self._script = (await _awaited(RedisBucket.init(rates, self._redis, log))).script_hash
        bucket = RedisBucket(rates, self._redis, log, self._script)
        if not await _awaited(bucket.put(item)):
            return float(max(1, await _awaited(bucket.waiting(item))) / 1000)
        line.places += 1
        if line.places % LEAK_EVERY == 0:
            await _awaited(bucket.leak(item.timestamp))
        return 0.0

    def _key(self, line: RedisLine, what: str) -> str:
        return f"{self._prefix}:{line.group}:{what}"


def to_rates(limits: Mapping[float, float], priority: Priority, *, unshown: float) -> list[Rate]:
    """What pyrate-limiter is to keep to: of all limits, by the lengths of their windows, those that are not implied.

    Without any it is `unshown` requests a second.
    """
    if not limits:
        return [Rate(max(1, math.floor(unshown)), math.ceil(1000 * max(1.0, 1 / unshown)))]
    wished: list[tuple[int, int]] = []
    for limit, length in limits.items():
        # Calls leave it as well: in a sliding window polls would never find a place beside those who may take more.
        kept = 0.0 if priority is Priority.START else min(max(KEPT_AT_LEAST, KEPT * limit), limit // 2)
        number, interval = max(1, math.floor(SHARE * limit - kept)), math.ceil(length * 1000)
        wished.append((interval, number))
        wished.append((math.ceil(interval * BURST[Priority.CALL]), math.ceil(number * BURST[Priority.CALL])))
    rates: list[Rate] = []
    for interval, number in sorted(wished, reverse=True):  # pyrate-limiter wants each shorter one to allow less at once
        while rates and number * rates[-1].interval < rates[-1].limit * interval:
            rates.pop()  # implied by this one, which allows fewer a second
        if not rates or (interval < rates[-1].interval and number < rates[-1].limit):
            rates.append(Rate(number, interval))
    return rates[::-1]


def _find_new(line: RedisLine, news: Iterable[tuple[float, Sight | None]]) -> dict[float, float]:
    """The limits that others do not know yet, or for whom it is time to be told again, with the lengths of windows."""
    found: dict[float, float] = {}
    for at, sight in news:
        window = None if sight is None else sight.window
        if window is None or window.limit is None or window.limit < 1 or window.reset is None:
            continue
        length, told_at = line.told.get(window.limit, (0.0, -math.inf))
        longest = max(USUAL_WINDOW, length, window.reset, found.get(window.limit, 0.0))
        if longest > length or at - told_at > TOLD_EVERY:
            found[window.limit] = longest
    return found


def _stops_for(sight: Sight, age: float) -> float:
    """Seconds for which nobody may send anything, after an answer of that age."""
    stop, window = sight.stopped_for or 0.0, sight.window
    if window is not None and None not in (window.limit, window.remaining, window.reset):
        limit, remaining, reset = window.limit or 0.0, window.remaining or 0.0, window.reset or 0.0
        stop = max(stop, reset if remaining < max(1.0, LEAST_LEFT * limit) else 0.0)
    return stop - age


def _read_limits(raw: Mapping[bytes | str, bytes | str], *, now: float) -> dict[float, float]:
    read = {float(limit): [float(part) for part in text.split()] for limit, text in raw.items()}
    return {limit: length for limit, (length, seen_at) in read.items() if now - seen_at < FORGOTTEN_AFTER}


async def _awaited(value: Any) -> Any:  # noqa: ANN401 - whatever pyrate-limiter returns
    """pyrate-limiter answers at once or later, as the client does."""
    return await value if isawaitable(value) else value
