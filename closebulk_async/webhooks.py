"""A receiver of webhooks for any aiohttp.web application: what it hears wakes the waits of a client.

It is set up with the key of a subscription::

    import asyncio

    from aiohttp import web

    from closebulk_async import CloseBulk, webhooks


    async def main() -> None:
        app = web.Application()
        async with CloseBulk.from_env() as close:
            webhook = await close.webhooks.ensure("https://example.com/close/webhook")
            webhooks.setup(app, close, signature_key=webhook.signature_key)
            ...  # serve the application


    asyncio.run(main())

For other frameworks there are `closebulk_async.verify_webhook` and `CloseBulk.notify`.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

import attrs
from aiohttp import web

from closebulk_async.clock import Clock, SystemClock
from closebulk_async.errors import InvalidWebhookError
from closebulk_async.policy import Duration, to_seconds_or_none
from closebulk_async.signing import read_keys, verify_webhook

if TYPE_CHECKING:
    from closebulk_async.webhook_models import WebhookEvent

logger: logging.Logger = logging.getLogger("closebulk_async")

MAX_BODY = 8 * 1024 * 1024
"""Bytes of a request that are read. The query of an action may list thousands of leads, and an event holds the action
before and after; what is larger is nobody's webhook."""

BODY_SECONDS = 30.0
"""How long the body may take to arrive. The service sends it from memory; who takes longer wants to keep us busy."""

OnEvent = Callable[["WebhookEvent"], Awaitable[object]]
"""What an application does with each event, of whatever object. It must be short: the service waits for it."""


class Listener(Protocol):
    """Takes events: a `CloseBulk`, or whatever brings them to one."""

    def notify(self, event: WebhookEvent) -> object:
        """Take one event; at once, and without raising."""


def setup(
    app: web.Application,
    close: Listener,
    *,
    signature_key: str | Sequence[str],
    path: str = "/close/webhook",
    tolerance: Duration | None = None,
    on_event: OnEvent | None = None,
    clock: Clock | None = None,
) -> None:
    """Add the route that takes the service's webhooks, before the application starts.

    Events that carry the signature of `signature_key`, or of one of several, go to `close.notify`, then to `on_event`,
    if there is one: of all objects, and as often as the service sends them. The answer is 200 with nothing in it, also
    where what is signed cannot be read, which is logged and goes nowhere; 401 for any other request, without a reason,
    which is logged; 500 where `on_event` raises, after which the service sends the event again. `tolerance` is that of
    `verify_webhook`. Raises InvalidRequestError for a key that is none.
    """
    read_keys(signature_key)
    receiver = _Receiver(
        close=close,
        signature_key=signature_key,
        tolerance=to_seconds_or_none(tolerance, name="tolerance"),
        on_event=on_event,
        clock=clock or SystemClock(),
    )
    app.router.add_post(path, receiver.receive)


@attrs.define(kw_only=True, eq=False, repr=False)
class _Receiver:
    """One route, and whether the last request was refused."""

    close: Listener
    signature_key: str | Sequence[str]
    tolerance: float | None
    on_event: OnEvent | None
    clock: Clock
    is_refusing: bool = False

    async def receive(self, request: web.Request) -> web.Response:
        """Take one request."""
        try:
            event = verify_webhook(
                await self._read(request),
                request.headers,
                signature_key=self.signature_key,
                tolerance=self.tolerance,
                now=self.clock.now(),
            )
        except InvalidWebhookError as exc:
            if exc.is_signed:  # refused, it would be sent again for days, and be no more readable then
                logger.warning("passed over a webhook: %s", exc)
                return web.Response()
            self._note_refusal(exc)
            return web.Response(status=HTTPStatus.UNAUTHORIZED)
        self.is_refusing = False
        self.close.notify(event)
        if self.on_event is not None:
            await self.on_event(event)
        return web.Response()

    async def _read(self, request: web.Request) -> bytes:
        """The body. The application's own bound (`client_max_size`) may be smaller or none."""
        _check_size(request.content_length or 0)
        body = bytearray()
        try:
            async with self.clock.timeout(BODY_SECONDS):
                async for chunk in request.content.iter_any():
                    body += chunk
                    _check_size(len(body))
        except TimeoutError:
            raise web.HTTPRequestTimeout from None
        except (web.RequestPayloadError, ConnectionError):
            message = "the body is not compressed as it says, or not whole"
            raise InvalidWebhookError(message) from None
        return bytes(body)

    def _note_refusal(self, exc: InvalidWebhookError) -> None:
        """Warn of the first of several: anybody may send what is refused, and must not fill the log's warnings."""
        level = logging.INFO if self.is_refusing else logging.WARNING
        self.is_refusing = True
        logger.log(level, "refused a webhook: %s", exc)


def _check_size(size: int) -> None:
    if size > MAX_BODY:
        raise web.HTTPRequestEntityTooLarge(max_size=MAX_BODY, actual_size=size)
