"""`close.webhooks`: the subscriptions by which the service tells of events."""

from __future__ import annotations

import logging
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar

from closebulk_async.errors import (
    APIError,
    CloseBulkError,
    DecodeError,
    DuplicateWebhookError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitedError,
    SignatureKeyNotShown,
    TransportError,
    asked_wait,
)
from closebulk_async.signing import read_keys
from closebulk_async.transport import Patience, Transport
from closebulk_async.webhook_models import Webhook, WebhookStatus
from closebulk_async.webhook_wire import (
    are_alike,
    build_create_webhook,
    build_delete_webhook,
    build_get_webhook,
    build_list_webhooks,
    build_update_webhook,
    check_url,
    is_like,
    job_events,
    read_webhook,
    read_webhooks,
)
from closebulk_async.wire import check_status, is_rejection

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from closebulk_async.models import Kind
    from closebulk_async.wire import Request, Response

T = TypeVar("T")
logger: logging.Logger = logging.getLogger("closebulk_async")


class Webhooks:
    """Webhook subscriptions. An organization may have 40; who is no admin sees his own only."""

    def __init__(self, transport: Transport) -> None:
        """Made by the client."""
        self._transport = transport

    async def list(self) -> Sequence[Webhook]:
        """Every subscription that the key's owner may see, in the service's order."""
        return await self._transport.read(build_list_webhooks(), read_webhooks)

    async def get(self, id: str | Webhook) -> Webhook:
        """One subscription as it is now. Raises NotFoundError."""
        return await self._transport.read(build_get_webhook(_to_id(id)), read_webhook)

    async def create(
        self,
        *,
        url: str,
        events: Iterable[Mapping[str, Any]],
        verify_ssl: bool = True,
        event_filter: Mapping[str, Any] | None = None,
    ) -> Webhook:
        """Subscribe to `events`, objects with `object_type`, `action` and maybe `extra_filter`; see `job_events`.

        Keep the `signature_key` of what this returns: the service may never show it again. Where the answer was lost,
        the subscription is looked for, and returned without its key. Raises DuplicateWebhookError.
        """
        events = [*events]
        request = build_create_webhook(url=url, events=events, verify_ssl=verify_ssl, event_filter=event_filter)

        async def find() -> Webhook | None:
            for row in await self.list():
                if row.is_active and is_like(row, url=url, events=events, event_filter=event_filter):
                    return row
            return None

        return await self._write(request, read_webhook, find=find)

    async def update(
        self,
        id: str | Webhook,
        *,
        url: str | None = None,
        events: Iterable[Mapping[str, Any]] | None = None,
        status: WebhookStatus | str | None = None,
        verify_ssl: bool | None = None,
    ) -> Webhook:
        """Change what is given and leave the rest. `status` is `active` or `paused`. Raises NotFoundError."""
        given = {
            "url": url,
            "events": None if events is None else [*events],
            "status": status,
            "verify_ssl": verify_ssl,
        }
        changes = {name: value for name, value in given.items() if value is not None}

        async def read_again() -> Webhook | None:
            found = await self.get(id)
            return found if _shows(found, changes) else None

        return await self._write(build_update_webhook(_to_id(id), changes), read_webhook, find=read_again)

    async def delete(self, id: str | Webhook) -> None:
        """Unsubscribe. Raises NotFoundError where there is no such subscription."""
        # Before, because the 404 of a DELETE would not tell: aiohttp sends one again by itself when it is cut off.
        await self.get(id)

        async def send_again() -> None:
            return None

        await self._write(build_delete_webhook(_to_id(id)), _read_deleted, find=send_again)

    async def ensure(
        self,
        url: str,
        *,
        kinds: Iterable[Kind | str] | None = None,
        final_only: bool = False,
        signature_key: str | None = None,
    ) -> Webhook:
        """The active subscription that sends the events of bulk actions to `url`, with its key; safe to call again.

        One that is there already is used again, and activated where it is paused; else one is made. `kinds` and
        `final_only` are those of `job_events`. Other active subscriptions to `url` are logged: with them, events come
        several times.

        `signature_key` is the one that an earlier call returned and the caller kept, None at the first time. What this
        returns always has one: keep it if it is another. Raises SignatureKeyNotShown where the subscription exists and
        its key was not given, so that nobody listens without a key.
        """
        check_url(url)
        events = job_events(kinds, final_only=final_only)
        if signature_key is not None:
            read_keys(signature_key)
        there = [row for row in await self.list() if row.url == url]
        # The same one after each restart, whatever the order of the list: it is the one whose key was kept.
        alike = sorted((row for row in there if is_like(row, url=url, events=events)), key=_preference)
        webhook = await self._activate(alike[0]) if alike else await self._make(url, events)
        others = sorted(row.id for row in there if row.is_active and row.id != webhook.id)
        if others:
            logger.warning("beside %s, the same URL is subscribed by %s: events come twice", webhook.id, others)
        return _with_key(webhook, signature_key)

    async def _activate(self, webhook: Webhook) -> Webhook:
        return webhook if webhook.is_active else await self.update(webhook, status=WebhookStatus.ACTIVE)

    async def _make(self, url: str, events: Sequence[Mapping[str, Any]]) -> Webhook:
        try:
            return await self.create(url=url, events=events)
        except DuplicateWebhookError as exc:
            # Made by somebody else meanwhile, or spelled in a way that was not recognized as the same.
            for id_ in exc.ids:
                with suppress(NotFoundError, PermissionDeniedError):
                    found = await self.get(id_)
                    if found.url == url:
                        return found
            raise

    async def _write(
        self, request: Request, reader: Callable[[Request, Response], T], *, find: Callable[[], Awaitable[T | None]]
    ) -> T:
        """Send a request that is not safe to repeat.

        After a doubtful outcome, `find` looks whether it is done; where it is not (None), the request is sent again.
        """
        patience = Patience(self._transport.retry)
        in_doubt = False
        while True:
            try:
                return reader(request, await self._transport.send(request))
            except (TransportError, APIError, DecodeError) as exc:
                is_plain = _is_plain(exc)
                if is_plain and not in_doubt:
                    raise
                in_doubt = True
                delay = None if is_plain else patience.delay(asked=asked_wait(exc))
                await self._transport.sleep(delay or 0)
                found = await find()
                if found is not None:
                    return found
                if delay is None:
                    raise


