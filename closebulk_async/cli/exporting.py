"""`closebulk export`: have leads or opportunities written into a file by Close, and fetch it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from closebulk_async.cli.making import Making
from closebulk_async.cli.options import Json, WatchTimeout, examples, read_json
from closebulk_async.errors import InvalidRequestError
from closebulk_async.export_wire import DateFormat, ExportFormat, LeadExportType
from closebulk_async.models import JobRef, Kind
from closebulk_async.partfile import check_target
from closebulk_async.policy import to_seconds_or_none

app: typer.Typer = typer.Typer(
    name="export",
    epilog=examples("closebulk export leads --format csv --out leads.csv"),
    help=(
        "Have leads or opportunities written into a file by Close, wait for it, and fetch it. "
        "Nothing is saved under the name of --out before all of it is there."
    ),
    rich_markup_mode=None,
    no_args_is_help=True,
)


Out = Annotated[Path, typer.Option("--out", "-o", metavar="FILE", dir_okay=False, help="Where to save it.")]
Format = Annotated[ExportFormat, typer.Option(help="What the file holds.")]
Dates = Annotated[DateFormat | None, typer.Option(help="How dates are spelled in CSV.")]
Fields = Annotated[
    list[str] | None, typer.Option(metavar="NAME[,NAME...]", help="Only these columns; may be repeated.")
]
KeepGz = Annotated[bool, typer.Option("--keep-gz", help="Keep it compressed, as FILE.gz.")]
Activities = Annotated[bool, typer.Option("--include-activities", help="Activities as well; JSON only.")]
SmartFields = Annotated[bool, typer.Option("--include-smart-fields", help="Smart fields as well.")]
Addresses = Annotated[bool, typer.Option("--include-addresses", help="The addresses of the leads as well.")]
CustomObjects = Annotated[bool, typer.Option("--include-custom-objects", help="Custom objects as well.")]
NoDoneEmail = Annotated[bool, typer.Option("--no-done-email", help="No mail from Close when it has ended.")]
Extra = Annotated[
    str | None, typer.Option(metavar="FILE|-|JSON", help="More of the request: an object that is merged into it.")
]


@app.command(
    epilog=examples(
        "closebulk export leads --format csv --out leads.csv",
        "closebulk export leads --format json --query leads.json --include-activities --out leads.json",
    )
)
def leads(
    *,
    format: Format,
    out: Out,
    type: Annotated[LeadExportType, typer.Option(help="What a row is.")] = LeadExportType.LEADS,
    query: Annotated[
        str | None,
        typer.Option(
            "--query",
            "--s-query",
            metavar="FILE|-|JSON",
            help="Which leads: an s_query, in a file, on standard input or typed. All leads without it.",
        ),
    ] = None,
    legacy_query: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Which leads, in the old search language.")
    ] = None,
    results_limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="At most N leads.")] = None,
    sort: Annotated[
        str | None, typer.Option(metavar="FILE|-|JSON", help="The order of the leads: a list, as for s_query.")
    ] = None,
    date_format: Dates = None,
    fields: Fields = None,
    include_activities: Activities = False,
    include_smart_fields: SmartFields = False,
    include_addresses: Addresses = False,
    include_custom_objects: CustomObjects = False,
    no_done_email: NoDoneEmail = False,
    extra: Extra = None,
    keep_gz: KeepGz = False,
    timeout: WatchTimeout = None,
    as_json: Json = False,
) -> int:
    """Export leads: all of them, or those that a query matches."""
    keywords = {
        "format": format,
        "type": type,
        "s_query": read_json(query, name="--query", wanted=dict),
        "query": legacy_query,
        "results_limit": results_limit,
        "sort": read_json(sort, name="--sort", wanted=list),
        "date_format": date_format,
        "fields": _split(fields),
        "include_activities": include_activities or None,
        "include_smart_fields": include_smart_fields or None,
        "include_addresses": include_addresses or None,
        "include_custom_objects": include_custom_objects or None,
        "send_done_email": False if no_done_email else None,
        "extra": read_json(extra, name="--extra", wanted=dict),
    }
    return _fetch(Making("create_leads", keywords), out, keep_gz=keep_gz, timeout=timeout, as_json=as_json)


@app.command(
    epilog=examples(
        'closebulk export opportunities --format csv --params \'{"status_type": "won"}\' --out opportunities.csv'
    )
)
def opportunities(
    *,
    format: Format,
    out: Out,
    params: Annotated[
        str | None,
        typer.Option(metavar="FILE|-|JSON", help="Which ones: filters of the API's list of opportunities."),
    ] = None,
    date_format: Dates = None,
    fields: Fields = None,
    no_done_email: NoDoneEmail = False,
    extra: Extra = None,
    keep_gz: KeepGz = False,
    timeout: WatchTimeout = None,
    as_json: Json = False,
) -> int:
    """Export opportunities: all of them, or those that filters leave."""
    keywords: dict[str, Any] = {
        "format": format,
        "params": read_json(params, name="--params", wanted=dict),
        "date_format": date_format,
        "fields": _split(fields),
        "send_done_email": False if no_done_email else None,
        "extra": read_json(extra, name="--extra", wanted=dict),
    }
    return _fetch(Making("create_opportunities", keywords), out, keep_gz=keep_gz, timeout=timeout, as_json=as_json)


@app.command(epilog=examples("closebulk export download export:expo_1 --out leads.csv"))
def download(
    ref: Annotated[str, typer.Argument(metavar="REF", help="An export that was made before.")],
    *,
    out: Out,
    keep_gz: KeepGz = False,
    timeout: WatchTimeout = None,
    as_json: Json = False,
) -> int:
    """Wait for an export that was made before, and fetch its file."""
    wanted = JobRef.parse(ref if ":" in ref else f"{Kind.EXPORT}:{ref}")
    if wanted.kind is not Kind.EXPORT:
        message = f"{wanted} is no export"
        raise InvalidRequestError(message)
    return _fetch(wanted, out, keep_gz=keep_gz, timeout=timeout, as_json=as_json)


def _split(fields: list[str] | None) -> list[str] | None:
    """Names that were given one by one, or with commas between them."""
    return [name.strip() for text in fields for name in text.split(",")] if fields else None


def _fetch(what: Making | JobRef[Any], out: Path, *, keep_gz: bool, timeout: float | None, as_json: bool) -> int:
    file = out.with_name(f"{out.name}.gz") if keep_gz and out.suffix != ".gz" else out
    seconds = to_seconds_or_none(timeout, name="--timeout")
    target = check_target(file)  # here already: else an export would be made for nothing
    from closebulk_async.cli.fetching import Fetching

    return Fetching(what=what, out=target, typed=out, decompress=not keep_gz, timeout=seconds, as_json=as_json).run()
