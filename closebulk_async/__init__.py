"""Start Close bulk actions from asyncio, wait for them, and know how far they are.

A program that needs no more than a key in `CLOSE_API_KEY`::

    import asyncio

    from closebulk_async import CloseBulk, lead


    async def main() -> None:
        async with CloseBulk.from_env() as close:
            action = await close.deletes.create(s_query=lead.name.full_words("ACME Inc."))
            async for progress in close.wait_until_done(action):
                print(progress.n_objects_processed, progress.n_objects, progress.eta)


    asyncio.run(main())

Names are loaded when they are first used, so that `import closebulk_async` alone costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from closebulk_async.auth import ApiKey, Auth, BearerToken
    from closebulk_async.batches import Outcome
    from closebulk_async.budget import Priority, Sight
    from closebulk_async.client import CloseBulk
    from closebulk_async.clock import Clock, SystemClock
    from closebulk_async.counting import Preview
    from closebulk_async.deprecation import CloseBulkDeprecationWarning
    from closebulk_async.downloads import Download, DownloadProgress
    from closebulk_async.endpoints import BulkActions
    from closebulk_async.errors import (
        AmbiguousStartError,
        APIError,
        AuthenticationError,
        BadRequestError,
        BlockedStartError,
        BulkActionFailed,
        BulkActionPaused,
        BulkActionStalled,
        ClientClosedError,
        CloseBulkError,
        DecodeError,
        DuplicateWebhookError,
        FieldNotRequested,
        IdempotencyConflictError,
        InvalidRequestError,
        InvalidWebhookError,
        JournalError,
        NotFoundError,
        PermissionDeniedError,
        PlanLimitError,
        RateLimitedError,
        SearchIncompleteError,
        ServerError,
        SignatureKeyNotShown,
        StartError,
        TooManyMatchesError,
        TransportError,
        UnfencedStartError,
        UnsafeQueryError,
        WaitClosedError,
        WaitError,
        WaitTimeout,
        WatchLostError,
    )
    from closebulk_async.export_wire import DateFormat, ExportFormat, LeadExportType
    from closebulk_async.exports import Exports
    from closebulk_async.fields import address, contact, contact_email, contact_phone, contact_url, lead
    from closebulk_async.grants import exchange_code, revoke_token
    from closebulk_async.intents import Fence, Intent, Sighting, State
    from closebulk_async.journal import Journal, MemoryJournal
    from closebulk_async.limiter import Limiter, MemoryLimiter
    from closebulk_async.limits import GroupLimits, ShownLimit
    from closebulk_async.models import (
        BulkAction,
        BulkDelete,
        BulkEdit,
        BulkEmail,
        BulkObjectType,
        BulkSequenceSubscription,
        ContactPreference,
        CustomFieldOperation,
        EditType,
        Export,
        ExportStatus,
        Job,
        JobRef,
        Kind,
        Page,
        SequenceActionType,
        Status,
    )
    from closebulk_async.oauth import OAuth
    from closebulk_async.oauth_wire import OAuthToken, authorize_url
    from closebulk_async.outcomes import ObjectOutcome, Outcomes, OutcomeSummary
    from closebulk_async.policy import PollPolicy, RetryPolicy, StartPolicy, Timeouts
    from closebulk_async.progress import Progress
    from closebulk_async.query import Query, by_id, raw, saved_search, text_search
    from closebulk_async.ratelimit import RateLimit
    from closebulk_async.recovering import Recovered
    from closebulk_async.search import Search
    from closebulk_async.search_wire import Hit, SortKey, asc, desc
    from closebulk_async.signing import verify_webhook
    from closebulk_async.sqlite_journal import SqliteJournal
    from closebulk_async.starts import DeleteStart, EditStart, EmailStart, SequenceStart
    from closebulk_async.subscriptions import Webhooks
    from closebulk_async.telemetry import (
        ActionMoved,
        Event,
        Hook,
        LogHook,
        PollEnded,
        RequestEnded,
        RequestRepeated,
        StartMoved,
        StartReconciled,
        Throttled,
        WaitBegan,
        WaitEnded,
        WebhookReceived,
    )
    from closebulk_async.version import __version__
    from closebulk_async.waiting import Wait
    from closebulk_async.webhook_models import Webhook, WebhookEvent, WebhookStatus
    from closebulk_async.webhook_wire import job_events
    from closebulk_async.wire import Me

__all__ = [
    "APIError",
    "ActionMoved",
    "AmbiguousStartError",
    "ApiKey",
    "Auth",
    "AuthenticationError",
    "BadRequestError",
    "BearerToken",
    "BlockedStartError",
    "BulkAction",
    "BulkActionFailed",
    "BulkActionPaused",
    "BulkActionStalled",
    "BulkActions",
    "BulkDelete",
    "BulkEdit",
    "BulkEmail",
    "BulkObjectType",
    "BulkSequenceSubscription",
    "ClientClosedError",
    "Clock",
    "CloseBulk",
    "CloseBulkDeprecationWarning",
    "CloseBulkError",
    "ContactPreference",
    "CustomFieldOperation",
    "DateFormat",
    "DecodeError",
    "DeleteStart",
    "Download",
    "DownloadProgress",
    "DuplicateWebhookError",
    "EditStart",
    "EditType",
    "EmailStart",
    "Event",
    "Export",
    "ExportFormat",
    "ExportStatus",
    "Exports",
    "Fence",
    "FieldNotRequested",
    "GroupLimits",
    "Hit",
    "Hook",
    "IdempotencyConflictError",
    "Intent",
    "InvalidRequestError",
    "InvalidWebhookError",
    "Job",
    "JobRef",
    "Journal",
    "JournalError",
    "Kind",
    "LeadExportType",
    "Limiter",
    "LogHook",
    "Me",
    "MemoryJournal",
    "MemoryLimiter",
    "NotFoundError",
    "OAuth",
    "OAuthToken",
    "ObjectOutcome",
    "Outcome",
    "OutcomeSummary",
    "Outcomes",
    "Page",
    "PermissionDeniedError",
    "PlanLimitError",
    "PollEnded",
    "PollPolicy",
    "Preview",
    "Priority",
    "Progress",
    "Query",
    "RateLimit",
    "RateLimitedError",
    "Recovered",
    "RequestEnded",
    "RequestRepeated",
    "RetryPolicy",
    "Search",
    "SearchIncompleteError",
    "SequenceActionType",
    "SequenceStart",
    "ServerError",
    "ShownLimit",
    "Sight",
    "Sighting",
    "SignatureKeyNotShown",
    "SortKey",
    "SqliteJournal",
    "StartError",
    "StartMoved",
    "StartPolicy",
    "StartReconciled",
    "State",
    "Status",
    "SystemClock",
    "Throttled",
    "Timeouts",
    "TooManyMatchesError",
    "TransportError",
    "UnfencedStartError",
    "UnsafeQueryError",
    "Wait",
    "WaitBegan",
    "WaitClosedError",
    "WaitEnded",
    "WaitError",
    "WaitTimeout",
    "WatchLostError",
    "Webhook",
    "WebhookEvent",
    "WebhookReceived",
    "WebhookStatus",
    "Webhooks",
    "__version__",
    "address",
    "asc",
    "authorize_url",
    "by_id",
    "contact",
    "contact_email",
    "contact_phone",
    "contact_url",
    "desc",
    "exchange_code",
    "job_events",
    "lead",
    "raw",
    "revoke_token",
    "saved_search",
    "text_search",
    "verify_webhook",
]


_MODULE_OF = {
    "ApiKey": "auth",
    "Auth": "auth",
    "BearerToken": "auth",
    "Outcome": "batches",
    "Priority": "budget",
    "Sight": "budget",
    "CloseBulk": "client",
    "CloseBulkDeprecationWarning": "deprecation",
    "Clock": "clock",
    "SystemClock": "clock",
    "Preview": "counting",
    "BulkActions": "endpoints",
    "APIError": "errors",
    "AmbiguousStartError": "errors",
    "AuthenticationError": "errors",
    "BadRequestError": "errors",
    "BlockedStartError": "errors",
    "BulkActionFailed": "errors",
    "BulkActionPaused": "errors",
    "BulkActionStalled": "errors",
    "ClientClosedError": "errors",
    "CloseBulkError": "errors",
    "DecodeError": "errors",
    "DuplicateWebhookError": "errors",
    "FieldNotRequested": "errors",
    "IdempotencyConflictError": "errors",
    "InvalidRequestError": "errors",
    "InvalidWebhookError": "errors",
    "JournalError": "errors",
    "NotFoundError": "errors",
    "PermissionDeniedError": "errors",
    "PlanLimitError": "errors",
    "RateLimitedError": "errors",
    "SearchIncompleteError": "errors",
    "ServerError": "errors",
    "SignatureKeyNotShown": "errors",
    "StartError": "errors",
    "TooManyMatchesError": "errors",
    "TransportError": "errors",
    "UnfencedStartError": "errors",
    "UnsafeQueryError": "errors",
    "WaitClosedError": "errors",
    "WaitError": "errors",
    "WaitTimeout": "errors",
    "WatchLostError": "errors",
    "Fence": "intents",
    "Intent": "intents",
    "Sighting": "intents",
    "State": "intents",
    "Journal": "journal",
    "MemoryJournal": "journal",
    "Limiter": "limiter",
    "MemoryLimiter": "limiter",
    "BulkAction": "models",
    "BulkDelete": "models",
    "BulkEdit": "models",
    "BulkEmail": "models",
    "BulkObjectType": "models",
    "BulkSequenceSubscription": "models",
    "ContactPreference": "models",
    "CustomFieldOperation": "models",
    "EditType": "models",
    "Export": "models",
    "ExportStatus": "models",
    "Job": "models",
    "JobRef": "models",
    "Kind": "models",
    "Page": "models",
    "SequenceActionType": "models",
    "Status": "models",
    "PollPolicy": "policy",
    "RetryPolicy": "policy",
    "StartPolicy": "policy",
    "Timeouts": "policy",
    "Progress": "progress",
    "RateLimit": "ratelimit",
    "Recovered": "recovering",
    "verify_webhook": "signing",
    "SqliteJournal": "sqlite_journal",
    "DeleteStart": "starts",
    "EditStart": "starts",
    "EmailStart": "starts",
    "SequenceStart": "starts",
    "Webhooks": "subscriptions",
    "ActionMoved": "telemetry",
    "Event": "telemetry",
    "Hook": "telemetry",
    "LogHook": "telemetry",
    "PollEnded": "telemetry",
    "RequestEnded": "telemetry",
    "RequestRepeated": "telemetry",
    "StartMoved": "telemetry",
    "StartReconciled": "telemetry",
    "Throttled": "telemetry",
    "WaitBegan": "telemetry",
    "WaitEnded": "telemetry",
    "WebhookReceived": "telemetry",
    "GroupLimits": "limits",
    "ShownLimit": "limits",
    "ObjectOutcome": "outcomes",
    "OutcomeSummary": "outcomes",
    "Outcomes": "outcomes",
    "Query": "query",
    "by_id": "query",
    "raw": "query",
    "saved_search": "query",
    "text_search": "query",
    "address": "fields",
    "contact": "fields",
    "contact_email": "fields",
    "contact_phone": "fields",
    "contact_url": "fields",
    "lead": "fields",
    "OAuth": "oauth",
    "OAuthToken": "oauth_wire",
    "authorize_url": "oauth_wire",
    "exchange_code": "grants",
    "revoke_token": "grants",
    "Search": "search",
    "Hit": "search_wire",
    "SortKey": "search_wire",
    "asc": "search_wire",
    "desc": "search_wire",
    "Exports": "exports",
    "DateFormat": "export_wire",
    "ExportFormat": "export_wire",
    "LeadExportType": "export_wire",
    "Download": "downloads",
    "DownloadProgress": "downloads",
    "__version__": "version",
    "Wait": "waiting",
    "Webhook": "webhook_models",
    "WebhookEvent": "webhook_models",
    "WebhookStatus": "webhook_models",
    "job_events": "webhook_wire",
    "Me": "wire",
}
"""Where each export is defined; a test holds it to the imports above and to `__all__`."""


def __getattr__(name: str) -> object:
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__} - {"TYPE_CHECKING", "annotations"})
