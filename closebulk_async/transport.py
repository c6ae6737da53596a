"""What is done around an exchange: waiting for the budget, sending again where that is right, telling what happened."""

from __future__ import annotations

import asyncio
import copy
import logging
import math
from contextlib import suppress
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar

import attrs

from closebulk_async.connections import Connections, Delivery
from closebulk_async.errors import (
    ClientClosedError,
    CloseBulkError,
    DecodeError,
    RateLimitedError,
    TransportError,
    asked_wait,
)
from closebulk_async.limiter import Limiter, MemoryLimiter, Priority, Sight
from closebulk_async.limits import LimitLog
from closebulk_async.patience import Patience
from closebulk_async.policy import RetryPolicy, after_hint
from closebulk_async.ratelimit import parse_rate_limit
from closebulk_async.renewing import Renewal
from closebulk_async.telemetry import RequestEnded, RequestRepeated, Telling, Throttled
from closebulk_async.wire import Request, Response, hint, is_rejection, is_success

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import aiohttp

    from closebulk_async.auth import Auth
    from closebulk_async.incoming import Fetcher
    from closebulk_async.settings import Settings

__all__ = ["Delivery", "Patience", "Transport"]

logger: logging.Logger = logging.getLogger("closebulk_async")

T = TypeVar("T")

ANSWERED = Sight()
"""An answer that shows no limit."""

FIRST_STOP, LONGEST_STOP = 1.0, 60.0
"""Seconds for which a 429 stops its group where it does not say: windows last some seconds, stricter limits are
unpredictable."""


