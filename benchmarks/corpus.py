"""What the server of the benchmarks answers: one bulk email, a page of 100, that page with five fields only."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Final

import attrs
import orjson

PAGE_SIZE: Final = 100
FIELDS: Final = ("id", "status", "n_objects", "n_objects_processed", "date_updated")
_STATUSES: Final = ("created", "loading", "processing", "done", "paused", "resuming", "error")
_FIRST_DAY: Final = datetime(2026, 3, 1, 8, 0, 0, 753_001, tzinfo=UTC)


def _make_id(prefix: str, seed: object) -> str:
    """Make an id of the service's length: the prefix and 43 characters, the same ones in every run."""
    return f"{prefix}_{hashlib.sha256(str(seed).encode()).hexdigest()[:43]}"


def _make_row(number: int) -> dict[str, object]:
    """Make one bulk email with every documented field; rows differ, so that no decoder gains from repetition."""
    created = _FIRST_DAY + timedelta(minutes=7 * number, microseconds=1_013 * number)
    return {
        "contact_preference": "lead",
        "created_by": _make_id("user", "someone"),
        "date_created": created.isoformat(),
        "date_updated": (created + timedelta(seconds=59, microseconds=404)).isoformat(),
        "email_account_id": _make_id("emailacct", "someone"),
        "id": _make_id("bulkemail", number),
        "n_leads": 824 + number,
        "n_leads_processed": 523 + number,
        "n_objects": 824 + number,
        "n_objects_processed": 523 + number,
        "organization_id": _make_id("orga", "acme"),
        "query": f"lead_status:Potential {number}",
        "results_limit": None,
        "s_query": _make_query(f"ACME {number} Inc."),
        "send_done_email": False,
        "sender": "sender@example.com",
        "sort": [],
        "status": _STATUSES[number % len(_STATUSES)],
        "template_id": _make_id("tmpl", number),
        "updated_by": _make_id("user", "someone"),
    }


def _make_query(name: str) -> dict[str, object]:
    return {
        "queries": [
            {"object_type": "lead", "type": "object_type"},
            {
                "condition": {"mode": "full_words", "type": "text", "value": name},
                "field": {"field_name": "name", "object_type": "lead", "type": "regular_field"},
                "type": "field_condition",
            },
        ],
        "type": "and",
    }


_ROWS: Final = tuple(_make_row(number) for number in range(PAGE_SIZE))
ITEM_ID: Final = _make_id("bulkemail", 0)
ITEM: Final = orjson.dumps(_ROWS[0])
PAGE: Final = orjson.dumps({"data": _ROWS, "has_more": True})
NARROWED: Final = orjson.dumps({"data": [{name: row[name] for name in FIELDS} for row in _ROWS], "has_more": True})


@attrs.frozen
class Operation:
    """One request that every client makes: path below the API's root, query, and the number of rows it must bring."""

    path: str
    params: dict[str, str]
    rows: int


OPERATIONS: Final = {
    "get": Operation(f"bulk_action/email/{ITEM_ID}/", {}, 1),
    "list": Operation("bulk_action/email/", {"_limit": str(PAGE_SIZE)}, PAGE_SIZE),
    "narrowed": Operation("bulk_action/email/", {"_limit": str(PAGE_SIZE), "_fields": ",".join(FIELDS)}, PAGE_SIZE),
}
