"""The kinds of bulk action as one table: what each accepts in a POST, what it echoes, how its ids begin.

A fifth kind is one row in `KINDS`. Sources: the vendor's OpenAPI (names, choices, which fields a response has) and the
prose of its bulk-action pages (what a type or an action type needs).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from attrs import field, frozen

# Plain JSON as `json.loads` gives it; spelled as `object` because each use checks what it reads.
Json = object
JsonObject = dict[str, object]


@frozen(kw_only=True)
class Field:
    """One field of a POST body.

    `types` are what JSON may bring (null counts as absent), `items` is the type of a list's items, `echoed` says
    whether responses carry the field, with `default` when it was not sent.
    """

    name: str = field(kw_only=False)
    types: tuple[type, ...] = (str,)
    items: type | None = None
    choices: tuple[str, ...] = ()
    required: bool = False
    echoed: bool = True
    default: Json = None


@frozen(kw_only=True)
class Kind:
    """One kind of bulk action, or of another family of jobs.

    `family` is the first part of its address and of its name in events. `needs` maps a word of the field `variant` to
    groups of field names; of each group one must be sent. `filters` are the fields that a list may be filtered by.
    """

    name: str = field(kw_only=False)
    family: str = "bulk_action"
    id_prefix: str
    fields: tuple[Field, ...]
    variant: str = ""
    needs: Mapping[str, tuple[tuple[str, ...], ...]] = MappingProxyType({})
    filters: tuple[str, ...] = ()


COMMON_FIELDS = (
    Field("query"),
    Field("results_limit", types=(int,)),
    Field("s_query", types=(dict,), default={}),
    Field("send_done_email", types=(bool,), default=True),
    Field("sort", types=(list,), items=dict, default=[]),
)

_EDITED_OBJECTS = ("", "contact_", "activity_", "global_", "opportunity_", "custom_object_")

EMAIL = Kind(
    "email",
    id_prefix="bulkemail_",
    fields=(
        *COMMON_FIELDS,
        Field("contact_preference", choices=("lead", "contact", "all")),
        Field("email_account_id"),
        Field("sender"),
        Field("template_id"),
    ),
    filters=("template_id",),
)

EDIT = Kind(
    "edit",
    id_prefix="bulkedit_",
    fields=(
        *COMMON_FIELDS,
        Field(
            "type",
            required=True,
            choices=(
                "set_lead_status",
                *(f"{verb}_{edited}custom_field" for edited in _EDITED_OBJECTS for verb in ("set", "clear")),
            ),
            default="set_lead_status",  # for rows that were put there: responses never show null here
        ),
        Field("lead_status_id"),
        Field("custom_field_name"),
        Field("custom_field_value", types=(str, int, float, bool)),
        # Responses have no place for these three, so what was sent cannot be read back.
        Field("custom_field_id", echoed=False),
        Field("custom_field_values", types=(list,), echoed=False),
        Field("custom_field_operation", choices=("replace", "add", "remove"), echoed=False),
    ),
    variant="type",
    # The newer types have no prose; demanding nothing of them cannot contradict the service.
    needs=MappingProxyType(
        {
            "set_lead_status": (("lead_status_id",),),
            "clear_custom_field": (("custom_field_id", "custom_field_name"),),
            "set_custom_field": (
                ("custom_field_id", "custom_field_name"),
                ("custom_field_value", "custom_field_values"),
            ),
        },
    ),
)

DELETE = Kind(
    "delete",
    id_prefix="bulkdelete_",
    fields=(
        *COMMON_FIELDS,
        # Whether it may be sent is not documented; the response always has it and the vendor's sample says "lead".
        Field(
            "bulk_object_type",
            choices=("lead", "contact", "call", "custom_activity", "form_submission"),
            default="lead",
        ),
    ),
)

SEQUENCE_SUBSCRIPTION = Kind(
    "sequence_subscription",
    id_prefix="bulksequencesubscription_",
    fields=(
        *COMMON_FIELDS,
        Field(
            "action_type",
            required=True,
            choices=("subscribe", "resume", "resume_finished", "pause", "reassign"),
            default="subscribe",  # as for the type of an edit
        ),
        Field("calls_assigned_to", types=(list,), items=str),
        Field("contact_preference", choices=("lead", "contact")),
        Field("from_phone_number_id"),
        Field("sender_account_id"),
        Field("sender_email"),
        Field("sender_name"),
        Field("sequence_id"),
    ),
    variant="action_type",
    needs=MappingProxyType(
        {
            "subscribe": (
                ("sequence_id",),
                ("sender_account_id",),
                ("sender_name",),
                ("sender_email",),
                ("contact_preference",),
            ),
        },
    ),
)

KINDS: Mapping[str, Kind] = MappingProxyType(
    {kind.name: kind for kind in (EMAIL, EDIT, DELETE, SEQUENCE_SUBSCRIPTION)},
)