class Transport:
    """Sends requests, each when the budget of its group has room for it."""

    def __init__(
        self,
        settings: Settings,
        *,
        session: aiohttp.ClientSession | None = None,
        limiter: Limiter | None = None,
        tell: Telling = Telling(()),  # noqa: B008 - without hooks it has no state
    ) -> None:
        """Open nothing yet. `session` and `limiter` may be shared with others, and are never closed here."""
        self._settings = settings
        self._clock = settings.clock
        self._connections = Connections(settings, session=session)
        self._limiter = MemoryLimiter(settings.clock) if limiter is None else limiter
        self._tell = tell
        self._is_heard = bool(tell)
        self._priority = Priority.CALL
        self._stops: dict[str, _Stop] = {}
        self.limits: LimitLog = LimitLog()
        """What the answers of all groups have said of their limits."""
        self._pauses: set[asyncio.Timeout] = set()
        renewable = settings.renewable
        self._renewal = None if renewable is None else Renewal(renewable, settings, self._connections, self.sleep)

    def serving(self, priority: Priority) -> Transport:
        """The same connections and the same budget, for requests of another priority."""
        other = copy.copy(self)
        other._priority = priority  # noqa: SLF001 - the same class
        return other

    @property
    def retry(self) -> RetryPolicy:
        """The policy of all requests that are given none of their own."""
        return self._settings.retry

    @property
    def auth(self) -> Auth:
        """Who the client is to the service."""
        return self._settings.auth

    @property
    def longest(self) -> float:
        """Seconds that one request may take that is given no `timeout`."""
        return self._settings.timeouts.total

    @property
    def base_url(self) -> str:
        """Where all requests go, without a slash at the end."""
        return self._settings.base_url

    @property
    def is_open(self) -> bool:
        """Whether requests may be sent."""
        return self._connections.is_open

    def check_open(self) -> None:
        """Raise ClientClosedError where no request may be sent, not yet or no more."""
        self._connections.check_open()

    def open(self) -> None:
        """Allow requests. Raises ClientClosedError where they were allowed once and are over."""
        self._connections.open()

    def stop(self) -> None:
        """Begin no request any more, and wait for none; what is under way may end."""
        self._connections.stop()
        for pause in self._pauses:
            pause.reschedule(asyncio.get_running_loop().time())
        self._pauses.clear()

    async def aclose(self) -> None:
        """Close what was opened here."""
        self.stop()
        try:
            if self._renewal is not None:
                await self._renewal.drain()
        finally:
            await self._connections.aclose()

    def download(self, name: str) -> Fetcher:
        """For the file behind a link, without a key and without a budget: it is another server's."""
        return self._connections.download(name)

    async def sleep(self, seconds: float) -> None:
        """Wait before a repeat. Ends early when the client is closed: the repeat then raises."""
        if self.is_open:
            with suppress(TimeoutError):
                await self._until_stopped(self._clock.sleep(seconds))

    async def admit(self, group: str, patience: Patience | None = None, delivery: Delivery | None = None) -> None:
        """Wait for a place in the budget of an endpoint group: as long as it takes, or as `patience` lasts.

        A `send` with `is_admitted=True`, or with this `delivery`, uses the place, `dismiss` gives it up; one of them
        has to follow. Raises RateLimitedError (its `status` None) where `patience` does not last that long, and
        ClientClosedError. Polls have all the patience of the world.
        """
        self.check_open()
        if self._renewal is not None:
            await self._freshen(self._renewal)
        turn = self._reserve(group, patience)
        if turn is not None:
            await self._wait_for(turn, group, patience)
        if delivery is not None:
            delivery.has_place, delivery.failed = True, 0 if patience is None else patience.attempt - 1

    def dismiss(self, group: str, delivery: Delivery | None = None) -> None:
        """Give up a place of `admit`; that of `delivery` only if it was not used."""
        if delivery is None or delivery.has_place:
            self._learn(group, Sight(was_sent=False))
        if delivery is not None:
            delivery.has_place = False

    async def send(
        self,
        request: Request,
        *,
        retry: RetryPolicy | None = None,
        timeout: float | None = None,
        delivery: Delivery | None = None,
        is_admitted: bool = False,
    ) -> Response:
        """The answer, of whatever status. Raises TransportError where none came, ClientClosedError where not open.

        A request is sent again after a 429, when it is proved never to have been sent, and, where that is safe, after
        anything else that is neither success nor rejection. `timeout` (seconds) bounds each exchange. Raises
        RateLimitedError where the budget has no place for it within the `max_wait` of the policy; a poll waits for one
        as long as it takes.
        """
        patience = Patience(retry or self.retry)
        return await self._send(
            request,
            patience,
            delivery or Delivery(),
            timeout=timeout,
            is_admitted=is_admitted,
            renews=delivery is None,
        )

    async def read(
        self, request: Request, reader: Callable[[Request, Response], T], *, timeout: float | None = None
    ) -> T:
        """What `reader` makes of the answer to a request that is safe to repeat.

        An answer that it cannot read (DecodeError) is asked for again, as often as the policy allows in all. `timeout`
        (seconds) bounds each exchange.
        """
        patience = Patience(self.retry)
        while True:
            response = await self._send(request, patience, Delivery(), timeout=timeout)
            try:
                return reader(request, response)
            except DecodeError as exc:
                delay = patience.delay(asked=None)
                if delay is None:
                    raise
                self.note_repeat(request, str(exc), patience, delay)
            await self.sleep(delay)

    async def _send(
        self,
        request: Request,
        patience: Patience,
        delivery: Delivery,
        *,
        timeout: float | None,
        is_admitted: bool = False,
        renews: bool = True,
    ) -> Response:
        group = request.group
        seconds = self._settings.timeouts.total if timeout is None else timeout
        while True:
            if not (is_admitted or delivery.has_place):
                self.check_open()
                if self._renewal is not None:
                    await self._freshen(self._renewal)
                turn = self._reserve(group, patience)
                if turn is not None:
                    await self._wait_for(turn, group, patience)
            is_admitted = delivery.has_place = False
            delivery.may_have_left = False  # what came before this attempt is proved not to have been processed
            outcome = await self._exchange(request, group, delivery, seconds=seconds, attempt=patience.attempt)
            if isinstance(outcome, Response) and is_success(outcome.status):
                return outcome
            if renews and isinstance(outcome, Response) and outcome.status == _UNAUTHORIZED:
                renews = False  # once: what refuses a fresh token refuses the next one as well
                if await self.renew(delivery):
                    patience.attempt += 1
                    self.note_repeat(request, _describe(outcome), patience, 0.0)
                    continue
            # Whoever withdrew it wants to know what became of it, and no second try.
            delay = None if delivery.is_withdrawn else self._delay_before_repeat(request, group, outcome, patience)
            if delay is None or not self.is_open:
                return self._conclude(request, outcome)
            delivery.may_have_left = False
            self.note_repeat(request, _describe(outcome), patience, delay)
            if isinstance(outcome, TransportError) or outcome.status != _TOO_MANY:
                await self.sleep(delay)  # a group that is stopped by a 429 gets no place before that is over

    async def renew(self, delivery: Delivery) -> bool:
        """After a 401, which proves that nothing was processed: whether there is another token to send it with.

        Raises as `RenewableAuth.renew`.
        """
        if self._renewal is None or not self.is_open:
            return False
        return await self._renew(self._renewal, refused=delivery.generation)

    async def _freshen(self, renewal: Renewal) -> None:
        if renewal.is_due:
            await self._renew(renewal, refused=None)

    async def _renew(self, renewal: Renewal, *, refused: int | None) -> bool:
        try:
            return await self._until_stopped(renewal.renew(refused=refused))
        except TimeoutError as exc:
            message = "this client was closed while a request waited for an access token"
            raise ClientClosedError(message) from exc

    def _reserve(self, group: str, patience: Patience | None) -> Awaitable[None] | None:
        most = math.inf if patience is None or self._priority is Priority.POLL else max(0.0, patience.wait_left)
        try:
            return self._limiter.acquire(group, priority=self._priority, most=most)
        except CloseBulkError:
            raise
        except Exception as exc:
            raise _no_limiter(group, exc) from exc

    async def _exchange(
        self, request: Request, group: str, delivery: Delivery, *, seconds: float, attempt: int
    ) -> Response | TransportError:
        """One exchange on a place in the budget, which gets to know what it showed, whatever happens."""
        sight: Sight | None = None
        began = self._clock.monotonic() if self._is_heard else 0.0
        try:
            outcome = await self._connections.exchange(request, delivery, seconds=seconds)
            if isinstance(outcome, Response):
                sight = self._see(group, outcome)
        finally:
            self._learn(group, sight)
        if self._is_heard:
            seconds = self._clock.monotonic() - began
            self._tell(_ended(request, group, outcome, attempt=delivery.failed + attempt, seconds=seconds))
        return outcome

    def _learn(self, group: str, sight: Sight | None) -> None:
        try:
            self._limiter.learn(group, sight)
        except Exception:
            logger.exception("the limiter %r failed", self._limiter)  # what came of the request counts more

    def _see(self, group: str, response: Response) -> Sight:
        text = response.headers.get("ratelimit")
        window = None if text is None else parse_rate_limit(text)
        if window is not None:
            self.limits.note(group, window, now=response.now)
        if response.status == _TOO_MANY:
            seconds = self._stops.setdefault(group, _Stop()).extend(hint(response), now=self._clock.monotonic())
            self.limits.note_throttled(group, seconds, now=response.now)
            if self._is_heard:
                self._tell(Throttled(group=group, delay=timedelta(seconds=seconds)))
            return Sight(window=window, stopped_for=seconds)
        if self._stops:
            self._stops.pop(group, None)
        return ANSWERED if window is None else Sight(window=window)

    def _delay_before_repeat(
        self, request: Request, group: str, outcome: Response | TransportError, patience: Patience
    ) -> float | None:
        """Seconds to wait before the request is sent again; None where it is not."""
        if isinstance(outcome, TransportError):
            return self.delay_after(outcome, group, patience) if request.is_safe_to_repeat or not outcome.sent else None
        if outcome.status == _TOO_MANY:
            return self._delay_after_429(group, hint(outcome), patience)
        if is_success(outcome.status) or is_rejection(outcome.status) or not request.is_safe_to_repeat:
            return None
        return patience.delay(asked=hint(outcome))

    def delay_after(self, error: RateLimitedError | TransportError, group: str, patience: Patience) -> float | None:
        """Seconds before the next attempt of a request that was not processed; None where `patience` is at its end.

        Those of a TransportError are to be slept, those after a 429 pass while `admit` waits.
        """
        if isinstance(error, TransportError):
            return patience.delay(asked=None)
        return self._delay_after_429(group, asked_wait(error), patience)

    def _delay_after_429(self, group: str, asked: float | None, patience: Patience) -> float | None:
        stop = self._stops.get(group)  # none where another request of the group has succeeded meanwhile
        delay = 0.0 if stop is None else max(0.0, stop.until - self._clock.monotonic())
        return delay if patience.bears(delay, asked=asked) else None

    def note_repeat(self, request: Request, reason: str, patience: Patience, delay: float) -> None:
        """Log and tell that it is going to be sent again."""
        logger.info("%s: %s; trying again in %.1f s", request, reason, delay)
        if self._is_heard:
            self._tell(
                RequestRepeated(
                    method=request.method,
                    path=request.path,
                    group=request.group,
                    attempt=patience.attempt,
                    delay=timedelta(seconds=delay),
                    reason=reason,
                )
            )

    def _conclude(self, request: Request, outcome: Response | TransportError) -> Response:
        if isinstance(outcome, Response):
            return outcome
        if request.is_safe_to_repeat and not self.is_open:
            message = f"{request}: this client was closed meanwhile"
            raise ClientClosedError(message) from outcome
        raise outcome

    async def _wait_for(self, turn: Awaitable[None], group: str, patience: Patience | None) -> None:
        began = self._clock.monotonic()
        try:
            await self._until_stopped(turn)
        except TimeoutError as exc:
            if self.is_open:
                raise _no_limiter(group, exc) from exc
            message = f"this client was closed while a request waited for the rate limit of {group}"
            raise ClientClosedError(message) from exc
        except CloseBulkError:
            raise
        except Exception as exc:
            raise _no_limiter(group, exc) from exc
        finally:
            if patience is not None:
                patience.wait_left -= self._clock.monotonic() - began

    async def _until_stopped(self, waiting: Awaitable[T]) -> T:
        """Await it. Raises TimeoutError when the client is closed before."""
        async with asyncio.timeout(None) as pause:
            self._pauses.add(pause)
            try:
                return await waiting
            finally:
                self._pauses.discard(pause)


