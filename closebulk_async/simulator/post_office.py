"""Brings events to the subscriptions that ask for them, as unreliably as a test wants it."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
from collections import deque
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

import aiohttp
from attrs import define, field, frozen

from .agenda import Agenda
from .clock import bounded
from .couriers import Couriers
from .events import Narrator
from .kinds import JsonObject
from .webhook_rules import draw, happens

if TYPE_CHECKING:
    import random

    from .agenda import Entry
    from .clock import Clock
    from .knobs import Knobs
    from .service import Service
    from .webhooks import Subscription

Outcome = Literal["waiting", "delivered", "lost", "given up", "cleared", "elsewhere"]


@frozen(kw_only=True)
class Attempt:
    """One POST: `timestamp` is what it was signed with, `status` the receiver's answer, `error` what came instead."""

    at: datetime
    timestamp: int
    status: int | None = None
    error: str | None = None

    @property
    def is_success(self) -> bool:
        """Whether the receiver has taken it."""
        return self.status is not None and self.status // 100 == 2  # noqa: PLR2004 - any 2xx


@define(eq=False, kw_only=True)
class Delivery:
    """One event on its way to one subscription; `body` is what is posted, to the byte.

    It is `"waiting"` until it is `"delivered"`, `"given up"` because its time was up, or `"cleared"` because its
    subscription was paused or deleted. What `drop` takes out is `"lost"`, and what would leave this machine stays:
    `"elsewhere"`.
    """

    subscription_id: str
    event: JsonObject
    body: bytes = field(repr=False)
    outcome: Outcome = "waiting"
    attempts: tuple[Attempt, ...] = ()


