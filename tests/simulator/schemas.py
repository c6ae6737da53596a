"""JSON Schemas of the responses, written from the vendor's OpenAPI: every property is required, none may be unknown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jsonschema

if TYPE_CHECKING:
    from collections.abc import Mapping

Schema = dict[str, object]

STRING: Schema = {"type": "string"}
TEXT_OR_NULL: Schema = {"type": ["string", "null"]}
COUNT: Schema = {"type": "integer"}
COUNT_OR_NULL: Schema = {"type": ["integer", "null"]}
DATE_OR_NULL: Schema = {
    "type": ["string", "null"],
    "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00$",
}


def one_of(*words: str | None) -> Schema:
    """One of these words, or null where None is among them."""
    return {"enum": list(words)}


COMMON: Mapping[str, Schema] = {
    "created_by": TEXT_OR_NULL,
    "date_created": DATE_OR_NULL,
    "date_updated": DATE_OR_NULL,
    "id": STRING,
    "n_leads": COUNT_OR_NULL,
    "n_leads_processed": COUNT,
    "n_objects": COUNT_OR_NULL,
    "n_objects_processed": COUNT,
    "organization_id": STRING,
    "query": TEXT_OR_NULL,
    "results_limit": COUNT_OR_NULL,
    "s_query": {"type": "object"},
    "send_done_email": {"type": "boolean"},
    "sort": {"type": "array", "items": {"type": "object"}},
    "status": one_of("created", "loading", "processing", "done", "paused", "resuming", "error", None),
    "updated_by": TEXT_OR_NULL,
}

EXTRA: Mapping[str, Mapping[str, Schema]] = {
    "email": {
        "contact_preference": one_of("lead", "contact", "all", None),
        "email_account_id": TEXT_OR_NULL,
        "sender": TEXT_OR_NULL,
        "template_id": TEXT_OR_NULL,
    },
    "edit": {
        "custom_field_name": TEXT_OR_NULL,
        "custom_field_value": TEXT_OR_NULL,
        "lead_status_id": TEXT_OR_NULL,
        "type": one_of(
            "set_custom_field",
            "clear_custom_field",
            "set_lead_status",
            "set_contact_custom_field",
            "clear_contact_custom_field",
            "set_activity_custom_field",
            "clear_activity_custom_field",
            "set_global_custom_field",
            "clear_global_custom_field",
            "set_opportunity_custom_field",
            "clear_opportunity_custom_field",
            "set_custom_object_custom_field",
            "clear_custom_object_custom_field",
        ),
    },
    "delete": {
        "bulk_object_type": one_of("lead", "contact", "call", "custom_activity", "form_submission"),
    },
    "sequence_subscription": {
        "action_type": one_of("subscribe", "resume", "resume_finished", "pause", "reassign"),
        "calls_assigned_to": {"type": ["array", "null"], "items": STRING},
        "contact_preference": one_of("lead", "contact", None),
        "from_phone_number_id": TEXT_OR_NULL,
        "sender_account_id": TEXT_OR_NULL,
        "sender_email": TEXT_OR_NULL,
        "sender_name": TEXT_OR_NULL,
        "sequence_id": TEXT_OR_NULL,
    },
}


def action_schema(kind: str) -> Schema:
    """The schema of one action of that kind."""
    properties = {**COMMON, **EXTRA[kind]}
    return {"type": "object", "properties": properties, "required": sorted(properties), "additionalProperties": False}


def page_schema(kind: str) -> Schema:
    """The schema of a page of a list."""
    return {
        "type": "object",
        "properties": {"data": {"type": "array", "items": action_schema(kind)}, "has_more": {"type": "boolean"}},
        "required": ["data", "has_more"],
        "additionalProperties": False,
    }


def required(schema: Schema) -> list[str]:
    """The keys that a schema demands."""
    names = schema["required"]
    assert isinstance(names, list)
    return names


def check(value: object, schema: Schema) -> None:
    """Raise `jsonschema.ValidationError` unless the value fits."""
    jsonschema.validate(value, schema, cls=jsonschema.Draft202012Validator)
