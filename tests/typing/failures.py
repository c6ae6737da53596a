"""What an `except` clause can read off each error."""

from __future__ import annotations

from datetime import timedelta
from typing import assert_type

from closebulk_async import (
    AmbiguousStartError,
    APIError,
    AuthenticationError,
    BadRequestError,
    BlockedStartError,
    BulkAction,
    BulkActionFailed,
    BulkActionPaused,
    BulkActionStalled,
    BulkEmail,
    ClientClosedError,
    CloseBulk,
    CloseBulkDeprecationWarning,
    CloseBulkError,
    DecodeError,
    DuplicateWebhookError,
    FieldNotRequested,
    IdempotencyConflictError,
    Intent,
    InvalidRequestError,
    InvalidWebhookError,
    Job,
    JournalError,
    Kind,
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

ROOTS: list[type[CloseBulkError]] = [
    APIError,
    ClientClosedError,
    InvalidRequestError,
    JournalError,
    WaitError,
    StartError,
    TransportError,
]
WARNINGS: list[type[DeprecationWarning]] = [CloseBulkDeprecationWarning]
OF_REQUESTS: list[type[APIError]] = [
    AuthenticationError,
    BadRequestError,
    DuplicateWebhookError,
    NotFoundError,
    PermissionDeniedError,
    PlanLimitError,
    RateLimitedError,
    ServerError,
]
OF_WAITS: list[type[WaitError]] = [
    BulkActionFailed,
    BulkActionPaused,
    BulkActionStalled,
    WaitClosedError,
    WaitTimeout,
    WatchLostError,
]
OF_STARTS: list[type[StartError]] = [
    AmbiguousStartError,
    BlockedStartError,
    IdempotencyConflictError,
    TooManyMatchesError,
    UnfencedStartError,
    UnsafeQueryError,
]
KNOWN_ELSEWHERE: tuple[type[ValueError], type[TimeoutError], type[AttributeError], type[RuntimeError]] = (
    InvalidRequestError,
    WaitTimeout,
    FieldNotRequested,
    WaitClosedError,
)
NOT_OF_REQUESTS: type[APIError] = TransportError  # type: ignore[assignment]
NOT_OF_WAITS: type[WaitError] = JournalError  # type: ignore[assignment]


async def fail_to_ask(close: CloseBulk) -> None:
    """What the service said, and whether a request may have reached it."""
    try:
        await close.emails.get("bulkemail_1")
    except APIError as exc:
        assert_type(exc.status, int | None)
        assert_type(exc.errors, tuple[str, ...])
        assert_type(exc.field_errors, dict[str, str])
        assert_type(exc.body, object)
        assert_type(exc.retry_after, timedelta | None)
    except TransportError as exc:
        assert_type(exc.sent, bool)
        assert_type(exc.request, str)
    except DecodeError as exc:
        assert_type(exc.status, int)
        assert_type(exc.body, str)
    except FieldNotRequested as exc:
        assert_type(exc.field, str)


async def fail_to_wait(close: CloseBulk, email: BulkEmail) -> None:
    """A failure of a wait says where the job stood."""
    try:
        await close.wait_until_done(email)
    except WaitError as exc:
        assert_type(exc.action, Job | None)
        assert_type(exc.progress.n_objects if exc.progress else None, int | None)
        assert_type(exc.ref.kind, Kind)
        exc.job  # type: ignore[attr-defined]  # noqa: B018 - the error is the point


async def fail_to_start(close: CloseBulk) -> BulkAction:
    """One start that is in doubt is looked for again by its error."""
    try:
        return await close.deletes.create(s_query={})
    except AmbiguousStartError as exc:
        assert_type(exc.intent, Intent)
        assert_type(exc.candidates, tuple[BulkAction, ...])
        return await exc.reconcile()
    except TooManyMatchesError as exc:
        assert_type(exc.count, int)
        raise
    except (IdempotencyConflictError, BlockedStartError) as exc:
        assert_type(exc.intent, Intent)
        raise


def fail_elsewhere(
    webhook: InvalidWebhookError, key: SignatureKeyNotShown, search: SearchIncompleteError, twin: DuplicateWebhookError
) -> None:
    """What the others know."""
    assert_type(webhook.is_signed, bool)
    assert_type(key.id, str)
    assert_type(search.given, int)
    assert_type(twin.ids, tuple[str, ...])
