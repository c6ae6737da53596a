"""Webhooks: subscriptions, events that a signature proves, and a receiver in an application of aiohttp's."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, assert_type

from aiohttp import web

from closebulk_async import (
    CloseBulk,
    Job,
    JobRef,
    Webhook,
    WebhookEvent,
    Webhooks,
    WebhookStatus,
    job_events,
    verify_webhook,
    webhooks,
)


async def subscribe(close: CloseBulk) -> None:
    """Subscriptions are made, found and changed."""
    assert_type(close.webhooks, Webhooks)
    webhook = await close.webhooks.ensure("https://example.com/hook", kinds=["email"], final_only=True)
    assert_type(webhook, Webhook)
    assert_type(webhook.status, WebhookStatus | str)
    assert_type(webhook.signature_key, str)
    assert_type(await close.webhooks.list(), Sequence[Webhook])
    assert_type(job_events(["delete"], final_only=True), list[dict[str, Any]])
    await close.webhooks.create(url="https://example.com/hook", events=job_events())
    assert_type(await close.webhooks.update(webhook, status=WebhookStatus.PAUSED), Webhook)
    await close.webhooks.delete(webhook.id)
    await close.webhooks.create(url="https://example.com/hook")  # type: ignore[call-arg]
    await close.webhooks.ensure(url=5)  # type: ignore[arg-type]
    webhook.status = "paused"  # type: ignore[misc]


def receive(body: bytes, headers: dict[str, str], close: CloseBulk) -> JobRef[Job] | None:
    """What is proved is an event, and the client takes it."""
    event = verify_webhook(body, headers, signature_key="ab12", tolerance=300)
    assert_type(event, WebhookEvent)
    assert_type(event.date_created, datetime | None)
    assert_type(event.data, dict[str, Any] | None)
    close.notify(event)
    close.notify(body)  # type: ignore[arg-type]
    verify_webhook(body.decode(), headers, signature_key="ab12")  # type: ignore[arg-type]
    verify_webhook(body, headers)  # type: ignore[call-arg]
    return event.ref


async def record(event: WebhookEvent) -> None:
    """A listener of the user's own."""


def serve(close: CloseBulk) -> web.Application:
    """The receiver needs a key, and takes any client that can be told."""
    app = web.Application()
    webhooks.setup(app, close, signature_key=["ab12", "cd34"], on_event=record)
    webhooks.setup(app, close)  # type: ignore[call-arg]
    webhooks.setup(app, app, signature_key="ab12")  # type: ignore[arg-type]
    return app
