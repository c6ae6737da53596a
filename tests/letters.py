"""What the tests of webhooks share: an event as the service words it, and its signature, made without the package."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

KEY = "5f" * 32
OTHER_KEY = "a0" * 32
SIGNED_AT = 1544271440

EVENT: dict[str, Any] = {
    "action": "updated",
    "api_key_id": None,
    "changed_fields": ["n_objects_processed", "status"],
    "data": {"id": "bulkemail_1", "status": "done", "date_updated": "2019-01-15T12:48:23.392000+00:00"},
    "date_created": "2019-01-15T12:48:20.000000",
    "date_updated": "2019-01-15T12:48:23.395000",
    "id": "ev_2sYKRjcrA79yKxi3S4Crd7",
    "lead_id": None,
    "meta": {"request_method": "POST", "request_path": "/api/v1/bulk_action/email/"},
    "object_id": "bulkemail_1",
    "object_type": "bulk_action.email",
    "organization_id": "orga_1",
    "previous_data": {"status": "processing"},
    "request_id": "req_1",
    "user_id": "user_1",
}


def write(event: object = EVENT, **changes: object) -> bytes:
    """The body of a delivery, with some parts of its event changed."""
    told = {**event, **changes} if isinstance(event, dict) else event
    return json.dumps({"event": told, "subscription_id": "whsub_1"}).encode()


def sign(body: bytes, *, key: str = KEY, at: int | str = SIGNED_AT) -> dict[str, str]:
    """The headers of a delivery."""
    signature = hmac.new(bytes.fromhex(key), f"{at}".encode() + body, hashlib.sha256).hexdigest()
    return {"content-type": "application/json", "close-sig-hash": signature, "close-sig-timestamp": f"{at}"}
