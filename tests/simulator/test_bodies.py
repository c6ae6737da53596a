"""Which POSTs start a job."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .api import Api

REQUIRED = "This field is required."
NOT_A_CHOICE = "Not a valid choice."
SUBSCRIBE = {
    "action_type": "subscribe",
    "sequence_id": "seq_1",
    "sender_account_id": "emailacct_1",
    "sender_name": "Ada",
    "sender_email": "ada@example.com",
    "contact_preference": "contact",
}


@pytest.mark.parametrize(
    ("kind", "body", "errors"),
    [
        ("edit", {}, {"type": REQUIRED}),
        ("edit", {"type": None}, {"type": REQUIRED}),
        ("edit", {"type": "set_everything"}, {"type": NOT_A_CHOICE}),
        ("edit", {"type": "set_lead_status"}, {"lead_status_id": REQUIRED}),
        ("edit", {"type": "clear_custom_field"}, {"custom_field_id": REQUIRED}),
        ("edit", {"type": "set_custom_field", "custom_field_name": "x"}, {"custom_field_value": REQUIRED}),
        (
            "edit",
            {"type": "clear_custom_field", "custom_field_id": "cf_1", "custom_field_operation": "toggle"},
            {"custom_field_operation": NOT_A_CHOICE},
        ),
        ("sequence_subscription", {}, {"action_type": REQUIRED}),
        ("sequence_subscription", {"action_type": "stop"}, {"action_type": NOT_A_CHOICE}),
        (
            "sequence_subscription",
            {"action_type": "subscribe", "sequence_id": "seq_1"},
            dict.fromkeys(("sender_account_id", "sender_name", "sender_email", "contact_preference"), REQUIRED),
        ),
        (
            "sequence_subscription",
            {"action_type": "pause", "contact_preference": "all", "calls_assigned_to": [1]},
            {"contact_preference": NOT_A_CHOICE, "calls_assigned_to": "Value must be of str type."},
        ),
        ("email", {"contact_preference": "everyone"}, {"contact_preference": NOT_A_CHOICE}),
        ("email", {"template_id": 1}, {"template_id": "Value must be of str type."}),
        ("delete", {"bulk_object_type": "task"}, {"bulk_object_type": NOT_A_CHOICE}),
        ("delete", {"s_query": "all"}, {"s_query": "Value must be of dict type."}),
        ("delete", {"sort": {}}, {"sort": "Value must be of list type."}),
        ("delete", {"sort": ["name"]}, {"sort": "Value must be of dict type."}),
        ("delete", {"results_limit": "5"}, {"results_limit": "Value must be of int type."}),
        ("delete", {"results_limit": True}, {"results_limit": "Value must be of int type."}),
        ("delete", {"results_limit": -1}, {"results_limit": "The value must be at least 0."}),
        ("delete", {"send_done_email": 1}, {"send_done_email": "Value must be of bool type."}),
    ],
)
async def test_refused_bodies(api: Api, kind: str, body: object, errors: dict[str, str]) -> None:
    """A body that does not fit is a 400 with one text per field, and starts nothing."""
    reply = await api.call("POST", f"/bulk_action/{kind}/", json_body=body)
    assert (reply.status, reply.json()) == (400, {"errors": [], "field-errors": errors})
    assert not api.sim.jobs


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("email", {}),
        ("email", {"contact_preference": "all", "unknown": 1}),
        ("delete", {}),
        ("delete", {"query": "lead_status:Potential", "bulk_object_type": "contact"}),
        ("edit", {"type": "clear_custom_field", "custom_field_name": "x"}),
        ("edit", {"type": "set_custom_field", "custom_field_id": "cf_1", "custom_field_values": ["x"]}),
        ("edit", {"type": "set_custom_object_custom_field"}),
        ("sequence_subscription", {"action_type": "reassign"}),
        ("sequence_subscription", {"action_type": "resume_finished"}),
        ("sequence_subscription", SUBSCRIBE),
    ],
)
async def test_bodies_that_start_a_job(api: Api, kind: str, body: object) -> None:
    """What the vendor does not forbid starts a job, and is kept as it was sent."""
    reply = await api.call("POST", f"/bulk_action/{kind}/", json_body=body)
    assert reply.status == 200, reply.body
    assert [(job.kind.name, job.request) for job in api.sim.jobs] == [(kind, body)]