def _is_plain(exc: CloseBulkError) -> bool:
    """Whether an error leaves no doubt that nothing was done."""
    if isinstance(exc, TransportError):
        return not exc.sent
    # Without a status where the budget had no place for it.
    return isinstance(exc, RateLimitedError) or (isinstance(exc, APIError) and is_rejection(exc.status or 0))


def _read_deleted(request: Request, response: Response) -> None:
    if response.status != HTTPStatus.NOT_FOUND:
        check_status(request, response)


def _to_id(webhook: str | Webhook) -> str:
    return webhook.id if isinstance(webhook, Webhook) else webhook


def _preference(webhook: Webhook) -> tuple[bool, str]:
    return not webhook.is_active, webhook.id


def _shows(webhook: Webhook, changes: Mapping[str, Any]) -> bool:
    shown = webhook.to_dict()
    events = changes.get("events", shown["events"])
    return are_alike(shown["events"], events) and {**shown, **changes, "events": shown["events"]} == shown


def _with_key(webhook: Webhook, kept: str | None) -> Webhook:
    """The subscription with its key: the one that the service shows, else the one that was kept."""
    shown = getattr(webhook, "signature_key", None)
    if shown is not None:
        if kept is not None and kept != shown:
            logger.warning("%s has another signature_key than the one that was given: keep the new one", webhook.id)
        return webhook
    if kept is None:
        raise SignatureKeyNotShown(webhook.id)
    return Webhook.from_dict({**webhook.to_dict(), "signature_key": kept})
