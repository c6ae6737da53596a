"""Webhook subscriptions as HTTP: what to send for each operation, what an answer means, and which events tell of jobs.

Pure functions, as those of `wire`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar
from urllib.parse import urlsplit

import orjson

from closebulk_async.convert import converter
from closebulk_async.errors import (
    BadRequestError,
    DecodeError,
    DuplicateWebhookError,
    FieldNotRequested,
    InvalidRequestError,
)
from closebulk_async.models import ID_PATTERN, Kind, Status, parse_bulk_kinds
from closebulk_async.webhook_models import BULK_ACTION, Webhook
from closebulk_async.wire import Request, Response, check_status

T = TypeVar("T")

PATH = "/webhook/"

DUPLICATE = "Duplicate active subscription"
"""What the service says of a subscription that is like an active one. Undocumented: seen in its answers."""

JOB_ACTIONS = ("created", "updated", "completed", "paused")
"""All that the event log knows of bulk actions. There is no event of its own for one that failed."""

IS_FINAL: Mapping[str, Any] = MappingProxyType(
    {
        "type": "field_accessor",
        "field": "data",
        "filter": {
            "type": "field_accessor",
            "field": "status",
            "filter": {
                "type": "or",
                "filters": [{"type": "equals", "value": str(word)} for word in (Status.DONE, Status.ERROR)],
            },
        },
    }
)
"""The filter that lets an event pass where the object has a final status afterwards."""


def job_events(kinds: Iterable[Kind | str] | None = None, *, final_only: bool = False) -> list[dict[str, Any]]:
    """The `events` of a subscription that tells of bulk actions: of these kinds, or of all.

    `final_only` leaves out what comes, often, while an action runs: of the updates it keeps those to a final status,
    because nothing else shows that an action failed. Raises InvalidRequestError.
    """
    final: Mapping[str, Mapping[str, Any] | None] = {"updated": dict(IS_FINAL), "completed": None, "paused": None}
    wanted = final if final_only else dict.fromkeys(JOB_ACTIONS)
    events = [
        {"object_type": f"{BULK_ACTION}{kind}", "action": action, "extra_filter": extra_filter}
        for kind in parse_bulk_kinds(kinds)
        for action, extra_filter in wanted.items()
    ]
    return check_events(events)


def is_like(
    webhook: Webhook, *, url: str, events: Iterable[Mapping[str, Any]], event_filter: Mapping[str, Any] | None = None
) -> bool:
    """Whether a subscription sends exactly these events there, in whatever order they are listed.

    A filter that is missing is as one that is null.
    """
    is_filtered_alike = getattr(webhook, "event_filter", None) == event_filter
    return webhook.url == url and is_filtered_alike and are_alike(webhook.events, events)


def are_alike(events: Iterable[Mapping[str, Any]], others: Iterable[Mapping[str, Any]]) -> bool:
    """Whether both lists ask for the same, in whatever order."""
    return _spell(events) == _spell(others)


def _spell(events: Iterable[Mapping[str, Any]]) -> set[bytes]:
    parts = ("object_type", "action", "extra_filter")
    return {orjson.dumps([event.get(part) for part in parts], option=orjson.OPT_SORT_KEYS) for event in events}


def build_list_webhooks() -> Request:
    """Read every subscription that the key's owner may see; the service documents no paging here."""
    return Request(method="GET", path=PATH)


def build_get_webhook(id: str) -> Request:
    """Read one subscription."""
    return _build_for_item("GET", id)


def build_create_webhook(
    *, url: str, events: Iterable[Mapping[str, Any]], verify_ssl: bool, event_filter: Mapping[str, Any] | None
) -> Request:
    """Subscribe. Raises InvalidRequestError."""
    body = {"url": check_url(url), "events": check_events(events), "verify_ssl": verify_ssl}
    if event_filter is not None:
        body["event_filter"] = event_filter
    return Request(method="POST", path=PATH, body=_dump(body))


def build_update_webhook(id: str, changes: Mapping[str, Any]) -> Request:
    """Change a subscription; what `changes` does not name stays. Raises InvalidRequestError."""
    given = dict(changes)
    if not given:
        message = "nothing to change was given"
        raise InvalidRequestError(message)
    if "url" in given:
        check_url(given["url"])
    if "events" in given:
        given["events"] = check_events(given["events"])
    return _build_for_item("PUT", id, body=_dump(given))


