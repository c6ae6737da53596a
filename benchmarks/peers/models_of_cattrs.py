"""The decoder that cattrs gives without tuning: ordinary frozen attrs classes, an ordinary converter, two hooks."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

import attrs
import cattrs
import orjson


class Status(StrEnum):
    """The documented status words."""

    CREATED = "created"
    LOADING = "loading"
    PROCESSING = "processing"
    DONE = "done"
    PAUSED = "paused"
    RESUMING = "resuming"
    ERROR = "error"


@attrs.frozen
class Email:
    """A bulk email; everything but the id may be missing from a narrowed row."""

    id: str
    contact_preference: str | None = None
    created_by: str | None = None
    date_created: datetime | None = None
    date_updated: datetime | None = None
    email_account_id: str | None = None
    n_leads: int | None = None
    n_leads_processed: int | None = None
    n_objects: int | None = None
    n_objects_processed: int | None = None
    organization_id: str | None = None
    query: str | None = None
    results_limit: int | None = None
    s_query: dict[str, Any] | None = None
    send_done_email: bool | None = None
    sender: str | None = None
    sort: list[dict[str, Any]] | None = None
    status: Status | None = None
    template_id: str | None = None
    updated_by: str | None = None


@attrs.frozen
class Page:
    """A page of bulk emails."""

    data: list[Email]
    has_more: bool


def make_converter() -> cattrs.Converter:
    """Make a converter that parses dates and status words."""
    converter = cattrs.Converter()
    converter.register_structure_hook(datetime, lambda text, _: datetime.fromisoformat(text))
    converter.register_structure_hook(Status, lambda word, _: Status(word))
    return converter


_CONVERTER = make_converter()


def decode(body: bytes) -> Page:
    """Decode a page of bulk emails."""
    return _CONVERTER.structure(orjson.loads(body), Page)
