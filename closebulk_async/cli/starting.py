"""`closebulk start`: one command for each kind of action, with an option for each keyword of its `create`."""

from __future__ import annotations

import re
from typing import Annotated, Any

import attrs
import typer

from closebulk_async.cli.asking import check_can_ask
from closebulk_async.cli.options import Common, examples, parse_json, with_common
from closebulk_async.errors import InvalidRequestError
from closebulk_async.models import (
    BulkObjectType,
    ContactPreference,
    CustomFieldOperation,
    EditType,
    Kind,
    SequenceActionType,
)
from closebulk_async.policy import to_seconds_or_none
from closebulk_async.starts import DeleteStart, EditStart, EmailStart, SequenceStart

app: typer.Typer = typer.Typer(
    name="start",
    help=(
        "Start an action, after a question. What it would do, and to how many leads, is shown before. "
        "`closebulk start KIND --help` shows the options of a kind."
    ),
    epilog=examples("closebulk start delete --query leads.json --dry-run"),
    rich_markup_mode=None,
    no_args_is_help=True,
)


@app.command(
    epilog=examples(
        "closebulk start email --template-id tmpl_1 --email-account-id emailacct_1 --query leads.json --watch",
        "closebulk start email --template-id tmpl_1 --email-account-id emailacct_1 --query - --yes \\",
        "    --idempotency-key campaign-2026-11 --journal closebulk.db < leads.json",
    )
)
@with_common
def email(
    common: Common,
    *,
    template_id: Annotated[str, typer.Option(metavar="ID", help="What to send.")],
    email_account_id: Annotated[str, typer.Option(metavar="ID", help="The account that sends it.")],
    sender: Annotated[str | None, typer.Option(metavar="ADDRESS", help="The address that it comes from.")] = None,
    contact_preference: Annotated[
        ContactPreference | None, typer.Option(help="The first contact of a lead, or each one.")
    ] = None,
) -> int:
    """Send a template to every lead that a query matches."""
    own = {
        "template_id": template_id,
        "email_account_id": email_account_id,
        "sender": sender,
        "contact_preference": contact_preference,
    }
    return launch(Kind.EMAIL, common, own)


@app.command(epilog=examples('closebulk start delete --query \'{"type": "id", "value": "lead_1"}\' --max-matches 1'))
@with_common
def delete(
    common: Common,
    *,
    bulk_object_type: Annotated[
        BulkObjectType | None, typer.Option(help="What to delete: leads, if it is left out.")
    ] = None,
) -> int:
    """Delete every object that a query matches."""
    return launch(Kind.DELETE, common, {"bulk_object_type": bulk_object_type})


@app.command(
    epilog=examples(
        "closebulk start edit --type set_lead_status --lead-status-id stat_1 --query leads.json",
        "closebulk start edit --type set_custom_field --custom-field-id cf_1 --custom-field-value 5 --json-values \\",
        "    --query leads.json",
    )
)
@with_common
def edit(
    common: Common,
    *,
    type: Annotated[EditType, typer.Option(help="What to change.")],
    lead_status_id: Annotated[str | None, typer.Option(metavar="ID", help="The new status.")] = None,
    custom_field_id: Annotated[str | None, typer.Option(metavar="ID", help="The field to set or clear.")] = None,
    custom_field_name: Annotated[str | None, typer.Option(metavar="NAME", help="The same by its exact name.")] = None,
    custom_field_value: Annotated[str | None, typer.Option(metavar="VALUE", help="Its new value, a text.")] = None,
    custom_field_values: Annotated[
        list[str] | None, typer.Option(metavar="VALUE", help="One of several values; may be repeated.")
    ] = None,
    custom_field_operation: Annotated[
        CustomFieldOperation | None, typer.Option(help="What to do with several values.")
    ] = None,
    json_values: Annotated[
        bool, typer.Option("--json-values", help="The values are JSON, such as 5 or true, and no texts.")
    ] = False,
) -> int:
    """Change every object that a query matches. --type decides which of the other options are needed."""
    value: Any = custom_field_value
    values: list[Any] | None = custom_field_values or None
    if json_values:
        value = None if value is None else parse_json(value, name="--custom-field-value")
        values = values and [parse_json(each, name="--custom-field-values") for each in values]
    own = {
        "type": type,
        "lead_status_id": lead_status_id,
        "custom_field_id": custom_field_id,
        "custom_field_name": custom_field_name,
        "custom_field_value": value,
        "custom_field_values": values,
        "custom_field_operation": custom_field_operation,
    }
    return launch(Kind.EDIT, common, own)