_UNAUTHORIZED = int(HTTPStatus.UNAUTHORIZED)
_TOO_MANY = int(HTTPStatus.TOO_MANY_REQUESTS)  # the enum's members compare ten times slower


def _no_limiter(group: str, exc: Exception) -> TransportError:
    """What a caller is told where the limiter keeps its counts elsewhere, and could not reach them."""
    return TransportError(f"the limiter failed: {type(exc).__name__}: {exc}", request=group, sent=False)


def _ended(
    request: Request, group: str, outcome: Response | TransportError, *, attempt: int, seconds: float
) -> RequestEnded:
    status, error = (outcome.status, None) if isinstance(outcome, Response) else (None, outcome)
    return RequestEnded(
        method=request.method,
        path=request.path,
        group=group,
        attempt=attempt,
        duration=timedelta(seconds=seconds),
        status=status,
        error=error,
    )


def _describe(outcome: Response | TransportError) -> str:
    return f"answered {outcome.status}" if isinstance(outcome, Response) else str(outcome)


@attrs.define
class _Stop:
    """How long 429s have stopped a group, and how many in a row did not say for how long."""

    until: float = -math.inf
    unhinted: int = 0

    def extend(self, asked: float | None, *, now: float) -> float:
        """Take one more. Returns the seconds for which nothing may be sent: what was asked for, and a little more.

        Where nothing was asked for it is a second, and twice as long each time. What comes while the group is stopped
        was under way together with what stopped it, and is no other time.
        """
        if asked is None and now < self.until:
            return self.until - now
        if asked is None:
            asked = min(FIRST_STOP * 2.0**self.unhinted, LONGEST_STOP)
            self.unhinted += 1
        self.until = max(self.until, now + after_hint(asked))
        return self.until - now
