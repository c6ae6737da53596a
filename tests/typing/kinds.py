"""The kind of an action survives reading, refs, lists, waits and progress; text alone leaves it open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, assert_type

from closebulk_async import (
    BulkAction,
    BulkDelete,
    BulkEdit,
    BulkEmail,
    BulkSequenceSubscription,
    CloseBulk,
    ContactPreference,
    JobRef,
    Outcome,
    Page,
    Progress,
    Status,
    Wait,
)
from closebulk_async.models import Job

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


async def read_actions(close: CloseBulk) -> None:
    """Each endpoint gives its own kind."""
    assert_type(await close.emails.get("bulkemail_1"), BulkEmail)
    assert_type(await close.deletes.get("bulkdelete_1", fields=["status"]), BulkDelete)
    assert_type(await close.edits.get("bulkedit_1"), BulkEdit)
    assert_type(await close.sequence_subscriptions.get("x_1"), BulkSequenceSubscription)
    assert_type(await close.emails.list(template_id="tmpl_1"), Page[BulkEmail])
    assert_type(await close.deletes.list(limit=1, skip=2), Page[BulkDelete])
    assert_type(close.edits.iterate(max_items=5), AsyncIterator[BulkEdit])
    async for email in close.emails.iterate(template_id="tmpl_1"):
        assert_type(email, BulkEmail)
    for edit in (await close.edits.list()).data:
        assert_type(edit, BulkEdit)
    await close.deletes.list(template_id="tmpl_1")  # type: ignore[call-arg]


async def hold_actions(close: CloseBulk, email: BulkEmail, ref: JobRef[BulkDelete]) -> None:
    """An action, its ref and its id serve alike, and another kind is refused."""
    assert_type(email.ref, JobRef[BulkEmail])
    assert_type(await close.emails.get(email), BulkEmail)
    assert_type(await close.emails.pause(email.ref), BulkEmail)
    assert_type(await close.deletes.resume(ref), BulkDelete)
    assert_type(await close.get(email), BulkEmail)
    assert_type(await close.get(ref, fields=["status"]), BulkDelete)
    assert_type(await close.pause(ref), BulkDelete)
    assert_type(await close.resume(email), BulkEmail)
    await close.deletes.get(email)  # type: ignore[arg-type]
    await close.emails.pause(ref)  # type: ignore[arg-type]
    close.emails.wait_until_done(ref)  # type: ignore[arg-type]
    await close.get(5)  # type: ignore[call-overload]


async def hold_texts(close: CloseBulk, text: str) -> None:
    """From a text the kind is not known, but it is one of the four."""
    assert_type(JobRef.parse(text), JobRef[BulkAction])
    assert_type(await close.get(text), BulkAction)
    assert_type(await close.pause(text), BulkAction)
    assert_type(close.wait_until_done(text), Wait[BulkAction])
    assert_type(close.wait_until_done(JobRef.parse(text)), Wait[BulkAction])
    assert_type(close.deletes.wait_until_done(text), Wait[BulkDelete])
    action = await close.get(text)
    if isinstance(action, BulkDelete):
        assert_type(action, BulkDelete)


async def wait_for_actions(close: CloseBulk, email: BulkEmail, tasks: asyncio.TaskGroup) -> None:
    """A wait gives progress of its kind, and in the end an action of its kind."""
    wait = close.wait_until_done(email, timeout=60, stall_timeout=None, on_paused="raise", heartbeat=5.5)
    assert_type(wait, Wait[BulkEmail])
    async for progress in wait:
        assert_type(progress, Progress[BulkEmail])
        assert_type(progress.action, BulkEmail)
        assert_type(progress.ref, JobRef[BulkEmail])
        assert_type(progress.status, Status | str | None)
        assert_type(progress.fraction, float | None)
        assert_type(progress.eta, timedelta | None)
    assert_type(await wait, BulkEmail)
    assert_type(await wait.result(), BulkEmail)
    assert_type(tasks.create_task(wait.result()), asyncio.Task[BulkEmail])
    async with close.emails.wait_until_done(email.ref) as held:
        assert_type(held, Wait[BulkEmail])
    stream: AsyncGenerator[Progress[BulkEmail], None] = wait
    assert_type(await anext(stream), Progress[BulkEmail])
    close.wait_until_done(email, on_paused="never")  # type: ignore[call-overload]
    close.wait_until_done(email, timeout="5")  # type: ignore[call-overload]


async def wait_for_many(close: CloseBulk, email: BulkEmail, ref: JobRef[BulkDelete]) -> None:
    """Kinds may be mixed where many are waited for."""
    assert_type(await close.wait_all([email, ref, "edit:bulkedit_1"]), list[Outcome[BulkAction]])


def show_any(action: BulkAction, progress: Progress[BulkAction]) -> JobRef[BulkAction] | None:
    """What is common to all kinds needs no narrowing, and one kind serves where any is meant."""
    assert_type(action.n_objects, int | None)
    assert_type(action.n_objects_processed, int)
    assert_type(action.date_created, datetime | None)
    assert_type(action.is_final, bool)
    email: Progress[BulkEmail] | None = None
    wider: Progress[BulkAction] | None = email
    assert_type(Progress.from_dict(progress.to_dict()), Progress[Job])
    return wider.ref if wider else None


def read_fields(email: BulkEmail, edit: BulkEdit) -> None:
    """Fields have the types of the schema; words of an enum may be unknown; nothing can be set."""
    assert_type(email.contact_preference, ContactPreference | str | None)
    assert_type(email.extra["surprise"], Any)
    assert_type(BulkEmail.example(status="done"), BulkEmail)
    assert_type(BulkEdit.from_dict({}), BulkEdit)
    email.status = "done"  # type: ignore[misc]
    _ = edit.template_id  # type: ignore[attr-defined]
