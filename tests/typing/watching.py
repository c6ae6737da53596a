"""Streams of many actions keep what is common to their kinds; outcomes say what is missing."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import datetime, timedelta
from typing import Any, assert_type

from closebulk_async import (
    BulkAction,
    BulkActions,
    BulkDelete,
    BulkEmail,
    BulkObjectType,
    CloseBulk,
    CloseBulkError,
    CustomFieldOperation,
    DeleteStart,
    EditStart,
    EmailStart,
    Export,
    ExportStatus,
    GroupLimits,
    Intent,
    Job,
    JobRef,
    Kind,
    Me,
    Outcome,
    Page,
    Progress,
    Query,
    Recovered,
    SequenceStart,
    ShownLimit,
    Wait,
    lead,
)


async def watch_some(
    close: CloseBulk, email: BulkEmail, ref: JobRef[BulkEmail], delete: JobRef[BulkDelete], export: Export
) -> None:
    """One kind stays one kind, by an action or its ref; a text makes it any kind."""
    assert_type(close.watch(email, ref), AsyncGenerator[Progress[BulkEmail], None])
    assert_type(close.watch("email:bulkemail_1", delete), AsyncGenerator[Progress[BulkAction], None])
    async for progress in close.watch(ref, timeout=timedelta(hours=1), raise_on_failure=True):
        assert_type(progress.action, BulkEmail)
        assert_type(progress.error, CloseBulkError | None)
        assert_type(progress.next_poll_in, timedelta | None)
        assert_type(progress.paused_since, datetime | None)
    mixed: AsyncGenerator[Progress[Job], None] = close.watch(email, export)
    assert_type(close.watch("delete:bulkdelete_1", export), AsyncGenerator[Progress[Job], None])
    mixed = close.watch(export)
    assert_type((await anext(mixed)).n_objects, int | None)
    close.watch(5)  # type: ignore[call-overload]
    close.watch(email, on_paused="never")  # type: ignore[call-overload]
    close.watch([email])  # type: ignore[call-overload]


async def watch_what_runs(close: CloseBulk) -> None:
    """Without kinds they are bulk actions; who names kinds may name exports."""
    assert_type(close.watch_active(), AsyncGenerator[Progress[BulkAction], None])
    assert_type(close.watch_active(kinds=[Kind.EXPORT, "email"], follow=True), AsyncGenerator[Progress[Job], None])
    assert_type(await close.recent(kinds=["delete"], since=3600, active=True), list[Job])
    close.watch_active(kinds=5)  # type: ignore[call-overload]


async def wait_for_all(close: CloseBulk, email: BulkEmail, export: Export) -> None:
    """An outcome is an action or an error, or both."""
    for outcome in await close.wait_all([email, email.ref, "delete:bulkdelete_1"], stall_timeout=60):
        assert_type(outcome, Outcome[BulkAction])
        assert_type(outcome.ref, JobRef[BulkAction] | None)
        assert_type(outcome.action, BulkAction | None)
        assert_type(outcome.error, CloseBulkError | None)
        outcome.error = None  # type: ignore[misc]
    assert_type(await close.wait_all([export, "delete:bulkdelete_1"]), list[Outcome[Job]])
    await close.wait_all(email)  # type: ignore[call-overload]
    await close.wait_all([5])  # type: ignore[list-item]


async def run_many(close: CloseBulk) -> None:
    """Starts of any kinds, and how many may run."""
    query = lead.name.full_words("ACME")
    starts: list[EmailStart | DeleteStart | EditStart | SequenceStart] = [
        EmailStart(template_id="tmpl_1", email_account_id="emailacct_1", s_query=query),
        DeleteStart(bulk_object_type=BulkObjectType.CONTACT, s_query=query),
        EditStart(
            type="set_custom_field",
            custom_field_id="cf_1",
            custom_field_value=1,
            custom_field_operation=CustomFieldOperation.ADD,
            s_query=query,
        ),
        SequenceStart(action_type="pause", sequence_id="seq_1", s_query=query),
    ]
    async for outcome in close.run_many(starts, max_running=2, stop_on_error=True):
        assert_type(outcome, Outcome[BulkAction])
        assert_type(outcome.start, EmailStart | DeleteStart | EditStart | SequenceStart | None)
    close.run_many(starts)  # type: ignore[call-arg]
    close.run_many([query], max_running=2)  # type: ignore[list-item]
    EditStart(s_query=query)  # type: ignore[call-arg]
    EmailStart(lead_status_id="stat_1")  # type: ignore[call-arg]


async def recover(close: CloseBulk, intent: Intent, ref: JobRef[BulkDelete]) -> None:
    """What an operator reads and decides."""
    async for recovered in close.recover():
        assert_type(recovered, Recovered)
        assert_type(recovered.intent, Intent)
        assert_type(recovered.action, BulkAction | None)
        assert_type(recovered.error, CloseBulkError | None)
    assert_type(await close.reconcile(intent.id), BulkAction)
    assert_type(await close.adopt(intent.id, ref), BulkAction)
    await close.adopt(intent.id, "delete:bulkdelete_1")
    await close.abandon(intent.id)
    await close.reconcile(intent)  # type: ignore[arg-type]


async def take_any_endpoint(actions: BulkActions[BulkEmail], page: Page[BulkEmail]) -> Wait[BulkEmail]:
    """One function serves all kinds, by the type of their action."""
    wider: Page[BulkAction] = page
    assert_type(wider.has_more, bool)
    assert_type(await actions.pause("bulkemail_1"), BulkEmail)
    return actions.wait_until_done("email:bulkemail_1")


async def wait_for_exports(close: CloseBulk, export: Export) -> None:
    """An export is waited for as an action is, and cannot be paused."""
    assert_type(close.wait_until_done(export), Wait[Export])
    assert_type(await close.exports.wait_until_done("export_1"), Export)
    assert_type(export.status, ExportStatus | str | None)
    assert_type(export.download_url, str | None)
    await close.exports.pause(export)  # type: ignore[attr-defined]


async def read_about_the_key(close: CloseBulk) -> None:
    """Who the key belongs to, and what is known of its limits."""
    me = await close.me()
    assert_type(me, Me)
    assert_type(me.clock_skew, timedelta | None)
    for group, limits in close.limits.items():
        assert_type(group, str)
        assert_type(limits, GroupLimits)
        assert_type(limits.shown, tuple[ShownLimit, ...])
        assert_type(limits.shown[0].remaining, float | None)
    close.limits = {}  # type: ignore[misc]


def read_starts(start: DeleteStart, query: Query) -> dict[str, Any]:
    """A start shows the JSON that it sends, and cannot be changed."""
    start.s_query = query  # type: ignore[misc, assignment]
    return start.body()
