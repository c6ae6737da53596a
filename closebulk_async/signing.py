"""Signatures of webhooks: whether a request that arrives is one of the service's, and what it tells.

The service signs the digits of a time and the raw body with the subscription's key. A body that was parsed and written
anew is another one.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import TYPE_CHECKING

import orjson

from closebulk_async.errors import InvalidRequestError, InvalidWebhookError
from closebulk_async.policy import to_seconds
from closebulk_async.webhook_models import NEEDED, WebhookEvent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from closebulk_async.policy import Duration

SIGNATURE_HEADER = "close-sig-hash"
TIMESTAMP_HEADER = "close-sig-timestamp"

_HASH = re.compile(r"[0-9a-fA-F]{64}")
# Digits and nothing else: what is signed is time and body without anything between them, so that a looser pattern would
# let the border move.
_SECONDS = re.compile(r"[0-9]{1,12}")


def verify_webhook(
    body: bytes,
    headers: Mapping[str, str],
    *,
    signature_key: str | Sequence[str],
    tolerance: Duration | None = None,
    now: datetime | None = None,
) -> WebhookEvent:
    """The event of a request that carries the signature of one of the keys. Raises InvalidWebhookError.

    `body` is the body as it arrived, `headers` are in any case. `signature_key` is the hexadecimal text that
    `Webhook.signature_key` holds, or several of them. `tolerance` refuses a signature whose time is further than that
    from `now` (aware); it is off by default, because the service goes on delivering for 72 hours, and nobody documents
    whether it signs each attempt anew. An error whose `is_signed` is True is best answered with success: the event is
    the service's, and cannot be read the next time either. Raises InvalidRequestError for what the caller passes
    wrongly. No error shows a key, or anything of the request.
    """
    keys = read_keys(signature_key)
    _check_bytes(body)
    timestamp, signature = _read_headers(headers)
    # With every key, so that the time this takes does not tell which one it was.
    fits = [hmac.compare_digest(_sign(body, timestamp, key), signature) for key in keys]
    if not any(fits):
        message = "the signature is not that of this body and key"
        raise InvalidWebhookError(message)
    if tolerance is not None:
        _check_age(timestamp, tolerance=to_seconds(tolerance, name="tolerance"), now=now)
    return _read_event(body)


def read_keys(signature_key: str | Sequence[str]) -> tuple[bytes, ...]:
    """The bytes of one key or of several. Raises InvalidRequestError, which does not show them."""
    try:
        texts = [signature_key] if isinstance(signature_key, str) else [*signature_key]
        keys = tuple(bytes.fromhex(text) for text in texts)
    except (TypeError, ValueError):
        keys = ()
    # Everybody can sign with an empty key.
    if not keys or not all(keys):
        message = "signature_key must be hexadecimal text, as Webhook.signature_key is, or several of them"
        raise InvalidRequestError(message)
    return keys


def _check_bytes(body: object) -> None:
    if not isinstance(body, bytes):
        message = f"body must be the bytes as they arrived and is a {type(body).__name__}"
        raise InvalidRequestError(message)


def _sign(body: bytes, timestamp: str, key: bytes) -> bytes:
    made = hmac.new(key, timestamp.encode(), hashlib.sha256)
    made.update(body)
    return made.digest()


def _read_headers(headers: Mapping[str, str]) -> tuple[str, bytes]:
    """The signed time as it is spelled, and the signature."""
    found = {name.lower(): value for name, value in headers.items()}
    for name, pattern in ((TIMESTAMP_HEADER, _SECONDS), (SIGNATURE_HEADER, _HASH)):
        if name not in found:
            message = f"there is no header {name}"
            raise InvalidWebhookError(message)
        if not pattern.fullmatch(found[name]):
            message = f"the header {name} is not what the service sends"
            raise InvalidWebhookError(message)
    return found[TIMESTAMP_HEADER], bytes.fromhex(found[SIGNATURE_HEADER])


def _check_age(timestamp: str, *, tolerance: float, now: datetime | None) -> None:
    if now is None or now.tzinfo is None:
        message = "tolerance needs now=..., the time of day as an aware datetime"
        raise InvalidRequestError(message)
    age = now.timestamp() - int(timestamp)
    if abs(age) > tolerance:
        message = f"it was signed {age:.0f} s before now, and the tolerance is {tolerance:g} s"
        raise InvalidWebhookError(message)


def _read_event(body: bytes) -> WebhookEvent:
    try:
        envelope = orjson.loads(body)
        event = dict(envelope["event"])
        if "subscription_id" in envelope:
            event["subscription_id"] = envelope["subscription_id"]
        found = WebhookEvent.from_dict(event)
    except (KeyError, TypeError, ValueError, RecursionError):
        raise _unreadable("is not what the service documents") from None
    if missing := found.unset.intersection(NEEDED):
        message = f"its event has no {min(missing)!r}"
        raise _unreadable(message)
    return found


def _unreadable(message: str) -> InvalidWebhookError:
    error = InvalidWebhookError(f"it is signed as it should be, but {message}")
    error.is_signed = True
    return error
