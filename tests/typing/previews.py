"""`preview` takes what `create` takes, overload by overload, and gives a preview."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_type

from closebulk_async import CloseBulk, EditType, Kind, Preview, SequenceActionType

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping

QUERY: Mapping[str, Any] = {"type": "text", "value": "ACME"}


async def preview_emails(close: CloseBulk, group: asyncio.TaskGroup) -> None:
    """The keywords are those of `create`; the call is a coroutine, so that it can be a task."""
    made = await close.emails.preview(
        template_id="tmpl_1", email_account_id="emailacct_1", s_query=QUERY, results_limit=5, max_matches=5
    )
    assert_type(made, Preview)
    assert_type(made.kind, Kind)
    assert_type(made.count, int | None)
    assert_type(made.fingerprint, str)
    assert_type(made.request, dict[str, Any])
    task = group.create_task(close.emails.preview(template_id="t", email_account_id="e", query="ACME"))
    assert_type(task, "asyncio.Task[Preview]")
    await close.emails.preview(template_id="t", s_query=QUERY)  # type: ignore[call-arg]
    await close.emails.preview("t", "e", s_query=QUERY)  # type: ignore[call-arg]
    await close.emails.preview(template_id="t", email_account_id="e", s_query="ACME")  # type: ignore[arg-type]
    await close.emails.preview(template_id="t", email_account_id="e", tempalte="x")  # type: ignore[call-arg]
    made.count = 5  # type: ignore[misc]


async def preview_deletes(close: CloseBulk) -> None:
    """The type of object is optional."""
    assert_type(await close.deletes.preview(s_query=QUERY), Preview)
    await close.deletes.preview(bulk_object_type="contact", allow_all=True)
    await close.deletes.preview(bulk_object_type="opportunity", s_query=QUERY)  # type: ignore[arg-type]


async def preview_edits(close: CloseBulk, type: EditType, word: str) -> None:
    """Each type takes its own keywords, and no others; one in a variable takes any."""
    preview = close.edits.preview
    assert_type(await preview(type="set_lead_status", lead_status_id="stat_1", s_query=QUERY), Preview)
    await preview(type="clear_contact_custom_field", custom_field_name="Size", s_query=QUERY)
    await preview(type="set_custom_field", custom_field_id="cf_1", custom_field_values=["S"], s_query=QUERY)
    await preview(type=type, custom_field_id="cf_1", custom_field_value=False, s_query=QUERY)
    await preview(type="set_lead_status", s_query=QUERY)  # type: ignore[call-overload]
    await preview(type="set_lead_status", lead_status_id="s", custom_field_id="cf_1")  # type: ignore[call-overload]
    await preview(type="set_custom_field", custom_field_value=1, s_query=QUERY)  # type: ignore[call-overload]
    await preview(type=word, lead_status_id="s", s_query=QUERY)  # type: ignore[call-overload]


async def preview_sequence_subscriptions(close: CloseBulk, action_type: SequenceActionType) -> None:
    """A sender for `subscribe`; for the others one sequence, or the word that every one is meant."""
    preview = close.sequence_subscriptions.preview
    assert_type(await preview(action_type="pause", sequence_id="seq_1", s_query=QUERY), Preview)
    await preview(action_type="resume", all_sequences=True, s_query=QUERY)
    await preview(action_type=action_type, sequence_id="seq_1", s_query=QUERY)
    await preview(action_type="subscribe", sequence_id="seq_1", s_query=QUERY)  # type: ignore[call-overload]
    await preview(action_type="pause", s_query=QUERY)  # type: ignore[call-overload]
    await preview(action_type="pause", all_sequences=False, s_query=QUERY)  # type: ignore[call-overload]
