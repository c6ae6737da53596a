"""The decoder that pydantic 2 gives without tuning: frozen models, JSON validated in one step."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - pydantic reads the annotations
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter

from benchmarks.peers.models_of_cattrs import Status  # noqa: TC001 - the same


class Email(BaseModel):
    """A bulk email; everything but the id may be missing from a narrowed row."""

    model_config = ConfigDict(frozen=True, extra="allow")

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


class Page(BaseModel):
    """A page of bulk emails."""

    data: list[Email]
    has_more: bool


_PAGE = TypeAdapter(Page)


def decode(body: bytes) -> Page:
    """Decode a page of bulk emails."""
    return _PAGE.validate_json(body)