class PostOffice:
    """All that leaves the simulator by itself. Sent between `open` and `close`; what falls due otherwise waits."""

    def __init__(self, knobs: Knobs, service: Service, clock: Clock, *, keep: int, source: random.Random) -> None:
        self.log: deque[Delivery] = deque(maxlen=keep)
        self._knobs = knobs
        self._webhooks = service.webhooks
        self._service = service
        self._clock = clock
        self._source = source
        self._agenda = Agenda(clock)
        self._couriers = Couriers()
        self._narrator = Narrator(knobs, self._agenda, clock, tell=self.publish)
        self._queues: dict[str, dict[Delivery, Entry | None]] = {}
        self._failing_since: dict[str, datetime] = {}
        self._webhooks.listeners.append(self._review)
        service.store.listeners.append(self._narrator.hear)
        service.exports.listeners.append(self._narrator.hear)

    def open(self) -> None:
        """Begin, with what fell due in the meantime."""
        self._couriers.open()
        self._agenda.open()

    async def close(self) -> None:
        """Stop; returns when no task and no connection is left."""
        try:
            await self._agenda.close()
        finally:
            await self._couriers.close()

    def publish(self, event: JsonObject) -> None:
        """Send an event to each active subscription that asks for it."""
        rules = self._knobs.webhook_rules
        for subscription in self._webhooks.active():
            if not subscription.wants(event):
                continue
            if happens(rules.drop, event, self._source):
                self._note(subscription, event, "lost")
            else:
                self._send(subscription, event, after=draw(rules.delay, self._source))
                if happens(rules.repeat, event, self._source):
                    after = draw(rules.delay, self._source) + draw(rules.repeated_after, self._source)
                    self._send(subscription, event, after=after)

    def _note(self, subscription: Subscription, event: JsonObject, outcome: Outcome = "waiting") -> Delivery:
        body = json.dumps({"event": event, "subscription_id": subscription.id}, separators=(",", ":")).encode()
        delivery = Delivery(subscription_id=subscription.id, event=event, body=body, outcome=outcome)
        self.log.append(delivery)
        return delivery

    def _send(self, subscription: Subscription, event: JsonObject, *, after: float) -> None:
        queue = self._queues.setdefault(subscription.id, {})
        self._enter(queue, self._note(subscription, event), after)
        if len(queue) > self._knobs.webhook_rules.backlog:
            self._pause(subscription.id)

    def _enter(self, queue: dict[Delivery, Entry | None], delivery: Delivery, after: float) -> None:
        due = self._clock.now() + timedelta(seconds=after)
        queue[delivery] = self._agenda.enter(due, lambda _: self._couriers.hand(partial(self._attempt, delivery)))

    async def _attempt(self, delivery: Delivery, session: aiohttp.ClientSession) -> None:
        if delivery.outcome != "waiting":
            return  # cleared, while it waited for a courier
        rules, at = self._knobs.webhook_rules, self._clock.now()
        subscription = self._webhooks.find(delivery.subscription_id)
        # Only now: the address may have been another when the event was told.
        if not is_here(subscription.url):
            delivery.outcome = "elsewhere"
            del self._queues[subscription.id][delivery]
            return
        is_signed = delivery.attempts and not rules.resigns_retries
        timestamp = delivery.attempts[0].timestamp if is_signed else int(at.timestamp())
        status, error = None, None
        try:
            async with (
                bounded(self._clock, rules.timeout),
                session.post(
                    subscription.url,
                    data=delivery.body,
                    headers=sign(delivery.body, key=subscription.signature_key, timestamp=timestamp),
                    ssl=subscription.verify_ssl,
                    allow_redirects=False,
                ) as response,
            ):
                status = response.status
        except (aiohttp.ClientError, OSError) as failure:  # a TimeoutError is one of the latter
            error = repr(failure)
        attempt = Attempt(at=at, timestamp=timestamp, status=status, error=error)
        delivery.attempts = (*delivery.attempts, attempt)
        self._conclude(delivery, attempt)

    def _conclude(self, delivery: Delivery, attempt: Attempt) -> None:
        """Draw the consequences of an attempt, for the delivery and for its subscription."""
        webhook_id, rules = delivery.subscription_id, self._knobs.webhook_rules
        queue = self._queues.get(webhook_id, {})
        if attempt.is_success:
            delivery.outcome = "delivered"
            queue.pop(delivery, None)
            self._failing_since.pop(webhook_id, None)
            return
        if delivery not in queue:
            return  # cleared while it was under way
        since = self._failing_since.setdefault(webhook_id, attempt.at)
        if rules.paused_after is not None and (attempt.at - since).total_seconds() >= rules.paused_after:
            self._pause(webhook_id)
            return
        passed = (attempt.at - delivery.attempts[0].at).total_seconds()
        wait = rules.retry_in(len(delivery.attempts), passed=passed)
        if wait is None:
            delivery.outcome = "given up"
            del queue[delivery]
        else:
            self._enter(queue, delivery, wait)

    def _pause(self, webhook_id: str) -> None:
        self._webhooks.change(webhook_id, {"status": "paused"}, self._clock.now())

    def _review(self) -> None:
        """Follow a change of the subscriptions: clear the queues of those that are gone, listen for the others."""
        active = self._webhooks.active()
        for webhook_id in self._queues.keys() - {subscription.id for subscription in active}:
            self._failing_since.pop(webhook_id, None)
            for delivery, entry in self._queues.pop(webhook_id).items():
                delivery.outcome = "cleared"
                self._agenda.strike(entry)
        if any(subscription.names() for subscription in active):
            updates = any(subscription.names("updated") for subscription in active)
            jobs = (*self._service.store.jobs, *self._service.exports.all)
            self._narrator.listen(jobs, updates=updates)
        else:
            self._narrator.leave()


def sign(body: bytes, *, key: str, timestamp: int) -> dict[str, str]:
    """The headers of a delivery; the hash is over the timestamp and the body as it is sent."""
    digest = hmac.new(bytes.fromhex(key), f"{timestamp}".encode() + body, hashlib.sha256).hexdigest()
    return {"content-type": "application/json", "close-sig-hash": digest, "close-sig-timestamp": str(timestamp)}


def is_here(url: str) -> bool:
    """Whether an address is on this machine; the simulator never calls another."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