def build_delete_webhook(id: str) -> Request:
    """Unsubscribe."""
    return _build_for_item("DELETE", id)


def _build_for_item(method: str, id: str, *, body: bytes | None = None) -> Request:
    if not isinstance(id, str) or not ID_PATTERN.fullmatch(id):
        message = f"{id!r} is no id of a subscription: expected letters, digits, '_' and '-', as in 'whsub_6Qv4cV'"
        raise InvalidRequestError(message)
    return Request(method=method, path=f"{PATH}{id}/", body=body, resource=PATH)


def check_url(url: str) -> str:
    """`url` itself where the service could send to it. Raises InvalidRequestError, which does not show it."""
    try:
        parts = urlsplit(url)
        fits = parts.scheme in {"http", "https"} and bool(parts.hostname)
    except (ValueError, TypeError, AttributeError):
        fits = False
    if not fits:
        # Addresses of webhooks may hold secrets.
        message = "url must be the address of a receiver, like https://example.com/close/webhook"
        raise InvalidRequestError(message)
    return url


def check_events(events: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """`events` as a list. Raises InvalidRequestError where there are none, or one is without its type or action."""
    rows = [*events]
    if not rows or not all(isinstance(row, Mapping) for row in rows):
        message = "events must hold objects, at least one, as job_events() makes them"
        raise InvalidRequestError(message)
    for row in rows:
        if not (isinstance(row.get("object_type"), str) and isinstance(row.get("action"), str)):
            message = f"each of events needs an 'object_type' and an 'action', which {dict(row)!r} has not"
            raise InvalidRequestError(message)
    return [dict(row) for row in rows]


def _dump(body: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(body)
    except TypeError as exc:
        message = f"this subscription cannot be sent as JSON: {exc}"
        raise InvalidRequestError(message) from exc


def read_webhook(request: Request, response: Response) -> Webhook:
    """The subscription of an answer. Raises the APIError of its status, or DecodeError.

    A 400 that tells of a subscription like it is a DuplicateWebhookError.
    """
    try:
        check_status(request, response)
    except BadRequestError as exc:
        if DUPLICATE.lower() not in str(exc.body).lower():
            raise
        raise _duplicate(exc) from None
    return _read(lambda: _structure(orjson.loads(response.body)), request, response)


def read_webhooks(request: Request, response: Response) -> Sequence[Webhook]:
    """The subscriptions of an answer. Raises the APIError of its status, or DecodeError."""
    check_status(request, response)
    return _read(lambda: [_structure(row) for row in _rows(orjson.loads(response.body))], request, response)


def _rows(page: object) -> Sequence[object]:
    rows = page.get("data") if isinstance(page, Mapping) else None
    if not isinstance(rows, list):
        message = "there is no list under 'data'"
        raise ValueError(message)  # noqa: TRY004 - as all that does not fit
    return rows


def _structure(row: object) -> Webhook:
    if isinstance(row, Mapping) and row.get("signature_key", "") is None:  # another way not to show it
        row = {name: item for name, item in row.items() if name != "signature_key"}
    webhook: Webhook = converter().structure(row, Webhook)
    if not ID_PATTERN.fullmatch(webhook.id):
        message = "'id' holds what is no id"
        raise ValueError(message)
    _ = webhook.url, webhook.status  # without them nobody can tell it from another
    try:
        _spell(webhook.events)
    except (AttributeError, TypeError):  # what is no object, or is nested beyond reason
        message = "'events' holds what is no event"
        raise ValueError(message) from None
    return webhook


def _read(reader: Callable[[], T], request: Request, response: Response) -> T:
    try:
        return reader()
    except FieldNotRequested as exc:
        reason = f"there is no {exc.field!r}"
    except ValueError as exc:  # which names fields and types, and shows no value
        reason = str(exc)
    # The body is not shown, nor what was made of it, because the signature key may be in there.
    raise DecodeError(reason, status=response.status, request=str(request), body="(not shown)")


def _duplicate(exc: BadRequestError) -> DuplicateWebhookError:
    return DuplicateWebhookError(
        status=exc.status,
        request=exc.request,
        errors=exc.errors,
        field_errors=exc.field_errors,
        body=exc.body,
        retry_after=exc.retry_after,
    )
