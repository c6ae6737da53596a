"""Which keywords `create` takes: overloads for each type, and any of them for a type that is held in a variable."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, assert_type

from closebulk_async import (
    BulkDelete,
    BulkEdit,
    BulkEmail,
    BulkSequenceSubscription,
    CloseBulk,
    ContactPreference,
    CustomFieldOperation,
    EditType,
    PollPolicy,
    RetryPolicy,
    SequenceActionType,
    Timeouts,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

QUERY: Mapping[str, Any] = {"type": "text", "value": "ACME"}


async def create_emails(close: CloseBulk) -> None:
    """A template and an account are needed; the common keywords are typed."""
    made = await close.emails.create(
        template_id="tmpl_1",
        email_account_id="emailacct_1",
        sender="ada@example.com",
        contact_preference=ContactPreference.ALL,
        s_query=QUERY,
        results_limit=5,
        sort=[{"direction": "asc"}],
        send_done_email=False,
        extra={"new": 1},
        timeout=timedelta(minutes=1),
        idempotency_key="campaign",
        on_ambiguous="resend",
        max_matches=100,
    )
    assert_type(made, BulkEmail)
    await close.emails.create(template_id="t", email_account_id="e", contact_preference="all", query="ACME")
    await close.emails.create(template_id="t", s_query=QUERY)  # type: ignore[call-arg]
    await close.emails.create(template_id="t", email_account_id="e", contact_preference="some")  # type: ignore[arg-type]
    await close.emails.create(template_id="t", email_account_id="e", s_query="ACME")  # type: ignore[arg-type]
    await close.emails.create(template_id="t", email_account_id="e", results_limit="5")  # type: ignore[arg-type]
    await close.emails.create(template_id="t", email_account_id="e", tempalte="x")  # type: ignore[call-arg]
    await close.emails.create(template_id="t", email_account_id="e", on_ambiguous="hope")  # type: ignore[arg-type]
    await close.emails.create(template_id="t", email_account_id="e", max_matches="5")  # type: ignore[arg-type]


async def create_deletes(close: CloseBulk) -> None:
    """The type of object is optional."""
    assert_type(await close.deletes.create(s_query=QUERY), BulkDelete)
    await close.deletes.create(bulk_object_type="contact", allow_all=True)
    await close.deletes.create(bulk_object_type="opportunity", s_query=QUERY)  # type: ignore[arg-type]


async def create_edits(close: CloseBulk) -> None:
    """Each type takes its own keywords, and no others."""
    create = close.edits.create
    assert_type(await create(type="set_lead_status", lead_status_id="stat_1", s_query=QUERY), BulkEdit)
    await create(type=EditType.SET_LEAD_STATUS, lead_status_id="stat_1", s_query=QUERY)
    await create(type="clear_custom_field", custom_field_id="cf_1", s_query=QUERY)
    await create(type="clear_custom_object_custom_field", custom_field_name="Size", s_query=QUERY)
    await create(type="set_custom_field", custom_field_id="cf_1", custom_field_value=None, s_query=QUERY)
    await create(type="set_contact_custom_field", custom_field_name="Size", custom_field_value=7, s_query=QUERY)
    await create(
        type="set_global_custom_field",
        custom_field_name="Size",
        custom_field_values=["S", "M"],
        custom_field_operation="add",
        s_query=QUERY,
    )
    await create(
        type="set_opportunity_custom_field",
        custom_field_id="cf_1",
        custom_field_values=["S"],
        custom_field_operation=CustomFieldOperation.REMOVE,
        s_query=QUERY,
    )
    await create(type="set_lead_status", s_query=QUERY)  # type: ignore[call-overload]
    await create(type="set_lead_status", lead_status_id="s", custom_field_id="cf_1")  # type: ignore[call-overload]
    await create(type="clear_custom_field", s_query=QUERY)  # type: ignore[call-overload]
    await create(type="clear_custom_field", custom_field_id="cf_1", custom_field_value=1)  # type: ignore[call-overload]
    await create(type="set_custom_field", custom_field_id="cf_1", s_query=QUERY)  # type: ignore[call-overload]
    await create(type="set_custom_field", custom_field_value=1, s_query=QUERY)  # type: ignore[call-overload]
    await create(type="set_everything", lead_status_id="s", s_query=QUERY)  # type: ignore[call-overload]
    await create(lead_status_id="s", s_query=QUERY)  # type: ignore[call-overload]


async def create_edits_of_a_variable(close: CloseBulk, type: EditType, word: str, keywords: dict[str, Any]) -> None:
    """A type in a variable takes any of the keywords, which are then judged when it runs; a bare text does not."""
    assert_type(await close.edits.create(type=type, lead_status_id="stat_1", s_query=QUERY), BulkEdit)
    await close.edits.create(type=type, custom_field_id="cf_1", custom_field_value=False, s_query=QUERY)
    await close.edits.create(type=type, **keywords)
    await close.edits.create(type=EditType(word), custom_field_name="Size", s_query=QUERY)
    await close.edits.create(type=word, lead_status_id="s", s_query=QUERY)  # type: ignore[call-overload]
    await close.edits.create(type=type, sequence_id="seq_1", s_query=QUERY)  # type: ignore[call-overload]


async def create_sequence_subscriptions(close: CloseBulk) -> None:
    """`subscribe` needs a sender; the others need one sequence or the word that every one is meant."""
    create = close.sequence_subscriptions.create
    made = await create(
        action_type="subscribe",
        sequence_id="seq_1",
        sender_account_id="emailacct_1",
        sender_name="Ada",
        sender_email="ada@example.com",
        contact_preference="lead",
        calls_assigned_to=["user_1"],
        s_query=QUERY,
    )
    assert_type(made, BulkSequenceSubscription)
    await create(action_type="pause", sequence_id="seq_1", s_query=QUERY)
    await create(action_type="resume", all_sequences=True, s_query=QUERY)
    await create(action_type="resume_finished", sequence_id="seq_1", s_query=QUERY)
    await create(action_type=SequenceActionType.PAUSE, sequence_id="seq_1", s_query=QUERY)
    await create(action_type="reassign", sequence_id="seq_1", calls_assigned_to=["user_1"], s_query=QUERY)
    await create(action_type="subscribe", sequence_id="seq_1", s_query=QUERY)  # type: ignore[call-overload]
    await create(action_type="pause", s_query=QUERY)  # type: ignore[call-overload]
    await create(action_type="pause", all_sequences=False, s_query=QUERY)  # type: ignore[call-overload]
    await create(action_type="pause", sequence_id="s", sender_name="Ada", s_query=QUERY)  # type: ignore[call-overload]
    await create(action_type="stop", sequence_id="seq_1", s_query=QUERY)  # type: ignore[call-overload]


async def create_sequences_of_a_variable(close: CloseBulk, action_type: SequenceActionType, word: str) -> None:
    """A type in a variable takes any of the keywords; a bare text does not."""
    create = close.sequence_subscriptions.create
    assert_type(await create(action_type=action_type, sequence_id="s", s_query=QUERY), BulkSequenceSubscription)
    await create(action_type=action_type, all_sequences=True, sender_name="Ada", s_query=QUERY)
    await create(action_type=word, sequence_id="s", s_query=QUERY)  # type: ignore[call-overload]


def configure() -> CloseBulk:
    """Durations are timedeltas or seconds, and nothing else."""
    timeouts = Timeouts(connect=5, total=timedelta(minutes=1))
    assert_type(timeouts.total, float)
    poll = PollPolicy(floor=0.5, ceiling=timedelta(minutes=5))
    Timeouts(total="60")  # type: ignore[arg-type]
    RetryPolicy(first=None)  # type: ignore[arg-type]
    PollPolicy(5)  # type: ignore[call-arg]
    timeouts.total = 5.0  # type: ignore[misc]
    return CloseBulk("api_x", timeouts=timeouts, retry=RetryPolicy(attempts=2), poll=poll)