@app.command(
    epilog=examples(
        "closebulk start sequence --action-type pause --sequence-id seq_1 --query leads.json",
        "closebulk start sequence --action-type subscribe --sequence-id seq_1 --query leads.json \\",
        "    --sender-account-id emailacct_1 --sender-name Ada --sender-email ada@example.com \\",
        "    --contact-preference lead",
    )
)
@with_common
def sequence(
    common: Common,
    *,
    action_type: Annotated[SequenceActionType, typer.Option(help="What to do.")],
    sequence_id: Annotated[str | None, typer.Option(metavar="ID", help="Of which sequence.")] = None,
    all_sequences: Annotated[bool, typer.Option("--all-sequences", help="Of every sequence.")] = False,
    sender_account_id: Annotated[str | None, typer.Option(metavar="ID", help="The account that sends.")] = None,
    sender_name: Annotated[str | None, typer.Option(metavar="NAME", help="The name of the sender.")] = None,
    sender_email: Annotated[str | None, typer.Option(metavar="ADDRESS", help="The address of the sender.")] = None,
    contact_preference: Annotated[
        ContactPreference | None, typer.Option(help="The first contact of a lead, or each one.")
    ] = None,
    calls_assigned_to: Annotated[
        list[str] | None, typer.Option(metavar="USER", help="Who makes the calls; may be repeated.")
    ] = None,
    from_phone_number_id: Annotated[str | None, typer.Option(metavar="ID", help="The number to call from.")] = None,
) -> int:
    """Subscribe contacts to a sequence, or pause, resume or reassign their subscriptions."""
    own = {
        "action_type": action_type,
        "sequence_id": sequence_id,
        "all_sequences": all_sequences,
        "sender_account_id": sender_account_id,
        "sender_name": sender_name,
        "sender_email": sender_email,
        "contact_preference": contact_preference,
        "calls_assigned_to": calls_assigned_to or None,
        "from_phone_number_id": from_phone_number_id,
    }
    return launch(Kind.SEQUENCE_SUBSCRIPTION, common, own)


def launch(kind: Kind, common: Common, own: dict[str, Any]) -> int:
    """Start an action of this kind by what was typed."""
    if common.idempotency_key is not None and common.journal is None:
        raise InvalidRequestError(
            "--idempotency-key needs a journal, which remembers the key: --journal FILE, or set CLOSEBULK_JOURNAL"
        )
    timeout = to_seconds_or_none(common.timeout, name="--timeout")
    if timeout is not None and not common.watch:
        raise InvalidRequestError("--timeout is for --watch; --request-timeout bounds each answer of Close")
    if not (common.yes or common.dry_run):
        check_can_ask()
    from closebulk_async.cli.launching import Launch

    return Launch(kind=kind, keywords={**own, **common.keywords()}, common=common).run()


_OPTIONS = {
    field.name: field.name.replace("_", "-")
    for start in (EmailStart, DeleteStart, EditStart, SequenceStart)
    for field in attrs.fields(start)
    if field.init and "_" in field.name  # `type`, `query` and the like are words of the language as well
} | {"s_query": "query", "on_ambiguous": "on-ambiguous", "max_matches": "max-matches"}

_KEYWORD = re.compile(rf"(?<![\w.'\"-])({'|'.join(_OPTIONS)})(=True)?\b(?!['\"])")


def in_options(message: str) -> str:
    """A message of the package in the words of the command line: `--allow-all` for `allow_all=True`."""
    return _KEYWORD.sub(lambda found: f"--{_OPTIONS[found[1]]}", message)
